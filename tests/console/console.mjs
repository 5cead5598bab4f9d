// Walks through the console as a user would, in Chromium: every page narrow and wide, light and dark; the keyboard; what
// the buttons do to a real gate. Ends with 0 when everything held, else it says what did not.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { device } from "./device.mjs";
import { Device, Gate, until } from "./gate.mjs";
import { questions } from "./questions.mjs";

const require = createRequire(join(process.env.MEXEGATE_MODULES, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const PICTURES = process.env.MEXEGATE_PICTURES;
const PAGES = ["questions", "apps", "flows", "grants", "usage", "journal", "roots", "quality", "shadow"];
/** What curl ends with when its connection is cut: too little came, or a reset. */
const CUT = [18, 56];
const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
];

/** One browser tab that notes what must not happen: faults in the console, requests elsewhere. */
class Tab {
  static async open(browser, gate, options = {}) {
    const tab = new Tab();
    // Like this axe may run although the page lets no script in; what the policy itself says is judged over HTTP.
    const context = await browser.newContext({ bypassCSP: options.judged ?? false, ...options.context });
    tab.page = await context.newPage();
    tab.faults = [];
    tab.page.on("pageerror", (error) => tab.faults.push(`page error: ${error.message}`));
    tab.page.on("console", (message) => message.type() === "error" && tab.faults.push(`console: ${message.text()}`));
    tab.page.on("request", (request) => {
      if (!request.url().startsWith(`${gate.address}/`)) tab.faults.push(`request elsewhere: ${request.url()}`);
    });
    tab.gate = gate;
    return tab;
  }

  async signIn() {
    await this.page.goto(`${this.gate.address}/#token=${this.gate.token}`);
    await this.page.waitForSelector("#title");
    assert.ok(!this.page.url().includes(this.gate.token), "the token is still in the address bar");
  }

  async show(name) {
    await this.page.evaluate((name) => new Promise((shown) => {
      if (window.mexegate.page() === name) return shown();
      document.addEventListener("mexegate:page", shown, { once: true });
      document.querySelector(`#pages a[href="#${name}"]`).click();
    }), name);
  }

  /** What axe finds serious or worse. */
  async judge(what) {
    await this.page.evaluate(axe);
    const { violations } = await this.page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    const bad = violations.filter((one) => ["serious", "critical"].includes(one.impact));
    const told = bad.map((one) => `${one.id}: ${one.nodes.map((node) => `${node.html} ${node.failureSummary}`).join("\n    ")}`);
    assert.deepEqual(told, [], `axe on ${what}`);
  }

  /** Nothing is wider than the window, and axe finds nothing serious. */
  async fits(what) {
    const over = await this.page.evaluate(() => {
      const wide = [...document.querySelectorAll("body *")].filter((one) => {
        const hidden = one.closest(".unseen, thead, dialog, .skip, svg");
        return !hidden && one.getClientRects().length > 0 && one.getBoundingClientRect().right > innerWidth + 1;
      });
      const body = document.scrollingElement.scrollWidth > innerWidth ? ["the page scrolls sideways"] : [];
      return [...body, ...wide.map((one) => one.outerHTML.slice(0, 120))];
    });
    assert.deepEqual(over, [], `overflow: ${what}`);
    await this.judge(what);
  }

  faultless(what) {
    assert.deepEqual(this.faults, [], what);
  }

  async close() {
    await this.page.context().close();
  }
}

const steps = {
  async "nobody without the user's token sees a page, and every answer is guarded"(_browser, gate) {
    const run = await gate.run("operator-app");
    for (const page of [...PAGES, "verify", "throughput"]) {
      assert.equal((await gate.ask("GET", `/console/${page}`, null, null)).status, 401, page);
      assert.equal((await gate.ask("GET", `/console/${page}`, null, run.token)).status, 403, page);
      const { status, headers } = await gate.ask("GET", `/console/${page}`);
      assert.equal(status, 200, page);
      assert.equal(headers.get("cache-control"), "no-store", page);
      assert.match(headers.get("content-security-policy"), /^default-src 'none'; script-src 'self'; style-src 'self';/);
      assert.equal(headers.get("set-cookie"), null);
    }
  },

  async "the first page is light and there at once"(browser, gate) {
    const tab = await Tab.open(browser, gate);
    const bodies = [];
    tab.page.on("response", (response) => bodies.push(response.body()));
    await tab.page.goto(gate.address);
    await tab.page.waitForSelector("#token");
    await tab.page.waitForLoadState("networkidle");
    const bytes = (await Promise.all(bodies)).reduce((sum, body) => sum + body.length, 0);
    const paint = await tab.page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
    console.log(`     first paint after ${Math.round(paint)} ms, ${bytes} bytes`);
    assert.ok(bytes > 50000 && bytes < 100000, `${bytes} bytes`);
    tab.faultless("the shell");
    await tab.close();
  },

  async "a wrong token stays outside, the right one comes in and is kept by this tab alone"(browser, gate) {
    const tab = await Tab.open(browser, gate);
    await tab.page.goto(gate.address);
    await tab.page.fill("#token", "wrong");
    await tab.page.keyboard.press("Enter");
    await tab.page.waitForFunction(() => document.querySelector("#token-fault").textContent !== "");
    assert.ok(await tab.page.isVisible("#sign-in"));
    tab.faults = [];
    await tab.page.fill("#token", gate.token);
    await tab.page.keyboard.press("Enter");
    await tab.page.waitForSelector("#title");
    assert.deepEqual(await tab.page.context().cookies(), []);
    assert.equal(await tab.page.evaluate(() => localStorage.length), 0);
    await tab.page.reload();
    await tab.page.waitForSelector("#title");
    await tab.page.click("#sign-out");
    assert.ok(await tab.page.isVisible("#sign-in"));
    assert.ok(!(await tab.page.evaluate(() => JSON.stringify({ ...sessionStorage }))).includes(gate.token));
    assert.equal(await tab.page.textContent("#page"), "");
    tab.faultless("signing in and out");
    await tab.close();
  },

  async "every page fits, is legible and accessible, narrow and wide, light and dark"(browser, gate) {
    for (const width of [360, 1280]) {
      for (const colorScheme of ["light", "dark"]) {
        const context = { viewport: { width, height: width === 360 ? 740 : 900 }, colorScheme };
        const tab = await Tab.open(browser, gate, { judged: true, context });
        await tab.page.goto(gate.address);
        await tab.page.waitForSelector("#token");
        await tab.judge(`sign-in at ${width}, ${colorScheme}`);
        await tab.page.screenshot({ path: join(PICTURES, `sign-in-${width}-${colorScheme}.png`) });
        await tab.signIn();
        for (const name of PAGES) {
          await tab.show(name);
          if (name === "apps") await tab.page.locator("details").first().evaluate((details) => (details.open = true));
          if (name === "flows") await tab.page.waitForSelector("#throughput-picture polyline", { state: "attached" });
          const what = `${name} at ${width}, ${colorScheme}`;
          await tab.fits(what);
          await tab.page.screenshot({ path: join(PICTURES, `${name}-${width}-${colorScheme}.png`), fullPage: true });
        }
        tab.faultless(`pages at ${width}, ${colorScheme}`);
        await tab.close();
      }
    }
  },

  async "the policy holds in the browser: nothing is refused that a page needs"(browser, gate) {
    const tab = await Tab.open(browser, gate);
    await tab.signIn();
    for (const name of PAGES) await tab.show(name);
    tab.faultless("every page under the policy");
    await tab.close();
  },

  async "everything can be reached and done with the keyboard alone"(browser, gate) {
    const tab = await Tab.open(browser, gate);
    await tab.signIn();
    await tab.page.focus("#sign-out");
    const reached = [];
    for (let step = 0; step < PAGES.length; step += 1) {
      await tab.page.keyboard.press("Tab");
      reached.push(await tab.page.evaluate(() => document.activeElement.hash));
    }
    assert.deepEqual(reached, PAGES.map((name) => `#${name}`));
    await tab.page.keyboard.press("Enter");
    await tab.page.waitForFunction(() => document.activeElement.id === "title");
    assert.equal(await tab.page.textContent("#title"), "Shadow mode");
    const outline = async () => tab.page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    await tab.page.keyboard.press("Shift+Tab");
    assert.equal(await outline(), "solid", "focus cannot be seen");
    await tab.page.focus("#skip");
    await tab.page.keyboard.press("Enter");
    assert.equal(await tab.page.evaluate(() => document.activeElement.id), "main");
    tab.faultless("the keyboard");
    await tab.close();
  },

  async "a flow is seen, and ending it cuts it"(browser, gate) {
    const flow = gate.curl(gate.talker, gate.origin, "/bytes/100000000000", "--limit-rate", "10k");
    assert.equal(await flow.status, 200);
    const tab = await Tab.open(browser, gate);
    await tab.signIn();
    await tab.show("flows");
    await tab.page.waitForFunction((target) => document.querySelector("#live").textContent.includes(target), gate.origin);
    const before = await tab.page.locator("[data-flow]").count();
    await tab.page.locator("[data-flow] button").last().click();
    assert.ok(CUT.includes((await flow.ended).code), "curl did not notice");
    await tab.page.waitForFunction((before) => document.querySelectorAll("[data-flow]").length < before, before);
    tab.faultless("ending a flow");
    await tab.close();
  },

  async "a call and a download on one bearer are both drawn, and the call waits for none of it"(browser, gate) {
    const app = gate.talker.url.username;
    assert.equal((await gate.ask("POST", "/v1/grants", { app, action: "network.qos", permission: "session" })).status, 201);
    const rates = { guaranteed_bitrate_down: "64 kbit/s", max_bitrate_down: "256 kbit/s" };
    const wish = { name: "call", class: "conversational", ...rates };
    const stream = await gate.app(gate.talker, "POST", "/v1/streams", wish);
    assert.equal(stream.status, 201, stream.text);
    const bulk = gate.curl(gate.talker, gate.origin, "/bytes/100000000000");
    const call = gate.curl(gate.talker, gate.origin, "/bytes/100000000000", "--proxy-header", "MExE-Stream: call");
    assert.deepEqual([await bulk.status, await call.status], [200, 200]);
    const tab = await Tab.open(browser, gate);
    await tab.signIn();
    await tab.show("flows");
    // What each class has, in kB a second: the call its own, the download what 10 Mbit/s leave.
    await tab.page.waitForFunction(() => {
      const down = (name) => {
        const row = [...document.querySelectorAll("#throughput-now tr")].find((row) => row.textContent.includes(name));
        const [, number, unit] = /([\d.]+) (k?M?)B\/s/.exec(row?.children[1]?.textContent ?? "") ?? [];
        return Number(number) * { "": 0.001, k: 1, M: 1000 }[unit];
      };
      return down("conversational") > 20 && down("conversational") < 50 && down("background") > 500;
    }, null, { timeout: 20000 });
    await tab.page.screenshot({ path: join(PICTURES, "call-and-download.png"), fullPage: true });
    [bulk, call].forEach((flow) => flow.quit());
    await gate.app(gate.talker, "DELETE", `/v1/streams/${stream.json.id}`);
    tab.faultless("a call and a download");
    await tab.close();
  },

  async "a grant is given by the form, and revoking it cuts the download that it covers"(browser, gate) {
    const run = await gate.run("manufacturer-app");
    const tab = await Tab.open(browser, gate);
    await tab.signIn();
    await tab.show("grants");
    await tab.page.selectOption("#give-app", "manufacturer-app");
    await tab.page.fill("#give-target", gate.origin);
    await tab.page.selectOption("#give-permission", "session");
    await tab.page.locator("#give button").click();
    const row = tab.page.locator("#live tr", { hasText: "manufacturer-app" }).filter({ hasText: gate.origin });
    await row.waitFor();
    const flow = gate.curl(run, gate.origin, "/bytes/100000000000", "--limit-rate", "20M");
    assert.equal(await flow.status, 200);
    await until("the download to run", () => flow.received > 1000000);
    await row.locator("button").click();
    assert.ok(CUT.includes((await flow.ended).code), "the download lives on");
    await row.waitFor({ state: "detached" });
    // A refusal of the gate's is told, not swallowed.
    await tab.page.selectOption("#give-app", "unsigned-app");
    await tab.page.locator("#give button").click();
    await tab.page.waitForSelector("#notices .bad");
    tab.faults = tab.faults.filter((fault) => !/40[03]/.test(fault));
    tab.faultless("giving and revoking");
    await tab.close();
  },

  async "a threshold is set by the form, cuts what goes beyond it, and is removed"(browser, gate) {
    const run = await gate.run("operator-app");
    const tab = await Tab.open(browser, gate);
    await tab.signIn();
    await tab.show("usage");
    await tab.page.fill("#threshold-bytes", "much");
    await tab.page.locator("#threshold button").click();
    assert.equal(await tab.page.locator("#live tr", { hasText: "Remove" }).count(), 0, "what is no amount was taken");
    await tab.page.fill("#threshold-bytes", "2 MB");
    await tab.page.selectOption("#threshold-app", "operator-app");
    await tab.page.locator("#threshold button").click();
    const row = tab.page.locator("#live tr", { hasText: "2.0 MB a day" });
    await row.waitFor();
    const grant = { app: "operator-app", action: "network.connect", target: gate.origin, permission: "session" };
    await gate.ask("POST", "/v1/grants", grant);
    const flow = gate.curl(run, gate.origin, "/bytes/100000000000", "--limit-rate", "20M");
    assert.ok(CUT.includes((await flow.ended).code), "the download goes on beyond the threshold");
    await tab.page.reload();
    await tab.show("usage");
    await row.filter({ hasText: "reached" }).waitFor();
    const bar = tab.page.locator("table[aria-label='Usage by app and class'] tr", { hasText: "operator-app" }).locator("rect");
    assert.ok(Number(await bar.first().getAttribute("width")) > 0, "there is no bar");
    await row.locator("button").click();
    await row.waitFor({ state: "detached" });
    tab.faultless("thresholds");
    await tab.close();
  },

  async "a limit is set by the form, holds, and is removed"(browser, gate) {
    const run = await gate.run("operator-app");
    const tab = await Tab.open(browser, gate);
    await tab.signIn();
    await tab.show("usage");
    await tab.page.selectOption("#limit-app", "operator-app");
    await tab.page.fill("#limit-down", "fast");
    await tab.page.locator("#limit button").click();
    assert.equal(await tab.page.locator("table[aria-label='Limits']").count(), 0, "what is no rate was taken");
    await tab.page.fill("#limit-down", "800 kbit/s");
    await tab.page.locator("#limit button").click();
    const row = tab.page.locator("table[aria-label='Limits'] tr", { hasText: "operator-app" });
    await row.filter({ hasText: "800 kbit/s" }).waitFor();
    const grant = { app: "operator-app", action: "network.connect", target: gate.origin, permission: "session" };
    await gate.ask("POST", "/v1/grants", grant);
    const began = Date.now();
    const { code } = await gate.curl(run, gate.origin, "/bytes/200000").ended;
    assert.equal(code, 0);
    assert.ok(Date.now() - began > 1500, "200,000 bytes at 100,000 a second");
    await row.locator("button").click();
    await row.waitFor({ state: "detached" });
    tab.faultless("limits");
    await tab.close();
  },

  async "the journal is filtered, followed and verified"(browser, gate) {
    const tab = await Tab.open(browser, gate);
    await tab.signIn();
    await tab.show("journal");
    await tab.page.fill("#filter-reason", "untrusted-app");
    await tab.page.keyboard.press("Enter");
    await tab.page.waitForFunction(() => {
      const rows = [...document.querySelectorAll("#live tbody tr")];
      return rows.length > 0 && rows.every((row) => row.textContent.includes("untrusted-app"));
    });
    await tab.page.fill("#filter-reason", "");
    await tab.page.keyboard.press("Enter");
    const rows = () => tab.page.locator("#live tbody tr").first().textContent();
    const newest = await rows();
    assert.equal(await gate.curl(gate.refused).status, 403);
    await until("the next record", async () => (await rows().catch(() => newest)) !== newest);
    await tab.page.click("#verify");
    await tab.page.waitForSelector("#verified .good");
    for (const [button, begins] of [["Save as CSV", "seq,"], ["Save as JSON lines", '{"action":'], ["Save a checkpoint", "{"]]) {
      const saved = tab.page.waitForEvent("download");
      await tab.page.getByRole("button", { name: button }).click();
      const text = readFileSync(await (await saved).path(), "utf8");
      assert.ok(text.startsWith(begins), `${button}: ${text.slice(0, 80)}`);
    }
    tab.faultless("the journal");
    await tab.close();
  },

  async "a root is disabled and enabled again, after a question"(browser, gate) {
    const tab = await Tab.open(browser, gate);
    await tab.signIn();
    await tab.show("roots");
    const enabled = () => tab.page.locator("#live .root .state.enabled").count();
    const before = await enabled();
    const button = tab.page.locator("[id^=disable-]").first();
    await button.click();
    assert.equal(await tab.page.evaluate(() => document.activeElement.id), "confirm-no");
    await tab.page.keyboard.press("Enter");
    assert.equal(await enabled(), before);
    await button.click();
    await tab.page.click("#confirm-yes");
    await until("the root to be off", async () => (await enabled()) === before - 1);
    await tab.page.locator("[id^=enable-]").first().click();
    await tab.page.click("#confirm-yes");
    await until("the root to be on again", async () => (await enabled()) === before);
    tab.faultless("switching a root");
    await tab.close();
  },

  ...questions(PICTURES),

  async "a run is stopped and an app removed, after a question"(browser, gate) {
    const tab = await Tab.open(browser, gate);
    const run = await gate.run("operator-app");
    await tab.signIn();
    await tab.show("apps");
    await tab.page.click(`#stop-${run.run}`);
    await tab.page.click("#confirm-yes");
    await tab.page.waitForSelector(`#stop-${run.run}`, { state: "detached" });
    await tab.page.click("#remove-unsigned-app");
    await tab.page.keyboard.press("Escape");
    assert.equal((await gate.ask("GET", "/v1/apps/unsigned-app")).status, 200);
    await tab.page.click("#remove-unsigned-app");
    await tab.page.click("#confirm-yes");
    await tab.page.waitForSelector("#remove-unsigned-app", { state: "detached" });
    assert.equal((await gate.ask("GET", "/v1/apps/unsigned-app")).status, 404);
    tab.faultless("stopping and removing");
    await tab.close();
  },
};

mkdirSync(PICTURES, { recursive: true });
const only = process.argv[2];
const gate = await Gate.start();
const owned = await Device.start();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGUMENTS });
let failed = 0;

