//! Which app a package is, and what it may replace: an app is its security domain, its signer's key and its name, and only a
//! package of the same three, or one that the old key handed over to ([`crate::rotation`]), updates it. Decides on values;
//! installs nothing. Called by whoever installs, with the app that has the id which the package would get, or with the app
//! that the owner named.

use std::cmp::Ordering;

use mexe_model::{Reason, SecurityDomain};

use crate::fingerprint::Fingerprint;
use crate::verdict::{Quoted, Refusal};
use crate::version;

/// What an app is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// Its security domain; `None` for an untrusted app.
    pub domain: Option<SecurityDomain>,
    /// The signer's key; `None` for an unsigned package, which nobody can update.
    pub key: Option<Fingerprint>,
    /// Its name, as the package says it.
    pub name: String,
}

/// The installed app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed<'a> {
    /// What it is known by.
    pub lineage: &'a Lineage,
    /// Its version; empty when it names none.
    pub version: &'a str,
    /// SHA-256 of its package.
    pub package: Fingerprint,
}

/// The package that is to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered<'a> {
    /// What it is known by.
    pub lineage: &'a Lineage,
    /// Its version; empty when it names none.
    pub version: &'a str,
    /// SHA-256 of the package.
    pub package: Fingerprint,
    /// What [`crate::rotation::judge_rotation`] says of its statements, from the installed app's key to its own; `None`
    /// when it carries none.
    pub rotation: Option<Result<(), Refusal>>,
    /// Whether the owner named the installed app as the one to update.
    pub named: bool,
    /// Whether the owner wants this version even if it is older.
    pub forced: bool,
}

/// What the package is to the installed app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// Another app: it gets an id with this at its end, after a hyphen. Where that id is taken too, ask again with
    /// the app that has it; the answer is the same, and then it is `id-taken` ([`Update::at_its_own_id`]).
    NewApp {
        /// Eight hexadecimal digits of the signer's key, or of an unsigned package.
        suffix: String,
    },
    /// It may not be installed.
    Refused(Refusal),
    /// The same app with a new signer's key, which the old one vouched for.
    Rotated(Keeps),
    /// The same app.
    Same(Keeps),
}

/// What stays of the app that is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keeps {
    /// Everything that the user permitted.
    Grants,
    /// Its id only: the owner forced an older version, which may have the faults that the newer one mended.
    Nothing,
}

/// Decides what the offered package is to the installed app.
///
/// An older version is refused unless forced. Versions that cannot be compared count as older, except where the installed
/// app names none: nobody can tell that an odd version is not an old one.
pub fn decide_update(installed: &Installed<'_>, offered: &Offered<'_>) -> Update {
    let same_app =
        offered.lineage.domain == installed.lineage.domain && offered.lineage.name == installed.lineage.name;
    let same_key = offered.lineage.key.is_some() && offered.lineage.key == installed.lineage.key;
    // The very same package by the same signer, or by none, is no update. By another signer it is: whoever installs would go
    // on with the new signer's key.
    let same_signer = offered.lineage.key == installed.lineage.key;
    if same_app && same_signer && offered.package == installed.package {
        return Update::Same(Keeps::Grants);
    }
    if same_app && same_key {
        return by_version(installed, offered, Update::Same);
    }
    match &offered.rotation {
        Some(Ok(())) if same_app => return by_version(installed, offered, Update::Rotated),
        // A wrong statement is an attempt, not another app.
        Some(Err(refusal)) if same_app || offered.named => return Update::Refused(refusal.clone()),
        _ => {}
    }
    if offered.named {
        let detail = format!("it is not by the signer of {}", Quoted(&installed.lineage.name));
        return Update::Refused(Refusal::new(Reason::SignerChanged, detail));
    }
    Update::NewApp { suffix: offered.lineage.suffix(offered.package) }
}

fn by_version(installed: &Installed<'_>, offered: &Offered<'_>, update: fn(Keeps) -> Update) -> Update {
    let order = version::compare(offered.version, installed.version);
    let not_older = matches!(order, Some(Ordering::Equal | Ordering::Greater));
    if not_older || (order.is_none() && installed.version.is_empty()) {
        return update(Keeps::Grants);
    }
    if offered.forced {
        return update(Keeps::Nothing);
    }
    let (new, old) = (Quoted(offered.version), Quoted(installed.version));
    let detail = match order {
        Some(_) => format!("version {old} is installed, this is {new}"),
        None => format!("version {old} is installed, and {new} cannot be compared with it"),
    };
    Update::Refused(Refusal::new(Reason::OlderVersion, detail))
}

impl Lineage {
    fn suffix(&self, package: Fingerprint) -> String {
        self.key.unwrap_or(package).to_string().chars().take(8).collect()
    }
}

