"""Win-back: who has lapsed, what their return would be worth, and who is worth an offer. Modelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from toolkit.errors import InputError, shown
from toolkit.events import EventLog
from toolkit.events.times import moment_of
from toolkit.readable import lines_html, table_html
from toolkit.scenario.duration import Duration
from toolkit.simulation.doors import check_between, check_numbers, check_share, check_text, checked_window
from toolkit.simulation.quantity import Quantity
from toolkit.stats.lapse import buying_histories, fit_buying

__all__ = ["WinBack", "win_back"]

_MOST_MONEY = 1e12
_WEEK = 7 * 86_400_000_000

_SHOWN = 20  # customers in a notebook


@dataclass(frozen=True, eq=False)
class WinBack:
    """Lapsed customers and what winning them back is worth.

    Attributes:
        table: one row per lapsed customer, the most worth first: customer_id, last_purchase, days (since), purchases,
            spend (mean of an order; observed), alive (chance not to have stopped; missing without the model),
            own (purchases expected without a mail), value (expected profit of an offer), value_lower, value_upper,
            worth (an offer pays on average), surely (it pays at the interval's lower end), label.
        rule: who counts as lapsed.
        offer: percent off. level: share of the intervals.
    """

    table: pd.DataFrame
    rule: str
    offer: float
    level: float

    def __str__(self) -> str:
        worth, surely = int(self.table["worth"].sum()), int(self.table["surely"].sum())
        total = float(self.table.loc[self.table["worth"], "value"].sum())
        return (
            f"{len(self.table):,} lapsed customers ({self.rule}); an offer of {self.offer:g}% is expected to pay for "
            f"{worth:,} of them, {surely:,} surely so at {self.level:.0%}, {total:,.2f} in all (modelled)"
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rest = len(self.table) - _SHOWN
        return (
            lines_html([str(self)])
            + table_html(self.table.head(_SHOWN))
            + lines_html([f"and {rest:,} more customers, in .table"] if rest > 0 else [])
        )


def win_back(
    log: EventLog,
    *,
    lapsed: str | Duration | None = None,
    alive_below: float | None = None,
    reactivates: tuple[float, float, float],
    margin: float,
    offer: float = 10.0,
    used_anyway: float = 1.0,
    mail_cost: float = 0.0,
    within: str | Duration = "90d",
    purchase: str = "purchase",
    value: str = "revenue",
    until: pd.Timestamp | str | None = None,
    level: float = 0.9,
    draws: int = 2000,
    seed: int = 1,
) -> WinBack:
    """Who has lapsed, and for whom an offer pays.

    An offer brings back some who would have stayed away, and is used by some who would have come anyway. Its value is
    `brought back x (margin - offer) x order - own purchase x used anyway x offer x order - mail cost`.

    Args:
        log: what customers did.
        lapsed: no purchase for so long; or
        alive_below: the chance not to have stopped (BG/NBD) is below this.
        reactivates: low, likely and high share of lapsed customers, who would not come on their own, whom the offer
            brings back within `within`.
        margin: share of the price that an order earns, 0..1.
        offer: percent off, 0..100.
        used_anyway: share of own purchases that use the offer.
        mail_cost: what a mail costs.
        within: how far ahead is looked.
        purchase, value: the event and its property.
        until: as of when, with a time zone; the end of the log unless given. Purchases heard of later do not count.
        level, draws, seed: of the intervals.

    Returns:
        One row per lapsed customer with the expected value of an offer and its interval.

    Raises:
        InputError: neither or both rules; a number out of its range; no purchases.
        MetricError: too few repeat purchases for the model.

    Reference: Fader, Hardie & Lee (2005), Marketing Science 24, 275-284.
    """
    if (lapsed is None) == (alive_below is None):
        raise InputError("win_back: say who has lapsed: lapsed='90d', or alive_below=0.3; one of both")
    if not isinstance(log, EventLog):
        raise InputError(f"log: found {type(log).__name__}; allowed: an EventLog, from EventLog.open or from_…")
    if not isinstance(reactivates, Sequence) or isinstance(reactivates, str) or len(reactivates) != 3:
        raise InputError(f"reactivates: found {shown(reactivates)}; allowed: three shares, low, likely and high")
    low, likely, high = reactivates
    if alive_below is not None:
        check_share("alive_below", alive_below, of="certainty")
    check_numbers(draws, level, seed)
    check_between("mail_cost", mail_cost, _MOST_MONEY)
    check_text("purchase", purchase)
    check_text("value", value)
    for name, number, top in (
        ("margin", margin, 1.0), ("offer", offer, 100.0), ("used_anyway", used_anyway, 1.0),
        ("reactivates", low, 1.0), ("reactivates", likely, 1.0), ("reactivates", high, 1.0),
    ):  # fmt: skip
        check_between(name, number, top)
    if not low <= likely <= high:
        raise InputError(f"reactivates: found {shown(reactivates)}; allowed: low, likely, high, rising")
    ahead = checked_window(within, name="within").elapsed / _WEEK
    silent = None if lapsed is None else checked_window(lapsed, name="lapsed").elapsed / 86_400_000_000
    events = log.events
    bought = events[events["event"] == purchase]
    end = (
        moment_of(until, name="until")
        if until is not None
        else (log.span[1] if log.span else pd.Timestamp(0, tz="UTC"))
    )
    bought = bought[bought["received_at"] <= end]  # what was heard of later, nobody knew then (R2)
    if not len(bought):
        raise InputError(f"the log has no event {shown(purchase)} up to {end}")
    spend = bought.groupby("customer_id")[value].mean() if value in bought else None
    if spend is None or not (spend > 0).any():
        raise InputError(f"{shown(purchase)} has no number in {shown(value)}: what an order is worth is not known")
    last = bought.groupby("customer_id")["at"].max()
    histories = buying_histories(bought, end)
    # An order of a customer with few of them says little: it is drawn towards everyone's mean.
    count = bought.groupby("customer_id").size().reindex(histories.index)
    typical = float(spend.mean())
    order = ((spend.reindex(histories.index).fillna(typical) * count + typical) / (count + 1)).to_numpy()
    parts = [histories[name].to_numpy() for name in ("repeats", "recency", "age")]
    alive, own = np.full(len(histories), np.nan), np.zeros(len(histories))
    if alive_below is not None or (parts[0] > 0).sum() > 50:
        model = fit_buying(*parts)
        alive = np.asarray(model.alive(*parts))
        own = np.asarray(model.expected_purchases(ahead, *parts))
    days = (end - last.reindex(histories.index)).dt.total_seconds().to_numpy() / 86_400
    if silent is not None:
        chosen = days >= silent
        rule = f"no purchase for {lapsed}"
    else:
        chosen, rule = alive < alive_below, f"chance to be still a customer below {alive_below:g}"
    rng = np.random.default_rng([seed % 2**64, 23])
    rate = Quantity(likely, low, high, "rate", "stated").drawn(rng.standard_normal(draws))
    own_share = 1 - np.exp(-own[chosen])
    price = order[chosen]
    # Linear in the rate, so that the interval of each customer follows from that of the rate.
    gain = (1 - own_share) * (margin - offer / 100) * price
    loss = own_share * used_anyway * offer / 100 * price + mail_cost
    ends = np.quantile(rate, [(1 - level) / 2, (1 + level) / 2])
    both = np.sort(np.outer(ends, gain) - loss, axis=0)
    table = pd.DataFrame(
        {
            "customer_id": histories.index[chosen],
            "last_purchase": last.reindex(histories.index)[chosen].to_numpy(),
            "days": days[chosen],
            "purchases": count.to_numpy()[chosen],
            "spend": price,
            "alive": alive[chosen],
            "own": own[chosen],
            "value": rate.mean() * gain - loss,
            "value_lower": both[0],
            "value_upper": both[1],
        }
    )
    table["worth"], table["surely"], table["label"] = table["value"] > 0, table["value_lower"] > 0, "modelled"
    table = table.sort_values(["value", "customer_id"], ascending=[False, True], ignore_index=True)
    return WinBack(table, rule, offer, level)
