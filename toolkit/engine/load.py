"""What a program would weigh: mails by hour and day, the peak, coupons, and what its offers may cost. Exact."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from toolkit.drawable import Drawable
from toolkit.engine import layout as m
from toolkit.engine.compile import Compiled
from toolkit.engine.layout import Ints
from toolkit.errors import InputError, shown
from toolkit.readable import counted, lines_html, offer_words, priced, table_html
from toolkit.scenario.models import Offer, Program

if TYPE_CHECKING:
    from toolkit.engine.run import Run

__all__ = ["Load", "MailCounts", "load_of", "mail_counts", "offer_text"]

_HOUR = 3_600_000_000
_DAY = pd.Timedelta(days=1)


@dataclass(frozen=True, eq=False)
class Load(Drawable):
    """Mails over time, and the offers in them.

    by_hour: one row per hour with a mail: hour (UTC) and mails.
    by_day: one row per UTC day of the log, or of the period: day, mails.
    offers: one row per scenario, step and offer: mails (offers given, one code each where there is a pool), codes_left
        in the pool at the end (missing without one), ceiling (the most they can cost, each used once), currency, and
        note: why a ceiling is missing, or what it rests on.
    peak: the busiest hour and its mails.
    days: how long the replay or the period is, in days of 24 hours, at least one: what "a day" is a mean over, since
        in UTC a local day lies in two.
    """

    by_hour: pd.DataFrame
    by_day: pd.DataFrame
    offers: pd.DataFrame
    peak: tuple[pd.Timestamp | None, int]
    days: float

    def __str__(self) -> str:
        parts = self.sentences()
        if len(self.offers):
            parts += ["", self._shown().to_string(index=False, na_rep="")]
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        shown = self._shown()
        known = [name for name in shown.columns if name not in ("codes_left", "ceiling") or (shown[name] != "").any()]
        offers = table_html(shown[known], numbers=("mails", "codes_left", "ceiling")) if len(self.offers) else ""
        return lines_html(self.sentences(), first=True) + offers

    def sentences(self) -> list[str]:
        """The load in words: the mails and their busiest hour, and the offers with the most they can cost."""
        total = int(self.by_day["mails"].sum())
        hour, most = self.peak
        first = f"{counted(total, 'mail')} (exact)"
        if hour is not None:
            first += f", {total / self.days:,.1f} a day; most in one hour: {most:,} from {hour:%Y-%m-%d %H:%M} UTC"
        said = [first]
        given = int(self.offers["mails"].sum())
        if given:
            known = self.offers["ceiling"].notna()
            sums = self.offers[known].groupby("currency", sort=True)["ceiling"].sum()
            cost = " and ".join(priced(f"{amount:,.2f}", str(currency)) for currency, amount in sums.items())
            open_ended = int(self.offers.loc[~known, "mails"].sum())
            text = f"{given:,} offers given"
            if cost:
                text += f"; at most {cost} if each is used once" + (" (without the open-ended)" if open_ended else "")
            if open_ended:
                text += f"; {open_ended:,} of them have no ceiling of their own: see note"
            said.append(text)
        return said

    def _shown(self) -> pd.DataFrame:
        shown = self.offers.copy()
        shown["offer"] = shown["offer"].map(offer_words)
        shown["mails"] = shown["mails"].map("{:,}".format)
        shown["codes_left"] = shown["codes_left"].map(lambda left: "" if pd.isna(left) else f"{int(left):,}")
        shown["ceiling"] = shown["ceiling"].map(lambda cost: "" if pd.isna(cost) else f"{cost:,.2f}")
        return shown


@dataclass(frozen=True, slots=True)
class MailCounts:
    """Mails of some customers: by hour since 1970, and, of those with an offer, by place of the send.

    taken: as `offers`, with those that were given before the period that is counted.
    """

    hours: Ints
    mails: Ints
    offers: Ints
    taken: Ints


def mail_counts(run: Run) -> MailCounts:
    """Count the mails of a run, so that the counts of several ranges of customers can be added up."""
    rows = run.walked.decisions
    sent = rows[:, m.D_STATUS] == m.STATUS_SEND
    hours, mails = np.unique(rows[sent, m.D_AT] // _HOUR, return_counts=True)
    offers = taken = _offered(run, rows)
    if run.period is not None:
        taken = _offered(run, run.period.up_to(run.whole.walked.decisions))
    return MailCounts(hours, mails.astype(np.int64), offers, taken)


def _offered(run: Run, rows: Ints) -> Ints:
    """How many mails with an offer went, by place of the send."""
    given = rows[(rows[:, m.D_STATUS] == m.STATUS_SEND) & (rows[:, m.D_PLAIN] == 0), m.D_SEND]
    return np.bincount(given, minlength=len(run.compiled.sends)).astype(np.int64)


def load_of(
    counts: Iterable[MailCounts],
    *,
    program: Program,
    compiled: Compiled,
    span: tuple[pd.Timestamp | None, pd.Timestamp],
    largest_order: float | None = None,
) -> Load:
    """Mails over time, and what the offers in them may cost.

    Args:
        counts: of each range of customers.
        program, compiled: what was replayed.
        span: first and last moment of the replay.
        largest_order: what the ceiling of a percentage is taken from, in the currency of the program.

    Returns:
        Counts by hour and by day, offers, and the peak.

    Raises:
        InputError: `largest_order` is not a number above 0.
    """
    if largest_order is not None and not _is_amount(largest_order):
        raise InputError(f"largest_order must be an amount above 0; found {shown(largest_order)}")
    all_counts = list(counts)
    hours, place = np.unique(np.concatenate([one.hours for one in all_counts]), return_inverse=True)
    mails = np.bincount(place, np.concatenate([one.mails for one in all_counts]), minlength=len(hours)).astype(np.int64)
    by_hour = pd.DataFrame({"hour": _moments(hours), "mails": mails})
    days = by_hour.groupby(by_hour["hour"].dt.floor("D"))["mails"].sum()
    if span[0] is not None:
        first, last = (moment.tz_convert("UTC").floor("D") for moment in (span[0], span[1]))
        days = days.reindex(pd.date_range(first, last, freq="D"), fill_value=0)
    by_day = pd.DataFrame({"day": days.index, "mails": days.to_numpy(dtype=np.int64)})
    given, taken = (np.sum([getattr(one, name) for one in all_counts], axis=0) for name in ("offers", "taken"))
    peak = (by_hour["hour"].iloc[int(mails.argmax())], int(mails.max())) if len(mails) else (None, 0)
    length = 1.0 if span[0] is None else (span[1] - span[0]) / _DAY
    return Load(by_hour, by_day, _offers(given, taken, program, compiled, largest_order), peak, max(1.0, length))


def _moments(hours: Ints) -> pd.Series:
    return pd.Series((hours * _HOUR).astype("datetime64[us]")).dt.tz_localize("UTC")


def _is_amount(value: Any) -> bool:
    return isinstance(value, Real) and 0 < float(value) < math.inf


def _offers(
    given: Ints, taken: Ints, program: Program, compiled: Compiled, largest_order: float | None
) -> pd.DataFrame:
    own = program.policies.currency
    used: dict[str, int] = {}
    for send, mails in zip(compiled.sends, taken.tolist(), strict=True):
        if send.offer is not None and send.offer.pool is not None:
            used[send.offer.pool] = used.get(send.offer.pool, 0) + mails
    sizes = dict(compiled.pools)
    rows = []
    for send, mails in zip(compiled.sends, given.tolist(), strict=True):
        if send.offer is None or not mails:
            continue
        each, note = _ceiling(send.offer, largest_order, own)
        pool = send.offer.pool
        rows.append(
            {
                "scenario": send.scenario,
                "step": send.step,
                "offer": offer_text(send.offer, own),
                "mails": mails,
                "codes_left": float(sizes[pool] - used[pool]) if pool in sizes else float("nan"),
                "ceiling": mails * each,
                "currency": send.offer.currency or own,
                "note": note,
            }
        )
    columns = ["scenario", "step", "offer", "mails", "codes_left", "ceiling", "currency", "note"]
    return pd.DataFrame(rows, columns=columns).sort_values(["scenario", "step", "offer"], ignore_index=True)


def _ceiling(offer: Offer, largest_order: float | None, own: str) -> tuple[float, str]:
    """The most that one offer can cost, and what that rests on."""
    if offer.free_shipping:
        return float("nan"), "what shipping costs is not in the program"
    if offer.percent is None:
        return float(offer.amount or 0.0), ""
    if largest_order is None:
        return float("nan"), "a share of an order has no ceiling: pass largest_order="
    return (
        offer.percent / 100 * largest_order + float(offer.amount or 0.0),
        f"assumed: no order above {priced(f'{largest_order:,.2f}', offer.currency or own)}",
    )


def offer_text(offer: Offer | None, currency: str) -> str | None:
    """An offer in a few words.

    >>> offer_text(Offer(percent=10, valid="3d"), "EUR")
    '10% off, valid 3d'
    """
    if offer is None:
        return None
    words = []
    if offer.percent is not None:
        words.append(f"{offer.percent:g}% off")
    if offer.amount is not None:
        words.append(f"{offer.amount:g} {offer.currency or currency} off")
    if offer.free_shipping:
        words.append("free shipping")
    if offer.minimum is not None:
        words.append(f"from {offer.minimum:g} {offer.currency or currency}")
    if offer.valid is not None:
        words.append(f"valid {offer.valid}")
    return ", ".join(words)
