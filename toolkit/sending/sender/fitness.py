"""Whether a ledger may be sent from: it knows all that left from it."""

from __future__ import annotations

from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.protocol import Transport

__all__ = ["fit_to_send"]


def fit_to_send(ledger: Ledger, way: Transport) -> None:
    """Refuse a ledger that has forgotten mails, where the way out reaches people.

    Raises:
        LedgerError: it was put back from a backup, is an older copy, or another one than mails were sent from here.
    """
    if not way.rehearsal:
        ledger.high_water.check()
