"""The one edge at which this room reads a clock; moments as the ledger stores them, lengths as people write them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from toolkit.errors import InputError, shown
from toolkit.events.times import moment_of
from toolkit.scenario.duration import Duration

__all__ = ["DAY", "Clock", "from_micros", "length", "micros", "utc", "utc_now"]

Clock = Callable[[], datetime]

DAY = 86_400_000_000
"""Microseconds in 24 hours."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def utc_now() -> datetime:
    """The time by this machine's clock, in UTC."""
    return datetime.now(UTC)


def utc(value: datetime, *, name: str) -> datetime:
    """The same moment in UTC.

    Args:
        value: a moment with a time zone.
        name: what the moment is called in the error.

    Returns:
        The moment in UTC.

    Raises:
        InputError: the moment has no time zone, or is not a moment.
    """
    if not isinstance(value, datetime):
        raise InputError(
            f"{name}: found {shown(value)}; allowed: a datetime with a time zone, for example "
            "datetime(2026, 3, 2, 12, tzinfo=UTC)"
        )
    return from_micros(micros(moment_of(value, name=name)))


def length(value: str | timedelta | Duration, *, name: str, example: str) -> timedelta:
    """A length of time above zero; a day is 24 hours.

    Raises:
        InputError: none, or no length of time.
    """
    try:
        found = timedelta(microseconds=Duration.parse(value).elapsed)
    except ValueError as fault:
        raise InputError(f"{name}: {fault}") from fault
    if found <= timedelta():
        raise InputError(f"{name}: expected a time above zero, for example {example}; found {shown(value)}")
    return found


def micros(value: datetime) -> int:
    """Microseconds since 1970 in UTC: how the ledger stores a moment.

    >>> micros(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    return int((value - _EPOCH) // _MICROSECOND)


def from_micros(value: int) -> datetime:
    """The moment so many microseconds after 1970, in UTC.

    >>> from_micros(1_000_000)
    datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.timezone.utc)
    """
    return _EPOCH + timedelta(microseconds=value)
