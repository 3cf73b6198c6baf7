"""Two replays side by side: who gains, loses or moves a mail. Exact."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.drawable import Drawable
from toolkit.engine import layout as m
from toolkit.engine.ids import key_texts
from toolkit.engine.layout import Ints
from toolkit.engine.load import offer_text
from toolkit.engine.period import Period
from toolkit.errors import InputError
from toolkit.readable import table_html
from toolkit.scenario.models import Program
from toolkit.scenario.parameters import parameters
from toolkit.tables import REASONS

if TYPE_CHECKING:
    from toolkit.engine.run import Run

__all__ = ["CHANGES", "Difference", "difference_of", "joined"]

CHANGES = ("gained", "lost", "moved", "changed")
_SHOWN = 5
_SAME_MAIL = ["scenario", "step", "customer", "event", "moment", "key"]
_COLUMNS = ["change", "scenario", "step", "customer_id", "at_before", "at_after", "reason_before", "reason_after"]


@dataclass(frozen=True, eq=False)
class Difference(Drawable):
    """What a second version of a program would have sent otherwise.

    table: one row per scenario, step and change: gained, lost, moved (the same mail at another time), changed (another
        template or offer), with mails and customers.
    mails: one row per mail that differs: change, scenario, step, customer_id, at_before, at_after, reason_before and
        reason_after (why it was not sent; missing where the journey never came to it), later (how much later it goes).
    same: mails that are the same in both.
    versions: the content hashes of the two programs (rule R23).
    settings: one row per parameter that differs: path, before, after.
    period: the part of the two replays that was compared (see `Run.between`), or None.
    """

    table: pd.DataFrame
    mails: pd.DataFrame
    same: int
    versions: tuple[str, str]
    settings: pd.DataFrame
    period: Period | None = None

    def __str__(self) -> str:
        parts = [self._counts(), self._named()]
        if len(self.settings):
            parts += ["", "What differs in the programs", self.settings.to_string(index=False, na_rep="")]
        if len(self.table):
            parts += ["", self._table().to_string(index=False)]
            parts += ["", "For example", self._examples().to_string(index=False, na_rep="")]
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        said = f"<p><b>{html.escape(self._counts())}</b><br>{html.escape(self._named())}</p>"
        if len(self.settings):
            said += f"<p>What differs in the programs</p>{table_html(self.settings, names={'path': 'setting'})}"
        if len(self.table):
            names = {"at_before": "left before", "at_after": "leaves now", "reason_after": "why not now"}
            said += f"{table_html(self.table)}<p>For example</p>{table_html(self._examples(), names=names)}"
        return said

    def _counts(self) -> str:
        counts = self.mails["change"].value_counts()
        told = ", ".join(f"{int(counts.get(change, 0)):,} {change}" for change in CHANGES)
        return f"{told}; {self.same:,} mails are the same in both (exact)"

    def _named(self) -> str:
        before, after = (version[:12] for version in self.versions)
        named = f"the same version, {before}" if before == after else f"from version {before} to {after}"
        return named if self.period is None else f"{named}; {self.period.words} alone"

    def _table(self) -> pd.DataFrame:
        return self.table.assign(**{name: self.table[name].map("{:,}".format) for name in ("mails", "customers")})

    def _examples(self) -> pd.DataFrame:
        chosen = self.mails.groupby("change", sort=False).head(_SHOWN)
        shown = chosen[["change", "scenario", "step", "customer_id", "at_before", "at_after", "reason_after"]].copy()
        for name in ("at_before", "at_after"):
            shown[name] = shown[name].dt.strftime("%Y-%m-%d %H:%M")
        return shown if shown["reason_after"].notna().any() else shown.drop(columns="reason_after")


def difference_of(before: Run, after: Run) -> Difference:
    """Compare two replays over the same log, mail by mail.

    Args:
        before, after: two replays; their arrays are compared where both hold them, else their frames.

    Returns:
        The difference; a mail is the same mail when scenario, customer, key, trigger and step are the same.

    Raises:
        InputError: the two are over different logs, or end at different moments.
    """
    _check_same_log(before, after)
    period, (before, after) = before.period, (before.whole, after.whole)
    names = _Names(one_log=before.log is after.log)
    old, new = (names.mails(run) for run in (before, after))
    both = old.merge(new, on=_SAME_MAIL, how="outer", suffixes=("_before", "_after"), sort=False)
    for name in ("status", "reason"):
        for side in ("before", "after"):
            both[f"{name}_{side}"] = both[f"{name}_{side}"].fillna(-1).astype(np.int64)
    was, will = (both[f"status_{side}"] == m.STATUS_SEND for side in ("before", "after"))
    if period is not None:
        first, last = period.ends
        is_in = [sent & both[f"at_{side}"].between(first, last) for sent, side in ((was, "before"), (will, "after"))]
        there = is_in[0] | is_in[1]
        both, was, will = both[there], was[there], will[there]
    moved = was & will & (both["at_before"] != both["at_after"])
    other = was & will & ~moved & (both["mail_before"] != both["mail_after"])
    same = int((was & will & ~moved & ~other).sum())
    change = np.select([~was & will, was & ~will, moved, other], range(len(CHANGES)), default=-1)
    chosen = both[change >= 0]
    mails = pd.DataFrame(
        {
            "change": pd.Series(np.array(CHANGES, dtype=object)[change[change >= 0]], dtype="str"),
            "scenario": names.of("scenario", chosen["scenario"]),
            "step": names.of("step", chosen["step"]),
            "customer_id": names.customers.take(pa.array(chosen["customer"].to_numpy())).to_pandas(),
            "at_before": _times(chosen["at_before"], was[change >= 0]),
            "at_after": _times(chosen["at_after"], will[change >= 0]),
            "reason_before": _reasons(chosen["reason_before"]),
            "reason_after": _reasons(chosen["reason_after"]),
        },
        columns=_COLUMNS,
    )
    settings = _settings(before.program, after.program)
    return _ordered(mails, same, (before.version, after.version), settings, period)


def joined(differences: Iterable[Difference]) -> Difference:
    """The differences of several ranges of customers as one."""
    each = list(differences)
    mails = pd.concat([one.mails for one in each], ignore_index=True)[_COLUMNS]
    return _ordered(mails, sum(one.same for one in each), each[0].versions, each[0].settings, each[0].period)


def _check_same_log(before: Run, after: Run) -> None:
    if before.period != after.period:
        spans = " and ".join(
            "a whole run" if one.period is None else f"{one.period.since} to {one.period.until}"
            for one in (before, after)
        )
        raise InputError(f"diff: found {spans}; allowed: the same period of both, run.between(since, before)")
    ends = [one.whole.until for one in (before, after)]
    if ends[0] != ends[1]:
        raise InputError(
            f"the two replays end at different moments, {ends[0]} and {ends[1]}: give both the same until="
        )
    if before.log is after.log:
        return
    if before.log.span != after.log.span or before.log.event_counts != after.log.event_counts:
        raise InputError("the two replays are over different logs: a difference is between programs, over one log")


def _ordered(
    mails: pd.DataFrame, same: int, versions: tuple[str, str], settings: pd.DataFrame, period: Period | None
) -> Difference:
    mails = mails.assign(later=mails["at_after"] - mails["at_before"])
    mails["order"] = mails["change"].map({change: place for place, change in enumerate(CHANGES)}).astype(np.int64)
    first = mails["at_after"].where(mails["at_after"].notna(), mails["at_before"])
    mails = mails.assign(first=first).sort_values(["order", "first", "customer_id", "step"], kind="stable")
    table = (
        mails.groupby(["scenario", "step", "order", "change"], sort=True)
        .agg(mails=("customer_id", "size"), customers=("customer_id", "nunique"))
        .reset_index()
        .drop(columns="order")
    )
    return Difference(table, mails[[*_COLUMNS, "later"]].reset_index(drop=True), same, versions, settings, period)


def _settings(before: Program, after: Program) -> pd.DataFrame:
    """Parameters that differ, also of scenarios that only one of the two has."""
    old, new = ({path: str(value) for path, value in parameters(program).items()} for program in (before, after))
    paths = [path for path in dict.fromkeys([*old, *new]) if old.get(path) != new.get(path)]
    rows = [(path, old.get(path), new.get(path)) for path in paths]
    return pd.DataFrame(rows, columns=["path", "before", "after"])


def _times(moments: pd.Series, known: pd.Series) -> pd.Series:
    micros = moments.fillna(m.NONE).astype(np.int64).where(known.to_numpy(), m.NONE).to_numpy()
    return pd.Series(micros.astype("datetime64[us]")).dt.tz_localize("UTC")


def _reasons(places: pd.Series) -> pd.Series:
    return pd.Series(np.array([*REASONS, None], dtype=object)[places.to_numpy()], dtype="str")


class _Names:
    """Numbers for names that two runs share, so that whole columns of numbers can be compared."""

    def __init__(self, *, one_log: bool) -> None:
        self._one_log = one_log
        self._places: dict[str, dict[Any, int]] = {}
        self.customers: pa.Array = pa.array([], pa.large_string())

    def of(self, kind: str, places: pd.Series) -> pd.Series:
        lookup = np.array([*self._places.get(kind, {}), None], dtype=object)
        return pd.Series(lookup[places.to_numpy()], dtype="str")

    def mails(self, run: Run) -> pd.DataFrame:
        """One row per decision of a run, in numbers."""
        rows, journeys = run.walked.decisions, run.walked.journeys[run.walked.decisions[:, m.D_JOURNEY]]
        compiled = run.compiled
        by_event = compiled.plan.scenarios[journeys[:, m.J_SCENARIO], m.S_TRIGGER] == m.TRIGGER_EVENT
        currency = run.program.policies.currency
        scenarios = self._numbers("scenario", [one.scenario for one in compiled.scenarios])
        steps = self._numbers("step", [send.step for send in compiled.sends])
        mails = [(send.template, offer_text(send.offer, currency)) for send in compiled.sends]
        plain = [(send.template, None) for send in compiled.sends]
        which = np.stack([self._numbers("mail", mails), self._numbers("mail", plain)])
        return pd.DataFrame(
            {
                "scenario": scenarios[journeys[:, m.J_SCENARIO]],
                "step": steps[rows[:, m.D_SEND]],
                "customer": self._of_customers(run)[journeys[:, m.J_CUSTOMER]],
                "event": self._events(run, journeys, by_event),
                "moment": np.where(by_event, 0, journeys[:, m.J_TRIGGER]),
                "key": self._keys(run, journeys, by_event),
                "at": rows[:, m.D_AT],
                "status": rows[:, m.D_STATUS],
                "reason": rows[:, m.D_REASON],
                "mail": which[rows[:, m.D_PLAIN], rows[:, m.D_SEND]],
            }
        )

    def _numbers(self, kind: str, names: list[Any]) -> Ints:
        known = self._places.setdefault(kind, {})
        return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)

    def _of_customers(self, run: Run) -> Ints:
        own = run.marked.customers
        fresh = own.filter(pc.invert(pc.is_in(own, value_set=self.customers)))
        self.customers = pa.concat_arrays([self.customers, fresh])
        return np.array(pc.index_in(own, value_set=self.customers).to_numpy(zero_copy_only=False), dtype=np.int64)

    def _events(self, run: Run, journeys: Ints, by_event: npt.NDArray[np.bool_]) -> Ints:
        """The event that began each journey: its row where both runs are over one log, else by its id."""
        rows = np.full(len(journeys), -1, dtype=np.int64)
        rows[by_event] = run.marked.row[journeys[by_event, m.J_EVENT]]
        if not self._one_log:
            unique, place = np.unique(rows[by_event], return_inverse=True)
            rows[by_event] = self._numbers("event", list(run.log.event_ids(unique)))[place]
        return rows

    def _keys(self, run: Run, journeys: Ints, by_event: npt.NDArray[np.bool_]) -> Ints:
        """The key of journeys that no event began; an event says its key by itself."""
        keys = np.full(len(journeys), -1, dtype=np.int64)
        keyed = np.flatnonzero(~by_event & (journeys[:, m.J_KEY] >= 0))
        if len(keyed):
            chosen = journeys[keyed]
            texts = key_texts(run.log, run.marked, run.compiled, chosen[:, m.J_SCENARIO], chosen[:, m.J_EVENT])
            keys[keyed] = self._numbers("key", texts.to_pylist())
        return keys
