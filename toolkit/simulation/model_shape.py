"""The words of a response model: which numbers there are, of what kind, and along which axes a curve runs."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Literal

from toolkit.errors import Fault
from toolkit.scenario.duration import Duration
from toolkit.simulation.quantity import Kind, Quantity

__all__ = ["CURVES", "DURATIONS", "MAIL_SECTIONS", "SECTIONS", "Axis", "axis_value", "fault_of", "kind_of"]

Axis = Literal["delay", "hour", "recency", "count", "offer"]

SECTIONS: MappingProxyType[str, dict[str, Kind]] = MappingProxyType(
    {
        "opens": {"rate": "rate", "machine": "rate"},
        "clicks": {"rate": "rate"},
        "buys": {"rate": "effect"},
        "unsubscribes": {"rate": "rate"},
        "offers": {"used_anyway": "rate"},
        "purchases": {"pulled_forward": "rate"},
        "order": {"margin": "rate", "price": "money"},
        "costs": {"mail": "money", "unsubscribe": "money"},
    }
)
"""Numbers by section."""
MAIL_SECTIONS = ("opens", "clicks", "buys", "unsubscribes", "offers", "purchases")
"""Sections that a mail may have of its own."""
CURVES: MappingProxyType[str, dict[str, Axis]] = MappingProxyType(
    {
        "opens": {"by_hour": "hour", "by_past_mails": "count"},
        "buys": {
            "by_delay": "delay",
            "by_offer": "offer",
            "by_hour": "hour",
            "by_recency": "recency",
            "by_past_mails": "count",
        },
        "unsubscribes": {"by_past_mails": "count"},
    }
)
"""Factors by section, each a curve along an axis."""
DURATIONS = MappingProxyType(
    {
        "window": Duration(7),
        "fatigue_within": Duration(7),
        "opens.after": Duration(0, 2 * 3_600_000_000),
        "clicks.after": Duration(0, 60_000_000),
        "buys.after": Duration(0, 5 * 3_600_000_000),
        "purchases.pulled_within": Duration(30),
    }
)
"""Times, and what they are unless said."""
_POINTS = {
    "hour": "hours 0 to 24, or times of day as 08:30",
    "offer": "percent, 0 to 100: no offer takes off more than the price",
    "count": "0 or more",
}
"""What the points of an axis may be, where they are no durations."""
_HOUR = 3_600_000_000
_MOST = 1_000.0


def axis_value(axis: Axis, key: str) -> float:
    """Where a point of a curve lies.

    Args:
        axis: `delay` and `recency` take durations (hours, days), `hour` a time of day or an hour, `count` a number,
            `offer` percent.
        key: as written.

    Returns:
        Hours, days, the hour of the day, a count or percent.

    Raises:
        ValueError: not a value of this axis; says what is allowed.

    >>> axis_value("delay", "90m"), axis_value("hour", "08:30"), axis_value("offer", "10")
    (1.5, 8.5, 10.0)
    """
    if axis == "delay":
        value = Duration.parse(key).elapsed / _HOUR
    elif axis == "recency":
        value = Duration.parse(key).elapsed / _HOUR / 24
    else:
        hours, colon, minutes = key.partition(":")
        try:
            value = int(hours) + int(minutes) / 60 if axis == "hour" and colon else float(key)
        except ValueError:
            raise ValueError(_POINTS[axis]) from None
    top = {"hour": 24.0, "offer": 100.0}.get(axis, math.inf)
    if not 0 <= value <= top:
        raise ValueError(_POINTS.get(axis, "0 or more"))
    return value


def kind_of(path: str) -> Kind | None:
    """The kind of a number by its path, or None where there is no such number.

    >>> kind_of("buys.by_delay.4h"), kind_of("mails.cart.offer.buys.rate"), kind_of("buys.speed")
    ('factor', 'effect', None)
    """
    parts = path.split(".")
    if parts[0] == "mails":
        if len(parts) < 5 or parts[3] not in MAIL_SECTIONS:
            return None
        parts = parts[3:]
    section, leaf, *rest = parts if len(parts) > 1 else (*parts, "")
    if not rest and leaf in SECTIONS.get(section, {}):
        return SECTIONS[section][leaf]
    if section == "buys" and leaf == "grid" and len(rest) >= 2:
        return "effect"
    if rest and leaf in CURVES.get(section, {}):
        return "factor"
    return None


def fault_of(path: str, number: Quantity, *, line: int | None = None, file: str | None = None) -> list[Fault]:
    """What is wrong with a number, if anything."""
    values = (number.low, number.likely, number.high)
    shown = number.likely if number.known else list(values)
    kind = kind_of(path)
    if kind is None:
        return [Fault("no such number", path=path, line=line, file=file)]
    allowed = None
    if not all(math.isfinite(value) for value in values):
        allowed = "a number"
    elif path.endswith("order.margin") and max(values) > 1:
        allowed = "a share of the price, 0 to 1: no margin is above the price"
    elif kind in ("rate", "effect") and not (0 if kind == "rate" else -1) <= min(values) <= max(values) <= 1:
        allowed = "a probability, 0 to 1"
    elif kind in ("factor", "money") and min(values) < 0:
        allowed = "0 or more"
    elif kind == "factor" and max(values) > _MOST:
        allowed = f"at most {_MOST:,.0f}"
    elif not number.low <= number.likely <= number.high:
        return [
            Fault("not in order", path=path, line=line, file=file, found=shown, allowed="[low, likely, high], rising")
        ]
    if allowed is None:
        return []
    return [Fault("out of range", path=path, line=line, file=file, found=shown, allowed=allowed)]
