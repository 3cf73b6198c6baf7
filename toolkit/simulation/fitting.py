"""Fit: a response model from sends that chance decided, shrunken, with its uncertainty; alone or with a prior."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import logit

from toolkit.arrow import TableLike
from toolkit.errors import InputError, MetricError, check_flag
from toolkit.scenario.duration import Duration
from toolkit.simulation.doors import (
    check_money,
    check_response,
    check_seed,
    check_share,
    check_text,
    checked_window,
)
from toolkit.simulation.model import ResponseModel
from toolkit.simulation.model_shape import DURATIONS, Axis, axis_value
from toolkit.simulation.quantity import Kind, Quantity
from toolkit.simulation.sends import checked_sends, flags_of, numbers_of
from toolkit.stats import Rate, plan

__all__ = ["fit"]

Floats = npt.NDArray[np.float64]
FEWEST_CONVERSIONS = 20
_SAMPLES = 4000
_NINETY = (0.05, 0.5, 0.95)


def fit(
    sends: TableLike,
    *,
    prior: ResponseModel | None = None,
    margin: float | None = None,
    mail_cost: float | None = None,
    window: str | Duration = "7d",
    name: str = "fitted",
    insist: bool = False,
    seed: int = 1,
) -> ResponseModel:
    """A response model from sends that chance decided.

    The effect of a mail at each delay and offer tried is the difference in purchases between people mailed so and
    people left out at the same moment. The effects are shrunken towards a trend along delay and offer, as far
    as their noise says (normal hierarchy, its spread integrated out), or, with a prior, combined with what it holds.

    Args:
        sends: one row per person at the moment when a mail was due: sent (True, or False for the holdout), converted
            (bought in the window after that moment); and, where there is more than one, delay (hours after the
            trigger) and offer (percent off). Also used, where present: opened, clicked, unsubscribed, used_offer. It
            is randomised when it has a column `propensity` (the chance of what was done), or `randomised=True` in
            `sends.attrs["toolkit"]`, as `measure` sets it.
        prior: what was held before; the data update it.
        margin: share of the price that an order earns, 0..1; the prior's unless given.
        mail_cost: what a mail costs, in the log's currency.
        window: how long after the moment `converted` looks.
        name: of the model.
        insist: fit although nothing shows that chance decided; the model then carries a label that says so.
        seed: where the chance of the posterior draws comes from.

    Returns:
        The model: every number with its 90% interval and source; effects drawn jointly.

    Raises:
        MetricError: a column is missing, holds texts, or has values missing; what was done was not randomised.
        InputError: too few conversions; says how many are needed. A number out of its range.

    Reference: Gelman et al. (2013), Bayesian Data Analysis, section 5.4.
    """
    check_flag(insist, name="insist")
    check_text("name", name)
    sends, notes = _door(sends, insist=insist)
    check_seed(seed)
    if prior is not None:
        check_response(prior, name="prior")
    check_share("margin", margin, of="the price")
    check_money("mail_cost", mail_cost)
    within = checked_window(window)
    sent, converted = flags_of(sends, "sent"), flags_of(sends, "converted")
    delay = numbers_of(sends, "delay", what="hours after the trigger") if "delay" in sends else np.zeros(len(sends))
    if (delay < 0).any():
        raise InputError(f"delay: found {float(delay.min()):g} hours; allowed: 0 or more")
    offer = np.zeros(len(sends))
    if "offer" in sends:
        offer = np.where(sent, numbers_of(sends, "offer", among=sent, what="percent off"), 0.0)
    wrong = (offer < 0) | (offer > 100)
    if wrong.any():
        raise InputError(f"offer: found {float(offer[wrong][0]):g}% off; allowed: 0 to 100")
    _enough(sent, converted)
    cells = _cells(sent, converted, delay, offer)
    rng = np.random.default_rng([seed % 2**64, 11])
    source = f"fitted on {int(sent.sum()):,} {'randomised ' if not notes else ''}sends, {int((~sent).sum()):,} left out"
    held = None if prior is None else _held(prior, cells)
    drawn = _posterior(cells, rng, held)
    numbers: dict[str, Quantity] = dict(prior.numbers) if prior else {}
    for path in [path for path in numbers if path.startswith("buys.")]:
        del numbers[path]
    samples: dict[str, Floats] = {}

    def learn(path: str, kind: Kind, values: Floats, told: str) -> None:
        low, likely, high = (float(one) for one in np.quantile(values, _NINETY))
        numbers[path], samples[path] = Quantity(likely, low, high, kind, told), values

    updated = source if prior is None else f"{source}; updates {prior.name!r}"
    for place, (hours, percent) in enumerate(cells.keys):
        learn(f"buys.grid.{percent:g}.{_hours(hours)}", "effect", np.clip(drawn[:, place], -1, 1), updated)
    for column, path, among in (
        ("opened", "opens.rate", sent),
        ("unsubscribed", "unsubscribes.rate", sent),
        ("clicked", "clicks.rate", flags_of(sends, "opened", among=sent) if "opened" in sends else sent),
    ):
        if column in sends and among.any():
            hits, count = int(flags_of(sends, column, among=among).sum()), int(among.sum())
            before = prior.numbers.get(path) if prior else None
            learn(path, "rate", _rate(hits, count, before, rng), updated if before else source)
    if "used_offer" in sends and (offer > 0).any():
        values = _uses(flags_of(sends, "used_offer", among=sent & converted), sent, offer, cells, drawn, rng)
        learn("offers.used_anyway", "rate", values, source)
    for path, value in (("order.margin", margin), ("costs.mail", mail_cost)):
        if value is not None:
            numbers[path] = Quantity(value, value, value, "rate" if path == "order.margin" else "money", "given")
    return ResponseModel(
        name=name,
        source=source if prior is None else f"{prior.source}; {source}",
        numbers=numbers,
        times={**(prior.times if prior else DURATIONS), "window": within},
        samples=samples,
        notes=tuple(notes),
    )


def _door(given: TableLike, *, insist: bool) -> tuple[pd.DataFrame, list[str]]:
    sends = checked_sends(given, ("sent", "converted"))
    about = sends.attrs.get("toolkit", {})
    if "propensity" in sends or about.get("randomised") is True:
        return sends, []
    why = about.get("why", "the sends have no column propensity, and nothing says that chance decided them")
    if not insist:
        raise MetricError(
            f"not randomised: {why}. What differs between people mailed and not may then be the people, not the mail; "
            "pass insist=True to fit all the same, and the model will say so"
        )
    note = f"not randomised, fitted on insistence: {why}; its effects may be those of the people, not of the mails"
    return sends, [note]


def _enough(sent: npt.NDArray[np.bool_], converted: npt.NDArray[np.bool_]) -> None:
    for among, who in ((sent, "mailed"), (~sent, "left out")):
        count, hits = int(among.sum()), int(converted[among].sum())
        if hits >= FEWEST_CONVERSIONS:
            continue
        rate = max(hits, 1) / max(count, 1)
        needed = math.ceil(FEWEST_CONVERSIONS / rate)
        text = (
            f"too few conversions to fit: {hits:,} of {count:,} people {who}; at least {FEWEST_CONVERSIONS} are "
            f"needed, at this rate about {max(needed, FEWEST_CONVERSIONS):,} people"
        )
        base = float(converted.mean())
        if 0 < base < 0.5:
            text += f"; to find that mails add a fifth, {plan(Rate('converted'), baseline=base, rel=0.2).units:,}"
        raise InputError(text)


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Effects by delay and offer, their covariance, and what people do on their own after each delay."""

    keys: list[tuple[float, float]]
    effects: Floats
    covariance: Floats
    own: Floats
    own_variance: Floats
    counts: Floats


