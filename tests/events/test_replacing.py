"""A stored log that another program replaces, in the middle of whatever this one does with it."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import pandas as pd
import pytest

from toolkit.errors import EventLogError
from toolkit.events import EventLog
from toolkit.events.erasure import Person, erase_from_log
from toolkit.scenario import loads
from toolkit.sending.sender.recheck import Due, stopped_since

ENDED = loads("{scenario: s, trigger: {event: a}, reentry: once, exit_on: [{event: x}], steps: [{send: m/x}]}")
MADE = """
import pandas as pd
from toolkit.events import EventLog

def log_of(*customers):
    return EventLog.from_pandas(pd.DataFrame({"customer_id": customers, "event": "x", "at": "2025-01-01T09:00:00Z"}))
"""


def log_of(*customers):
    return EventLog.from_pandas(pd.DataFrame({"customer_id": customers, "event": "x", "at": "2025-01-01T09:00:00Z"}))


def elsewhere(code):
    subprocess.run([sys.executable, "-c", MADE + code], check=True)


@pytest.fixture
def store(tmp_path):
    log_of("bo", "cy").save(tmp_path / "store")
    return tmp_path / "store"


def test_a_log_that_another_program_replaced_is_not_read_as_the_new_one(store):
    log = EventLog.open(store)
    longer = log.followed_by(log_of("di"))
    elsewhere(f"log_of('ana', 'bo').save({str(store)!r})")
    for read in (lambda: log.events, lambda: longer.events, lambda: log.whole_file, log.profile):
        with pytest.raises(EventLogError, match="another was stored in its place: open it again"):
            read()
    assert EventLog.open(store).events["customer_id"].tolist() == ["ana", "bo"]


def test_of_two_who_add_to_one_store_the_later_is_told_instead_of_undoing_the_first(store):
    mine, theirs = (EventLog.open(store).followed_by(log_of(one)) for one in ("mine", "theirs"))
    theirs.save(store)
    with pytest.raises(EventLogError, match="open it again"):
        mine.save(store)
    assert set(EventLog.open(store).events["customer_id"]) == {"bo", "cy", "theirs"}
    assert os.listdir(store.parent) == ["store"]


def test_an_erasure_is_not_undone_by_another_that_began_before(store, monkeypatch):
    check = EventLog.check_in_place
    others = iter([lambda: erase_from_log(store, Person("bo"), yes=True)])

    def late(log):
        if (store.parent / "store").is_dir() and any(one.name.endswith(".new") for one in store.parent.iterdir()):
            next(others, lambda: None)()
        check(log)

    monkeypatch.setattr(EventLog, "check_in_place", late)
    with pytest.raises(EventLogError, match="open it again"):
        erase_from_log(store, Person("cy"), yes=True)
    assert EventLog.open(store).events["customer_id"].tolist() == ["cy"]


def test_a_link_to_a_store_stays_a_link(store, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(store)
    log_of("ana").save(link)
    assert link.is_symlink()
    assert EventLog.open(store).events["customer_id"].tolist() == ["ana"]
    assert sorted(os.listdir(tmp_path)) == ["link", "store"]


def test_where_a_program_died_between_two_names_the_log_before_is_named(store, monkeypatch):
    monkeypatch.setattr("toolkit.events.replacing._PATIENCE", 1)
    aside = store.with_name(".store.0123abcd.old")
    store.rename(aside)
    with pytest.raises(EventLogError, match=r"\.store\.0123abcd\.old: rename it to store"):
        EventLog.open(store)
    aside.rename(store)
    assert len(EventLog.open(store)) == 2


def test_what_killed_programs_left_is_deleted_a_day_later(store):
    for name in (".store.0123abcd.new", ".store.4567cdef.new"):
        store.with_name(name).mkdir()
    os.utime(store.with_name(".store.0123abcd.new"), (0, 0))
    log_of("ana").save(store)
    assert sorted(os.listdir(store.parent)) == [".store.4567cdef.new", "store"]


def test_what_a_killed_program_moved_away_is_deleted_by_the_next_one_that_stores(store):
    store.rename(store.with_name(".store.0123abcd.old"))
    log_of("ana").save(store)
    assert os.listdir(store.parent) == ["store"]


def test_what_a_program_left_is_deleted_as_soon_as_it_is_killed(store):
    writing = store.with_name(".store.0123abcd.new")
    writing.mkdir()
    code = "import sys, pathlib, time\nfrom toolkit.events.replacing import held\n"
    code += "with held(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code, str(writing)], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "held\n"
        log_of("ana").save(store)
        assert sorted(os.listdir(store.parent)) == [".store.0123abcd.new", "store"]
        program.kill()
    log_of("ana").save(store)
    assert os.listdir(store.parent) == ["store"]
    assert sorted(os.listdir(store)) == ["customers.parquet", "events.parquet", "ids.parquet", "manifest.json"]


def test_a_damaged_customers_table_is_told(store):
    (store / "customers.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(EventLogError, match=r"customers\.parquet: cannot be read as Parquet"):
        EventLog.open(store)


@pytest.mark.parametrize("folder", [None, 5, "", "a\0b", "x" * 5000])
def test_what_is_no_folder_is_told(folder):
    for door in (log_of("ana").save, EventLog.open):
        with pytest.raises(EventLogError, match="allowed: the"):
            door(folder)


def test_a_folder_that_cannot_be_made_is_told(store, tmp_path, monkeypatch):
    with pytest.raises(EventLogError, match="the log cannot be stored: "):
        log_of("ana").save(store / "manifest.json" / "below")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EventLogError, match="the folder that this program runs in"):
        log_of("ana").save(".")


@pytest.mark.parametrize(
    "ask",
    [
        lambda log, folder: log.event_counts,
        lambda log, folder: log.events,
        lambda log, folder: log.carried("x"),
        lambda log, folder: log.unreadable_numbers("x", "value"),
        lambda log, folder: log.event_ids([0]),
        lambda log, folder: log.compacted(["x"]),
        lambda log, folder: log.ranges(events=1),
        lambda log, folder: log.followed_by(log_of("bo")),
        lambda log, folder: log.save(folder / "store"),
        lambda log, folder: log.profile(),
        lambda log, folder: stopped_since(log, ENDED, [Due("d", "s", "bo", None, datetime(2024, 1, 1, tzinfo=UTC))],
                                          now=datetime(2025, 2, 1, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_whatever_is_asked_of_a_log_whose_file_is_gone_says_so(tmp_path, ask):
    file = tmp_path / "events.parquet"
    log_of("bo", "cy").events.assign(value="12 €").to_parquet(file)
    log = EventLog.from_parquet(file)
    file.unlink()
    with pytest.raises(EventLogError, match=r"a file of this log can no longer be read.*events\.parquet"):
        ask(log, tmp_path)
