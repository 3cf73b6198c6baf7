"""What people make of the mails they get: deliveries, opens, clicks, unsubscribes, and purchases that a mail caused.

All chance is a hash of the shop's seed, a word and the mail's decision id: the same mail is always answered alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from toolkit.engine import uniform
from toolkit.scenario.models import Offer
from toolkit.simulation.answers import Answers
from toolkit.simulation.calendar import DAY, HOUR, MINUTE, SECOND, local_moment, whole_milliseconds
from toolkit.simulation.catalogue import PRICES, PRODUCTS
from toolkit.simulation.names import ZONES
from toolkit.simulation.shop import Shop

__all__ = ["Offers", "answer_mails", "use_offers"]

Offers = Mapping[tuple[str, str], Offer]
Shares = npt.NDArray[np.float64]
Moments = npt.NDArray[np.int64]

_LONGEST = 4 * DAY  # that a mail works on someone
_NEVER = np.int64(-1)


def answer_mails(shop: Shop, sends: pd.DataFrame, *, offers: Offers, answers: Answers) -> pd.DataFrame:
    """How each mail is answered.

    Args:
        shop: the shop without mails.
        sends: one row per mail: decision_id, journey_id, customer_id, scenario, step, at, transactional, …
        offers: the offer of a mail, by scenario and step.
        answers: how people answer.

    Returns:
        The mails with bounce_type, delivered, delivered_at, opened_at, clicked_at, unsubscribed_at, own_purchase_at,
        caused_at, product_id, items and caused_revenue; what does not happen is missing.
    """
    mails = sends.reset_index(drop=True)
    units = mails["decision_id"].tolist()

    def chance(word: str) -> Shares:
        return uniform(f"shop {shop.seed} {word}", units)

    at = _micros(mails["at"])
    transactional = mails["transactional"].to_numpy(bool)
    bounce = chance("bounces")
    hard = bounce < answers.bounces_hard
    delivered = bounce >= answers.bounces_hard + answers.bounces_soft
    delivered_at = at + ((1 + 20 * chance("delivery")) * SECOND).astype(np.int64)

    mails = _with_own_purchase(mails, shop)
    mails = _with_basket(mails, shop, chance("basket"))
    caused_at = _caused_at(mails, shop, delivered, chance("buys"), chance("takes"), offers, answers)
    causes = caused_at != _NEVER

    opens = np.where(transactional, answers.opens_transactional, answers.opens)
    clicks = np.where(transactional, answers.clicks_transactional, answers.clicks)
    opened = delivered & ((chance("opens") < opens) | causes)
    opened_at = by_day(delivered_at + _lognormal(chance("reads"), 2 * HOUR, 1.4), _zones(mails, shop))
    clicked = opened & ((chance("clicks") < clicks) | causes)
    clicked_at = opened_at + ((15 + 90 * chance("hesitates")) * SECOND).astype(np.int64)
    # Whoever buys because of a mail reads it on the way: open, click, look, buy.
    last_read = caused_at - np.minimum((2 + 13 * chance("looks")) * MINUTE, 0.6 * (caused_at - at)).astype(np.int64)
    opened_at = np.where(causes, last_read, opened_at)
    clicked_at = np.where(causes, last_read + (caused_at - last_read) // 4, clicked_at)

    # Among those who open, so that of all delivered mails the stated share ends in an unsubscribe.
    least_opens = max(answers.opens, answers.unsubscribes, 1e-9)
    leaves = opened & ~causes & ~transactional & (chance("leaves") < answers.unsubscribes / least_opens)
    leaves_at = opened_at + ((20 + 70 * chance("regrets")) * SECOND).astype(np.int64)
    return mails.assign(
        bounce_type=pd.Series(np.where(hard, "hard", "soft"), index=mails.index, dtype="str").where(~delivered),
        delivered=delivered,
        delivered_at=_utc(np.where(delivered, delivered_at, at + 30 * SECOND)),
        opened_at=_utc(opened_at, opened),
        clicked_at=_utc(clicked_at, clicked),
        unsubscribed_at=_utc(leaves_at, leaves),
        caused_at=_utc(caused_at, causes),
        caused_revenue=mails["basket"].where(causes),
    )


def use_offers(
    mails: pd.DataFrame, purchases: pd.DataFrame, *, offers: Offers, answers: Answers, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What offers take off purchases.

    Args:
        mails: as `answer_mails` gives them.
        purchases: one row per purchase: purchase (its key), customer_id, at, revenue, caused_by (a decision id).
        offers: the offer of a mail, by scenario and step.
        answers: how people answer.
        seed: the shop's seed.

    Returns:
        The mails and the purchases, each with discount (EUR; missing: none). A purchase uses one offer at most, the
        one that is worth most.
    """
    offer = [offers.get(key) for key in zip(mails["scenario"], mails["step"], strict=True)]
    giving = (
        np.array([bool(one and (one.percent or one.amount)) for one in offer], bool) & mails["delivered"].to_numpy()
    )
    given = mails.loc[giving, ["decision_id", "customer_id", "at"]].rename(columns={"at": "since"})
    chosen = [one for one, gives in zip(offer, giving, strict=True) if gives and one]
    given["percent"] = np.array([one.percent or 0.0 for one in chosen], float)
    given["amount"] = np.array([one.amount or 0.0 for one in chosen], float)
    lasts = np.array([one.valid.elapsed if one.valid else 365 * DAY for one in chosen], np.int64)
    given["valid_until"] = given["since"] + pd.to_timedelta(lasts, unit="us")
    pairs = given.merge(purchases, on="customer_id")
    pairs = pairs[(pairs["at"] > pairs["since"]) & (pairs["at"] <= pairs["valid_until"])]
    pairs = pairs.sort_values(["at", "purchase"]).drop_duplicates("decision_id")  # an offer is used once
    uses = uniform(f"shop {seed} uses", pairs["decision_id"].tolist()) < answers.uses_offer
    pairs = pairs[uses | (pairs["caused_by"] == pairs["decision_id"]).to_numpy(bool)]
    worth = (pairs["revenue"] * pairs["percent"] / 100 + pairs["amount"]).clip(upper=pairs["revenue"]).round(2)
    pairs = pairs.assign(discount=worth).sort_values(
        ["discount", "since", "decision_id"], ascending=[False, True, True]
    )
    pairs = pairs.drop_duplicates("purchase")
    by_mail, by_purchase = (pairs.set_index(key)["discount"] for key in ("decision_id", "purchase"))
    return (
        mails.assign(discount=mails["decision_id"].map(by_mail).astype(float)),
        purchases.assign(discount=purchases["purchase"].map(by_purchase).astype(float)),
    )


