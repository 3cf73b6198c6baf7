"""Lift of two arms and three metrics, beside one pass of numpy and other packages; resampling; A/A experiments."""

from __future__ import annotations

import math
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

from benchmarks.elsewhere import run_elsewhere
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


def _spotify(count: int) -> dict[str, Any] | None:
    """The same with spotify-confidence, in an environment of its own; None where it cannot be installed."""
    script = Path(__file__).with_name("spotify_confidence_lift.py")
    packages = ("spotify-confidence==4.1.0", "pyarrow")
    return run_elsewhere(script, str(stored(count)), "2", packages=packages)


def _others(frame: pd.DataFrame) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {
            "tea_tasting_s": round(best_of(2, lambda: tea(frame)), 4),
            "statsmodels_s": round(best_of(2, lambda: statsmodels(frame)), 4),
        }
    spotify = _spotify(len(frame))
    if spotify:
        ours = experiment(frame, METRICS).lift.set_index("metric")["diff"]
        if not math.isclose(ours["converted"], spotify["found"]["converted"], rel_tol=1e-6):
            raise RuntimeError("ours and spotify-confidence disagree on the difference of conversions")
        found["spotify_confidence_s"] = round(spotify["from_frame_s"], 4)
    return found


def _beside_numpy(
    name: str, count: int, outcomes: Any, numpy_pass: Callable[[Any], Pass], *, peer: str, at_most: float, about: str,
    **more: Any,
) -> Result:  # fmt: skip
    _agree(experiment(outcomes, METRICS), numpy_pass(outcomes))
    return compare(
        name + ("" if count == SIZES[-1] else f"_{count // 1_000_000}m"),
        f"{count:,} customers, {WHAT}",
        ours=lambda: experiment(outcomes, METRICS),
        peer=peer,
        theirs=lambda: numpy_pass(outcomes),
        runs=20 if count < SIZES[-1] else 3,
        at_most=at_most,
        about=about,
        **more,
    )


def lift_frame() -> Iterator[Result]:
    """From a frame in memory to the lift table."""
    for count in SIZES:
        frame = outcomes(count)
        yield _beside_numpy(
            "lift_frame_vs_numpy", count, frame, numpy_of_frame,
            peer="numpy, counts, sums and products by arm with bincount", at_most=1.0,
            about="Lift table, intervals and checks of the units included; numpy only adds up.",
            **_others(frame),
        )  # fmt: skip


def lift_parquet() -> Iterator[Result]:
    """From a Parquet file to the lift table."""
    for count in SIZES:
        spotify = _spotify(count)
        yield _beside_numpy(
            "lift_parquet_vs_numpy", count, stored(count), numpy_of_parquet,
            peer="pyarrow reads the needed columns, numpy adds up with bincount", at_most=0.5,
            about="Piece by piece, in memory of a few pieces; that every unit has one row is checked as well. "
            "Of a million, in a process that has used the memory of ten million before, the peer is a tenth faster: "
            "0.51.",
            **({"spotify_confidence_s": round(spotify["from_file_s"], 4)} if spotify else {}),
        )  # fmt: skip


def bootstrap_vs_numpy() -> Iterator[Result]:
    """A thousand resamples of a million customers, of whom one in a hundred bought (as in Hillstrom), or one in ten."""
    frame = outcomes(SIZES[0])
    everyone = frame["revenue"].to_numpy()
    few = np.where(np.arange(len(frame)) % 10 == 0, everyone, 0.0)
    for name, buyers, revenue in (("bootstrap_vs_numpy", 1, few), ("bootstrap_vs_numpy_10_percent", 10, everyone)):

        def scipys(resamples: int, revenue: np.ndarray = revenue) -> Callable[[], Any]:
            return lambda: bootstrap(
                (revenue,), np.mean, n_resamples=resamples, batch=1, method="percentile", rng=np.random.default_rng(1)
            )

        def ours(revenue: np.ndarray = revenue) -> np.ndarray:
            return bootstrap_means(revenue, draws=1_000, seed=1)

        means, theirs = ours(), scipys(20)().bootstrap_distribution
        if abs(means.mean() - theirs.mean()) > 5 * means.std() / len(theirs) ** 0.5:
            raise RuntimeError("ours and scipy resample around different means")
        yield compare(
            name,
            f"{SIZES[0]:,} customers, {buyers}% of them buyers, 1,000 resamples of revenue",
            ours=ours,
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
