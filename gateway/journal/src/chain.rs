//! The hash chain: what bytes of a record are hashed, and how one hash leads to the next. The writer and the verifier
//! both work on a [`Line`], so that they cannot disagree. Pure; nothing here knows the database but `Line::read`.
//!
//! `hash = SHA-256(previous hash, public fields, commitment)`, `commitment = SHA-256(salt, personal fields)`. Without
//! salt and personal fields the chain still verifies: that is how they can be erased.

use aws_lc_rs::digest::{Context, SHA256};
use rusqlite::types::FromSqlResult;

pub(crate) type Hash = [u8; 32];

/// The columns of a record in the order in which they are selected and inserted.
macro_rules! columns {
    () => {
        "seq, at, kind, flow, domain, action, decision, reason, grant_id, rule, binding, ingress, class, bytes_up, \
         bytes_down, duration_ms, count, proof, app, run, target, addresses, detail, salt, commitment, hash"
    };
}
pub(crate) use columns;

pub(crate) const COLUMNS: &str = columns!();

/// One record as it lies in the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) seq: i64,
    pub(crate) at: i64,
    pub(crate) kind: &'a str,
    pub(crate) flow: Option<i64>,
    pub(crate) domain: Option<&'a str>,
    pub(crate) action: Option<&'a str>,
    pub(crate) decision: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) grant: Option<i64>,
    pub(crate) rule: Option<&'a str>,
    pub(crate) binding: Option<&'a str>,
    pub(crate) ingress: Option<&'a str>,
    pub(crate) class: Option<&'a str>,
    pub(crate) bytes_up: Option<i64>,
    pub(crate) bytes_down: Option<i64>,
    pub(crate) duration_ms: Option<i64>,
    pub(crate) count: i64,
    pub(crate) proof: Option<&'a [u8]>,
    pub(crate) app: Option<&'a str>,
    pub(crate) run: Option<i64>,
    pub(crate) target: Option<&'a str>,
    pub(crate) addresses: Option<&'a str>,
    pub(crate) detail: Option<&'a str>,
    pub(crate) salt: Option<&'a [u8]>,
}

/// What the chain adds to a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link<'a> {
    pub(crate) commitment: &'a [u8],
    pub(crate) hash: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads a row that was selected by [`COLUMNS`].
    pub(crate) fn read(row: &'a rusqlite::Row<'_>) -> rusqlite::Result<(Self, Link<'a>)> {
        let number = |i| int(row, i);
        let text = |i| text(row, i);
        let line = Self {
            seq: number(0)?.unwrap_or_default(),
            at: number(1)?.unwrap_or_default(),
            kind: text(2)?.unwrap_or_default(),
            flow: number(3)?,
            domain: text(4)?,
            action: text(5)?,
            decision: text(6)?,
            reason: text(7)?,
            grant: number(8)?,
            rule: text(9)?,
            binding: text(10)?,
            ingress: text(11)?,
            class: text(12)?,
            bytes_up: number(13)?,
            bytes_down: number(14)?,
            duration_ms: number(15)?,
            count: number(16)?.unwrap_or_default(),
            proof: blob(row, 17)?,
            app: text(18)?,
            run: number(19)?,
            target: text(20)?,
            addresses: text(21)?,
            detail: text(22)?,
            salt: blob(row, 23)?,
        };
        let link =
            Link { commitment: blob(row, 24)?.unwrap_or_default(), hash: blob(row, 25)?.unwrap_or_default() };
        Ok((line, link))
    }

    /// Whether the personal fields were taken out.
    pub(crate) fn is_erased(&self) -> bool {
        self.salt.is_none()
    }

    /// Whether any personal field is there.
    pub(crate) fn has_personal(&self) -> bool {
        self.app.is_some()
            || self.run.is_some()
            || self.target.is_some()
            || self.addresses.is_some()
            || self.detail.is_some()
    }

    /// The commitment to the personal fields under that salt.
    pub(crate) fn commitment(&self, salt: &[u8], scratch: &mut Vec<u8>) -> Hash {
        scratch.clear();
        scratch.extend_from_slice(b"mexegate personal 1\0");
        put_bytes(scratch, Some(salt));
        put_bytes(scratch, self.app.map(str::as_bytes));
        put_int(scratch, self.run);
        for text in [self.target, self.addresses, self.detail] {
            put_bytes(scratch, text.map(str::as_bytes));
        }
        sha256(scratch)
    }

    /// This record's hash, given the one before it and the commitment.
    pub(crate) fn hash(&self, before: &Hash, commitment: &[u8], scratch: &mut Vec<u8>) -> Hash {
        scratch.clear();
        scratch.extend_from_slice(b"mexegate record 1\0");
        scratch.extend_from_slice(before);
        for number in [Some(self.seq), Some(self.at), self.flow, self.grant, self.bytes_up, self.bytes_down] {
            put_int(scratch, number);
        }
        for number in [self.duration_ms, Some(self.count)] {
            put_int(scratch, number);
        }
        for text in [Some(self.kind), self.domain, self.action, self.decision, self.reason, self.rule] {
            put_bytes(scratch, text.map(str::as_bytes));
        }
        for text in [self.binding, self.ingress, self.class] {
            put_bytes(scratch, text.map(str::as_bytes));
        }
        put_bytes(scratch, self.proof);
        put_bytes(scratch, Some(commitment));
        sha256(scratch)
    }
}

