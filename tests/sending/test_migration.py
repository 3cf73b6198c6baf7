"""A ledger of an earlier version is brought up to date when it is opened, and nothing in it is lost."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import func, inspect, or_, select
from sqlalchemy.dialects import sqlite

from tests.sending.shops import without
from toolkit.errors import LedgerError
from toolkit.sending import Ledger, State, approve_standing, send
from toolkit.sending.clock import micros
from toolkit.sending.keys import config_folder
from toolkit.sending.ledger.moved import is_moved
from toolkit.sending.ledger.schema import VERSION, deliveries, held_as, is_paused, is_under, runs

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


def test_a_ledger_that_is_only_looked_at_stays_as_it_is(old):
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("UPDATE run SET transport = 'smtp:there'")
    connection.close()
    before = old.read_bytes()
    with Ledger.as_it_is(old) as ledger:
        assert is_moved(ledger) is None
        assert (ledger.left_of("digest", through="smtp:there"), ledger.left_of("other")) == (1, 0)
    assert old.read_bytes() == before
    old.with_name("empty.sqlite").touch()
    with pytest.raises(LedgerError, match="there is none"):
        Ledger.as_it_is(old.with_name("empty.sqlite"))


def test_another_ledger_of_an_earlier_version_that_mails_left_from_is_not_brought_up_to_date(
    shop, smtp_server, noon, old, tmp_path
):
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    config_folder().mkdir(parents=True, exist_ok=True)
    mark = {"ledger": "theirs", "count": 1, "begun": 1, "at": micros(noon), "place": str(old)}
    (config_folder() / "theirs.mark").write_text(json.dumps(mark))
    (tmp_path / "ours").mkdir()
    server, now = smtp_server(), lambda: noon
    batch = shop.prepare(ledger=tmp_path / "ours" / "ledger.sqlite")
    way = f"smtp:127.0.0.1:{server.port}?security=none"
    assert send(batch, shop.approve(batch, clock=now), transport=way, confirm=12, progress=False, clock=now).sent == 12
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone() == ("1",)
    connection.close()


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


SIXTH = """
ALTER TABLE signature ADD COLUMN document TEXT NOT NULL DEFAULT '';
UPDATE signature SET document = (SELECT text FROM document WHERE document.id = signature.id);
DROP TABLE document;
DROP INDEX run_as_of; DROP INDEX run_created; DROP INDEX run_paused; DROP INDEX delivery_planned;
UPDATE meta SET value = '6' WHERE name = 'version';
"""


def test_a_ledger_of_the_sixth_version_keeps_once_what_an_approval_says(shop, tmp_path, clock):
    batch, place = shop.prepare(), tmp_path / "ledger.sqlite"
    ways = {"transport": f"outbox:{tmp_path / 'out'}", "ledger": place, "progress": False, "clock": clock}
    standing = approve_standing(shop.program, shop.templates, by="ana", mails_a_day=7, clock=clock)
    assert [send(batch, standing, confirm=len(batch), **ways).sent for _ in range(2)] == [7, 0]
    rest = shop.prepare(ledger=place)
    assert send(rest, shop.approve(rest, clock=clock), confirm=len(rest), **ways).sent == 5
    with Ledger.open(place, clock=clock) as ledger:
        before = ledger.status()
        last = ledger.last_approval()
        columns = {column["name"] for column in inspect(ledger._engine).get_columns("signature")}
        made = {index["name"] for index in inspect(ledger._engine).get_indexes("run")}
    assert last["by"] == "ana"
    with closing(sqlite3.connect(place)) as connection, connection:
        connection.executescript(SIXTH)
    connection.close()
    with Ledger.open(place, clock=clock) as ledger:
        pd.testing.assert_frame_equal(ledger.status(), before)
        assert (ledger.last_approval(), ledger.verify()) == (last, ())
        assert columns == {column["name"] for column in inspect(ledger._engine).get_columns("signature")}
        assert made == {index["name"] for index in inspect(ledger._engine).get_indexes("run")}
        with pytest.raises(LedgerError, match="one round of a loop, which is paused by its approval"):
            ledger.pause(before.loc[before["accepted"] == 7, "run_id"].item(), by="ben")
    assert send(batch, standing, confirm=len(batch), **ways).sent == 0  # the day's limit still counts


def test_what_a_round_asks_of_a_years_rounds_is_found_by_an_index(tmp_path, clock):
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path, clock=clock).close()
    planned, day = deliveries.c.planned_at > 1, runs.c.created_at > 1
    asked = {
        "run_as_of": select(func.max(runs.c.as_of)),
        "run_paused": select(runs.c.id).where(is_paused()),
        "run_paused (": select(runs.c.id).where(is_paused(), is_under("a", runs.c.id)),
        "run_created": select(func.sum(runs.c.outcomes)).where(or_(runs.c.id == "r", is_under("a", runs.c.id) & day)),
        "delivery_planned": select(func.count()).where(planned, is_under("a", deliveries.c.run_id)),
    }
    with closing(sqlite3.connect(path)) as connection:
        for index, query in asked.items():
            text = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
            plan = " | ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}"))
            assert index.split()[0] in plan, plan
            assert "SCAN signature" not in plan, plan


def test_mails_in_hand_and_in_doubt_are_found_by_their_own_index(tmp_path, clock):
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path, clock=clock).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        for states in ((State.LEASED,), (State.SENDING,), (State.UNKNOWN,), (State.LEASED, State.SENDING)):
            query = select(deliveries.c.id).where(held_as(*states)).compile(dialect=sqlite.dialect())
            plans = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))
            assert "delivery_held" in plans, (states, plans)
    connection.close()