/** The steps of one part; of all of them, or of those that the command line names. */
const walk = async (part, steps, gate) => {
  for (const [name, step] of Object.entries(steps)) {
    if (only && only !== part && !name.includes(only)) continue;
    try {
      await step(browser, gate, Tab);
      console.log(`ok   ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${name}\n${error.stack}\n${gate.process.exitCode === null ? "" : gate.printed}`);
    }
  }
};

try {
  // Something to be seen: a connection that moves bytes, one that is quiet, some refusals.
  gate.talker = await gate.run("third-party-app");
  await gate.ask("POST", "/v1/grants", { app: "third-party-app", action: "network.connect", target: gate.origin, permission: "session" });
  const [quiet, busy] = ["1", "200k"].map((rate) => gate.curl(gate.talker, gate.origin, "/bytes/100000000000", "--limit-rate", rate));
  assert.deepEqual(await Promise.all([quiet.status, busy.status]), [200, 200]);
  await until("some bytes", () => busy.received > 1000);
  gate.refused = await gate.run("unsigned-app");
  for (let times = 0; times < 3; times += 1) await gate.curl(gate.refused).ended;
  await walk("demo", steps, gate);
  await walk("device", device(PICTURES), owned);
} finally {
  await browser.close();
  await owned.stop();
  await gate.stop();
}
console.log(failed === 0 ? "the console holds" : `${failed} did not hold`);
process.exit(failed === 0 ? 0 : 1);
