"""The ledger in PostgreSQL keeps the same promises, with senders that do not wait for one another."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pandas as pd
import pytest
from sqlalchemy import func, select, text

from tests.sending.addresses import check_that_addresses_are_found
from toolkit.errors import ApprovalError, LedgerError
from toolkit.events import EventLog
from toolkit.sending import (
    ApprovalPolicy,
    Ledger,
    Receipt,
    State,
    approve,
    approve_standing,
    keep_sending,
    send,
    submit,
)
from toolkit.sending.answered import tell_sent
from toolkit.sending.clock import DAY, micros, utc_now
from toolkit.sending.keys import new_key
from toolkit.sending.ledger import server_clock
from toolkit.sending.ledger.planning import plan_run
from toolkit.sending.ledger.schema import deliveries, is_under
from toolkit.sending.sender_service import take_one
from toolkit.tracking import Answers, TrackedMail

LEASE = 30_000_000
number = itertools.count()


@pytest.fixture
def place(postgres_server):
    """A new, empty database."""
    psycopg = pytest.importorskip("psycopg")
    name = f"ledger{next(number)}"
    with psycopg.connect(f"{postgres_server.server_url}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{postgres_server.server_url}/{name}"


@pytest.fixture
def ledger(place, clock):
    with Ledger.open(place, clock=clock) as opened:
        yield opened


def _accept(row):
    return row, Receipt(row.decision_id, State.ACCEPTED, receipt="250 ok")


def _work(place, clock, name):
    """One sender with a connection of its own, until there is nothing left to claim."""
    done = []
    with Ledger.open(place, clock=clock) as mine:
        while held := mine.claim("run", owner=name, limit=3, lease=LEASE):
            done += mine.record([_accept(row) for row in mine.start(held)])
    return [row.decision_id for row in done]


def test_a_run_that_is_being_planned_ends_with_the_approval_that_is_revoked_meanwhile(place, clock, run_record):
    with Ledger.open(place, clock=clock) as ledger, Ledger.open(place, clock=clock) as other:
        run, approval = run_record(mails=1), "a" * 64
        run = replace(run, approvals=(replace(run.approvals[0], id=approval),))
        with ThreadPoolExecutor(1) as threads:
            with ledger.changing() as connection:
                plan_run(connection, run, now=0)
                revoked = threads.submit(other.revoke, approval, by="ben")
                time.sleep(1.0)  # long enough to be revoked first, if it could
            assert run.id in revoked.result(timeout=30)
        assert ledger.run_state(run.id) == "revoked"
        with pytest.raises(ApprovalError, match="revoked by ben"):
            ledger.plan(run, [])


def test_the_life_of_a_run_is_the_same(ledger, clock, entries, run_record):
    planned = ledger.plan(run_record(mails=6), entries(6))
    assert (planned.added, planned.adopted) == (6, 0)
    assert ledger.plan(run_record(mails=6), entries(6)).known == 6
    started = ledger.start(ledger.claim("run", owner="a", limit=2, lease=LEASE))
    ledger.record([_accept(started[0])])
    clock.forward(seconds=31)
    assert [row.decision_id for row in ledger.recover()] == [started[1].decision_id]
    ledger.settle(ledger.unknown("outbox:/here"), {}, by="evidence")
    assert ledger.plan(run_record("later", mails=8), entries(8)).adopted == 5
    ledger.pause("later", by="ana")
    assert ledger.claim("later", owner="b", limit=9, lease=LEASE) == []
    assert ledger.cancel("later", by="ana") == 7
    # One of the six was accepted, and the later run took over the five that were not.
    says = {"run": "done, 5 in other runs", "later": "done, 7 cancelled, 1 in other runs"}
    assert ledger.status().set_index("run_id").says.to_dict() == says
    assert ledger.verify() == ()


def test_senders_at_once_each_with_its_own_connection_mail_everyone_once(place, ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=120), entries(120))
    with ThreadPoolExecutor(4) as pool:
        done = Counter(name for names in pool.map(lambda n: _work(place, clock, f"s{n}"), range(4)) for name in names)
    assert done == Counter(entry.decision_id for entry in entries(120))


class _Wrong:
    """A machine's clock that is wrong by so much."""

    def __init__(self, **apart):
        self.apart = timedelta(**apart)

    def __call__(self):
        return utc_now() + self.apart


def _machine(monkeypatch, place, clock):
    """The ledger as a machine opens it that has this clock."""
    monkeypatch.setattr(server_clock, "utc_now", clock)
    return Ledger.open(place, clock=clock)


