//! Statements by which one signer's key hands an app over to another: `the key OLD gives the app NAME of domain D to the key
//! NEW`, signed by OLD. They lie in the package, under the new signer's signature, as a chain. Decides whether a chain leads
//! from the installed app's key to the package's; what follows from that is decided in [`crate::lineage`].

use std::io::{Read, Seek};

use der::asn1::{AnyRef, GeneralizedTime, ObjectIdentifier, OctetStringRef, Utf8StringRef};
use der::{Decode, Reader, SliceReader, Tag};
use mexe_model::{Reason, SecurityDomain, WallTime};

use crate::fingerprint::Fingerprint;
use crate::judge::read_entry;
use crate::limits::Limits;
use crate::sealed;
use crate::verdict::{Quoted, Refusal};

/// The most statements of a chain.
pub const STATEMENTS_MAX: usize = 8;

/// The entry of the package that holds the statement of that number, from 1 on.
pub fn entry_name(number: usize) -> String {
    format!("META-INF/mexe/rotation-{number}.p7s")
}

/// The statements of a package, in their order; none when it carries none. The package must have been verified.
///
/// # Errors
/// `rotation-wrong` when one is too large or there are too many; else what [`read_entry`] says.
pub fn read_statements<R: Read + Seek>(
    mut reader: R,
    size: u64,
    limits: &Limits,
) -> Result<Vec<Vec<u8>>, Refusal> {
    let limits = Limits { inflated_entry: STATEMENT_MAX, ..*limits };
    let mut statements = Vec::new();
    loop {
        let name = entry_name(statements.len() + 1);
        match read_entry(&mut reader, size, &name, &limits) {
            Err(refusal) if refusal.reason == Reason::EntryMissing => return Ok(statements),
            Ok(_) if statements.len() == STATEMENTS_MAX => {
                return Err(wrong(format!("more than {STATEMENTS_MAX} statements")));
            }
            Err(refusal) if refusal.reason == Reason::PackageTooLarge => return Err(wrong(refusal.detail)),
            Ok(statement) => statements.push(statement),
            Err(refusal) => return Err(refusal),
        }
    }
}

/// What a chain of statements is to prove.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// The key of the installed app's signer.
    pub old_key: Fingerprint,
    /// The key of the package's signer.
    pub new_key: Fingerprint,
    /// The domain of both.
    pub domain: SecurityDomain,
    /// The name of both.
    pub name: &'a str,
    /// Now.
    pub at: WallTime,
    /// Whether a key is known to be in wrong hands (disabled by the administrator, its certificate revoked): what it signed
    /// counts for nothing.
    pub barred: &'a dyn Fn(&Fingerprint) -> bool,
}

/// Judges the statements of a package: each is signed by the key that hands over, each goes on where the one before ended,
/// the last ends at the package's signer, and the installed app's key is on the way. No key is on it twice. Statements
/// before the installed app's key are for devices that are further behind; they must be right all the same.
///
/// The certificates in the statements need not be valid any more: a key is handed over because its certificate runs out.
///
/// # Errors
/// `rotation-wrong`, with the statement and what is wrong with it.
pub fn judge_rotation(statements: &[Vec<u8>], claim: &Claim<'_>) -> Result<(), Refusal> {
    if statements.is_empty() || statements.len() > STATEMENTS_MAX {
        return Err(wrong(format!("{} statements, 1 to {STATEMENTS_MAX} are meaningful", statements.len())));
    }
    let mut way: Vec<Fingerprint> = Vec::new();
    for (at, bytes) in statements.iter().enumerate() {
        let numbered = |what: String| wrong(format!("statement {}: {what}", at + 1));
        let statement = Statement::open(bytes).map_err(numbered)?;
        statement.judge(claim).map_err(numbered)?;
        match way.last() {
            None => way.push(statement.old_key),
            Some(last) if *last == statement.old_key => {}
            Some(last) => return Err(numbered(format!("it does not go on from the key {last}"))),
        }
        if way.contains(&statement.new_key) {
            return Err(numbered(format!("the key {} comes twice", statement.new_key)));
        }
        way.push(statement.new_key);
    }
    if way.last() != Some(&claim.new_key) {
        return Err(wrong("the last statement hands over to another key than the package's".to_owned()));
    }
    if !way.contains(&claim.old_key) {
        return Err(wrong("the installed app's key hands over in none of the statements".to_owned()));
    }
    Ok(())
}

