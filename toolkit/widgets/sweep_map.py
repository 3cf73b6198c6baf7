"""Two settings against each other, one cell for each pair; linked to a tuner, pressing a cell moves its sliders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from toolkit.charts.style import money
from toolkit.charts.sweeps import setting_name, setting_text
from toolkit.charts.vector import fit_text, shape, svg, text_width, words
from toolkit.engine import Sweep
from toolkit.errors import InputError, NotSupportedError, did_you_mean, shown
from toolkit.readable import priced, short_text
from toolkit.scenario.duration import Duration
from toolkit.widgets.markup import Html, chip, choice, legend, tag, together
from toolkit.widgets.panel import Panel
from toolkit.widgets.tuner import Tuner

__all__ = ["SweepMap"]

_SHADES = 9
_PATIENCE = 5.0  # seconds
_LARGE = 100.0  # of an amount of money; cents beside it tell nothing
_MOST_CELLS = 900  # above, cells are drawn together and chosen by lists
_PERCENTS = (0, 5, 10, 15, 20, 25, 30)
_MEANINGS = {
    "sent": ("mails sent", "exact"),
    "week": ("mails a week", "exact"),
    "journeys": ("journeys", "exact"),
    "withheld": ("withheld from control", "exact"),
    "skipped": ("mails not sent", "exact"),
    "own_before": ("bought before the mail", "observed"),
    "own_after": ("bought anyway after it", "observed"),
    "own_after_rate": ("share who bought anyway", "observed"),
    "before_rate": ("share who bought before the mail", "observed"),
    "after_rate": ("share who bought anyway", "observed"),
    "given": ("given away by 100 offers", "observed"),
    "mailed": ("mails whose window has closed", "observed"),
}


class SweepMap(Panel):
    """A heatmap of a sweep over one or two settings, or of a tuner's waits and discounts.

    Made from a tuner, the two are one: pressing a cell moves its sliders, moving a slider moves the mark. With very
    many cells they are chosen from lists. The best cell of many is a selection, and its number flatters it; the map
    says so.

    Args:
        source: from `tk.sweep`, or a `Tuner`.
        measure: the column to begin with.

    Attributes:
        value: the settings of the cell chosen: parameter path to the value as it was tried; frozen by being a new dict
            each time.

    Raises:
        NotSupportedError: a sweep over more than two parameters.
        InputError: no such column.
    """

    def __init__(self, source: Sweep | Tuner, *, measure: str | None = None) -> None:
        self._tuner = source if isinstance(source, Tuner) else None
        self._currency = "EUR"
        if isinstance(source, Tuner):
            if not source.surface:
                source.finish()
            source.prepared(_PATIENCE)  # so that no cell of a saved map is empty
            self._currency = str(source.surface["currency"])
            self._over, self._table, base = _of_tuner(source)
            wait, offer = source.paths
            self._tried: dict[str, dict[str, Any]] = {wait: {one: one for one in self._over[wait]}}
            if offer is not None:
                self._tried[offer] = {one: _number_of(one) for one in self._over[offer]}
        else:
            if len(source.over) > 2:
                raise NotSupportedError(
                    f"a map shows two parameters; this sweep has {len(source.over)}: {', '.join(source.over)}"
                )
            self._tried = {path: {short_text(one): one for one in values} for path, values in source.over.items()}
            self._over = {path: list(tried) for path, tried in self._tried.items()}
            first = next(iter(self._over)).partition(".")[0]
            table = source.table
            self._table = (
                table[table["scenario"] == first] if "scenario" in table and first in set(table["scenario"]) else table
            )
            base = {path: short_text(value) for path, value in source.base.items()}
        self._base = base
        self._measures = [
            str(name)
            for name in self._table
            if name not in self._over
            and pd.api.types.is_numeric_dtype(self._table[name])
            and self._table[name].notna().any()
        ]
        wanted = measure or ("given" if "given" in self._measures else "sent")
        if wanted not in self._measures:
            raise InputError(f"measure: no column {shown(wanted)}" + did_you_mean(wanted, self._measures))
        self._measure = wanted
        self._chosen = tuple(base[path] if base[path] in values else values[0] for path, values in self._over.items())
        super().__init__(title="Map of settings")
        if self._tuner is not None:
            self._tuner.observe(self._followed, ["wait", "percent"])
            self._tuner.observe(self._renewed, "surface")
            self._followed({})
        self.redraw()

    @property
    def value(self) -> Mapping[str, Any]:
        """The settings chosen, by parameter path; for `set_parameters`."""
        return {path: self._tried[path][text] for path, text in zip(self._over, self._chosen, strict=True)}

    # --- what is pressed ----------------------------------------------------------------------------------------------

    def act_cell(self, value: Any) -> None:
        """A cell was pressed."""
        places = [int(part) for part in str(value).split(",")]
        self._choose(tuple(list(values)[place] for values, place in zip(self._over.values(), places, strict=True)))

    def act_across(self, value: Any) -> None:
        """A value of the first setting was chosen from the list."""
        self._choose((str(value), *self._chosen[1:]))

    def act_up(self, value: Any) -> None:
        """A value of the second setting was chosen from the list."""
        self._choose((self._chosen[0], str(value)))

    def act_measure(self, value: Any) -> None:
        """Show another number."""
        self._measure = str(value)

    def _choose(self, chosen: tuple[str, ...]) -> None:
        self._chosen = chosen
        if self._tuner is not None:
            self._tuner.act_setting({"wait": chosen[0], **({"percent": float(chosen[1])} if len(chosen) > 1 else {})})
        self.redraw()
        self.changed()

    def _followed(self, change: Any) -> None:
        """The tuner moved: the mark goes to the nearest cell."""
        if self._tuner is None:
            return
        values = list(self._over.values())
        wait = Duration.parse(self._tuner.wait).elapsed
        near: list[str] = [min(values[0], key=lambda one: abs(Duration.parse(str(one)).elapsed - wait))]
        if len(values) > 1:
            near.append(min(values[1], key=lambda one: abs(float(one) - float(self._tuner.percent))))  # type: ignore[union-attr]
        self._chosen = tuple(near)
        self.redraw()

    def _renewed(self, change: Any) -> None:
        """The tuner knows more waits, or others at another cap."""
        if self._tuner is not None:
            _, self._table, _ = _of_tuner(self._tuner)
            self.guarded_draw()

    # --- how it shows -------------------------------------------------------------------------------------------------

    def body(self) -> Html:
        """The map, the number it shows, and the cell chosen."""
        meaning, kind = _meaning(self._measure)
        head = tag(
            "header",
            tag("h3", meaning[:1].upper() + meaning[1:]),
            tag(
                "span", chip(kind), " ", " against ".join(setting_name(path) for path in self._over), class_="ttk-soft"
            ),
            choice(
                "",
                "measure",
                [(name, _meaning(name)[0]) for name in self._measures],
                self._measure,
                aria_label="What the map shows",
            ),
        )
        grid = self._grid()
        here = grid[self._places()[::-1]] if grid.size else math.nan
        chosen = ", ".join(
            f"{setting_name(path)} {_label(value, path)}" for path, value in zip(self._over, self._chosen, strict=True)
        )
        picks = self._picks() if grid.size > _MOST_CELLS else None
        words_ = f"{chosen}: {self._number(float(here))}"
        return together(
            [
                head,
                picks,
                tag("div", Html(self._picture(grid)), class_="ttk-scroller", data_scroll="map"),
                tag(
                    "div",
                    tag("b", words_, class_="ttk-told", role="status"),
                    self._scale(grid) if grid.size > _MOST_CELLS else None,
                    legend(self._marks()),
                    class_="ttk-row ttk-apart",
                ),
                tag("p", "The best cell of many is a selection, and its number flatters it.", class_="ttk-detail"),
            ]
        )

    def _marks(self) -> list[tuple[str, str]]:
        now = [("ttk-key-live", "as it is now")] if self._of(self._base) is not None else []
        return [("ttk-key-here", "chosen"), *now]

    def _scale(self, grid: Any) -> Html | None:
        """What the shades mean, where no cell has room for its number."""
        known = grid[np.isfinite(grid)]
        if not known.size:
            return None
        shades = [tag("i", class_=f"ttk-heat-{shade}") for shade in range(_SHADES)]
        low, high = self._number(float(known.min())), self._number(float(known.max()))
        return tag("span", low, tag("span", *shades, class_="ttk-shades"), high, class_="ttk-scale")

    def _picks(self) -> Html:
        names = list(self._over)
        lists = [
            choice(setting_name(path), act, [(one, _label(one, path)) for one in self._over[path]], chosen)
            for path, act, chosen in zip(names, ("across", "up"), self._chosen, strict=False)
        ]
        return tag("div", *lists, class_="ttk-row")

    def _grid(self) -> Any:
        """One row per value of the second setting, one column per value of the first."""
        paths = list(self._over)
        columns = list(self._over[paths[0]])
        rows = list(self._over[paths[1]]) if len(paths) > 1 else [""]
        place = {value: at for at, value in enumerate(columns)}
        level = {value: at for at, value in enumerate(rows)}
        grid = np.full((len(rows), len(columns)), np.nan)
        across = [short_text(one) for one in self._table[paths[0]]]
        up = [short_text(one) for one in self._table[paths[1]]] if len(paths) > 1 else [""] * len(across)
        for x, y, number in zip(across, up, self._table[self._measure], strict=True):
            grid[level[y], place[x]] = number
        return grid

    def _places(self) -> tuple[int, ...]:
        places = [list(values).index(chosen) for values, chosen in zip(self._over.values(), self._chosen, strict=True)]
        return (places[0], places[1] if len(places) > 1 else 0)

    def _picture(self, grid: Any) -> str:
        paths = list(self._over)
        columns = list(self._over[paths[0]])
        rows = list(self._over[paths[1]]) if len(paths) > 1 else [""]
        left = max((text_width(_label(row, paths[-1]), 12) for row in rows), default=0) + 16 if len(paths) > 1 else 8
        is_small = grid.size <= _MOST_CELLS
        count = max(1, len(columns))
        # As wide as the page of a notebook on a small screen; wider only where the numbers need it.
        texts = [self._number(float(one), beside=grid) for one in grid.flat] if is_small else []
        room = max((text_width(text, 12) for text in texts), default=-12) + 12
        wide = min(92.0, max(2.0, min(room, (1040.0 - left) / count), (780.0 - left) / count))
        high = 40.0 if len(rows) <= 12 else max(2.0, 420.0 / len(rows))
        if not is_small:  # whole pixels, so that no seam shows between cells
            left, wide, high = float(math.ceil(left)), float(max(2, int(wide))), float(max(2, int(high)))
        top = 26.0 if len(paths) > 1 else 8.0  # the name of what grows upwards stands above its values
        low, most = (float(np.nanmin(grid)), float(np.nanmax(grid))) if np.isfinite(grid).any() else (0.0, 1.0)
        shades = np.where(
            np.isfinite(grid), np.floor((grid - low) / ((most - low) or 1) * (_SHADES - 1e-9)), -1
        ).astype(int)
        parts = self._cells(grid, shades, left, top, wide, high) if is_small else _merged(shades, left, top, wide, high)
        every = max(1, math.ceil(44 / wide))
        floor = top + high * len(rows)
        parts += [
            words(left + (at + 0.5) * wide, floor + 17, _label(column, paths[0]), anchor="middle")
            for at, column in enumerate(columns)
            if at % every == 0
        ]
        every = max(1, math.ceil(18 / high))
        if len(paths) > 1:
            parts.append(words(2, 14, setting_name(paths[1])))
            parts += [
                words(left - 8, floor - (at + 0.5) * high + 4, _label(row, paths[1]), anchor="end")
                for at, row in enumerate(rows)
                if at % every == 0
            ]
        parts.append(words(left + wide * len(columns) / 2, floor + 36, setting_name(paths[0]), anchor="middle"))
        # The frame of today stands inside that of the cell chosen, so that both are seen where they are one cell.
        for chosen, class_, gap in ((self._places(), "ttk-here", 1.0), (self._of(self._base), "ttk-live", 4.5)):
            if chosen is not None:
                x, y = chosen
                gap_ = gap if is_small else 0.0
                parts.append(
                    shape(
                        "rect",
                        x=left + x * wide + gap_,
                        y=floor - (y + 1) * high + gap_,
                        width=max(3.0, wide - 2 * gap_),
                        height=max(3.0, high - 2 * gap_),
                        rx=5 if is_small else 0,
                        class_=class_,
                    )
                )
        width = left + wide * len(columns) + 12
        role = "group" if is_small else "img"
        return svg(width, floor + 46, *parts, label=f"Map of {_meaning(self._measure)[0]}", fluid=False, role=role)

    def _of(self, settings: Mapping[str, str]) -> tuple[int, int] | None:
        values = list(self._over.values())
        wanted = [settings[path] for path in self._over]
        if any(one not in list(known) for one, known in zip(wanted, values, strict=True)):
            return None
        places = [list(known).index(one) for one, known in zip(wanted, values, strict=True)]
        return places[0], places[1] if len(places) > 1 else 0

    def _cells(self, grid: Any, shades: Any, left: float, top: float, wide: float, high: float) -> list[str]:
        parts = []
        count = len(grid)
        paths = list(self._over)
        columns, rows = list(self._over[paths[0]]), list(self._over[paths[-1]]) if len(paths) > 1 else [""]
        chosen = self._places()
        for y in range(count):
            for x in range(grid.shape[1]):
                text = self._number(float(grid[y, x]), beside=grid)
                at_x, at_y = left + x * wide, top + (count - 1 - y) * high
                shade = shades[y, x]
                where = [_label(columns[x], paths[0]), *([_label(rows[y], paths[-1])] if len(paths) > 1 else [])]
                said = f"{', '.join(where)}: {self._number(float(grid[y, x]))}"
                inside = [
                    shape(
                        "rect",
                        x=at_x + 1,
                        y=at_y + 1,
                        width=wide - 2,
                        height=high - 2,
                        rx=5,
                        class_=f"ttk-heat ttk-heat-{shade}" if shade >= 0 else "ttk-heat ttk-heat-none",
                    )
                ]
                if wide > 34 and high > 18:
                    inside.append(
                        words(
                            at_x + wide / 2,
                            at_y + high / 2 + 4,
                            fit_text(text, wide - 4, 12),
                            anchor="middle",
                            class_="ttk-heat-dark" if shade >= 6 else "ttk-heat-light",
                        )
                    )
                value = f"{x},{y}" if len(paths) > 1 else f"{x}"
                is_chosen = (x, y) == chosen  # by Tab one comes to it alone, by the arrows from there to the others
                more = {"tabindex": 0 if is_chosen else -1, "aria_pressed": str(is_chosen).lower()}
                parts.append(
                    shape("g", *inside, data_act="cell", data_value=value, role="button", aria_label=said, **more)
                )
        return parts

    def _number(self, value: float, *, beside: Any = ()) -> str:
        """A cell's number; amounts of one map all have cents, or none has."""
        if math.isnan(value):
            return "–"
        if self._measure == "given":
            is_large = np.size(beside) and np.nanmax(beside) >= _LARGE
            return priced(f"{value:,.0f}", self._currency) if is_large else money(value, self._currency)
        return f"{100 * value:.1f}%" if self._measure.endswith("_rate") else f"{value:,.0f}"


