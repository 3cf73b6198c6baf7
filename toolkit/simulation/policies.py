"""Off-policy: what another policy would have brought, from a log in which chance decided. Modelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from toolkit.arrow import TableLike
from toolkit.errors import InputError, MetricError, shown
from toolkit.readable import minus
from toolkit.simulation.doors import check_level
from toolkit.simulation.sends import checked_sends, numbers_of
from toolkit.stats.arguments import check_column, column_names

__all__ = ["PolicyValue", "off_policy"]

Floats = npt.NDArray[np.float64]
Policy = Mapping[str, object] | Callable[[pd.DataFrame], pd.Series]
FEWEST_EFFECTIVE = 50
_SLACK = 1e-9


@dataclass(frozen=True, eq=False)
class PolicyValue:
    """The value of a policy by three estimators.

    Attributes:
        table: one row per estimator (IPS, SNIPS, DR): estimator, value (mean outcome per unit), lower, upper, label.
        effective: effective sample size: so many units mailed as the policy wants would say as much.
        matched: units to whom the log did what the policy wants.
        units: all units.
        largest_weight: of one unit.
        logged: the mean outcome in the log as it was.
    """

    table: pd.DataFrame
    effective: float
    matched: int
    units: int
    largest_weight: float
    logged: float

    def __str__(self) -> str:
        head = (
            f"value of the policy per unit (modelled), from {self.units:,} units, {self.matched:,} of them treated "
            f"as it wants; worth {self.effective:,.0f}; as logged {minus(f'{self.logged:.4g}')}"
        )
        return f"{head}\n{self.table.to_string(index=False, float_format=lambda value: minus(f'{value:.4g}'))}"

    __repr__ = __str__


def off_policy(
    sends: TableLike,
    policy: Policy,
    *,
    outcome: str = "converted",
    actions: str | tuple[str, ...] = ("sent", "delay", "offer"),
    context: str | tuple[str, ...] = (),
    propensity: str = "propensity",
    level: float = 0.9,
) -> PolicyValue:
    """What a policy would have brought, from units for whom chance chose among actions.

    Args:
        sends: one row per unit: the action taken, its propensity (the chance with which it was taken), the outcome.
        policy: the action that it takes: one for all, for example {"sent": True, "delay": 4, "offer": 10}, or a
            function from the frame to a Series, for each row the chance (0..1) with which the policy would have
            taken the action that was taken.
        outcome: a numeric or true-or-false column.
        actions: columns that make an action.
        context: columns known before the action, for the outcome model of the doubly robust estimate.
        propensity: the column of the chance of what was done.
        level: share of the intervals.

    Returns:
        IPS, SNIPS (self-normalised) and DR (doubly robust) with normal intervals, and how much the data say.

    Raises:
        MetricError: a column is missing, holds texts or has values missing; propensities outside 0..1, or none that
            the policy could use; a policy that is none.
        InputError: no overlap: the log never, or hardly ever, did what the policy wants.

    References: Horvitz & Thompson (1952); Swaminathan & Joachims (2015); Dudik, Langford & Li (2011).
    """
    context = column_names(context, where="context")
    actions = column_names(actions, where="actions")
    check_column(outcome, where="outcome")
    check_column(propensity, where="propensity")
    sends = checked_sends(sends, (outcome, propensity, *context))
    check_level(level)
    chance = numbers_of(sends, propensity, what="the chance of what was done")
    if not ((chance > 0) & (chance <= 1)).all():
        raise MetricError(f"{propensity}: allowed: above 0, at most 1; a chance of 0 cannot have happened")
    wanted = _wanted(sends, policy, actions)
    y = numbers_of(sends, outcome)
    weights = wanted / chance
    effective = float(weights.sum() ** 2 / (weights**2).sum()) if weights.any() else 0.0
    if effective < FEWEST_EFFECTIVE:
        raise InputError(
            f"no overlap: {int((weights > 0).sum()):,} of {len(y):,} units were treated as the policy wants, worth "
            f"{effective:,.0f} units; at least {FEWEST_EFFECTIVE} are needed: let chance do some of what it wants"
        )
    n = len(y)
    model = _outcome_model(sends, y, weights, context)
    ips = weights * y
    snips = float(ips.sum() / weights.sum())
    # Deviations of the ratio around itself: its influence on the estimate.
    told = (
        ("IPS", float(ips.mean()), float(ips.std(ddof=1) / np.sqrt(n))),
        ("SNIPS", snips, float((weights * (y - snips)).std(ddof=1) / weights.mean() / np.sqrt(n))),
        ("DR", *_mean(model + weights * (y - model))),
    )
    z = float(ndtri((1 + level) / 2))
    rows = [[name, value, value - z * error, value + z * error, "modelled"] for name, value, error in told]
    table = pd.DataFrame(rows, columns=["estimator", "value", "lower", "upper", "label"])
    return PolicyValue(table, effective, int((weights > 0).sum()), n, float(weights.max()), float(y.mean()))


def _mean(values: Floats) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def _wanted(sends: pd.DataFrame, policy: Policy, actions: tuple[str, ...]) -> Floats:
    if callable(policy):
        told = policy(sends)
        try:
            wanted = np.asarray(told, dtype=np.float64)
        except (TypeError, ValueError) as fault:
            raise MetricError(f"policy: expected one chance per row, 0 to 1; {fault}") from None
        if wanted.shape != (len(sends),) or not ((wanted >= 0) & (wanted <= 1 + _SLACK)).all():
            raise MetricError("policy: expected one chance per row, 0 to 1")
        return wanted
    if not isinstance(policy, Mapping) or not policy:
        raise MetricError(
            f"policy: found {shown(policy)}; allowed: an action such as {{'sent': True}}, or a function from the frame "
            "to the chance of each row's action"
        )
    unknown = [name for name in policy if name not in sends or name not in actions]
    if unknown:
        known = ", ".join(name for name in actions if name in sends)
        raise MetricError(f"policy: {', '.join(unknown)} is no action of these sends; allowed: {known}")
    same = np.ones(len(sends), dtype=bool)
    for name, value in policy.items():
        same &= (sends[name] == value).fillna(False).to_numpy(dtype=bool)
    return same.astype(np.float64)


def _outcome_model(sends: pd.DataFrame, y: Floats, weights: Floats, context: tuple[str, ...]) -> Floats:
    """The outcome to be expected of each unit under the policy: least squares on those treated so, cross-fitted."""
    x = np.column_stack([np.ones(len(sends)), *(numbers_of(sends, name) for name in context)])
    fold = np.arange(len(y)) % 2
    expected = np.zeros(len(y))
    for side in (0, 1):
        learn = (fold != side) & (weights > 0)
        root = np.sqrt(weights[learn])
        slopes, *_ = np.linalg.lstsq(x[learn] * root[:, None], y[learn] * root, rcond=None)
        expected[fold == side] = x[fold == side] @ slopes
    return expected
