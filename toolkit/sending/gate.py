"""The gate, once more at the moment of sending: what the log, and the ledger, know by now against approved mails."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from toolkit.events import EventLog
from toolkit.sending.batch import Batch
from toolkit.sending.clock import Clock
from toolkit.sending.ledger import Ledger
from toolkit.sending.recheck import Due, over_cap, stopped_by_now
from toolkit.sending.states import State

__all__ = ["gate_of"]

_WAITING = (State.PLANNED, State.DEFERRED)


def gate_of(batch: Batch, ledger: Ledger, log: EventLog | None, clock: Clock) -> Callable[[], Mapping[str, str]]:
    """What says, when it is asked, which mails of the batch no longer hold, and why: decision to reason.

    The log, where it was read again, says who unsubscribed, bounced, or did what ends the scenario; the ledger says who
    has had as many mails as the caps allow by now, for example from a batch that was prepared at the same time.
    """
    capped = any(cap.scope == "marketing" for cap in batch.program.policies.caps)
    if log is None and not capped:
        return dict

    def closed() -> dict[str, str]:
        due = [
            Due(mail.letter.decision_id, mail.letter.scenario, mail.customer_id, mail.key, mail.letter.at)
            for mail in batch.mails
        ]
        stopped = {} if log is None else stopped_by_now(log, batch.program, due, now=clock())
        if capped:
            # What this very run has sent is in the ledger already, and must not be counted twice.
            states = ledger.known([mail.decision_id for mail in due])
            waiting = [mail for mail in due if states.get(mail.decision_id) in _WAITING]
            going = [mail for mail in waiting if mail.decision_id not in stopped]
            had = ledger.marketing_of(sorted({mail.customer_id for mail in going}))
            stopped |= over_cap(batch.program, going, had)
        return stopped

    return closed