/// One statement whose signature is right.
struct Statement {
    domain: SecurityDomain,
    name: String,
    old_key: Fingerprint,
    new_key: Fingerprint,
    signed_at: WallTime,
}

impl Statement {
    fn open(bytes: &[u8]) -> Result<Self, String> {
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > STATEMENT_MAX {
            return Err(format!("it has {} bytes, {STATEMENT_MAX} are allowed", bytes.len()));
        }
        let sealed = sealed::open(bytes, OID_ROTATION, &[]).map_err(|broken| {
            broken.refused(Reason::RotationWrong, Reason::RotationWrong, Reason::RotationWrong).1
        })?;
        let statement = Self::read(sealed.content).map_err(|_| "its content is not that of a rotation")?;
        let signer = Fingerprint::of(&sealed.signer.spki);
        if signer != statement.old_key {
            return Err(format!("it is signed by the key {signer}, not by the one that hands over"));
        }
        Ok(statement)
    }

    fn read(content: &[u8]) -> Result<Self, der::Error> {
        AnyRef::from_der(content)?.sequence(|reader| {
            if reader.decode::<u8>()? != 1 {
                return Err(Tag::Integer.value_error().into());
            }
            let domain: AnyRef<'_> = reader.decode()?;
            domain.header().tag().assert_eq(Tag::Enumerated)?;
            let domain = match domain.value() {
                [0] => SecurityDomain::Operator,
                [1] => SecurityDomain::Manufacturer,
                [2] => SecurityDomain::ThirdParty,
                _ => return Err(Tag::Enumerated.value_error().into()),
            };
            let name = reader.decode::<Utf8StringRef<'_>>()?.to_string();
            let (old_key, new_key) = (fingerprint(reader)?, fingerprint(reader)?);
            let signed_at: GeneralizedTime = reader.decode()?;
            let signed_at = WallTime::from_secs(signed_at.to_unix_duration().as_secs());
            Ok(Self { domain, name, old_key, new_key, signed_at })
        })
    }

    fn judge(&self, claim: &Claim<'_>) -> Result<(), String> {
        if self.domain != claim.domain {
            return Err(format!("it is for the domain {}, the app is in {}", self.domain, claim.domain));
        }
        if self.name != claim.name {
            return Err(format!("it is for the app {}, this is {}", Quoted(&self.name), Quoted(claim.name)));
        }
        if self.signed_at.as_secs() > claim.at.as_secs() {
            return Err(format!("it says that it was signed at {}, which is to come", self.signed_at));
        }
        if (claim.barred)(&self.old_key) {
            return Err(format!("the key {} is not to be trusted any more", self.old_key));
        }
        Ok(())
    }
}

fn fingerprint(reader: &mut SliceReader<'_>) -> Result<Fingerprint, der::Error> {
    let octets = reader.decode::<&OctetStringRef>()?.as_bytes();
    octets.try_into().map(Fingerprint).map_err(|_| Tag::OctetString.value_error().into())
}

fn wrong(detail: String) -> Refusal {
    Refusal::new(Reason::RotationWrong, detail)
}

/// The most bytes of a statement; a certificate with a large RSA key has some 3 KiB.
const STATEMENT_MAX: u64 = 64 << 10;

/// The content type of a statement. 2.25.230570099 is this project's arc: certs/profile.md.
const OID_ROTATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.25.230570099.3");
