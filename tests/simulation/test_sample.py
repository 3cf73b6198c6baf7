"""The log that ships: made from a seed, small, and true to its program."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from toolkit.engine import replay
from toolkit.events import EventLog
from toolkit.simulation.sample import main, sample_program

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "shop"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "shop"
    main([str(folder), "--templates", str(ROOT / "templates")])
    return folder


def test_the_shipped_log_is_under_three_megabytes():
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*")) < 3_000_000


@pytest.mark.parametrize("table", ["events.parquet", "customers.parquet"])
def test_the_shipped_tables_are_what_the_seed_gives(made, table):
    shipped, again = pq.read_table(SAMPLE / table), pq.read_table(made / table)
    assert shipped.schema.equals(again.schema)
    assert shipped.equals(again), "data/shop is stale: run python -m toolkit.simulation.sample and commit it"


def test_the_shipped_manifest_is_what_the_seed_gives(made):
    shipped, again = ((folder / "manifest.json").read_text(encoding="utf-8") for folder in (SAMPLE, made))
    assert json.loads(shipped) == json.loads(again)


def test_a_replay_over_the_shipped_log_gives_the_mails_in_it():
    log = EventLog.open(SAMPLE)
    run = replay(sample_program(ROOT / "templates"), log)
    sent = run.decisions[run.decisions["status"] == "send"]
    assert len(sent) == log.event_counts["email_sent"] > 5000
    logged = log.events.query("event == 'email_sent'")
    assert set(sent["decision_id"]) == set(logged["decision_id"])
