"""Prepare, approve, send: mails due at a moment, a signature under them, and a ledger that lets none go twice.

Names are loaded when they are first used: whoever asks a ledger waits for no kernel and no writer of mails.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.sending.approval.approval import Approval, approve, load_approval
    from toolkit.sending.approval.policy import ApprovalPolicy
    from toolkit.sending.approval.standing import StandingApproval, approve_standing
    from toolkit.sending.batch.batch import Batch, Preview
    from toolkit.sending.batch.summary import BatchSummary
    from toolkit.sending.bundle import Bundle, submit
    from toolkit.sending.copies import Copies, send_test
    from toolkit.sending.delivery import send, start_sending
    from toolkit.sending.erasure.erasure import Erasure, erase
    from toolkit.sending.ledger.feedback import Feedback, Taken
    from toolkit.sending.ledger.ledger import Ledger
    from toolkit.sending.ledger.suppression import Imported, Suppressions
    from toolkit.sending.live import Parity, keep_sending, parity, round_of
    from toolkit.sending.moving import Moved, move_ledger, reopen_ledger
    from toolkit.sending.preparation.preparation import prepare
    from toolkit.sending.protocol import Outgoing, Receipt, Transport, Witness
    from toolkit.sending.reconciliation import Reconciliation, reconcile
    from toolkit.sending.sender.job import SendingJob
    from toolkit.sending.sender.progress import Phase, Progress
    from toolkit.sending.sender.report import Report
    from toolkit.sending.sender_service import serve
    from toolkit.sending.states import State
    from toolkit.sending.transports import Outbox, transport

_HOMES = {
    "Approval": "toolkit.sending.approval.approval",
    "ApprovalPolicy": "toolkit.sending.approval.policy",
    "Batch": "toolkit.sending.batch.batch",
    "BatchSummary": "toolkit.sending.batch.summary",
    "Bundle": "toolkit.sending.bundle",
    "Copies": "toolkit.sending.copies",
    "Erasure": "toolkit.sending.erasure.erasure",
    "Feedback": "toolkit.sending.ledger.feedback",
    "Imported": "toolkit.sending.ledger.suppression",
    "Ledger": "toolkit.sending.ledger.ledger",
    "Moved": "toolkit.sending.moving",
    "Outbox": "toolkit.sending.transports",
    "Outgoing": "toolkit.sending.protocol",
    "Parity": "toolkit.sending.live",
    "Phase": "toolkit.sending.sender.progress",
    "Preview": "toolkit.sending.batch.batch",
    "Progress": "toolkit.sending.sender.progress",
    "Receipt": "toolkit.sending.protocol",
    "Reconciliation": "toolkit.sending.reconciliation",
    "Report": "toolkit.sending.sender.report",
    "SendingJob": "toolkit.sending.sender.job",
    "StandingApproval": "toolkit.sending.approval.standing",
    "State": "toolkit.sending.states",
    "Suppressions": "toolkit.sending.ledger.suppression",
    "Taken": "toolkit.sending.ledger.feedback",
    "Transport": "toolkit.sending.protocol",
    "Witness": "toolkit.sending.protocol",
    "approve": "toolkit.sending.approval.approval",
    "approve_standing": "toolkit.sending.approval.standing",
    "erase": "toolkit.sending.erasure.erasure",
    "keep_sending": "toolkit.sending.live",
    "load_approval": "toolkit.sending.approval.approval",
    "move_ledger": "toolkit.sending.moving",
    "parity": "toolkit.sending.live",
    "prepare": "toolkit.sending.preparation.preparation",
    "reconcile": "toolkit.sending.reconciliation",
    "reopen_ledger": "toolkit.sending.moving",
    "round_of": "toolkit.sending.live",
    "send": "toolkit.sending.delivery",
    "send_test": "toolkit.sending.copies",
    "serve": "toolkit.sending.sender_service",
    "start_sending": "toolkit.sending.delivery",
    "submit": "toolkit.sending.bundle",
    "transport": "toolkit.sending.transports",
}

__all__ = [
    "Approval",
    "ApprovalPolicy",
    "Batch",
    "BatchSummary",
    "Bundle",
    "Copies",
    "Erasure",
    "Feedback",
    "Imported",
    "Ledger",
    "Moved",
    "Outbox",
    "Outgoing",
    "Parity",
    "Phase",
    "Preview",
    "Progress",
    "Receipt",
    "Reconciliation",
    "Report",
    "SendingJob",
    "StandingApproval",
    "State",
    "Suppressions",
    "Taken",
    "Transport",
    "Witness",
    "approve",
    "approve_standing",
    "erase",
    "keep_sending",
    "load_approval",
    "move_ledger",
    "parity",
    "prepare",
    "reconcile",
    "reopen_ledger",
    "round_of",
    "send",
    "send_test",
    "serve",
    "start_sending",
    "submit",
    "transport",
]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            value = getattr(importlib.import_module(_HOMES[name]), name)
            globals()[name] = value
            return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
