// The picture of what each traffic class moves, and the rate of each flow: differences between two looks at the gate's
// own counters. Drawn as SVG; the table beside it says the same in numbers.
"use strict";

(() => {
  const { ask, by, signedIn } = window.mexegate;
  const EVERY = 2000;
  const MOST = 120;
  const WIDTH = 600;
  const HALF = 70;
  const SVG = "http://www.w3.org/2000/svg";
  let samples = [];
  let last = null;
  let flows = new Map();

  const size = (bytes) => {
    const units = ["B", "kB", "MB", "GB"];
    let unit = 0;
    for (; bytes >= 1000 && unit < units.length - 1; unit += 1) bytes /= 1000;
    return `${bytes >= 100 || unit === 0 ? Math.round(bytes) : bytes.toFixed(1)} ${units[unit]}/s`;
  };

  const element = (name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    return made;
  };

  const look = async () => {
    if (!signedIn() || document.hidden) {
      last = null;
      return;
    }
    try {
      const response = await ask("/console/throughput");
      if (!response.ok) return;
      const { classes } = await response.json();
      const at = performance.now();
      if (last) {
        const seconds = (at - last.at) / 1000;
        samples.push(classes.map((now, index) => ({
          name: now.class,
          down: Math.max(0, now.down - last.classes[index].down) / seconds,
          up: Math.max(0, now.up - last.classes[index].up) / seconds,
        })));
        samples = samples.slice(-MOST);
      }
      last = { at, classes };
      draw();
    } catch {
      last = null;
    }
  };

  const draw = () => {
    const box = by("throughput-picture");
    if (!box || samples.length === 0) return;
    const now = samples.at(-1);
    const most = Math.max(1000, ...samples.flat().flatMap((one) => [one.down, one.up]));
    const words = now.map((one) => `${one.name} ${size(one.down)} down, ${size(one.up)} up`).join("; ");
    const picture = element("svg", {
      class: "throughput", viewBox: `0 0 ${WIDTH} ${2 * HALF}`, preserveAspectRatio: "none", role: "img",
      "aria-label": `Throughput now: ${words}. The highest in the picture is ${size(most)}.`,
    });
    picture.append(element("line", { x1: 0, x2: WIDTH, y1: HALF, y2: HALF }));
    now.forEach((one, index) => {
      for (const direction of ["down", "up"]) {
        const points = samples.map((sample, nth) => {
          const x = WIDTH - ((samples.length - 1 - nth) * WIDTH) / (MOST - 1);
          const high = (sample[index][direction] / most) * (HALF - 4);
          return `${x.toFixed(1)},${(direction === "down" ? HALF - high : HALF + high).toFixed(1)}`;
        });
        picture.append(element("polyline", { class: one.name, points: points.join(" ") }));
      }
    });
    const scale = document.createElement("p");
    scale.className = "note";
    scale.textContent = `Top and bottom: ${size(most)}`;
    box.replaceChildren(picture, scale);
    by("throughput-now").replaceChildren(...now.map((one) => {
      const row = document.createElement("tr");
      row.setAttribute("role", "row");
      const name = document.createElement("span");
      name.className = `class ${one.name}`;
      name.textContent = one.name;
      for (const content of [name, size(one.down), size(one.up)]) {
        const cell = document.createElement("td");
        cell.setAttribute("role", "cell");
        cell.append(content);
        row.append(cell);
      }
      return row;
    }));
  };

  /** Each flow's rate since the list was brought up to date the last time. */
  const rates = () => {
    const at = performance.now();
    const next = new Map();
    for (const row of document.querySelectorAll("[data-flow]")) {
      const now = { at, up: Number(row.dataset.up), down: Number(row.dataset.down) };
      const before = flows.get(row.dataset.flow);
      next.set(row.dataset.flow, now);
      if (!before || at - before.at < 200) continue;
      for (const cell of row.querySelectorAll("[data-rate]")) {
        const moved = now[cell.dataset.rate] - before[cell.dataset.rate];
        cell.textContent = size((Math.max(0, moved) * 1000) / (at - before.at));
      }
    }
    flows = next;
  };

  setInterval(look, EVERY);
  document.addEventListener("mexegate:in", look);
  document.addEventListener("mexegate:out", () => (samples = []));
  document.addEventListener("mexegate:fresh", rates);
  document.addEventListener("mexegate:page", () => {
    rates();
    draw();
  });
})();
