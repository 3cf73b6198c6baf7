"""Whether a ledger may be sent from: it is the one that is in use, and knows all that left from it."""

from __future__ import annotations

from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.moved import refuse_moved
from toolkit.sending.protocol import Transport

__all__ = ["fit_to_send"]


def fit_to_send(ledger: Ledger, way: Transport) -> None:
    """Refuse a ledger that was moved elsewhere and, where the way out reaches people, one that has forgotten mails.

    Raises:
        LedgerError: it was moved, was put back from a backup, is an older copy, or another one than mails were sent
            from here.
    """
    refuse_moved(ledger)
    if not way.rehearsal:
        ledger.high_water.check()
