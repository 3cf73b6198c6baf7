"""What a batch holds lies on the disk where it is large: nothing of it changes, and it can be in no one's way."""

from __future__ import annotations

import os
import tempfile

import pytest

from toolkit.errors import SendingError
from toolkit.sending import send, spool
from toolkit.sending.batch.mails import Numbers
from toolkit.sending.batch.manifest import Rows, canonical, digest_of
from toolkit.sending.spool import Spool, Store


def test_what_lies_on_the_disk_is_what_was_added():
    small, large = Spool(in_memory=100), Spool()
    for number in range(50):
        assert small.add(f"{number}".encode() * number) == large.add(f"{number}".encode() * number) == number
    assert list(small) == list(large)
    assert (small._file is None, large._file is None) == (False, True)
    with pytest.raises(IndexError, match="number 50 of 50"):
        small[50]


def test_the_file_goes_with_the_spool():
    kept = Spool(in_memory=1)
    kept.add(b"ab")
    file = kept._file
    os.fstat(file)
    del kept
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)


def test_a_batch_that_does_not_fit_says_where_and_what_to_do(small_disk, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    kept = Spool(in_memory=1000)
    with pytest.raises(
        SendingError, match=r"a batch does not fit there: No space left on device; make room there, or set TMPDIR"
    ):
        kept.add(b"x" * 2_000_000)


def test_a_batch_on_the_disk_is_the_same_batch(shop, monkeypatch):
    in_memory = shop.prepare()
    monkeypatch.setattr(spool, "_IN_MEMORY", 500)
    on_disk = shop.prepare()
    assert on_disk.spool._file is not None
    assert on_disk.digest == in_memory.digest
    assert list(on_disk.mails) == list(in_memory.mails)
    assert str(on_disk.summary()) == str(in_memory.summary())
    report = send(on_disk, shop.approve(in_memory), transport=f"outbox:{shop.outbox}", confirm=12, progress=False)
    assert report.sent == 12
    assert list(report.table.decision_id) == [mail.letter.decision_id for mail in in_memory.mails]


def test_a_letter_is_read_once_from_the_disk_to_be_sent_and_the_mails_of_a_batch_in_their_order(shop, monkeypatch):
    batch = shop.prepare()
    approval = shop.approve(batch)
    asked = []
    read = spool.Store.__getitem__
    monkeypatch.setattr(
        spool.Store, "__getitem__", lambda self, place: asked.append((self, place)) or read(self, place)
    )
    assert send(batch, approval, transport=f"outbox:{shop.outbox}", confirm=12, progress=False).sent == 12
    letters = [place for store, place in asked if store is batch.mails]
    assert letters == list(range(12))  # to hold them against the approval; a sender's stubs are of the same reading
    assert sum(store is not batch.mails for store, _ in asked) <= 5 * 12


@pytest.mark.parametrize("together", [1, 3, 50])
def test_objects_that_lie_side_by_side_are_found_one_by_one(together):
    items = [(number, f"name {number}") for number in range(20)]
    store = Store[tuple[int, str]](together=together)
    for count, item in enumerate(items):
        assert store.add(item) == count
        assert (len(store), store[count], store[0]) == (count + 1, item, items[0])
    assert list(store) == items
    assert [store[number] for number in (19, 3, 4, 0, -1, -20)] == [items[number] for number in (19, 3, 4, 0, -1, -20)]
    assert store[4:9] == tuple(items[4:9])
    for number in (20, 21, -21, -24):
        with pytest.raises(IndexError):
            store[number]


def test_rows_with_other_names_or_values_than_the_one_before_are_the_same_canonical_json():
    rows = [
        {"b": "1", "a": "é"},
        {"b": 'a "b"\\', "a": None},
        {"b": 2, "a": [True]},
        {"é": 1},
        {},
        {"a": {"z": 1, "c": 2}},
    ]
    assert list(Rows(rows).lines()) == [canonical(row) for row in rows]


def test_rows_are_hashed_as_the_list_they_are():
    rows = [{"b": 1, "a": "é"}, {"a": None}, {}]
    for count in range(4):
        there = {"audience": Rows(rows[:count]), "z": 1, "a": [1]}
        assert digest_of(there) == digest_of({**there, "audience": rows[:count]})
    assert Rows(rows) == Rows(rows)
    assert Rows(rows) != Rows(rows[:2])
    assert (Rows(rows)[-2:], Rows(rows)[0]) == (rows[-2:], rows[0])


def test_a_mail_is_found_by_its_decision_even_where_two_hashes_are_the_same(monkeypatch):
    names = [f"d{number}" for number in range(1_000)]
    for modulus in (2**64, 7):
        monkeypatch.setattr(
            "toolkit.sending.batch.mails.hash_of", lambda name, modulus=modulus: int(name[1:]) % modulus
        )
        numbers = Numbers(names, names.__getitem__)
        assert [numbers[name] for name in names] == list(range(1_000))
        assert "d1000" not in numbers
        with pytest.raises(KeyError):
            numbers["d1007"]
