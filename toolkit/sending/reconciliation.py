"""A ledger that was put back from a backup, brought to terms with what left since.

Every mail is told to the store of answers before it leaves, and again when it was accepted. Where the answers are
still there, whole, they name everything that can have left: what was accepted is written into the ledger as such, and
what is not known to have been is in doubt, as after a crash. Where they are not, no mail decided until now goes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from toolkit.bars import Bar
from toolkit.database import chunks, insert_new
from toolkit.errors import InputError, LedgerError
from toolkit.events import EventLog
from toolkit.readable import counted
from toolkit.sending.answered import answers_place, told_until
from toolkit.sending.clock import Clock, from_micros, micros, utc_now
from toolkit.sending.ledger import audit
from toolkit.sending.ledger.coupons import Coupon, reserve
from toolkit.sending.ledger.delivery_rows import Delivery, attempted, move, rows_of, sender_at_work
from toolkit.sending.ledger.high_water import Mark, last_left
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.schema import deliveries, runs
from toolkit.sending.people import person
from toolkit.sending.preparation.drafts import address_of
from toolkit.sending.protocol import Receipt
from toolkit.sending.sender.recheck import attributes_of
from toolkit.sending.states import OPEN, State
from toolkit.tracking import Answers

__all__ = ["Reconciliation", "reconcile"]

_SENT, _DOUBT = "told to the answers", "unknown_delivery"


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a ledger that was put back does not know, and what was made of it.

    Attributes:
        ledger: its place.
        knows_until: when it last rose itself; None where it is a new one.
        left_until: when mails last left, as is known outside of it.
        sent: mails that it did not know as sent, and that were.
        in_doubt: mails of which nobody knows whether they left.
        complete: the answers know every mail that can have left.
        done: it was written down, and the ledger may be sent from; else it was only looked.
        forgotten: the ledger is taken as it is; what left since may go again.
        nowhere: of the mails that the ledger does not have, those whose address is not known.
    """

    ledger: str
    knows_until: datetime | None
    left_until: datetime
    sent: int
    in_doubt: int
    complete: bool
    done: bool
    forgotten: bool = False
    nowhere: int = 0

    def __str__(self) -> str:
        known = (
            "nothing of what left here" if self.knows_until is None else f"what left until {_said(self.knows_until)}"
        )
        verb = "were" if self.done else "are to be"
        first = f"ledger {self.ledger}: knows {known}; the last mails left about {_said(self.left_until)}"
        if self.forgotten:
            then = (
                f"the ledger {'is' if self.done else 'is to be'} taken as it is: what left since goes again where due"
            )
            return "\n".join([first, then, *([] if self.done else [_LOOKED])])
        lines = [
            first,
            f"{counted(self.sent, 'mail')} known to the answers as sent {verb} written down as accepted, "
            f"{self.in_doubt:,} as in doubt (none of these goes again by itself)",
        ]
        if self.nowhere:
            how = "" if self.done else ": the log tells it (`--events`)"
            lines.append(f"of {self.nowhere:,} the address is not known, so that an unsubscribe finds none{how}")
        if not self.complete:
            lines.append(
                "the answers do not know every mail that can have left: of those decided until now none goes, "
                "each is skipped as unknown_delivery"
            )
        lines.append((_DONE if self.complete else _DONE + _CODES) if self.done else _LOOKED)
        return "\n".join(lines)

    __repr__ = __str__


def _none_there(last: Mark | None) -> str:
    """What is true of a place where no ledger is."""
    if last is None:
        return "there is none, and no mail is known to have left from there"
    return (
        f"its file is gone, and mails left from it until {_said(from_micros(last.at))}: put it back from a backup and "
        "call this again; where there is no backup, `--yes` begins an empty one and writes down what is known of them"
    )


_LOOKED = "nothing was changed: `--yes` does it"
_DONE = "lost since the backup: what was put on the suppression list by hand (add it again)"
_CODES = ", and which codes of coupons were given (put new ones into their file)"


