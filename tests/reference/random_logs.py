"""Random logs of a few days: few events, a coarse clock, many ties, some late, some twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from tests.reference.random_programs import ZONES

STARTS = (
    datetime(2024, 3, 30, tzinfo=UTC),  # Europe springs forward on the 31st
    datetime(2024, 10, 26, tzinfo=UTC),  # and falls back on the 27th
    datetime(2024, 4, 6, tzinfo=UTC),  # Lord Howe falls back by half an hour on the 7th
    datetime(2024, 11, 2, tzinfo=UTC),  # New York falls back on the 3rd
    datetime(2023, 2, 26, tzinfo=UTC),  # the 28th of February
    datetime(2024, 2, 27, tzinfo=UTC),  # the 29th
)
BIRTHDAYS = ("1990-02-28", "1992-02-29", "2000-03-31", "1999-10-27", "1980-11-04", "2024-02-28", "2024-10-28")
HALF_HOUR = timedelta(minutes=30)


def event_rows(chance: Random, has: frozenset[str], start: datetime) -> list[dict[str, Any]]:
    """What a few customers did, on a clock of half hours, over six days."""
    names = ["a"] * 8 + ["b"] * 4 + ["c"] * 3
    names += ["email_unsubscribed", "email_subscribed"] if "unsubscribes" in has and chance.random() < 0.5 else []
    names += ["customer_updated"] * 2 if "updates" in has and chance.random() < 0.5 else []
    names += ["email_sent"] if "logged_sends" in has else []
    names += ["other"] if "strangers" in has else []
    rare = ["email_complained"] if "unsubscribes" in has else []
    rare += ["email_bounced"] if "bounces" in has else []
    delays = [0] * 9 + [1, 5, 48, 160, 432] if "late" in has and chance.random() < 0.5 else [0]
    customers = ["ana", "bo", "cy", "di", "ed", "flo"][: chance.randint(1, 6)]
    is_coarse = chance.random() < 0.5
    count = chance.randint(1, 8 * len(customers))
    ids = list(range(count))
    chance.shuffle(ids)
    rows: list[dict[str, Any]] = []
    for place in range(count):
        name = chance.choice(rare) if rare and chance.random() < 0.02 else chance.choice(names)
        at = start + timedelta(days=chance.randint(0, 5))
        at += HALF_HOUR * (chance.choice([0, 16, 18, 19, 44]) if is_coarse else chance.randint(0, 47))
        if rows and chance.random() < 0.15:
            at = rows[-1]["at"]
        row: dict[str, Any] = {
            "customer_id": chance.choice(customers),
            "event": name,
            "at": at,
            "received_at": at + HALF_HOUR * chance.choice(delays),
            "event_id": f"e{ids[place]:02}",
            "value": float(chance.randint(0, 3)),
            "k": chance.choice(["x", "x", "y", None]),
        }
        if name == "email_bounced":
            row["bounce_type"] = chance.choice(["hard", "hard", "soft"])
        if name == "customer_updated":
            row |= update(chance, has)
        if name == "email_sent" and "late_sends" not in has:
            row["received_at"] = at
        if name == "email_sent" and "logged_scenarios" in has and chance.random() < 0.7:
            row["scenario"] = chance.choice(["s1", "s2"])
        rows.append(row)
    if "duplicates" in has and chance.random() < 0.2:
        again = dict(chance.choice(rows))
        again["value"] = chance.choice([again["value"], 2.0])
        rows.append(again)
    return rows


def update(chance: Random, has: frozenset[str]) -> dict[str, Any]:
    """What changes about a customer."""
    values = {
        "country": chance.choice(["FR", "BE"]),
        "email": "another@example.com",
        "timezone": chance.choice(ZONES),
        "consent": chance.random() < 0.5,
        "birthday": datetime.fromisoformat(chance.choice(BIRTHDAYS)),
    }
    kinds = ["country", *(name for name in ("email", "timezone", "consent", "birthday") if f"{name}_updates" in has)]
    return {name: values[name] for name in chance.sample(kinds, chance.randint(1, len(kinds)))}


def customer_rows(chance: Random, has: frozenset[str]) -> list[dict[str, Any]]:
    """Who they are; some are in no table, and some do nothing."""
    names = ["ana", "bo", "cy", "di", "ed", "flo", "zoe"]
    rows = [
        {
            "customer_id": name,
            "email": chance.choice(["someone@example.com"] * 9 + [None]),
            "timezone": chance.choice(ZONES) if "zones" in has else None,
            "country": chance.choice(["FR", "FR", "BE", None]),
            "birthday": chance.choice([None, *BIRTHDAYS]),
            "consent": chance.choice([True] * 8 + [False, None]),
        }
        for name in chance.sample(names, chance.choice([1, 5, 6, 7, 7]))
    ]
    left_out = {name for name in ("consent", "email") if chance.random() < 0.4}
    return [{name: value for name, value in row.items() if name not in left_out} for row in rows]
