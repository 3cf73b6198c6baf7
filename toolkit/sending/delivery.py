"""Send: an approved batch goes out, each mail at most once, and the ledger says what became of each."""

from __future__ import annotations

import difflib
import hashlib
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from functools import partial
from threading import Event
from types import FrameType

import rfc8785

from toolkit.bars import Bar
from toolkit.errors import ApprovalError, InputError, LedgerError, shown
from toolkit.events import EventLog
from toolkit.readable import counted
from toolkit.scenario.duration import Duration
from toolkit.sending.answered import answers_place, told
from toolkit.sending.approval.approval import Approval, check_approvals, each_approval
from toolkit.sending.approval.policy import ApprovalPolicy
from toolkit.sending.approval.standing import StandingApproval
from toolkit.sending.batch.batch import Batch
from toolkit.sending.batch.manifest import digest_of
from toolkit.sending.batch.parcel import BatchParcel, Parcel
from toolkit.sending.batch.summary import told as noted
from toolkit.sending.clock import DAY, Clock, micros, utc_now
from toolkit.sending.ledger.draws import draws_of
from toolkit.sending.ledger.high_water import files_left_from
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.moved import is_moved
from toolkit.sending.ledger.planning import Limits, RunRecord, Signed
from toolkit.sending.preparation.preparation import template_bytes
from toolkit.sending.protocol import Transport
from toolkit.sending.sender.fitness import fit_to_send
from toolkit.sending.sender.gate import gate_of
from toolkit.sending.sender.job import Running, SendingJob
from toolkit.sending.sender.key_check import check_links
from toolkit.sending.sender.progress import Progress
from toolkit.sending.sender.report import Report
from toolkit.sending.sender.sender import Sender
from toolkit.sending.stopping import Step, interruptible
from toolkit.sending.transports import transport as transport_of

__all__ = ["Approvals", "run_record", "send", "start_sending", "stopped_by"]

_running = Running()
_sent_over = deque[tuple[str, str]](maxlen=100)  # digests of batches that went to people, and their ledgers
_stopped: ContextVar[Event | None] = ContextVar("stopped", default=None)


@contextmanager
def stopped_by(stop: Event) -> Iterator[None]:
    """Meanwhile each `send` of this thread ends in good order, with KeyboardInterrupt, when the event is set."""
    before = _stopped.set(stop)
    try:
        yield
    finally:
        _stopped.reset(before)


def send(
    batch: Batch,
    approval: Approvals,
    *,
    transport: str | Transport = "outbox:./outbox",
    confirm: int | None = None,
    ledger: str | os.PathLike[str] | None = None,
    log: EventLog | None = None,
    canary: int | None = None,
    canary_wait: str | timedelta | Duration = "15m",
    policy: ApprovalPolicy | str | os.PathLike[str] | None = None,
    progress: bool = True,
    clock: Clock = utc_now,
) -> Report:
    """An approved batch sent, each mail at most once; safe to call again, and from two notebooks at once.

    What was sent before is not sent again. A call that was broken off goes on where it stopped; mails that were under
    way at that moment are looked up, or, where nobody can tell, reported as unknown and not sent again.

    It blocks until it is done. Ctrl-C, or the stop button of the notebook, lets what is under way come to its end and
    raises KeyboardInterrupt. `start_sending` does the same in the background.

    Args:
        batch: from `prepare`.
        approval: from `approve`, for this very batch; or several, where several people must approve; or from
            `approve_standing`, whose limits the ledger counts.
        transport: the way out, for example `outbox:./outbox`.
        confirm: how many mails you expect to send: `len(batch)`. An empty batch alone needs none.
        ledger: path or URL of the ledger; unless given, the one the batch was prepared with, else the transport's own.
        log: the log as it is by now: whoever unsubscribed, bounced or did what ends the scenario since the batch was
            prepared is not mailed. The suppression list is asked again for each mail, and the ledger for the caps, with
            or without it.
        canary: so many mails go first; the rest goes after `canary_wait`, unless one of them failed, bounced,
            complained or is in doubt: then the run is paused.
        canary_wait: for example `15m`.
        policy: who must approve; unless given, `approvers.yaml` beside the templates, else one person.
        progress: show a progress bar.
        clock: tells the time.

    Returns:
        The report: `sent 12, already sent 0, skipped 0, unknown 0, failed 0`.

    Raises:
        ApprovalError: the approval is not of this batch, is over, or anything was changed since; says what.
            Nothing was sent.
        InputError: `confirm` is not the number of mails, or no ledger is named.
        SendingError: the way out or the ledger failed midway; says what was sent. Call again to go on.
        LedgerError: the ledger was put back from a backup, and does not know what left since. Nothing was sent.
    """
    first = _canary(canary, canary_wait)
    with interruptible("No mail left by this call. Nothing is lost: call send again."):
        way, where, run, parcel = _checked(
            batch,
            approval,
            transport=transport,
            confirm=confirm,
            ledger=ledger,
            canary=first,
            policy=policy,
            progress=progress,
            clock=clock,
        )
    with Ledger.open(where, clock=clock) as opened:
        fit_to_send(opened, way)
        gate = gate_of(parcel, opened, log, opened.clock, way=way, run_id=run.id)
        tracker = _tracker(parcel, opened, where, run, clock)
        sender = Sender(parcel, run, way, opened, before=batch.skipped, clock=opened.clock, gate=gate, tracker=tracker)
        sender.stop = _stopped.get() or sender.stop
        with _bar(sender, shown=progress), _stoppable(sender.stop):
            return replace(sender.run(), notes=noted(batch.preflight.set_aside))


