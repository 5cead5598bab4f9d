// The console's frame: the token, which page is shown, and what every page needs. The token lives in this tab's session
// storage and goes out in a header only; no cookie, so that no other page and no other port ever sends it.
"use strict";

(() => {
  const KEY = "mexegate.token";
  const by = (id) => document.getElementById(id);
  const names = [...document.querySelectorAll("#pages a")].map((link) => link.hash.slice(1));
  let token = sessionStorage.getItem(KEY);
  let page = null;
  let pressed = false;
  let since = 0;
  let opened = [];
  let waking = null;

  // --- what other scripts use --------------------------------------------------------------------------------------

  /** A request to the gate itself, with the token. */
  const ask = (path, options = {}) =>
    fetch(path, { ...options, cache: "no-store", headers: { ...options.headers, Authorization: `Bearer ${token}` } });

  /** Tells the user something for a while; what went wrong stays longer. */
  const notice = (text, bad = false) => {
    const line = document.createElement("p");
    line.className = bad ? "bad" : "";
    line.textContent = text;
    by("notices").append(line);
    setTimeout(() => line.remove(), bad ? 12000 : 5000);
  };

  /** What a refusal of the gate's says, for a person. */
  const refusal = (status, text) => {
    try {
      const problem = JSON.parse(text);
      const says = [problem.detail, problem.help].filter(Boolean).join("; ");
      return problem.reason ? `${says} (${problem.reason})` : says || `refused (${status})`;
    } catch {
      return `refused (${status})`;
    }
  };

  /** Says what was wrong where it was asked for, when there is a line for it. */
  const fault = (elt, text) => {
    const line = elt.querySelector(".fault");
    if (line) line.textContent = text;
    else if (text) notice(text, true);
  };

  const answers = (yes) => {
    by("gate-state").textContent = yes ? "running" : "no answer";
    by("gate-state").className = yes ? "gate-state" : "gate-state bad";
  };

  const speak = (text) => {
    by("spoken").textContent = text;
  };

  // --- signing in and out ------------------------------------------------------------------------------------------

  const signIn = async (candidate, keep) => {
    let status = 0;
    try {
      status = (await fetch("/v1/status", { cache: "no-store", headers: { Authorization: `Bearer ${candidate}` } })).status;
    } catch {
      status = 0;
    }
    if (status === 200) {
      token = candidate;
      sessionStorage.setItem(KEY, token);
      by("token").value = "";
      enter();
    } else if (!keep) {
      signOut(status === 0 ? "The gate does not answer. Is it running?" : "That is not the token of the gate that runs now.");
    }
  };

  const signOut = (why = "") => {
    token = null;
    sessionStorage.removeItem(KEY);
    page = null;
    by("page").replaceChildren();
    frame(false);
    document.title = "mexegate";
    by("token-fault").textContent = why;
    by("token").focus();
    document.dispatchEvent(new Event("mexegate:out"));
  };

  const frame = (inside) => {
    for (const id of ["pages", "page", "sign-out", "gate-state"]) by(id).hidden = !inside;
    by("sign-in").hidden = inside;
  };

  const enter = () => {
    by("token-fault").textContent = "";
    frame(true);
    answers(true);
    document.dispatchEvent(new Event("mexegate:in"));
    show(false);
  };

  /** A `#token=` in the address signs in, and is gone from the address bar before anything else happens. */
  const fromAddress = () => {
    if (!location.hash.startsWith("#token=")) return null;
    const candidate = decodeURIComponent(location.hash.slice(7));
    history.replaceState(null, "", location.pathname);
    return candidate;
  };

  // --- pages -------------------------------------------------------------------------------------------------------

  const show = async (focus) => {
    const wanted = names.includes(location.hash.slice(1)) ? location.hash.slice(1) : names[0];
    page = wanted;
    since = 0;
    for (const link of document.querySelectorAll("#pages a")) {
      if (link.hash === `#${wanted}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    await htmx.ajax("GET", `/console/${wanted}`, { target: "#page", swap: "innerHTML" });
    const title = by("title");
    if (page !== wanted || !title) return;
    document.dispatchEvent(new Event("mexegate:page"));
    if (focus) title.focus();
  };

  /** Brings what changes up to date; what the user is reading, pressing or typing is left alone. */
  const refresh = (must = false) => {
    const live = by("live");
    since = 0;
    if (!token || !live || document.hidden || by("confirm").open) return;
    const selected = String(getSelection()) !== "" && live.contains(getSelection().anchorNode);
    if (!must && (pressed || selected)) return;
    const form = document.querySelector("form[data-filter]");
    const values = form ? Object.fromEntries(new FormData(form)) : {};
    htmx.ajax("GET", `/console/${page}`, { target: "#live", select: "#live", swap: "outerHTML", values });
  };

  setInterval(() => {
    const live = by("live");
    const follows = !live || !("follow" in live.dataset) || by("follow").checked;
    since += 1;
    if (live && follows && since >= Number(live.dataset.every)) refresh();
  }, 1000);

  // --- htmx --------------------------------------------------------------------------------------------------------

  htmx.defineExtension("as-json", {
    onEvent: (name, event) => {
      if (name === "htmx:configRequest") event.detail.headers["Content-Type"] = "application/json";
      return true;
    },
    encodeParameters: (_request, parameters) => {
      const entries = parameters instanceof FormData ? [...parameters.entries()] : Object.entries(parameters);
      return JSON.stringify(Object.fromEntries(entries));
    },
  });
  htmx.defineExtension("as-file", { encodeParameters: (_request, parameters) => parameters.get("file") });

  const on = (name, hears) => document.body.addEventListener(name, hears);

  on("htmx:configRequest", (event) => {
    const { elt, headers, parameters, verb } = event.detail;
    headers.Authorization = `Bearer ${token}`;
    if (verb === "get") return;
    fault(elt, "");
    for (const { files, dataset } of elt.querySelectorAll("input[type=file]")) {
      // The gate would refuse it as well, after all of it was sent.
      if (!(files[0]?.size > dataset.most)) continue;
      event.preventDefault();
      fault(elt, `the file is larger than ${dataset.most} bytes, the most that the gate takes here (body-too-large)`);
    }
    // What was left empty is not said at all.
    for (const [name, value] of [...parameters.entries()]) if (value === "" || value.size === 0) parameters.delete(name);
    if (parameters.has("before")) parameters.set("before", new Date(Date.now() - parameters.get("before") * 3600000).toISOString());
    if (elt.dataset.kind) headers["Content-Type"] = elt.dataset.kind;
    const query = new URLSearchParams();
    if (elt.dataset.named) query.set("file", parameters.get(elt.dataset.named)?.name);
    if ("judges" in elt.dataset) {
      // Judged first; then the very package, and the domain, that the user was shown.
      const { digest, domain } = event.detail.triggeringEvent?.submitter?.dataset ?? {};
      for (const [name, value] of digest ? [["digest", digest], ["domain", domain]] : [["dry-run", true]]) query.set(name, value);
    }
    if (parameters.has("downgrade")) query.set("downgrade", "true");
    parameters.delete("downgrade");
    if (String(query)) event.detail.path += `?${query}`;
  });

  on("htmx:confirm", (event) => {
    if (!event.detail.question) return;
    event.preventDefault();
    const dialog = by("confirm");
    by("confirm-text").textContent = event.detail.question;
    by("confirm-yes").textContent = event.detail.elt.dataset.yes || "Yes";
    dialog.returnValue = "no";
    // What sleeps on its page until it was seen does so here as well.
    const yes = by("confirm-yes");
    yes.disabled = "arms" in event.detail.elt.dataset;
    clearTimeout(waking);
    waking = setTimeout(() => (yes.disabled = false), 700);
    dialog.addEventListener("close", () => dialog.returnValue === "yes" && event.detail.issueRequest(true), { once: true });
    dialog.showModal();
    by("confirm-no").focus();
  });

  on("htmx:beforeSwap", (event) => {
    // An answer that comes after the user went elsewhere is nobody's.
    const path = event.detail.pathInfo.requestPath.split("?")[0];
    if (["page", "live"].includes(event.detail.target.id) && path !== `/console/${page}`) event.detail.shouldSwap = false;
    // Nor does one take away what the user is pressing, or is being asked about: his answer would be lost with it.
    if (event.detail.target.id === "live" && (pressed || by("confirm").open)) event.detail.shouldSwap = false;
    opened = [...document.querySelectorAll("#live details[open]")].map((details) => details.id);
  });

  on("htmx:afterSwap", (event) => {
    for (const id of opened) by(id)?.setAttribute("open", "");
    localTimes(document);
    document.title = `${by("title")?.textContent ?? "Console"} · mexegate`;
    if (event.detail.target.id === "came") by("judged-title").focus();
    if (event.detail.target.id === "live") document.dispatchEvent(new Event("mexegate:fresh"));
  });

  on("htmx:afterRequest", (event) => {
    const { elt, successful, requestConfig, xhr } = event.detail;
    if (successful) answers(true);
    if (requestConfig.verb === "get") return;
    if (successful && elt.dataset.done) notice(elt.dataset.done.replace(/\{(\w+)\}/, (_, name) => JSON.parse(xhr.responseText)[name]));
    if (successful && elt.querySelector("input[type=file]") && !requestConfig.path.includes("dry-run=")) elt.reset();
    if (successful && elt.closest("[data-once]")) {
      elt.closest("[data-once]").remove();
      by("title").focus();
    }
    if (successful && elt.id === "give") by("give-target").value = "";
    document.dispatchEvent(new Event("mexegate:changed"));
    refresh(true);
  });

  on("htmx:responseError", (event) => {
    const { status, responseText } = event.detail.xhr;
    const { elt } = event.detail;
    if (status === 401) signOut("The gate was started anew since, and has another token.");
    else fault(elt, refusal(status, responseText));
  });

  for (const lost of ["htmx:sendError", "htmx:timeout"]) on(lost, () => answers(false));

  /** Times as the user's own clock and country write them. */
  const localTimes = (root) => {
    for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.valueOf())) continue;
      time.title = time.dateTime;
      const today = at.toDateString() === new Date().toDateString();
      time.textContent = today ? at.toLocaleTimeString() : at.toLocaleString();
    }
  };

  /** Saves what the gate answers as a file; a plain link could not send the token. */
  const save = async (path, name) => {
    try {
      const response = await ask(path);
      if (!response.ok) return notice(refusal(response.status, await response.text()), true);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await response.blob());
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    } catch {
      answers(false);
    }
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-save]");
    if (button) save(button.dataset.save, button.dataset.name);
  });

  document.addEventListener("change", async ({ target }) => {
    const file = target.dataset?.fills && target.files[0];
    if (file?.size <= target.dataset.most) by(target.dataset.fills).value = await file.text();
  });

  // --- the user ----------------------------------------------------------------------------------------------------

  by("sign-in-form").addEventListener("submit", (event) => {
    event.preventDefault();
    signIn(by("token").value.trim(), false);
  });
  by("sign-out").addEventListener("click", () => signOut());
  by("skip").addEventListener("click", (event) => {
    event.preventDefault();
    by("main").focus();
  });
  addEventListener("pointerdown", () => (pressed = true));
  for (const name of ["pointerup", "pointercancel"]) addEventListener(name, () => (pressed = false));
  addEventListener("hashchange", () => {
    const candidate = fromAddress();
    if (candidate) signIn(candidate, token !== null);
    else if (token) show(true);
  });

  window.mexegate = { ask, by, localTimes, notice, refusal, refresh, signOut, speak, page: () => page, signedIn: () => token !== null };

  document.addEventListener("DOMContentLoaded", () => {
    const candidate = fromAddress();
    if (candidate || token) signIn(candidate ?? token, false);
    else by("token").focus();
  });
})();
