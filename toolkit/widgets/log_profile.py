"""What is in a log, and what in it looks wrong, on one screen."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pandas as pd

from toolkit.charts.sends import days_text
from toolkit.charts.style import hours_text
from toolkit.charts.vector import Axes, nice_steps, shape, svg
from toolkit.events import EventLog
from toolkit.events.profile import Profile, events_by_day
from toolkit.readable import counted, day_text
from toolkit.widgets.guard import told
from toolkit.widgets.jobs import Jobs
from toolkit.widgets.markup import Html, at_widths, card, chip, note, tag, together, word_room
from toolkit.widgets.panel import Panel

__all__ = ["LogProfile"]

_MOST_KINDS = 100
_SOON = 100_000  # events that are looked at before the cell ends


class LogProfile(Panel):
    """A log on one screen: size, span, events by day, kinds of events, and what looks wrong.

    A large log is looked at beside the notebook; the screen says so until it is done.

    Args:
        log: what customers did.
        now: the moment after which an event is in the future, with a time zone; the present by default.

    Attributes:
        value: the `Profile`, frozen; None until it is made.
    """

    def __init__(self, log: EventLog, *, now: datetime | str | None = None) -> None:
        self._events, self._now = log, now
        self._profile: Profile | None = None
        self._days = pd.DataFrame({"day": [], "events": []})
        self._chosen: str | None = None
        self._jobs = Jobs()
        super().__init__(title="Log profile")
        if len(log) <= _SOON:
            self._take(self._look())
        else:
            self._jobs.start(lambda job: self._look(), done=self._take, failed=self._failed)
            self.redraw()

    @property
    def value(self) -> Profile | None:
        """The profile."""
        return self._profile

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until the log was looked at."""
        self._jobs.wait(seconds)

    def act_event(self, value: Any) -> None:
        """Show one kind of events by day, or all again."""
        self._chosen = None if value == self._chosen else str(value)
        self._days = self._by_day(self._chosen)

    def _look(self) -> tuple[Profile, pd.DataFrame]:
        return self._events.profile(now=self._now), self._by_day(None)

    def _by_day(self, event: str | None) -> pd.DataFrame:
        return events_by_day(self._events.cursor(), self._events.relation, event)

    def _take(self, found: tuple[Profile, pd.DataFrame]) -> None:
        with self._lock:
            self._profile, self._days = found
            self.guarded_draw()
            self.changed()

    def _failed(self, fault: BaseException) -> None:
        self.error = told(fault)

    def body(self) -> Html:
        """The profile, or that it is being made."""
        found = self._profile
        if found is None:
            words = tag("span", "looking at every event…", class_="ttk-soft", role="status")
            return tag("header", tag("h3", "Your log"), words)
        span = days_text(found.first, found.last) if found.first is not None and found.last is not None else "no events"
        head = tag("header", tag("h3", "Your log"), tag("span", chip("exact"), f" {span}", class_="ttk-soft"))
        if not found.events or found.first is None:
            return together(
                [head, note("The log is empty: no event was read. Check the file, and columns=.", tone="careful")]
            )
        known = f"{found.known_customers:,} in the customers table" if found.known_customers else "no customers table"
        cards = tag(
            "div",
            card("Events", f"{found.events:,}", f"{found.per_day:,.0f} a day"),
            card("Customers", f"{found.customers:,}", known),
            card("Days", f"{found.days:,}", f"{found.empty_days:,} without events"),
            card("Longest gap", _gap_text(found.longest_gap), "between two events"),
            class_="ttk-cards",
        )
        findings = [note(sentence, tone="careful") for sentence in found.suspicious]
        findings += [note(sentence) for sentence in found.notes]
        if not findings:
            findings = [note("Nothing looks wrong.", tone="good")]
        return together(
            [head, cards, tag("div", together(findings), class_="ttk-gap"), self._picture(), self._kinds(found)]
        )

    def _picture(self) -> Html:
        every = _days_in_bar(self._days)
        what = f"{self._chosen or 'All events'} by day (UTC)" + (f", {every} days in a bar" if every > 1 else "")
        return tag(
            "figure",
            tag("figcaption", tag("b", what), " ", chip("exact")),
            at_widths(lambda width: _bars(self._days, width), 1060),
            class_="ttk-figure ttk-gap",
        )

    def _kinds(self, found: Profile) -> Html:
        rows = []
        most = max(int(count) for count in found.table["events"])
        room = word_room(found.table["event"].head(_MOST_KINDS))
        rates = [name for name in map(str, found.table) if name.endswith("_rate") and name != "share_rate"]
        for row in found.table.head(_MOST_KINDS).to_dict("records"):
            held = [name.removesuffix("_rate") for name in rates if row[name] > 0]
            bar = tag("div", tag("div", style=f"width:{100 * row['events'] / most:.1f}%"), class_="ttk-bar ttk-inline")
            is_chosen = row["event"] == self._chosen
            # The whole row can be pressed; keys and screen readers have a button in it, and the row stays a row.
            press: dict[str, Any] = {"data_act": "event", "data_value": row["event"]}
            name = tag("button", row["event"], type="button", aria_pressed=str(is_chosen).lower(), **press)
            rows.append(
                tag(
                    "tr",
                    tag("td", name, class_="ttk-pick", style=room),
                    tag("td", bar, class_="ttk-optional"),
                    tag("td", f"{row['events']:,}", class_="ttk-number"),
                    tag("td", f"{row['customers']:,}", class_="ttk-number"),
                    tag("td", ", ".join(held[:5]) + (" …" if len(held) > 5 else ""), class_="ttk-soft ttk-optional"),
                    class_="ttk-chosen" if is_chosen else None,
                    **press,
                )
            )
        names = ("event", "", "events", "customers", "properties")
        sides = (None, "ttk-optional", "ttk-number", "ttk-number", "ttk-optional")
        head = tag(
            "tr",
            together(
                tag("th" if name else "td", name, scope="col" if name else None, class_=side)
                for name, side in zip(names, sides, strict=True)
            ),
        )
        more = len(found.table) - _MOST_KINDS
        rest = note(f"and {counted(more, 'more kind')} of events, fewer of each") if more > 0 else None
        return tag(
            "div",
            tag("table", tag("thead", head), tag("tbody", together(rows))),
            rest,
            class_="ttk-table ttk-gap",
            tabindex=0,
            role="region",
            aria_label="Kinds of events",
            data_scroll="kinds",
        )


