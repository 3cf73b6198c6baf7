"""The sends of a log in which chance decided, as a frame that `fit` and `off_policy` read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.engine.asking import mark_of
from toolkit.engine.doors import check_program, micros_of, scenario_in
from toolkit.engine.evidence import Evidence, evidence_of
from toolkit.engine.follow import within as followed
from toolkit.engine.marked import mark
from toolkit.engine.replay import replay
from toolkit.engine.run import Run
from toolkit.errors import InputError, NotSupportedError, did_you_mean
from toolkit.events import EventLog
from toolkit.events.marks import Mark, Marking
from toolkit.events.quoting import of_scenarios
from toolkit.scenario.duration import Duration
from toolkit.scenario.models import Program, Scenario, Send, every_step, without_round
from toolkit.simulation.doors import checked_window

__all__ = ["logged_sends"]

_ANSWERS = {"opened": "email_opened", "clicked": "email_clicked", "unsubscribed": "email_unsubscribed"}
_NEAR = pd.Timedelta(1, unit="D")  # how far a logged mail may leave after the moment that the program decided
_FEWEST_LOGGED = 0.9
_SECOND_MAILS = 0.01


def logged_sends(
    program: Program | Scenario,
    log: EventLog,
    *,
    scenario: str | None = None,
    step: str | None = None,
    within: str | Duration | None = None,
) -> pd.DataFrame:
    """One row per person at the moment when a mail of an experiment was due: mailed, or left out by chance.

    The program that was at work is replayed over the log. Its holdout walks the same way, so that for people left out,
    too, it is known when their mail would have gone, past every gate. What they did in the window after that moment is
    read off the log.

    Args:
        program: the program that sent the mails, with its experiment as it was.
        log: what customers did, with the mails themselves (`email_sent` with scenario, experiment and arm).
        scenario: which scenario; needed when the program has several.
        step: which mail; the first that chance withheld unless given.
        within: how long after the moment counts; the goal's own window unless given.

    Returns:
        One row per customer, at the first time the mail was due, whose window has closed by the end of the log: unit,
        arm, trigger_at, due_at, sent, delay (hours from trigger to mail: the median, one number), offer (percent),
        converted, revenue (where the goal names a value), opened, clicked, unsubscribed and used_offer (where the log
        tells), propensity (chance of the arm or arms with the same treatment). Arms whose journeys hold a second mail
        are left out: what followed is not of one mail. Where the arms were not drawn by chance, or not as the
        program says, propensity is missing and `sent` is what the log holds; `fit` then refuses the frame unless
        insisted on. `frame.attrs["toolkit"]` says what the frame holds and why.

    Raises:
        InputError: no such scenario or step; no goal, holdout, or mail in the log; the log holds other mails.
        NotSupportedError: every mailed arm gets several mails; an offer that is no percentage.

    >>> from toolkit.scenario import loads
    >>> views = pd.DataFrame({"customer_id": ["ana"], "event": ["view"], "at": ["2025-03-03T10:00Z"]})
    >>> log = EventLog.from_pandas(views)
    >>> cart = loads('''
    ... scenario: cart
    ... trigger: {event: cart_add}
    ... reentry: once
    ... goal: {event: purchase, within: 7d}
    ... steps: [{wait: 1h}, {send: cart/reminder}]
    ... ''')
    >>> logged_sends(cart, log)
    Traceback (most recent call last):
    toolkit.errors.InputError: cart: no experiment with a holdout; without people left out there is nothing to compare
    """
    program = check_program(program, log)
    _, chosen = scenario_in(program.scenarios, scenario, of="program")
    goal, experiment = chosen.goal, chosen.experiment
    if goal is None:
        raise InputError(f"{chosen.scenario}: no goal; add for example goal: {{event: purchase, within: 7d}}")
    if experiment is None or experiment.holdout is None:
        raise InputError(
            f"{chosen.scenario}: no experiment with a holdout; without people left out there is nothing to compare"
        )
    window = goal.within if within is None else checked_window(within, name="within")
    mails = _mails(log, chosen.scenario)
    run = replay(program, log, progress=False)
    place, _ = scenario_in(run.compiled.scenarios, chosen.scenario)
    evidence = evidence_of(run, place)
    decided = run.decisions
    decided = decided[(decided["scenario"] == chosen.scenario) & decided["status"].isin(["send", "withheld"])]
    name = _step(decided, chosen, step)
    several = _several(decided)
    due = decided[(decided["step"] == name) & ~decided["arm"].isin(several)]
    if not (due["status"] == "send").any():
        raise NotSupportedError(
            f"{chosen.scenario}: every arm that gets {name!r} gets other mails in the same journey "
            f"({', '.join(sorted(several))}); what followed is not of one mail"
        )
    due = due.sort_values(["at", "decision_id"]).drop_duplicates("customer_id")
    triggers = run.journeys.set_index("journey_id")["trigger_at"]
    frame = pd.DataFrame(
        {
            "unit": due["customer_id"].to_numpy(),
            "arm": due["arm"].to_numpy(),
            "trigger_at": due["journey_id"].map(triggers).to_numpy(),
            "due_at": due["at"].to_numpy(),
            "sent": (due["status"] == "send").to_numpy(),
        }
    )
    still_open = frame["due_at"] + pd.Timedelta(window.elapsed, unit="us") > run.until
    frame = frame[~still_open].sort_values("unit", ignore_index=True)
    logged = _logged(frame, mails, name)
    evidence = _agreed(frame, logged, evidence, chosen.scenario, name)
    if not evidence.randomised:
        frame["sent"] = logged
    percent = _percent(chosen, name)
    hours = (frame["due_at"] - frame["trigger_at"]).dt.total_seconds() / 3600
    frame["delay"] = round(float(hours[frame["sent"]].median()), 2)
    frame["offer"] = np.where(frame["sent"], percent, 0.0)
    frame = _with_answers(frame, run, chosen, window.elapsed, percent)
    if evidence.randomised:
        weights = {arm: weight for arm, weight in experiment.arms.items() if arm in set(frame["arm"])}
        held = weights[experiment.holdout] / sum(weights.values())
        frame["propensity"] = np.where(frame["sent"], 1 - held, held)
    frame.attrs["toolkit"] = {
        "label": "observed",
        "scenario": chosen.scenario,
        "step": name,
        "experiment": experiment.name,
        "arms_left_out": sorted(several),
        "randomised": evidence.randomised,
        "why": evidence.why,
        "window": str(window),
        "open_windows": int(still_open.sum()),
    }
    return frame


def _mails(log: EventLog, scenario: str) -> pd.DataFrame:
    """Mails of the scenario that really left, in order of time."""
    lacking = (
        f"the log holds no mails of {scenario} (email_sent with the property scenario): nothing was sent to learn of"
    )
    if "email_sent" not in log.event_names or "scenario" not in log.properties:
        raise InputError(lacking)
    events = log.events
    mails = events[(events["event"] == "email_sent") & (events["scenario"] == scenario)]
    if not len(mails):
        raise InputError(lacking)
    return mails.sort_values("at")


def _step(decided: pd.DataFrame, scenario: Scenario, step: str | None) -> str:
    reached = [str(name) for name in decided.sort_values("at")["step"].unique()]
    held = set(decided.loc[decided["status"] == "withheld", "step"])
    open_to_both = [name for name in reached if name in held]
    if step is None:
        if not open_to_both:
            raise InputError(f"{scenario.scenario}: no mail was withheld from its holdout in this log")
        return open_to_both[0]
    if step not in open_to_both:
        hint = did_you_mean(step, open_to_both)
        raise InputError(
            f"{scenario.scenario}: nobody was left out at step {step!r}; there were people left out at "
            f"{', '.join(open_to_both) or 'none'}{hint}"
        )
    return step


def _several(decided: pd.DataFrame) -> set[str]:
    """Arms whose journeys hold more than one mail that went."""
    sent = decided[decided["status"] == "send"]
    count = sent.groupby(["arm", "journey_id"]).size()
    share = (count > 1).groupby("arm").mean()
    return {str(arm) for arm in share.index[share > _SECOND_MAILS]}


def _logged(frame: pd.DataFrame, mails: pd.DataFrame, step: str) -> npt.NDArray[np.bool_]:
    """Whether the log holds the mail that was due, or one soon after."""
    mine = mails[mails["step"] == step] if "step" in mails and mails["step"].notna().any() else mails
    left = frame.assign(row=np.arange(len(frame)), start=frame["due_at"] - pd.Timedelta(1, unit="s"))
    right = pd.DataFrame({"unit": mine["customer_id"].astype(str), "start": mine["at"], "mail_at": mine["at"]})
    left = left.assign(unit=left["unit"].astype(str)).sort_values("start")
    joined = pd.merge_asof(
        left.assign(start=left["start"].astype(right["start"].dtype)), right.sort_values("start"),
        on="start", by="unit", direction="forward", tolerance=_NEAR,
    )  # fmt: skip
    return joined.sort_values("row")["mail_at"].notna().to_numpy()


def _agreed(
    frame: pd.DataFrame, logged: npt.NDArray[np.bool_], evidence: Evidence, scenario: str, step: str
) -> Evidence:
    """The evidence, unless the log does not hold the mails that the program decided."""
    planned = frame["sent"].to_numpy(bool)
    found = int(logged[planned].sum())
    if evidence.randomised and found < _FEWEST_LOGGED * planned.sum():
        raise InputError(
            f"{scenario}: of {int(planned.sum()):,} mails {step!r} that this program sends, the log holds {found:,}; "
            "pass the program that was at work, with the delays it had then"
        )
    if not logged.any():
        raise InputError(f"{scenario}: the log holds no mail {step!r} near a moment at which this program sends one")
    return evidence


def _percent(scenario: Scenario, step: str) -> float:
    (send,) = (one for one in every_step(scenario.steps) if isinstance(one, Send) and one.id == without_round(step))
    if send.offer is None:
        return 0.0
    if send.offer.percent is None:
        raise NotSupportedError(f"{scenario.scenario}.{step}: an offer that is no percentage cannot be fitted yet")
    return float(send.offer.percent)


def _with_answers(frame: pd.DataFrame, run: Run, scenario: Scenario, window: int, percent: float) -> pd.DataFrame:
    """The frame with what each person did within the window after the moment."""
    log, goal = run.log, scenario.goal
    if goal is None:
        raise InputError(f"{scenario.scenario}: no goal")
    marks = {"converted": mark_of(log, goal.event, goal.where)}
    own = of_scenarios([scenario.scenario])
    for column, event in _ANSWERS.items():
        if event in log.event_names:
            marks[column] = Mark(event, None if column == "unsubscribed" else own)
    if percent and log.properties.get("discount") == "number":
        used = "discount > 0" if goal.where is None else f"({goal.where}) and discount > 0"
        marks["used_offer"] = mark_of(log, goal.event, used)
    unique = tuple(dict.fromkeys(marks.values()))
    values = (goal.value,) if goal.value is not None and goal.value in log.properties else ()
    marked = mark(log, Marking(marks=unique, values=values))
    at = pc.fill_null(pc.index_in(pa.array(frame["unit"], type=marked.customers.type), value_set=marked.customers), -1)
    customers = np.asarray(at.to_numpy(zero_copy_only=False), dtype=np.int64)
    after = frame["due_at"].dt.as_unit("us").astype("int64").to_numpy()
    found: dict[str, npt.NDArray[np.generic]] = {}
    for column, wanted in marks.items():
        value = 0 if column == "converted" and values else -1
        count, total, _ = followed(
            marked,
            customers,
            after=after,
            up_to=after + window,
            known_by=micros_of(run.until),
            bit=unique.index(wanted),
            value=value,
        )
        found[column] = count > 0
        if value == 0:
            found["revenue"] = total
    return frame.assign(**found)
