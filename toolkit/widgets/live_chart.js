// A plotly chart whose figures were all made ahead: it swaps them as a tuner's sliders move.
const PAGE = "__trigger_toolkit_plotly";
const RESTS = 70, LATEST = 450; // milliseconds
const NARROW = 520; // pixels

// plotly.js from the kernel, asked for once on a page whatever the number of charts.
function plotly(model) {
  window[PAGE] ??= new Promise((resolve, reject) => {
    const receive = (content, buffers) => {
      if (content?.have !== "plotly") return;
      model.off("msg:custom", receive);
      const url = URL.createObjectURL(new Blob([buffers[0]], { type: "text/javascript" }));
      const script = document.createElement("script");
      script.src = url;
      script.onload = () => { URL.revokeObjectURL(url); resolve(window.Plotly); };
      script.onerror = () => { window[PAGE] = undefined; reject(new Error("plotly.js could not be loaded")); };
      document.head.append(script);
    };
    model.on("msg:custom", receive);
    model.send({ want: "plotly" });
  });
  return window[PAGE];
}

// plotly breaks no title: its lines are broken between words, by about the width of their letters.
function broken(text, width) {
  const whole = text.replace(/<\/span><br><span style='font-size[^']*'>/g, " "); // the lines of a subtitle
  return whole.split("<br>").map((line) => {
    const letter = 0.56 * (/font-size:([\d.]+)px/.exec(line)?.[1] ?? 17);
    let used = 0;
    return (line.match(/(?:<[^>]*>|[^\s<])+/g) ?? []).reduce((said, word) => {
      const wide = letter * word.replace(/<[^>]*>/g, "").length;
      const isNext = used > 0 && used + letter + wide > width;
      used = isNext ? wide : used + letter + wide;
      return said ? `${said}${isNext ? "<br>" : " "}${word}` : word;
    }, "");
  }).join("<br>");
}

// In a narrow pane the axis of stretches of time tells every third of their ends, that of money tells each wait on its
// side, and what stands beside two axes stands over them, so that no word lies on another.
function narrowed(layout, width) {
  if (width >= NARROW) return {};
  const every = (axis) => ({
    ...axis, tickvals: axis.tickvals.filter((_, at) => at % 3 === 0), ticktext: axis.ticktext.filter((_, at) => at % 3 === 0),
  });
  const over = (axis) => ({ ...axis, title: { text: "" } });
  return {
    xaxis: { ...layout.xaxis, tickvals: [0, 6, 12, 18, 24], title: { text: "hour (exact)" } },
    xaxis2: { ...every(layout.xaxis2), title: { text: "time since (observed)" } },
    yaxis2: over(layout.yaxis2),
  };
}

// The figure of a wait with the discount put in: money by percent, words where they name it. What more lines of a title
// than were planned need is added to its height, and of fewer taken from it.
function figure(model, width) {
  const frames = model.get("frames");
  const percent = model.get("percent");
  const frame = frames[model.get("wait")] ?? Object.values(frames)[0];
  const data = frame.data.map((trace) => trace.meta?.times_percent
    ? { ...trace, y: (Array.isArray(trace.y) ? trace.y : Array.from(trace.y)).map((one) => one === null ? null : one * percent) }
    : trace);
  const planned = frame.layout.title.text.replaceAll("{percent}", `${percent}`);
  const title = { ...frame.layout.title, text: broken(planned, width - 28) };
  const more = 22 * (title.text.split("<br>").length - planned.split("<br>").length);
  const { height, margin, legend } = frame.layout;
  const moved = {
    height: height + more, margin: { ...margin, t: margin.t + more },
    legend: { ...legend, y: 1 - ((1 - legend.y) * height + more) / (height + more) },
  };
  return { data, layout: { ...frame.layout, ...moved, ...narrowed(frame.layout, width), title, uirevision: "kept" } };
}

export default {
  async render({ model, el }) {
    const banner = document.createElement("div");
    banner.setAttribute("role", "alert");
    banner.style.cssText = "border:1px solid #b3261e;color:#b3261e;border-radius:8px;padding:8px 12px;margin:4px 0";
    const plot = document.createElement("div");
    plot.className = "ttk-live-chart";
    plot.textContent = "Loading the chart …";
    el.append(banner, plot);
    const show = () => { banner.textContent = model.get("error"); banner.hidden = !model.get("error"); };
    const fail = (error) => {
      banner.textContent = `This chart could not be drawn: ${error.message}`;
      banner.hidden = false;
      model.set("browser_error", String(error.stack || error));
      model.save_changes();
    };
    show();
    model.on("change:error", show);

    // plotly needs several frames for a redraw, so it waits until a drag rests; the tuner beside it stays smooth.
    let timer = 0, since = 0, busy = false, gone = false, ready = null;
    const draw = async () => {
      since = 0;
      if (!ready || gone) return;
      if (busy) { later(); return; }
      busy = true;
      try {
        const { data, layout } = figure(model, plot.clientWidth || 700);
        await ready.react(plot, data, layout, model.get("settings").config);
      } catch (error) {
        fail(error);
      }
      busy = false;
    };
    const later = () => {
      since ||= performance.now();
      clearTimeout(timer);
      timer = setTimeout(draw, Math.max(0, Math.min(RESTS, since + LATEST - performance.now())));
    };
    model.on("change:wait change:percent change:frames", later);
    const resized = new ResizeObserver(later);
    resized.observe(plot);
    plotly(model).then((found) => {
      ready = found;
      plot.textContent = "";
      return draw();
    }).catch(fail);
    return () => {
      gone = true;
      model.off("change:error", show);
      clearTimeout(timer);
      resized.disconnect();
      model.off("change:wait change:percent change:frames", later);
      if (ready) ready.purge(plot);
    };
  },
};
