"""Places in a scenario or in policies, by the words people use: `steps.pause.wait`, `caps[0].limit`."""

from __future__ import annotations

from typing import Any

from toolkit.scenario.base import Model
from toolkit.scenario.document import Place

__all__ = ["field_of", "path_of"]


def field_of(model: Model, key: str) -> str | None:
    """The field of a model that has a key in a file: `from_` for `from`; None where there is none."""
    for name, field in type(model).model_fields.items():
        if key in (field.alias or name, name):
            return name
    return None


def path_of(root: Model, place: Place, *, ids: bool = True) -> str:
    """The path of a place, steps by their id.

    Args:
        root: a scenario or policies.
        place: keys and indices from there.
        ids: whether steps are called by id, rather than by number.

    Returns:
        For example `steps.pause.wait`.
    """
    text = ""
    value: Any = root
    for part in place:
        if isinstance(value, Model) and isinstance(part, str):
            name = field_of(value, part)
            value = getattr(value, name) if name else None
            text += f".{part}"
        elif isinstance(value, tuple) and isinstance(part, int) and part < len(value):
            value = value[part]
            own = getattr(value, "id", None) if ids else None
            text += f".{own}" if own else f"[{part}]"
        else:
            value = value.get(part) if isinstance(value, dict) else None
            text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")
