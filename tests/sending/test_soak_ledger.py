"""A ledger's life, many times over: senders are killed, it is moved, put back, reconciled, and nobody is mailed twice.

A move is taken back now and then, every mail has a coupon code of its own, and some are set aside until their data are
mended.

`TOOLKIT_SOAK_LIVES` and `TOOLKIT_SOAK_STEPS` scale it.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import sqlite3
import time
from collections import Counter
from datetime import timedelta
from email import policy
from email.parser import BytesParser

import pytest

from tests.sending.nursery import Nursery
from tests.sending.shops import GIFT, NOON, Shop, log_of, people_of, program_of, write_templates
from toolkit.errors import LedgerError, ToolkitError
from toolkit.scenario import loads
from toolkit.sending import Ledger, approve, move_ledger, reconcile, reopen_ledger, send

pytestmark = pytest.mark.soak

LIVES = int(os.environ.get("TOOLKIT_SOAK_LIVES", "4"))
STEPS = int(os.environ.get("TOOLKIT_SOAK_STEPS", "25"))
CONNECTIONS = 3


def write_gifts(folder):
    """The templates of the shop, whose mails show a code, and the codes."""
    write_templates(folder)
    for ending in ("txt", "mjml"):
        path = folder / "welcome" / f"hello.{ending}"
        path.write_text(path.read_text().replace("% for you", "% with {{ offer.code }}."))
    (folder / "spring.csv").write_text("code\n" + "".join(f"SPRING-{number:05}\n" for number in range(10_000)))


def shop_in(folder):
    """The shop whose templates stand in a folder; one batch of it is made, so that what follows is compiled."""
    gift = program_of(loads(GIFT).scenarios, pools={"spring": {"file": "spring.csv"}})
    shop = Shop(folder, gift, log_of(3))
    shop.prepare(ledger=folder / "none.sqlite")
    return shop


def send_to(shop, people, unfit, moment, port, ledger, key):
    """Whoever is due of so many people is mailed, by a clock that stands; the last ones' names are unfit as yet."""
    known = people_of(people)
    known.loc[people - unfit :, "first_name"] = "x" * 2_000
    batch = shop.prepare(now=moment, log=log_of(people, people=known), ledger=ledger, set_aside=True)
    assert len(batch.set_aside) == unfit
    way = f"smtp:127.0.0.1:{port}?security=none&connections={CONNECTIONS}&timeout=2"
    asked = {"transport": way, "confirm": len(batch), "ledger": ledger, "progress": False}
    return send(batch, approve(batch, by="ana", key=key, clock=lambda: moment), clock=lambda: moment, **asked)


def send_quietly(shop, *asked):
    with contextlib.suppress(ToolkitError):
        send_to(shop, *asked)


def move_quietly(shop, old, new, moment):
    with contextlib.suppress(ToolkitError):
        move_ledger(old, new, by="ana", progress=False, clock=lambda: moment)


def copied(source, target):
    with contextlib.closing(sqlite3.connect(source)) as here, contextlib.closing(sqlite3.connect(target)) as there:
        here.backup(there)


