"""What the log says of people by now: their attributes, and what happened between a decision and the sending.

A decision was right at its own moment. Until the mail goes, someone may have unsubscribed, bounced for good, or done
what ends the scenario (rules R4 and R18); such a mail stays behind.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from toolkit.engine.asking import mark_of
from toolkit.events import EventLog
from toolkit.events.database import fetch, fetch_rows
from toolkit.events.marks import ALWAYS_KNOWN, CONSENT_EVENTS, key_text
from toolkit.events.quoting import literal, name
from toolkit.scenario.models import Cap, ExitOn, Program
from toolkit.sending.ledger.claims import Sent
from toolkit.sending.ledger.suppression import normal_address

__all__ = ["Due", "attributes_of", "caps_of", "over_cap", "stopped_by_now", "stopped_since"]

_AGAINST = ("email_unsubscribed", "email_complained")
_FACTS = (*_AGAINST, "email_bounced", "customer_updated")


@dataclass(frozen=True, slots=True)
class Due:
    """One decision to send, as the gate looks at it again; with the address of its mail, where there is one already."""

    decision_id: str
    scenario: str
    customer_id: str
    key: str | None
    at: datetime
    address: str | None = None


def attributes_of(log: EventLog, customer_ids: Sequence[str], *, now: datetime) -> dict[str, dict[str, Any]]:
    """What is known of each customer at a moment, as the engine knows it.

    The customers table, and what later events say: `customer_updated`, and of the consent those that give it or take it
    back.

    Args:
        log: the event log.
        customer_ids: who.
        now: the moment, UTC.

    Returns:
        Customer to attributes, missing values left out; times in UTC.
    """
    cursor = log.cursor()
    cursor.register("wanted_people", pa.table({"customer_id": pa.array(customer_ids, pa.string())}))
    cursor.register("customer_rows", log.customer_table)
    people: dict[str, dict[str, Any]] = {customer: {"customer_id": customer} for customer in customer_ids}
    known = "SELECT c.* FROM customer_rows c JOIN wanted_people USING (customer_id)"
    for row in fetch(cursor, known).to_pylist():
        people[row["customer_id"]] |= _present(row)
    told = _told(log)
    if told:
        # Of two that tell the same, the one that happened later counts, whichever was received first (rule R18).
        latest = ", ".join(
            f'last({said} ORDER BY "at", received_at, "row") FILTER (WHERE ({said}) IS NOT NULL) AS {name(one)}'
            for one, said in told.items()
        )
        query = (
            f"SELECT customer_id, {latest} FROM {log.relation} JOIN wanted_people USING (customer_id) WHERE event IN "
            f"({_literals(('customer_updated', *CONSENT_EVENTS))}) AND received_at <= {_moment(now)} "
            "GROUP BY customer_id"
        )
        for row in fetch(cursor, query).to_pylist():
            people[row["customer_id"]] |= _present(row)
    return people


def _told(log: EventLog) -> dict[str, str]:
    """Attributes that events of the log tell anew, and in SQL what an event says of each, NULL where nothing."""
    told = {}
    if "customer_updated" in log.event_names:
        for one in dict.fromkeys((*log.attributes, *ALWAYS_KNOWN)):
            if one in log.properties and one != "customer_id":
                value = f"TRY_CAST({name(one)} AS {ALWAYS_KNOWN[one]})" if one in ALWAYS_KNOWN else name(one)
                told[one] = f"CASE WHEN event = 'customer_updated' THEN {value} END"
    if not set(CONSENT_EVENTS).isdisjoint(log.event_names):
        told["consent"] = (
            f"CASE WHEN event = 'email_subscribed' THEN TRUE WHEN event IN ({_literals(_AGAINST)}) THEN FALSE "
            f"ELSE {told.get('consent', 'NULL')} END"
        )
    return told


def stopped_since(log: EventLog, program: Program, mails: Sequence[Due], *, now: datetime) -> dict[str, str]:
    """The decisions that no longer hold at a moment, and why.

    Args:
        log: the event log.
        program: the scenarios the decisions are of.
        mails: decisions to send.
        now: the moment, UTC.

    Returns:
        Decision to reason: unsubscribed, suppressed or exited (rule R20).
    """
    if not mails:
        return {}
    stopped: dict[str, str] = {}
    cursor = log.cursor()
    cursor.register(
        "due_mails",
        pa.table(
            {
                "decision_id": pa.array([mail.decision_id for mail in mails], pa.string()),
                "scenario": pa.array([mail.scenario for mail in mails], pa.string()),
                "customer_id": pa.array([mail.customer_id for mail in mails], pa.string()),
                "journey_key": pa.array([mail.key for mail in mails], pa.string()),
                "decided": pa.array([_naive(mail.at) for mail in mails], pa.timestamp("us")),
            }
        ),
    )
    since = f"FROM due_mails d JOIN {log.relation} e USING (customer_id) WHERE e.received_at > d.decided"
    for scenario in program.scenarios:
        mine = f"d.scenario = {literal(scenario.scenario)} AND e.received_at <= {_moment(now)}"
        for exit_on in scenario.exit_on:
            if exit_on.event in log.event_names:
                query = f"SELECT DISTINCT d.decision_id {since} AND {mine} AND {_is_exit(exit_on, log)}"
                stopped |= {decision: "exited" for (decision,) in fetch_rows(cursor, query)}
    stopped |= _refusals(cursor, log, program, since, now)
    return stopped


def stopped_by_now(log: EventLog, program: Program, mails: Sequence[Due], *, now: datetime) -> dict[str, str]:
    """As `stopped_since`, with the consent of now for marketing, and with the addresses of now.

    Nobody is mailed without a yes, nor at an address that is no longer theirs.

    Args:
        log: the event log, read again.
        program: the scenarios the decisions are of.
        mails: decisions to send.
        now: the moment, UTC.

    Returns:
        Decision to reason: unsubscribed, suppressed, exited or no_address (rule R20).
    """
    stopped = stopped_since(log, program, mails, now=now)
    marketing = {one.scenario for one in program.scenarios if one.class_ == "marketing"}
    people = attributes_of(log, sorted({mail.customer_id for mail in mails}), now=now)
    given = "consent" not in log.attributes  # a log that knows of no consents gives everyone's
    for mail in mails:
        if mail.scenario in marketing and not people[mail.customer_id].get("consent", given):
            stopped.setdefault(mail.decision_id, "unsubscribed")
        if "email" in log.attributes and not _is_of(mail.address, people[mail.customer_id].get("email")):
            stopped.setdefault(mail.decision_id, "no_address")
    return stopped


def _is_of(address: str | None, known: object) -> bool:
    """Whether a mail's address, where it has one, is the one that is known of its customer."""
    return address is None or (isinstance(known, str) and normal_address(known) == normal_address(address))


