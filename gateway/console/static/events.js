// What the gate tells while it happens. The stream is read with fetch, because an EventSource cannot send the token in a
// header. Without it everything still comes, a little later: each page asks again by itself.
"use strict";

(() => {
  const { ask, page, questions, refresh } = window.mexegate;
  let ending = null;
  let soon = null;

  const later = () => {
    soon ??= setTimeout(() => {
      soon = null;
      refresh();
    }, 250);
  };

  const heard = (kind) => {
    if (kind === "prompt" || kind === "missed-events") questions.refresh();
    if (kind === "change" || kind === "missed-events" || (page() === "flows" && kind === "open-connections")) later();
  };

  const listen = async (signal) => {
    for (let wait = 1000; !signal.aborted; wait = Math.min(wait * 2, 30000)) {
      try {
        const response = await ask("/v1/events", { signal });
        if (response.status === 404) return;
        if (response.ok) {
          wait = 1000;
          questions.refresh();
          await read(response.body.pipeThrough(new TextDecoderStream()).getReader());
        }
      } catch {
        // The gate went away, or we do.
      }
      await new Promise((again) => setTimeout(again, wait));
    }
  };

  const read = async (reader) => {
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line.startsWith("event:")) heard(line.slice(6).trim());
    }
  };

  document.addEventListener("mexegate:in", () => {
    ending?.abort();
    ending = new AbortController();
    listen(ending.signal);
  });
  document.addEventListener("mexegate:out", () => ending?.abort());
})();
