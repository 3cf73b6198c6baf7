"""What tests of several rooms share: where the real data sets stand, and what a browser calls itself."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
ROOT = Path(__file__).resolve().parents[1]


def shared(name: str) -> Path:
    """The path of a file of the shared data sets; skips the test where they are absent."""
    base = Path(os.environ.get("TOOLKIT_SHARED_DATA") or ROOT.parent / "shared" / "data")
    path = base / name
    if not path.exists():
        pytest.skip(f"{name} is not here: put the shared data beside the project or name it in TOOLKIT_SHARED_DATA")
    return path


def outcomes_of_an_experiment(count: int = 6_000) -> pd.DataFrame:
    """Customers of two arms with every kind of column that a metric reads, gaps and a high level among them."""
    rng = np.random.default_rng(1)
    mailed = rng.random(count) < 0.5
    mails = rng.integers(1, 5, count)
    before = rng.gamma(2, 15, count)
    opened = np.where(rng.random(count) < 0.4, "human", np.where(rng.random(count) < 0.5, "machine", "unsure"))
    return pd.DataFrame(
        {
            "unit": [f"c{at:05d}" for at in range(count)],
            "arm": np.where(mailed, "mail", "control"),
            "converted": rng.random(count) < 0.1 + 0.02 * mailed,
            "open": pd.Series(opened).where(rng.random(count) < 0.6),
            "revenue": np.where(rng.random(count) < 0.3, before + rng.gamma(2, 10, count), 0),
            "pre_revenue": before,
            "pre_gaps": np.where(rng.random(count) < 0.2, np.nan, before * 2),
            "level": 1e9 + rng.normal(0, 1, count),  # digits would cancel without a shift
            "mails": mails,
            "clicks": rng.binomial(mails, 0.2),
            "segment": rng.choice(["new", "loyal"], count),
            "days": pd.Series(rng.exponential(20, count)).where(rng.random(count) < 0.7),
            "other": rng.random(count) < 0.1,
        }
    )
