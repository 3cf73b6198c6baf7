"""Senders that are killed, two at once, and full disks: no mail twice, none lost without a word."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sending.nursery import Nursery
from tests.sending.shops import NOON, batches_of
from toolkit.errors import LedgerError, TransportError
from toolkit.sending import Ledger, Receipt, State, approve, send

COUNT = 60
ROOT = Path(__file__).parents[2]


class Server:
    """A way out that writes down every mail it takes, and kills its sender at a given point of the n-th mail."""

    rehearsal = True
    ledger = None
    name = "server:here"
    at_once = 4

    def __init__(self, book, *, die_at=None, point=None, slow=0.0):
        self.book = Path(book)
        self.book.touch()
        self.die_at = die_at
        self.point = point
        self.slow = slow
        self.taken = 0

    def deliver(self, mails, start) -> Iterator[Receipt]:
        while some := [mail for _, mail in zip(range(self.at_once), mails, strict=False)]:
            self._point("claimed", len(some))
            granted = start([mail.decision_id for mail in some])
            for mail in some:
                if mail.decision_id in granted:
                    self._point("started")
                    self._take(mail)
                    self._point("taken")
                    yield Receipt(mail.decision_id, State.ACCEPTED, code=250)

    def _take(self, mail):
        time.sleep(self.slow)
        handle = os.open(self.book, os.O_WRONLY | os.O_APPEND)
        os.write(handle, f"{mail.recipient}\n".encode())
        os.close(handle)
        self.taken += 1

    def _point(self, name, ahead=1):
        if self.point == name and self.die_at is not None and self.taken + ahead > self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    @property
    def book_of_all(self):
        return Counter(self.book.read_text().split())


class Witnessing(Server):
    """The same, and it can be asked."""

    def __init__(self, book, addresses, **options):
        super().__init__(book, **options)
        self.addresses = addresses

    def find(self, decision_ids):
        taken = self.book_of_all
        there = [name for name in decision_ids if self.addresses[name] in taken]
        return {name: Receipt(name, State.ACCEPTED, code=250, already=True) for name in there}


def _send(batch, approved, way, ledger=None):
    return send(batch, approved, transport=way, confirm=len(batch), ledger=ledger, progress=False)


# What a child does with the batches of its nursery.


def _send_first(batches, *rest):
    _send(batches[0], *rest)


def _send_on_a_small_disk(batches, *rest):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
    try:
        _send(batches[0], *rest)
    except LedgerError:
        os._exit(7)


def _send_until_interrupted(batches, *rest):
    with contextlib.suppress(KeyboardInterrupt):
        _send(batches[0], *rest)


def _send_one_of(batches, number, *rest):
    _send(batches[number], *rest)


@pytest.fixture(scope="module")
def shop_of_all(tmp_path_factory, make_shop, make_log):
    return make_shop(tmp_path_factory.mktemp("shop"), make_log(COUNT))


@pytest.fixture(scope="module")
def batch(shop_of_all):
    return shop_of_all.prepare()


@pytest.fixture(scope="module")
def approved(batch, signing_key_file):
    return approve(batch, by="ana", key=signing_key_file)


@pytest.fixture(scope="module")
def nursery(shop_of_all):
    """Its children send the same batch, prepared once more from the same folder."""
    with Nursery(batches_of, shop_of_all.folder, COUNT, NOON) as opened:
        yield opened


@pytest.fixture(scope="module")
def addresses(batch):
    return {mail.letter.decision_id: mail.letter.to for mail in batch.mails}


@pytest.fixture
def ledger_file(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def sending(batch, approved, ledger_file):
    return lambda way: _send(batch, approved, way, ledger_file)


@pytest.fixture
def child_sending(nursery, approved, ledger_file):
    return lambda way, work=_send_first: nursery.start(work, approved, way, ledger_file)


@pytest.mark.parametrize("point", ["claimed", "started", "taken"])
def test_killed_at_any_point_where_the_other_side_can_tell_everyone_is_mailed_once(
    ledger_file, sending, child_sending, addresses, tmp_path, point
):
    book = tmp_path / "book"
    for die_at in (0, 1, 6, 30, COUNT - 1):
        child = child_sending(Witnessing(book, addresses, die_at=die_at, point=point))
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL)
    report = sending(Witnessing(book, addresses))
    taken = Server(book).book_of_all
    assert taken == Counter(addresses.values())
    assert (report.unknown, report.failed, report.waiting) == (0, 0, 0)
    assert report.sent + report.already_sent == COUNT
    with Ledger.open(ledger_file) as ledger:
        assert ledger.verify() == ()
        assert ledger.status().iloc[0].says == "done"


@pytest.mark.parametrize("point", ["claimed", "started", "taken"])
def test_killed_where_nobody_can_tell_no_one_is_mailed_twice_and_every_doubt_is_listed(
    ledger_file, sending, child_sending, addresses, tmp_path, point
):
    book = tmp_path / "book"
    killed = 0
    for die_at in (0, 5, 20):
        child = child_sending(Server(book, die_at=die_at, point=point))
        child.join()
        killed += child.exitcode == -signal.SIGKILL
    assert killed == 3
    report = sending(Server(book))
    taken = Server(book).book_of_all
    assert not [address for address, times in taken.items() if times > 1]
    with Ledger.open(ledger_file) as ledger:
        doubtful = set(ledger.deliveries(state="unknown").address)
        assert set(ledger.deliveries(state="accepted").address) <= set(taken)
    assert set(addresses.values()) == set(taken) | doubtful
    assert report.unknown == len(doubtful) <= killed * Server.at_once
    assert (point != "claimed") or not doubtful


def test_two_senders_at_once_share_the_work_and_mail_everyone_once(child_sending, addresses, tmp_path):
    book = tmp_path / "book"
    children = [child_sending(Server(book, slow=0.002)) for _ in range(2)]
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    assert Server(book).book_of_all == Counter(addresses.values())


def test_a_sender_waits_for_what_another_holds_and_takes_over_when_that_one_dies(child_sending, addresses, tmp_path):
    book = tmp_path / "book"
    first = child_sending(Witnessing(book, addresses, slow=0.01))
    while not book.exists() or len(Server(book).book_of_all) < 5:
        time.sleep(0.01)
    second = child_sending(Witnessing(book, addresses))
    first.kill()
    first.join()
    second.join()
    assert second.exitcode == 0
    assert Server(book).book_of_all == Counter(addresses.values())


def test_two_batches_of_the_same_mails_sent_at_once_mail_everyone_once(shop, noon, tmp_path):
    book = tmp_path / "book"
    moments = (noon, noon.replace(minute=1))
    batches = batches_of(shop.folder, COUNT, *moments)
    approvals = [shop.approve(batch) for batch in batches]
    with Nursery(batches_of, shop.folder, COUNT, *moments) as nursery:
        children = [nursery.start(_send_one_of, n, approvals[n], Server(book)) for n in range(2)]
        for child in children:
            child.join()
    assert [child.exitcode for child in children] == [0, 0]
    assert Server(book).book_of_all == Counter(mail.letter.to for mail in batches[0].mails)


SCRIPT = """
import sys
from datetime import datetime, timedelta, UTC
import pandas as pd
from toolkit.events import EventLog
from toolkit.scenario import load
from toolkit.sending import approve, prepare, send
people = pd.read_csv("people.csv")
events = pd.DataFrame({"customer_id": people.customer_id, "event": "sign_up", "at": pd.Timestamp("2026-03-02T08:00Z")})
log = EventLog.from_pandas(events, customers=people)
batch = prepare(load("templates"), log, now=datetime(2026, 3, 2, 12, tzinfo=UTC), templates="templates")
print(send(batch, approve(batch, by="ana"), confirm=len(batch), progress=False), flush=True)
"""


def test_a_notebook_killed_in_the_middle_goes_on_when_run_again(shop, make_people):
    """Separate interpreters, the real outbox, and nothing shared but the disk."""
    make_people(400).to_csv("people.csv", index=False)
    (shop.templates / "welcome" / "scenario.yaml").write_text(
        "scenario: welcome\ntrigger: {event: sign_up}\nreentry: once\nsteps: [{wait: 1h}, {send: welcome/hello}]\n"
    )
    (shop.templates / "policies.yaml").write_text(
        "sender: {name: Maison Lune, email: hello@example.com}\n"
        "brand: {name: Maison Lune, address: Paris, unsubscribe_url: 'https://shop.example.com/u/{token}'}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as first:
        while len(shop.mails()) < 100 and first.poll() is None:
            time.sleep(0.001)
        first.kill()
    came = len(shop.mails())
    assert 100 <= came < 400
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert len(shop.mails()) == 400
    assert second.stdout.startswith(f"sent {400 - came}, already sent {came}, skipped 0, unknown 0, failed 0")
    with Ledger.open("outbox/ledger.sqlite") as ledger:
        assert ledger.status().accepted.sum() == 400
        assert ledger.verify() == ()


def test_a_ledger_that_cannot_grow_stops_the_sending_before_a_mail_goes(sending, child_sending, tmp_path):
    child = child_sending(Server(tmp_path / "book"), _send_on_a_small_disk)
    child.join()
    assert child.exitcode == 7
    assert (tmp_path / "book").read_text() == ""
    assert sending(Server(tmp_path / "book")).sent == COUNT


def test_a_disk_that_fills_up_midway_loses_nothing_and_goes_on_when_there_is_room(shop, make_log, small_disk):
    batch = shop.prepare(log=make_log(400), ledger=None)
    approval = shop.approve(batch)
    way = f"outbox:{small_disk}/outbox"
    with pytest.raises((TransportError, LedgerError)) as raised:
        send(batch, approval, transport=way, confirm=400, progress=False)
    assert "No space left" in str(raised.value) or "full" in str(raised.value)
    came = list((small_disk / "outbox").glob("*.eml"))
    assert 0 < len(came) < 400
    assert all(path.read_bytes() == batch.spool[number_of(batch, path)] for path in came)
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    report = send(batch, approval, transport=way, confirm=400, progress=False)
    assert report.sent + report.already_sent == 400
    assert report.sent >= 400 - len(came)
    assert len(list((small_disk / "outbox").glob("*.eml"))) == 400


def number_of(batch, path):
    return next(mail.number for mail in batch.mails if mail.letter.decision_id == path.stem)


def test_an_interrupt_from_the_keyboard_in_the_middle_loses_nothing(sending, child_sending, tmp_path):
    """A real signal at a random moment, as a notebook's stop button sends it."""
    way = f"outbox:{tmp_path}/outbox"
    for wait in (0.0, 0.01, 0.03):
        child = child_sending(way, _send_until_interrupted)
        time.sleep(wait)
        child.kill(signal.SIGINT)
        child.join()
    report = sending(way)
    assert (report.sent + report.already_sent, report.unknown) == (COUNT, 0)
    assert len(list((tmp_path / "outbox").glob("*.eml"))) == COUNT
