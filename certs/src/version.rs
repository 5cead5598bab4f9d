//! The order of package versions: dotted integers compare by number, every other form compares only as equal. What an
//! older version means is decided by whoever installs.

use std::cmp::Ordering;

/// How `a` stands to `b`. Dotted integers compare part by part, a missing part is 0; `None` when either is another form
/// and the two are not the same text.
///
/// ```
/// use std::cmp::Ordering;
/// use mexe_certs::version::compare;
///
/// assert_eq!(compare("1.10", "1.9"), Some(Ordering::Greater));
/// assert_eq!(compare("1.0-beta", "1.0"), None);
/// ```
pub fn compare(a: &str, b: &str) -> Option<Ordering> {
    if a == b {
        return Some(Ordering::Equal);
    }
    let (a, b) = (parts(a)?, parts(b)?);
    let longer = a.len().max(b.len());
    let padded = |parts: &[&str], at: usize| parts.get(at).copied().unwrap_or_default().to_owned();
    let orders = (0..longer).map(|at| {
        let (a, b) = (padded(&a, at), padded(&b, at));
        // Without leading zeros, a longer run of digits is a larger number: no number is too large to compare.
        a.len().cmp(&b.len()).then_with(|| a.cmp(&b))
    });
    Some(orders.fold(Ordering::Equal, Ordering::then))
}

/// The parts without leading zeros (so that 0 is the empty text).
fn parts(text: &str) -> Option<Vec<&str>> {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<_> = text.split('.').collect();
    parts
        .iter()
        .all(|part| number(part))
        .then(|| parts.iter().map(|part| part.trim_start_matches('0')).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_integers_compare_by_number() {
        for (a, b) in [("1.0", "1.0.1"), ("1.9", "1.10"), ("9", "10"), ("0.9", "1"), ("1.2.3", "1.2.4")] {
            assert_eq!(compare(a, b), Some(Ordering::Less), "{a} {b}");
            assert_eq!(compare(b, a), Some(Ordering::Greater), "{b} {a}");
        }
        for (a, b) in [("1", "1.0"), ("1.0", "1.00"), ("01", "1"), ("0", "0.0.0")] {
            assert_eq!(compare(a, b), Some(Ordering::Equal), "{a} {b}");
        }
    }

    #[test]
    fn numbers_of_any_length_compare() {
        assert_eq!(compare("99999999999999999999999", "100000000000000000000000"), Some(Ordering::Less));
    }

    #[test]
    fn other_forms_compare_only_as_equal() {
        assert_eq!(compare("1.0-rc1", "1.0-rc1"), Some(Ordering::Equal));
        for (a, b) in [("1.0-rc1", "1.0"), ("", "1"), ("1.", "1"), ("a", "b"), ("1..2", "1.2"), ("+1", "1")] {
            assert_eq!(compare(a, b), None, "{a} {b}");
        }
    }
}
