"""A scenario in plain English, for the people who answer for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from toolkit.readable import priced
from toolkit.scenario import models as m
from toolkit.scenario.base import Condition, EventMatch, History
from toolkit.scenario.coherence import counts_for
from toolkit.scenario.duration import Duration
from toolkit.scenario.findings import check_is

__all__ = ["describe"]


class _Verb(NamedTuple):
    """What a customer does, as in: a customer buys, they buy, they bought."""

    one: str
    many: str
    past: str


_VERBS = {
    "purchase": _Verb("buys", "buy", "bought"),
    "cart_add": _Verb("adds to the cart", "add to the cart", "added to the cart"),
    "view": _Verb("views a product", "view a product", "viewed a product"),
    "sign_up": _Verb("signs up", "sign up", "signed up"),
    "order_placed": _Verb("places an order", "place an order", "placed an order"),
    "order_paid": _Verb("pays for an order", "pay for an order", "paid for an order"),
    "order_shipped": _Verb("has an order shipped", "have an order shipped", "had an order shipped"),
    "order_delivered": _Verb("gets an order delivered", "get an order delivered", "got an order delivered"),
    "order_cancelled": _Verb("cancels an order", "cancel an order", "cancelled an order"),
    "customer_updated": _Verb("changes their details", "change their details", "changed their details"),
    "email_sent": _Verb("is sent a mail", "receive a mail", "received a mail"),
    "email_delivered": _Verb("gets a mail delivered", "get a mail delivered", "got a mail delivered"),
    "email_opened": _Verb("opens a mail", "open a mail", "opened a mail"),
    "email_clicked": _Verb("clicks in a mail", "click in a mail", "clicked in a mail"),
    "email_bounced": _Verb("has a mail bounce", "have a mail bounce", "had a mail bounce"),
    "email_complained": _Verb("reports a mail as spam", "report a mail as spam", "reported a mail as spam"),
    "email_unsubscribed": _Verb("unsubscribes", "unsubscribe", "unsubscribed"),
    "email_subscribed": _Verb("subscribes", "subscribe", "subscribed"),
}
_DAYS = {
    "mon": "Monday",
    "tue": "Tuesday",
    "wed": "Wednesday",
    "thu": "Thursday",
    "fri": "Friday",
    "sat": "Saturday",
    "sun": "Sunday",
}
_UNITS = ((3_600_000_000, "hour"), (60_000_000, "minute"))


def describe(value: m.Scenario | m.Policies | m.Program) -> str:
    """What a scenario, policies or a whole program does, in plain English sentences.

    Args:
        value: a scenario, policies, or a program.

    Raises:
        ScenarioError: something else.

    Returns:
        Text: what sets the scenario off and for whom, what ends it, who gets which arm, and the steps in order, with
        everything that differs from a default.

    >>> from toolkit.scenario.reading import loads
    >>> print(describe(loads('''
    ... {scenario: hello, trigger: {event: sign_up}, reentry: once, exit_on: [{event: purchase}],
    ...  steps: [{wait: 4h}, {send: welcome/hello}]}
    ... ''')["hello"]))
    hello (marketing, priority 50)
    When a customer signs up, a journey begins.
    Each customer goes through it once.
    Nobody gets a mail without consent to marketing.
    If they buy at any point, the journey ends.
    1. Wait 4 hours.
    2. Send `welcome/hello`.
    """
    check_is(value, (m.Scenario, m.Policies, m.Program), "a scenario, policies or a program, as load gives it")
    if isinstance(value, m.Program):
        parts = [*map(describe, value.scenarios), describe(value.policies)]
        return "\n\n".join(parts)
    lines = _policies(value) if isinstance(value, m.Policies) else _scenario(value)
    return "\n".join(lines)


def _scenario(scenario: m.Scenario) -> Iterator[str]:
    yield f"{scenario.scenario} ({scenario.class_}, priority {scenario.priority})"
    yield from _entry(scenario)
    if scenario.class_ == "transactional":
        yield "These mails go out whatever the consent, the caps and the quiet hours."
    else:
        yield "Nobody gets a mail without consent to marketing."
    for exit_on in scenario.exit_on:
        same = f" with the same `{exit_on.match}`" if exit_on.match else ""
        yield f"If they {_does(exit_on)}{same} at any point, the journey ends."
    if scenario.goal:
        goal = scenario.goal
        worth = f"; `{goal.value}` says what it was worth" if goal.value else ""
        yield f"It has worked when they {_does(goal)} within {_time(goal.within)} of entry{worth}."
    if scenario.experiment:
        yield from _experiment(scenario.experiment)
    if scenario.class_ != "transactional":  # transactional mails ignore both
        if scenario.quiet:
            yield _quiet(scenario.quiet) + " This replaces the quiet hours of the program."
        for cap in scenario.caps:
            yield _cap(cap, "of this scenario")
    yield from _steps(scenario.steps, scenario.trigger)


# --- entry ------------------------------------------------------------------------------------------------------------


def _entry(scenario: m.Scenario) -> Iterator[str]:
    key = f" for each `{scenario.key}`" if scenario.key else ""
    who = f", for customers {_condition(scenario.audience, scenario.trigger)}" if scenario.audience else ""
    yield f"{_trigger(scenario.trigger)}, a journey begins{key}{who}."
    match scenario.reentry:
        case "once":
            yield f"Each customer goes through it once{key}."
        case "every":
            yield "It begins anew every time."
        case m.ReentryAfter(after=after, from_=origin):
            since = "began" if origin == "entry" else "ended"
            yield f"It can begin again {_time(after)} after the last one{key} {since}, no sooner."
    if scenario.while_active == "restart":
        yield "If that happens again before the first mail, the journey starts over."
    elif scenario.while_active == "parallel":
        yield "If that happens again on the way, another journey runs beside the first."
    if scenario.max_age != m.Scenario.model_fields["max_age"].default:
        yield f"What we learn of more than {_time(scenario.max_age)} late starts nothing."


def _trigger(trigger: m.Trigger) -> str:
    match trigger:
        case m.EventTrigger():
            return f"When a customer {_verb(trigger.event).one}{_bracket(trigger.where)}"
        case m.DateTrigger():
            sign = "before" if trigger.offset.elapsed < 0 else "after"
            ahead = f"{_time(trigger.offset)} {sign} " if trigger.offset.elapsed else "On "
            often = "every year" if trigger.every == "year" else "once"
            return f"{ahead}the date in `{trigger.date}`, {often}, at {trigger.at} local time"
        case m.InactiveTrigger():
            since = f" (or, where they never did, since they {_verb(trigger.since).past})" if trigger.since else ""
            did = f"{_verb(trigger.inactive).many}{_bracket(trigger.where)}"
            return f"When {_time(trigger.for_)} have passed in which a customer did not {did}{since}"
        case m.CycleTrigger():
            after = f"after a customer {_verb(trigger.cycle).one}{_bracket(trigger.where)}"
            if isinstance(trigger.after, Duration):
                return f"{_time(trigger.after)} {after}"
            if isinstance(trigger.after, m.Median):
                whose = "this customer" if trigger.after.median == "customer" else f"this `{trigger.after.median}`"
                return f"When the usual time between two (the median so far for {whose}) has passed {after}"
            return f"When the days in `{trigger.after}` have passed {after}"
    return _schedule(trigger)


def _schedule(trigger: m.ScheduleTrigger) -> str:
    match trigger.schedule:
        case "once":
            day = f"On {trigger.from_}"
        case "day":
            day = "Every day"
        case "week":
            day = f"Every {_and([_DAYS[day] for day in trigger.on])}"
        case "month":
            day = f"On day {trigger.day} of each month"
    first = f" from {trigger.from_}" if trigger.from_ and trigger.schedule != "once" else ""
    last = f" until {trigger.to}" if trigger.to else ""
    return f"{day} at {trigger.at} local time{first}{last}"


# --- conditions -------------------------------------------------------------------------------------------------------


def _condition(condition: Condition, trigger: m.Trigger) -> str:
    """As in: customers … where `consent`, who bought in the last 30 days."""
    parts = []
    if condition.where is not None:
        parts.append(f"where `{condition.where}`")
    if condition.trigger is not None:
        parts.append(f"for whom what set it off has `{condition.trigger}`")
    parts += [f"who {_history(history, trigger, did=True)}" for history in condition.happened]
    parts += [f"who {_history(history, trigger, did=False)}" for history in condition.not_happened]
    if condition.any_:
        parts.append("(" + " or ".join(_condition(inner, trigger) for inner in condition.any_) + ")")
    return " and ".join(parts)


def _history(history: History, trigger: m.Trigger, *, did: bool) -> str:
    verb = _verb(history.event)
    counts = counts_for(history, trigger)
    times = f" at least {history.at_least} times" if history.at_least > 1 else ""
    window = (
        f" in the last {_time(history.within)}" if history.within else " before" if did and not counts else " so far"
    )
    own = " (what set it off counts)" if counts else ""
    return f"{verb.past if did else f'did not {verb.many}'}{_bracket(history.where)}{times}{window}{own}"


def _verb(event: str) -> _Verb:
    return _VERBS.get(event, _Verb(f"does `{event}`", f"do `{event}`", f"did `{event}`"))


def _does(match: EventMatch) -> str:
    return _verb(match.event).many + _bracket(match.where)


def _bracket(where: str | None) -> str:
    return f" ({where})" if where is not None else ""


# --- arms, limits, offers ---------------------------------------------------------------------------------------------


def _experiment(experiment: m.Experiment) -> Iterator[str]:
    shares = []
    for arm, share in experiment.arms.items():
        if arm == experiment.holdout:
            named = "" if arm == "control" else f" ({arm})"
            shares.append(f"{_share(share)} get nothing, as control{named}")
        else:
            shares.append(f"{_share(share)} are in {arm}")
    yield f"{'; '.join(shares)}."
    unit = "each customer stays in one arm" if experiment.unit == "customer" else "each journey is drawn anew"
    yield f"The draw is called {experiment.name}; {unit}."


def _share(share: float) -> str:
    return f"{share * 100:.4g}%"


def _quiet(quiet: m.Quiet, what: str = "mail") -> str:
    spread = f", spread over {_time(quiet.spread)}" if quiet.spread.elapsed else ""
    return f"No {what} from {quiet.from_} to {quiet.to} local time; what falls in it leaves at {quiet.to}{spread}."


def _cap(cap: m.Cap, scope: str) -> str:
    what = "marketing mail" if cap.scope == "marketing" else "mail"
    whose = "of all scenarios together" if cap.scope == "marketing" else scope
    over = {
        "skip": "a mail beyond that is left out",
        "postpone": "a mail beyond that waits for the first free moment",
        "exit": "a mail beyond that ends the journey",
    }[cap.on_hit]
    return f"At most {cap.limit} {what}{'s' * (cap.limit > 1)} a person in any {_time(cap.per)}, {whose}: {over}."


def _offer(offer: m.Offer) -> str:
    gifts = []
    if offer.percent is not None:
        gifts.append(f"{offer.percent:g}% off")
    if offer.amount is not None:
        amount = f"{offer.amount:g}"
        told = priced(amount, offer.currency) if offer.currency else f"{amount} of the shop’s currency"
        gifts.append(f"{told} off")
    if offer.free_shipping:
        gifts.append("free shipping")
    more = [_and(gifts)]
    if offer.minimum is not None:
        more.append(f"from {offer.minimum:g} on")
    if offer.valid:
        more.append(f"valid {_time(offer.valid)}")
    if offer.code:
        more.append(f"code {offer.code}")
    if offer.pool:
        empty = "no mail" if offer.on_empty == "skip" else "the mail goes without"
        more.append(f"a code of the pool {offer.pool} (when it is empty, {empty})")
    return ", ".join(more)


# --- steps ------------------------------------------------------------------------------------------------------------


def _steps(steps: tuple[m.Step, ...], trigger: m.Trigger, number: str = "") -> Iterator[str]:
    for place, step in enumerate(steps, start=1):
        own = f"{number}{place}."
        indent = "   " * number.count(".")
        only = f" Only for {_and(step.only)}; others pass by." if step.only else ""
        yield f"{indent}{own} {_step(step, trigger)}{only}"
        for lead, below in _below(step):
            inner = f"{indent}   {lead}"
            if not below:
                yield f"{inner} go on."
            elif len(below) == 1 and isinstance(below[0], m.ExitStep) and not below[0].only:
                yield f"{inner} the journey ends."
            else:
                yield inner
                yield from _steps(below, trigger, own)


def _below(step: m.Step) -> Iterator[tuple[str, tuple[m.Step, ...]]]:
    match step:
        case m.WaitFor():
            yield "If they do:", step.then
            yield "If they do not:", step.else_
        case m.Branch():
            yield "If so:", step.then
            yield "If not:", step.else_
        case m.Split():
            for arm, share in step.split.arms.items():
                yield f"{_share(share)} ({arm}):", step.paths.get(arm, ())
        case m.Repeat():
            yield "Each time:", step.steps


def _step(step: m.Step, trigger: m.Trigger) -> str:
    match step:
        case m.Wait(wait=m.WaitUntil(until=until, on=on)):
            days = f" on {_and([_DAYS[day] for day in on], 'or')}" if on else ""
            return f"Wait until {until} local time{days}."
        case m.Wait(wait=Duration() as wait):
            return f"Wait {_time(wait)}."
        case m.WaitFor(wait_for=wanted):
            same = f" with the same `{wanted.match}`" if wanted.match else ""
            since = " from here on" if wanted.since == "step" else ""
            return f"Wait up to {_time(wanted.within)} for them to {_does(wanted)}{same}{since}."
        case m.Send():
            return f"Send `{step.send}`" + (f" with {_offer(step.offer)}." if step.offer else ".")
        case m.Branch():
            return f"Is this a customer {_condition(step.branch, trigger)}?"
        case m.Split():
            unit = "customers" if step.split.unit == "customer" else "journeys"
            return f"Divide {unit} at random ({step.split.name})."
        case m.Repeat():
            return f"Do this {step.repeat} times." if step.repeat > 1 else "Do this once."
    return "The journey ends."


# --- policies ---------------------------------------------------------------------------------------------------------


def _policies(policies: m.Policies) -> Iterator[str]:
    yield "For all scenarios"
    yield f"Local time is the customer's, or {policies.timezone} where theirs is not known."
    yield f"Mails are in the customer's language, or in {policies.locale}; money is in {policies.currency}."
    if policies.quiet:
        yield _quiet(policies.quiet, "marketing mail")
    else:
        yield "There are no quiet hours for all: marketing mail goes at any hour, day or night."
    for cap in policies.caps:
        yield _cap(cap, "of each scenario by itself")
    if not policies.caps:
        yield "Nothing limits how many marketing mails a customer gets."
    if policies.sender:
        reply = f"; answers go to {policies.sender.reply_to}" if policies.sender.reply_to else ""
        back = f"; bounces come to {policies.sender.bounces}" if policies.sender.bounces else ""
        yield f"The sender is {policies.sender.name} <{policies.sender.email}>{reply}{back}."
    if policies.tracking:
        yield from _answers(policies.tracking, getattr(policies.brand, "unsubscribe_url", None))
    for name, pool in policies.pools.items():
        stock = f"the codes of {pool.file}" if pool.size is None else f"{pool.size} codes"
        if pool.size is not None and pool.file is not None:
            stock += f", those of {pool.file}"
        yield f"The pool {name} holds {stock}."
    if policies.test_copies:
        yield f"Test copies go to addresses at {_and(list(policies.test_copies.domains))} alone."


def _answers(tracking: m.Tracking, elsewhere: object) -> Iterator[str]:
    told = {"unsubscribes": elsewhere is None, "opens": tracking.opens, "clicks": tracking.clicks}
    if any(told.values()):
        yield f"{_and([word for word, yes in told.items() if yes]).capitalize()} come home to {tracking.url}."
    if elsewhere is not None:
        yield f"Who unsubscribes is led to {elsewhere}."


def _time(duration: Duration) -> str:
    parts = []
    if duration.days:
        parts.append(_count(abs(duration.days), "day"))
    rest = abs(duration.microseconds)
    for size, unit in _UNITS:
        whole, rest = divmod(rest, size)
        if whole:
            parts.append(_count(whole, unit))
    if rest or not parts:
        parts.append(_count(rest / 1e6, "second"))
    return _and(parts)


def _count(number: float, unit: str) -> str:
    return f"{number:g} {unit}{'' if number == 1 else 's'}"


def _and(words: list[str] | tuple[str, ...], last: str = "and") -> str:
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))
