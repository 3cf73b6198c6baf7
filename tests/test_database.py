"""One door to the ledger's and the answers' database: what is no place for them is told in the words of each."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from toolkit.database import connect
from toolkit.errors import AnswersError, LedgerError, NotSupportedError
from toolkit.sending import Ledger
from toolkit.tracking import Answers

ROOMS = [
    pytest.param(Ledger, LedgerError, "ledger", id="ledger"),
    pytest.param(Answers, AnswersError, "answers", id="answers"),
]


@pytest.mark.parametrize(("kind", "error", "word"), ROOMS)
@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("sqlite://", "a database in memory forgets everything"),
        ("sqlite:///:memory:", "a database in memory forgets everything"),
        ("my sql://x", "'my sql' begins what is not a database URL"),
    ],
)
def test_what_is_no_place_is_told(kind, error, word, where, said):
    with pytest.raises(error, match=f"{word}: {said}"):
        kind.open(where)


@pytest.mark.parametrize(("kind", "error", "word"), ROOMS)
def test_places_that_cannot_be_are_told(kind, error, word, tmp_path):
    with pytest.raises(NotSupportedError, match=f"{word}: mysql is not supported"):
        kind.open("mysql://host/name")
    (tmp_path / "file").touch()
    with pytest.raises(error, match=rf"{word} .*below: cannot be opened: .+"):
        kind.open(tmp_path / "file" / "below")
    (tmp_path / "noise").write_bytes(b"no database" * 100)
    with pytest.raises(error, match=rf"{word} .*noise: cannot be opened: file is not a database"):
        kind.open(tmp_path / "noise")


def test_a_file_is_its_owners_alone_and_writers_take_turns(tmp_path):
    place = tmp_path / "new" / "book.sqlite"

    def count(number):
        engine = connect(place, what="book", error=LedgerError)
        for _ in range(20):
            with engine.begin() as connection:
                connection.execute(text("CREATE TABLE IF NOT EXISTS book (n INTEGER)"))
                found = connection.execute(text("SELECT count(*) FROM book")).scalar_one()
                connection.execute(text("INSERT INTO book VALUES (:n)"), {"n": found})
        engine.dispose()

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(count, range(3)))
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    engine = connect(place, what="book", error=LedgerError)
    with engine.connect() as connection:
        # What a writer has counted is still so when it writes.
        assert list(connection.execute(text("SELECT n FROM book ORDER BY n")).scalars()) == list(range(60))
    engine.dispose()
