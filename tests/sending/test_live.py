"""Round after round on a growing log; and the day compared with a replay."""

from __future__ import annotations

import json
import threading
import time
from datetime import timedelta

import pandas as pd
import pytest

from toolkit.errors import ApprovalError, InputError, SendingError, TransportError
from toolkit.events import EventLog
from toolkit.sending import Feedback, Outbox, approve_standing, keep_sending, parity, round_of
from toolkit.sending.captures import Captures
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.owners import owner
from toolkit.sending.ledger.shares import SHARES, Shares
from toolkit.sending.protocol import Receipt
from toolkit.sending.sender.refusals import Refusals
from toolkit.sending.sender.report import Outcomes
from toolkit.sending.states import State


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
        options.setdefault("captures", self.tmp_path / "captures")
        return round_of(
            self.shop.program,
            self.log(),
            templates=self.shop.templates,
            ledger=self.tmp_path / "ledger.sqlite",
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


def test_what_began_before_the_start_is_left_to_whoever_mailed_then(day, noon):
    start = noon - timedelta(minutes=20)
    assert [day.round(minutes, since=start).sent for minutes in (0, 10, 60, 60, 90)] == [0, 0, 3, 0, 3]
    result = day.parity()
    early = result.table[result.table["why"] == "left out: began before the start"]
    assert sorted(early["customer_id"]) == ["c0", "c1", "c2", "c3"]
    assert (len(result.unexplained), len(result.table)) == (0, 10)
    with pytest.raises(InputError, match="since needs a time zone"):
        day.round(100, since=start.replace(tzinfo=None))


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


def test_a_round_tells_few_findings_of_many(day, make_people):
    day.people["first_name"] = [f"*|NAME{at}|*" for at in range(len(day.people))]
    report = day.round(300)
    several = len(day.people) - 5
    assert several > 0
    assert report.sent == 0
    assert len(report.notes) == 6
    assert report.notes[-1] == f"and {several} findings more"


@pytest.mark.parametrize("name", ["{{ 7*7 }}", "*|FNAME|*", None])
def test_what_one_customer_wrote_into_a_form_keeps_nobody_else_from_being_mailed(day, name):
    assert day.round(0).sent == 1
    day.people.loc[day.people["customer_id"] == "c2", "first_name"] = name
    report = day.round(40)
    assert report.sent == 3
    assert report.before["render_error"] == 1
    (note,) = report.notes
    assert "left out for it" in note
    assert f"left out 1 ({note})" in str(report)
    row = day.parity().table.set_index("customer_id").loc["c2"]
    assert (row.verdict, row.why) == ("explained", "left out: render_error")
    assert len(day.parity().unexplained) == 0
    day.people.loc[day.people["customer_id"] == "c2", "first_name"] = "Ana"
    assert day.round(50).sent == 2  # it stays due until it is too late for it
    assert day.parity().is_identical


def test_a_mail_that_was_left_out_until_it_is_too_late_is_told_once_as_lost(day, tmp_path):
    day.people.loc[day.people["customer_id"] == "c2", "first_name"] = "*|FNAME|*"
    seen = Captures(tmp_path / "captures")
    first = day.round(40, captures=seen)
    assert (first.before["render_error"], first.lost) == (1, ())
    lost = [day.round(minutes, captures=seen) for minutes in (24 * 60, 24 * 60 + 50, 24 * 60 + 60)]
    assert [one.lost for one in lost] == [(), ("c2",), ()]
    assert "lost 1, too late by now (c2)" in str(lost[1])


def test_a_round_in_which_nobody_can_be_mailed_says_why(day):
    day.people["first_name"] = "{{ first_name }}"
    report = day.round(60)
    assert (report.sent, report.before["render_error"]) == (0, 7)
    assert "would reach the reader" in str(report)
    assert "no mail was due" not in str(report)


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


def test_what_the_limits_of_the_approval_hold_back_is_explained_until_it_goes(day, noon):
    few = approve_standing(day.shop.program, day.shop.templates, by="ana", mails_a_day=2, clock=lambda: noon)
    assert [day.round(minutes, approval=few).sent for minutes in (0, 50)] == [1, 1]
    result = day.parity()
    assert dict(result.table["why"].value_counts()) == {"left out: held back by the limits": 4, "": 2}
    assert len(result.unexplained) == 0
    assert day.round(51).sent == 4
    assert day.parity().is_identical


def test_bounces_of_all_rounds_together_hold_up_the_loop_until_a_person_lets_it_go_on(day, tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.sending.ledger.alarm._ENOUGH_OF_A_LOOP", 5)
    assert [day.round(minutes).sent for minutes in (0, 30, 50)] == [1, 3, 2]
    _bounce(day, tmp_path, 2)
    assert day.round(60).sent == 1
    _bounce(day, tmp_path, 3)  # of rounds that are over
    first = day.round(70)
    assert (first.sent, first.waiting, first.state) == (0, 1, "paused")
    why = "paused by sender: 3 of 7 bounced in 24 hours under its approval"
    assert f"waiting 1: the run is {why}; `toolkit resume" in str(first)
    second = day.round(80)
    assert (second.sent, second.state) == (0, "paused")
    assert f"the run is {why}; `toolkit resume" in str(second)
    assert str(second).endswith("until then nothing of its approval goes, 2 mails due")
    assert len(day.parity().unexplained) == 0
    with pytest.raises(ApprovalError, match="over"):
        day.round(60 * 24 * 60)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        assert list(ledger.status()["says"])[-1] == "paused, 1 to go"
        ledger.resume(ledger.status()["run_id"].iloc[-1], by="ana")
    assert [day.round(minutes).sent for minutes in (90, 130)] == [3, 2]
    assert day.parity().is_identical


def test_a_loop_paused_by_hand_says_so_in_each_round_and_sends_nothing_until_it_is_resumed(day, tmp_path):
    assert day.round(0).sent == 1
    with Ledger.open(tmp_path / "ledger.sqlite", clock=lambda: day.now) as ledger:
        ledger.pause(day.approval.id, by="ben", why="the server is moved")
    for minutes, due in ((10, "1 mail"), (20, "2 mails")):
        report = day.round(minutes)
        assert (report.sent, report.state) == (0, "paused")
        assert "the run is paused by ben on 2026-03-02 12:00 UTC (the server is moved); `toolkit resume" in str(report)
        assert str(report).endswith(f"lets it go on; until then nothing of its approval goes, {due} due")
    assert set(day.parity().table["why"]) == {"", "left out: paused"}
    with Ledger.open(tmp_path / "ledger.sqlite", clock=lambda: day.now) as ledger:
        ledger.resume(day.approval.id[:12], by="ben")
    assert day.round(30).sent == 3
    assert day.parity().is_identical


def test_a_round_that_is_under_way_stops_when_its_approval_is_paused(day, tmp_path):
    class Slow(Outbox):
        def deliver(self, mails, start):
            for number, receipt in enumerate(super().deliver(mails, start)):
                if number == 0:
                    with Ledger.open(tmp_path / "ledger.sqlite", clock=lambda: day.now) as ledger:
                        ledger.pause(day.approval.id, by="ben")
                yield receipt

    Slow.at_once = 1
    report = day.round(130, transport=Slow(tmp_path / "out"))
    assert report.state == "paused"
    assert 0 < report.sent < 12
    assert len(list((tmp_path / "out").glob("*.eml"))) == report.sent
    with Ledger.open(tmp_path / "ledger.sqlite", clock=lambda: day.now) as ledger:
        ledger.resume(day.approval.id, by="ben")
    assert day.round(131).sent == 12 - report.sent
    assert day.parity().is_identical


def test_a_few_bounces_do_not_hold_up_a_small_loop(day, tmp_path):
    assert day.round(50).sent == 6
    _bounce(day, tmp_path, 6)
    assert day.round(60).sent == 1


def _bounce(day, tmp_path, count):
    with Ledger.open(tmp_path / "ledger.sqlite", clock=lambda: day.now) as ledger:
        mails = ledger.deliveries()["message_id"].head(count)
        ledger.report_events(
            Feedback("dsn", name, "email_bounced", day.now, message_id=name, bounce_type="hard") for name in mails
        )


def test_a_day_beside_a_ledger_that_is_not_there_is_refused_and_none_is_made(day, noon, tmp_path):
    day.round(0)
    where = {"captures": tmp_path / "captures", "day": noon.date()}
    with pytest.raises(InputError, match=r"parity: ledger .*none\.sqlite: there is none"):
        parity(day.shop.program, day.log(), ledger=tmp_path / "none.sqlite", **where)
    assert not (tmp_path / "none.sqlite").exists()
    with pytest.raises(InputError, match="parity: day: expected a date"):
        parity(day.shop.program, day.log(), ledger=tmp_path / "ledger.sqlite", **where | {"day": "2026-03-02"})


def test_another_version_of_the_program_is_told(day, make_program):
    day.round(60)
    later = make_program(
        "scenario: welcome\ntrigger: {event: sign_up}\nreentry: once\n"
        "steps: [{wait: 90m}, {id: hello, send: welcome/hello}]\n"
    )
    result = day.parity(program=later)
    assert not len(result.unexplained)
    assert result.table["why"].str.contains("another version of the program").any()


def test_what_a_round_that_was_killed_left_of_its_line_takes_no_other_line_along(day, noon, tmp_path):
    day.round(0)
    with open(tmp_path / "captures" / "2026-03-02.jsonl", "a", encoding="utf-8") as file:
        file.write('{"now": "2026-03-02T12:30:00+00:00", "due": ["')
    day.more = [
        {"customer_id": "c3", "event": "email_unsubscribed", "at": noon + timedelta(minutes=31), "revenue": None}
    ]
    day.round(60)
    result = day.parity()
    assert result.table.set_index("customer_id").loc["c3"].why == "left out: unsubscribed"
    assert len(result.unexplained) == 0


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
    options.setdefault("ledger", tmp_path / "ledger.sqlite")
    made = keep_sending(
        day.shop.program,
        day.log,
        templates=day.shop.templates,
        approval=day.approval,
        captures=tmp_path / "captures",
        clock=lambda: day.now,
        **{"say": lines.append, **options},
    )
    return made, lines


def test_the_loop_makes_its_rounds_and_says_what_each_did(day, tmp_path):
    made, lines = _keep(day, tmp_path, rounds=2)
    assert made == 2
    assert lines[0] == "2026-03-02 12:00:00 sent 1, already sent 0, skipped 0, unknown 0, failed 0"
    assert lines[1].startswith("2026-03-02 12:00:00 sent 0, already sent 1")


def test_a_loop_writes_down_once_a_day_who_waits_or_is_left_out_and_the_day_is_explained(day, tmp_path, noon):
    few = approve_standing(day.shop.program, day.shop.templates, by="ana", mails_a_day=2, clock=lambda: noon)
    day.approval, day.now, begin = few, noon + timedelta(minutes=60), noon - timedelta(minutes=30)

    def later(line):
        day.now += timedelta(minutes=10 if day.now < noon + timedelta(minutes=90) else 660)

    _keep(day, tmp_path, rounds=5, since=begin, say=later)
    first, second = (
        [json.loads(line) for line in (tmp_path / "captures" / f"2026-03-0{number}.jsonl").read_text().splitlines()]
        for number in (2, 3)
    )
    assert [[len(line["due"]) for line in lines] for lines in (first, second)] == [[4, 0, 1, 0, 1, 0, 1, 0], [7, 0]]
    reasons = [line["left_out"] for line in first]
    assert [len(one) for one in reasons] == [3, 2, 0, 1, 0, 1, 0, 1]
    assert [len(line["left_out"]) for line in second] == [3, 7]
    result = day.parity()
    assert (len(result.unexplained), len(result.table)) == (0, 10)
    assert sorted(result.table["why"].unique()) == [
        "",
        "left out: began before the start",
        "left out: held back by the limits",
    ]


def test_a_loop_is_stopped_in_the_middle_of_a_round_and_goes_on_later(day, tmp_path):
    stop = threading.Event()

    class Stopping(Outbox):
        at_once = 1

        def _write(self, mail):
            stop.set()
            return super()._write(mail)

    day.now = day.noon + timedelta(minutes=60)
    made, lines = _keep(day, tmp_path, transport=Stopping(tmp_path / "out"), stop=stop)
    assert made == 1
    assert "stopped in the middle; nothing is lost" in lines[0]
    assert len(list((tmp_path / "out").glob("*.eml"))) == 1
    _, lines = _keep(day, tmp_path, rounds=1)
    assert "sent 6, already sent 1" in lines[0]


def test_a_way_out_that_stays_closed_ends_the_loop_after_three_rounds(day, tmp_path):
    class Closed(Outbox):
        def _write(self, mail):
            raise TransportError("smtp: does not accept user and password")

    with pytest.raises(TransportError, match="user and password"):
        _keep(day, tmp_path, transport=Closed(tmp_path / "out"), rounds=1000)


def test_who_asks_for_one_round_hears_that_it_was_broken_off(day, tmp_path):
    class Closed(Outbox):
        def _write(self, mail):
            raise TransportError("outbox: closed for today")

    with pytest.raises(TransportError, match="closed for today"):
        _keep(day, tmp_path, transport=Closed(tmp_path / "out"), rounds=1)
    assert _keep(day, tmp_path, rounds=1)[0] == 1


def test_twenty_mails_refused_in_a_row_end_the_loop_however_small_its_rounds_are():
    class Round:
        def __init__(self, sent, failed):
            self.sent, self.rows = sent, Outcomes()
            self.rows.reasons["failed", "5.7.1 relay access denied"] = failed
            self.rows.reasons["deferred", "4.2.0 later"] = 50

    refusals = Refusals()
    for sent, failed in ((0, 19), (1, 19), (0, 6), (0, 7), (0, 6)):
        refusals.add(Round(sent, failed))
    with pytest.raises(
        SendingError, match=r"the last 20 mails were all refused for good.*'5\.7\.1 relay access denied'"
    ):
        refusals.add(Round(0, 1))


def test_a_loop_whose_every_mail_is_refused_ends_and_says_by_what_answer(day, tmp_path, monkeypatch):
    class Refusing(Outbox):
        def deliver(self, mails, start):
            for mail in mails:
                if mail is not None and start([mail.decision_id]):
                    yield Receipt(mail.decision_id, State.FAILED, code=554, reason="5.7.1 relay access denied")

    monkeypatch.setattr("toolkit.sending.sender.refusals._ENOUGH", 7)
    day.now = day.noon + timedelta(minutes=60)
    with pytest.raises(
        SendingError, match=r"the last 7 mails were all refused for good, most often with '5\.7\.1 relay"
    ):
        _keep(day, tmp_path, transport=Refusing(tmp_path / "out"))


def test_a_log_that_is_being_replaced_is_read_again_in_the_next_round(day, tmp_path):
    read, looks = day.log, []

    def log():
        looks.append(len(looks))
        if len(looks) == 2:
            raise InputError("events.csv: no such file")
        return read()

    day.log = log
    made, lines = _keep(day, tmp_path, rounds=3)
    assert made == 3
    assert lines[1] == "2026-03-02 12:00:00 broken off: the log cannot be read: events.csv: no such file"
    assert "already sent 1" in lines[2]


def test_a_log_that_is_stored_anew_in_the_middle_of_a_round_is_opened_again_in_the_next(day, tmp_path):
    read, looks = day.log, []

    def log():
        looks.append(len(looks))
        read().save(tmp_path / "store")
        opened = EventLog.open(tmp_path / "store")
        if len(looks) == 2:
            read().save(tmp_path / "store")
        return opened

    day.log = log
    made, lines = _keep(day, tmp_path, rounds=3)
    assert made == 3
    assert lines[1].startswith("2026-03-02 12:00:00 broken off: ")
    assert lines[1].endswith("another was stored in its place: open it again")
    assert "already sent 1" in lines[2]


def test_a_log_that_could_never_be_read_ends_the_loop_at_once(day, tmp_path):
    def log():
        raise InputError("events.csv: no such file")

    day.log = log
    with pytest.raises(InputError, match=r"^events\.csv: no such file"):
        _keep(day, tmp_path)


def test_an_approval_that_is_void_ends_the_loop(day, tmp_path):
    path = day.shop.templates / "welcome" / "hello.txt"
    path.write_text(path.read_text().replace("Good to see you", "Buy now"))
    with pytest.raises(ApprovalError, match="templates: changed welcome/hello"):
        _keep(day, tmp_path)


# --- several loops ----------------------------------------------------------------------------------------------------


@pytest.fixture
def loops(ledger, clock):
    """Loops by name, with leases of a minute."""
    return lambda name: Shares(ledger, name, approval="a1", lease=timedelta(minutes=1), clock=clock)


def test_a_loop_alone_has_everyone_and_one_that_joins_gets_half_without_a_word(loops):
    one, other = loops("one"), loops("other")
    assert len(one.hold()) == SHARES
    assert other.hold() == frozenset()  # nothing is free before the first has made room
    assert other.waits_for() == "until 12:01:00 UTC at most"
    kept = one.hold()
    assert (len(kept), kept | other.hold(), kept & other.hold()) == (SHARES // 2, frozenset(range(SHARES)), frozenset())
    one.release()
    assert len(other.hold()) == SHARES


def test_loops_under_other_approvals_mind_all_customers_each(ledger, clock):
    receipts, offers = (
        Shares(ledger, name, approval=name * 64, lease=timedelta(minutes=1), clock=clock) for name in "ab"
    )
    for loop in (receipts, offers, receipts):
        assert len(loop.hold()) == SHARES


def test_what_a_loop_that_died_had_is_free_when_its_lease_ends(loops, clock):
    names = [loops(name) for name in ("a", "b", "c")]
    for _ in range(3):
        held = [one.hold() for one in names]
    assert [len(one) for one in held] == [8, 8, 8]
    clock.forward(seconds=50)
    names[0].hold(), names[1].hold()
    clock.forward(seconds=20)  # the third has said nothing for 70 seconds
    for _ in range(2):
        held = [one.hold() for one in names[:2]]
    assert held[0] | held[1] == frozenset(range(SHARES))
    assert not held[0] & held[1]


def test_rounds_of_several_loops_send_everyone_once_each_by_one_of_them(day, tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite", clock=lambda: day.now) as opened:
        mine = [
            Shares(opened, name, approval=day.approval.id, lease=timedelta(hours=1), clock=lambda: day.now)
            for name in "abc"
        ]
        for minutes in range(0, 140, 10):
            day.now = day.noon + timedelta(minutes=minutes)
            for one in mine if minutes > 30 else mine[:1]:  # two join midway
                shares = one.hold()
                if shares:
                    day.round(minutes, shares=shares)
    assert len(list((tmp_path / "out").glob("*.eml"))) == 12
    assert day.parity().is_identical
    due = [json.loads(line)["due"] for line in (tmp_path / "captures" / "2026-03-02.jsonl").read_text().splitlines()]
    assert len(due) > 14
    late = due[-3:]
    assert len({name for some in late for name in some}) == sum(map(len, late))


def test_a_loop_says_what_part_of_the_customers_it_minds(day, tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite", clock=lambda: day.now) as opened:
        hour = timedelta(hours=1)
        assert len(Shares(opened, "offers", approval="f" * 64, lease=hour, clock=lambda: day.now).hold()) == SHARES
        other = Shares(opened, "elsewhere", approval=day.approval.id, lease=hour, clock=lambda: day.now)
        assert len(other.hold()) == SHARES
        _, lines = _keep(day, tmp_path, rounds=1)
        assert "the other loops have everyone still, until 13:00:00 UTC at most" in lines[0]
        with owner() as name:
            Shares(opened, name, approval=day.approval.id, lease=timedelta(hours=1), clock=lambda: day.now).hold()
            other.hold()
        _, lines = _keep(day, tmp_path, rounds=1)
        assert "12 of 24 shares of the customers, sent" in lines[0]


def test_two_loops_and_a_third_on_postgresql_share_the_customers(day, tmp_path, postgres_server):
    """Each is a `keep_sending` with a connection of its own; they join one after the other."""
    with postgres_server.psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE loops")
    place, lines, over = f"{postgres_server.server_url}/loops", [], threading.Event()
    day.now = day.noon + timedelta(minutes=130)

    def loop(number):
        def say(line):
            lines.append((number, line))
            thirds = {one for one, said in lines if f"{SHARES // 3} of {SHARES} shares" in said}
            if thirds == {0, 1, 2} and len(list((tmp_path / "out").glob("*.eml"))) == 12:
                over.set()

        _keep(day, tmp_path, rounds=None, ledger=place, every=timedelta(seconds=0.3), stop=over, say=say)

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
        time.sleep(0.4)
    shared = over.wait(120)
    over.set()
    for thread in threads:
        thread.join(60)
    assert shared, lines
    assert len(list((tmp_path / "out").glob("*.eml"))) == 12
    assert not [line for _, line in lines if "broken off" in line]
    with Ledger.open(place) as opened:
        assert opened.verify() == ()
        assert set(opened.deliveries()["state"]) == {"accepted"}
