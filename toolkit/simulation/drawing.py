"""A response model, a compiled program and the numbers of one draw in, arrays for the kernel out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from toolkit.engine import answers as a
from toolkit.engine.compile import Compiled
from toolkit.engine.instructions import CompiledSend
from toolkit.engine.runners.answering import Drawn
from toolkit.errors import Fault, ScenarioError, nearest
from toolkit.events import EventLog
from toolkit.events.marks import bits_of_events
from toolkit.simulation.model import ResponseModel
from toolkit.simulation.model_shape import CURVES, axis_value

__all__ = ["Draughtsman"]

Floats = npt.NDArray[np.float64]
Values = Mapping[str, float]

_RATES = {
    a.R_OPEN: "opens.rate",
    a.R_MACHINE: "opens.machine",
    a.R_CLICK: "clicks.rate",
    a.R_BUY: "buys.rate",
    a.R_LEAVE: "unsubscribes.rate",
    a.R_USE: "offers.used_anyway",
    a.R_PULL: "purchases.pulled_forward",
}
_TIMES = {a.R_OPEN_AFTER: "opens.after", a.R_CLICK_AFTER: "clicks.after", a.R_BUY_AFTER: "buys.after"}
_ONLY_MARKETING = ("buys", "unsubscribes", "purchases", "offers")
_ANSWERS = {"opens": a.CURVE_OPEN, "buys": a.CURVE_BUY, "unsubscribes": a.CURVE_LEAVE}
_AXES = {"delay": a.CURVE_DELAY, "hour": a.CURVE_HOUR, "recency": a.CURVE_RECENCY, "count": a.CURVE_MAILS}
_LOGARITHMIC = ("delay", "recency")  # curves that run along the logarithm of one and the time
_SPREAD = 1.0  # of the logarithm of the time to an answer: two thirds come within a third to three times the usual


@dataclass
class Draughtsman:
    """Draws the arrays of a response model for one program, over and over.

    depth: the offer of each send in percent of the usual price. notes: what a reader must know.
    """

    compiled: Compiled
    model: ResponseModel
    log: EventLog
    usual_price: float
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._check_mails()
        count = max(1, len(self.compiled.sends))
        self._rates = np.zeros((count, a.RATE_COLUMNS))
        self._ways = np.full((count, a.WAY_COLUMNS), -1, dtype=np.int64)
        self._rate_paths: list[tuple[int, int, str]] = []
        self._factors: list[tuple[int, Callable[[Values], float]]] = []
        self._curves: list[tuple[Floats, Callable[[Values], Floats]]] = []
        places: dict[tuple[str, ...], int] = {}
        for place, send in enumerate(self.compiled.sends):
            self._send(place, send, places)
        self._bits()
        longest = max((len(x) for x, _ in self._curves), default=1)
        self._heights = np.zeros((max(1, len(self._curves)), 2, longest))
        for place, (x, _) in enumerate(self._curves):
            self._heights[place, 0] = np.concatenate([x, np.full(longest - len(x), x[-1])])

    def draw(self, values: Values) -> Drawn:
        """The arrays for numbers drawn, by path."""
        rates, heights = self._rates.copy(), self._heights.copy()
        for send, column, path in self._rate_paths:
            rates[send, column] = values[path]
        for send, factor in self._factors:
            rates[send, a.R_BUY] *= factor(values)
        if "order.price" in values and self.usual_price > 0:
            rates[:, a.R_SCALE] = values["order.price"] / self.usual_price
        for place, (x, height) in enumerate(self._curves):
            y = height(values)
            heights[place, 1, : len(x)] = y
            heights[place, 1, len(x) :] = y[-1]
        return Drawn(rates, self._ways, heights)

    def depth(self, send: CompiledSend) -> float:
        """The offer of a mail in percent of the usual price."""
        if send.offer is None:
            return 0.0
        amount = 100 * (send.offer.amount or 0.0) / self.usual_price if self.usual_price > 0 else 0.0
        return (send.offer.percent or 0.0) + amount

    def _check_mails(self) -> None:
        known = [f"{send.scenario}.{send.step_id}" for send in self.compiled.sends]
        named = {".".join(path.split(".")[1:3]) for path in self.model.numbers if path.startswith("mails.")}
        faults = [
            Fault(
                "not a mail of the program", path=f"mails.{mail}", allowed=", ".join(dict.fromkeys(known)),
                nearest=nearest(mail, known),
            )
            for mail in sorted(named - set(known))
        ]  # fmt: skip
        if faults:
            raise ScenarioError(faults)

    def _send(self, place: int, send: CompiledSend, places: dict[tuple[str, ...], int]) -> None:
        model, own = self.model, f"mails.{send.scenario}.{send.step_id}."
        scenarios = {one.scenario: one for one in self.compiled.scenarios}
        marketing = scenarios[send.scenario].class_ == "marketing"

        def path_of(path: str) -> str | None:
            if own + path in model.numbers:
                return own + path
            general = marketing or path.split(".", maxsplit=1)[0] not in _ONLY_MARKETING
            return path if path in model.numbers and general else None

        for column, path in _RATES.items():
            found = path_of(path)
            if found is not None:
                self._rate_paths.append((place, column, found))
        for column, path in _TIMES.items():
            self._rates[place, column] = model.times[path].elapsed
        self._rates[place, a.R_SPREAD] = _SPREAD
        self._rates[place, a.R_SCALE] = 1.0
        offer = send.offer
        if offer is not None:
            self._rates[place, a.R_PERCENT] = offer.percent or 0.0
            self._rates[place, a.R_AMOUNT] = offer.amount or 0.0
            self._rates[place, a.R_MINIMUM] = offer.minimum or 0.0
        ways = self._ways[place]
        digest = hashlib.sha256(f"{send.scenario}:{send.step}".encode()).digest()
        ways[a.W_STEP] = int.from_bytes(digest[:8], "big") >> 2
        window = model.times["window"].elapsed
        ways[a.W_WINDOW] = window
        ways[a.W_VALID] = offer.valid.elapsed if offer and offer.valid else window
        ways[a.W_PULL_WITHIN] = model.times["purchases.pulled_within"].elapsed
        ways[a.W_PAST] = model.times["fatigue_within"].elapsed

        grid = [p for p in (f"{own}buys.grid.", "buys.grid.") if any(name.startswith(p) for name in model.numbers)]
        for section, curves in CURVES.items():
            if not marketing and section in _ONLY_MARKETING:
                continue
            for name, axis in curves.items():
                if section == "buys" and grid and name in ("by_delay", "by_offer"):
                    continue
                start = next((p for p in (f"{own}{section}.{name}.", f"{section}.{name}.") if self._points(p)), None)
                if start is None:
                    continue
                points = sorted((axis_value(axis, path.removeprefix(start)), path) for path in self._points(start))
                x = np.array([value for value, _ in points])
                paths = [path for _, path in points]
                if axis == "offer":
                    depth = self._within(self.depth(send), x, send)
                    self._factors.append((place, partial(_at, depth=depth, x=x, paths=paths)))
                    continue
                key = tuple(paths)
                if key not in places:
                    places[key] = len(self._curves)
                    run = np.log1p(x) if axis in _LOGARITHMIC else x
                    self._curves.append((run, partial(_along, paths=paths)))
                ways[a.W_CURVES + a.CURVES * _ANSWERS[section] + _AXES[axis]] = places[key]
        if grid and marketing:
            ways[a.W_CURVES + a.CURVES * a.CURVE_BUY + a.CURVE_DELAY] = self._grid(place, send, grid[0])

    def _grid(self, place: int, send: CompiledSend, start: str) -> int:
        """The curve of a mail along the delay, at its own depth of offer."""
        rows: dict[float, list[tuple[float, str]]] = {}
        for path in self._points(start):
            percent, delay = path.removeprefix(start).rsplit(".", 1)
            rows.setdefault(axis_value("offer", percent), []).append(
                (float(np.log1p(axis_value("delay", delay))), path)
            )
        depths = np.array(sorted(rows))
        depth = self._within(self.depth(send), depths, send)
        x = np.unique([value for row in rows.values() for value, _ in row])
        right = min(int(np.searchsorted(depths, depth)), len(depths) - 1)
        left = max(0, right - 1) if depths[right] > depth else right
        share = (depth - depths[left]) / (depths[right] - depths[left]) if right > left else 0.0
        mixed = [(weight, sorted(rows[depths[end]])) for end, weight in ((left, 1 - share), (right, share)) if weight]

        def height(values: Values) -> Floats:
            total = np.zeros(len(x))
            for weight, points in mixed:
                total += weight * np.interp(x, [at for at, _ in points], [values[path] for _, path in points])
            return total

        self._rate_paths = [one for one in self._rate_paths if one[:2] != (place, a.R_BUY)]
        self._rates[place, a.R_BUY] = 1.0
        self._curves.append((x, height))
        return len(self._curves) - 1

    def _points(self, start: str) -> list[str]:
        return [path for path in self.model.numbers if path.startswith(start)]

    def _within(self, value: float, x: Floats, send: CompiledSend) -> float:
        low, high = float(x[0]), float(x[-1])
        if not low <= value <= high:
            self.notes.append(
                f"{send.scenario}.{send.step}: its offer of {value:g}% lies outside what the model knows, "
                f"{low:g} to {high:g}%; the nearest is used"
            )
        return min(max(value, low), high)

    def _bits(self) -> None:
        """What opens and clicks of each mail look like to the conditions of the program."""
        events: list[dict[str, object]] = []
        experiments = {s.scenario: s.experiment.name if s.experiment else None for s in self.compiled.scenarios}
        for send in self.compiled.sends:
            about = {
                "scenario": send.scenario,
                "step": send.step_id,
                "template": send.template,
                "experiment": experiments[send.scenario],
            }
            opened = {"event": "email_opened", **about}
            events += [
                {**opened, "verdict": "human", "machine": False},
                {**opened, "verdict": "machine", "machine": True},
                {"event": "email_clicked", **about},
            ]
        if not events:
            return
        bits = bits_of_events(self.log, self.compiled.marking, events).reshape(-1, 3)
        self._ways[:, [a.W_OPEN_BITS, a.W_MACHINE_BITS, a.W_CLICK_BITS]] = bits


def _along(values: Values, *, paths: list[str]) -> Floats:
    return np.array([values[path] for path in paths])


def _at(values: Values, *, depth: float, x: Floats, paths: list[str]) -> float:
    return float(np.interp(depth, x, _along(values, paths=paths)))
