"""Erase: one customer taken out of everything that is kept, place by place, with a count of what was found in each.

What prevents a second mail stays: the decision of each mail, which says nothing of who got it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Text, cast, delete, false, func, insert, or_, select, update

from toolkit.errors import InputError, LedgerError, shown
from toolkit.events.erasure import Person
from toolkit.readable import counted, lines_html, table_html
from toolkit.sending.answered import answers_place
from toolkit.sending.clock import Clock, micros, utc_now
from toolkit.sending.display import frame_text
from toolkit.sending.erasure.places import Place, in_answers, in_files, in_log, in_outbox, in_spool
from toolkit.sending.ledger import audit
from toolkit.sending.ledger.claims import settle
from toolkit.sending.ledger.delivery_rows import Delivery, move, rows_of
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.schema import attempts, audits, deliveries, events, suppressions
from toolkit.sending.ledger.suppression import address_hash
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import WAITING, State

__all__ = ["Erasure", "erase"]

ERASED = "erased"
_AT_WORK = (State.LEASED, State.SENDING)
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


@dataclass(frozen=True, eq=False)
class Erasure:
    """What was found of a customer, and what became of it.

    Attributes:
        customer_id: whose.
        addresses: theirs, as found in the places given.
        done: whether anything was changed; False for a look before.
        table: one row per place and kind: place, what, found, action.
        left: what still names them afterwards, in words; empty when nothing does.
    """

    customer_id: str
    addresses: tuple[str, ...]
    done: bool
    table: pd.DataFrame
    left: tuple[str, ...]

    @property
    def found(self) -> int:
        """How much was found in all places."""
        return int(self.table["found"].sum())

    def __str__(self) -> str:
        shown = [frame_text(self._shown())] if self.found else []
        return "\n".join([self._head(), *shown, *self._foot()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        shown = table_html(self._shown()) if self.found else ""
        return lines_html([self._head()]) + shown + lines_html(self._foot())

    def _shown(self) -> pd.DataFrame:
        return self.table[self.table["found"] > 0]

    def _head(self) -> str:
        known = f" ({', '.join(self.addresses)})" if self.addresses else ", no address known"
        said = "erased" if self.done else "found, nothing changed yet"
        return f"customer {self.customer_id}{known}: {said if self.found else 'in none of these places'}"

    def _foot(self) -> list[str]:
        if not self.done:
            return ["Look at it, then do it: yes=True, or --yes."] if self.found else []
        said = [f"still there: {one}" for one in self.left]
        return said or ["Looked again: nothing names them in any of these places. Copies elsewhere are yours to find."]


def erase(
    customer_id: str,
    *,
    by: str,
    logs: Sequence[str | os.PathLike[str]] = (),
    files: Sequence[str | os.PathLike[str]] = (),
    ledger: str | os.PathLike[str] | None = None,
    answers: str | os.PathLike[str] | None = None,
    outboxes: Sequence[str | os.PathLike[str]] = (),
    spools: Sequence[str | os.PathLike[str]] = (),
    addresses: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    never_mail: bool = False,
    yes: bool = False,
    clock: Clock = utc_now,
) -> Erasure:
    """Erase one customer everywhere that is named here; without `yes`, only count what is there.

    Stored logs and files lose their rows. In the ledger their customer_id, address, receipts and what servers said are
    replaced by `erased`; the decision of each mail stays, so that no mail goes twice, and what was still to go is
    cancelled. Mails in outboxes, tracked mails and answers are removed. A batch that waits in a spool is approved as a
    whole, so it is withdrawn as a whole; of batches that are over, the mails are removed and the outcome is kept.
    A suppression of their address keeps its hash only.

    Args:
        customer_id: whose.
        by: who does it; written to the ledger's audit, which says nothing of whom.
        logs: folders of stored logs.
        files: CSV or Parquet files, folders or patterns that logs are read from, of events and of customers.
        ledger: path or URL; that of an outbox need not be named.
        answers: path or URL of what `toolkit track` took; those beside a ledger or in an outbox need not be named.
        outboxes: folders that mails were written to.
        spools: folders that `toolkit sender` takes batches from.
        addresses: of theirs that are not in any of these places.
        columns: our name to theirs, for `files`.
        never_mail: put the hash of each address on the ledger's suppression list, for all mail.
        yes: do it.
        clock: tells the time.

    Returns:
        What was found in each place, and, when it was done, what still names them.

    Raises:
        InputError: nothing to look at, a folder that is not there, an address that is none, or `never_mail` without a
            ledger.
        EventLogError, LedgerError, AnswersError: a place cannot be read or written.
        LedgerError: a mail to them is on its way at this moment.
    """
    if not all(isinstance(one, str) and one.strip() for one in (customer_id, by)):
        raise InputError("erase: whose, and who does it? customer_id and by must not be empty")
    logs, files, outboxes, spools = (_each(one) for one in (logs, files, outboxes, spools))
    own = [Path(one) / "ledger.sqlite" for one in outboxes if (Path(one) / "ledger.sqlite").is_file()]
    ledgers = [*([ledger] if ledger is not None else []), *own]
    beside = [*map(answers_place, ledgers), *(str(Path(one) / "answers.sqlite") for one in outboxes)]
    told = dict.fromkeys([*([str(answers)] if answers is not None else []), *filter(Ledger.exists, beside)])
    if never_mail and not ledgers:
        raise InputError("erase: never_mail needs the ledger, which holds the suppression list")
    mapped = dict(columns or {})
    places = [
        *(_ledger(one, by=by, never_mail=never_mail, clock=clock) for one in ledgers),
        *(in_log(one) for one in logs),
        *(in_files(one, mapped) for one in files),
        *(in_answers(one) for one in told),
        *(in_outbox(Path(one)) for one in outboxes),
        *(in_spool(Path(one)) for one in spools),
    ]
    if not places:
        raise InputError("erase: nothing to look at; name logs, files, a ledger, answers, outboxes or spools")
    given = [str(one).strip().casefold() for one in _each(addresses)]
    strange = [one for one in given if not _ADDRESS.fullmatch(one)]
    if strange:
        raise InputError(f"erase: addresses: expected addresses such as ana@example.org; found {shown(strange[0])}")
    found = frozenset().union(*(place.addresses(customer_id) for place in places))
    # What stands for no address, such as a dash, names nobody, and would be found everywhere.
    known = frozenset(given) | {one for one in found if _ADDRESS.fullmatch(one)}
    person = Person(customer_id, known)
    rows: list[tuple[str, str, int, str]] = []
    if yes:  # a place that cannot be read stops it before the first change; so does a mail on its way, in the ledger
        for place in places:
            place.erase(person, False)
    for place in places:
        for what, (count, action) in place.erase(person, yes).items():
            rows.append((place.name, what, count, action if count else ""))
    left = tuple(f"{place.name}: {one}" for place in places for one in place.left(person)) if yes else ()
    table = pd.DataFrame(rows, columns=["place", "what", "found", "action"])
    return Erasure(customer_id, tuple(sorted(known)), yes, table, left)


def _each(given: Any) -> Sequence[Any]:
    """A list of what was given, also where it was one thing without a list."""
    return [given] if isinstance(given, str | os.PathLike) else list(given)


# --- the ledger -------------------------------------------------------------------------------------------------------


def _ledger(where: str | os.PathLike[str], *, by: str, never_mail: bool, clock: Clock) -> Place:
    if not Ledger.exists(where):
        raise InputError(f"ledger {where}: there is none")
    with Ledger.as_it_is(where) as opened:
        name = f"ledger {opened.place}"

    def addresses(customer_id: str) -> frozenset[str]:
        query = select(deliveries.c.address).where(deliveries.c.customer_id == customer_id)
        with Ledger.as_it_is(where) as opened, opened.reading() as connection:
            return frozenset(one.casefold() for one in connection.execute(query.distinct()).scalars())

    def erased(person: Person, yes: bool) -> dict[str, tuple[int, str]]:
        if not yes:
            with Ledger.as_it_is(where) as opened, opened.reading() as connection:
                return _ahead(_found_in(connection, person, hashes=never_mail)[1])
        with Ledger.open(where, clock=clock) as opened:
            opened.recover()  # what a sender that died had leased is nobody's
            with opened.changing() as connection:
                found = _erase_rows(
                    connection, person, place=opened.place, by=by, never_mail=never_mail, now=micros(clock())
                )
            opened.compact()
        return found

    def left(person: Person) -> list[str]:
        with Ledger.as_it_is(where) as opened, opened.reading() as connection:
            return _still_named(connection, person)

    return Place(name, addresses, erased, left)


def _ahead(counts: Mapping[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
    """The same before it is done: nothing is called removed that is still there."""
    lasting = ("not ", "hash ")
    return {
        what: (count, action if action.startswith(lasting) else f"to be {action}")
        for what, (count, action) in counts.items()
    }


@dataclass(frozen=True, slots=True)
class _Theirs:
    """What a ledger holds of a person."""

    rows: Sequence[Delivery]
    told: Sequence[int]
    hashes: Sequence[str]

    def of(self, *states: State) -> list[Delivery]:
        return [row for row in self.rows if row.state in states]

    @property
    def numbers(self) -> list[int]:
        return [row.id for row in self.rows]


def _found_in(
    connection: Connection, person: Person, *, hashes: bool, lock: bool = False
) -> tuple[_Theirs, dict[str, tuple[int, str]]]:
    """What a ledger holds of a person, and how much of each kind."""
    theirs = or_(
        deliveries.c.customer_id == person.customer_id, func.lower(deliveries.c.address).in_(sorted(person.addresses))
    )
    ids = list(connection.execute(select(deliveries.c.decision_id).where(theirs)).scalars())
    rows = rows_of(connection, ids, lock=lock)
    numbers = [row.id for row in rows]
    told = _told_of(connection, numbers, person)
    found = _Theirs(rows, told, sorted(address_hash(one) for one in person.addresses))
    tried = select(func.count()).select_from(attempts).where(attempts.c.delivery_id.in_(numbers))
    listed = select(func.count()).where(
        suppressions.c.address_sha256.in_(found.hashes), suppressions.c.address.is_not(None)
    )
    counts = {
        "mails": (len(rows), "replaced, decisions kept"),
        "of these still to go": (len(found.of(*WAITING)), "cancelled"),
        "of these on their way": (len(found.of(*_AT_WORK)), "not erased before their sender is done"),
        "of these in doubt": (len(found.of(State.UNKNOWN)), "taken as sent"),
        "attempts": (connection.execute(tried).scalar_one(), "replaced"),
        "reports of providers": (len(told), "removed"),
        "suppressed addresses": (connection.execute(listed).scalar_one(), "hash kept"),
    }
    if hashes:
        counts["addresses never to be mailed"] = (len(found.hashes), "hash kept")
    return found, counts


def _erase_rows(
    connection: Connection, person: Person, *, place: str, by: str, never_mail: bool, now: int
) -> dict[str, tuple[int, str]]:
    """What a ledger holds of a person, replaced in the transaction under way; the decisions of their mails stay."""
    found, counts = _found_in(connection, person, hashes=never_mail, lock=True)
    at_work = found.of(*_AT_WORK)
    if at_work:
        raise LedgerError(
            f"ledger {place}: a mail to customer {person.customer_id} is on its way at this moment "
            f"({at_work[0].decision_id}, {at_work[0].state}); nothing was erased: try again when its sender is done"
        )
    waiting, doubted = found.of(*WAITING), found.of(State.UNKNOWN)
    move(connection, waiting, State.CANCELLED, {row.id: {"reason": ERASED} for row in waiting})
    receipts = {row.decision_id: Receipt(row.decision_id, State.ACCEPTED, receipt=ERASED) for row in doubted}
    settle(connection, doubted, receipts, actor=by, now=now)
    mine, tried = deliveries.c.id.in_(found.numbers), attempts.c.delivery_id.in_(found.numbers)
    blank = {"customer_id": ERASED, "address": ERASED, "domain": "", "receipt": None, "reason": ERASED}
    connection.execute(update(deliveries).where(mine).values(**blank))
    connection.execute(update(attempts).where(tried).values(receipt=None, reason=ERASED))
    connection.execute(delete(events).where(events.c.id.in_(found.told)))
    listed = suppressions.c.address_sha256.in_(found.hashes)
    connection.execute(update(suppressions).where(listed).values(address=None))
    added = _never_mail(connection, found.hashes, now=now) if never_mail else 0
    detail = {what: count for what, (count, _) in counts.items() if count} | ({"suppressed": added} if added else {})
    audit.append(connection, at=now, actor=by, action=ERASED, subject="a customer", detail=detail)
    return counts


def _told_of(connection: Connection, numbers: Sequence[int], person: Person) -> list[int]:
    """The reports about their mails, and those that name one of their addresses."""
    texts = events.c.payload, events.c.provider_event_id
    told = set(connection.execute(select(events.c.id).where(events.c.delivery_id.in_(numbers))).scalars())
    for row in connection.execute(select(events.c.id, *texts).where(_is_likely(texts, person))):
        if any(_is_in(text, person) for text in row[1:]):
            told.add(row[0])
    return sorted(told)


def _is_likely(texts: Sequence[Any], person: Person) -> Any:
    """Whether one of their addresses is among the letters of a text, perhaps as a part of another's."""
    small = [func.lower(cast(column, Text)) for column in texts]
    return or_(false(), *(one.contains(each, autoescape=True) for one in small for each in sorted(person.addresses)))


