// What the scripts of all screens share: the link to the kernel, and what says so when there is none.
const QUIET = "data-lm-suppress-shortcuts";
const FOCUSABLE = "button, input, select, textarea, summary, [tabindex], iframe";
const PATIENCE = 4000;

// JupyterLab acts on single keys; nothing typed on a screen may reach it.
function keepKeys(root) {
  for (const one of root.querySelectorAll(FOCUSABLE)) one.setAttribute(QUIET, "true");
}

function banner() {
  const box = document.createElement("div");
  box.className = "ttk-error";
  box.setAttribute("role", "alert");
  box.hidden = true;
  return box;
}

// A kernel that is gone leaves screens behind. They say so and let nobody press anything.
function link(model, root) {
  const gone = document.createElement("p");
  gone.className = "ttk-gone";
  gone.setAttribute("role", "alert");
  gone.hidden = true;
  root.prepend(gone);
  let number = 0, seen = 0, timer = 0, alive = true;
  const waiting = new Map();

  function lost(words) {
    alive = false;
    gone.textContent = words;
    gone.hidden = false;
    root.classList.add("ttk-dead");
    for (const one of root.querySelectorAll("button, input, select, textarea")) one.disabled = true;
    for (const one of root.querySelectorAll("[data-act]")) one.removeAttribute("tabindex");
  }
  const status = () => {
    try { return model.widget_manager?.kernel?.status ?? "unknown"; } catch { return "unknown"; }
  };
  const check = () => {
    if (!alive || seen >= number) return;
    // A kernel at work on a cell answers when it is done.
    if (status() === "busy") { timer = setTimeout(check, PATIENCE); return; }
    lost("The kernel does not answer. This is how the screen last stood; run its cell again.");
  };
  const heard = (content) => {
    if (typeof content?.seen !== "number") return;
    seen = Math.max(seen, content.seen);
    waiting.get(content.seen)?.();
    waiting.delete(content.seen);
  };
  const live = () => {
    const inner = model.comm_live;
    if (inner === false) lost("The kernel was restarted. This is how the screen last stood; run its cell again.");
  };
  model.on("msg:custom", heard);
  model.on("comm_live_update", live);
  const kernel = (() => { try { return model.widget_manager?.kernel; } catch { return null; } })();
  const restarted = (_, now) => {
    if (["restarting", "autorestarting", "terminating", "dead"].includes(now)) {
      lost("The kernel was restarted. This is how the screen last stood; run its cell again.");
    }
  };
  kernel?.statusChanged?.connect(restarted);
  return {
    get alive() { return alive; },
    status,
    // Resolves when the kernel has done it.
    send(act, value) {
      if (!alive) return Promise.resolve();
      number += 1;
      const mine = number;
      const done = new Promise((resolve) => waiting.set(mine, resolve));
      try {
        model.send({ act, value, number: mine });
      } catch {
        lost("There is no kernel. This is how the screen last stood; run its cell again.");
        return Promise.resolve();
      }
      clearTimeout(timer);
      timer = setTimeout(check, PATIENCE);
      return done;
    },
    close() {
      clearTimeout(timer);
      model.off("msg:custom", heard);
      model.off("comm_live_update", live);
      kernel?.statusChanged?.disconnect(restarted);
    },
  };
}
