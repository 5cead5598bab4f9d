//! A card in the virtual reader of the vsmartcard project: connects to its driver inside pcscd (TCP, a length of two
//! bytes before each message) and serves an emulated card. Starts and ends pcscd too.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use mexe_forge::usim::Card;

use crate::card::Emulator;

/// pcscd with virtual readers, and a card in the first; all gone when dropped.
pub struct VirtualReader {
    daemon: Child,
    card: Option<Inserted>,
}

/// A card in a virtual reader; out of it when dropped.
pub struct Inserted {
    driver: TcpStream,
    thread: Option<JoinHandle<()>>,
    card: Arc<Mutex<Emulator>>,
}

impl Inserted {
    fn new(driver: TcpStream, card: Emulator) -> Self {
        let card = Arc::new(Mutex::new(card));
        let thread = {
            let (stream, card) = (driver.try_clone().unwrap(), card.clone());
            std::thread::spawn(move || serve(stream, &card))
        };
        Self { driver, thread: Some(thread), card }
    }
}

impl Drop for Inserted {
    fn drop(&mut self) {
        let _ = self.driver.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl VirtualReader {
    /// Starts it, or says why it cannot be started here.
    pub fn start(card: &Card) -> Result<Self, String> {
        let driver = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";
        for needed in ["/usr/sbin/pcscd", driver] {
            if !Path::new(needed).exists() {
                return Err(format!("{needed} is not there: install pcscd and vsmartcard-vpcd"));
            }
        }
        if Path::new("/run/pcscd/pcscd.comm").exists() {
            return Err("a pcscd runs here already, and it is not ours to touch".to_owned());
        }
        if !rustix::process::geteuid().is_root() {
            return Err("pcscd can be started by root only".to_owned());
        }
        let daemon = Command::new("/usr/sbin/pcscd")
            .args(["--foreground", "--critical"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("pcscd does not start: {error}"))?;
        let mut daemon = Some(daemon);
        let driver = crate::wait::within(std::time::Duration::from_secs(10), || {
            TcpStream::connect(("127.0.0.1", PORT)).ok()
        });
        let Some(driver) = driver else {
            end(daemon.as_mut().expect("not moved yet"));
            return Err("the driver of the virtual reader does not listen".to_owned());
        };
        let daemon = daemon.take().expect("not moved yet");
        Ok(Self { daemon, card: Some(Inserted::new(driver, Emulator::new(card))) })
    }

    /// Changes something about the card.
    pub fn with_card<T>(&self, change: impl FnOnce(&mut Emulator) -> T) -> T {
        change(&mut self.card.as_ref().expect("a card is in it").card.lock().unwrap())
    }

    /// Takes the card out and puts another in, as fast as it goes.
    pub fn swap(&mut self, card: Emulator) {
        self.card = None;
        self.card = Some(Inserted::new(connect(PORT), card));
    }

    /// Puts a card into the second reader.
    pub fn beside(&self, card: &Card) -> Inserted {
        Inserted::new(connect(PORT + 1), Emulator::new(card))
    }

    /// Stops pcscd where it stands, or has it go on.
    pub fn freeze(&self, frozen: bool) {
        use rustix::process::Signal;
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        let pid = rustix::process::Pid::from_raw(self.daemon.id() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

/// The driver listens again a moment after a card is gone.
fn connect(port: u16) -> TcpStream {
    crate::wait::until("the virtual reader", || TcpStream::connect(("127.0.0.1", port)).ok())
}

impl Drop for VirtualReader {
    fn drop(&mut self) {
        self.freeze(false);
        self.card = None;
        end(&mut self.daemon);
        for left in ["pcscd.comm", "pcscd.pid"] {
            let _ = std::fs::remove_file(Path::new("/run/pcscd").join(left));
        }
    }
}

fn end(daemon: &mut Child) {
    if let Some(pid) = rustix::process::Pid::from_raw(daemon.id() as i32) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if crate::wait::within(std::time::Duration::from_secs(5), || daemon.try_wait().ok().flatten()).is_none() {
        let _ = daemon.kill();
        let _ = daemon.wait();
    }
}

fn serve(mut stream: TcpStream, card: &Mutex<Emulator>) {
    loop {
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            return;
        }
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut message).is_err() {
            return;
        }
        let answer = match message[..] {
            // Power off, power on, reset: no answer.
            [0..=2] => {
                card.lock().unwrap().reset();
                continue;
            }
            [4] => ATR.to_vec(),
            _ => card.lock().unwrap().command(&message),
        };
        let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
        if stream.write_all(&framed).is_err() {
            return;
        }
    }
}

/// Direct convention, protocol T=0, two historical bytes.
const ATR: &[u8] = &[0x3B, 0x02, 0x14, 0x50];
/// Where Debian's driver listens for the first reader (0x8C7B); the second follows.
const PORT: u16 = 35963;
