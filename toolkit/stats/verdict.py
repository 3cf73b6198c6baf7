"""What an experiment means for the one who has to decide, in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from toolkit.stats.comparison import Comparison
from toolkit.stats.srm import SampleRatio

__all__ = ["Verdict", "amount", "judge"]

_SIGNS = {"EUR": "€", "USD": "$", "GBP": "£"}


class Verdict(str):
    """The verdict as text, one sentence a line.

    Attributes:
        action: what to do: `roll out`, `do not roll out`, `keep testing`, `do not trust` or `look only`.
        warnings: what the reader must know before acting.
    """

    __slots__ = ("action", "warnings")

    action: str
    warnings: tuple[str, ...]

    def __new__(cls, text: str, *, action: str, warnings: Sequence[str] = ()) -> Verdict:
        made = super().__new__(cls, text)
        made.action = action
        made.warnings = tuple(warnings)
        return made

    def __repr__(self) -> str:
        return str(self)


def amount(value: float, found: Comparison, *, signed: bool = False, width: float = math.nan) -> str:
    """A value of a metric as people write it: points for rates, money with its sign.

    >>> amount(0.0213, Comparison(metric="converted", arm="mail", n_control=1, n=1, kind="rate"), signed=True)
    '+2.1 points'
    """
    scale = 100.0 if found.kind == "rate" else 1.0
    size = abs(width if width > 0 and math.isfinite(width) else value) * scale
    digits = 2 if found.currency else 1
    if size > 0 and math.isfinite(size):
        digits = max(digits, min(6, 1 - math.floor(math.log10(size)))) if size < 1 else digits
    number = f"{abs(value) * scale:,.{digits}f}"
    sign = "-" if value < 0 else ("+" if signed else "")
    if found.kind == "rate":
        return f"{sign}{number} points" if signed else f"{sign}{number} %"
    if found.currency:
        symbol = _SIGNS.get(found.currency)
        return f"{sign}{symbol}{number}" if symbol else f"{sign}{number} {found.currency}"
    return f"{sign}{number}"


def _span(found: Comparison) -> str:
    width = found.diff_upper - found.diff_lower
    bare: dict[str, Any] = {"width": width}
    ends = [
        amount(end, found, signed=True, **bare).replace(" points", "") for end in (found.diff_lower, found.diff_upper)
    ]
    return f"{amount(found.diff, found, signed=True, **bare)} [{ends[0]}, {ends[1]}]"


def _sentence(found: Comparison, control: str, alpha: float) -> str:
    if not found.defined:
        return f"{found.arm} on {found.metric}: no number can be given: {found.note}."
    sure = found.pvalue < alpha
    per_unit = "" if found.kind in ("rate", "time") else " a unit"
    if sure:
        word = "beats" if found.improved else "is worse than"
        return f"{found.arm} {word} {control} on {found.metric}: {_span(found)}{per_unit}."
    return f"{found.arm} and {control} cannot be told apart on {found.metric}: {_span(found)}{per_unit}."


def judge(
    comparisons: Sequence[Comparison],
    *,
    alpha: float,
    control: str,
    label: str,
    split: SampleRatio | None,
    notes: Sequence[str],
) -> Verdict:
    """The verdict of some comparisons.

    Args:
        comparisons: every arm against control on every metric.
        alpha: two-sided chance of a false alarm.
        control: name of control.
        label: `randomised`, or `observed, not randomised`.
        split: the test of the split, where weights are known.
        notes: what else the reader must know.

    Returns:
        The text with its `.action` and `.warnings`.
    """
    warnings = list(notes)
    if split is not None and split.alarm:
        warnings.insert(0, f"{split}: something other than chance decided who got what; find out before reading on")
    lines = [_sentence(found, control, alpha) for found in comparisons]
    primary = [found for found in comparisons if found.role == "primary"]
    won = [found for found in primary if found.pvalue < alpha and found.improved]
    lost = [found for found in primary if found.pvalue < alpha and not found.improved]
    if split is not None and split.alarm:
        action = "do not trust"
    elif label != "randomised":
        action = "look only"
        warnings.insert(0, "the arms were not drawn at random: the difference may have other causes than the mail")
    elif lost:
        action = "do not roll out"
    elif won:
        action = "roll out"
    else:
        action = "keep testing"
    lines.append(f"{action[0].upper()}{action[1:]}.")
    lines += [f"Warning: {warning}." for warning in warnings]
    return Verdict("\n".join(lines), action=action, warnings=warnings)
