"""One mail of a batch, and how mails are found by their decision."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import Any

import numpy as np

from toolkit.mail import Letter
from toolkit.mail.addresses import masked
from toolkit.sending.ledger.coupons import Coupon

__all__ = ["Aside", "Numbers", "PreparedMail", "aside_of", "hash_of"]


@dataclass(frozen=True, slots=True)
class PreparedMail:
    """One mail of a batch: the decision, the letter it became, where its bytes are in the spool, where clicks are
    counted the web addresses its links lead to, the code of a pool that it gives, and where quiet hours may ask for it
    the customer's own time zone."""

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
    coupon: Coupon | None = None
    timezone: str = ""

    @property
    def end(self) -> datetime | None:
        """When its offer is over, UTC; None where it has none, or no end."""
        offer = self.letter.offer
        end: datetime | None = None if offer is None else offer.get("valid_until")
        return end

    def __reduce__(self) -> tuple[type[PreparedMail], tuple[Any, ...]]:
        # Read back from the disk by its values in order: field by field, as dataclasses do, takes ten times as long.
        return PreparedMail, _values(self)


_values = attrgetter(*(field.name for field in fields(PreparedMail)))


Aside = tuple[str, str, str, str, str, str, str]
"""A mail that was set aside: decision_id, customer_id, address (masked), scenario, step, template, why."""


def aside_of(letter: Letter, customer_id: str, why: str) -> Aside:
    """The mail of a letter that was set aside."""
    who = letter.decision_id, customer_id, masked(letter.to)
    return (*who, letter.scenario, letter.step, letter.template, why)


class Numbers:
    """The number of a mail by its decision, in 24 bytes a mail.

    Args:
        decision_ids: in the order of their numbers.
        named: the decision of a number, to be sure.

    >>> names = ["b", "a", "c"]
    >>> numbers = Numbers(names, names.__getitem__)
    >>> numbers["a"], "d" in numbers
    (1, False)
    """

    def __init__(self, decision_ids: Iterable[str], named: Callable[[int], str]) -> None:
        self._read = array("Q", map(hash_of, decision_ids))
        self._named = named
        self._hashes, self._order = _sorted(self._read)

    def add(self, decision_id: str) -> None:
        """One more decision, at the end."""
        self._read.append(hash_of(decision_id))

    def __len__(self) -> int:
        return len(self._read)

    def __contains__(self, decision_id: str) -> bool:
        return self._found(decision_id) is not None

    def __getitem__(self, decision_id: str) -> int:
        number = self._found(decision_id)
        if number is None:
            raise KeyError(decision_id)
        return number

    def _found(self, decision_id: str) -> int | None:
        if len(self._order) < len(self._read):
            self._hashes, self._order = _sorted(self._read)
        wanted = np.uint64(hash_of(decision_id))
        place = int(np.searchsorted(self._hashes, wanted))
        while place < len(self._hashes) and self._hashes[place] == wanted:
            number = int(self._order[place])
            if self._named(number) == decision_id:
                return number
            place += 1
        return None


def _sorted(read: array[int]) -> tuple[np.ndarray, np.ndarray]:
    hashes = np.array(read, dtype=np.uint64)
    order = np.argsort(hashes, kind="stable")
    return hashes[order], order


def hash_of(name: str) -> int:
    """Eight bytes of a name's BLAKE2b, as a number: equal for equal names, and nearly always for no others."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
