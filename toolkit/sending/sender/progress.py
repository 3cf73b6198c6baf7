"""How far a sending has come: a snapshot that anyone may look at while it runs."""

from __future__ import annotations

import html
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from toolkit.readable import counted

__all__ = ["Pace", "Phase", "Progress"]

_WINDOW = 10.0  # seconds over which the rate is taken


class Phase(StrEnum):
    """What a sending does just now."""

    PLANNING = "planning"
    SENDING = "sending"
    CLOSING = "closing"
    WAITING = "waiting"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a sending. The counts add up to the batch.

    Attributes:
        phase: planning, sending, waiting (for a rate limit, a back-off, the canary, another sender), paused, stopping,
            closing (the report is written), and at the end stopped, done or failed.
        total: mails of the batch.
        sent: accepted since this sending began.
        already_sent: accepted before.
        waiting: not begun, or under way.
        deferred: refused for now, or held by quiet hours; to be tried again.
        unknown: may or may not have arrived.
        failed: refused for good.
        skipped: do not go any more: suppressed, expired, cancelled, or another mail took their code.
        rate: mails a second over the last ten seconds.
        seconds: since the beginning.
        left_seconds: until the end at this rate; None while that cannot be told.
        note: why it waits, is paused or failed, or what is done while planning and closing; else empty.
        run_id: names the run in the ledger.
        looked_at: while planning and closing, the mails for which what the note says is done.

    >>> look = Progress(Phase.SENDING, total=10, sent=3, waiting=7, rate=1.5, seconds=2.0)
    >>> print(look)
    sending: 3 of 10 mails, 1.5 a second, about 5 s left
    >>> look.share
    0.3
    """

    phase: Phase
    total: int
    sent: int = 0
    already_sent: int = 0
    waiting: int = 0
    deferred: int = 0
    unknown: int = 0
    failed: int = 0
    skipped: int = 0
    rate: float = 0.0
    seconds: float = 0.0
    note: str = ""
    run_id: str = ""
    looked_at: int | None = None

    @property
    def settled(self) -> int:
        """Mails whose story is over for now: neither waiting nor deferred."""
        return self.total - self.waiting - self.deferred

    @property
    def share(self) -> float:
        """Share of the batch that is settled, 0 to 1; 1 for an empty batch."""
        return self.settled / self.total if self.total else 1.0

    @property
    def left_seconds(self) -> float | None:
        """Seconds to the end at the present rate; None while that cannot be told."""
        if self.phase is Phase.SENDING and self.rate > 0 and self.waiting:
            return self.waiting / self.rate
        return None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.phase in (Phase.STOPPED, Phase.DONE, Phase.FAILED)

    def __str__(self) -> str:
        count = self.settled if self.looked_at is None else self.looked_at
        parts = [f"{self.phase}: {count:,} of {counted(self.total, 'mail')}"]
        if self.phase is Phase.SENDING and self.rate:
            parts.append(f"{self.rate:,.1f} a second" if self.rate < 10 else f"{self.rate:,.0f} a second")
        if self.left_seconds is not None:
            parts.append(f"about {_span(self.left_seconds)} left")
        for name in ("already_sent", "deferred", "unknown", "failed", "skipped"):
            count = getattr(self, name)
            if count:
                parts.append(f"{count:,} {name.replace('_', ' ')}")
        if self.note:
            parts.append(self.note)
        return ", ".join(parts)

    def _repr_html_(self) -> str:
        width = f"{100 * self.share:.1f}%"
        bar = (
            "<div style='background:rgba(128,128,128,.25);border-radius:4px;height:10px;max-width:480px'>"
            f"<div style='background:#2a7de1;border-radius:4px;height:10px;width:{width}'></div></div>"
        )
        return f"<p style='margin:.2em 0'>{html.escape(str(self))}</p>{bar}"


class Pace:
    """Mails a second over the last ten seconds, from counts at moments."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def seen(self, at: float, count: int) -> float:
        """The rate, now that so many were counted at that moment (seconds of any steady clock).

        >>> pace = Pace()
        >>> pace.seen(0.0, 0), pace.seen(2.0, 10)
        (0.0, 5.0)
        """
        self._points.append((at, count))
        while len(self._points) > 2 and at - self._points[1][0] > _WINDOW:
            self._points.popleft()
        first_at, first = self._points[0]
        return (count - first) / (at - first_at) if at > first_at else 0.0


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
