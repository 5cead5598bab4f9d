//! Which headers end at the gate (RFC 9110, 7.6.1): the fixed hop-by-hop ones, everything `Proxy-*` (credentials above
//! all), `MExE-Stream`, which is said to the gate alone, and what `Connection` names. Called by `forward` for requests and responses alike.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use super::Malformed;

/// Removes what must not pass the gate.
///
/// # Errors
/// [`Malformed::Connection`] when `Connection` cannot be read, or names a header that frames or addresses the message:
/// the next hop would read another message than the one that was decided on.
pub(super) fn strip(headers: &mut HeaderMap) -> Result<(), Malformed> {
    for name in named_by_connection(headers)? {
        headers.remove(name);
    }
    for name in FIXED {
        headers.remove(name);
    }
    let proxy: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("proxy-")).cloned().collect();
    headers.remove("mexe-stream");
    for name in proxy {
        headers.remove(name);
    }
    Ok(())
}

fn named_by_connection(headers: &HeaderMap) -> Result<Vec<HeaderName>, Malformed> {
    let mut names = Vec::new();
    for value in headers.get_all(CONNECTION) {
        let value = value.to_str().map_err(|_| Malformed::Connection)?;
        for token in value.split(',').map(|t| t.trim_matches([' ', '\t'])).filter(|t| !t.is_empty()) {
            let name: HeaderName = token.parse().map_err(|_| Malformed::Connection)?;
            if NEEDED.contains(&name) {
                return Err(Malformed::Connection);
            }
            names.push(name);
        }
    }
    Ok(names)
}

const FIXED: [HeaderName; 6] =
    [CONNECTION, HeaderName::from_static("keep-alive"), TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
const NEEDED: [HeaderName; 3] = [CONTENT_LENGTH, HOST, TRANSFER_ENCODING];
