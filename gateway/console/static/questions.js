// The page of questions. Nobody is hurried or tricked into an answer: an Allow takes no click before its question has been in
// view for a moment, and takes none again for as long whenever it moved; it never has the focus by itself. One that stays
// where it is stays awake, so that no app holds back the answers to another's questions: what apps take away leaves its room,
// lest what was missed moves. Questions that stay are left as they are, with what the user has chosen in them; those that were
// closed elsewhere go.
"use strict";

(() => {
  const { ask, by, localTimes, notice, refusal, signOut, speak } = window.mexegate;
  const ARMING = 700;
  const places = new WeakMap();
  let asked = null;
  let again = false;
  const known = new Set();
  const answered = new Set();

  const cards = () => [...document.querySelectorAll("#questions > .question")];
  const allows = () => [...document.querySelectorAll("#questions [data-answer=allow], [data-arms]")];

  /** Takes one Allow away, and gives it back when it has been seen where it is now for a moment. */
  const rearm = (button) => {
    const place = { at: button.getBoundingClientRect() };
    clearTimeout(places.get(button)?.timer);
    places.set(button, place);
    if (document.activeElement === button) (button.closest(".question") ?? by("title")).focus({ preventScroll: true });
    button.disabled = true;
    if (document.hidden || !button.isConnected) return;
    // The second frame comes when the first has been painted.
    requestAnimationFrame(() => requestAnimationFrame(() => {
      if (places.get(button) !== place) return;
      place.timer = setTimeout(() => {
        if (settle(button)) button.disabled = button.closest("[aria-busy]") !== null;
      }, ARMING);
    }));
  };

  /** Puts an Allow to sleep that is not where it was seen. Whether it is. */
  const settle = (button) => {
    const [was, is] = [places.get(button)?.at, button.getBoundingClientRect()];
    const stays = was && ["x", "y", "width", "height"].every((side) => Math.abs(was[side] - is[side]) < 1);
    if (!stays) rearm(button);
    return stays;
  };

  const settleAll = () => allows().forEach(settle);
  const rearmAll = () => allows().forEach(rearm);

  const seen = new ResizeObserver(settleAll);
  for (const name of ["scroll", "resize"]) addEventListener(name, settleAll, { passive: true });
  // Lines break elsewhere then, and everything moves.
  addEventListener("resize", () => by("asked")?.style.removeProperty("min-height"));
  addEventListener("focus", rearmAll);
  document.addEventListener("visibilitychange", rearmAll);
  // Whatever moved it, and whether anybody noticed: what is pressed is where it was seen, or is not pressed.
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-answer=allow], [data-arms]");
    if (button && (button.disabled || !settle(button))) event.stopImmediatePropagation();
  }, true);

  /** What is listed below the open questions: each line has a button of its own. */
  const listed = (past) => [...past.querySelectorAll("button")].map((button) => button.id).join();

  /** Puts what the gate asks now in place of what it asked before. */
  const merge = (fresh) => {
    const list = by("questions");
    if (!list) return;
    const room = by("asked").getBoundingClientRect().height;
    const missed = by("past").querySelector("[data-arms]");
    let closed = false;
    const wanted = new Map([...fresh.querySelectorAll("#questions > .question")].map((card) => [card.id, card]));
    for (const card of cards()) {
      if (wanted.has(card.id)) continue;
      closed = answered.delete(card.id) || closed;
      const next = card.nextElementSibling ?? card.previousElementSibling ?? by("title");
      const focused = card.contains(document.activeElement);
      card.remove();
      if (focused) next.focus();
    }
    for (const [id, card] of wanted) {
      if (by(id)) {
        by(id).dataset.expires = card.dataset.expires;
        continue;
      }
      list.append(document.importNode(card, true));
    }
    by("no-questions").hidden = wanted.size > 0;
    const past = fresh.getElementById("past");
    if (past && listed(past) !== listed(by("past"))) {
      const focused = by("past").contains(document.activeElement) && document.activeElement.id;
      const lines = document.importNode(past, true);
      // The user may be answering one of them just now.
      for (const line of lines.querySelectorAll("li[id]")) if (by(line.id)) line.replaceWith(by(line.id));
      by("past").replaceChildren(...lines.childNodes);
      htmx.process(by("past"));
      localTimes(by("past"));
      if (focused) (by(focused) ?? by("title")).focus();
    }
    // What the user closes here closes up; whatever else goes leaves its room while something missed lies below it.
    const holds = missed && by("past").querySelector("[data-arms]") && !closed;
    by("asked").style.minHeight = holds ? `${room}px` : "";
    settleAll();
  };

  /** Says on every page how many questions are open. */
  const count = (fresh) => {
    const open = [...fresh.querySelectorAll("#questions > .question")];
    const badge = by("open-questions");
    badge.textContent = open.length;
    badge.hidden = open.length === 0;
    const unheard = open.filter((card) => !known.has(card.id));
    for (const card of unheard) known.add(card.id);
    if (unheard.length > 0) speak(`New question: ${unheard.at(-1).querySelector("h2").textContent}`);
  };

  const refresh = async () => {
    if (asked) {
      again = true;
      return;
    }
    asked = ask("/console/questions");
    try {
      const response = await asked;
      if (response.status === 401) signOut("The gate was started anew since, and has another token.");
      if (response.ok) {
        const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
        count(fresh);
        merge(fresh);
      }
    } catch {
      // The next look says whether the gate is there.
    }
    asked = null;
    if (again) {
      again = false;
      refresh();
    }
  };

  const answer = async (card, verdict) => {
    if (card.hasAttribute("aria-busy")) return;
    const allow = card.querySelector("[data-answer=allow]");
    if (verdict === "allow" && (allow.disabled || !settle(allow))) return;
    const chosen = (name) => card.querySelector(`input[name="${card.id}-${name}"]:checked`)?.value;
    const limit = card.querySelector("select[name=for]").value;
    const body = { answer: verdict };
    if (chosen("scope")) body.scope = chosen("scope");
    if (limit) body.for = limit;
    // What the table offers first is meant for a yes: a quick no must not become one for ever.
    if (chosen("permission") && (verdict === "allow" || card.dataset.chosen)) body.permission = chosen("permission");
    card.setAttribute("aria-busy", "true");
    answered.add(card.id);
    try {
      const response = await ask(`/v1/prompts/${card.id}/answer`, { method: "POST", body: JSON.stringify(body) });
      if (response.ok) speak(verdict === "allow" ? "Allowed" : "Denied");
      else {
        answered.delete(card.id);
        notice(refusal(response.status, await response.text()), true);
      }
    } catch {
      answered.delete(card.id);
      notice("The gate does not answer; the question stays open.", true);
    }
    card.removeAttribute("aria-busy");
    rearm(allow);
    refresh();
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#questions [data-answer]");
    if (button) answer(button.closest(".question"), button.dataset.answer);
  });

  document.addEventListener("change", (event) => {
    const card = event.target.closest?.("#questions > .question");
    if (card && event.target.name.endsWith("-permission")) card.dataset.chosen = "yes";
  });

  document.addEventListener("keydown", (event) => {
    const card = event.target.closest?.("#questions > .question");
    const types = event.target.matches?.("select, input:not([type=radio])");
    if (!card || types || event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    if (event.key === "a") answer(card, "allow");
    if (event.key === "d") answer(card, "deny");
  });

  setInterval(() => {
    for (const card of cards()) {
      const left = card.querySelector("[data-left]");
      if (!left || card.dataset.expires === "") continue;
      card.dataset.expires = Math.max(0, Number(card.dataset.expires) - 1);
      left.textContent = `${card.dataset.expires} s`;
    }
  }, 1000);
  setInterval(() => window.mexegate.signedIn() && !document.hidden && refresh(), 3000);

  document.addEventListener("mexegate:page", () => {
    seen.disconnect();
    if (by("questions")) {
      seen.observe(by("questions"));
      rearmAll();
    }
  });
  for (const name of ["mexegate:in", "mexegate:changed"]) document.addEventListener(name, refresh);
  document.addEventListener("mexegate:out", () => [known, answered].forEach((ids) => ids.clear()));
  window.mexegate.questions = { refresh };
})();