def _merged(shades: Any, left: float, top: float, wide: float, high: float) -> list[str]:
    """Very many cells: one path for each shade."""
    parts = []
    count = len(shades)
    for shade in range(_SHADES):
        rows, columns = np.nonzero(shades == shade)
        d = "".join(
            f"M{left + x * wide:.1f} {top + (count - 1 - y) * high:.1f}h{wide:.1f}v{high:.1f}h-{wide:.1f}z"
            for y, x in zip(rows, columns, strict=True)
        )
        if d:
            parts.append(shape("path", d=d, class_=f"ttk-heat ttk-heat-{shade}", shape_rendering="crispEdges"))
    return parts


def _of_tuner(tuner: Tuner) -> tuple[dict[str, Sequence[str]], pd.DataFrame, dict[str, str]]:
    """Every wait against every discount; what the tuner has not computed yet is missing."""
    surface = tuner.surface
    known = {one["wait"]: one for one in surface["settings"]}
    wait, offer = tuner.paths
    waits = list(surface["waits"])
    base = {wait: str(surface["now"])}
    if offer is None:
        rows = [{wait: one, **_numbers_of(known.get(one))} for one in waits]
        return {wait: waits}, pd.DataFrame(rows), base
    live = float(tuner.now_percent or 0.0)
    percents = sorted({*map(float, _PERCENTS), live})
    rows = [
        {wait: one, offer: f"{percent:g}", **_numbers_of(known.get(one), percent)}
        for one in waits
        for percent in percents
    ]
    return {wait: waits, offer: [f"{one:g}" for one in percents]}, pd.DataFrame(rows), base | {offer: f"{live:g}"}


def _numbers_of(point: Mapping[str, Any] | None, percent: float = math.nan) -> dict[str, float]:
    names = ("week", "before_rate", "after_rate", "given")
    found = {name: math.nan if point is None or point[name] is None else float(point[name]) for name in names}
    return found | {"given": found["given"] * percent}


def _meaning(column: str) -> tuple[str, str]:
    if column in _MEANINGS:
        return _MEANINGS[column]
    return column.replace("_", " "), "observed" if column.startswith("own_") else "exact"


def _number_of(text: str) -> float:
    return int(text) if text.isdigit() else float(text)


def _label(value: str, path: str) -> str:
    if path.endswith(".percent"):
        return f"{value}%"
    try:
        Duration.parse(value)
    except ValueError:
        return value
    return "no wait" if Duration.parse(value).elapsed == 0 else str(setting_text(value))
