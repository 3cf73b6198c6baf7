"""What a sender needs of a batch, and nothing else: the envelope and the bytes of each mail, by number."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Collection
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from toolkit.scenario import content_hash
from toolkit.scenario.models import Program
from toolkit.sending.batch.batch import Batch
from toolkit.sending.batch.mails import PreparedMail
from toolkit.sending.clock import micros
from toolkit.sending.domains import domain_of
from toolkit.sending.ledger.coupons import Coupon
from toolkit.sending.ledger.delivery_rows import Delivery
from toolkit.sending.ledger.planning import Entry
from toolkit.sending.spool import Store

__all__ = ["NEVER", "STUBS_TOGETHER", "BatchParcel", "Parcel", "Stub", "entry_of", "is_mail"]


class Stub(NamedTuple):
    """What sending one mail takes, but for its bytes: small, so that it is read in a moment each time it is needed.

    Attributes:
        payload_sha256: of the mail's bytes, as they were approved.
        key: of its journey, which an event that ends the scenario may have to match.
        discount: the most its offer is thought to cost; None where that cannot be told.
        decided_at: the moment of the decision, microseconds since 1970.
        coupon: the code of a pool that it gives.
        arm, locale: of the customer.
        targets: where its counted links lead; empty where none are counted.
        timezone: the customer's own, where quiet hours may ask for it; else empty.
    """

    decision_id: str
    customer_id: str
    address: str
    class_: str
    message_id: str
    payload_sha256: str
    discount: float | None
    decided_at: int
    scenario: str
    step: str
    template: str
    key: str | None
    coupon: Coupon | None
    arm: str | None
    locale: str
    targets: tuple[str, ...]
    timezone: str = ""


STUBS_TOGETHER = 32
"""Stubs that a parcel keeps side by side."""

NEVER = 2**63 - 1
"""The end of a mail that has none, in microseconds since 1970."""


def is_mail(row: Delivery, stub: Stub, message: bytes) -> bool:
    """Whether the ledger's row is this very mail, and the bytes, hashed anew, are those approved."""
    is_row = _of_row(row) == (*stub[:6], domain_of(stub.address))
    return is_row and hashlib.sha256(message).hexdigest() == stub.payload_sha256


_of_row = attrgetter("decision_id", "customer_id", "address", "class_", "message_id", "payload_sha256", "domain")


def entry_of(stub: Stub) -> Entry:
    """How a mail enters the ledger."""
    return Entry(
        decision_id=stub.decision_id,
        customer_id=stub.customer_id,
        address=stub.address,
        class_=stub.class_,
        message_id=stub.message_id,
        payload_sha256=stub.payload_sha256,
        discount=stub.discount,
        decided_at=stub.decided_at,
        scenario=stub.scenario,
        step=stub.step,
        coupon=stub.coupon,
    )


class Parcel(Protocol):
    """Approved mails on their way out.

    Attributes:
        digest: of the manifest that was approved.
        program: the program's content hash (rule R23).
        rules: the program itself.
        scenarios: those that have mails in it.
        now: the moment the batch was prepared for, UTC.
        sender: who the mails come from.
        bounces: the mailbox to which servers return them, where each has an address of its own in it.
        ends: when the offer of each mail is over, microseconds since 1970; `NEVER` where it has none, or no end.
    """

    @property
    def digest(self) -> str: ...

    @property
    def program(self) -> str: ...

    @property
    def rules(self) -> Program: ...

    @property
    def scenarios(self) -> Collection[str]: ...

    @property
    def now(self) -> datetime: ...

    @property
    def sender(self) -> str: ...

    @property
    def bounces(self) -> str | None: ...

    @property
    def ends(self) -> array[int]: ...

    def __len__(self) -> int: ...

    def stub(self, number: int) -> Stub:
        """What sending the mail takes, but for its bytes."""
        ...

    def mail(self, number: int) -> tuple[Stub, bytes]:
        """The same, and the mail's bytes as they are now."""
        ...


def returned_to(mailbox: str | None, message_id: str) -> str | None:
    """The address to which a server returns one mail (VERP): a bounce to it names its mail, whatever it quotes.

    >>> returned_to("bounces@example.com", "4t2u25w354t6cfumfehlwb4viddeu6nj@shop.example.com")
    'bounces+4t2u25w354t6cfumfehlwb4viddeu6nj@example.com'
    """
    if mailbox is None:
        return None
    local, _, domain = mailbox.rpartition("@")
    return f"{local}+{message_id.partition('@')[0]}@{domain}"


class BatchParcel:
    """A batch in this process, as a sender sees it.

    A mail of a batch knows its customer and its event in full, which takes long to read back from the disk. So each is
    read once: when the batch is held against its approval, which hands each mail to `take`; else when the first stub is
    asked for. A sender has the stubs from then on.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        sender = batch.program.policies.sender
        self.digest = batch.digest
        self.program = content_hash(batch.program, templates=batch.manifest["templates"])
        self.rules = batch.program
        self.now = batch.now
        self.sender = sender.email if sender else ""
        self.bounces = sender.bounces if sender else None
        self._stubs = Store[tuple[Any, ...]](together=STUBS_TOGETHER)
        self._places = array("q")  # of their bytes, in the spool
        self._ends = array("q")
        self._scenarios = set[str]()

    def take(self, mail: PreparedMail, discount: float | None, payload_sha256: str) -> None:
        """The batch's next mail, what its offer may cost, and the hash of its bytes."""
        letter = mail.letter
        who = letter.decision_id, mail.customer_id, letter.to, letter.class_, mail.message_id
        what = letter.scenario, letter.step, letter.template, mail.key, mail.coupon
        costs = payload_sha256, discount, micros(letter.at)
        self._stubs.add((*who, *costs, *what, mail.arm, letter.locale, mail.targets, mail.timezone))
        self._places.append(mail.number)
        self._ends.append(NEVER if (end := mail.end) is None else micros(end))
        self._scenarios.add(letter.scenario)

    @property
    def scenarios(self) -> Collection[str]:
        """Those that have mails in the batch."""
        self._kept()
        return self._scenarios

    @property
    def ends(self) -> array[int]:
        """When the offer of each mail is over."""
        self._kept()
        return self._ends

    def __len__(self) -> int:
        return len(self._batch)

    def stub(self, number: int) -> Stub:
        """What sending the mail takes, but for its bytes."""
        return Stub._make(self._kept()[number])

    def mail(self, number: int) -> tuple[Stub, bytes]:
        """The same, and the mail's bytes as they are now."""
        return self.stub(number), self._batch.spool[self._places[number]]

    def _kept(self) -> Store[tuple[Any, ...]]:
        if not self._places:
            for mail in self._batch.mails:
                self.take(mail, self._batch.discount_of(mail), self._batch.spool.sha256(mail.number))
        return self._stubs
