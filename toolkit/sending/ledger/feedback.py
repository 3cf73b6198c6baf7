"""What providers and mail servers report after the sending: deliveries, bounces, complaints, people who unsubscribe.

Each report counts once, settles a mail in doubt, puts an address on the suppression list where it must, and is seen by
the alarms of the mail's run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select

from toolkit.database import insert_new
from toolkit.errors import InputError, did_you_mean, shown
from toolkit.sending.clock import micros, utc
from toolkit.sending.ledger import alarm, audit, claims
from toolkit.sending.ledger.delivery_rows import Delivery, rows_of
from toolkit.sending.ledger.schema import deliveries, events, suppressions
from toolkit.sending.ledger.suppression import address_hash
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import State
from toolkit.tables import DELIVERY_EVENTS

__all__ = ["Feedback", "Taken", "take"]

_REASONS = {"email_complained": "complaint", "email_unsubscribed": "unsubscribed", "email_bounced": "hard_bounce"}
_COUNTERS = {"email_bounced": "bounces", "email_complained": "complaints"}
_ARRIVED = ("email_delivered", "email_opened", "email_clicked", "email_complained", "email_unsubscribed")


@dataclass(frozen=True, slots=True)
class Feedback:
    """One report about one mail or address.

    Attributes:
        provider: who reports, for example `ses` or `dsn`.
        event_id: names the report at that provider; the same report twice counts once.
        event: one of `tables.DELIVERY_EVENTS`, for example email_bounced; other events of mails are let pass.
        at: when it happened, with a time zone.
        message_id: of the mail, without angle brackets; or else
        decision_id: of the mail; or else
        address: of the person.
        bounce_type: `hard` or `soft`.
        detail: what was said, in a few words.
    """

    provider: str
    event_id: str
    event: str
    at: datetime
    message_id: str | None = None
    decision_id: str | None = None
    address: str | None = None
    bounce_type: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What reports did: new, known already, mails settled that were in doubt, addresses new on the suppression list.

    Attributes:
        new: reports heard for the first time.
        known: reports heard before.
        settled: mails that were in doubt.
        suppressed: addresses new on the suppression list.
        reasons: how many of these for which reason.
    """

    new: int
    known: int
    settled: int
    suppressed: int
    reasons: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Taken) -> Taken:
        return Taken(
            self.new + other.new,
            self.known + other.known,
            self.settled + other.settled,
            self.suppressed + other.suppressed,
            Counter(self.reasons) + Counter(other.reasons),
        )

    def __str__(self) -> str:
        return (
            f"new {self.new:,}, known {self.known:,}, mails settled {self.settled:,}, "
            f"addresses suppressed {self.suppressed:,}"
        )


def take(connection: Connection, reports: Sequence[Feedback], *, now: int) -> Taken:
    """What the reports did, all of them in the transaction under way.

    Raises:
        InputError: one of them is no report, or of something else than mails, or of a type of bounce that there is not.
    """
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for report in reports:
        _check(report)
    heard = [report for report in reports if report.event in DELIVERY_EVENTS]
    rows = _mails(connection, heard)
    for report in heard:
        row = rows.get(_bare(report.message_id)) or rows.get(report.decision_id or "")
        line = {
            "provider": report.provider,
            "provider_event_id": report.event_id,
            "delivery_id": None if row is None else row.id,
            "event": report.event,
            "at": micros(report.at),
            "received_at": now,
            "payload": report.detail,
        }
        known = select(events.c.id).where(
            events.c.provider == report.provider, events.c.provider_event_id == report.event_id
        )
        # Another process may be faster between the two.
        new = (
            connection.execute(known).first() is None
            and connection.execute(insert_new(connection, events), line).rowcount
        )
        counts["new" if new else "known"] += 1
        if row is not None and row.state is State.UNKNOWN:
            # Also by what was reported before: the mail may have been in a dead sender's hands then.
            for settled in _settle(connection, row, report, now=now):
                row = rows[settled.decision_id] = rows[settled.message_id] = settled
                counts["settled"] += 1
        if not new:
            continue
        if (reason := _suppress(connection, row, report, now=now)) is not None:
            reasons[reason] += 1
        if row is not None and report.event in _COUNTERS and not _is_soft(report):
            alarm.count(connection, row.run_id, {_COUNTERS[report.event]: 1}, now=now)
    return Taken(counts["new"], counts["known"], counts["settled"], reasons.total(), reasons)


