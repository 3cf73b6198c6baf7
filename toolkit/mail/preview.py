"""What one mail looks like to its reader: desktop, phone, dark, without images, as text, with its headers."""

from __future__ import annotations

import html as html_entities
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, overload

from toolkit.errors import InputError, did_you_mean, shown
from toolkit.mail.letter import Letter, Mail
from toolkit.mail.screenshot import screenshot
from toolkit.mail.showing import frame, safe_html

__all__ = ["VIEWS", "Preview", "Previews"]

VIEWS = MappingProxyType(
    {
        "desktop": MappingProxyType({"width": 680, "dark": False, "images": True}),
        "phone": MappingProxyType({"width": 375, "dark": False, "images": True}),
        "desktop, dark": MappingProxyType({"width": 680, "dark": True, "images": True}),
        "phone, dark": MappingProxyType({"width": 375, "dark": True, "images": True}),
        "images off": MappingProxyType({"width": 680, "dark": False, "images": False}),
    }
)
"""The views that show the html: window width in px, dark mode, images. Beside them are `text` and `headers`."""

_HEIGHT = 640
_NUMBERS = itertools.count(1)
_FONT = "font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif"


@dataclass(frozen=True)
class Preview:
    """One mail as its reader sees it. In a notebook it shows itself; nothing in it is loaded from the network.

    Attributes:
        letter: the decision and its values.
        mail: subject, preheader, html and text, as rendered.
        message: the bytes that would go out; None where the program has no sender yet.
        note: why the mail is not quite what was asked for, for example not written in the reader's language.
    """

    letter: Letter
    mail: Mail
    message: bytes | None = None
    note: str = ""

    @property
    def text(self) -> str:
        """The text part."""
        return self.mail.text

    @property
    def headers(self) -> str:
        """The headers of the message, as they stand in it."""
        if self.message is None:
            return "No headers yet: policies.yaml has no sender."
        return self.message.partition(b"\r\n\r\n")[0].decode("utf-8", "replace").replace("\r\n", "\n")

    def html(self, *, dark: bool = False, images: bool = True) -> str:
        """The mail as a complete html document that runs nothing and loads nothing from outside.

        Args:
            dark: as in dark mode; False is light on every screen.
            images: grey tiles where images of the network stand; False leaves their alternative text.
        """
        return safe_html(self.mail.html, dark=dark, images=images)

    def frame(self, view: str = "desktop", *, height: int = _HEIGHT, scale: float = 1.0) -> str:
        """A sandboxed frame (an `<iframe srcdoc>`) with the mail in it.

        Args:
            view: one of `VIEWS`, or `text`, `headers`.
            height: of the frame in px, before it is scaled.
            scale: 1 is life size.

        Raises:
            InputError: no such view.
        """
        if view in ("text", "headers"):
            words = html_entities.escape(self.text if view == "text" else self.headers)
            page = (
                "<!doctype html><html><head></head><body style='margin:0;padding:20px 24px;background:#fff;color:#222'>"
                f"<pre style='margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font:14px/1.55 ui-monospace,Menlo,"
                f"Consolas,monospace'>{words}</pre></body></html>"
            )
            return frame(safe_html(page), width=680, height=height, label=f"{self.mail.subject}: {view}", scale=scale)
        options: Any = _view(view)
        document = self.html(dark=options["dark"], images=options["images"])
        return frame(document, width=options["width"], height=height, label=f"{self.mail.subject}: {view}", scale=scale)

    def png(
        self, path: str | Path, *, width: int = 680, dark: bool = False, images: bool = True, scale: float = 1.0
    ) -> Path:
        """A picture of the whole mail, taken by Chromium.

        Args:
            path: of the file to write.
            width: of the window, 280 to 1600 px.
            dark: in dark mode.
            images: grey tiles for images of the network; False leaves their alternative text.
            scale: pixels of the picture for one px of the page; 2 for fine screens.

        Returns:
            The path.

        Raises:
            InputError: a width that no window has, or no Chromium on this machine.
        """
        document = self.html(dark=dark, images=images)
        return screenshot(document, Path(path), width=width, scale=scale)

    def __str__(self) -> str:
        return f"To: {self.letter.to}\nSubject: {self.mail.subject}\nPreheader: {self.mail.preheader}\n\n{self.text}"

    def _repr_html_(self) -> str:
        name = f"jtk-mail-{next(_NUMBERS)}"
        views = [*VIEWS, "text", "headers"]
        inputs, labels, panes, rules = [], [], [], []
        for number, view in enumerate(views):
            checked = " checked" if number == 0 else ""
            inputs.append(f'<input type="radio" name="{name}" id="{name}-{number}"{checked}>')
            labels.append(f'<label for="{name}-{number}">{view.capitalize()}</label>')
            panes.append(f'<div class="pane">{self.frame(view)}</div>')
            rules.append(
                f"#{name}-{number}:checked~.panes>.pane:nth-child({number + 1}){{display:block}}"
                f"#{name}-{number}:checked~.tabs>label:nth-child({number + 1}){{background:#2b3a8f;color:#fff}}"
                f"#{name}-{number}:focus-visible~.tabs>label:nth-child({number + 1}){{outline:2px solid #f0a000}}"
            )
        style = _STYLE.replace("#it", f"#{name}") + "".join(rules)
        return (
            f'<div id="{name}"><style>{style}</style>{"".join(inputs)}{self._inbox()}'
            f'<div class="tabs">{"".join(labels)}</div><div class="panes">{"".join(panes)}</div></div>'
        )

    def _inbox(self) -> str:
        """The line as an inbox shows it."""
        sender = _sender_of(self.headers)
        note = f'<div class="note">{html_entities.escape(self.note)}</div>' if self.note else ""
        return (
            '<div class="inbox">'
            f'<span class="dot">{html_entities.escape(sender[:1].upper())}</span>'
            f'<span class="words"><b>{html_entities.escape(sender)}</b>'
            f"<b>{html_entities.escape(self.mail.subject)}</b>"
            f"<span>{html_entities.escape(self.mail.preheader)}</span></span></div>{note}"
        )


