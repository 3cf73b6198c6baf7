"""How much a forecast moves because other people come another time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from toolkit.engine import answers as a
from toolkit.engine import layout as m
from toolkit.engine.runners.answering import Respondents

__all__ = ["Scatter", "deviates", "scatter_of"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_BITS, _PIECES, _ROWS = 18, 3, 65_536  # 16 bits of rows and twice 18 of a product fit the 53 of a float
_PIECE = (1 << _BITS) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Scatter:
    """What is to be expected of each person, added up by group: people, sums, and sums of products of two counts.

    Whole numbers of any length (expectations times draws), so that no order of adding changes a digit, on one machine
    or on many.
    """

    people: tuple[int, ...]
    sums: npt.NDArray[np.object_]
    products: npt.NDArray[np.object_]

    def __add__(self, other: Scatter) -> Scatter:
        people = tuple(mine + theirs for mine, theirs in zip(self.people, other.people, strict=True))
        return Scatter(people, self.sums + other.sums, self.products + other.products)

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
    people, sums, products = [], [], []
    for group in range(groups):
        mine = expected[(group_of == group) & (respondents.on_their_own[:, a.N_PEOPLE] > 0)]
        people.append(len(mine))
        sums.append(_sums(mine))
        products.append(_products(mine))
    return Scatter(tuple(people), np.array(sums, dtype=object), np.array(products, dtype=object))


def _sums(rows: Ints) -> npt.NDArray[np.object_]:
    """Sums of columns, exact."""
    if not len(rows):
        return np.zeros(rows.shape[1], dtype=object)
    some = np.add.reduceat(rows, np.arange(0, len(rows), _ROWS))
    return np.asarray(some.astype(object).sum(axis=0), dtype=object)


def _products(rows: Ints) -> npt.NDArray[np.object_]:
    """Sums of products of columns, exact: numbers in pieces so small that sums of their products fit a float."""
    width = rows.shape[1]
    total = np.zeros((width, width), dtype=object)
    for first in range(0, len(rows), _ROWS):
        rest = rows[first : first + _ROWS]
        pieces: list[Floats] = []
        while rest.any() and len(pieces) < _PIECES:
            pieces.append((rest & _PIECE if len(pieces) < _PIECES - 1 else rest).astype(np.float64))
            rest = rest >> _BITS
        beside = np.concatenate([np.zeros((len(rest), 0)), *pieces], axis=1)
        found = (beside.T @ beside).astype(np.int64).astype(object)
        for low, high in itertools.product(range(len(pieces)), repeat=2):
            part = found[low * width : (low + 1) * width, high * width : (high + 1) * width]
            total += part << (_BITS * (low + high))
    return total


def deviates(covariance: Floats, draws: int, seed: int, group: int) -> Floats:
    """Normal deviations with this covariance, one row per draw; the same for the same seed and group."""
    key = np.array([int(seed) & 0xFFFFFFFFFFFFFFFF, group], dtype=np.uint64)  # a plain list may go through floats
    rng = np.random.Generator(np.random.Philox(key=key))
    z = rng.standard_normal((draws, len(covariance)))
    moves = np.diag(covariance) > 0
    scale = np.sqrt(np.diag(covariance)[moves])
    values, vectors = np.linalg.eigh(covariance[np.ix_(moves, moves)] / np.outer(scale, scale))
    found = np.zeros_like(z)
    found[:, moves] = z[:, moves] * np.sqrt(np.maximum(values, 0)) @ vectors.T * scale
    return found
