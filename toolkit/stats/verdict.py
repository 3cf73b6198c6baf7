"""What an experiment means for the one who has to decide, in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from toolkit.readable import minus, priced
from toolkit.stats.comparison import Comparison
from toolkit.stats.looks import ENOUGH
from toolkit.stats.pairs import by_gain

if TYPE_CHECKING:
    from toolkit.stats.result import Result

__all__ = ["Verdict", "amount", "judge"]

_LARGE = 10_000.0
_NAMED = 3  # arms named in one sentence
_ORDER = ("roll out", "keep testing", "cannot decide", "stop", "do not roll out")


class Verdict(str):
    """The verdict as text, one sentence a line.

    Attributes:
        action: what to do: `roll out`, `do not roll out`, `keep testing`, `stop` (the plan is complete and nothing was
            found), `cannot decide` (what has to decide has no number, and more people do not change that), `do not
            trust` (the split is not sound) or `look only` (not randomised).
        actions: the same for each arm.
        advised: the arm to roll out; None where none is.
        warnings: what the reader must know before acting.
    """

    __slots__ = ("action", "actions", "advised", "warnings")

    action: str
    actions: dict[str, str]
    advised: str | None
    warnings: tuple[str, ...]

    def __new__(
        cls,
        text: str,
        *,
        action: str,
        actions: dict[str, str] | None = None,
        advised: str | None = None,
        warnings: Sequence[str] = (),
    ) -> Verdict:
        made = super().__new__(cls, text)
        made.action = action
        made.actions = dict(actions or {})
        made.advised = advised
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
    effect = _effect(found, result)
    if not found.sure(alpha):
        return f"{found.arm} and {control} cannot be told apart on {found.metric}{_counted(found)}: {effect}."
    word = "beats" if found.improved else "is worse than"
    return f"{found.arm} {word} {control} on {found.metric}: {effect}."


def _effect(found: Comparison, result: Result) -> str:
    return f"{amount(found.diff, found, signed=True)}{_each(found, result)} {_interval(found)}"


def _counted(found: Comparison) -> str:
    """Said of what is not established although it would be by itself."""
    return ", all comparisons counted" if found.diff_lower > 0 or found.diff_upper < 0 else ""


def _between(best: str, others: Sequence[str], result: Result) -> tuple[list[str], str]:
    """The arm that gains most held against the others to be rolled out, in words; and which of these may do as well."""
    pairs = [pair for pair in result.pairs if pair.arm == best and pair.against in others]
    decides = pairs[0].metric
    beaten = {pair.against for pair in pairs if pair.metric == decides and pair.sure(result.alpha) and pair.improved}
    worse = {pair.against for pair in pairs if pair.sure(result.alpha) and pair.worse}
    level = [arm for arm in others if arm not in beaten - worse]
    named = " or ".join(level) if len(level) <= _NAMED else f"{len(level)} others"
    as_well = f", which shows the most on {decides}; {named} may do as well" if level else ""
    if len(others) <= _NAMED:
        return [_pair_sentence(pair, result) for pair in pairs], as_well
    told = f"{best} beats {len(beaten)} of the {len(others)} others that beat {result.control}, on {decides}"
    apart = len(others) - len(beaten)
    further = f"; between it and {apart} of them nothing is shown (result.between holds each pair)" if apart else ""
    return [f"{told}{further}."], as_well


def _pair_sentence(pair: Comparison, result: Result) -> str:
    both = f"{pair.arm} and {pair.against} both beat {result.control}"
    if not pair.defined:
        return f"{both}; on {pair.metric} they cannot be held against each other: {pair.note or 'no interval'}."
    effect = _effect(pair, result)
    if pair.sure(result.alpha):
        word = "beats" if pair.improved else "is worse than"
        return f"{pair.arm} {word} {pair.against}{', too,' if pair.improved else ''} on {pair.metric}: {effect}."
    shown = f"between them nothing is shown on {pair.metric}{_counted(pair)}"
    return f"{both}; {shown}: the difference is {effect}."


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
    best = min(by_gain(list(actions), result.comparisons), key=lambda arm: _ORDER.index(actions[arm]))
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
    advised = best if action == "roll out" else None
    told, as_well = _between(best, others, result) if advised and others else ([], "")
    lines += [*told, _advice(action, f"{best}{as_well}", actions, result)]
    lines += [f"Warning: {warning}." for warning in warnings]
    return Verdict("\n".join(lines), action=action, actions=actions, advised=advised, warnings=warnings)


def _advice(action: str, best: str, actions: dict[str, str], result: Result) -> str:
    if action == "do not trust":
        return "Do not trust these numbers."
    if action == "look only":
        return "Look only: this is no proof of an effect."
    if action == "roll out":
        return f"Roll out {best}."
    if action in ("keep testing", "cannot decide"):
        lost = [arm for arm, what in actions.items() if what == "do not roll out"]
        further = f"; do not roll out {' or '.join(lost)}" if lost else ""
        mute = [arm for arm, what in actions.items() if what == "cannot decide"]
        if action == "cannot decide":
            return f"N{_undecided(mute, result)[1:]}{further}."
        further += f"; {_undecided(mute, result)}" if mute else ""
        return f"Keep testing {' and '.join(arm for arm, what in actions.items() if what == action)}{further}."
    if action == "stop":
        return "Stop: the plan is complete and no effect was shown."
    return f"Do not roll out {' or '.join(actions)}."


def _undecided(arms: Sequence[str], result: Result) -> str:
    about = f"nothing can be decided about {' and '.join(arms)}"
    deciding = [one for one in result.comparisons if one.arm in arms and one.role != "secondary"]
    if not any(one.role == "primary" for one in deciding):
        return f"{about}: no metric is primary, so give the one that decides role='primary'"
    mute = [one for one in deciding if _is_mute(one)]
    named = " and ".join(dict.fromkeys(one.metric for one in mute))
    other = ", or let another metric decide" if all(one.role == "primary" for one in mute) else ""
    return f"{about} while {named} has no number: more people give it none, so see to the reason above{other}"


def _is_mute(found: Comparison) -> bool:
    """Whether there is no number, nor would there be one with more people like these."""
    told = not math.isnan(found.diff) and found.kind != "quantile"  # the values of each arm are all the same so far
    return not (found.defined or told) and min(found.n, found.n_control) > 1


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
        if all(found.not_worse for found in guards):
            return "roll out"
        return "cannot decide" if any(map(_is_mute, guards)) else "keep testing"
    if all(map(_is_mute, primary)):
        return "cannot decide"
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
