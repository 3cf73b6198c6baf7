"""Experiments as plain SVG for screens: what more people would show, every arm against control, and the looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise

from toolkit.charts.vector import Axes, fit_name, fit_text, nice_steps, shape, svg, text_width, words
from toolkit.readable import minus
from toolkit.stats import Plan, Result
from toolkit.stats.comparison import Comparison
from toolkit.stats.looks import Look
from toolkit.stats.verdict import amount

__all__ = ["boundary_svg", "forest_svg", "power_svg"]

_WIDE = 560.0
_CLOSE = 90.0  # pixels between two lines whose words would touch


def power_svg(plan: Plan, *, width: float = _WIDE) -> str:
    """The chance to find the planned effect, by days where entries are known, else by units; the plan is marked.

    Args:
        plan: from `toolkit.stats.plan`.
        width: of the picture, pixels.

    Returns:
        SVG.
    """
    by_days = not math.isnan(plan.days)
    most = plan.units * 2.0
    sizes = [max(2.0, most * (place / 40) ** 1.5) for place in range(41)]
    curve = [(plan.days_with(size) if by_days else size, plan.power_at(size)) for size in sizes]
    curve = [point for point in curve if all(map(math.isfinite, point))]
    if not curve:
        return ""
    right = max(x for x, _ in curve)
    axes = Axes(width, 240, (0.0, right), (0.0, 1.0), left=46, top=28, bottom=42)
    unit = "days until the last window has closed" if by_days else "people in all arms"
    parts = axes.frame(
        x_ticks=[(step, f"{step:,.0f}") for step in nice_steps(0, right, 7 if width > 450 else 4)],
        y_ticks=[(step, f"{100 * step:.0f}%") for step in (0, 0.2, 0.4, 0.6, 0.8, 1.0)],
        x_title=unit,
        y_title="chance to find it",
    )
    parts.append(axes.band([(x, 0.0, y) for x, y in curve]))
    parts.append(axes.line(curve))
    here = plan.days if by_days else float(plan.units)
    if math.isfinite(here):
        x, y = axes.at_x(here), axes.at_y(plan.power_at(plan.units))
        parts.append(shape("line", x1=x, x2=x, y1=axes.at_y(0), y2=y, class_="ttk-zero"))
        parts.append(shape("circle", cx=x, cy=y, r=5, class_="ttk-dot"))
        text = f"{plan.units:,} people" + (f", {here:,.0f} days" if by_days else "")
        # Beside the point, or where there is no room for them, below the curve.
        last = width - axes.right - 1.1 * text_width(text)
        place = (x + 9, y + 18) if x + 9 < last else (max(axes.left, last), axes.at_y(0.07))
        parts.append(words(*place, text, class_="ttk-strong ttk-halo"))
    said = f"Curve: chance to find the effect; {100 * plan.power:.0f}% with {plan.units:,} people"
    return svg(width, 240, *parts, label=said)


def forest_svg(result: Result, *, width: float = 760.0) -> str:
    """Every arm against control on every metric, each with its interval; a metric has its own scale.

    Args:
        result: from `toolkit.stats.experiment`.
        width: of the picture, pixels; below 600 the numbers beside the lines are left out.

    Returns:
        SVG.
    """
    rows: list[str] = []
    y = 18.0
    # Of each comparison the difference and its interval stand side by side at the right, where there is room for them.
    told = [1.1 * text_width("  ".join(_told(one))) for one in result.comparisons if one.defined]
    number_wide = max([190.0, *(wide + 24 for wide in told)])
    # As wide as the longest name, as long as half of the picture is left for the lines.
    longest = max((text_width(one.arm) + 30 for one in result.comparisons), default=0.0)
    name_wide, number_wide, wide = (
        (min(max(168.0, longest), max(168.0, width - number_wide - width * 0.4)), number_wide, width)
        if width >= 600
        else (min(max(92.0, longest), width * 0.4), 0.0, width)
    )
    for metric in dict.fromkeys(found.metric for found in result.comparisons):
        mine = [found for found in result.comparisons if found.metric == metric]
        role = mine[0].role
        rows.append(words(0, y, metric, class_="ttk-strong"))
        said = f"{role} metric" if role else ""
        if role and text_width(metric) + text_width(f"{said} · against {result.control}") + 16 < wide:
            said = f"{said} · against {result.control}"
        at = min(max(name_wide, text_width(metric) + 20), max(text_width(metric) + 12, wide - text_width(said) - 4))
        rows.append(words(at, y, fit_text(said, wide - at), opacity=0.9))
        y += 10
        ends = [end for found in mine for end in (found.diff_lower, found.diff_upper, found.diff) if math.isfinite(end)]
        margins = [_harm(found) for found in mine if math.isfinite(found.margin)]
        ends += margins
        low, high = min([0.0, *ends]), max([0.0, *ends])
        pad = 0.08 * ((high - low) or 1.0)
        axes = Axes(wide - number_wide, 0, (low - pad, high + pad), (0, 1), left=name_wide, right=8)
        high_of_row = 30.0
        zero = axes.at_x(0)
        bottom = y + high_of_row * len(mine)
        if any(found.defined for found in mine):
            rows.append(shape("line", x1=zero, x2=zero, y1=y, y2=bottom, class_="ttk-zero"))
        for found in mine:
            numbers = (wide - number_wide + 10, wide - 10) if number_wide else None
            rows += _row(found, axes, y + high_of_row / 2, numbers, result.alpha)
            y += high_of_row
        if any(found.defined for found in mine):
            rows += _below(zero, [axes.at_x(one) for one in margins], y + 13, wide - number_wide)
        y += 44
    return svg(wide, max(40.0, y - 24), *rows, label=f"Forest plot: {len(result.comparisons)} comparisons with control")


def _told(found: Comparison) -> tuple[str, str]:
    """The difference and its interval, in words."""
    ends = [amount(end, found, bare=True) for end in (found.diff_lower, found.diff_upper)]
    return amount(found.diff, found, signed=True), f"[{', '.join(ends)}]"


def _row(found: Comparison, axes: Axes, y: float, numbers: tuple[float, float] | None, alpha: float) -> list[str]:
    name = fit_name(found.arm, axes.left - 18)
    whole = shape("title", escape(found.arm)) if name != found.arm else ""
    parts = [shape("g", whole, words(12, y + 4, name))]
    if not found.defined:
        room = (numbers[1] if numbers else axes.width) - axes.left
        return [*parts, words(axes.left, y + 4, fit_text(found.note or "undefined", room))]
    sure = found.sure(alpha)
    color = (
        "var(--observed,#00734d)"
        if sure and found.improved
        else "var(--gift,#d55e00)"
        if sure
        else "var(--soft,#717989)"
    )
    ends = (max(found.diff_lower, axes.x[0]), min(found.diff_upper, axes.x[1]))  # one without an end leaves the picture
    low, high, middle = axes.at_x(ends[0]), axes.at_x(ends[1]), axes.at_x(found.diff)
    parts.append(shape("line", x1=low, x2=high, y1=y, y2=y, stroke=color, stroke_width=3, stroke_linecap="round"))
    closed = [x for x, end in ((low, found.diff_lower), (high, found.diff_upper)) if math.isfinite(end)]
    parts += [shape("line", x1=x, x2=x, y1=y - 5, y2=y + 5, stroke=color, stroke_width=2) for x in closed]
    # Filled where the difference is established, hollow where it is not: the colour is not alone.
    fill = color if sure else "var(--card,#fff)"
    parts.append(shape("circle", cx=middle, cy=y, r=5.5, fill=fill, stroke=color, stroke_width=2.2))
    if math.isfinite(found.margin):
        x = axes.at_x(_harm(found))
        parts.append(shape("line", x1=x, x2=x, y1=y - 11, y2=y + 11, class_="ttk-line-2"))
    if numbers is None:
        return parts
    text, span = _told(found)
    parts.append(words(numbers[0], y + 4, text, class_="ttk-strong"))
    parts.append(words(numbers[1], y + 4, span, anchor="end"))
    return parts


def _harm(found: Comparison) -> float:
    """Where a guardrail's harm begins."""
    return -found.margin if found.better == "higher" else found.margin


