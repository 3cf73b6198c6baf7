"""The store of answers: what sending hands down, what came home, and what an event log reads of it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine, and_, func, inspect, literal, or_, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from toolkit.database import READ, chunks, compact, insert_new, opened, place_of, said
from toolkit.errors import AnswersError, shown
from toolkit.tracking.erasure import erase_answers
from toolkit.tracking.handed import change_mails, insert_mails, insert_sent, known_otherwise, untold
from toolkit.tracking.incoming import Incoming, Kept, TrackedMail
from toolkit.tracking.recording import count_unknown, record, subscription
from toolkit.tracking.schema import (
    EVENTS_VIEW,
    VERSION,
    answers,
    bears_on_mailing,
    coupons,
    create,
    links,
    mails,
    metas,
    upgrade,
)

__all__ = ["Answered", "Answers", "Standing", "now_micros"]

_HANDED = 10_000  # mails written down in one commit
_HANDED_DOWN = ("decision_id", "customer_id", "scenario", "step", "class_", "domain", "message_id", "due_at")
_SIGNS = ("delivered", "opened", "clicked", "complained", "unsubscribed", "bounced")
_LATE_BY, _LATE_AMONG = 600_000_000, 1_000  # microseconds, and answers, that one may be committed after later ones


def now_micros() -> int:
    """The present, microseconds since 1970."""
    return time.time_ns() // 1000


_ANSWERED = select(
    answers.c.id,
    answers.c.mail,
    mails.c.decision_id,
    answers.c.kind,
    answers.c.at,
    answers.c.received_at,
    answers.c.bounce_type,
    answers.c.provider,
    answers.c.rule,
    answers.c.event_id,
).select_from(answers.outerjoin(mails, mails.c.name == answers.c.mail))


@dataclass(frozen=True, slots=True)
class Standing:
    """What the preference page shows of one mail's customer.

    Attributes:
        known: the mail is known here.
        state: subscribed, unsubscribed or paused.
        until: when the pause is over, microseconds since 1970.
        locale: the customer's.
        topics: topic to whether they want it; only those they chose about.
    """

    known: bool
    state: str
    until: int | None
    locale: str
    topics: dict[str, bool]


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that bears on whether an address may be mailed, or shows that a mail arrived: who, what, when, from
    where."""

    id: int
    mail: str
    decision_id: str | None
    kind: str
    at: int
    received_at: int
    bounce_type: str | None
    provider: str
    rule: str | None
    event_id: str


