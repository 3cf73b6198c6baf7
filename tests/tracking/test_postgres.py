"""The store of answers in PostgreSQL says the same as in SQLite."""

from __future__ import annotations

import uuid
from datetime import date

import pandas as pd
import pytest

from tests.tracking.conftest import FIREFOX, NAMES, SECOND, START
from toolkit.events import EventLog
from toolkit.tracking import Answers, Incoming, deliverability
from toolkit.tracking.tokens import TRAP


def _told(answers, tracked_mail, clock):
    answers.register([tracked_mail(number) for number in range(3)])
    answers.register([tracked_mail(number) for number in range(4)])
    answers.sent([(f"d{number}", START, None) for number in range(3)])
    answers.record(
        [
            Incoming("opened", START, mail=NAMES[0], agent=FIREFOX, network="192.0.2.0"),
            Incoming("clicked", START + SECOND, mail=NAMES[0], agent=FIREFOX, number=1),
            Incoming("clicked", START, mail=NAMES[1], agent=FIREFOX, number=0),
            Incoming("delivered", START, "ses", provider_mail=f"{NAMES[2]}zzzzzzzzzzzzzzzz@example.com", event_id="e1"),
            Incoming("delivered", START, "ses", provider_mail="later", event_id="e2", domain="example.org"),
        ]
    )
    again = answers.record([Incoming("delivered", START, "ses", provider_mail="later", event_id="e2")])
    answers.record([Incoming("clicked", START, mail=NAMES[1], agent=FIREFOX, number=TRAP)])
    answers.record([Incoming("paused", START, mail=NAMES[2], until=START + 10 * SECOND)])
    answers.record([Incoming("preferences", START, mail=NAMES[2], properties={"topic_news": True})])
    clock.forward(20)
    taken = [one.kind for one in answers.standing_since("x")]
    table = answers.table.drop(columns=["id", "event_id"])
    events = answers.events.drop(columns="event_id").sort_values(
        ["customer_id", "event", "at", "verdict_rule"], ignore_index=True
    )
    board = deliverability(answers)
    signs = [(one.decision_id, one.kind) for one in answers.signs_of(["d0", "d1", "d2", "d9"])]
    return again, taken, table, events, board, answers.standing(NAMES[2]), answers.unknown_count, signs


@pytest.fixture
def place(postgres_server):
    """The URL of an empty database of its own."""
    psycopg = pytest.importorskip("psycopg")
    name = f"answers_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{postgres_server.server_url}/{name}"


def test_both_databases_say_the_same(place, tmp_path, clock, tracked_mail):
    start = clock.now
    with Answers.open(tmp_path / "answers.sqlite", clock=clock) as answers:
        ours = _told(answers, tracked_mail, clock)
    clock.now = start
    with Answers.open(place, clock=clock) as answers:
        theirs = _told(answers, tracked_mail, clock)
    assert ours[0] == theirs[0]
    assert ours[1] == theirs[1] == ["unsubscribed", "subscribed"]
    pd.testing.assert_frame_equal(ours[2], theirs[2], check_dtype=False)
    pd.testing.assert_frame_equal(ours[3], theirs[3], check_dtype=False)
    pd.testing.assert_frame_equal(ours[4].table, theirs[4].table, check_dtype=False)
    assert ours[4].span == theirs[4].span == (date(2026, 3, 2), date(2026, 3, 2))  # sent at noon
    assert ours[5:] == theirs[5:]
    assert sorted(ours[-1])[:3] == [("d0", "clicked"), ("d0", "opened"), ("d1", "clicked")]
    frame = pd.DataFrame({"customer_id": ["c0"], "event": ["view"], "at": [pd.Timestamp(START, unit="us", tz="UTC")]})
    log = EventLog.from_pandas(frame)
    both = log.with_answers(place)
    assert both.event_counts == log.with_answers(str(tmp_path / "answers.sqlite")).event_counts
    assert both.event_counts["email_clicked_by_machine"] == 2


def test_an_unsubscribe_that_is_committed_after_a_later_answer_is_taken_up(place, clock, tracked_mail):
    psycopg = pytest.importorskip("psycopg")

    def taken(answers):
        found = list(answers.standing_since("x"))
        for one in found:
            answers.taken_up("x", one)
        return [one.mail for one in found]

    with Answers.open(place, clock=clock) as answers, psycopg.connect(place, autocommit=True) as other:
        answers.register([tracked_mail(number) for number in range(3)])
        answers.record([Incoming("unsubscribed", START, mail=NAMES[0])])
        assert taken(answers) == [NAMES[0]]
        numbers = [other.execute("SELECT nextval('answer_id_seq')").fetchone()[0] for _ in range(2)]
        early = clock.now
        clock.forward(1)
        answers.record([Incoming("unsubscribed", START, mail=NAMES[1])])
        assert NAMES[1] in taken(answers)
        row = other.execute("SELECT received_at FROM answer ORDER BY id LIMIT 1").fetchone()
        for number, mail, kind in zip(numbers, NAMES[:3:2], ("subscribed", "unsubscribed"), strict=True):
            other.execute(
                "INSERT INTO answer (id, event_id, mail, kind, at, received_at, provider) "
                "VALUES (%s, %s, %s, %s, %s, %s, '')",
                (number, f"late {number}", mail, kind, START, row[0] + 1),
            )
        found = [(one.mail, one.kind) for one in answers.standing_since("x")]
        assert (NAMES[2], "unsubscribed") in found
        assert (NAMES[0], "subscribed") not in found
        clock.forward(3600)
        answers.record([Incoming("complained", START, mail=NAMES[1])])
        taken(answers)
        assert [one.kind for one in answers.standing_since("x")] == ["complained"]  # not for ever
        assert early < clock.now


@pytest.mark.parametrize("where", ["sqlite", "postgresql"])
def test_mails_told_anew_are_those_that_leave_so_and_their_links_lead_there(
    request, tmp_path, clock, tracked_mail, where
):
    place = request.getfixturevalue("place") if where == "postgresql" else tmp_path / "answers.sqlite"
    new = ("https://shop.example.com/help?a=1&b=2", "https://shop.example.com/new?code=50%25")
    with Answers.open(place, clock=clock) as answers:
        answers.register([tracked_mail(number) for number in range(3)])
        anew = [tracked_mail(number, targets=new, locale="fr") for number in range(2)]
        assert answers.correct([*anew, tracked_mail(2)], lambda asked: [one for one in asked if one != "d1"]) == 1
        assert answers.correct([anew[0], tracked_mail(3)], list) == 0  # as it is by now, and one that is not known
        kept = answers.record([Incoming("clicked", START, mail=NAMES[n], agent=FIREFOX, number=1) for n in range(2)])
        assert [one.url for one in kept] == [new[1], new[0]]
        assert [answers.standing(NAMES[n]).locale for n in range(2)] == ["fr", "en"]
