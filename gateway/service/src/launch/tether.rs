//! Ties a program to the life of this process: when the gate is killed, even by SIGKILL, the kernel kills the program. It
//! is for programs that would go on by accident. One that wants to outlive the gate can undo it, or leave a child behind,
//! and the kernel undoes it where the program changes its user in being executed.
//!
//! The kernel sends the signal when the *thread* that forked ends, so every program is forked by one thread that never
//! does. Called by `launch::start`.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};

use rustix::io::Errno;
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Jobs that wait for the thread; whoever brings one more is told to come back later.
const WAITING: usize = 64;

/// Does `start` on the one thread, inside the caller's runtime.
///
/// # Errors
/// What `start` answers, or that the thread is not to be had.
pub(super) async fn on_the_lasting_thread(
    start: impl FnOnce() -> io::Result<Child> + Send + 'static,
    unwanted: fn(Child),
) -> io::Result<Child> {
    let runtime = tokio::runtime::Handle::current();
    let (told, hears) = oneshot::channel();
    let job = Box::new(move || {
        let _inside = runtime.enter();
        if let Err(Ok(child)) = told.send(start()) {
            unwanted(child);
        }
    });
    jobs()?.try_send(job).map_err(|_| io::ErrorKind::WouldBlock)?;
    hears.await.map_err(|_| io::Error::other("the thread that starts programs failed"))?
}

fn jobs() -> io::Result<&'static SyncSender<Job>> {
    static JOBS: OnceLock<Option<SyncSender<Job>>> = OnceLock::new();
    let begin = || {
        let (jobs, queue) = sync_channel::<Job>(WAITING);
        let thread = std::thread::Builder::new().name("launch".to_owned());
        // The sender is never dropped, so this goes on for as long as the process.
        thread.spawn(move || queue.into_iter().for_each(|job| job())).ok()?;
        Some(jobs)
    };
    JOBS.get_or_init(begin).as_ref().ok_or_else(|| io::Error::other("no thread to start programs from"))
}

/// The program that this command starts is killed when the forking thread ends.
#[expect(unsafe_code, reason = "only the child can ask for its own death signal, and only after the fork")]
pub(super) fn tie(command: &mut Command) {
    let gate = getpid();
    let ask = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // Killed between the fork and the request: then the signal was missed.
        if getppid() == Some(gate) { Ok(()) } else { Err(Errno::SRCH.into()) }
    };
    // SAFETY: the closure runs between fork and exec, where other threads may have held locks. It makes two system calls,
    // and neither allocates nor locks, also when it fails: an error here is a bare number.
    unsafe { command.pre_exec(ask) };
}

/// Whether executing that file changes the user, which undoes the tie.
pub(super) fn is_undone_by(executable: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    const CHANGES_USER_OR_GROUP: u32 = 0o6000;
    let mode = std::fs::metadata(executable).map_or(0, |found| found.permissions().mode());
    let capabilities = || rustix::fs::getxattr(executable, "security.capability", &mut [0_u8; 64][..]);
    mode & CHANGES_USER_OR_GROUP != 0 || capabilities().is_ok_and(|size| size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_outlives_the_thread_that_asked_for_it_and_dies_with_the_one_that_forked() {
        let sleeper = || {
            let mut command = Command::new("sleep");
            command.arg("60").kill_on_drop(true);
            tie(&mut command);
            command.spawn()
        };
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let main = runtime();
        let handle = main.handle().clone();
        let asks = std::thread::spawn(move || {
            handle.block_on(on_the_lasting_thread(sleeper, |_| panic!("it was wanted"))).unwrap()
        });
        let mut lasting = asks.join().unwrap();
        let handle = main.handle().clone();
        let forks = std::thread::spawn(move || {
            let _inside = handle.enter();
            sleeper().unwrap()
        });
        let mut tied = forks.join().unwrap();
        // The other one is long dead when this one is looked at.
        let ended = main.block_on(tied.wait()).unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(9));
        assert_eq!(lasting.try_wait().unwrap(), None, "still running");
    }

    #[test]
    fn a_file_that_changes_the_user_is_known() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, undone) in [(0o755, false), (0o4755, true), (0o2755, true)] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_undone_by(file.path().to_str().unwrap()), undone, "{mode:o}");
        }
        assert!(!is_undone_by("/nonexistent"));
    }
}
