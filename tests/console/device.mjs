// What the user does with his device on the console: takes in roots, apps and revocation lists, tries another policy, clears the
// journal, hands the third party domain over; and is asked about calls, by apps that would like to be taken for others.

import assert from "node:assert/strict";
import { join } from "node:path";
import { until } from "./gate.mjs";

/** Markup, an attribute's end, a direction override, a zero-width space, a terminal's escape. */
const HOSTILE = "\"'><img src=x onerror=alert(1)><b>Pay</b> \u202egpj.\u200b\u001b[2J";
const ESCAPED = "\"'><img src=x onerror=alert(1)><b>Pay</b> \\u{202e}gpj.\\u{200b}\\u{1b}[2J";

/** The pages of this part, and what has to be on them to be judged. */
const PAGES = ["apps", "journal", "roots", "shadow"];

const card = (tab, text) => tab.page.locator("#questions > .question").filter({ hasText: text });

/** Answers where it is seen, when it is awake: the browser's driver would scroll while it waits. */
const press = async (tab, text, verdict) => {
  const button = card(tab, text).locator(`[data-answer=${verdict}]:not(:disabled)`);
  await button.scrollIntoViewIfNeeded();
  await tab.page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
  await button.click();
  await card(tab, text).waitFor({ state: "detached" });
};

const open = async (browser, gate, Tab, page, options = {}) => {
  const tab = await Tab.open(browser, gate, options);
  await tab.signIn();
  await tab.show(page);
  return tab;
};

/** Hands a file to a form of the page, with a yes where one is asked for. */
const hand = async (tab, form, file, { confirm = false } = {}) => {
  await tab.page.setInputFiles(`#${form} input[type=file] >> nth=0`, file);
  await tab.page.click(`#${form} button`);
  if (confirm) await tab.page.click("#confirm-yes");
};

/** Hands a package to the page, and installs it after its verdict was shown. */
const install = async (tab, file) => {
  await hand(tab, "install", file);
  await tab.page.click("#judged-yes");
  await tab.page.waitForSelector("#judged-yes", { state: "detached" });
};

/** What was refused stands in the form, with its reason. */
const refused = async (tab, form, reason) => {
  await tab.page.waitForFunction((form) => document.querySelector(`#${form} .fault`).textContent !== "", form);
  assert.match(await tab.page.textContent(`#${form} .fault`), reason);
  tab.faults = tab.faults.filter((fault) => !/(status of|Status Error Code) 4\d\d/.test(fault));
};

/** Nothing of a text from outside became anything but text, and what cannot be seen or turns the direction is an escape. */
const harmless = async (tab, where) => {
  const found = await tab.page.evaluate(() => ({
    made: document.querySelectorAll("main img, main script, main bdi b").length,
    text: document.querySelector("main").textContent,
  }));
  assert.equal(found.made, 0, `${where}: markup came through`);
  assert.doesNotMatch(found.text, /[\u202e\u200b\u001b]/, `${where}: a character that misleads came through`);
  assert.ok(found.text.includes(ESCAPED), `${where}: it is not shown as escapes`);
};