def start_sending(
    batch: Batch,
    approval: Approvals,
    *,
    transport: str | Transport = "outbox:./outbox",
    confirm: int | None = None,
    ledger: str | os.PathLike[str] | None = None,
    log: EventLog | None = None,
    canary: int | None = None,
    canary_wait: str | timedelta | Duration = "15m",
    policy: ApprovalPolicy | str | os.PathLike[str] | None = None,
    clock: Clock = utc_now,
) -> SendingJob:
    """An approved batch sent in the background: watched, paused, resumed and stopped while it runs.

    What can be refused is refused here, before anything begins. The job is in a thread of its own, so a cell returns at
    once. Called again for a batch whose job still runs (Run All), it gives back that job.

    Args:
        batch: from `prepare`.
        approval: from `approve`, for this very batch; or several, where several people must approve; or from
            `approve_standing`, whose limits the ledger counts.
        transport: the way out, for example `outbox:./outbox`.
        confirm: how many mails you expect to send: `len(batch)`. An empty batch alone needs none.
        ledger: path or URL of the ledger; unless given, the one the batch was prepared with, else the transport's own.
        log: the log as it is by now: whoever unsubscribed, bounced or did what ends the scenario since the batch was
            prepared is not mailed. The suppression list is asked again for each mail, and the ledger for the caps, with
            or without it.
        canary: so many mails go first; the rest goes after `canary_wait`, unless one of them failed, bounced,
            complained or is in doubt: then the run is paused.
        canary_wait: for example `15m`.
        policy: who must approve; unless given, `approvers.yaml` beside the templates, else one person.
        clock: tells the time.

    Returns:
        The job, running; see `SendingJob`.

    Raises:
        ApprovalError: the approval is not of this batch, is over, or anything was changed since; says what.
        InputError: `confirm` is not the number of mails, or no ledger is named.
        LedgerError: the ledger cannot be opened, or was put back from a backup and does not know what left since.
    """
    first = _canary(canary, canary_wait)
    way, where, run, parcel = _checked(
        batch, approval, transport=transport, confirm=confirm, ledger=ledger, canary=first, policy=policy, clock=clock
    )
    opened = Ledger.open(where, clock=clock)
    try:
        fit_to_send(opened, way)
    except BaseException:
        opened.close()
        raise

    def make(gone: Callable[[], None]) -> SendingJob:
        def release() -> None:
            opened.close()
            gone()

        sender = Sender(
            parcel,
            run,
            way,
            opened,
            before=batch.skipped,
            clock=opened.clock,
            gate=gate_of(parcel, opened, log, opened.clock, way=way, run_id=run.id),
            lingers=True,
            tracker=_tracker(parcel, opened, where, run, clock),
        )
        return SendingJob(sender, release=release, notes=noted(batch.preflight.set_aside))

    return _running.job(opened, run.id, make)


def _tracker(
    parcel: Parcel, ledger: Ledger, where: str, run: RunRecord, clock: Clock
) -> Callable[[Step], AbstractContextManager[Callable[[], None]]] | None:
    """What tells the tracker of the mails; None where there are none."""
    return partial(told, parcel, ledger, answers_place(where), run_id=run.id, clock=clock) if len(parcel) else None


