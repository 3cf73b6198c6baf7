"""What a mail is made from (a letter) and what comes out (a mail)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta, tzinfo
from operator import attrgetter
from typing import Any, Literal

from toolkit.errors import TemplateError, shown
from toolkit.scenario.models import Offer

__all__ = ["Letter", "Mail", "offer_values"]


_FIELDS: tuple[tuple[str, type, str], ...] = (
    ("template", str, "the name of a mail"),
    ("customer", Mapping, "values by name"),
    ("event", Mapping, "values by name"),
    ("to", str, "an address"),
    ("at", datetime, "a moment"),
)
"""What a letter's fields have to be, and how that is said."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One decision to send, with everything its mail may say.

    Args:
        template: name of the template, for example `abandoned_cart/reminder`.
        decision_id: the decision the mail carries out; one mail a decision.
        scenario: scenario name.
        step: id of the send step.
        class_: `marketing` (has an unsubscribe) or `transactional` (has none, and no offer).
        customer: attributes of the customer; a missing value (None, NaN) counts as not there.
        event: properties of the trigger's event, as the customer's attributes.
        offer: values of the offer, see `offer_values`; None without one.
        to: the address, exactly one.
        locale: the customer's, for example `fr_FR`.
        at: when the mail is due, with a time zone; it becomes the Date of the mail.

    Raises:
        TemplateError: `at` has no time zone, a transactional letter has an offer, or a field is something else.

    >>> from datetime import UTC, datetime
    >>> letter = Letter("order_status/shipped", "d1", "order_status", "shipped", "transactional",
    ...                 customer={"first_name": "Ana"}, event={"order_id": "A-1"}, offer=None,
    ...                 to="ana@example.org", locale="en", at=datetime(2026, 3, 1, 9, tzinfo=UTC))
    >>> letter.class_
    'transactional'
    """

    template: str
    decision_id: str
    scenario: str
    step: str
    class_: Literal["marketing", "transactional"]
    customer: Mapping[str, Any]
    event: Mapping[str, Any]
    offer: Mapping[str, Any] | None
    to: str
    locale: str
    at: datetime

    def __post_init__(self) -> None:
        for name, kind, wanted in _FIELDS:
            found: object = getattr(self, name)
            if not isinstance(found, kind):
                raise TemplateError(f"letter {self.decision_id}: {name} is {wanted}; found {shown(found)}")
        if self.at.tzinfo is None:
            raise TemplateError(f"letter {self.decision_id}: at needs a time zone; found {shown(self.at)}")
        if self.class_ not in ("marketing", "transactional"):
            raise TemplateError(
                f"letter {self.decision_id}: class is marketing or transactional; found {shown(self.class_)}"
            )
        if self.class_ == "transactional" and self.offer is not None:
            raise TemplateError(f"letter {self.decision_id}: a transactional mail has no offer (rule R19)")

    def __reduce__(self) -> tuple[type[Letter], tuple[Any, ...]]:
        # By its values in order: field by field, as dataclasses do, takes ten times as long to read back.
        return Letter, _values(self)


_values = attrgetter(*(one.name for one in fields(Letter)))


@dataclass(frozen=True, slots=True)
class Mail:
    """What the recipient sees: subject, preheader (the grey line beside it in the inbox), html and text."""

    subject: str
    preheader: str
    html: str
    text: str
    pieces: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """The html in the pieces that the template wrote, so that the same words are encoded once for all recipients."""


def offer_values(
    offer: Offer, *, at: datetime, zone: tzinfo = UTC, code: str | None = None, currency: str | None = None
) -> dict[str, Any]:
    """The values a template sees as `offer`, for an offer made at a moment.

    Args:
        offer: the offer of the send step.
        at: when the mail is sent, with a time zone.
        zone: the customer's; whole days of `valid` end at the same local time (rule R5).
        code: the customer's own coupon code, where the offer draws from a pool; else the offer's.
        currency: of `amount` and `minimum`, where the offer names none.

    Returns:
        A dict with those of percent, amount, minimum, currency, free_shipping, code and valid_until (UTC) that
        the offer has.

    >>> from datetime import UTC, datetime
    >>> from toolkit.scenario.duration import Duration
    >>> offer_values(Offer(percent=10, valid=Duration.parse("3d")), at=datetime(2026, 3, 1, 9, tzinfo=UTC))
    {'percent': 10, 'valid_until': datetime.datetime(2026, 3, 4, 9, 0, tzinfo=datetime.timezone.utc)}
    """
    values: dict[str, Any] = {}
    for name in ("percent", "amount", "minimum"):
        number = getattr(offer, name)
        if number is not None:
            values[name] = int(number) if float(number).is_integer() else float(number)
    if "amount" in values or "minimum" in values:
        money = offer.currency or currency
        if money is not None:
            values["currency"] = money
    if offer.free_shipping:
        values["free_shipping"] = True
    if code or offer.code:
        values["code"] = code or offer.code
    if offer.valid is not None:
        local = at.astimezone(zone).replace(tzinfo=None) + timedelta(days=offer.valid.days)
        # A wall-clock time inside a gap moves forward (rule R8): there and back through UTC does that.
        ends = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
        values["valid_until"] = ends + timedelta(microseconds=offer.valid.microseconds)
    return values
