"""What a condition needs of a column: of most rows of a large table that is enough to know that it does not hold."""

from __future__ import annotations

from functools import lru_cache

import sqlglot
from sqlglot import exp

__all__ = ["texts_needed"]


@lru_cache(maxsize=1024)
def texts_needed(condition: str) -> dict[str, frozenset[str]]:
    """Columns to the texts one of which each must be, for a condition to hold; what says more is passed over.

    Args:
        condition: as `Expression` takes it.

    >>> needed = texts_needed("scenario = 'cart' and (step in ('offer', 'last')) and value > 20")
    >>> {column: sorted(needed[column]) for column in sorted(needed)}
    {'scenario': ['cart'], 'step': ['last', 'offer']}
    >>> texts_needed("scenario = 'cart' or value > 20")
    {}
    """
    found: dict[str, frozenset[str]] = {}
    left = [sqlglot.parse_one(condition, into=exp.Condition, dialect="duckdb")]
    while left:
        node = left.pop()
        if isinstance(node, exp.Paren):
            left.append(node.this)
        elif isinstance(node, exp.And):
            left += [node.this, node.expression]
        elif isinstance(node, exp.EQ | exp.In):
            one, others = node.this, node.expressions if isinstance(node, exp.In) else [node.expression]
            if isinstance(one, exp.Literal) and len(others) == 1:
                one, others = others[0], [one]
            is_text = others and all(isinstance(other, exp.Literal) and other.is_string for other in others)
            if isinstance(one, exp.Column) and is_text:
                texts = frozenset(other.name for other in others)
                found[one.name] = found.get(one.name, texts) & texts
    return found
