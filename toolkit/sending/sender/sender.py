"""The sender: takes an approved parcel through a transport, and writes down each step before the next is taken."""

from __future__ import annotations

import threading
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from toolkit.errors import LedgerError, ToolkitError
from toolkit.sending.batch.mails import Numbers
from toolkit.sending.batch.parcel import Parcel, entry_of, is_mail, returned_to
from toolkit.sending.clock import Clock, micros
from toolkit.sending.ledger.delivery_rows import Delivery
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.owners import owner
from toolkit.sending.ledger.planning import Entry, RunRecord
from toolkit.sending.ledger.turns import Claiming
from toolkit.sending.ledger.waiting import Elsewhere, waits_for
from toolkit.sending.people import person
from toolkit.sending.protocol import Outgoing, Receipt, Transport, Witness
from toolkit.sending.sender.moments import TOO_LATE, Timely
from toolkit.sending.sender.progress import Pace, Phase, Progress
from toolkit.sending.sender.report import ALREADY, SENT, Outcomes, Report, outcome_of
from toolkit.sending.states import NEVER_LEFT, OPEN, State
from toolkit.sending.stopping import Step

__all__ = ["Sender"]

_LEASE = 30_000_000  # microseconds
_RENEW = 8.0  # seconds between renewals of what is held
_GROUP = 64  # receipts in one commit
_SOON = 2.0  # seconds that connections are kept open for the next mail
_LOOK = 1.0  # seconds between looks at the ledger while waiting
_LONGEST_WAIT = 3600.0  # seconds that a call which blocks waits for a limit or the canary
_AGAIN = 60_000_000  # microseconds before a transactional mail in doubt goes again
_PATIENCE = 0.1  # seconds between looks at what another sender holds
_TOLD = 0.1  # seconds between two tellings of the progress
_COUNTED = 5.0  # seconds between two looks at what the ledger counts
_SELDOM = 20  # times as long as it took, before mails in other runs are looked up again
_SOME = 2_000  # mails looked up at once


