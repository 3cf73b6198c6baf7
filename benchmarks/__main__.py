"""`python -m benchmarks [name …]`: measure, print a table, and write benchmarks/results.json."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measuring import Result
from benchmarks.replaying import replay_first, replay_prepared

RESULTS = Path(__file__).with_name("results.json")
BENCHMARKS: dict[str, Callable[[], Iterator[Result]]] = {
    "replay_prepared": replay_prepared,
    "replay_first": replay_first,
}


def main(names: list[str]) -> int:
    """Run the benchmarks named, or all; results of the others are kept."""
    unknown = [
        name for name in names if not any(known.startswith(name) or name.startswith(known) for known in BENCHMARKS)
    ]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    kept = {row["name"]: row for row in (json.loads(RESULTS.read_text()) if RESULTS.exists() else [])}
    for known, bench in BENCHMARKS.items():
        if names and not any(known.startswith(name) or name.startswith(known) for name in names):
            continue
        for result in bench():
            row = result.row()
            kept[row["name"]] = row
            print(f"{row['name']:32} ours {row['ours_s']:8.4f} s   peer {row['peer_s']:8.4f} s   ratio {row['ratio']}")
            RESULTS.write_text(json.dumps(list(kept.values()), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
