"""Where a scenario or policies stand in a file, known for as long as they are as they were read."""

from __future__ import annotations

import weakref

from toolkit.scenario.base import Model
from toolkit.scenario.document import Node, Place

__all__ = ["remember", "stands_at"]

# By the object and not by what it says: two files may say the same, and a changed copy stands in none.
_READ: dict[int, tuple[Node, str | None]] = {}


def remember(model: Model, node: Node, file: str | None) -> None:
    """Keep where a model was read, until it is gone."""
    key = id(model)
    _READ[key] = node, file
    weakref.finalize(model, _READ.pop, key, None)


def stands_at(model: Model, place: Place = ()) -> tuple[str | None, int | None]:
    """The file and the line of a place in a model; None of what was not read, or of a text without a name.

    >>> from toolkit.scenario import loads
    >>> text = "scenario: cart\\ntrigger: {event: cart_add}\\nreentry: once\\nsteps: [{send: cart/reminder}]"
    >>> cart = loads(text, file="cart.yaml")["cart"]
    >>> stands_at(cart, ("trigger", "event")), stands_at(cart.replace(priority=3))
    (('cart.yaml', 2), (None, None))
    """
    if id(model) not in _READ:
        return None, None
    node, file = _READ[id(model)]
    return file, node.at(place)[0].line
