"""What all scenarios of a program share: quiet hours, caps, who the mails come from, tracking, coupon pools, and where
test copies may go."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from toolkit.scenario.base import Currency, Flag, Model, Name
from toolkit.scenario.duration import Duration, NotNegative, Positive, TimeOfDay

__all__ = ["DOMAIN", "TRACKER", "Brand", "Cap", "Policies", "Pool", "Quiet", "Sender", "TestCopies", "Tracking"]


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


Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
Address = Annotated[str, Field(pattern=r"^[^@\s<>\",]+@[^@\s<>\",]+$", max_length=254)]
# Room for a + and the 32 letters that name the mail: 64 letters may stand before the @.
Mailbox = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,30}@[^@\s<>\",]+$", max_length=221)]


class Sender(Model):
    """Who the mails come from.

    `bounces` is a mailbox that takes `bounces+anything@…`: each mail over SMTP then has an envelope sender of its own
    (VERP), by which a bounce finds its mail even where it quotes nothing of it.
    """

    name: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=200)]
    email: Address
    reply_to: Address | None = None
    bounces: Mailbox | None = None


class Brand(Model):
    """What every mail shows: names, address, links and colours. Further values are free text for the templates."""

    model_config = ConfigDict(extra="allow")

    name: str
    address: str | None = None
    url: str | None = None
    logo: str | None = None


TRACKER = (
    r"^(https://[A-Za-z0-9][A-Za-z0-9.:-]*|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?)(/[A-Za-z0-9._~/-]*)?$"
)
"""A tracker's address; without https on this machine alone, where nobody can listen in."""


_ON_THIS_MACHINE = re.compile(r"http://|https://(localhost|127\.0\.0\.1)(?=[:/]|$)", re.I)


class Tracking(Model):
    """Where answers come home. Without it no mail is tracked.

    `url` is where `toolkit track` answers: the unsubscribe link, and the links and the picture of tracked mails, begin
    with it; http:// is for a trial on this machine (localhost, 127.0.0.1, [::1]). `trap` is a link that no person can
    see; who follows it is a machine. `topics` are what people can choose on the preference page: a name, and the words
    people read, by language.
    """

    url: Annotated[str, Field(pattern=TRACKER, max_length=200)]
    opens: Flag = True
    clicks: Flag = True
    trap: Flag = True
    topics: dict[Name, dict[Language, Annotated[str, Field(min_length=1, max_length=200)]]] = Field(
        default_factory=dict
    )

    @property
    def is_trial(self) -> bool:
        """Whether its links lead to the machine they are opened on, and nowhere else."""
        return _ON_THIS_MACHINE.match(self.url) is not None


class Pool(Model):
    """Coupon codes that run out: so many in a replay, and the file whose codes mails are sent with."""

    size: Annotated[int, Field(strict=True, ge=0)] | None = None
    file: str | None = None


DOMAIN = r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$"
"""The part of an address after the @, as the DNS knows it."""


class TestCopies(Model):
    """Where test copies of mails may go: to addresses of these domains, and to no other."""

    __test__ = False  # of no test framework's

    domains: Annotated[tuple[Annotated[str, Field(pattern=DOMAIN, max_length=253)], ...], Field(min_length=1)]


class Policies(Model):
    """What all scenarios of a program share."""

    timezone: str = "UTC"
    locale: str = "en"
    currency: Currency = "EUR"
    quiet: Quiet | None = None
    caps: tuple[Cap, ...] = ()
    sender: Sender | None = None
    brand: Brand | None = None
    tracking: Tracking | None = None
    pools: dict[Name, Pool] = Field(default_factory=dict)
    test_copies: TestCopies | None = None
