//! Files of certificates: PEM with one or more of them, or one in DER.

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;

use super::RootFault;

/// The certificates in a file, DER. A file that has a PEM line is PEM, anything else is one DER certificate.
pub(super) fn certificates(bytes: &[u8]) -> Result<Vec<Vec<u8>>, RootFault> {
    let is_pem = bytes.windows(BEGIN.len()).any(|window| window == BEGIN.as_bytes());
    if !is_pem {
        let found = if bytes.is_empty() { Vec::new() } else { vec![bytes.to_vec()] };
        return Ok(found);
    }
    let text = String::from_utf8_lossy(bytes);
    let mut found = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in text.lines().map(str::trim) {
        let label = |begin| line.strip_prefix(begin).and_then(|rest: &str| rest.strip_suffix("-----"));
        match (label(BEGIN), label("-----END "), open.as_mut()) {
            (Some(label), _, None) if label.ends_with("PRIVATE KEY") => return Err(RootFault::PrivateKey),
            (Some(label), _, None) => open = Some((label, String::new())),
            (None, Some(end), Some((label, body))) if end == *label => {
                if *label == "CERTIFICATE" {
                    let der = BASE64.decode(&*body);
                    found.push(der.map_err(|_| RootFault::Malformed("its PEM is not base64".to_owned()))?);
                }
                open = None;
            }
            (None, None, Some((_, body))) => body.push_str(line),
            (None, None, None) => {}
            _ => return Err(RootFault::Malformed("its PEM lines do not pair up".to_owned())),
        }
    }
    match open {
        None => Ok(found),
        Some(_) => Err(RootFault::Malformed("its PEM is cut off".to_owned())),
    }
}

const BEGIN: &str = "-----BEGIN ";