def _below(zero: float, margins: Sequence[float], y: float, right: float) -> list[str]:
    """The words under a metric's lines; those of two lines that are close go apart."""
    if not margins:
        return [words(zero, y, "no difference", anchor="middle")]
    harm = max(margins, key=lambda x: abs(x - zero))
    apart = ("end", "start") if harm > zero else ("start", "end")
    sides = ("middle", "middle") if abs(harm - zero) > _CLOSE else apart
    if harm > right - 36:  # a word in the middle would leave the picture
        harm, sides = right, (sides[0], "end")
    texts = ((zero, "no difference"), (harm, "harm begins"))
    return [words(x, y, text, anchor=side) for (x, text), side in zip(texts, sides, strict=True)]


def _apart(places: Sequence[float], gap: float) -> list[float]:
    """Places of words, each at least a gap from the next, in the order given."""
    moved = list(places)
    order = sorted(range(len(moved)), key=lambda at: moved[at])
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + gap)
    return moved


def boundary_svg(look: Look, statistics: Sequence[tuple[str, float]], *, width: float = _WIDE) -> str:
    """The boundary that an effect has to cross, look by look, and where each arm stands today.

    Args:
        look: today's.
        statistics: arm and its z today, upwards when it is better.
        width: of the picture, pixels.

    Returns:
        SVG.
    """
    needed = f"|z| of {look.bound:.2f} needed today" if math.isfinite(look.bound) else "too early for any effect"
    # Where nothing may be spent yet the bound is infinite: its line runs along the edge of the picture.
    top = max([3.2, *filter(math.isfinite, look.bounds), *(abs(z) for _, z in statistics if math.isfinite(z))]) * 1.1
    bounds = [min(bound, top) for bound in look.bounds]
    right = max(1.0, look.times[-1])
    axes = Axes(width, 240, (0.0, right), (-top, top), left=46, top=28, bottom=42)
    parts = axes.frame(
        x_ticks=[(step, f"{100 * step:.0f}%") for step in nice_steps(0, right, 5)],
        y_ticks=[(step, f"{step:g}") for step in nice_steps(-top, top, 6)],
        x_title="share of the planned people",
        y_title="z, better upwards",
    )
    parts.append(
        shape("line", x1=axes.at_x(0), x2=axes.at_x(right), y1=axes.at_y(0), y2=axes.at_y(0), class_="ttk-zero")
    )
    for sign in (1, -1):
        points = [(time, sign * bound) for time, bound in zip(look.times, bounds, strict=True)]
        parts.append(axes.line(points, class_="ttk-line-2"))
        parts += [
            shape("circle", cx=axes.at_x(x), cy=axes.at_y(y), r=3.5, fill="var(--gift,#d55e00)") for x, y in points
        ]
    x = axes.at_x(look.time)
    side, away = ("start", 10) if x < width - 110 else ("end", -10)
    room = max(60.0, (width - x if side == "start" else x) - 60)
    arms = [(arm, z) for arm, z in statistics if math.isfinite(z)]
    parts += [shape("circle", cx=x, cy=axes.at_y(z), r=5.5, class_="ttk-dot") for _, z in arms]
    # The bound is told at the end where no arm stands, and words of arms that are close stand one below the other.
    bound = bounds[-1] if all(z < 0 for _, z in arms) else -bounds[-1]
    places = _apart([axes.at_y(bound), *(axes.at_y(z) for _, z in arms)], 15)
    told = [
        (f"needed today: {look.bound:.1f}" if math.isfinite(look.bound) else "too early for any", "ttk-halo"),
        *((f"{fit_name(arm, room)} {minus(f'{z:+.1f}')}", "ttk-strong ttk-halo") for arm, z in arms),
    ]
    parts += [
        words(x + away, y + 4, text, anchor=side, class_=kind) for y, (text, kind) in zip(places, told, strict=True)
    ]
    return svg(width, 240, *parts, label=f"Sequential boundary: {needed}")
