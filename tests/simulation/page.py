"""The page on forecasts: what a long test measures stands there, to the digit."""

from __future__ import annotations

from tests.shared import ROOT

__all__ = ["PAGE", "stands_there"]

PAGE = (ROOT / "docs" / "forecast.md").read_text(encoding="utf-8")


def stands_there(*cells: object) -> None:
    """One row of a table of the page, as it was measured just now."""
    row = f"| {' | '.join(map(str, cells))} |"
    print(row)
    assert row in PAGE, f"docs/forecast.md says otherwise; measured now: {row}"
