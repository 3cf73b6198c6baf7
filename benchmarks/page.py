"""docs/benchmarks.md, made of results.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["page"]

_OWN = {"name", "size", "ours_s", "peer", "peer_s", "ratio", "machine", "bounds", "about"}

_HEAD = """\
# Benchmarks

Made by `make bench` from `benchmarks/results.json`; not written by hand. Each benchmark has a process of its own. Each
row was measured in one run, ours and the peer in turn, the shortest of several times each. *ratio* is ours / peer: 0.2
means a fifth of the peer's time. *wanted* is the bound that was set before anything was measured; a row that misses it
says so. `make bench BENCH=name` measures one.
"""


def page(rows: Iterable[Mapping[str, Any]]) -> str:
    """The page of some rows of results.json: one table per machine, and below it what was measured."""
    by_machine: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_machine.setdefault(str(row["machine"]), []).append(row)
    parts = [_HEAD]
    for machine, own in by_machine.items():
        parts += [
            f"## {machine}\n",
            "| name | size | ours | peer | ratio | wanted | |",
            "|---|---|---|---|---|---|---|",
        ]
        parts += [_table_row(row) for row in own]
        parts += ["", *(note for row in own if (note := _note(row))), ""]
    return "\n".join(parts)


def _table_row(row: Mapping[str, Any]) -> str:
    peer = "" if row["peer_s"] is None else _time(row["peer_s"])
    ratio = "" if row["ratio"] is None else _number(row["ratio"])
    wanted = "<br>".join(_wanted(bound) for bound in row.get("bounds", ()))
    reached = "<br>".join("met" if bound["met"] else "**missed**" for bound in row.get("bounds", ()))
    return f"| {row['name']} | {row['size']} | {_time(row['ours_s'])} | {peer} | {ratio} | {wanted} | {reached} |"


def _wanted(bound: Mapping[str, Any]) -> str:
    sides = [f"≤ {_number(bound['at_most'])}"] if "at_most" in bound else []
    sides += [f"≥ {_number(bound['at_least'])}"] if "at_least" in bound else []
    return f"{bound['measure']} {' and '.join(sides)}"


def _note(row: Mapping[str, Any]) -> str:
    """Beside what, and the further numbers of a row."""
    said = [str(row["about"]).rstrip(".")] if row.get("about") else []
    said += [f"beside {row['peer']}"] if row["peer"] else []
    said += [", ".join(f"{name} {_number(value)}" for name, value in row.items() if name not in _OWN)]
    text = "; ".join(filter(None, said))
    return f"* **{row['name']}**: {text}." if text else ""


def _time(seconds: float) -> str:
    if seconds < 0.001:
        return f"{seconds * 1e6:.3g} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:,.2f} s"


def _number(value: Any) -> str:
    if isinstance(value, float) and abs(value) >= 1000:
        value = round(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
