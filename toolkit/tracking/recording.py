"""A group of answers written in one transaction: each once, opens and clicks with a verdict."""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, or_, select, update

from toolkit.database import CHUNK, chunks, placeholder
from toolkit.tracking.incoming import Incoming, Kept
from toolkit.tracking.schema import answers, links, mails
from toolkit.tracking.tokens import TRAP
from toolkit.tracking.verdicts import FLOOD, REACH, Seen, judge, judge_together

__all__ = ["count_unknown", "known_mails", "record", "subscription"]

_JUDGED = ("opened", "clicked")
_CHOICES = ("unsubscribed", "subscribed", "paused")
_SEEN = ("id", "mail", "kind", "at", "number", "method", "agent", "network", "prefetch", "told", "verdict")
_LONGEST = 400  # characters kept of what a program calls itself


def record(connection: Connection, batch: Sequence[Incoming], *, now: int) -> list[Kept]:
    """Write answers down, in the transaction of a connection.

    Args:
        connection: in a transaction that may write.
        batch: in the order they came.
        now: microseconds since 1970.

    Returns:
        What became of each, in the same order.
    """
    found = known_mails(connection, batch)
    places = [_mail_of(one, found) for one in batch]
    rows: list[dict[str, Any]] = []
    kept: list[Kept | None] = [None] * len(batch)
    bulk = []
    for index, (one, mail) in enumerate(zip(batch, places, strict=True)):
        if one.kind in _CHOICES:
            kept[index] = _choose(connection, one, mail, now=now)
        else:
            rows.append(_row(one, mail, now=now) | {"url": _target(one, mail, found)})
            bulk.append(index)
    _add_verdicts(connection, rows)
    fresh = _insert(connection, rows)
    for index, row in zip(bulk, rows, strict=True):
        known = None if batch[index].kind == "opened" and batch[index].mail else places[index] is not None
        kept[index] = Kept(row["event_id"] in fresh, known, row["url"])
    return [one for one in kept if one is not None]


def known_mails(connection: Connection, batch: Sequence[Incoming]) -> dict[str, Any]:
    """Mails by their name, and by what a provider calls them, as far as answers need more of them than the name."""
    # An open needs nothing of its mail, and opens are most of what comes.
    names = {one.mail for one in batch if one.mail and one.kind != "opened"}
    theirs = {one.provider_mail for one in batch if one.provider_mail and not one.mail}
    found: dict[str, Any] = {}
    columns = (
        mails.c.name,
        mails.c.customer_id,
        mails.c.links,
        mails.c.provider_id,
        mails.c.message_id,
        mails.c.decision_id,
    )
    for some in chunks(sorted(names)):
        for row in connection.execute(select(*columns).where(mails.c.name.in_(some))):
            found[row.name] = row
    for some in chunks(sorted(theirs)):
        bare = [one.strip("<>") for one in some]
        wanted = or_(mails.c.provider_id.in_(some), mails.c.name.in_([one[:16] for one in bare]))
        for row in connection.execute(select(*columns).where(wanted)):
            if row.provider_id:
                found[row.provider_id] = row
            found[row.message_id] = row
    targets = {link for row in found.values() for link in json.loads(row.links)} if _clicks(batch) else set()
    for some in chunks(sorted(targets)):
        found.update(
            (f"link:{row.id}", row.url)
            for row in connection.execute(select(links.c.id, links.c.url).where(links.c.id.in_(some)))
        )
    return found


def _clicks(batch: Sequence[Incoming]) -> bool:
    return any(one.kind == "clicked" and one.number is not None for one in batch)


def _mail_of(one: Incoming, found: Mapping[str, Any]) -> Any:
    if one.mail:
        return found.get(one.mail)
    theirs = one.provider_mail or ""
    return found.get(theirs) or found.get(theirs.strip("<>"))


def _target(one: Incoming, mail: Any, found: Mapping[str, Any]) -> str | None:
    if one.url is not None or one.number is None or one.number == TRAP or mail is None:
        return one.url
    numbers = json.loads(mail.links)
    return found.get(f"link:{numbers[one.number]}") if one.number < len(numbers) else None