export const device = (pictures) => ({
  async "an app is judged from a file, its verdict is shown, and then it is installed"(browser, gate, Tab) {
    const { world } = gate;
    world.authority("Forge");
    world.signer("Smith", "Forge");
    const attributes = { "MExE-Name": HOSTILE, "MExE-Version": "1.0", "MExE-Permissions": "network.connect" };
    const file = world.jar("pay.jar", { ...attributes, "MExE-Reason": `to pay ${HOSTILE}` }, "Smith");
    const tab = await open(browser, gate, Tab, "apps");
    await hand(tab, "install", file);
    const judged = tab.page.locator("#came .card");
    await judged.waitFor();
    // Nobody vouches for it yet: neither the signer's name nor the app's words count.
    const untrusted = await judged.textContent();
    for (const said of ["Untrusted", "nobody that this device knows", "nothing in advance"]) assert.ok(untrusted.includes(said), said);
    assert.ok(!untrusted.includes("CN=Smith"));
    assert.ok(untrusted.includes("was judged") && untrusted.includes("Nothing is installed yet"), untrusted);
    assert.deepEqual((await gate.ask("GET", "/v1/apps")).json.items, []);
    assert.notEqual(await tab.page.inputValue("#install-package"), "", "the form was emptied before anything was installed");
    // Another file than the one that was shown is not installed by that button.
    await tab.page.setInputFiles("#install-package", world.write("other.jar", "another"));
    await tab.page.click("#judged-yes");
    await refused(tab, "install", /\((container-malformed|not-found)\)/);
    await tab.page.setInputFiles("#install-package", file);
    await tab.page.click("#judged-yes");
    await tab.page.locator("#came .card", { hasText: "was installed" }).waitFor();
    const [{ id }] = (await gate.ask("GET", "/v1/apps")).json.items;
    await tab.page.click(`[id="remove-${id}"]`);
    await tab.page.click("#confirm-yes");
    await tab.page.waitForSelector(`[id="remove-${id}"]`, { state: "detached" });

    await tab.show("roots");
    await hand(tab, "add-root", world.path("Smith.pem"), { confirm: true });
    await refused(tab, "add-root", /\(root-unusable\)/);
    await hand(tab, "add-root", world.path("Forge.pem"), { confirm: true });
    await tab.page.locator("#live .root", { hasText: "CN=Forge" }).waitFor();
    assert.equal(await tab.page.textContent("#add-root .fault"), "");

    await tab.show("apps");
    await hand(tab, "install", file);
    await judged.waitFor();
    const verified = await judged.textContent();
    assert.ok(verified.includes("was judged") && verified.includes("Becomes"), verified);
    for (const said of ["Third party", "CN=Smith", "network.connect", "own words, not checked"]) assert.ok(verified.includes(said), said);
    assert.equal(await tab.page.evaluate(() => document.activeElement.id), "judged-title");
    await tab.page.click("#judged-yes");
    await tab.page.locator("#came .card", { hasText: "was installed" }).waitFor();
    await harmless(tab, "the apps");
    const [program, signature] = world.beside("tool", "Smith");
    await tab.page.click("#install summary");
    await tab.page.setInputFiles("#install-signature", signature);
    await tab.page.fill("#install-name", "Tool");
    await install(tab, program);
    await tab.page.locator("#came .card", { hasText: /Tool\s*was installed\s*Third party/ }).waitFor();
    assert.equal(await tab.page.inputValue("#install-name"), "", "the form was not emptied");
    // What is no package is refused by name, and so is what is too large, before it is sent.
    await hand(tab, "install", world.write("broken.jar", "no archive"));
    await refused(tab, "install", /\(container-malformed\)/);
    await tab.page.locator("#install-package").evaluate((input) => (input.dataset.most = "5"));
    await hand(tab, "install", world.path("broken.jar"));
    await refused(tab, "install", /\(body-too-large\)/);
    tab.faultless("installing");
    await tab.close();
  },

  async "what cannot be fetched is told where it was asked for"(browser, gate, Tab) {
    const tab = await open(browser, gate, Tab, "apps");
    for (const [url, reason] of [["https://127.0.0.1:9/app.jar", "address-not-public"], [`https://${gate.address.slice(7)}/`, "own-address"]]) {
      await tab.page.fill("#fetch-url", url);
      await tab.page.click("#fetch button");
      await refused(tab, "fetch", new RegExp(`\\(${reason}\\)`));
    }
    assert.equal(await tab.page.textContent("#came"), "");
    tab.faultless("fetching");
    await tab.close();
  },

  async "a signed app's question shows its words as its own, the user's phrase, and an old signature"(browser, gate, Tab) {
    gate.world.jar("old.jar", { "MExE-Name": "Old clock", "MExE-Version": "1.0" }, "Smith", "-digestalg", "SHA-1");
    const tab = await open(browser, gate, Tab, "apps");
    await install(tab, gate.world.path("old.jar"));
    await tab.page.locator("#came .warning", { hasText: "Old signature." }).waitFor();
    await tab.show("questions");
    const apps = (await gate.ask("GET", "/v1/apps")).json.items;
    const pay = await gate.run(apps.find((app) => app.name === HOSTILE).id);
    const hostile = gate.curl(pay, "127.0.0.1:21");
    await card(tab, "127.0.0.1:21").waitFor();
    await harmless(tab, "a question");
    const asked = await card(tab, "127.0.0.1:21").textContent();
    for (const said of [gate.phrase, "Signed by CN=Smith", "The app’s own words, not checked by the gate", `“to pay ${ESCAPED}”`]) assert.ok(asked.includes(said), said);
    assert.ok(!asked.includes("Old signature"));
    const old = gate.curl(await gate.run("old-clock"), "127.0.0.1:22");
    await card(tab, "127.0.0.1:22").locator(".warning", { hasText: "Old signature." }).waitFor();
    await tab.page.screenshot({ path: join(pictures, "hostile-question-1280-light.png"), fullPage: true });
    await press(tab, "127.0.0.1:22", "deny");
    assert.equal(await old.status, 403);
    hostile.quit();
    const line = tab.page.locator("#past li", { hasText: "127.0.0.1:21" });
    await line.waitFor({ timeout: 40000 });
    await harmless(tab, "a missed question");
    assert.ok((await line.textContent()).includes(gate.phrase), "a missed question without the phrase");
    tab.faultless("hostile words");
    await tab.close();
  },

  async "a call and its tones are asked about by number, and an app that looks like another is flagged"(browser, gate, Tab) {
    // A Cyrillic letter in place of a Latin one.
    for (const [file, name] of [["bank.jar", "Bank"], ["look.jar", "B\u0430nk"]]) {
      const tab = await open(browser, gate, Tab, "apps");
      await install(tab, gate.world.jar(file, { "MExE-Name": name, "MExE-Version": "1.0" }));
      await tab.page.locator("#came .card").waitFor();
      tab.faultless(`installing ${name}`);
      await tab.close();
    }
    const apps = (await gate.ask("GET", "/v1/apps")).json.items;
    const look = apps.find((app) => app.name === "B\u0430nk");
    const run = await gate.run(look.id);
    await until("the modem to be there", async () => (await gate.app(run, "POST", "/v1/calls", { number: "112" })).json.reason === "emergency-number");
    const tab = await open(browser, gate, Tab, "questions", { judged: true });
    let call = null;
    await until("the modem to take calls", async () => {
      call = gate.app(run, "POST", "/v1/calls", { number: "+49 (30) 123-456" });
      const early = await Promise.race([call, card(tab, "+4930123456").waitFor().then(() => null)]);
      return early === null;
    });
    assert.equal(await card(tab, "+4930123456").locator(".target bdi").textContent(), "+4930123456");
    const asked = await card(tab, "+4930123456").textContent();
    for (const said of [gate.phrase, "Untrusted", "Nobody vouches for this app", "Look twice.", "mistaken for that of bank", "This can cost money."]) {
      assert.ok(asked.includes(said), `${said} is not in ${asked}`);
    }
    // An app that nobody vouches for is let do it once, and no more is offered.
    assert.deepEqual(await card(tab, "+4930123456").locator("input[type=radio]").evaluateAll((all) => all.map((one) => one.value)), ["single", "target"]);
    assert.ok(!gate.heard.includes("ATD"), "dialled before the answer");
    for (const [width, colorScheme] of [[360, "dark"], [1280, "light"]]) {
      await tab.page.setViewportSize({ width, height: 900 });
      await tab.page.emulateMedia({ colorScheme });
      await tab.fits(`the question for a call at ${width}, ${colorScheme}`);
      await tab.page.screenshot({ path: join(pictures, `call-${width}-${colorScheme}.png`), fullPage: true });
    }
    await press(tab, "+4930123456", "allow");
    const { status, json } = await call;
    assert.equal(status, 201, JSON.stringify(json));
    await until("the modem to dial", () => gate.heard.includes("ATD+4930123456;"));
    await until("an answer", async () => (await gate.ask("GET", "/v1/calls")).json.items.some((one) => one.state === "active"));

    const tones = gate.app(run, "POST", `/v1/calls/${json.id}/dtmf`, { tones: "4711#" });
    await card(tab, "4711#").waitFor();
    assert.equal(await card(tab, "4711#").locator(".target bdi").textContent(), "4711#");
    await tab.page.screenshot({ path: join(pictures, "tones-1280-light.png"), fullPage: true });
    await press(tab, "4711#", "allow");
    assert.equal((await tones).status, 204);
    for (const tone of "4711#") assert.match(gate.heard, new RegExp(`AT\\+VTS="?${tone}"?`));
    const more = gate.app(run, "POST", `/v1/calls/${json.id}/dtmf`, { tones: "0" });
    await press(tab, /0/, "deny");
    assert.equal((await more).json.reason, "prompt-denied");
    assert.equal((await gate.app(run, "DELETE", `/v1/calls/${json.id}`)).status, 204);
    tab.faultless("calls");
    await tab.close();
  },

  async "another setting is tried, what would differ is counted, and it is dropped"(browser, gate, Tab) {
    const tab = await open(browser, gate, Tab, "shadow");
    await tab.page.setInputFiles("#load-file", gate.world.write("broken.toml", "no = [table"));
    await tab.page.waitForFunction(() => document.querySelector("#load-table").value !== "");
    await tab.page.click("#load button");
    await refused(tab, "load", /\(request-malformed\)/);
    await tab.page.fill("#load-table", "");
    await tab.page.click("#load button");
    await refused(tab, "load", /name a table or a setting/);
    await tab.page.selectOption("#load-runs", "refuse");
    await tab.page.click("#load button");
    await tab.page.waitForSelector("#drop");
    // Nobody vouches for the one, so that it is refused either way; the other one's user is asked, and would not have been.
    const run = await gate.run("bank");
    for (let times = 0; times < 3; times += 1) assert.equal(await gate.curl(run, "127.0.0.1:23").status, 403);
    const asks = gate.curl(await gate.run("old-clock"), "127.0.0.1:24");
    const rows = tab.page.locator("#live tbody tr");
    await rows.filter({ hasText: "Would have refused" }).waitFor();
    asks.quit();
    const [differs, same] = await rows.allTextContents();
    assert.match(differs, /Would have refused\s*Third party\s*network\s*\d/);
    assert.match(same, /The same\s*Untrusted\s*network\s*3/);
    for (const [width, colorScheme] of [[360, "dark"], [1280, "light"]]) {
      await tab.page.setViewportSize({ width, height: 900 });
      await tab.page.emulateMedia({ colorScheme });
      await tab.page.screenshot({ path: join(pictures, `candidate-${width}-${colorScheme}.png`), fullPage: true });
    }
    await tab.page.click("#drop");
    await tab.page.keyboard.press("Escape");
    assert.equal((await gate.ask("GET", "/v1/shadow")).json.loaded, true);
    await tab.page.click("#drop");
    await tab.page.click("#confirm-yes");
    await tab.page.locator("#live .empty", { hasText: "No candidate" }).waitFor();
    assert.equal((await gate.ask("GET", "/v1/shadow")).json.loaded, false);
    tab.faultless("a candidate");
    await tab.close();
  },

  async "revocation lists are taken in, an old one says so, and what they revoke is suspended"(browser, gate, Tab) {
    const { world } = gate;
    const tab = await open(browser, gate, Tab, "roots");
    world.authority("Aged");
    await hand(tab, "add-list", world.write("broken.crl", "no list"));
    await refused(tab, "add-list", /\(request-malformed\)/);
    await hand(tab, "add-list", world.list("old.crl", "Aged", "01", { from: "20250101000000Z", until: "20250201000000Z" }));
    await tab.page.locator("#live tr .state.stale").waitFor();
    assert.match(await tab.page.locator("#live tr", { hasText: "CN=Aged" }).textContent(), /should have sent a newer one/);
    await tab.page.screenshot({ path: join(pictures, "stale-list-1280-light.png"), fullPage: true });
    await hand(tab, "add-list", world.list("new.crl", "Forge", "02"));
    await tab.page.locator("#live tr .state.current").waitFor();
    await hand(tab, "add-list", world.list("revoking.crl", "Forge", "03", { revoked: "Smith" }));
    await tab.page.locator("#live tr", { hasText: "number 3" }).waitFor();
    await tab.show("apps");
    await tab.page.locator("#live .card", { hasText: "old-clock" }).locator(".warning", { hasText: "certificate-revoked" }).waitFor();
    tab.faultless("lists");
    await tab.close();
  },

  async "the pages of a device in use fit and are accessible, narrow and wide, light and dark"(browser, gate, Tab) {
    await gate.ask("PUT", "/v1/shadow", { token_runs: "allow" });
    await gate.curl(await gate.run("bank"), "127.0.0.1:23").ended;
    for (const width of [360, 1280]) {
      for (const colorScheme of ["light", "dark"]) {
        const tab = await Tab.open(browser, gate, { judged: true, context: { viewport: { width, height: 900 }, colorScheme } });
        await tab.signIn();
        for (const name of PAGES) {
          await tab.show(name);
          if (name === "apps") {
            await install(tab, gate.world.path("bank.jar"));
            await tab.page.waitForSelector("#came .card");
          }
          await tab.page.evaluate(() => document.querySelectorAll("main details").forEach((details) => (details.open = true)));
          await tab.fits(`a device's ${name} at ${width}, ${colorScheme}`);
          await tab.page.screenshot({ path: join(pictures, `device-${name}-${width}-${colorScheme}.png`), fullPage: true });
        }
        tab.faultless(`a device's pages at ${width}, ${colorScheme}`);
        await tab.close();
      }
    }
    await gate.ask("DELETE", "/v1/shadow");
  },

  async "the journal is cleared after a question, and that it was is written down"(browser, gate, Tab) {
    const tab = await open(browser, gate, Tab, "journal");
    const decisions = async () => (await gate.ask("GET", "/v1/journal?kind=decision&limit=100")).json.items.length;
    const before = await decisions();
    assert.ok(before > 3);
    await tab.page.click("#clearing summary");
    await tab.page.selectOption("#clear-before", "168");
    await tab.page.click("#clear button");
    await tab.page.click("#confirm-no");
    await tab.page.click("#clear button");
    await tab.page.click("#confirm-yes");
    await tab.page.locator("#notices", { hasText: "Cleared: 0" }).waitFor();
    assert.equal(await decisions(), before, "what is younger was cleared");
    await tab.page.fill("#clear-app", "not an app");
    await tab.page.click("#clear button");
    await tab.page.click("#confirm-yes");
    await refused(tab, "clear", /\(request-malformed\)/);
    await tab.page.fill("#clear-app", "");
    await tab.page.selectOption("#clear-before", "");
    await tab.page.click("#clear button");
    await tab.page.click("#confirm-yes");
    await until("the journal to be cleared", async () => (await decisions()) === 0);
    await tab.page.locator("#live tbody tr", { hasText: "journal.clear" }).first().waitFor();
    await tab.page.click("#verify");
    await tab.page.waitForSelector("#verified .good");
    tab.faultless("clearing");
    await tab.close();
  },

  async "the third party domain is handed over after a question, and then follows its administrator's messages"(browser, gate, Tab) {
    const { world } = gate;
    world.authority("Boss");
    world.authority("Other");
    const tab = await open(browser, gate, Tab, "roots");
    const device = (await gate.ask("GET", "/v1/administrator")).json.device;
    const first = world.message("first.ccm", "Boss", device, 1, ["Forge"]);
    await hand(tab, "apply", first);
    await refused(tab, "apply", /\(ccm-wrong-signer\)/);
    await tab.page.setInputFiles("#hand-over-file", world.path("Boss.pem"));
    await tab.page.click("#hand-over button");
    await tab.page.keyboard.press("Escape");
    assert.equal((await gate.ask("GET", "/v1/administrator")).json.administrator, "user");
    await tab.page.click("#hand-over button");
    await tab.page.click("#confirm-yes");
    await tab.page.locator("#live", { hasText: "The holder of the key on this device administers" }).waitFor();
    const forge = tab.page.locator("#live .root", { hasText: "CN=Forge" });
    await forge.locator(".state:not(.enabled)").waitFor();
    await hand(tab, "apply", world.message("other.ccm", "Other", device, 1, []));
    await refused(tab, "apply", /\(ccm-wrong-signer\)/);
    await hand(tab, "apply", first);
    await forge.locator(".state.enabled").waitFor();
    assert.match(await tab.page.locator("#live").textContent(), /number 1, the next is due .*1 certificate enabled, 0 keys disabled/s);
    await hand(tab, "apply", first);
    await refused(tab, "apply", /\(ccm-replayed\)/);
    await hand(tab, "add-root", world.path("Other.pem"), { confirm: true });
    await refused(tab, "add-root", /\(administrator-required\)/);
    tab.faultless("handing over");
    await tab.close();
  },
});
