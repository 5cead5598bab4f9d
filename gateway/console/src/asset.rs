//! The static files, compiled in. Their addresses carry their content's hash, so that a browser may keep them for ever
//! and still gets a new version with the next gate.

use std::fmt::Write;

/// One static file.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its name under `/static/`.
    pub name: &'static str,
    /// Its media type.
    pub kind: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
}

/// All of them.
pub const ASSETS: [Asset; 7] = [
    Asset { name: "console.css", kind: STYLE, bytes: include_bytes!("../static/console.css") },
    Asset { name: "console.js", kind: SCRIPT, bytes: include_bytes!("../static/console.js") },
    Asset { name: "events.js", kind: SCRIPT, bytes: include_bytes!("../static/events.js") },
    Asset { name: "questions.js", kind: SCRIPT, bytes: include_bytes!("../static/questions.js") },
    Asset { name: "throughput.js", kind: SCRIPT, bytes: include_bytes!("../static/throughput.js") },
    Asset { name: "htmx.min.js", kind: SCRIPT, bytes: include_bytes!("../static/htmx.min.js") },
    Asset { name: "icon.svg", kind: "image/svg+xml", bytes: include_bytes!("../static/icon.svg") },
];

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

impl Asset {
    /// The file of that name.
    pub fn named(name: &str) -> Option<Self> {
        ASSETS.into_iter().find(|asset| asset.name == name)
    }

    /// What tells two versions apart: FNV-1a of the content, 16 hexadecimal digits. Nobody is kept out by it.
    pub fn version(&self) -> String {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        format!("{:016x}", self.bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
    }

    /// Its address.
    pub fn address(&self) -> String {
        let mut address = format!("/static/{}?v=", self.name);
        let _ = write!(address, "{}", self.version());
        address
    }
}

/// The address of the file of that name.
pub(crate) fn address(name: &str) -> String {
    Asset::named(name).map_or_else(String::new, |asset| asset.address())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell;

    #[test]
    fn the_first_page_weighs_less_than_100_kilobytes() {
        let files: usize = ASSETS.iter().map(|asset| asset.bytes.len()).sum();
        let weight = files + shell().unwrap().len();
        assert!(weight < 100_000, "{weight} bytes");
    }

    #[test]
    fn every_file_is_asked_for_by_the_shell() {
        let page = shell().unwrap();
        for asset in ASSETS {
            assert!(page.contains(&asset.address()), "{}", asset.name);
        }
    }

    #[test]
    fn no_file_of_ours_reaches_out_or_evaluates_text() {
        for asset in ASSETS.iter().filter(|asset| asset.name != "htmx.min.js") {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for word in
                ["http://", "https://", "eval(", "new Function", "document.cookie", "localStorage", "@import"]
            {
                assert!(!text.contains(word), "{} has {word}", asset.name);
            }
        }
    }
}
