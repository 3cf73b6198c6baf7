"""What is in an event log, and what in it looks wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.typing import NaTType

from toolkit.events.database import fetch, fetch_row
from toolkit.events.naming import free_name
from toolkit.events.quoting import literal, name
from toolkit.events.suspicion import MANY_AT_ONCE, suspicious
from toolkit.readable import counted

__all__ = ["Profile", "events_by_day", "look"]

_FEW = 4
_MOST_KINDS = 100


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """What is in an event log.

    Attributes:
        events: how many events.
        customers: how many customers have events.
        known_customers: how many rows the customers table has.
        first: the first `at`, UTC; None for an empty log.
        last: the last `at`, UTC.
        days: days from first to last, both counted, UTC.
        empty_days: days in between without any event.
        longest_gap: the longest time between two successive events of the log.
        per_day: events per day.
        table: one row per event name: event, events, share_rate, customers, first, last (UTC), median_gap (timedelta
            between two successive such events of one customer), and `<property>_rate`, the share of these events that
            have the property (`share_property_rate` of a property called share).
        suspicious: what looks wrong, one sentence each.
        notes: what was repaired when the log was read.
    """

    events: int
    customers: int
    known_customers: int
    first: pd.Timestamp | None
    last: pd.Timestamp | None
    days: int
    empty_days: int
    longest_gap: pd.Timedelta | None
    per_day: float
    table: pd.DataFrame
    suspicious: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        parts = [*self._lines()]
        if self.events:
            parts += ["", self._shown().to_string(index=False)]
            parts += [self._more] if self._more else []
        for title, said in (("Looks wrong", self.suspicious), ("Noted when reading", self.notes)):
            if said:
                parts += ["", title, *(f"  - {sentence}" for sentence in said)]
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        line = "border:0;border-bottom:1px solid rgba(128,128,128,.35);padding:.2em .8em;background:none;color:inherit"
        shown = self._shown()
        sides = ["left" if column in ("event", "properties") else "right" for column in shown.columns]
        head = "".join(
            f'<th style="{line};text-align:{side}">{escape(str(column))}</th>'
            for column, side in zip(shown.columns, sides, strict=True)
        )
        body = "".join(
            '<tr style="background:none;color:inherit">'
            + "".join(
                f'<td style="{line};text-align:{side}">{escape(str(value))}</td>'
                for value, side in zip(row, sides, strict=True)
            )
            + "</tr>"
            for row in shown.itertuples(index=False)
        )
        table = (
            '<table style="border-collapse:collapse;margin:.6em 0;color:inherit;font:inherit">'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{escape(self._more)}"
            if self.events
            else ""
        )
        said = "".join(
            f"<div style='margin-top:.4em'><b>{title}</b><ul style='margin:.2em 0'>"
            + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
            + "</ul></div>"
            for title, sentences in (("Looks wrong", self.suspicious), ("Noted when reading", self.notes))
            if sentences
        )
        lines = "<br>".join(escape(text) for text in self._lines())
        return f'<div style="color:inherit;line-height:1.5">{lines}{table}{said}</div>'

    def _lines(self) -> list[str]:
        if self.first is None or self.last is None:
            return [f"no events, {counted(self.known_customers, 'customer')} in the customers table"]
        lines = [
            f"{counted(self.events, 'event')} of {counted(self.customers, 'customer')}, "
            f"{self.known_customers:,} in the customers table",
            f"{self.first:%Y-%m-%d %H:%M} to {self.last:%Y-%m-%d %H:%M} UTC, {counted(self.days, 'day')}, "
            f"{self.per_day:,.1f} events per day",
        ]
        if self.longest_gap is not None:
            lines.append(f"{counted(self.empty_days, 'day')} without events; longest gap {_span(self.longest_gap)}")
        return lines

    @property
    def _more(self) -> str:
        rest = len(self.table) - _MOST_KINDS
        return f"and {counted(rest, 'more kind')} of events, fewer of each; all are in .table" if rest > 0 else ""

    def _shown(self) -> pd.DataFrame:
        """The table in few columns and of the most frequent events, for reading."""
        table = self.table.head(_MOST_KINDS)
        rates = [column for column in table.columns if column.endswith("_rate") and column != "share_rate"]
        properties = []
        for _, row in table.iterrows():
            held = sorted(((row[rate], rate.removesuffix("_rate")) for rate in rates if row[rate] > 0), reverse=True)
            words = [prop if share == 1 else f"{prop} {_percent(share)}" for share, prop in held[:_FEW]]
            if len(held) > _FEW:
                words.append(f"and {len(held) - _FEW} more")
            properties.append(", ".join(words))
        return pd.DataFrame(
            {
                "event": table["event"],
                "events": [f"{count:,}" for count in table["events"]],
                "share": [_percent(share) for share in table["share_rate"]],
                "customers": [f"{count:,}" for count in table["customers"]],
                "first": [f"{moment:%Y-%m-%d}" for moment in table["first"]],
                "last": [f"{moment:%Y-%m-%d}" for moment in table["last"]],
                "median gap": [_span(gap) for gap in table["median_gap"]],
                "properties": properties,
            }
        )


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "<0.1%"
    return f"{100 * share:.1f}%" if share < 0.9995 or share == 1 else "99.9%"


def _span(length: pd.Timedelta | NaTType) -> str:
    if isinstance(length, NaTType):
        return "-"
    seconds = length.total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def look(
    cursor: duckdb.DuckDBPyConnection,
    relation: str,
    *,
    kinds: tuple[Mapping[str, str], Mapping[str, str]],
    notes: tuple[str, ...],
    now: pd.Timestamp,
) -> Profile:
    """The profile of a log.

    Args:
        cursor: on the log's database, with the customers registered as `customer_rows`.
        relation: the events, each once.
        kinds: of the properties, and of the customers' attributes: name to kind.
        notes: what was repaired when the log was read.
        now: the moment after which an event is in the future.
    """
    properties, attributes = kinds
    events, customers, first, last, days_with = fetch_row(
        cursor,
        'SELECT count(*), count(DISTINCT customer_id), min("at"), max("at"), count(DISTINCT date_trunc(\'day\', "at")) '
        f"FROM {relation}",
    )
    (known,) = fetch_row(cursor, "SELECT count(*) FROM customer_rows")
    days = 0 if first is None else (last.date() - first.date()).days + 1
    longest_gap, busy = _gap_and_busy(cursor, relation)
    return Profile(
        events=events,
        customers=customers,
        known_customers=known,
        first=_utc(first),
        last=_utc(last),
        days=days,
        empty_days=days - days_with,
        longest_gap=longest_gap,
        per_day=events / days if days else 0.0,
        table=_by_event(cursor, relation, properties, events),
        suspicious=suspicious(
            cursor,
            relation,
            properties=properties,
            attributes=attributes,
            events=events,
            busy=busy,
            now=now,
        ),
        notes=notes,
    )


def events_by_day(cursor: duckdb.DuckDBPyConnection, relation: str, event: str | None = None) -> pd.DataFrame:
    """One row per UTC day with an event, in order: day, events.

    Args:
        cursor, relation: as for `look`.
        event: events of one name; all unless given.
    """
    where = "" if event is None else f"WHERE event = {literal(event)}"
    query = f'SELECT CAST("at" AS DATE) AS day, count(*) AS events FROM {relation} {where} GROUP BY day ORDER BY day'
    frame: pd.DataFrame = fetch(cursor, query).to_pandas(date_as_object=False)
    return frame


def _utc(moment: object) -> pd.Timestamp | None:
    return None if moment is None else pd.Timestamp(str(moment)).tz_localize("UTC").as_unit("us")


def _gap_and_busy(
    cursor: duckdb.DuckDBPyConnection, relation: str
) -> tuple[pd.Timedelta | None, npt.NDArray[np.int64]]:
    """The longest time between two events, and the instants at which many happened, in microseconds."""
    moments = fetch(cursor, f'SELECT epoch_us("at") AS us FROM {relation}').column("us").to_numpy()
    moments = np.sort(moments)
    gaps = np.diff(moments)
    first = np.flatnonzero(np.diff(moments, prepend=moments[:1] - 1))  # of each instant
    busy = moments[first[np.diff(first, append=len(moments)) >= MANY_AT_ONCE]]
    # By way of NumPy, since pandas before 3 counts nanoseconds, which end after 292 years.
    return (pd.Timedelta(np.timedelta64(int(gaps.max()), "us")) if len(gaps) else None), busy


def _by_event(
    cursor: duckdb.DuckDBPyConnection, relation: str, properties: Mapping[str, str], events: int
) -> pd.DataFrame:
    taken = {"share"}
    rates = "".join(
        f", count({name(prop)}) / count(*) AS {name(free_name(prop, taken) + '_rate')}" for prop in properties
    )
    frame = fetch(
        cursor,
        f"SELECT event, count(*) AS events, count(*) / {max(events, 1)} AS share_rate, "
        'count(DISTINCT customer_id) AS customers, make_timestamptz(epoch_us(min("at"))) AS first, '
        f'make_timestamptz(epoch_us(max("at"))) AS last{rates} FROM {relation} GROUP BY event',
    ).to_pandas()
    table: pd.DataFrame = frame.assign(
        **{moment: frame[moment].dt.tz_convert("UTC") for moment in ("first", "last")}
    ).sort_values(["events", "event"], ascending=[False, True], ignore_index=True)
    # A hash stands for customer and event: sorting by one number takes half the time of sorting by two texts.
    gaps = fetch(
        cursor,
        "SELECT event, median(us - before) AS gap FROM (SELECT event, us, lag(us) OVER (PARTITION BY h ORDER BY us) "
        'AS before FROM (SELECT event, hash(customer_id, event) AS h, epoch_us("at") AS us '
        f"FROM {relation})) WHERE before IS NOT NULL GROUP BY event",
    ).to_pandas()
    lengths = gaps.set_index("event")["gap"].reindex(table["event"]).round().astype("Int64")
    table.insert(6, "median_gap", lengths.to_numpy("timedelta64[us]", na_value=np.timedelta64("NaT", "us")))
    return table
