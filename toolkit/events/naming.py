"""Which column is which: the mapping from our names to theirs, and what to call the rest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from toolkit.errors import EventLogError, did_you_mean, nearest, shown

__all__ = [
    "BASE",
    "TAKEN",
    "Naming",
    "check_distinct",
    "check_free",
    "free_name",
    "index_names",
    "is_index",
    "is_unicode",
    "name_columns",
    "of_each_table",
    "suggestion",
]

BASE = ("customer_id", "event", "at", "received_at", "event_id")
_REQUIRED = BASE[:3]
_OF_ONE_KIND = ", or, where all lines are of one kind, add it with the name of that, such as 'cart_add'"
# What other systems call these columns; used only to suggest, never to guess.
_OFTEN = {
    "customer_id": (
        "user_id", "visitorid", "visitor_id", "customerid", "customer id", "customer", "userid", "user", "client_id",
        "customer_unique_id", "distinct_id", "anonymous_id", "contact_id", "profile_id", "uid",
    ),
    "event": ("event_name", "event_type", "eventname", "type", "action", "name", "activity", "event name"),
    "at": (
        "timestamp", "time", "ts", "date", "datetime", "event_time", "event_timestamp", "created_at", "occurred_at",
        "happened_at", "event_date", "invoicedate",
    ),
}  # fmt: skip
TAKEN = frozenset((*BASE, "row", "properties", "file_row_number", "toolkit_customer"))
"""Names that mean something in a log or in the file of a stored one."""
_INDEX = re.compile(r"__index_level_\d+__")
OF_CUSTOMERS = "customers."
"""What a name of ours begins with in a mapping, where it is a column of the customers table."""


@dataclass(frozen=True, slots=True)
class Naming:
    """Our names for a source's columns.

    Attributes:
        base: base column to the source's column, for those present.
        properties: property to the source's column.
        document: the source's column that holds JSON properties, or None.
        notes: what was renamed.
    """

    base: Mapping[str, str]
    properties: Mapping[str, str]
    document: str | None
    notes: tuple[str, ...]


def index_names(mapping: object) -> frozenset[str]:
    """Names under which the index of a frame is a column of the log: ours, and those that a mapping names."""
    theirs = mapping.values() if isinstance(mapping, Mapping) else ()
    return frozenset((*BASE, *(name for name in theirs if isinstance(name, str))))


def of_each_table(mapping: Mapping[str, str] | None) -> tuple[Mapping[str, str] | None, dict[str, str]]:
    """A mapping parted into that of the events and that of the customers table.

    >>> of_each_table({"at": "timestamp", "customers.email": "mail"})
    ({'at': 'timestamp'}, {'email': 'mail'})
    """
    if mapping is None:
        return None, {}
    events, people = dict[str, str](), dict[str, str]()
    for ours, theirs in _checked(mapping).items():
        is_theirs = ours.startswith(OF_CUSTOMERS) and ours != OF_CUSTOMERS
        (people if is_theirs else events)[ours.removeprefix(OF_CUSTOMERS) if is_theirs else ours] = theirs
    return events, people


def name_columns(found: Mapping[str, str], mapping: Mapping[str, str] | None, label: str) -> Naming:
    """Our names for the columns found.

    Args:
        found: the source's columns.
        mapping: our name to their name, for example {"at": "timestamp"}; may rename properties too.
        label: what to call the source in a message.

    Raises:
        EventLogError: a column is missing; all of them at once, with the columns found and the nearest. Or the mapping
            is none.
    """
    mapping = _checked(mapping)
    faults = []
    for ours, theirs in mapping.items():
        if theirs not in found:
            faults.append(
                f"columns={{{shown(ours)}: {shown(theirs)}}}: there is no column {shown(theirs)}"
                + did_you_mean(str(theirs), found)
            )
    claimed = set(mapping.values())
    base = {column: mapping[column] for column in BASE if column in mapping}
    for column in BASE:
        if column not in base and column in found and column not in claimed:
            base[column] = column
    for column in _REQUIRED:
        if column not in base:
            near = suggestion(column, [other for other in found if other not in claimed])
            away = "".join(
                f": columns={{{shown(ours)}: {theirs!r}}} gave it to {shown(ours)}; leave that out, or"
                for ours, theirs in mapping.items()
                if theirs == column
            )
            faults.append(
                f"column {column!r} is missing{away or ';'} "
                + (f"did you mean columns={{{column!r}: {near!r}}}?" if near else "name yours with columns={...}")
                + (_OF_ONE_KIND if column == "event" and not near and not away else "")
            )
    twice = sorted({theirs for theirs in claimed if list(mapping.values()).count(theirs) > 1})
    if twice:
        faults.append(f"columns= uses {', '.join(map(repr, twice))} for two names")
    if faults:
        raise EventLogError(f"{label}: " + "; ".join(faults) + "; columns found: " + (", ".join(found) or "none"))
    return _name_rest(found, mapping, base)


def _checked(mapping: Mapping[str, str] | None) -> dict[str, str]:
    if mapping is None:
        return {}
    if not isinstance(mapping, Mapping) or not all(isinstance(one, str) for pair in mapping.items() for one in pair):
        allowed = "our names to yours as texts, for example columns={'at': 'timestamp'}"
        raise EventLogError(f"columns={shown(mapping)}; allowed: {allowed}")
    for ours in mapping:
        if not ours.strip() or not is_unicode(ours):
            raise EventLogError(
                f"columns={shown(mapping)}: {ours!r} is no name for a column; allowed: any text in UTF-8"
            )
    return dict(mapping)


def _name_rest(found: Mapping[str, str], mapping: Mapping[str, str], base: dict[str, str]) -> Naming:
    ours_of = {theirs: ours for ours, theirs in mapping.items()}
    document = mapping.get("properties")
    if document is None and "properties" in found and "properties" not in ours_of:
        document = "properties"
    taken = set(TAKEN)
    properties: dict[str, str] = {}
    notes = []
    for theirs in found:
        if theirs in base.values() or theirs == document:
            continue
        if is_index(theirs) and theirs not in ours_of:
            notes.append(f"column {theirs!r} left out: it is the index of a frame, which pandas wrote beside it")
            continue
        wanted = ours_of.get(theirs, theirs)
        given = free_name(wanted, taken)
        if given != wanted:
            notes.append(f"column {wanted!r} is called {given!r} here, because {wanted!r} has a meaning of its own")
        properties[given] = theirs
    return Naming(base, properties, document, tuple(notes))


def is_index(column: str) -> bool:
    """Whether pandas calls an index without a name so where it writes Arrow or Parquet: row numbers, mostly."""
    return _INDEX.fullmatch(column) is not None


def check_distinct(names: Sequence[str], label: str) -> None:
    """Nothing where every column has a name of its own, also in SQL, which does not tell `p` from `P`.

    Args:
        names: of the source's columns.
        label: what to call the source in a message.

    Raises:
        EventLogError: two columns have one name; all of them.

    >>> check_distinct(["at", "p", "P"], "events")
    Traceback (most recent call last):
        ...
    toolkit.errors.EventLogError: events: more than one column is called 'P', 'p' (upper and lower case are one name)
    """
    folded = Counter(name.casefold() for name in names)
    twice = sorted({name for name in names if folded[name.casefold()] > 1})
    if twice:
        case = " (upper and lower case are one name)" if len({*map(str.casefold, twice)}) < len(twice) else ""
        raise EventLogError(f"{label}: more than one column is called {', '.join(map(repr, twice))}{case}")


def check_free(names: Iterable[str], label: str, *needed: str) -> None:
    """Nothing where no column has a name that reading needs for itself.

    Raises:
        EventLogError: names the columns.

    >>> check_free(["at", "file_row_number"], "events", "file_row_number")
    Traceback (most recent call last):
        ...
    toolkit.errors.EventLogError: events: column 'file_row_number' has a name that is needed for reading; rename it
    """
    taken = [column for column in names if column.casefold() in needed]
    if taken:
        which = "column {} has a name" if len(taken) == 1 else "columns {} have names"
        said = which.format(", ".join(map(repr, taken)))
        it = "it" if len(taken) == 1 else "them"
        raise EventLogError(f"{label}: {said} that is needed for reading; rename {it}")


def free_name(wanted: str, taken: set[str]) -> str:
    """The name itself, or with the suffix `_property` where it is taken; adds it to those taken.

    Names that differ only in case count as the same, as they do in SQL.

    >>> free_name("Event", {"event"})
    'Event_property'
    """
    given = wanted
    number = 1
    while given.casefold() in taken:
        given = f"{wanted}_property" if number == 1 else f"{wanted}_property_{number}"
        number += 1
    taken.add(given.casefold())
    return given


def suggestion(column: str, candidates: list[str]) -> str | None:
    """Which of a source's columns may be meant: by what other systems call it, else the nearest."""
    by_fold = {candidate.casefold(): candidate for candidate in candidates}
    for often in _OFTEN.get(column, ()):
        if often in by_fold:
            return by_fold[often]
    return nearest(column, candidates)


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8; half of a surrogate pair cannot.

    >>> is_unicode("é"), is_unicode(chr(0xD800))
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
