// A screen drawn by the kernel as HTML: changed in place, so that what is held or typed stays, and what is pressed is told.
const HELD = new Set(["INPUT", "TEXTAREA", "SELECT"]);
const KEPT = new Set([QUIET, "data-changed"]); // what this script itself writes on elements

function sameKind(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || a.dataset?.key) === (b.id || b.dataset?.key);
}

function morph(old, fresh, held) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !KEPT.has(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (HELD.has(old.nodeName)) {
    // What a hand holds, somebody types, or was chosen and is still on its way, is not taken from under them.
    if (held.has(old)) return;
    if (old.nodeName === "INPUT") {
      const value = fresh.getAttribute("value") ?? "";
      if (old.type === "checkbox" || old.type === "radio") old.checked = fresh.hasAttribute("checked");
      else if (old.value !== value) old.value = value;
    }
  }
  if (old.nodeName === "IFRAME") return;
  children(old, fresh, held);
  if (old.nodeName === "SELECT") old.value = fresh.value;
}

function children(old, fresh, held) {
  const now = [...old.childNodes], next = [...fresh.childNodes];
  next.forEach((node, place) => {
    const there = now[place];
    if (!there) old.append(node);
    else if (sameKind(there, node)) morph(there, node, held);
    else there.replaceWith(node);
  });
  for (const rest of now.slice(next.length)) rest.remove();
}

export default {
  render({ model, el }) {
    const root = document.createElement("section");
    root.className = "ttk";
    root.setAttribute("aria-label", model.get("title"));
    root.setAttribute(QUIET, "true");
    root.tabIndex = -1;
    const wrong = banner();
    const body = document.createElement("div");
    body.className = "ttk-body";
    root.append(wrong, body);
    el.append(root);
    const kernel = link(model, root);
    let pressed = null, opener = null;
    const away = new Map(); // boxes whose news the kernel has not answered yet, and how many

    function draw() {
      const box = document.createElement("template");
      box.innerHTML = model.get("view");
      const active = body.getRootNode().activeElement;
      const isMine = body.contains(active);
      const typing = active && body.contains(active) && HELD.has(active.nodeName) && active.type !== "range" ? active : null;
      const scrolled = [...body.querySelectorAll("[data-scroll]")].map((one) => [one.dataset.scroll, one.scrollLeft, one.scrollTop]);
      children(body, box.content, new Set([...away.keys(), pressed, typing?.dataset.changed ? typing : null]));
      for (const [name, left, top] of scrolled) {
        const one = body.querySelector(`[data-scroll="${name}"]`);
        if (one) { one.scrollLeft = left; one.scrollTop = top; }
      }
      // What was pressed may be gone. Whoever uses the keyboard stays on this screen.
      if (active && body !== active && isMine && (!body.contains(active) || active.disabled)) root.focus({ preventScroll: true });
      keepKeys(root);
    }
    function guarded(work) {
      try { work(); } catch (error) {
        model.set("browser_error", `This screen could not be drawn: ${error.message}`);
        model.save_changes();
      }
    }
    const showError = () => {
      wrong.textContent = model.get("error");
      wrong.hidden = !model.get("error");
    };

    // While a slider moves only the latest place is told: the next one goes when the kernel has answered.
    let next = null, isAway = false;
    function live(act, value) {
      next = [act, value];
      if (isAway) return;
      isAway = true;
      (async () => {
        while (next) {
          const [name, now] = next;
          next = null;
          await kernel.send(name, now);
        }
        isAway = false;
      })();
    }
    const valueOf = (one) => (one.type === "checkbox" ? one.checked : one.value);
    const actor = (event) => event.target.closest?.("[data-act]");

    body.addEventListener("click", (event) => {
      const one = actor(event);
      if (!one || HELD.has(one.nodeName) || one.disabled || !kernel.alive) return;
      event.preventDefault();
      // What stands in a box but was not told yet comes first.
      const typed = body.querySelector("[data-changed]");
      if (typed) tell(typed);
      if (one.dataset.act === "step") opener = one.dataset.value;
      one.classList.add("ttk-pressed");
      kernel.send(one.dataset.act, one.dataset.value ?? null).then(() => one.classList.remove("ttk-pressed"));
    });
    function tell(one) {
      delete one.dataset.changed;
      away.set(one, (away.get(one) ?? 0) + 1);
      kernel.send(one.dataset.act, valueOf(one)).then(() => {
        if (away.get(one) > 1) { away.set(one, away.get(one) - 1); return; }
        away.delete(one);
        drawn();
      });
    }
    body.addEventListener("input", (event) => {
      const one = actor(event);
      if (!one) return;
      if (one.nodeName !== "SELECT" && one.type !== "checkbox" && one.type !== "range") one.dataset.changed = "true";
      if (one.dataset.live) live(one.dataset.act, valueOf(one));
    });
    body.addEventListener("change", (event) => {
      const one = actor(event);
      if (!one) return;
      if (one.dataset.live) { delete one.dataset.changed; live(one.dataset.act, valueOf(one)); }
      else if (one.dataset.changed || one.nodeName === "SELECT" || one.type === "checkbox" || one.type === "range") tell(one);
    });
    body.addEventListener("pointerdown", (event) => { pressed = event.target.type === "range" ? event.target : null; });
    const released = () => { pressed = null; };
    window.addEventListener("pointerup", released);
    // The cells of a map: the arrows go from one to the next.
    const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    function step(from, [right, up]) {
      const [x, y] = from.dataset.value.split(",").map(Number);
      const place = y === undefined ? x + right : [x + right, y + up].join();
      const to = body.querySelector(`[data-act="cell"][data-value="${place}"]`);
      if (!to) return;
      from.setAttribute("tabindex", "-1");
      to.setAttribute("tabindex", "0");
      to.focus();
    }
    async function closed() {
      const close = body.querySelector('[data-act="close"]');
      if (!close) return;
      await kernel.send("close", null);
      (body.querySelector(`[data-act="step"][data-value="${CSS.escape(opener ?? "")}"]`) ?? root).focus();
    }
    root.addEventListener("keydown", (event) => {
      const one = actor(event);
      if (event.key === "Escape") closed();
      if (one?.dataset.act === "cell" && ARROWS[event.key]) {
        event.preventDefault();
        step(one, ARROWS[event.key]);
      }
      if (one && !HELD.has(one.nodeName) && one.nodeName !== "BUTTON" && (event.key === "Enter" || event.key === " ")) {
        event.preventDefault();
        one.dispatchEvent(new MouseEvent("click", { bubbles: true }));
      } else if (event.key === "Enter" && one?.nodeName === "INPUT" && one.dataset.changed) tell(one);
      if (event.key !== "Tab" && !event.ctrlKey && !event.metaKey) event.stopPropagation();
    });

    const drawn = () => guarded(draw);
    model.on("change:view", drawn);
    model.on("change:error", showError);
    drawn();
    showError();
    return () => {
      window.removeEventListener("pointerup", released);
      model.off("change:view", drawn);
      model.off("change:error", showError);
      kernel.close();
    };
  },
};
