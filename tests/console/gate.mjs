// Gates to look at, each in a folder of its own: the demo, and a device that its owner set up; their API, and programs that talk
// through them.

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { World } from "./world.mjs";

/** Waits until `what` gives something. */
export const until = async (name, what, seconds = 20) => {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await what();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${seconds} s in vain for ${name}`);
    await new Promise((again) => setTimeout(again, 50));
  }
};

/** Six ports beside each other that nobody has. */
const freePorts = async () => {
  const taken = (port) =>
    new Promise((say) => {
      const server = createServer();
      server.once("error", () => say(true));
      server.listen(port, "127.0.0.1", () => server.close(() => say(false)));
    });
  for (let base = 20000 + (process.pid % 5000) * 8; ; base += 8) {
    if (base > 64000) base = 20000;
    const all = await Promise.all([0, 1, 2, 3, 4, 5].map((at) => taken(base + at)));
    if (!all.some(Boolean)) return base;
  }
};

// None of them outlives the test, however that ends.
const children = new Set();
process.on("exit", () => children.forEach((child) => child.kill()));

/** A program that ends with the test at the latest. */
const begin = (program, words, options) => {
  const child = spawn(program, words, options);
  children.add(child);
  child.once("close", () => children.delete(child));
  return child;
};

export class Gate {
  /** The demo: sample apps of each domain, an origin, and nothing else to set up. */
  static async start() {
    const gate = await new Gate().settle();
    gate.launch("demo", "--dir", join(gate.folder, "demo"), "--port-base", String(gate.base));
    await until("the demo's gate", () => gate.lives() && gate.printed.includes("console"));
    gate.token = readFileSync(join(gate.folder, "demo", "state", "console.token"), "utf8").trim();
    return gate;
  }

  /** Finds a folder and ports. */
  async settle() {
    this.folder = mkdtempSync(join(tmpdir(), "mexegate-console-"));
    this.base = await freePorts();
    this.address = `http://127.0.0.1:${this.base + 3}`;
    this.origin = `127.0.0.1:${this.base + 5}`;
    [this.printed, this.open] = ["", []];
    return this;
  }

  launch(...words) {
    this.process = begin(process.env.MEXEGATE_BIN, words);
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on("data", (text) => (this.printed += text));
  }

  lives() {
    if (this.process.exitCode !== null) throw new Error(`the gate ended:\n${this.printed}`);
    return true;
  }

  async ask(method, path, body, token = this.token) {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const response = await fetch(this.address + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: text.startsWith("{") ? JSON.parse(text) : null };
  }

  /** Begins a run of an app; gives the proxy's address and the credentials. */
  async run(app) {
    const { json } = await this.ask("POST", `/v1/apps/${app}/runs`);
    return { ...json, url: new URL(json.http) };
  }

  /** Ordinary curl as a run of an app: `status` when the gate has answered its CONNECT, `ended` with its exit code and text. */
  curl(run, target = this.origin, path = "/", ...more) {
    const proxy = [`--proxy`, `http://${run.url.host}`, "--proxytunnel"];
    const who = ["--proxy-user", `${run.url.username}:${decodeURIComponent(run.url.password)}`];
    const how = ["--disable", "--verbose", "--no-progress-meter", "--no-buffer", ...proxy, ...who, ...more];
    // Nothing of this machine's own proxies.
    const child = begin("curl", [...how, `http://${target}${path}`], { env: { PATH: process.env.PATH }, stdio: ["ignore", "pipe", "pipe"] });
    const flow = { received: 0, quit: () => child.kill("SIGTERM") };
    let [said, got] = ["", ""];
    child.stdout.on("data", (bytes) => {
      flow.received += bytes.length;
      if (got.length < 10000) got += bytes.toString("latin1");
    });
    flow.status = new Promise((say) => {
      child.stderr.on("data", (text) => {
        said += text;
        const answered = /^< HTTP\/1\.[01] (\d+)/m.exec(said);
        if (answered) say(Number(answered[1]));
      });
      child.once("close", () => say(0));
    });
    flow.ended = new Promise((say) => child.once("close", (code) => say({ code, got, said })));
    this.open.push(flow);
    return flow;
  }

  /** A request in a run's name; the answer may take as long as the user does. */
  app(run, method, path, body) {
    return this.ask(method, path, body, run.token);
  }

  async stop() {
    for (const flow of this.open) flow.quit();
    await Promise.all(this.open.map((flow) => flow.ended));
    if (this.process.exitCode === null) {
      const ended = new Promise((say) => this.process.once("exit", say));
      this.process.kill("SIGTERM");
      const late = setTimeout(() => this.process.kill("SIGKILL"), 15000);
      await ended;
      clearTimeout(late);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A device as its owner set it up: an empty trust store that lets old signatures count, a phrase, and a modem without a card. */
export class Device extends Gate {
  static async start() {
    const gate = await new Device().settle();
    gate.world = new World(join(gate.folder, "world"));
    mkdirSync(gate.world.path("roots"));
    gate.modem = begin("python3", [fileURLToPath(new URL("modem.py", import.meta.url))], { stdio: ["ignore", "pipe", "inherit"] });
    gate.heard = "";
    gate.modem.stdout.on("data", (text) => (gate.heard += text));
    await until("the modem", () => gate.heard.includes("\n"));
    const listen = ["socks", "http", "masque", "console", "metrics"].map((name, at) => `${name} = "127.0.0.1:${gate.base + at}"`);
    const file = gate.world.write("mexegate.toml", `[listen]
${listen.join("\n")}
[trust]
roots = "roots"
legacy = true
[policy]
prompt_phrase = "${gate.phrase}"
[[bearer]]
name = "mobile"
kind = "modem"
device = "${gate.heard.trim()}"
`);
    gate.launch("serve", "-c", file, "--state-dir", join(gate.folder, "state"));
    await until("the gate's console", async () => gate.lives() && (await fetch(gate.address).then(() => true, () => false)));
    gate.token = readFileSync(join(gate.folder, "state", "console.token"), "utf8").trim();
    return gate;
  }

  phrase = "the heron stands in the rain";

  async stop() {
    await super.stop();
    this.modem.kill();
  }
}
