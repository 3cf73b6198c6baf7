"""Bounces read: out of a mailbox, from every kind of server, hard told from soft."""

from toolkit.tracking.bounces.causes import CAUSES, Cause, cause_of
from toolkit.tracking.bounces.mailboxes import BouncesRead, incoming_bounces, messages_of, take_bounces
from toolkit.tracking.bounces.reader import Bounce, read_bounce

__all__ = [
    "CAUSES",
    "Bounce",
    "BouncesRead",
    "Cause",
    "cause_of",
    "incoming_bounces",
    "messages_of",
    "read_bounce",
    "take_bounces",
]
