"""Mails that sending hands down, in the tables of the store of answers: written down, told anew, and sent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from operator import attrgetter

from sqlalchemy import Connection, bindparam, select, update

from toolkit.database import chunks, insert_new, placeholder
from toolkit.tracking.incoming import TrackedMail
from toolkit.tracking.schema import answers, coupons, links, mails

__all__ = ["change_mails", "insert_mails", "insert_sent", "known_otherwise", "untold"]

_HANDED_DOWN = [column for column in mails.c if column.key != "links"]
_values = attrgetter(*(column.key for column in _HANDED_DOWN))
_MAY_DIFFER = ("scenario", "step", "template", "experiment", "arm", "domain", "locale", "message_id", "due_at")
_told = attrgetter(*_MAY_DIFFER)


def insert_mails(connection: Connection, handed: Sequence[TrackedMail]) -> int:
    """Mails that were not there yet, written down; how many. Straight to the driver, since there may be a million."""
    _insert_links(connection, handed)
    _insert_codes(connection, handed)
    names = ", ".join([*(column.name for column in _HANDED_DOWN), "links"])
    marks = ", ".join([placeholder(connection)] * (len(_HANDED_DOWN) + 1))
    statement = f"INSERT INTO {mails.name} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"
    rows = [(*_values(mail), json.dumps([_link_id(url) for url in mail.targets])) for mail in handed]
    return connection.exec_driver_sql(statement, rows).rowcount


def known_otherwise(connection: Connection, handed: Sequence[TrackedMail]) -> list[tuple[TrackedMail, list[str]]]:
    """Mails that are written down otherwise than handed now, with the ids of the links that they had and have no more.

    Args:
        connection: reading.
        handed: at most as many as one statement lists.
    """
    query = select(mails).where(mails.c.name.in_([mail.name for mail in handed]))
    known = {row.name: row for row in connection.execute(query)}
    found = []
    for mail in handed:
        row = known.get(mail.name)
        if row is None:
            continue
        now, had = [_link_id(url) for url in mail.targets], json.loads(row.links)
        if had[: len(now)] != now or _told(row) != _told(mail):
            found.append((mail, [link for link in had if link not in now]))
    return found


def change_mails(connection: Connection, changed: Sequence[tuple[TrackedMail, list[str]]]) -> int:
    """Mails written down anew; how many. The links they had stay theirs, after the new ones."""
    _insert_links(connection, [mail for mail, _ in changed])
    _insert_codes(connection, [mail for mail, _ in changed])
    rows = [
        {"b_name": mail.name, "links": json.dumps([*map(_link_id, mail.targets), *had])}
        | dict(zip(_MAY_DIFFER, _told(mail), strict=True))
        for mail, had in changed
    ]
    if rows:
        connection.execute(update(mails).where(mails.c.name == bindparam("b_name")), rows)
    return len(rows)


def untold(
    connection: Connection, accepted: Sequence[tuple[str, int, str | None]]
) -> list[tuple[str, int, str | None]]:
    """Of mails that left, those that are not written down as sent, or not by the name the provider has for them."""
    left = []
    for some in chunks(accepted):
        known = select(mails.c.decision_id, mails.c.provider_id).where(
            mails.c.decision_id.in_([one[0] for one in some])
        )
        theirs = dict(map(tuple, connection.execute(known)))
        names = select(answers.c.event_id).where(answers.c.event_id.in_([f"sent:{one[0]}" for one in some]))
        told = set(connection.execute(names).scalars())
        for one in some:
            decision, _, name = one
            is_same = name is None or theirs.get(decision, name) == name
            if not (is_same and f"sent:{decision}" in told):
                left.append(one)
    return left


def insert_sent(connection: Connection, accepted: Sequence[tuple[str, int, str | None]], *, now: int) -> int:
    """An answer `sent` of each mail that is known and has none yet, and what the provider calls it; how many."""
    mark = placeholder(connection)
    # The id is one for the ledger and for providers, who tell it again.
    statement = (
        f"INSERT INTO {answers.name} (event_id, mail, kind, at, received_at, provider, agent, prefetch) "
        f"SELECT 'sent:' || decision_id, name, 'sent', {mark}, {mark}, 'ledger', '', 0 FROM {mails.name} "
        f"WHERE decision_id = {mark} ON CONFLICT DO NOTHING"
    )
    rows = [(min(at, now), now, decision) for decision, at, _ in accepted]
    count = connection.exec_driver_sql(statement, rows).rowcount
    named = [(theirs, decision) for decision, _, theirs in accepted if theirs]
    if named:
        statement = f"UPDATE {mails.name} SET provider_id = {mark} WHERE decision_id = {mark}"
        connection.exec_driver_sql(statement, named)
    return count


def _link_id(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _insert_links(connection: Connection, handed: Sequence[TrackedMail]) -> None:
    targets = {_link_id(url): url for mail in handed for url in mail.targets}
    if targets:
        connection.execute(insert_new(connection, links), [{"id": link, "url": url} for link, url in targets.items()])


def _insert_codes(connection: Connection, handed: Sequence[TrackedMail]) -> None:
    """The codes that mails give, or would have given: of two batches with one mail each may have had another."""
    rows = [
        {"pool": mail.coupon[0], "code": mail.coupon[1], "decision_id": mail.decision_id}
        for mail in handed
        if mail.coupon is not None
    ]
    if rows:
        connection.execute(insert_new(connection, coupons), rows)
