"""How fast mails may go: rate limits, a warm-up, the canary, and domains that asked for a rest.

All of it is kept in the ledger, so that every sender that shares the ledger shares the limits.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pandas as pd
from sqlalchemy import Connection, RowMapping, and_, bindparam, delete, func, insert, or_, select, update

from toolkit.errors import InputError, shown
from toolkit.sending.clock import DAY, Clock, from_micros, micros
from toolkit.sending.ledger import audit
from toolkit.sending.ledger.schema import IS_QUIET, deliveries, domains, rates, runs
from toolkit.sending.ledger.statements import found
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import State
from toolkit.sending.transports import named

__all__ = ["IN_QUIET_HOURS", "Rates", "canary_allows", "may_go", "next_moment", "not_used", "resting", "seen"]

IN_QUIET_HOURS = "it is in the quiet hours of those that are left"
"""What a run waits for whose mails quiet hours hold."""

_SECOND = 1_000_000
_REST = (5, 15, 60, 240)  # minutes a domain is left alone, longer each time
_ENOUGH = 3  # refusals for now in a row before a domain is left alone
_FULL_MAILBOX = re.compile(r"\b4\.2\.[0-9]+\b")


_ANY_DOMAIN = select(domains.c.name).limit(1)
_RATE = select(rates).where(rates.c.transport == bindparam("b_transport"))
_RATE_LOCKED = _RATE.with_for_update()
_RESTING = select(domains.c.name).where(domains.c.until > bindparam("b_now"))


class Rates:
    """The speed limits of a ledger; `ledger.rates`."""

    def __init__(
        self,
        writing: Callable[[], AbstractContextManager[Connection]],
        reading: Callable[[], AbstractContextManager[Connection]],
        clock: Clock,
    ) -> None:
        self._writing = writing
        self._reading = reading
        self._clock = clock

    def __repr__(self) -> str:
        return f"Rates({len(self.table)})"

    def limit(
        self,
        transport: str,
        *,
        by: str,
        per_second: float | None = None,
        per_day: int | None = None,
        warm_up: Sequence[int] = (),
    ) -> None:
        """Set how fast mails may go through a way out, for every sender that uses this ledger. None lifts a limit.

        Args:
            transport: a way out as it is given to `send`, or its name in the ledger, for example
                `smtp:mail.example.org:587`; a mail server without a port is meant with the usual one.
            by: who does it; written to the audit.
            per_second: mails a second, above 0.
            per_day: mails a day (of UTC), at least 1.
            warm_up: mails on the first day, the second, …, for an address the world does not know yet; days are counted
                from the first mail. After the last of them `per_day` holds.

        Raises:
            InputError: not a way out, or a limit that is not above zero.
        """
        transport = named(transport)
        if per_second is not None and not _is_number(per_second):
            raise InputError(f"limit: per_second: expected a number above 0; found {shown(per_second)}")
        for name, given in (("per_day", [] if per_day is None else [per_day]), ("warm_up", warm_up)):
            counts = list(given) if isinstance(given, list | tuple) else [given]
            if any(isinstance(count, bool) or not isinstance(count, int) or count < 1 for count in counts):
                raise InputError(f"limit: {name}: expected whole numbers from 1; found {shown(counts)}")
        now = micros(self._clock())
        caps = json.dumps([*warm_up, per_day])
        values = {"per_second": per_second, "per_day": caps, "tokens": 1.0, "at": now}
        with self._writing() as connection:
            changed = connection.execute(update(rates).where(rates.c.transport == transport).values(**values)).rowcount
            if not changed:
                connection.execute(insert(rates), {"transport": transport, "day": 0, "used": 0, **values})
            detail = {"per_second": per_second, "per_day": per_day, "warm_up": list(warm_up)}
            audit.append(connection, at=now, actor=by, action="limited", subject=transport, detail=detail)

    @property
    def table(self) -> pd.DataFrame:
        """One row per way out with a limit: transport, per_second, per_day (today's, None without one), used_today,
        first_day (when the warm-up began)."""
        now = micros(self._clock())
        with self._reading() as connection:
            found = connection.execute(select(rates).order_by(rates.c.transport)).mappings().all()
        rows = [
            {
                "transport": row["transport"],
                "per_second": row["per_second"],
                "per_day": _cap(row, now),
                "used_today": row["used"] if row["day"] == now // DAY else 0,
                "first_day": None if row["first_day"] is None else from_micros(row["first_day"] * DAY),
            }
            for row in found
        ]
        return pd.DataFrame(rows, columns=["transport", "per_second", "per_day", "used_today", "first_day"])

    @property
    def resting(self) -> pd.DataFrame:
        """One row per domain that is left alone for now: domain, until, failures, reason."""
        now = micros(self._clock())
        with self._reading() as connection:
            found = connection.execute(select(domains).where(domains.c.until > now).order_by(domains.c.name))
            rows = [(row.name, from_micros(row.until), row.failures, row.reason) for row in found]
        return pd.DataFrame(rows, columns=["domain", "until", "failures", "reason"])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def may_go(connection: Connection, transport: str, wanted: int, *, now: int) -> int:
    """How many mails, at most `wanted`, the limits of a way out allow now; they are counted as used."""
    row = _rate(connection, transport, lock=True)
    if row is None:
        return wanted
    tokens, allowed = float(row["tokens"]), wanted
    if row["per_second"] is not None:
        most = max(1.0, row["per_second"])  # what a quiet moment may save up: one second's worth
        tokens = min(most, tokens + max(0, now - row["at"]) / _SECOND * row["per_second"])
        allowed = min(allowed, int(tokens))
    day = now // DAY
    used = row["used"] if row["day"] == day else 0
    cap = _cap(row, now)
    if cap is not None:
        allowed = min(allowed, max(0, cap - used))
    first = row["first_day"] if row["first_day"] is not None or not allowed else day
    values = {"tokens": tokens - allowed, "at": now, "day": day, "used": used + allowed, "first_day": first}
    connection.execute(update(rates).where(rates.c.transport == transport).values(**values))
    return allowed


def not_used(connection: Connection, transport: str, count: int) -> None:
    """Give back what was allowed and not needed."""
    if count:
        values = {"tokens": rates.c.tokens + count, "used": rates.c.used - count}
        connection.execute(update(rates).where(rates.c.transport == transport).values(**values))


def canary_allows(connection: Connection, run: Mapping[str, Any], wanted: int, *, now: int) -> int:
    """How many mails of a run its canary allows now; the canary that went well is over, a bad one pauses the run."""
    if run["canary"] is None:
        return wanted
    mine = runs.c.id == run["id"]
    begun: int = connection.execute(
        select(func.count()).where(
            deliveries.c.run_id == run["id"],
            ~IS_QUIET,
            deliveries.c.state.in_(
                (State.LEASED, State.SENDING, State.ACCEPTED, State.FAILED, State.UNKNOWN, State.DEFERRED)
            ),
        )
    ).scalar_one()
    if begun < run["canary"]:
        most: int = run["canary"]
        return min(wanted, most - begun)
    if run["canary_until"] is None:
        under_way = connection.execute(
            select(func.count()).where(
                deliveries.c.run_id == run["id"], deliveries.c.state.in_((State.LEASED, State.SENDING))
            )
        ).scalar_one()
        if not under_way:
            connection.execute(update(runs).where(mine).values(canary_until=now + run["canary_wait"]))
        return 0
    if now < run["canary_until"]:
        return 0
    bad = {name: run[name] for name in ("failures", "doubts", "bounces", "complaints") if run[name]}
    values: dict[str, Any] = {"canary": None, "canary_until": None}
    words = {"failures": "failed", "doubts": "unknown", "bounces": "bounced", "complaints": "complained"}
    if bad:
        values["state"] = "paused"
    connection.execute(update(runs).where(mine).values(**values))
    said = ", ".join(f"{count} {words[name]}" for name, count in bad.items())
    actor = f"canary: of the first {run['canary']}, {said}" if bad else f"canary of {run['canary']}"
    action = "paused" if bad else "canary passed"
    audit.append(connection, at=now, actor=actor, action=action, subject=run["id"], detail=bad)
    return 0 if bad else wanted


def resting(connection: Connection, *, now: int) -> list[str]:
    """Domains that are left alone for now."""
    return list(connection.execute(_RESTING, {"b_now": now}).scalars())


def seen(connection: Connection, results: Sequence[tuple[str, Receipt]], *, now: int) -> None:
    """Take note of how domains answered: after several refusals for now in a row one is left alone for a while."""
    good = {domain for domain, receipt in results if receipt.state is State.ACCEPTED}
    bad = Counter(
        domain
        for domain, receipt in results
        if receipt.state is State.DEFERRED
        and receipt.code is not None
        # Neither says anything of the domain: a greylisting comes for each recipient anew.
        and not (receipt.is_greylisted or _FULL_MAILBOX.search(receipt.reason or ""))
        and domain not in good
    )
    if not good and not bad:
        return
    if not bad and not found(connection, _ANY_DOMAIN, {}):
        return
    known = {row.name: row for row in connection.execute(select(domains).where(domains.c.name.in_(good | set(bad))))}
    better = [name for name in good if name in known]
    if better:
        connection.execute(delete(domains).where(domains.c.name.in_(better)))
    reasons = {domain: receipt.reason for domain, receipt in results if receipt.state is State.DEFERRED}
    for name, count in bad.items():
        before = known[name].failures if name in known else 0
        if name in known and known[name].until is not None and known[name].until > now:
            continue  # it was under way when the rest began, and says no more than what began it
        # What several connections hear at once is one step: a minute of a full disk is not hours of it.
        failures = min(before + count, (before // _ENOUGH + 1) * _ENOUGH)
        until = None if failures < _ENOUGH else now + _rest(name, failures)
        values = {"failures": failures, "until": until, "reason": reasons[name]}
        if name in known:
            connection.execute(update(domains).where(domains.c.name == name).values(**values))
        else:
            connection.execute(insert(domains), {"name": name, **values})


def next_moment(connection: Connection, run: RowMapping, *, now: int, patient: bool) -> tuple[int | None, str]:
    """When more of an active run may go, in microseconds since 1970, and what it waits for; None when nothing is left.

    Mails postponed by the other side are not waited for, and domains that asked for a rest and the end of quiet hours
    only by the patient.
    """
    mine = deliveries.c.run_id == run["id"]
    going = or_(deliveries.c.state == State.PLANNED, and_(IS_QUIET, deliveries.c.next_at <= now))
    planned = select(func.count()).where(mine, going)
    due = or_(deliveries.c.next_at.is_(None), deliveries.c.next_at <= now)
    if not connection.execute(planned).scalar_one():
        return _quiet_until(connection, run["id"]) if patient else (None, "")
    if run["canary_until"] is not None and now < run["canary_until"]:
        return run["canary_until"], f"canary: the first {run['canary']} are out, waiting for bounces"
    row = _rate(connection, run["transport"])
    if row is not None:
        cap = _cap(row, now)
        if cap is not None and row["day"] == now // DAY and row["used"] >= cap:
            return (now // DAY + 1) * DAY, f"the limit of {cap:,} mails a day is reached"
        if row["per_second"] is not None:
            tokens = row["tokens"] + max(0, now - row["at"]) / _SECOND * row["per_second"]
            if tokens < 1:
                wait = int((1 - tokens) / row["per_second"] * _SECOND) + 1
                return now + wait, f"at most {row['per_second']:g} mails a second"
    blocked = resting(connection, now=now)
    free = mine, going
    if connection.execute(
        select(deliveries.c.id).where(*free, due, deliveries.c.domain.not_in(blocked)).limit(1)
    ).first():
        return now, ""
    later = connection.execute(select(func.min(deliveries.c.next_at)).where(*free, deliveries.c.next_at > now)).scalar()
    if later is not None:
        return later, "mails in doubt go again"
    until = connection.execute(select(func.min(domains.c.until)).where(domains.c.until > now)).scalar()
    if until is None:
        return now, ""
    if not patient:
        return None, ""
    morning, why = _quiet_until(connection, run["id"])
    if morning is not None and morning < until:
        return morning, why
    return until, f"{len(blocked)} domains asked for a rest"


def _quiet_until(connection: Connection, run_id: str) -> tuple[int | None, str]:
    """When the first mail that quiet hours hold may go, and what it waits for; None where they hold none."""
    query = select(func.min(deliveries.c.next_at)).where(deliveries.c.run_id == run_id, IS_QUIET)
    first = connection.execute(query).scalar()
    return (None, "") if first is None else (first, IN_QUIET_HOURS)


def _rest(domain: str, failures: int) -> int:
    minutes = _REST[min(failures // _ENOUGH, len(_REST)) - 1]
    jitter = int(hashlib.sha256(f"{domain}:{failures}".encode()).hexdigest()[:6], 16) / 16**6 / 4
    return int(minutes * 60 * _SECOND * (1 + jitter))


def _rate(connection: Connection, transport: str, *, lock: bool = False) -> RowMapping | None:
    query = _RATE_LOCKED if lock else _RATE
    return connection.execute(query, {"b_transport": transport}).mappings().one_or_none()


def _cap(row: RowMapping, now: int) -> int | None:
    """Mails allowed on this day: of the warm-up while it lasts, then the lasting limit."""
    caps: list[int | None] = json.loads(row["per_day"])
    day = now // DAY
    gone = day - (row["first_day"] if row["first_day"] is not None else day)
    return caps[min(gone, len(caps) - 1)]
