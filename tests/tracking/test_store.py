"""The store of answers itself: one of an earlier version, and what each round asks of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from sqlalchemy.dialects import sqlite

from toolkit.tracking import Answers, Incoming, TrackedMail
from toolkit.tracking.schema import VERSION, answers, bears_on_mailing

FIRST = """
DROP TABLE tracked_coupon;
DROP INDEX answer_standing;
UPDATE answer_meta SET value = '1' WHERE name = 'version';
"""


def _mail(number, coupon=None):
    name = f"{number:016}"
    what = "cart", "reminder", "cart/reminder", None, None, "marketing", "example.org", "en", f"{name}@example.com", 0
    return TrackedMail(name, f"d{number}", f"c{number}", *what, coupon=coupon)


def test_a_store_of_the_first_version_is_brought_up_to_date_and_keeps_what_it_has(tmp_path):
    path = tmp_path / "answers.sqlite"
    with Answers.open(path) as store:
        store.register([_mail(1)])
        store.record([Incoming("unsubscribed", at=1_000_000, mail=f"{1:016}")])
        before = store.table
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(FIRST)
    with Answers.open(path) as store:
        assert store.table.equals(before)
        assert [one.kind for one in store.standing_since("me")] == ["unsubscribed"]
        store.register([_mail(2, ("spring", "A1"))])
        assert store.codes_of(["d1", "d2"]) == [("spring", "A1", "d2")]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT value FROM answer_meta WHERE name = 'version'").fetchone() == (str(VERSION),)
        indexes = [row[1] for row in connection.execute("PRAGMA index_list(answer)")]
    assert "answer_standing" in indexes


def test_a_mail_of_two_batches_may_have_had_two_codes(tmp_path):
    with Answers.open(tmp_path / "answers.sqlite") as store:
        store.register([_mail(1, ("spring", "A1")), _mail(2)])
        store.register([_mail(1, ("spring", "A2")), _mail(3, ("spring", "A1"))])
        assert store.codes_of(["d1", "d2"]) == [("spring", "A1", "d1"), ("spring", "A2", "d1")]


def test_answers_that_bear_on_mailing_are_found_by_their_own_index(tmp_path):
    path = tmp_path / "answers.sqlite"
    Answers.open(path).close()
    query = answers.select().where(bears_on_mailing(answers.c.kind), answers.c.received_at <= 5)
    text = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    with closing(sqlite3.connect(path)) as connection:
        plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}"))
    assert "answer_standing" in plan