def by_day(moments: Moments, zone: npt.NDArray[np.int8]) -> Moments:
    """Moments between one and seven at night moved seven hours ahead."""
    hour = local_moment(moments, zone, ZONES) % DAY // HOUR
    return np.where((hour >= 1) & (hour < 7), moments + 7 * HOUR, moments)


def _caused_at(
    mails: pd.DataFrame,
    shop: Shop,
    delivered: npt.NDArray[np.bool_],
    chance: Shares,
    takes: Shares,
    offers: Offers,
    answers: Answers,
) -> Moments:
    """When a mail makes someone buy who would not have; -1 where it does not. A journey is brought to buy once."""
    at = _micros(mails["at"])
    names = (mails["scenario"] + "." + mails["step"]).to_numpy(object)
    share = np.array([answers.buys.get(name, 0.0) for name in names], float)
    own = mails["own_purchase_at"]
    unwilling = own.isna() | (own - mails["at"] > pd.Timedelta(answers.window.elapsed, unit="us"))
    causes = delivered & unwilling.to_numpy(bool) & (chance < share)
    earliest = mails[causes].sort_values(["at", "decision_id"]).drop_duplicates("journey_id").index
    causes = causes & mails.index.isin(earliest)
    moment = by_day(at + np.maximum(_lognormal(takes, 5 * HOUR, 1.1), 4 * MINUTE), _zones(mails, shop))
    lasts = [
        min(offer.valid.elapsed if (offer := offers.get(key)) and offer.valid else _LONGEST, _LONGEST)
        for key in zip(mails["scenario"], mails["step"], strict=True)
    ]
    return np.where(causes, np.minimum(moment, at + np.array(lasts, np.int64)), _NEVER)


def _with_own_purchase(mails: pd.DataFrame, shop: Shop) -> pd.DataFrame:
    own = shop.truth.carts.dropna(subset="bought_at")[["customer_id", "bought_at"]].sort_values("bought_at")
    own = own.rename(columns={"bought_at": "own_purchase_at"})
    return _nearest(mails, own, on="own_purchase_at", direction="forward")


def _with_basket(mails: pd.DataFrame, shop: Shop, chance: Shares) -> pd.DataFrame:
    """What a person would buy: the cart filled last before the mail, or any one product."""
    carts = shop.truth.carts[["customer_id", "at", "product_id", "items", "value"]]
    carts = carts.rename(columns={"at": "filled_at", "value": "basket"}).sort_values("filled_at")
    mails = _nearest(mails, carts, on="filled_at", direction="backward")
    any_one = (chance * len(PRODUCTS)).astype(np.int64)
    return mails.assign(
        product_id=mails["product_id"].fillna(pd.Series(np.array(PRODUCTS)[any_one], index=mails.index, dtype="str")),
        items=mails["items"].fillna(1).astype(np.int64),
        basket=mails["basket"].fillna(pd.Series(PRICES[any_one], index=mails.index)),
    )


def _nearest(mails: pd.DataFrame, table: pd.DataFrame, *, on: str, direction: Any) -> pd.DataFrame:
    ordered = mails.reset_index().sort_values("at")
    table = table.assign(joined=table[on])
    found = pd.merge_asof(
        ordered, table, left_on="at", right_on="joined", by="customer_id", direction=direction, allow_exact_matches=True
    )
    return found.set_index("index").sort_index().rename_axis(None).drop(columns="joined")


def _zones(mails: pd.DataFrame, shop: Shop) -> npt.NDArray[np.int8]:
    by_customer = shop.customers.set_index("customer_id")["timezone"]
    places = {name: place for place, name in enumerate(ZONES)}
    return mails["customer_id"].map(by_customer).map(places).fillna(0).to_numpy().astype(np.int8)


def _lognormal(chance: Shares, median: float, sigma: float) -> Moments:
    spread: Shares = ndtri(np.clip(chance, 1e-9, 1 - 1e-9))
    micros: Moments = (median * np.exp(sigma * spread)).clip(max=float(_LONGEST)).astype(np.int64)
    return micros


def _micros(times: pd.Series) -> Moments:
    micros: Moments = (
        times.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[us]").astype("int64").to_numpy()
    )
    return micros


def _utc(micros: Moments, happens: npt.NDArray[np.bool_] | None = None) -> pd.Series:
    times = pd.Series(whole_milliseconds(micros).astype("datetime64[us]")).dt.tz_localize("UTC")
    return times if happens is None else times.where(happens)
