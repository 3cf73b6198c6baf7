"""What reports say of a run, counted again from its two tables and the events, in plain Python."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tests.reference.calendar import to_moment
from tests.reference.conditions import Conditions
from tests.reference.records import events_of, people_of
from tests.reference.worlds import World
from toolkit.engine import Run
from toolkit.scenario import models as m
from toolkit.tables import ENDINGS

__all__ = [
    "Own",
    "basis_of",
    "changes_between",
    "flow_of_tables",
    "load_of_tables",
    "overlap_of_tables",
    "reasons_of_tables",
    "story_of_tables",
    "summary_of_tables",
]

_MONDAY = pd.Timestamp("1970-01-05", tz="UTC")


def _counts(journeys: pd.DataFrame, decisions: pd.DataFrame) -> dict[str, int]:
    statuses, ended = Counter(decisions["status"]), Counter(journeys["ended_by"])
    return {
        "journeys": len(journeys),
        "sent": statuses["send"],
        "withheld": statuses["withheld"],
        "skipped": statuses["skipped"],
        **{ending: ended[ending] for ending in ENDINGS},
    }


def _of_arm(journeys: pd.DataFrame, scenario: str, arm: str | None) -> pd.DataFrame:
    mine = journeys[journeys["scenario"] == scenario]
    return mine[mine["arm"].isna()] if arm is None else mine[mine["arm"] == arm]


def summary_of_tables(run: Run) -> dict[tuple[str, str], dict[str, int]]:
    """By scenario and arm: journeys, customers, mails by status, journeys by ending."""
    rows = {}
    for scenario in run.program.scenarios:
        for arm in scenario.experiment.arms if scenario.experiment else (None,):
            journeys = _of_arm(run.journeys, scenario.scenario, arm)
            decisions = run.decisions[run.decisions["journey_id"].isin(journeys["journey_id"])]
            counted = {**_counts(journeys, decisions), "customers": journeys["customer_id"].nunique()}
            rows[scenario.scenario, arm or ""] = counted
    return rows


def reasons_of_tables(run: Run) -> dict[tuple[str, str], int]:
    """By scenario and reason: mails not sent."""
    left = run.decisions[run.decisions["status"] != "send"]
    return dict(Counter(zip(left["scenario"], left["reason"], strict=True)))


def load_of_tables(run: Run) -> tuple[dict[Any, int], dict[Any, int], dict[Any, int]]:
    """Mails by hour, by day, and offers given by scenario, step and offer."""
    sent = run.decisions[run.decisions["status"] == "send"]
    given = sent[sent["offer"].notna()]
    return (
        dict(Counter(sent["at"].dt.floor("h"))),
        dict(Counter(sent["at"].dt.floor("D"))),
        dict(Counter(zip(given["scenario"], given["step"], given["offer"], strict=True))),
    )


def overlap_of_tables(run: Run) -> tuple[dict[tuple[str, str], int], dict[str, tuple[int, int]], dict[int, int]]:
    """Customers by pair of scenarios; by scenario the mails that a limit stopped and all; weeks by number of mails."""
    sent = run.decisions[run.decisions["status"] == "send"]
    names = [scenario.scenario for scenario in run.program.scenarios]
    got = {name: set(sent.loc[sent["scenario"] == name, "customer_id"]) for name in names}
    mine = {name: run.decisions[run.decisions["scenario"] == name] for name in names}
    weeks = Counter(zip(sent["customer_id"], (sent["at"] - _MONDAY) // pd.Timedelta("7D"), strict=True))
    return (
        {(one, other): len(got[one] & got[other]) for one in names for other in names},
        {name: (int((rows["reason"] == "cap").sum()), len(rows)) for name, rows in mine.items()},
        dict(Counter(weeks.values())),
    )


def flow_of_tables(run: Run, scenario: str) -> dict[str, Any]:
    """What a diagram shows of a scenario: entries, gates by step, who left, arms."""
    journeys = run.journeys[run.journeys["scenario"] == scenario]
    journeys = journeys[journeys["ended_by"] != "superseded"]
    decisions = run.decisions[run.decisions["scenario"] == scenario]
    steps = decisions["step"].str.split("#").str[0]  # the rounds of a repeat together
    return {
        "journeys": len(journeys),
        **{
            name: dict(Counter(steps[decisions["status"] == status]))
            for name, status in (("sent", "send"), ("withheld", "withheld"), ("skipped", "skipped"))
        },
        "left": int(journeys["ended_by"].isin(["exited", "unsubscribed"]).sum()),
        "finished": int((journeys["ended_by"] == "finished").sum()),
        "unsubscribed": int((journeys["ended_by"] == "unsubscribed").sum()),
        "arms": dict(Counter(journeys["arm"].dropna())),
    }


def story_of_tables(run: Run, world: World, customer: str) -> dict[str, Counter[Any]]:
    """What a trace has a line for: events known, mails, mails not sent, beginnings and endings, by moment."""
    journeys = run.journeys[run.journeys["customer_id"] == customer]
    decisions = run.decisions[run.decisions["customer_id"] == customer]
    last = to_moment(run.until.to_pydatetime())
    known = [event for event in events_of(world.events) if event.customer == customer and event.received <= last]
    over = journeys[~journeys["ended_by"].isin(["open", "superseded"])]
    return {
        "events": Counter(event.received for event in known),
        "mails": Counter(decisions.loc[decisions["status"] == "send", "at"]),
        "not sent": Counter(decisions.loc[decisions["status"] != "send", "at"]),
        "begin": Counter(journeys["entered_at"]),
        "end": Counter(over["ended_at"]),
        "again": Counter({"again": int((journeys["ended_by"] == "superseded").sum())}),
        "open": Counter({"open": int((journeys["ended_by"] == "open").sum())}),
    }


def changes_between(before: Run, after: Run) -> tuple[Counter[tuple[Any, ...]], int]:
    """Every mail that differs (change, scenario, step, customer, moments, reasons), and how many are the same.

    A journey has the same id in both, so the same mail has the same decision_id.
    """
    one, other = ({row["decision_id"]: row for row in run.decisions.to_dict("records")} for run in (before, after))
    found: Counter[tuple[Any, ...]] = Counter()
    same = 0
    for name in {*one, *other}:
        old, new = one.get(name), other.get(name)
        was, will = old is not None and old["status"] == "send", new is not None and new["status"] == "send"
        if not was and not will:
            continue
        if was and will:
            assert old is not None
            assert new is not None
            changed = [not _alike(old[column], new[column]) for column in ("at", "template", "offer")]
            if not any(changed):
                same += 1
                continue
            change = "moved" if changed[0] else "changed"
        else:
            change = "lost" if was else "gained"
        row = old or new
        assert row is not None
        reasons = [None if side is None or side["reason"] != side["reason"] else side["reason"] for side in (old, new)]
        moments = [side["at"] if is_sent and side is not None else None for side, is_sent in ((old, was), (new, will))]
        found[change, row["scenario"], row["step"], row["customer_id"], *moments, *reasons] += 1
    return found, same


def _alike(one: Any, other: Any) -> bool:
    return bool(one == other) or (pd.isna(one) and pd.isna(other))


def basis_of(world: World, scenario: m.Scenario, *, last: pd.Timestamp) -> tuple[str, str | None]:
    """Whose history up to a moment shows what people do on their own (everyone, the holdout, nobody), and the arm."""
    sent = [row for row in world.events if row["event"] == "email_sent" and pd.Timestamp(row["at"]) <= last]
    mails = [row for row in sent if row.get("scenario") == scenario.scenario]
    if not mails:
        return "all", None
    holdout = scenario.experiment.holdout if scenario.experiment else None
    return ("none", None) if holdout is None else ("control", holdout)


@dataclass(frozen=True)
class Own:
    """Counts of a sweep for one scenario of a run, and what people did on their own, event by event."""

    world: World
    scenario: m.Scenario

    def row(self, run: Run, *, after: pd.Timestamp | None = None, last: pd.Timestamp | None = None) -> dict[str, Any]:
        """The columns of `Sweep.table`, of journeys begun after a moment; own purchases as known at the run's end.

        last: the end of all that is swept, of which the run may hold the first part only.
        """
        journeys = run.journeys[run.journeys["scenario"] == self.scenario.scenario]
        if after is not None:
            journeys = journeys[journeys["entered_at"] > after]
        decisions = run.decisions[run.decisions["journey_id"].isin(journeys["journey_id"])]
        basis, arm = basis_of(self.world, self.scenario, last=last or run.until)
        row: dict[str, Any] = {**_counts(journeys, decisions), "basis": basis}
        before, mailed, bought = self._own(run, journeys, decisions, arm)
        row["own_before"] = None if basis == "none" else before
        unknown = basis == "none" or self.scenario.goal is None
        row["mailed"], row["own_after"] = (None, None) if unknown else (mailed, bought)
        return row

    def _own(self, run: Run, journeys: pd.DataFrame, decisions: pd.DataFrame, arm: str | None) -> tuple[int, int, int]:
        end, goal = to_moment(run.until.to_pydatetime()), self.scenario.goal
        window = goal.within.elapsed if goal else 0
        reached = self._goals(known=end)
        first = decisions[decisions["status"] != "skipped"].groupby("journey_id")["at"].min()
        before = mailed = bought = 0
        for journey in journeys[journeys["ended_by"] != "superseded"].itertuples():
            if arm is not None and journey.arm != arm:
                continue
            entered, moments = to_moment(journey.entered_at.to_pydatetime()), reached.get(journey.customer_id, [])
            if journey.journey_id in first.index:
                mail = to_moment(first[journey.journey_id].to_pydatetime())
                if goal and mail + window <= end:
                    mailed += 1
                    bought += any(mail < at <= mail + window for at in moments)
            elif journey.ended_by == "exited" and entered + window <= end:
                left = to_moment(journey.ended_at.to_pydatetime())
                before += goal is None or any(entered < at <= left for at in moments)
        return before, mailed, bought

    def _goals(self, known: int) -> dict[str, list[int]]:
        goal, log = self.scenario.goal, events_of(self.world.events)
        conditions = Conditions(log, *people_of(self.world.customers))
        found: dict[str, list[int]] = {}
        for event in log:
            if goal and event.name == goal.event and event.received <= known and conditions.event(event, goal.where):
                found.setdefault(event.customer, []).append(event.at)
        return found
