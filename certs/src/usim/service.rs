//! What a card says that it offers: whether it has the folder MExE, in the service table of its kind, and which of the
//! folder's own services are marked in EF MExE-ST. What is not marked is not used (TS 31.102, 4.4.4.1).

use super::RootFile;

/// What kind of application was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CardKind {
    /// A SIM: the folder lies under DF GSM (7F20), its service table is EF SST.
    GsmSim,
    /// A USIM: the folder lies under ADF USIM (7FFF), its service table is EF UST.
    Usim,
}

impl CardKind {
    /// The stable name: `gsm-sim`, `usim`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GsmSim => "gsm-sim",
            Self::Usim => "usim",
        }
    }

    /// The folder of the application, to be selected below the master file.
    pub const fn application(self) -> u16 {
        match self {
            Self::GsmSim => 0x7F20,
            Self::Usim => 0x7FFF,
        }
    }

    /// Whether the service table of this kind says that there is a folder MExE: service 41 of EF UST, service 49 of
    /// EF SST (allocated and activated).
    pub(super) fn marks_mexe(self, table: &[u8]) -> bool {
        match self {
            Self::Usim => table.get(5).is_some_and(|byte| byte & 0b1 != 0),
            Self::GsmSim => table.get(12).is_some_and(|byte| byte & 0b11 == 0b11),
        }
    }
}

/// The services of the folder MExE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Services {
    marked: u8,
}

impl Services {
    /// Reads EF MExE-ST: one bit a service. Only services 1 to 3 have a meaning.
    pub(super) fn read(table: &[u8]) -> Self {
        Self { marked: table.first().copied().unwrap_or_default() }
    }

    /// Whether the service of that file is marked.
    pub const fn has(self, file: RootFile) -> bool {
        let bit = match file {
            RootFile::Operator => 0b001,
            RootFile::Administrator => 0b010,
            RootFile::ThirdParty => 0b100,
        };
        self.marked & bit != 0
    }
}
