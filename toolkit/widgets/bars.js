// Stacked bars for a screen that must follow a hand: drawn in the browser, within a frame.
const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 238, TOP = 40, BOTTOM = 40, LEFT = 44, RIGHT = 8;

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function shape(tag, properties = {}, parent = null) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value);
  if (parent) parent.append(made);
  return made;
}

const PLAIN = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const whole = (number) => PLAIN.format(Math.round(number ?? 0));
const share = (rate) => (rate === null || rate === undefined ? "–" : `${(100 * rate).toFixed(1)}%`);

const minus = (number) => (/[1-9]/.test(number) ? number.replace("-", "−") : number.replace("-", ""));

// An amount as the kernel writes it (priced, in readable.py).
const SIGNS = { EUR: "€", USD: "$", GBP: "£" };
const AMOUNTS = [0, 2].map((digits) => new Intl.NumberFormat("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
function money(value, currency) {
  if (value === null || value === undefined) return "–";
  const number = minus(AMOUNTS[Math.abs(value) < 100 ? 1 : 0].format(value));
  return SIGNS[currency] ? number.replace(/^−?/, (sign) => sign + SIGNS[currency]) : `${number} ${currency}`;
}

// A frame is short: what is already there is not written again.
function put(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const chip = (kind) => element("span", { class: `ttk-chip ttk-${kind}` }, kind);

// A round number for the top of an axis, and its steps.
function scale(highest) {
  const top = Math.max(1, highest);
  const size = 10 ** Math.floor(Math.log10(top / 3));
  const step = Math.max(1, [1, 2, 5, 10].map((times) => times * size).find((one) => top / one <= 4.5));
  return { highest, top: top * 1.06, steps: Array.from({ length: Math.floor(top / step) + 1 }, (_, place) => place * step) };
}

// Stacked bars, one shape for each series, so that a frame moves a few shapes and no more. Axes hold the same over all
// settings, so nothing jumps.
class Bars {
  constructor({ title, kind, series, places, ticks, axis, unit, highest, shades = [] }) {
    Object.assign(this, { series, places, ticks, unit, shades, scale: scale(highest), values: null, marks: [], pinned: null });
    this.svg = shape("svg", { class: "ttk-plot", height: HEIGHT, role: "img", "aria-label": title });
    this.behind = shape("g", {}, this.svg);
    this.bars = series.map(({ style }) => shape("path", { class: style }, this.svg));
    this.ghost = shape("path", { class: "ttk-ghost" }, this.svg);
    this.front = shape("g", { class: "ttk-marks" }, this.svg);
    const legend = series.length > 1
      ? series.map(({ name, style }) => element("span", {}, element("i", { class: style }), name))
      : [];
    this.legend = element("div", { class: "ttk-legend" }, ...legend);
    this.said = element("p", { class: "ttk-said" });
    this.root = element("figure", { class: "ttk-figure" },
      element("figcaption", {}, element("b", {}, title), " ", chip(kind)), this.said, this.legend, this.svg);
    this.axis = axis;
    this.width = 0;
  }

  x(place) { return LEFT + (place / this.places) * (this.width - LEFT - RIGHT); }
  y(value) { return TOP + (1 - value / this.scale.top) * (HEIGHT - TOP - BOTTOM); }

  // A higher top, where a setting needs one.
  fit(highest) {
    if (highest <= this.scale.highest) return;
    this.scale = scale(highest);
    const width = this.width;
    this.width = 0;
    this.resize(width);
  }

  // What does not move: axes, shades, labels. Only when the width changes.
  resize(width) {
    if (!width || Math.abs(width - this.width) < 1) return;
    this.width = width;
    this.svg.setAttribute("width", width);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.behind.replaceChildren();
    for (const [from, to] of this.shades) {
      const x = this.x(from);
      shape("rect", { class: "ttk-shade", x, y: TOP, width: this.x(to) - x, height: HEIGHT - TOP - BOTTOM }, this.behind);
    }
    const widest = [...this.shades].sort((a, b) => b[1] - b[0] - (a[1] - a[0]))[0];
    if (widest) {
      const words = shape("text", { x: this.x((widest[0] + widest[1]) / 2), y: TOP + 14, "text-anchor": "middle" }, this.behind);
      words.textContent = "quiet hours";
    }
    for (const step of this.scale.steps) {
      const y = this.y(step);
      shape("line", { class: "ttk-grid", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }, this.behind);
      shape("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, this.behind).textContent = whole(step);
    }
    const every = Math.ceil((this.ticks.length * Math.max(26, ...this.ticks.map(([, text]) => 7 * text.length + 8))) / (width - LEFT - RIGHT));
    this.ticks.forEach(([place, text], number) => {
      if (number % every) return;
      shape("text", { x: this.x(place), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, this.behind).textContent = text;
    });
    const words = shape("text", { x: (LEFT + width) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, this.behind);
    words.textContent = this.axis;
    const unit = shape("text", { x: 2, y: TOP - 10 }, this.behind);
    unit.textContent = this.unit;
    if (this.values) this.draw(this.values, this.marks, this.pinned);
  }

  draw(values, marks = [], pinned = null) {
    this.values = values;
    this.marks = marks;
    this.pinned = pinned;
    if (!this.width) return;
    const gap = Math.min(3, (0.14 * (this.width - LEFT)) / this.places);
    const wide = Math.max(1, this.x(1) - this.x(0) - gap).toFixed(1);
    const below = new Float64Array(this.places);
    this.bars.forEach((bar, layer) => {
      let outline = "";
      for (let place = 0; place < this.places; place++) {
        const value = values[layer][place];
        if (!value) continue;
        const low = this.y(below[place]);
        below[place] += value;
        const high = this.y(below[place]);
        outline += `M${(this.x(place) + gap / 2).toFixed(1)} ${low.toFixed(1)}V${high.toFixed(1)}h${wide}V${low.toFixed(1)}z`;
      }
      put(bar, "d", outline);
    });
    // The pinned setting as the outline of its bars.
    let outline = "";
    if (pinned) {
      for (let place = 0; place < this.places; place++) {
        const top = this.y(pinned.reduce((sum, layer) => sum + layer[place], 0));
        outline += `${place ? "L" : "M"}${this.x(place)} ${top}L${this.x(place + 1)} ${top}`;
      }
    }
    put(this.ghost, "d", outline);
    this.mark(marks);
  }

  // Upright lines with a word each, above the bars: the first at its left, the last at its right where there is room, so
  // that neither crosses the other line.
  mark(marks) {
    while (this.front.children.length > marks.length) this.front.lastChild.remove();
    marks.forEach(({ place, text }, number) => {
      let both = this.front.children[number];
      if (!both) {
        both = shape("g", {}, this.front);
        shape("line", { "stroke-dasharray": number ? "2 3" : "none" }, both);
        shape("text", {}, both);
      }
      const [line, words] = both.children;
      const x = this.x(place), wide = 6.4 * text.length + 4;
      const most = this.width + 14 - wide; // beyond it a word would leave the picture
      const before = number ? this.x(marks[number - 1].place) : 0;
      const left = (number < marks.length - 1 || x + 5 > most) && x - wide >= before;
      for (const [name, value] of Object.entries({ x1: x, x2: x, y1: TOP - 25 + 13 * number, y2: HEIGHT - BOTTOM })) {
        put(line, name, value.toFixed(1));
      }
      put(words, "x", (left ? x - 5 : Math.min(x + 5, most)).toFixed(1));
      put(words, "y", `${TOP - 16 + 13 * number}`);
      put(words, "text-anchor", left ? "end" : "start");
      write(words, text);
    });
  }
}
