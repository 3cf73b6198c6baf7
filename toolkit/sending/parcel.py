"""What a sender needs of a batch, and nothing else: the envelope and the bytes of each mail, by number."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import NamedTuple, Protocol

from toolkit.scenario import content_hash
from toolkit.sending.batch import Batch
from toolkit.sending.clock import micros
from toolkit.sending.mails import PreparedMail
from toolkit.sending.planning import Entry

__all__ = ["BatchParcel", "Facts", "Parcel"]


class Facts(NamedTuple):
    """What a report says of a mail, whatever became of it."""

    decision_id: str
    customer_id: str
    address: str
    message_id: str
    scenario: str
    step: str
    template: str


class Parcel(Protocol):
    """Approved mails on their way out.

    Attributes:
        digest: of the manifest that was approved.
        program: the program's content hash (rule R23).
        now: the moment the batch was prepared for, UTC.
        sender: the envelope's sender.
    """

    @property
    def digest(self) -> str: ...

    @property
    def program(self) -> str: ...

    @property
    def now(self) -> datetime: ...

    @property
    def sender(self) -> str: ...

    def __len__(self) -> int: ...

    def decision(self, number: int) -> str:
        """The decision that a mail carries out."""
        ...

    def mail(self, number: int) -> tuple[Entry, bytes]:
        """How the mail enters the ledger, and its bytes, which are hashed anew."""
        ...

    def facts(self, number: int) -> Facts:
        """What a report says of the mail."""
        ...


class BatchParcel:
    """A batch in this process, as a sender sees it."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        sender = batch.program.policies.sender
        self.digest = batch.digest
        self.program = content_hash(batch.program, templates=batch.manifest["templates"])
        self.now = batch.now
        self.sender = sender.email if sender else ""

    def __len__(self) -> int:
        return len(self._batch)

    def decision(self, number: int) -> str:
        """The decision that a mail carries out."""
        return self._batch.mails[number].letter.decision_id

    def mail(self, number: int) -> tuple[Entry, bytes]:
        """How the mail enters the ledger, and its bytes, which are hashed anew."""
        mail = self._batch.mails[number]
        message = self._batch.spool[mail.number]
        return self._entry(mail, hashlib.sha256(message).hexdigest()), message

    def facts(self, number: int) -> Facts:
        """What a report says of the mail."""
        mail = self._batch.mails[number]
        letter = mail.letter
        who = letter.decision_id, mail.customer_id, letter.to, mail.message_id
        return Facts(*who, letter.scenario, letter.step, letter.template)

    def _entry(self, mail: PreparedMail, payload_sha256: str) -> Entry:
        return Entry(
            decision_id=mail.letter.decision_id,
            customer_id=mail.customer_id,
            address=mail.letter.to,
            class_=mail.letter.class_,
            message_id=mail.message_id,
            payload_sha256=payload_sha256,
            discount=self._batch.discount_of(mail),
            decided_at=micros(mail.letter.at),
        )
