"""Prepare, approve, send: mails due at a moment, a signature under them, and a ledger that lets none go twice."""

from toolkit.sending.approval import Approval, approve, load_approval
from toolkit.sending.batch import Batch, Preview
from toolkit.sending.bundle import Bundle, submit
from toolkit.sending.delivery import send, start_sending
from toolkit.sending.erasure import Erasure, erase
from toolkit.sending.feedback import Feedback, Taken
from toolkit.sending.job import SendingJob
from toolkit.sending.ledger import Ledger
from toolkit.sending.live import Parity, keep_sending, parity, round_of
from toolkit.sending.policy import ApprovalPolicy
from toolkit.sending.preparation import prepare
from toolkit.sending.progress import Phase, Progress
from toolkit.sending.protocol import Outgoing, Receipt, Transport, Witness
from toolkit.sending.report import Report
from toolkit.sending.sender_service import serve
from toolkit.sending.standing import StandingApproval, approve_standing
from toolkit.sending.states import State
from toolkit.sending.summary import BatchSummary
from toolkit.sending.suppression import Imported, Suppressions
from toolkit.sending.transports import Outbox, transport

__all__ = [
    "Approval",
    "ApprovalPolicy",
    "Batch",
    "BatchSummary",
    "Bundle",
    "Erasure",
    "Feedback",
    "Imported",
    "Ledger",
    "Outbox",
    "Outgoing",
    "Parity",
    "Phase",
    "Preview",
    "Progress",
    "Receipt",
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
    "parity",
    "prepare",
    "round_of",
    "send",
    "serve",
    "start_sending",
    "submit",
    "transport",
]
