"""What comes in at the door of a drawing: the result that it draws, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.errors import InputError, did_you_mean, is_one_of, shown

__all__ = ["check_given", "check_metric"]


def check_given(given: object, kinds: type | tuple[type, ...], *, name: str, giver: str) -> None:
    """Refuse what is not the result that a drawing is of.

    Args:
        given: what was handed over.
        kinds: what it has to be.
        name: how the drawing calls it.
        giver: the call that gives such a result.

    >>> check_given(None, int, name="trace", giver="run.trace")
    Traceback (most recent call last):
        ...
    toolkit.errors.InputError: trace: found NoneType; allowed: what run.trace gives
    """
    if not isinstance(given, kinds):
        raise InputError(f"{name}: found {type(given).__name__}; allowed: what {giver} gives")


def check_metric(metric: str | None, names: Sequence[str]) -> None:
    """Refuse a metric that a result does not have; None stands for one that is not given."""
    if metric is not None and not is_one_of(metric, names):
        hint = did_you_mean(str(metric), names)
        raise InputError(f"no metric {shown(metric)}; this result has {', '.join(names)}{hint}")
