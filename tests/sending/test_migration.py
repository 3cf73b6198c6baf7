"""A ledger of an earlier version is brought up to date when it is opened, and nothing in it is lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import sqlite

from tests.sending.shops import without
from toolkit.sending import Ledger, State
from toolkit.sending.ledger.schema import VERSION, deliveries, held_as

TABLES = Path(__file__).with_name("ledger_version_1.sql").read_text(encoding="utf-8")
ROWS = """
INSERT INTO meta VALUES ('version', '1');
INSERT INTO run VALUES ('run', 'digest', 'program', 'outbox:here', 2, 1, 1772452800000000, 1772712000000000, 'active');
INSERT INTO approval VALUES ('signed', 'run', 'ana', 'digest', '{}', 1, 1772712000000000, NULL);
INSERT INTO delivery (id, run_id, decision_id, customer_id, address, class, message_id, payload_sha256, state, epoch,
                      attempts)
VALUES (1, 'run', 'd1', 'c1', 'c1@Example.org', 'marketing', 'm1@example.com', 'h1', 'accepted', 1, 1),
       (2, 'run', 'd2', 'c2', 'c2@example.org', 'marketing', 'm2@example.com', 'h2', 'planned', 0, 0);
INSERT INTO attempt (delivery_id, epoch, owner, at, outcome) VALUES (1, 1, 'a', 2, 'accepted');
"""


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(TABLES + ROWS)
    connection.close()
    return path


def test_an_old_ledger_goes_on_where_it_stopped(old, clock):
    with Ledger.open(old, clock=clock) as ledger:
        run = ledger.status().iloc[0]
        assert (run.approved_by, run.accepted, run.planned, run.says) == ("ana", 1, 1, "1 to go")
        assert ledger.verify() == ()
        assert ledger.deliveries()[["scenario", "step", "decided_at"]].isna().all(axis=None)
        (row,) = ledger.claim("run", owner="b", limit=5, lease=30_000_000)
        assert (row.decision_id, row.state, row.domain, row.discount) == ("d2", State.LEASED, "example.org", None)
        assert ledger.revoke("signed", by="ben") == ["run"]
    with Ledger.open(old, clock=clock) as again:
        assert again.run_state("run") == "revoked"


def test_a_ledger_of_the_second_version_gets_the_index_of_mails_in_hand(tmp_path, clock, entries, run_record):
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path, clock=clock) as ledger:
        ledger.plan(run_record(mails=3), entries(3))
        held = ledger.claim("run", owner="dead", limit=2, lease=30_000_000)
        ledger.start(held[:1])
    with closing(sqlite3.connect(path)) as connection, connection:  # which is what differs
        connection.executescript(
            "DROP INDEX delivery_held; CREATE INDEX delivery_state ON delivery (state, lease_until);"
            "UPDATE meta SET value = '2' WHERE name = 'version'"
        )
    connection.close()
    clock.forward(minutes=1)
    with Ledger.open(path, clock=clock) as ledger:
        assert [row.decision_id for row in ledger.recover()] == [held[0].decision_id]
        assert ledger.counts("run") == {State.PLANNED: 2, State.UNKNOWN: 1}
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone() == (str(VERSION),)
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    connection.close()
    assert "delivery_held" in names
    assert "delivery_state" not in names


def test_a_ledger_of_the_fourth_version_gets_room_for_codes(tmp_path, clock, entries, run_record):
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path, clock=clock) as ledger:
        ledger.plan(run_record(mails=3), entries(3))
    without(path, "coupon", version=4)
    with Ledger.open(path, clock=clock) as ledger:
        assert ledger.coupons().empty
        assert ledger.counts("run") == {State.PLANNED: 3}


def test_a_ledger_of_the_fifth_version_gets_room_for_approvals_held_up(tmp_path, clock, entries, run_record):
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path, clock=clock) as ledger:
        ledger.plan(run_record(mails=3), entries(3))
    without(path, "hold", version=5)
    with Ledger.open(path, clock=clock) as ledger:
        ledger.pause("approval of run", by="ana")
        assert ledger.run_state("run") == "paused"


def test_mails_in_hand_and_in_doubt_are_found_by_their_own_index(tmp_path, clock):
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path, clock=clock).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        for states in ((State.LEASED,), (State.SENDING,), (State.UNKNOWN,), (State.LEASED, State.SENDING)):
            query = select(deliveries.c.id).where(held_as(*states)).compile(dialect=sqlite.dialect())
            plans = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))
            assert "delivery_held" in plans, (states, plans)
    connection.close()
