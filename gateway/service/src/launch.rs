//! Measured runs (S1): the gate itself executes the package it verified. The bytes are hashed while they are copied into
//! a sealed memory file, and what is executed is that file: nobody can change it between the two. The program gets the
//! proxies in its environment and nothing of the gate's own configuration, and is killed when the gate is.

mod tether;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::FdFlags;
use tokio::process::{Child, Command};

/// A package's bytes, sealed: they cannot change any more, whoever holds the file.
#[derive(Debug)]
pub struct Sealed {
    file: File,
    digest: [u8; 32],
    size: u64,
}

impl Sealed {
    /// Copies `source` into a sealed memory file, hashing what was copied.
    ///
    /// # Errors
    /// Reading, or the memory file.
    pub fn copy(source: impl Read) -> io::Result<Self> {
        let fd =
            rustix::fs::memfd_create("mexegate-package", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        Self::fill(File::from(fd), source)
    }

    fn fill(mut file: File, mut source: impl Read) -> io::Result<Self> {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut buffer = vec![0_u8; 128 * 1024];
        let mut size = 0_u64;
        loop {
            let read = source.read(&mut buffer)?;
            let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else { break };
            context.update(chunk);
            file.write_all(chunk)?;
            size += read as u64;
        }
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        file.seek(SeekFrom::Start(0))?;
        let mut digest = [0_u8; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Ok(Self { file, digest, size })
    }

    /// SHA-256 of the sealed bytes.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// How many bytes are sealed.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The sealed bytes, from the start.
    ///
    /// # Errors
    /// Seeking in the memory file.
    pub fn reader(&mut self) -> io::Result<&mut File> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(&mut self.file)
    }
}

/// What to execute.
#[derive(Debug)]
pub struct Program {
    /// The runtime's command; `{package}` stands for the sealed file.
    pub command: Vec<String>,
    /// The app's arguments, after the command.
    pub args: Vec<String>,
    /// What is executed or handed to the runtime.
    pub sealed: Sealed,
    /// Environment that the run adds: the proxies.
    pub environment: Vec<(&'static str, String)>,
    /// Where the program starts.
    pub directory: std::path::PathBuf,
}

/// Variables of the gate's own environment that a program may see. Everything else is the gate's business.
const HANDED_ON: [&str; 10] =
    ["HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TERM", "TMPDIR", "TZ", "USER", "XDG_RUNTIME_DIR"];

/// Processes that were started here and whose exit somebody waits for. Held while one is started, so that an exit is
/// never collected before it is known whose it is.
static STARTED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Collects the exits of children that nobody waits for: orphans of runs, which this process adopted.
pub fn collect_orphans() {
    use rustix::process::{Pid, WaitOptions, waitpid};
    let started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    for child in children() {
        let known = u32::try_from(child).is_ok_and(|pid| started.contains(&pid));
        if let Some(pid) = Pid::from_raw(child).filter(|_| !known) {
            // One that lives on is left alone; an error means that it is gone already.
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

/// The children of this process, of whichever thread.
fn children() -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let lists = threads.flatten().flat_map(|thread| std::fs::read_to_string(thread.path().join("children")));
    lists
        .flat_map(|list| list.split_ascii_whitespace().map(str::parse).collect::<Vec<_>>())
        .flatten()
        .collect()
}

/// Starts a program that is the gate's own helper and no run. Whoever waits for it calls [`forget`] afterwards.
///
/// # Errors
/// The system's own.
pub fn helper(command: &mut std::process::Command) -> std::io::Result<std::process::Child> {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    let child = command.spawn()?;
    started.insert(child.id());
    Ok(child)
}

/// Nobody waits for that process any more.
pub fn forget(pid: u32) {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
}

/// Starts the program in its own process group, standard streams piped. Whoever takes the child calls [`forget`] when
/// it has ended.
///
/// # Errors
/// The runtime cannot be executed.
pub async fn start(program: Program) -> io::Result<Child> {
    tether::on_the_lasting_thread(
        move || fork(program),
        |child| {
            if let Some(pid) = child.id() {
                forget(pid);
            }
            // Dropped, it is killed.
        },
    )
    .await
}

fn fork(program: Program) -> io::Result<Child> {
    // One at a time: two starts at once would each hand the other's package on.
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    // A descriptor opened for writing cannot be executed (ETXTBSY), so the program gets a second one, for reading.
    let path = format!("/proc/self/fd/{}", program.sealed.file.as_raw_fd());
    let read_only: OwnedFd = File::open(path)?.into();
    drop(program.sealed);
    let package = format!("/proc/self/fd/{}", read_only.as_raw_fd());
    let mut words = program.command.iter().map(|word| word.replace("{package}", &package));
    let executable = words.next().ok_or(io::ErrorKind::InvalidInput)?;
    if tether::is_undone_by(&executable) {
        tracing::warn!(runtime = %executable, "it runs as another user: its programs go on when the gate is killed");
    }
    let mut command = Command::new(executable);
    command
        .args(words)
        .args(&program.args)
        .env_clear()
        .envs(HANDED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .envs(program.environment.iter().map(|(name, value)| (name, OsString::from(value))))
        .current_dir(if program.directory.is_dir() { program.directory.as_path() } else { Path::new("/") })
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    tether::tie(&mut command);
    rustix::io::fcntl_setfd(read_only.as_fd(), FdFlags::empty())?;
    let child = command.spawn();
    rustix::io::fcntl_setfd(read_only.as_fd(), FdFlags::CLOEXEC)?;
    started.extend(child.as_ref().ok().and_then(Child::id));
    child
}

/// The proxy variables of a run: upper and lower case, `NO_PROXY` never set.
pub fn proxy_environment(socks: Option<&str>, http: Option<&str>) -> Vec<(&'static str, String)> {
    let mut variables = Vec::new();
    if let Some(url) = socks.or(http) {
        variables.extend([("ALL_PROXY", url.to_owned()), ("all_proxy", url.to_owned())]);
    }
    if let Some(url) = http.or(socks) {
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
            variables.push((name, url.to_owned()));
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_bytes_cannot_change_and_their_hash_is_right() {
        let mut sealed = Sealed::copy(&b"#!/bin/sh\n"[..]).unwrap();
        assert_eq!(sealed.digest(), digest::digest(&digest::SHA256, b"#!/bin/sh\n").as_ref());
        assert_eq!(sealed.size(), 10);
        assert!(sealed.file.write_all(b"x").is_err());
        assert!(sealed.file.set_len(1).is_err());
        let mut text = String::new();
        sealed.reader().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "#!/bin/sh\n");
    }

    #[tokio::test]
    async fn a_script_runs_from_its_sealed_file_with_the_proxies_and_nothing_else() {
        let sealed =
            Sealed::copy(&b"#!/bin/sh\necho \"$1 $HTTP_PROXY\"; env | grep -c MEXEGATE; exit 7\n"[..])
                .unwrap();
        let program = Program {
            command: vec!["{package}".into()],
            args: vec!["hello".into()],
            sealed,
            environment: proxy_environment(None, Some("http://app:secret@127.0.0.1:3128")),
            directory: "/".into(),
        };
        let output = start(program).await.unwrap().wait_with_output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text, "hello http://app:secret@127.0.0.1:3128\n0\n", "{:?}", output.stderr);
        assert_eq!(output.status.code(), Some(7));
    }
}
