"""`python -m benchmarks [name …]`: measure, print, write benchmarks/results.json and, of it, docs/benchmarks.md
and docs/images/at_size.svg."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measuring import Result
from benchmarks.page import page
from benchmarks.picture import picture

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PICTURE = PAGE.with_name("images") / "at_size.svg"

# One line a benchmark: the name that its results begin with, and "module:function", a function without arguments that
# yields `measuring.Result`. They run, and stand in the page, in this order. A module is imported when its turn comes.
BENCHMARKS: dict[str, str] = {
    # Replay
    "replay_prepared": "benchmarks.replaying:replay_prepared",
    "replay_first": "benchmarks.replaying:replay_first",
    "replay_stored": "benchmarks.replaying:replay_stored",
    "replay_1": "benchmarks.scaling:replay_scaling",
    "sweep": "benchmarks.sweeping:sweep_waits",
    "trace": "benchmarks.replaying:trace",
    "import_toolkit": "benchmarks.scaling:importing",
    "first_kernel_call": "benchmarks.scaling:first_kernel_call",
    "spark": "benchmarks.spark:spark_replay",
    # Lift
    "lift_frame": "benchmarks.lifting:lift_frame",
    "lift_parquet": "benchmarks.lifting:lift_parquet",
    "bootstrap_vs_numpy": "benchmarks.lifting:bootstrap_vs_numpy",
    "aa_hillstrom": "benchmarks.lifting:aa_hillstrom",
    # Forecast
    "simulate": "benchmarks.forecasting:simulate_draws",
    "forecast_memory": "benchmarks.forecasting:forecast_memory",
    "world": "benchmarks.forecasting:worlds",
    # Mails
    "mail_vs_stdlib": "benchmarks.mailing:mail_vs_stdlib",
    "mail_preflight": "benchmarks.mailing:mail_preflight",
    # Sending
    "prepare_vs_stdlib": "benchmarks.sending:preparing",
    "send_vs": "benchmarks.sending:sending",
    "send_plan_1m": "benchmarks.sending:planning",
    "send_memory": "benchmarks.sending:memory",
    # Answers
    "tracker_vs_hello": "benchmarks.tracking:tracker_vs_hello",
    # Notebooks
    "slider_100k": "benchmarks.slider:slider_100k",
    "slider_1m": "benchmarks.slider:slider_1m",
    "slider_10m": "benchmarks.slider:slider_10m",
}


def main(names: list[str]) -> int:
    """Run the benchmarks named, or all; results of the others are kept.

    Of several each has a process of its own: memory that the one before has left makes the next faster or slower.
    """
    unknown = [name for name in names if not any(_meant(known, name) for known in BENCHMARKS)]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    chosen = [known for known in BENCHMARKS if not names or any(_meant(known, name) for name in names)]
    if len(chosen) == 1:
        return 1 if _failed(chosen[0]) else 0
    command = (sys.executable, "-m", __package__)
    failed = [known for known in chosen if subprocess.run([*command, known], check=False).returncode]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _failed(known: str) -> bool:
    """Run one, and write what it finds."""
    kept = {row["name"]: row for row in (json.loads(RESULTS.read_text()) if RESULTS.exists() else [])}
    try:
        for result in _function(BENCHMARKS[known])():
            row = result.row()
            kept[row["name"]] = row
            print(_line(row), flush=True)
            _write(kept)
    except Exception:
        traceback.print_exc()
        return True
    return False


def _meant(known: str, name: str) -> bool:
    return known == name or (name not in BENCHMARKS and (known.startswith(name) or name.startswith(known)))


def _function(place: str) -> Callable[[], Iterator[Result]]:
    module, function = place.split(":")
    found: Callable[[], Iterator[Result]] = getattr(importlib.import_module(module), function)
    return found


def _line(row: dict[str, object]) -> str:
    beside = f"peer {row['peer_s']:>9} s   ratio {row['ratio']}" if row["peer_s"] is not None else ""
    missed = [str(bound["measure"]) for bound in row.get("bounds", []) if not bound["met"]]  # type: ignore[attr-defined]
    return f"{row['name']:32} ours {row['ours_s']:>9} s   {beside}{'   MISSED: ' + ', '.join(missed) if missed else ''}"


def _write(kept: dict[str, dict[str, object]]) -> None:
    order = list(BENCHMARKS)

    def place(row: dict[str, object]) -> int:
        return next((i for i, known in enumerate(order) if str(row["name"]).startswith(known)), len(order))

    rows = sorted(kept.values(), key=place)
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n")
    PAGE.write_text(page(rows), encoding="utf-8")
    drawn = picture(rows)
    if drawn:
        PICTURE.write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
