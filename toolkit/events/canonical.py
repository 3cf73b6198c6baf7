"""One canonical form of an event: for its hash where it has no id, and to tell what counts once (rule R24)."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.events.quoting import literal, name

__all__ = ["event_id", "payload"]


def payload(properties: Mapping[str, str]) -> str:
    """SQL of what an event says: customer, event, time and properties, as unambiguous text.

    Missing properties leave no trace, and 2 is 2.0, so that an event keeps its hash when a column is added or a
    file is written in another format.
    """
    parts = [
        "to_json(customer_id)::VARCHAR",
        "to_json(event)::VARCHAR",
        'epoch_us("at")::VARCHAR',
        *(_value(column, properties[column]) for column in sorted(properties)),
    ]
    return f"concat_ws(',', {', '.join(parts)})"


def _value(column: str, kind: str) -> str:
    x = name(column)
    text = {
        "number": (
            f"CASE WHEN {x} = trunc({x}::DOUBLE) AND abs({x}) < 1e18 THEN {x}::BIGINT::VARCHAR "
            f"ELSE {x}::DOUBLE::VARCHAR END"
        ),
        "flag": f"{x}::VARCHAR",
        "time": f"epoch_us({x})::VARCHAR",
        "text": f"to_json({x})::VARCHAR",
        "empty": f"{x}::VARCHAR",
    }[kind]
    # NULL || anything is NULL, and concat_ws leaves NULL out.
    return f"{literal(column + '=')} || ({text})"


def event_id(properties: Mapping[str, str], *, given: bool) -> str:
    """SQL of the event's id: the one given, else the md5 of its canonical form and the time it was received."""
    hashed = f"md5({payload(properties)} || ',' || epoch_us(received_at)::VARCHAR)"
    return f"coalesce(event_id, {hashed})" if given else hashed
