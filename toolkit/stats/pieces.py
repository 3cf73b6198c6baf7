"""Outcomes that come piece by piece: gathered as a frame is, a few pieces in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from toolkit.stats.gathering import Gathering
from toolkit.stats.moments import Moments, Term

__all__ = ["Gathered", "gather_pieces"]

_MOST = 1_000  # arms; a column with more values names something else, and is left to the store


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """What all pieces add up to.

    Attributes:
        labels: the values of the arm column, in the order seen; None where it is missing.
        moments: the moments of each.
        rising: whether each unit is above the one before, so that none comes twice.
    """

    labels: tuple[Any, ...]
    moments: tuple[Moments, ...]
    rising: bool


def gather_pieces(
    pieces: Callable[[], Sequence[Iterator[pa.RecordBatch]] | None],
    terms: Sequence[Term],
    *,
    arm: str,
    units: Iterator[pa.Array] | None,
    groups: Sequence[Sequence[Term]] | None,
    faults: Callable[[str, Any], tuple[int, int]],
) -> Gathered | None:
    """The moments of every arm, in one pass over the pieces; the same pieces give the same bytes.

    Args:
        pieces: gives the rows in their order, with the columns of all terms and of arms, in one or more runs that are
            read by as many threads; or None. Asked once, and again where a covariate has its first gap after the first
            piece.
        terms: what to read.
        arm: the column that says which arm a row is in.
        units: the unit of each row, read meanwhile by a thread of its own, as long as they rise; None where nobody
            can tell.
        groups: terms that are multiplied with each other, metric by metric; None: all with all.
        faults: how many values of a column are missing, and infinite, in the arm of a label.

    Returns:
        The moments; None where there are no pieces, or the column of arms holds more than a thousand values.

    >>> rows = pa.record_batch({"arm": ["control", "mail", "mail"], "revenue": [1.0, 3.0, 5.0]})
    >>> found = gather_pieces(lambda: [iter([rows.slice(0, 2)]), iter([rows.slice(2)])], [Term("value", "revenue")],
    ...                       arm="arm", units=iter([pa.array([1, 2, 3])]), groups=None, faults=lambda *_: (0, 0))
    >>> found.labels, [one.n for one in found.moments], found.moments[1].means.tolist(), found.rising
    (('control', 'mail'), [1, 2], [4.0], True)
    """
    known: frozenset[str] = frozenset()
    with _Watch(units) as watch:
        while (runs := pieces()) is not None:
            ahead, *behind = runs
            first = list(islice(ahead, 1))
            watch.begin()  # not before: rows to add up come first
            read = _read_side_by_side([chain(first, ahead), *behind], _Run(tuple(terms), groups, arm, known))
            if any(run.crowded for run in read):
                return None
            gaps = known.union(*(run.gathering.gaps for run in read))
            if gaps != known and not all(run.whole for run in read):
                known = gaps
                continue
            run = read[0]
            for other in read[1:]:
                run.join(other)
            labels = run.labels
            found = zip(labels, run.gathering.moments(partial(_of_arm, faults, tuple(labels))), strict=False)
            # A dictionary may hold more labels than rows do.
            seen = [(label, moments) for label, moments in found if moments.n]
            return Gathered(tuple(label for label, _ in seen), tuple(moments for _, moments in seen), watch.rising())
    return None


class _Run:
    """Rows that come one after the other, and what they add up to.

    Attributes:
        labels: the arms met, numbered in the order seen.
        whole: whether all rows so far were taken in; else a covariate had its first gap, or arms are too many.
        crowded: whether arms are too many.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        groups: Sequence[Sequence[Term]] | None,
        arm: str,
        gaps: frozenset[str],
    ) -> None:
        self._terms, self._arm = terms, arm
        self.gathering = Gathering(terms, groups=groups, gaps=gaps)
        self.labels: dict[Any, int] = {}
        self.whole, self.crowded = True, False

    def read(self, pieces: Iterable[pa.RecordBatch]) -> None:
        """Take in all rows, or as many as can be."""
        for piece in pieces:
            codes = _codes(piece.column(self._arm), self.labels)
            if codes is None:
                self.whole, self.crowded = False, True
                return
            self.whole = self.gathering.add(_columns(piece, self._terms), codes, arms=len(self.labels))
            if not self.whole:
                return

    def beside(self) -> _Run:
        """Another for later rows, which another thread may read at the same time; asked for after the first rows."""
        other = copy(self)
        other.gathering = self.gathering.beside()
        other.labels = {}
        return other

    def join(self, other: _Run) -> None:
        """Take in what the run over the rows right behind has seen."""
        places = [self.labels.setdefault(label, len(self.labels)) for label in other.labels]
        self.gathering.join(other.gathering, places)


