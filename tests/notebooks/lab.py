"""A real JupyterLab on loopback, and a real Chromium that looks at it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from toolkit.cli.apps import jupyter_environment, lab_command

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
_SECONDS_TO_START = 240
COMPILING = ("First replay on this machine", "First simulation on this machine")
# JupyterLab's own request, which no script of the toolkit makes: a kernel that a test restarts or ends while the
# request is open leaves it without an answer, and JupyterLab says so in these words.
_LEFT_BY_A_KERNEL = "Canceled future for create_subshell_request message before replies were done"

_MUST_HAVE_NAMES = frozenset(
    (
        "button",
        "checkbox",
        "combobox",
        "image",
        "Iframe",
        "radio",
        "region",
        "searchbox",
        "slider",
        "spinbutton",
        "textbox",
    )
)
# Words on what they stand on, however many layers shine through.
_LIGHT = """
  const parts = (color) => {
    const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
    return /^color\\(srgb/.test(color) ? [255 * r, 255 * g, 255 * b, a] : [r, g, b, a];
  };
  const over = (top, below) => [0, 1, 2].map((at) => top[3] * top[at] + (1 - top[3]) * below[at]);
  const ground = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(parts(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const luminance = (color) => {
    const [r, g, b] = color.map((one) => one / 255)
      .map((one) => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (color, one) => {
    const under = ground(one);
    const [a, b] = [luminance(over(parts(color), under)), luminance(under)].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), one.className.baseVal ?? one.className, one.textContent];
  };
"""
_CONTRAST = (
    "() => {"
    + _LIGHT
    + """
  const isSeen = (one) =>
    one.offsetParent && [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll(".ttk *")]
    .filter((one) => isSeen(one) && !one.closest("svg, :disabled, .ttk-dead"))
    .map((one) => contrast(getComputedStyle(one).color, one)).sort((a, b) => a[0] - b[0])[0];
}"""
)
_CONTRAST_OF_PICTURES = (
    "() => {"
    + _LIGHT
    + """
  return [...document.querySelectorAll(".js-plotly-plot text")].filter((one) => one.textContent.trim())
    .map((one) => contrast(getComputedStyle(one.querySelector("tspan") ?? one).fill, one))
    .sort((a, b) => a[0] - b[0])[0];
}"""
)
_TOO_WIDE = """() => [...document.querySelectorAll("section.ttk")].flatMap((screen) => {
  const edge = screen.getBoundingClientRect().right + 1;
  return [...screen.querySelectorAll("*")]
    .filter((one) => !one.closest(".ttk-scroller, .ttk-table, .ttk-code, .ttk-stage"))
    .filter((one) => one.getBoundingClientRect().right > edge)
    .map((one) => `${screen.getAttribute("aria-label")}: ${one.nodeName} ${one.textContent.slice(0, 40)}`);
})"""


# What of plotly's pictures stands out of them, or of the words over them.
_CUT = """() => [...document.querySelectorAll(".js-plotly-plot")].flatMap((picture) => {
  const frame = picture.getBoundingClientRect();
  return [...picture.querySelectorAll("text")].filter((one) => one.getClientRects().length && one.textContent.trim())
    .filter((one) => {
      const box = one.getBoundingClientRect();
      return box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1;
    }).map((one) => one.textContent);
})"""


def desk(folder: Path) -> Path:
    """The notebooks beside the shipped log and templates, as copies, so that what a notebook writes stays in there."""
    for name in ("notebooks", "data", "templates"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "outbox"))
    return folder


@contextmanager
def jupyter(folder: Path, *, theme: str = "light") -> Iterator[str]:
    """The address of a JupyterLab on a folder, with a configuration of its own; it ends with the block."""
    home = folder / ".jupyter"
    path = home / "settings" / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"theme": f"JupyterLab {theme.title()}"}), encoding="utf-8")
    port = free_port()
    with (folder / "jupyter.log").open("wb") as log:
        # The very command of `make lab`, with what a test needs beside it.
        server = subprocess.Popen(
            [
                *lab_command(folder, "notebooks/00_start_here.ipynb", port=port, open_browser=False),
                *("--ip=127.0.0.1", "--ServerApp.port_retries=0", "--IdentityProvider.token="),
                "--LabApp.expose_app_in_browser=True",
                "--ServerApp.disable_check_xsrf=True",
            ],
            cwd=folder,
            env={**jupyter_environment(), **_environment(home)},
            stdout=log,
            stderr=log,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            wait_for(f"{address}/api/status", server, folder / "jupyter.log")
            yield address
        finally:
            _end_kernels(address)
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _environment(home: Path) -> dict[str, str]:
    return {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
    }


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path, *, any_answer: bool = False) -> None:
    """Wait until a server answers."""
    for _ in range(_SECONDS_TO_START * 10):
        try:
            with urlopen(address, timeout=2):
                return
        except HTTPError:
            if any_answer:
                return
            time.sleep(0.1)
        except (URLError, OSError):
            if server.poll() is not None:
                break
            time.sleep(0.1)
    raise RuntimeError(f"The server did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")


def _end_kernels(address: str) -> None:
    try:
        with urlopen(f"{address}/api/kernels", timeout=5) as answer:
            kernels = json.load(answer)
        for kernel in kernels:
            with urlopen(Request(f"{address}/api/kernels/{kernel['id']}", method="DELETE"), timeout=10):
                pass
    except (URLError, OSError):
        return  # the server is gone, and its kernels with it


@dataclass
class Desk:
    """A browser page on a JupyterLab: what it shows, what it asked for, what it complained about."""

    page: Any
    address: str
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def outside(self) -> list[str]:
        """Requests to anywhere else than this machine."""
        return [
            url
            for url in self.requests
            if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).hostname != "127.0.0.1"
        ]

    def complained(self, error: str) -> None:
        """Keep what a script failed with."""
        if error.removeprefix("Error: ") != _LEFT_BY_A_KERNEL:
            self.errors.append(error)

    def open(self, notebook: str) -> None:
        """Open a notebook in the single-document view and wait for its kernel."""
        self.page.goto(f"{self.address}/doc/tree/{notebook}")
        self.page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.content?.widgets?.length")
        self.page.wait_for_function(
            "window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'", timeout=90_000
        )

    def run_all(self) -> None:
        """Run all cells and wait until the last one is done."""
        self.page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        self.page.wait_for_function(
            """() => {
              const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel;
              const prompts = [...document.querySelectorAll(".jp-InputPrompt")];
              return kernel?.status === "idle" && !prompts.some((one) => one.textContent.includes("*"));
            }""",
            timeout=180_000,
        )

    def banners(self) -> list[str]:
        """What screens complain about: errors, and kernels that are gone."""
        found: list[str] = self.page.locator(".ttk-error:visible, .ttk-gone:visible").all_inner_texts()
        return found

    def ask(self, code: str) -> None:
        """Run code in the notebook's kernel, beside its cells."""
        self.page.evaluate(
            """async (code) => {
              const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
              const reply = await kernel.requestExecute({ code }).done;
              if (reply.content.status !== "ok") throw new Error(reply.content.evalue);
            }""",
            code,
        )

    def cell(self, name: str, *, run: bool = True) -> str:
        """What a cell shows, by its id; run again unless told not to."""
        place = self.page.evaluate(
            """(id) => {
              const notebook = window.jupyterapp.shell.currentWidget.content;
              const place = notebook.widgets.findIndex((cell) => cell.model.id === id);
              notebook.activeCellIndex = place;
              return place;
            }""",
            name,
        )
        if run:
            self.page.evaluate("window.jupyterapp.commands.execute('notebook:run-cell')")
            self.page.wait_for_function(
                "(place) => !window.jupyterapp.shell.currentWidget.content.widgets[place]"
                ".promptNode.textContent.includes('*')",
                arg=place,
                timeout=60_000,
            )
        return str(
            self.page.evaluate(
                "(place) => window.jupyterapp.shell.currentWidget.content.widgets[place].outputArea.node.innerText",
                place,
            )
        )

    def nameless(self) -> list[str]:
        """Controls and pictures of the screens for which Chromium has nothing to tell a screen reader."""
        session = self.page.context.new_cdp_session(self.page)
        found = session.send("Accessibility.getFullAXTree")["nodes"]
        session.detach()
        nodes = {node["nodeId"]: node for node in found}
        missing = []
        for node in found:
            role = node.get("role", {}).get("value")
            if node.get("ignored") or role not in _MUST_HAVE_NAMES or node.get("name", {}).get("value", "").strip():
                continue
            above, names = node, []
            while above is not None:
                names.append(above.get("name", {}).get("value", ""))
                above = nodes.get(above.get("parentId", ""))
            missing.append(f"{role} in {' < '.join(filter(None, names)) or 'nothing with a name'}")
        return [one for one in missing if any(title in one for title in self.titles())]

    def titles(self) -> list[str]:
        """What the screens are called."""
        found: list[str] = self.page.evaluate(
            "[...document.querySelectorAll('section.ttk')].map((one) => one.getAttribute('aria-label'))"
        )
        return found

    def contrast(self, *, of_pictures: bool = False) -> tuple[float, str, str]:
        """The words of screens, or of pictures, that are hardest to read: their contrast (WCAG 2), class and text."""
        least, class_, text = self.page.evaluate(_CONTRAST_OF_PICTURES if of_pictures else _CONTRAST)
        return float(least), str(class_), str(text)

    def too_wide(self) -> list[str]:
        """What stands out of its screen, to the right, where nothing scrolls."""
        found: list[str] = self.page.evaluate(_TOO_WIDE)
        return found

    def cut(self) -> list[str]:
        """Words of plotly's pictures that stand out of them."""
        found: list[str] = self.page.evaluate(_CUT)
        return found

    def close(self) -> None:
        """Save nothing, and end the kernels: the next notebook finds the machine free."""
        self.page.goto("about:blank")
        _end_kernels(self.address)

    def output_errors(self) -> list[str]:
        """Tracebacks and warnings that stand in the notebook; a machine that compiles for the first time may say so."""
        kinds = ("application/vnd.jupyter.error", "application/vnd.jupyter.stderr")
        found: list[str] = self.page.locator(
            ", ".join(f'.jp-OutputArea-output[data-mime-type="{kind}"]' for kind in kinds)
        ).all_inner_texts()
        lines = [[line for line in text.splitlines() if line.strip()] for text in found]
        return ["\n".join(said) for said in lines if not all(line.startswith(COMPILING) for line in said)]


@contextmanager
def chromium() -> Iterator[Any]:
    """A Chromium that can reach nothing but this machine. Only one may be open in a thread at a time."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where a browser is asked for

    with sync_playwright() as run:
        opened = run.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield opened
        opened.close()


def page_of(
    opened: Any, address: str, *, theme: str = "light", width: int = 1280, height: int = 900, scale: float = 1
) -> Desk:
    """A new page of an open Chromium, for a server, with no cookie of another page."""
    context = opened.new_context(
        viewport={"width": width, "height": height}, device_scale_factor=scale, color_scheme=theme
    )
    context.set_default_timeout(60_000)  # states are waited for; a busy machine takes longer
    desk_ = Desk(context.new_page(), address)
    context.on("request", lambda request: desk_.requests.append(request.url))
    desk_.page.on("pageerror", lambda error: desk_.complained(str(error)))
    return desk_


@contextmanager
def browser(
    address: str, *, theme: str = "light", width: int = 1280, height: int = 900, scale: float = 1
) -> Iterator[Desk]:
    """A page of a Chromium of its own."""
    with chromium() as opened:
        yield page_of(opened, address, theme=theme, width=width, height=height, scale=scale)
