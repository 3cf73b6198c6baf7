"""Round after round on a growing log; and the day compared with a replay."""

from __future__ import annotations

import json
from datetime import timedelta

import pandas as pd
import pytest

from toolkit.errors import ApprovalError, InputError, TransportError
from toolkit.events import EventLog
from toolkit.sending import Outbox, approve_standing, keep_sending, parity, round_of
from toolkit.sending.ledger import Ledger


class Day:
    """A morning at the shop: someone signs up every ten minutes; the log known at a moment; rounds at moments."""

    def __init__(self, shop, noon, people, tmp_path):
        self.shop, self.noon, self.people, self.tmp_path = shop, noon, people, tmp_path
        self.more = []
        self.now = noon
        self.approval = approve_standing(shop.program, shop.templates, by="ana", mails_a_day=100, clock=lambda: noon)

    def log(self):
        signed = [
            {
                "customer_id": f"c{n}",
                "event": "sign_up",
                "at": self.noon + timedelta(minutes=10 * n - 60),
                "revenue": None,
            }
            for n in range(12)
        ]
        frame = pd.DataFrame([*signed, *self.more])
        frame["at"] = pd.to_datetime(frame["at"], utc=True)
        frame["revenue"] = float("nan")
        return EventLog.from_pandas(frame[frame["at"] <= self.now], customers=self.people)

    def round(self, minutes, **options):
        self.now = self.noon + timedelta(minutes=minutes)
        options = {"transport": f"outbox:{self.tmp_path}/out", "approval": self.approval, **options}
        return round_of(
            self.shop.program,
            self.log(),
            templates=self.shop.templates,
            ledger=self.tmp_path / "ledger.sqlite",
            captures=self.tmp_path / "captures",
            now=self.now,
            clock=lambda: self.now,
            **options,
        )

    def parity(self, **options):
        program = options.pop("program", self.shop.program)
        where = {"ledger": self.tmp_path / "ledger.sqlite", "captures": self.tmp_path / "captures"}
        return parity(program, self.log(), day=self.noon.date(), **where, **options)


@pytest.fixture
def day(shop, noon, make_people, tmp_path):
    return Day(shop, noon, make_people(12), tmp_path)


def test_rounds_send_what_falls_due_once_and_the_day_is_identical_to_its_replay(day):
    sent = [day.round(minutes).sent for minutes in range(0, 130, 10)]
    assert sent == [1] * 12 + [0]
    result = day.parity()
    assert result.is_identical
    assert len(result.table) == 12
    assert str(result) == "2026-03-02: 12 decisions to send, same 12, explained 0, unexplained 0"


def test_a_round_that_was_missed_is_made_up_for_and_the_day_still_agrees(day):
    assert [day.round(minutes).sent for minutes in (0, 70, 130)] == [1, 7, 4]
    assert day.parity().is_identical


def test_who_unsubscribed_after_the_decision_is_left_out_and_explained(day, noon):
    day.round(0)
    day.more = [
        {"customer_id": "c3", "event": "email_unsubscribed", "at": noon + timedelta(minutes=31), "revenue": None}
    ]
    day.round(60)
    result = day.parity()
    row = result.table.set_index("customer_id").loc["c3"]
    assert (row.verdict, row.why) == ("explained", "left out: unsubscribed")
    assert len(result.unexplained) == 0
    assert "left out: unsubscribed" in str(result)


def test_a_mail_on_the_suppression_list_is_explained_by_the_ledger(day, tmp_path):
    day.round(0)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        ledger.suppressions.add("c1@example.org", by="ana")
    day.round(30)
    assert day.parity().table.set_index("customer_id").loc["c1"].why == "left out: suppressed"


def test_a_mail_missing_from_the_ledger_is_not_explained_away(day, tmp_path):
    day.round(0)
    day.round(40)
    path = tmp_path / "captures" / "2026-03-02.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger, ledger._engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        gone = lines[-1]["due"][0]
        connection.exec_driver_sql(
            f"DELETE FROM attempt WHERE delivery_id IN (SELECT id FROM delivery WHERE decision_id = '{gone}')"
        )
        connection.exec_driver_sql(f"DELETE FROM delivery WHERE decision_id = '{gone}'")
    (row,) = day.parity().unexplained.itertuples()
    assert (row.decision_id, row.why) == (gone, "not in the ledger")


def test_another_version_of_the_program_is_told(day, make_program):
    day.round(60)
    later = make_program(
        "scenario: welcome\ntrigger: {event: sign_up}\nreentry: once\n"
        "steps: [{wait: 90m}, {id: hello, send: welcome/hello}]\n"
    )
    result = day.parity(program=later)
    assert not len(result.unexplained)
    assert result.table["why"].str.contains("another version of the program").any()


def test_a_day_without_captures_names_those_there_are(day, noon):
    day.round(0)
    with pytest.raises(InputError, match=r"nothing was captured on 2026-03-03; there are 2026-03-02"):
        parity(
            day.shop.program,
            day.log(),
            ledger=day.tmp_path / "ledger.sqlite",
            captures=day.tmp_path / "captures",
            day=noon.date() + timedelta(days=1),
        )


def _keep(day, tmp_path, **options):
    lines = []
    options = {"transport": f"outbox:{tmp_path}/out", "rounds": 5, "every": timedelta(0), **options}
    made = keep_sending(
        day.shop.program,
        day.log,
        templates=day.shop.templates,
        approval=day.approval,
        ledger=tmp_path / "ledger.sqlite",
        captures=tmp_path / "captures",
        say=lines.append,
        clock=lambda: day.now,
        **options,
    )
    return made, lines


def test_the_loop_makes_its_rounds_and_says_what_each_did(day, tmp_path):
    made, lines = _keep(day, tmp_path, rounds=2)
    assert made == 2
    assert lines[0] == "2026-03-02 12:00:00 sent 1, already sent 0, skipped 0, unknown 0, failed 0"
    assert lines[1].startswith("2026-03-02 12:00:00 sent 0, already sent 1")


def test_a_way_out_that_stays_closed_ends_the_loop_after_three_rounds(day, tmp_path):
    class Closed(Outbox):
        def _write(self, mail):
            raise TransportError("smtp: does not accept user and password")

    with pytest.raises(TransportError, match="user and password"):
        _keep(day, tmp_path, transport=Closed(tmp_path / "out"), rounds=1000)


def test_an_approval_that_is_void_ends_the_loop(day, tmp_path):
    path = day.shop.templates / "welcome" / "hello.txt"
    path.write_text(path.read_text().replace("Good to see you", "Buy now"))
    with pytest.raises(ApprovalError, match="templates: changed welcome/hello"):
        _keep(day, tmp_path)
