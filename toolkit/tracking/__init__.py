"""Opens, clicks, unsubscribes, what providers report and bounces → events of the log, machines told from people."""

from toolkit.tracking.board import Board, deliverability
from toolkit.tracking.incoming import KINDS, Incoming, Kept, TrackedMail
from toolkit.tracking.links import MailLinks
from toolkit.tracking.store import Answered, Answers, Standing
from toolkit.tracking.tokens import Token, Tokens
from toolkit.tracking.verdicts import RULES, VERDICTS, Seen, judge

__all__ = [
    "KINDS",
    "RULES",
    "VERDICTS",
    "Answered",
    "Answers",
    "Board",
    "Incoming",
    "Kept",
    "MailLinks",
    "Seen",
    "Standing",
    "Token",
    "Tokens",
    "TrackedMail",
    "deliverability",
    "judge",
]
