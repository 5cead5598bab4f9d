// A gate to look at: the demo in a folder of its own, its API, and programs that talk through it.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

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

export class Gate {
  static async start() {
    const gate = new Gate();
    gate.folder = mkdtempSync(join(tmpdir(), "mexegate-console-"));
    const base = await freePorts();
    gate.address = `http://127.0.0.1:${base + 3}`;
    gate.origin = `127.0.0.1:${base + 5}`;
    gate.printed = "";
    gate.open = [];
    gate.process = spawn(process.env.MEXEGATE_BIN, ["demo", "--dir", join(gate.folder, "demo"), "--port-base", String(base)]);
    for (const stream of [gate.process.stdout, gate.process.stderr]) stream.on("data", (text) => (gate.printed += text));
    const file = join(gate.folder, "demo", "state", "console.token");
    await until("the demo's gate", () => {
      if (gate.process.exitCode !== null) throw new Error(`the demo ended:\n${gate.printed}`);
      return gate.printed.includes("console");
    });
    gate.token = readFileSync(/^state\s+(.+)$/m.exec(gate.printed)?.[1].concat("/console.token") ?? file, "utf8").trim();
    return gate;
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
    const child = spawn("curl", [...how, `http://${target}${path}`], { env: { PATH: process.env.PATH }, stdio: ["ignore", "pipe", "pipe"] });
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
