"""What tests of several rooms share: where the real data sets stand, and what a browser calls itself."""

from __future__ import annotations

import os
from pathlib import Path

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
