"""The log of a shop with mails in it: the shop's own events, the mails, and the orders they brought about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from toolkit.engine import uniform
from toolkit.engine.doors import micros_of
from toolkit.simulation.calendar import whole_milliseconds
from toolkit.simulation.catalogue import CATEGORIES, CATEGORY_OF, NAMES, PRODUCTS
from toolkit.simulation.orders import order_rows
from toolkit.simulation.rows import EVENT_NAMES, event_ids, rows
from toolkit.simulation.shop import Shop
from toolkit.tables import as_text

__all__ = ["DELIVERY_COLUMNS", "all_purchases", "mailed_events"]

DELIVERY_COLUMNS = ("scenario", "step", "experiment", "arm", "decision_id")
_SECOND = pd.Timedelta(seconds=1)
_ABOVE_OWN = np.uint64(2**55)  # the shop's own events are numbered from 1
_ORDERS = 6  # the place of chance for orders that a mail brought about, among those of the shop


def all_purchases(shop: Shop, mails: pd.DataFrame, *, until: pd.Timestamp) -> pd.DataFrame:
    """Every purchase of a shop with mails, in order of time.

    Args:
        shop: the shop without mails.
        mails: how each was answered.
        until: end of the log.

    Returns:
        One row per purchase: purchase (its key), customer_id, at, revenue, caused_by, product_id, items, and order_id,
        numbered in order of time.
    """
    own = shop.events[shop.events["event"] == "purchase"].drop_duplicates("event_id")
    own = own[["order_id", "customer_id", "at", "revenue"]].rename(columns={"order_id": "purchase"})
    caused = mails.loc[mails["caused_at"] <= until]
    caused = pd.DataFrame(
        {
            "purchase": caused["decision_id"],
            "customer_id": caused["customer_id"],
            "at": caused["caused_at"],
            "revenue": caused["caused_revenue"],
            "caused_by": caused["decision_id"],
            "product_id": caused["product_id"],
            "items": caused["items"],
        }
    )
    purchases = pd.concat([own, caused], ignore_index=True).sort_values(["at", "purchase"], ignore_index=True)
    return purchases.assign(order_id=[f"A{100_001 + number:06d}" for number in range(len(purchases))])


def mailed_events(shop: Shop, mails: pd.DataFrame, purchases: pd.DataFrame, *, until: pd.Timestamp) -> pd.DataFrame:
    """The events of the shop with these mails.

    Args:
        shop: the shop without mails.
        mails: how each was answered.
        purchases: as `all_purchases` gives them, with discount.
        until: end of the log; what would happen later is left out.

    Returns:
        One row per event received, in order of receipt; the shop's columns, discount, and scenario, step, experiment,
        arm, decision_id for deliveries.
    """
    added = pd.concat([_deliveries(mails), _returns(mails), _caused_orders(purchases, shop.seed, until)])
    added = added[added["at"] <= until].sort_values(["at", "mail", "event"], kind="stable", ignore_index=True)
    nth = added.groupby(["mail", "event"]).cumcount().astype("str")
    numbers = uniform(f"shop {shop.seed} event", (added["mail"] + " " + added["event"] + " " + nth).tolist())
    ids = event_ids(_ABOVE_OWN + (numbers * 2.0**52).astype(np.uint64))
    added = added.assign(event_id=ids.to_pandas(), received_at=added["at"])
    events = pd.concat([_own(shop, purchases), added], ignore_index=True)
    columns = [*shop.events.columns, "discount", *DELIVERY_COLUMNS]
    return events.sort_values(["received_at", "event_id"], kind="stable", ignore_index=True)[columns]


def _own(shop: Shop, purchases: pd.DataFrame) -> pd.DataFrame:
    """The shop's own events with the new order numbers, and less what offers took off."""
    own = purchases[purchases["caused_by"].isna()].set_index("purchase")
    events = shop.events
    discount = events["order_id"].map(own["discount"])
    left = 1 - (discount / events["order_id"].map(own["revenue"])).fillna(0)
    of_order = events["order_id"].notna()
    return events.assign(
        order_id=as_text(events["order_id"].map(own["order_id"])),
        revenue=(events["revenue"] * left).round(2),
        value=events["value"].where(~of_order, (events["value"] * left).round(2)),
        discount=discount.where(events["event"] == "purchase"),
    )


def _deliveries(mails: pd.DataFrame) -> pd.DataFrame:
    stages = {
        "email_sent": mails["at"],
        "email_delivered": mails["delivered_at"].where(mails["delivered"]),
        "email_bounced": mails["delivered_at"].where(~mails["delivered"]),
        "email_opened": mails["opened_at"],
        "email_clicked": mails["clicked_at"],
        "email_unsubscribed": mails["unsubscribed_at"],
    }
    common = mails[["customer_id", *DELIVERY_COLUMNS]].assign(mail=mails["decision_id"])
    parts = []
    for event, at in stages.items():
        happened = at.notna()
        part = common[happened].assign(event=event, at=at[happened])
        if event == "email_bounced":
            part["bounce_type"] = mails.loc[happened, "bounce_type"]
        parts.append(part)
    return pd.concat(parts)


def _returns(mails: pd.DataFrame) -> pd.DataFrame:
    """A click on a marketing mail leads to the page of what was left in the cart."""
    back = mails[mails["clicked_at"].notna() & ~mails["transactional"]]
    frame = back[["customer_id", "product_id"]].assign(
        mail=back["decision_id"],
        event="view",
        at=(back["clicked_at"] + 3 * _SECOND).dt.as_unit("us"),  # to add turns it into nanoseconds with pandas 2
    )
    return frame.assign(**_described(back["product_id"]))


def _caused_orders(purchases: pd.DataFrame, seed: int, until: pd.Timestamp) -> pd.DataFrame:
    caused = purchases[purchases["caused_by"].notna()].reset_index(drop=True)
    at = caused["at"].dt.tz_localize(None).astype("datetime64[us]").astype("int64").to_numpy()
    paid = caused["revenue"] - caused["discount"].fillna(0)
    block = rows(
        "purchase",
        np.arange(len(caused)),
        at,
        items=caused["items"].fillna(0),
        revenue=paid,
        order=np.arange(len(caused)),
    )
    end = micros_of(until) + 1
    after = order_rows(block, np.random.default_rng([seed, _ORDERS]), until=end)
    place = after["order"].astype(np.int64)
    follows = pd.DataFrame(
        {
            "customer_id": caused["customer_id"].to_numpy()[place],
            "mail": caused["caused_by"].to_numpy()[place],
            "event": np.array(EVENT_NAMES)[after["event"]],
            "at": pd.Series(whole_milliseconds(after["at"]).astype("datetime64[us]")).dt.tz_localize("UTC"),
            "order_id": caused["order_id"].to_numpy()[place],
            "value": after["value"],
            "items": np.where(after["items"] > 0, after["items"], np.nan),
        }
    )
    bought = caused[["customer_id", "at", "order_id", "product_id", "items", "discount"]].assign(
        mail=caused["caused_by"], event="purchase", revenue=paid.round(2), **_described(caused["product_id"])
    )
    return pd.concat([bought, follows])


def _described(product_ids: Sequence[str] | pd.Series) -> dict[str, pd.Series]:
    series = pd.Series(product_ids)
    names = dict(zip(PRODUCTS, NAMES, strict=True))
    categories = {product: CATEGORIES[place] for product, place in zip(PRODUCTS, CATEGORY_OF, strict=True)}
    return {
        "product_name": as_text(series.map(names)),
        "category": as_text(series.map(categories)),
    }
