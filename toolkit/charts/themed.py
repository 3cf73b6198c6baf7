"""A figure that is as easy to read on JupyterLab's dark page as on its light one, and as well in a narrow pane."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Sequence
from html import escape

import plotly.graph_objects as go

__all__ = ["INK", "Themed", "title_html", "title_room"]

INK = "#717989"
"""Words: 4.3 to 1 on white and on JupyterLab's dark page alike, the most that one colour can be on both."""
_RGB = ", ".join(str(int(INK[at : at + 2], 16)) for at in (1, 3, 5))
_MARKS = re.compile(r"</?b>|</span>|<span style='[^']*'>")
# plotly breaks no title, so in JupyterLab (and Voilà, and what nbconvert exports) the page's own words, which do, stand
# over the room of the title. The title stays in the figure, for elsewhere and for whoever downloads a picture.
_SHEET = f"""<style>
.jp-OutputArea .js-plotly-plot text[style*="fill: rgb({_RGB})"] {{ fill: var(--jp-content-font-color2) !important; }}
.ttk-titled {{ display: none; }}
@supports selector(:has(a)) {{
  .jp-OutputArea-child .ttk-titled {{
    display: block; padding: 10px 12px 4px; overflow-wrap: anywhere; color: var(--jp-content-font-color1);
    font: 700 17px/1.3 Inter, "Segoe UI", system-ui, -apple-system, "Helvetica Neue", "Noto Sans", Arial, sans-serif;
  }}
  .jp-OutputArea-child .ttk-titled p {{
    margin: 3px 0 0; font-size: 12.5px; font-weight: 400; color: var(--jp-content-font-color2);
  }}
  .jp-OutputArea-child:has(.ttk-titled) + .jp-OutputArea-child:has(.js-plotly-plot) .gtitle {{ display: none; }}
  .jp-OutputArea-child:has(.ttk-title-room-%d) + .jp-OutputArea-child:has(.js-plotly-plot) {{ margin-top: -%dpx; }}
}}
</style>"""


class Themed(go.Figure):  # type: ignore[misc]  # plotly is untyped
    """A plotly figure. In a notebook it brings a rule by which its grey words (INK) take the colour of the theme, and
    its title as words of the page, which are broken where the page is narrow."""

    def _ipython_display_(self) -> None:
        # plotly takes no variable of a style sheet as a colour, and sends no style sheet of its own.
        display = importlib.import_module("IPython.display").display  # loaded where this is called
        text = str(self.layout.title.text or "")
        room = title_room(text.split("<br>")) - 8 if text else 0
        said = f'<div class="ttk-titled ttk-title-room-{room}">{title_html(text, "div")}</div>' if text else ""
        display({"text/html": _SHEET % (room, room) + said}, raw=True)
        super()._ipython_display_()


def title_html(text: str, tag: str, *, class_: str = "") -> str:
    """The title of a figure in the house style as HTML: what is seen, and below it what kind of number it is.

    Args:
        text: the title, as plotly has it.
        tag: of the first of the two.
        class_: of the second.

    >>> title_html("<b>Mails go at <br>ten</b><br><span style='font-size:9px'><b>exact</b> · local time</span>", "h3")
    '<h3>Mails go at ten</h3><p><b>exact</b> · local time</p>'
    """
    lines = text.split("<br>")
    below = [line for line in lines if line.startswith("<span")]
    kind, _, rest = _words(below).partition(" · ")
    named = f" class={class_}" if class_ else ""
    told = f"<p{named}><b>{kind}</b>{f' · {rest}' if rest else ''}</p>" if below else ""
    return f"<{tag}>{_words(line for line in lines if not line.startswith('<span'))}</{tag}>{told}"


def title_room(lines: Sequence[str]) -> int:
    """Pixels that a title of these lines takes."""
    return 16 + 22 * len(lines)


def _words(lines: Iterable[str]) -> str:
    """Lines of a title as text: its own marks go, all else is escaped."""
    return escape(" ".join(_MARKS.sub("", line).strip() for line in lines))