@dataclass(frozen=True)
class Previews(Sequence[Preview]):
    """Several mails side by side, for example all of a scenario.

    Attributes:
        previews: in the order they are shown.
        labels: of each.
    """

    previews: tuple[Preview, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.previews)

    @overload
    def __getitem__(self, number: int) -> Preview: ...
    @overload
    def __getitem__(self, number: slice) -> tuple[Preview, ...]: ...
    def __getitem__(self, number: int | slice) -> Preview | tuple[Preview, ...]:
        return self.previews[number]

    def __iter__(self) -> Iterator[Preview]:
        return iter(self.previews)

    def __str__(self) -> str:
        lines = []
        for label, one in zip(self.labels, self.previews, strict=True):
            lines += [f"{label}: {one.mail.subject}", *([f"  {one.note}"] if one.note else [])]
        return "\n".join(lines)

    def png(self, folder: str | Path, *, width: int = 680, dark: bool = False, scale: float = 1.0) -> tuple[Path, ...]:
        """One picture a mail, `NAME.LOCALE.png`, in a folder.

        Raises:
            InputError: as `Preview.png`.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        return tuple(
            one.png(place / f"{label.replace('/', '_').replace(', ', '.')}.png", width=width, dark=dark, scale=scale)
            for label, one in zip(self.labels, self.previews, strict=True)
        )

    def grid(self, view: str = "phone", *, scale: float = 0.6, height: int = 900) -> str:
        """All mails as small frames in rows, as html.

        Args:
            view: one of `VIEWS`, `text`, `headers`.
            scale: 1 is life size.
            height: of each frame in px, before it is scaled.

        Raises:
            InputError: no such view.
        """
        tiles = []
        for label, one in zip(self.labels, self.previews, strict=True):
            tiles.append(
                "<figure style='margin:0'>"
                "<div style='border:1px solid rgba(128,128,128,.35);border-radius:8px;overflow:hidden'>"
                f"{one.frame(view, scale=scale, height=height)}</div>"
                f"<figcaption style='max-width:{375 * scale:g}px;padding:6px 2px;font-size:12px;line-height:1.4'>"
                f"<b>{html_entities.escape(label)}</b><br>{html_entities.escape(one.mail.subject)}</figcaption></figure>"
            )
        return f"<div style='display:flex;flex-wrap:wrap;gap:20px;{_FONT}'>{''.join(tiles)}</div>"

    def _repr_html_(self) -> str:
        return self.grid()


def _view(name: str) -> Any:
    try:
        return VIEWS[name]
    except KeyError:
        choices = [*VIEWS, "text", "headers"]
        hint = did_you_mean(name, choices)
        raise InputError(f"preview: no view {shown(name)}; there are: {', '.join(map(repr, choices))}{hint}") from None


def _sender_of(headers: str) -> str:
    line = next((line for line in headers.split("\n") if line.startswith("From: ")), "")
    return line[6:].partition("<")[0].strip().strip('"') or line[6:] or "(no sender)"


_STYLE = (
    f"#it{{{_FONT};max-width:720px}}"
    "#it>input{position:absolute;opacity:0;pointer-events:none}"
    "#it .inbox{display:flex;gap:12px;align-items:center;padding:10px 12px;border:1px solid rgba(128,128,128,.35);"
    "border-radius:10px;margin-bottom:10px}"
    "#it .dot{flex:none;width:36px;height:36px;border-radius:50%;background:#2b3a8f;color:#fff;display:flex;"
    "align-items:center;justify-content:center;font-weight:600}"
    "#it .words{min-width:0;display:flex;flex-direction:column;font-size:14px;line-height:20px}"
    "#it .words>*{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}"
    "#it .words>span{opacity:.7}"
    "#it .note{font-size:13px;margin:-2px 2px 10px;opacity:.8}"
    "#it .tabs{display:flex;flex-wrap:wrap;gap:6px;margin-bottom:10px}"
    "#it .tabs>label{font-size:13px;line-height:18px;padding:5px 12px;border-radius:99px;cursor:pointer;"
    "border:1px solid rgba(128,128,128,.35)}"
    "#it .pane{display:none;border:1px solid rgba(128,128,128,.35);border-radius:10px;overflow:hidden;"
    "width:fit-content;max-width:100%}"
)
