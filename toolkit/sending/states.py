"""The states a mail passes through between approval and receipt, as data.

At every moment each recipient is in exactly one of: accepted (with a receipt), certainly not accepted, or unknown.
`sending` is written durably before the first byte that could make a server take the mail, so that after a crash
unknowns can only be among the mails found in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from toolkit.errors import InputError, did_you_mean, shown

__all__ = ["FINAL", "MOVES", "NEVER_LEFT", "OPEN", "QUIET_HOURS", "WAITING", "Move", "State", "allowed", "state_of"]


class State(StrEnum):
    """Where one mail stands."""

    PLANNED = "planned"
    LEASED = "leased"
    SENDING = "sending"
    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SUPPRESSED = "suppressed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


WAITING = (State.PLANNED, State.DEFERRED)
OPEN = frozenset({State.PLANNED, State.LEASED, State.SENDING, State.DEFERRED})
NEVER_LEFT = (State.SUPPRESSED, State.SKIPPED, State.CANCELLED, State.EXPIRED)
QUIET_HOURS = "quiet_hours"
"""The reason of a mail that is deferred until the quiet hours of its customer are over."""

FINAL = frozenset({State.ACCEPTED, State.FAILED, *NEVER_LEFT})


@dataclass(frozen=True, slots=True)
class Move:
    """One step a mail may take: from a state (None: not in the ledger yet) to another, and when."""

    source: State | None
    target: State
    when: str


MOVES = (
    Move(None, State.PLANNED, "approved; a decision already in the ledger is not added again"),
    Move(State.PLANNED, State.PLANNED, "taken over by the approval of a later batch"),
    Move(State.DEFERRED, State.PLANNED, "taken over by the approval of a later batch"),
    Move(State.PLANNED, State.SUPPRESSED, "the address is on the suppression list"),
    Move(State.DEFERRED, State.SUPPRESSED, "the address is on the suppression list"),
    Move(State.PLANNED, State.SKIPPED, "the gate says no, with a reason"),
    Move(State.DEFERRED, State.SKIPPED, "the gate says no, with a reason"),
    Move(State.PLANNED, State.DEFERRED, "the quiet hours of its customer have begun"),
    Move(State.PLANNED, State.LEASED, "claimed by a sender: owner, epoch + 1, lease"),
    Move(State.DEFERRED, State.LEASED, "claimed again after its back-off"),
    Move(State.LEASED, State.PLANNED, "given back, or the lease is over: nothing has left"),
    Move(State.LEASED, State.FAILED, "refused for good before the body"),
    Move(State.LEASED, State.DEFERRED, "refused for now before the body, or quiet hours have begun"),
    Move(State.LEASED, State.SENDING, "the body goes next; durable before it does"),
    Move(State.SENDING, State.ACCEPTED, "the receipt is here"),
    Move(State.SENDING, State.DEFERRED, "refused for now after the body"),
    Move(State.SENDING, State.FAILED, "refused for good after the body"),
    Move(State.SENDING, State.UNKNOWN, "no answer came, or its sender died"),
    Move(State.UNKNOWN, State.ACCEPTED, "evidence, or an audited choice"),
    Move(State.UNKNOWN, State.FAILED, "evidence, or an audited choice"),
    Move(
        State.UNKNOWN,
        State.PLANNED,
        "evidence that it was not taken, an audited choice, or transactional within its deadline",
    ),
    Move(State.PLANNED, State.CANCELLED, "the run was cancelled, or its customer erased"),
    Move(State.DEFERRED, State.CANCELLED, "the run was cancelled, or its customer erased"),
    Move(State.PLANNED, State.EXPIRED, "the approval, or the mail's offer, is over"),
    Move(State.DEFERRED, State.EXPIRED, "the approval, or the mail's offer, is over"),
)

_ALLOWED = frozenset((move.source, move.target) for move in MOVES)


def allowed(source: State | None, target: State) -> bool:
    """Whether a mail may go from one state to the other in one step.

    >>> allowed(State.PLANNED, State.LEASED), allowed(State.PLANNED, State.ACCEPTED)
    (True, False)
    """
    return (source, target) in _ALLOWED


def state_of(word: str) -> State:
    """The state of that name.

    Raises:
        InputError: there is none; names the nearest.

    >>> state_of("unknown")
    <State.UNKNOWN: 'unknown'>
    """
    names = [state.value for state in State]
    if word not in names:
        hint = did_you_mean(str(word), names)
        raise InputError(f"state: found {shown(word)}; allowed: {', '.join(names)}{hint}")
    return State(word)
