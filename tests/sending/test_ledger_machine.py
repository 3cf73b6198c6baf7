"""Random senders that claim, start, deliver, die and wake: every mail arrives at most once, none is forgotten."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import FINAL, State

LEASE = 30_000_000
SENDERS = ("one", "two")
MAILS = 4  # few, so that the senders meet
senders = st.sampled_from(SENDERS)


class Senders(RuleBasedStateMachine):
    """Two senders on one ledger, and a server that remembers what it took."""

    entries = None  # set by the test: makes mails
    run_record = None

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now = datetime(2026, 3, 2, 12, tzinfo=UTC)
        self.ledger = Ledger.open(Path(self.folder.name) / "ledger.sqlite", clock=lambda: self.now)
        self.server = []
        self.leased = {name: [] for name in SENDERS}
        self.started = {name: [] for name in SENDERS}
        self.answers = {name: [] for name in SENDERS}

    def teardown(self):
        self.now += timedelta(seconds=31)
        self.ledger.recover()
        self._deliver_all()
        states = set(self.ledger.known([entry.decision_id for entry in self.mails]).values())
        assert states <= FINAL | {State.UNKNOWN}
        self._balance()
        assert self.ledger.verify() == ()
        self.ledger.close()
        self.folder.cleanup()

    def _deliver_all(self):
        while held := self.ledger.claim("run", owner="last", limit=50, lease=LEASE):
            started = self.ledger.start(held)
            self.server += [row.decision_id for row in started]
            self.ledger.record([(row, Receipt(row.decision_id, State.ACCEPTED)) for row in started])

    def _balance(self):
        states = self.ledger.known([entry.decision_id for entry in self.mails])
        taken = set(self.server)
        assert {name for name, state in states.items() if state is State.ACCEPTED} <= taken
        assert taken <= {
            name for name, state in states.items() if state in (State.ACCEPTED, State.SENDING, State.UNKNOWN)
        }

    @initialize()
    def plan(self):
        self.mails = type(self).entries(MAILS)
        self.ledger.plan(type(self).run_record(mails=MAILS), self.mails)

    @rule(name=senders, limit=st.integers(1, 2))
    def claim(self, name, limit):
        self.leased[name] += self.ledger.claim("run", owner=name, limit=limit, lease=LEASE)

    @rule(name=senders, count=st.integers(1, 4))
    def start(self, name, count):
        some, self.leased[name] = self.leased[name][:count], self.leased[name][count:]
        self.started[name] += self.ledger.start(some)

    @rule(name=senders, outcome=st.sampled_from([State.ACCEPTED, State.FAILED, State.UNKNOWN]), taken=st.booleans())
    def deliver(self, name, outcome, taken):
        if self.started[name]:
            row = self.started[name].pop()
            if outcome is State.ACCEPTED or (outcome is State.UNKNOWN and taken):
                self.server.append(row.decision_id)
            self.answers[name].append((row, Receipt(row.decision_id, outcome)))

    @rule(name=senders, limit=st.integers(1, 2))
    def claim_start_and_deliver(self, name, limit):
        rows = self.ledger.start(self.ledger.claim("run", owner=name, limit=limit, lease=LEASE))
        self.server += [row.decision_id for row in rows]
        self.answers[name] += [(row, Receipt(row.decision_id, State.ACCEPTED)) for row in rows]

    @rule(name=senders)
    def one_sleeps_and_the_other_takes_over(self, name):
        (other,) = set(SENDERS) - {name}
        self.now += timedelta(seconds=31)
        self.ledger.recover()
        self.started[other] += self.ledger.start(self.ledger.claim("run", owner=other, limit=4, lease=LEASE))

    @rule()
    def all_die_and_their_leases_end(self):
        for name in SENDERS:
            self.die(name)
        self.now += timedelta(seconds=31)
        self.ledger.recover()

    @rule(name=senders)
    def record(self, name):
        self.ledger.record(self.answers[name])
        self.answers[name] = []

    @rule(name=senders)
    def die(self, name):
        self.leased[name], self.started[name], self.answers[name] = [], [], []

    @rule(seconds=st.sampled_from([1, 10, 31]))
    def time_passes(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule()
    def recover(self):
        self.ledger.recover()

    @rule()
    def plan_again(self):
        again = self.ledger.plan(type(self).run_record(mails=MAILS), self.mails)
        assert again.added == again.adopted == 0

    @invariant()
    def no_mail_was_taken_twice(self):
        assert len(self.server) == len(set(self.server))

    @invariant()
    def what_the_server_took_is_accepted_under_way_or_unknown(self):
        if hasattr(self, "mails"):
            self._balance()


@pytest.mark.usefixtures("clock")
def test_whatever_senders_do_no_mail_arrives_twice_and_none_is_forgotten(entries, run_record):
    machine = type("Machine", (Senders,), {"entries": staticmethod(entries), "run_record": staticmethod(run_record)})
    machine.TestCase.settings = settings(
        max_examples=40,
        stateful_step_count=20,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    machine.TestCase().runTest()
