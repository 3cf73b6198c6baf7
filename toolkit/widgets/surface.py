"""What the tuning screen shows, computed ahead along each of its sliders; nothing guessed.

A slider moves along one line through the present setting, so that is what is computed: a point for each stop of each
slider, the others held. A discount moves no decision and no purchase that was made without it, so money is one number
at each point, times the discount.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pandas as pd

from toolkit.charts.own_purchases import place_of
from toolkit.charts.sends import quiet_hours, span_words
from toolkit.charts.style import hours_text
from toolkit.charts.sweeps import setting_text
from toolkit.cores import cores
from toolkit.engine.baseline import a_day, days_of
from toolkit.engine.doors import scenario_in, scenario_with_goal
from toolkit.engine.glance import Glance, glance
from toolkit.engine.own_purchases import EDGES, opened_to_all
from toolkit.engine.replay import compiled_for
from toolkit.engine.tally import own_of
from toolkit.engine.unmet import nobody_enters
from toolkit.engine.zones import DAY
from toolkit.errors import MetricError, NotSupportedError, ScenarioError
from toolkit.events import EventLog
from toolkit.events.marks import mailed_scenarios
from toolkit.scenario import Duration, Program, get_parameter, parameters, set_parameters
from toolkit.scenario.checks import check_against
from toolkit.scenario.models import Offer, Send, every_step
from toolkit.simulation.forecast import Forecast
from toolkit.stats import Rate, plan

__all__ = [
    "CAPS",
    "QUIET",
    "VALID",
    "WAITS",
    "Field",
    "Setting",
    "offer_step",
    "paths_to_tune",
    "stops_between",
    "waits_with",
]

WAITS = ("0s", "30m", "1h", "2h", "4h", "8h", "12h", "1d", "2d", "4d")
VALID = ("1d", "2d", "3d", "5d", "7d", "14d")
CAPS = (0, 1, 2, 3, 4, 6)
QUIET = ("none", "19:00", "20:00", "21:00", "22:00", "23:00")
_BETWEEN = 3  # stops between two computed waits


@dataclass(frozen=True, slots=True)
class Setting:
    """Where the sliders stand.

    Attributes:
        wait: the wait, for example `4h`.
        percent: the discount; 0 is none.
        valid: how long the offer holds, `` where there is none.
        cap: mails a person in the window of the program's first cap; 0 is no cap.
        quiet: when the quiet hours begin, local time; `none` for no quiet hours.
    """

    wait: str
    percent: float
    valid: str
    cap: int
    quiet: str

    @property
    def key(self) -> str:
        """What decides: everything but the discount."""
        return f"{self.wait}|{self.valid}|{self.cap}|{self.quiet}"


def paths_to_tune(program: Program, wait: str, offer: str | None) -> tuple[str, str | None]:
    """The wait and the offer that the sliders move, where they were not named.

    Args:
        program: scenarios and policies.
        wait: its path; "" for the first wait of the scenario that has most to tune: a goal, an experiment, an offer.
        offer: path of its percent; "" for the first offer of the wait's scenario, None for no offer.

    Raises:
        ScenarioError: no scenario with a goal has a wait.

    >>> from toolkit.scenario import load
    >>> paths_to_tune(load("templates"), "", "")
    ('abandoned_cart.pause.wait', 'abandoned_cart.offer.offer.percent')
    """
    able = [path for path, value in parameters(program).items() if isinstance(value, Duration | float | int)]

    def first(scenario: str, end: str) -> str:
        return next((path for path in able if path.startswith(f"{scenario}.") and path.endswith(end)), "")

    if not wait:
        named = [one for one in program.scenarios if one.goal is not None and first(one.scenario, ".wait")]
        if not named:
            raise ScenarioError("no scenario with a goal has a wait: there is nothing that the sliders could move")
        best = max(named, key=lambda one: (one.experiment is not None, bool(first(one.scenario, ".offer.percent"))))
        wait = first(best.scenario, ".wait")
    return wait, offer if offer != "" else first(wait.partition(".")[0], ".offer.percent") or None


def waits_with(program: Program, path: str, waits: Sequence[str | Duration]) -> list[Duration]:
    """The waits that are computed ahead, from short to long, with the one the program has now among them.

    Args:
        program: scenarios and policies.
        path: of a wait.
        waits: what to offer.

    Raises:
        ScenarioError: no such path, or a wait that is not a duration.
        NotSupportedError: the path leads to something other than a length of time.
    """
    now = get_parameter(program, path)
    if not isinstance(now, Duration):
        raise NotSupportedError(f"{path}: the slider moves a wait such as '4h'; found {now!r}")
    try:
        every = {str(one): one for one in (*map(Duration.parse, waits), now)}
    except ValueError as error:
        raise ScenarioError(f"waits: {error}") from error
    return sorted(every.values(), key=lambda one: one.elapsed)


def stops_between(waits: Sequence[Duration]) -> list[dict[str, Any]]:
    """The stops of the slider: the waits computed ahead, and round times between them.

    Args:
        waits: rising.

    Returns:
        One per stop: wait, text, and place (whole at the waits computed ahead).

    >>> [stop["wait"] for stop in stops_between([Duration.parse("1h"), Duration.parse("2h")])]
    ['1h', '1h15m', '1h30m', '1h45m', '2h']
    """
    stops = []
    for number, wait in enumerate(waits):
        stops.append({"wait": str(wait), "text": wait_text(wait), "place": float(number)})
        if number + 1 == len(waits):
            break
        low, high = wait.elapsed / 60_000_000, waits[number + 1].elapsed / 60_000_000
        for part in range(1, _BETWEEN + 1):
            minutes = low + (high - low) * part / (_BETWEEN + 1)
            grain = 5 if high <= 60 else 15 if high <= 480 else 60 if high <= 1440 else 360
            minutes = round(minutes / grain) * grain
            if low < minutes < high:
                between = Duration.parse(
                    f"{int(minutes // 60)}h{int(minutes % 60)}m" if minutes % 60 else f"{int(minutes // 60)}h"
                )
                place = number + (minutes - low) / (high - low)
                stops.append({"wait": str(between), "text": wait_text(between), "place": place})
    return stops


def wait_text(wait: Duration) -> str:
    """A wait in words."""
    return "no wait" if wait.elapsed == 0 else hours_text(wait.elapsed / 3_600_000_000)


def offer_step(program: Program, path: str) -> tuple[str, str, float]:
    """Scenario, step and percent that a path such as `abandoned_cart.offer.offer.percent` leads to.

    Raises:
        ScenarioError: no such path.
        NotSupportedError: the path does not lead to the percent of a send step's offer.
    """
    now = get_parameter(program, path)
    scenario, _, rest = path.partition(".")
    step = rest.removesuffix(".offer.percent")
    sends = {one.id for one in every_step(program[scenario].steps) if isinstance(one, Send)} if rest else set()
    if step == rest or step not in sends or not isinstance(now, int | float):
        raise NotSupportedError(f"{path}: the slider moves the percent of an offer, <scenario>.<step>.offer.percent")
    return scenario, step, float(now)


class Field:
    """What a program does at a setting, over one log.

    Args:
        program: scenarios and policies.
        log: what customers did.
        wait: path of the wait.
        offer: path of an offer's percent, or None.
        until: the last moment decided; the end of the log unless given.
        effect: the difference in the rate that an experiment is to find, for the days it takes.

    Attributes:
        seconds: how long the last point took that was computed.
        facts: what does not depend on the setting: the span of the log, the mails, the quiet hours of now and when they
            end, the time a cap counts over, and what the slider of the wait is called.

    Raises:
        ScenarioError: the program does not fit the log.
    """

    def __init__(
        self, program: Program, log: EventLog, *, wait: str, offer: str | None, until: datetime | None, effect: float
    ) -> None:
        self.program, self.log, self.wait, self.offer, self.until = program, log, wait, offer, until
        self.effect = effect
        self.name = wait.partition(".")[0]
        self.gift = None if offer is None else offer_step(program, offer)[1]
        _, scenario, self.goal = scenario_with_goal(program.scenarios, self.name)
        self._points: dict[str, dict[str, Any]] = {}
        self._past: int | None = None
        self.seconds = 0.0
        self.quiet_path = f"{self.name}.quiet" if scenario.quiet is not None else "policies.quiet"
        self.has_quiet = scenario.quiet is not None or program.policies.quiet is not None
        self.has_cap = bool(program.policies.caps) and scenario.class_ == "marketing"
        self._now = self._found()
        check_against(
            program,
            event_counts=dict.fromkeys(log.event_names, 1),
            properties=log.properties,
            attributes=log.attributes,
        )
        compiled, last = compiled_for(program, log, until=until)
        place, _ = scenario_in(compiled.scenarios, self.name)
        self.basis = own_of(compiled, mailed_scenarios(log, up_to=last)).basis[place]
        self.arm = scenario.experiment.holdout if scenario.experiment and self.basis == "control" else None
        self.facts = {
            "span": span_words(log, pd.Timestamp(last, unit="us", tz="UTC")),
            "mails": [send.step.replace("_", " ") for send in compiled.sends if send.scenario == self.name],
            "quiet": quiet_hours(program, self.name),
            "quiet_to": str(get_parameter(program, self.quiet_path).to) if self.has_quiet else "",
            "cap_per": str(program.policies.caps[0].per) if self.has_cap else "",
            "wait_name": self._wait_name(),
            "nobody": "".join(f"n{why[1:]}" for why in nobody_enters((scenario,), log.event_names)),
        }

    def _wait_name(self) -> str:
        """What the slider moves: the wait before the first mail, or before the mail that comes next."""
        steps = list(every_step(self.program[self.name].steps))
        mails = [one for one in steps if isinstance(one, Send)]
        at = next((place for place, one in enumerate(steps) if self.wait == f"{self.name}.{one.id}.wait"), 0)
        mail = next((one for one in steps[at:] if isinstance(one, Send)), None)
        return (
            "Wait before the mail" if mail is None or mail == mails[0] else f"Wait before {mail.id}".replace("_", " ")
        )

    def now(self) -> Setting:
        """The setting of the program as it is."""
        return self._now

    def _found(self) -> Setting:
        offer = self._offer()
        quiet = get_parameter(self.program, self.quiet_path) if self.has_quiet else None
        return Setting(
            wait=str(get_parameter(self.program, self.wait)),
            percent=0.0 if self.offer is None else offer_step(self.program, self.offer)[2],
            valid="" if offer is None else str(offer.valid or self.goal.within),
            cap=self.program.policies.caps[0].limit if self.has_cap else 0,
            quiet=str(quiet.from_) if quiet is not None else "none",
        )

    def program_at(self, setting: Setting) -> Program:
        """The program with a setting in it."""
        now = self.now()
        values: dict[str, Any] = {self.wait: setting.wait}
        offer = self._offer()
        if self.offer is not None and offer is not None:
            place = self.offer.removesuffix(".percent")
            if setting.percent > 0:
                values[self.offer] = setting.percent
                if setting.valid != now.valid:
                    values[f"{place}.valid"] = setting.valid
            else:
                # An offer of nothing else is no offer.
                rest: Any = offer.replace(percent=None) if offer.free_shipping or offer.amount is not None else None
                values[place] = rest
        if self.has_quiet and setting.quiet != now.quiet:
            if setting.quiet == "none":
                values[self.quiet_path] = None
            else:
                values[f"{self.quiet_path}.from"] = setting.quiet
        program = set_parameters(self.program, values)
        if self.has_cap and setting.cap != now.cap:
            caps = program.policies.caps
            first = () if setting.cap == 0 else (caps[0].replace(limit=setting.cap),)
            program = program.replace(policies=program.policies.replace(caps=(*first, *caps[1:])))
        return program

    def gifted_arm(self) -> str | None:
        """The arm that gets the offer, the last of several; None where there are no arms."""
        scenario = self.program[self.name]
        if scenario.experiment is None:
            return None
        gift = next((one for one in every_step(scenario.steps) if isinstance(one, Send) and one.id == self.gift), None)
        mailed = [arm for arm in scenario.experiment.arms if arm != scenario.experiment.holdout]
        return (gift.only if gift is not None and gift.only else mailed)[-1]

    def known(self, setting: Setting) -> dict[str, Any] | None:
        """The point of a setting, where it was computed already."""
        return self._points.get(setting.key)

    def point(self, setting: Setting, *, ahead: bool = False) -> dict[str, Any]:
        """Everything the screen draws at one setting, as plain values; money for a discount of 1%.

        Args:
            setting: where the sliders stand.
            ahead: nobody waits for it, so a core is left to those who move sliders.
        """
        known = self._points.get(setting.key)
        if known is not None:
            return known
        # The discount itself decides nothing, so it is left as it is, unless it is none.
        begin = time.perf_counter()
        program = self.program_at(replace(setting, percent=self._now.percent))
        found = self._shown(self._look(program, setting, max(1, cores() - 1) if ahead else None), setting)
        if not ahead:
            self.seconds = time.perf_counter() - begin
        if len(self._points) > 600:
            self._points.clear()
        self._points[setting.key] = found
        return found

    def _look(self, program: Program, setting: Setting, threads: int | None) -> Glance:
        scenario = program[self.name]
        gift = next((one for one in every_step(scenario.steps) if isinstance(one, Send) and one.id == self.gift), None)
        return glance(
            program,
            self.log,
            self.name,
            until=self.until,
            arm=self.arm,
            gift=self.gift,
            opened=opened_to_all(program, scenario, self.arm, gift),
            valid=Duration.parse(setting.valid) if setting.valid else None,
            edges=EDGES,
            watched=self.basis != "none",
            threads=threads,
        )

    def _shown(self, found: Glance, setting: Setting) -> dict[str, Any]:
        wait = Duration.parse(setting.wait)
        span = self.log.span
        days = max(7.0, days_of(*found.entries, self.log, found.until)) if found.entered else 7.0
        before, after = found.before, found.after
        after_rate = after / found.mails if found.mails else None
        has_offer = self.gift is not None and found.offers and not math.isnan(found.paid)
        past = self._bins_before(found)
        first = pd.Timestamp(found.first_day + past * found.bin_days, unit="D") if span else None
        return {
            "wait": setting.wait,
            "valid": setting.valid,
            "cap": setting.cap,
            "quiet": setting.quiet,
            "text": wait_text(wait),
            "tick": setting_text(setting.wait),
            "hours": found.hours.tolist(),
            "days": found.days[:, past:].tolist(),
            "first_day": "" if first is None else f"{first:%Y-%m-%d}",
            "bin_days": found.bin_days,
            "sent": found.sent,
            "week": round(7 * found.sent / days, 3),
            "own": found.own.tolist(),
            "before": before,
            "after": after,
            "mails": found.mails,
            "before_rate": before / (before + found.mails) if before + found.mails else None,
            "after_rate": after_rate,
            "given": found.paid / found.offers if has_offer else None,
            "offers": found.offers,
            "to_know": self._days_to_know(found),
            "marks": [
                {"place": place_of(lag), "text": f"{word} {hours_text(lag) if lag else 'at once'}"}
                for word, lag in zip(("mail", "offer"), found.lags, strict=True)
                if not math.isnan(lag) and (word == "mail" or lag > found.lags[0])
            ],
        }

    def _bins_before(self, found: Glance) -> int:
        """How many bins of days end before anybody enters, which no setting changes: they are left out."""
        if self._past is None:
            day = found.entries[0] // DAY - 1 if found.entered else found.first_day  # a local day may begin earlier
            self._past = max(0, (day - found.first_day) // found.bin_days)
        return self._past

    def shown_forecast(self, found: Forecast) -> dict[str, Any]:
        """Lift, and profit by a thousand people, of the arm that gets the offer; None where they are no number."""
        lift = found.lift[found.lift["scenario"] == self.name]
        arm = self.gifted_arm()
        mine = lift[lift["arm"] == (arm if arm in set(lift["arm"]) else lift["arm"].iloc[-1])]
        shown: dict[str, Any] = {"arm": "" if arm is None else arm}
        for metric, name, times in (("conversions", "lift", 1.0), ("profit", "profit", 1000.0)):
            row = mine[mine["metric"] == metric]
            for column, key in (("diff", name), ("diff_lower", f"{name}_lower"), ("diff_upper", f"{name}_upper")):
                value = float(row[column].iloc[0]) * times if len(row) else math.nan
                shown[key] = None if math.isnan(value) else value
        return shown

    def _days_to_know(self, found: Glance) -> dict[str, Any] | None:
        """People and days until an effect of a given size is found, as an experiment counts them.

        In the arms of the scenario's own experiment; without one, with a fifth held back.
        """
        span, own = self.log.span, self.program[self.name].experiment
        shares: dict[str, Any] = {"holdout": 0.2}
        if own is not None and own.holdout:
            shares = {"arms": dict(own.arms), "control": own.holdout}
        rate = found.converted / found.closed if found.closed else None
        if rate is None or not 0 < rate < 1 - self.effect or span is None:
            return None
        per_day = a_day(found.entered, days_of(*found.entries, self.log, found.until))
        try:
            needed = plan(
                Rate("converted"),
                baseline=rate,
                diff=self.effect,
                **shares,
                per_day=None if math.isnan(per_day) else per_day,
                window=str(self.goal.within),
            )
        except MetricError:
            return None
        return {"people": needed.units, "days": None if math.isnan(needed.days) else needed.days}

    def _offer(self) -> Offer | None:
        if self.offer is None:
            return None
        found = get_parameter(self.program, self.offer.removesuffix(".percent"))
        return found if isinstance(found, Offer) else None
