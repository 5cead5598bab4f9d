//! The `Priority` header (RFC 9218): how urgent a request is, and whether its answer is used while it arrives. What is not
//! understood in it is passed over, as the RFC asks; a header that is no dictionary at all is as none.

use http::HeaderMap;

/// How urgent something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0 is the most urgent, 7 is background; 3 where nobody says.
    pub urgency: u8,
    /// Whether it is used while it arrives.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: 3, incremental: false }
    }
}

/// What the headers say; `None` when they say nothing that can be read.
pub fn priority(headers: &HeaderMap) -> Option<Priority> {
    let mut values = headers.get_all("priority").iter().peekable();
    values.peek()?;
    let mut priority = Priority::default();
    for value in values {
        // Parameters may stand in quotes in which a comma is text; none of ours do, so such a header is passed over.
        let text = value.to_str().ok().filter(|text| !text.contains('"'))?;
        for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])) {
            let member = member.split(';').next().unwrap_or_default().trim_end();
            let (key, said) = member.split_once('=').map_or((member, "?1"), |(key, said)| (key, said));
            if !is_key(key) {
                return None;
            }
            match (key, said) {
                ("u", digit) => {
                    let urgency = digit.parse().ok().filter(|urgency| *urgency <= 7 && digit.len() == 1);
                    priority.urgency = urgency.unwrap_or(priority.urgency);
                }
                ("i", "?1") => priority.incremental = true,
                ("i", "?0") => priority.incremental = false,
                _ => {}
            }
        }
    }
    Some(priority)
}

fn is_key(key: &str) -> bool {
    let first = key.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'*');
    let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.' | b'*');
    first && key.bytes().all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Option<(u8, bool)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("priority", value.parse().unwrap());
        }
        priority(&headers).map(|priority| (priority.urgency, priority.incremental))
    }

    #[test]
    fn urgency_and_incremental_are_read_and_the_rest_is_passed_over() {
        assert_eq!(of(&["u=1"]), Some((1, false)));
        assert_eq!(of(&["u=5, i"]), Some((5, true)));
        assert_eq!(of(&["i=?0,u=0;x=3"]), Some((0, false)));
        assert_eq!(of(&["u=1", "i"]), Some((1, true)));
        assert_eq!(of(&["u=2, x=7, u=6"]), Some((6, false)), "the last counts");
        for default in ["u=8", "u=-1", "u=1.0", "u=01", "i=1", "other"] {
            assert_eq!(of(&[default]), Some((3, false)), "{default}");
        }
    }

    #[test]
    fn what_is_no_dictionary_is_as_if_it_were_not_there() {
        for bad in ["", "=1", "U=1", "u=1,,i", "u=\"1, i\"", "\u{e9}"] {
            assert_eq!(of(&[bad]), None, "{bad}");
        }
        assert_eq!(of(&[]), None);
    }
}