def _gap_text(gap: pd.Timedelta | None) -> str:
    """How long nothing happened, in the unit that fits."""
    if gap is None:
        return "–"
    seconds = gap.total_seconds()
    return f"{seconds:.0f} s" if seconds < 60 else hours_text(seconds / 3600)


def _days_in_bar(days: pd.DataFrame) -> int:
    """How many days a bar has, so that there are at most 180."""
    return len(pd.date_range(days["day"].min(), days["day"].max())) // 180 + 1 if len(days) else 1


def _bars(days: pd.DataFrame, width: float) -> str:
    if not len(days):
        return ""
    counts = days.set_index("day")["events"]
    every = _days_in_bar(days)
    counts = counts.resample(f"{every}D").sum()
    top = float(counts.max()) or 1.0
    axes = Axes(width, 170, (0, len(counts)), (0, top * 1.05), left=54)
    most = 8 if width > 600 else 4
    ticks = [(at + 0.5, day_text(counts.index[at], "%b")) for at in range(0, len(counts), max(1, len(counts) // most))]
    parts = axes.frame(x_ticks=ticks, y_ticks=[(step, f"{step:,.0f}") for step in nice_steps(0, top, 4, whole=True)])
    floor = axes.at_y(0)
    bars = "".join(
        f"M{axes.at_x(at + 0.08):.1f} {floor:.1f}V{axes.at_y(float(count)):.1f}H{axes.at_x(at + 0.92):.1f}V{floor:.1f}Z"
        for at, count in enumerate(counts)
    )
    parts.append(shape("path", d=bars, class_="ttk-mail-0"))
    unit = "day" if every == 1 else f"{every} days"
    return svg(width, 170, *parts, label=f"Bars: events by {unit}, at most {top:,.0f}")
