"""One customer's timeline: what they did, what the program did, and for every mail why it went or not."""

from __future__ import annotations

import bisect
import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.drawable import Drawable
from toolkit.engine import layout as m
from toolkit.engine.layout import Ints
from toolkit.errors import InputError, is_text, shown
from toolkit.events import EventLog
from toolkit.events.marks import events_of
from toolkit.readable import short_text
from toolkit.tables import ENDINGS, REASONS

if TYPE_CHECKING:
    from toolkit.engine.run import Run

__all__ = ["Trace", "check_known", "trace_of"]

_ENDED = {
    "finished": "ends: all steps done",
    "exited": "ends: an exit event came",
    "unsubscribed": "ends: the customer unsubscribed",
}
_WHY = {
    "no_address": "no address",
    "suppressed": "the address is suppressed after a hard bounce",
    "unsubscribed": "no consent to marketing mail",
    "exited": "the journey ended while the mail was held",
    "quiet_expired": "held by quiet hours for more than 72 hours",
    "cap": "the limit of mails a person was reached",
    "holdout": "withheld: control group",
    "superseded": "a new trigger began the journey again while the mail was held",
    "coupon_empty": "no coupon was left",
}
_MOST_SHOWN = 2_000
_UNTOLD = ("event", "at", "received_at", "event_id", "decision_id", "row")
"""Columns of an event that a story leaves out: told in another way, or numbers of machines."""
_SIGNS = {"event": "·", "journey": "▸", "mail": "✉", "no mail": "✕"}