def _cells(sent: npt.NDArray[np.bool_], converted: npt.NDArray[np.bool_], delay: Floats, offer: Floats) -> _Cells:
    keys = sorted(set(zip(delay[sent].tolist(), offer[sent].tolist(), strict=True)))
    if len(keys) > 100:
        raise InputError(f"{len(keys):,} different delays and offers; round them to at most 100 before fitting")
    controls = {}
    for hours in {hours for hours, _ in keys}:
        here = ~sent & (delay == hours)
        if not here.any():
            raise InputError(
                f"nobody was left out {_hours(hours)} after the trigger: what people do on their own depends on when "
                "one looks, so each delay needs people left out at that moment"
            )
        controls[hours] = (float(converted[here].mean()), int(here.sum()))
    effects, own, own_variance, counts = (np.zeros(len(keys)) for _ in range(4))
    covariance = np.zeros((len(keys), len(keys)))
    for place, (hours, percent) in enumerate(keys):
        here = sent & (delay == hours) & (offer == percent)
        n, rate = int(here.sum()), float(converted[here].mean())
        base, m = controls[hours]
        left = 1 - base
        effects[place], own[place], counts[place] = (rate - base) / left, base, n
        own_variance[place] = (base * m + 0.5) * (m - base * m + 0.5) / (m + 1) ** 2 / m
        smooth = (converted[here].sum() + 0.5) / (n + 1)
        covariance[place, place] = smooth * (1 - smooth) / n / left**2
        for other, (same, _) in enumerate(keys):
            if same == hours:
                # d/db (r - b) / (1 - b) = (r - 1) / (1 - b)^2: a shared control moves all cells of its delay alike.
                covariance[place, other] += own_variance[place] * (1 - effects[place]) ** 2 / left**2
    return _Cells(keys, effects, covariance, own, own_variance, counts)


