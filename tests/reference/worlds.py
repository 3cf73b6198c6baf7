"""A world is a random program and a random log for it, from one number."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pandas as pd
from hypothesis import strategies as st

from tests.reference.random_logs import STARTS, customer_rows, event_rows
from tests.reference.random_programs import Maker
from toolkit.events import EventLog
from toolkit.scenario import models as m

CONSTRUCTS = frozenset(
    {"date", "inactive", "cycle", "schedule", "wait_until", "wait_for", "branch", "split", "repeat", "exit"}
    | {"where", "audience", "attributes", "history", "any", "trigger_where", "key", "match", "restart", "parallel"}
    | {"max_age", "experiment", "holdout", "only", "quiet", "caps", "postpone", "cap_exit", "offer", "journey_unit"}
    | {"exit_on", "transactional", "late", "updates", "unsubscribes", "bounces", "zones", "duplicates"}
    | {"logged_sends", "until", "email_updates", "consent_updates", "timezone_updates", "birthday_updates"}
    | {"logged_scenarios", "strangers", "late_sends", "median"}
)


@dataclass(frozen=True)
class World:
    """A program, and the log it is to run on."""

    program: m.Program
    events: tuple[dict[str, Any], ...]
    customers: tuple[dict[str, Any], ...]
    until: datetime | None
    count_logged_sends: bool
    columns: tuple[str, ...] = field(default=())

    def log(self) -> EventLog:
        """The same events as the toolkit reads them."""
        return EventLog.from_pandas(self.frame(), customers=people(self.customers))

    def frame(self) -> pd.DataFrame:
        """The events as a frame."""
        return pd.DataFrame(list(self.events), columns=list(self.columns) or None)


def people(customers: Any) -> pd.DataFrame:
    """A customers table of plain rows."""
    frame = pd.DataFrame(list(customers))
    if "birthday" in frame:
        frame["birthday"] = pd.to_datetime(frame["birthday"])
    return frame


def world(number: int, constructs: frozenset[str] = CONSTRUCTS, largest: int = 3) -> World:
    """The world of a number."""
    chance = Random(number)
    start = chance.choice(STARTS)
    maker = Maker(chance, constructs, start)
    program = maker.program(largest)
    events = event_rows(chance, constructs, start)
    customers = customer_rows(chance, constructs)
    if "strangers" not in constructs and any(isinstance(one.trigger, m.ScheduleTrigger) for one in program.scenarios):
        strangers = sorted({row["customer_id"] for row in events} - {row["customer_id"] for row in customers})
        customers += [{**customers[0], "customer_id": name} for name in strangers]
    until = start + timedelta(hours=12 * chance.randint(2, 30)) if maker.maybe("until", 0.5) else None
    columns = tuple(dict.fromkeys(name for row in events for name in row))
    return World(program, tuple(events), tuple(customers), until, maker.maybe("logged_sends", 0.25), columns)


def worlds(constructs: frozenset[str] = CONSTRUCTS, largest: int = 3) -> st.SearchStrategy[World]:
    """Random worlds; they are made small by `shrink.smallest`, not by hypothesis."""
    return st.integers(0, 2**64 - 1).map(lambda number: world(number, constructs, largest))


def told(world: World) -> str:
    """A program and a log as text, for whoever has to find out what went wrong."""
    program = world.program.model_dump(exclude_defaults=True, mode="json", by_alias=True)
    lines = [f"until {world.until}, count_logged_sends {world.count_logged_sends}", json.dumps(program)]
    for row in (*world.events, *world.customers):
        values = {
            name: f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else value for name, value in row.items()
        }
        lines.append("  " + " ".join(f"{name}={value}" for name, value in values.items() if value is not None))
    return "\n".join(lines)
