"""One customer's story: what they did, what the scenarios decided, and why; with a search."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from toolkit.charts.vector import path_of, shape, svg, words
from toolkit.engine import Run
from toolkit.engine.sends import people_reached
from toolkit.engine.trace import Trace
from toolkit.errors import EventLogError, InputError, did_you_mean
from toolkit.readable import day_text
from toolkit.widgets.markup import Html, at_widths, button, chip, field, note, tag, together
from toolkit.widgets.panel import Panel

__all__ = ["TraceView"]

_KINDS = (("event", "Events", "·"), ("journey", "Journeys", "▸"), ("mail", "Mails", "✉"), ("no mail", "Not sent", "✕"))
_MOST_ROWS = 400
_MOST_PEOPLE = 5_000  # that are led through one by one; anybody can be searched for


class TraceView(Panel):
    """One customer's timeline in a replay, with every decision and its reason. Exact.

    Args:
        run: a replay.
        customer: whom to begin with; someone with a mail unless given.

    Attributes:
        value: the `Trace` shown, frozen; None where the log holds nobody.
        customer: whose it is.

    Raises:
        InputError: no such customer, with the nearest.
    """

    def __init__(self, run: Run, customer: object | None = None) -> None:
        self.run = run
        self._shown = {kind for kind, _, _ in _KINDS}
        self._typed = ""
        self._said = ""
        reached = people_reached(run)
        self._reached = len(reached)
        self._people = [str(one) for one in reached[:_MOST_PEOPLE].to_pylist()]
        self._trace: Trace | None = None
        self.customer = ""
        super().__init__(title="Customer timeline")
        first = customer if customer is not None else next(iter(self._people), None)
        if first is not None:
            self.show(first)
        self.redraw()

    @property
    def value(self) -> Trace | None:
        """The trace shown."""
        return self._trace

    def show(self, customer: object) -> None:
        """Show someone else.

        Raises:
            InputError: no such customer, with the nearest.
        """
        name = str(customer).strip()
        try:
            self._trace = self.run.trace(customer)
        except EventLogError:
            raise
        except InputError as fault:
            raise InputError(f"{fault}" + did_you_mean(name, self._people)) from None
        self.customer, self._typed, self._said = name, "", ""
        self.redraw()
        self.changed()

    def act_find(self, value: Any) -> None:
        """Someone was typed."""
        if str(value).strip():
            self._typed = str(value)
            self.show(str(value).strip())

    def act_move(self, value: Any) -> None:
        """The next, or the one before, of those who came to a mail."""
        if not self._people:
            raise InputError("nobody in this replay came to a mail")
        at = self._people.index(self.customer) if self.customer in self._people else -1
        self.show(self._people[(at + int(value)) % len(self._people)])

    def act_kind(self, value: Any) -> None:
        """Show or hide a kind of rows."""
        self._shown ^= {str(value)}

    def body(self) -> Html:
        """The search, the strip of time, and the rows by day."""
        find = tag(
            "div",
            field("Customer", "find", self._typed or self.customer, size=14, placeholder="customer id"),
            tag(
                "div",
                button("‹ Before", "move", value=-1, off=not self._people),
                button("Next ›", "move", value=1, off=not self._people),
                class_="ttk-row",
            ),
            tag("span", f"{self._reached:,} people came to a mail{self._paged()}", class_="ttk-detail"),
            class_="ttk-row ttk-end",
        )
        zone = self._trace.timezone if self._trace is not None else ""
        head = tag(
            "header",
            tag("h3", f"Customer {self.customer}" if self.customer else "Customer timeline"),
            tag("span", chip("exact"), f" local time, {zone}" if zone else "", class_="ttk-soft"),
        )
        if self._trace is None:
            words_ = note("Nobody in this replay came to a mail; search for a customer by id.")
            return together([head, find, tag("div", words_, class_="ttk-gap")])
        table = self._trace.table
        kinds = tag(
            "div",
            together(
                button(
                    f"{sign} {title} {int((table['kind'] == kind).sum()):,}",
                    "kind",
                    value=kind,
                    aria_pressed=str(kind in self._shown).lower(),
                )
                for kind, title, sign in _KINDS
            ),
            class_="ttk-row ttk-gap",
            role="group",
            aria_label="What is shown",
        )
        return together([head, find, at_widths(lambda width: _strip(table, width), 1060), kinds, self._rows(table)])

    def _paged(self) -> str:
        return f"; Next leads through the first {_MOST_PEOPLE:,}" if self._reached > _MOST_PEOPLE else ""

    def _rows(self, table: pd.DataFrame) -> Html:
        kept = table[table["kind"].isin(self._shown)]
        rest = len(kept) - _MOST_ROWS
        days = []
        for day, rows in groupby(kept.head(_MOST_ROWS).itertuples(), key=_day):
            entries = together(
                tag(
                    "li",
                    tag("time", f"{row.local:%H:%M}"),
                    tag(
                        "span",
                        next(sign for kind, _, sign in _KINDS if kind == row.kind),
                        class_="ttk-mark",
                        aria_hidden="true",
                    ),
                    tag("span", str(row.what)),
                    class_=f"ttk-row-{str(row.kind).replace(' ', '-')}",
                )
                for row in rows
            )
            days.append(tag("div", tag("h4", day), tag("ul", entries), class_="ttk-day"))
        more = tag("p", f"and {rest:,} more rows", class_="ttk-detail") if rest > 0 else None
        empty = tag("p", "Nothing of this kind.", class_="ttk-detail") if not days else None
        return tag(
            "div",
            together([*days, more, empty]),
            class_="ttk-timeline",
            tabindex=0,
            role="region",
            aria_label="What happened",
            data_scroll="rows",
        )


def _day(row: Any) -> str:
    return f"{row.local:%a} {day_text(row.local)}"


_COLORS = {"event": "ttk-mail-3", "journey": "ttk-before", "mail": "ttk-mail-0", "no mail": "ttk-gift"}


_CROSS = ((-4.5, -3), (-3, -4.5), (0, -1.5), (3, -4.5), (4.5, -3), (1.5, 0))


def _mark(kind: str, x: float, y: float) -> str:
    """A moment on the line: dots are events, triangles journeys, squares mails, crosses mails not sent."""
    color = _COLORS[kind]
    if kind == "event":
        return shape("circle", cx=x, cy=y, r=3, class_=color)
    if kind == "mail":
        return shape("rect", x=x - 4, y=y - 4, width=8, height=8, class_=color)
    half = [(-3.5, -5), (5, 0), (-3.5, 5)] if kind == "journey" else [*_CROSS, *((-left, -up) for left, up in _CROSS)]
    return shape("path", d=path_of([(x + right, y + down) for right, down in half]) + "Z", class_=color)


def _strip(table: pd.DataFrame, width: float) -> str:
    """All moments on one line of time."""
    if not len(table):
        return ""
    height = 64.0
    at = table["at"].astype("int64").to_numpy().astype(float)
    low, high = float(at.min()), float(at.max())
    span = (high - low) or 1.0
    parts = [shape("line", x1=10, x2=width - 10, y1=40, y2=40, class_="ttk-grid")]
    for kind, level in (("event", 40), ("journey", 40), ("no mail", 22), ("mail", 22)):
        # Of moments that lie on one another one is drawn.
        places = 10 + (at[(table["kind"] == kind).to_numpy()] - low) / span * (width - 20)
        for x in np.unique(places.round(1)).tolist():
            parts.append(_mark(kind, x, level))
            if kind == "mail":
                parts.append(shape("line", x1=x, x2=x, y1=26, y2=40, class_="ttk-grid"))
    first, last = table["local"].iloc[0], table["local"].iloc[-1]
    parts.append(words(10, 60, day_text(first)))
    parts.append(words(width - 10, 60, day_text(last), anchor="end"))
    return svg(
        width, height, *parts, label=f"{len(table)} moments from {first.day} {first:%b} to {last.day} {last:%b %Y}"
    )
