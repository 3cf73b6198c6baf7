// The tuning screen. Every wait was computed ahead by the kernel, so that a drag is drawn within a frame.
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
      write(shown, text);
      put(input, "aria-valuetext", spoken(place, text));
    },
  };
}

function card(what, kind) {
  const number = element("strong"), detail = element("span", { class: "ttk-detail" });
  const mark = chip(kind), held = element("span", { class: "ttk-detail ttk-pinned" });
  const root = element("div", { class: `ttk-card ttk-card-${kind}` },
    element("span", { class: "ttk-what" }, what), number, detail, held, element("span", { class: "ttk-kind" }, mark));
  return {
    root,
    show(text, more, pinned, isExact) {
      write(number, text);
      write(detail, more);
      write(held, pinned ? `pinned ${pinned}` : "");
      held.hidden = !pinned;
      write(mark, isExact || kind === "planned" ? kind : "quick estimate");
      put(mark, "class", `ttk-chip ttk-${isExact || kind === "planned" ? kind : "estimate"}`);
    },
  };
}

// A length of time as people write it.
const spaced = (text) => text.replace(/(\d)([smhdw])/g, "$1 $2");
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

// The points as the kernel packed them: what is as at the present setting was not sent, and tables of counts are texts of
// how far each is from those of the present setting.
function unpacked(surface) {
  const table = (text) => text.split("|").map((row) => row.split(" ").map(Number));
  const base = { ...surface.base };
  for (const name of ["hours", "days", "own"]) base[name] = table(base[name]);
  const point = (one) => {
    const whole = { ...base, ...one };
    for (const name of ["hours", "days", "own"]) {
      if (typeof whole[name] !== "string") continue;
      const moved = table(whole[name]);
      whole[name] = base[name].map((row, layer) => row.map((count, place) => count + moved[layer][place]));
    }
    return whole;
  };
  const settings = surface.settings.map(point);
  const lines = Object.fromEntries(Object.entries(surface.lines).map(([name, line]) => [name, line.map((one) => one && point(one))]));
  lines.wait = surface.waits.map((wait) => settings.find((one) => one.wait === wait) ?? null);
  return { ...surface, lines, today_point: point(surface.today_point ?? {}) };
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

  // Drawn at once where this frame was not drawn yet; more that comes within a frame is drawn in the next.
  let isDrawn = false, isWaiting = false;
  const schedule = () => {
    if (isDrawn) { isWaiting = true; return; }
    isDrawn = true;
    requestAnimationFrame(() => {
      isDrawn = false;
      if (isWaiting) { isWaiting = false; guarded(draw); }
    });
    guarded(draw);
  };
  const set = (name, value) => { here[name] = value; isDragging = true; schedule(); };
  // One setting at a time is asked of the kernel; of those let go meanwhile only the latest. Until it is taken, what the
  // kernel tells of earlier ones may not move the sliders back.
  let isAsked = false, isMore = false;
  const release = () => {
    isDragging = false;
    if (isAsked) isMore = true;
    else {
      isAsked = true;
      kernel.send("setting", { ...here }).then(() => {
        isAsked = false;
        if (isMore) { isMore = false; release(); } else follow();
      });
    }
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

  const capText = (cap) => (cap === 0 ? "no cap" : `${cap} mail${cap === 1 ? "" : "s"} in ${spaced(data.cap_per)}`);
  const quietText = (from) => (from === "none" ? "none" : `${from}–${data.quiet_to}`);
  const short = (text) => text.replace(":00", "");
  const most = model.get("most");

  const controls = {};
  controls.wait = slider({
    name: data.wait_name, values: stops.length, now: node(data.now),
    ticks: waits.map((wait) => [node(wait), stops[node(wait)].text.replace(" min", "m").replace(" ", "").replace("nowait", "0")]),
    moved: (place) => set("wait", stops[place].wait), released: release, spoken: spoken((place) => stops[place].wait === data.now),
  });
  if (data.offer) {
    controls.percent = slider({
      name: "Discount in the offer", values: most + 1, now: today.percent,
      ticks: Array.from({ length: Math.floor(most / 5) + 1 }, (_, number) => [5 * number, `${5 * number}%`]),
      moved: (place) => set("percent", place), released: release, spoken: spoken((place) => place === today.percent),
    });
  }
  const lists = {
    valid: ["The offer holds for", spaced, (one) => one],
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
    before: card("Bought before mail", "observed"),
    after: card("Bought anyway after", "observed"),
    given: data.offer && card("Discount given away", "observed"),
    lift: model.get("modelled").is_on && card("Lift of buyers", "modelled"),
    profit: model.get("modelled").is_on && card("Profit by 1,000 people", "modelled"),
    days: card("Days to know", "planned"),
  };
  const mailSeries = data.mails.map((name, number) => ({ name, style: `ttk-mail-${number % 7}` }));
  const bins = now.days[0]?.length ?? 1;
  const dayOf = (place) => {
    if (!now.first_day) return "";
    const day = new Date(`${now.first_day}T00:00Z`);
    day.setUTCDate(day.getUTCDate() + place * now.bin_days);
    return day.toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
  };
  const purchases = new Bars({
    title: "Bought on their own", kind: "observed", places: data.edges.length - 1, highest: highest("own"),
    series: [
      { name: "before mail", style: "ttk-before" },
      { name: "after mail", style: "ttk-after" },
      ...(data.offer && !data.first ? [{ name: "after offer", style: "ttk-gift" }] : []),
    ],
    ticks: data.edges.map((text, number) => [number, text]), axis: "time since the trigger (uneven steps)", unit: "journeys",
  });
  const days = new Bars({
    title: "Mails by day", kind: "exact", places: bins, highest: highest("days"), series: mailSeries,
    ticks: Array.from({ length: 7 }, (_, number) => Math.round((number * (bins - 1)) / 6)).map((place) => [place, dayOf(place)]),
    axis: now.bin_days > 1 ? `local days, ${now.bin_days} in a bar` : "customer's local day", unit: "mails",
  });
  const hours = new Bars({
    title: "Mails by hour", kind: "exact", places: 24, highest: highest("hours"), shades: data.quiet, series: mailSeries,
    ticks: [0, 3, 6, 9, 12, 15, 18, 21, 24].map((hour) => [hour, `${hour}`]), axis: "customer's local time", unit: "mails",
  });

  const wrong = banner();
  const told = element("p", { class: "ttk-told", role: "status" });
  const said = element("p", { class: "ttk-detail", role: "status" });
  const code = element("pre", { class: "ttk-code", tabindex: "0", role: "region", "aria-label": "YAML" });
  const state = element("span", { class: "ttk-chip ttk-exact" }, "exact");
  const busy = element("span", { class: "ttk-soft" });
  const press = (act, words, more = {}) => element("button", {
    type: "button", class: "ttk-button", onclick: () => kernel.send(act, null), ...more,
  }, words);
  const pin = press("pin", "Pin this setting");
  const tabs = ["day", "hour"].map((name) => element("button", {
    type: "button", class: "ttk-button", onclick: () => { chart = name; showChart(); schedule(); },
  }, name === "day" ? "Day" : "Hour"));
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

  // Named here and not by :has(), which the browser would look at again with every number that changes in a drag.
  const shown = Object.values(cards).filter(Boolean).map((one) => one.root);
  const root = element("section", { class: "ttk ttk-tuner", "aria-label": model.get("title") },
    element("header", {}, element("h3", {}, `Tune ${data.scenario}`), element("span", { class: "ttk-span" }, data.span),
      element("span", { class: "ttk-state" }, element("span", {}, state)), busy, reset),
    wrong,
    element("div", { class: "ttk-body ttk-tune" },
      element("div", { class: "ttk-sliders" }, ...Object.values(controls).map((one) => one.root)),
      element("div", { class: "ttk-stack" },
        element("div", { class: `ttk-cards ${{ 5: "ttk-five", 7: "ttk-seven" }[shown.length] ?? ""}` }, ...shown),
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
    if (controls.percent) controls.percent.show(here.percent, here.percent ? `${here.percent}%` : "none");
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
    put(root, "data-state", isExact ? "exact" : "estimate");
    write(state, isExact ? "exact" : isDragging ? "quick estimate" : "quick estimate, computing…");
    put(state, "class", `ttk-chip ttk-${isExact ? "exact" : "estimate"}`);

    const wait = textOfWait();
    cards.week.show(whole(one.week), `${whole(one.sent)} in all; now ${whole(now.week)}`, pinned && whole(pinned.week), isExact);
    cards.before.show(share(known ? one.before_rate : null), known
      ? `${whole(one.before)} of ${whole(one.before + one.mails)} journeys; now ${share(now.before_rate)}` : "cannot be seen in this log",
    pinned && share(pinned.before_rate), isExact);
    cards.after.show(share(known ? one.after_rate : null), known
      ? `${whole(one.after)} of ${whole(one.mails)} journeys within ${spaced(data.window)}; now ${share(now.after_rate)}` : "no control group",
    pinned && share(pinned.after_rate), isExact);
    const away = one.given === null ? null : one.given * percent;
    if (cards.given) {
      cards.given.show(money(away, currency), one.given === null
        ? "cannot be seen in this log"
        : `${percent > 0 ? `by 100 offers of ${percent}%` : "no discount"}; now ${money(now.given === null ? null : now.given * today.percent, currency)}`,
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
    write(purchases.said, !known ? "The log holds these mails and no control group."
      : one.before + one.mails ? `in ${data.whose}` : "nobody came to the mail");
    if (chart === "day") days.draw(one.days, [], pinned && pinned.days);
    else hours.draw(one.hours, [], pinned && pinned.hours);
    const sums = Array.from({ length: 24 }, (_, hour) => one.hours.reduce((sum, layer) => sum + layer[hour], 0));
    const busiest = sums.indexOf(Math.max(...sums));
    const total = sums.reduce((sum, count) => sum + count, 0);
    write(days.said, total ? `${whole(one.week)} a week` : "no mail leaves");
    write(hours.said, total
      ? `${Math.round((100 * sums[busiest]) / total)}% leave between ${busiest}:00 and ${busiest + 1}:00` : "no mail leaves");

    // A screen reader hears the setting people stop at, not every step of a drag.
    clearTimeout(telling);
    telling = setTimeout(() => {
      for (const [picture, words] of [
        [purchases, `Bars: ${whole(one.before)} journeys end in a purchase before the mail, ${whole(one.after)} in one after it without the mail.`],
        [hours, `Bars: ${whole(one.sent)} mails by hour, most at ${busiest} o'clock.`], [days, `Bars: ${whole(one.sent)} mails by day.`],
      ]) put(picture.svg, "aria-label", words);
      const parts = [`With ${wait === "no wait" ? "no wait" : `a wait of ${wait}`}: ${whole(one.week)} mails a week`];
      if (!one.sent && !one.before && !one.mails) {
        parts.push(data.nobody || "nobody in this log comes to the mail, so there is nothing to tune it on");
      }
      else if (known) parts.push(`${share(one.before_rate)} buy before the mail, ${share(one.after_rate)} of the others would buy anyway`);
      if (away !== null && data.offer && percent > 0) parts.push(`100 offers of ${percent}% give away ${money(away, currency)} to people who buy anyway`);
      told.textContent = `${parts.join("; ")}.`.replace(/\?\.$/, "?");
    }, 250);
  }

  function drawModelled() {
    const told_ = model.get("modelled");
    const found = told_.at && same(told_.at, here, [...NAMES, "percent"]) ? told_.found : null;
    const span = (low, high, write) => `between ${write(low)} and ${write(high)}`;
    const held = model.get("pinned").modelled ?? null;
    const points = (value) => `${value >= 0 ? "+" : ""}${minus((100 * value).toFixed(1))} points`;
    const amount = (value) => money(value, currency);
    const wait_ = isDragging ? "let go to forecast" : "forecasting…";
    cards.lift.show(found ? points(found.lift) : "…", found ? span(found.lift_lower, found.lift_upper, points) : wait_,
      held && points(held.lift), true);
    cards.profit.show(found && found.profit !== null ? amount(found.profit) : found ? "–" : "…",
      found && found.profit !== null ? span(found.profit_lower, found.profit_upper, amount) : found ? "the model names no margin" : wait_,
      held && held.profit !== null && amount(held.profit), true);
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
    if (isDragging || isAsked) return;
    for (const name of [...NAMES, "percent"]) here[name] = model.get(name);
    schedule();
  };
  const renew = () => {
    data = unpacked(model.get("surface"));
    for (const [picture, key] of [[purchases, "own"], [days, "days"], [hours, "hours"]]) picture.fit(highest(key));
    schedule();
  };
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

// What stands there while a large log is read: what is being done, for how long already, and a way to stop it.
function reading(model, el) {
  const words = element("p", { class: "ttk-soft", role: "status" });
  const wrong = banner();
  const press = element("button", { type: "button", class: "ttk-button" });
  const root = element("section", { class: "ttk ttk-tuner", "aria-label": model.get("title") },
    element("header", {}, element("h3", {}, model.get("title"))), wrong, words, element("div", { class: "ttk-reading" }),
    element("div", { class: "ttk-row ttk-gap" }, press));
  el.append(root);
  const kernel = link(model, root);
  let begin = Date.now();
  press.onclick = () => {
    const act = model.get("busy") ? "stop" : "read";
    begin = Date.now();
    kernel.send(act, null);
  };
  const show = () => {
    const seconds = Math.floor((Date.now() - begin) / 1000);
    const isAtWork = Boolean(model.get("busy"));
    press.textContent = isAtWork ? "Stop" : "Read the log";
    root.classList.toggle("ttk-stopped", !isAtWork);
    wrong.textContent = model.get("error");
    wrong.hidden = !model.get("error");
    root.classList.toggle("ttk-failed", !wrong.hidden);
    words.textContent = isAtWork ? `${model.get("busy")} … ${seconds} s` : wrong.hidden ? "Stopped. Nothing was changed." : "";
  };
  const timer = setInterval(show, 500);
  model.on("change:busy change:error", show);
  show();
  return () => {
    clearInterval(timer);
    model.off("change:busy change:error", show);
    kernel.close();
    root.remove();
  };
}

export default {
  render({ model, el }) {
    const isThere = () => Boolean(model.get("surface").scenario);
    let close = isThere() ? build(model, el) : reading(model, el);
    if (isThere()) return close;
    const come = () => {
      if (!isThere()) return;
      model.off("change:surface", come);
      close();
      close = build(model, el);
    };
    model.on("change:surface", come);
    return () => { model.off("change:surface", come); close(); };
  },
};
