"""Lift of two arms and three metrics, beside one pass of numpy and other packages; resampling; A/A experiments."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import tea_tasting
from scipy.stats import bootstrap
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.proportion import proportions_ztest
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from benchmarks.measuring import Bound, Result, best_of, compare
from toolkit.stats import Mean, Rate, Ratio, bootstrap_means, calibrate, experiment

__all__ = ["aa_hillstrom", "bootstrap_vs_numpy", "lift_frame", "lift_parquet"]

SIZES = (1_000_000, 10_000_000)
COLUMNS = ("converted", "revenue", "pre_revenue", "opens", "mails")
METRICS = [Rate("converted"), Mean("revenue", covariate="pre_revenue"), Ratio("opens", "mails")]
WHAT = "two arms; a rate, a mean with CUPED and a ratio"
Pass = tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]


def outcomes(count: int) -> pd.DataFrame:
    """Customers of two arms: whether they bought, for how much, and their mails and opens."""
    rng = np.random.default_rng(1)
    mailed = rng.random(count) < 0.5
    mails = rng.integers(1, 6, count)
    before = np.where(rng.random(count) < 0.4, rng.gamma(2, 15, count), 0)
    revenue = np.where(rng.random(count) < 0.1, 10 + 0.5 * before + rng.gamma(2, 10, count), 0)
    return pd.DataFrame(
        {
            "unit": np.arange(count),
            "arm": pd.Series(pd.Categorical.from_codes(mailed.astype(int), ["control", "mail"])).astype("str"),
            "converted": revenue > 0,
            "revenue": revenue,
            "pre_revenue": before,
            "mails": mails,
            "opens": rng.binomial(mails, 0.3),
        }
    )


@lru_cache(maxsize=2)
def stored(count: int) -> Path:
    """The same in a Parquet file."""
    folder = Path(tempfile.gettempdir()) / "trigger-toolkit-bench"
    folder.mkdir(exist_ok=True)
    path = folder / f"outcomes-{count}.parquet"
    if not path.exists():
        outcomes(count).to_parquet(path, index=False)
    return path


def one_pass(codes: np.ndarray, columns: list[np.ndarray]) -> Pass:
    """What numpy needs for the same statistics: counts, sums and products by arm.

    `bincount` was the fastest of three ways tried (masks, stacked columns with `cov`, this one).
    """
    counts = np.bincount(codes, minlength=2)
    values = [column.astype(np.float64) for column in columns]
    sums = [np.bincount(codes, weights=value) for value in values]
    pairs = [(at, at) for at in range(len(values))] + [(1, 2), (3, 4)]
    return counts, sums, [np.bincount(codes, weights=values[one] * values[other]) for one, other in pairs]


def numpy_of_frame(frame: pd.DataFrame) -> Pass:
    """One pass over a frame."""
    codes = (frame["arm"] == "mail").to_numpy().astype(np.int64)
    return one_pass(codes, [frame[column].to_numpy() for column in COLUMNS])


def numpy_of_parquet(path: Path) -> Pass:
    """The file read (only the columns needed, the arm as a dictionary), then one pass."""
    table = pq.read_table(path, columns=["arm", *COLUMNS], read_dictionary=["arm"])
    arm = table["arm"].unify_dictionaries().combine_chunks()
    arm = arm.chunk(0) if hasattr(arm, "chunk") else arm
    flip = arm.dictionary.to_pylist()[0] == "mail"
    codes = arm.indices.to_numpy().astype(np.int64)
    return one_pass(1 - codes if flip else codes, [table[column].to_numpy() for column in COLUMNS])


def _agree(ours: Any, theirs: Pass) -> None:
    """Nothing is timed unless both find the same."""
    counts, sums, products = theirs
    lift = ours.lift.set_index("metric")
    rate = sums[0] / counts
    ratio = sums[3] / sums[4]
    slope = sum(products[5][arm] - sums[1][arm] * sums[2][arm] / counts[arm] for arm in (0, 1))
    if not np.allclose(
        [lift.loc["converted", "diff"], lift.loc["opens per mails", "diff"]], [rate[1] - rate[0], ratio[1] - ratio[0]]
    ):
        raise RuntimeError("ours and numpy disagree on the differences")
    if not (slope > 0 and ours.comparisons[1].variance_saved > 0):
        raise RuntimeError("the covariate should save variance")


def tea(frame: pd.DataFrame) -> Any:
    """The same three metrics with tea-tasting."""
    asked = tea_tasting.Experiment(
        converted=tea_tasting.Proportion("converted"),
        revenue=tea_tasting.Mean("revenue", "pre_revenue"),
        opens=tea_tasting.RatioOfMeans("opens", "mails"),
        variant="arm",
    )
    return asked.analyze(frame, control="control")


def statsmodels(frame: pd.DataFrame) -> Any:
    """The same with statsmodels, the ratio linearised by hand."""
    mailed = (frame["arm"] == "mail").to_numpy()
    converted = frame["converted"].to_numpy()
    tested = proportions_ztest([converted[mailed].sum(), converted[~mailed].sum()], [mailed.sum(), (~mailed).sum()])
    design = np.column_stack([np.ones(len(frame)), mailed, frame["pre_revenue"].to_numpy()])
    adjusted = OLS(frame["revenue"].to_numpy(), design).fit(cov_type="HC1")
    sides = []
    for side in (mailed, ~mailed):
        opens, mails = frame["opens"].to_numpy()[side], frame["mails"].to_numpy()[side]
        rate = opens.sum() / mails.sum()
        sides.append(DescrStatsW(rate + (opens - rate * mails) / mails.mean()))
    return tested, adjusted.params, CompareMeans(*sides).ttest_ind(usevar="unequal")


def _others(frame: pd.DataFrame) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "tea_tasting_s": round(best_of(2, lambda: tea(frame)), 4),
            "statsmodels_s": round(best_of(2, lambda: statsmodels(frame)), 4),
        }


def _suffix(count: int) -> str:
    return "" if count == SIZES[-1] else f"_{count // 1_000_000}m"


def lift_frame() -> Iterator[Result]:
    """From a frame in memory to the lift table."""
    for count in SIZES:
        frame = outcomes(count)
        _agree(experiment(frame, METRICS), numpy_of_frame(frame))
        yield compare(
            "lift_frame_vs_numpy" + _suffix(count),
            f"{count:,} customers, {WHAT}",
            ours=lambda frame=frame: experiment(frame, METRICS),  # type: ignore[misc]
            peer="numpy, counts, sums and products by arm with bincount",
            theirs=lambda frame=frame: numpy_of_frame(frame),  # type: ignore[misc]
            runs=5 if count < SIZES[-1] else 2,
            at_most=1.0,
            about="Lift table, intervals and checks of the units included; numpy only adds up.",
            **_others(frame),
        )


def lift_parquet() -> Iterator[Result]:
    """From a Parquet file to the lift table."""
    for count in SIZES:
        path = stored(count)
        _agree(experiment(path, METRICS), numpy_of_parquet(path))
        yield compare(
            "lift_parquet_vs_numpy" + _suffix(count),
            f"{count:,} customers, {WHAT}",
            ours=lambda path=path: experiment(path, METRICS),  # type: ignore[misc]
            peer="pyarrow reads the needed columns, numpy adds up with bincount",
            theirs=lambda path=path: numpy_of_parquet(path),  # type: ignore[misc]
            runs=5 if count < SIZES[-1] else 2,
            at_most=0.5,
            about="One DuckDB statement; that every unit has one row is checked as well.",
        )


def bootstrap_vs_numpy() -> Iterator[Result]:
    """A thousand resamples of a million customers of whom one in a hundred bought, as in Hillstrom's experiment."""
    frame = outcomes(SIZES[0])
    revenue = np.where(np.arange(len(frame)) % 10 == 0, frame["revenue"].to_numpy(), 0.0)

    def scipys(resamples: int) -> Callable[[], Any]:
        return lambda: bootstrap(
            (revenue,), np.mean, n_resamples=resamples, batch=1, method="percentile", rng=np.random.default_rng(1)
        )

    ours, theirs = bootstrap_means(revenue, draws=1_000, seed=1), scipys(20)().bootstrap_distribution
    if abs(ours.mean() - theirs.mean()) > 5 * ours.std() / len(theirs) ** 0.5:
        raise RuntimeError("ours and scipy resample around different means")
    yield compare(
        "bootstrap_vs_numpy",
        f"{SIZES[0]:,} customers, 1 % of them buyers, 1,000 resamples of revenue",
        ours=lambda: bootstrap_means(revenue, draws=1_000, seed=1),
        peer=f"one pass of numpy over the same customers ({WHAT})",
        theirs=lambda: numpy_of_frame(frame),
        runs=3,
        at_most=10.0,
        about="scipy_s is scipy.stats.bootstrap, 20 resamples timed and scaled to 1,000.",
        scipy_s=round(50 * best_of(1, scipys(20)), 2),
    )


