//! HTTPS in front of a server of the rig: a certificate for 127.0.0.1 that openssl made, and bytes passed on both ways.

use std::fs::File;
use std::io::BufReader;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Output;

/// A certificate and its key, as files in a folder.
pub struct Certificate {
    /// The certificate, which vouches for itself.
    pub certificate: PathBuf,
    /// Its key, mode 0600.
    pub key: PathBuf,
}

impl Certificate {
    /// One for that name or address, as in `IP:127.0.0.1`.
    ///
    /// # Panics
    /// When openssl is not installed.
    pub fn make(folder: &Path, name: &str, alternative: &str) -> Self {
        let certificate = folder.join(format!("{name}.pem"));
        let key = folder.join(format!("{name}.key"));
        let mut openssl = Command::new("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ]);
        openssl.args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName={alternative}")]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        Output::of(&mut openssl).ended(0);
        for (file, mode) in [(&key, 0o600), (&certificate, 0o644)] {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("the file is ours");
        }
        Self { certificate, key }
    }
}

/// HTTPS on a free port of 127.0.0.1 before that server, until dropped.
pub struct Front {
    address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Front {
    /// Opens it.
    ///
    /// # Panics
    /// When it cannot listen, or the certificate cannot be read.
    pub fn open(target: SocketAddr, own: &Certificate) -> Self {
        let reader = |path: &Path| BufReader::new(File::open(path).expect("it was made"));
        let chain = CertificateDer::pem_reader_iter(reader(&own.certificate)).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_reader(reader(&own.key)).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain.expect("a certificate"), key)
            .expect("they belong together");
        let tls = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tls = tls.clone();
                tokio::spawn(async move {
                    let Ok(mut near) = tls.accept(stream).await else { return };
                    let Ok(mut far) = TcpStream::connect(target).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { address, runtime: Some(runtime) }
    }

    /// Its root.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
