"""The tuning screen: how long to wait, how much to give, and at once what that would have meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import anywidget
import plotly.graph_objects as go
import traitlets

from toolkit.errors import InputError, ScenarioError
from toolkit.events import EventLog
from toolkit.scenario import Duration, Program, Scenario, get_parameter, set_parameters
from toolkit.scenario.writing import dump
from toolkit.widgets.guard import guarded
from toolkit.widgets.live_chart import LiveChart
from toolkit.widgets.picture import picture
from toolkit.widgets.snapshot import snapshot
from toolkit.widgets.surface import WAITS, offer_step, surface, waits_with, without_offer

__all__ = ["Tuner"]

_HERE = Path(__file__).parent
_MOST = 30.0


class Tuner(anywidget.AnyWidget):
    """Two sliders over one scenario: its wait and its discount.

    On each move it redraws the mails by hour (exact) and the people who buy on their own before and after the mail
    (observed), with the discount that would have been given away to people who buy anyway. Every wait is replayed
    when the tuner is made; a drag asks the kernel nothing.

    Args:
        program: one or many scenarios and their policies; or one scenario.
        log: what customers did.
        wait: path of the wait to tune.
        offer: path of the percent to tune; None for a tuner without a discount.
        waits: what the slider of the wait offers, as durations; the program's own is always among them.
        until: the last moment decided; the end of the log unless given.

    Attributes:
        value: the tuned program (or scenario, as it was given), frozen.
        wait, percent: where the sliders stand, for example "4h" and 10.0; setting them moves the sliders.
        yaml: the tuned scenario as YAML.
        error: what went wrong in a callback, or ""; shown in a red box.

    Raises:
        ScenarioError: a path that is not there, with the nearest; a wait that is not a duration.
        NotSupportedError: a path to something else than a wait, or the percent of an offer.

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

    _esm = _HERE / "tuner.js"
    _css = _HERE / "tuner.css"

    surface = traitlets.Dict(read_only=True).tag(sync=True)
    wait = traitlets.Unicode().tag(sync=True)
    percent = traitlets.Float().tag(sync=True)
    now_percent = traitlets.Float(allow_none=True, read_only=True).tag(sync=True)
    most = traitlets.Float(_MOST, read_only=True).tag(sync=True)
    yaml = traitlets.Unicode(read_only=True).tag(sync=True)
    error = traitlets.Unicode().tag(sync=True)
    browser_error = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        program: Program | Scenario,
        log: EventLog,
        *,
        wait: str = "abandoned_cart.pause.wait",
        offer: str | None = "abandoned_cart.offer.offer.percent",
        waits: Sequence[str | Duration] = WAITS,
        until: datetime | None = None,
    ) -> None:
        whole = Program(scenarios=(program,)) if isinstance(program, Scenario) else program
        settings = waits_with(whole, wait, waits)
        percent = 0.0 if offer is None else offer_step(whole, offer)[2]
        self._given = program
        self._program = whole
        self._wait_path, self._offer_path = wait, offer
        self._waits = {str(one): one for one in settings}
        self._callbacks: list[Callable[[Program | Scenario], object]] = []
        super().__init__()
        self.set_trait("surface", surface(whole, log, wait=wait, offer=offer, waits=settings, until=until))
        self.set_trait("now_percent", None if offer is None else percent)
        self.set_trait("most", max(_MOST, percent))
        self.wait = str(get_parameter(whole, wait))
        self.percent = percent
        self._moved({})
        self.observe(guarded(self, self._moved), ["wait", "percent"])
        self.observe(self._told_by_browser, "browser_error")

    # --- what it holds ------------------------------------------------------------------------------------------------

    @property
    def value(self) -> Program | Scenario:
        """The tuned program, or the tuned scenario where one was given."""
        tuned = set_parameters(self._program, {self._wait_path: self.wait})
        if self._offer_path is not None:
            if self.percent > 0:
                tuned = set_parameters(tuned, {self._offer_path: self.percent})
            else:
                tuned = without_offer(tuned, self._offer_path)
        return tuned.scenarios[0] if isinstance(self._given, Scenario) else tuned

    @property
    def setting(self) -> dict[str, Any]:
        """The numbers shown at this setting: sent and week (exact); before, before_rate, mails, after, after_rate
        (observed); given, the money given away by 100 offers at this discount (observed, None where not known)."""
        here = self._here()
        names = ("sent", "week", "before", "before_rate", "mails", "after", "after_rate")
        given = None if here["given"] is None or self._offer_path is None else here["given"] * self.percent
        return {"wait": self.wait, "percent": self.percent, **{name: here[name] for name in names}, "given": given}

    def on_change(self, callback: Callable[[Program | Scenario], object]) -> None:
        """Call back with the tuned value whenever a slider comes to rest; an error in it is shown on the screen.

        Args:
            callback: takes `value`.
        """
        self._callbacks.append(callback)

    # --- how it shows -------------------------------------------------------------------------------------------------

    def figure(self) -> go.Figure:
        """The two pictures at this setting, and the money at every wait.

        Returns:
            A plotly figure.
        """
        return picture(self.surface, wait=self.wait, percent=self.percent)

    def chart(self) -> LiveChart:
        """The same pictures as a plotly chart that follows the sliders: to point at, zoom and save.

        Returns:
            A widget; it asks the kernel nothing when it redraws.
        """
        figures = {one["wait"]: picture(self.surface, wait=one["wait"]) for one in self.surface["settings"]}
        return LiveChart(self, figures, currency=self.surface["currency"])

    def _repr_mimebundle_(self, **options: Any) -> Any:
        shown = super()._repr_mimebundle_(**options)
        bundle = shown[0] if isinstance(shown, tuple) else shown
        if bundle is not None:
            bundle["text/plain"] = repr(self)
            bundle["text/html"] = snapshot(self.surface, wait=self.wait, percent=self.percent)
        return shown

    def __repr__(self) -> str:
        gift = "" if self._offer_path is None else f", discount {self.percent:g} %"
        return f"Tuner({self.surface.get('scenario', '')}: wait {self.wait}{gift})"

    # --- what moves it ------------------------------------------------------------------------------------------------

    @traitlets.validate("wait")
    def _known_wait(self, proposal: Any) -> str:
        try:
            text = str(Duration.parse(proposal["value"]))
        except ValueError as error:
            raise ScenarioError(f"{self._wait_path}: {error}") from error
        if text not in self._waits:
            raise InputError(
                f"wait: found {text!r}; this tuner was made for {', '.join(self._waits)}; pass waits= for more"
            )
        return text

    @traitlets.validate("percent")
    def _known_percent(self, proposal: Any) -> float:
        value = float(proposal["value"])
        if not 0 <= value <= self.most:
            raise InputError(f"percent: found {value:g}; allowed: 0 to {self.most:g}")
        return value

    def _moved(self, change: Any) -> None:
        value = self.value
        name = self._wait_path.partition(".")[0]
        self.set_trait("yaml", dump(value if isinstance(value, Scenario) else value[name]))
        for callback in self._callbacks:
            callback(value)

    def _told_by_browser(self, change: Any) -> None:
        if change["new"]:
            self.error = change["new"]

    def _here(self) -> dict[str, Any]:
        found: dict[str, Any] = next(one for one in self.surface["settings"] if one["wait"] == self.wait)
        return found
