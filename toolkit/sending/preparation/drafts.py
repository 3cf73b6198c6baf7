"""Decisions turned into letters: the customer, the event, the offer and its code, and the address of each mail."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, SupportsIndex, overload

import numpy as np
import pandas as pd
from email_validator import EmailNotValidError, validate_email

from toolkit.engine import Run
from toolkit.events import EventLog
from toolkit.mail import Letter, offer_values
from toolkit.scenario.models import Offer, Program
from toolkit.sending.batch.stock import Stock
from toolkit.sending.ledger.coupons import Coupon
from toolkit.sending.sender.quiet import quiet_hours_of, zone_of
from toolkit.sending.sender.recheck import Due, attributes_of
from toolkit.sending.spool import Store

__all__ = ["Draft", "Letters", "Writer", "address_of"]

_PLAIN = re.compile(r"[a-z0-9]+([._+-][a-z0-9]+)*", re.IGNORECASE | re.ASCII)
_SHORT = 64  # characters of an address, below every limit
_DOMAINS = 50_000  # remembered
_AHEAD = 20  # stretches of letters whose drafts are kept, while workers render them


class Draft(NamedTuple):
    """A letter, and what else is known of its decision."""

    letter: Letter
    customer_id: str
    arm: str | None
    offer: str | None
    due_at: datetime
    key: str | None
    coupon: Coupon | None = None
    timezone: str = ""


class Letters(Sequence[Letter]):
    """The letters of drafts that lie on the disk.

    Args:
        drafts: the drafts.
        templates: names of those that the letters need.
    """

    def __init__(self, drafts: Store[Draft], templates: Collection[str]) -> None:
        self._drafts = drafts
        self.templates = templates
        self._ahead: deque[tuple[int, tuple[Draft, ...]]] = deque(maxlen=_AHEAD)

    def draft(self, number: int) -> Draft:
        """The draft of a letter; one that was read a moment ago is not read again."""
        for start, some in self._ahead:
            if start <= number < start + len(some):
                return some[number - start]
        return self._drafts[number]

    def __len__(self) -> int:
        return len(self._drafts)

    @overload
    def __getitem__(self, place: SupportsIndex) -> Letter: ...

    @overload
    def __getitem__(self, place: slice) -> list[Letter]: ...

    def __getitem__(self, place: SupportsIndex | slice) -> Letter | list[Letter]:
        if isinstance(place, slice):
            some, (start, _, step) = self._drafts[place], place.indices(len(self))
            if step == 1:
                self._ahead.append((start, some))
            return [draft.letter for draft in some]
        return self._drafts[place].letter


class Writer:
    """Turns decisions into letters."""

    def __init__(self, program: Program, log: EventLog, run: Run, now: datetime) -> None:
        self.program = program
        self.log = log
        self.run = run
        self.now = now
        self.quiet = quiet_hours_of(program)
        self.offers = {(send.scenario, send.step): send.offer for send in run.compiled.sends}

    def due(self, sends: pd.DataFrame) -> list[Due]:
        keys = sends["journey_id"].map(self.run.journeys.set_index("journey_id")["key"])
        moments = pd.DatetimeIndex(sends["at"]).to_pydatetime()
        rows = zip(
            sends["decision_id"], sends["scenario"], sends["customer_id"], map(_text, keys), moments, strict=True
        )
        return [Due(*row) for row in rows]

    def letters(
        self, sends: pd.DataFrame, triggers: np.ndarray, keys: Mapping[str, str]
    ) -> tuple[list[Draft], dict[str, str]]:
        """Letters in the order of the decisions; and those without an address, or whose offer is over, with the reason.

        Args:
            sends: the decisions.
            triggers: the row of the log of what set each of them off, from `Run.trigger_rows`.
            keys: decision to the key of its journey.
        """
        people = attributes_of(self.log, sorted(set(sends["customer_id"])), now=self.now)
        first = ~sends["journey_id"].duplicated().to_numpy()
        records = _records(self.run.properties_at(triggers[first])) if len(sends) else []
        events = dict(zip(sends["journey_id"][first], records, strict=True))
        drafts, left_out = [], {}
        for row in _rows(sends):
            person = people[row.customer_id]
            address = address_of(person.get("email"))
            if address is None:
                left_out[row.decision_id] = "no_address"
                continue
            letter = self._letter(row, person, events[row.journey_id], address)
            ends = None if letter.offer is None else letter.offer.get("valid_until")
            if ends is not None and ends <= self.now:
                left_out[row.decision_id] = "too_late"
                continue
            drafts.append(
                Draft(
                    letter=letter,
                    customer_id=row.customer_id,
                    arm=_text(row.arm),
                    offer=_text(row.offer),
                    due_at=row.due_at.to_pydatetime(),
                    key=keys.get(row.decision_id),
                    timezone=str(person.get("timezone") or "") if row.scenario in self.quiet else "",
                )
            )
        return drafts, left_out

    def with_codes(self, drafts: Sequence[Draft], stock: Stock) -> tuple[list[Draft], dict[str, str]]:
        """The drafts, each whose offer draws from a pool with its code; and those for whom none is left."""
        ready, left_out = [], {}
        for draft in drafts:
            letter, offer = draft.letter, self.offers[draft.letter.scenario, draft.letter.step]
            if letter.offer is None or offer is None or offer.pool is None:
                ready.append(draft)
            elif (coupon := stock.code(offer.pool, letter.decision_id)) is not None:
                letter = replace(letter, offer={**letter.offer, "code": coupon.code})
                ready.append(draft._replace(letter=letter, coupon=coupon))
            elif offer.on_empty == "send_without":
                ready.append(draft._replace(letter=replace(letter, offer=None), offer=None))
            else:
                left_out[letter.decision_id] = "coupon_empty"
        return ready, left_out

    def _letter(self, row: Any, person: Mapping[str, Any], event: Mapping[str, Any], address: str) -> Letter:
        scenario = self.program[row.scenario]
        at = row.at.to_pydatetime()
        return Letter(
            template=row.template,
            decision_id=row.decision_id,
            scenario=row.scenario,
            step=row.step,
            class_=scenario.class_,
            customer=person,
            event=event,
            offer=self._offer(row, person, at),
            to=address,
            locale=str(person.get("locale") or self.program.policies.locale),
            at=at,
        )

    def _offer(self, row: Any, person: Mapping[str, Any], at: datetime) -> dict[str, Any] | None:
        offer: Offer | None = self.offers[row.scenario, row.step]
        if offer is None or _text(row.offer) is None:
            return None
        policies = self.program.policies
        zone = zone_of(person.get("timezone"), policies.timezone)
        return offer_values(offer, at=at, zone=zone, currency=policies.currency)


def address_of(value: object) -> str | None:
    """The address as a mail can be sent to it; None when there is none, or it is not one."""
    if not isinstance(value, str) or not value.strip():
        return None
    text = value.strip()
    local, _, domain = text.rpartition("@")
    if len(text) <= _SHORT and _PLAIN.fullmatch(local):
        # As most are: then all that can be wrong is the domain, which thousands have in common.
        known = _domain(domain)
        return None if known is None else f"{local}@{known}"
    return _validated(text)


@lru_cache(_DOMAINS)
def _domain(domain: str) -> str | None:
    """The domain as an address can have it."""
    found = _validated(f"a@{domain}")
    return None if found is None else found.removeprefix("a@")


def _validated(address: str) -> str | None:
    try:
        return validate_email(address, check_deliverability=False, allow_smtputf8=False).normalized
    except EmailNotValidError:
        return None


def _rows(frame: pd.DataFrame) -> Iterator[Any]:
    return iter(frame.itertuples())


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): _plain(value) for name, value in row.items() if not pd.isna(value)}
        for row in frame.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    if not isinstance(value, pd.Timestamp):
        return value
    return (value if value.tzinfo else value.tz_localize("UTC")).to_pydatetime()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
