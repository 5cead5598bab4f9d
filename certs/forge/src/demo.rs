//! What the demo installs: the authorities of the three security domains, one signed sample app for each, and one that is
//! unsigned. Called from `mexegate demo` and from tests that want a whole world at once.

use mexe_model::{SecurityDomain, WallTime};

use crate::Fault;
use crate::jar::JarBuilder;
use crate::pki::DemoPki;

/// A sample app.
#[derive(Debug, Clone)]
pub struct SampleApp {
    /// Its `MExE-Name`: `operator-app`, `manufacturer-app`, `third-party-app`, `unsigned-app`.
    pub name: String,
    /// The domain that it is signed for.
    pub domain: Option<SecurityDomain>,
    /// The package.
    pub package: Vec<u8>,
}

/// Authorities and apps.
pub struct Demo {
    /// The authorities.
    pub pki: DemoPki,
    /// Four apps: one for each domain, and one unsigned.
    pub apps: Vec<SampleApp>,
}

impl Demo {
    /// Makes all of it, valid for ten years from the day before `at`.
    ///
    /// # Errors
    /// A key or package cannot be made.
    pub fn make(at: WallTime) -> Result<Self, Fault> {
        let pki = DemoPki::make(at)?;
        let mut apps = Vec::new();
        for branch in &pki.branches {
            let name = format!("{}-app", branch.domain);
            let package = native_app(&name).sign(&branch.signer)?;
            apps.push(SampleApp { name, domain: Some(branch.domain), package });
        }
        let name = "unsigned-app".to_owned();
        let package = native_app(&name).unsigned()?;
        apps.push(SampleApp { name, domain: None, package });
        Ok(Self { pki, apps })
    }
}

/// A package whose program is a shell script that asks for a page by the proxy in its environment. Version 1.0; add
/// attributes before signing it.
pub fn native_app(name: &str) -> JarBuilder {
    JarBuilder::new()
        .attribute("MExE-Name", name)
        .attribute("MExE-Version", "1.0")
        .attribute("MExE-Runtime", "native")
        .attribute("MExE-Executable", EXECUTABLE)
        .entry(EXECUTABLE, SCRIPT)
}

/// The entry that is the program.
const EXECUTABLE: &str = "bin/app.sh";

const SCRIPT: &str = r#"#!/bin/sh
# Asks for one page. curl takes the gate's address and this run's credentials from the environment (ALL_PROXY).
exec curl --silent --show-error --max-time 20 "${1:-http://127.0.0.1:8058/}"
"#;
