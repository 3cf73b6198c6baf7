"""The gate, once more at the moment of sending: what the log, and the ledger, know by now against approved mails."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from toolkit.errors import InputError
from toolkit.events import EventLog
from toolkit.sending.batch.mails import hash_of
from toolkit.sending.batch.parcel import Parcel
from toolkit.sending.clock import Clock, from_micros
from toolkit.sending.ledger.high_water import in_doubt_by_now
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.renamed_decisions import planned_twice
from toolkit.sending.protocol import Transport
from toolkit.sending.sender.moments import TOO_LATE, Ends
from toolkit.sending.sender.recheck import Due, caps_of, over_cap, stopped_by_now
from toolkit.sending.states import WAITING
from toolkit.sending.stopping import Step, untold

__all__ = ["gate_of"]

_AT_ONCE = 50_000  # mails; each look at the log reads it through


def gate_of(
    parcel: Parcel,
    ledger: Ledger,
    log: EventLog | None,
    clock: Clock,
    *,
    way: Transport,
    run_id: str,
    at_once: int = _AT_ONCE,
) -> Callable[[Step], Mapping[str, str]]:
    """What says, when it is asked, which mails of a parcel no longer hold, and why: decision to reason.

    It is asked with what is told how far it is, which ends it where the sending is stopped.

    The log, where it was read again, says who unsubscribed, bounced, did what ends the scenario, or has another address
    by now. The ledger says who has had as many mails as the caps allow by now, for example from a batch that was
    prepared at the same time, and who got this very mail from it under another name, or may have got it before the
    ledger was put back from a backup.
    The clock says whose offer is over.

    Args:
        parcel: approved mails.
        ledger: where they are written down.
        log: the log as it is by now; None where there is none.
        clock: tells the time.
        way: the way out.
        run_id: the run whose mails they are.
        at_once: so many mails are looked at together, all of a customer's among them; takes memory.

    Raises:
        InputError: what was given as the log is none.
    """
    given: object = log
    if not isinstance(given, EventLog | None):
        said = f"log: found {type(given).__name__}; allowed: an EventLog, from EventLog.open or from_…"
        raise InputError(f"{said}; nothing was sent")
    program = parcel.rules
    capped = any(caps_of(program).values())

    def closed(step: Step = untold) -> dict[str, str]:
        step("the gate", 0)
        now = clock()
        stopped = planned_twice(ledger, program, run_id, lambda count: step("the gate, mails under other names", count))
        with ledger.reading() as connection:
            stopped |= dict.fromkeys(in_doubt_by_now(connection, run_id), "unknown_delivery")
        late = (parcel.stub(number).decision_id for number in Ends(parcel, way, clock).over())
        stopped = dict.fromkeys(late, TOO_LATE) | stopped
        if log is None and not capped:
            return stopped
        count = 0
        for due in _by_customer(parcel, at_once):
            step("the gate", count)
            count += len(due)
            found = {} if log is None else stopped_by_now(log, program, due, now=now)
            if capped:
                # What this very run has sent is in the ledger already, and must not be counted twice.
                states = ledger.known([mail.decision_id for mail in due])
                waiting = [mail for mail in due if states.get(mail.decision_id) in WAITING]
                going = [mail for mail in waiting if mail.decision_id not in found and mail.decision_id not in stopped]
                had = ledger.marketing_of(sorted({mail.customer_id for mail in going}))
                found |= over_cap(program, going, had)
            stopped = found | stopped
        return stopped

    return closed


def _by_customer(parcel: Parcel, at_once: int) -> Iterator[list[Due]]:
    """The mails some at a time, those of one customer together and in their order."""
    hashes = np.array(
        array("Q", (hash_of(parcel.stub(one).customer_id) for one in range(len(parcel)))), dtype=np.uint64
    )
    order = np.argsort(hashes, kind="stable")
    begin = 0
    while begin < len(order):
        end = min(begin + at_once, len(order))
        while end < len(order) and hashes[order[end]] == hashes[order[end - 1]]:
            end += 1
        yield [_due(parcel, int(number)) for number in np.sort(order[begin:end])]
        begin = end


def _due(parcel: Parcel, number: int) -> Due:
    stub = parcel.stub(number)
    at = from_micros(stub.decided_at)
    return Due(stub.decision_id, stub.scenario, stub.customer_id, stub.key, at, stub.address)
