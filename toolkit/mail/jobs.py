"""The letters of a batch as work to do, one after the other, and which of them say again what an earlier one said.

Neither needs the batch in memory: letters may lie on the disk, and are read as their turn comes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import SupportsIndex, overload

import numpy as np

from toolkit.mail.checking import Job
from toolkit.mail.letter import Letter
from toolkit.mail.templates import PREVIEW_UNSUBSCRIBE
from toolkit.mail.tracked import Links

__all__ = ["Jobs", "Repeated"]


class Jobs(Sequence[Job]):
    """The work for each letter, made when it is asked for.

    Args:
        letters: the batch.
        unsubscribe: the unsubscribe link of a marketing letter; a preview link unless given.
        message_id: the Message-ID of a letter that is to be written; none is written unless given.
        links: what counts the links of a letter.
    """

    def __init__(
        self,
        letters: Sequence[Letter],
        unsubscribe: Callable[[Letter], str] | None,
        message_id: Callable[[Letter], str] | None,
        links: Callable[[Letter], Links] | None,
    ) -> None:
        self._letters = letters
        self._unsubscribe = unsubscribe
        self._message_id = message_id
        self._links = links

    @property
    def templates(self) -> set[str]:
        """The names of the templates that the letters need; asked of the letters, where they can say it together."""
        said: Collection[str] | None = getattr(self._letters, "templates", None)
        return {letter.template for letter in self._letters} if said is None else set(said)

    def __len__(self) -> int:
        return len(self._letters)

    @overload
    def __getitem__(self, place: SupportsIndex) -> Job: ...

    @overload
    def __getitem__(self, place: slice) -> list[Job]: ...

    def __getitem__(self, place: SupportsIndex | slice) -> Job | list[Job]:
        if isinstance(place, slice):
            return [self._job(letter) for letter in self._letters[place]]
        return self._job(self._letters[place.__index__()])

    def _job(self, letter: Letter) -> Job:
        marketing = letter.class_ == "marketing"
        link = self._unsubscribe(letter) if self._unsubscribe and marketing else PREVIEW_UNSUBSCRIBE
        name = self._message_id(letter) if self._message_id else ""
        return Job(letter, link, name, None if self._links is None else self._links(letter))


class Repeated:
    """Which letters say again what an earlier one said, in sixteen bytes a letter.

    >>> said = Repeated()
    >>> for number, word in enumerate(["a", "b", "a", "c", "a"]):
    ...     said.add(number, word)
    >>> said.pairs()
    [(0, 2), (0, 4)]
    """

    def __init__(self) -> None:
        self._hashes = array("q")
        self._numbers = array("q")

    def add(self, number: int, said: Hashable) -> None:
        """What the letter of that number says."""
        self._hashes.append(hash(said))
        self._numbers.append(number)

    def pairs(self) -> list[tuple[int, int]]:
        """For each letter whose hash was there before, in order: the first letter with it, and this one."""
        hashes = np.frombuffer(self._hashes, dtype=np.int64)
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        found, first = [], 0
        for place in (np.flatnonzero(hashes[1:] == hashes[:-1]) + 1).tolist():
            if hashes[first] != hashes[place]:
                first = place - 1
            found.append((self._numbers[order[first]], self._numbers[order[place]]))
        return sorted(found, key=lambda pair: pair[1])
