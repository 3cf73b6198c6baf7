"""What a log says became of mails, counted by the domain they went to or by the mail; for the deliverability board."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from toolkit.events.database import fetch_rows
from toolkit.events.log import EventLog

__all__ = ["mails_by_day", "mails_by_group"]


def mails_by_group(
    log: EventLog, since: datetime | None = None, *, by: str = "domain"
) -> list[tuple[str, str, str, str, int]]:
    """Per recipient domain, or per mail: distinct mails with each kind of answer.

    Args:
        log: with events such as `email_sent` and `email_delivered`; a mail is known by decision_id, without
            which each event is a mail of its own.
        since: only what happened from this moment on, with a time zone; everything unless given.
        by: `domain`; or `mail`, the scenario and the step as in `abandoned_cart.reminder`.

    Returns:
        One row per domain (`unknown` where the customers have no address) or mail (empty where none is named), kind
        (the event without `email_`), verdict (human, unsure, machine, or empty), bounce_type (hard, soft, or empty):
        with the number of mails.

    >>> import pandas as pd
    >>> log = EventLog.from_pandas(
    ...     pd.DataFrame({"customer_id": ["ana", "ana"], "event": ["email_sent", "email_delivered"],
    ...                   "at": ["2025-03-03T10:00Z", "2025-03-03T10:01Z"]}),
    ...     customers=pd.DataFrame({"customer_id": ["ana"], "email": ["ana@example.org"]}))
    >>> mails_by_group(log)
    [('example.org', 'delivered', '', '', 1), ('example.org', 'sent', '', '', 1)]
    """
    verdict = _text(log, "verdict")
    query = f"""
        SELECT {_group(log, by)} AS "group", replace(event[7:], '_by_machine', '') AS kind,
            CASE WHEN event LIKE '%\\_by\\_machine' ESCAPE '\\' THEN 'machine' ELSE {verdict} END AS verdict,
            {_text(log, "bounce_type")} AS bounce, count(DISTINCT mail)
        FROM ({_answers(log, since)}) GROUP BY ALL ORDER BY ALL"""
    return _rows(log, query)


def mails_by_day(log: EventLog, since: datetime | None = None, *, by: str = "domain") -> list[tuple[str, int, int]]:
    """Per recipient domain, or per mail, and day (UTC, whole days since 1970): how many mails were sent.

    Args:
        log, since, by: as in `mails_by_group`.
    """
    query = f"""
        SELECT {_group(log, by)} AS "group", CAST("at" AS DATE) - DATE '1970-01-01' AS day, count(DISTINCT mail)
        FROM ({_answers(log, since)}) WHERE event = 'email_sent' GROUP BY ALL ORDER BY ALL"""
    return _rows(log, query)


def _group(log: EventLog, by: str) -> str:
    if by == "domain":
        return "domain"
    if not {"scenario", "step"} <= set(log.properties):
        return "''"
    return "coalesce(CAST(scenario AS VARCHAR) || '.' || CAST(step AS VARCHAR), '')"


def _answers(log: EventLog, since: datetime | None) -> str:
    address = "lower(split_part(email, '@', -1))" if log.attributes.get("email") == "text" else "NULL"
    mail = "coalesce(CAST(decision_id AS VARCHAR), 'row ' || row)" if "decision_id" in log.properties else "row"
    after = "" if since is None else f" AND \"at\" >= TIMESTAMPTZ '{since.isoformat()}'"
    return f"""
        SELECT events_of_mail.*, coalesce(domain, 'unknown') AS domain, {mail} AS mail
        FROM {log.relation} AS events_of_mail
        LEFT JOIN (SELECT customer_id, {address} AS domain FROM customer_rows) USING (customer_id)
        WHERE event LIKE 'email\\_%' ESCAPE '\\'{after}"""


def _text(log: EventLog, name: str) -> str:
    return f"coalesce(CAST({name} AS VARCHAR), '')" if name in log.properties else "''"


def _rows(log: EventLog, query: str) -> list[tuple[Any, ...]]:
    cursor = log.cursor()
    cursor.register("customer_rows", log.customer_table)
    return fetch_rows(cursor, query)