def _is_in(text: object, person: Person) -> bool:
    return isinstance(text, str) and person.is_addressed_in(text.encode("utf-8", "replace"))


def _never_mail(connection: Connection, hashes: Sequence[str], *, now: int) -> int:
    """How many addresses are new to the suppression list for all mail."""
    known = select(suppressions.c.address_sha256).where(
        suppressions.c.address_sha256.in_(list(hashes)), suppressions.c.scope == "all"
    )
    new = sorted(set(hashes) - set(connection.execute(known).scalars()))
    for digest in new:
        row = {
            "address_sha256": digest,
            "address": None,
            "scope": "all",
            "reason": "manual",
            "source": ERASED,
            "at": now,
        }
        connection.execute(insert(suppressions), row)
    return len(new)


def _still_named(connection: Connection, person: Person) -> list[str]:
    """Where the ledger still names a person: every text of every table."""
    said = []
    for table in (deliveries, attempts, events, suppressions, audits):
        texts = [column for column in table.columns if isinstance(column.type, Text)]
        likely = or_(_is_likely(texts, person), *(column == person.customer_id for column in texts))
        rows = connection.execute(select(*texts).where(likely))
        count = sum(any(text == person.customer_id or _is_in(text, person) for text in row) for row in rows)
        if count and table is audits:
            said.append(
                f"{counted(count, 'line')} of the audit, in words that someone wrote; its chain cannot be changed"
            )
        elif count:
            said.append(f"{counted(count, 'row')} of {table.name}")
    return said