def _posterior(cells: _Cells, rng: np.random.Generator, held: tuple[Floats, Floats] | None) -> Floats:
    """Draws of the effects: with a prior its normal approximation, else a hierarchy with its spread integrated out."""
    count = len(cells.keys)
    noise = cells.covariance
    if held is not None:
        mean, spread = held
        gain = spread @ np.linalg.inv(spread + noise)
        return _normal(rng, mean + gain @ (cells.effects - mean), spread - gain @ spread, _SAMPLES)
    x = _trend(cells)
    if count <= x.shape[1]:
        return _normal(rng, cells.effects, noise, _SAMPLES)
    top = 3 * max(float(np.ptp(cells.effects)), float(np.sqrt(np.diag(noise)).max()))
    spreads = np.linspace(top / 200, top, 60)
    weights = np.empty(len(spreads))
    parts = []
    for place, spread in enumerate(spreads):
        inverse = np.linalg.inv(noise + spread**2 * np.eye(count))
        precision = x.T @ inverse @ x
        slopes = np.linalg.solve(precision, x.T @ inverse @ cells.effects)
        rest = cells.effects - x @ slopes
        weights[place] = 0.5 * (np.linalg.slogdet(inverse)[1] - np.linalg.slogdet(precision)[1] - rest @ inverse @ rest)
        parts.append((inverse, np.linalg.inv(precision), np.asarray(slopes, dtype=np.float64)))
    chance = np.exp(weights - weights.max())
    draws = rng.multinomial(_SAMPLES, chance / chance.sum())
    found = []
    for spread, (inverse, uncertain, slopes), times in zip(spreads, parts, draws, strict=True):
        if times:
            centres = _normal(rng, slopes, uncertain, times) @ x.T
            gain = spread**2 * inverse
            mean = centres + (cells.effects - centres) @ gain.T
            left = spread**2 * np.eye(count) - spread**2 * gain
            found.append(mean + _normal(rng, np.zeros(count), (left + left.T) / 2, times))
    drawn = np.concatenate(found)
    rng.shuffle(drawn)
    return drawn


