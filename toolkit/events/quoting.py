"""Names and values written into SQL, safely."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["literal", "name", "of_scenarios", "paths"]


def name(text: str) -> str:
    """A column or table name as a quoted SQL identifier.

    >>> name('at')
    '"at"'
    """
    return '"' + text.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal.

    >>> literal("d'Artagnan")
    "'d''Artagnan'"
    """
    return "'" + text.replace("'", "''") + "'"


def paths(files: Iterable[str]) -> str:
    """File paths as an SQL list.

    >>> paths(["a.csv", "b.csv"])
    "['a.csv', 'b.csv']"
    """
    return "[" + ", ".join(literal(file) for file in files) + "]"


def of_scenarios(names: Iterable[str]) -> str:
    """That an event is of a mail of some scenarios, as SQL; a column of scenarios that is empty may be of any kind.

    >>> of_scenarios(["cart", "welcome"])
    "(CAST(scenario AS VARCHAR) IN ('cart', 'welcome'))"
    """
    return f"(CAST(scenario AS VARCHAR) IN ({', '.join(literal(text) for text in names)}))"
