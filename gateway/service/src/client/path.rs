//! Paths of the API with what is put into them percent-encoded, so that no name of an app, a file or a target can make
//! another path of it.

use std::fmt::Write;

/// A path of the API with its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiPath {
    text: String,
    has_query: bool,
}

impl ApiPath {
    /// Starts with a fixed path, as in `/v1/apps`.
    pub fn new(fixed: &'static str) -> Self {
        Self { text: fixed.to_owned(), has_query: false }
    }

    /// Adds one segment.
    #[must_use]
    pub fn segment(mut self, segment: &str) -> Self {
        self.text.push('/');
        self.encode(segment);
        self
    }

    /// Adds `name=value` to the query.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: &str) -> Self {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        self.text.push_str(name);
        self.text.push('=');
        self.encode(value);
        self
    }

    /// The path as it goes on the wire.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn encode(&mut self, part: &str) {
        for byte in part.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                self.text.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(self.text, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_cannot_make_another_path() {
        let path = ApiPath::new("/v1/apps").segment("a/b?c").query("file", "x&y=1 ü").query("q", "#");
        assert_eq!(path.as_str(), "/v1/apps/a%2Fb%3Fc?file=x%26y%3D1%20%C3%BC&q=%23");
    }
}
