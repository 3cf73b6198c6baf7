"""The live loop: every so often, the mails due now of scenarios under a standing approval, prepared and sent.

Each round writes down what it saw: the moment, the version, what it sent and what it left out and why. From that, and
the log, `parity` can say afterwards whether the day went as a replay says it should have.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from toolkit.engine import replay
from toolkit.errors import AnswersError, ApprovalError, EventLogError, InputError, SendingError, ToolkitError, shown
from toolkit.events import EventLog
from toolkit.mail import Templates
from toolkit.readable import counted, lines_html, table_html
from toolkit.scenario import content_hash
from toolkit.scenario.models import Program
from toolkit.sending.answered import heard
from toolkit.sending.approval.standing import StandingApproval
from toolkit.sending.batch.batch import Batch
from toolkit.sending.batch.stock import CodesError, never_empty
from toolkit.sending.batch.summary import told
from toolkit.sending.captures import Captures
from toolkit.sending.clock import Clock, utc_now
from toolkit.sending.delivery import send, stopped_by
from toolkit.sending.display import frame_text
from toolkit.sending.ledger.delivery_rows import Delivery
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.owners import owner
from toolkit.sending.ledger.shares import SHARES, Shares
from toolkit.sending.ledger.waiting import held_up
from toolkit.sending.preparation.preparation import prepare
from toolkit.sending.protocol import Transport
from toolkit.sending.sender.fitness import fit_to_send
from toolkit.sending.sender.refusals import Refusals
from toolkit.sending.sender.report import Outcomes, Report
from toolkit.sending.transports import transport as transport_of

__all__ = ["Parity", "keep_sending", "parity", "round_of"]


def round_of(
    program: Program,
    log: EventLog,
    *,
    templates: str | os.PathLike[str] | Templates,
    approval: StandingApproval,
    transport: str | Transport,
    ledger: str | os.PathLike[str],
    captures: str | os.PathLike[str] | Captures,
    now: datetime,
    shares: Collection[int] | None = None,
    since: datetime | None = None,
    clock: Clock = utc_now,
) -> Report:
    """One round: what is due now, sent under a standing approval, and what was seen written down first.

    Where the policies name a tracker, the answers it took are read with the log, so that branches see them.

    Args:
        program: scenarios and the policies they share; all decide, those approved are sent.
        log: what customers did, up to now.
        templates: the folder of the mails, or the mails compiled.
        approval: from `approve_standing`.
        transport: the way out.
        ledger: path or URL of the ledger.
        captures: folder for what rounds saw, one file a day (UTC); or `Captures`, which writes down once who is left
            out in many rounds.
        now: the moment, with a time zone.
        shares: the customers to mind (`sending.shares`); all unless given.
        since: no mails of journeys that began before this moment, with a time zone.
        clock: tells the time.

    Raises:
        ApprovalError: the approval does not cover what is due; nothing was sent.
        SendingError: the way out or the ledger failed midway; the next round goes on.
        AnswersError: the answers to mails cannot be read; nothing was sent.
    """
    log = heard(log, program, ledger, clock=clock)
    there = [one.scenario for one in program.scenarios if one.scenario in approval.scenarios]
    if not there:
        raise ApprovalError(f"approval: covers {', '.join(approval.scenarios) or 'nothing'}, of which nothing is there")
    batch = prepare(
        program,
        log,
        now=now,
        templates=templates,
        ledger=ledger,
        scenarios=there,  # where one is gone the approval is void, and `send` says so
        shares=shares,
        since=since,
        set_aside=True,  # what one customer wrote into a form must not keep all others from being mailed
        progress=False,
    )
    line: dict[str, Any] = {
        "now": batch.now.isoformat(),
        "program": content_hash(program),
        "scenarios": list(approval.scenarios),
    }
    due = [mail.letter.decision_id for mail in batch.mails]
    seen = captures if isinstance(captures, Captures) else Captures(Path(captures))
    with Ledger.open(ledger, clock=clock) as opened:
        paused = held_up(opened, approval.id)
        if paused is not None and clock() < approval.expires_at:  # else `send` says that it is over
            seen.add(batch.now, line, left_out={**batch.left_out, **dict.fromkeys(due, "paused")})
            report = _none_sent(batch, opened, paused, way=transport)
            return replace(report, lost=seen.newly_lost(batch.lost))
    seen.add(batch.now, line, due=due, left_out=batch.left_out)
    report = send(
        batch, approval, transport=transport, confirm=len(batch), ledger=ledger, log=log, progress=False, clock=clock
    )
    if report.held_back or report.spent:
        with Ledger.open(ledger, clock=clock) as opened:
            known = opened.known(due)
        why = "held back by the limits" if not report.spent else "held back by the limits, or its code is another's"
        seen.add(batch.now, line, left_out=dict.fromkeys([name for name in due if name not in known], why))
    return replace(report, lost=seen.newly_lost(batch.lost))


def _none_sent(batch: Batch, ledger: Ledger, paused: str, *, way: str | Transport) -> Report:
    said = f"{paused}; until then nothing of its approval goes, {counted(len(batch), 'mail')} due"
    return Report(
        rows=Outcomes(),
        before=batch.skipped,
        transport=transport_of(way).name,
        ledger=ledger.place,
        seconds=0.0,
        audit=ledger.audit_head(),
        state="paused",
        waits_for=(said,),
        notes=told(batch.preflight.set_aside),
    )


def keep_sending(
    program: Program,
    read_log: Callable[[], EventLog],
    *,
    templates: str | os.PathLike[str],
    approval: StandingApproval,
    transport: str | Transport,
    ledger: str | os.PathLike[str],
    captures: str | os.PathLike[str],
    every: timedelta,
    since: datetime | None = None,
    rounds: int | None = None,
    stop: threading.Event | None = None,
    say: Callable[[str], None] = lambda line: None,
    clock: Clock = utc_now,
) -> int:
    """How many rounds were made, when it is stopped, the approval is over, or nothing more may be sent.

    Several loops under one approval share the customers, by leases that each takes at the beginning of a round: whoever
    joins gets a part, and what a dead loop held is free when its lease ends, three rounds later at most.

    The log is read anew for each round. A way out that fails, or a log or a file of coupon codes that is being replaced
    at that moment, is tried again in the next round; a wrong password or a void approval ends the loop, lest it be
    tried a thousand times. So do twenty mails refused for good with none accepted in between: too few for an alarm,
    which counts all rounds of 24 hours together and, like a round paused by hand, holds up those that follow.

    Args:
        program: scenarios and the policies they share.
        read_log: gives the log as it is by now.
        templates: the folder of the mails.
        approval: from `approve_standing`.
        transport: the way out.
        ledger: path or URL of the ledger.
        captures: folder for what rounds saw.
        every: time between the beginnings of two rounds.
        since: no mails of journeys that began before this moment, with a time zone.
        rounds: at most so many; None for no end.
        stop: ends it, also in the middle of a round, between two mails.
        say: is told one line a round.
        clock: tells the time; with a ledger in PostgreSQL its server's clock does, where this machine's own is meant.

    Raises:
        ApprovalError: the approval is over or void.
        InputError: the log cannot be read in the first round.
        LedgerError: the ledger was put back from a backup, and does not know what left since.
        SendingError: twenty mails or more were refused for good, and none accepted in between.
        SendingError, AnswersError, InputError: the way out, the ledger, the answers, the log or the codes fail three
            rounds in a row, or in the last of `rounds`.
    """
    over, made, failed, has_read = stop or threading.Event(), 0, 0, False
    last: ToolkitError | None = None
    refusals = Refusals()
    way, seen = transport_of(transport), Captures(Path(captures))
    with ExitStack() as held:
        opened = held.enter_context(Ledger.open(ledger, clock=clock))
        fit_to_send(opened, way)
        clock = opened.clock  # one for the round and for its mails, and for all machines that share the ledger
        lease = max(_SHORTEST_LEASE, 3 * every)
        mine = Shares(opened, held.enter_context(owner()), approval=approval.id, lease=lease, clock=clock)
        held.callback(mine.release)
        held.enter_context(stopped_by(over))  # a round may wait for a limit for an hour
        while not over.is_set() and (rounds is None or made < rounds):
            began, now = time.monotonic(), clock()
            part, report = "", None
            try:
                shares = mine.hold()
                part = "" if len(shares) == SHARES else f"{len(shares)} of {SHARES} shares of the customers, "
                said = f"the other loops have everyone still, {mine.waits_for()}"
                if shares:
                    log = _read(read_log, again=has_read)
                    has_read = True
                    report = round_of(
                        program,
                        log,
                        templates=templates,
                        approval=approval,
                        transport=way,
                        ledger=ledger,
                        captures=seen,
                        now=now,
                        shares=shares,
                        since=since,
                        clock=clock,
                    )
                    said = str(report)
            except (SendingError, AnswersError, EventLogError, CodesError) as fault:
                # A log that could be read and then no more was stored anew in the middle of the round; codes are
                # appended to their file while rounds are made.
                if isinstance(fault, EventLogError) and not has_read:
                    raise
                failed, last = failed + 1, fault
                say(f"{now:%Y-%m-%d %H:%M:%S} broken off: {fault}")
                if failed == _MOST_FAILURES:
                    raise
            except KeyboardInterrupt:
                if not over.is_set():
                    raise
                say(f"{now:%Y-%m-%d %H:%M:%S} stopped in the middle; nothing is lost, start again to go on")
            else:
                failed = 0
                say(f"{now:%Y-%m-%d %H:%M:%S} {part}{said}")
                if report is not None:
                    refusals.add(report)
            made += 1
            if rounds is None or made < rounds:
                over.wait(max(0.0, every.total_seconds() - (time.monotonic() - began)))
    if failed and last is not None and made == rounds:
        raise last  # whoever asked for so many rounds waits for them, and must hear that the last was broken off
    return made


def _read(read_log: Callable[[], EventLog], *, again: bool) -> EventLog:
    """The log; where it could be read before and cannot be now, that may be over in the next round."""
    try:
        return read_log()
    except InputError as fault:
        if not again:
            raise
        raise SendingError(f"the log cannot be read: {fault}") from fault


@dataclass(frozen=True, eq=False)
class Parity:
    """A day as it went, beside the day as a replay says it should have gone.

    Attributes:
        day: the day, UTC.
        table: one row per decision of the day: decision_id, customer_id, scenario, step, replayed (whether the replay
            sends it), ledger (its state there, or missing), verdict (same, explained or unexplained), why.
    """

    day: date
    table: pd.DataFrame

    @property
    def is_identical(self) -> bool:
        """Whether every mail the replay sends was sent, and no other."""
        return bool((self.table["verdict"] == "same").all())

    @property
    def unexplained(self) -> pd.DataFrame:
        """The rows that nothing explains."""
        return self.table[self.table["verdict"] == "unexplained"]

    def __str__(self) -> str:
        counts = self.table["verdict"].value_counts()
        said = ", ".join(f"{word} {int(counts.get(word, 0)):,}" for word in ("same", "explained", "unexplained"))
        first = f"{self.day}: {counted(len(self.table), 'decision')} to send, {said}"
        return first if self.is_identical else f"{first}\n{frame_text(self._differences())}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        shown = "" if self.is_identical else table_html(self._differences())
        return lines_html([str(self).partition("\n")[0]]) + shown

    def _differences(self) -> pd.DataFrame:
        rows = self.table[self.table["verdict"] != "same"]
        grouped = rows.groupby(["verdict", "scenario", "why"]).size().reset_index(name="decisions")
        return grouped.sort_values("decisions", ascending=False, kind="stable")


def parity(
    program: Program,
    log: EventLog,
    *,
    ledger: str | os.PathLike[str],
    captures: str | os.PathLike[str],
    day: date,
) -> Parity:
    """Whether a day of the live loop went as a replay of its captured inputs says.

    Args:
        program: as it was that day; another version is told.
        log: the log, the day included. What was received later than a round is not seen by that round. Answers to
            mails are read with it, as in the rounds.
        ledger: path or URL of the ledger.
        captures: the folder the loop wrote to.
        day: the day, UTC.

    Returns:
        One row per decision to send that the replay or the ledger has, identical or explained row by row.

    Raises:
        InputError: nothing was captured that day, or there is no ledger.
    """
    if not isinstance(day, date):
        raise InputError(f"parity: day: expected a date, for example date(2026, 3, 2); found {shown(day)}")
    if not Ledger.exists(ledger):
        raise InputError(f"parity: ledger {ledger}: there is none")
    seen = Captures(Path(captures))
    rounds = list(seen.of(day))
    if not rounds:
        raise InputError(f"parity: {captures}: nothing was captured on {day}; there are {seen.days}")
    first, last = (datetime.fromisoformat(one["now"]) for one in (rounds[0], rounds[-1]))
    approved = {name for one in rounds for name in one["scenarios"]}
    log = heard(log, program, ledger, only_look=True)
    decided = replay(never_empty(program), log, until=last, assume="as_logged").decisions
    # Before the first round of the first day ever, nobody was at work.
    begun = first if not seen.any_before(day) else datetime(day.year, day.month, day.day, tzinfo=UTC)
    sends = decided[(decided["status"] == "send") & decided["scenario"].isin(approved)]
    named = {name for one in rounds for name in (*one["due"], *one["left_out"])}
    mine = sends[(sends["at"] >= begun) & (sends["at"] <= last) | sends["decision_id"].isin(named)]
    left_out: dict[str, str] = {}
    for one in rounds:
        left_out |= one["left_out"]
    with Ledger.as_it_is(ledger) as opened:
        states = {row.decision_id: row for row in opened.rows(sorted(named | set(mine["decision_id"])))}
    other = sorted({one["program"] for one in rounds} - {content_hash(program)})
    rows = []
    for row in mine.itertuples():
        name = str(row.decision_id)
        state, reason = _stands(states.get(name))
        verdict, why = _verdict(state, reason, left_out.get(name), other)
        rows.append((name, row.customer_id, row.scenario, row.step, True, state, verdict, why))
    for name in sorted({name for one in rounds for name in one["due"]} - set(mine["decision_id"])):
        there = states.get(name)
        verdict, why = ("explained", _another(other)) if other else ("unexplained", "the replay does not decide it")
        rows.append((name, there and there.customer_id, "", "", False, _stands(there)[0], verdict, why))
    columns = ["decision_id", "customer_id", "scenario", "step", "replayed", "ledger", "verdict", "why"]
    return Parity(day, pd.DataFrame(rows, columns=columns))


_MOST_FAILURES = 3
_SHORTEST_LEASE = timedelta(minutes=1)


def _verdict(state: str | None, reason: str | None, left_out: str | None, other: Sequence[str]) -> tuple[str, str]:
    if state == "accepted":
        return "same", ""
    if state is not None:
        said = f": {reason}" if reason else ""
        return "explained", f"{state} in the ledger{said}"
    if left_out is not None:
        return "explained", f"left out: {left_out}"
    if other:
        return "explained", _another(other)
    return "unexplained", "not in the ledger"


def _stands(row: Delivery | None) -> tuple[str | None, str | None]:
    return (None, None) if row is None else (str(row.state), row.reason)


def _another(versions: Sequence[str]) -> str:
    return f"decided by another version of the program ({versions[0][:12]})"
