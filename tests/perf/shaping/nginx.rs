//! The way through nginx, which limits what each connection uploads.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rig::ports::Ports;
use rig::wait;
use tempfile::TempDir;

use crate::road::{Kind, Road};
use crate::sink::Sink;

/// An nginx of its own.
pub struct Nginx {
    child: Child,
    address: SocketAddr,
    sink: Sink,
    _folder: TempDir,
}

impl Nginx {
    /// One that lets each connection send so many bits a second; `None` where there is none, or not with that module.
    pub fn start(rate: u64) -> Option<Self> {
        const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
        let (folder, address, sink) = (tempfile::tempdir().ok()?, Ports::take().socks, Sink::here());
        let text = format!(
            "load_module {MODULE};\ndaemon off;\nmaster_process off;\npid {0}/pid;\nerror_log {0}/error.log;\n\
             events {{ worker_connections 1024; }}\nstream {{ server {{ listen {address}; proxy_pass {1}; \
             proxy_upload_rate {2}; }} }}\n",
            folder.path().display(),
            sink.address,
            rate / 8
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, text).ok()?;
        let mut command = Command::new("nginx");
        command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
        command.arg("-c").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().ok()?;
        let nginx = Self { child, address, sink, _folder: folder };
        wait::within(Duration::from_secs(3), || TcpStream::connect(address).ok()).map(|_| nginx)
    }
}

impl Road for Nginx {
    fn name(&self) -> String {
        "nginx".to_owned()
    }

    fn sink(&self) -> &Sink {
        &self.sink
    }

    fn open(&self, _kind: Kind) -> TcpStream {
        TcpStream::connect(self.address).expect("nginx listens")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
