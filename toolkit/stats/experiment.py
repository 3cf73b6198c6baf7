"""From outcomes to lift: who was randomised, whether the split is sound, and every arm against control."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from toolkit.errors import MetricError, shown
from toolkit.stats.arguments import check_alpha, check_column, check_flag, check_seed, column_names
from toolkit.stats.checks import (
    before_differences,
    contamination,
    moved_denominators,
    nearly_alike,
    nearly_same_names,
    one_has_most,
    opens_alone,
    too_few_buyers,
)
from toolkit.stats.comparison import Comparison
from toolkit.stats.design import Design
from toolkit.stats.looks import ENOUGH, Look, Looks
from toolkit.stats.means import Mean
from toolkit.stats.metric import Metric, Setting
from toolkit.stats.multiplicity import benjamini_hochberg, holm
from toolkit.stats.pairs import winning_pairs
from toolkit.stats.planning import Plan
from toolkit.stats.ratios import Ratio
from toolkit.stats.reading import OutcomesLike, known_about, number_columns, opened, take_in
from toolkit.stats.result import OBSERVED, RANDOMISED, Result
from toolkit.stats.source import Source
from toolkit.stats.srm import SampleRatio, sample_ratio
from toolkit.stats.times import TimeTo
from toolkit.stats.windows import days_of

__all__ = ["experiment"]

_OTHER_MAILS = "other_mails"  # as `measure` calls the mails of other scenarios
_LONGEST_NAME = 80  # letters of a column
_FEW_UNTOUCHED = 0.01  # of the units: a quiet day at either end of the log


def experiment(
    outcomes: OutcomesLike,
    metrics: Metric | Sequence[Metric] = (),
    *,
    control: object = None,
    arm: str = "arm",
    unit: str = "unit",
    alpha: float | None = None,
    covariates: Sequence[str] = (),
    weights: Mapping[str, float] | None = None,
    looks: Looks | Sequence[float] | None = None,
    design: Design | Plan | str | Path | None = None,
    contaminated: str | Literal[False] | None = None,
    observational: bool = False,
    seed: int = 0,
) -> Result:
    """Every arm against control on every metric, from outcomes with one row per unit.

    Everybody counts in the arm drawn for them, whether or not they got or opened a mail (intention to treat).

    Args:
        outcomes: one row per unit (a customer); a column for the arm, one for the unit, one for each metric. A frame,
            the path of Parquet files, or an `OutcomeTable` (over files or an event log; only sums leave the database).
            Units may have several rows when every metric is a `Ratio`.
        metrics: what to compare, at least one, for example `Rate("converted")`, `Mean("revenue")`. The first is
            primary unless roles are given.
        control: the value of the arm column which is control; that of the design, else "control", unless given.
        arm: the column that says which arm a unit is in.
        unit: the column that names the unit; without a column `unit`, each row counts as one unit.
        alpha: two-sided chance of a false alarm, 0 to 1; of the design, else 0.05. Intervals have confidence 1 - alpha,
            more where looks are taken.
        covariates: columns known before, taken out of every mean and ratio that names none of its own (CUPED).
        weights: the weight each arm was set to, any scale; the split is then tested. Of the outcomes or the design
            unless given.
        looks: how often one looks: a `Looks`; or, with a design, the units at the looks already taken.
        design: what was decided before: a plan, a design, or the file it was frozen to.
        contaminated: a column of flags or counts: units that were reached by another scenario meanwhile. Unless named,
            `other_mails` of `measure` is looked at where outcomes have it, and a warning says when arms differ in it;
            False for no such check.
        observational: accept outcomes whose arms were not drawn at random, or not known to be; they are labelled so.
        seed: where permutations start.

    Returns:
        Result: `.lift` (one row per metric and arm), `.table`, `.verdict()`, `.plot()`.

    Raises:
        MetricError: outcomes not randomised, or all of them out of reach of the experiment's mails; one arm only, a
            column missing or not numeric, a unit in several rows or several arms, no metric, or two of the same name,
            looks that cannot be, covariates that no metric takes.

    >>> import pandas as pd
    >>> from toolkit.stats import Rate
    >>> outcomes = pd.DataFrame({
    ...     "unit": range(4000),
    ...     "arm": ["control"] * 2000 + ["mail"] * 2000,
    ...     "converted": [1] * 100 + [0] * 1900 + [1] * 150 + [0] * 1850,
    ... })
    >>> print(experiment(outcomes, [Rate("converted")]).verdict())
    mail beats control on converted: +2.5 points [1.0, 4.0].
    Roll out mail.
    """
    for name, column in (("arm", arm), ("unit", unit)):
        check_column(column, where=f"experiment: {name}")
    check_seed(seed, where="experiment")
    check_flag(observational, where="experiment: observational")
    planned = _designed(design)
    alpha = alpha if alpha is not None else (planned.alpha if planned else 0.05)
    control = control if control is not None else (planned.control if planned else "control")
    check_alpha(alpha, where="experiment")
    chosen = _checked(metrics, column_names(covariates, where="experiment: covariates"), planned)
    outcomes = opened(outcomes)
    about = known_about(outcomes)
    if about.get("randomised") is False and not observational:
        raise MetricError(
            "outcomes: the arms were not drawn at random"
            + (f" ({about['why']})" if about.get("why") else "")
            + ", so lift cannot be measured; for a comparison labelled as observed, pass observational=True"
        )
    before, before_terms = before_differences(number_columns(outcomes), chosen)
    touched, touched_terms = contamination(_touched_by(contaminated, outcomes), asked=isinstance(contaminated, str))
    found, notes = take_in(outcomes, chosen, [*before_terms, *touched_terms], arm=arm, control=control, unit=unit)
    counts = {name: found.moments[name].n for name in found.arms.names}
    if not observational:
        _check_touched(about, _unit_word(unit, about), sum(counts.values()))
    split = _split(counts, weights, about.get("weights") or (planned.arms if planned else None))
    look, looking = _look(looks, planned, sum(counts.values()), alpha)
    setting = Setting(alpha=look.alpha if look else alpha, seed=seed)
    comparisons = [
        comparison
        for metric in chosen
        for name in found.arms.others
        for comparison in metric.compare(found, name, setting)
    ]
    repeated = partial(looking.repeated_pvalue, units=sum(counts.values())) if looking else float
    comparisons = _adjusted(comparisons, repeated)
    pairs = winning_pairs(found, chosen, comparisons, setting, alpha=alpha, repeated=repeated)
    known = about.get("randomised")
    label = OBSERVED if known is False or (observational and known is not True) else RANDOMISED
    if label == OBSERVED:
        comparisons, pairs = _observed(comparisons), tuple(_observed(pairs))
    warnings = [
        *notes,
        *nearly_same_names(found.arms.names),
        *_too_early(look),
        *_held_against(planned, chosen, about, alpha, counts, found.arms.control, look),
        *_windows(about, _unit_word(unit, about)),
        *_untouched(about, _unit_word(unit, about), sum(counts.values())),
        *(nearly_alike(counts, _unit_word(unit, about)) if split is None and label == RANDOMISED else ()),
        *before(found),
        *touched(found),
        *moved_denominators(found, chosen, _unit_word(unit, about)),
        *one_has_most(found, chosen, _unit_word(unit, about)),
        *opens_alone(comparisons),
        *too_few_buyers(comparisons),
    ]
    return Result(
        comparisons=tuple(comparisons),
        pairs=pairs,
        control=found.arms.control,
        alpha=alpha,
        label=label,
        split=split,
        look=look,
        design=planned,
        notes=tuple(dict.fromkeys(warnings)),
        window=about.get("window"),
        looks=looking,
        unit=_unit_word(unit, about),
        curves={metric.label: (metric.days, metric.curves(found)) for metric in chosen if isinstance(metric, TimeTo)},
        metrics=chosen,
        arm=arm,
        unit_column=unit,
    )


def _designed(design: Design | Plan | str | Path | None) -> Design | None:
    if isinstance(design, Plan):
        return design.freeze()
    if isinstance(design, str | Path):
        return Design.load(design)
    if design is None or isinstance(design, Design):
        return design
    raise MetricError(f"design: found {type(design).__name__}; allowed: a plan, a Design, or the path of a frozen one")


def _checked(
    metrics: Metric | Sequence[Metric], covariates: tuple[str, ...], design: Design | None
) -> tuple[Metric, ...]:
    given: object = metrics
    if not isinstance(given, Metric | Iterable) or isinstance(given, str):
        meant = _or_rate(given, "[Rate({})]")
        raise MetricError(f"metrics: found {shown(metrics)}; allowed: a list, for example [Rate('converted')]{meant}")
    chosen = (metrics,) if isinstance(metrics, Metric) else tuple(metrics)
    if not chosen:
        meant = "for example Rate('converted')"
        if design is not None:
            meant = f"first the {design.kind} that the design was made for, {design.metric!r}"
        raise MetricError(f"metrics: found none; give at least one, {meant}")
    for metric in chosen:
        if not isinstance(metric, Metric):
            raise MetricError(
                f"metrics: found {shown(metric)}; allowed: Rate, Mean, Ratio, Quantile or TimeTo of a column"
                + _or_rate(metric, "Rate({})")
            )
    names = [metric.label for metric in chosen]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise MetricError(f"metrics: {twice[0]!r} is there twice; tell them apart with name=")
    if covariates:
        chosen = tuple(
            replace(metric, covariate=covariates)
            if isinstance(metric, Mean | Ratio) and not metric.covariate and not getattr(metric, "strata", None)
            else metric
            for metric in chosen
        )
        if not any(getattr(metric, "covariate", ()) == covariates for metric in chosen):
            named = ", ".join(map(repr, covariates))
            raise MetricError(
                f"experiment: covariates: found {named}, which no metric here takes; allowed beside a Mean or a Ratio "
                "that names no covariate and no strata of its own"
            )
    if any(metric.role == "primary" for metric in chosen):
        return tuple(metric if metric.role else replace(metric, role="secondary") for metric in chosen)
    first = next((at for at, metric in enumerate(chosen) if metric.role is None), None)
    return tuple(
        metric if metric.role else replace(metric, role="primary" if at == first else "secondary")
        for at, metric in enumerate(chosen)
    )


def _or_rate(found: object, written: str) -> str:
    """What was meant where the name of a column stands in the place of a metric."""
    is_name = isinstance(found, str) and 0 < len(found) <= _LONGEST_NAME
    return f"; did you mean {written.format(repr(found))}?" if is_name else ""


def _touched_by(asked: str | Literal[False] | None, outcomes: pd.DataFrame | Source) -> str | None:
    if asked is None:
        return _OTHER_MAILS if _OTHER_MAILS in number_columns(outcomes) else None
    if asked is False:
        return None
    check_column(asked, where="experiment: contaminated")
    return asked


def _split(
    counts: Mapping[str, int], weights: Mapping[str, float] | None, known: Mapping[str, float] | None
) -> SampleRatio | None:
    if weights is not None:
        if not isinstance(weights, Mapping):
            raise MetricError(
                f"weights: found {shown(weights)}; allowed: the weight of each arm, as {{'control': 1, 'mail': 1}}"
            )
        return sample_ratio(counts, {str(arm): weight for arm, weight in weights.items()})
    if known is None or not set(counts) <= set(known):
        return None
    return sample_ratio(counts, {arm: known[arm] for arm in counts})


def _look(
    looks: Looks | Sequence[float] | None, design: Design | None, units: int, alpha: float
) -> tuple[Look | None, Looks | None]:
    if isinstance(looks, Looks):
        return looks.at(units, alpha=alpha), looks
    if design is None:
        if looks is not None:
            raise MetricError("looks: give Looks(planned=...), or a design together with the units at earlier looks")
        return None, None
    if design.looks == (1.0,) and looks is None:
        return None, None
    looking = design.looking(() if looks is None else looks)
    return looking.at(units, alpha=alpha), looking


def _adjusted(comparisons: Sequence[Comparison], repeated: Callable[[float], float]) -> list[Comparison]:
    pvalues = [repeated(one.pvalue) for one in comparisons]
    found = [replace(one, pvalue_repeated=p, pvalue_adjusted=p) for one, p in zip(comparisons, pvalues, strict=True)]
    for role, correct in (("primary", holm), ("secondary", benjamini_hochberg)):
        at = [place for place, one in enumerate(found) if one.role == role]
        for place, pvalue in zip(at, correct([pvalues[place] for place in at]), strict=True):
            found[place] = replace(found[place], pvalue_adjusted=float(pvalue))
    return found


def _observed(comparisons: Sequence[Comparison]) -> list[Comparison]:
    return [replace(one, note="; ".join(filter(None, (OBSERVED, one.note)))) for one in comparisons]


def _held_against(
    design: Design | None,
    metrics: Sequence[Metric],
    about: Mapping[str, Any],
    alpha: float,
    counts: Mapping[str, int],
    control: str,
    look: Look | None,
) -> list[str]:
    if design is None:
        return []
    units = sum(counts.values())
    said = []
    primary = [metric.label for metric in metrics if metric.role == "primary"]
    if design.metric not in primary:
        said.append(f"the design was made for {design.metric}, here {', '.join(primary) or 'nothing'} is primary")
    if not math.isclose(alpha, design.alpha):
        said.append(f"the design has alpha {design.alpha:g}, here it is {alpha:g}")
    said += _other_arms(design, counts, control)
    for metric in metrics:
        if metric.role == "primary" and metric.label == design.metric:
            said += _other_metric(design, metric)
    window = about.get("window")
    if window and design.window and days_of(window) != days_of(design.window):
        said.append(f"the design counts outcomes for {design.window}, here it is {window}")
    unit = about.get("unit")
    if unit and unit != design.unit:
        said.append(f"the design counts {design.unit}s, here each row is about a {unit}")
    if look is None and units < ENOUGH * design.units:
        said.append(
            f"this is a look before the end: {units:,} of {design.units:,} planned units, and the design foresaw one"
            " look; false alarms are more frequent than alpha says (plan looks, or wait)"
        )
    return said


def _other_arms(design: Design, counts: Mapping[str, int], control: str) -> list[str]:
    """Where the arms are not those of the design, which was then made for another experiment."""
    said = []
    if set(counts) != set(design.arms):
        said.append(f"the design has the arms {', '.join(design.arms)}, here they are {', '.join(counts)}")
    if control != design.control:
        said.append(f"the design holds arms against {design.control}, here it is {control}")
    return said


def _other_metric(design: Design, metric: Metric) -> list[str]:
    """Where the primary metric has the name that the design has, and is another."""
    said = []
    if metric.kind != design.kind:
        said.append(f"the design was made for {design.metric} as a {design.kind}, here it is a {metric.kind}")
    if metric.better != design.better:
        said.append(f"in the design {design.better} is better for {design.metric}, here {metric.better} is")
    return said


def _too_early(look: Look | None) -> list[str]:
    if look is None or math.isfinite(look.bound):
        return []
    return [f"{look.time:.2%} of the planned units are too few for a look: no effect, however large, can count yet"]


def _unit_word(column: str, about: Mapping[str, Any]) -> str:
    """What a row is about: told by the outcomes, else a customer unless the column of units says something else."""
    return str(about.get("unit") or ("customer" if column in ("unit", "customer_id") else "unit"))


def _windows(about: Mapping[str, Any], unit: str) -> list[str]:
    still_open = int(about.get("open_windows") or 0)
    if not still_open:
        return []
    return [f"{still_open:,} {unit}s are left out because their window of {about.get('window')} has not closed yet"]


def _check_touched(about: Mapping[str, Any], unit: str, units: int) -> None:
    """Where no mail could reach anyone counted, the arms differ by chance alone: a lift of nothing is no lift."""
    if not 0 < units <= int(about.get("untouched") or 0):
        return
    first, last = about.get("mailed", ("?", "?"))
    raise MetricError(
        f"outcomes: none of these {units:,} {unit}s could get a mail of the experiment within their window of "
        f"{about.get('window')} (the log holds some from {first} to {last}), so its lift cannot be measured yet: whom "
        f"those mails could reach count when their window has closed; for a comparison labelled as observed, pass "
        "observational=True"
    )


def _untouched(about: Mapping[str, Any], unit: str, units: int) -> list[str]:
    count = int(about.get("untouched") or 0)
    if count < _FEW_UNTOUCHED * units or not count:
        return []
    first, last = about.get("mailed", ("?", "?"))
    return [
        f"{count:,} of {units:,} {unit}s entered when no mail of the experiment could reach them (the log holds some "
        f"from {first} to {last}): they dilute the lift; measure(..., since=) leaves out who entered before that, "
        "replay(..., until=) who entered after"
    ]
