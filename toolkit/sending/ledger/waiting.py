"""Why mails of a sending still wait, and what lets them go on, in words for whoever called it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from sqlalchemy import Row, func, select

from toolkit.sending.clock import DAY, from_micros, micros
from toolkit.sending.ledger.delivery_rows import Delivery, goes_later
from toolkit.sending.ledger.holding import hold_of_run
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.pacing import IN_QUIET_HOURS
from toolkit.sending.ledger.schema import (
    IS_QUIET,
    attempts,
    deliveries,
    documents,
    held_as,
    holds,
    is_paused,
    is_under,
    runs,
    standing_over,
)
from toolkit.sending.protocol import REHEARSALS
from toolkit.sending.states import WAITING, State

__all__ = ["Elsewhere", "approvals_paused", "held_up", "left_over", "paused_because", "waits_for"]


_WINDOW = DAY  # of a round, and of a batch unless another is named


class Elsewhere:
    """Mails of a batch that wait in other runs, counted.

    Args:
        now: microseconds since 1970.
    """

    def __init__(self, now: int) -> None:
        self._now = now
        self._runs: Counter[str] = Counter()
        self._later: dict[str, Counter[tuple[State, str]]] = {}
        self._again: dict[str, int] = {}

    def add(self, row: Delivery) -> None:
        """One mail."""
        self._runs[row.run_id] += 1
        if row.next_at is not None and row.state in WAITING and goes_later(row, self._now):
            self._later.setdefault(row.run_id, Counter())[row.state, _answer(row.code, row.reason)] += 1
            self._again[row.run_id] = min(row.next_at, self._again.get(row.run_id, row.next_at))

    def lines(self, ledger: Ledger) -> list[str]:
        """What they wait for, a line each."""
        lines, later, again = list[str](), Counter[tuple[State, str]](), list[int]()
        for run_id, count in self._runs.items():
            if ledger.run_state(run_id) == "paused":
                lines.append(f"{count:,} in run {run_id[:12]}, {paused_because(ledger, run_id)}")
                continue
            mine = self._later.get(run_id, Counter())
            if mine:
                later += mine
                again.append(self._again[run_id])
            if rest := count - mine.total():
                lines.append(f"{rest:,} in run {run_id[:12]}, which another sender has")
        for state in WAITING:
            of_it = Counter({met: count for (one, met), count in later.items() if one is state})
            if of_it:
                met = next((met for met, _ in of_it.most_common() if met), "")
                lines.append(_later_words(of_it.total(), state, met, min(again)))
        return lines


def waits_for(ledger: Ledger, run_id: str, *, others: Elsewhere | None = None) -> tuple[str, ...]:
    """What the mails of a batch wait for, a line each.

    Args:
        ledger: the ledger.
        run_id: the batch's run.
        others: those of its mails that wait in other runs.
    """
    lines = []
    state = ledger.run_state(run_id)
    if state == "paused":
        lines.append(paused_because(ledger, run_id))
    elif state == "active":
        moment, why = ledger.next_moment(run_id)
        if moment is not None and why and why != IN_QUIET_HOURS:
            lines.append(f"{why}, from {_moment(moment)} on more may go")
    if state in ("active", "done"):
        lines += _postponed(ledger, run_id)
    return (*lines, *(others.lines(ledger) if others is not None else ()))


def left_over(ledger: Ledger, run_id: str) -> tuple[str, ...]:
    """Of a run with mails to go that is not paused, and that no sender has in its hands: since when, and what to do.

    Args:
        ledger: the ledger.
        run_id: the run.
    """
    mine = deliveries.c.run_id == run_id
    of_it = deliveries.join(attempts, attempts.c.delivery_id == deliveries.c.id)
    with ledger.reading() as connection:
        run = connection.execute(select(runs).where(runs.c.id == run_id)).mappings().one()
        at_work = connection.execute(select(deliveries.c.id).where(mine, held_as(State.LEASED, State.SENDING)).limit(1))
        tried = select(func.max(attempts.c.at)).select_from(of_it).where(mine, deliveries.c.state.in_(WAITING))
        if run["state"] in ("paused", "cancelled", "revoked") or at_work.first() is not None:
            return ()
        last: int | None = connection.execute(tried).scalar()
        loops = connection.execute(standing_over(run_id)).first()
        out = deliveries.c.decided_at.between(1, micros(ledger.clock()) - _WINDOW)
        waiting = select(func.count(), func.count().filter(out)).where(mine, deliveries.c.state.in_(WAITING))
        count, late = connection.execute(waiting).one()
    since = f"last tried {_moment(last)}" if last is not None else f"planned {_moment(run['created_at'])}, never tried"
    by_then = run["not_after"] if run["transport"].startswith(REHEARSALS) else min(run["not_after"], run["as_of"] + DAY)
    if micros(ledger.clock()) >= run["not_after"]:
        then = f"its approval was over {_moment(run['not_after'])}: what is still due goes with a batch prepared anew"
    elif loops is not None and late < count:
        ends = _moment(run["not_after"])
        then = f"a round takes over what is in its window, when its moment has come; under this approval until {ends}"
    elif loops is None and micros(ledger.clock()) < by_then:
        then = f"`send` with the same batch goes on until {_moment(by_then)}, or a batch prepared anew takes them over"
    else:
        then = "a batch prepared anew takes them over"
    if late:
        those = f"{late:,} decided over 24 hours ago" if late < count else "all were decided over 24 hours ago"
        then += f" ({those}: too late for any round, and for a batch without a longer `window=`)"
    how = f"`toolkit cancel {run_id[:12]} --ledger {ledger.place} --by NAME` ends the rest"
    return (*waits_for(ledger, run_id), f"{since}, and nobody sends them now: {then}; {how}")


def held_up(ledger: Ledger, approval_id: str) -> str | None:
    """What holds up all under a standing approval, in words: a person, or a run under it that is paused; else None."""
    query = select(runs.c.id).where(is_paused(), is_under(approval_id, runs.c.id))
    with ledger.reading() as connection:
        held = connection.execute(select(holds).where(holds.c.approval_id == approval_id)).first()
        found: str | None = connection.execute(query.order_by(runs.c.created_at, runs.c.id).limit(1)).scalar()
    if held is not None:
        return _held(ledger, held)
    return None if found is None else paused_because(ledger, found)


def approvals_paused(ledger: Ledger) -> list[str]:
    """One line for each approval that somebody holds up: which, who, why, and how it is let go on."""
    lines = []
    with ledger.reading() as connection:
        for held in connection.execute(select(holds).order_by(holds.c.at, holds.c.approval_id)).all():
            written = select(documents.c.text).where(documents.c.id == held.approval_id)
            names = json.loads(connection.execute(written).scalar() or "{}").get("scenarios", [])
            of = f" of {', '.join(names)}" if names else ""
            lines.append(f"approval {held.approval_id[:12]}{of}: {_held(ledger, held)}")
    return lines


def paused_because(ledger: Ledger, run_id: str) -> str:
    """Who or what paused a run, what its mails met most often, and how it is let go on."""
    with ledger.reading() as connection:
        held = hold_of_run(connection, run_id)
    if held is not None:
        return _held(ledger, held)
    met = _most(ledger, run_id, State.FAILED) or _most(ledger, run_id, State.DEFERRED)
    said = f", most often for {met}" if met else ""
    return f"{ledger.why(run_id)}{said}; {_how(ledger, run_id)}"


def _held(ledger: Ledger, held: Row[Any]) -> str:
    why = f" ({held.why})" if held.why else ""
    return f"paused by {held.actor} on {_moment(held.at)}{why}; {_how(ledger, held.approval_id)}"


def _how(ledger: Ledger, name: str) -> str:
    return f"`toolkit resume {name[:12]} --ledger {ledger.place} --by NAME` lets it go on"


def _postponed(ledger: Ledger, run_id: str) -> list[str]:
    mine = deliveries.c.run_id == run_id, deliveries.c.state == State.DEFERRED
    counted = select(func.count(), func.min(deliveries.c.next_at)).where(*mine)
    lines = []
    with ledger.reading() as connection:
        for is_quiet in (False, True):
            count, first = connection.execute(counted.where(IS_QUIET if is_quiet else ~IS_QUIET)).one()
            if count and is_quiet:
                lines.append(f"{count:,} held by quiet hours" + ("" if first is None else f", to go {_from(first)}"))
            elif count:
                lines.append(_later_words(count, State.DEFERRED, _most(ledger, run_id, State.DEFERRED), first))
    return lines


def _later_words(count: int, state: State, met: str, again: int | None) -> str:
    """How many mails go again, why not now, and from when on."""
    why = "postponed by the other side" if state is State.DEFERRED else "in doubt once"
    when = "" if again is None else f", to go again {_from(again)}"
    return f"{count:,} {why}{f' ({met})' if met else ''}{when}"


def _from(moment: int) -> str:
    return f"from {_moment(moment)} on"


def _most(ledger: Ledger, run_id: str, state: State) -> str:
    """What most mails of a run in a state were answered."""
    count = func.count()
    query = select(deliveries.c.code, deliveries.c.reason).where(
        deliveries.c.run_id == run_id, deliveries.c.state == state, deliveries.c.reason.is_not(None), ~IS_QUIET
    )
    query = query.group_by(deliveries.c.code, deliveries.c.reason).order_by(count.desc(), deliveries.c.reason).limit(1)
    with ledger.reading() as connection:
        row = connection.execute(query).first()
    return "" if row is None else _answer(row.code, row.reason)


def _answer(code: int | None, reason: str | None) -> str:
    return f"{code or ''} {reason or ''}".strip()


def _moment(micros: int) -> str:
    return f"{from_micros(micros):%Y-%m-%d %H:%M} UTC"