def test_machines_whose_clocks_differ_leave_each_other_what_they_hold(place, entries, run_record, monkeypatch):
    right, ahead = _Wrong(), _Wrong(seconds=90)
    with _machine(monkeypatch, place, right) as one, _machine(monkeypatch, place, ahead) as other:
        one.plan(run_record(mails=4, now=utc_now()), entries(4, class_="transactional"))
        started = one.start(one.claim("run", owner="a", limit=2, lease=LEASE))
        assert len(started) == 2
        assert other.recover() == []
        assert other.again("run", wait=0) == []
        held = other.claim("run", owner="b", limit=4, lease=LEASE)
        assert len(held) == 2
        assert len(other.start(held)) == 2
        assert one.recover() == []
        assert {row.state for row in one.record([_accept(row) for row in started])} == {State.ACCEPTED}


def test_a_clock_that_is_set_while_mails_are_held_moves_no_lease(place, entries, run_record, monkeypatch):
    clock = _Wrong(hours=-1)
    with _machine(monkeypatch, place, clock) as ledger:
        ledger.plan(run_record(mails=2, now=utc_now()), entries(2))
        held = ledger.claim("run", owner="a", limit=2, lease=LEASE)
        for hours in (5, -5):
            clock.apart = timedelta(hours=hours)
            assert ledger.recover() == []
            assert abs(micros(ledger.clock()) - micros(utc_now())) < 5_000_000
        assert len(ledger.start(held)) == 2


def test_the_audit_stays_one_chain_when_many_write_it(place, ledger, clock, entries, run_record):
    def write(n):
        with Ledger.open(place, clock=clock) as mine:
            for m in range(5):
                mine.suppressions.add(f"c{n}-{m}@example.org", by=f"person {n}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(ledger.audit()) == len(ledger.suppressions) == 20
    assert ledger.verify() == ()


def test_two_that_begin_at_once_make_one_ledger(place, clock):
    def begin(_):
        with Ledger.open(place, clock=clock) as mine:
            return len(mine.status())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(begin, range(4))) == [0, 0, 0, 0]


def test_a_database_of_something_else_is_refused(place):
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute("CREATE TABLE run (id integer)")
    with pytest.raises(LedgerError, match=r"is another database \(it holds the tables run\)"):
        Ledger.open(place)


def test_what_a_database_says_in_several_lines_is_told_in_one():
    def hang_up():
        connection, _ = silent.accept()
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(LedgerError, match="server closed the connection unexpectedly") as raised:
            Ledger.open(f"postgresql://tester@127.0.0.1:{port}/ledger")
    assert "\n" not in str(raised.value)


def test_a_database_that_is_not_there_is_named_without_the_password(postgres_server):
    with pytest.raises(LedgerError, match="cannot be opened") as raised:
        Ledger.open(postgres_server.server_url.replace("tester@", "tester:geheim@") + "/nothing")
    assert "geheim" not in str(raised.value)


def test_a_batch_is_sent_with_its_ledger_in_postgresql(place, shop, signing_key_file):
    batch = shop.prepare(ledger=place)
    approval = approve(batch, by="ana", key=signing_key_file)
    way = f"outbox:{shop.outbox}"
    assert send(batch, approval, transport=way, confirm=12, progress=False).sent == 12
    assert send(batch, approval, transport=way, confirm=12, progress=False).already_sent == 12
    assert shop.prepare(ledger=place).skipped == {"already sent": 12}
    assert not (shop.outbox / "ledger.sqlite").exists()


def test_the_mails_of_one_customer_are_found_however_their_address_is_written(ledger, entries, run_record):
    check_that_addresses_are_found(ledger, run_record, entries)


def test_an_approval_is_paused_and_resumed_with_the_runs_under_it(ledger, entries, run_record):
    ledger.plan(run_record("first", mails=2), entries(2))
    held = ledger.claim("first", owner="a", limit=1, lease=LEASE)
    ledger.pause("approval of f", by="ana", why="moved")
    assert ledger.start(held) == []
    assert ledger.run_state("first") == "paused"
    ledger.resume("approval of f", by="ana")
    assert len(ledger.claim("first", owner="a", limit=4, lease=LEASE)) == 2
    assert ledger.verify() == ()


def test_a_round_goes_by_the_servers_clock_not_by_that_of_its_machine(place, shop, make_people, tmp_path, monkeypatch):
    behind, said = _Wrong(minutes=-90), []
    monkeypatch.setattr(server_clock, "utc_now", behind)
    signed = pd.DataFrame({"customer_id": ["c1"], "event": "sign_up", "at": utc_now() - timedelta(minutes=70)})
    log = EventLog.from_pandas(signed.assign(revenue=float("nan")), customers=make_people(2))
    keep_sending(
        shop.program,
        lambda: log,
        templates=shop.templates,
        approval=approve_standing(shop.program, shop.templates, by="ana", mails_a_day=100),
        transport=f"outbox:{tmp_path}/out",
        ledger=place,
        captures=tmp_path / "captures",
        every=timedelta(seconds=1),
        rounds=1,
        say=said.append,
        clock=behind,
    )
    (line,) = said
    assert "sent 1," in line  # an hour after the sign-up, which this machine's clock has not yet
    assert abs(datetime.fromisoformat(f"{line[:19]}+00:00") - utc_now()) < timedelta(minutes=5)


