"""What an approval covers, as plain values: one section per part, hashed as canonical JSON (RFC 8785).

The outline of a manifest keeps one hash per part, so that a refusal can say which part changed without the parts
themselves being kept.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from operator import eq
from typing import Any, SupportsIndex, overload

import rfc8785

from toolkit.sending.spool import Spool

__all__ = ["Rows", "canonical", "changes", "details", "digest_of", "outline", "plain"]

_SHOWN = 8


def plain(value: Any) -> Any:
    """The value as JSON can hold it: mappings, lists, text, numbers, true, false and null.

    >>> plain({"at": date(2026, 3, 1), "share": float("nan"), "names": ("a", "b")})
    {'at': '2026-03-01', 'share': None, 'names': ['a', 'b']}
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if hasattr(value, "item"):  # numpy's scalars
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    return str(value)


class Rows(Sequence[Mapping[str, Any]]):
    """A long list of a manifest, such as who is mailed: each row its canonical JSON, on the disk where they are many.

    >>> rows = Rows([{"b": 1, "a": 2}])
    >>> rows[0], digest_of({"audience": rows}) == digest_of({"audience": [{"a": 2, "b": 1}]})
    ({'a': 2, 'b': 1}, True)
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._spool = Spool()
        self._names: tuple[str, ...] = ()
        self._order: list[tuple[str, str]] = []  # each name, and what stands before its value
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, Any]) -> None:
        """One more row, at the end."""
        if tuple(row) != self._names:
            self._names = tuple(row) if all(type(name) is str and name.isascii() for name in row) else ()
            self._order = [(name, f",{_text(name)}:") for name in sorted(self._names)]
        if not self._names:
            self._spool.add(canonical(row))
            return
        # As `canonical`, for a row whose names are those of the row before.
        said = []
        for name, before in self._order:
            value = row[name]
            kind = type(value)
            said.append(before)
            said.append(_text(value) if kind is str else "null" if value is None else canonical(value).decode())
        self._spool.add(f"{{{''.join(said)[1:]}}}".encode())

    def __len__(self) -> int:
        return len(self._spool)

    @overload
    def __getitem__(self, number: SupportsIndex) -> Mapping[str, Any]: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Mapping[str, Any]]: ...

    def __getitem__(self, number: SupportsIndex | slice) -> Mapping[str, Any] | Sequence[Mapping[str, Any]]:
        if isinstance(number, slice):
            return [self[place] for place in range(*number.indices(len(self)))]
        place = number.__index__()
        row: Mapping[str, Any] = json.loads(self._spool[place + len(self) if place < 0 else place])
        return row

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return (self[place] for place in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rows):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self.lines(), other.lines()))

    __hash__ = None  # type: ignore[assignment]  # rows may be added

    def __repr__(self) -> str:
        return f"Rows({len(self):,})"

    def lines(self) -> Iterator[bytes]:
        """The canonical JSON of each row."""
        return iter(self._spool)


def digest_of(value: Any) -> str:
    """SHA-256 of the value's canonical JSON, 64 hex digits.

    >>> digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1})
    True
    """
    digest = hashlib.sha256()
    for piece in _pieces(value):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    """The canonical JSON, one row after the other where rows are on the disk."""
    if isinstance(value, Rows):
        yield b"["
        for number, line in enumerate(value.lines()):
            yield b"," + line if number else line
        yield b"]"
    elif isinstance(value, Mapping) and any(isinstance(one, Rows) for one in value.values()):
        yield b"{"
        for number, name in enumerate(sorted(value)):
            yield (b"," if number else b"") + canonical(name) + b":"
            yield from _pieces(value[name])
        yield b"}"
    else:
        yield canonical(value)


def canonical(value: Any) -> bytes:
    """The value as canonical JSON (RFC 8785).

    Where there are no fractions, and the names of things are ASCII, the standard library writes the very same bytes
    twenty times faster, which a list of a million recipients needs; a test holds the two equal.

    >>> canonical({"b": 1, "a": "x"})
    b'{"a":"x","b":1}'
    """
    if _is_simple(value):
        return _encoder.encode(value).encode()
    written: bytes = rfc8785.dumps(value)
    return written


_text: Callable[[str], str] = json.encoder.encode_basestring  # as the encoder below writes text
_encoder = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _is_simple(value: Any) -> bool:
    kind: type = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(abs(value) < 2**53)
    if kind is list:
        return all(map(_is_simple, value))
    if kind is not dict:
        return False
    for key, one in value.items():  # a million rows come by here, most of them of text and nothing
        if not isinstance(key, str) or not key.isascii():
            return False
        if type(one) is not str and one is not None and not _is_simple(one):
            return False
    return True


def outline(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with every part of every section replaced by its hash unless it is short, lists by length and hash.

    >>> outline({"templates": {"cart/reminder": "hash"}, "audience": [1, 2]})["audience"]["length"]
    2
    """
    short: dict[str, Any] = {}
    for section, value in manifest.items():
        if isinstance(value, Mapping):
            short[section] = {name: _short(part) for name, part in value.items()}
        elif isinstance(value, list | Rows):
            short[section] = {"length": len(value), "sha256": digest_of(value)}
        else:
            short[section] = value
    return short


