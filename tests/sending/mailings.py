"""A shop that sends for real, over a mail server on loopback, with a ledger that can be backed up and put back."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from datetime import timedelta

from tests.sending.shops import log_of
from toolkit.sending import approve, approve_standing, keep_sending, reconcile, send
from toolkit.sending.keys import new_key

__all__ = ["Mailing", "everybody_once"]


class Mailing:
    """A shop that sends over a mail server, hour after hour; its ledger can be backed up and put back."""

    def __init__(self, shop, server, noon, folder):
        self.shop, self.server, self.now, self.folder = shop, server, noon, folder
        folder.mkdir()
        self.key = new_key(folder.parent / "ana.pem")
        self.ledger = folder / "ledger.sqlite"
        self.approval = approve_standing(
            shop.program, shop.templates, by="ana", mails_a_day=100, key=self.key, clock=self.clock
        )

    def clock(self):
        return self.now

    @property
    def way(self):
        return f"smtp:127.0.0.1:{self.server.port}?security=none"

    def prepare(self, people):
        self.now += timedelta(minutes=1)
        log = log_of(people) if isinstance(people, int) else people
        return self.shop.prepare(now=self.now, log=log, ledger=self.ledger)

    def approve(self, batch):
        return approve(batch, by="ana", key=self.key, clock=self.clock)

    def send(self, people, **options):
        """What is due to so many customers, sent for real, under an approval of its own."""
        batch = self.prepare(people)
        asked = {"transport": self.way, "confirm": len(batch), "ledger": self.ledger, "progress": False}
        return send(batch, self.approve(batch), clock=self.clock, **asked, **options)

    def rounds(self, people, said, count=1):
        return keep_sending(
            self.shop.program,
            lambda: log_of(people),
            templates=self.shop.templates,
            approval=self.approval,
            transport=self.way,
            ledger=self.ledger,
            captures=self.folder / "captures",
            every=timedelta(microseconds=1),
            rounds=count,
            say=said.append,
            clock=self.clock,
        )

    def got(self):
        """How many mails each address got."""
        return Counter(recipient for _, recipient, _ in self.server.taken)

    def back_up(self, *names):
        for name in names or ("ledger.sqlite",):
            _copy(self.folder / name, self.folder / f"{name}.backup")

    def put_back(self, *names):
        for name in names or ("ledger.sqlite",):
            _copy(self.folder / f"{name}.backup", self.folder / name)

    def reconcile(self, **options):
        return reconcile(self.ledger, by="ben", progress=False, clock=self.clock, **options)


def _copy(source, target):
    with contextlib.closing(sqlite3.connect(source)) as here, contextlib.closing(sqlite3.connect(target)) as there:
        here.backup(there)


def everybody_once(count):
    return Counter({f"c{one}@example.org": 1 for one in range(count)})