@dataclass(frozen=True, eq=False)
class Trace(Drawable):
    """What happened to one customer.

    customer_id: who. timezone: the zone of the local times shown.
    table: one row per moment in order: at (UTC), local, kind (event, journey, mail, no mail), scenario, what.
    notes: why nothing begins where nothing can.
    """

    customer_id: str
    timezone: str
    table: pd.DataFrame
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        first, between, last = self._shown()
        lines = [
            [f"  {r.local:%Y-%m-%d %H:%M}  {_SIGNS[str(r.kind)]} {r.what}" for r in part] for part in (first, last)
        ]
        middle = [f"  {between}"] if between else []
        notes = [f"  note: {note}" for note in self.notes]
        return "\n".join([f"{self.customer_id} ({self.timezone})", *lines[0], *middle, *lines[1], *notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        shade = {"event": "opacity:.75", "journey": "", "mail": "font-weight:600", "no mail": "font-style:italic"}
        first, between, last = self._shown()
        parts = [
            "".join(
                f"<tr style='{shade[str(row.kind)]}'><td>{row.local:%Y-%m-%d %H:%M}</td>"
                f"<td>{_SIGNS[str(row.kind)]}</td><td style='text-align:left'>{html.escape(str(row.what))}</td></tr>"
                for row in part
            )
            for part in (first, last)
        ]
        rows = f"<tr><td colspan='3'>{between}</td></tr>".join(parts) if between else "".join(parts)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        who = f"<p><b>{html.escape(self.customer_id)}</b> ({html.escape(self.timezone)})</p>"
        return f"{who}<table>{rows}</table>{notes}"

    def _shown(self) -> tuple[list[Any], str, list[Any]]:
        """The first rows, what is said of those between, and the last: of a robot nobody reads each of its events."""
        half = _MOST_SHOWN // 2
        rest = len(self.table) - 2 * half
        if rest <= 0:
            return list(self.table.itertuples()), "", []
        between = f"… {rest:,} more in between; all are in .table"
        return list(self.table.head(half).itertuples()), between, list(self.table.tail(half).itertuples())


def trace_of(run: Run, customer_id: str) -> Trace:
    """The timeline of one customer in a run."""
    if not is_text(customer_id):
        raise InputError(f"no customer {shown(customer_id)} in the log")
    marked = run.marked
    events = events_of(run.log, customer_id)
    events = events[events["received_at"] <= run.until]
    place = pc.index(marked.customers, pa.scalar(customer_id, marked.customers.type)).as_py()
    if place < 0 and not len(events):
        check_known(run.log, customer_id)
    rows = list(_event_rows(events))
    zone = run.program.policies.timezone
    if place >= 0:
        zone = run.zone_of(place)
        rows += _journey_rows(run, place)
    table = pd.DataFrame(rows, columns=["at", "order", "kind", "scenario", "what"])
    table["at"] = pd.to_datetime(table["at"], utc=True)
    table = table.sort_values(["at", "order"], kind="stable", ignore_index=True)
    table.insert(1, "local", table["at"].dt.tz_convert(ZoneInfo(zone)))
    return Trace(customer_id, zone, table.drop(columns="order"), _notes(run, customer_id, events))


def _notes(run: Run, customer_id: str, events: pd.DataFrame) -> tuple[str, ...]:
    """Why no marketing scenario begins: the customers table has no consent, and no event tells another."""
    people = run.log.customer_table
    if "consent" not in people.column_names or not any(one.class_ == "marketing" for one in run.program.scenarios):
        return ()
    told = events["event"].isin(("email_subscribed", "customer_updated"))
    place = pc.index(people.column("customer_id"), pa.scalar(customer_id, people.schema.field("customer_id").type))
    given = place.as_py() >= 0 and people.column("consent")[place.as_py()].as_py()
    if given or told.any():
        return ()
    why = "has no consent of this customer" if place.as_py() >= 0 else "does not have this customer"
    return (f"the customers table {why}, so that no marketing scenario begins",)


def check_known(log: EventLog, customer_id: str) -> None:
    """Nothing where somebody of that id is in the log, with events or without.

    Raises:
        InputError: nobody is.
    """
    column = log.customer_table.column("customer_id")
    if pc.index(column, pa.scalar(customer_id, column.type)).as_py() < 0 and not len(events_of(log, customer_id)):
        raise InputError(f"no customer {shown(customer_id)} in the log{_with_other_zeros(log, customer_id)}")


def _with_other_zeros(log: EventLog, customer_id: str) -> str:
    """The customers who have the same id but for zeros before it, which a spreadsheet takes away."""
    alike = log.named_but_for_zeros(customer_id)
    return f"; did you mean {' or '.join(map(repr, alike))}?" if alike else ""


def _event_rows(events: pd.DataFrame) -> Iterator[tuple[pd.Timestamp, int, str, str, str]]:
    details = [name for name in events.columns if name not in _UNTOLD]
    for row in events.to_dict("records"):
        said = ", ".join(f"{name}={short_text(row[name])}" for name in details if not pd.isna(row[name]))
        late = row["received_at"] - row["at"]
        note = f" (received {_length(late)} later)" if late > pd.Timedelta(0) else ""
        yield row["received_at"], 0, "event", "", f"{row['event']}{f': {said}' if said else ''}{note}"


def _length(time: pd.Timedelta) -> str:
    """A length of time in its two largest units.

    >>> _length(pd.Timedelta(hours=5, minutes=55, seconds=49))
    '5 h 55 min'
    """
    parts = time.components
    units = [(parts.days, "d"), (parts.hours, "h"), (parts.minutes, "min"), (parts.seconds, "s")]
    return " ".join(f"{count} {unit}" for count, unit in [one for one in units if one[0]][:2]) or "less than a second"


def _journey_rows(run: Run, place: int) -> list[tuple[pd.Timestamp, int, str, str, str]]:
    walked, compiled = run.walked, run.compiled
    rows = []
    # Journeys stand by customer, and the decisions of one customer stand together.
    mine = np.arange(*(_first(walked.journeys, m.J_CUSTOMER, at_least) for at_least in (place, place + 1)))
    ends = (int(mine[0]), int(mine[-1]) + 1) if len(mine) else (0, 0)
    chosen = np.arange(*(_first(walked.decisions, m.D_JOURNEY, at_least) for at_least in ends))
    superseded: dict[tuple[int, int], int] = {}
    for journey in mine:
        row = walked.journeys[journey]
        name = compiled.scenarios[row[m.J_SCENARIO]].scenario
        arms = compiled.arms[row[m.J_SCENARIO]]
        arm = f" (arm {arms[row[m.J_ARM]]})" if row[m.J_ARM] >= 0 else ""
        again = f"{name} begins again: a new trigger restarts it{arm}"
        of = int(row[m.J_SCENARIO]), int(row[m.J_KEY])
        renewed = superseded.pop(of, None) == row[m.J_ENTERED]
        if row[m.J_ENDED_BY] == m.END_SUPERSEDED:
            superseded[of] = int(row[m.J_ENDED])
        rows.append((_moment(row[m.J_ENTERED]), 2, "journey", name, again if renewed else f"{name} begins{arm}"))
        reached = set()
        for decision in walked.decisions[chosen[walked.decisions[chosen, m.D_JOURNEY] == journey]]:
            rows.append(_decision_row(run, name, decision))
            reached.add(int(decision[m.D_SEND]))
        rows += _end_rows(run, row, name, reached)
    return rows


def _first(rows: Ints, column: int, at_least: int) -> int:
    """The first row whose column is at least so large, all before it being smaller."""
    return bisect.bisect_left(range(len(rows)), at_least, key=lambda row: int(rows[row, column]))


def _decision_row(run: Run, name: str, decision: Ints) -> tuple[pd.Timestamp, int, str, str, str]:
    send = run.compiled.sends[decision[m.D_SEND]]
    at = _moment(decision[m.D_AT])
    held = decision[m.D_AT] - decision[m.D_DUE]
    zone = ZoneInfo(run.zone_of(run.walked.journeys[decision[m.D_JOURNEY], m.J_CUSTOMER]))
    note = f", held since {_moment(decision[m.D_DUE]).tz_convert(zone):%Y-%m-%d %H:%M}" if held > 0 else ""
    if decision[m.D_STATUS] == m.STATUS_SEND:
        return at, 3, "mail", name, f"{send.template} sent{note}"
    why = _WHY[REASONS[decision[m.D_REASON]]]
    return at, 3, "no mail", name, f"{send.template} not sent: {why}{note}"


def _end_rows(run: Run, row: Ints, name: str, reached: set[int]) -> list[tuple[pd.Timestamp, int, str, str, str]]:
    """How the journey ended, and the mails it did not come to."""
    missed = [
        send.template
        for place, send in enumerate(run.compiled.sends)
        if send.scenario == name and place not in reached and _is_for(run, row, send.arms)
    ]
    ended_by = ENDINGS[row[m.J_ENDED_BY]]
    if ended_by == "superseded":  # its successor's line says so
        return []
    if ended_by == "open":
        text, at, order = "is still under way", run.until, 5
    else:
        at_once = row[m.J_ENDED] == row[m.J_ENTERED]  # a trigger learned of after its exit
        text, at, order = _ENDED[ended_by], _moment(row[m.J_ENDED]), 4 if ended_by == "finished" or at_once else 1
    rows = [(at, order, "journey", name, f"{name} {text}")]
    if missed and ended_by in ("exited", "unsubscribed"):
        rows.append((at, order, "no mail", name, f"not reached any more: {', '.join(missed)}"))
    return rows


def _is_for(run: Run, row: Ints, arms: tuple[str, ...]) -> bool:
    names = run.compiled.arms[row[m.J_SCENARIO]]
    return not arms or (row[m.J_ARM] >= 0 and names[row[m.J_ARM]] in arms)


def _moment(micros: int) -> pd.Timestamp:
    return pd.Timestamp(int(micros), unit="us", tz="UTC")
