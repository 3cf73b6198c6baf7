"""Peers that cannot live beside us: a throw-away environment with packages of its own, and a script run in it."""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import tempfile
import venv
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["run_elsewhere"]


@lru_cache
def _environment(*packages: str) -> Path | None:
    folder = Path(tempfile.mkdtemp(prefix="trigger-toolkit-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *packages], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        print(f"{packages[0]}: skipped, it cannot be installed here ({said})")
        return None
    return python


def run_elsewhere(script: Path, *arguments: str, packages: tuple[str, ...]) -> dict[str, Any] | None:
    """What a script prints as JSON when it runs in an environment with these packages alone.

    Args:
        script: its path; it must not import from this project.
        arguments: of the script.
        packages: as pip takes them; installed once a run, thrown away at its end.

    Returns:
        The answer; None, and a line that says why, where they cannot be installed or the script fails.
    """
    python = _environment(*packages)
    if python is None:
        return None
    done = subprocess.run([python, script, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        print(f"{packages[0]}: skipped, {script.name} failed ({said})")
        return None
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer
