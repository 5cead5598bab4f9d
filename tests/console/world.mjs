// What comes to a device from outside: authorities and their signers, packages, revocation lists and an administrator's
// messages, made with the tools that people make them with: openssl, zip and jarsigner.

import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const CONFIGURATION = `
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[signer]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = codeSigning
[ca]
default_ca = lists
[lists]
database = index.txt
crlnumber = number
default_md = sha256
default_crl_days = 30
`;

/** One value in DER; everything here is shorter than 64 KiB. */
const tlv = (tag, ...parts) => {
  const bytes = Buffer.concat(parts);
  const length = bytes.length < 128 ? [bytes.length] : bytes.length < 256 ? [0x81, bytes.length] : [0x82, bytes.length >> 8, bytes.length & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), bytes]);
};

export class World {
  constructor(folder) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
    this.write("openssl.cnf", CONFIGURATION);
  }

  path(name) {
    return join(this.folder, name);
  }

  write(name, text) {
    writeFileSync(this.path(name), text);
    return this.path(name);
  }

  run(program, ...words) {
    return execFileSync(program, words, { cwd: this.folder, stdio: ["ignore", "pipe", "pipe"], env: { PATH: process.env.PATH, LC_ALL: "C.UTF-8" } });
  }

  /** An authority; gives the path of its certificate. */
  authority(name) {
    const key = ["-newkey", "rsa:2048", "-nodes", "-keyout", `${name}.key`];
    this.run("openssl", "req", "-x509", "-config", "openssl.cnf", "-extensions", "authority", ...key, "-subj", `/CN=${name}`, "-days", "30", "-out", `${name}.pem`);
    return this.path(`${name}.pem`);
  }

  /** Whom the authority lets sign code. */
  signer(name, authority) {
    this.run("openssl", "req", "-config", "openssl.cnf", "-newkey", "rsa:2048", "-nodes", "-keyout", `${name}.key`, "-subj", `/CN=${name}`, "-out", `${name}.csr`);
    const by = ["-CA", `${authority}.pem`, "-CAkey", `${authority}.key`, "-set_serial", "77"];
    this.run("openssl", "x509", "-req", "-in", `${name}.csr`, ...by, "-days", "20", "-extfile", "openssl.cnf", "-extensions", "signer", "-out", `${name}.pem`);
    const out = ["-out", `${name}.p12`, "-name", "signer", "-passout", "pass:changeit"];
    this.run("openssl", "pkcs12", "-export", "-in", `${name}.pem`, "-inkey", `${name}.key`, "-certfile", `${authority}.pem`, ...out);
  }

  /** A package with these attributes, signed when there is a signer. */
  jar(file, attributes, signer = null, ...how) {
    // Lines of a manifest have at most 72 bytes, with the space that continues the one before.
    const folded = Object.entries(attributes).map(([name, value]) => {
      const lines = [""];
      for (const letter of `${name}: ${value}`) {
        if (Buffer.byteLength(lines.at(-1) + letter) > 70) lines.push(" ");
        lines[lines.length - 1] += letter;
      }
      return lines.join("\r\n");
    });
    mkdirSync(this.path(`${file}.d/META-INF`), { recursive: true });
    this.write(`${file}.d/META-INF/MANIFEST.MF`, `Manifest-Version: 1.0\r\n${folded.join("\r\n")}\r\n\r\n`);
    this.write(`${file}.d/program.txt`, file);
    execFileSync("zip", ["-q", "-X", this.path(file), "META-INF/MANIFEST.MF", "program.txt"], { cwd: this.path(`${file}.d`) });
    if (signer) this.run("jarsigner", "-keystore", `${signer}.p12`, "-storepass", "changeit", ...how, file, "signer");
    return this.path(file);
  }

  /** A file of any kind, and the signature that lies beside it. */
  beside(file, signer) {
    this.write(file, "#!/bin/sh\n");
    const by = ["-signer", `${signer}.pem`, "-inkey", `${signer}.key`];
    this.run("openssl", "cms", "-sign", "-binary", "-outform", "DER", ...by, "-in", file, "-out", `${file}.p7s`);
    return [this.path(file), this.path(`${file}.p7s`)];
  }

  /** A revocation list of the authority's; `revoked` is a signer of its. */
  list(file, authority, number, { revoked = null, from = null, until = null } = {}) {
    const entry = revoked ? `R\t301231235959Z\t260101000000Z\t4D\tunknown\t/CN=${revoked}\n` : "";
    this.write("index.txt", entry);
    this.write("index.txt.attr", "unique_subject = no\n");
    this.write("number", `${number}\n`);
    const times = from ? ["-crl_lastupdate", from, "-crl_nextupdate", until] : [];
    this.run("openssl", "ca", "-gencrl", "-config", "openssl.cnf", "-keyfile", `${authority}.key`, "-cert", `${authority}.pem`, ...times, "-out", file);
    return this.path(file);
  }

  /** A message of the administrator's for that device, which enables these certificates and no others (certs/profile.md). */
  message(file, administrator, device, sequence, certificates) {
    const hash = (bytes) => createHash("sha256").update(bytes).digest();
    const read = (name) => new X509Certificate(readFileSync(this.path(`${name}.pem`)));
    const key = read(administrator).publicKey.export({ type: "spki", format: "der" });
    const at = (days) => {
      const time = new Date(Date.now() + days * 86400000).toISOString().replace(/[-:T]/g, "").replace(/\.\d+/, "");
      return tlv(0x18, Buffer.from(time));
    };
    const entries = certificates.map((name) => hash(read(name).raw)).sort(Buffer.compare);
    const content = tlv(
      0x30, tlv(0x02, Buffer.from([1])), tlv(0x04, hash(key)), tlv(0xa0, tlv(0x0c, Buffer.from(device))),
      tlv(0x02, Buffer.from([sequence])), at(-1), at(2), at(7), tlv(0x0a, Buffer.from([0])), tlv(0x30, ...entries.map((entry) => tlv(0x04, entry))),
    );
    writeFileSync(this.path("content"), content);
    const by = ["-signer", `${administrator}.pem`, "-inkey", `${administrator}.key`];
    this.run("openssl", "cms", "-sign", "-binary", "-nodetach", "-outform", "DER", "-econtent_type", "2.25.230570099.2", ...by, "-in", "content", "-out", file);
    return this.path(file);
  }
}