Approvals = Approval | StandingApproval | Sequence[Approval | StandingApproval]


def _checked(
    batch: Batch,
    approval: Approvals,
    *,
    transport: str | Transport,
    confirm: int | None,
    ledger: str | os.PathLike[str] | None,
    canary: tuple[int | None, int],
    policy: ApprovalPolicy | str | os.PathLike[str] | None,
    clock: Clock,
    progress: bool = False,
) -> tuple[Transport, str, RunRecord, Parcel]:
    """The way out, the ledger's place, the run and its mails; refused unless everything is as it was approved."""
    if not isinstance(batch, Batch):
        raise InputError(f"send: batch: expected what tk.prepare gives; found {type(batch).__name__}")
    way = transport_of(transport)
    approvals = each_approval(approval, where="send")
    where = str(ledger) if ledger is not None else batch.ledger or way.ledger
    if where is None:
        raise InputError(f"send: {way.name} has no ledger of its own; name one: prepare(..., ledger='ledger.sqlite')")
    _confirmed(confirm, len(batch))
    with Ledger.if_there(where, clock=clock) as there:
        if there is not None:  # before minutes go by in which every mail is hashed
            fit_to_send(there, way)
    _templates_unchanged(batch)
    parcel = BatchParcel(batch)
    check_approvals(batch, approvals, policy=policy, clock=clock, each=parcel.take, progress=progress)
    if not way.rehearsal and abs(clock() - batch.now).total_seconds() > 86_400:
        raise ApprovalError(
            f"send: the batch was prepared for {batch.now:%Y-%m-%d %H:%M} UTC, over a day from now; {way.name} reaches "
            "people, so only mails of today may go through it; nothing was sent; an outbox takes it, as a rehearsal"
        )
    if not way.rehearsal:
        check_links(parcel, where, remedy=f"prepare(..., ledger={where!r}) first")
        by_hand = any(isinstance(one, Approval) for one in approvals)  # else it was prepared a moment ago
        _over_one_ledger(batch, where, way.name if by_hand else None, is_named=ledger is not None)
    return way, where, run_record(parcel, approvals, way, canary), parcel


def _over_one_ledger(batch: Batch, where: str, through: str | None, *, is_named: bool) -> None:
    """Refuse a batch of which mails left over another ledger: this one does not know it, and they would go twice.

    Asked are the ledger the batch was prepared with and, unless one was named now, those it went over from here; and of
    the way out that is meant now, though two ledgers were named, those from which this sender has mailed since. Through
    another way out it may go again: that is what a trial with a mail server of one's own looks like.
    """
    here = os.path.realpath(where)
    asked = {place for digest, place in _sent_over if digest == batch.digest and not is_named}
    asked |= {batch.ledger} if batch.ledger is not None else set()
    others = set[str]() if through is None else set(files_left_from(micros(batch.now) - DAY))
    for place in sorted(one for one in asked | others if os.path.realpath(one) != here):
        try:
            count = _left_over(place, batch.digest, through=None if place in asked else through)
        except LedgerError:
            if place in asked:
                raise
            continue  # it may be none any more, and has nothing to do with this batch as far as anybody knows
        if count and _left_over(where, batch.digest) < count:  # else it is a copy of that one
            raise InputError(
                f"send: {counted(count, 'mail')} of this batch left over ledger {place}; over {where}, which does not "
                f"know it, they would go twice: ledger={place!r} goes on with the rest; nothing was sent"
            )
    _sent_over.append((batch.digest, where))


def _left_over(place: str, digest: str, *, through: str | None = None) -> int:
    """How many mails of a batch left over a ledger; none where it is gone, or was moved, and its rows with it."""
    if not Ledger.exists(place):
        return 0
    with Ledger.as_it_is(place) as other:  # it may be of other people's, and of an earlier version
        return 0 if is_moved(other) else other.left_of(digest, through=through)


def _confirmed(confirm: object, count: int) -> None:
    """Refuse a number of mails that is another than the batch's; an empty one needs none."""
    if not count or (confirm == count and not isinstance(confirm, bool)):
        return
    said = "confirm= is to say how many mails you expect" if confirm is None else f"confirm={shown(confirm)}"
    how = "" if confirm is None or isinstance(confirm, int) else "; it is a number, without quotes"
    raise InputError(f"send: {said}, but the batch has {counted(count, 'mail')}; nothing was sent{how}")


