"""One customer taken out of a store of answers: the mails that were tracked, and all that came home about them."""

from __future__ import annotations

import json

from sqlalchemy import ColumnElement, Connection, Text, cast, delete, func, or_, select

from toolkit.events.erasure import Person
from toolkit.tracking.schema import answers, links, mails

__all__ = ["erase_answers"]


def erase_answers(connection: Connection, customer_id: str, addresses: frozenset[str], *, yes: bool) -> dict[str, int]:
    """Rows of a customer in a store of answers, taken out when `yes`.

    Args:
        connection: in a writing transaction.
        customer_id: whose.
        addresses: theirs, in small letters; answers that name one in words of a mail server are theirs, too.
        yes: take them out; else only count.

    Returns:
        What was found: `tracked mails`, `answers`, `links` that only their mails had.
    """
    theirs = set(connection.execute(select(mails.c.name).where(mails.c.customer_id == customer_id)).scalars())
    person = Person(customer_id, addresses)
    likely = [_holds(column, text) for column in _WORDS for text in sorted(addresses)]
    mine = set(connection.execute(select(answers.c.id).where(answers.c.mail.in_(theirs))).scalars())
    if likely:  # an address may be a part of another's
        for row in connection.execute(select(answers.c.id, *_WORDS).where(or_(*likely))):
            if any(
                isinstance(text, str) and person.is_addressed_in(text.encode("utf-8", "replace")) for text in row[1:]
            ):
                mine.add(row[0])
    freed = _links_of(connection, theirs)
    if yes:
        connection.execute(delete(answers).where(answers.c.id.in_(mine)))
        connection.execute(delete(mails).where(mails.c.name.in_(theirs)))
        connection.execute(delete(links).where(links.c.id.in_(freed)))
    return {"tracked mails": len(theirs), "answers": len(mine), "links": len(freed)}


_WORDS = (answers.c.event_id, answers.c.url, answers.c.detail, answers.c.properties, answers.c.provider_mail)


def _holds(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    return func.lower(cast(column, Text)).contains(text, autoescape=True)


def _links_of(connection: Connection, theirs: set[str]) -> set[str]:
    """Links that no other mail has: they may hold what is of this person alone."""
    mine, others = set[str](), set[str]()
    for name, held in connection.execute(select(mails.c.name, mails.c.links)):
        (mine if name in theirs else others).update(json.loads(held))
    return mine - others
