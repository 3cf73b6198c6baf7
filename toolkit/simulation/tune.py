"""Tune: forecasts of one program under many settings, which of them may be best, and what would tell them apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from toolkit.bars import Bar
from toolkit.drawable import Drawable
from toolkit.engine.doors import check_program, moment_of, values_to_try
from toolkit.errors import InputError, ScenarioError, check_flag, did_you_mean, is_one_of, shown
from toolkit.events import EventLog
from toolkit.readable import lines_html, minus, table_html
from toolkit.scenario.models import Program, Scenario
from toolkit.scenario.parameters import get_parameter, set_parameters
from toolkit.simulation.doors import check_numbers, check_response
from toolkit.simulation.forecast import Forecast
from toolkit.simulation.model import ResponseModel
from toolkit.simulation.simulation import Simulation
from toolkit.stats import Mean, Plan, plan

__all__ = ["Tuning", "tune"]

Floats = npt.NDArray[np.float64]
Objective = Literal["profit", "margin", "revenue", "caused"]
_OBJECTIVES = ("profit", "margin", "revenue", "caused")
MOST_SETTINGS = 400
_POWER = 0.8


@dataclass(frozen=True, eq=False)
class Tuning(Drawable):
    """Forecasts of one program under many settings.

    Attributes:
        over: the values tried, by parameter path.
        objective: what is to be large.
        table: one row per setting: the values by path, then the objective per person who enters (value, lower,
            upper: modelled), probability_best (share of draws in which it is the best of those allowed), in_region
            (whether the draws cannot tell it from the best), allowed (by the constraint), people, mails, caused,
            discount, discount_own, unsubscribes (all people together).
        best: the values of the setting with the largest objective.
        best_lower, best_upper: its interval after the selection: the best of many flatters itself.
        flattery: by how much, on average, the best of so many looks better than it is.
        verdict: what can be said, in a sentence.
        base: the values in the program itself.
        out_of_time: the same choice made on the first part of the log and held against the rest: one row with the
            setting chosen, its rank and its objective in the rest, and what the best of the rest would have given.
        draws_by_setting: settings x draws, the objective per person.
        people: who enters, all arms that are mailed.
        deviation: of the objective from person to person, for planning; currency, level, notes as of a forecast.
    """

    over: Mapping[str, tuple[Any, ...]]
    objective: str
    table: pd.DataFrame
    best: Mapping[str, Any]
    best_lower: float
    best_upper: float
    flattery: float
    verdict: str
    base: Mapping[str, Any]
    out_of_time: pd.DataFrame
    draws_by_setting: Floats
    people: int
    deviation: float
    currency: str
    level: float
    notes: tuple[str, ...]

    @property
    def region(self) -> pd.DataFrame:
        """The settings that the draws cannot tell from the best."""
        return self.table[self.table["in_region"]].reset_index(drop=True)

    def experiment(self, *, power: float = _POWER, alpha: float = 0.05) -> Plan | None:
        """The experiment that would tell the best setting from the one in the program, or from the next.

        Args:
            power: chance to find the difference that the forecast expects.
            alpha: two-sided chance of a false alarm.

        Returns:
            A plan of `toolkit.stats`; None where no difference is expected.

        Raises:
            MetricError: a power or alpha out of its range.
        """
        rival = self._rival()
        if rival is None:
            return None
        diff = float(np.nanmean(self.draws_by_setting[self._best_place()] - self.draws_by_setting[rival]))
        if not diff > 0 or not self.deviation > 0:
            return None
        value = float(np.nanmean(self.draws_by_setting[rival]))
        return plan(
            Mean(self.objective), baseline=value, sd=self.deviation, diff=diff, power=power, alpha=alpha,
            arms={"control": 0.5, "best": 0.5},
        )  # fmt: skip

    def surface(self, value: str = "value") -> pd.DataFrame:
        """A column of the table over the first two paths: rows of the first, columns of the second.

        Raises:
            InputError: no such column, with the nearest; more than two paths.
        """
        paths, columns = list(self.over), [str(name) for name in self.table.columns]
        if not isinstance(value, str) or value not in columns:
            hint = did_you_mean(str(value), columns)
            raise InputError(f"no column {shown(value)} in this table; it has {', '.join(columns)}{hint}")
        if len(paths) == 1:
            return self.table.set_index(paths[0])[[value]]
        if len(paths) > 2:
            raise InputError(f"a surface has two paths; this tuning has {len(paths)}")
        wide = self.table.pivot(index=paths[0], columns=paths[1], values=value)
        order = [[_shown(one) for one in self.over[path]] for path in paths]
        return wide.reindex(index=order[0], columns=order[1])

    def _best_place(self) -> int:
        return int(np.argmax(np.where(self.table["allowed"], self.table["value"], -np.inf)))

    def _rival(self) -> int | None:
        best = self._best_place()
        same = np.ones(len(self.table), dtype=bool)
        for path, value in self.base.items():
            same &= (self.table[path] == _shown(value)).to_numpy()
        if same.any() and int(np.flatnonzero(same)[0]) != best:
            return int(np.flatnonzero(same)[0])
        others = np.where(self.table["allowed"], self.table["value"], -np.inf)
        others[best] = -np.inf
        return int(np.argmax(others)) if np.isfinite(others).any() else None

    def __str__(self) -> str:
        head = f"{self.objective} per person who enters, in {self.currency} (modelled, {self.level:.0%} intervals)"
        if self.objective == "caused":
            head = f"purchases brought about per person who enters (modelled, {self.level:.0%} intervals)"
        shown = self.table[[*self.over, "value", "lower", "upper", "probability_best", "in_region"]]
        lines = [head, shown.to_string(index=False, float_format=lambda value: minus(f"{value:.4g}")), self.verdict]
        return "\n".join([*lines, *self._later(), *(f"note: {note}" for note in self.notes)])

    def _later(self) -> list[str]:
        """How the choice made on the first part of the log did with those who came later."""
        if self.out_of_time.empty:
            return []
        row = self.out_of_time.iloc[0]
        chosen = ", ".join(f"{path} = {row[path]}" for path in self.over)
        before, after = (minus(f"{row[name]:.4g}") for name in ("value_before", "value_after"))
        return [
            f"Chosen on the first two thirds of the log: {chosen}, {self.objective} {before} a person; of those who "
            f"came later {after}, place {row['rank_after']} of {row['settings']} (modelled)."
        ]

    __repr__ = __str__

    def _repr_html_(self) -> str:
        first = str(self).splitlines()[0]
        names = {"value": self.objective, "probability_best": "chance to be best", "in_region": "as good as the best"}
        table = table_html(self.table, names=names)
        return f"{lines_html([first])}{table}{lines_html([self.verdict, *self._later(), *self.notes])}"


def tune(
    program: Program | Scenario,
    log: EventLog,
    response: ResponseModel,
    *,
    over: Mapping[str, Sequence[Any]],
    objective: Objective = "profit",
    constraint: str | None = None,
    draws: int = 200,
    seed: int = 1,
    level: float = 0.9,
    until: datetime | str | None = None,
    since: datetime | str | None = None,
    check_out_of_time: bool = True,
    progress: bool = True,
) -> Tuning:
    """Which delay, which offer: the forecast under every combination of some values.

    Every setting meets the same people in the same mood (common random numbers), so that differences between settings
    are steadier than the settings themselves.

    Args:
        program: one or many scenarios and the policies they share.
        log: what customers did.
        response: how people answer.
        over: values to try by parameter path, for example {"cart.pause.wait": ["1h", "4h"],
            "cart.offer.offer.percent": [5, 10]}.
        objective: `profit`, `margin`, `revenue` (brought about, before discounts) or `caused` (purchases), per person
            who enters an arm that is mailed.
        constraint: an expression on the columns of the table, as `pandas.DataFrame.query` takes it, for example
            "unsubscribes <= 20"; settings that break it are shown, and never the best.
        draws, seed, level, until, since: as in `simulate`.
        check_out_of_time: choose on the first two thirds of the log, too, and see how the choice does in the rest.
        progress: show a progress bar where it takes longer than a moment.

    Returns:
        The surface, the best region, the selection-adjusted interval of the best, and a verdict.

    Raises:
        ScenarioError: no such path, a value that is not allowed there, too many settings.
        InputError: no such objective; a constraint that cannot be read or that nothing meets; a number out of its
            range; a response that is no model.
    """
    program = check_program(program, log)
    check_response(response)
    check_numbers(draws, level, seed)
    check_flag(check_out_of_time, name="check_out_of_time")
    values = values_to_try(over)
    _check(values, objective, response)
    base = {path: get_parameter(program, path) for path in values}
    settings = [dict(zip(values, row, strict=True)) for row in itertools.product(*values.values())]
    programs = [set_parameters(program, setting) for setting in settings]
    found, forecasts = _tried(
        programs, log, response, objective, draws=draws, seed=seed, level=level, until=until, since=since,
        progress=progress,
    )  # fmt: skip
    rows = [_row(setting, forecast) for setting, forecast in zip(settings, forecasts, strict=True)]
    table = pd.DataFrame(rows)
    allowed = _allowed(table, constraint)
    place = len(values)
    means, ends = found.mean(axis=1), np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=1)
    ranked = np.where(allowed[:, None], found, -np.inf)
    winners = np.bincount(ranked.argmax(axis=0), minlength=len(found)) / found.shape[1]
    best = int(np.argmax(np.where(allowed, means, -np.inf)))
    region = _region(found, allowed, best, level)
    flattery, lower, upper = _selected(found, allowed, best, level)
    for name, column in (
        ("value", means), ("lower", ends[0]), ("upper", ends[1]), ("probability_best", winners),
        ("in_region", region), ("allowed", allowed),
    ):  # fmt: skip
        table.insert(place, name, column)
        place += 1
    people, deviation = _people(forecasts[best], objective)
    later = pd.DataFrame()
    if check_out_of_time and len(settings) > 1:
        later = _out_of_time(
            settings, programs, log, response, objective, allowed,
            draws=min(draws, 100), seed=seed, until=until, since=since, progress=progress,
        )  # fmt: skip
    return Tuning(
        over=values,
        objective=objective,
        table=table,
        best={path: _shown(value) for path, value in settings[best].items()},
        best_lower=lower,
        best_upper=upper,
        flattery=flattery,
        verdict=_verdict(table, settings[best], values, region, lower, upper, means[best], objective, level),
        base={path: _shown(value) for path, value in base.items()},
        out_of_time=later,
        draws_by_setting=found,
        people=people,
        deviation=deviation,
        currency=program.policies.currency,
        level=level,
        notes=tuple(dict.fromkeys(note for forecast in forecasts for note in forecast.notes)),
    )


def _check(values: Mapping[str, tuple[Any, ...]], objective: str, response: ResponseModel) -> None:
    empty = [path for path, tried in values.items() if not tried]
    if not values or empty:
        raise ScenarioError(f"nothing to try{' for ' + ', '.join(empty) if empty else ''}")
    count = math.prod(len(tried) for tried in values.values())
    if count > MOST_SETTINGS:
        raise ScenarioError(f"{count:,} settings; at most {MOST_SETTINGS:,} at once: try fewer values of each path")
    if not is_one_of(objective, _OBJECTIVES):
        raise InputError(f"objective: found {shown(objective)}; allowed: {', '.join(_OBJECTIVES)}")
    if objective in ("profit", "margin") and "order.margin" not in response.numbers:
        raise InputError(
            f"objective {objective!r} needs the margin of an order: add order: {{margin: 0.35}} to the response model, "
            "or choose revenue or caused"
        )


def _tried(
    programs: list[Program],
    log: EventLog,
    response: ResponseModel,
    objective: str,
    *,
    draws: int,
    seed: int,
    level: float,
    until: datetime | str | None,
    since: datetime | str | None,
    progress: bool,
) -> tuple[Floats, list[Forecast]]:
    found, forecasts = np.empty((len(programs), draws)), []
    for place, changed in enumerate(Bar(programs, desc="tune", unit=" settings", disable=not progress, delay=1.0)):
        simulation = Simulation(changed, log, response=response, until=until, since=since)
        forecast = simulation.run(draws=draws, seed=seed, level=level)
        forecasts.append(forecast)
        found[place] = _per_person(forecast, objective)
    return found, forecasts


def _mailed(forecast: Forecast) -> list[int]:
    names = forecast.groups.names
    return [group for group, name in enumerate(names) if not forecast.groups.is_holdout(*name)]


def _per_person(forecast: Forecast, objective: str) -> Floats:
    """The objective per person who enters an arm that is mailed, one value per draw."""
    metric = "caused_revenue" if objective == "revenue" else objective
    groups = _mailed(forecast)
    units = sum(forecast.entered(group) for group in groups)
    total = np.sum([forecast.metric(group, metric) for group in groups], axis=0)
    return np.asarray(total / max(units, 1.0))


def _row(setting: Mapping[str, Any], forecast: Forecast) -> dict[str, Any]:
    row = {path: _shown(value) for path, value in setting.items()}
    groups = _mailed(forecast)
    row["people"] = int(sum(forecast.silent[group, 0] for group in groups))
    for metric in ("mails", "caused", "discount", "discount_own", "unsubscribes"):
        row[metric] = float(np.sum([forecast.metric(g, metric, noise=False).mean() for g in groups]))
    return row


def _people(forecast: Forecast, objective: str) -> tuple[int, float]:
    """Who enters, and how much the objective differs from person to person."""
    groups = _mailed(forecast)
    people = int(sum(forecast.entered(group) for group in groups))
    shares = forecast.counted[:, groups].mean(axis=0).sum(axis=0)
    caused, money = shares[7] / max(people, 1), shares[8] / 1e6
    price = money / max(shares[7], 1e-9)
    margin = float(np.mean(forecast.values.get("order.margin", np.ones(1))))
    worth = {"caused": 1.0, "revenue": price}.get(objective, margin * price)
    # A purchase or none, on top of what people buy on their own: both arms of an experiment hold both.
    rate = min(1.0, max(0.0, caused) + shares[15] / max(people, 1))
    return people, worth * math.sqrt(max(rate * (1 - rate), 1e-12))


def _allowed(table: pd.DataFrame, constraint: str | None) -> npt.NDArray[np.bool_]:
    if constraint is None:
        return np.ones(len(table), dtype=bool)
    try:
        kept = table.query(constraint).index
    except Exception as error:
        names = ", ".join(map(str, table.columns))
        raise InputError(f"constraint {shown(constraint)} cannot be read ({error}); the columns are {names}") from None
    allowed: npt.NDArray[np.bool_] = np.isin(np.arange(len(table)), kept)
    if not allowed.any():
        raise InputError(f"constraint {shown(constraint)}: no setting meets it")
    return allowed


def _region(found: Floats, allowed: npt.NDArray[np.bool_], best: int, level: float) -> npt.NDArray[np.bool_]:
    """Settings whose deficit to the best is within what the draws allow, for all of them at once.

    Multiple comparisons with the best (Hsu 1996): the critical value is that of the largest standardised deviation of
    the differences over the draws.
    """
    diffs = found[best] - found
    centre, spread = diffs.mean(axis=1), diffs.std(axis=1)
    moving = (spread > 0) & allowed
    if not moving.any():
        return np.asarray(np.isclose(centre, 0) & allowed)
    worst = ((diffs[moving] - centre[moving, None]) / spread[moving, None]).max(axis=0)
    critical = float(np.quantile(worst, level))
    return np.asarray(allowed & (centre <= critical * spread))


def _selected(found: Floats, allowed: npt.NDArray[np.bool_], best: int, level: float) -> tuple[float, float, float]:
    """By how much the best flatters itself, and its interval after the selection.

    The setting that looks best was chosen from noise as well as from merit. The draws around their means say by how
    much: the expected deviation of whichever is best in a draw, in that draw. The interval of the best reaches down
    by so much more; its upper end stays, since nothing says that this time the choice was flattered.
    """
    means = found.mean(axis=1)
    chosen = np.where(allowed[:, None], found, -np.inf).argmax(axis=0)
    deviations = (found - means[:, None])[chosen, np.arange(found.shape[1])]
    flattery = max(0.0, float(deviations.mean()))
    low, high = np.quantile(found[best], [(1 - level) / 2, (1 + level) / 2])
    return flattery, float(low) - flattery, float(high)


def _out_of_time(
    settings: list[dict[str, Any]],
    programs: list[Program],
    log: EventLog,
    response: ResponseModel,
    objective: str,
    allowed: npt.NDArray[np.bool_],
    *,
    draws: int,
    seed: int,
    until: datetime | str | None,
    since: datetime | str | None,
    progress: bool,
) -> pd.DataFrame:
    """The choice made on people of the first two thirds of the log, held against those who came later."""
    if log.span is None:
        return pd.DataFrame()
    first, last = log.span[0], log.span[1] if until is None else moment_of(until, name="until")
    first = first if since is None else max(first, moment_of(since, name="since"))
    cut = first + (last - first) * 2 / 3
    earlier, later = [], []
    for changed in Bar(programs, desc="tune: later people", unit=" settings", disable=not progress, delay=1.0):
        try:
            early, whole = (
                Simulation(changed, log, response=response, until=end, since=since).run(
                    draws=draws, seed=seed, level=0.9
                )
                for end in (cut, until)
            )
        except InputError:
            return pd.DataFrame()
        people = [float(sum(one.entered(group) for group in _mailed(one))) for one in (early, whole)]
        if not people[1] > people[0] > 0:
            return pd.DataFrame()
        value = [float(_per_person(one, objective).mean()) for one in (early, whole)]
        earlier.append(value[0])
        later.append((value[1] * people[1] - value[0] * people[0]) / (people[1] - people[0]))
    early_values, late_values = np.array(earlier), np.array(later)
    chosen = int(np.argmax(np.where(allowed, early_values, -np.inf)))
    rest = np.where(allowed, late_values, -np.inf)
    row = {
        **{path: _shown(value) for path, value in settings[chosen].items()},
        "value_before": early_values[chosen],
        "value_after": late_values[chosen],
        "best_after": float(rest.max()),
        "rank_after": int((rest > rest[chosen]).sum()) + 1,
        "settings": int(allowed.sum()),
        "label": "modelled",
    }
    return pd.DataFrame([row])


def _verdict(
    table: pd.DataFrame,
    best: Mapping[str, Any],
    values: Mapping[str, tuple[Any, ...]],
    region: npt.NDArray[np.bool_],
    lower: float,
    upper: float,
    value: float,
    objective: str,
    level: float,
) -> str:
    named = ", ".join(f"{path} = {_shown(one)}" for path, one in best.items())
    told, least, most = (minus(f"{one:.4g}") for one in (value, lower, upper))
    text = (
        f"Best in the forecast (modelled): {named}, {objective} {told} a person; after the selection "
        f"{least} to {most} ({level:.0%})."
    )
    if len(table) == 1:
        return text
    if region.all():
        return f"The data cannot tell these {len(table)} settings apart. {text}"
    if region.sum() > 1:
        parts = []
        for path, tried in values.items():
            kept = set(table.loc[region, path])
            if len(tried) > 1:
                parts.append(f"{path} in {', '.join(str(_shown(one)) for one in tried if _shown(one) in kept)}")
        text += f" {int(region.sum())} of {len(table)} settings cannot be told from it: {'; '.join(parts)}."
    else:
        text += " No other setting comes up to it."
    if lower <= 0 and objective != "caused":
        text += f" That it makes any {objective} is not certain."
    return text


def _shown(value: Any) -> Any:
    return value if isinstance(value, int | float) else str(value)