def over_cap(program: Program, mails: Sequence[Due], sent: Mapping[str, Sequence[Sent]]) -> dict[str, str]:
    """Decisions that would go over a cap, by what the ledger says was really sent.

    The engine counts the mails it decides itself. A mail that an earlier version of the program sent is known to the
    ledger alone.

    Args:
        program: its policies and scenarios hold the caps (rule R16).
        mails: decisions to send; of those of one moment the more urgent scenario's go first (rule R17).
        sent: customer to their marketing mails in the ledger.

    Returns:
        Decision to `cap`.
    """
    caps = caps_of(program)
    urgency = {one.scenario: -one.priority for one in program.scenarios if one.class_ == "marketing"}
    going: dict[str, list[Sent]] = {}
    stopped: dict[str, str] = {}
    marketing = [mail for mail in mails if mail.scenario in urgency]
    for mail in sorted(marketing, key=lambda one: (one.at, urgency[one.scenario], one.scenario)):
        past = [one for one in sent.get(mail.customer_id, ()) if one.decision_id != mail.decision_id]
        past += going.get(mail.customer_id, [])
        for cap in caps[mail.scenario]:
            begin = mail.at - timedelta(microseconds=cap.per.elapsed)
            mine = past if cap.scope == "marketing" else [one for one in past if one.scenario == mail.scenario]
            if sum(begin < one.at <= mail.at for one in mine) >= cap.limit:
                stopped[mail.decision_id] = "cap"
                break
        else:
            going.setdefault(mail.customer_id, []).append(Sent(mail.decision_id, mail.scenario, mail.at))
    return stopped


def caps_of(program: Program) -> dict[str, tuple[Cap, ...]]:
    """Scenario to its caps, those of the program and its own; only marketing scenarios have any."""
    return {one.scenario: (*program.policies.caps, *one.caps) for one in program.scenarios if one.class_ == "marketing"}


def _refusals(cursor: Any, log: EventLog, program: Program, since: str, now: datetime) -> dict[str, str]:
    present = [event for event in _FACTS if event in log.event_names]
    if not present:
        return {}
    # As the engine reads them: a word that is neither yes nor no is no news.
    columns = [
        f"TRY_CAST(e.{name(one)} AS {kind}) AS {name(one)}" if one in log.properties else f"NULL AS {name(one)}"
        for one, kind in (("bounce_type", "VARCHAR"), ("consent", "BOOLEAN"))
    ]
    query = (
        f"SELECT d.decision_id, d.scenario, e.event, {', '.join(columns)} {since} AND e.received_at <= {_moment(now)} "
        f'AND e.event IN ({_literals(present)}) ORDER BY e."at", e.received_at, e."row"'
    )
    marketing = {scenario.scenario for scenario in program.scenarios if scenario.class_ == "marketing"}
    all_hard = "bounce_type" not in log.properties
    stopped: dict[str, str] = {}
    consents: dict[str, bool] = {}
    for decision, scenario, event, bounce, consent in fetch_rows(cursor, query):
        if event == "email_bounced" and (all_hard or bounce == "hard"):
            stopped[decision] = "suppressed"
        elif scenario in marketing and event in _AGAINST:
            stopped.setdefault(decision, "unsubscribed")
        elif scenario in marketing and event == "customer_updated" and consent is not None:
            consents[decision] = consent
    return {decision: "unsubscribed" for decision, given in consents.items() if not given} | stopped


def _is_exit(exit_on: ExitOn, log: EventLog) -> str:
    parts = [f"e.event = {literal(exit_on.event)}"]
    if exit_on.where is not None:
        own = mark_of(log, exit_on.event, exit_on.where).where
        # Only the event's columns are in scope of its condition.
        parts.append(f"e.row IN (SELECT row FROM {log.relation} WHERE event = {literal(exit_on.event)} AND {own})")
    if exit_on.match is not None:
        parts.append(f"{key_text(log, exit_on.match, table='e.')} = d.journey_key")
    return " AND ".join(parts)


def _present(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value
        for key, value in row.items()
        if value is not None and not (isinstance(value, float) and math.isnan(value))
    }


def _literals(values: Iterable[str]) -> str:
    return ", ".join(map(literal, values))


def _moment(moment: datetime) -> str:
    return f"TIMESTAMP {literal(_naive(moment).isoformat(sep=' '))}"


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
