//! The access restriction (decision 10): an extension of this project by which a certificate limits what is signed under
//! it to some action groups. It narrows, never widens. Read by [`crate::certificate`]; [`crate::path`] takes what all
//! certificates of a chain leave; which actions a group has is the security table's business.

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader};
use mexe_model::{ActionGroup, Groups};
use x509_cert::ext::Extension;

/// The extension. The arc 2.25 needs no registration; the number is this project's, and below 2^32 because some parsers
/// read no larger ones.
pub(crate) const OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.25.230570099.1");

/// The groups that a certificate with these extensions leaves: all, when it has no restriction.
///
/// # Errors
/// What cannot be read. Such a restriction is never taken for none.
pub(crate) fn of(extensions: &[Extension]) -> Result<Groups, &'static str> {
    let mut all = extensions.iter().filter(|extension| extension.extn_id == OID);
    let Some(one) = all.next() else { return Ok(Groups::ALL) };
    if all.next().is_some() {
        return Err("it has two access restrictions");
    }
    if one.critical {
        return Err("its access restriction is critical, which it must never be");
    }
    numbers(one.extn_value.as_bytes()).map_err(|_| "its access restriction cannot be read")?
}

/// `SEQUENCE SIZE (0..13) OF INTEGER (1..13)`, strictly ascending.
fn numbers(value: &[u8]) -> Result<Result<Groups, &'static str>, der::Error> {
    AnyRef::from_der(value)?.sequence(|reader| {
        let (mut groups, mut last) = (Groups::NONE, 0);
        while !reader.is_finished() {
            let number: u8 = reader.decode()?;
            if number <= last {
                return Ok(Err("the groups of its access restriction are not in strictly ascending order"));
            }
            let Some(group) = ActionGroup::numbered(number) else {
                return Ok(Err("its access restriction names an unknown action group"));
            };
            (groups, last) = (groups.with(group), number);
        }
        Ok(Ok(groups))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use der::asn1::OctetString;

    fn extension(critical: bool, value: &[u8]) -> Extension {
        Extension { extn_id: OID, critical, extn_value: OctetString::new(value).unwrap() }
    }

    #[test]
    fn every_set_of_groups_is_read_and_no_restriction_is_all() {
        assert_eq!(of(&[]), Ok(Groups::ALL));
        assert_eq!(of(&[extension(false, &[0x30, 0])]), Ok(Groups::NONE));
        let some = Groups::NONE.with(ActionGroup::Network).with(ActionGroup::UserInterface);
        assert_eq!(of(&[extension(false, &[0x30, 6, 2, 1, 6, 2, 1, 13])]), Ok(some));
        let all: Vec<u8> = [0x30, 39].into_iter().chain((1..=13).flat_map(|n| [2, 1, n])).collect();
        assert_eq!(of(&[extension(false, &all)]), Ok(Groups::ALL));
    }

    #[test]
    fn whatever_else_is_unreadable_and_never_taken_for_none() {
        for (value, why) in [
            (&b""[..], "cannot be read"),
            (b"\x05\x00", "cannot be read"),
            (b"\x31\x03\x02\x01\x06", "cannot be read"),
            (b"\x30\x03\x0a\x01\x06", "cannot be read"),
            (b"\x30\x04\x02\x02\x00\x06", "cannot be read"),
            (b"\x30\x81\x03\x02\x01\x06", "cannot be read"),
            (b"\x30\x03\x02\x01\x06\x00", "cannot be read"),
            (b"\x30\x80\x02\x01\x06\x00\x00", "cannot be read"),
            (b"\x30\x03\x02\x01\xff", "cannot be read"),
            (b"\x30\x04\x02\x02\x01\x06", "cannot be read"),
            (b"\x30\x03\x02\x01\x00", "ascending"),
            (b"\x30\x03\x02\x01\x0e", "unknown"),
            (b"\x30\x06\x02\x01\x06\x02\x01\x06", "ascending"),
            (b"\x30\x06\x02\x01\x06\x02\x01\x05", "ascending"),
        ] {
            let refused = of(&[extension(false, value)]).unwrap_err();
            assert!(refused.contains(why), "{value:02x?}: {refused}");
        }
        assert!(of(&[extension(true, &[0x30, 0])]).unwrap_err().contains("critical"));
        let twice = [extension(false, &[0x30, 0]), extension(false, &[0x30, 0])];
        assert!(of(&twice).unwrap_err().contains("two"));
    }
}
