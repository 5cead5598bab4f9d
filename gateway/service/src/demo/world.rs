//! The demo's folder: roots, sample packages and the state directory. Made once; a second demo in the same folder finds
//! its apps, grants and journal again.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use mexe_forge::demo::{Demo, native_app};
use mexe_forge::jar;
use mexe_model::SecurityDomain;

use crate::clock;

/// The world cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// A file.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A key, certificate or package.
    #[error("{0}")]
    Forge(#[from] mexe_forge::Fault),
}

/// A sample package of which one byte was changed after signing.
pub(super) const CHANGED_APP: &str = "changed-app";

/// A bearer that is narrow enough to see who goes first on it.
const CONFIG: &str = "# Written anew by each `mexegate demo`.\n\n[[bearer]]\nname = \"mobile\"\nkind = \"static\"\n\
                      uplink = \"10 Mbit/s\"\ndownlink = \"10 Mbit/s\"\n";

/// Written last: a folder without it was not finished.
const COMPLETE: &str = "complete";

/// The demo's folder.
#[derive(Debug)]
pub(super) struct World {
    dir: PathBuf,
}

impl World {
    /// The world in `dir`, made if it is not there yet.
    pub(super) fn at(dir: &Path) -> Result<Self, WorldError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let world = Self { dir: dir.canonicalize()? };
        if !world.dir.join(COMPLETE).exists() {
            world.make()?;
        }
        fs::write(world.config(), CONFIG)?;
        Ok(world)
    }

    fn make(&self) -> Result<(), WorldError> {
        let demo = Demo::make(clock::wall())?;
        for branch in &demo.pki.branches {
            let folder = self.roots().join(branch.domain.as_str());
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("root.pem"), branch.root.pem())?;
        }
        fs::create_dir_all(self.packages())?;
        for app in &demo.apps {
            fs::write(self.file(&app.name), &app.package)?;
        }
        if let Some(branch) = demo.pki.branch(SecurityDomain::Operator) {
            let mut parts = native_app(CHANGED_APP).sign_parts(&[("SIGNER", &branch.signer)])?;
            // The program is what comes last, after manifest and signatures.
            if let Some((_, bytes)) = parts.last_mut() {
                bytes.push(b'\n');
            }
            fs::write(self.file(CHANGED_APP), jar::pack(&parts)?)?;
        }
        fs::write(self.dir.join(COMPLETE), "")?;
        Ok(())
    }

    /// What the gate is told beside its flags.
    pub(super) fn config(&self) -> PathBuf {
        self.dir.join("demo.toml")
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub(super) fn roots(&self) -> PathBuf {
        self.dir.join("roots")
    }

    pub(super) fn packages(&self) -> PathBuf {
        self.dir.join("packages")
    }

    pub(super) fn package(&self, name: &str) -> Result<File, WorldError> {
        Ok(File::open(self.file(name))?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.packages().join(name).with_extension("jar")
    }
}
