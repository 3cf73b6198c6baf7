"""One log is one log, wherever it comes from: a frame, a file, a column of JSON give the same journeys and digest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from toolkit.engine import replay
from toolkit.events import EventLog
from toolkit.scenario import loads

ORDERS = loads("""
scenario: s
trigger: {event: ordered, where: "order_id > 12 and value >= 20"}
key: order_id
reentry: once
exit_on: [{event: delivered, match: order_id}]
steps: [{wait: 1h}, {send: m/x}]
""")
ROWS = [
    {"customer_id": f"c{one}", "event": event, "at": f"2024-05-0{day}T09:00Z", "event_id": f"{one}{event}{day}"}
    | ({} if event == "view" else {"order_id": one * 10 + day, "value": day * 10.0})
    for one in range(1, 4)
    for day in range(1, 5)
    for event in ("view", "ordered", "delivered")
]
FRAME = pd.DataFrame(ROWS)


def from_frame(folder: Path) -> EventLog:
    return EventLog.from_pandas(FRAME)


def from_exact_frame(folder: Path) -> EventLog:
    return EventLog.from_pandas(FRAME.convert_dtypes())


def from_csv(folder: Path) -> EventLog:
    FRAME.to_csv(folder / "log.csv", index=False)
    return EventLog.from_csv(folder / "log.csv")


def from_parquet(folder: Path) -> EventLog:
    FRAME.to_parquet(folder / "log.parquet")
    return EventLog.from_parquet(folder / "log.parquet")


def from_store(folder: Path) -> EventLog:
    EventLog.from_pandas(FRAME).save(folder / "store")
    return EventLog.open(folder / "store")


def from_json(folder: Path) -> EventLog:
    said = [json.dumps({name: row[name] for name in ("order_id", "value") if name in row}) for row in ROWS]
    return EventLog.from_pandas(FRAME.drop(columns=["order_id", "value"]).assign(properties=said))


@pytest.mark.parametrize("read", [from_exact_frame, from_csv, from_parquet, from_store, from_json])
def test_a_key_of_whole_numbers_gives_the_same_journeys_from_every_source(
    read: Callable[[Path], EventLog], tmp_path: Path
) -> None:
    until = pd.Timestamp("2024-05-09T00:00Z")
    run, other = replay(ORDERS, from_frame(tmp_path), until=until), replay(ORDERS, read(tmp_path), until=until)
    assert sorted(run.journeys["key"]) == ["13", "14", "22", "23", "24", "32", "33", "34"]
    assert run.digest == other.digest
