"""The same three metrics with spotify-confidence, run in an environment of its own: it needs an older pandas.

`python spotify_confidence_lift.py outcomes.parquet runs` prints one JSON object: the seconds from the file to the
answers, the seconds from a frame in memory, and the differences found. Nothing of toolkit is imported here.
"""

from __future__ import annotations

import json
import sys
import time
import warnings

import pandas as pd
from spotify_confidence import ZTest, ZTestLinreg

COLUMNS = ["arm", "converted", "revenue", "pre_revenue", "opens", "mails"]


def compare(frame: pd.DataFrame) -> dict[str, float]:
    """Differences of a rate, a mean with CUPED, and a ratio linearised by hand, as the package leaves to its users."""
    ratio = frame["opens"].sum() / frame["mails"].sum()
    linear = (frame["opens"] - ratio * frame["mails"]) / frame["mails"].mean()
    sums = (
        pd.DataFrame(
            {
                "arm": frame["arm"],
                "n": 1,
                "converted": frame["converted"].astype(int),
                "revenue": frame["revenue"],
                "revenue_squares": frame["revenue"] ** 2,
                "before": frame["pre_revenue"],
                "before_squares": frame["pre_revenue"] ** 2,
                "cross": frame["revenue"] * frame["pre_revenue"],
                "linear": linear,
                "linear_squares": linear**2,
            }
        )
        .groupby("arm", as_index=False)
        .sum()
    )
    tests = {
        "converted": ZTest(sums, "converted", "converted", "n", "arm"),
        "revenue": ZTestLinreg(sums, "revenue", "revenue_squares", "n", "before", "before_squares", "cross", "arm"),
        "opens per mails": ZTest(sums, "linear", "linear_squares", "n", "arm"),
    }
    return {name: float(test.difference("control", "mail")["difference"].iloc[0]) for name, test in tests.items()}


def main(path: str, runs: int) -> None:
    """Time both ways, print the best of some runs."""
    warnings.simplefilter("ignore")
    from_frame, from_file = float("inf"), float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        frame = pd.read_parquet(path, columns=COLUMNS)
        read = time.perf_counter()
        found = compare(frame)
        end = time.perf_counter()
        from_file, from_frame = min(from_file, end - start), min(from_frame, end - read)
    print(json.dumps({"from_file_s": from_file, "from_frame_s": from_frame, "found": found}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
