//! Who is on the other end of the control socket: uid and process from the kernel, and whether that process is inside a
//! run (S2). An app must not be its own user: whoever descends from a program that the gate started, or from a program
//! that holds a run, is that run.

use std::collections::HashSet;

/// The process on the other end of a UNIX socket, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its effective user.
    pub uid: u32,
    /// Its process id; 0 when the kernel does not know (another pid namespace).
    pub pid: u32,
}

/// Whether `pid` is one of `runs` or descends from one, or descends from the gate `gate` itself (an orphan of a run: the
/// gate is the subreaper of what it starts). A process that cannot be traced to the top counts as inside: when unknown,
/// the answer is no.
pub fn is_inside_a_run(
    pid: u32,
    gate: u32,
    runs: &HashSet<u32>,
    parent: impl Fn(u32) -> Option<u32>,
) -> bool {
    if pid == gate {
        return false;
    }
    let mut at = pid;
    // A process tree deeper than this is no user's shell.
    for _ in 0..4096 {
        if at == 0 || at == gate || runs.contains(&at) {
            return true;
        }
        match parent(at) {
            Some(0) => return false,
            Some(next) => at = next,
            None => return true,
        }
    }
    true
}

/// The parent of a process from /proc; `None` when there is no such process, `Some(0)` for the first one.
pub fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name in parentheses may hold anything, closing parentheses too: what follows the last one is ours.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(pid: u32) -> Option<u32> {
        // 1 init; 10 shell; 11 cli; 20 gate; 30 app; 31 its child; 40 holder; 41 its child; 50 orphan under the gate
        [(1, 0), (10, 1), (11, 10), (20, 10), (30, 20), (31, 30), (40, 10), (41, 40), (50, 20)]
            .into_iter()
            .find(|(p, _)| *p == pid)
            .map(|(_, parent)| parent)
    }

    #[test]
    fn the_user_is_outside_and_whatever_a_run_started_is_inside() {
        let runs = HashSet::from([30, 40]);
        let inside = |pid| is_inside_a_run(pid, 20, &runs, tree);
        for outside in [10, 11, 20] {
            assert!(!inside(outside), "{outside}");
        }
        for within in [30, 31, 40, 41, 50, 0, 99] {
            assert!(inside(within), "{within}");
        }
    }

    #[test]
    fn the_parent_of_this_process_is_known() {
        assert_eq!(parent_of(std::process::id()), Some(std::os::unix::process::parent_id()));
        assert_eq!(parent_of(1), Some(0));
    }
}