class Answers:
    """The store of answers, in a SQLite file or in PostgreSQL.

    >>> import tempfile, pathlib
    >>> with Answers.open(pathlib.Path(tempfile.mkdtemp(), "answers.sqlite")) as answers:
    ...     _ = answers.register([TrackedMail("3nal3iqg2vqw7zeg", "d1", "ana", "cart", "reminder", "cart/reminder",
    ...                                       None, None, "marketing", "example.org", "en", "m@example.com", 0)])
    ...     _ = answers.record([Incoming("unsubscribed", at=1_000_000, mail="3nal3iqg2vqw7zeg")])
    ...     answers.events[["customer_id", "event", "decision_id"]].values.tolist()
    [['ana', 'email_unsubscribed', 'd1']]
    """

    def __init__(self, engine: Engine, place: str, clock: Callable[[], int]) -> None:
        self._engine = engine
        self.place = place
        """The path or URL, without a password."""
        self._clock = clock

    @classmethod
    def open(cls, where: str | os.PathLike[str], *, clock: Callable[[], int] = now_micros) -> Answers:
        """The answers at a path or URL; made where there are none yet.

        Args:
            where: path of a SQLite file, `sqlite:///file`, or `postgresql://host/name`.
            clock: microseconds since 1970.

        Raises:
            AnswersError: it cannot be opened, or is of a newer version.
            NotSupportedError: another kind of database.
        """
        engine = opened(where, what="answers", error=AnswersError, is_ready=_is_ready, make=_made)
        return cls(engine, place_of(engine), clock)

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def __repr__(self) -> str:
        return f"Answers({self.place!r})"

    # What sending hands down ..........................................................................................

    def register(self, handed: Iterable[TrackedMail]) -> int:
        """Write down mails that may be answered; those known already stay as they are.

        Args:
            handed: mails, before they leave.

        Returns:
            How many were new.
        """
        count = 0
        for some in chunks(handed, _HANDED):
            with self._writing() as connection:
                count += insert_mails(connection, some)
                _tie(connection)
        return count

    def correct(self, handed: Iterable[TrackedMail], ours: Callable[[Sequence[str]], Collection[str]]) -> int:
        """Tell mails anew that are known as they were in another batch, where their links led elsewhere.

        Links they had stay with them, after the new ones, so that an erasure finds these.

        Args:
            handed: mails as they will leave.
            ours: is asked with decisions: those that have not left and will leave as handed.

        Returns:
            How many were changed.
        """
        count = 0
        for some in chunks(handed):
            with self._reading() as connection:
                changed = known_otherwise(connection, some)
            if changed:
                mine = set(ours([mail.decision_id for mail, _ in changed]))
                with self._writing() as connection:
                    count += change_mails(connection, [one for one in changed if one[0].decision_id in mine])
        return count

    def sent(self, accepted: Iterable[tuple[str, int, str | None]]) -> int:
        """Write down that mails left: each becomes one `email_sent`.

        Args:
            accepted: decision_id, when (microseconds since 1970), and what the provider calls the mail.

        Returns:
            How many were new; mails that are not registered are passed over.
        """
        count, now = 0, self._clock()
        for some in chunks(accepted, _HANDED):
            with self._writing() as connection:
                count += insert_sent(connection, some, now=now)
                _tie(connection)
        return count

    def untold(self, accepted: Sequence[tuple[str, int, str | None]]) -> list[tuple[str, int, str | None]]:
        """Of mails that left, as for `sent`, those of which it is not written down."""
        with self._reading() as connection:
            return untold(connection, accepted)

    def handed_down(self) -> Iterator[list[Any]]:
        """All mails that were registered, some at a time, with the moment they were sent.

        Returns:
            Rows of decision_id, customer_id, scenario, step, class_, domain, message_id, due_at and sent_at (None where
            nobody said that it was sent).
        """
        sent, last = answers.alias(), ""
        told = sent.c.event_id == literal("sent:") + mails.c.decision_id
        columns = (mails.c[name] for name in _HANDED_DOWN)
        query = select(mails.c.name, *columns, sent.c.at.label("sent_at")).outerjoin_from(mails, sent, told)
        while True:
            with self._reading() as connection:
                rows = list(connection.execute(query.where(mails.c.name > last).order_by(mails.c.name).limit(_HANDED)))
            if not rows:
                return
            yield rows
            last = rows[-1].name

    def codes_of(self, decision_ids: Iterable[str]) -> list[tuple[str, str, str]]:
        """Pool, code and decision of every coupon code that these mails were handed down with."""
        found: list[tuple[str, str, str]] = []
        with self._reading() as connection:
            for some in chunks(decision_ids):
                query = select(coupons).where(coupons.c.decision_id.in_(some)).order_by(coupons.c.pool, coupons.c.code)
                found += [(row.pool, row.code, row.decision_id) for row in connection.execute(query)]
        return found

    # What came home ...................................................................................................

    def record(self, batch: Sequence[Incoming]) -> list[Kept]:
        """Write answers down durably, all in one transaction; an event_id that is there already counts once.

        Args:
            batch: answers.

        Returns:
            What became of each, in the same order.

        Raises:
            AnswersError: the database refuses; nothing of the batch was written.
        """
        with self._writing() as connection:
            return record(connection, batch, now=self._clock())

    @property
    def events(self) -> pd.DataFrame:
        """One row per answer of a known mail, as the event log reads them, received by now."""
        with self._reading() as connection:
            frame = pd.read_sql_query(text(f"SELECT * FROM {EVENTS_VIEW} ORDER BY received_at, event_id"), connection)
        for column in ("at", "received_at"):
            frame[column] = pd.to_datetime(frame[column], utc=True, format="ISO8601").astype("datetime64[us, UTC]")
        return frame

    @property
    def table(self) -> pd.DataFrame:
        """One row per answer, raw, with its verdict and rule, those not final yet included; times are microseconds."""
        with self._reading() as connection:
            return pd.read_sql_query(select(answers).order_by(answers.c.id), connection)

    @property
    def unknown(self) -> pd.DataFrame:
        """Answers to mails that are not known here, kept apart: one row per answer."""
        known = select(mails.c.name).where(mails.c.name == answers.c.mail).exists()
        with self._reading() as connection:
            return pd.read_sql_query(select(answers).where(~known).order_by(answers.c.id), connection)

    @property
    def unknown_count(self) -> int:
        """How many answers are to mails not known here."""
        with self._reading() as connection:
            return count_unknown(connection)

    def standing(self, mail: str) -> Standing:
        """What is known of the customer of a mail: subscribed or not, until when, language and topics."""
        with self._reading() as connection:
            state, until = subscription(connection, mail, now=self._clock())
            row = connection.execute(select(mails.c.locale, mails.c.customer_id).where(mails.c.name == mail)).first()
            if row is None:
                return Standing(False, state, until, "en", {})
            mine = select(mails.c.name).where(mails.c.customer_id == row.customer_id)
            chosen = select(answers.c.properties).where(answers.c.kind == "preferences", answers.c.mail.in_(mine))
            topics: dict[str, bool] = {}
            for choice in connection.execute(chosen.order_by(answers.c.id)).scalars():
                topics.update({name.removeprefix("topic_"): bool(value) for name, value in json.loads(choice).items()})
            return Standing(True, state, until, row.locale, topics)

    def mails_by_group(self, since: int, *, by: str = "domain") -> list[Any]:
        """Per recipient domain, or per mail: distinct mails with each kind of answer; see `deliverability`."""
        group = _group(by)
        verdict = func.coalesce(answers.c.verdict, "")
        bounce = func.coalesce(answers.c.bounce_type, "")
        query = (
            select(group, answers.c.kind, verdict, bounce, func.count(func.distinct(mails.c.name)))
            .select_from(answers.join(mails, mails.c.name == answers.c.mail))
            .where(answers.c.at >= since)
            .group_by(group, answers.c.kind, verdict, bounce)
        )
        with self._reading() as connection:
            return list(connection.execute(query))

    def sent_by_day(self, since: int, *, by: str = "domain") -> list[Any]:
        """Per recipient domain, or per mail, and day (UTC, whole days since 1970): how many mails were sent."""
        group = _group(by)
        day = answers.c.at // 86_400_000_000
        query = (
            select(group, day, func.count())
            .select_from(answers.join(mails, mails.c.name == answers.c.mail))
            .where(answers.c.at >= since, answers.c.kind == "sent")
            .group_by(group, day)
        )
        with self._reading() as connection:
            return list(connection.execute(query))

    # What the suppression list takes up ...............................................................................

    def standing_since(self, name: str, *, since: str | None = None) -> Iterator[Answered]:
        """Answers that bear on suppression and were not taken up yet under a name, oldest first.

        Args:
            name: who takes up.
            since: begin there where that is earlier: what `taken_up` gave to a ledger that was put back since.

        In PostgreSQL some that were taken up come again: two trackers write at once there, and the one that commits
        later may have the lower number.
        """
        with self._reading() as connection:
            found = connection.execute(select(metas.c.value).where(metas.c.name == _meta(name))).scalar()
            after, last = map(min, zip(_mark(found or _NOTHING), _mark(since or found or _NOTHING), strict=True))
            # The end of a pause was written long before its time has come; and a clock may have been put back since.
            news = [answers.c.received_at > after, answers.c.id > last]
            if self._engine.dialect.name == "postgresql":
                # Who subscribed is not looked at again: it would lift what was put on the list by hand since.
                recent = answers.c.received_at > after - _LATE_BY, answers.c.id > last - _LATE_AMONG
                news.append(and_(*recent, answers.c.kind != "subscribed"))
            wanted = or_(*news) & (answers.c.received_at <= self._clock())
            query = _ANSWERED.where(bears_on_mailing(answers.c.kind), answers.c.mail.is_not(None), wanted).order_by(
                answers.c.received_at, answers.c.id
            )
            rows = list(connection.execute(query))
        yield from (Answered(**row._mapping) for row in rows)

    def signs_of(self, decision_ids: Iterable[str]) -> list[Answered]:
        """What shows that mails arrived, or never will: one answer a mail and kind, the first, oldest first.

        A machine's open counts as well: it got the mail.
        """
        found: list[Answered] = []
        for some in chunks(list(decision_ids)):
            first = (
                select(func.min(answers.c.id))
                .select_from(answers.join(mails, mails.c.name == answers.c.mail))
                .where(mails.c.decision_id.in_(some), answers.c.kind.in_(_SIGNS))
                .where(or_(answers.c.kind != "bounced", func.coalesce(answers.c.bounce_type, "") != "soft"))
                .group_by(mails.c.decision_id, answers.c.kind)
            )
            with self._reading() as connection:
                query = _ANSWERED.where(answers.c.id.in_(first)).order_by(answers.c.id)
                found += [Answered(**row._mapping) for row in connection.execute(query)]
        return found

    def erase(self, customer_id: str, addresses: Collection[str] = (), *, yes: bool = False) -> dict[str, int]:
        """What the store holds of a customer, taken out when `yes`; nothing of it stays in the database's files.

        Args:
            customer_id: whose.
            addresses: theirs, in small letters; answers that name one are theirs, too.
            yes: take it out; else only count.

        Returns:
            What was found: `tracked mails`, `answers`, `links` that only their mails had.
        """
        with self._writing() as connection:
            found = erase_answers(connection, customer_id, frozenset(addresses), yes=yes)
        if yes:
            compact(self._engine, [answers, mails, links])
        return found

    def taken_up(self, name: str, *answered: Answered) -> str:
        """Remember under a name that everything up to these answers was taken up; never less than before.

        Returns:
            How far that is, for `standing_since`.
        """
        mine = metas.c.name == _meta(name)
        with self._writing() as connection:
            connection.execute(insert_new(connection, metas), {"name": _meta(name), "value": _NOTHING})
            found = connection.execute(select(metas.c.value).where(mine).with_for_update()).scalar_one()
            after, last = _mark(found)
            places = [(after, last), *((one.received_at, one.id) for one in answered)]
            value = f"{max(at for at, _ in places)} {max(number for _, number in places)}"
            if value != found:
                connection.execute(update(metas).where(mine).values(value=value))
        return value

    def noted(self, name: str) -> int:
        """The number last noted under a name; 0 where none was."""
        with self._reading() as connection:
            found = connection.execute(select(metas.c.value).where(metas.c.name == _note(name))).scalar()
        return int(found or 0)

    def renamed(self, row: str, names: Mapping[str, str]) -> str:
        """The name that a row of how far somebody came has where they are called otherwise; as it is for all others.

        Args:
            row: its name in the table.
            names: of those who noted or took up, to what they are called now.
        """
        known = {make(old): make(new) for old, new in names.items() for make in (_meta, _note)}
        return known.get(row, row)

    def note(self, name: str, number: int) -> None:
        """Keep a number under a name, such as how far a ledger's mails were written down."""
        with self._writing() as connection:
            connection.execute(insert_new(connection, metas), {"name": _note(name), "value": "0"})
            connection.execute(update(metas).where(metas.c.name == _note(name)).values(value=str(number)))

    def changing(self) -> AbstractContextManager[Connection]:
        """A connection in a transaction that writes, for a move of the whole store."""
        return self._writing()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as fault:
            raise AnswersError(f"answers {self.place}: cannot be written: {said(fault)}") from fault

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect().execution_options(**READ) as connection:
                yield connection
        except SQLAlchemyError as fault:
            raise AnswersError(f"answers {self.place}: cannot be read: {said(fault)}") from fault


