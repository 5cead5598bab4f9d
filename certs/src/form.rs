//! What RFC 5280 demands of the form of a certificate, and the path checker does not ask: which extensions an authority must
//! have, and which must not be there. Read by [`crate::certificate`] from a certificate's fields, judged by
//! [`crate::path`]; the legacy rules do without, because certificates of their time do not keep to it.

use der::asn1::ObjectIdentifier;
use der::oid::AssociatedOid;
use x509_cert::TbsCertificate;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage,
    NameConstraints, PolicyConstraints, SubjectAltName, SubjectKeyIdentifier, name::GeneralName,
};

/// What a certificate is in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Root,
    Below,
}

/// The faults of a certificate's form, for each place that it may have in a chain.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form {
    anywhere: Option<&'static str>,
    below: Option<&'static str>,
}

impl Form {
    /// The first fault of a certificate in that place.
    pub(crate) fn fault(&self, place: Place) -> Option<&'static str> {
        self.anywhere.or(match place {
            Place::Root => None,
            Place::Below => self.below,
        })
    }

    /// Looks at a certificate whose serial number, issuer and subject are these, DER.
    pub(crate) fn of(
        tbs: &TbsCertificate,
        serial: &[u8],
        issuer: &[u8],
        subject: &[u8],
    ) -> Result<Self, der::Error> {
        let extensions = tbs.extensions().map(Vec::as_slice).unwrap_or_default();
        let find = |oid: ObjectIdentifier| extensions.iter().find(|extension| extension.extn_id == oid);
        let critical = |oid: ObjectIdentifier| find(oid).map(|extension: &Extension| extension.critical);
        let is_ca = tbs.get_extension::<BasicConstraints>()?.is_some_and(|(_, constraints)| constraints.ca);
        let signs = tbs.get_extension::<KeyUsage>()?.is_some_and(|(_, usage)| usage.key_cert_sign());
        let purposes = tbs.get_extension::<ExtendedKeyUsage>()?;
        tbs.get_extension::<AuthorityInfoAccessSyntax>()?;
        let alternative = tbs.get_extension::<SubjectAltName>()?;
        let own_key = critical(SubjectKeyIdentifier::OID);
        let issuer_key = critical(AuthorityKeyIdentifier::OID);
        let named = tbs.get_extension::<NameConstraints>()?.map(|(_, constraints)| constraints);

        let serial = serial.get(2..).unwrap_or_default();
        let anywhere = first(&[
            (repeats(extensions), "it has an extension twice"),
            (serial.first().is_some_and(|byte| *byte >= 0x80), "its serial number is negative"),
            (serial.len() > SERIAL_MAX, "its serial number is longer than 20 bytes"),
            (issuer == EMPTY, "its issuer has no name"),
            (is_ca && subject == EMPTY, "it is an authority without a name"),
            (issuer_key == Some(true), "its authorityKeyIdentifier is critical"),
            (own_key == Some(true), "its subjectKeyIdentifier is critical"),
            (critical(PolicyConstraints::OID) == Some(false), "its policy constraints are not critical"),
            (named.is_some() && !is_ca, "it constrains names, but is no authority"),
            (named.as_ref().is_some_and(constrains_nothing), "its name constraints constrain nothing"),
            (named.as_ref().is_some_and(has_a_wrong_host), "its name constraints name no host"),
            (signs && !is_ca, "its key usage is to sign certificates, but it is no authority"),
            (purposes.is_some_and(|(_, all)| all.0.is_empty()), "its extended key usage is empty"),
            (
                alternative
                    .is_some_and(|(critical, all)| all.0.is_empty() || (subject == EMPTY && !critical)),
                "its subjectAltName is empty, or should be critical because it has no subject",
            ),
        ]);
        // Roots with the number zero are in use everywhere, and nobody looks a root up by its number.
        let below = first(&[(serial.iter().all(|byte| *byte == 0), "its serial number is zero")]);
        // What RFC 5280 asks of issuers only, and what nothing here depends on, is not asked for: key identifiers, and that
        // some extensions are critical. Too many authorities issue without.
        Ok(Self { anywhere, below })
    }
}

fn first(rules: &[(bool, &'static str)]) -> Option<&'static str> {
    rules.iter().find(|(broken, _)| *broken).map(|(_, what)| *what)
}

/// RFC 5280, 4.2.1.10: neither list may be empty, and one must be there.
fn constrains_nothing(constraints: &NameConstraints) -> bool {
    let lists = [constraints.permitted_subtrees.as_ref(), constraints.excluded_subtrees.as_ref()];
    lists.iter().all(Option::is_none) || lists.into_iter().flatten().any(Vec::is_empty)
}

/// RFC 5280, 4.2.1.10: a constraint on host names has no dot in front.
fn has_a_wrong_host(constraints: &NameConstraints) -> bool {
    let lists = [constraints.permitted_subtrees.as_ref(), constraints.excluded_subtrees.as_ref()];
    lists
        .into_iter()
        .flatten()
        .flatten()
        .any(|subtree| matches!(&subtree.base, GeneralName::DnsName(name) if name.as_str().starts_with('.')))
}

fn repeats(extensions: &[Extension]) -> bool {
    let mut known: Vec<_> = extensions.iter().map(|extension| extension.extn_id).collect();
    known.sort_unstable();
    known.windows(2).any(|pair| pair.first() == pair.last())
}

/// A name without any part, DER.
const EMPTY: &[u8] = &[0x30, 0];
/// RFC 5280, 4.1.2.2.
const SERIAL_MAX: usize = 20;