class Sender:
    """One sending of one parcel.

    Args:
        parcel: what goes.
        run: how it enters the ledger.
        way: the way out.
        ledger: where it is written down.
        before: decisions left out when the batch was prepared, by reason; for the report.
        clock: tells the time.
        gate: asked once after planning: decisions that no longer hold, and why.
        tracker: entered before the first mail leaves and left after the last, so that answers find their mails; what it
            gives is called once after planning. Like the gate it is given what to call now and then, with words and
            the mails it has come to, which raises where the sending is stopped.
        lingers: stay while the run is paused, and end with a report when stopped; else end at a pause, and raise
            KeyboardInterrupt when stopped.
    """

    def __init__(
        self,
        parcel: Parcel,
        run: RunRecord,
        way: Transport,
        ledger: Ledger,
        *,
        before: Mapping[str, int],
        clock: Clock,
        gate: Callable[[Step], Mapping[str, str]] = lambda step: {},
        lingers: bool = False,
        tracker: Callable[[Step], AbstractContextManager[Callable[[], None]]] | None = None,
    ) -> None:
        self.parcel = parcel
        self.record = run
        self.run_id = run.id
        self.total = len(parcel)
        self.way = way
        self.ledger = ledger
        self.before = before
        self.clock = clock
        self.gate = gate
        self.lingers = lingers
        self.tracker = tracker or (lambda step: nullcontext(lambda: None))
        self.tell: Callable[[Progress], None] = lambda progress: None
        self.stop = threading.Event()
        self.progress = Progress(Phase.PLANNING, self.total, waiting=self.total, run_id=run.id)
        self._me = ""
        self._number = Numbers((), self._decision)
        self._timely = Timely(parcel, way, ledger, run.id, self._number)
        self._numbers: dict[str, int] = {}  # of the mails that a connection has
        self._next_number = 0
        self._held: dict[str, Delivery] = {}
        self._ready: deque[Delivery] = deque()  # those held that no connection has yet
        self._pending: list[tuple[Delivery, Receipt]] = []
        self._sent = bytearray(self.total)
        self._sent_count = 0
        self._tally: Counter[State] = Counter()
        self._outside = array("q")  # the numbers of mails that are not of this run
        self._elsewhere: Counter[State] = Counter()  # where those of them are that other runs have
        self._began = self._look_at = time.perf_counter()
        self._renew_at = self._began + _RENEW
        self._tell_at = self._count_at = self._began
        self._pace = Pace()
        self._planned = threading.Event()
        self._is_cut_short = False
        self._held_back = 0
        self._spent: frozenset[str] = frozenset()
        self._pause_by: str | None = None
        self._steering = threading.Lock()

    def run(self) -> Report:
        """The report, when everything is done that can be done now.

        Raises:
            SendingError: the way out or the ledger failed midway; says what was sent.
            KeyboardInterrupt: it was stopped, and does not linger.
        """
        try:
            try:
                with self.tracker(self._step) as planned, self.ledger.at_work(), owner() as self._me:
                    try:
                        self._plan(planned)
                        self._work()
                        if self.stop.is_set() and not self.lingers:
                            raise KeyboardInterrupt
                        self._recover()
                        self.ledger.finish(self.run_id, by=self.record.approver)
                    except BaseException as fault:
                        self._broken_off(fault)
                        raise
            except _StoppedError:
                self._is_cut_short = True  # before the first mail; what is planned waits in the ledger
            report = self._report()
        except BaseException as fault:
            if isinstance(fault, KeyboardInterrupt) and not getattr(fault, "__notes__", None):
                self._broken_off(fault)
            self._tell(Phase.FAILED, note=str(fault), at_once=True)
            raise
        over = Phase.DONE if not self.stop.is_set() or report.state == "done" else Phase.STOPPED
        self._tell(over, note=f"the run is {report.state}" if report.state in _HELD_UP else "", at_once=True)
        return report

    def pause(self, *, by: str) -> None:
        """Pause the run in the ledger, as soon as it is there."""
        by = person(by, where="pause: by")
        with self._steering:
            if not self._planned.is_set():
                self._pause_by = by
                return
        self.ledger.pause(self.run_id, by=by)

    def resume(self, *, by: str) -> None:
        """Let the run go on."""
        by = person(by, where="resume: by")
        with self._steering:
            if not self._planned.is_set():
                self._pause_by = None
                return
        self.ledger.resume(self.run_id, by=by)

    # --- the work -----------------------------------------------------------------------------------------------------

    def _plan(self, told: Callable[[], None]) -> None:
        # First, so that what a dead sender left is either proven sent or can be taken over by this run.
        self._recover()
        if self.total:
            planned = self.ledger.plan(self.record, self._entries())
            self._held_back = planned.held
            elsewhere = self.ledger.known(planned.spent)  # these wait in another run, with another code
            self._spent = frozenset(one for one in planned.spent if one not in elsewhere)
            self.ledger.stop(self.run_id, self.gate(self._step))
            told()
        self._tally = self.ledger.counts(self.run_id)
        if self._tally.total() < self.total:
            self._look_outside(range(self.total))
        with self._steering:
            self._planned.set()
            by = self._pause_by
        if by is not None and self.total:
            self.ledger.pause(self.run_id, by=by)

    def _entries(self) -> Iterator[Entry]:
        for some in self._some():
            self._step("into the ledger", some.start)
            for number in some:
                stub = self.parcel.stub(number)
                self._number.add(stub.decision_id)
                self._timely.quiet.add(stub)
                yield entry_of(stub)

    def _step(self, words: str, count: int) -> None:
        """Tell how far a part of planning or closing is; end it where the sending was stopped."""
        phase = Phase.CLOSING if self._planned.is_set() or self._is_cut_short else Phase.PLANNING
        if self.stop.is_set() and not self.lingers:
            raise KeyboardInterrupt
        if self.stop.is_set() and phase is Phase.PLANNING:
            raise _StoppedError
        now = time.perf_counter()
        if now >= self._tell_at or words != self.progress.note:
            self._tell_at = now + _TOLD
            look = replace(self.progress, phase=phase, note=words, looked_at=count, rate=0.0)
            self.progress = replace(look, seconds=now - self._began)
            self.tell(self.progress)

    def _work(self) -> None:
        while True:
            self._tell(Phase.SENDING)
            for receipt in self.way.deliver(self._claimed(), self._start):
                self._received(receipt)
            self._flush()
            self._give_back()
            if self.stop.is_set() or not self._goes_on():
                return
            self.stop.wait(_PATIENCE)
            self._recover()

    def _goes_on(self) -> bool:
        """Whether there is something to wait for: a pause that may end, a limit, a canary, or another sender."""
        self._count()
        state = self.ledger.run_state(self.run_id)
        if state == "paused" and self.lingers and any(self._tally[one] for one in OPEN):
            self._tell(Phase.PAUSED, note=self.ledger.why(self.run_id))
            return True
        wait, why = self._next()
        if wait is not None and (self.lingers or wait < _LONGEST_WAIT):
            if wait:
                self._tell(Phase.WAITING, note=why)
                self.stop.wait(min(wait, _LOOK))
            return True
        held = self._tally[State.LEASED] + self._tally[State.SENDING]
        if held:
            self._tell(Phase.WAITING, note="another sender is at work")
        return bool(held)

    def _next(self) -> tuple[float | None, str]:
        """Seconds until more may go, and what it waits for; None when nothing is planned, or the run is not active."""
        moment, why = self.ledger.next_moment(self.run_id, patient=self.lingers)
        return (None if moment is None else max(0.0, (moment - micros(self.clock())) / 1e6)), why

    def _claimed(self) -> Iterator[Outgoing | None]:
        while not self.stop.is_set():
            if not self._ready:
                self._flush()
            if not self._ready:
                limit = max(1, self.way.at_once - len(self._held))
                claimed = self.ledger.claim(self.run_id, owner=self._me, limit=limit, lease=_LEASE)
                self._hold(claimed)
                if claimed and not self._ready:
                    continue  # none of these may leave now; others may
            if self._ready:
                yield self._outgoing(self._ready.popleft())
                continue
            wait, _ = self._next()
            if wait is None or wait > _SOON:
                return
            yield None

    def _hold(self, claimed: Sequence[Delivery]) -> None:
        rows = self._timely.of(claimed, owner=self._me, beat=self._beat)
        self._ready.extend(rows)
        self._held |= {row.decision_id: row for row in rows}

    def _give_back(self) -> None:
        """What was leased and never begun goes back, and is not waited for until its lease is over."""
        if self._held:
            self.ledger.recover(owner=self._me)
            self._ready.clear()
            self._held.clear()
            self._numbers.clear()

    def _outgoing(self, row: Delivery) -> Outgoing:
        # As a rule the ledger gives them out in the order they have here.
        number = min(self._next_number, self.total - 1)
        stub, message = self.parcel.mail(number)
        if stub.decision_id != row.decision_id:
            number = self._number[row.decision_id]
            stub, message = self.parcel.mail(number)
        self._next_number, self._numbers[row.decision_id] = number + 1, number
        if not is_mail(row, stub, message):
            raise LedgerError(f"ledger: row {row.decision_id} was tampered with: it is not the mail approved")
        bounces = returned_to(self.parcel.bounces, row.message_id)
        return Outgoing(row.decision_id, row.message_id, self.parcel.sender, row.address, message, bounces)

    def _start(self, decision_ids: Sequence[str]) -> Collection[str]:
        self._beat()  # while there is always more to send, nothing else comes by
        # In one commit, so that a crash leaves no mail in doubt whose receipt was here already.
        leased = [self._held[name] for name in decision_ids]
        started = self._turn(self._timely.of(leased, owner=self._me, beat=self._beat))
        granted = {row.decision_id for row in started}
        self._held |= {row.decision_id: row for row in started}
        for name in decision_ids:
            if name not in granted:
                del self._held[name], self._numbers[name]
        return granted

    def _received(self, receipt: Receipt | None) -> None:
        if receipt is None:
            self._flush()
            return
        self._pending.append((self._held.pop(receipt.decision_id), receipt))
        if len(self._pending) >= _GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._turn(())
        self._beat()

    def _beat(self) -> None:
        """Keep what is leased, and tell how far it is, each when its time has come."""
        if self._held and time.perf_counter() > self._renew_at:
            self._renew_at = time.perf_counter() + _RENEW
            self.ledger.renew(self._me, lease=_LEASE)
        self._tell(Phase.STOPPING if self.stop.is_set() else Phase.SENDING)

    def _turn(self, held: Sequence[Delivery]) -> list[Delivery]:
        """Write the receipts down, and start what is held; what may be sent."""
        pending = self._pending
        later, late = self._timely.again_at(pending)
        free = self.way.at_once - len(self._held)
        enough = not self.stop.is_set() and free > 0 and (not self._ready or 4 * free >= self.way.at_once)
        claiming = Claiming(self.run_id, self._me, free, _LEASE) if enough else None
        recorded, started, claimed = self.ledger.turn(pending, held, next_at=later, claiming=claiming)
        self._hold(claimed)
        self._pending = []  # only now: what could not be written is tried again when the sending is broken off
        mine = {row.decision_id for row in recorded}
        self.ledger.stop(self.run_id, dict.fromkeys(mine & late, TOO_LATE))
        for _, receipt in pending:
            number = self._numbers.pop(receipt.decision_id)
            if receipt.decision_id in mine:
                self._tally[State.LEASED] -= 1
                self._tally[receipt.state] += 1
                if receipt.state is State.ACCEPTED and not receipt.already:
                    self._mark_sent(number)
        return started

    def _mark_sent(self, number: int) -> None:
        self._sent_count += not self._sent[number]
        self._sent[number] = 1

    def _recover(self, me: str | None = None) -> None:
        self.ledger.recover(owner=me)
        if isinstance(self.way, Witness):
            unknown = self.ledger.unknown(self.way.name)
            if unknown:
                found = self.way.find([row.decision_id for row in unknown])
                settled = self.ledger.settle(unknown, found, by=f"evidence of {self.way.name}")
                for row in settled:
                    if row.owner == self._me and row.state is State.ACCEPTED and row.decision_id in self._number:
                        self._mark_sent(self._number[row.decision_id])
        if self._planned.is_set() and me is None:
            self.ledger.again(self.run_id, wait=_AGAIN)

    def _broken_off(self, fault: BaseException) -> None:
        """Leave nothing behind that another call would have to wait for, and say how far this one came."""
        try:
            if self._pending:
                self._turn(())
            if self._me:
                self._recover(self._me)
            said = self._so_far()
        except (ToolkitError, OSError) as further:
            said = f"the ledger could not be brought up to date ({further}); the next call of send will look into it"
        fault.add_note(f"{said}. {_GO_ON}")

    # --- how far it is ------------------------------------------------------------------------------------------------

    def _count(self) -> None:
        """Count anew what the ledger says of this batch."""
        self._tally = self.ledger.counts(self.run_id)
        # While mails are in hand nothing may take so long that their leases end.
        if self._outside and not self._held and time.perf_counter() > self._look_at:
            self._look_outside(self._outside)
        self._count_at = time.perf_counter() + _COUNTED

    def _look_outside(self, numbers: Sequence[int]) -> None:
        """Which of these mails are not of this run, and where they are."""
        began, outside = time.perf_counter(), array("q")
        self._elsewhere = Counter()
        for begin in range(0, len(numbers), _SOME):
            if not self._planned.is_set():
                self._step("looking for mails in other runs", begin)
            named = {self._decision(number): number for number in numbers[begin : begin + _SOME]}
            for row in self.ledger.rows(list(named)):
                if row.run_id == self.run_id:
                    del named[row.decision_id]
                else:
                    self._elsewhere[row.state] += 1
            outside.extend(named.values())
        self._outside = outside
        self._look_at = time.perf_counter() + max(_COUNTED, _SELDOM * (time.perf_counter() - began))

    def _tell(self, phase: Phase, *, note: str = "", at_once: bool = False) -> None:
        if phase is Phase.SENDING and not self._held and self.progress.phase in (Phase.PAUSED, Phase.WAITING):
            return  # it only looks whether it may go on; who watches would see it begin and pause, ten times a second
        now = time.perf_counter()
        if now < self._tell_at and not at_once and phase is self.progress.phase:
            return
        self._tell_at = now + _TOLD
        if now > self._count_at and not at_once:
            self._count()
        every = self._tally + self._elsewhere
        accepted = every[State.ACCEPTED]
        gone = sum(every[state] for state in NEVER_LEFT) + len(self._spent)
        settled = accepted + gone + every[State.FAILED] + every[State.UNKNOWN]
        self.progress = Progress(
            phase,
            self.total,
            sent=self._sent_count,
            already_sent=max(0, accepted - self._sent_count),
            waiting=max(0, self.total - settled - every[State.DEFERRED]),
            deferred=every[State.DEFERRED],
            unknown=every[State.UNKNOWN],
            failed=every[State.FAILED],
            skipped=gone,
            rate=self._pace.seen(now, self._sent_count),
            seconds=now - self._began,
            note=note,
            run_id=self.run_id,
        )
        self.tell(self.progress)

    def _report(self) -> Report:
        self._tally = self.ledger.counts(self.run_id)
        others = Elsewhere(micros(self.clock()))
        rows = self._outcomes(others)
        return self._reported(rows, others)

    def _so_far(self) -> str:
        """In words what became of the batch, of counts alone: whoever stops a million mails does not wait for each."""
        if not self._planned.is_set():
            return "no mail left by this call"
        every = self.ledger.counts(self.run_id) + self._elsewhere
        rows = Outcomes()
        rows.counts.update({SENT: self._sent_count, ALREADY: every.pop(State.ACCEPTED, 0) - self._sent_count})
        rows.counts.update({state.value: count for state, count in every.items()})
        rows.counts[State.SKIPPED.value] += len(self._spent)
        rows.counts[State.PLANNED.value] += max(0, self.total - rows.counts.total())
        return str(self._reported(rows, None))

    def _reported(self, rows: Outcomes, others: Elsewhere | None) -> Report:
        return Report(
            rows=rows,
            before=self.before,
            transport=self.way.name,
            ledger=self.ledger.place,
            seconds=time.perf_counter() - self._began,
            audit=self.ledger.audit_head(),
            state=self.ledger.run_state(self.run_id) or "done",
            held_back=self._held_back,
            spent=len(self._spent),
            waits_for=waits_for(self.ledger, self.run_id, others=others) if any(rows.counts[s] for s in OPEN) else (),
        )

    def _decision(self, number: int) -> str:
        return self.parcel.stub(number).decision_id

    def _some(self) -> Iterator[range]:
        """The numbers of the parcel's mails, some at a time."""
        return (range(begin, min(begin + _SOME, self.total)) for begin in range(0, self.total, _SOME))

    def _outcomes(self, others: Elsewhere) -> Outcomes:
        """What became of each mail; those that wait in other runs are told to `others`."""
        outcomes, elsewhere = Outcomes(), Counter[State]()
        for some in self._some():
            self._step("the report", some.start)
            stubs = [self.parcel.stub(number) for number in some]
            rows = {row.decision_id: row for row in self.ledger.rows([stub.decision_id for stub in stubs])}
            for number, stub in zip(some, stubs, strict=True):
                row = rows.get(stub.decision_id)
                spent = _SPENT if row is None and stub.decision_id in self._spent else None
                state = row.state if row else State.SKIPPED if spent else State.PLANNED
                if row is not None and row.run_id != self.run_id:
                    elsewhere[state] += 1
                    if state in OPEN:
                        others.add(row)
                is_here = SENT if self._sent[number] else ALREADY
                said = is_here if state is State.ACCEPTED else state.value
                outcomes.add(outcome_of(stub, row, said, reason=spent))
        self._elsewhere = elsewhere
        return outcomes


class _StoppedError(Exception):
    """A sender that lingers was stopped before the first mail."""


_GO_ON = "Nothing is lost: call send again to go on."
_HELD_UP = ("paused", "cancelled", "revoked")
_SPENT = "coupon_empty"