@pytest.mark.parametrize(("minutes", "is_over"), [(-90, True), (90, False)])
def test_a_sender_judges_an_approval_by_the_servers_clock(
    place, shop, make_people, tmp_path, monkeypatch, minutes, is_over
):
    machine, key = _Wrong(minutes=minutes), new_key(tmp_path / "ana.pem")
    monkeypatch.setattr(server_clock, "utc_now", machine)
    now = utc_now()
    people = [f"c{number}" for number in range(12)]
    signed = pd.DataFrame({"customer_id": people, "event": "sign_up", "at": now - timedelta(hours=4)})
    log = EventLog.from_pandas(signed.assign(revenue=float("nan")), customers=make_people(12))
    batch, then = shop.prepare(now=now, log=log), now - timedelta(minutes=80 if is_over else 0)
    approval = approve(batch, by="ana", key=key, expires="1h", clock=lambda: then)
    folder = submit(batch, approval, tmp_path / "spool")
    options = {"policy": ApprovalPolicy(), "transport": f"outbox:{tmp_path}/out", "ledger": place, "clock": machine}
    if is_over:
        with pytest.raises(ApprovalError, match="approval: over since"):
            take_one(folder, **options)
    else:
        assert take_one(folder, **options).sent == 12


def test_what_the_tracker_was_told_once_is_looked_at_again_and_not_written_again(
    place, ledger, clock, entries, run_record
):
    some = entries(5)
    ledger.plan(run_record(), some)
    _work(place, clock, "one")
    with Answers.open(place, clock=lambda: micros(clock())) as answers:
        what = "welcome", "hello", "welcome/hello", None, None, "marketing", "example.org", "en"
        answers.register(
            TrackedMail(one.message_id[:6], one.decision_id, one.customer_id, *what, one.message_id, 0) for one in some
        )
        written = text("SELECT xmin::text, provider_id FROM tracked_mail ORDER BY name")

        def rows():
            with answers.changing() as connection:
                return connection.execute(written).all()

        assert tell_sent(ledger, answers) == 5
        before = rows()
        assert {name for _, name in before} == {"250 ok"}
        assert tell_sent(ledger, answers) == 0
        assert rows() == before
        with answers.changing() as connection:
            connection.execute(text("DELETE FROM answer WHERE event_id = 'sent:d00002'"))
            connection.execute(text("UPDATE tracked_mail SET provider_id = NULL WHERE decision_id = 'd00004'"))
        assert tell_sent(ledger, answers) == 1  # what was committed after it though its number came before
        assert {name for _, name in rows()} == {"250 ok"}


def test_the_days_limit_is_counted_without_going_through_a_years_rounds(ledger, clock):
    now = micros(clock())
    year = (
        "INSERT INTO run (id, digest, program, transport, mails, as_of, created_at, not_after, state) "
        "SELECT 'r' || n, '', '', '', 0, n, n, n, 'done' FROM generate_series(1, 100000) n",
        "INSERT INTO signature (id, run_id, approver, digest, signed_at, expires_at) "
        "SELECT 'loop', 'r' || n, '', '', n, n FROM generate_series(1, 100000) n",
        "INSERT INTO delivery (run_id, decision_id, customer_id, address, class, message_id, payload_sha256, state, "
        "epoch, attempts, planned_at) SELECT 'r' || n, 'd' || n, '', '', '', 'm' || n, '', 'accepted', 0, 0, "
        f"CASE WHEN n > 98000 THEN {now} ELSE 1 END FROM generate_series(1, 100000) n",
        "ANALYZE run, signature, delivery",
    )
    with ledger.changing() as connection:
        for statement in year:
            connection.execute(text(statement))
    asked = select(func.count()).where(deliveries.c.planned_at > now - DAY, is_under("loop", deliveries.c.run_id))
    with ledger.reading() as connection:
        assert connection.execute(asked).scalar_one() == 2_000
        query = asked.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        plan = "\n".join(connection.execute(text(f"EXPLAIN {query}")).scalars())
    assert "Seq Scan on signature" not in plan, plan
    assert "Index Only Scan using signature_pkey" in plan or "Index Scan using signature_" in plan, plan