def reconcile(
    ledger: str | os.PathLike[str],
    *,
    by: str,
    log: EventLog | None = None,
    yes: bool = False,
    forget: bool = False,
    progress: bool = True,
    clock: Clock = utc_now,
) -> Reconciliation:
    """What left since the backup of a ledger that was put back, written down in it, so that it may be sent from again.

    Args:
        ledger: path or URL of a ledger that sending refuses.
        by: who does it; written to the audit.
        log: tells the addresses of mails that the ledger does not know, which the answers do not hold; by them an
            unsubscribe gets onto the suppression list. Unless given, a mail has the last address of its customer that
            the ledger knows, or none.
        yes: do it; else only look.
        forget: take the ledger as it is: of a trial that begins anew, or where nothing that left can be due again. What
            left since goes again where it is due.
        progress: show a progress bar.
        clock: tells the time.

    Returns:
        What was found, and whether it was done.

    Raises:
        InputError: there is no such ledger, or it knows all that left from it.
        LedgerError: a sender is at work, or the ledger cannot be written.
        AnswersError: the answers cannot be read.
    """
    who = person(by, where="reconcile: by")
    if not Ledger.exists(ledger) and ((last := last_left(os.path.expanduser(ledger))) is None or not yes):
        raise InputError(f"ledger {ledger}: {_none_there(last)}")
    with (Ledger.open if yes else Ledger.as_it_is)(ledger, clock=clock) as opened:
        mine, ahead = opened.high_water.mine(), opened.high_water.ahead()
        if ahead is None:
            raise InputError(
                f"ledger {opened.place}: knows all that left from it, as far as can be told; nothing to do"
            )
        if yes:
            _nobody_at_work(opened)
        now, where = micros(opened.clock()), answers_place(ledger)
        counts, complete = Counter[str](), False
        with ExitStack() as stack:
            answers = None
            if Ledger.exists(where):
                answers = stack.enter_context(Answers.open(where, clock=lambda: micros(clock())))
                complete = answers.noted(told_until(ahead.ledger)) >= ahead.begun
                if not forget:
                    write = partial(_add_unknown, ahead=ahead, now=now) if yes else None
                    counts = _taken_over(opened, answers, write, log=log, progress=progress, now=now)
            if yes:
                known = max(ahead.doubted, 0 if mine is None else mine.doubted)
                doubted = 0 if forget else known if complete else now
                _closed(opened, answers, ahead, by=who, doubted=doubted, counts=counts, now=now)
        return Reconciliation(
            ledger=opened.place,
            knows_until=None if mine is None or mine.ledger != ahead.ledger else from_micros(mine.at),
            left_until=from_micros(ahead.at),
            sent=counts["sent"],
            in_doubt=counts["doubt"],
            complete=complete,
            done=yes,
            forgotten=forget,
            nowhere=counts["nowhere"],
        )


def _nobody_at_work(ledger: Ledger) -> None:
    ledger.recover()  # what a sender that is gone held
    with ledger.reading() as connection:
        held = sender_at_work(connection)
    if held is not None:
        raise LedgerError(f"ledger {ledger.place}: a sender is at work ({held}); stop it first; nothing was changed")


def _taken_over(
    ledger: Ledger,
    answers: Answers,
    add: Callable[[Connection, Sequence[Any], Mapping[str, str]], None] | None,
    *,
    log: EventLog | None,
    progress: bool,
    now: int,
) -> Counter[str]:
    """How many mails the answers know as sent, or as told, that the ledger does not: `sent` and `doubt`.

    And of how many that it does not have at all no address is known: `nowhere`.

    They are written down where there is something that adds those which the ledger does not have.
    """
    counts = Counter[str]()
    with Bar(desc="mails told to the answers", unit=" mails", disable=not progress, leave=False) as bar:
        for some in answers.handed_down():
            with ledger.reading() if add is None else ledger.changing() as connection:
                asked = [one.decision_id for one in some]
                known = {row.decision_id for row in rows_of(connection, asked)}
                new = [one for one in some if one.decision_id not in known]
                customers = sorted({one.customer_id for one in new})
                addresses = _last_addresses(connection, customers) | _known_to(log, customers, now=now)
                counts["nowhere"] += sum(one.customer_id not in addresses for one in new)
                if add is not None and new:
                    add(connection, new, addresses)
                rows = {row.decision_id: row for row in rows_of(connection, asked, lock=add is not None)}
                forgotten = [one for one in some if _is_behind(rows.get(one.decision_id), one)]
                counts.update("doubt" if one.sent_at is None else "sent" for one in forgotten)
                if add is not None:
                    _settle(connection, [(rows[one.decision_id], one.sent_at) for one in forgotten], now=now)
                    for is_sent in (True, False):
                        these = (one.decision_id for one in forgotten if (one.sent_at is not None) is is_sent)
                        _give_codes(connection, answers.codes_of(these))
            bar.update(len(some))
    return counts


def _is_behind(row: Delivery | None, told: Any) -> bool:
    """Whether the ledger knows less of a mail than the answers."""
    return row is None or row.state in OPEN or (row.state is State.UNKNOWN and told.sent_at is not None)