def aa_hillstrom() -> Iterator[Result]:
    """A/A experiments on the customers of a real one, three metrics each."""
    shared = Path(os.environ.get("TOOLKIT_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data")
    path = shared / "hillstrom" / "raw" / "hillstrom_email_data.csv"
    if not path.exists():
        print(f"aa_hillstrom: skipped, {path.name} is not here (name its folder in TOOLKIT_SHARED_DATA)")
        return
    people = pd.read_csv(path)
    metrics = [Rate("visit"), Rate("conversion"), Mean("spend")]
    for holdout in (0.5, 0.1):
        runs = 5_000
        start = time.perf_counter()
        found = calibrate(people, metrics, holdout=holdout, runs=runs, seed=1)
        seconds = time.perf_counter() - start
        yield Result(
            f"aa_hillstrom_{holdout:.0%}".replace("%", ""),
            f"{len(people):,} customers, {runs:,} A/A experiments, holdout {holdout:.0%}, three metrics each",
            seconds,
            more={
                "per_second": round(runs / seconds),
                **{f"alarms_{row.metric}": round(row.false_alarms, 4) for row in found.itertuples()},
            },
            bounds=(Bound("per_second", at_least=1_000),),
            about="Arms drawn again, nothing done: alarms_… is how often each metric raised one at alpha 0.05.",
        )
