"""How people were drawn into the arms whose mails went: new weights need a new name (rule R13).

Who is in which arm follows from the name of an experiment and its shares. Other shares under the same name move people
from one arm to another in the middle of what they get, and nothing measured on them holds any longer. So the ledger
keeps the shares that mails were first planned with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import rfc8785
from sqlalchemy import Connection, select

from toolkit.database import insert_new
from toolkit.scenario.models import Experiment, Program, Split, every_step
from toolkit.sending.ledger.schema import draws

__all__ = ["Draw", "draws_of", "note_draws", "redrawn"]

_NUMBER_AT_THE_END = re.compile(r"\d+$")


class Draw(NamedTuple):
    """One draw of a scenario: its experiment, or a step that splits.

    Attributes:
        name: salts the draw.
        unit: customer or journey.
        arms: name and share of each, in order, as canonical JSON.
    """

    scenario: str
    name: str
    unit: str
    arms: str

    def __str__(self) -> str:
        shares = ", ".join(f"{arm} {share:g}" for arm, share in _shares(self.arms))
        return f"{shares} by {self.unit}"


def draws_of(program: Program, scenarios: Collection[str]) -> tuple[Draw, ...]:
    """The draws of those scenarios, in the order of the program."""
    return tuple(
        Draw(one.scenario, draw.name, draw.unit, rfc8785.dumps([[*arm] for arm in draw.arms.items()]).decode())
        for one in program.scenarios
        if one.scenario in scenarios
        for draw in _each(one.experiment, [step.split for step in every_step(one.steps) if isinstance(step, Split)])
    )


def redrawn(connection: Connection, wanted: Sequence[Draw]) -> tuple[str, ...]:
    """One sentence for each draw whose mails went with other shares, or by another unit."""
    names = [one.scenario for one in wanted]
    rows = connection.execute(select(draws).where(draws.c.scenario.in_(names))).all()
    there = {(row.scenario, row.name): Draw(row.scenario, row.name, row.unit, row.arms) for row in rows}
    return tuple(
        f"{one.scenario}: the experiment {one.name!r} was mailed with {before}; found {one}: people would change "
        f"arms under way; allowed: those shares, or another name, for example {_next(one.name)!r}"
        for one in wanted
        if (before := there.get((one.scenario, one.name), one)) != one
    )


def note_draws(connection: Connection, wanted: Sequence[Draw], *, now: int) -> None:
    """The draws written down, unless they are there; `now` is in microseconds since 1970."""
    for one in wanted:
        connection.execute(insert_new(connection, draws), {**one._asdict(), "at": now})


def _each(experiment: Experiment | None, splits: Sequence[Experiment]) -> Iterator[Experiment]:
    if experiment is not None:
        yield experiment
    yield from splits


def _shares(arms: str) -> list[tuple[str, float]]:
    return [(str(arm), float(share)) for arm, share in json.loads(arms)]


def _next(name: str) -> str:
    """Another name: the next number at its end.

    >>> _next("cart_offer_9"), _next("cart_offer")
    ('cart_offer_10', 'cart_offer_2')
    """
    found = _NUMBER_AT_THE_END.search(name)
    return f"{name}_2" if found is None else f"{name[: found.start()]}{int(found[0]) + 1}"
