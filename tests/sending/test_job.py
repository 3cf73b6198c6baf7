"""A sending in the background: it does not block, tells how far it is, and can be paused, resumed and stopped."""

from __future__ import annotations

import threading
import time
from itertools import islice

import pytest

from toolkit.errors import ApprovalError, InputError, TransportError
from toolkit.sending import Ledger, Outbox, Phase, Receipt, State, start_sending


class Slow(Outbox):
    """An outbox that takes one mail each time it is let."""

    at_once = 1

    def __init__(self, folder):
        super().__init__(folder)
        self.gate = threading.Semaphore(0)

    def _write(self, mail):
        self.gate.acquire()
        return super()._write(mail)


@pytest.fixture
def way(shop):
    return Slow(shop.outbox)


@pytest.fixture
def batch(shop):
    return shop.prepare()


@pytest.fixture
def job(shop, batch, way):
    started = start_sending(batch, shop.approve(batch), transport=way, confirm=12)
    yield started
    started.stop()
    way.gate.release(100)
    started._over.wait(20)


def _until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_it_returns_at_once_and_its_counts_add_up_to_the_batch_at_every_moment(shop, job, way):
    looks = []
    job.observe(looks.append)
    assert job.is_running
    for count in range(1, 13):
        way.gate.release()
        _until(lambda count=count: len(shop.mails()) == count)
    report = job.wait(20)
    assert str(report) == "sent 12, already sent 0, skipped 0, unknown 0, failed 0"
    for look in looks:
        parts = look.sent, look.already_sent, look.waiting, look.deferred, look.unknown, look.failed, look.skipped
        assert sum(parts) == look.total == 12
    assert [look.sent for look in looks] == sorted(look.sent for look in looks)
    assert (looks[-1].phase, looks[-1].sent, looks[-1].is_over) == (Phase.DONE, 12, True)
    assert not job.is_running
    assert job.report is report


def test_paused_it_begins_no_mail_and_resumed_it_goes_on(shop, job, way):
    way.gate.release(2)
    _until(lambda: len(shop.mails()) == 2)
    job.pause(by="ana")
    way.gate.release(1)  # the one under way
    _until(lambda: job.progress.phase is Phase.PAUSED)
    assert job.progress.note == "paused by ana"
    came, looks = len(shop.mails()), []
    job.observe(looks.append)
    way.gate.release(20)
    time.sleep(0.5)
    assert len(shop.mails()) == came <= 3
    assert {look.phase for look in looks} == {Phase.PAUSED}
    job.resume(by="ana")
    assert job.wait(20).sent == 12
    assert Phase.SENDING in {look.phase for look in looks}
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        assert [action for action in ledger.audit().action if action in ("paused", "resumed")] == ["paused", "resumed"]


def test_a_job_paused_before_its_run_is_written_down_starts_paused(shop, batch, way):
    job = start_sending(batch, shop.approve(batch), transport=way, confirm=12)
    job.pause(by="ana")
    _until(lambda: job.progress.phase is Phase.PAUSED or shop.mails())
    job.resume(by="ana")
    way.gate.release(20)
    assert job.wait(20).sent == 12


@pytest.mark.parametrize("nobody", [None, " "])
def test_nobody_pauses_it_and_the_sending_goes_on(batch, shop, way, nobody):
    way.gate.release(100)
    job = start_sending(batch, shop.approve(batch), transport=way, confirm=12)
    for steer in (job.pause, job.resume):
        with pytest.raises(InputError, match="by: expected the name of a person"):
            steer(by=nobody)
    assert job.wait(20).sent == 12


def test_stopped_it_finishes_what_is_under_way_and_the_rest_goes_later(shop, batch, way):
    approval = shop.approve(batch)
    job = start_sending(batch, approval, transport=way, confirm=12)
    way.gate.release(3)
    _until(lambda: len(shop.mails()) == 3)
    job.stop()
    way.gate.release(1)
    report = job.wait(20)
    came = len(shop.mails())
    assert came in (3, 4)  # the fourth had begun, or not
    assert (job.progress.phase, report.sent, report.waiting) == (Phase.STOPPED, came, 12 - came)
    way.gate.release(20)
    again = start_sending(batch, approval, transport=way, confirm=12).wait(20)
    assert (again.sent, again.already_sent) == (12 - came, came)


def test_run_all_shows_the_job_that_runs_already(shop, batch, way):
    approval = shop.approve(batch)
    first = start_sending(batch, approval, transport=way, confirm=12)
    assert start_sending(batch, approval, transport=way, confirm=12) is first
    way.gate.release(20)
    first.wait(20)
    later = start_sending(batch, approval, transport=way, confirm=12)
    assert later is not first
    assert later.wait(20).sent == 0


def test_what_is_refused_is_refused_before_a_thread_begins(shop, batch, noon, way):
    approval = shop.approve(batch)
    with pytest.raises(InputError, match="has 12 mails"):
        start_sending(batch, approval, transport=way, confirm=11)
    other = shop.prepare(now=noon.replace(minute=1))
    with pytest.raises(ApprovalError, match="another batch"):
        start_sending(other, approval, transport=way, confirm=12)


def test_a_failure_is_told_to_observers_and_raised_by_wait(shop, batch):
    class Broken(Outbox):
        def _write(self, mail):
            raise TransportError("outbox: no space left")

    looks = []
    job = start_sending(batch, shop.approve(batch), transport=Broken(shop.outbox), confirm=12)
    job.observe(looks.append)
    with pytest.raises(TransportError, match="no space left") as raised:
        job.wait(20)
    assert raised.value.__notes__[0].startswith("sent 0")
    assert looks[-1].phase is Phase.FAILED
    assert "no space left" in looks[-1].note
    assert job.error is raised.value


def test_an_observer_that_raises_is_left_alone_and_the_sending_goes_on(shop, job, way):
    def faulty(look):
        raise RuntimeError("no such widget")

    job.observe(faulty)
    way.gate.release(20)
    assert job.wait(20).sent == 12
    assert [str(fault) for fault in job.faults] == ["no such widget"]


def test_an_observer_may_leave(shop, job, way):
    looks = []
    quit_watching = job.observe(looks.append)
    quit_watching()
    way.gate.release(20)
    job.wait(20)
    assert len(looks) == 1


class Busy(Outbox):
    """A way that draws mails before the last of those leased is gone, so that its sender never comes to a rest."""

    at_once = 40

    def deliver(self, mails, start):
        waiting = list(islice(mails, 20))
        while waiting:
            some, waiting = waiting[:10], waiting[10:]
            granted = start([mail.decision_id for mail in some])
            time.sleep(0.03)
            waiting += islice(mails, 10)
            for mail in some:
                if mail.decision_id in granted:
                    yield Receipt(mail.decision_id, State.ACCEPTED, code=250)


def test_while_there_is_always_more_to_send_it_tells_how_far_it_is_and_can_be_stopped(shop, make_log):
    batch = shop.prepare(log=make_log(600))
    job = start_sending(batch, shop.approve(batch), transport=Busy(shop.outbox), confirm=600)
    looks, reached = [], threading.Event()
    job.observe(lambda look: (looks.append(look), reached.set() if look.sent > 150 else None))
    assert reached.wait(60)
    job.stop()
    report = job.wait(20)
    assert 150 < report.sent < 500
    assert len({look.sent for look in looks if 0 < look.sent < report.sent}) >= 3
