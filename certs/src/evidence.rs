//! What comes with a package besides its own bytes.

/// The signature that does not lie in the package itself. Chooses the format that the package is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Evidence<'a> {
    /// Nothing: the package is a JAR that carries its own signature, or none.
    #[default]
    Inside,
    /// An application descriptor (JAD) whose attributes sign the JAR (MIDP 2.0).
    Descriptor(&'a [u8]),
    /// A detached CMS signature over the whole file, in DER or PEM.
    Detached(&'a [u8]),
}

/// Which format a package was judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// A file of any kind with a detached CMS signature.
    Detached,
    /// A signed or unsigned JAR.
    #[default]
    Jar,
    /// A JAR with an application descriptor.
    Midlet,
}

impl Format {
    /// Every format.
    pub const ALL: &'static [Self] = &[Self::Detached, Self::Jar, Self::Midlet];

    /// The stable name, as metrics and answers have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Detached => "detached",
            Self::Jar => "jar",
            Self::Midlet => "midlet",
        }
    }
}

impl Evidence<'_> {
    /// The format that this evidence is for.
    pub const fn format(&self) -> Format {
        match self {
            Self::Inside => Format::Jar,
            Self::Descriptor(_) => Format::Midlet,
            Self::Detached(_) => Format::Detached,
        }
    }
}
