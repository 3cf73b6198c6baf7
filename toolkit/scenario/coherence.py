"""What a scenario says has to hold together: arms, ids, keys, offers, moments."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from toolkit.errors import nearest
from toolkit.scenario import models as m
from toolkit.scenario.base import Condition, History
from toolkit.scenario.document import Place
from toolkit.scenario.expression import Expression
from toolkit.scenario.findings import Finding
from toolkit.scenario.places import path_of

__all__ = ["counts_for", "findings", "program_findings"]

MAX_DEPTH = 20
MAX_STEPS = 500
MAX_UNROLLED = 2_000
MAX_ARMS = 50

_ENDS_MARKETING = ("email_unsubscribed", "email_complained")
_YEAR = 365 * 86_400_000_000


# --- policies ---------------------------------------------------------------------------------------------------------


def program_findings(policies: m.Policies) -> Iterator[Finding]:
    """What is wrong with policies in themselves."""
    try:
        ZoneInfo(policies.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zones = sorted(available_timezones())
        by_city = {zone.rpartition("/")[2].replace("_", " "): zone for zone in zones}
        near = nearest(policies.timezone, zones) or by_city.get(nearest(policies.timezone, by_city) or "")
        allowed = "a name of the IANA list, for example Europe/Paris"
        yield Finding("unknown time zone", ("timezone",), policies.timezone, allowed, near)
    yield from _quiet(policies.quiet)
    elsewhere = getattr(policies.brand, "unsubscribe_url", None)
    if policies.tracking and isinstance(elsewhere, str) and not elsewhere.startswith(policies.tracking.url):
        allowed = "no unsubscribe_url, so that the mails carry the tracker's own link; or one that tells your own list"
        place = ("brand", "unsubscribe_url")
        yield Finding("the tracker hears of no unsubscribe", place, elsewhere, allowed, warning=True)
    for name, pool in policies.pools.items():
        yield from _pool(pool, ("pools", name))


def _pool(pool: m.Pool, place: Place) -> Iterator[Finding]:
    if pool.file is None:
        if pool.size is None:
            yield Finding("a pool has a size or a file", place, allowed="size, file, or both")
        return
    if pool.file.endswith((".txt", ".mjml")):  # it lies among the mails, and would be taken for one
        yield Finding("the codes' file ends as a mail's does", (*place, "file"), pool.file, "a .csv file")
    if pool.size is None:
        message = "how many codes there are is not told: replays and forecasts count as if they never ran out"
        yield Finding(message, place, allowed="a size, too", warning=True)


def _quiet(quiet: m.Quiet | None) -> Iterator[Finding]:
    if quiet and quiet.from_ == quiet.to:
        yield Finding(
            "quiet hours end when they begin", ("quiet", "to"), str(quiet.to), "another time; no quiet hours: leave out"
        )


# --- one scenario -----------------------------------------------------------------------------------------------------


def findings(
    scenario: m.Scenario, *, pools: Mapping[str, m.Pool] | None = None, unsure: Collection[str] = ()
) -> Iterator[Finding]:
    """What is wrong with a scenario in itself.

    Args:
        scenario: the scenario.
        pools: coupon pools of the program; not looked at when None.
        unsure: keys of the scenario that could not be read, so that nothing is to be said about them.
    """
    if scenario.scenario == "policies":
        yield Finding("a scenario cannot have this name", ("scenario",), "policies", "another name")
    yield from _trigger(scenario)
    yield from _entry(scenario)
    yield from _quiet(scenario.quiet)
    if scenario.audience is not None:
        yield from _condition(scenario.audience, ("audience",), scenario)
    for index, exit_on in enumerate(scenario.exit_on):
        yield from _where(exit_on.where, ("exit_on", index, "where"))
        if "key" not in unsure:
            yield from _match(exit_on.match, ("exit_on", index, "match"), scenario)
    if scenario.goal:
        yield from _where(scenario.goal.where, ("goal", "where"))
    if scenario.experiment:
        yield from _shares(scenario.experiment, ("experiment",))
    if scenario.class_ == "transactional":
        yield from _transactional(scenario)
    yield from _Steps(scenario, pools, unsure).findings()


def _trigger(scenario: m.Scenario) -> Iterator[Finding]:
    trigger = scenario.trigger
    if not isinstance(trigger, m.DateTrigger | m.ScheduleTrigger):
        yield from _where(trigger.where, ("trigger", "where"))
    elif scenario.key:
        found = next(iter(type(trigger).model_fields))
        yield Finding("a key is a property of the trigger's event", ("key",), scenario.key, f"no key with a {found}")
    if isinstance(trigger, m.ScheduleTrigger):
        yield from _schedule(trigger)
    if isinstance(trigger, m.DateTrigger) and trigger.every == "year" and abs(trigger.offset.elapsed) > _YEAR:
        allowed = "at most 365d: the date comes round every year"
        yield Finding("further off than a year", ("trigger", "offset"), str(trigger.offset), allowed)


def _schedule(trigger: m.ScheduleTrigger) -> Iterator[Finding]:
    wanted = {"once": "from", "week": "on", "month": "day"}.get(trigger.schedule)
    given = {"from": trigger.from_, "to": trigger.to, "on": trigger.on, "day": trigger.day}
    if wanted and not given[wanted]:
        example = {"from": "from: 2026-11-27", "on": "on: [mon]", "day": "day: 1"}[wanted]
        yield Finding(f"a schedule of `{trigger.schedule}` needs `{wanted}`", ("trigger",), allowed=example)
    unused = {"once": ("to", "on", "day"), "day": ("on", "day"), "week": ("day",), "month": ("on",)}[trigger.schedule]
    for key in unused:
        if given[key]:
            yield Finding(f"a schedule of `{trigger.schedule}` has no `{key}`", ("trigger", key))
    days: dict[str, date] = {}
    for key in ("from", "to"):
        if isinstance(text := given[key], str):
            try:
                days[key] = date.fromisoformat(text)
            except ValueError:
                yield Finding("no such day", ("trigger", key), text, "a date, for example 2026-11-27")
    if len(days) == 2 and days["to"] < days["from"]:
        yield Finding("ends before it begins", ("trigger", "to"), given["to"], f"{given['from']} or later")


def _entry(scenario: m.Scenario) -> Iterator[Finding]:
    if scenario.while_active == "parallel" and not scenario.key and scenario.reentry != "every":
        yield Finding(
            "journeys side by side need a key, or re-entry every time",
            ("while_active",),
            "parallel",
            "key: a property, or reentry: every",
        )


def _match(match: str | None, place: Place, scenario: m.Scenario) -> Iterator[Finding]:
    if match is None or match == scenario.key:
        return
    if scenario.key is None:
        yield Finding("`match` needs a `key` of the scenario", place, match, f"key: {match}")
    else:
        yield Finding("`match` is not the key of the scenario", place, match, scenario.key, scenario.key)


def _transactional(scenario: m.Scenario) -> Iterator[Finding]:
    if scenario.experiment:
        yield Finding(
            "a transactional scenario has no arms and no holdout: everyone gets these mails",
            ("experiment",),
            scenario.experiment.name,
            "class: marketing",
        )
    for key, value in (("quiet", scenario.quiet), ("caps", scenario.caps)):
        if value:
            yield Finding(f"transactional mails ignore `{key}`", (key,), warning=True)


def _shares(experiment: m.Experiment, place: Place) -> Iterator[Finding]:
    total = sum(experiment.arms.values())
    if len(experiment.arms) > MAX_ARMS:
        yield Finding(f"more than {MAX_ARMS} arms", (*place, "arms"), len(experiment.arms), f"{MAX_ARMS} at most")
    if len(experiment.arms) < 2:
        yield Finding("at least two arms", (*place, "arms"), ", ".join(experiment.arms) or None)
    elif abs(total - 1) > 1e-9:
        found = f"{' + '.join(f'{share:g}' for share in experiment.arms.values())} = {total:g}"
        yield Finding("shares do not sum to 1", (*place, "arms"), found, "shares that sum to 1")
    if experiment.holdout is not None and experiment.holdout not in experiment.arms:
        near = nearest(experiment.holdout, experiment.arms)
        known = ", ".join(experiment.arms)
        yield Finding("unknown arm", (*place, "holdout"), experiment.holdout, known, near, beside=(*place, "arms"))


def _where(text: str | None, place: Place) -> Iterator[Finding]:
    for fault in Expression.faults(text) if text is not None else ():
        yield Finding(fault.message, place, fault.found, fault.allowed, fault.nearest)


def _condition(condition: Condition, place: Place, scenario: m.Scenario, depth: int = 0) -> Iterator[Finding]:
    if depth > MAX_DEPTH:
        yield Finding(f"conditions nested deeper than {MAX_DEPTH} levels", place)
        return
    if condition == Condition():
        yield Finding("the condition is empty", place, allowed="one of where, trigger, happened, not_happened, any")
    yield from _where(condition.where, (*place, "where"))
    yield from _where(condition.trigger, (*place, "trigger"))
    if condition.trigger is not None and isinstance(scenario.trigger, m.DateTrigger | m.ScheduleTrigger):
        kind = next(iter(type(scenario.trigger).model_fields))
        yield Finding(f"a {kind} has no properties", (*place, "trigger"), condition.trigger, "where, on attributes")
    for name in ("happened", "not_happened"):
        for index, history in enumerate(getattr(condition, name)):
            yield from _where(history.where, (*place, name, index, "where"))
    for index, excluded in enumerate(condition.not_happened):
        if any(_implies(wanted, excluded) for wanted in condition.happened):
            message = "this can never be: `happened` asks for what `not_happened` forbids"
            yield Finding(message, (*place, "not_happened", index), excluded.event, "one of the two")
    for name, always in (("happened", "always"), ("not_happened", "never")):
        for index, history in enumerate(getattr(condition, name)):
            if history.at_least == 1 and history.within is None and counts_for(history, scenario.trigger):
                message = f"this is {always} so: what set the journey off counts (rule R12)"
                allowed = "at_least: 2, for what there was besides"
                yield Finding(message, (*place, name, index), history.event, allowed, warning=True)
    for index, inner in enumerate(condition.any_):
        yield from _condition(inner, (*place, "any", index), scenario, depth + 1)


def counts_for(history: History, trigger: m.Trigger) -> bool:
    """Whether the event that sets a scenario off is one of those that a history counts (rule R12)."""
    match trigger:
        case m.EventTrigger(event=event) | m.CycleTrigger(cycle=event):
            return history.event == event and history.where in (None, trigger.where)
    return False


def _implies(wanted: History, other: History) -> bool:
    """Whether one history cannot be true without the other."""
    same = (wanted.event, wanted.where) == (other.event, other.where)
    longer = other.within is None or (wanted.within is not None and wanted.within.elapsed <= other.within.elapsed)
    return same and longer and wanted.at_least >= other.at_least


# --- steps ------------------------------------------------------------------------------------------------------------


class _Steps:
    """Walks the steps of a scenario once and says what is wrong with them."""

    def __init__(self, scenario: m.Scenario, pools: Mapping[str, m.Pool] | None, unsure: Collection[str]) -> None:
        self.scenario = scenario
        self.pools = pools
        self.unsure = unsure
        self.arms = tuple(scenario.experiment.arms) if scenario.experiment else ()
        self.marketing = scenario.class_ == "marketing"
        self.ids: dict[str, Place] = {}
        self.salts = {scenario.experiment.name} if scenario.experiment else set()
        self.count = 0
        self.sends = 0

    def findings(self) -> Iterator[Finding]:
        steps = self.scenario.steps
        yield from self._list(steps, ("steps",), 1, self.arms)
        if self.count > MAX_STEPS:
            yield Finding(f"more than {MAX_STEPS} steps", ("steps",), self.count, f"{MAX_STEPS} in a scenario")
        elif (size := _unrolled(steps)) > MAX_UNROLLED:
            yield Finding("repeats unfold to too many steps", ("steps",), size, f"{MAX_UNROLLED:,} in a scenario")
        if not self.sends and not self.unsure:
            yield Finding("no step sends anything", ("steps",), warning=True)

    def _list(self, steps: tuple[m.Step, ...], place: Place, depth: int, arms: tuple[str, ...]) -> Iterator[Finding]:
        if depth > MAX_DEPTH and steps:
            yield Finding(f"steps nested deeper than {MAX_DEPTH} levels", place)
            return
        ended = False
        for index, step in enumerate(steps):
            if ended:
                allowed = "nothing behind the end"
                yield Finding("nobody gets here: the step before ends the journey", (*place, index), allowed=allowed)
            ended = _ends(step) and not step.only
            yield from self._step(step, (*place, index))
            left = tuple(arm for arm in arms if arm in step.only) if step.only else arms
            if arms and not left and set(step.only) <= set(self.arms):
                message = "nobody gets here: the steps around this one are for other arms"
                yield Finding(message, (*place, index, "only"), ", ".join(step.only), ", ".join(arms))
            for inner, below in m.steps_below(step):
                names = tuple("else" if part == "else_" else part for part in inner)
                yield from self._list(below, (*place, index, *names), depth + 1, left or arms)

    def _step(self, step: m.Step, place: Place) -> Iterator[Finding]:
        self.count += 1
        if step.id is not None:
            if step.id in self.ids:
                first = path_of(self.scenario, self.ids[step.id], ids=False)
                yield Finding(f"two steps have this id; the other is {first}", (*place, "id"), step.id, "another id")
            self.ids.setdefault(step.id, place)
        if step.only and "experiment" not in self.unsure:
            yield from self._only(step, place)
        match step:
            case m.Send():
                self.sends += 1
                if step.offer is not None:
                    yield from self._offer(step.offer, (*place, "offer"))
            case m.WaitFor():
                yield from self._wait_for(step, place)
            case m.Branch():
                yield from _condition(step.branch, (*place, "branch"), self.scenario)
                if not step.then and not step.else_:
                    yield Finding("a branch that leads nowhere", place, allowed="steps in then, else or both")
            case m.Split():
                yield from self._split(step, place)
            case m.Repeat():
                if not step.steps:
                    yield Finding("nothing to repeat", (*place, "steps"), allowed="at least one step")
                elif step.repeat > 1 and any(_ends(inner) and not inner.only for inner in step.steps):
                    message = "the journey ends in the first round"
                    yield Finding(message, (*place, "repeat"), step.repeat, "1, or a round that goes on")

    def _only(self, step: m.Step, place: Place) -> Iterator[Finding]:
        if not self.arms:
            found = ", ".join(step.only)
            yield Finding("`only` needs an experiment with these arms", (*place, "only"), found, "experiment: ...")
            return
        for index, arm in enumerate(step.only):
            if arm not in self.arms:
                near = nearest(arm, self.arms)
                yield Finding("unknown arm", (*place, "only", index), arm, ", ".join(self.arms), near)

    def _wait_for(self, step: m.WaitFor, place: Place) -> Iterator[Finding]:
        wanted = step.wait_for
        yield from _where(wanted.where, (*place, "wait_for", "where"))
        if "key" not in self.unsure:
            yield from _match(wanted.match, (*place, "wait_for", "match"), self.scenario)
        for exit_on in self.scenario.exit_on:
            same = exit_on.event == wanted.event and exit_on.where in (None, wanted.where)
            if same and exit_on.match in (None, wanted.match):
                yield Finding(
                    "this can never happen: the same event is in exit_on, and ends the journey first",
                    (*place, "wait_for", "event"),
                    wanted.event,
                    "another event, or no such exit",
                )
        if self.marketing and wanted.event in _ENDS_MARKETING:
            yield Finding(
                "this can never happen: it ends every marketing journey first",
                (*place, "wait_for", "event"),
                wanted.event,
                "another event",
            )

    def _split(self, step: m.Split, place: Place) -> Iterator[Finding]:
        if not self.marketing:
            yield Finding("a transactional scenario has no split", (*place, "split"), step.split.name, "branch")
        yield from _shares(step.split, (*place, "split"))
        if step.split.holdout is not None:
            allowed = "a path without steps"
            yield Finding("a split has no holdout", (*place, "split", "holdout"), step.split.holdout, allowed)
        for arm in step.split.arms:
            if arm not in step.paths:
                yield Finding("an arm without a path", (*place, "paths"), arm, f"{arm}: [] where nothing is to happen")
        for path in step.paths:
            if path not in step.split.arms:
                arms, near = ", ".join(step.split.arms), nearest(path, step.split.arms)
                beside = (*place, "split", "arms")
                yield Finding("a path of no arm", (*place, "paths", path), path, arms, near, beside=beside)
        if step.split.name in self.salts:
            yield Finding(
                "the name was used before in this scenario, so that both draw the same people",
                (*place, "split", "name"),
                step.split.name,
                "a name of its own",
            )
        self.salts.add(step.split.name)

    def _offer(self, offer: m.Offer, place: Place) -> Iterator[Finding]:
        if not self.marketing:
            yield Finding("an offer in a transactional mail", place, allowed="no offer, or class: marketing")
        if offer.percent is not None and offer.amount is not None:
            yield Finding("an offer is a percentage or an amount", place, allowed="one of percent, amount")
        if offer.percent is None and offer.amount is None and not offer.free_shipping:
            yield Finding("an offer of nothing", place, allowed="one of percent, amount, free_shipping")
        if offer.percent is not None and offer.percent < 1:
            message, near = "a discount of less than one percent", f"{offer.percent * 100:g}"
            yield Finding(message, (*place, "percent"), offer.percent, "10 for ten percent", near, warning=True)
        if offer.currency and offer.amount is None and offer.minimum is None:
            yield Finding("a currency without an amount", (*place, "currency"), offer.currency, warning=True)
        if offer.pool and offer.code:
            yield Finding("one code for all, or one of a pool", (*place, "code"), offer.code, "one of code, pool")
        if offer.pool and self.pools is not None and offer.pool not in self.pools:
            pools = ", ".join(self.pools) or "pools of policies.yaml; it has none"
            yield Finding("unknown pool", (*place, "pool"), offer.pool, pools, nearest(offer.pool, self.pools))
        if offer.on_empty != "skip" and not offer.pool:
            yield Finding("no pool that could run empty", (*place, "on_empty"), offer.on_empty, warning=True)


def _ends(step: m.Step) -> bool:
    """Whether everybody who comes to a step leaves the journey there."""
    if isinstance(step, m.ExitStep):
        return True
    below = [inner for _, inner in m.steps_below(step)]
    return bool(below) and all(any(_ends(one) and not one.only for one in inner) for inner in below)


def _unrolled(steps: tuple[m.Step, ...]) -> int:
    size = 0
    for step in steps:
        inside = sum(_unrolled(below) for _, below in m.steps_below(step))
        size += 1 + (inside * step.repeat if isinstance(step, m.Repeat) else inside)
    return size
