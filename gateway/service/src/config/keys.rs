//! The one list of keys: their names, what kind of value each takes, which may come from the environment, and which have
//! no effect yet. The environment, the report and the sample file are checked against it.

/// One key of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// `section.key`.
    pub(super) name: &'static str,
    /// What text from a variable or a flag is turned into.
    pub(super) kind: Kind,
    /// False while nothing looks at the value.
    pub(super) effective: bool,
    /// What stands in the report for a value that is not set.
    pub(super) unset: &'static str,
}

/// What kind of value a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Flag,
    List,
    Number,
    Text,
}

impl Key {
    /// The key of that name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// True when a hostile environment could widen trust or run other programs by it (S4).
    pub(super) fn widens(&self) -> bool {
        self.name == "listen.insecure"
            || ["policy.", "runtime.", "trust."].iter().any(|section| self.name.starts_with(section))
    }

    /// The environment variable that sets it.
    pub(super) fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_ascii_uppercase().replace('.', "__"))
    }
}

/// What the gate's own environment variables begin with.
pub(super) const PREFIX: &str = "MEXEGATE__";

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, effective: true, unset: "none" }
}

const fn later(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, effective: false, unset: "none" }
}

const fn unset(name: &'static str, kind: Kind, unset: &'static str) -> Key {
    Key { name, kind, effective: true, unset }
}

/// Every key, section by section as the documentation has them.
pub(super) const KEYS: &[Key] = &[
    key("listen.socks", Kind::Text),
    key("listen.http", Kind::Text),
    later("listen.masque", Kind::Text),
    key("listen.console", Kind::Text),
    key("listen.metrics", Kind::Text),
    key("listen.insecure", Kind::Flag),
    key("trust.roots", Kind::Text),
    key("trust.crls", Kind::Text),
    key("trust.usim", Kind::Text),
    key("trust.legacy", Kind::Flag),
    key("trust.revocation", Kind::Text),
    unset("trust.servers", Kind::Text, "the system's"),
    unset("policy.security_table", Kind::Text, "shipped"),
    key("policy.actions", Kind::Text),
    key("policy.exclusions", Kind::Text),
    key("policy.prompt_wait", Kind::Text),
    key("policy.prompt_queue", Kind::Number),
    key("policy.prompt_notify", Kind::Text),
    key("policy.connection_notify", Kind::Text),
    unset("policy.prompt_phrase", Kind::Text, "none"),
    key("policy.token_runs", Kind::Text),
    key("policy.expiry", Kind::Text),
    key("runtime.jar.command", Kind::List),
    key("runtime.native.command", Kind::List),
    unset("qos.profiles", Kind::Text, "shipped"),
    key("qos.default_profile", Kind::Text),
    key("bearer", Kind::List),
    unset("limits.connections", Kind::Number, "from RLIMIT_NOFILE"),
    key("limits.connections_per_run", Kind::Number),
    unset("limits.new_connections_per_second_per_run", Kind::Number, "off"),
    key("limits.handshake", Kind::Text),
    key("limits.connect", Kind::Text),
    key("limits.idle", Kind::Text),
    key("limits.datagram_idle", Kind::Text),
    key("limits.drain", Kind::Text),
    key("limits.package", Kind::Text),
    key("limits.body", Kind::Text),
    key("journal.retention", Kind::Text),
    key("journal.max_size", Kind::Text),
];
