"""How much a forecast moves because other people come another time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from toolkit.engine import answers as a
from toolkit.engine import layout as m
from toolkit.engine.ordered import distinct
from toolkit.engine.runners.answering import Respondents

__all__ = ["Meeting", "Scatter", "deviates", "moved_together", "scatter_of"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_BITS, _PIECES, _ROWS = 18, 3, 65_536  # 16 bits of rows and twice 18 of a product fit the 53 of a float
_PIECE = (1 << _BITS) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Meeting:
    """What is to be expected of the people of two groups at once, added up: of each group, and products across both."""

    people: int
    left: npt.NDArray[np.object_]
    right: npt.NDArray[np.object_]
    products: npt.NDArray[np.object_]

    def __add__(self, other: Meeting) -> Meeting:
        return Meeting(
            self.people + other.people,
            self.left + other.left,
            self.right + other.right,
            self.products + other.products,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Scatter:
    """What is to be expected of each person, added up by group: people, sums, and sums of products of two counts.

    Whole numbers of any length (expectations times draws), so that no order of adding changes a digit, on one machine
    or on many. `meetings` are of two groups, the earlier first, that have people in common.
    """

    people: tuple[int, ...]
    sums: npt.NDArray[np.object_]
    products: npt.NDArray[np.object_]
    meetings: Mapping[tuple[int, int], Meeting]

    def __add__(self, other: Scatter) -> Scatter:
        people = tuple(mine + theirs for mine, theirs in zip(self.people, other.people, strict=True))
        meetings = dict(self.meetings)
        for pair, meeting in other.meetings.items():
            meetings[pair] = meetings[pair] + meeting if pair in meetings else meeting
        return Scatter(people, self.sums + other.sums, self.products + other.products, meetings)

    def covariances(self, draws: int) -> Floats:
        """Covariance of the counts of each group, from the people alone.

        What is to be expected of a person (the mean over the draws) differs from person to person. The people of the
        log are one sample of all who might come, those of the roll-out another, so the variance counts twice. The
        chance of each answer is in the draws themselves.

        Returns:
            One matrix of `answers.METRICS` for each group.
        """
        found = np.zeros(self.products.shape)
        for group, n in enumerate(self.people):
            if n > 1:
                spread = n * self.products[group] - np.outer(self.sums[group], self.sums[group])
                found[group] = 2 * spread / ((n - 1) * draws**2)
        return found

    def across(self, draws: int) -> dict[tuple[int, int], Floats]:
        """Covariance of the counts of two groups that have people in common: who buys more does so in both.

        Returns:
            One matrix of `answers.METRICS` (of the first group by the second) for each such pair of groups.
        """
        found = {}
        for (one, other), met in sorted(self.meetings.items()):
            n, k = self.people[one], self.people[other]
            if n < 2 or k < 2:
                continue
            mine, theirs = self.sums[one], self.sums[other]
            spread = (
                n * k * met.products
                - k * np.outer(mine, met.right)
                - n * np.outer(met.left, theirs)
                + met.people * np.outer(mine, theirs)
            )
            by = 2 / (np.sqrt(n * k * (n - 1.0) * (k - 1.0)) * draws**2)
            found[one, other] = spread.astype(np.float64) * by
        return found


def scatter_of(respondents: Respondents, draws: int) -> Scatter:
    """What is to be expected of the people of a log, after so many draws."""
    rows = respondents.settings.rows
    each, groups = int(rows[-1]), len(rows) - 1
    kinds = len(a.METRICS)
    expected = respondents.on_their_own * draws
    place = np.full(len(respondents.past.starts) - 1, -1, dtype=np.int64)
    place[respondents.entered] = np.arange(len(respondents.entered))
    mailed = np.flatnonzero(place[respondents.chosen] >= 0)
    theirs = place[respondents.chosen[mailed]][:, None] * each + np.arange(each)
    expected[theirs.ravel()] = respondents.people.reshape(-1, each, kinds)[mailed].reshape(-1, kinds)

    journeys = respondents.silent_run.journeys
    group_of = np.full(len(respondents.entered) * each, -1, dtype=np.int64)
    their_group = respondents.settings.groups[journeys[:, m.J_SCENARIO]] + np.maximum(journeys[:, m.J_ARM], 0)
    group_of[place[journeys[:, m.J_CUSTOMER]] * each + rows[their_group]] = their_group
    group_of[respondents.on_their_own[:, a.N_PEOPLE] == 0] = -1
    people, sums, products = [], [], []
    for group in range(groups):
        mine = expected[group_of == group]
        people.append(len(mine))
        sums.append(_sums(mine))
        products.append(_products(mine, mine))
    meetings = _meetings(expected.reshape(-1, each, kinds), group_of.reshape(-1, each), groups)
    return Scatter(tuple(people), np.array(sums, dtype=object), np.array(products, dtype=object), meetings)


def _meetings(expected: Ints, group_of: Ints, groups: int) -> dict[tuple[int, int], Meeting]:
    """People of two groups at once, by groups: expected is people x rows x metrics, group_of people x rows."""
    found = {}
    for one, other in itertools.combinations(range(group_of.shape[1]), 2):
        both = np.flatnonzero((group_of[:, one] >= 0) & (group_of[:, other] >= 0))
        pairs = group_of[both, one] * groups + group_of[both, other]
        for pair in distinct(pairs).tolist():
            theirs = both[pairs == pair]
            left, right = expected[theirs, one], expected[theirs, other]
            found[divmod(pair, groups)] = Meeting(len(theirs), _sums(left), _sums(right), _products(left, right))
    return found


def _sums(rows: Ints) -> npt.NDArray[np.object_]:
    """Sums of columns, exact."""
    if not len(rows):
        return np.zeros(rows.shape[1], dtype=object)
    some = np.add.reduceat(rows, np.arange(0, len(rows), _ROWS))
    return np.asarray(some.astype(object).sum(axis=0), dtype=object)


def _products(left: Ints, right: Ints) -> npt.NDArray[np.object_]:
    """Sums of products of columns, exact: numbers in pieces so small that sums of their products fit a float."""
    width = left.shape[1]
    total = np.zeros((width, width), dtype=object)
    for first in range(0, len(left), _ROWS):
        mine = _pieces(left[first : first + _ROWS])
        theirs = mine if right is left else _pieces(right[first : first + _ROWS])
        found = (mine.T @ theirs).astype(np.int64).astype(object)
        for low, high in itertools.product(range(mine.shape[1] // width), range(theirs.shape[1] // width)):
            part = found[low * width : (low + 1) * width, high * width : (high + 1) * width]
            total += part << (_BITS * (low + high))
    return total


def _pieces(rest: Ints) -> Floats:
    """Whole numbers cut into pieces of `_BITS`, the lowest first, side by side."""
    pieces: list[Floats] = []
    while rest.any() and len(pieces) < _PIECES:
        pieces.append((rest & _PIECE if len(pieces) < _PIECES - 1 else rest).astype(np.float64))
        rest = rest >> _BITS
    return np.concatenate([np.zeros((len(rest), 0)), *pieces], axis=1)


def moved_together(covariances: Floats, across: Mapping[tuple[int, int], Floats], draws: int, seed: int) -> Floats:
    """Normal deviations of all counts, as if other people came: groups that share people move together.

    Args:
        covariances, across: of `Scatter`.
        draws, seed: how many, and whence.

    Returns:
        draws x groups x `answers.METRICS`. A group that shares nobody has the deviations that it would have alone.
    """
    groups, kinds = covariances.shape[:2]
    found = np.empty((draws, groups, kinds))
    for together in _tied(groups, across):
        joint = np.zeros((len(together) * kinds, len(together) * kinds))
        for i, group in enumerate(together):
            joint[i * kinds : (i + 1) * kinds, i * kinds : (i + 1) * kinds] = covariances[group]
            for j, later in enumerate(together[i + 1 :], start=i + 1):
                part = across.get((group, later))
                if part is not None:
                    joint[i * kinds : (i + 1) * kinds, j * kinds : (j + 1) * kinds] = part
                    joint[j * kinds : (j + 1) * kinds, i * kinds : (i + 1) * kinds] = part.T
        found[:, together] = deviates(joint, draws, seed, *together).reshape(draws, len(together), kinds)
    return found


def _tied(groups: int, pairs: Mapping[tuple[int, int], Floats]) -> list[list[int]]:
    """Groups that share people, directly or by others, together; in their order."""
    ones, others = zip(*pairs, strict=True) if pairs else ((), ())
    ties = coo_array((np.ones(len(pairs)), (ones, others)), shape=(groups, groups))
    count, labels = connected_components(ties, directed=False)
    return [np.flatnonzero(labels == label).tolist() for label in range(count)]


def deviates(covariance: Floats, draws: int, seed: int, *groups: int) -> Floats:
    """Normal deviations with this covariance, one row per draw; the same for the same seed and groups."""
    width = len(covariance) // len(groups)
    # A plain list of the two may go through floats.
    keys = [np.array([int(seed) & 0xFFFFFFFFFFFFFFFF, group], dtype=np.uint64) for group in groups]
    rngs = [np.random.Generator(np.random.Philox(key=key)) for key in keys]
    z = np.concatenate([rng.standard_normal((draws, width)) for rng in rngs], axis=1)
    moves = np.diag(covariance) > 0
    scale = np.sqrt(np.diag(covariance)[moves])
    values, vectors = np.linalg.eigh(covariance[np.ix_(moves, moves)] / np.outer(scale, scale))
    found = np.zeros_like(z)
    found[:, moves] = z[:, moves] * np.sqrt(np.maximum(values, 0)) @ vectors.T * scale
    return found