def _check(report: Feedback) -> None:
    """In other words than these a bounce would suppress somebody whose mailbox was full."""
    if not isinstance(report, Feedback):
        raise InputError(f"report: expected a Feedback; found {type(report).__name__}")
    # An event of mails that is not known here, as of a newer provider, does no harm; another word is a mistake.
    if not str(report.event).startswith("email_"):
        hint = did_you_mean(f"email_{report.event}", DELIVERY_EVENTS)
        allowed = f"allowed: {', '.join(DELIVERY_EVENTS)}{hint}"
        raise InputError(f"report {shown(report.event_id)}: event: found {shown(report.event)}; {allowed}")
    if report.bounce_type not in (None, "hard", "soft"):
        found = f"found {shown(report.bounce_type)}; allowed: hard or soft"
        raise InputError(f"report {shown(report.event_id)}: bounce_type: {found}")
    utc(report.at, name=f"report {shown(report.event_id)}: at")


def _mails(connection: Connection, reports: Sequence[Feedback]) -> dict[str, Delivery]:
    """The mails that reports are about, under a lock taken in the order of their ids, by decision and by Message-ID."""
    decisions = {report.decision_id for report in reports if report.decision_id}
    messages = sorted({_bare(report.message_id) for report in reports if report.message_id})
    if messages:
        query = select(deliveries.c.decision_id).where(deliveries.c.message_id.in_(messages))
        decisions.update(connection.execute(query).scalars())
    rows = rows_of(connection, sorted(decisions), lock=True)
    return {name: row for row in rows for name in (row.decision_id, row.message_id)}


def _bare(message_id: str | None) -> str:
    return (message_id or "").strip("<>")


def _settle(connection: Connection, row: Delivery, report: Feedback, *, now: int) -> Sequence[Delivery]:
    """The mail in doubt as it is now, where the report says what became of it."""
    said = f"{report.provider}: {report.event}"
    if report.event in _ARRIVED:
        receipt = Receipt(row.decision_id, State.ACCEPTED, receipt=f"{said} {report.event_id}")
    elif report.event == "email_bounced" and not _is_soft(report):
        receipt = Receipt(row.decision_id, State.FAILED, reason=f"{said}: {report.detail or 'hard'}")
    else:
        return ()
    settled = claims.settle(connection, [row], {row.decision_id: receipt}, actor=report.provider, now=now)
    detail = {"state": receipt.state.value, "event": report.event_id}
    audit.append(connection, at=now, actor=report.provider, action="settled", subject=row.decision_id, detail=detail)
    return settled


def _suppress(connection: Connection, row: Delivery | None, report: Feedback, *, now: int) -> str | None:
    """Why the address is new on the suppression list; None where it is not."""
    address = report.address or (row.address if row is not None else None)
    reason = _REASONS.get(report.event)
    if not address or reason is None or _is_soft(report):
        return None
    digest, scope = address_hash(address), "all" if reason == "hard_bounce" else "marketing"
    there = select(suppressions.c.id).where(suppressions.c.address_sha256 == digest, suppressions.c.scope == scope)
    if connection.execute(there).first() is not None:
        return None
    line = {"address_sha256": digest, "address": address, "scope": scope, "reason": reason, "at": now}
    connection.execute(insert_new(connection, suppressions), {**line, "source": report.provider})
    detail = {"reason": reason, "scope": scope}
    audit.append(connection, at=now, actor=report.provider, action="suppressed", subject=digest, detail=detail)
    return reason


def _is_soft(report: Feedback) -> bool:
    return report.event == "email_bounced" and report.bounce_type == "soft"
