"""How many people, how long, and what effect can be seen: an experiment planned before a mail is sent."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from toolkit.charts.experiments import power_svg
from toolkit.charts.style import hours_text
from toolkit.engine import Run
from toolkit.engine.baseline import baseline_of
from toolkit.errors import InputError, MetricError, shown
from toolkit.readable import minus
from toolkit.scenario import Duration, Scenario, set_parameters
from toolkit.scenario.models import Experiment
from toolkit.stats import Design, Plan, Rate, plan
from toolkit.widgets.markup import Html, at_widths, button, card, chip, choice, field, note, slider, tag, together
from toolkit.widgets.panel import Panel

__all__ = ["ExperimentDesigner"]

_LOOKS = (("1", "one, at the end"), ("2", "2"), ("3", "3"), ("5", "5"), ("always", "at any time"))
_HOUR = 3_600_000_000
_LONGEST = 64
_MOST_ARMS = 4  # that are told one by one
_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_]{{0,{_LONGEST - 1}}}")


class ExperimentDesigner(Panel):
    """An experiment planned on the people of a replay: control group, effect to find, looks; and how long that takes.

    Entries a day are exact. The rate in control is observed: people of the log who reached the goal within its window
    since they entered, without a mail, as `measure` counts them; it can be typed, too. What the plan needs is computed
    from these and the effect that is asked for.

    Args:
        run: a replay.
        scenario: which; needed where several have a goal.
        metric: name of the metric that decides.
        effect: the difference to find, as a share (0.02 is 2 points).
        holdout: share of the control group, 0 to 1.

    Attributes:
        value: the `Experiment` to put into the scenario, frozen: its name, arms with shares, and the holdout.
        plan: the `Plan` behind it.
        scenario: the scenario with this experiment in it, frozen.
        frozen: the `Design` that was frozen, or None.

    Raises:
        InputError: no replay, a scenario without a goal, a holdout that is no share.
    """

    def __init__(
        self,
        run: Run,
        *,
        scenario: str | None = None,
        metric: str = "converted",
        effect: float = 0.03,
        holdout: float | None = None,
    ) -> None:
        _check(run, holdout)
        found = baseline_of(run, scenario=scenario)
        self._run, self._name = run, found.scenario
        chosen = run.program[found.scenario]
        given = chosen.experiment
        self._basis = found.basis
        self._window = str(chosen.goal.within) if chosen.goal else "7d"
        self._observed = found.rate
        self._base = self._observed if 0 < self._observed < 1 else 0.1
        self._entries = found.per_day
        self._effect, self._power, self._looks = effect, 0.8, "1"
        self._arms, self._control = _arms_of(given), _control_of(given)
        held = given.arms.get(given.holdout, 0.2) if given is not None and given.holdout else 0.2
        self._holdout = held if holdout is None else holdout
        self._experiment_name = _next_name(given.name if given else f"{found.scenario}_1", is_new=given is None)
        self._said = ""
        self._metric = metric
        self.frozen: Design | None = None
        super().__init__(title=f"Design an experiment for {found.scenario.replace('_', ' ')}")
        self._make()
        self.redraw()

    @property
    def value(self) -> Experiment:
        """The experiment, to put into the scenario."""
        return Experiment(name=self._experiment_name, arms=self._shares(), holdout=self._control)

    @property
    def scenario(self) -> Scenario:
        """The scenario with this experiment."""
        return set_parameters(self._run.program, {f"{self._name}.experiment": self.value})[self._name]

    @property
    def _file(self) -> str:
        """Where the design is frozen to: a design of another name is another file."""
        return f"{self._experiment_name}_design.json"

    # --- what is moved ------------------------------------------------------------------------------------------------

    def act_effect(self, value: Any) -> None:
        """Another effect to find, in points."""
        self._change(_effect=float(value) / 100)

    def act_holdout(self, value: Any) -> None:
        """Another share of the control group, in percent."""
        self._change(_holdout=float(value) / 100)

    def act_power(self, value: Any) -> None:
        """Another chance to find it, in percent."""
        self._change(_power=float(value) / 100)

    def act_looks(self, value: Any) -> None:
        """Another number of looks."""
        self._change(_looks=str(value))

    def act_base(self, value: Any) -> None:
        """Another rate in control was typed, in percent."""
        try:
            rate = float(str(value).replace("%", "").replace(",", ".")) / 100
        except ValueError:
            raise InputError(f"rate in control: found {shown(value)}; allowed: percent, for example 8.5") from None
        if not 0 < rate < 1:
            raise InputError(f"rate in control: found {value}%; allowed: above 0 and below 100")
        self._change(_base=rate)

    def act_name(self, value: Any) -> None:
        """Another name of the experiment was typed."""
        name = str(value).strip()
        if not _NAME.fullmatch(name):
            near = re.sub(r"[^A-Za-z0-9_]+", "_", name).lstrip("_0123456789").strip("_")[:_LONGEST]
            raise InputError(
                f"name of the experiment: found {shown(name)}; allowed: letters, digits and _, at most {_LONGEST}, a "
                "letter first" + (f"; did you mean {near!r}?" if near else "")
            )
        self._change(_experiment_name=name)

    def act_freeze(self, value: Any) -> None:
        """Write the design down, before anyone looks."""
        self.frozen = self.plan.freeze(Path(self._file))
        self._said = (
            f"Frozen to {self._file}: pass design={self._file!r} to tk.experiment, and the result is held against it."
        )
        self.changed()

    def _change(self, **changes: Any) -> None:
        before = {name: getattr(self, name) for name in changes}
        for name, new in changes.items():
            setattr(self, name, new)
        try:
            self._make()
        except MetricError:
            for name, old in before.items():
                setattr(self, name, old)
            raise
        self.frozen, self._said = None, ""
        self.changed()

    def _make(self) -> None:
        self.plan: Plan = plan(
            Rate(self._metric),
            baseline=self._base,
            diff=self._effect,
            power=self._power,
            arms=self._shares(),
            control=self._control,
            looks=1 if self._looks == "always" else int(self._looks),
            spending="always" if self._looks == "always" else "obrien_fleming",
            per_day=self._entries if self._entries > 0 else None,
            window=self._window,
        )

    def _shares(self) -> dict[str, float]:
        rest = 1 - self._holdout
        shares = {self._control: round(self._holdout, 6)}
        for arm, weight in self._arms.items():
            shares[arm] = round(rest * weight, 6)
        return shares

    # --- how it shows -------------------------------------------------------------------------------------------------

    def body(self) -> Html:
        """The sliders to the left, what follows from them to the right."""
        plan_ = self.plan
        head = tag(
            "header",
            tag("h3", self.title),
            tag("span", self._pace(), " ", chip("exact"), class_="ttk-soft"),
        )
        left = tag(
            "div",
            slider(
                "Effect to find",
                "effect",
                low=0.5,
                high=12,
                step=0.5,
                value=100 * self._effect,
                text=f"{100 * self._effect:+.1f} points",
                ticks=[(2, "2"), (4, "4"), (6, "6"), (8, "8"), (10, "10")],
            ),
            slider(
                "Control group",
                "holdout",
                low=5,
                high=50,
                step=5,
                value=100 * self._holdout,
                text=_percent(self._holdout),
                ticks=[(10, "10%"), (20, "20%"), (30, "30%"), (40, "40%"), (50, "50%")],
            ),
            slider(
                "Chance to find it (power)",
                "power",
                low=60,
                high=95,
                step=5,
                value=100 * self._power,
                text=_percent(self._power),
                ticks=[(60, "60%"), (70, "70%"), (80, "80%"), (90, "90%")],
            ),
            tag(
                "div",
                field("Rate in control, %", "base", f"{100 * self._base:.1f}", hint=self._whence(), size=6),
                choice("Looks at the result", "looks", _LOOKS, self._looks),
                class_="ttk-fields",
            ),
            class_="ttk-stack",
        )
        days = plan_.days
        span = hours_text(Duration.parse(self._window).elapsed / _HOUR)
        arms = _by_arm(plan_.per_arm)
        cards = tag(
            "div",
            card("People needed", f"{plan_.units:,}", arms, "planned"),
            card(
                "Days to know",
                "–" if math.isnan(days) else f"{days:,.0f}",
                f"{self._too_few()} in this log" if math.isnan(days) else f"the last {span} are for outcomes",
                "planned",
            ),
            card(
                "Lift of the rate",
                minus(f"{100 * plan_.rel:+.0f}%") if not math.isnan(plan_.rel) else "–",
                f"from {_percent(self._base, 1)} to {_percent(self._base + self._effect, 1)}",
                "planned",
            ),
            class_="ttk-cards",
        )
        picture = tag(
            "figure",
            tag("figcaption", tag("b", "How sure you get, and when"), " ", chip("planned")),
            at_widths(lambda width: power_svg(plan_, width=width), 560),
            class_="ttk-figure",
        )
        right = tag("div", cards, picture, self._advice(), class_="ttk-stack")
        return together([head, tag("div", left, right, class_="ttk-split"), self._foot()])

    def _pace(self) -> str:
        """How many people enter a day, in words."""
        pace = self._entries
        return (
            f"{self._too_few()} in this log"
            if not pace > 0
            else f"{pace:,.{1 if pace >= 1 else 2}f} people enter a day"
        )

    def _too_few(self) -> str:
        """Why there is no pace."""
        return "one person alone enters" if math.isnan(self._entries) else "nobody enters"

    def _whence(self) -> str:
        """Where the rate in control comes from; a rate that was typed, or guessed, is not called observed."""
        if math.isnan(self._observed):
            return "this log cannot tell; type what you know"
        if not math.isclose(self._base, self._observed, abs_tol=5e-4):
            return f"typed; observed was {_percent(self._observed, 1)}"
        who = "in a log without these mails" if self._basis == "all" else "in the control group"
        return f"observed: bought within {hours_text(Duration.parse(self._window).elapsed / _HOUR)} of entering, {who}"

    def _advice(self) -> Html:
        plan_ = self.plan
        found = plan_.detectable(max(2.0, self._entries * 28)) if self._entries > 0 else math.nan
        if math.isnan(plan_.days):
            few = self._too_few().capitalize()
            return note(f"{few} this scenario in the log, so the time it takes is unknown.", tone="careful")
        if plan_.days > 180:
            smallest = (
                f" In four weeks of entries, {100 * found:.1f} points could be found." if not math.isnan(found) else ""
            )
            return note(f"That takes {plan_.days:,.0f} days: ask for a larger effect.{smallest}", tone="careful")
        cost = (
            f" Looking early costs {_percent(plan_.inflation - 1, 1)} more people." if plan_.inflation > 1.0001 else ""
        )
        return note(
            f"After {plan_.days:,.0f} days you know, with a chance of {_percent(self._power)}, "
            f"if it is at least this much.{cost}",
            tone="good",
        )

    def _foot(self) -> Html:
        return tag(
            "div",
            field("Name of the experiment", "name", self._experiment_name, size=18),
            button("Freeze the design", "freeze", kind="main", title=f"Writes {self._file}"),
            tag(
                "span",
                self._said or "People are drawn by the name: a new design needs a new name.",
                class_="ttk-detail",
                role="status",
            ),
            class_="ttk-row ttk-end ttk-gap",
        )


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f}%"


def _arms_of(experiment: Experiment | None) -> Mapping[str, float]:
    """The arms beside control, with their shares of the rest."""
    if experiment is None:
        return {"mail": 1.0}
    others = {arm: share for arm, share in experiment.arms.items() if arm != experiment.holdout}
    total = sum(others.values()) or 1.0
    return {arm: share / total for arm, share in others.items()}


def _check(run: object, holdout: object) -> None:
    if not isinstance(run, Run):
        raise InputError(f"run: found {type(run).__name__}; allowed: what tk.replay returned")
    if run.period is not None:
        raise InputError("run: found a period of a run; allowed: what tk.replay returned, as a whole")
    if holdout is not None and not (isinstance(holdout, Real) and 0 < float(holdout) < 1):
        raise InputError(f"holdout: found {shown(holdout)}; allowed: a share above 0 and below 1, for example 0.2")


def _control_of(experiment: Experiment | None) -> str:
    """What the control group is called: as before, else by a name that no arm has."""
    if experiment is None:
        return "control"
    return experiment.holdout or ("holdout" if "control" in experiment.arms else "control")


def _by_arm(counts: Mapping[str, int]) -> str:
    """How many people each arm gets; of many arms, in short."""
    if len(counts) <= _MOST_ARMS:
        return ", ".join(f"{arm} {count:,}" for arm, count in counts.items())
    (first, count), *others = counts.items()
    low, high = min(one for _, one in others), max(one for _, one in others)
    return f"{first} {count:,}, {len(others)} other arms {low:,}{'' if low == high else f' to {high:,}'} each"


def _next_name(name: str, *, is_new: bool) -> str:
    """A name not used yet: cart_offer_1 becomes cart_offer_2."""
    if is_new:
        return name
    head, _, number = name.rpartition("_")
    return f"{head}_{int(number) + 1}" if head and number.isdigit() else f"{name}_2"
