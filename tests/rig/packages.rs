//! The authorities and sample packages of one rig, forged anew for each: no key of a test is ever on disk for longer
//! than the test. Files are written so that the gate accepts them under any umask (it refuses roots that a group may
//! write).

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use mexe_forge::demo::Demo;
use mexe_forge::jar::JarBuilder;
use mexe_model::{SecurityDomain, WallTime};

/// Roots and packages in the rig's folder, and the keys that made them.
pub struct Packages {
    demo: Demo,
    roots: PathBuf,
    files: PathBuf,
}

impl Packages {
    /// Makes a root, an issuer and a signer for each security domain, and a package for each and an unsigned one.
    ///
    /// # Panics
    /// When a key cannot be made or the folder not be written.
    pub fn make(folder: &Path) -> Self {
        let demo = Demo::make(now()).expect("keys and packages can be made");
        let packages = Self { demo, roots: folder.join("roots"), files: folder.join("packages") };
        fs::create_dir_all(&packages.files).expect("the rig's folder can be written");
        for branch in &packages.demo.pki.branches {
            let folder = packages.roots.join(branch.domain.as_str());
            fs::create_dir_all(&folder).expect("the rig's folder can be written");
            guard(&folder);
            write(&folder.join("root.pem"), branch.root.pem().as_bytes());
        }
        guard(&packages.roots);
        for app in &packages.demo.apps {
            write(&packages.file(&app.name), &app.package);
        }
        packages
    }

    /// The roots directory, for `trust.roots` and `--roots`.
    pub fn roots(&self) -> &Path {
        &self.roots
    }

    /// The file of a package: `operator`, `manufacturer`, `third-party`, `unsigned`, or what [`sign`](Self::sign) made.
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.join(format!("{}.jar", name.trim_end_matches("-app")))
    }

    /// Signs a package for a domain, or leaves it unsigned, and gives its file.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn sign(&self, file: &str, package: &JarBuilder, domain: Option<SecurityDomain>) -> PathBuf {
        let bytes = match domain.and_then(|domain| self.demo.pki.branch(domain)) {
            Some(branch) => package.sign(&branch.signer),
            None => package.unsigned(),
        };
        let path = self.file(file);
        write(&path, &bytes.expect("a package can be made"));
        path
    }

    /// The authorities, for packages and certificates of another shape.
    pub fn demo(&self) -> &Demo {
        &self.demo
    }
}

/// The time as the forge and the gate count it.
///
/// # Panics
/// When the clock stands before 1970.
pub fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    WallTime::from_secs(since.as_secs())
}

/// Writes a file that its owner alone may change.
///
/// # Panics
/// When it cannot.
pub fn write(path: &Path, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn guard(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("the rig's folder is ours");
}