def _row(one: Incoming, mail: Any, *, now: int) -> dict[str, Any]:
    at = min(one.at, now)
    name = one.event_id or f"{one.kind[0]}{secrets.token_hex(12)}"
    if one.kind == "sent" and mail is not None:
        name = f"sent:{mail.decision_id}"  # the ledger tells it, and providers tell it again
    return {
        "event_id": name,
        "mail": mail.name if mail is not None else one.mail,
        "kind": one.kind,
        "at": at,
        # A verdict is final when others of the same mail can change it no more; nobody learns of it before.
        "received_at": now + REACH if one.kind in _JUDGED else now,
        "provider": one.provider,
        "number": one.number,
        "url": one.url,
        "method": one.method,
        "agent": one.agent[:_LONGEST],
        "network": one.network,
        "prefetch": int(one.prefetch),
        "told": one.told,
        "verdict": None,
        "rule": None,
        "bounce_type": one.bounce_type,
        "domain": one.domain,
        "provider_mail": one.provider_mail,
        "detail": _json(one.detail),
        "properties": _json(one.properties),
    }


def _json(values: Mapping[str, Any] | None) -> str | None:
    return json.dumps(values, ensure_ascii=False, sort_keys=True, default=str) if values else None


def _insert(connection: Connection, rows: Sequence[dict[str, Any]]) -> set[str]:
    """Insert rows; the event ids that were new."""
    if not rows:
        return set()
    wanted = [row["event_id"] for row in rows]
    before: set[str] = set()
    # Ids made here are new by themselves; only those of providers can have come before.
    for some in chunks([row["event_id"] for row in rows if row["provider"] != "tracker"]):
        before.update(connection.execute(select(answers.c.event_id).where(answers.c.event_id.in_(some))).scalars())
    # Straight to the driver: building each row's parameters anew would cost more than writing it.
    names = list(rows[0])
    mark = placeholder(connection)
    statement = (
        f"INSERT INTO {answers.name} ({', '.join(names)}) VALUES ({', '.join([mark] * len(names))}) "
        "ON CONFLICT DO NOTHING"
    )
    connection.exec_driver_sql(statement, [tuple(row[name] for name in names) for row in rows])
    return set(wanted) - before


# Verdicts .............................................................................................................


