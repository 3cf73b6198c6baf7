"""What in an event log looks wrong: one small look each, one sentence out of each."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from zoneinfo import available_timezones

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from toolkit.events.database import fetch_row, fetch_rows
from toolkit.events.kinds import EMPTY, spelled_as, spellings
from toolkit.events.quoting import literal, name
from toolkit.readable import counted

__all__ = ["MANY_AT_ONCE", "suspicious"]

_LARGE_SHARE = 0.05
_FEW_CUSTOMERS = 50
_BUSY_DAY = 500
MANY_AT_ONCE = 20
_CROWD = 0.01
_MANY_OF_A_KIND = 100
_LARGE_KIND = 0.1
_LATE = 0.25
_FEW_BELOW = 0.1
_MANY_KINDS = 200
_LAST = pd.Timestamp("9999-12-30")
# Names of things are rightly text, even when they are digits.
_ID_ENDINGS = ("id", "code", "zip", "number", "phone", "sku", "postcode")
# Of the answers to mails, which are read with a log whether or not anybody answered.
_OF_ANSWERS = ("verdict", "verdict_rule", "link", "bounce_type")
_CURRENCY = r"(EUR|USD|GBP|CHF|[^0-9A-Za-z.,' -]{1,2})?"
_BY_COMMA = ", as EventLog.from_csv(path, decimal=',') reads them"
_AMOUNT = rf"\s*{_CURRENCY}\s*[+-]?\s*[0-9]{{1,3}}([.' ]?[0-9]{{3}})*([.,][0-9]+)?\s*{_CURRENCY}\s*"
_DATE = r"\s*[0-9]{1,2}([./-])[0-9]{1,2}[./-]([0-9]{4}|[0-9]{2})([ T,]+[0-9:. ]+([AaPp][Mm])?)?\s*"
_ADDRESS = r"[^@\s]+@[^@\s]+\.[^@\s.]+"
# Of letters of Greek and Cyrillic, and of dashes, what they look like.
_LOOKS_LIKE = str.maketrans(
    "аеорсхуіјѕԁһкмтАВЕКМНОРСТХ" + "οανικρτΑΒΕΖΗΙΚΜΝΟΡΤΥΧ" + "‐‑–—−",
    "aeopcxyijsdhkmtABEKMHOPCTX" + "oavikptABEZHIKMNOPTYX" + "-----",
)
_MISSING_WORDS = ("", "nan", "none", "null", "na", "n/a", "undefined", "unknown", "0", "-1", "anonymous")


def suspicious(
    cursor: duckdb.DuckDBPyConnection,
    relation: str,
    *,
    properties: Mapping[str, str],
    attributes: Mapping[str, str],
    events: int,
    busy: npt.NDArray[np.int64],
    now: pd.Timestamp,
) -> tuple[str, ...]:
    """What looks wrong in a log, one sentence each.

    Args:
        cursor: on the log's database, with the customers registered as `customer_rows`.
        relation: the events, each once.
        properties: name to kind.
        attributes: name to kind.
        events: how many events there are.
        busy: the instants with at least `MANY_AT_ONCE` events, in microseconds.
        now: the moment after which an event is in the future.
    """
    found = [*_customers_table(cursor, relation, attributes)]
    if events:
        # No property, whatever it is called, stands beside the names that these give.
        named = f'(SELECT customer_id, event, "at" FROM {relation})'
        found = [
            *_times(cursor, named, now, events),
            *_late_kinds(cursor, named, events),
            *_customers(cursor, named, events),
            *(_at_one_instant(cursor, named, busy, events) if len(busy) else ()),
            *_names(cursor, named),
            *_properties(cursor, relation, properties),
            *found,
        ]
    return tuple(found)


def _times(cursor: duckdb.DuckDBPyConnection, relation: str, now: pd.Timestamp, events: int) -> Iterator[str]:
    tomorrow = str(min(now.tz_convert("UTC").tz_localize(None), _LAST) + pd.Timedelta(days=1))
    clock = 'epoch_us("at") % 86400000000'
    old, future, latest, earliest_hour, latest_hour = fetch_row(
        cursor,
        "SELECT count(*) FILTER (\"at\" < TIMESTAMP '1990-01-01'), "
        f'count(*) FILTER ("at" > TIMESTAMP \'{tomorrow}\'), max("at"), min({clock}), max({clock}) FROM {relation}',
    )
    if old:
        yield f"{counted(old, 'event')} before 1990: a missing time may have been written as 1970-01-01"
    if future:
        yield f"{counted(future, 'event')} in the future, up to {latest:%Y-%m-%d %H:%M} UTC"
    # To count the hours themselves takes fifteen times as long.
    other = f"SELECT count(*) FROM {relation} WHERE {clock} NOT IN ({earliest_hour}, {latest_hour})"
    if events >= 100 and not fetch_row(cursor, other)[0]:
        yield "all times fall on the same time of day: they look like dates, so waits of hours mean little here"


def _late_kinds(cursor: duckdb.DuckDBPyConnection, relation: str, events: int) -> Iterator[str]:
    """Tables of another age under one another, as accounts of ten years and the carts of a quarter."""
    late = fetch_rows(
        cursor,
        f'WITH kinds AS (SELECT event, count(*) AS n, min("at") AS first FROM {relation} GROUP BY event), '
        f'whole AS (SELECT min("at") AS begun, max("at") AS ended FROM {relation}) '
        "SELECT event, first, date_diff('day', begun, first) FROM kinds, whole "
        f"WHERE n >= {_MANY_OF_A_KIND} AND n >= {_LARGE_KIND * events} AND date_diff('day', begun, first) >= 28 "
        f"AND first - begun > {_LATE} * (ended - begun) ORDER BY n DESC, event",
    )
    if late:
        names = ", ".join(repr(event) for event, _, _ in late)
        begun = f"{min(first for _, first, _ in late):%Y-%m-%d}"
        days = min(days for _, _, days in late)
        yield (
            f"{names} begin{'s' * (len(late) == 1)} {days:,} days after the log, on {begun}: what is told by week or "
            "by day counts the days before, too; begin the log there, for example with "
            f"events[events['at'] >= '{begun}']"
        )


def _customers(cursor: duckdb.DuckDBPyConnection, relation: str, events: int) -> Iterator[str]:
    (customers,) = fetch_row(cursor, f"SELECT count(DISTINCT customer_id) FROM {relation}")
    if customers >= _FEW_CUSTOMERS:
        large = fetch_rows(
            cursor,
            f"SELECT customer_id, count(*) AS n FROM {relation} GROUP BY customer_id "
            f"HAVING n > {_LARGE_SHARE * events} ORDER BY n DESC, customer_id LIMIT 3",
        )
        for customer, count in large:
            yield f"customer {customer!r} has {100 * count / events:.0f}% of all events"
    busy = fetch_rows(
        cursor,
        "SELECT customer_id, count(*) AS n, date_trunc('day', \"at\") AS day, count(*) OVER () AS others "
        f"FROM {relation} SEMI JOIN (SELECT customer_id FROM {relation} GROUP BY customer_id "
        f"HAVING count(*) > {_BUSY_DAY}) USING (customer_id) GROUP BY customer_id, day HAVING n > {_BUSY_DAY} "
        "ORDER BY n DESC, customer_id LIMIT 1",
    )
    for customer, count, day, others in busy:
        yield (
            f"customer {customer!r} has {count:,} events on {day:%Y-%m-%d}: perhaps a robot"
            f" ({counted(others, 'such day')} of more than {_BUSY_DAY} events)"
        )
    words = ", ".join(map(literal, _MISSING_WORDS))
    for customer, count in fetch_rows(
        cursor,
        f"SELECT customer_id, count(*) AS n FROM {relation} WHERE lower(trim(customer_id)) IN ({words}) "
        "GROUP BY customer_id ORDER BY n DESC, customer_id LIMIT 3",
    ):
        yield f"{counted(count, 'event')} of a customer called {customer!r}, which looks like a missing id"


def _at_one_instant(
    cursor: duckdb.DuckDBPyConnection, relation: str, busy: npt.NDArray[np.int64], events: int
) -> Iterator[str]:
    # To group all events by customer and instant takes longer than all other looks together.
    cursor.register("busy_instants", pa.table({"us": busy}))
    relation = f'(SELECT * FROM {relation} SEMI JOIN busy_instants ON epoch_us("at") = us)'
    burst = fetch_rows(
        cursor,
        f'SELECT customer_id, "at", count(*) AS n, count(*) OVER () AS others FROM {relation} '
        f'GROUP BY customer_id, "at" HAVING n >= {MANY_AT_ONCE} ORDER BY n DESC, customer_id LIMIT 1',
    )
    for customer, at, count, others in burst:
        yield (
            f"customer {customer!r} has {count:,} events at one instant, {at:%Y-%m-%d %H:%M:%S} UTC "
            f"({counted(others, 'such burst')} of {MANY_AT_ONCE} or more)"
        )
    crowd = fetch_rows(
        cursor,
        f'SELECT "at", count(DISTINCT customer_id) AS n FROM {relation} SEMI JOIN (SELECT "at" FROM {relation} '
        f'GROUP BY "at" HAVING count(*) > {_CROWD * events}) USING ("at") GROUP BY "at" HAVING n >= 100 '
        'ORDER BY n DESC, "at" LIMIT 1',
    )
    for at, count in crowd:
        yield f"{count:,} customers have events at one instant, {at:%Y-%m-%d %H:%M:%S} UTC: perhaps an import"


def _names(cursor: duckdb.DuckDBPyConnection, relation: str) -> Iterator[str]:
    (kinds,) = fetch_row(cursor, f"SELECT count(DISTINCT event) FROM {relation}")
    if kinds > _MANY_KINDS:
        yield f"{kinds:,} kinds of events: perhaps an id, an address or a time is part of their names"
    for (alike,) in fetch_rows(
        cursor,
        "SELECT list(event ORDER BY event) FROM (SELECT DISTINCT event FROM "
        f"{relation}) GROUP BY regexp_replace(lower(trim(event)), '[ _-]+', '_', 'g') HAVING count(*) > 1 ORDER BY 1",
    ):
        yield f"event names that differ only in spelling: {', '.join(map(repr, alike))}"
    if kinds <= _MANY_KINDS:
        yield from _look_alike(
            [row[0] for row in fetch_rows(cursor, f"SELECT DISTINCT event FROM {relation} ORDER BY 1")]
        )


def _look_alike(names: Sequence[str]) -> Iterator[str]:
    """Names that nobody tells apart by sight; those of ASCII alone are told apart, or differ only in spelling."""
    alike: dict[str, list[str]] = {}
    for event in names:
        seen = unicodedata.normalize("NFKC", event.translate(_LOOKS_LIKE))
        shown = "".join(sign for sign in seen if unicodedata.category(sign) != "Cf")
        alike.setdefault(" ".join(shown.split()), []).append(event)
    for some in alike.values():
        if len(some) > 1 and not all(event.isascii() for event in some):
            yield f"event names that look alike and are not the same: {', '.join(map(ascii, some))}"


def _properties(cursor: duckdb.DuckDBPyConnection, relation: str, properties: Mapping[str, str]) -> Iterator[str]:
    texts = {prop: name(prop) for prop, kind in properties.items() if kind == "text"}
    values = {prop: x for prop, x in texts.items() if not prop.casefold().endswith(_ID_ENDINGS)}
    words = []
    for prop, spelling in spellings(cursor, relation, values).items():
        spelled = spelled_as(spelling, numbers=True, zone=True)
        if spelled == "VARCHAR" and spelling.given:
            words.append(prop)
        if spelled in ("BIGINT", "DOUBLE"):
            yield f"property {prop!r} holds numbers stored as text; conditions compare it as text"
        elif spelled in ("TIMESTAMP", "DATE"):
            yield f"property {prop!r} holds times stored as text; conditions compare it as text"
    yield from _amounts(cursor, relation, words)
    yield from _below_zero(cursor, relation, [prop for prop, kind in properties.items() if kind == "number"])
    for prop in words:
        yield from _dates(cursor, relation, prop, "property", "nothing can compare")
    for prop, kind in properties.items():
        if kind == EMPTY and prop not in _OF_ANSWERS:
            yield f"property {prop!r} is missing in every event"


def _amounts(cursor: duckdb.DuckDBPyConnection, relation: str, texts: Sequence[str]) -> Iterator[str]:
    for prop in texts:
        x = name(prop)
        given = f"FROM (SELECT {x} FROM {relation} WHERE trim({x}) <> ''"
        asked = (
            f"SELECT bool_and(regexp_full_match({x}, {literal(_AMOUNT)})), "
            f"min({x}) FILTER (regexp_matches({x}, {literal(',|[^0-9. +-]')})) {given}"
        )
        for limit in (" LIMIT 2000)", ")"):  # most texts give themselves away early
            are_amounts, example = fetch_row(cursor, asked + limit)
            if not are_amounts or example is None:
                break
        else:
            by_comma = _BY_COMMA if re.search(r",\d{1,2}\b", example) else ""
            yield (
                f"property {prop!r} holds amounts as text, such as {example!r}, which nothing can compare or add up; "
                f"make them numbers such as 1234.50{by_comma}"
            )


def _below_zero(cursor: duckdb.DuckDBPyConnection, relation: str, numbers: Sequence[str]) -> Iterator[str]:
    """Refunds among purchases: few numbers below zero in an event whose others are not."""
    if not numbers:
        return
    least = fetch_row(cursor, f"SELECT {', '.join(f'min({name(prop)})' for prop in numbers)} FROM {relation}")
    for prop in (prop for prop, value in zip(numbers, least, strict=True) if value is not None and value < 0):
        x = name(prop)
        for event, below, given in fetch_rows(
            cursor,
            f"SELECT event, count(*) FILTER ({x} < 0) AS below, count({x}) AS given FROM {relation} GROUP BY event "
            f"HAVING below > 0 AND below <= {_FEW_BELOW} * given ORDER BY below DESC, event",
        ):
            yield (
                f"{event!r} has {prop!r} below zero in {below:,} of {given:,} events: a refund or a cancelled order is "
                "an event of its own name"
            )


def _dates(cursor: duckdb.DuckDBPyConnection, relation: str, column: str, what: str, so: str) -> Iterator[str]:
    x = name(column)
    given = f"FROM (SELECT {x} FROM {relation} WHERE trim({x}) <> ''"
    for limit in (" LIMIT 2000)", ")"):
        are_dates, example = fetch_row(
            cursor, f"SELECT bool_and(regexp_full_match({x}, {literal(_DATE)})), min({x}) {given}{limit}"
        )
        if not are_dates:
            return
    yield (
        f"{what} {column!r} holds dates as text, such as {example!r}, which {so}; make them dates: "
        "pandas.to_datetime(…, dayfirst=…), or date_format='day first' or 'month first' of a CSV file"
    )


def _customers_table(cursor: duckdb.DuckDBPyConnection, relation: str, attributes: Mapping[str, str]) -> Iterator[str]:
    (people,) = fetch_row(cursor, "SELECT count(*) FROM customer_rows")
    if not people:
        return
    unknown, everyone, here, there = fetch_row(
        cursor,
        "SELECT count(*) FILTER (c.customer_id IS NULL), count(*), min(e.customer_id), "
        "(SELECT min(customer_id) FROM customer_rows) "
        f"FROM (SELECT DISTINCT customer_id FROM {relation}) e LEFT JOIN customer_rows c USING (customer_id)",
    )
    if unknown and unknown == everyone:
        yield (
            f"not one of the {counted(unknown, 'customer')} with events stands in the customers table: their ids are "
            f"written {here!r} here and {there!r} there"
        )
    elif unknown:
        yield f"{counted(unknown, 'customer')} with events but not in the customers table"
    for column, kind in attributes.items():
        if kind == "text" and column not in ("email", "timezone", "locale"):
            yield from _dates(cursor, "customer_rows", column, "attribute", "begins no journey and nothing can compare")
    if "email" in attributes:
        (without,) = fetch_row(
            cursor, "SELECT count(*) FROM customer_rows WHERE coalesce(trim(email::VARCHAR), '') = ''"
        )
        if without:
            yield f"{counted(without, 'customer')} of {people:,} without an address"
        (wrong,) = fetch_row(
            cursor,
            "SELECT count(*) FROM (SELECT trim(email::VARCHAR) AS address FROM customer_rows) "
            f"WHERE address <> '' AND NOT regexp_full_match(address, {literal(_ADDRESS)})",
        )
        if wrong:
            yield f"{counted(wrong, 'customer')} of {people:,} with an address that is none"
        (shared,) = fetch_row(
            cursor,
            "SELECT count(*) FROM (SELECT address FROM (SELECT lower(trim(email::VARCHAR)) AS address "
            "FROM customer_rows) WHERE address <> '' GROUP BY address HAVING count(*) > 1)",
        )
        if shared:
            yield f"{shared:,} of the addresses belong to more than one customer"
    if "consent" in attributes:
        agreed, unknown = fetch_row(
            cursor, "SELECT count(*) FILTER (consent), count(*) FILTER (consent IS NULL) FROM customer_rows"
        )
        if not agreed:
            yield "no customer has agreed to marketing mail"
        if unknown:
            yield f"{counted(unknown, 'customer')} of {people:,} with unknown consent; nobody is mailed without a yes"
    if "timezone" in attributes:
        zones = fetch_rows(
            cursor, "SELECT timezone, count(*) FROM customer_rows WHERE timezone IS NOT NULL GROUP BY 1 ORDER BY 1"
        )
        known = available_timezones()
        strange = {zone: count for zone, count in zones if zone not in known}
        if strange:
            some = ", ".join(map(repr, list(strange)[:3]))
            count = sum(strange.values())
            yield f"{counted(count, 'customer')} with a time zone that does not exist, for example {some}"
