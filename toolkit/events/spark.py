"""An event log that lies in Spark: its columns, its facts, and its rows in parts that hold whole customers.

Only `spark_session` imports pyspark: a DataFrame carries all that is needed, so that the room works without Spark.
"""

from __future__ import annotations

import os
import pickle
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.errors import EventLogError, NotSupportedError, did_you_mean, shown
from toolkit.events.kinds import EMPTY
from toolkit.events.naming import BASE, check_distinct, name_columns

__all__ = ["Facts", "Part", "Reader", "SparkLog", "check_spark", "gathered", "loaded", "made", "spark_session"]

_PERSON = "toolkit:person"  # no property is called so
_OF_PERSON = "toolkit:person:"
_NEEDED = BASE[:3]
_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double")
_OLDEST = (4, 1)
_PER_PART = 1_000_000
_LACKING = re.compile(r"No module named '(toolkit|numba|duckdb|pyarrow)[\w.]*'")
_OF_INSTANCES = ("numbered_customers", "stored", "part", "marked")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a part must know of the whole, so that a scenario means the same in it."""

    counts: Mapping[str, int]
    span: tuple[pd.Timestamp, pd.Timestamp] | None


@dataclass(frozen=True, slots=True)
class Part:
    """Events and people of some customers, whole, as Arrow tables, and the facts of the log they are of."""

    events: pa.Table
    customers: pa.Table | None
    facts: Facts


@dataclass(frozen=True, slots=True)
class Reader:
    """Takes the rows of a part apart again; it travels to where the rows are, the log does not."""

    facts: Facts
    events: tuple[str, ...]
    attributes: tuple[str, ...] | None

    def read(self, rows: pa.Table) -> Part:
        """Events and people out of rows that hold both."""
        is_person = rows.column(_PERSON)
        people = None
        if self.attributes is not None:
            chosen = rows.filter(is_person)
            names = ["customer_id", *(_OF_PERSON + name for name in self.attributes)]
            people = chosen.select(names).rename_columns(["customer_id", *self.attributes])
        return Part(rows.filter(pc.invert(is_person)).select(list(self.events)), people, self.facts)


class SparkLog:
    """An event log in Spark, made by `EventLog.from_spark`; the rows stay where they are.

    `replay`, `sweep` and `simulate` take it, and run where the rows are.
    """

    def __init__(self, events: Any, *, customers: Any = None, columns: Mapping[str, str] | None = None) -> None:
        check_spark(events, "events")
        self._kept: dict[int, Any] = {}
        self._events, self.properties, self.notes = _events(events, columns)
        self._people: Any = None
        self.attributes: dict[str, str] = {}
        if customers is not None:
            self._people, self.attributes = _people(customers)
        else:
            self.notes += ("no customers table: addresses, consent, time zones and attributes are unknown",)

    @property
    def has_event_ids(self) -> bool:
        """Event ids were given."""
        return "event_id" in self._events.columns

    @cached_property
    def facts(self) -> Facts:
        """Names, counts and span of the events: one pass in Spark.

        Raises:
            EventLogError: no customer_id, no name or no time in a row; one event_id with two customers.
        """
        missing = " + ".join(f"count_if({name} IS NULL)" for name in _NEEDED)
        rows = _sql(
            f"SELECT event, count(*) AS n, {missing} AS missing, min(unix_micros(received_at)) AS first, "
            "max(unix_micros(received_at)) AS last FROM {rows} GROUP BY event",
            self._events,
        ).collect()
        missed = sum(row["missing"] for row in rows)
        if missed:
            raise EventLogError(
                f"{missed:,} rows have no customer_id, event or at; leave them out: "
                "events.dropna(subset=['customer_id', 'event', 'at'])"
            )
        if self.has_event_ids:
            self._check_ids()
        counts = {row["event"]: row["n"] for row in sorted(rows, key=lambda row: (-row["n"], row["event"]))}
        if not rows:
            return Facts({}, None)
        first, last = min(row["first"] for row in rows), max(row["last"] for row in rows)
        return Facts(counts, (pd.Timestamp(first, unit="us", tz="UTC"), pd.Timestamp(last, unit="us", tz="UTC")))

    @property
    def event_counts(self) -> dict[str, int]:
        """Event name to number of rows, the most frequent first."""
        return dict(self.facts.counts)

    @property
    def event_names(self) -> tuple[str, ...]:
        """The names of events in the log, sorted."""
        return tuple(sorted(self.facts.counts))

    def carried(self, event: str) -> tuple[str, ...]:
        """The properties that events of a name ever carry, in the order of the columns: one pass in Spark."""
        names = tuple(self.properties)
        counts = (
            ", ".join(["count(*)", *(f"count({_quoted(one)})" for one in names)]).replace("{", "{{").replace("}", "}}")
        )
        ((_, *found),) = _sql(
            f"SELECT {counts} FROM {{rows}} WHERE event = {{event}}", self._events, event=event
        ).collect()
        return tuple(one for one, count in zip(names, found, strict=True) if count)

    @property
    def span(self) -> tuple[pd.Timestamp, pd.Timestamp] | None:
        """First and last received_at, UTC; None when the log is empty."""
        return self.facts.span

    @cached_property
    def first_mails(self) -> dict[str, int]:
        """When the first mail of each scenario was sent, microseconds since 1970 (`email_sent`, property scenario)."""
        if "scenario" not in self.properties or "email_sent" not in self.facts.counts:
            return {}
        query = (
            "SELECT cast(scenario AS string) AS name, min(unix_micros(`at`)) AS first FROM {rows} "
            "WHERE event = 'email_sent' GROUP BY 1"
        )
        return {row["name"]: row["first"] for row in _sql(query, self._events).collect()}

    if not TYPE_CHECKING:  # a checker is to find what neither has

        def __getattr__(self, name: str) -> Any:
            here = import_module("toolkit.events.log").EventLog
            if not name.startswith("_") and (name in _OF_INSTANCES or hasattr(here, name)):
                raise NotSupportedError(
                    f"a log in Spark has no {name}: replay, sweep and simulate take it; for all else bring what you "
                    "need here, for example EventLog.from_pandas(events.where(...).toPandas())"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __len__(self) -> int:
        return sum(self.facts.counts.values())

    def __repr__(self) -> str:
        return f"SparkLog({', '.join(self._events.columns)})"

    @property
    def reader(self) -> Reader:
        """What takes the rows of `parts` apart where they are."""
        return Reader(self.facts, tuple(self._events.columns), None if self._people is None else tuple(self.attributes))

    def parts(self, number: int | None = None) -> Any:
        """A DataFrame whose partitions hold whole customers, in ranges by customer_id, events in order.

        It is kept in Spark (in memory, and on its disks where that is too small) for whatever is asked of the log next,
        until `unpersist`.

        Args:
            number: of partitions; so many that each holds about a million events, and one for each core, unless given.

        Raises:
            EventLogError: fewer than one.
        """
        rows = self._together
        if number is None:
            cores = rows.sparkSession.sparkContext.defaultParallelism
            number = max(cores, -(-len(self) // _PER_PART))
        if number < 1:
            raise EventLogError(f"a log has at least one part; found {shown(number)}")
        if number not in self._kept:
            order = [name for name in ("customer_id", "received_at", "at", "event_id") if name in rows.columns]
            self._kept[number] = rows.repartitionByRange(number, "customer_id").sortWithinPartitions(*order).persist()
        return self._kept[number]

    def unpersist(self) -> None:
        """Let Spark forget the parts that it keeps; whatever is asked next makes them again."""
        for rows in self._kept.values():
            rows.unpersist()
        self._kept.clear()

    @cached_property
    def nobody(self) -> pa.Table:
        """The rows of a part without anybody in it."""
        return self._together.limit(0).toArrow()

    @cached_property
    def _together(self) -> Any:
        """Events and people as rows of one DataFrame."""
        rows = self._events.selectExpr("*", f"false AS {_quoted(_PERSON)}")
        if self._people is None:
            return rows
        return rows.unionByName(self._people.selectExpr("*", f"true AS {_quoted(_PERSON)}"), allowMissingColumns=True)

    def _check_ids(self) -> None:
        """Repetitions are left out customer by customer, so that one id must not stand with two of them."""
        shared = _sql(
            "SELECT event_id, min(customer_id) AS one, max(customer_id) AS other FROM {rows} "
            "WHERE event_id IS NOT NULL GROUP BY event_id HAVING min(customer_id) <> max(customer_id) LIMIT 1",
            self._events,
        ).collect()
        if shared:
            row = shared[0]
            raise EventLogError(
                f"event_id {row['event_id']!r} stands with two customers, {row['one']!r} and {row['other']!r}; "
                "an event_id names one event: correct it, or leave the column out"
            )


def made(rows: Any, of: Callable[[pa.Table], pa.Table], columns: Mapping[str, str]) -> Any:
    """A DataFrame with what a function makes of each part of `SparkLog.parts`, where it lies.

    Args:
        rows: the parts.
        of: the rows of a part to the rows of the result; it travels with all that it holds.
        columns: name and Spark type of each column of the result.
    """

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held = list(batches)
        if held:
            yield from of(pa.Table.from_batches(held)).to_batches()

    return rows.mapInArrow(work, ", ".join(f"`{name}` {kind}" for name, kind in columns.items()))


def gathered(rows: Any, of: Callable[[pa.Table], Any]) -> list[Any]:
    """What a function makes of each part of `SparkLog.parts`, brought here; a part without rows makes nothing."""

    def pickled(part: pa.Table) -> pa.Table:
        return pa.table({"found": [pickle.dumps(of(part))]})

    try:
        found = made(rows, pickled, {"found": "binary"}).collect()
    except Exception as fault:  # Spark's own kind, which only who has it can name
        lacks = _LACKING.search(str(fault))
        if lacks:
            raise NotSupportedError(
                f"Spark's executors lack this library ({lacks[0]}): install it there, for the Python that "
                "PYSPARK_PYTHON names"
            ) from fault
        raise
    return [pickle.loads(row["found"]) for row in found]  # noqa: S301 made by this program, in Spark


def spark_session(master: str = "local[*]") -> Any:
    """The Spark session that runs, or one that is started; times are UTC in it.

    Args:
        master: where Spark runs: this machine's cores unless given, or any master that Spark takes.

    Raises:
        NotSupportedError: pyspark or Java is missing.
    """
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415 - an extra that most people do not need
    except ImportError as fault:
        raise NotSupportedError("Spark needs pyspark: pip install 'trigger-toolkit[spark]'") from fault
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # the one in which this library is installed
    build = SparkSession.builder.master(master).appName("toolkit").config("spark.sql.session.timeZone", "UTC")
    if master.startswith("local"):  # nobody else on the network is to reach it
        build = build.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    try:
        return build.config("spark.ui.enabled", "false").getOrCreate()
    except Exception as fault:
        if "JAVA_GATEWAY" in str(fault) or "Java" in str(fault) or "JAVA_HOME" in str(fault):
            raise NotSupportedError(
                "Spark needs Java 17 or newer, and found none that starts; on Debian: "
                "apt-get install openjdk-17-jre-headless"
            ) from fault
        raise


def loaded(source: Any) -> Any:
    """A DataFrame as it is; the path of a Parquet folder is opened.

    Raises:
        EventLogError: Spark cannot read it; NotSupportedError: as `spark_session`.
    """
    if not isinstance(source, str | PathLike):
        return source
    session = spark_session()
    try:
        return session.read.parquet(str(source))
    except Exception as fault:
        said = str(fault).strip().splitlines() or [type(fault).__name__]
        raise EventLogError(f"{source}: cannot be read by Spark as Parquet: {said[0]}") from fault


def check_spark(frame: Any, what: str) -> None:
    """Refuse what is no DataFrame of a Spark that is new enough.

    Raises:
        EventLogError: something else; NotSupportedError: of a Spark that is too old.
    """
    session = getattr(frame, "sparkSession", None)
    if session is None:
        raise EventLogError(f"{what}: expected a Spark DataFrame or a path, found {type(frame).__name__}")
    version = str(session.version)
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        raise NotSupportedError(f"Spark {version} is too old; {'.'.join(map(str, _OLDEST))} or newer is needed")


def _events(frame: Any, columns: Mapping[str, str] | None) -> tuple[Any, dict[str, str], tuple[str, ...]]:
    """The events under our names, the kinds of their properties, and what was renamed."""
    check_distinct(frame.columns, "events")
    types: dict[str, str] = dict(frame.dtypes)
    naming = name_columns(types, columns, "events")
    if naming.document is not None:
        raise EventLogError(
            f"events: open the column {naming.document!r} in Spark first, for example "
            f"events.select('*', '{naming.document}.*') or from_json({naming.document}, schema)"
        )
    base = {name: (theirs, types[theirs]) for name, theirs in naming.base.items()}
    chosen = [_identifier("events", name, *base[name]) for name in ("customer_id", "event")]
    at = _moment("at", *base["at"])
    received = _moment("received_at", *base["received_at"]) if "received_at" in base else at
    chosen += [f"{at} AS at", f"coalesce({received}, {at}) AS received_at"]
    if "event_id" in base:
        chosen.append(_identifier("events", "event_id", *base["event_id"]))
    kinds = {}
    for called, theirs in naming.properties.items():
        kinds[called] = _kind("events", theirs, types[theirs])
        chosen.append(f"{_quoted(theirs)} AS {_quoted(called)}")
    return frame.selectExpr(*chosen), kinds, naming.notes


def _people(frame: Any) -> tuple[Any, dict[str, str]]:
    """The customers, each column but customer_id marked as theirs, and the kinds of their attributes."""
    check_distinct(frame.columns, "customers")
    types: dict[str, str] = dict(frame.dtypes)
    if "customer_id" not in types:
        hint = did_you_mean("customer_id", types)
        raise EventLogError(
            f"customers: column 'customer_id' is missing{hint}; columns found: {', '.join(types) or 'none'}"
        )
    kinds = {name: _kind("customers", name, kind) for name, kind in types.items() if name != "customer_id"}
    if kinds.get("consent", "flag") != "flag":
        raise EventLogError(f"customers: column 'consent' must be true or false; found {types['consent']}")
    repeated = _sql(
        "SELECT customer_id FROM {rows} GROUP BY customer_id HAVING count(*) > 1 OR customer_id IS NULL LIMIT 1", frame
    ).collect()
    if repeated:
        raise EventLogError(f"customers: each stands once; found {repeated[0]['customer_id']!r} more than once")
    chosen = [_identifier("customers", "customer_id", "customer_id", types["customer_id"])]
    chosen += [f"{_quoted(name)} AS {_quoted(_OF_PERSON + name)}" for name in kinds]
    return frame.selectExpr(*chosen), kinds


def _kind(where: str, name: str, kind: str) -> str:
    if kind in _NUMBERS or kind.startswith("decimal"):
        return "number"
    if kind == "string":
        return "text"
    if kind == "boolean":
        return "flag"
    if kind in ("timestamp", "date"):
        return "time"
    if kind == "void":
        return EMPTY
    mend = "cast it to timestamp first" if kind == "timestamp_ntz" else "choose from it what you need first"
    raise EventLogError(
        f"{where}: column {name!r} is {kind}; allowed: numbers, string, boolean, timestamp, date; {mend}"
    )


def _identifier(where: str, name: str, theirs: str, kind: str) -> str:
    if kind != "string" and kind not in _NUMBERS[:4]:
        raise EventLogError(f"{where}: column {theirs!r} ({name}) must be string or a whole number; found {kind}")
    return f"cast({_quoted(theirs)} AS string) AS {name}"


def _moment(name: str, theirs: str, kind: str) -> str:
    if kind != "timestamp":
        raise EventLogError(
            f"events: column {theirs!r} ({name}) must be a timestamp, which is a moment; found {kind}; for local times "
            "cast them under spark.sql.session.timeZone"
        )
    return _quoted(theirs)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _sql(query: str, rows: Any, **values: Any) -> Any:
    return rows.sparkSession.sql(query, rows=rows, **values)
