"""What a sender needs of a batch, and nothing else: the envelope and the bytes of each mail, by number."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from toolkit.scenario import content_hash
from toolkit.sending.batch import Batch
from toolkit.sending.clock import micros
from toolkit.sending.planning import Entry

__all__ = ["BatchParcel", "Facts", "Parcel"]

Facts = tuple[str, str, str]  # scenario, step, template


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

    def entry(self, number: int) -> Entry:
        """How the mail enters the ledger; its bytes are hashed anew."""
        ...

    def message(self, number: int) -> bytes:
        """The mail's bytes."""
        ...

    def facts(self, number: int) -> Facts:
        """Scenario, step and template of the mail."""
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

    def entry(self, number: int) -> Entry:
        """How the mail enters the ledger; its bytes are hashed anew."""
        mail = self._batch.mails[number]
        return Entry(
            decision_id=mail.letter.decision_id,
            customer_id=mail.customer_id,
            address=mail.letter.to,
            class_=mail.letter.class_,
            message_id=mail.message_id,
            payload_sha256=self._batch.spool.sha256(mail.number),
            discount=self._batch.discount(number),
            decided_at=micros(mail.letter.at),
        )

    def message(self, number: int) -> bytes:
        """The mail's bytes."""
        return self._batch.spool[self._batch.mails[number].number]

    def facts(self, number: int) -> Facts:
        """Scenario, step and template of the mail."""
        letter = self._batch.mails[number].letter
        return letter.scenario, letter.step, letter.template
