//! An outside maker and judge: openssl. A tool that is missing fails the test by its name.

#![allow(dead_code, unreachable_pub, reason = "shared by several test files")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use mexe_certs::{RootKind, TrustStore};
use mexe_model::WallTime;

/// A folder in which openssl makes authorities, signers and signatures. Each is known by its name: `name.pem`,
/// `name.key`.
pub struct Bench {
    folder: tempfile::TempDir,
}

/// Extensions of a signer of code.
pub const CODE: &str = "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n\
                        subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
/// Extensions of a timestamping authority.
pub const TIME: &str = "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n\
                        extendedKeyUsage=critical,timeStamping\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";

impl Bench {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Makes a key: the arguments of `openssl genpkey`.
    pub fn key(&self, name: &str, how: &str) {
        self.openssl(&format!("genpkey {how} -out {name}.key"));
    }

    /// A root that signed itself.
    pub fn root(&self, name: &str, key: &str, digest: &str) {
        self.key(name, key);
        self.openssl(&format!(
            "req -x509 -new -key {name}.key -subj /CN={name} -days 3650 {digest} \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -out {name}.pem"
        ));
    }

    /// A certificate by `issuer`, with these extensions, valid for a year.
    pub fn certificate(&self, name: &str, issuer: &str, key: &str, extensions: &str, how: &str) {
        self.key(name, key);
        self.write("extensions", extensions);
        self.openssl(&format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr"));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -days 365 \
             -extfile extensions {how} -out {name}.pem"
        ));
    }

    /// The certificate as DER.
    pub fn der(&self, name: &str) -> Vec<u8> {
        self.openssl(&format!("x509 -in {name}.pem -outform DER")).stdout
    }

    /// A signature beside `file` by `signer`.
    pub fn cms(&self, file: &str, signer: &str, how: &str) -> Vec<u8> {
        self.openssl(&format!(
            "cms -sign -binary -in {file} -signer {signer}.pem -inkey {signer}.key -out signature {how}"
        ));
        self.read("signature")
    }

    /// Whether openssl says that this signature beside `file` is right and leads to `root`.
    pub fn accepts(&self, file: &str, signature: &[u8], form: &str, root: &str) -> bool {
        self.write("judged", signature);
        let output = self.try_openssl(&format!(
            "cms -verify -binary -in judged -inform {form} -content {file} -CAfile {root}.pem -purpose any -out judged.out"
        ));
        output.status.success()
    }

    /// A folder for a timestamping authority, whose certificate and key are `authority`.
    pub fn tsa(&self, authority: &str, more: &str) {
        self.write("tsa.cnf", format!("[tsa]\ndefault_tsa=t\n[t]\nserial=serial\ncrypto_device=builtin\n\
            signer_cert={authority}.pem\ncerts={authority}.pem\nsigner_key={authority}.key\nsigner_digest=sha256\n\
            default_policy=1.2.3.4.1\ndigests=sha1,sha256,sha384,sha512\n{more}"));
        self.write("serial", "01\n");
    }

    /// The token that the authority makes for these bytes.
    pub fn token(&self, bytes: &[u8], how: &str) -> Vec<u8> {
        self.write("stamped", bytes);
        self.openssl(&format!("ts -query -data stamped -cert -out query.tsq {how}"));
        self.openssl("ts -reply -config tsa.cnf -queryfile query.tsq -token_out -out token");
        self.read("token")
    }

    /// A store of these roots.
    pub fn store(&self, roots: &[(RootKind, &str)]) -> TrustStore {
        self.builder(roots, mexe_certs::Rules::default()).build()
    }

    pub fn builder(
        &self,
        roots: &[(RootKind, &str)],
        rules: mexe_certs::Rules,
    ) -> mexe_certs::TrustStoreBuilder {
        let mut builder = TrustStore::builder();
        builder.rules(rules);
        for (kind, name) in roots {
            for added in builder.add(*kind, name, &self.read(&format!("{name}.pem")), now()) {
                added.unwrap();
            }
        }
        builder
    }

    pub fn openssl(&self, arguments: &str) -> Output {
        let output = self.try_openssl(arguments);
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn try_openssl(&self, arguments: &str) -> Output {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(self.folder.path()).stdin(Stdio::null());
        command.output().unwrap_or_else(|error| panic!("`openssl` cannot be run: {error}; install openssl"))
    }
}

/// The device's clock, which openssl goes by.
pub fn now() -> WallTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    WallTime::from_secs(since.as_secs())
}
