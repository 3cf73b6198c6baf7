"""How much a forecast moves because other people come another time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from toolkit.engine import answers as a
from toolkit.engine import layout as m
from toolkit.engine.runners.answering import Respondents

__all__ = ["covariances", "deviates"]

Floats = npt.NDArray[np.float64]


def covariances(respondents: Respondents, draws: int) -> Floats:
    """Covariance of the counts of each group, from the people alone.

    What is to be expected of a person (the mean over the draws) differs from person to person. The people of the log
    are one sample of all who might come, those of the roll-out another, so the variance counts twice. The chance of
    each answer is in the draws themselves.

    Returns:
        One matrix of `answers.METRICS` for each group.
    """
    scenarios = len(respondents.compiled.scenarios)
    groups = int(respondents.settings.groups[-1])
    kinds = len(a.METRICS)
    expected = respondents.on_their_own.astype(np.float64)
    place = np.full(len(respondents.past.starts) - 1, -1, dtype=np.int64)
    place[respondents.entered] = np.arange(len(respondents.entered))
    mailed = np.flatnonzero(place[respondents.chosen] >= 0)
    rows = place[respondents.chosen[mailed]][:, None] * scenarios + np.arange(scenarios)
    mean = respondents.people.reshape(-1, scenarios, kinds)[mailed] / draws
    expected[rows.ravel()] = mean.reshape(-1, kinds)

    journeys = respondents.silent_run.journeys
    group_of = np.full(len(respondents.entered) * scenarios, -1, dtype=np.int64)
    owner = place[journeys[:, m.J_CUSTOMER]] * scenarios + journeys[:, m.J_SCENARIO]
    arm = np.maximum(journeys[:, m.J_ARM], 0)
    group_of[owner[::-1]] = (respondents.settings.groups[journeys[:, m.J_SCENARIO]] + arm)[::-1]
    found = np.zeros((groups, kinds, kinds))
    for group in range(groups):
        mine = expected[(group_of == group) & (respondents.on_their_own[:, a.N_PEOPLE] > 0)]
        if len(mine) > 1:
            found[group] = 2 * len(mine) * np.cov(mine, rowvar=False)
    return found


def deviates(covariance: Floats, draws: int, seed: int, group: int) -> Floats:
    """Normal deviations with this covariance, one row per draw; the same for the same seed and group."""
    rng = np.random.Generator(np.random.Philox(key=[seed & 0xFFFFFFFFFFFFFFFF, group]))
    z = rng.standard_normal((draws, len(covariance)))
    moves = np.diag(covariance) > 0
    scale = np.sqrt(np.diag(covariance)[moves])
    values, vectors = np.linalg.eigh(covariance[np.ix_(moves, moves)] / np.outer(scale, scale))
    found = np.zeros_like(z)
    found[:, moves] = z[:, moves] * np.sqrt(np.maximum(values, 0)) @ vectors.T * scale
    return found
