"""Many requests, one commit: answers that wait together are written in one transaction, and each request goes on only
when its own are on the disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from toolkit.errors import AnswersError
from toolkit.tracking.incoming import Incoming, Kept
from toolkit.tracking.store import Answers

__all__ = ["BusyError", "GroupWriter"]

_GROUP = 500
_LINGER = 0.002  # seconds
_MOST_WAITING = 10_000
_STANDING = frozenset(("unsubscribed", "subscribed", "paused", "complained", "bounced", "rejected"))

_Asked = tuple[Sequence[Incoming], asyncio.Future[list[Kept]]]


class BusyError(AnswersError):
    """More answers wait than the database takes; try again later."""


class GroupWriter:
    """Writes answers in groups, durably.

    Args:
        answers: the store.
        standing: called after a commit with answers that bear on whether someone may be mailed, before their requests
            are answered; what it raises is swallowed, because the answers themselves are safe. No other request waits
            for it.
    """

    def __init__(self, answers: Answers, *, standing: Callable[[], object] | None = None) -> None:
        self._answers = answers
        self._standing = standing
        self._waiting: list[_Asked] = []
        self._written: list[tuple[asyncio.Future[list[Kept]], list[Kept]]] = []
        self._draining: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "answers")
        self._second = ThreadPoolExecutor(1, "standing")

    async def write(self, batch: Sequence[Incoming]) -> list[Kept]:
        """What became of each answer, once they are on the disk.

        Raises:
            BusyError: too many wait already.
            AnswersError: the database refuses.
        """
        if len(self._waiting) + len(self._written) >= _MOST_WAITING:
            raise BusyError(f"over {_MOST_WAITING:,} answers wait for the database")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[list[Kept]] = loop.create_future()
        self._waiting.append((batch, done))
        if self._draining is None or self._draining.done():
            self._draining = loop.create_task(self._drain())
        return await done

    def close(self) -> None:
        """Wait for the group under way, and end."""
        self._thread.shutdown()
        self._second.shutdown()

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            # Whoever was just answered asks again in a moment; to wait for them costs less than a commit of their own.
            await asyncio.sleep(_LINGER)
            group, self._waiting = self._waiting[:_GROUP], self._waiting[_GROUP:]
            batch = [one for ones, _ in group for one in ones]
            try:
                kept = await loop.run_in_executor(self._thread, self._answers.record, batch)
            except Exception as fault:
                if len(group) > 1 and not isinstance(fault, AnswersError):
                    # One of them cannot be written; the others, somebody who unsubscribes, must not suffer for it.
                    await self._one_by_one(group)
                    continue
                for _, done in group:
                    if not done.done():
                        done.set_exception(fault)
                continue
            start = 0
            for asked in group:
                self._is_written(asked, kept[start : start + len(asked[0])])
                start += len(asked[0])

    async def _one_by_one(self, group: Sequence[_Asked]) -> None:
        loop = asyncio.get_running_loop()
        for ones, done in group:
            try:
                kept = await loop.run_in_executor(self._thread, self._answers.record, ones)
            except Exception as fault:
                if not done.done():
                    done.set_exception(fault)
            else:
                self._is_written((ones, done), kept)

    def _is_written(self, asked: _Asked, kept: list[Kept]) -> None:
        ones, done = asked
        if self._standing is None or not any(one.kind in _STANDING for one in ones):
            _answer(done, kept)
            return
        self._written.append((done, kept))
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        """In a thread of its own: a provider's call of a thousand bounces takes seconds, and people click meanwhile."""
        loop = asyncio.get_running_loop()
        while self._written:
            written, self._written = self._written, []
            await loop.run_in_executor(self._second, self._tell_standing)
            for done, kept in written:
                _answer(done, kept)

    def _tell_standing(self) -> None:
        if self._standing is not None:
            with contextlib.suppress(Exception):
                self._standing()


def _answer(done: asyncio.Future[list[Kept]], kept: list[Kept]) -> None:
    if not done.done():  # whoever asked may have gone
        done.set_result(kept)
