//! What stands in commands beside numbers: the parameters of a profile, which crate mexe-qos writes and reads, the filter by
//! which a context's packets are told from others (+CGTFT), and the name of an access point. Each holds nothing that could
//! begin another command.

use std::fmt::Write;
use std::net::IpAddr;

/// The parameters of a profile after the context's number, in the order of their command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters(String);

impl Parameters {
    /// Digits, commas, quotes and the `E` of a ratio, not too many; `None` for everything else.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b',' | b'"' | b'E');
        (text.len() <= PARAMETERS_MAX && text.bytes().all(plain)).then_some(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Fourteen parameters, the longest of ten digits.
const PARAMETERS_MAX: usize = 200;

/// Which packets belong to a secondary context (+CGTFT): one filter, and at least one of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// The other end.
    pub remote: Option<IpAddr>,
    /// The transport protocol's number.
    pub protocol: Option<u8>,
    /// The other end's port.
    pub port: Option<u16>,
    /// The differentiated services code point, which is compared without the two bits below it.
    pub dscp: Option<u8>,
}

impl Filter {
    /// The fields after the context's number: filter 1, evaluated at this precedence. The numbers of filters begin at 1
    /// in the AT command, and an address is followed by its mask in the same string.
    pub(super) fn text(&self, precedence: u8) -> String {
        let mut text = format!("1,{precedence},");
        if let Some(remote) = self.remote {
            let octets = match remote.to_canonical() {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            let dotted: Vec<String> = octets.iter().map(ToString::to_string).collect();
            let mask = vec!["255"; octets.len()].join(".");
            let _ = write!(text, "\"{}.{mask}\"", dotted.join("."));
        }
        let protocol = self.protocol.map(|number| number.to_string()).unwrap_or_default();
        let port = self.port.map(|port| format!("\"{port}.{port}\"")).unwrap_or_default();
        let service = self.dscp.map(|dscp| format!("\"{}.252\"", dscp << 2)).unwrap_or_default();
        let _ = write!(text, ",{protocol},,{port},,{service}");
        while text.ends_with(',') {
            text.pop();
        }
        text
    }
}

/// The name of an access point that may be written into a command.
///
/// # Errors
/// It is empty, too long, or holds what no name of one has: labels of letters, digits and hyphens (TS 23.003, clause 9).
pub fn apn(name: &str) -> Result<&str, NameError> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    (name.len() <= 100 && name.split('.').all(label)).then_some(name).ok_or(NameError)
}

/// It is no name of an access point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of an access point is made of letters, digits, hyphens and dots, as in `internet.example`")]
pub struct NameError;
