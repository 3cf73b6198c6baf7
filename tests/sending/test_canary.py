"""A canary from beginning to end: the first mails go, the rest waits, and goes on unless something went wrong."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from toolkit.errors import InputError
from toolkit.sending import Feedback, Ledger, Phase, send, start_sending


@pytest.fixture
def batch(shop):
    return shop.prepare()


@pytest.fixture
def job(shop, batch):
    """Three of twelve go first, the rest an hour later by a clock that the test moves."""
    moved = timedelta()

    def clock():
        return batch.now + timedelta(minutes=5) + moved

    def forward(by):
        nonlocal moved
        moved += by

    approval = shop.approve(batch, clock=clock)
    way = f"outbox:{shop.outbox}"
    started = start_sending(batch, approval, transport=way, confirm=12, canary=3, canary_wait="1h", clock=clock)
    started.forward = forward
    yield started
    started.stop()
    started._over.wait(20)


def _until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def _waits(job):
    return job.progress.phase is Phase.WAITING and job.progress.note.startswith("canary")


def test_the_first_go_the_rest_waits_and_then_goes(shop, job):
    _until(lambda: _waits(job))
    assert job.progress.note == "canary: the first 3 are out, waiting for bounces"
    assert (len(shop.mails()), job.progress.sent, job.progress.waiting) == (3, 3, 9)
    job.forward(timedelta(minutes=59))
    time.sleep(0.3)
    assert len(shop.mails()) == 3
    job.forward(timedelta(minutes=2))
    assert str(job.wait(30)) == "sent 12, already sent 0, skipped 0, unknown 0, failed 0"
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        assert list(ledger.audit().action) == ["planned", "canary passed", "done"]


def test_a_bounce_while_it_waits_holds_the_rest_back_until_a_person_goes_on(shop, batch, job):
    _until(lambda: _waits(job))
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        name = f"<{batch.mails[0].message_id}>"
        ledger.report_events([Feedback("ses", "b1", "email_bounced", batch.now, message_id=name, bounce_type="hard")])
    job.forward(timedelta(hours=2))
    _until(lambda: job.progress.phase is Phase.PAUSED)
    assert job.progress.note == "paused by canary: of the first 3, 1 bounced"
    assert len(shop.mails()) == 3
    job.resume(by="ana")
    assert job.wait(30).sent == 12


def test_a_refusal_among_the_first_pauses_the_run_before_the_rest_goes(shop, batch, smtp_server):
    refused = {mail.letter.to for mail in batch.mails[:1]}
    server = smtp_server(
        extensions=["PIPELINING"],
        fault=lambda verb, number, to: "550 5.1.1 no such user" if verb == "RCPT" and to in refused else None,
    )
    clock = lambda: batch.now + timedelta(minutes=5)  # noqa: E731
    options = {"transport": f"smtp:127.0.0.1:{server.port}", "confirm": 12, "progress": False, "clock": clock}
    report = send(batch, shop.approve(batch, clock=clock), canary=2, canary_wait="0s", **options)
    said = "sent 1, already sent 0, skipped 0, unknown 0, failed 1, waiting 10: the run is paused by canary: "
    assert str(report).startswith(
        f"{said}of the first 2, 1 failed, most often for 550 5.1.1 no such user; `toolkit res"
    )
    assert len(server.taken) == 1


def test_a_canary_that_is_none_is_refused(shop, batch):
    for wrong in (0, -1, 2.5):
        with pytest.raises(InputError, match="canary: expected a whole number from 1"):
            send(batch, shop.approve(batch), transport=f"outbox:{shop.outbox}", confirm=12, canary=wrong)
