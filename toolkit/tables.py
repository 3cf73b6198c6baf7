"""The tables that flow through the toolkit: their columns, types, units and grain, and one check for each.

events → journeys → decisions → deliveries → events, and journeys + events → outcomes → lift.
Times are UTC with microseconds. A table is checked once, at the door of the room it enters.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from toolkit.errors import InputError, listed, nearest

__all__ = [
    "CUSTOMERS",
    "DECISIONS",
    "DELIVERY_EVENTS",
    "ENDINGS",
    "EVENTS",
    "FIRST_SEEN",
    "JOURNEYS",
    "LIFT",
    "MACHINE_EVENTS",
    "MAIL_EVENTS",
    "MAIL_PROPERTIES",
    "OUTCOMES",
    "REASONS",
    "STATUSES",
    "Column",
    "Table",
    "as_text",
]

STATUSES = ("send", "withheld", "skipped")
ENDINGS = ("finished", "exited", "superseded", "unsubscribed", "open")
REASONS = (
    "no_address",
    "suppressed",
    "unsubscribed",
    "exited",
    "quiet_expired",
    "cap",
    "holdout",
    "superseded",
    "coupon_empty",
    "render_error",
    "too_late",
    "paused",
    "unknown_delivery",
)
DELIVERY_EVENTS = (
    "email_sent",
    "email_delivered",
    "email_opened",
    "email_clicked",
    "email_bounced",
    "email_complained",
    "email_unsubscribed",
    "email_subscribed",
    "email_deferred",
    "email_rejected",
)
MACHINE_EVENTS = ("email_opened_by_machine", "email_clicked_by_machine")
MAIL_EVENTS = frozenset((*DELIVERY_EVENTS, *MACHINE_EVENTS))
MAIL_PROPERTIES = dict.fromkeys(
    ("decision_id", "scenario", "step", "template", "experiment", "arm", "link", "bounce_type"), "text"
)
"""Properties of the events of mails, and their kind: a log before its first mail does not have them yet."""
FIRST_SEEN = "first_seen"
"""The event of a compact log that stands for a customer's first one, where that is of a kind that was left out."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, kind (text, time, number, count, flag), whether it may be missing, and its meaning."""

    name: str
    kind: str
    meaning: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the vocabulary.

    >>> EVENTS.grain
    'something a customer did, or a provider reported'
    """

    name: str
    grain: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns, in order."""
        return tuple(column.name for column in self.columns)

    def check(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame itself when it has the columns of this table, of the right kinds.

        Args:
            frame: one row per grain of this table; further columns are welcome.

        Returns:
            The same frame, unchanged.

        Raises:
            InputError: a column is missing or of the wrong kind; names the column found and the nearest one.
        """
        wrong = []
        for column in self.columns:
            if column.name not in frame.columns:
                if not column.optional:
                    near = nearest(column.name, map(str, frame.columns))
                    wrong.append(
                        f"column {column.name!r} ({column.meaning}) is missing"
                        + (f"; did you mean to map {near!r}?" if near else "")
                    )
            elif not _is_kind(frame[column.name], column.kind):
                wrong.append(f"column {column.name!r} should be {column.kind}, found {frame[column.name].dtype}")
        if wrong:
            found = listed(frame.columns)
            raise InputError(f"{self.name}: " + "; ".join(wrong) + f"; columns found: {found}")
        return frame


def _is_kind(values: pd.Series, kind: str) -> bool:
    if kind == "time":
        return pd.api.types.is_datetime64_any_dtype(values)
    if kind in ("number", "count"):
        return pd.api.types.is_numeric_dtype(values)
    if kind == "flag":
        return pd.api.types.is_bool_dtype(values) or pd.api.types.is_numeric_dtype(values)
    return True


EVENTS = Table(
    "events",
    "something a customer did, or a provider reported",
    (
        Column("customer_id", "text", "who"),
        Column("event", "text", "what happened, one word"),
        Column("at", "time", "when it happened, UTC"),
        Column("received_at", "time", "when the system learned of it, UTC; at unless given", optional=True),
        Column("event_id", "text", "unique name of the event; a hash of the row unless given", optional=True),
    ),
)
CUSTOMERS = Table(
    "customers",
    "a person",
    (
        Column("customer_id", "text", "who"),
        Column("email", "text", "address", optional=True),
        Column("timezone", "text", "IANA zone, for example Europe/Paris", optional=True),
        Column("locale", "text", "language and country, for example fr_FR", optional=True),
        Column("consent", "flag", "agreed to marketing mail", optional=True),
    ),
)
JOURNEYS = Table(
    "journeys",
    "one customer's passage through one scenario, control included",
    (
        Column("journey_id", "text", "hash of scenario, customer, key and trigger event"),
        Column("scenario", "text", "scenario name"),
        Column("customer_id", "text", "who"),
        Column("key", "text", "value of the scenario's key, for example an order number", optional=True),
        Column("arm", "text", "arm of the experiment", optional=True),
        Column("entered_at", "time", "when the journey began, UTC"),
        Column("trigger_at", "time", "when the trigger happened, UTC"),
        Column("ended_at", "time", "when it ended, UTC; missing while open", optional=True),
        Column("ended_by", "text", "one of " + ", ".join(ENDINGS)),
        Column("sends", "count", "mails sent in it"),
    ),
)
DECISIONS = Table(
    "decisions",
    "one send gate reached",
    (
        Column("decision_id", "text", "hash of the journey and the step"),
        Column("journey_id", "text", "the journey"),
        Column("scenario", "text", "scenario name"),
        Column("step", "text", "id of the send step"),
        Column("customer_id", "text", "who"),
        Column("arm", "text", "arm of the experiment", optional=True),
        Column("template", "text", "template of the mail"),
        Column("offer", "text", "offer in the mail, as text", optional=True),
        Column("due_at", "time", "when the gate was first reached, UTC"),
        Column("at", "time", "when it was decided, UTC"),
        Column("status", "text", "one of " + ", ".join(STATUSES)),
        Column("reason", "text", "why not sent, one of " + ", ".join(REASONS), optional=True),
    ),
)
OUTCOMES = Table(
    "outcomes",
    "one unit (a customer, or a journey) and what followed in its window",
    (
        Column("unit", "text", "customer_id or journey_id"),
        Column("arm", "text", "arm of the experiment", optional=True),
        Column("opened", "flag", "opened a mail within the window", optional=True),
        Column("clicked", "flag", "clicked in a mail within the window", optional=True),
        Column("open_verdict", "text", "whose the open was: human, unsure or machine", optional=True),
        Column("converted", "flag", "reached the goal within the window", optional=True),
        Column("converted_at", "time", "when the goal was first reached within the window, UTC", optional=True),
        Column("revenue", "number", "value of the goal events within the window", optional=True),
        Column("reactivated", "flag", "came back within the window after a lapse", optional=True),
        Column("reactivated_at", "time", "when, UTC", optional=True),
        Column("other_mails", "count", "marketing mails of other scenarios within the window", optional=True),
        Column("unsubscribed", "flag", "unsubscribed within the window", optional=True),
    ),
)
LIFT = Table(
    "lift",
    "one arm against control on one metric",
    (
        Column("metric", "text", "name of the metric"),
        Column("arm", "text", "the arm held against control"),
        Column("n_control", "count", "units in control"),
        Column("n", "count", "units in the arm"),
        Column("control", "number", "the metric in control"),
        Column("value", "number", "the metric in the arm"),
        Column("diff", "number", "value minus control"),
        Column("diff_lower", "number", "lower end of the interval of diff"),
        Column("diff_upper", "number", "upper end of the interval of diff"),
        Column("rel", "number", "diff as a share of control"),
        Column("rel_lower", "number", "lower end of the interval of rel"),
        Column("rel_upper", "number", "upper end of the interval of rel"),
        Column("pvalue", "number", "two-sided p-value of no difference"),
        Column("method", "text", "tests and intervals used"),
        Column("note", "text", "why a number is undefined, and other warnings"),
    ),
)


def as_text(values: pd.Series) -> pd.Series:
    """Values as text; what is missing stays missing, of which astype alone makes a word with pandas 2.

    >>> as_text(pd.Series([1, None], dtype="Int64")).tolist()
    ['1', nan]
    """
    return values.astype("str").where(values.notna())
