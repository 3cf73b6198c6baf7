"""Send: an approved batch goes out, each mail at most once, and the ledger says what became of each."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType

import rfc8785
from tqdm.auto import tqdm

from toolkit.errors import ApprovalError, InputError
from toolkit.sending.answered import answers_place, told
from toolkit.sending.approval import Approval
from toolkit.sending.batch import Batch
from toolkit.sending.clock import Clock, micros, utc_now
from toolkit.sending.job import Running, SendingJob
from toolkit.sending.ledger import Ledger
from toolkit.sending.manifest import digest_of
from toolkit.sending.parcel import BatchParcel
from toolkit.sending.planning import RunRecord
from toolkit.sending.preparation import template_files
from toolkit.sending.progress import Progress
from toolkit.sending.protocol import Transport
from toolkit.sending.report import Report
from toolkit.sending.sender import Sender
from toolkit.sending.transports import transport as transport_of

__all__ = ["send", "start_sending"]

_running = Running()


def send(
    batch: Batch,
    approval: Approval,
    *,
    transport: str | Transport = "outbox:./outbox",
    confirm: int,
    ledger: str | os.PathLike[str] | None = None,
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
        approval: from `approve`, for this very batch.
        transport: the way out, for example `outbox:./outbox`.
        confirm: how many mails you expect to send: `len(batch)`. Not asked of an empty batch.
        ledger: path or URL of the ledger; unless given, the one the batch was prepared with, else the transport's own.
        progress: show a progress bar.
        clock: tells the time.

    Returns:
        The report: `sent 12, already sent 0, skipped 0, unknown 0, failed 0`.

    Raises:
        ApprovalError: the approval is not of this batch, is over, or anything was changed since; says what.
            Nothing was sent.
        InputError: `confirm` is not the number of mails, or no ledger is named.
        SendingError: the way out or the ledger failed midway; says what was sent. Call again to go on.
    """
    way, where, run = _checked(batch, approval, transport=transport, confirm=confirm, ledger=ledger, clock=clock)
    with Ledger.open(where, clock=clock) as opened:
        tracker = told(batch, opened, answers_place(where))
        sender = Sender(BatchParcel(batch), run, way, opened, before=batch.skipped, clock=clock, tracker=tracker)
        with _bar(sender, shown=progress), _stoppable(sender.stop):
            return sender.run()


def start_sending(
    batch: Batch,
    approval: Approval,
    *,
    transport: str | Transport = "outbox:./outbox",
    confirm: int,
    ledger: str | os.PathLike[str] | None = None,
    clock: Clock = utc_now,
) -> SendingJob:
    """An approved batch sent in the background: watched, paused, resumed and stopped while it runs.

    What can be refused is refused here, before anything begins. The job is in a thread of its own, so a cell returns at
    once. Called again for a batch whose job still runs (Run All), it gives back that job.

    Args:
        batch: from `prepare`.
        approval: from `approve`, for this very batch.
        transport: the way out, for example `outbox:./outbox`.
        confirm: how many mails you expect to send: `len(batch)`. Not asked of an empty batch.
        ledger: path or URL of the ledger; unless given, the one the batch was prepared with, else the transport's own.
        clock: tells the time.

    Returns:
        The job, running; see `SendingJob`.

    Raises:
        ApprovalError: the approval is not of this batch, is over, or anything was changed since; says what.
        InputError: `confirm` is not the number of mails, or no ledger is named.
        LedgerError: the ledger cannot be opened.
    """
    way, where, run = _checked(batch, approval, transport=transport, confirm=confirm, ledger=ledger, clock=clock)
    opened = Ledger.open(where, clock=clock)

    def make(gone: Callable[[], None]) -> SendingJob:
        def release() -> None:
            opened.close()
            gone()

        parcel, tracker = BatchParcel(batch), told(batch, opened, answers_place(where))
        sender = Sender(parcel, run, way, opened, before=batch.skipped, clock=clock, lingers=True, tracker=tracker)
        return SendingJob(sender, release=release)

    return _running.job(opened, run.id, make)


def _checked(
    batch: Batch,
    approval: Approval,
    *,
    transport: str | Transport,
    confirm: int,
    ledger: str | os.PathLike[str] | None,
    clock: Clock,
) -> tuple[Transport, str, RunRecord]:
    """The way out, the ledger's place and the run; refused unless everything is as it was approved."""
    way = transport_of(transport)
    approval.check(batch, clock=clock)
    _templates_unchanged(batch)
    if len(batch) and confirm != len(batch):
        raise InputError(f"send: confirm={confirm!r}, but the batch has {len(batch):,} mails; nothing was sent")
    if not way.rehearsal and abs(clock() - batch.now).total_seconds() > 86_400:
        raise ApprovalError(
            f"send: the batch was prepared for {batch.now:%Y-%m-%d %H:%M} UTC, over a day from now; {way.name} reaches "
            "people, so only mails of today may go through it; nothing was sent"
        )
    where = str(ledger) if ledger is not None else batch.ledger or way.ledger
    if where is None:
        raise InputError(f"send: {way.name} has no ledger of its own; name one, for example ledger='ledger.sqlite'")
    return way, where, _run_record(batch, approval, way)


def _run_record(batch: Batch, approval: Approval, way: Transport) -> RunRecord:
    parcel = BatchParcel(batch)
    return RunRecord(
        id=digest_of([parcel.digest, approval.signature]),
        digest=parcel.digest,
        program=parcel.program,
        transport=way.name,
        mails=len(parcel),
        as_of=micros(parcel.now),
        not_after=micros(approval.expires_at),
        approval_id=digest_of(approval.signature),
        approver=approval.by,
        document=rfc8785.dumps(approval.document()).decode(),
        signed_at=micros(approval.signed_at),
    )


@contextmanager
def _bar(sender: Sender, *, shown: bool) -> Iterator[None]:
    """A progress bar with the rate, the time left and live counts, for as long as a call blocks."""
    with tqdm(total=sender.total, desc="sending", unit="mail", disable=not (shown and sender.total)) as bar:

        def tell(look: Progress) -> None:
            counts = {name: getattr(look, name) for name in ("deferred", "unknown", "failed", "skipped")}
            bar.n = look.settled
            bar.set_postfix({name: f"{count:,}" for name, count in counts.items() if count}, refresh=False)
            bar.set_description(str(look.phase), refresh=False)
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
    """Refuse when a template on the disk is no longer what was approved."""
    if batch.folder is None:
        return
    try:
        found = template_files(batch.folder)
    except OSError as fault:
        raise ApprovalError(f"send: {batch.folder}: cannot be read: {fault.strerror}; nothing was sent") from fault
    approved = batch.files
    lines = [f"changed: {name}" for name in approved if name in found and found[name] != approved[name]]
    lines += [f"added: {name}" for name in found if name not in approved]
    lines += [f"gone: {name}" for name in approved if name not in found]
    if lines:
        raise ApprovalError(
            "\n  ".join([f"templates in {batch.folder} differ from those approved; nothing was sent", *lines])
        )
