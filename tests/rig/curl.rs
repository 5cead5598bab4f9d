//! Requests by the real curl: what the app behind the gate would see.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// What curl got.
#[derive(Debug)]
pub struct Reply {
    /// curl's exit code: 0 done, 97 a SOCKS proxy refused, 56 an HTTP proxy refused CONNECT, 28 the time was up.
    pub exit: i32,
    /// The status of the last response; 0 when there was none.
    pub status: u16,
    /// The status of the proxy's answer to CONNECT; 0 when there was none.
    pub connect_status: u16,
    /// The body of the last response.
    pub body: Vec<u8>,
    /// The header fields of the last response head seen, the proxy's own included; names in lower case.
    pub headers: BTreeMap<String, String>,
    /// What curl itself said.
    pub stderr: String,
}

impl Reply {
    /// Runs `curl` with these arguments; it knows no other proxy and no configuration file, and has 60 seconds.
    ///
    /// # Panics
    /// When curl is missing.
    pub fn of<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let heads = tempfile::NamedTempFile::new().expect("a temporary file");
        let marks = "\n%{http_code} %{http_connect}";
        let mut command = command();
        command.args(["--max-time", "60", "--write-out", marks]);
        command.arg("--dump-header").arg(heads.path()).args(arguments);
        let output = command.stdin(Stdio::null()).output().expect("curl is installed");
        let heads = std::fs::read_to_string(heads.path()).unwrap_or_default();
        let end = output.stdout.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let (body, marks) = output.stdout.split_at(end);
        let marks = String::from_utf8_lossy(marks);
        let mut marks = marks.split_whitespace().map(|mark| mark.parse().unwrap_or(0));
        Self {
            exit: output.status.code().unwrap_or(-1),
            status: marks.next().unwrap_or(0),
            connect_status: marks.next().unwrap_or(0),
            body: body.to_owned(),
            headers: last_head(&heads),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The gate's reason: `reason` of a problem+json body, else `details` of the Proxy-Status field.
    pub fn reason(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        if let Some(reason) = body["reason"].as_str() {
            return Some(reason.to_owned());
        }
        let details = self.headers.get("proxy-status")?.split_once("details=\"")?.1;
        Some(details.split('"').next()?.to_owned())
    }
}

/// `curl` that knows no other proxy than it is told, and no configuration file.
pub fn command() -> Command {
    let mut command = Command::new("curl");
    command.args(["--disable", "--silent", "--show-error"]);
    for name in ["all_proxy", "http_proxy", "https_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command
}

fn last_head(heads: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    for line in heads.lines() {
        if line.starts_with("HTTP/") {
            fields.clear();
        } else if let Some((name, value)) = line.split_once(':') {
            fields.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    fields
}
