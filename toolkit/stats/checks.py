"""What could be wrong with an experiment although every number is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from toolkit.stats.comparison import Comparison
from toolkit.stats.means import Mean
from toolkit.stats.metric import Metric
from toolkit.stats.moments import Term
from toolkit.stats.outcomes import Outcomes
from toolkit.stats.permutation import permutation_wanted
from toolkit.stats.ratios import Ratio
from toolkit.stats.srm import sample_ratio
from toolkit.stats.welch import Sample, welch

__all__ = [
    "before_differences",
    "contamination",
    "moved_denominators",
    "nearly_alike",
    "nearly_same_names",
    "one_has_most",
    "opens_alone",
    "too_few_buyers",
]

_BEFORE_ALARM = 0.001
_MOST_BEFORE = 20
_TOUCHED_ALARM = 0.01
_TOUCHED_SHARE = 0.05
_MOVED_ALARM = 0.001
_NEARLY = 4 / 3  # the largest arm to the smallest
_MOST = 0.1  # of everything, in one unit
_TIMES = 10.0  # the largest amount to that of a buyer on average


def before_differences(
    columns: Sequence[str], metrics: Sequence[Metric]
) -> tuple[Callable[[Outcomes], list[str]], list[Term]]:
    """A check that arms were alike before the experiment, on every column of numbers named `pre_…` and every covariate.

    Args:
        columns: columns that hold numbers.
        metrics: what is compared, some of it with covariates.

    Returns:
        The check, and the terms it needs.
    """
    covariates = [name for metric in metrics if isinstance(metric, Mean | Ratio) for name in metric.covariate]
    before = dict.fromkeys([*covariates, *(column for column in columns if column.startswith("pre_"))])
    terms = [Term("filled", column) for column in [*before][:_MOST_BEFORE]]

    def check(outcomes: Outcomes) -> list[str]:
        said = []
        for term in terms:
            for arm in outcomes.arms.others:
                one, other = (
                    Sample(side.n, side.mean(term), side.variance(term))
                    for side in (outcomes.moments[arm], outcomes.control)
                )
                found = welch(one, other)
                if found.pvalue * len(terms) * len(outcomes.arms.others) < _BEFORE_ALARM:
                    late = "" if term.column.startswith("pre_") else f", or {term.column} was not known before"
                    said.append(
                        f"{arm} and {outcomes.arms.control} differed in {term.column} before the experiment"
                        f" ({one.mean:.4g} against {other.mean:.4g}, p = {found.pvalue:.2g}): the split is not sound"
                        + late
                    )
        return said

    return check, terms


def contamination(column: str | None, *, asked: bool) -> tuple[Callable[[Outcomes], list[str]], list[Term]]:
    """A check whether units were reached by something else meanwhile, and whether that differs between the arms.

    Args:
        column: flags (or counts) of the units that were reached; None for no check.
        asked: whether the user named the column: then a word is said even where all arms were reached alike. Unasked,
            only a difference that chance makes once in a thousand times is told.

    Returns:
        The check, and the terms it needs.
    """
    if column is None:
        return (lambda outcomes: []), []
    term = Term("some", column)

    def check(outcomes: Outcomes) -> list[str]:
        names = outcomes.arms.names
        sizes = np.array([outcomes.moments[name].n for name in names], dtype=np.float64)
        reached = np.array([outcomes.moments[name].count(term) for name in names], dtype=np.float64)
        share = float(reached.sum() / sizes.sum())
        if _unevenly(sizes, reached, share) < (_TOUCHED_ALARM if asked else _BEFORE_ALARM):
            parts = ", ".join(f"{name} {r / n:.1%}" for name, r, n in zip(names, reached, sizes, strict=True) if n)
            return [
                f"another scenario reached the arms unevenly ({parts}), as when an arm's own mails fill a shared cap:"
                " the lift holds what those other mails did, or would have done"
            ]
        if asked and share > _TOUCHED_SHARE:
            return [f"another scenario reached {share:.1%} of the units: the lift is the one beside that scenario"]
        return []

    return check, [term]


def _unevenly(sizes: NDArray[np.float64], reached: NDArray[np.float64], share: float) -> float:
    """P-value (chi-square) of arms reached alike."""
    if not 0 < share < 1:
        return 1.0
    filled = sizes > 0
    chi2 = float((((reached - sizes * share)[filled]) ** 2 / (sizes[filled] * share * (1 - share))).sum())
    return float(chdtrc(int(filled.sum()) - 1, chi2))


def opens_alone(comparisons: Sequence[Comparison]) -> list[str]:
    """Opens as the sole primary metric, or opens that are mostly a machine's."""
    primary = [one for one in comparisons if one.role == "primary"]
    said = []
    if primary and all(one.opens for one in primary):
        said.append("opens alone decide here, and machines open mails: let clicks, conversions or revenue decide")
    for one in comparisons:
        machine = next((part for part in one.note.split(", ") if part.endswith(" machine")), "")
        share = machine.removesuffix(" machine").rstrip("%")
        if share.isdigit() and int(share) > 50:
            said.append(f"{share}% of the opens are a machine's: opens say little about people")
    return list(dict.fromkeys(said))