def _add_unknown(
    connection: Connection, new: Sequence[Any], addresses: Mapping[str, str], *, ahead: Mark, now: int
) -> None:
    """Mails that the ledger does not have, added as planned under a run of their own."""
    run_id = f"reconciled {ahead.ledger[:16]} {ahead.count}"
    run = {"id": run_id, "digest": "", "program": "", "transport": _SENT, "as_of": now, "created_at": now}
    values = {**run, "not_after": now, "state": "done", "mails": 0}
    connection.execute(insert_new(connection, runs), values)
    connection.execute(update(runs).where(runs.c.id == run_id).values(mails=runs.c.mails + len(new)))
    rows = [
        {
            "run_id": run_id,
            "decision_id": one.decision_id,
            "customer_id": one.customer_id,
            "address": addresses.get(one.customer_id, ""),
            "class_": one.class_,
            "message_id": one.message_id,
            "payload_sha256": "",
            "state": State.PLANNED,
            "domain": one.domain,
            "decided_at": one.due_at,
            "planned_at": one.sent_at or now,
            "scenario": one.scenario,
            "step": one.step,
        }
        for one in new
    ]
    connection.execute(insert(deliveries), rows)


def _give_codes(connection: Connection, codes: Sequence[tuple[str, str, str]]) -> None:
    """Coupon codes written down as those of mails that left, or may have: a mail was told with one, or with several."""
    while codes:
        wanted: dict[str, Coupon] = {}
        more = []
        for pool, code, decision_id in codes:
            if wanted.setdefault(decision_id, Coupon(pool, code)) != (pool, code):
                more.append((pool, code, decision_id))
        reserve(connection, wanted, again=())
        codes = more


def _known_to(log: EventLog | None, customer_ids: Sequence[str], *, now: int) -> dict[str, str]:
    """The addresses of customers in a log, those that it has."""
    people = {} if log is None else attributes_of(log, customer_ids, now=from_micros(now))
    known = {customer: address_of(values.get("email")) for customer, values in people.items()}
    return {customer: address for customer, address in known.items() if address is not None}


def _last_addresses(connection: Connection, customer_ids: Sequence[str]) -> dict[str, str]:
    """Where these customers were mailed last, those that the ledger has mails of; the answers hold no address."""
    found: dict[str, str] = {}
    for some in chunks(customer_ids):
        last = select(func.max(deliveries.c.id)).where(deliveries.c.customer_id.in_(some), deliveries.c.address != "")
        query = select(deliveries.c.customer_id, deliveries.c.address)
        rows = connection.execute(query.where(deliveries.c.id.in_(last.group_by(deliveries.c.customer_id))))
        found.update({row.customer_id: row.address for row in rows})
    return found


def _settle(connection: Connection, mails: Sequence[tuple[Delivery, int | None]], *, now: int) -> None:
    """Mails as the answers know them: accepted where they were sent, else in doubt."""
    rows = [row for row, _ in mails if row.state is not State.UNKNOWN]
    for state in (State.LEASED, State.SENDING):
        rows = move(connection, rows, state, {})
    when = {row.decision_id: sent_at for row, sent_at in mails}
    rows += [row for row, _ in mails if row.state is State.UNKNOWN]
    for state in (State.ACCEPTED, State.UNKNOWN):
        these = [row for row in rows if (when[row.decision_id] is None) is (state is State.UNKNOWN)]
        receipt, reason = (_SENT, None) if state is State.ACCEPTED else (None, _DOUBT)
        receipts = [Receipt(row.decision_id, state, receipt=receipt, reason=reason) for row in these]
        attempted(connection, these, receipts, now)
        values = {"receipt": receipt, "reason": reason, "owner": None, "lease_until": None, "next_at": None}
        move(connection, these, state, {row.id: values for row in these})


def _closed(
    ledger: Ledger, answers: Answers | None, ahead: Mark, *, by: str, doubted: int, counts: Counter[str], now: int
) -> None:
    """The ledger under a name of its own, and what was done in its audit."""
    detail = {"left_until": ahead.at, "sent": counts["sent"], "in_doubt": counts["doubt"], "doubted": doubted}
    with ledger.changing() as connection:
        mark = ledger.high_water.begin_anew(connection, after=ahead.at, doubted=doubted)
        audit.append(connection, at=now, actor=by, action="reconciled", subject=ahead.ledger, detail=detail)
    if answers is not None:
        answers.note(told_until(mark.ledger), mark.begun)
    ledger.high_water.publish(mark)


def _said(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
