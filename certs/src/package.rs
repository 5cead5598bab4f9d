//! What a package says of itself in the main section of its manifest: name, version, how it is executed, what it asks
//! for. Whether that is vouched for is the verdict's business.

use mexe_model::Reason;

use crate::manifest::Section;
use crate::requested::RequestedAction;
use crate::verdict::{Quoted, Refusal};

/// What a package says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackageFacts {
    /// `MExE-Name`, else `MIDlet-Name`, else `Implementation-Title`; the caller falls back to the file's stem.
    pub name: Option<String>,
    /// `MExE-Version`, else `MIDlet-Version`, else `Implementation-Version`.
    pub version: Option<String>,
    /// `MExE-QoS-Profile`: the traffic profile that the package asks for.
    pub qos_profile: Option<String>,
    /// `MExE-Reason`: why it asks for what it asks for, in its maker's words; the first 200 characters.
    pub stated_reason: Option<String>,
    /// `Main-Class`.
    pub main_class: Option<String>,
    /// How the package is executed.
    pub runtime: Runtime,
    /// How many entries it has, directories and signature files included; none, when it is one program.
    pub entries: usize,
    /// The actions that it asks for, each once, in order: `MExE-Permissions` and `MIDlet-Permissions`, and what follows
    /// them in `-Opt`. Whether the security table has such an action is not asked here.
    pub requested: Vec<RequestedAction>,
    attributes: Vec<(String, String)>,
}

/// How a package is executed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Runtime {
    /// By a Java runtime (`MExE-Runtime: jar`, or no such attribute).
    #[default]
    Jar,
    /// As a program of the device (`MExE-Runtime: native`).
    Native {
        /// `MExE-Executable`: the entry that is the program. It exists, and every signer covers it.
        executable: String,
    },
    /// As a program of the device that is the whole file (a file with a detached signature).
    Program,
}

impl Runtime {
    /// The stable name: `jar` or `native`; which of the two forms of `native` is no matter of its name.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Jar => "jar",
            Self::Native { .. } | Self::Program => "native",
        }
    }

    /// The entry that is the program, for native packages that have entries.
    pub fn executable(&self) -> Option<&str> {
        match self {
            Self::Jar | Self::Program => None,
            Self::Native { executable } => Some(executable),
        }
    }
}

impl PackageFacts {
    /// An attribute of the manifest's main section; names compare without case.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All attributes of the manifest's main section, in their order. Values may hold any characters.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A file that is one program, and says nothing of itself: name and version come from whoever installs it.
    pub(crate) fn of_program() -> Self {
        Self { runtime: Runtime::Program, ..Self::default() }
    }

    /// The same with what a descriptor says of the package. Where both speak, the descriptor wins.
    pub(crate) fn described<'a>(mut self, descriptor: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        for (name, value) in descriptor {
            let missing = match name {
                "MIDlet-Name" => Some(&mut self.name),
                "MIDlet-Version" => Some(&mut self.version),
                _ => None,
            };
            if let Some(missing) = missing.filter(|fact| fact.is_none()) {
                *missing = Some(value.to_owned());
            }
            match self.attributes.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                Some((_, known)) => value.clone_into(known),
                None => self.attributes.push((name.to_owned(), value.to_owned())),
            }
        }
        self
    }

    /// What the main section says. `is_program` tells whether a name is that of an entry that can be a program.
    pub(crate) fn read(
        main: Option<&Section<'_>>,
        entries: usize,
        is_program: impl Fn(&str) -> bool,
    ) -> Result<Self, Refusal> {
        let Some(main) = main else { return Ok(Self { entries, ..Self::default() }) };
        let first = |names: &[&str]| {
            let values = names.iter().filter_map(|name| main.attribute(name));
            values.map(str::trim).find(|value| !value.is_empty()).map(str::to_owned)
        };
        Ok(Self {
            name: first(&["MExE-Name", "MIDlet-Name", "Implementation-Title"]),
            version: first(&["MExE-Version", "MIDlet-Version", "Implementation-Version"]),
            qos_profile: first(&["MExE-QoS-Profile"]),
            stated_reason: first(&["MExE-Reason"]).map(|reason| reason.chars().take(200).collect()),
            main_class: first(&["Main-Class"]),
            runtime: runtime(first(&["MExE-Runtime"]), first(&["MExE-Executable"]), is_program)?,
            entries,
            requested: Vec::new(),
            attributes: main.attributes().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        })
    }
}

fn runtime(
    runtime: Option<String>,
    executable: Option<String>,
    is_program: impl Fn(&str) -> bool,
) -> Result<Runtime, Refusal> {
    let malformed = |detail: String| Err(Refusal::new(Reason::ManifestMalformed, detail));
    match (runtime.as_deref(), executable) {
        (None | Some("jar"), _) => Ok(Runtime::Jar),
        (Some("native"), Some(executable)) if is_program(&executable) => Ok(Runtime::Native { executable }),
        (Some("native"), Some(executable)) => {
            malformed(format!("MExE-Executable {} is not a file of the package", Quoted(&executable)))
        }
        (Some("native"), None) => malformed(
            "MExE-Runtime is native, but there is no MExE-Executable: name the entry to run".to_owned(),
        ),
        (Some(other), _) => {
            malformed(format!("MExE-Runtime {} is unknown: write jar or native", Quoted(other)))
        }
    }
}
