"""The deliverability board: what became of the mails at each recipient domain, with alarms."""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pytest

from tests.tracking.conftest import FIREFOX, START
from toolkit.errors import InputError
from toolkit.events import EventLog
from toolkit.tracking import Answers, Incoming, deliverability

ROOT = Path(__file__).parents[2]


def name_of(number):
    letters = "abcdefghijklmnop"
    return "".join(letters[(number >> shift) & 15] for shift in range(60, -4, -4))


@pytest.fixture
def busy(tmp_path, clock, tracked_mail):
    """A thousand mails to one domain, a hundred to another."""
    with Answers.open(tmp_path / "busy.sqlite", clock=clock) as answers:
        domains = ["example.org"] * 1000 + ["example.net"] * 100
        mails = [
            tracked_mail(name=name_of(n), decision_id=f"d{n}", customer_id=f"c{n}", domain=domain)
            for n, domain in enumerate(domains)
        ]
        answers.register(mails)
        answers.sent([(f"d{n}", START, None) for n in range(1100)])
        answers.record([Incoming("delivered", START, "ses", name_of(n), event_id=f"a{n}") for n in range(990)])
        answers.record([Incoming("complained", START, "ses", name_of(n), event_id=f"c{n}") for n in range(3)])
        gone = {"provider": "ses", "bounce_type": "hard"}
        hard = [Incoming("bounced", START, mail=name_of(n), event_id=f"b{n}", **gone) for n in range(1000, 1005)]
        answers.record(hard)
        answers.record([Incoming("opened", START, mail=name_of(n), agent=FIREFOX) for n in range(50)])
        answers.record([Incoming("opened", START, mail=name_of(n), agent="Mozilla/5.0") for n in range(40, 240)])
        yield answers


def test_each_mail_counts_once_in_a_column_and_alarms_name_the_limit(busy):
    board = deliverability(busy)
    rows = board.table.set_index("domain")
    assert rows.index.tolist() == ["example.org", "example.net"]
    one = rows.loc["example.org"]
    assert (one["sent"], one["delivered"], one["complained"]) == (1000, 990, 3)
    assert (one["opened_by_people"], one["opened_by_machines"]) == (50, 200)
    assert one["complained_rate"] == pytest.approx(3 / 990)
    assert one["delivered_rate"] == pytest.approx(0.99)
    assert math.isnan(rows.loc["example.net", "delivered_rate"])
    assert board.alarms == (
        "example.org: 3 of 990 called spam (0.30%); limit 0.3%",
        "example.net: 5 of 100 to nobody (5.0%); stay below 2%",
    )
    assert "Alarm: example.org" in str(board)
    assert "<b>Alarm:</b>" in board._repr_html_()
    assert ">3 (0.30%)</td>" in board._repr_html_()
    assert ">5 (5.00%)</td>" in board._repr_html_()


def test_the_board_has_a_picture(busy):
    figure = deliverability(busy).plot()
    assert "2 of 2 domains need a look" in figure.layout.title.text
    shares = {trace.name: list(trace.x) for trace in figure.data}
    assert shares["nobody there"] == [0.05, 0.0]
    for place in range(2):
        assert sum(share[place] for share in shares.values()) == pytest.approx(1)


def test_an_empty_store_is_an_empty_board(answers):
    board = deliverability(answers)
    assert (len(board.table), board.alarms) == (0, ())
    assert "No mails yet" in board.plot().layout.title.text


def test_a_moment_without_a_zone_is_refused(answers):
    with pytest.raises(InputError, match="needs a time zone"):
        deliverability(answers, since=datetime(2026, 3, 1))  # noqa: DTZ001


def test_a_log_that_holds_the_answers_makes_the_same_board():
    rows = [("ana", "email_sent", "2025-03-03T10:00Z", "d1"), ("ana", "email_sent", "2025-03-04T10:00Z", "d2")]
    rows += [("bo", "email_sent", "2025-03-04T10:00Z", "d3"), ("bo", "email_sent", "2025-03-01T10:00Z", "d4")]
    rows += [("ana", f"email_{kind}", "2025-03-04T11:00Z", "d2") for kind in ("delivered", "complained", "opened")]
    rows += [("ana", "email_opened", "2025-03-04T12:00Z", "d2"), ("cy", "email_sent", "2025-03-04T10:00Z", "d5")]
    events = pd.DataFrame(rows, columns=["customer_id", "event", "at", "decision_id"])
    events.loc[len(events)] = ["bo", "email_bounced", "2025-03-04T10:05Z", "d3"]
    events.loc[len(events)] = ["bo", "email_opened_by_machine", "2025-03-01T10:05Z", "d4"]
    events["bounce_type"] = events["event"].map({"email_bounced": "hard"})
    people = pd.DataFrame({"customer_id": ["ana", "bo"], "email": ["ana@Example.org", "bo@example.net"]})
    log = EventLog.from_pandas(events, customers=people)
    board = deliverability(log)
    rows = board.table.set_index("domain")
    assert set(rows.index) == {"example.org", "example.net", "unknown"}
    one, two = rows.loc["example.org"], rows.loc["example.net"]
    assert (one["sent"], one["delivered"], one["complained"], one["opened_unsure"]) == (2, 1, 1, 1)
    assert (two["sent"], two["bounced_hard"], two["opened_by_machines"], two["busiest_day"]) == (2, 1, 1, 1)
    assert board.alarms[0] == "example.net: 1 of 2 to nobody (50.0%); stay below 2%"
    assert "counted as unsure" in board.notes[0]
    figure = board.plot()
    shares = [list(trace.x) for trace in figure.data]
    assert [sum(share[place] for share in shares) for place in range(3)] == pytest.approx([1, 1, 1])
    later = deliverability(log, since=pd.Timestamp("2025-03-04T00:00Z"))
    assert later.table["sent"].tolist() == [1, 1, 1]
    assert deliverability(log, since="2025-03-04T00:00Z").table.equals(later.table)