def _read_side_by_side(runs: Sequence[Iterator[pa.RecordBatch]], first: _Run) -> list[_Run]:
    """Each of the runs of rows read, the first by `first`, by as many threads."""
    ahead, *behind = runs
    first.read(islice(ahead, 1))  # says near which numbers all of them add up
    if not first.whole:
        return [first]
    if not behind or not first.labels:
        first.read(chain(ahead, *behind))
        return [first]
    others = [first.beside() for _ in behind]
    with ThreadPoolExecutor(len(others)) as pool:
        asked = [pool.submit(other.read, pieces) for other, pieces in zip(others, behind, strict=True)]
        first.read(ahead)
        for one in asked:
            one.result()
    return [first, *others]


def _of_arm(
    faults: Callable[[str, Any], tuple[int, int]], labels: Sequence[Any], column: str, arm: int
) -> tuple[int, int]:
    return faults(column, labels[arm])


def _codes(arms: pa.Array, labels: dict[Any, int]) -> NDArray[np.integer] | None:
    """The arm of each row as a code, labels not seen before added to the known ones; None where they are too many."""
    if not pa.types.is_dictionary(arms.type):
        arms = arms.dictionary_encode()
    indices, words = arms.indices, arms.dictionary.to_pylist()
    if indices.null_count:
        indices, words = pc.fill_null(indices, len(words)), [*words, None]
    if len(labels) + len(words) > _MOST:
        return None
    places = [labels.setdefault(word, len(labels)) for word in words]
    small = np.int8 if len(labels) < 128 else np.int64
    codes: NDArray[np.integer] = indices.to_numpy().astype(small)
    if places == list(range(len(places))):
        return codes
    arms_of: NDArray[np.integer] = np.array(places, dtype=small)
    return arms_of.take(codes)


def _columns(rows: pa.RecordBatch, terms: Sequence[Term]) -> dict[tuple[str, str], NDArray[np.generic]]:
    """What the terms are made of, missing numbers as NaN."""
    columns: dict[tuple[str, str], NDArray[np.generic]] = {}
    for term in terms:
        if term.kind == "equals":
            same = pc.equal(rows.column(term.column), term.other)
            columns[term.column, term.other] = pc.fill_null(same, False).to_numpy(zero_copy_only=False)
            continue
        for name in term.columns:
            if (name, "") in columns:
                continue
            values = rows.column(name)
            if values.null_count:
                values = values.cast(pa.float64())
            columns[name, ""] = _flags(values) if pa.types.is_boolean(values.type) else _numbers(values)
    return columns


def _numbers(values: pa.Array) -> NDArray[np.generic]:
    found: NDArray[np.generic] = values.to_numpy(zero_copy_only=False)
    return found


def _flags(values: pa.Array) -> NDArray[np.generic]:
    """Flags out of their bits, of which none is missing; pyarrow's own way takes ten times as long."""
    start, within = divmod(values.offset, 8)
    its = np.frombuffer(values.buffers()[1], dtype=np.uint8)[start : start + (within + len(values) + 7) // 8]
    bits = np.unpackbits(its, bitorder="little")
    return bits[within : within + len(values)].view(bool)


class _Watch:
    """Whether units rise from row to row, looked at by a thread of its own."""

    def __init__(self, units: Iterator[pa.Array] | None) -> None:
        self._units = units
        self._pool = ThreadPoolExecutor(1)
        self._asked: Future[bool] | None = None
        self._over = False

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._pool.shutdown()

    def begin(self) -> None:
        """Begin to look, unless it has begun."""
        if self._asked is None and self._units is not None:
            self._asked = self._pool.submit(self._rise, self._units)

    def rising(self) -> bool:
        """What was seen, when all is."""
        return self._asked is not None and self._asked.result()

    def _rise(self, pieces: Iterator[pa.Array]) -> bool:
        last = None
        for units in pieces:
            if self._over or pa.types.is_dictionary(units.type) or units.null_count or not _rises(units):
                return False
            if last is not None and not _rises(pa.concat_arrays([last, units[:1]])):
                return False
            last = units[-1:] if len(units) else last
        return True


def _rises(units: pa.Array) -> bool:
    if pa.types.is_integer(units.type):
        values = units.to_numpy()
        return bool((values[1:] > values[:-1]).all())
    return len(units) < 2 or bool(pc.all(pc.less(units[:-1], units[1:])).as_py())
