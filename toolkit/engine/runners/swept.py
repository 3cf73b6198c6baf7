"""The replays of a sweep in Spark: every part is read once and replayed under each setting; only counts come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from toolkit.engine.compile import Compiled
from toolkit.engine.layout import Ints
from toolkit.engine.prepared import prepare_log
from toolkit.engine.runners.local import run_once
from toolkit.engine.runners.pools import LastCoupon, Taken, next_last_coupon, plan_with, taken_in
from toolkit.engine.tally import Own, tally
from toolkit.events import EventLog
from toolkit.events.spark import Reader, SparkLog, gathered

__all__ = ["Question", "tallies_in_spark"]


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One replay: a program in arrays, whose own purchases are counted, the program's time zone, and coupons known."""

    compiled: Compiled
    own: Own
    zone: str
    known: tuple[LastCoupon | None, ...] = ()


@dataclass(frozen=True, slots=True)
class _Told:
    """What the driver learns of one replay of a part."""

    counts: Ints
    taken: Taken


@dataclass(frozen=True, slots=True)
class _Task:
    """Everything that travels to a part."""

    reader: Reader
    questions: tuple[Question, ...]
    split: int
    last: int

    def __call__(self, rows: pa.Table) -> list[_Told]:
        """Each replay of one part, counted."""
        log = EventLog.of_part(self.reader.read(rows))
        return [self._told(log, question) for question in self.questions]

    def _told(self, log: EventLog, question: Question) -> _Told:
        compiled = question.compiled
        prepared = prepare_log(log, compiled, zone=question.zone)
        customers = prepared.marked.customers
        plan = plan_with(compiled.plan, question.known, customers)
        walked = run_once(plan, prepared.past(log, compiled, self.last), threads=1)
        counts = tally(compiled, prepared, walked, question.own, split=self.split, last=self.last)
        return _Told(counts, taken_in(compiled, walked, customers))


def tallies_in_spark(
    log: SparkLog, questions: Sequence[Question], *, split: int, last: int, parts: int | None
) -> list[Ints | None]:
    """The counts of each replay, over all parts.

    Replays in which a pool of coupons runs out are made again, with one more pool known to, until no further pool does.

    Args:
        log: the log.
        questions: what is replayed.
        split: end of the first part of the log; last: the last moment decided; UTC microseconds.
        parts: into how many parts Spark puts the customers; see `SparkLog.parts`.

    Returns:
        As `tally`, one for each question; None of a log without anybody.
    """
    rows, counts = log.parts(parts), list[Ints | None]([None] * len(questions))
    waiting = dict(enumerate(questions))
    known = {place: question.compiled for place, question in waiting.items()}
    while waiting:
        told = gathered(rows, _Task(log.reader, tuple(waiting.values()), split, last))
        again = {}
        for number, (place, question) in enumerate(waiting.items()):
            mine = [part[number] for part in told]
            found = next_last_coupon(known[place], [one.taken for one in mine])
            if found is None:
                counts[place] = sum(one.counts for one in mine[1:]) + mine[0].counts if mine else None
                continue
            known[place], pool, coupon = found
            before = question.known or (None,) * len(question.compiled.pools)
            after = tuple(coupon if at == pool else one for at, one in enumerate(before))
            again[place] = replace(question, known=after)
        waiting = again
    return counts
