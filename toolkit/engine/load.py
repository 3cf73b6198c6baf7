"""What a program would weigh: mails by hour and day, the peak, coupons; and how its scenarios meet. Exact."""

from __future__ import annotations

import html
from dataclasses import dataclass

import pandas as pd

__all__ = ["Load", "Overlap", "load_of", "overlap_of"]


@dataclass(frozen=True, eq=False)
class Load:
    """Mails over time, and the offers in them.

    by_hour: one row per hour with a mail: hour (UTC) and mails. by_day: one row per UTC day of the log: day, mails.
    offers: one row per scenario, step and offer: mails (offers given, one code each where there is a pool).
    peak: the busiest hour and its mails.
    """

    by_hour: pd.DataFrame
    by_day: pd.DataFrame
    offers: pd.DataFrame
    peak: tuple[pd.Timestamp | None, int]

    def __str__(self) -> str:
        total = int(self.by_day["mails"].sum())
        hour, most = self.peak
        parts = [f"{total:,} mails (exact)"]
        if hour is not None:
            mean = total / max(1, len(self.by_day))
            parts[0] += f", {mean:,.1f} a day; most in one hour: {most:,} from {hour:%Y-%m-%d %H:%M} UTC"
        if len(self.offers):
            parts += ["", self.offers.to_string(index=False)]
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        offers = self.offers.to_html(index=False, border=0) if len(self.offers) else ""
        return f"<p>{html.escape(str(self).splitlines()[0])}</p>{offers}"


def load_of(decisions: pd.DataFrame, span: tuple[pd.Timestamp | None, pd.Timestamp]) -> Load:
    """Mails of a decision table over time.

    Args:
        decisions: `tables.DECISIONS`.
        span: first and last moment of the replay.

    Returns:
        Counts by hour and by day, offers, and the peak.
    """
    sent = decisions[decisions["status"] == "send"]
    hours = sent["at"].dt.floor("h").value_counts().sort_index()
    days = sent["at"].dt.floor("D").value_counts()
    if span[0] is not None:
        days = days.reindex(pd.date_range(span[0].floor("D"), span[1].floor("D"), freq="D"), fill_value=0)
    offered = sent[sent["offer"].notna()]
    offers = offered.groupby(["scenario", "step", "offer"], sort=True).size().rename("mails").reset_index()
    peak = (hours.idxmax(), int(hours.max())) if len(hours) else (None, 0)
    by_hour = pd.DataFrame({"hour": hours.index, "mails": hours.to_numpy()})
    return Load(by_hour, pd.DataFrame({"day": days.index, "mails": days.to_numpy()}), offers, peak)


@dataclass(frozen=True, eq=False)
class Overlap:
    """How the scenarios of a program meet in the same people.

    people: scenario by scenario: how many customers got mails of both (on the diagonal: of that one).
    caps: one row per scenario: mails not sent because a limit was reached, and their share of all decided.
    weekly: one row per number of mails in a week: how many customer-weeks had so many.
    """

    people: pd.DataFrame
    caps: pd.DataFrame
    weekly: pd.DataFrame

    def __str__(self) -> str:
        return "\n".join(
            [
                "Customers who got mails of both (exact)",
                self.people.to_string(),
                "",
                "Mails not sent because a limit was reached",
                self.caps.to_string(index=False, float_format="{:.1%}".format),
                "",
                "Mails a person a week, where there were any",
                self.weekly.to_string(index=False),
            ]
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return (
            f"<p>Customers who got mails of both (<i>exact</i>)</p>{self.people.to_html(border=0)}"
            "<p>Mails not sent because a limit was reached</p>"
            f"{self.caps.to_html(index=False, border=0, float_format='{:.1%}'.format)}"
            f"<p>Mails a person a week, where there were any</p>{self.weekly.to_html(index=False, border=0)}"
        )


def overlap_of(decisions: pd.DataFrame, scenarios: list[str]) -> Overlap:
    """How scenarios meet in a decision table.

    Args:
        decisions: `tables.DECISIONS`.
        scenarios: their names, in the order to show.

    Returns:
        Customers by pairs of scenarios, limits reached, mails a person a week (weeks begin on Monday, UTC).
    """
    sent = decisions[decisions["status"] == "send"]
    got = {name: set(sent.loc[sent["scenario"] == name, "customer_id"]) for name in scenarios}
    people = pd.DataFrame([[len(got[a] & got[b]) for b in scenarios] for a in scenarios], scenarios, scenarios)
    reached = decisions["reason"] == "cap"
    caps = pd.DataFrame(
        {
            "scenario": scenarios,
            "mails": [int((reached & (decisions["scenario"] == name)).sum()) for name in scenarios],
            "share": [float(reached[decisions["scenario"] == name].mean()) for name in scenarios],
        }
    )
    week = sent["at"].dt.tz_localize(None).dt.to_period("W")
    counts = sent.groupby([sent["customer_id"], week]).size().value_counts().sort_index()
    weekly = pd.DataFrame({"mails": counts.index.astype("int64"), "customer_weeks": counts.to_numpy()})
    return Overlap(people, caps, weekly)
