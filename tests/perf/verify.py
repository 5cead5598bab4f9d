"""Makes signed JARs and measures who verifies them at which cost: whole processes, user and system CPU by wait4, wall by the
monotonic clock, medians of interleaved rounds. Called by tests/perf/verify."""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile

PASSWORD = "changeit"
MB = 1_000_000
# The targets: CPU and wall of jarsigner over ours at least this, by size in MB and method.
WANTED = {(1, "stored"): (10, 10), (1, "deflated"): (10, 10), (10, "stored"): (10, 6), (10, "deflated"): (10, 6),
          (100, "stored"): (6, 4), (100, "deflated"): (2.5, 4)}
# Wall of ours over that of sha256sum, for one stored entry large enough that starting a process does not count.
WANTED_SHA256SUM = 1.5


def quietly(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"`{' '.join(command)}` failed:\n{done.stdout.decode(errors='replace')}")


class Workshop:
    """A keystore with a root and a signer, and the root as the gate takes it."""

    def __init__(self, folder):
        self.folder = folder
        self.keys = os.path.join(folder, "keys.p12")
        self.roots = os.path.join(folder, "roots")
        os.makedirs(os.path.join(self.roots, "operator"))
        store = ["-keystore", self.keys, "-storepass", PASSWORD]
        quietly("keytool", "-genkeypair", "-alias", "root", "-dname", "CN=Root", "-keyalg", "RSA", "-keysize", "2048",
                "-ext", "bc:c=ca:true", "-ext", "ku:c=keyCertSign", "-validity", "3650", *store)
        quietly("keytool", "-genkeypair", "-alias", "signer", "-signer", "root", "-dname", "CN=Signer", "-keyalg", "RSA",
                "-keysize", "2048", "-ext", "ku:c=digitalSignature", "-ext", "eku=codeSigning", "-validity", "365", *store)
        quietly("keytool", "-exportcert", "-rfc", "-alias", "root", "-file",
                os.path.join(self.roots, "operator", "root.pem"), *store)

    def package(self, size, entries, method):
        """A signed JAR whose entries are `size` MB together when unpacked."""
        plain = os.path.join(self.folder, "plain.jar")
        signed = os.path.join(self.folder, f"{size}-{entries}-{method}.jar")
        each, block = size * MB // entries, sample()
        how = zipfile.ZIP_STORED if method == "stored" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(plain, "w", how) as archive:
            archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\nMExE-Name: measured\r\n\r\n")
            for number in range(entries):
                begin = number * 7919 % len(block)
                content = (block[begin:] + block * (each // len(block) + 1))[:each]
                archive.writestr(f"org/example/part{number % 97}/Class{number}.class", content)
        quietly("jarsigner", "-keystore", self.keys, "-storepass", PASSWORD, "-signedjar", signed, plain, "signer")
        os.remove(plain)
        return signed

    def package_apart(self, *what):
        """The same in a process of its own: a child's peak of memory begins with its parent's, so this one stays small."""
        child = os.fork()
        if child == 0:
            try:
                self.package(*what)
                os._exit(0)
            finally:
                os._exit(1)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
            sys.exit("the package could not be made")
        return os.path.join(self.folder, "-".join(str(part) for part in what) + ".jar")


def sample():
    """A megabyte that packs to about a half, as classes do: every other 32 bytes are from a small book of phrases."""
    chance = random.Random(20261125)
    book = [chance.randbytes(32) for _ in range(200)]
    return b"".join(chance.randbytes(32) + chance.choice(book) for _ in range(16384))


def measured(command, says):
    """CPU and wall of one process, seconds; it must succeed and say that."""
    out, into = os.pipe()
    null = os.open(os.devnull, os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, into, 1), (os.POSIX_SPAWN_DUP2, into, 2)]
    began = time.monotonic()
    child = os.posix_spawnp(command[0], command, {**os.environ, "LC_ALL": "C"}, file_actions=actions)
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    _, status, usage = os.wait4(child, 0)
    wall = time.monotonic() - began
    os.close(null)
    if os.waitstatus_to_exitcode(status) != 0 or says not in text:
        sys.exit(f"`{' '.join(command)}` does not say `{says}`:\n{text}")
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024


def compare(gate, shop, package, rounds):
    """Medians of (CPU, wall, MiB) for ours, jarsigner's, sha256sum's."""
    commands = [
        ([gate, "app", "verify", package, "--roots", shop.roots], "verified"),
        (["jarsigner", "-verify", "-keystore", shop.keys, package], "jar verified."),
        (["sha256sum", package], ""),
    ]
    runs = [[] for _ in commands]
    for _ in range(rounds):
        for found, (command, says) in zip(runs, commands):
            found.append(measured(command, says))
    return [[statistics.median(column) for column in zip(*found)] for found in runs]


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--gate", required=True, help="the gate's binary")
    options.add_argument("--out", required=True, help="where the table is written")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--quick", action="store_true", help="only the smallest packages, once")
    options = options.parse_args()
    gate, rounds = os.path.abspath(options.gate), 1 if options.quick else options.rounds
    cases = [(size, entries, method) for size in (1, 10, 100) for entries in (1, 10_000) for method in ("stored", "deflated")]
    if options.quick:
        cases = [(1, 1, "stored"), (1, 500, "deflated")]
    lines = [
        f"# app verify beside jarsigner -verify and sha256sum: {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}, medians of {rounds}",
        "",
        "| MB, entries, method | CPU ms: ours, jarsigner, sha256sum | wall ms: ours, jarsigner, sha256sum | MiB: ours, jarsigner "
        "| jarsigner / ours: CPU, wall | ours / sha256sum: CPU, wall | wanted |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    print("\n".join(lines))
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(folder)
        for size, entries, method in cases:
            package = shop.package_apart(size, entries, method)
            ours, theirs, digest = compare(gate, shop, package, rounds)
            cpu, wall = theirs[0] / max(ours[0], 1e-6), theirs[1] / ours[1]
            wanted = WANTED[(size, method)]
            met = cpu >= wanted[0] and wall >= wanted[1]
            says = f"{wanted[0]}, {wanted[1]}"
            if (size, entries, method) == (100, 1, "stored"):
                met = met and ours[1] <= WANTED_SHA256SUM * digest[1]
                says += f"; {WANTED_SHA256SUM}"
            missed += not met
            trio = lambda column: ", ".join(f"{one[column] * 1000:.0f}" for one in (ours, theirs, digest))
            line = (f"| {size}, {entries}, {method} | {trio(0)} | {trio(1)} | {ours[2]:.0f}, {theirs[2]:.0f} | {cpu:.1f}, {wall:.1f} "
                    f"| {ours[0] / max(digest[0], 1e-6):.1f}, {ours[1] / digest[1]:.1f} | {says}: {'met' if met else 'MISSED'} |")
            lines.append(line)
            print(line, flush=True)
            os.remove(package)
    with open(options.out, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    print(f"written to {options.out}")
    # A smoke only shows that it works: one round on a busy machine measures nothing.
    sys.exit(1 if missed and not options.quick else 0)


if __name__ == "__main__":
    main()
