//! What `doctor` concludes from what it found: pure, one row per thing that the gate needs or cannot do yet. Finding is
//! [`super::run`]'s; here is only what is good, what is missing and what is dangerous.

use mexe_model::SecurityDomain;
use serde::Serialize;

/// How a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// Not there, or not enforced: something is given up.
    Missing,
    /// An app can get around the gate, or the gate cannot work.
    Red,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    /// What was looked at.
    pub(super) check: &'static str,
    /// How it stands.
    pub(super) state: State,
    /// What was found, and what to do.
    pub(super) says: String,
}

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The gate's status, when one answers; else why none does.
    pub(super) gate: Result<Gate, String>,
    /// The uid that asks.
    pub(super) own_uid: u32,
    /// The configuration, or what is wrong with it.
    pub(super) config: Result<Config, String>,
    /// The running gate's roots, else those of the configuration; or why they are not known.
    pub(super) roots: Result<Roots, String>,
    /// Open files: what the process may raise itself to.
    pub(super) files: u64,
}

/// A running gate.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    pub(super) uid: u32,
    pub(super) about: String,
    pub(super) why_not_ready: Option<String>,
    pub(super) token_runs: String,
    pub(super) listen: Vec<(String, String)>,
    pub(super) most_connections: Option<u64>,
    pub(super) journal_backlog: Option<u64>,
    /// `ok`, or what is wrong with the clock.
    pub(super) clock: String,
}

