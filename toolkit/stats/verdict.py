"""What an experiment means for the one who has to decide, in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from toolkit.readable import minus, priced
from toolkit.stats.comparison import Comparison
from toolkit.stats.looks import ENOUGH

if TYPE_CHECKING:
    from toolkit.stats.result import Result

__all__ = ["Verdict", "amount", "judge"]

_LARGE = 10_000.0
_NAMED = 3  # arms named in one sentence
_ORDER = ("roll out", "keep testing", "stop", "do not roll out")


class Verdict(str):
    """The verdict as text, one sentence a line.

    Attributes:
        action: what to do: `roll out`, `do not roll out`, `keep testing`, `stop` (the plan is complete and nothing was
            found), `do not trust` (the split is not sound) or `look only` (not randomised).
        actions: the same for each arm.
        warnings: what the reader must know before acting.
    """

    __slots__ = ("action", "actions", "warnings")

    action: str
    actions: dict[str, str]
    warnings: tuple[str, ...]

    def __new__(
        cls, text: str, *, action: str, actions: dict[str, str] | None = None, warnings: Sequence[str] = ()
    ) -> Verdict:
        made = super().__new__(cls, text)
        made.action = action
        made.actions = dict(actions or {})
        made.warnings = tuple(warnings)
        return made

    def __repr__(self) -> str:
        return str(self)


def amount(value: float, found: Comparison, *, signed: bool = False, bare: bool = False) -> str:
    """A value of a metric as people write it: points for rates, money with its sign, as exact as its interval.

    Args:
        value: in the metric's unit; a rate as a share.
        found: the comparison it belongs to.
        signed: write a plus, too.
        bare: leave out `points` and `days`, where they stand beside it; money keeps its currency.

    >>> amount(0.0213, Comparison(metric="converted", arm="mail", n_control=1, n=1, kind="rate"), signed=True)
    '+2.1 points'
    >>> yen = Comparison(metric="sales", arm="mail", n_control=1, n=1, currency="JPY", diff_lower=-9e6, diff_upper=7e7)
    >>> amount(36757032.629, yen, signed=True)
    '+36,757,033 JPY'
    >>> amount(-3.02, Comparison(metric="revenue", arm="mail", n_control=1, n=1, currency="EUR"), bare=True)
    '−€3.02'
    """
    scale = 100.0 if found.kind == "rate" else 1.0
    width = found.diff_upper - found.diff_lower
    size = scale * (width if width > 0 and math.isfinite(width) else abs(value))
    digits = 2 if found.currency else 1
    if 0 < size < 1:
        digits = max(digits, min(6, 1 - math.floor(math.log10(size))))
    elif size >= _LARGE:  # digits behind the point of what is known to a hundred at best tell nothing
        digits = 0
    if math.isinf(value):
        return f"{'−' if value < 0 else '+' if signed else ''}unbounded"
    number = minus(f"{value * scale:{'+' if signed else ''},.{digits}f}")
    if found.kind in ("rate", "time"):
        return number if bare else f"{number} {'points' if found.kind == 'rate' else 'days'}"
    return priced(number, found.currency) if found.currency else number


def _each(found: Comparison, result: Result) -> str:
    return f" a {result.unit}" if found.kind == "mean" else ""


def _interval(found: Comparison) -> str:
    if math.isinf(found.diff_lower) and math.isinf(found.diff_upper):
        return "[too early for an interval]"  # a look that spends next to none of alpha
    return f"[{amount(found.diff_lower, found, bare=True)}, {amount(found.diff_upper, found, bare=True)}]"


def _sentence(found: Comparison, result: Result) -> str:
    control, alpha = result.control, result.alpha
    if not found.defined:
        return f"{found.arm} on {found.metric}: no number can be given: {found.note or 'no interval'}."
    if found.role == "guardrail" and found.not_worse is not None:
        margin = amount(found.margin, found)
        said = f"{amount(found.diff, found, signed=True)} {_interval(found)}"
        if found.not_worse:
            return f"{found.arm} does not harm {found.metric} by more than {margin}: {said}."
        certain = " harms" if _harm_certain(found) else " may harm"
        return f"{found.arm}{certain} {found.metric} by more than {margin}: {said}."
    effect = f"{amount(found.diff, found, signed=True)}{_each(found, result)} {_interval(found)}"
    if not found.sure(alpha):
        alone = found.diff_lower > 0 or found.diff_upper < 0  # by itself it would count
        counted = ", all comparisons counted" if alone else ""
        return f"{found.arm} and {control} cannot be told apart on {found.metric}{counted}: {effect}."
    word = "beats" if found.improved else "is worse than"
    return f"{found.arm} {word} {control} on {found.metric}: {effect}."


def _is_money(found: Comparison, alpha: float) -> bool:
    """Whether it is told as what the arm costs or gains: money beside what decides, and established."""
    return bool(found.currency) and found.role == "secondary" and found.defined and found.sure(alpha)


def _money(found: Sequence[Comparison], result: Result) -> list[str]:
    """What the arm costs and what it brings, in one sentence, the size without its sign."""
    parts = []
    for one in sorted(found, key=lambda one: one.better == "higher"):  # what it costs, then what it brings
        verbs = ("costs", "saves") if one.better == "lower" else ("gains", "loses")
        ends = sorted(end if one.diff > 0 else -end for end in (one.diff_lower, one.diff_upper))
        told = f"[{', '.join(amount(end, one, bare=True) for end in ends)}]"
        of = "" if one.metric.casefold() in ("cost", "costs") else f" {one.metric}"
        parts.append(f"{verbs[one.diff < 0]} {amount(abs(one.diff), one)}{of}{_each(one, result)} {told}")
    return [f"It {', '.join(parts[:-1])}{' and ' if parts[:-1] else ''}{parts[-1]}."] if parts else []


def _harm_certain(found: Comparison) -> bool:
    least = found.diff_lower if found.better == "lower" else -found.diff_upper
    return least > found.margin


def judge(result: Result) -> Verdict:
    """The verdict of a result: a sentence for each comparison, what to do, and warnings.

    An arm is rolled out when a primary metric is established to be better (all looks and comparisons counted), no
    primary metric is worse, no money is lost, and every guardrail holds.

    Args:
        result: what `experiment` returned.

    Returns:
        The text with its `.action`, `.actions` and `.warnings`.
    """
    warnings = list(result.notes)
    lines: list[str] = []
    actions: dict[str, str] = {}
    for arm in dict.fromkeys(found.arm for found in result.comparisons):
        mine = [found for found in result.comparisons if found.arm == arm]
        mine.sort(key=lambda found: ("primary", "secondary", "guardrail").index(found.role))
        money = [found for found in mine if _is_money(found, result.alpha)]
        plain = [found for found in mine if found not in money]
        before = [found for found in plain if found.role == "primary"]
        lines += [_sentence(found, result) for found in before]
        lines += _money(money, result)
        lines += [_sentence(found, result) for found in plain if found not in before]
        actions[arm] = _action(mine, result)
    best = min(actions, key=lambda arm: (_ORDER.index(actions[arm]), *_losses(result, arm)))
    action = actions[best]
    others = [arm for arm, what in actions.items() if what == "roll out" and arm != best]
    if result.split is not None and result.split.alarm:
        action = "do not trust"
        warnings.insert(
            0, f"{result.split}; something other than chance decided who got what, find out before reading on"
        )
    elif result.label != "randomised":
        action = "look only"
        warnings.insert(0, "the arms were not drawn at random: the difference may have other causes than the mail")
    if action == "roll out" and others:
        decides = next(found.metric for found in result.comparisons if found.role == "primary")
        told = " or ".join(others) if len(others) <= _NAMED else f"the {len(others)} others that beat {result.control}"
        lines.append(f"{best} shows the most on {decides}; to hold {told} against it, take control={best!r}.")
    lines.append(_advice(action, best, actions))
    lines += [f"Warning: {warning}." for warning in warnings]
    return Verdict("\n".join(lines), action=action, actions=actions, warnings=warnings)


def _advice(action: str, best: str, actions: dict[str, str]) -> str:
    if action == "do not trust":
        return "Do not trust these numbers."
    if action == "look only":
        return "Look only: this is no proof of an effect."
    if action == "roll out":
        return f"Roll out {best}."
    if action == "keep testing":
        lost = [arm for arm, what in actions.items() if what == "do not roll out"]
        further = f"; do not roll out {' or '.join(lost)}" if lost else ""
        return f"Keep testing {' and '.join(arm for arm, what in actions.items() if what == action)}{further}."
    if action == "stop":
        return "Stop: the plan is complete and no effect was shown."
    return f"Do not roll out {' or '.join(actions)}."


def _action(mine: Sequence[Comparison], result: Result) -> str:
    primary = [found for found in mine if found.role == "primary"]
    sure = [found for found in mine if found.sure(result.alpha)]
    loses_money = any(found.currency and found.better == "higher" and found.worse for found in sure)
    guards = [found for found in mine if found.role == "guardrail"]
    if any(found.worse for found in sure if found.role == "primary") or loses_money:
        return "do not roll out"
    if any(found.defined and found.not_worse is False and _harm_certain(found) for found in guards):
        return "do not roll out"
    won = [found for found in primary if found in sure and found.improved]
    bounds = [found for found in primary if found.metric.endswith(("(at least)", "(at most)"))]
    if won and all(found in won for found in bounds):
        return "roll out" if all(found.not_worse for found in guards) else "keep testing"
    return "stop" if _is_complete(mine, result) else "keep testing"


def _is_complete(mine: Sequence[Comparison], result: Result) -> bool:
    """Whether as many units are there as were planned; a confidence sequence without a design has no end."""
    design = result.design
    if design is not None:
        units = max((found.n_control for found in mine), default=0)
        return units >= ENOUGH * design.units * design.arms.get(result.control, 1.0)
    if result.look is None or result.looks is None or result.looks.spending == "always":
        return False
    return result.look.time >= ENOUGH


def _losses(result: Result, arm: str) -> tuple[float, ...]:
    """What the arm loses on each primary metric, the first of which counts most; a gain is below 0."""
    found = [one for one in result.comparisons if one.arm == arm and one.role == "primary"]
    return tuple(
        math.inf if math.isnan(one.diff) else -one.diff if one.better == "higher" else one.diff for one in found
    )
