"""Send: an approved batch goes out, each mail at most once, and the ledger says what became of each."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from types import FrameType

import pandas as pd
import rfc8785
from tqdm.auto import tqdm

from toolkit.errors import ApprovalError, InputError, LedgerError, ToolkitError
from toolkit.scenario import content_hash
from toolkit.sending.approval import Approval
from toolkit.sending.batch import Batch
from toolkit.sending.claims import Delivery
from toolkit.sending.clock import Clock, micros, utc_now
from toolkit.sending.display import masked
from toolkit.sending.ledger import Ledger
from toolkit.sending.manifest import digest_of
from toolkit.sending.owners import owner
from toolkit.sending.planning import Entry, RunRecord
from toolkit.sending.preparation import template_files
from toolkit.sending.protocol import Outgoing, Receipt, Transport, Witness
from toolkit.sending.report import ALREADY, SENT, Report
from toolkit.sending.states import OPEN, State
from toolkit.sending.transports import transport as transport_of

__all__ = ["send"]

_LEASE = 30_000_000  # microseconds
_RENEW = 8.0  # seconds between renewals of what is held
_GROUP = 64  # receipts in one commit
_ENOUGH = 20  # outcomes before their shares are looked at
_MOST = {State.FAILED: 0.2, State.UNKNOWN: 0.1}  # shares above which a run is paused
_PATIENCE = 0.1  # seconds between looks at what another sender holds
_BACK_OFF = (1, 5, 15, 60, 240)  # minutes before a postponed mail is tried again


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
    with Ledger.open(where, clock=clock) as opened, owner() as me:
        return _Sending(batch, approval, way, opened, me, clock=clock, progress=progress).run()


class _Sending:
    """One call of send."""

    def __init__(
        self,
        batch: Batch,
        approval: Approval,
        way: Transport,
        ledger: Ledger,
        me: str,
        *,
        clock: Clock,
        progress: bool,
    ) -> None:
        self.clock = clock
        self.batch = batch
        self.approval = approval
        self.way = way
        self.ledger = ledger
        self.me = me
        self.mails = {mail.letter.decision_id: mail for mail in batch.mails}
        self.run_id = digest_of([batch.digest, approval.signature])
        self.held: dict[str, Delivery] = {}
        self.pending: list[tuple[Delivery, Receipt]] = []
        self.sent: set[str] = set()
        self.outcomes: Counter[State] = Counter()
        self.stop = Event()
        self.began = time.perf_counter()
        self.renew_at = self.began + _RENEW
        self.bar = tqdm(total=len(batch), desc="sending", unit="mail", disable=not (progress and len(batch)))

    def run(self) -> Report:
        try:
            with self.bar, _stoppable(self.stop):
                self._plan()
                self._work()
                if self.stop.is_set():
                    raise KeyboardInterrupt
            self.ledger.finish(self.run_id, by=self.approval.by)
        except BaseException as fault:
            self._broken_off(fault)
            raise
        return self._report()

    def _plan(self) -> None:
        # First, so that what a dead sender left is either proven sent or can be taken over by this run.
        self._recover()
        sender = self.batch.program.policies.sender
        record = RunRecord(
            id=self.run_id,
            digest=self.batch.digest,
            program=content_hash(self.batch.program, templates=self.batch.manifest["templates"]),
            transport=self.way.name,
            mails=len(self.batch),
            as_of=micros(self.batch.now),
            not_after=micros(self.approval.expires_at),
            approval_id=digest_of(self.approval.signature),
            approver=self.approval.by,
            document=rfc8785.dumps(self.approval.document()).decode(),
            signed_at=micros(self.approval.signed_at),
        )
        self.sender = sender.email if sender else ""
        if len(self.batch):
            self.ledger.plan(record, [self._entry(decision_id) for decision_id in self.mails])

    def _entry(self, decision_id: str) -> Entry:
        mail = self.mails[decision_id]
        return Entry(
            decision_id=decision_id,
            customer_id=mail.customer_id,
            address=mail.letter.to,
            class_=mail.letter.class_,
            message_id=mail.message_id,
            payload_sha256=self.batch.spool.sha256(mail.number),
        )

    def _work(self) -> None:
        while True:
            for receipt in self.way.deliver(self._claimed(), self._start):
                self._received(receipt)
            self._flush()
            if self.stop.is_set() or not self._some_are_left():
                return
            time.sleep(_PATIENCE)
            self._recover()

    def _some_are_left(self) -> bool:
        """Whether another sender holds mails of this run, or gave some back since the last claim."""
        rows = self.ledger.rows(list(self.mails))
        self.bar.n = sum(row.state not in OPEN for row in rows)
        self.bar.refresh()
        mine = {row.state for row in rows if row.run_id == self.run_id}
        held = bool(mine & {State.LEASED, State.SENDING})
        return held or (State.PLANNED in mine and self.ledger.run_state(self.run_id) == "active")

    def _claimed(self) -> Iterator[Outgoing]:
        while not self.stop.is_set():
            self._flush()
            some = self.ledger.claim(self.run_id, owner=self.me, limit=self.way.at_once, lease=_LEASE)
            if not some:
                return
            for row in some:
                self.held[row.decision_id] = row
                yield self._outgoing(row)

    def _outgoing(self, row: Delivery) -> Outgoing:
        mail = self.mails[row.decision_id]
        message = self.batch.spool[mail.number]
        if self._entry(row.decision_id) != Entry(
            row.decision_id, row.customer_id, row.address, row.class_, row.message_id, row.payload_sha256
        ):
            raise LedgerError(f"ledger: row {row.decision_id} was tampered with: it is not the mail approved")
        return Outgoing(row.decision_id, row.message_id, self.sender, row.address, message)

    def _start(self, decision_ids: Sequence[str]) -> Collection[str]:
        # In one commit, so that a crash leaves no mail in doubt whose receipt was here already.
        started = self._turn([self.held[name] for name in decision_ids])
        granted = {row.decision_id for row in started}
        self.held |= {row.decision_id: row for row in started}
        for name in decision_ids:
            if name not in granted:
                del self.held[name]
        return granted

    def _received(self, receipt: Receipt | None) -> None:
        if receipt is None:
            self._flush()
            return
        self.pending.append((self.held.pop(receipt.decision_id), receipt))
        self.bar.update()
        if len(self.pending) >= _GROUP:
            self._flush()

    def _flush(self) -> None:
        if self.held and time.perf_counter() > self.renew_at:
            self.renew_at = time.perf_counter() + _RENEW
            self.ledger.renew(self.me, lease=_LEASE)
        if self.pending:
            self._turn(())

    def _turn(self, held: Sequence[Delivery]) -> list[Delivery]:
        """Write the receipts down, and start what is held; what may be sent."""
        pending = self.pending
        later = {receipt.decision_id: self._again_at(row) for row, receipt in pending}
        recorded, started = self.ledger.turn(pending, held, next_at=later)
        self.pending = []  # only now: what could not be written is tried again when the sending is broken off
        mine = {row.decision_id for row in recorded}
        self.outcomes.update(receipt.state for _, receipt in pending)
        self.sent |= {
            receipt.decision_id
            for _, receipt in pending
            if receipt.state is State.ACCEPTED and not receipt.already and receipt.decision_id in mine
        }
        if pending:
            self._look_out()
        return started

    def _look_out(self) -> None:
        """Pause the run where so much goes wrong that going on would do harm."""
        seen = self.outcomes.total()
        for state, most in _MOST.items():
            count = self.outcomes[state]
            if seen >= _ENOUGH and count > most * seen and self.ledger.run_state(self.run_id) == "active":
                self.ledger.pause(self.run_id, by=f"sender: {count:,} of {seen:,} {state}")

    def _again_at(self, row: Delivery) -> int:
        """When to try a postponed mail again: later each time, and not all of them at one moment."""
        minutes = _BACK_OFF[min(max(row.attempts, 1), len(_BACK_OFF)) - 1]
        return micros(self.clock()) + int(minutes * 60_000_000 * random.uniform(1.0, 1.25))  # noqa: S311 - no secret

    def _recover(self, me: str | None = None) -> None:
        self.ledger.recover(owner=me)
        if isinstance(self.way, Witness):
            unknown = self.ledger.unknown(self.way.name)
            if unknown:
                found = self.way.find([row.decision_id for row in unknown])
                settled = self.ledger.settle(unknown, found, by=f"evidence of {self.way.name}")
                mine = {row.decision_id for row in settled if row.owner == self.me and row.state is State.ACCEPTED}
                self.sent |= mine

    def _broken_off(self, fault: BaseException) -> None:
        """Leave nothing behind that another call would have to wait for, and say how far this one came."""
        try:
            self._flush()
            self._recover(self.me)
            said = str(self._report())
        except (ToolkitError, OSError) as further:
            said = f"the ledger could not be brought up to date ({further}); the next call of send will look into it"
        fault.add_note(f"{said}. Nothing is lost: call send again to go on.")

    def _report(self) -> Report:
        rows = {row.decision_id: row for row in self.ledger.rows(list(self.mails))}
        table = []
        for decision_id, mail in self.mails.items():
            row = rows.get(decision_id)
            state = State.PLANNED if row is None else row.state
            outcome = str(state)
            if state is State.ACCEPTED:
                outcome = SENT if decision_id in self.sent else ALREADY
            table.append(
                {
                    "decision_id": decision_id,
                    "customer_id": mail.customer_id,
                    "address": masked(mail.letter.to),
                    "scenario": mail.letter.scenario,
                    "step": mail.letter.step,
                    "template": mail.letter.template,
                    "outcome": outcome,
                    "receipt": row.receipt if row else None,
                    "code": row.code if row else None,
                    "reason": row.reason if row else None,
                    "message_id": mail.message_id,
                }
            )
        return Report(
            table=pd.DataFrame(table, columns=_COLUMNS).astype({"code": "Int64"}),
            before=self.batch.skipped,
            transport=self.way.name,
            ledger=self.ledger.place,
            seconds=time.perf_counter() - self.began,
            audit=self.ledger.audit_head(),
            state=self.ledger.run_state(self.run_id) or "done",
        )


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


_COLUMNS = [
    "decision_id",
    "customer_id",
    "address",
    "scenario",
    "step",
    "template",
    "outcome",
    "receipt",
    "code",
    "reason",
    "message_id",
]


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
