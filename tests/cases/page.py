"""Writes docs/rules.md from the golden cases: `python -m tests.cases.page`."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

from tests.cases.reading import HERE, Case, read_cases

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rules.md"


def page() -> str:
    """The rules and their cases as Markdown."""
    parts = [(HERE / "introduction.md").read_text(encoding="utf-8").rstrip()]
    rules = dict(
        line.split(" ", 1) for line in (HERE / "rules.txt").read_text(encoding="utf-8").splitlines() if line.strip()
    )
    for rule, cases in groupby(read_cases(), key=lambda case: case.rule):
        parts += [f"## {rule}", rules[rule]]
        for case in cases:
            parts += _case(case)
    return "\n\n".join(parts) + "\n"


def _case(case: Case) -> list[str]:
    said = [f"### {case.name}", f"```yaml\n{case.program.rstrip()}\n```"]
    if case.customers is not None:
        said.append("Customers: " + ("; ".join(f"`{_words(row)}`" for row in case.customers) or "none"))
    said.append(_table(["customer", "event", "at", "and"], [_event(row) for row in case.events]))
    options = [f"`{name}: {value}`" for name, value in case.options.items()]
    if options:
        said.append("Replayed with " + ", ".join(options) + ".")
    for table in ("journeys", "decisions"):
        if table in case.then:
            rows = "\n".join(f"- `{_words(row)}`" for row in case.then[table])
            said.append(f"{table.capitalize()}: none." if not rows else f"{table.capitalize()}:\n\n{rows}")
    if "error" in case.then:
        said.append(f"An error that says: {case.then['error']}")
    if case.waiting:
        said.append(f"*Not kept yet: {case.waiting}*")
    return said


def _event(row: dict[str, Any]) -> list[str]:
    rest = {name: value for name, value in row.items() if name not in ("customer_id", "event", "at")}
    return [row.get("customer_id", "ana"), row["event"], row["at"], _words(rest)]


def _words(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {'missing' if value is None else value}" for name, value in row.items())


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
