// The tuning screen. Every wait was computed ahead by the kernel, so that a drag is drawn within a frame.
const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 224, TOP = 26, BOTTOM = 40, LEFT = 44, RIGHT = 8;

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

const whole = (number) => Math.round(number).toLocaleString("en-GB");
const share = (rate) => (rate === null ? "–" : `${(100 * rate).toFixed(1)} %`);

function money(value, currency) {
  if (value === null) return "–";
  const digits = Math.abs(value) < 100 ? 2 : 0;
  return new Intl.NumberFormat("en-GB", {
    style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits,
  }).format(value);
}

const chip = (kind) => element("span", { class: `ttk-chip ttk-${kind}` }, kind);

// A round number for the top of an axis, and its steps.
function scale(highest) {
  const top = Math.max(1, highest);
  const size = 10 ** Math.floor(Math.log10(top / 3));
  const step = Math.max(1, [1, 2, 5, 10].map((times) => times * size).find((one) => top / one <= 4.5));
  return { top: top * 1.06, steps: Array.from({ length: Math.floor(top / step) + 1 }, (_, place) => place * step) };
}

// Stacked bars that keep their elements and move them. Axes hold the same over all settings, so nothing jumps.
class Bars {
  constructor({ title, kind, series, places, ticks, axis, unit, highest, shades = [] }) {
    Object.assign(this, { series, places, ticks, unit, shades, scale: scale(highest), values: null, marks: [] });
    this.svg = shape("svg", { class: "ttk-plot", height: HEIGHT, role: "img" });
    this.behind = shape("g", {}, this.svg);
    this.bars = series.map(({ style }) =>
      Array.from({ length: places }, () => shape("rect", { class: style, rx: 1.5 }, this.svg)));
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
    const every = Math.ceil((this.ticks.length * 30) / (width - LEFT - RIGHT));
    this.ticks.forEach(([place, text], number) => {
      if (number % every) return;
      shape("text", { x: this.x(place), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, this.behind).textContent = text;
    });
    const words = shape("text", { x: (LEFT + width) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, this.behind);
    words.textContent = this.axis;
    const unit = shape("text", { x: 2, y: TOP - 10 }, this.behind);
    unit.textContent = this.unit;
    if (this.values) this.draw(this.values, this.marks);
  }

  draw(values, marks = []) {
    this.values = values;
    this.marks = marks;
    if (!this.width) return;
    const gap = Math.min(3, (0.14 * (this.width - LEFT)) / this.places);
    for (let place = 0; place < this.places; place++) {
      const left = this.x(place) + gap / 2;
      const wide = Math.max(1, this.x(place + 1) - this.x(place) - gap);
      let sum = 0;
      for (let layer = 0; layer < this.bars.length; layer++) {
        const value = values[layer][place];
        const low = this.y(sum), high = this.y(sum + value);
        sum += value;
        const bar = this.bars[layer][place];
        bar.setAttribute("x", left);
        bar.setAttribute("width", wide);
        bar.setAttribute("y", high);
        bar.setAttribute("height", Math.max(0, low - high));
      }
    }
    this.front.replaceChildren();
    marks.forEach(({ place, text }, number) => {
      const x = this.x(place);
      const left = x < this.width - 110;
      shape("line", { x1: x, x2: x, y1: TOP - 10 + 13 * number, y2: HEIGHT - BOTTOM, "stroke-dasharray": number ? "2 3" : "none" }, this.front);
      const words = shape("text", { x: left ? x + 5 : x - 5, y: TOP - 1 + 13 * number, "text-anchor": left ? "start" : "end" }, this.front);
      words.textContent = text;
    });
  }
}

function slider({ name, steps, ticks, now, value, spoken, moved, released }) {
  const shown = element("output", { class: "ttk-value" });
  const input = element("input", {
    type: "range", min: 0, max: steps - 1, step: 1, value, "aria-label": name, "data-lm-suppress-shortcuts": "true",
  });
  input.addEventListener("input", () => moved(Number(input.value)));
  input.addEventListener("change", () => released());
  const marks = element("div", { class: "ttk-ticks", "aria-hidden": "true" }, ...ticks.map(([place, text]) =>
    element("span", { style: `left:${(100 * place) / (steps - 1)}%` }, text)));
  const today = element("span", { class: "ttk-now", "aria-hidden": "true", title: "as it is now" }, "now");
  if (now === null) today.hidden = true;
  else today.style.left = `${(100 * now) / (steps - 1)}%`;
  const track = element("div", { class: "ttk-track" }, today, input, marks);
  const root = element("div", { class: "ttk-slider" }, element("div", { class: "ttk-name" }, name, shown), track);
  return {
    root,
    show(place, text) {
      if (Number(input.value) !== place) input.value = place;
      shown.textContent = text;
      input.setAttribute("aria-valuetext", spoken(place, text));
    },
  };
}

function card(what, kind) {
  const number = element("strong"), detail = element("span", { class: "ttk-detail" });
  const root = element("div", { class: "ttk-card" }, element("span", { class: "ttk-what" }, what), number, detail, chip(kind));
  return { root, show(text, more) { number.textContent = text; detail.textContent = more; } };
}

function build(model, el) {
  const data = model.get("surface");
  const { settings, currency } = data;
  const highest = (key) => Math.max(...settings.map((one) =>
    Math.max(...one[key][0].map((_, place) => one[key].reduce((sum, layer) => sum + layer[place], 0)))));
  const place = () => Math.max(0, settings.findIndex((one) => one.wait === model.get("wait")));
  const today = settings.findIndex((one) => one.wait === data.now);

  let waiting = false;
  const set = (name, value) => { model.set(name, value); schedule(); };
  const release = () => model.save_changes();
  const schedule = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; guarded(draw); });
  };

  const wait = slider({
    name: "Wait before the mail", steps: settings.length, ticks: settings.map((one, number) => [number, one.tick]),
    now: today, value: place(), moved: (number) => set("wait", settings[number].wait), released: release,
    spoken: (number, text) => text + (number === today ? ", as it is now" : ""),
  });
  const most = model.get("most");
  const live = model.get("now_percent");
  const discount = data.offer && slider({
    name: "Discount in the offer", steps: most + 1, value: model.get("percent"), now: live,
    ticks: Array.from({ length: Math.floor(most / 5) + 1 }, (_, number) => [5 * number, `${5 * number} %`]),
    moved: (number) => set("percent", number), released: release,
    spoken: (number, text) => text + (number === live ? ", as it is now" : ""),
  });

  const cards = {
    week: card("Mails a week", "exact"),
    before: card("Bought before the mail", "observed"),
    after: card("Bought anyway after it", "observed"),
    given: data.offer && card("Discount given away", "observed"),
  };
  const purchases = new Bars({
    title: "People who buy on their own", kind: "observed", places: data.edges.length - 1, highest: highest("own"),
    series: [
      { name: "before the mail", style: "ttk-before" },
      { name: "after it, anyway", style: "ttk-after" },
      ...(data.offer && !data.first ? [{ name: "after the offer, anyway", style: "ttk-gift" }] : []),
    ],
    ticks: data.edges.map((text, number) => [number, text]), axis: "time since the trigger (uneven steps)", unit: "people",
  });
  const hours = new Bars({
    title: "Mails by hour of the day", kind: "exact", places: 24, highest: highest("hours"), shades: data.quiet,
    series: data.mails.map((name, number) => ({ name, style: `ttk-mail-${number % 4}` })),
    ticks: [0, 3, 6, 9, 12, 15, 18, 21, 24].map((hour) => [hour, `${hour}`]), axis: "customer's local time", unit: "mails",
  });

  const banner = element("div", { class: "ttk-error", role: "alert" });
  const told = element("p", { class: "ttk-told", role: "status" });
  const code = element("pre", { class: "ttk-code", tabindex: "0", "data-lm-suppress-shortcuts": "true" });
  const reset = element("button", {
    type: "button", class: "ttk-reset", "data-lm-suppress-shortcuts": "true",
    onclick: () => {
      model.set("wait", data.now);
      if (live !== null) model.set("percent", live);
      schedule();
      release();
    },
  }, "Back to how it is now");

  const root = element("section", { class: "ttk", "aria-label": `Tune ${data.scenario}` },
    element("header", {}, element("h3", {}, `Tune ${data.scenario}`), element("span", { class: "ttk-soft" }, data.span), reset),
    banner,
    element("div", { class: "ttk-sliders" }, wait.root, ...(discount ? [discount.root] : [])),
    element("div", { class: "ttk-cards" }, ...Object.values(cards).filter(Boolean).map((one) => one.root)),
    element("div", { class: "ttk-figures" }, purchases.root, hours.root),
    told,
    element("details", {}, element("summary", { "data-lm-suppress-shortcuts": "true" }, "Show this setting as YAML"), code),
  );
  el.append(root);

  function fail(error) {
    banner.textContent = `This screen could not be drawn: ${error.message}`;
    banner.hidden = false;
    model.set("browser_error", String(error.stack || error));
    model.save_changes();
  }
  function guarded(work) {
    try { work(); } catch (error) { fail(error); }
  }

  let telling = 0;
  function draw() {
    const number = place();
    const one = settings[number];
    const now = settings[today] ?? one;
    const percent = model.get("percent");
    wait.show(number, one.text);
    if (discount) discount.show(percent, percent ? `${percent} %` : "none");

    cards.week.show(whole(one.week), `${whole(one.sent)} in all; now ${whole(now.week)}`);
    const known = data.basis !== "none";
    cards.before.show(share(known ? one.before_rate : null), known
      ? `${whole(one.before)} of ${whole(one.before + one.mails)}; now ${share(now.before_rate)}` : "cannot be seen in this log");
    cards.after.show(share(known ? one.after_rate : null), known
      ? `${whole(one.after)} of ${whole(one.mails)} within ${data.window}; now ${share(now.after_rate)}` : "no control group");
    const away = one.given === null ? null : one.given * percent;
    if (cards.given) {
      cards.given.show(money(away, currency), one.given === null
        ? "cannot be seen in this log"
        : `by 100 offers of ${percent} %; now ${money(now.given === null ? null : now.given * live, currency)}`);
    }

    const layers = purchases.series.length;
    const own = layers === 3 ? one.own : [one.own[0], one.own[1].map((value, at) => value + one.own[2][at])];
    purchases.draw(own.slice(0, layers), one.marks.slice(0, data.offer ? 2 : 1));
    purchases.said.textContent = known ? `in ${data.whose}` : "The log holds these mails and no control group.";
    hours.draw(one.hours);
    const sums = one.hours[0].map((_, hour) => one.hours.reduce((sum, layer) => sum + layer[hour], 0));
    const busiest = sums.indexOf(Math.max(...sums));
    hours.said.textContent = one.sent
      ? `${Math.round((100 * sums[busiest]) / one.sent)} % leave between ${busiest}:00 and ${busiest + 1}:00`
      : "no mail leaves";
    purchases.svg.setAttribute("aria-label",
      `Bars: ${one.before} people bought before the mail, ${one.after} after it without having got it.`);
    hours.svg.setAttribute("aria-label", `Bars: ${one.sent} mails by hour, most at ${busiest} o'clock.`);

    // A screen reader hears the setting people stop at, not every step of a drag.
    clearTimeout(telling);
    telling = setTimeout(() => {
      const parts = [`With ${one.text === "no wait" ? "no wait" : `a wait of ${one.text}`}: ${whole(one.week)} mails a week`];
      if (known) parts.push(`${share(one.before_rate)} buy before the mail, ${share(one.after_rate)} of the others would buy anyway`);
      if (away !== null && data.offer) parts.push(`100 offers of ${percent} % give away ${money(away, currency)} to people who buy anyway`);
      told.textContent = `${parts.join("; ")}.`;
    }, 250);
  }

  function showError() {
    banner.textContent = model.get("error");
    banner.hidden = !model.get("error");
  }
  function showCode() { code.textContent = model.get("yaml"); }

  const changes = { "change:wait": schedule, "change:percent": schedule, "change:error": showError, "change:yaml": showCode };
  for (const [name, work] of Object.entries(changes)) model.on(name, work);
  const observer = new ResizeObserver(() => guarded(() => {
    for (const chart of [purchases, hours]) chart.resize(Math.floor(chart.root.clientWidth));
  }));
  observer.observe(purchases.root);
  showError();
  showCode();
  draw();
  return () => {
    observer.disconnect();
    clearTimeout(telling);
    for (const [name, work] of Object.entries(changes)) model.off(name, work);
  };
}

export default {
  render({ model, el }) {
    let tidy = build(model, el);
    const again = () => { tidy(); el.replaceChildren(); tidy = build(model, el); };
    model.on("change:surface", again);
    return () => { model.off("change:surface", again); tidy(); };
  },
};
