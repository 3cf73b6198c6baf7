"""Runs that are paused, resumed and cancelled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from toolkit.errors import LedgerError
from toolkit.sending import Outbox, send
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.waiting import approvals_paused, paused_because
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import State

LEASE = 30_000_000


def _states(ledger):
    row = ledger.status().iloc[0]
    return {state.value: int(row[state]) for state in State if row[state]}


def test_a_paused_run_is_not_claimed_until_it_is_resumed(ledger, entries, run_record):
    ledger.plan(run_record(mails=4), entries(4))
    ledger.pause("run", by="ana")
    assert ledger.claim("run", owner="a", limit=4, lease=LEASE) == []
    assert ledger.status().iloc[0].says == "paused, 4 to go"
    ledger.resume("run", by="ana")
    assert len(ledger.claim("run", owner="a", limit=4, lease=LEASE)) == 4
    assert list(ledger.audit().action) == ["planned", "paused", "resumed"]


def test_what_is_under_way_is_finished_and_what_is_only_leased_stays_when_a_run_is_paused(ledger, entries, run_record):
    ledger.plan(run_record(mails=4), entries(4))
    held = ledger.claim("run", owner="a", limit=4, lease=LEASE)
    started = ledger.start(held[:1])
    ledger.pause("run", by="ana")
    assert ledger.start(held[1:]) == []
    ledger.record([(row, Receipt(row.decision_id, State.ACCEPTED)) for row in started])
    assert _states(ledger) == {"accepted": 1, "planned": 3}


def test_a_cancelled_run_sends_nothing_more_whoever_held_its_mails(ledger, clock, entries, run_record):
    ledger.plan(run_record(mails=5), entries(5))
    held = ledger.claim("run", owner="a", limit=3, lease=LEASE)
    ledger.start(held[:1])
    assert ledger.cancel("run", by="ana") == 2
    assert ledger.start(held[1:2]) == []
    clock.forward(seconds=31)
    (unknown,) = ledger.recover()
    ledger.send_again(unknown.decision_id, by="ana")
    assert _states(ledger) == {"cancelled": 5}
    assert ledger.status().iloc[0].says == "done, 5 cancelled"


def test_a_later_batch_takes_nothing_from_a_paused_or_cancelled_run(ledger, entries, run_record):
    for name in ("paused", "cancelled"):
        ledger.plan(run_record(name, mails=2), entries(2, first=2 * (name == "cancelled")))
    ledger.pause("paused", by="ana")
    ledger.cancel("cancelled", by="ana")
    planned = ledger.plan(run_record("later", mails=5), entries(5))
    assert (planned.added, planned.adopted, planned.known) == (1, 0, 4)


def test_a_run_may_be_named_by_the_beginning_of_its_id(ledger, entries, run_record):
    ledger.plan(run_record("abcdef", mails=1), entries(1))
    ledger.plan(run_record("abcxyz", mails=1), entries(1, first=1))
    ledger.pause("abcd", by="ana")
    with pytest.raises(LedgerError, match="'abc' names 2 runs"):
        ledger.pause("abc", by="ana")
    for nothing in ("", "%", "zzz"):
        with pytest.raises(LedgerError, match="names no run"):
            ledger.pause(nothing, by="ana")


def test_a_run_that_is_over_cannot_be_turned(ledger, entries, run_record):
    ledger.plan(run_record(mails=1), entries(1))
    ledger.cancel("run", by="ana")
    with pytest.raises(LedgerError, match="run run is cancelled; it cannot be paused"):
        ledger.pause("run", by="ana")
    with pytest.raises(LedgerError, match="run run is cancelled; it cannot be resumed"):
        ledger.resume("run", by="ana")


class PausedMidway(Outbox):
    """An outbox during which somebody else pauses (or cancels) the run after the first commit."""

    at_once = 4
    turn = "pause"

    def deliver(self, mails, start):
        for number, receipt in enumerate(super().deliver(mails, start)):
            yield receipt
            if number == 3:
                with Ledger.open(self.folder / "ledger.sqlite") as other:
                    getattr(other, self.turn)(other.status().run_id[0], by="ben")


def test_a_sender_at_work_stops_within_a_moment_and_goes_on_after_resume(shop):
    batch = shop.prepare()
    approval = shop.approve(batch)
    report = send(batch, approval, transport=PausedMidway(shop.outbox), confirm=12, progress=False)
    assert report.waiting == 12 - report.sent
    assert report.sent in (4, 8)
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        run = ledger.status().run_id[0][:12]
    how = f"`toolkit resume {run} --ledger {shop.outbox}/ledger.sqlite --by NAME` lets it go on"
    assert str(report).endswith(f"waiting {report.waiting}: the run is paused by ben; {how}")
    way = f"outbox:{shop.outbox}"
    assert send(batch, approval, transport=way, confirm=12, progress=False).sent == 0
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        ledger.resume(ledger.status().run_id[0][:8], by="ben")
    again = send(batch, approval, transport=way, confirm=12, progress=False)
    assert (again.sent, again.already_sent) == (12 - report.sent, report.sent)


def test_a_later_batch_says_which_paused_run_has_its_mails_and_what_lets_it_go_on(shop):
    batch = shop.prepare()
    before = send(batch, shop.approve(batch), transport=PausedMidway(shop.outbox), confirm=12, progress=False)
    later = shop.prepare()
    report = send(later, shop.approve(later), transport=f"outbox:{shop.outbox}", confirm=len(later), progress=False)
    assert report.waiting == before.waiting == len(later)
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        run = ledger.status().run_id[0][:12]
    has = f"{report.waiting} in run {run}, paused by ben; `toolkit resume {run} --ledger {shop.outbox}/ledger.sqlite"
    assert f"waiting {report.waiting}: {has}" in str(report)


def test_a_run_cancelled_midway_says_so_and_its_mails_are_not_prepared_again(shop):
    batch = shop.prepare()
    way = PausedMidway(shop.outbox)
    way.turn = "cancel"
    report = send(batch, shop.approve(batch), transport=way, confirm=12, progress=False)
    assert report.skipped == 12 - report.sent
    assert str(report).endswith("the run is cancelled")
    assert shop.prepare().skipped == {"already sent": report.sent, "cancelled": report.skipped}


def _under(name, run_record, approval="loop", **options):
    """A run under an approval that others share, as the rounds of a loop."""
    run = run_record(name, **options)
    return replace(run, approvals=(replace(run.approvals[0], id=approval),))


def test_an_approval_that_is_paused_holds_its_runs_and_those_to_come_until_it_is_resumed(ledger, entries, run_record):
    ledger.plan(_under("first", run_record, mails=2), entries(2))
    ledger.plan(run_record("another", mails=1), entries(1, first=8))
    held = ledger.claim("first", owner="a", limit=1, lease=LEASE)
    ledger.pause("loop", by="ana", why="the server is moved")
    assert ledger.start(held) == []
    assert ledger.plan(_under("second", run_record, mails=2), entries(2, first=2)).added == 2
    for name in ("first", "second"):
        assert ledger.claim(name, owner="a", limit=4, lease=LEASE) == []
        assert "paused by ana on 2026-03-02 12:00 UTC (the server is moved)" in paused_because(ledger, name)
    assert len(ledger.claim("another", owner="a", limit=4, lease=LEASE)) == 1
    for again, said in ((ledger.pause, "is paused; it cannot be paused"), (ledger.resume, None)):
        with pytest.raises(LedgerError, match=said or "run first is paused with its approval loop; resume that"):
            again("loop" if said else "first", by="ana")
    ledger.resume("loop", by="ana")
    assert [len(ledger.claim(name, owner="a", limit=4, lease=LEASE)) for name in ("first", "second")] == [2, 2]
    with pytest.raises(LedgerError, match="approval loop is not paused; it cannot be resumed"):
        ledger.resume("loop", by="ana")
    lines = ledger.audit()[["action", "subject"]].to_numpy().tolist()
    turned = [line for line in lines if line[0] in ("paused", "resumed")]
    paused = [["paused", one] for one in ("first", "loop", "second")]
    assert turned == [*paused, *(["resumed", one] for one in ("first", "second", "loop"))]
    assert ledger.verify() == ()


def test_an_approval_without_a_run_is_paused_by_its_whole_id_and_a_mistyped_one_is_none(ledger, entries, run_record):
    whole = "0a" * 32
    with pytest.raises(LedgerError, match="names no run or approval"):
        ledger.pause(whole[:12], by="ana")
    ledger.pause(whole, by="ana")
    ledger.plan(_under("run", run_record, whole, mails=2), entries(2))
    assert ledger.claim("run", owner="a", limit=2, lease=LEASE) == []
    ledger.resume(whole[:12], by="ana")
    assert len(ledger.claim("run", owner="a", limit=2, lease=LEASE)) == 2


def test_a_run_under_two_approvals_goes_on_when_both_do(ledger, entries, run_record):
    run = _under("run", run_record, "one", mails=2)
    run = replace(run, approvals=(*run.approvals, replace(run.approvals[0], id="two")))
    ledger.plan(run, entries(2))
    for name in ("one", "two"):
        ledger.pause(name, by="ana")
    ledger.resume("one", by="ana")
    assert ledger.claim("run", owner="a", limit=2, lease=LEASE) == []
    ledger.resume("two", by="ana")
    assert len(ledger.claim("run", owner="a", limit=2, lease=LEASE)) == 2


def test_a_mail_in_doubt_that_goes_again_waits_for_its_approval_too(ledger, entries, run_record):
    ledger.plan(_under("run", run_record, mails=1), entries(1))
    (row,) = ledger.start(ledger.claim("run", owner="a", limit=1, lease=LEASE))
    ledger.record([(row, Receipt(row.decision_id, State.UNKNOWN))])
    ledger.finish("run", by="ana")
    assert ledger.run_state("run") == "done"
    ledger.pause("loop", by="ana")
    ledger.send_again(row.decision_id, by="ana")
    assert ledger.run_state("run") == "paused"
    assert ledger.claim("run", owner="a", limit=1, lease=LEASE) == []
    ledger.resume("loop", by="ana")
    assert len(ledger.claim("run", owner="a", limit=1, lease=LEASE)) == 1


def test_what_is_revoked_is_no_longer_paused_and_cannot_be(ledger, entries, run_record):
    ledger.plan(_under("run", run_record, mails=1), entries(1))
    ledger.pause("loop", by="ana")
    assert ledger.revoke("loop", by="ben") == ["run"]
    assert approvals_paused(ledger) == []
    with pytest.raises(LedgerError, match="approval loop is revoked; it cannot be paused"):
        ledger.pause("loop", by="ana")
