"""Real experiments to test on; skipped with a reason where the data is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("TOOLKIT_SHARED_DATA", ROOT.parent / "shared" / "data"))


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs {name} of the shared data (set TOOLKIT_SHARED_DATA)")
    return path


@pytest.fixture(scope="session")
def hillstrom() -> pd.DataFrame:
    """Hillstrom's e-mail experiment: 64,000 customers, three arms."""
    frame = pd.read_csv(shared("hillstrom/raw/hillstrom_email_data.csv"))
    frame["unit"] = range(len(frame))
    return frame.rename(columns={"segment": "arm"})


@pytest.fixture(scope="session")
def mens(hillstrom: pd.DataFrame) -> pd.DataFrame:
    """The Mens e-mail against none."""
    return hillstrom[hillstrom["arm"] != "Womens E-Mail"].reset_index(drop=True)


@pytest.fixture(scope="session")
def cdnow() -> pd.DataFrame:
    """Purchases of CDNOW's cohort of early 1997."""
    return pd.read_parquet(shared("cdnow/cdnow_master.parquet"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared data; it may be absent."""
    return SHARED
