"""What the rounds of a loop saw, one file of JSON lines a day (UTC), from which `parity` tells how the day went."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

__all__ = ["Captures"]


@dataclass
class Captures:
    """A folder of days, and what this loop wrote down today.

    Who is left out, or held back by a limit, is so round after round, and written down once a day: a line has what is
    due or left out anew, and what is left out for another reason than before.

    Args:
        folder: made where there is none.
    """

    folder: Path
    _day: date | None = field(default=None, repr=False)
    _due: set[str] = field(default_factory=set, repr=False)
    _left_out: dict[str, str] = field(default_factory=dict, repr=False)
    _lost: set[str] = field(default_factory=set, repr=False)

    def newly_lost(self, lost: Mapping[str, str]) -> tuple[str, ...]:
        """The customers of lost mails (decision to customer), each mail once."""
        news = [name for name in lost if name not in self._lost]
        self._lost.update(news)
        return tuple(lost[name] for name in news)

    def add(
        self, now: datetime, line: Mapping[str, Any], *, due: Sequence[str] = (), left_out: Mapping[str, str]
    ) -> None:
        """Write down a round: a line in one piece, whoever else writes there, durable before a mail goes.

        Args:
            now: the moment of the round, UTC.
            line: plain values.
            due: decisions that are to be mailed.
            left_out: decisions that are not mailed: decision to reason.
        """
        if self._day != now.date():
            self._day, self._due, self._left_out = now.date(), set(), {}
        news = {name: why for name, why in left_out.items() if self._left_out.get(name) != why}
        text = json.dumps({**line, "due": [name for name in due if name not in self._due], "left_out": news})
        path = self._file(now.date())
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab+", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            # Never behind what a killed round left of its own.
            is_whole = end == 0 or os.pread(file.fileno(), 1, end - 1) == b"\n"
            file.write((b"" if is_whole else b"\n") + text.encode() + b"\n")
            os.fsync(file.fileno())
        self._due.update(due)
        self._left_out.update(news)

    def of(self, day: date) -> Iterator[dict[str, Any]]:
        """The lines of a day, in their order."""
        path = self._file(day)
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    yield json.loads(line)
                except ValueError:  # what a round that was killed left of its own
                    continue

    @property
    def days(self) -> str:
        """The days there are, in words."""
        return ", ".join(path.stem for path in sorted(self.folder.glob("*.jsonl"))) or "none"

    def any_before(self, day: date) -> bool:
        """Whether there are earlier days."""
        return any(path.stem < f"{day:%Y-%m-%d}" for path in self.folder.glob("*.jsonl"))

    def _file(self, day: date) -> Path:
        return self.folder / f"{day:%Y-%m-%d}.jsonl"