def changes(approved: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What differs between two outlines, one line per section, in words.

    >>> changes({"templates": {"cart/reminder": "1"}}, {"templates": {"cart/reminder": "2"}})
    ["templates: changed cart/reminder (approved '1', found '2')"]
    """
    lines = []
    for section in dict.fromkeys((*approved, *found)):
        before, after = approved.get(section), found.get(section)
        if before != after:
            lines.append(f"{section}: {_difference(before, after)}")
    return lines


def details(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Which rows of the lists of two manifests differ, and in what, for the first few.

    >>> details({"audience": [{"decision": "d1", "offer": "5"}]}, {"audience": [{"decision": "d1", "offer": "50"}]})
    ["audience: d1: offer approved '5', found '50'"]
    """
    lines = []
    for section, rows in before.items():
        found = after.get(section)
        if not isinstance(rows, list | Rows) or not isinstance(found, list | Rows):
            continue
        for one, other in zip(rows, found, strict=False):
            if one != other and isinstance(one, Mapping) and isinstance(other, Mapping):
                fields = [name for name in {**one, **other} if one.get(name) != other.get(name)]
                said = ", ".join(f"{name} approved {one.get(name)!r}, found {other.get(name)!r}" for name in fields)
                lines.append(f"{section}: {one.get('decision', '')}: {said}")
                if len(lines) == _SHOWN:
                    return lines
    return lines


_NO = object()


def _short(part: Any) -> Any:
    """A part as it stands where it is short, so that a refusal can show it; else its hash."""
    if part is None or isinstance(part, bool | int | float) or (isinstance(part, str) and len(part) <= 40):
        return part
    return digest_of(part)


def _told(name: str, before: Any, after: Any) -> str:
    hashed = [one for one in (before, after) if isinstance(one, str) and len(one) == 64]
    return name if hashed else f"{name} (approved {before!r}, found {after!r})"


def _difference(before: Any, after: Any) -> str:
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return f"approved {before!r}, found {after!r}"
    if "length" in before or "length" in after:
        counts = before.get("length"), after.get("length")
        same = "the same number, other content"
        return f"approved {counts[0]}, found {counts[1]}" if counts[0] != counts[1] else same
    words = []
    for word, names in (
        (
            "changed",
            [
                _told(name, before[name], after[name])
                for name in before
                if before[name] != after.get(name, _NO) and name in after
            ],
        ),
        ("added", [name for name in after if name not in before]),
        ("gone", [name for name in before if name not in after]),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            words.append(f"{word} {', '.join(names[:_SHOWN])}{more}")
    return "; ".join(words)
