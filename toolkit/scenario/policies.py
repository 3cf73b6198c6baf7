"""What all scenarios of a program share: quiet hours, caps, who the mails come from, coupon pools."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from toolkit.scenario.base import Currency, Model, Name
from toolkit.scenario.duration import Duration, NotNegative, Positive, TimeOfDay

__all__ = ["Brand", "Cap", "Policies", "Pool", "Quiet", "Sender"]


class Quiet(Model):
    """No marketing mail between two local times; held mails leave at `to`, spread out (rule R15)."""

    from_: TimeOfDay = Field(alias="from")
    to: TimeOfDay
    spread: NotNegative = Duration()


class Cap(Model):
    """At most so many mails a person in a rolling window (rule R16)."""

    limit: Annotated[int, Field(strict=True, ge=1, le=1000)]
    per: Positive
    scope: Literal["scenario", "marketing"] = "marketing"
    on_hit: Literal["skip", "postpone", "exit"] = "skip"


Address = Annotated[str, Field(pattern=r"^[^@\s<>\",]+@[^@\s<>\",]+$", max_length=254)]


class Sender(Model):
    """Who the mails come from."""

    name: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=200)]
    email: Address
    reply_to: Address | None = None


class Brand(Model):
    """What every mail shows: names, address, links and colours. Further values are free text for the templates."""

    model_config = ConfigDict(extra="allow")

    name: str
    address: str | None = None
    url: str | None = None
    logo: str | None = None


class Pool(Model):
    """Coupon codes that run out: so many, or those of a file."""

    size: Annotated[int, Field(strict=True, ge=0)] | None = None
    file: str | None = None


class Policies(Model):
    """What all scenarios of a program share."""

    timezone: str = "UTC"
    locale: str = "en"
    currency: Currency = "EUR"
    quiet: Quiet | None = None
    caps: tuple[Cap, ...] = ()
    sender: Sender | None = None
    brand: Brand | None = None
    pools: dict[Name, Pool] = Field(default_factory=dict)