/// What of the configuration matters here.
#[derive(Clone, Debug, Default)]
pub(super) struct Config {
    /// The file that was read.
    pub(super) file: Option<String>,
    pub(super) token_runs: String,
    pub(super) listen: Vec<(String, String)>,
    pub(super) insecure: bool,
    pub(super) connections: Option<u64>,
    /// A runtime's kind, its program, and whether that program was found.
    pub(super) runtimes: Vec<(&'static str, String, bool)>,
    pub(super) bearers: usize,
    /// How long a question waits, seconds; zero asks nobody.
    pub(super) prompt_wait: u64,
    /// Whether a folder of revocation lists is named.
    pub(super) lists: bool,
    /// Where the card's roots come from, and whether that place is for labs only.
    pub(super) card: Option<(String, bool)>,
}

/// The roots.
#[derive(Clone, Debug, Default)]
pub(super) struct Roots {
    pub(super) usable: Vec<SecurityDomain>,
    pub(super) problems: Vec<String>,
}

/// Files that a flow keeps open at least: its two sockets.
const FILES_PER_FLOW: u64 = 2;

/// Judges what was found.
pub(super) fn rows(found: &Found) -> Vec<Row> {
    let mut rows = vec![gate(found), configuration(found), confinement(), users(found), token_runs(found)];
    rows.extend(runtimes(found));
    rows.extend([listeners(found), roots(found), journal(found), open_files(found)]);
    rows.extend([bearers(found), clock(found)]);
    rows.extend(
        found.config.as_ref().iter().flat_map(|config| [prompts(config), revocation(config), card(config)]),
    );
    rows.push(not_yet("masque", "datagrams pass by SOCKS5 alone: MASQUE is not offered"));
    rows
}

fn row(check: &'static str, state: State, says: impl Into<String>) -> Row {
    Row { check, state, says: says.into() }
}

fn not_yet(check: &'static str, says: &str) -> Row {
    row(check, State::Missing, format!("not enforced yet: {says}"))
}

fn gate(found: &Found) -> Row {
    match &found.gate {
        Ok(gate) => row("gate", State::Ok, gate.about.clone()),
        Err(why) => row("gate", State::Red, why.clone()),
    }
}

fn configuration(found: &Found) -> Row {
    match (&found.config, &found.gate) {
        (Err(why), _) => row("configuration", State::Red, why.clone()),
        (Ok(_), Ok(Gate { why_not_ready: Some(why), .. })) => {
            row("configuration", State::Red, format!("valid, but the gate is not ready: {why}"))
        }
        (Ok(Config { file: Some(file), .. }), _) => {
            row("configuration", State::Ok, format!("`{file}` is valid"))
        }
        (Ok(_), _) => row("configuration", State::Ok, "the defaults; name the file of a service with -c"),
    }
}

fn confinement() -> Row {
    row(
        "confinement",
        State::Missing,
        "not enforced yet: the gate is advisory for programs that are not confined; one that ignores its proxies reaches the network past it",
    )
}

fn users(found: &Found) -> Row {
    let own = found.own_uid;
    match &found.gate {
        Ok(gate) if gate.uid == own => row(
            "users",
            State::Red,
            format!(
                "gate and apps share uid {own} unconfined: an app can read and change what you can; give the gate a uid of its own"
            ),
        ),
        Ok(gate) => row("users", State::Ok, format!("the gate has uid {}, you have {own}", gate.uid)),
        Err(_) => row(
            "users",
            State::Missing,
            format!("not known while no gate runs; started by you it would share uid {own} with the apps"),
        ),
    }
}

fn token_runs(found: &Found) -> Row {
    let setting = match (&found.gate, &found.config) {
        (Ok(gate), _) => gate.token_runs.as_str(),
        (Err(_), Ok(config)) => config.token_runs.as_str(),
        (Err(_), Err(_)) => "",
    };
    match setting {
        "refuse" => row("token runs", State::Ok, "refused: every run is measured"),
        "session-only" => row(
            "token runs",
            State::Missing,
            "session-only: whoever holds a run's token is taken for the app, without its blanket permissions",
        ),
        "allow" => row(
            "token runs",
            State::Red,
            "allowed: whoever holds a run's token is taken for the app, with all its permissions; set policy.token_runs",
        ),
        _ => row("token runs", State::Missing, "not known while the configuration is wrong"),
    }
}

fn runtimes(found: &Found) -> Vec<Row> {
    let Ok(config) = &found.config else { return Vec::new() };
    let judged = config.runtimes.iter().map(|(kind, program, there)| {
        if *there {
            row(kind, State::Ok, format!("`{program}` runs the verified package"))
        } else {
            row(kind, State::Missing, format!("`{program}` is not found: packages of this kind cannot be run; install it, or set its command"))
        }
    });
    judged.collect()
}

fn listeners(found: &Found) -> Row {
    let (listen, insecure) = match (&found.gate, &found.config) {
        (Ok(gate), config) => (&gate.listen, config.as_ref().is_ok_and(|c| c.insecure)),
        (Err(_), Ok(config)) => (&config.listen, config.insecure),
        (Err(_), Err(_)) => {
            return row("listeners", State::Missing, "not known while the configuration is wrong");
        }
    };
    let shown: Vec<_> = listen.iter().map(|(name, address)| format!("{name} {address}")).collect();
    let shown = shown.join(", ");
    let off = |name: &str| listen.iter().any(|(n, address)| n == name && address == "off");
    let open = |address: &str| address.parse::<std::net::SocketAddr>().is_ok_and(|a| !a.ip().is_loopback());
    if listen.iter().any(|(_, address)| open(address)) {
        return row("listeners", State::Red, format!("{shown}: credentials cross the network in clear"));
    }
    if off("socks") && off("http") {
        return row("listeners", State::Red, format!("{shown}: no app can come in"));
    }
    let note = if insecure { "; listen.insecure is set without need" } else { "" };
    row("listeners", State::Ok, format!("{shown}{note}"))
}

fn roots(found: &Found) -> Row {
    let roots = match &found.roots {
        Ok(roots) => roots,
        Err(why) => return row("roots", State::Red, why.clone()),
    };
    let count = |domain| roots.usable.iter().filter(|d| **d == domain).count();
    let counted: Vec<_> = SecurityDomain::ALL.iter().map(|d| format!("{d} {}", count(*d))).collect();
    let mut says = counted.join(", ");
    if roots.usable.is_empty() {
        says.push_str(": no app can be verified; put certificates below trust.roots");
    }
    if !roots.problems.is_empty() {
        says = format!("{says}; not used: {}", roots.problems.join("; "));
    }
    let state =
        if roots.usable.is_empty() || !roots.problems.is_empty() { State::Missing } else { State::Ok };
    row("roots", state, says)
}

fn journal(found: &Found) -> Row {
    match &found.gate {
        Ok(Gate { why_not_ready: Some(why), .. }) if why.starts_with("journal-unavailable") => {
            row("journal", State::Red, why.clone())
        }
        Ok(gate) => {
            let waiting = gate.journal_backlog.unwrap_or_default();
            row(
                "journal",
                State::Ok,
                format!("written; {waiting} records waiting; `mexegate journal verify` checks its chain"),
            )
        }
        Err(_) => row("journal", State::Missing, "nothing is recorded while no gate runs"),
    }
}

fn open_files(found: &Found) -> Row {
    let room = found.files / FILES_PER_FLOW;
    let wanted = found.config.as_ref().ok().and_then(|config| config.connections);
    let most = found.gate.as_ref().ok().and_then(|gate| gate.most_connections);
    let taken = most.map(|most| format!("; the gate takes {most}")).unwrap_or_default();
    let says = format!("{} here, room for at most {room} connections{taken}", found.files);
    match wanted {
        Some(wanted) if most.is_some_and(|most| most < wanted) => row(
            "open files",
            State::Missing,
            format!("{says}, less than limits.connections = {wanted}; raise RLIMIT_NOFILE"),
        ),
        _ if room < 1000 => row("open files", State::Missing, format!("{says}; raise RLIMIT_NOFILE")),
        _ => row("open files", State::Ok, says),
    }
}

fn clock(found: &Found) -> Row {
    match &found.gate {
        Ok(Gate { clock, .. }) if clock == "ok" => {
            row("clock", State::Ok, "not before any time that has certainly passed")
        }
        Ok(gate) => row("clock", State::Red, gate.clock.clone()),
        Err(_) => row("clock", State::Missing, "not judged while no gate runs"),
    }
}

fn prompts(config: &Config) -> Row {
    match config.prompt_wait {
        0 => row("prompts", State::Missing, "nobody is asked: what is not yet permitted is refused at once"),
        wait => row(
            "prompts",
            State::Ok,
            format!("a request waits {wait} s for your answer: the console, or `mexegate prompts --watch`"),
        ),
    }
}

fn revocation(config: &Config) -> Row {
    if config.lists {
        row("revocation", State::Ok, "lists are read from trust.crls; `mexegate roots crl list` shows them")
    } else {
        row(
            "revocation",
            State::Missing,
            "no folder of revocation lists: only lists added by `mexegate roots crl add` are asked; set trust.crls",
        )
    }
}

fn card(config: &Config) -> Row {
    match &config.card {
        Some((place, false)) => row("card", State::Ok, format!("its roots come from {place}")),
        Some((place, true)) => row(
            "card",
            State::Missing,
            format!(
                "its roots come from {place}, which is for labs: it need not be the card that carries the bearer"
            ),
        ),
        None => row("card", State::Missing, "no (U)SIM card is read: no bearer with a modem is configured"),
    }
}

fn bearers(found: &Found) -> Row {
    let bearers = found.config.as_ref().map_or(0, |config| config.bearers);
    let configured =
        if bearers == 0 { "none is configured".to_owned() } else { format!("{bearers} configured") };
    row(
        "bearers",
        State::Missing,
        format!("not enforced yet: {configured}; capacity is taken as unlimited, only profiles limit a flow"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Found {
        let listen = || vec![("socks".into(), "127.0.0.1:1080".into()), ("http".into(), "off".into())];
        Found {
            gate: Ok(Gate {
                uid: 900,
                about: "runs".into(),
                token_runs: "refuse".into(),
                listen: listen(),
                clock: "ok".into(),
                ..Gate::default()
            }),
            own_uid: 1000,
            config: Ok(Config {
                token_runs: "allow".into(),
                listen: listen(),
                runtimes: vec![("runtime.jar", "java".into(), true)],
                prompt_wait: 30,
                lists: true,
                card: Some(("the modem /dev/ttyUSB2".into(), false)),
                ..Config::default()
            }),
            roots: Ok(Roots { usable: SecurityDomain::ALL.to_vec(), problems: Vec::new() }),
            files: 20_000,
        }
    }

    fn state(found: &Found, check: &str) -> State {
        rows(found).into_iter().find(|row| row.check == check).unwrap().state
    }

    #[test]
    fn what_is_not_enforced_is_said_even_when_all_is_well() {
        let rows = rows(&healthy());
        for check in ["confinement", "masque", "bearers"] {
            assert_eq!(rows.iter().find(|row| row.check == check).unwrap().state, State::Missing, "{check}");
        }
        for check in ["prompts", "revocation", "card", "clock"] {
            assert_eq!(rows.iter().find(|row| row.check == check).unwrap().state, State::Ok, "{check}");
        }
        assert!(rows.iter().all(|row| row.state != State::Red), "{rows:?}");
        assert!(rows.iter().any(|row| row.says.contains("advisory for programs that are not confined")));
    }

    #[test]
    fn a_gate_under_the_users_own_uid_is_red() {
        let found = Found { own_uid: 900, ..healthy() };
        assert_eq!(state(&found, "users"), State::Red);
        assert_eq!(state(&healthy(), "users"), State::Ok);
    }

    #[test]
    fn the_running_gates_token_setting_counts_not_the_files() {
        let mut found = healthy();
        assert_eq!(state(&found, "token runs"), State::Ok);
        found.gate = Err("no gate answers".into());
        assert_eq!(state(&found, "token runs"), State::Red);
        assert_eq!((state(&found, "gate"), state(&found, "journal")), (State::Red, State::Missing));
    }

    #[test]
    fn listeners_off_loopback_and_none_at_all_are_red() {
        let mut found = healthy();
        assert_eq!(state(&found, "listeners"), State::Ok);
        for (address, expected) in
            [("192.0.2.1:1080", State::Red), ("off", State::Red), ("[::1]:1080", State::Ok)]
        {
            found.gate.as_mut().unwrap().listen[0].1 = address.into();
            assert_eq!(state(&found, "listeners"), expected, "{address}");
        }
    }

    #[test]
    fn what_is_switched_off_or_for_labs_only_is_missing_and_a_clock_set_back_is_red() {
        let mut found = healthy();
        let config = found.config.as_mut().unwrap();
        (config.prompt_wait, config.lists) = (0, false);
        for card in [None, Some(("the folder /card".to_owned(), true))] {
            found.config.as_mut().unwrap().card = card;
            for check in ["prompts", "revocation", "card"] {
                assert_eq!(state(&found, check), State::Missing, "{check}");
            }
        }
        found.gate.as_mut().unwrap().clock = "clock-suspect: set it".into();
        assert_eq!(state(&found, "clock"), State::Red);
    }

    #[test]
    fn missing_roots_runtimes_and_files_are_named() {
        let mut found = healthy();
        found.roots = Ok(Roots::default());
        found.files = 1024;
        found.config.as_mut().unwrap().runtimes[0].2 = false;
        for check in ["roots", "open files", "runtime.jar"] {
            assert_eq!(state(&found, check), State::Missing, "{check}");
        }
        found.gate.as_mut().unwrap().why_not_ready = Some("journal-unavailable: disk full".into());
        assert_eq!(state(&found, "journal"), State::Red);
    }
}
