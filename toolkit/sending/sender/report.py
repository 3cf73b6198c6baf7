"""What a sending did, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from toolkit.mail.addresses import masked
from toolkit.readable import lines_html, table_html
from toolkit.sending.batch.parcel import Stub
from toolkit.sending.display import frame_text, some_of
from toolkit.sending.ledger.delivery_rows import Delivery
from toolkit.sending.spool import Store
from toolkit.sending.states import NEVER_LEFT, OPEN, State

__all__ = ["ALREADY", "SENT", "Outcome", "Outcomes", "Report", "outcome_of"]

SENT = "sent"
ALREADY = "already sent"


class Outcome(NamedTuple):
    """What became of one mail; the address masked."""

    decision_id: str
    customer_id: str
    address: str
    scenario: str
    step: str
    template: str
    outcome: str
    receipt: str | None
    code: int | None
    reason: str | None
    message_id: str


def outcome_of(stub: Stub, row: Delivery | None, outcome: str, *, reason: str | None) -> Outcome:
    """What became of one mail.

    Args:
        stub: the mail.
        row: what the ledger has of it, if anything.
        outcome: in one word.
        reason: why it was not sent, where the ledger has nothing of it.
    """
    who = stub.decision_id, stub.customer_id, masked(stub.address)
    what = stub.scenario, stub.step, stub.template, outcome
    why = (None, None, reason) if row is None else (row.receipt, row.code, row.reason)
    return Outcome(*who, *what, *why, stub.message_id)


class Outcomes:
    """What became of each mail, counted; the rows themselves are on the disk where they are many.

    Attributes:
        counts: mails by outcome.
        reasons: mails that were not sent, by outcome and reason.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[tuple[str, str | None]] = Counter()
        self._rows = Store[tuple[Any, ...]](together=32)

    def add(self, row: Outcome) -> None:
        """One mail."""
        self._rows.add(tuple(row))
        self.counts[row.outcome] += 1
        if row.outcome not in (SENT, ALREADY):
            self.reasons[row.outcome, row.reason] += 1

    def table(self) -> pd.DataFrame:
        """One row per mail."""
        return pd.DataFrame(list(self._rows), columns=list(Outcome._fields)).astype({"code": "Int64"})


@dataclass(frozen=True, eq=False)
class Report:
    """What became of a batch.

    Attributes:
        rows: what became of each mail.
        before: decisions left out when the batch was prepared, counted by reason.
        transport: the way out.
        ledger: where the record is.
        seconds: how long the sending took.
        audit: the head of the ledger's audit; kept elsewhere, it shows later whether the ledger was rewritten.
        state: where the run stands: active, paused, cancelled, revoked or done.
        held_back: mails that the limits of a standing approval held back; they stay due.
        spent: mails whose coupon codes other mails had taken meanwhile; prepared again, they get others.
        notes: why mails were left out that one customer's own values made unfit.
        lost: the customers of mails that earlier rounds left out, held back or had postponed, and that are too
            late by now; each is told once.
        waits_for: what the mails that wait, wait for, and what lets them go on.
    """

    rows: Outcomes
    before: Mapping[str, int]
    transport: str
    ledger: str
    seconds: float
    audit: str
    state: str
    held_back: int = 0
    spent: int = 0
    notes: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def table(self) -> pd.DataFrame:
        """One row per mail of the batch: decision_id, customer_id, address (masked), scenario, step, template, outcome
        (`sent` now, `already sent`, or the state it is in), receipt, code, reason, message_id."""
        return self.rows.table()

    @property
    def sent(self) -> int:
        """Mails sent by this call."""
        return self._count(SENT)

    @property
    def already_sent(self) -> int:
        """Mails sent before this call, those left out of the batch for it included."""
        return self._count(ALREADY) + self.before.get(ALREADY, 0)

    @property
    def skipped(self) -> int:
        """Mails of the batch that do not go any more: suppressed since, expired, cancelled."""
        return self._count(*NEVER_LEFT)

    @property
    def unknown(self) -> int:
        """Mails that may or may not have arrived; see `Ledger.deliveries(state="unknown")`."""
        return self._count(State.UNKNOWN)

    @property
    def failed(self) -> int:
        """Mails refused for good."""
        return self._count(State.FAILED)

    @property
    def waiting(self) -> int:
        """Mails still to go: postponed by the other side, or in the hands of another sender."""
        return self._count(*OPEN)

    def _count(self, *outcomes: str) -> int:
        return sum(self.rows.counts[str(outcome)] for outcome in outcomes)

    def __str__(self) -> str:
        line = (
            f"sent {self.sent:,}, already sent {self.already_sent:,}, skipped {self.skipped:,}, "
            f"unknown {self.unknown:,}, failed {self.failed:,}"
        )
        if self.waiting:
            line += f", waiting {self.waiting:,}"
        if self.held_back:
            line += f", of which {self.held_back:,} held back by the limits of the approval"
        if self.spent:
            line += f", of the skipped {self.spent:,} whose codes other mails took: prepare again"
        if count := self.before.get("coupon_empty", 0):
            line += f", {count:,} left out for want of a coupon code"
        if self.notes:
            line += f", left out {self.before.get('render_error', 0):,} ({'; '.join(self.notes)})"
        if self.lost:
            line += f", lost {len(self.lost):,}, too late by now ({some_of(self.lost)})"
        said = "; ".join(self.waits_for)
        if self.state == "paused" and said:
            return f"{line}: the run is {said}"
        if self.state in ("paused", "cancelled", "revoked"):
            return f"{line}: the run is {self.state}"
        if self.waiting and said:
            return f"{line}: {said}"
        if self.sent == 0 and self.already_sent and not (self.waiting or self.unknown or self.failed):
            return f"{line}: nobody was mailed twice"
        if not self.rows.counts.total() and not self.notes:
            return f"{line}: the batch is empty, no mail was due"
        return line

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rate = f" in {self.seconds:.1f} s" if self.sent else ""
        lines = [f"{self}{rate}", f"through {self.transport}", f"ledger {self.ledger}"]
        reasons = sorted(self.rows.reasons.items(), key=str)
        counted = pd.DataFrame([(*why, count) for why, count in reasons], columns=["outcome", "reason", "mails"])
        return lines_html(lines) + (table_html(counted) if len(counted) else "")

    def details(self) -> str:
        """The report with one line per mail, as text."""
        return f"{self}\n{frame_text(self.table)}"
