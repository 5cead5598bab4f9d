// Questions in the browser: they come by themselves, cannot be answered by accident, and each answer does to a waiting
// connection what it says.

import assert from "node:assert/strict";
import { join } from "node:path";
import { until } from "./gate.mjs";

const ARMING = 700;

/** The card of the question about that target. */
const card = (tab, target) => tab.page.locator("#questions > .question").filter({ has: tab.page.locator(".target", { hasText: target }) });
const allow = (tab, target) => card(tab, target).locator("[data-answer=allow]");

/** Brings it into view. What scrolled there was not seen there yet, and sleeps first. */
const look = async (tab, button) => {
  await button.scrollIntoViewIfNeeded();
  await tab.page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
};

/** Waits until every question can be allowed. */
const awake = (tab) =>
  tab.page.waitForFunction(() => [...document.querySelectorAll("[data-answer=allow], [data-arms]")].every((button) => !button.disabled));

/** For how long the button stayed asleep since the browser had it, as the page itself saw it. */
const watchArming = (tab) =>
  tab.page.evaluate(() => {
    window.seen = [];
    const which = (button) => button.closest(".question, li")?.querySelector(".target, code").textContent ?? "";
    const note = (button) => window.seen.push({ at: performance.now(), asleep: button.disabled, card: which(button) });
    new MutationObserver((changes) => {
      for (const change of changes) {
        if (change.type === "attributes") note(change.target);
        for (const node of change.addedNodes) if (node.querySelector) node.querySelectorAll("[data-answer=allow], [data-arms]").forEach(note);
      }
    }).observe(document.querySelector("#page"), { childList: true, subtree: true, attributes: true, attributeFilter: ["disabled"] });
  });