def too_few_buyers(comparisons: Sequence[Comparison]) -> list[str]:
    """Welch's test or the bootstrap where money is skewed and buyers are few, or one arm is small."""
    return [
        f"{one.metric}: {one.buyers:,.0f} buyers in the smaller arm are too few for {_test(one)}: it may err several"
        " times as often as alpha says; use method='permutation' without covariates"
        for one in comparisons
        if one.kind == "mean"
        and one.method.startswith(("Welch", "t-test", "studentised bootstrap"))
        and one.defined
        and permutation_wanted((one.n, one.n_control), int(one.buyers_both))
    ]


def _test(one: Comparison) -> str:
    return "the bootstrap" if "bootstrap" in one.method else "Welch's test"


def moved_denominators(outcomes: Outcomes, metrics: Sequence[Metric], unit: str) -> list[str]:
    """Ratios whose denominator an arm itself changes, as when it sends more mails: they compare other mails."""
    ratios = {metric.denominator: metric for metric in reversed(metrics) if isinstance(metric, Ratio)}
    said = []
    for name, metric in ratios.items():
        term = Term("value", name)
        for arm in outcomes.arms.others:
            one, other = (
                Sample(side.n, side.mean(term), side.variance(term))
                for side in (outcomes.moments[arm], outcomes.control)
            )
            pvalue = float(welch(one, other).pvalue)
            if pvalue * len(ratios) * len(outcomes.arms.others) < _MOVED_ALARM and one.mean > 0 and other.mean > 0:
                said.append(
                    f"{arm} and {outcomes.arms.control} differ in {name} ({one.mean:.4g} against {other.mean:.4g} a"
                    f" {unit}), so {metric.label} may fall although {metric.numerator} rise;"
                    f" Mean({metric.numerator!r}) compares them {unit} by {unit}"
                )
    return said


def one_has_most(outcomes: Outcomes, metrics: Sequence[Metric], unit: str) -> list[str]:
    """Amounts of which a single unit has a large part: in which arm that one happens to be may decide."""
    said = []
    for metric in metrics:
        if not isinstance(metric, Mean):
            continue
        sides = [side for side in outcomes.moments.values() if side.n]
        at = sides[0].index(metric.term)
        least, most = float(sides[0].minima[at]), float(sides[0].maxima[at])
        total = sum(side.total(metric.term) for side in sides)
        buyers = sum(side.count(Term("some", metric.column)) for side in sides)
        if least >= 0 and total > 0 and most > _MOST * total and most * buyers > _TIMES * total:
            said.append(
                f"{metric.label}: one {unit} has {most / total:.0%} of all of it ({most:,.0f}), and in which arm that"
                " one is may decide: compare amounts with a cap, too"
            )
    return said


def nearly_same_names(arms: Sequence[str]) -> list[str]:
    """Arms whose names differ in spaces or capitals alone: one arm, written in several ways."""
    written: dict[str, list[str]] = {}
    for arm in arms:
        written.setdefault(" ".join(arm.split()).casefold(), []).append(arm)
    return [
        f"arms {', '.join(map(repr, same))} differ in spaces or capitals only and count as {len(same)}: if they are"
        " one, write it in one way and compare again"
        for same in written.values()
        if len(same) > 1
    ]


def nearly_alike(counts: Mapping[str, int], unit: str) -> list[str]:
    """Arms of unknown weights that are nearly of one size, but not as chance would have it."""
    if min(counts.values()) < 1 or max(counts.values()) > _NEARLY * min(counts.values()):
        return []
    split = sample_ratio(counts, dict.fromkeys(counts, 1.0))
    if not split.alarm:
        return []
    sizes = ", ".join(f"{arm} {n:,}" for arm, n in counts.items())
    return [
        f"nearly as many {unit}s are in each arm ({sizes}), but between arms that were meant to be alike chance makes"
        f" no such gap (p = {split.pvalue:.2g}): weights= says what was meant, and tests the split"
    ]
