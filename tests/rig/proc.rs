//! What the kernel says of a process: CPU time, memory, open files, children. Used by scenarios to see that nothing
//! leaks, and by the performance tables.

use std::collections::BTreeMap;
use std::time::Duration;

/// A process and everything that descends from it now.
///
/// # Panics
/// When /proc is not there.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").expect("/proc is mounted").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(fields) = stat(pid) {
            children.entry(number(&fields, PPID) as u32).or_default().push(pid);
        }
    }
    let mut tree = vec![pid];
    let mut next = 0;
    while let Some(pid) = tree.get(next) {
        let below = children.get(pid).cloned().unwrap_or_default();
        tree.extend(below);
        next += 1;
    }
    tree
}

/// CPU time used so far by a process, its threads dead or alive, its descendants, and the descendants that have been
/// waited for. The kernel's own count is in nanoseconds; /proc rounds it to ticks of 10 ms per process.
pub fn cpu(pid: u32) -> Duration {
    let ticks: u64 = tree(pid)
        .into_iter()
        .filter_map(stat)
        .map(|fields| [UTIME, STIME, CUTIME, CSTIME].iter().map(|at| number(&fields, *at)).sum::<u64>())
        .sum();
    Duration::from_micros(ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
}

/// Resident memory of a process and its descendants, KiB, pages shared between processes divided among them.
pub fn memory_kib(pid: u32) -> u64 {
    let of = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find(|line| line.starts_with("Pss:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    tree(pid).into_iter().filter_map(of).sum()
}

/// How many file descriptors a process has open.
///
/// # Panics
/// When the process is gone.
pub fn fds(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process is there").count()
}

/// How many threads a process has.
///
/// # Panics
/// When the process is gone.
pub fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there").count()
}

/// Bytes that stand in the kernel between a client and a server of this device with a proxy between them, by the ports of
/// both: taken by the proxy's end and not read by the proxy, written by the proxy and not acknowledged, not read by the
/// server.
///
/// # Panics
/// When /proc is not there.
pub fn standing(client: u16, server: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc is mounted");
    let (client, server) = (format!(":{client:04X}"), format!(":{server:04X}"));
    let lines = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, remote) = (*words.get(1)?, *words.get(2)?);
        let (unacknowledged, unread) = words.get(4)?.split_once(':')?;
        let bytes = |text| u64::from_str_radix(text, 16).ok();
        match (remote.ends_with(&client), remote.ends_with(&server), local.ends_with(&server)) {
            (true, ..) | (.., true) => bytes(unread),
            (_, true, _) => bytes(unacknowledged),
            _ => None,
        }
    });
    lines.sum()
}

/// Datagrams for which the sockets of this device had no room, by the port that they are bound to, or else by the one that
/// they are connected to.
///
/// # Panics
/// When /proc is not there.
pub fn overflown(local: Option<u16>, remote: Option<u16>) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").expect("/proc is mounted");
    let is = |wanted: Option<u16>, address: &str| {
        wanted.is_none_or(|port| address.ends_with(&format!(":{port:04X}")))
    };
    let lines = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let matches = is(local, words.get(1)?) && is(remote, words.get(2)?);
        words.last()?.parse::<u64>().ok().filter(|_| matches)
    });
    lines.sum()
}

// Positions in /proc/PID/stat, counted from the field after the command's closing parenthesis.
const PPID: usize = 1;
const UTIME: usize = 11;
const STIME: usize = 12;
const CUTIME: usize = 13;
const CSTIME: usize = 14;

fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command may hold spaces and parentheses itself.
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

fn number(fields: &[String], at: usize) -> u64 {
    fields.get(at).and_then(|field| field.trim().parse().ok()).unwrap_or(0)
}