export const questions = (pictures) => ({
  async "a question comes by itself, allow sleeps until it was seen, and lets the connection through"(browser, gate, Tab) {
    const tab = await Tab.open(browser, gate);
    await tab.signIn();
    await watchArming(tab);
    const run = await gate.run("operator-app");
    const flow = gate.curl(run);
    await card(tab, gate.origin).waitFor();
    const focused = await tab.page.evaluate(() => document.activeElement.dataset.answer ?? "");
    assert.equal(focused, "", "an answer has the focus by itself");
    // Forced, as an impatient or misled hand would: nothing may come of it.
    await allow(tab, gate.origin).dispatchEvent("click");
    await card(tab, gate.origin).focus();
    await tab.page.keyboard.press("a");
    await tab.page.waitForFunction(() => !document.querySelector("[data-answer=allow]").disabled);
    const seen = await tab.page.evaluate(() => window.seen);
    assert.ok(seen.at(-1).at - seen[0].at >= ARMING, JSON.stringify(seen));
    assert.equal(await tab.page.textContent("#open-questions"), "1");
    assert.ok((await gate.ask("GET", "/v1/prompts")).json.items.some((one) => one.state === "open"));
    await allow(tab, gate.origin).click();
    const { code, got } = await flow.ended;
    assert.equal(code, 0);
    assert.match(got, /hello from the origin/);
    await card(tab, gate.origin).waitFor({ state: "detached" });
    const { json } = await gate.ask("GET", "/v1/grants?app=operator-app");
    assert.deepEqual(json.items.map(({ target, permission }) => [target, permission]), [[gate.origin, "session"]]);
    tab.faultless("allowing");
    await tab.close();
  },

  async "the keyboard answers the question in focus, and the choices go with the answer"(browser, gate, Tab) {
    const tab = await Tab.open(browser, gate);
    await tab.signIn();
    const run = await gate.run("operator-app");
    const denied = gate.curl(run, "127.0.0.1:9");
    await card(tab, "127.0.0.1:9").focus();
    await tab.page.keyboard.press("d");
    assert.equal(await denied.status, 403);
    assert.notEqual((await denied.ended).code, 0);
    await card(tab, "127.0.0.1:9").waitFor({ state: "detached" });
    assert.ok(await tab.page.evaluate(() => document.activeElement !== document.body), "the focus was lost");
    const allowed = gate.curl(run, "127.0.0.1:10");
    const asked = card(tab, "127.0.0.1:10");
    await asked.locator("input[value=host]").check();
    await asked.locator("input[value=single]").check();
    await asked.locator("select[name=for]").selectOption("10m");
    const answered = tab.page.waitForRequest((request) => request.url().endsWith("/answer"));
    // The focus may scroll the card into view, and what moved sleeps first.
    await asked.focus();
    await awake(tab);
    await tab.page.keyboard.press("a");
    const body = JSON.parse((await answered).postData());
    assert.deepEqual(body, { answer: "allow", permission: "single", scope: "host", for: "10m" });
    // Nobody listens there, so it was let through and failed behind the gate.
    assert.ok(![200, 403].includes(await allowed.status));
    const { json } = await gate.ask("GET", "/v1/prompts?denied=true");
    assert.equal(json.items.length, 1);
    await tab.page.locator("#past button", { hasText: "Ask me again" }).click();
    await until("the denial to be gone", async () => (await gate.ask("GET", "/v1/prompts?denied=true")).json.items.length === 0);
    tab.faultless("the keyboard's answers");
    await tab.close();
  },

  async "a question that stays where it is stays awake, one that moves sleeps again, and what is closed elsewhere goes"(browser, gate, Tab) {
    const tab = await Tab.open(browser, gate);
    await tab.signIn();
    await watchArming(tab);
    const run = await gate.run("operator-app");
    gate.curl(run, "127.0.0.1:11");
    await card(tab, "127.0.0.1:11").waitFor();
    await awake(tab);
    await card(tab, "127.0.0.1:11").locator("input[value=any]").check();
    await tab.page.evaluate(() => (window.seen = []));
    const second = gate.curl(run, "127.0.0.1:12");
    await card(tab, "127.0.0.1:12").waitFor();
    await awake(tab);
    const seen = await tab.page.evaluate(() => window.seen);
    assert.equal(seen.filter((one) => one.card.includes("127.0.0.1:11")).length, 0, "nothing moved it");
    const own = seen.filter((one) => one.card.includes("127.0.0.1:12"));
    assert.ok(own[0].asleep && own.at(-1).at - own[0].at >= ARMING, JSON.stringify(seen));
    assert.ok(await card(tab, "127.0.0.1:11").locator("input[value=any]").isChecked(), "what was chosen is gone");
    const { json } = await gate.ask("GET", "/v1/prompts");
    const other = json.items.find((one) => one.target === "127.0.0.1:11");
    await tab.page.evaluate(() => (window.seen = []));
    await gate.ask("POST", `/v1/prompts/${other.id}/answer`, { answer: "deny" });
    await card(tab, "127.0.0.1:11").waitFor({ state: "detached" });
    const moved = (await tab.page.evaluate(() => window.seen)).filter((one) => one.card.includes("127.0.0.1:12"));
    assert.ok(moved.some((one) => one.asleep), "it moved, and allow stayed awake");
    await card(tab, "127.0.0.1:12").locator("[data-answer=deny]").click();
    assert.equal(await second.status, 403);
    tab.faultless("a list that moves");
    await tab.close();
  },

  async "an app that asks and goes again and again holds nobody's Allow back but its own"(browser, gate, Tab) {
    const tab = await Tab.open(browser, gate);
    await tab.signIn();
    await watchArming(tab);
    const [own, hostile] = [await gate.run("operator-app"), await gate.run("third-party-app")];
    const flow = gate.curl(own, "127.0.0.1:16");
    await card(tab, "127.0.0.1:16").waitFor();
    await look(tab, allow(tab, "127.0.0.1:16"));
    await awake(tab);
    await tab.page.evaluate(() => (window.seen = []));
    let over = false;
    const flood = (async () => {
      for (let port = 100; !over; port += 1) {
        const one = gate.curl(hostile, `127.0.0.1:${port}`);
        await new Promise((later) => setTimeout(later, 150));
        one.quit();
      }
    })();
    const theirs = () => tab.page.evaluate(() => new Set(window.seen.filter((one) => one.card.includes("127.0.0.1:1")).map((one) => one.card)).size);
    await until("the flood to be seen", async () => (await theirs()) > 8, 30);
    const mine = await tab.page.evaluate(() => window.seen.filter((one) => one.card.endsWith("127.0.0.1:16")));
    assert.deepEqual(mine, [], "the flood put another app's question to sleep");
    await allow(tab, /127\.0\.0\.1:16$/).click({ timeout: 2000 });
    await card(tab, /127\.0\.0\.1:16$/).waitFor({ state: "detached" });
    over = true;
    await flood;
    // Nobody listens there: the gate let it through.
    assert.ok(![0, 403].includes(await flow.status));
    await gate.ask("DELETE", "/v1/grants?app=operator-app");
    await until("the flood to be over", async () => (await gate.ask("GET", "/v1/prompts")).json.items.every((one) => one.state !== "open"));
    for (const { id } of (await gate.ask("GET", "/v1/prompts")).json.items) await gate.ask("DELETE", `/v1/prompts/${id}`);
    tab.faultless("a flood");
    await tab.close();
  },

  async "a missed question can be allowed for the next time, after another question"(browser, gate, Tab) {
    const run = await gate.run("manufacturer-app");
    const tab = await Tab.open(browser, gate);
    await tab.signIn();
    const flow = gate.curl(run, "127.0.0.1:15");
    await card(tab, "127.0.0.1:15").waitFor();
    // The app goes without having heard an answer.
    flow.quit();
    await card(tab, "127.0.0.1:15").waitFor({ state: "detached", timeout: 40000 });
    const missed = tab.page.locator("#past li", { hasText: "127.0.0.1:15" });
    for (const said of ["You have chosen no phrase yet", "This can cost money", "Not measured"]) {
      assert.ok((await missed.textContent()).includes(said), `a missed question does not say: ${said}`);
    }
    await look(tab, missed.locator("[data-arms]"));
    await missed.locator("[data-arms]:not(:disabled)").click();
    assert.match(await tab.page.textContent("#confirm-text"), /127\.0\.0\.1:15\? This can cost money\./);
    assert.ok(await tab.page.isDisabled("#confirm-yes"), "the second question takes a yes at once");
    await tab.page.click("#confirm-yes");
    await missed.waitFor({ state: "detached" });
    const { json } = await gate.ask("GET", "/v1/grants?app=manufacturer-app");
    assert.ok(json.items.some((one) => one.target === "127.0.0.1:15"));
    tab.faultless("a missed question");
    await tab.close();
  },

  async "what was missed stays where it is, and awake, while apps ask and go"(browser, gate, Tab) {
    const tab = await Tab.open(browser, gate);
    await tab.signIn();
    await watchArming(tab);
    const [own, other] = [await gate.run("manufacturer-app"), await gate.run("operator-app")];
    const row = tab.page.locator("#past li", { hasText: "127.0.0.1:17" });
    const comesAndGoes = async (run, port) => {
      const flow = gate.curl(run, `127.0.0.1:${port}`);
      await card(tab, `127.0.0.1:${port}`).waitFor();
      flow.quit();
      await card(tab, `127.0.0.1:${port}`).waitFor({ state: "detached" });
    };
    await comesAndGoes(own, 17);
    await row.waitFor();
    // The first that comes above it moves it; the room that it takes is there for the next.
    await comesAndGoes(other, 201);
    await look(tab, row.locator("[data-arms]"));
    await awake(tab);
    const at = await row.boundingBox();
    await tab.page.evaluate(() => (window.seen = []));
    for (const port of [202, 203, 204]) await comesAndGoes(other, port);
    const seen = await tab.page.evaluate(() => window.seen.filter((one) => one.asleep && one.card === "127.0.0.1:17"));
    assert.deepEqual(seen, [], "what an app asks put another app's missed question to sleep");
    assert.deepEqual(await row.boundingBox(), at);
    await row.locator("[data-arms]").click({ timeout: 2000 });
    await tab.page.click("#confirm-no");
    // The user's own answer closes up.
    const height = () => tab.page.evaluate(() => document.querySelector("#asked").offsetHeight);
    const room = await height();
    const denied = gate.curl(other, "127.0.0.1:205");
    await card(tab, "127.0.0.1:205").locator("[data-answer=deny]").click();
    assert.equal(await denied.status, 403);
    await until("the room to close up", async () => (await height()) < room / 2);
    for (const { id } of (await gate.ask("GET", "/v1/prompts")).json.items) await gate.ask("DELETE", `/v1/prompts/${id}`);
    for (const { id } of (await gate.ask("GET", "/v1/prompts?denied=true")).json.items) await gate.ask("DELETE", `/v1/prompts/${id}`);
    tab.faultless("what was missed");
    await tab.close();
  },

  async "a question is legible and accessible, narrow and wide, light and dark"(browser, gate, Tab) {
    const run = await gate.run("manufacturer-app");
    for (const [target, width, colorScheme] of [["127.0.0.1:13", 360, "light"], ["127.0.0.1:14", 1280, "dark"]]) {
      gate.curl(run, target);
      const context = { viewport: { width, height: 900 }, colorScheme };
      const tab = await Tab.open(browser, gate, { judged: true, context });
      await tab.signIn();
      await card(tab, target).waitFor();
      await tab.page.waitForFunction(() => !document.querySelector("[data-answer=allow]").disabled);
      await tab.judge(`a question at ${width}`);
      await tab.page.screenshot({ path: join(pictures, `question-${width}-${colorScheme}.png`), fullPage: true });
      assert.ok(await tab.page.evaluate(() => document.scrollingElement.scrollWidth <= innerWidth), "the page scrolls sideways");
      await card(tab, target).locator("[data-answer=deny]").click();
      await card(tab, target).waitFor({ state: "detached" });
      await tab.page.screenshot({ path: join(pictures, `answered-${width}-${colorScheme}.png`), fullPage: true });
      tab.faultless("a question");
      await tab.close();
    }
  },
});
