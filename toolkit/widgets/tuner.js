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

const whole = (number) => Math.round(number ?? 0).toLocaleString("en-GB");
const share = (rate) => (rate === null || rate === undefined ? "–" : `${(100 * rate).toFixed(1)} %`);

function money(value, currency) {
  if (value === null || value === undefined) return "–";
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
    Object.assign(this, { series, places, ticks, unit, shades, scale: scale(highest), values: null, marks: [], pinned: null });
    this.svg = shape("svg", { class: "ttk-plot", height: HEIGHT, role: "img" });
    this.behind = shape("g", {}, this.svg);
    this.bars = series.map(({ style }) =>
      Array.from({ length: places }, () => shape("rect", { class: style, rx: 1.5 }, this.svg)));
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
    // The pinned setting as the outline of its bars.
    let outline = "";
    if (pinned) {
      for (let place = 0; place < this.places; place++) {
        const top = this.y(pinned.reduce((sum, layer) => sum + layer[place], 0));
        outline += `${place ? "L" : "M"}${this.x(place)} ${top}L${this.x(place + 1)} ${top}`;
      }
    }
    this.ghost.setAttribute("d", outline);
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

function slider({ name, values, ticks, now, spoken, moved, released }) {
  const shown = element("output", { class: "ttk-value" });
  const input = element("input", {
    type: "range", min: 0, max: values - 1, step: 1, value: 0, "aria-label": name, "data-lm-suppress-shortcuts": "true",
  });
  input.addEventListener("input", () => moved(Number(input.value)));
  input.addEventListener("change", () => released());
  const share = (place) => (100 * place) / Math.max(1, values - 1);
  const marks = element("div", { class: "ttk-ticks", "aria-hidden": "true" }, ...ticks.map(([place, text]) =>
    element("span", { style: `left:${share(place)}%` }, text)));
  const today = element("span", { class: "ttk-now", "aria-hidden": "true", title: "as it is now" }, "now");
  if (now === null || now < 0) today.hidden = true;
  else today.style.left = `${share(now)}%`;
  const track = element("div", { class: "ttk-track" }, today, input, marks);
  const root = element("div", { class: "ttk-slider" }, element("div", { class: "ttk-name" }, name, shown), track);
  return {
    root, input,
    show(place, text) {
      if (Number(input.value) !== place) input.value = place;
      shown.textContent = text;
      input.setAttribute("aria-valuetext", spoken(place, text));
    },
  };
}

function card(what, kind) {
  const number = element("strong"), detail = element("span", { class: "ttk-detail" });
  const mark = chip(kind), held = element("span", { class: "ttk-detail ttk-pinned" });
  const root = element("div", { class: `ttk-card ttk-card-${kind}` },
    element("span", { class: "ttk-what" }, what), number, detail, held, mark);
  return {
    root,
    show(text, more, pinned, isExact) {
      number.textContent = text;
      detail.textContent = more;
      held.textContent = pinned ? `pinned ${pinned}` : "";
      held.hidden = !pinned;
      mark.textContent = isExact || kind === "planned" ? kind : "quick estimate";
      mark.className = `ttk-chip ttk-${isExact || kind === "planned" ? kind : "estimate"}`;
    },
  };
}

const NAMES = ["wait", "valid", "cap", "quiet"];

// Between two points computed ahead: a straight line, for a number, a list, or all of a point.
function between(a, b, share) {
  if (typeof a === "number" && typeof b === "number") return a + (b - a) * share;
  if (Array.isArray(a) && Array.isArray(b) && a.length === b.length) return a.map((one, place) => between(one, b[place], share));
  if (a && b && typeof a === "object" && typeof b === "object" && !Array.isArray(a)) {
    return Object.fromEntries(Object.keys(a).map((key) => [key, between(a[key], b[key], share)]));
  }
  return share < 0.5 ? a : b;
}

// The lines of the sliders, each with all it holds: what is as at the present setting was not sent again.
function unpacked(surface) {
  const lines = Object.fromEntries(Object.entries(surface.lines).map(([name, line]) =>
    [name, line.map((one) => (one ? { ...surface.base, ...one } : null))]));
  lines.wait = surface.waits.map((wait) => surface.settings.find((one) => one.wait === wait) ?? null);
  return { ...surface, lines };
}

function build(model, el) {
  let data = unpacked(model.get("surface"));
  const { currency, stops, waits, today } = data;
  const values = data.values;
  const now = data.today_point;
  const known = data.basis !== "none";
  const here = { ...Object.fromEntries(NAMES.map((name) => [name, model.get(name)])), percent: model.get("percent") };
  let isDragging = false, chart = "day";

  const highest = (key) => Math.max(1, ...Object.values(data.lines).flat().concat([now]).filter(Boolean).map((one) =>
    (one[key][0] ?? []).reduce((top, _, place) => Math.max(top, one[key].reduce((sum, layer) => sum + layer[place], 0)), 0)));

  let waiting = false;
  const schedule = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; guarded(draw); });
  };
  // The words beside a slider go with its thumb at once; the pictures follow in the next frame.
  const set = (name, value) => { here[name] = value; isDragging = true; guarded(showSliders); schedule(); };
  // Until the kernel has taken a setting, what it tells of earlier ones may not move the sliders back.
  let asked = 0;
  const release = () => {
    isDragging = false;
    asked += 1;
    kernel.send("setting", { ...here }).then(() => { asked -= 1; follow(); });
    schedule();
  };

  const stopOf = () => {
    const place = stops.findIndex((one) => one.wait === here.wait);
    return place >= 0 ? place : stops.findIndex((one) => one.wait === nearestStop(here.wait));
  };
  const nearestStop = (wait) => (data.lines.wait.find((one) => one && one.wait === wait) ?? now).wait;
  const node = (wait) => stops.findIndex((one) => one.wait === wait);
  const textOfWait = () => stops.find((one) => one.wait === here.wait)?.text ?? model.get("exact").text ?? here.wait;
  const spoken = (isNow) => (place, text) => text + (isNow(place) ? ", as it is now" : "");

  const capText = (cap) => (cap === 0 ? "no cap" : `${cap} mail${cap === 1 ? "" : "s"}`);
  const quietText = (from) => (from === "none" ? "none" : `from ${from}`);
  const short = (text) => text.replace(":00", "");
  const most = model.get("most");

  const controls = {};
  controls.wait = slider({
    name: "Wait before the mail", values: stops.length, now: node(data.now),
    ticks: waits.map((wait) => [node(wait), stops[node(wait)].text.replace(" min", "m").replace(" ", "").replace("nowait", "0")]),
    moved: (place) => set("wait", stops[place].wait), released: release, spoken: spoken((place) => stops[place].wait === data.now),
  });
  if (data.offer) {
    controls.percent = slider({
      name: "Discount in the offer", values: most + 1, now: today.percent,
      ticks: Array.from({ length: Math.floor(most / 5) + 1 }, (_, number) => [5 * number, `${5 * number} %`]),
      moved: (place) => set("percent", place), released: release, spoken: spoken((place) => place === today.percent),
    });
  }
  const lists = {
    valid: ["The offer holds for", (one) => one, (one) => one],
    cap: ["At most, per person", capText, (one) => (one === 0 ? "∞" : `${one}`)],
    quiet: ["Quiet hours", quietText, (one) => (one === "none" ? "none" : short(one))],
  };
  for (const [name, [title, text, tick]] of Object.entries(lists)) {
    if (!values[name]) continue;
    controls[name] = slider({
      name: title, values: values[name].length, now: values[name].indexOf(today[name]),
      ticks: values[name].map((one, place) => [place, tick(one)]),
      moved: (place) => set(name, values[name][place]), released: release,
      spoken: spoken((place) => values[name][place] === today[name]),
    });
    controls[name].text = text;
  }

  const cards = {
    week: card("Mails a week", "exact"),
    before: card("Bought before the mail", "observed"),
    after: card("Bought anyway after it", "observed"),
    given: data.offer && card("Discount given away", "observed"),
    lift: model.get("modelled").is_on && card("Lift of buyers", "modelled"),
    profit: model.get("modelled").is_on && card("Profit by 1,000 people", "modelled"),
    days: card("Days to know", "planned"),
  };
  const mailSeries = data.mails.map((name, number) => ({ name, style: `ttk-mail-${number % 4}` }));
  const bins = now.days[0]?.length ?? 1;
  const dayOf = (place) => {
    if (!now.first_day) return "";
    const day = new Date(`${now.first_day}T00:00Z`);
    day.setUTCDate(day.getUTCDate() + place * now.bin_days);
    return day.toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
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
  const days = new Bars({
    title: "Mails by day", kind: "exact", places: bins, highest: highest("days"), series: mailSeries,
    ticks: Array.from({ length: 7 }, (_, number) => Math.round((number * (bins - 1)) / 6)).map((place) => [place, dayOf(place)]),
    axis: now.bin_days > 1 ? `local days, ${now.bin_days} in a bar` : "customer's local day", unit: "mails",
  });
  const hours = new Bars({
    title: "Mails by hour of the day", kind: "exact", places: 24, highest: highest("hours"), shades: data.quiet, series: mailSeries,
    ticks: [0, 3, 6, 9, 12, 15, 18, 21, 24].map((hour) => [hour, `${hour}`]), axis: "customer's local time", unit: "mails",
  });

  const wrong = banner();
  const told = element("p", { class: "ttk-told", role: "status" });
  const said = element("p", { class: "ttk-detail", role: "status" });
  const code = element("pre", { class: "ttk-code", tabindex: "0" });
  const state = element("span", { class: "ttk-chip ttk-exact" }, "exact");
  const busy = element("span", { class: "ttk-soft" });
  const press = (act, words, more = {}) => element("button", {
    type: "button", class: "ttk-button", onclick: () => kernel.send(act, null), ...more,
  }, words);
  const pin = press("pin", "Pin this setting");
  const tabs = ["day", "hour"].map((name) => element("button", {
    type: "button", class: "ttk-button", onclick: () => { chart = name; showChart(); schedule(); },
  }, name === "day" ? "By day" : "By hour"));
  function showChart() {
    days.root.hidden = chart !== "day";
    hours.root.hidden = chart === "day";
    tabs.forEach((one, place) => one.setAttribute("aria-pressed", String((place === 0) === (chart === "day"))));
    resize();
  }
  const reset = element("button", { type: "button", class: "ttk-button ttk-reset", onclick: () => {
    Object.assign(here, today);
    release();
  } }, "Back to how it is now");

  const root = element("section", { class: "ttk ttk-tuner", "aria-label": model.get("title") },
    element("header", {}, element("h3", {}, `Tune ${data.scenario}`), state, element("span", { class: "ttk-soft" }, data.span), busy, reset),
    wrong,
    element("div", { class: "ttk-body ttk-tune" },
      element("div", { class: "ttk-sliders" }, ...Object.values(controls).map((one) => one.root)),
      element("div", { class: "ttk-stack" },
        element("div", { class: "ttk-cards" }, ...Object.values(cards).filter(Boolean).map((one) => one.root)),
        element("div", { class: "ttk-figures" }, purchases.root,
          element("div", { class: "ttk-either" }, element("div", { class: "ttk-tabs ttk-corner", role: "group", "aria-label": "Mails" }, ...tabs),
            days.root, hours.root)),
        told)),
    element("div", { class: "ttk-row ttk-gap" }, pin, press("version", "Save as a version"), press("experiment", "Make it an experiment"), said),
    element("details", {}, element("summary", {}, "Show this setting as YAML"), code),
  );
  el.append(root);
  const kernel = link(model, root);
  keepKeys(root);
  // Keys typed on a screen are its own.
  root.addEventListener("keydown", (event) => { if (event.key !== "Tab" && !event.ctrlKey && !event.metaKey) event.stopPropagation(); });

  function guarded(work) {
    try { work(); } catch (error) {
      wrong.textContent = `This screen could not be drawn: ${error.message}`;
      wrong.hidden = false;
      model.set("browser_error", String(error.stack || error));
      model.save_changes();
    }
  }

  const same = (a, b, names = NAMES) => names.every((name) => a[name] === b[name]);

  // What is shown at a setting: the very numbers where they are known, else what lies between those computed ahead.
  function pointOf() {
    const exact = model.get("exact");
    if (same(exact, here)) return [exact, true];
    const at = data.at;
    const rest = NAMES.filter((name) => name !== "wait");
    const place = stops.find((one) => one.wait === here.wait)?.place;
    if (place !== undefined && same(at, here, rest)) {
      const line = data.lines.wait;
      let low = Math.floor(place), high = Math.ceil(place);
      const isThere = low === high && line[low];
      while (low > 0 && !line[low]) low -= 1;
      while (high < line.length - 1 && !line[high]) high += 1;
      const first = line[low] ?? line[high] ?? exact, second = line[high] ?? first;
      if (isThere) return [line[low], true];
      return [between(first, second, high > low ? (place - low) / (high - low) : 0), false];
    }
    for (const name of rest) {
      if (!values[name] || at[name] === here[name]) continue;
      const point = data.lines[name]?.[values[name].indexOf(here[name])];
      if (point) return [point, same(point, here)];
    }
    return [exact, false];
  }

  function showSliders() {
    controls.wait.show(stopOf(), textOfWait());
    if (controls.percent) controls.percent.show(here.percent, here.percent ? `${here.percent} %` : "none");
    for (const name of ["valid", "cap", "quiet"]) {
      if (controls[name]) controls[name].show(values[name].indexOf(here[name]), controls[name].text(here[name]));
    }
  }

  let telling = 0;
  function draw() {
    const [one, isExact] = pointOf();
    const percent = here.percent;
    const held = model.get("pinned");
    const pinned = held.point ?? null;
    showSliders();
    root.dataset.state = isExact ? "exact" : "estimate";
    state.textContent = isExact ? "exact" : isDragging ? "quick estimate" : "quick estimate, computing…";
    state.className = `ttk-chip ttk-${isExact ? "exact" : "estimate"}`;

    const wait = textOfWait();
    cards.week.show(whole(one.week), `${whole(one.sent)} in all; now ${whole(now.week)}`, pinned && whole(pinned.week), isExact);
    cards.before.show(share(known ? one.before_rate : null), known
      ? `${whole(one.before)} of ${whole(one.before + one.mails)}; now ${share(now.before_rate)}` : "cannot be seen in this log",
    pinned && share(pinned.before_rate), isExact);
    cards.after.show(share(known ? one.after_rate : null), known
      ? `${whole(one.after)} of ${whole(one.mails)} within ${data.window}; now ${share(now.after_rate)}` : "no control group",
    pinned && share(pinned.after_rate), isExact);
    const away = one.given === null ? null : one.given * percent;
    if (cards.given) {
      cards.given.show(money(away, currency), one.given === null
        ? "cannot be seen in this log"
        : `by 100 offers of ${percent} %; now ${money(now.given === null ? null : now.given * today.percent, currency)}`,
      pinned && money(pinned.given === null ? null : pinned.given * held.percent, currency), isExact);
    }
    const plan = one.to_know;
    cards.days.show(plan && plan.days !== null ? whole(plan.days) : "–",
      plan ? `${whole(plan.people)} people, to find ${(100 * data.effect).toFixed(0)} points` : "cannot be told from this log",
      pinned?.to_know?.days != null && whole(pinned.to_know.days), isExact);
    if (cards.lift) drawModelled();

    const layers = purchases.series.length;
    const split = (point) => (layers === 3 ? point.own : [point.own[0], point.own[1].map((value, at) => value + point.own[2][at])]);
    purchases.draw(split(one).slice(0, layers), one.marks.slice(0, data.offer ? 2 : 1), pinned && split(pinned));
    purchases.said.textContent = known ? `in ${data.whose}` : "The log holds these mails and no control group.";
    if (chart === "day") days.draw(one.days, [], pinned && pinned.days);
    else hours.draw(one.hours, [], pinned && pinned.hours);
    const sums = Array.from({ length: 24 }, (_, hour) => one.hours.reduce((sum, layer) => sum + layer[hour], 0));
    const busiest = sums.indexOf(Math.max(...sums));
    const total = sums.reduce((sum, count) => sum + count, 0);
    days.said.textContent = total ? `${whole(one.week)} a week` : "no mail leaves";
    hours.said.textContent = total
      ? `${Math.round((100 * sums[busiest]) / total)} % leave between ${busiest}:00 and ${busiest + 1}:00` : "no mail leaves";
    for (const [one_, words] of [
      [purchases, `Bars: ${whole(one.before)} people bought before the mail, ${whole(one.after)} after it without having got it.`],
      [hours, `Bars: ${whole(one.sent)} mails by hour, most at ${busiest} o'clock.`], [days, `Bars: ${whole(one.sent)} mails by day.`],
    ]) one_.svg.setAttribute("aria-label", words);

    // A screen reader hears the setting people stop at, not every step of a drag.
    clearTimeout(telling);
    telling = setTimeout(() => {
      const parts = [`With ${wait === "no wait" ? "no wait" : `a wait of ${wait}`}: ${whole(one.week)} mails a week`];
      if (known) parts.push(`${share(one.before_rate)} buy before the mail, ${share(one.after_rate)} of the others would buy anyway`);
      if (away !== null && data.offer) parts.push(`100 offers of ${percent} % give away ${money(away, currency)} to people who buy anyway`);
      told.textContent = `${parts.join("; ")}.`;
    }, 250);
  }

  function drawModelled() {
    const told_ = model.get("modelled");
    const found = told_.at && same(told_.at, here, [...NAMES, "percent"]) ? told_.found : null;
    const span = (low, high, write) => `between ${write(low)} and ${write(high)}`;
    const points = (value) => `${value >= 0 ? "+" : ""}${(100 * value).toFixed(1)} points`;
    const amount = (value) => money(value, currency);
    const wait_ = isDragging ? "let go to forecast" : "forecasting…";
    cards.lift.show(found ? points(found.lift) : "…", found ? span(found.lift_lower, found.lift_upper, points) : wait_, null, true);
    cards.profit.show(found && found.profit !== null ? amount(found.profit) : found ? "–" : "…",
      found && found.profit !== null ? span(found.profit_lower, found.profit_upper, amount) : found ? "the model names no margin" : wait_,
      null, true);
  }

  const showError = () => { wrong.textContent = model.get("error"); wrong.hidden = !model.get("error"); };
  const showCode = () => { code.textContent = model.get("yaml"); };
  const showSaid = () => { said.textContent = model.get("said"); };
  const showBusy = () => { busy.textContent = model.get("busy"); };
  const showPin = () => {
    const isOn = Boolean(model.get("pinned").point);
    pin.textContent = isOn ? "Let the pin go" : "Pin this setting";
    pin.setAttribute("aria-pressed", String(isOn));
    schedule();
  };
  // What the kernel holds is what is shown, unless a hand is on a slider just now or a setting is on its way.
  const follow = () => {
    if (isDragging || asked) return;
    for (const name of [...NAMES, "percent"]) here[name] = model.get(name);
    schedule();
  };
  const renew = () => { data = unpacked(model.get("surface")); schedule(); };
  const changes = {
    "change:wait": follow, "change:percent": follow, "change:valid": follow, "change:cap": follow, "change:quiet": follow,
    "change:exact": schedule, "change:surface": renew, "change:error": showError, "change:yaml": showCode,
    "change:said": showSaid, "change:busy": showBusy, "change:pinned": showPin,
    "change:modelled": schedule,
  };
  for (const [name, work] of Object.entries(changes)) model.on(name, work);
  function resize() {
    for (const one of [purchases, days, hours]) one.resize(Math.floor(one.root.clientWidth));
  }
  const observer = new ResizeObserver(() => guarded(resize));
  observer.observe(purchases.root);
  showChart();
  for (const show of [showError, showCode, showSaid, showBusy, showPin]) show();
  guarded(draw);
  return () => {
    observer.disconnect();
    clearTimeout(telling);
    for (const [name, work] of Object.entries(changes)) model.off(name, work);
    kernel.close();
  };
}

export default {
  render({ model, el }) {
    return build(model, el);
  },
};