def _normal(rng: np.random.Generator, mean: Floats, covariance: npt.NDArray[np.floating[Any]], count: int) -> Floats:
    """Normal draws; a covariance that rounding left not quite symmetric is one all the same."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    z = rng.standard_normal((count, len(mean)))
    return np.asarray(mean + z * np.sqrt(np.maximum(values, 0)) @ vectors.T)


def _trend(cells: _Cells) -> Floats:
    """Along what effects are alike: a level, the logarithm of the delay, and the offer, where they vary."""
    delay = np.log1p([hours for hours, _ in cells.keys])
    offer = np.array([percent for _, percent in cells.keys])
    return np.column_stack(
        [np.ones(len(delay)), *((axis - axis.mean()) / axis.std() for axis in (delay, offer) if np.ptp(axis) > 0)]
    )


def _held(prior: ResponseModel, cells: _Cells) -> tuple[Floats, Floats]:
    """Mean and covariance of what a prior says of each cell."""
    values = prior.draws(_SAMPLES, 17)
    if "buys.rate" not in values:
        raise InputError("prior: it has no buys.rate to update; fit without a prior, or state one")
    rows = []
    for hours, percent in cells.keys:
        rate = values["buys.rate"].copy()
        axes: tuple[tuple[str, Axis, float], ...] = (("by_delay", "delay", hours), ("by_offer", "offer", percent))
        for curve, axis, at in axes:
            start = f"buys.{curve}."
            paths = [path for path in values if path.startswith(start)]
            points = sorted((axis_value(axis, path.removeprefix(start)), path) for path in paths)
            log = axis == "delay"
            if points:
                x = np.array([point for point, _ in points])
                y = np.column_stack([values[path] for _, path in points])
                rate *= _along(y, np.log1p(x) if log else x, math.log1p(at) if log else at)
        rows.append(rate)
    drawn = np.array(rows)
    return drawn.mean(axis=1), np.atleast_2d(np.cov(drawn)) + 1e-12 * np.eye(len(rows))


def _along(y: Floats, x: Floats, at: float) -> Floats:
    right = min(int(np.searchsorted(x, at)), len(x) - 1)
    left = max(0, right - 1)
    share = np.clip((at - x[left]) / (x[right] - x[left]), 0, 1) if right > left else 1.0
    return np.asarray((1 - share) * y[:, left] + share * y[:, right])


def _rate(hits: int, count: int, before: Quantity | None, rng: np.random.Generator) -> Floats:
    """A rate from counts (Jeffreys), with a prior as so many earlier sends as its range is worth."""
    a, b = 0.5, 0.5
    if before is not None and not before.known and before.low > 0 and before.high < 1:
        spread = float(logit(before.high) - logit(before.low)) / (2 * 1.6449)
        worth = 1 / (spread**2 * before.likely * (1 - before.likely))
        a, b = before.likely * worth, (1 - before.likely) * worth
    return rng.beta(a + hits, b + count - hits, _SAMPLES)


def _uses(
    used: npt.NDArray[np.bool_],
    sent: npt.NDArray[np.bool_],
    offer: Floats,
    cells: _Cells,
    drawn: Floats,
    rng: np.random.Generator,
) -> Floats:
    """The share of own purchases that use an offer: all uses, less those of purchases that the mail brought about."""
    offered = np.array([percent > 0 for _, percent in cells.keys])
    weight = cells.counts[offered] / cells.counts[offered].sum()
    n = int((sent & (offer > 0)).sum())
    uses = rng.beta(0.5 + used[sent & (offer > 0)].sum(), 0.5 + n - used[sent & (offer > 0)].sum(), _SAMPLES)
    own = rng.normal(cells.own[offered], np.sqrt(cells.own_variance[offered]), (_SAMPLES, int(offered.sum())))
    caused = (drawn[:, offered] * (1 - own)) @ weight
    return np.asarray(np.clip((uses - caused) / np.maximum(own @ weight, 1e-9), 0.0, 1.0))


def _hours(hours: float) -> str:
    return str(Duration(0, round(hours * 3_600_000_000)))
