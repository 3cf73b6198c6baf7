"""What sending asks of a way out: one method, and a few plain facts about it.

The ledger stays with the sender: a transport is handed mails, asks leave before it does what cannot be taken back,
and says what came of each. Whoever can tell afterwards whether a mail arrived is a `Witness` as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from toolkit.sending.states import State

__all__ = ["PAUSE", "REHEARSALS", "Outgoing", "Receipt", "Start", "Transport", "Witness"]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One mail on its way out: the envelope and the bytes.

    Attributes:
        sender: who it comes from.
        bounces: the address of this very mail to which a server returns it (VERP); the sender's where there is none.
    """

    decision_id: str
    message_id: str
    sender: str
    recipient: str
    message: bytes
    bounces: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of one mail.

    Attributes:
        decision_id: the mail.
        state: accepted, failed (refused for good), deferred (refused for now) or unknown.
        receipt: what proves it: the server's answer, the name of the file.
        code: the server's number, for example 250.
        reason: why it was refused, in a few words.
        already: it had arrived before this call; nothing was sent now.
    """

    decision_id: str
    state: State
    receipt: str | None = None
    code: int | None = None
    reason: str | None = None
    already: bool = False

    @property
    def is_greylisted(self) -> bool:
        """Whether a stranger was asked to come again, as servers do that know nothing against anybody.

        >>> Receipt("d", State.DEFERRED, code=450, reason="4.7.1 Greylisted, try again later").is_greylisted
        True
        """
        return self.state is State.DEFERRED and _GREYLISTED.search(self.reason or "") is not None


_GREYLISTED = re.compile(r"gr[ae]y-?list", re.IGNORECASE)

REHEARSALS = ("outbox:", "maildir:")
"""How the names of ways out begin through which nothing leaves the machine."""
PAUSE = 0.05
"""Seconds before a transport draws again where no mail could go."""

Start = Callable[[Sequence[str]], Collection[str]]


class Transport(Protocol):
    """A way out.

    Attributes:
        name: names this very way out in the ledger, the same in every process; no credentials.
        at_once: at most so many mails are taken before receipts are given.
        rehearsal: nothing leaves the machine, so that mails of a past day may go through it.
        ledger: where its ledger lives unless one is named; None when one must be named.
    """

    @property
    def name(self) -> str: ...

    @property
    def at_once(self) -> int: ...

    @property
    def rehearsal(self) -> bool: ...

    @property
    def ledger(self) -> str | None: ...

    def deliver(self, mails: Iterator[Outgoing | None], start: Start) -> Iterator[Receipt | None]:
        """One receipt for every mail started.

        Args:
            mails: to be drawn from as there is room; drawing a mail leases it. None says that none may go just now:
                look after what is under way, and draw again `PAUSE` seconds later.
            start: to be called with decision ids before the first byte that could make the other side take these
                mails; gives back those that may go, after a durable note. The others are dropped without a receipt:
                another sender has them. Receipts already known are to be given before.

        Yields:
            Receipts, in any order, as they are known; None now and then while waiting, so that leases are renewed.

        Raises:
            TransportError: the way out itself is closed (disk full, wrong password); mails without a receipt are
                looked into by the sender.
        """
        ...


@runtime_checkable
class Witness(Protocol):
    """A transport that can tell afterwards whether a mail arrived."""

    def find(self, decision_ids: Sequence[str]) -> dict[str, Receipt]:
        """A receipt for each of these mails that arrived; the others certainly did not."""
        ...