class Life:
    """One ledger, wherever it is by now, and everything that happens to it."""

    def __init__(self, number, nursery, shop, server, folder, key):
        self.chance, self.nursery, self.shop, self.server = random.Random(number), nursery, shop, server
        self.folder, self.key, self.people, self.moment = folder, key, 20, NOON
        self.places, self.happened = 1, Counter()
        self.ledger = folder / "1" / "ledger.sqlite"
        self.ledger.parent.mkdir(parents=True)
        self.finish()

    def due(self, *, mended=False):
        """More people, a minute later, as a sender is told of them; now and then the last is not fit to be mailed."""
        unfit = 0 if mended else self.chance.randrange(2)
        self.happened["set aside"] += unfit
        self.people += self.chance.randrange(2, 12)
        self.moment += timedelta(minutes=1)
        return self.people, unfit, self.moment, self.server.port, self.ledger, self.key

    def killed(self, child, since, *, within=0.4):
        """A child killed at some moment after it did something; whether it was killed before it was done."""
        before, end = since(), time.monotonic() + self.chance.uniform(0.0, within)
        while child.is_alive() and (time.monotonic() < end or since() == before):
            time.sleep(0.001)
        if child.is_alive():
            child.kill()
        child.join()
        return child.exitcode != 0

    def finish(self, *, mended=False):
        self.happened["mails"] += send_to(self.shop, *self.due(mended=mended)).sent

    def kill_a_sender(self):
        child = self.nursery.start(send_quietly, *self.due())
        self.happened["senders killed"] += self.killed(child, lambda: len(self.server.taken))

    def put_back(self):
        backup = self.folder / "backup.sqlite"
        copied(self.ledger, backup)
        for _ in range(self.chance.randrange(1, 4)):
            self.chance.choice((self.finish, self.kill_a_sender))()
        self.finish()
        copied(backup, self.ledger)
        with pytest.raises(LedgerError, match="was put back from a backup"):
            send_to(self.shop, *self.due())
        told = reconcile(self.ledger, by="ben", yes=True, progress=False, clock=lambda: self.moment)
        assert told.complete
        self.happened["put back"] += 1

    def new_place(self):
        self.places += 1
        new = self.folder / str(self.places) / "ledger.sqlite"
        new.parent.mkdir()
        return new

    def move(self):
        new = self.new_place()
        child = self.nursery.start(move_quietly, self.ledger, new, self.moment)
        broken = self.killed(child, new.exists, within=self.chance.choice((0.2, 20, 20)))
        self.happened["moves killed"] += broken
        if not broken:
            with pytest.raises(LedgerError, match=str(new)):  # it says where it is now
                send_to(self.shop, *self.due())
        old = self.ledger
        try:
            send_to(self.shop, *self.due())
        except LedgerError:
            self.ledger = new
            self.happened["moved"] += 1
            self.finish()
            with pytest.raises(LedgerError, match="mails left from there since; move that one instead"):
                reopen_ledger(old, by="ben", clock=lambda: self.moment)

    def take_back(self):
        """A move, taken back before anything left from the new place, which nobody can send from any more."""
        here, new = self.ledger, self.new_place()
        try:
            move_ledger(here, new, by="ana", progress=False, clock=lambda: self.moment)
        except LedgerError as fault:  # what a killed sender held may be its own for a while
            if "is at work" in str(fault):
                return
            raise
        reopen_ledger(here, by="ben", clock=lambda: self.moment)
        self.happened["moves taken back"] += 1
        self.finish()
        self.ledger = new
        with pytest.raises(LedgerError, match=f"was moved to {re.escape(str(here))}"):
            send_to(self.shop, *self.due())
        self.ledger = here

    def step(self):
        kill, move = self.kill_a_sender, self.move
        self.chance.choice((kill, kill, self.finish, self.put_back, move, self.take_back))()

    def holds(self):
        """Everyone was mailed once, with a code of their own, or is in doubt and listed; the ledger holds together."""
        self.finish(mended=True)
        got = Counter(recipient for _, recipient, _ in self.server.taken)
        with Ledger.open(self.ledger) as ledger:
            assert ledger.verify() == ()
            rows, given = ledger.deliveries(), ledger.coupons()
        states = rows.groupby("state")["customer_id"].agg(set).to_dict()
        assert [address for address, count in got.items() if count > 1] == []
        assert states.keys() <= {"accepted", "unknown"}
        everyone = {f"c{number}" for number in range(self.people)}
        assert set(rows["customer_id"]) == everyone
        mailed = {address.partition("@")[0] for address in got}
        assert states["accepted"] <= mailed <= everyone
        shown = {recipient.partition("@")[0]: code_in(body) for _, recipient, body in self.server.taken}
        assert [code for code, count in Counter(shown.values()).items() if count > 1] == []
        told = {row.code: row.customer_id for row in given.itertuples()}
        assert [one for one, code in shown.items() if told.get(code, one) != one] == []
        assert len(states.get("unknown", ())) <= CONNECTIONS * self.happened["senders killed"]
        self.happened.update({"people": len(everyone), "in doubt": len(states.get("unknown", ()))})


def code_in(body):
    """The code that a mail shows."""
    text = BytesParser(policy=policy.default).parsebytes(body).get_body(("plain",)).get_content()
    return text.partition("% with ")[2].partition(".")[0]


def test_lives_of_ledgers(smtp_server, tmp_path, signing_key_file):
    write_gifts(tmp_path / "templates")
    shop, happened = shop_in(tmp_path), Counter()
    with Nursery(shop_in, tmp_path) as nursery:
        for number in range(LIVES):
            server = smtp_server(extensions=["PIPELINING"], slow=0.02)
            life = Life(number, nursery, shop, server, tmp_path / f"life{number}", signing_key_file)
            for _ in range(STEPS):
                life.step()
            life.holds()
            happened += life.happened
    print(dict(happened))
    for what in ("senders killed", "put back", "moved", "moves taken back", "set aside"):
        assert happened[what] >= LIVES * STEPS // 25, happened