impl Update {
    /// The answer where the installed app has the id that already ends in the package's own suffix: there is no further id,
    /// so another app there means `id-taken`.
    #[must_use]
    pub fn at_its_own_id(self) -> Self {
        match self {
            Self::NewApp { suffix } => {
                let detail = format!("another signer's app has the id that ends in {suffix} too");
                Self::Refused(Refusal::new(Reason::IdTaken, detail))
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Fingerprint = Fingerprint([0x0a; 32]);
    const NEW: Fingerprint = Fingerprint([0x0b; 32]);
    const PACKAGE: [Fingerprint; 2] = [Fingerprint([1; 32]), Fingerprint([2; 32])];
    const OPERATOR: Option<SecurityDomain> = Some(SecurityDomain::Operator);

    fn lineage(domain: Option<SecurityDomain>, key: Option<Fingerprint>, name: &str) -> Lineage {
        Lineage { domain, key, name: name.to_owned() }
    }

    struct Case<'a> {
        lineage: Lineage,
        versions: (&'a str, &'a str),
        rotation: Option<Result<(), Refusal>>,
        named: bool,
        forced: bool,
    }

    impl Default for Case<'_> {
        fn default() -> Self {
            let lineage = lineage(OPERATOR, Some(OLD), "app");
            Self { lineage, versions: ("1.0", "1.1"), rotation: None, named: false, forced: false }
        }
    }

    fn decide(case: &Case<'_>) -> Update {
        let own = lineage(OPERATOR, Some(OLD), "app");
        let installed = Installed { lineage: &own, version: case.versions.0, package: PACKAGE[0] };
        let offered = Offered {
            lineage: &case.lineage,
            version: case.versions.1,
            package: PACKAGE[1],
            rotation: case.rotation.clone(),
            named: case.named,
            forced: case.forced,
        };
        decide_update(&installed, &offered)
    }

    fn reason(update: Update) -> Reason {
        match update {
            Update::Refused(refusal) => refusal.reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_signer_updates_and_keeps_the_grants() {
        for versions in [("1.0", "1.1"), ("1.0", "1.0"), ("", "1.0"), ("", ""), ("x", "x"), ("", "x")] {
            let case = Case { versions, ..Case::default() };
            assert_eq!(decide(&case), Update::Same(Keeps::Grants), "{versions:?}");
        }
    }

    #[test]
    fn the_same_package_by_another_signer_is_another_app() {
        let (own, offered) = (lineage(OPERATOR, Some(OLD), "app"), lineage(OPERATOR, Some(NEW), "app"));
        let update = |offered: &Lineage| {
            let installed = Installed { lineage: &own, version: "1.0", package: PACKAGE[0] };
            let (version, package) = ("1.0", PACKAGE[0]);
            let offered =
                Offered { lineage: offered, version, package, rotation: None, named: false, forced: false };
            decide_update(&installed, &offered)
        };
        assert_eq!(update(&own), Update::Same(Keeps::Grants));
        assert!(matches!(update(&offered), Update::NewApp { .. }));
    }

    #[test]
    fn an_older_version_is_refused_and_a_forced_one_loses_the_grants() {
        for versions in [("1.1", "1.0"), ("1.0", "1.0-rc1"), ("1.0-rc1", "1.0"), ("1.0", "")] {
            for (rotation, key) in [(None, OLD), (Some(Ok(())), NEW)] {
                let lineage = lineage(OPERATOR, Some(key), "app");
                let case = Case { versions, rotation, lineage, ..Case::default() };
                assert_eq!(reason(decide(&case)), Reason::OlderVersion, "{versions:?}");
                let forced = decide(&Case { forced: true, ..case });
                let expected =
                    if key == OLD { Update::Same(Keeps::Nothing) } else { Update::Rotated(Keeps::Nothing) };
                assert_eq!(forced, expected, "{versions:?}");
            }
        }
    }

    #[test]
    fn another_signer_makes_another_app_and_never_an_update() {
        let others = [
            lineage(OPERATOR, Some(NEW), "app"),
            lineage(Some(SecurityDomain::ThirdParty), Some(OLD), "app"),
            lineage(None, Some(OLD), "app"),
            lineage(OPERATOR, Some(OLD), "App"),
        ];
        for lineage in others {
            let suffix = if lineage.key == Some(NEW) { "0b0b0b0b" } else { "0a0a0a0a" }.to_owned();
            // Force lets an older version in, not another signer.
            let case = Case { lineage: lineage.clone(), forced: true, ..Case::default() };
            let update = decide(&case);
            assert_eq!(update, Update::NewApp { suffix }, "{lineage:?}");
            assert_eq!(reason(update.at_its_own_id()), Reason::IdTaken, "{lineage:?}");
            assert_eq!(reason(decide(&Case { named: true, ..case })), Reason::SignerChanged, "{lineage:?}");
        }
    }

    #[test]
    fn a_right_statement_rotates_and_a_wrong_one_is_refused() {
        let rotated = |rotation, name, named| {
            let lineage = lineage(OPERATOR, Some(NEW), name);
            decide(&Case { lineage, rotation, named, ..Case::default() })
        };
        let wrong = || Some(Err(Refusal::new(Reason::RotationWrong, "x")));
        assert_eq!(rotated(Some(Ok(())), "app", false), Update::Rotated(Keeps::Grants));
        assert_eq!(reason(rotated(wrong(), "app", false)), Reason::RotationWrong);
        assert_eq!(reason(rotated(wrong(), "other", true)), Reason::RotationWrong);
        // A statement for one app does nothing for another.
        assert_eq!(reason(rotated(Some(Ok(())), "other", true)), Reason::SignerChanged);
        assert!(matches!(rotated(Some(Ok(())), "other", false), Update::NewApp { .. }));
    }

    #[test]
    fn nobody_updates_an_unsigned_app_but_the_same_package_is_the_same_app() {
        let own = lineage(None, None, "app");
        let installed = Installed { lineage: &own, version: "1.0", package: PACKAGE[0] };
        let offered = |package, named| Offered {
            lineage: &own,
            version: "1.1",
            package,
            rotation: None,
            named,
            forced: true,
        };
        let suffix = "02020202".to_owned();
        assert_eq!(decide_update(&installed, &offered(PACKAGE[1], false)), Update::NewApp { suffix });
        assert_eq!(reason(decide_update(&installed, &offered(PACKAGE[1], true))), Reason::SignerChanged);
        assert_eq!(decide_update(&installed, &offered(PACKAGE[0], false)), Update::Same(Keeps::Grants));
    }
}
