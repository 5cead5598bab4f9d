//! Outside judges and makers: keytool, jarsigner, python3. A tool that is missing fails the test by its name.

#![allow(dead_code, unreachable_pub, reason = "shared by several test files")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mexe_certs::{RootKind, TrustStore};
use mexe_model::WallTime;

/// A folder with a keystore, in which authorities and signers are made and packages are signed.
pub struct Workshop {
    folder: tempfile::TempDir,
}

/// What `jarsigner -verify -strict` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    pub exit: i32,
    pub says: String,
}

impl Workshop {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// A root that signed itself.
    pub fn root(&self, alias: &str) {
        self.keytool(&format!(
            "-genkeypair -alias {alias} -keyalg RSA -keysize 2048 -dname CN={alias} \
             -ext bc:c=ca:true -ext ku:c=keyCertSign,cRLSign -validity 3650"
        ));
    }

    /// An authority below another.
    pub fn issuer(&self, alias: &str, by: &str) {
        self.keytool(&format!(
            "-genkeypair -alias {alias} -signer {by} -keyalg RSA -keysize 2048 -dname CN={alias} \
             -ext bc:c=ca:true,pathlen:0 -ext ku:c=keyCertSign -validity 3650"
        ));
    }

    /// A signer of code; `how` is the key and whatever differs.
    pub fn signer(&self, alias: &str, by: &str, how: &str) {
        let usage = "-ext ku:c=digitalSignature -ext eku=codeSigning";
        self.keytool(&format!(
            "-genkeypair -alias {alias} -signer {by} -dname CN={alias} -validity 365 {usage} {how}"
        ));
    }

    /// keytool on the workshop's keystore.
    pub fn keytool(&self, arguments: &str) -> Vec<u8> {
        let mut command = self.tool("keytool");
        command.args(arguments.split_whitespace()).args(["-keystore", "keys.p12", "-storepass", PASSWORD]);
        succeeds(command).stdout
    }

    /// The workshop's root as the engine's trust store.
    pub fn store(&self, roots: &[(RootKind, &str)]) -> TrustStore {
        let mut builder = TrustStore::builder();
        for (kind, alias) in roots {
            let pem = self.keytool(&format!("-exportcert -rfc -alias {alias}"));
            for added in builder.add(*kind, alias, &pem, now()) {
                added.unwrap();
            }
        }
        builder.build()
    }

    /// Packs a folder of sample classes with the JDK's own tool.
    pub fn jar(&self, name: &str) {
        self.write("classes/com/A.class", "class A: some bytes that stand for code");
        self.write("classes/com/B.class", "class B");
        self.write("classes/META-INF/services/com.Service", "com.A\n");
        self.write("manifest.txt", "MExE-Name: sample\nMExE-Version: 1.0\n");
        let mut command = self.tool("jar");
        command.args(["cfm", name, "manifest.txt", "-C", "classes", "."]);
        succeeds(command);
    }

    /// Signs a package into another file.
    pub fn sign(&self, from: &str, to: &str, alias: &str, how: &str) -> Vec<u8> {
        let mut command = self.tool("jarsigner");
        command.args(["-keystore", "keys.p12", "-storepass", PASSWORD, "-signedjar", to]);
        command.args(how.split_whitespace()).args([from, alias]);
        succeeds(command);
        self.read(to)
    }

    /// What jarsigner says of these bytes, with the workshop's keystore as its roots.
    pub fn opinion(&self, bytes: &[u8]) -> Opinion {
        self.write("judged.jar", bytes);
        let mut command = self.tool("jarsigner");
        command.args(["-verify", "-strict", "-keystore", "keys.p12", "-storepass", PASSWORD, "judged.jar"]);
        let output = run(command);
        let says = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Opinion { exit: output.status.code().unwrap(), says }
    }

    /// Runs many commands of keytool, jarsigner and jar in one virtual machine; words are parted by spaces. What each says
    /// is on one line.
    pub fn batch(&self, commands: &[String]) -> Vec<Opinion> {
        self.write("Batch.java", include_str!("Batch.java"));
        let lines: Vec<String> =
            commands.iter().map(|c| c.split_whitespace().collect::<Vec<_>>().join("\t")).collect();
        self.write("commands", lines.join("\n"));
        let mut command = self.tool("java");
        for tool in ["java.base/sun.security.tools.keytool", "jdk.jartool/sun.security.tools.jarsigner"] {
            command.args(["--add-exports", &format!("{tool}=ALL-UNNAMED")]);
        }
        command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "Batch.java", "commands"]);
        let output = succeeds(command);
        let answers: Vec<Opinion> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| {
                let (exit, says) = line.split_once('\t')?;
                Some(Opinion { exit: exit.parse().ok()?, says: says.to_owned() })
            })
            .collect();
        assert_eq!(answers.len(), commands.len(), "{}", String::from_utf8_lossy(&output.stderr));
        answers
    }

    /// Copies an archive with python3's zipfile and changes it: `remove NAME`, `replace NAME FILE`, `add NAME FILE`.
    pub fn edit(&self, from: &str, operation: &str) -> Vec<u8> {
        let mut command = self.tool("python3");
        command.args(["-W", "ignore", "-c", EDIT, from, "edited.jar"]).args(operation.split_whitespace());
        succeeds(command);
        self.read("edited.jar")
    }

    pub fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        // The messages are compared, so they must not be translated.
        command.current_dir(self.folder.path()).env("LC_ALL", "C").env_remove("JAVA_TOOL_OPTIONS");
        // A tool that asks for something must fail, not wait.
        command.stdin(Stdio::null());
        command
    }
}

const PASSWORD: &str = "changeit";

const EDIT: &str = r"
import sys, zipfile
source, target, operation, name = sys.argv[1:5]
content = open(sys.argv[5], 'rb').read() if len(sys.argv) > 5 else None
with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as new:
    for info in old.infolist():
        data = old.read(info)
        if info.filename == name and operation == 'remove':
            continue
        if info.filename == name and operation == 'replace':
            data = content
        new.writestr(info, data)
    if operation == 'add':
        new.writestr(name, content)
";

/// The device's clock, which jarsigner goes by.
pub fn now() -> WallTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    WallTime::from_secs(since.as_secs())
}

fn run(mut command: Command) -> Output {
    let tool = Path::new(command.get_program()).to_owned();
    match command.output() {
        Ok(output) => output,
        Err(error) => {
            panic!("`{}` cannot be run: {error}; install default-jdk-headless and python3", tool.display())
        }
    }
}

pub fn succeeds(command: Command) -> Output {
    let shown = format!("{command:?}");
    let output = run(command);
    let text = [output.stdout.clone(), output.stderr.clone()].concat();
    assert!(output.status.success(), "{shown}: {}", String::from_utf8_lossy(&text));
    output
}
