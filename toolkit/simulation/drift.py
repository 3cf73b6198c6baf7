"""Whether the people of a log were alike from its beginning to its end: how many reached the goal on their own, by when
they entered. A forecast is of people like those of the log, and no interval knows that they changed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.engine import answers as a
from toolkit.engine import layout as m
from toolkit.engine.runners.answering import Respondents

__all__ = ["PIECES", "drift_of", "drift_told"]

Ints = npt.NDArray[np.int64]
PIECES = 128
"""Into how many pieces of time the entries are put: counts of pieces add up, wherever the people lie."""
_SURE = 3.29  # of z: one in a thousand by chance
_MUCH = 1.25


def drift_of(respondents: Respondents, begin: int, end: int) -> Ints:
    """Who entered when, and who of them reached the goal on their own.

    Args:
        respondents: the people.
        begin, end: first and last moment of an entry that counts, UTC microseconds.

    Returns:
        Scenarios x `PIECES` x (people, those who did), everyone by the first of their journeys.
    """
    settings, journeys = respondents.settings, respondents.silent_run.journeys
    scenarios = len(settings.groups) - 1
    found = np.zeros((scenarios, PIECES, 2), dtype=np.int64)
    entered = journeys[:, m.J_ENTERED]
    groups = settings.groups[journeys[:, m.J_SCENARIO]] + np.maximum(journeys[:, m.J_ARM], 0)
    counts = (entered >= settings.begin) & (entered <= settings.cut)
    chosen = np.flatnonzero(counts)
    order = chosen[np.lexsort((entered[chosen], journeys[chosen, m.J_SCENARIO], journeys[chosen, m.J_CUSTOMER]))]
    pairs = journeys[order][:, [m.J_CUSTOMER, m.J_SCENARIO]]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    first = order[is_first]
    each = int(settings.rows[-1])
    place = np.searchsorted(respondents.entered, journeys[first, m.J_CUSTOMER])
    own = respondents.on_their_own[place * each + settings.rows[groups[first]], a.N_OWN]
    several = settings.by_journey[groups[first]] != 0  # there, of all of someone's journeys together
    own[several] = _reached(respondents, journeys[first[several]])
    piece = (entered[first] - begin) * PIECES // max(1, end - begin + 1)
    at = (journeys[first, m.J_SCENARIO], np.clip(piece, 0, PIECES - 1))
    np.add.at(found[..., 0], at, 1)
    np.add.at(found[..., 1], at, own)
    return found


def _reached(respondents: Respondents, journeys: Ints) -> npt.NDArray[np.bool_]:
    """Of each journey, whether its goal was reached within its window in the log."""
    past, settings = respondents.past, respondents.settings
    found = np.zeros(len(journeys), dtype=bool)
    for scenario in np.unique(journeys[:, m.J_SCENARIO]):
        mine = np.flatnonzero(journeys[:, m.J_SCENARIO] == scenario)
        mine = mine[np.argsort(journeys[mine, m.J_ENTERED], kind="stable")]
        entries = pd.DataFrame({"at": journeys[mine, m.J_ENTERED], "customer": journeys[mine, m.J_CUSTOMER]})
        goals = np.flatnonzero((past.bits >> settings.goals[scenario, 0]) & 1)
        goals = goals[np.argsort(past.at[goals], kind="stable")]
        customers = np.searchsorted(past.starts, goals, side="right") - 1
        reached = pd.DataFrame({"at": past.at[goals], "customer": customers, "reached": past.at[goals]})
        after = pd.merge_asof(
            entries, reached, on="at", by="customer", direction="forward", allow_exact_matches=False,
            tolerance=int(settings.windows[scenario]),
        )  # fmt: skip
        found[mine] = after["reached"].notna().to_numpy()
    return found


def drift_told(counts: Ints, scenarios: Sequence[str], begin: int, end: int) -> list[str]:
    """A note for each scenario of whose people the later half did otherwise than the earlier one.

    Told is a difference that chance makes once in a thousand logs (z-test of two rates), and by a quarter at the least.

    Args:
        counts: of `drift_of`, of all people.
        scenarios: their names.
        begin, end: as in `drift_of`.
    """
    notes = []
    for name, pieces in zip(scenarios, counts, strict=True):
        people = np.cumsum(pieces[:, 0])
        if not people[-1]:
            continue
        split = int(np.argmin(np.abs(2 * people - people[-1]))) + 1
        early, late = pieces[:split].sum(axis=0), pieces[split:].sum(axis=0)
        if not early[0] or not late[0]:
            continue
        rates = early[1] / early[0], late[1] / late[0]
        pooled = (early[1] + late[1]) / (early[0] + late[0])
        error = math.sqrt(pooled * (1 - pooled) * (1 / early[0] + 1 / late[0]))
        if error > 0 and abs(rates[1] - rates[0]) > _SURE * error and max(rates) >= _MUCH * min(rates):
            moment = pd.Timestamp(begin + (end - begin + 1) * split // PIECES, unit="us")
            notes.append(
                f"{name}: of those who entered before {moment:%Y-%m-%d}, {rates[0]:.1%} reached the goal on their own, "
                f"of those who came later {rates[1]:.1%}: the forecast is of people like all of them, and who comes "
                "next may be like neither; since= leaves out who entered earlier"
            )
    return notes
