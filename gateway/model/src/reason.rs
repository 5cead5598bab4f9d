//! Why something was refused or ended. One flat, alphabetical list with stable kebab-case codes: the same code stands
//! in the journal, the metrics, the API, the command line and the proxies' replies. docs/reasons.md is made from it.

use std::fmt;
use std::str::FromStr;

macro_rules! reasons {
    ($($variant:ident, $code:literal, $says:literal, $help:literal;)*) => {
        /// One reason. A refusal is an expected answer, not a fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $says] $variant,)*
        }

        impl Reason {
            /// Every reason, in alphabetical order of the codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What happened, in one line for a person.
            pub const fn says(self) -> &'static str {
                match self { $(Self::$variant => $says,)* }
            }

            /// What to do about it, in one line.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

reasons! {
    ActionUnknown, "action-unknown", "the security table has no such action", "list the actions with `mexegate explain`";
    AddressNotPublic, "address-not-public", "the address is not a global unicast address", "grant the address or its CIDR by itself if that is meant";
    AdministratorRequired, "administrator-required", "only the administrator of the third party domain may do this", "let the administrator send a certificate configuration message; see `mexegate administrator show`";
    AlgorithmWeak, "algorithm-weak", "a signature or digest algorithm is too weak to vouch for anything", "sign again with SHA-256 or better";
    AmbiguousDomain, "ambiguous-domain", "the signers lead to more than one security domain", "sign for one domain only";
    AppRemoved, "app-removed", "the app was removed", "install it again";
    AppSuspended, "app-suspended", "the app's verdict no longer holds, so it may not run", "see `mexegate app show` for what changed";
    AppUnknown, "app-unknown", "no app of that id is installed", "see `mexegate app list`";
    BearerLost, "bearer-lost", "the bearer that carried it was lost, or none is up that would", "wait until a bearer is back: `mexegate bearers`";
    BodyTooLarge, "body-too-large", "the request body is larger than allowed", "send less, or raise limits.package for packages";
    BudgetUsedUp, "budget-used-up", "the budget of the schedule that permits it is used up", "wait for the next day if it is a daily one, or sign off a schedule with more: `mexegate schedule`";
    CallNotActive, "call-not-active", "the call is over, was not answered yet, or is not the only one that is open", "send tones while the call is up";
    CcmExpired, "ccm-expired", "the certificate configuration message is not valid any more", "get a newer one from the administrator";
    CcmGap, "ccm-gap", "the certificate configuration message builds on one that was not applied here", "apply the missing one, or one that replaces all";
    CcmMalformed, "ccm-malformed", "the certificate configuration message cannot be read", "get it from the administrator again";
    CcmNotYetValid, "ccm-not-yet-valid", "the certificate configuration message is not valid yet", "check the device's clock, or wait";
    CcmOlder, "ccm-older", "a newer certificate configuration message was applied before", "get the newest one from the administrator";
    CcmReplayed, "ccm-replayed", "the certificate configuration message was applied before", "nothing is to be done: it is in force";
    CcmSignatureWrong, "ccm-signature-wrong", "the signature of the certificate configuration message is wrong", "get it from the administrator again";
    CcmStale, "ccm-stale", "the administrator's next certificate configuration message is overdue", "get the newest one from the administrator";
    CcmWrongSigner, "ccm-wrong-signer", "the certificate configuration message is not the administrator's", "let the administrator of this device sign it";
    CcmWrongTarget, "ccm-wrong-target", "the certificate configuration message is for another device or operator", "get the one for this device";
    CertificateExpired, "certificate-expired", "a certificate of the chain has expired", "sign again with a valid certificate";
    CertificateMalformed, "certificate-malformed", "a certificate of the chain cannot be read or breaks the certificate profile", "see certs/profile.md for what is accepted";
    CertificateNotYetValid, "certificate-not-yet-valid", "a certificate of the chain is not valid yet", "check the device's clock, or wait";
    CertificateRevoked, "certificate-revoked", "a certificate of the chain was revoked by its issuer", "get a package that is signed with another certificate";
    ClockSuspect, "clock-suspect", "the device's clock stands before a time that has certainly passed", "set the clock";
    CommandUnsupported, "command-unsupported", "the proxy command, or a fragment of a datagram, is not offered", "use CONNECT, or UDP ASSOCIATE with whole datagrams";
    ContainerMalformed, "container-malformed", "the package is not a well-formed archive", "build the package again with standard tools";
    CredentialsMissing, "credentials-missing", "the connection names no run", "start a run and use its proxy URL";
    CredentialsWrong, "credentials-wrong", "the credentials belong to no live run", "start a run and use its proxy URL";
    DescriptorMalformed, "descriptor-malformed", "the application descriptor cannot be read", "get the descriptor from the maker again";
    DescriptorMismatch, "descriptor-mismatch", "the application descriptor and the package do not belong together", "get both from the maker again";
    DuplicateEntry, "duplicate-entry", "two entries of the package have the same name", "build the package again without duplicates";
    EmergencyNumber, "emergency-number", "an emergency number is dialled by no app, whatever is granted", "dial it on the telephone itself";
    EntryChanged, "entry-changed", "an entry's bytes are not those that were signed", "get the package from its maker again";
    EntryMissing, "entry-missing", "an entry that was signed is not in the package", "get the package from its maker again";
    EntryUnsigned, "entry-unsigned", "an entry of the package is not covered by the signature", "sign the whole package";
    FetchFailed, "fetch-failed", "the package could not be fetched", "check the address and the network, and try again";
    ForbiddenToDomain, "forbidden-to-domain", "the security table does not allow the action to this domain", "nothing overrides the table; see `mexegate explain`";
    GateStopping, "gate-stopping", "the gate is shutting down", "try again when it is back";
    HandshakeTimeout, "handshake-timeout", "the client did not finish its request in time", "send the whole request at once";
    IdTaken, "id-taken", "another app already has that id", "remove the other app, or choose another name";
    IdleTimeout, "idle-timeout", "nothing moved for longer than limits.idle, or limits.datagram_idle", "keep the connection alive, or raise the limit";
    JournalUnavailable, "journal-unavailable", "the decision cannot be written down, so nothing may open", "free space on the state directory's disk; see /readyz";
    KeyTooSmall, "key-too-small", "a key of the chain is too small to vouch for anything", "use RSA 2048 or larger, or an elliptic curve";
    LimitConnections, "limit-connections", "too many connections are open", "close some, or raise limits.connections";
    LimitRate, "limit-rate", "too many new connections in a second", "slow down, or raise limits.new_connections_per_second_per_run";
    LineBusy, "line-busy", "the modem has a call already", "end that call first, or wait for its end";
    ManifestMalformed, "manifest-malformed", "a manifest or signature file cannot be read", "sign the package again with standard tools";
    NameNotAllowed, "name-not-allowed", "the host name is not one that may be resolved", "use a fully qualified name, or a plain address";
    NameUnresolvable, "name-unresolvable", "the host name has no address", "check the name and the device's resolver";
    NoRoot, "no-root", "no root of this device vouches for the signer", "add the signer's root, if you trust it";
    NoVoiceBearer, "no-voice-bearer", "no bearer of this device can make calls now", "connect a modem with voice, and see the log";
    NotFound, "not-found", "there is no such thing", "check the id";
    OlderVersion, "older-version", "a newer version of the app is installed", "remove the app first if going back is meant";
    OutsideHours, "outside-hours", "the schedule that permits it does so at other hours", "wait for its hours, or give a permission with `mexegate grant`; see `mexegate schedule list`";
    OwnAddress, "own-address", "the address is the gate's own", "the gate is never reached through itself";
    PackageTooLarge, "package-too-large", "the package, or what it unpacks to, is larger than allowed", "raise limits.package if that is meant";
    PeerIsARun, "peer-is-a-run", "a program inside a run may not use the control socket", "let the user do it outside the run";
    PermissionAboveMaximum, "permission-above-maximum", "the security table does not allow so wide a permission", "ask for a narrower one; see `mexegate explain`";
    PermissionExcluded, "permission-excluded", "the app holds a blanket permission that excludes this one", "give it for the session, or revoke the other; see `mexegate grants`";
    PermissionExpired, "permission-expired", "the permission for it has expired", "give a new one with `mexegate grant`";
    PermissionMissing, "permission-missing", "no permission of the user covers it", "give one with `mexegate grant`";
    PermissionRevoked, "permission-revoked", "the user took the permission back", "give a new one with `mexegate grant`";
    PermissionUnknown, "permission-unknown", "the package needs a permission that is not known here, or not open to its domain", "get a version of the app that does without";
    PromptDenied, "prompt-denied", "the user was asked and said no", "let the user give a permission, or be asked again: `mexegate prompts --denied`";
    PromptQueueFull, "prompt-queue-full", "too many questions wait for the user", "let the user answer some: `mexegate prompts`";
    PromptTimeout, "prompt-timeout", "the user was asked and did not answer in time", "answer the question for the next time: `mexegate prompts`";
    QosDisplaced, "qos-displaced", "a more important stream needed the room on the bearer", "wait until there is room again, or ask for less";
    QosNotAdmitted, "qos-not-admitted", "the bearer has no room for what the stream is to be guaranteed", "ask for less, or release another stream: `mexegate streams`";
    QosNotGranted, "qos-not-granted", "the network does not give the stream what it is to have", "ask for less, or see what the network said: `mexegate streams --json`";
    QosNotPermitted, "qos-not-permitted", "a traffic class above background needs the network.qos permission", "give it with `mexegate grant APP network.qos`";
    RequestMalformed, "request-malformed", "the request breaks its protocol", "see the message for what is wrong";
    RestrictedByCertificate, "restricted-by-certificate", "the signer's certificates limit the app to other action groups", "nothing overrides a certificate; see `mexegate app show`";
    RestrictionUnreadable, "restriction-unreadable", "the access restriction of a certificate cannot be read", "get a certificate with a restriction as in certs/profile.md";
    RevocationStale, "revocation-stale", "the revocation list of an issuer is out of date", "get the issuer's newest list, or set trust.revocation = \"warn\"";
    RoleMissing, "role-missing", "the caller's role does not allow it", "call as the device's user or administrator";
    RootDisabled, "root-disabled", "the root that vouched is disabled", "enable it with `mexegate roots enable`, if you trust it";
    RootInTwoDomains, "root-in-two-domains", "the key is a root of another domain already", "remove one of the two";
    RootInvalid, "root-invalid", "the root that vouched is not valid on this device now", "put its (U)SIM card in, or accept its keys; see `mexegate roots list`";
    RootReadOnly, "root-read-only", "this root cannot be changed while the gate runs", "change it where it comes from; see `mexegate roots list`";
    RootUnusable, "root-unusable", "the certificate cannot be a root of this device", "see certs/profile.md for what a root needs";
    RotationWrong, "rotation-wrong", "the package's statement of a new signer key is not the old key's", "let the old key sign the statement again";
    RunEnded, "run-ended", "the run has ended", "start the app again";
    SignatureMalformed, "signature-malformed", "a signature block cannot be read", "sign the package again with standard tools";
    SignatureWrong, "signature-wrong", "a signature does not match what it should sign", "get the package from its maker again";
    SignerChanged, "signer-changed", "the package is signed by another key than the app that it should update", "get the update from the same maker";
    TargetOutOfScope, "target-out-of-scope", "the permission is for another target", "grant this target too";
    TimestampWrong, "timestamp-wrong", "the signature's timestamp cannot be read or is for something else", "sign the package again";
    TokenRunRefused, "token-run-refused", "runs by token are switched off", "use `mexegate app run`, or set policy.token_runs";
    TooCostly, "too-costly", "judging the package would take more work than is allowed", "get a package with fewer certificates and signatures";
    Unsigned, "unsigned", "the package carries no signature", "get a signed package";
    UntrustedApp, "untrusted-app", "an untrusted app may not do this, whatever is granted", "get a package signed for a domain of this device";
    UpstreamMalformed, "upstream-malformed", "the destination's answer breaks its protocol", "ask whoever runs the service there";
    UpstreamRefused, "upstream-refused", "the destination refused the connection", "check that the service there is up";
    UpstreamTimeout, "upstream-timeout", "the destination did not answer in time", "check the route and try again";
    UpstreamUnreachable, "upstream-unreachable", "the destination cannot be reached", "check the route and the bearer";
    UsageNotCodeSigning, "usage-not-code-signing", "the signer's certificate is not for signing code", "use a certificate with digitalSignature and codeSigning";
    UsageThreshold, "usage-threshold", "the app has moved as much as the user set for the day or the month", "permit it `network.usage`, or set another threshold with `mexegate usage`";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::ALL.iter().copied().find(|r| r.code() == text).ok_or(UnknownReason)
    }
}

impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> serde::Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is no reason code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a reason code: docs/reasons.md lists them")]
pub struct UnknownReason;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kebab_case_alphabetical_and_read_back() {
        assert!(Reason::ALL.windows(2).all(|pair| pair[0].code() < pair[1].code()));
        for reason in Reason::ALL {
            assert!(reason.code().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{reason}");
            assert_eq!(reason.code().parse::<Reason>().unwrap(), *reason);
            assert!(!reason.says().ends_with('.') && !reason.help().ends_with('.'), "{reason}");
        }
    }
}
