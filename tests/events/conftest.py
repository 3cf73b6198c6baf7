"""What the tests of the events room share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a text file into the test's folder."""

    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def three_events() -> pd.DataFrame:
    """Three events of two customers, local times without a zone."""
    return pd.DataFrame(
        {
            "customer_id": ["ana", "ana", "bo"],
            "event": ["view", "purchase", "view"],
            "at": ["2024-05-01 09:00", "2024-05-01 09:20", "2024-05-02 18:30"],
            "revenue": [None, 20.0, None],
        }
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real files, where it is at hand."""
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("TOOLKIT_SHARED_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the shared real files are absent: set TOOLKIT_SHARED_DATA to their folder")
    return folder
