"""Golden cases as data: what is given, what follows, and how both are written down."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
from ruamel.yaml import YAML

HERE = Path(__file__).parent
_MOMENT = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?: (\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?))?(?: ([+-]\d{2}:\d{2}|[A-Za-z_/]+))?"
)


def moment(text: str) -> datetime:
    """A time such as `2024-03-31 09:00 Europe/Paris` or `2024-03-31 09:00 +02:00`; UTC where no zone is said."""
    found = _MOMENT.fullmatch(text)
    if not found:
        raise ValueError(f"not a moment: {text!r}")
    day, clock, zone = found.groups()
    if zone and zone[0] in "+-":
        return datetime.fromisoformat(f"{day} {clock}{zone}").astimezone(UTC)
    local = datetime.fromisoformat(f"{day} {clock or '00:00'}")
    return local.replace(tzinfo=ZoneInfo(zone or "UTC")).astimezone(UTC)


@dataclass(frozen=True)
class Case:
    """One golden case."""

    file: str
    name: str
    program: str
    events: list[dict[str, Any]]
    customers: list[dict[str, Any]] | None
    options: dict[str, Any]
    then: dict[str, Any]
    waiting: str | None

    @property
    def rule(self) -> str:
        """The rule it shows, for example R7."""
        return self.name.split()[0]

    def event_rows(self) -> list[dict[str, Any]]:
        """Events as rows: ana where nobody is named, ids in the order written."""
        rows = []
        for place, given in enumerate(self.events):
            row: dict[str, Any] = {"customer_id": "ana", "event_id": f"e{place:02}", **given}
            row["at"] = moment(row["at"])
            row["received_at"] = moment(row["received_at"]) if "received_at" in row else row["at"]
            rows.append(row)
        return rows

    def event_frame(self) -> pd.DataFrame:
        """The same as a frame."""
        return pd.DataFrame(self.event_rows())

    def customer_rows(self) -> list[dict[str, Any]] | None:
        """Customers as rows, ana where nobody is named."""
        return None if self.customers is None else [{"customer_id": "ana", **row} for row in self.customers]

    def replay_options(self) -> dict[str, Any]:
        """Options of replay."""
        options = dict(self.options)
        if "until" in options:
            options["until"] = moment(options["until"])
        return options

    def expected(self, table: str) -> list[dict[str, Any]] | None:
        """Rows that must come, each with the columns that matter."""
        if table not in self.then:
            return None
        rows = []
        for given in self.then[table]:
            row = dict(given)
            if table == "decisions":
                row.setdefault("status", "skipped" if "reason" in row else "send")
            for column in ("at", "due_at", "entered_at", "trigger_at", "ended_at"):
                if isinstance(row.get(column), str):
                    row[column] = moment(row[column])
            rows.append(row)
        return rows


def read_cases() -> list[Case]:
    """All cases, in the order of the rules."""
    cases = []
    for file in sorted(HERE.glob("*.yaml"), key=lambda file: int(re.sub(r"\D", "", file.stem))):
        for entry in YAML(typ="safe").load(file):
            given = dict(entry["given"])
            program, events, customers = given.pop("program"), given.pop("events", []), given.pop("customers", None)
            cases.append(
                Case(file.name, entry["name"], program, events, customers, given, entry["then"], entry.get("waiting"))
            )
    return cases
