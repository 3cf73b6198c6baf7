"""Numbers of an experiment as people read them: levels, differences and p-values, and the lift table made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from toolkit.readable import minus, number_text
from toolkit.stats.comparison import Comparison
from toolkit.stats.verdict import amount

__all__ = [
    "BETWEEN_NUMBERS",
    "LIFT_NUMBERS",
    "between_table",
    "level_of",
    "level_text",
    "lift_table",
    "plan_table",
    "pvalue_text",
    "relative_text",
]

LIFT_NUMBERS = ("control", "in the arm", "difference", "relative", "p-value")
"""Columns of `lift_table` that are numbers in words."""
BETWEEN_NUMBERS = ("difference", "relative", "p, all pairs counted")
"""Columns of `between_table` that are numbers in words."""


def lift_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Every arm against control, in words.

    Args:
        comparisons: of a result.

    Returns:
        One row per metric and arm: metric, arm, people in control, people in the arm, and `LIFT_NUMBERS`.
    """
    return pd.DataFrame(
        {
            "metric": [one.metric for one in comparisons],
            "arm": [one.arm for one in comparisons],
            "people in control": [one.n_control for one in comparisons],
            "people in the arm": [one.n for one in comparisons],
            "control": [level_of(one.control, one) for one in comparisons],
            "in the arm": [level_of(one.value, one) for one in comparisons],
            "difference": [_difference(one) for one in comparisons],
            "relative": [relative_text(one) for one in comparisons],
            "p-value": [pvalue_text(one.pvalue) for one in comparisons],
        }
    )


def between_table(pairs: Sequence[Comparison]) -> pd.DataFrame:
    """Winning arms against each other, in words.

    Args:
        pairs: of a result.

    Returns:
        One row per metric and pair: metric, arm, against, `BETWEEN_NUMBERS`, with the p-value for all pairs together.
    """
    return pd.DataFrame(
        {
            "metric": [one.metric for one in pairs],
            "arm": [one.arm for one in pairs],
            "against": [one.against for one in pairs],
            "difference": [_difference(one) for one in pairs],
            "relative": [relative_text(one) for one in pairs],
            "p, all pairs counted": [pvalue_text(one.pvalue_adjusted) for one in pairs],
        }
    )


def plan_table(curve: pd.DataFrame, *, unit: str) -> pd.DataFrame:
    """The curve of a plan, in words.

    Args:
        curve: from `Plan.curve`.
        unit: `points` for a rate, the currency of money, else "".

    Returns:
        One row per size: people, days, smallest effect found, the same relative, power for the effect planned.
    """
    return pd.DataFrame(
        {
            "people": [f"{units:,.0f}" for units in curve["units"]],
            "days": ["–" if math.isnan(days) else f"{days:,.0f}" for days in curve["days"]],
            "smallest effect found": [_effect(float(one), unit) for one in curve["diff"]],
            "relative": [number_text(float(one), share=True) for one in curve["rel"]],
            "power for the effect planned": [number_text(float(one), share=True) for one in curve["power"]],
        }
    )


def _effect(value: float, unit: str) -> str:
    return minus(f"{100 * value:.2f} points") if unit == "points" else f"{number_text(value)} {unit}".rstrip()


def _difference(one: Comparison) -> str:
    if not one.defined:
        return "–"
    ends = ", ".join(amount(end, one, bare=True) for end in (one.diff_lower, one.diff_upper))
    return f"{amount(one.diff, one, signed=True)} [{ends}]"


def level_of(value: float, one: Comparison) -> str:
    """A metric's level in an arm, in its unit: percent, money, days; a dash where there is none.

    >>> spent = Comparison(metric="revenue", arm="mail", n_control=1, n=1, currency="EUR")
    >>> level_of(30.427, spent), level_of(float("nan"), spent)
    ('€30.43', '–')
    """
    if math.isnan(value) or (one.kind != "time" and not one.currency):
        return level_text(value, rate=one.kind == "rate")
    return amount(value, one)


def level_text(value: float, *, rate: bool) -> str:
    """A metric's level in an arm: a rate in percent, small ones with more digits; a dash where there is none.

    >>> level_text(0.1234, rate=True), level_text(0.00041, rate=True), level_text(0.0, rate=True)
    ('12.3%', '0.041%', '0.0%')
    >>> level_text(1234.567, rate=False), level_text(0.0512, rate=False), level_text(float("nan"), rate=False)
    ('1,234.57', '0.051', '–')
    """
    if math.isnan(value):
        return "–"
    shown, digits = (100 * value, 1) if rate else (value, 2)
    if 0 < abs(shown) < 1:
        digits = max(digits, min(6, 1 - math.floor(math.log10(abs(shown)))))
    return minus(f"{shown:,.{digits}f}{'%' if rate else ''}")


def relative_text(one: Comparison) -> str:
    """A difference as a share of control, with its interval."""
    if math.isnan(one.rel):
        return "–"
    if math.isnan(one.rel_lower) or math.isnan(one.rel_upper):
        return minus(f"{100 * one.rel:+.1f}%")
    digits = 1 if one.rel_upper - one.rel_lower < 0.2 else 0
    ends = [
        "unbounded" if math.isinf(end) else minus(f"{100 * end:+.{digits}f}") for end in (one.rel_lower, one.rel_upper)
    ]
    return f"{minus(f'{100 * one.rel:+.1f}%')} [{ends[0]}, {ends[1]}]"


def pvalue_text(value: float) -> str:
    """A p-value, the smallest only as a bound.

    >>> pvalue_text(0.0236), pvalue_text(6.7e-05), pvalue_text(float("nan"))
    ('0.024', '< 0.0001', '–')
    """
    return "–" if math.isnan(value) else "< 0.0001" if value < 1e-4 else f"{value:.2g}"