/// What stands before the first record: it ties the chain to the journal's first key, its identity.
pub(crate) fn genesis(identity: &Hash) -> Hash {
    let mut bytes = b"mexegate genesis 1\0".to_vec();
    bytes.extend_from_slice(identity);
    sha256(&bytes)
}

/// What the journal is known by: the hash of its first public key.
pub(crate) fn identity(first_public_key: &[u8]) -> Hash {
    let mut bytes = b"mexegate identity 1\0".to_vec();
    bytes.extend_from_slice(first_public_key);
    sha256(&bytes)
}

pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    let mut hash = Hash::default();
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Bytes from lower-case hexadecimal of exactly that length.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

/// A number for the database, which knows signed ones only.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number from the database.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

// Every field says whether it is there and how long it is, so that no two different records have the same bytes.
fn put_int(out: &mut Vec<u8>, number: Option<i64>) {
    match number {
        None => out.push(0),
        Some(number) => {
            out.push(1);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => out.push(0),
        Some(bytes) => {
            out.push(2);
            out.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            out.extend_from_slice(bytes);
        }
    }
}

fn int(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<i64>> {
    typed(row.get_ref(column)?.as_i64_or_null(), column, row)
}

fn text<'a>(row: &'a rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<&'a str>> {
    typed(row.get_ref(column)?.as_str_or_null(), column, row)
}

fn blob<'a>(row: &'a rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<&'a [u8]>> {
    typed(row.get_ref(column)?.as_blob_or_null(), column, row)
}

fn typed<T>(value: FromSqlResult<T>, column: usize, row: &rusqlite::Row<'_>) -> rusqlite::Result<T> {
    value.map_err(|fault| {
        let found = row.get_ref(column).map_or(rusqlite::types::Type::Null, |v| v.data_type());
        rusqlite::Error::FromSqlConversionFailure(column, found, Box::new(fault))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'a>() -> Line<'a> {
        Line {
            seq: 1,
            at: 2,
            kind: "decision",
            flow: None,
            domain: None,
            action: None,
            decision: None,
            reason: None,
            grant: None,
            rule: None,
            binding: None,
            ingress: None,
            class: None,
            bytes_up: None,
            bytes_down: None,
            duration_ms: None,
            count: 1,
            proof: None,
            app: None,
            run: None,
            target: None,
            addresses: None,
            detail: None,
            salt: None,
        }
    }

    #[test]
    fn each_public_field_moves_the_hash() {
        let hash = |l: Line<'_>| l.hash(&[0; 32], &[1; 32], &mut Vec::new());
        let base = line();
        let others = [
            Line { seq: 2, ..base },
            Line { at: 3, ..base },
            Line { kind: "change", ..base },
            Line { flow: Some(1), ..base },
            Line { domain: Some("x"), ..base },
            Line { action: Some("x"), ..base },
            Line { decision: Some("x"), ..base },
            Line { reason: Some("x"), ..base },
            Line { grant: Some(1), ..base },
            Line { rule: Some("x"), ..base },
            Line { binding: Some("x"), ..base },
            Line { ingress: Some("x"), ..base },
            Line { class: Some("x"), ..base },
            Line { bytes_up: Some(1), ..base },
            Line { bytes_down: Some(1), ..base },
            Line { duration_ms: Some(1), ..base },
            Line { count: 2, ..base },
            Line { proof: Some(b"x"), ..base },
        ];
        let mut seen = std::collections::HashSet::from([hash(base)]);
        for other in others {
            assert!(seen.insert(hash(other)), "{other:?}");
        }
        assert!(seen.insert(base.hash(&[9; 32], &[1; 32], &mut Vec::new())));
        assert!(seen.insert(base.hash(&[0; 32], &[9; 32], &mut Vec::new())));
    }

    #[test]
    fn each_personal_field_moves_the_commitment_and_not_the_hash() {
        let commitment = |l: Line<'_>, salt: &[u8]| l.commitment(salt, &mut Vec::new());
        let base = line();
        let others = [
            Line { app: Some("x"), ..base },
            Line { run: Some(1), ..base },
            Line { target: Some("x"), ..base },
            Line { addresses: Some("x"), ..base },
            Line { detail: Some("x"), ..base },
        ];
        let mut seen =
            std::collections::HashSet::from([commitment(base, &[0; 16]), commitment(base, &[1; 16])]);
        for other in others {
            assert!(seen.insert(commitment(other, &[0; 16])), "{other:?}");
            let hash = |l: Line<'_>| l.hash(&[0; 32], &[1; 32], &mut Vec::new());
            assert_eq!(hash(other), hash(base));
        }
    }

    #[test]
    fn neighbouring_texts_cannot_trade_bytes() {
        let base = line();
        let (one, two) = (
            Line { ingress: Some("ab"), class: Some("c"), ..base },
            Line { ingress: Some("a"), class: Some("bc"), ..base },
        );
        assert_ne!(
            one.hash(&[0; 32], &[0; 32], &mut Vec::new()),
            two.hash(&[0; 32], &[0; 32], &mut Vec::new())
        );
    }
}