def _add_verdicts(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Give opens and clicks their verdict, and those before them another where they turn out to be a machine's."""
    fresh: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["kind"] not in _JUDGED:
            continue
        if row["mail"] is None:
            row["verdict"], row["rule"] = judge(_seen(row))
        else:
            fresh[row["mail"]].append(row)
    clicked = {mail: mine for mail, mine in fresh.items() if any(row["kind"] == "clicked" for row in mine)}
    opened = {mail: mine for mail, mine in fresh.items() if mail not in clicked}
    # An open says nothing about other answers; of those beside it only clicks say something about it.
    earlier = _beside(connection, clicked, _JUDGED) | _beside(connection, opened, ("clicked",))
    changed = []
    for mail, mine in fresh.items():
        others = earlier.get(mail, [])
        verdicts = judge_together([_seen(row) for row in (*others, *mine)])
        for row, (verdict, rule) in zip((*others, *mine), verdicts, strict=True):
            if "id" not in row:
                row["verdict"], row["rule"] = verdict, rule
            elif mail in clicked and verdict == "machine" != row["verdict"]:
                # Never the other way round: what gave a machine away may be too long ago to be among the others.
                changed.append({"this": row["id"], "verdict": verdict, "rule": rule})
    if changed:
        connection.execute(update(answers).where(answers.c.id == bindparam("this")), changed)


def _beside(
    connection: Connection, fresh: Mapping[str, Sequence[dict[str, Any]]], kinds: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Answers of the same mails so near the new ones that one may change the verdict on the other."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for some in chunks(sorted(fresh)):
        moments = [row["at"] for mail in some for row in fresh[mail]]
        query = select(*(answers.c[name] for name in _SEEN)).where(
            answers.c.mail.in_(some),
            answers.c.at.between(min(moments) - REACH, max(moments) + REACH),
            answers.c.kind.in_(kinds),
        )
        for row in connection.execute(query.order_by(answers.c.id.desc()).limit(CHUNK * (FLOOD + 1))):
            mine = found[row.mail]
            near = any(abs(row.at - one["at"]) <= REACH for one in fresh[row.mail])
            if near and len(mine) <= FLOOD:
                mine.append(dict(row._mapping))
    return found


def _seen(row: Mapping[str, Any]) -> Seen:
    return Seen(
        row["kind"],
        row["at"],
        number=row["number"] or 0,
        method=row["method"] or "GET",
        agent=row["agent"] or "",
        network=row["network"] or "",
        prefetch=bool(row["prefetch"]),
        told=row["told"] or "",
    )


# Choices of people ....................................................................................................


def subscription(connection: Connection, mail: str, *, now: int) -> tuple[str, int | None]:
    """Whether a mail's customer is `subscribed`, `unsubscribed` or `paused`, and until when."""
    mine = _mails_of_customer(mail)
    query = select(answers.c.kind, answers.c.received_at).where(answers.c.mail.in_(mine))
    chosen = answers.c.kind.in_(("unsubscribed", "subscribed"))
    last = connection.execute(
        query.where(chosen, answers.c.received_at <= now)
        .order_by(answers.c.received_at.desc(), answers.c.id.desc())
        .limit(1)
    ).first()
    if last is None or last.kind == "subscribed":
        return "subscribed", None
    ahead = connection.execute(query.where(answers.c.kind == "subscribed", answers.c.received_at > now)).first()
    return ("unsubscribed", None) if ahead is None else ("paused", ahead.received_at)


def _mails_of_customer(mail: str) -> Any:
    customer = select(mails.c.customer_id).where(mails.c.name == mail).scalar_subquery()
    # The mail's own name, too: an answer may come before its mail is known here.
    return select(mails.c.name).where(mails.c.customer_id == customer).union(select(bindparam("own", mail)))


def _choose(connection: Connection, one: Incoming, mail: Any, *, now: int) -> Kept:
    """A choice is written down when it changes something."""
    name = mail.name if mail is not None else one.mail
    known = mail is not None
    if name is None:
        row = _row(one, None, now=now) | {"kind": "unsubscribed" if one.kind == "paused" else one.kind}
        return Kept(bool(_insert(connection, [row])), False)
    if one.event_id and connection.execute(select(answers.c.id).where(answers.c.event_id == one.event_id)).first():
        return Kept(False, known)
    state, _ = subscription(connection, name, now=now)
    wanted = "unsubscribed" if one.kind == "paused" else one.kind
    changes = state != wanted if one.kind != "paused" else state == "subscribed"
    if not changes:
        return Kept(False, known)
    ahead = answers.c.mail.in_(_mails_of_customer(name)) & (answers.c.received_at > now)
    connection.execute(delete(answers).where(ahead, answers.c.kind == "subscribed"))
    row = _row(one, mail, now=now) | {"mail": name, "kind": wanted, "at": min(one.at, now)}
    # Who pauses and then leaves for good is away already: the end of the pause, taken back above, is all that changes.
    rows = [] if state == "paused" and wanted == "unsubscribed" else [row]
    if one.kind == "paused" and one.until is not None:
        back = {"kind": "subscribed", "at": one.until, "received_at": one.until, "rule": "pause"}
        rows = [row | {"rule": "pause"}, row | {"event_id": f"s{secrets.token_hex(12)}"} | back]
    _insert(connection, rows)
    return Kept(True, known)


def count_unknown(connection: Connection) -> int:
    """Answers to mails that are not known here."""
    known = select(mails.c.name).where(mails.c.name == answers.c.mail).exists()
    return connection.execute(select(func.count()).select_from(answers).where(~known)).scalar_one()
