"""What a log says became of mails, counted by the domain they went to or by the mail; for the deliverability board."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from toolkit.events.database import fetch_rows
from toolkit.events.log import EventLog
from toolkit.events.marks import Mark
from toolkit.events.quoting import literal, of_scenarios

__all__ = ["StepAnswers", "answers_by_step", "mails_by_day", "mails_by_group"]

_STEP = "split_part(CAST(step AS VARCHAR), '#', 1)"  # rounds of a repeat are numbered behind the id


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


@dataclass(frozen=True, slots=True)
class StepAnswers:
    """What became of the mails of one step that really went, each mail counted once. Observed.

    Attributes:
        sent: mails in the log.
        delivered: those that arrived; those sent where no provider says so.
        opened_least: those a person opened, machines and doubts left out.
        opened_most: those that anybody but a known machine opened.
        clicked_least, clicked_most: the same of links that were clicked.
        unsubscribed: those after which people unsubscribed.
        watched: those whose window for the goal had closed.
        reached: those of them after which the goal was reached within the window, whatever else led there.
    """

    sent: int
    delivered: int
    opened_least: int
    opened_most: int
    clicked_least: int
    clicked_most: int
    unsubscribed: int
    watched: int = 0
    reached: int = 0


def answers_by_step(
    log: EventLog,
    scenario: str,
    *,
    goal: Mark | None = None,
    within: int = 0,
    up_to: datetime | None = None,
) -> dict[str, StepAnswers]:
    """What became of a scenario's mails that the log holds, by step. Observed.

    Args:
        log: as for `mails_by_group`, with the properties scenario and step.
        scenario: its name.
        goal: the events that are the goal; without one, no mail is watched.
        within: how long after a mail the goal counts, microseconds.
        up_to: the last moment that is known; the end of the log unless given.

    Returns:
        By step id, the rounds of a repeat together; nothing of steps without a mail, nor of a log that does not name
        the mails of its answers.

    >>> import pandas as pd
    >>> log = EventLog.from_pandas(pd.DataFrame({
    ...     "customer_id": ["ana", "ana", "bo", "ana"], "event": ["email_sent", "email_opened", "email_sent", "buy"],
    ...     "at": ["2025-03-03T10:00Z", "2025-03-03T11:00Z", "2025-03-03T10:00Z", "2025-03-05T10:00Z"],
    ...     "scenario": ["cart", "cart", "cart", None], "step": ["reminder", "reminder", "reminder", None],
    ...     "decision_id": ["d1", "d1", "d2", None]}))
    >>> found = answers_by_step(log, "cart", goal=Mark("buy"), within=86_400_000_000)["reminder"]
    >>> found.sent, found.opened_least, found.opened_most, found.watched, found.reached
    (2, 0, 1, 2, 0)
    """
    if not {"scenario", "step"} <= set(log.properties) or "email_sent" not in log.event_names or log.span is None:
        return {}
    end = up_to or log.span[1]
    own = f"{of_scenarios([scenario])} AND \"at\" <= TIMESTAMPTZ '{end.isoformat()}'"
    verdict = _text(log, "verdict")
    counts = {
        "sent": "event = 'email_sent'",
        "delivered": "event = 'email_delivered'",
        "opened_least": f"event = 'email_opened' AND {verdict} = 'human'",
        "opened_most": f"event = 'email_opened' AND {verdict} <> 'machine'",
        "clicked_least": f"event = 'email_clicked' AND {verdict} = 'human'",
        "clicked_most": f"event = 'email_clicked' AND {verdict} <> 'machine'",
        "unsubscribed": "event = 'email_unsubscribed'",
    }
    told = ", ".join(f"count(DISTINCT mail) FILTER ({condition})" for condition in counts.values())
    query = f"SELECT {_STEP} AS step, {told} FROM ({_answers(log, None)}) WHERE {own} GROUP BY ALL"
    found = {row[0]: list(map(int, row[1:])) for row in _rows(log, query) if row[0] is not None and row[1]}
    watched = dict[str, tuple[int, int]]()
    if goal is not None:
        mails = f"""
            SELECT {_STEP} AS step, mail, any_value(customer_id) AS customer_id, min("at") AS went
            FROM ({_answers(log, None)}) WHERE event = 'email_sent' AND {own} GROUP BY ALL"""
        is_goal = f"event = {literal(goal.event)}" + ("" if goal.where is None else f" AND ({goal.where})")
        reached = f"""
            SELECT step, count(DISTINCT mail), count(DISTINCT mail) FILTER (goals."at" IS NOT NULL)
            FROM ({mails}) AS mails LEFT JOIN (SELECT customer_id, "at" FROM {log.relation} WHERE {is_goal}) AS goals
            ON mails.customer_id = goals.customer_id AND goals."at" > went
                AND goals."at" <= went + to_microseconds({within})
            WHERE went + to_microseconds({within}) <= TIMESTAMPTZ '{end.isoformat()}' GROUP BY step"""
        watched = {step: (int(mails), int(ends)) for step, mails, ends in _rows(log, reached)}
    made = dict[str, StepAnswers]()
    for step, counted in found.items():
        sent, delivered = counted[:2]
        made[step] = StepAnswers(*[sent, delivered or sent, *counted[2:], *watched.get(step, (0, 0))])
    return made


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
