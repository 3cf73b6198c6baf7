"""The tuning screen: how long to wait, how much to give, and at once what that would have meant."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import traitlets

from toolkit.charts.own_purchases import whose
from toolkit.charts.style import hours_text
from toolkit.engine.compiled import is_first_compilation
from toolkit.engine.own_purchases import EDGES
from toolkit.errors import InputError, ScenarioError
from toolkit.events import EventLog
from toolkit.scenario import Duration, Program, Scenario
from toolkit.scenario.as_experiment import as_experiment
from toolkit.scenario.writing import dump
from toolkit.simulation import ResponseModel, simulate
from toolkit.widgets.guard import told
from toolkit.widgets.jobs import Job, Jobs, go_on
from toolkit.widgets.live_chart import LiveChart
from toolkit.widgets.markup import Html
from toolkit.widgets.packing import packed
from toolkit.widgets.panel import Panel, script, sheet
from toolkit.widgets.picture import picture
from toolkit.widgets.snapshot import snapshot
from toolkit.widgets.surface import CAPS, QUIET, VALID, WAITS, Field, Setting, paths_to_tune, stops_between, waits_with
from toolkit.widgets.versions import save_version

__all__ = ["Tuner"]

_MOST = 30.0
_MOMENT = 0.5  # seconds that two points may take for the whole surface to be made before the cell ends
_LARGE = 2_000_000  # events of a log that is read beside the notebook
_SOON = 0.5  # seconds that a point may take for a move to wait for it
_REST = 12  # twentieths of a second
_AXES = ("wait", "valid", "cap", "quiet")


class Tuner(Panel):
    """Sliders over one scenario: its wait, its discount and how long that holds, the cap and the quiet hours.

    While a slider moves, the screen is drawn in the browser from points computed ahead along that slider, and says that
    it is a quick estimate where it lies between two of them. When the slider is let go, the very setting is replayed
    and the screen says exact. A second drag cancels what the first one had asked for.

    Args:
        program: one or many scenarios and their policies; or one scenario.
        log: what customers did.
        wait: path of the wait to tune; the first one of the scenario that has most to tune unless given.
        offer: path of the percent to tune; that scenario's first unless given; None for a tuner without a discount.
        waits: the waits that are computed ahead, as durations; the program's own is always among them.
        until: the last moment decided; the end of the log unless given.
        effect: the difference in the share of buyers (0.03 is 3 points) that "days to know" is computed for.
        response: how people answer mails; with it, lift and profit are forecast for each setting (modelled, with an
            interval), beside the notebook.
        draws: how many draws a forecast takes; the same chance at every setting, so that values do not jump.
        versions: the folder for numbered versions.

    Attributes:
        value: the tuned program (or scenario, as it was given), frozen.
        wait, percent, valid, cap, quiet: where the sliders stand, for example "4h", 10.0, "3d", 3 and "21:00"; setting
            them moves the sliders.
        experiment: the scenario with the arms control, now and tuned, once that was asked for; frozen.
        yaml: the tuned scenario as YAML.
        error: what went wrong in a callback, or ""; shown in a red box.

    Raises:
        ScenarioError: a path that is not there, with the nearest; a wait that is not a duration.
        NotSupportedError: a path to something else than a wait, or the percent of an offer.
        InputError: a scenario without a goal.

    >>> import pandas as pd
    >>> from toolkit.scenario import loads
    >>> log = EventLog.from_pandas(pd.DataFrame({
    ...     "customer_id": ["ana", "bo", "bo", "ana"], "event": ["cart_add", "cart_add", "purchase", "view"],
    ...     "at": ["2025-03-03T10:00Z", "2025-03-03T10:00Z", "2025-03-03T12:00Z", "2025-03-20T10:00Z"]}))
    >>> program = loads('''
    ... scenario: cart
    ... trigger: {event: cart_add}
    ... reentry: once
    ... exit_on: [{event: purchase}]
    ... goal: {event: purchase, within: 7d}
    ... steps: [{id: pause, wait: 1h}, {send: cart/reminder}]
    ... ''')
    >>> tuner = Tuner(program, log, wait="cart.pause.wait", offer=None)
    >>> tuner.wait = "4h"
    >>> tuner.value["cart"].steps[0].wait
    Duration('4h')
    """

    _esm = script("panel.js", "bars.js", "tuner.js")
    _css = sheet("tuner.css")

    surface = traitlets.Dict(read_only=True).tag(sync=True, to_json=packed)
    exact = traitlets.Dict(read_only=True).tag(sync=True)
    wait = traitlets.Unicode().tag(sync=True)
    percent = traitlets.Float().tag(sync=True)
    valid = traitlets.Unicode().tag(sync=True)
    cap = traitlets.Int().tag(sync=True)
    quiet = traitlets.Unicode().tag(sync=True)
    now_percent = traitlets.Float(allow_none=True, read_only=True).tag(sync=True)
    most = traitlets.Float(_MOST, read_only=True).tag(sync=True)
    modelled = traitlets.Dict(read_only=True).tag(sync=True)
    pinned = traitlets.Dict(read_only=True).tag(sync=True)
    busy = traitlets.Unicode(read_only=True).tag(sync=True)
    said = traitlets.Unicode(read_only=True).tag(sync=True)
    yaml = traitlets.Unicode(read_only=True).tag(sync=True)

    def __init__(
        self,
        program: Program | Scenario,
        log: EventLog,
        *,
        wait: str = "",
        offer: str | None = "",
        waits: Sequence[str | Duration] = WAITS,
        until: datetime | None = None,
        effect: float = 0.03,
        response: ResponseModel | None = None,
        draws: int = 60,
        versions: str | os.PathLike[str] = "versions",
    ) -> None:
        whole = Program(scenarios=(program,)) if isinstance(program, Scenario) else program
        wait, offer = paths_to_tune(whole, wait, offer)
        self._waits = waits_with(whole, wait, waits)
        self._field = Field(whole, log, wait=wait, offer=offer, until=until, effect=effect)
        self._given, self._program, self.paths = program, whole, (wait, offer)
        self._versions = Path(versions)
        self._jobs = Jobs().in_place_of_earlier()
        self._response, self._draws = response, draws
        self._forecasts: dict[tuple[str, float], dict[str, Any]] = {}
        self._held: Setting | None = None
        self._is_moving = False
        self.experiment: Scenario | None = None
        now = self._now = self._field.now()
        super().__init__(title=f"Tune {self._field.name.replace('_', ' ')}")
        self.set_trait("now_percent", None if offer is None else now.percent)
        self.set_trait("most", max(_MOST, now.percent))
        with self.hold_trait_notifications():
            self._put(now)
        self.set_trait("yaml", dump(self._scenario()))
        self.observe(self._set_from_python, ["wait", "percent", "valid", "cap", "quiet"])
        self.set_trait("modelled", {"is_on": response is not None})
        if len(log) < _LARGE:
            self._begin()
        else:
            self._read(len(log))

    # --- what it holds ------------------------------------------------------------------------------------------------

    @property
    def value(self) -> Program | Scenario:
        """The tuned program, or the tuned scenario where one was given."""
        tuned = self._field.program_at(self._setting())
        return tuned.scenarios[0] if isinstance(self._given, Scenario) else tuned

    @property
    def setting(self) -> dict[str, Any]:
        """The numbers at this setting: sent and week (exact); before, before_rate, mails, after, after_rate (observed);
        given, the money given away by 100 offers at this discount (observed, None where not known)."""
        here = self._field.point(self._setting())
        names = ("sent", "week", "before", "before_rate", "mails", "after", "after_rate")
        given = None if here["given"] is None or self.paths[1] is None else here["given"] * self.percent
        return {"wait": self.wait, "percent": self.percent, **{name: here[name] for name in names}, "given": given}

    def finish(self, seconds: float = 60.0) -> None:
        """Wait until what the last move asked for is computed.

        Raises:
            InputError: a large log could not be read; with the reason.
        """
        was_read = bool(self.surface)
        self._jobs.wait(seconds)
        if not was_read and self.surface:  # what follows the reading
            self.finish(seconds)
        if not self.surface:
            raise InputError(self.error or f"the log is not read yet, after {seconds:g} s")

    def prepared(self, seconds: float) -> bool:
        """Wait until the numbers of every wait are there (a forecast is not waited for); whether they are."""
        return self._jobs.until(lambda: bool(self.surface.get("whole")), seconds)

    # --- how it shows -------------------------------------------------------------------------------------------------

    def figure(self) -> go.Figure:
        """The two pictures at this setting, and the money at every wait.

        Returns:
            A plotly figure.
        """
        return picture(self._with_here(), wait=self.wait, percent=self.percent)

    def chart(self) -> LiveChart:
        """The same pictures as a plotly chart that follows the sliders: to point at, zoom and save.

        Returns:
            A widget; it asks the kernel nothing when it redraws.
        """
        if not self.surface:
            self.finish()
        figures = {one["wait"]: picture(self.surface, wait=one["wait"]) for one in self.surface["settings"]}
        return LiveChart(self, figures, currency=self.surface["currency"])

    def body(self) -> Html:
        """Not used: the browser draws this screen from the points."""
        return Html("")

    def snapshot(self) -> str:
        """The screen as HTML without a script."""
        if not self.surface:
            return self.still(Html(""), f"{self.title}: the log was still being read when this cell ran; run it again.")
        shown = snapshot(self._with_here(), wait=self.wait, percent=self.percent)
        return self.still(shown, "This is a snapshot; run the cell to move the sliders.")

    def __repr__(self) -> str:
        gift = "" if self.paths[1] is None else f", discount {self.percent:g}%"
        return f"Tuner({self._field.name.replace('_', ' ')}: wait {self.wait}{gift})"

    def _with_here(self) -> dict[str, Any]:
        """The surface with the present setting among its points."""
        if not self.surface:
            self.finish()
        here = self._field.point(self._setting())
        others = [one for one in self.surface["settings"] if one["wait"] != here["wait"]]
        settings = sorted([*others, here], key=lambda one: Duration.parse(one["wait"]).elapsed)
        return {**self.surface, "settings": settings}

    # --- what moves it ------------------------------------------------------------------------------------------------

    def act_setting(self, value: Any) -> None:
        """A slider was let go."""
        changes = {name: value[name] for name in ("wait", "percent", "valid", "cap", "quiet") if name in value}
        self._move(replace(self._setting(), **self._checked(changes)))

    def act_reset(self, value: Any) -> None:
        """Back to how it is now."""
        self._move(self._now)

    def act_stop(self, value: Any) -> None:
        """Stop reading a large log."""
        self._jobs.cancel()
        self.set_trait("busy", "")

    def act_read(self, value: Any) -> None:
        """Read it from the start, after it was stopped or could not be read."""
        if not self.surface and not self._jobs.running:
            self._read(len(self._field.log))

    def act_pin(self, value: Any) -> None:
        """Hold this setting against those to come; pressed again, let it go."""
        if self.pinned:
            self.set_trait("pinned", {})
            return
        self._held = self._setting()
        point = self._field.point(self._held)
        modelled = self._forecasts.get((self._held.key, self._held.percent))
        self.set_trait("pinned", {"percent": self._held.percent, "point": point, "modelled": modelled})

    def act_version(self, value: Any) -> None:
        """Keep the tuned scenario as a numbered file."""
        path = save_version(self._scenario(), self._versions)
        self.set_trait("said", f"Saved as {path}.")

    def act_experiment(self, value: Any) -> None:
        """Make a scenario that compares the setting with how it is now."""
        live = self._program[self._field.name]
        if self._setting() == self._now:
            raise InputError("this is how it is now; move a slider first, so that there is something to compare")
        old = live.experiment.name if live.experiment else self._field.name
        head, _, number = old.rpartition("_")
        name = f"{head}_{int(number) + 1}" if head and number.isdigit() else f"{old}_2"
        self.experiment = as_experiment(live, self._scenario(), name=name)
        path = save_version(self.experiment, self._versions)
        here, now = self._setting(), self._now
        policies = " Caps and quiet hours hold for all arms." if (here.cap, here.quiet) != (now.cap, now.quiet) else ""
        self.set_trait("said", f"An experiment of control, now and tuned: tuner.experiment, saved as {path}.{policies}")

    def guarded_draw(self) -> None:
        """Nothing to draw here: the browser follows what is held."""

    def _checked(self, changes: dict[str, Any]) -> dict[str, Any]:
        taken: dict[str, Any] = {}
        for name, value in changes.items():
            if name == "wait":
                taken[name] = self._known_wait({"value": value})
            elif name == "percent":
                taken[name] = self._known_percent({"value": value})
            else:
                taken[name] = int(value) if name == "cap" else str(value)
        return taken

    def _move(self, setting: Setting) -> None:
        """Hold another setting, and compute what is not known of it, beside the notebook."""
        program = self._field.program_at(setting)  # refuses what is not allowed before anything changes
        is_read = bool(self.surface)
        if is_read:
            self._jobs.cancel()
        # Where it takes a moment only, the exact answer goes to the browser first, in one message with the rest.
        is_soon = is_read and self._field.seconds < _SOON
        known = self._field.point(setting) if is_soon else self._field.known(setting)
        self._is_moving = True
        try:
            with self.hold_sync(), self.hold_trait_notifications():
                self._put(setting)
                if known is not None:
                    self.set_trait("exact", known)
                self.set_trait("said", "")
                self.set_trait("yaml", dump(program[self._field.name]))
        finally:
            self._is_moving = False
        if is_read:
            self._compute(setting)
        self.changed()

    def _set_from_python(self, change: Any) -> None:
        if not self._is_moving:
            self.guarded(self._move, self._setting())

    def _compute(self, setting: Setting) -> None:
        self._show_forecast(setting)
        is_ready = self.surface["whole"] and self.surface["at"] == _others(setting)
        is_told = self._response is None or (setting.key, setting.percent) in self._forecasts
        if self._field.known(setting) is not None and is_ready and is_told:
            self._jobs.cancel()
            return

        def work(job: Job) -> dict[str, Any]:
            job.step(0, 1, "exact numbers")
            exact = self._field.point(setting)
            job.step(0, 1)  # a newer drag: this result is dropped
            if self._setting().key == setting.key:
                self.set_trait("exact", exact)
            # The sliders are prepared when the hand rests, so that the next exact answer finds the machine free.
            for _ in range(_REST):
                job.step(0, 1)
                time.sleep(0.05)
            surface = self._surface(setting, job)
            self.set_trait("surface", surface)
            self._forecast(setting, job)
            return surface

        def done(surface: dict[str, Any]) -> None:
            self.set_trait("surface", surface)
            self.set_trait("busy", "")

        self._jobs.start(work, done=done, failed=self._failed, moved=self._progressed)

    def _failed(self, fault: BaseException) -> None:
        self.set_trait("busy", "")
        self.error = told(fault)

    def _forecast(self, setting: Setting, job: Job) -> None:
        """Lift and profit of a setting, if people answered as the response model says."""
        if self._response is None or (setting.key, setting.percent) in self._forecasts:
            return
        job.step(0, 1, "forecast" + (", compiled first: a minute or two" if is_first_compilation(answers=True) else ""))
        found = simulate(
            self._field.program_at(setting),
            self._field.log,
            response=self._response,
            draws=self._draws,
            seed=1,
            until=self._field.until,
            progress=False,
        )
        shown = self._field.shown_forecast(found)
        self._forecasts[setting.key, setting.percent] = shown
        if self.pinned and self._held == setting:
            self.set_trait("pinned", {**self.pinned, "modelled": shown})
        if not job.cancelled:
            self._show_forecast(setting)

    def _show_forecast(self, setting: Setting) -> None:
        found = self._forecasts.get((setting.key, setting.percent))
        at = {**_others(setting), "percent": setting.percent}
        self.set_trait("modelled", {"is_on": self._response is not None, "at": at, "found": found})

    def _progressed(self, job: Job) -> None:
        # Few words: each one crosses to the browser.
        if job.words and job.at % 6 == 0 and not job.cancelled:
            self.set_trait("busy", f"{job.words}, {job.at} of {job.total}" if job.total > 1 else job.words)

    def _setting(self) -> Setting:
        return Setting(self.wait, self.percent, self.valid, self.cap, self.quiet)

    def _put(self, setting: Setting) -> None:
        for name in ("wait", "percent", "valid", "cap", "quiet"):
            setattr(self, name, getattr(setting, name))

    def _scenario(self) -> Scenario:
        return self._field.program_at(self._setting())[self._field.name]

    @traitlets.validate("wait")
    def _known_wait(self, proposal: Any) -> str:
        try:
            wait = Duration.parse(proposal["value"])
        except ValueError as error:
            raise ScenarioError(f"{self.paths[0]}: {error}") from error
        low, high = self._waits[0], self._waits[-1]
        if not low.elapsed <= wait.elapsed <= high.elapsed:
            raise InputError(f"wait: found {wait}; this tuner was made for {low} to {high}; pass waits= for more")
        return str(wait)

    @traitlets.validate("percent")
    def _known_percent(self, proposal: Any) -> float:
        value = float(proposal["value"])
        if not 0 <= value <= self.most:
            raise InputError(f"percent: found {value:g}; allowed: 0 to {self.most:g}")
        return value

    # --- what is computed ahead ---------------------------------------------------------------------------------------

    def _read(self, events: int) -> None:
        """A large log is read beside the notebook; the sliders come when it is."""
        self.error = ""
        self.set_trait("busy", f"Reading {events:,} events")
        self._jobs.start(self._begin, done=lambda _: None, failed=self._failed)

    def _begin(self, job: Job | None = None) -> None:
        """The first surface: whole where that takes a moment, else what is known, and the rest in the background."""
        begin, setting = time.perf_counter(), self._setting()
        exact = self._field.point(setting)
        for other in (self._now, replace(setting, wait=str(self._waits[-1]))):  # what that takes tells what a move will
            go_on(job)
            self._field.point(other)
        is_quick = time.perf_counter() - begin < _MOMENT
        surface = self._surface(setting, only_known=not is_quick)
        go_on(job)
        with self.hold_sync():
            self.set_trait("exact", exact)
            self.set_trait("busy", "")
            self.set_trait("surface", surface)
        if not is_quick or self._response is not None or self._setting() != setting:
            self._compute(self._setting())

    def _surface(self, setting: Setting, job: Job | None = None, *, only_known: bool = False) -> dict[str, Any]:
        field, now, values = self._field, self._now, self._stops()
        lines = {
            name: [replace(setting, **{name: value}) for value in known]
            for name, known in {"wait": [str(one) for one in self._waits], **values}.items()
        }
        total, at = sum(map(len, lines.values())), 0
        points: dict[str, list[dict[str, Any] | None]] = {}
        for name, settings in lines.items():
            points[name] = []
            for one in settings:
                if job is not None:
                    job.step(at, total, "preparing the sliders")
                at += 1
                points[name].append(field.known(one) if only_known else field.point(one, ahead=job is not None))
        return {
            "scenario": field.name.replace("_", " "),
            **field.facts,
            "basis": field.basis,
            "whose": whose(field.basis),
            "window": str(field.goal.within),
            "currency": self._program.policies.currency,
            "edges": ["0", *(hours_text(edge).replace(" min", "m").replace(" ", "") for edge in EDGES[1:])],
            "now": now.wait,
            "today": {**_others(now), "percent": now.percent},
            "today_point": field.point(now),
            "offer": self.paths[1] is not None,
            "first": not any(any(one["own"][1]) for one in points["wait"] if one is not None),
            "effect": field.effect,
            "stops": stops_between(self._waits),
            "waits": [str(one) for one in self._waits],
            "values": values,
            "at": _others(setting),
            "base": field.point(setting),
            "settings": [one for one in points["wait"] if one is not None],
            "lines": {name: points[name] for name in values},
            "whole": not only_known,
        }

    def _stops(self) -> dict[str, list[Any]]:
        """What the sliders beside the wait offer, the program's own values among them."""
        now = self._now
        stops: dict[str, list[Any]] = {}
        if self.paths[1] is not None:
            every = {str(Duration.parse(one)) for one in (*VALID, now.valid)}
            stops["valid"] = sorted(every, key=lambda one: Duration.parse(one).elapsed)
        if self._field.has_cap:
            stops["cap"] = [*sorted({*CAPS, now.cap} - {0}), 0]
        if self._field.has_quiet:
            stops["quiet"] = [*sorted({*QUIET, now.quiet} - {"none"}), "none"]
        return stops


def _others(setting: Setting) -> dict[str, Any]:
    return {name: getattr(setting, name) for name in _AXES}