def run_record(
    parcel: Parcel,
    approvals: Sequence[Approval | StandingApproval],
    way: Transport,
    canary: tuple[int | None, int] = (None, 0),
) -> RunRecord:
    """How a parcel under these approvals enters the ledger."""
    standing = [one.limits for one in approvals if isinstance(one, StandingApproval)]
    discounts = [one.discount_a_day for one in standing if one.discount_a_day is not None]
    limits = Limits(min(one.mails_a_day for one in standing), min(discounts, default=None)) if standing else None
    ordered = sorted(approvals, key=lambda one: (isinstance(one, Approval), one.id))
    return RunRecord(
        id=digest_of([parcel.digest, *(one.id for one in ordered)]),
        digest=parcel.digest,
        program=parcel.program,
        transport=way.name,
        mails=len(parcel),
        as_of=micros(parcel.now),
        approvals=tuple(
            Signed(
                id=one.id,
                by=one.by,
                document=rfc8785.dumps(one.document()).decode(),
                signed_at=micros(one.signed_at),
                expires_at=micros(one.expires_at),
                is_standing=isinstance(one, StandingApproval),
            )
            for one in ordered
        ),
        limits=limits,
        canary=canary[0],
        canary_wait=canary[1],
        draws=draws_of(parcel.rules, parcel.scenarios),
    )


def _canary(count: int | None, wait: str | timedelta | Duration) -> tuple[int | None, int]:
    if count is not None and (not isinstance(count, int) or count < 1):
        raise InputError(f"send: canary: expected a whole number from 1; found {shown(count)}")
    try:
        return count, Duration.parse(wait).elapsed
    except ValueError as fault:
        raise InputError(f"send: canary_wait: {fault}") from fault


@contextmanager
def _bar(sender: Sender, *, shown: bool) -> Iterator[None]:
    """A progress bar with the rate, the time left and live counts, for as long as a call blocks."""
    if not (shown and sender.total):
        yield
        return
    part = ""
    with Bar(total=sender.total, desc=str(sender.progress.phase), unit=" mails") as bar:

        def tell(look: Progress) -> None:
            nonlocal part
            is_of, count = ("sending", look.settled) if look.looked_at is None else (look.note, look.looked_at)
            if is_of != part:
                # What was sent before, and the minutes that planning took, are no part of the speed.
                part = is_of
                bar.initial, bar.start_t = count, bar._time()
            counts = {name: getattr(look, name) for name in ("deferred", "unknown", "failed", "skipped")}
            bar.n = count
            bar.set_postfix({name: f"{count:,}" for name, count in counts.items() if count}, refresh=False)
            bar.set_description(str(look.phase) if is_of == "sending" else f"{look.phase}, {is_of}", refresh=False)
            bar.refresh()

        sender.tell = tell
        yield


@contextmanager
def _stoppable(stop: Event) -> Iterator[None]:
    """Let the first Ctrl-C (or the stop button of a notebook) end the sending in good order, the second at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupted(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.default_int_handler)


def _templates_unchanged(batch: Batch) -> None:
    """Refuse when a template on the disk is no longer what was approved; shows the lines."""
    if batch.folder is None:
        return
    try:
        read = template_bytes(batch.folder)
    except OSError as fault:
        raise ApprovalError(f"send: {batch.folder}: cannot be read: {fault.strerror}; nothing was sent") from fault
    found = {name: hashlib.sha256(data).hexdigest() for name, data in read.items()}
    approved = batch.files
    lines = []
    for name in approved:
        if name in found and found[name] != approved[name]:
            lines += [f"changed: {name}", *_diff(batch.sources.get(name), read[name].decode(errors="replace"))]
    lines += [f"added: {name}" for name in found if name not in approved]
    lines += [f"gone: {name}" for name in approved if name not in found]
    if lines:
        raise ApprovalError(
            "\n  ".join(
                [
                    f"templates in {batch.folder} differ from those approved; nothing was sent; undo that, or prepare "
                    "the batch anew and approve it",
                    *lines[:_SHOWN],
                ]
            )
        )


_SHOWN = 60  # lines of a refusal


def _diff(before: str | None, after: str) -> list[str]:
    """The lines that differ, a line of text around them."""
    if before is None:
        return []
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), "approved", "found", n=1, lineterm=""))
    return [f"    {line}" for line in (lines[2:22] or ["(only in blanks or line ends)"])]
