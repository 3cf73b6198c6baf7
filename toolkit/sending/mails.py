"""One mail of a batch, and how mails are found by their decision."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from toolkit.mail import Letter

__all__ = ["Numbers", "PreparedMail"]


@dataclass(frozen=True, slots=True)
class PreparedMail:
    """One mail of a batch: the decision, the letter it became, where its bytes are in the spool, and, where clicks are
    counted, the web addresses its links lead to."""

    letter: Letter
    customer_id: str
    arm: str | None
    offer: str | None
    due_at: datetime
    message_id: str
    subject: str
    number: int
    targets: tuple[str, ...] = ()
    key: str | None = None


class Numbers:
    """The number of a mail by its decision, in sixteen bytes a mail.

    Args:
        decision_ids: in the order of their numbers.
        named: the decision of a number, to be sure.

    >>> names = ["b", "a", "c"]
    >>> numbers = Numbers(names, names.__getitem__)
    >>> numbers["a"], "d" in numbers
    (1, False)
    """

    def __init__(self, decision_ids: Iterable[str], named: Callable[[int], str]) -> None:
        hashes = np.frombuffer(array("Q", map(_hash, decision_ids)), dtype=np.uint64)
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]
        self._named = named

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, decision_id: str) -> bool:
        return self._found(decision_id) is not None

    def __getitem__(self, decision_id: str) -> int:
        number = self._found(decision_id)
        if number is None:
            raise KeyError(decision_id)
        return number

    def _found(self, decision_id: str) -> int | None:
        wanted = np.uint64(_hash(decision_id))
        place = int(np.searchsorted(self._hashes, wanted))
        while place < len(self._hashes) and self._hashes[place] == wanted:
            number = int(self._order[place])
            if self._named(number) == decision_id:
                return number
            place += 1
        return None


def _hash(decision_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(decision_id.encode(), digest_size=8).digest(), "big")