def test_a_click_is_a_persons_only_where_something_says_so():
    said = ["human", "human", "unsure", "machine", None, "robot"]
    rows = [(f"c{n}", kind, f"d{n}", verdict) for n, verdict in enumerate(said) for kind in ("sent", "clicked")]
    events = pd.DataFrame(rows, columns=["customer_id", "event", "decision_id", "verdict"])
    events = events.assign(event="email_" + events["event"], at="2025-03-03T10:00Z", scenario="cart", step="hello")
    for by in ("domain", "mail"):
        row = deliverability(EventLog.from_pandas(events), by=by).table.iloc[0]
        assert row[["clicked_by_people", "clicked_unsure", "clicked_by_machines"]].tolist() == [2, 3, 1]
    board = deliverability(EventLog.from_pandas(events), by="mail")
    assert "33.3%–83.3% clicked" in board.plot().data[0].y[0]
    assert ">clicked, perhaps by a machine</th>" in board._repr_html_()


def test_a_board_says_when_its_mails_were_sent():
    log = EventLog.open(ROOT / "data" / "shop")
    board = deliverability(log, since=log.span[1] - pd.Timedelta(28, unit="D"))
    assert board.span == (date(2025, 4, 8), date(2025, 5, 5))
    assert "Deliverability, mails sent 2025-04-08 to 2025-05-05 (observed)" in str(board)
    assert "sent 2025-04-08 to 2025-05-05 · <i>observed</i>" in board._repr_html_()
    assert "sent 8 Apr – 5 May 2025" in re.sub("<[^>]*>", "", board.plot().layout.title.text.replace("<br>", " "))


def test_the_shipped_shop_has_no_domain_near_a_limit():
    board = deliverability(EventLog.open(ROOT / "data" / "shop"))
    assert board.table["sent"].sum() == 10_329
    assert board.alarms == ()


def test_the_same_by_mail_from_a_log_says_how_readers_answered_and_what_names_no_mail():
    rows = [(f"c{n}", "sent", f"d{n}", "hello") for n in range(4)] + [("c4", "sent", "d4", "offer")]
    rows += [("c0", "delivered", "d0", "hello"), ("c1", "delivered", "d1", "hello"), ("c2", "bounced", "d2", "hello")]
    rows += [("c0", "clicked", "d0", "hello"), ("c0", "clicked", "d0", "hello"), ("c1", "unsubscribed", "d1", "hello")]
    rows += [("c1", "unsubscribed", None, None)]
    events = pd.DataFrame(rows, columns=["customer_id", "event", "decision_id", "step"])
    events = events.assign(event="email_" + events["event"], at="2025-03-03T10:00Z", scenario="welcome")
    events.loc[events["step"].isna(), "scenario"] = None
    board = deliverability(EventLog.from_pandas(events), by="mail")
    table = board.table.set_index("mail")
    assert table.index.tolist() == ["welcome.hello", "welcome.offer"]
    assert table.loc["welcome.hello", ["sent", "delivered", "bounced_hard", "unsubscribed"]].tolist() == [4, 2, 1, 1]
    assert table.loc["welcome.hello", ["clicked_by_people", "clicked_unsure"]].tolist() == [0, 1]
    assert table.loc["welcome.hello", "clicked_unsure_rate"] == 0.5  # this log does not tell people from machines
    assert table.loc["welcome.hello", "bounced_hard_rate"] == 0.25
    assert board.alarms == ("welcome.hello: 1 of 4 to nobody (25.0%); stay below 2%",)
    assert board.notes == (
        "This log does not tell people's opens and clicks from machines': they are counted as unsure.",
        "Left out, because it names no mail: 1 answer.",
        "These are answers. What a mail brings, only people drawn at random can tell: tk.experiment.",
    )
    assert ">1 (50.00%)</td>" in board._repr_html_()
    figure = board.plot()
    assert "1 of 2 mails needs a look" in figure.layout.title.text
    assert "at most 50.0% clicked</span><br>" in figure.data[0].y[1]


def test_the_same_by_mail_from_the_tracker(busy, answers):
    board = deliverability(busy, by="mail")
    assert board.table["mail"].tolist() == ["cart.reminder"]
    assert board.table["sent"].sum() == 1100
    assert deliverability(answers, by="mail").notes[0].startswith("No mails here yet")


def test_a_log_that_names_no_mail_says_so_and_another_row_is_refused():
    log = EventLog.from_pandas(
        pd.DataFrame({"customer_id": ["a"], "event": ["email_sent"], "at": ["2025-03-03T10:00Z"]})
    )
    assert deliverability(log, by="mail").notes == (
        "Nothing here names its mail; a log does so in the columns scenario and step.",
    )
    with pytest.raises(InputError, match="allowed: domain, mail; did you mean 'mail'"):
        deliverability(log, by="mails")