def _group(by: str) -> Any:
    return mails.c.domain if by == "domain" else mails.c.scenario + "." + mails.c.step


def _tie(connection: Connection) -> None:
    """Give answers that came before their mail was known the mail's name."""
    waiting = answers.c.mail.is_(None) & answers.c.provider_mail.is_not(None)
    if connection.execute(select(answers.c.id).where(waiting).limit(1)).first() is None:
        return
    for column in (mails.c.provider_id, mails.c.message_id):
        name = select(mails.c.name).where(column == answers.c.provider_mail).limit(1).scalar_subquery()
        there = select(mails.c.name).where(column == answers.c.provider_mail).exists()
        connection.execute(update(answers).where(waiting, there).values(mail=name))


_NOTHING = "-1 0"


def _mark(text: str) -> tuple[int, int]:
    after, _, last = text.partition(" ")
    return int(after), int(last)


def _meta(name: str) -> str:
    return f"taken up by {hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _note(name: str) -> str:
    return f"note {hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _is_ready(connection: Connection, place: str) -> bool:
    return _version(connection, place) == VERSION


def _made(connection: Connection, place: str) -> None:
    found = _version(connection, place)
    if found is None:
        create(connection)
        connection.execute(insert_new(connection, metas), {"name": "version", "value": str(VERSION)})
    elif found < VERSION:
        upgrade(connection)
        connection.execute(update(metas).where(metas.c.name == "version").values(value=str(VERSION)))


def _version(connection: Connection, place: str) -> int | None:
    if "answer_meta" not in inspect(connection).get_table_names():
        return None
    found = connection.execute(select(metas.c.value).where(metas.c.name == "version")).scalar()
    if found is None or not found.isdigit() or int(found) > VERSION:
        said = f"version {shown(found)}, this one reads {VERSION}"
        raise AnswersError(f"answers {place}: {said}; update trigger-toolkit or name another file")
    return int(found)
