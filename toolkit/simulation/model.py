"""How people answer mails: a response model, every number of it with a range and where it comes from."""

from __future__ import annotations

import html
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from os import PathLike
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from toolkit.engine import uniform
from toolkit.errors import Fault, InputError, ScenarioError, path_text, shown
from toolkit.readable import table_html
from toolkit.scenario.duration import Duration
from toolkit.simulation.model_shape import DURATIONS, fault_of, kind_of
from toolkit.simulation.model_text import dump, stated, text_of
from toolkit.simulation.quantity import Quantity

__all__ = ["ResponseModel"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class ResponseModel:
    """How people answer the mails of a program: stated, fitted, or stated and then updated by data.

    Attributes:
        name: what the model is called.
        source: where its numbers come from, unless one says otherwise.
        numbers: every number by its path, for example `buys.rate`, `buys.by_delay.4h` or, for one mail alone,
            `mails.abandoned_cart.offer.buys.rate`.
        times: durations by path: `window` (how far ahead "would have bought anyway" looks), `opens.after`,
            `clicks.after`, `buys.after` (the usual time to each answer), `purchases.pulled_within`, `fatigue_within`.
        purchase, value: the event that is a purchase, and its property that is the price.
        samples: for fitted numbers, draws of their joint posterior distribution: one array per path, equally long.
        notes: what a reader must know.

    >>> model = ResponseModel.parse('''
    ... response: guess
    ... source: the team, spring 2025
    ... opens: {rate: [0.30, 0.40, 0.50]}
    ... buys: {rate: [0.01, 0.03, 0.06], by_delay: {1h: 1, 1d: [0.5, 0.7, 0.9]}}
    ... order: {margin: 0.35}
    ... ''')
    >>> model.numbers["buys.by_delay.1d"].likely
    0.7
    """

    name: str = "response"
    source: str = "stated"
    numbers: Mapping[str, Quantity] = field(default_factory=dict)
    times: Mapping[str, Duration] = field(default_factory=dict)
    purchase: str = "purchase"
    value: str = "revenue"
    samples: Mapping[str, Floats] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", MappingProxyType(dict(self.numbers)))
        object.__setattr__(self, "times", MappingProxyType({**DURATIONS, **self.times}))
        faults = [fault for path, number in self.numbers.items() for fault in fault_of(path, number)]
        if faults:
            raise ScenarioError(faults)

    def __eq__(self, other: object) -> bool:
        """Whether both say the same in every number, with its range and source, and draw it alike."""
        if not isinstance(other, ResponseModel):
            return NotImplemented
        mine, theirs = self.samples or {}, other.samples or {}
        return (
            self._said() == other._said()
            and mine.keys() == theirs.keys()
            and all(np.array_equal(mine[path], theirs[path]) for path in mine)
        )

    def __hash__(self) -> int:
        return hash(self._said())

    def _said(self) -> tuple[Hashable, ...]:
        """All but the samples, which are arrays."""
        numbers, times = (frozenset(one.items()) for one in (self.numbers, self.times))
        return (self.name, self.source, numbers, times, self.purchase, self.value, self.notes)

    @classmethod
    def nothing(cls) -> ResponseModel:
        """Nobody answers anything: a simulation with it is the replay."""
        return cls(name="nothing", source="nobody answers")

    @classmethod
    def parse(cls, text: str, *, file: str | None = None) -> ResponseModel:
        """A model from YAML text; see docs/forecast.md for the words.

        Raises:
            ScenarioError: carries every fault, each with its line, what was found and what is allowed.
            InputError: what is given is no text.
        """
        given: object = text
        if not isinstance(given, str):
            raise InputError(f"response model: found {shown(given)}; allowed: a text in YAML")
        return cls(**stated(text, file=file))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> ResponseModel:
        """A model from a YAML file; as `parse`.

        Raises:
            ScenarioError: no such file, one that cannot be read, or as `parse`.
            InputError: what is given is no path.
        """
        text = path_text(path, name="response model", allowed="the path of a file in YAML")
        return cls.parse(text_of(text), file=text)

    def dump(self) -> str:
        """The model as YAML, each number with its range and source; `parse(dump())` gives the same numbers."""
        return dump(self)

    def with_numbers(self, numbers: Mapping[str, float]) -> ResponseModel:
        """The same model with some numbers held to be known, to see what a forecast makes of them.

        Args:
            numbers: likely values by path, as in `table`, for example `{"order.margin": 0.3}`.

        Raises:
            ScenarioError: no such number, or one out of its range; tells all of them.
            InputError: what is given is no mapping of numbers.

        >>> model = ResponseModel.parse("{response: guess, buys: {rate: [0.01, 0.03, 0.06]}}")
        >>> model.with_numbers({"buys.rate": 0.05}).numbers["buys.rate"].known
        True
        """
        given: object = numbers
        if not isinstance(given, Mapping) or not all(isinstance(one, Real) for one in given.values()):
            raise InputError(f"numbers: found {shown(given)}; allowed: numbers by path, as {{'order.margin': 0.3}}")
        kinds = {path: kind_of(str(path)) for path in numbers}
        unknown = [Fault("no such number", path=str(path)) for path, kind in kinds.items() if kind is None]
        if unknown:
            raise ScenarioError(unknown)
        likely = {path: float(value) for path, value in numbers.items()}
        known = {
            path: Quantity(likely[path], likely[path], likely[path], kind, "given in the call")
            for path, kind in kinds.items()
            if kind is not None
        }
        samples = None if self.samples is None else {k: v for k, v in self.samples.items() if k not in known}
        return replace(self, numbers={**self.numbers, **known}, samples=samples)

    def draws(self, count: int, seed: int) -> dict[str, Floats]:
        """Every number, drawn so often: independent of the others, or jointly where a fit says how they hang together.

        Args:
            count: how many draws.
            seed: where chance comes from; the same number of the same seed is drawn alike in every model.

        Returns:
            One array of `count` values per path.

        Raises:
            InputError: a number of draws or a seed that is none.
        """
        _check_whole("draws", count, least=0)
        _check_whole("seed", seed)
        places = [str(draw) for draw in range(count)]
        drawn = {}
        row = np.zeros(count, dtype=np.int64)
        if self.samples:
            longest = len(next(iter(self.samples.values())))
            row = (uniform(f"response {seed} posterior", places) * longest).astype(np.int64)
        for path, number in self.numbers.items():
            if self.samples and path in self.samples:
                drawn[path] = self.samples[path][row]
            else:
                z = ndtri(np.clip(uniform(f"response {seed} {path}", places), 1e-12, 1 - 1e-12))
                drawn[path] = number.drawn(z)
        return drawn

    @property
    def table(self) -> pd.DataFrame:
        """One row per number: number (its path), likely, low, high (90%), source."""
        return pd.DataFrame(
            [[path, q.likely, q.low, q.high, q.source] for path, q in self.numbers.items()],
            columns=["number", "likely", "low", "high", "source"],
        )

    def __str__(self) -> str:
        lines = [f"response model {self.name!r} (modelled): {self.source}"]
        if len(self.numbers):
            lines.append(self.table.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        table = table_html(self.table)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<p>{html.escape(str(self).splitlines()[0])}</p>{table}{notes}"


def _check_whole(name: str, value: object, *, least: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or (least is not None and int(value) < least):
        allowed = "a whole number" if least is None else f"a whole number from {least}"
        raise InputError(f"{name}: found {shown(value)}; allowed: {allowed}")
