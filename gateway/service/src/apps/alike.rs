//! Which installed app another one can be taken for: names that look the same to people, by the skeletons of UTS #39.
//! Shown with every question of [`crate::prompts`].

use super::App;

/// What an app's name and id look like.
#[derive(Debug)]
pub(super) struct Looks {
    name: String,
    id: String,
}

impl Looks {
    pub(super) fn of(app: &App) -> Self {
        Self { name: skeleton(&app.name), id: skeleton(app.id.as_str()) }
    }

    pub(super) fn resemble(&self, other: &Self) -> bool {
        self.name == other.name || self.id == other.id
    }
}

/// What a name looks like, whatever the case.
fn skeleton(name: &str) -> String {
    let folded: String = unicode_security::skeleton(name).collect();
    let lower = folded.to_lowercase();
    // Capitals can look like small letters of another kind: once more after folding.
    unicode_security::skeleton(&lower).filter(|c| !c.is_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use mexe_certs::{Format, Runtime};
    use mexe_model::{Groups, Trust, WallTime};
    use serde_json::Value;

    use super::super::{App, Apps};

    fn app(id: &str, name: &str) -> App {
        App {
            id: id.parse().unwrap(),
            name: name.to_owned(),
            version: String::new(),
            trust: Trust::Untrusted,
            digest: String::new(),
            signer_key: None,
            root: None,
            roots: Vec::new(),
            format: Format::Jar,
            groups: Groups::ALL,
            legacy: false,
            qos_profile: None,
            stated_reason: None,
            requested: Vec::new(),
            runtime: Runtime::Jar,
            file: String::new(),
            evidence: None,
            installed_at: WallTime::from_secs(0),
            suspended: None,
            unvouched: None,
            signers: Value::Null,
        }
    }

    fn resembled(apps: &Apps, id: &str) -> Option<String> {
        apps.resembled(&id.parse().unwrap()).map(|other| other.to_string())
    }

    #[test]
    fn an_app_resembles_one_whose_name_or_id_looks_the_same() {
        // The second name has a Cyrillic letter in it.
        let apps = Apps::new([
            app("bank", "Bank"),
            app("own", "B\u{430} n k"),
            app("rn-chat", "Chat"),
            app("m-chat", "Talk"),
            app("weather", "Weather"),
        ]);
        assert_eq!(resembled(&apps, "own").as_deref(), Some("bank"));
        assert_eq!(resembled(&apps, "bank").as_deref(), Some("own"));
        assert_eq!(resembled(&apps, "m-chat").as_deref(), Some("rn-chat"));
        assert_eq!(resembled(&apps, "weather"), None);
        assert_eq!(resembled(&apps, "unknown"), None);
    }

    #[test]
    fn what_a_name_looks_like_changes_with_the_app() {
        let apps = Apps::new([app("bank", "Bank"), app("own", "Purse")]);
        assert_eq!(resembled(&apps, "own"), None);
        apps.put(app("own", "BANK"));
        assert_eq!(resembled(&apps, "own").as_deref(), Some("bank"));
        apps.put(app("bank", "Purse"));
        assert_eq!(resembled(&apps, "own"), None);
        apps.put(app("bank", "bank"));
        apps.remove(&"bank".parse().unwrap());
        assert_eq!(resembled(&apps, "own"), None);
    }
}
