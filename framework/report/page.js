"use strict";
// What a reader can do with the curves: read values, hide, rescale, smooth. The page is whole without it.
const SIZE = 1000, SHOWN = 16;
const page = JSON.parse(document.getElementById("data").textContent);
const hiddenRuns = new Set();
let smoothing = 0;

function element(kind, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function span(classes, text) {
  const made = document.createElement("span");
  made.className = classes;
  made.textContent = text;
  return made;
}

function text(value) {
  if (typeof value !== "number") return value;
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-4)) return Number(value.toPrecision(4)).toExponential().replace("e+", "e");
  return String(Number(value.toPrecision(Number.isInteger(value) ? 7 : 4)));
}

function linearTicks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * (1 - 1e-9));
  const found = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index++) found.push(index * step);
  return found;
}

function logTicks(low, high) { // of the logarithms
  const first = Math.floor(low), last = Math.ceil(high), stride = Math.ceil((last - first) / 6);
  const factors = high - low > 2 ? [1] : high - low > 0.5 ? [1, 2, 5] : null;
  if (factors === null) return linearTicks(10 ** low, 10 ** high).filter((value) => value > 0);
  const found = [];
  for (let power = first; power <= last; power += stride) for (const factor of factors) found.push(factor * 10 ** power);
  return found.filter((value) => Math.log10(value) >= low - 1e-9 && Math.log10(value) <= high + 1e-9);
}

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.data = page.charts[figure.dataset.chart];
    this.plot = figure.querySelector(".plot");
    this.svg = this.plot.querySelector("svg");
    this.axis = this.svg.querySelector(".axis.y");
    this.groups = [...this.svg.querySelectorAll(".curve")];
    this.lines = this.groups.map((group) => group.querySelector(".line"));
    this.dots = this.groups.map((group) => group.querySelector(".dots"));
    this.drawn = [...this.lines, ...this.dots].map((path) => path && path.getAttribute("d"));
    this.ticks = [...this.axis.childNodes];
    this.hiddenKinds = new Set();
    this.log = false;
    this.cursor = this.svg.appendChild(element("line", { class: "cursor", y1: 0, y2: "100%", visibility: "hidden" }));
    this.tip = this.plot.appendChild(span("tip", ""));
    this.tip.hidden = true;
    this.listen();
  }

  listen() {
    const button = this.figure.querySelector(".log");
    button.addEventListener("click", () => {
      this.log = toggle(button);
      this.draw();
    });
    for (const key of this.figure.querySelectorAll(".key")) {
      key.addEventListener("click", () => {
        setMember(this.hiddenKinds, Number(key.dataset.kind), !toggle(key));
        this.draw();
      });
    }
    this.svg.addEventListener("pointermove", (event) => {
      const box = this.svg.getBoundingClientRect();
      this.read((event.clientX - box.left) / box.width);
    });
    this.svg.addEventListener("pointerleave", () => this.read(null));
    this.svg.addEventListener("blur", () => this.read(null));
    this.svg.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -0.01, ArrowRight: 0.01, Home: -1, End: 1 }[event.key];
      if (event.key === "Escape") this.read(null);
      if (move === undefined) return;
      event.preventDefault();
      this.read((this.at ?? 0.5) + move);
    });
  }

  isShown(curve) {
    return !hiddenRuns.has(curve.run) && !this.hiddenKinds.has(curve.kind);
  }

  hasPlace(value) {
    return typeof value === "number" && (!this.log || value > 0);
  }

  scaled(value) {
    return this.log ? Math.log10(value) : value;
  }

  draw() {
    this.read(null);
    const curves = this.data.curves;
    const changed = this.log || curves.some((curve) => !this.isShown(curve));
    const [low, high] = changed ? this.span() : this.data.y;
    const height = (value) => (SIZE - ((this.scaled(value) - low) / (high - low)) * SIZE).toFixed(1);
    const across = (x) => (((x - page.x[0]) / (page.x[1] - page.x[0])) * SIZE).toFixed(1);
    curves.forEach((curve, index) => {
      const group = this.groups[index], marked = this.data.kinds[curve.kind].marked;
      const smoothed = smoothing > 0 && !marked && this.data.smooth;
      group.classList.toggle("off", !this.isShown(curve));
      group.classList.toggle("raw", smoothed);
      const points = curve.x.map((x, at) => [x, curve.y[at]]);
      this.lines[index].setAttribute("d", changed ? this.path(points, across, height) : this.drawn[index]);
      if (marked) this.dots[index].setAttribute("d", changed ? this.spots(points, across, height) : this.drawn[curves.length + index]);
      group.querySelector(".smooth")?.remove();
      if (smoothed) {
        group.appendChild(element("path", { class: "smooth", d: this.path(smooth(curve.means ?? points), across, height) }));
      }
    });
    this.axis.replaceChildren(...(changed ? this.newTicks(low, high) : this.ticks));
  }

  span() {
    let low = Infinity, high = -Infinity;
    for (const curve of this.data.curves) {
      if (!this.isShown(curve)) continue;
      for (const value of curve.y) {
        if (!this.hasPlace(value)) continue;
        low = Math.min(low, this.scaled(value));
        high = Math.max(high, this.scaled(value));
      }
    }
    if (low > high) return [0, 1];
    const margin = high - low > 1e-7 * Math.max(Math.abs(low), Math.abs(high)) ? (high - low) * 0.05 : Math.abs(low) * 0.1 || 1;
    return [low - margin, high + margin];
  }

  newTicks(low, high) {
    return (this.log ? logTicks(low, high) : linearTicks(low, high)).flatMap((value) => {
      const y = `${100 - ((this.scaled(value) - low) / (high - low)) * 100}%`;
      return [
        element("line", { x1: 0, x2: "100%", y1: y, y2: y }),
        element("text", { x: 0, dx: -6, y, dy: "0.32em", "text-anchor": "end" }, text(value)),
      ];
    });
  }

  path(points, across, height) {
    let drawn = "", length = 0;
    for (const [x, value] of [...points, [0, null]]) {
      if (this.hasPlace(value)) {
        drawn += `${length ? "L" : "M"}${across(x)} ${height(value)}`;
        length += 1;
      } else {
        if (length === 1) drawn += "h0";
        length = 0;
      }
    }
    return drawn;
  }

  spots(points, across, height) {
    const found = points.filter(([, value]) => this.hasPlace(value)), stride = Math.ceil(found.length / 40) || 1;
    return found.reverse().filter((_, index) => index % stride === 0).map(([x, value]) => `M${across(x)} ${height(value)}h0`).join("");
  }

  read(at) {
    this.at = at === null ? undefined : Math.min(1, Math.max(0, at));
    this.cursor.setAttribute("visibility", at === null ? "hidden" : "visible");
    this.tip.hidden = at === null;
    if (at === null) return;
    const x = page.x[0] + this.at * (page.x[1] - page.x[0]);
    const shown = this.data.curves.filter((curve) => this.isShown(curve));
    const read = shown.map((curve) => [curve, nearest(curve.x, x)]);
    const from = read.length ? read.map(([curve, index]) => curve.x[index]).reduce((a, b) => (Math.abs(b - x) < Math.abs(a - x) ? b : a)) : Math.round(x);
    this.cursor.setAttribute("x1", `${((from - page.x[0]) / (page.x[1] - page.x[0])) * 100}%`);
    this.cursor.setAttribute("x2", this.cursor.getAttribute("x1"));
    const rows = read.slice(0, SHOWN).flatMap(([curve, index]) => {
      const kind = this.data.kinds[curve.kind];
      const colour = page.runs.length > 1 ? `c${curve.run % 8}` : kind.look.split(" ")[0];
      const label = page.runs.length > 1 ? `${page.runs[curve.run]} · ${kind.label}` : kind.label;
      const where = curve.x[index] === from ? "" : ` at ${curve.x[index]}`;
      return [span(`swatch ${colour}${kind.marked ? " round" : ""}`, ""), span("label", label), span("value", text(curve.y[index]) + where)];
    });
    const epoch = page.epochs ? page.epochs.findLast(([first]) => first <= from) : undefined;
    const head = span("head", `iteration ${from}${epoch ? `, epoch ${epoch[1]}` : ""}`);
    const more = read.length > SHOWN ? [span("head", `and ${read.length - SHOWN} more`)] : [];
    this.tip.replaceChildren(head, ...rows, ...more);
    this.tip.classList.toggle("left", this.at > 0.5);
    this.tip.style.setProperty("--at", this.at);
  }
}

function smooth(points) {
  let sum = 0, weight = 0;
  return points.map(([x, value]) => {
    if (typeof value !== "number") return [x, value];
    sum = smoothing * sum + (1 - smoothing) * value;
    weight = smoothing * weight + (1 - smoothing);
    return [x, sum / weight];
  });
}

function nearest(xs, x) {
  let low = 0, high = xs.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low > 0 && x - xs[low - 1] <= xs[low] - x ? low - 1 : low;
}

function toggle(button) {
  const pressed = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", pressed);
  return pressed;
}

function setMember(set, member, isIn) {
  if (isIn) set.add(member);
  else set.delete(member);
}

const charts = [...document.querySelectorAll(".chart")].map((figure) => new Chart(figure));
for (const button of document.querySelectorAll("button.run")) {
  button.addEventListener("click", () => {
    setMember(hiddenRuns, Number(button.dataset.run), !toggle(button));
    for (const chart of charts) chart.draw();
  });
}
const slider = document.getElementById("smoothing");
slider?.addEventListener("input", () => {
  smoothing = Math.min(0.99, Number(slider.value));
  for (const chart of charts) chart.draw();
});
document.documentElement.classList.add("js");
