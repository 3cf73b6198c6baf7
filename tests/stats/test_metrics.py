"""Each metric against a live oracle or a computation written out by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import tea_tasting
from scipy.stats import binom, norm, ttest_ind

from toolkit.errors import MetricError
from toolkit.stats import Mean, Quantile, Rate, Ratio, TimeTo, experiment, survival_curves
from toolkit.stats.gathering import gather
from toolkit.stats.moments import Term
from toolkit.stats.quantiles import quantile_interval


@pytest.fixture(scope="module")
def shop() -> pd.DataFrame:
    """6,000 customers with history, mails, opens and skewed revenue; 300 have no history."""
    rng = np.random.default_rng(7)
    count = 6000
    arm = rng.integers(0, 2, count)
    taste = rng.gamma(1.2, 1, count)
    mails = rng.integers(1, 6, count)
    before = np.where(rng.random(count) < 0.5, rng.gamma(2, 15, count) * taste, 0)
    frame = pd.DataFrame(
        {
            "unit": np.arange(count),
            "arm": np.where(arm == 1, "mail", "control"),
            "segment": rng.choice(["new", "loyal", "lost"], count, p=[0.5, 0.3, 0.2]),
            "mails": mails,
            "opens": rng.binomial(mails, 0.3 + 0.05 * arm),
            "pre_revenue": before,
            "pre_orders": rng.poisson(taste),
            "revenue": np.where(rng.random(count) < 0.4, (5 + 0.5 * before + 2 * arm) * rng.gamma(2, 0.5, count), 0),
        }
    )
    frame["value"] = frame["segment"].map({"new": 0.0, "loyal": 30.0, "lost": 5.0}) + rng.normal(arm, 5)
    return frame


def found(frame: pd.DataFrame, metric):
    return experiment(frame, [metric]).comparisons[0]


def sides(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return frame[frame["arm"] == "mail"], frame[frame["arm"] == "control"]


def tea(frame: pd.DataFrame, metric):
    coded = frame.assign(variant=(frame["arm"] == "mail").astype(int))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tea_tasting.Experiment(x=metric).analyze(coded, control=0)["x"]


def test_a_mean_is_that_of_tea_tasting(shop: pd.DataFrame) -> None:
    ours, theirs = found(shop, Mean("revenue")), tea(shop, tea_tasting.Mean("revenue"))
    assert ours.diff == pytest.approx(theirs.effect_size)
    assert (ours.diff_lower, ours.diff_upper) == pytest.approx(
        (theirs.effect_size_ci_lower, theirs.effect_size_ci_upper)
    )
    assert ours.pvalue == pytest.approx(theirs.pvalue)
    assert ours.rel == pytest.approx(theirs.rel_effect_size)


@pytest.mark.parametrize("alpha", [0.01, 0.2])
def test_the_intervals_of_a_mean_are_of_the_confidence_asked_for(shop: pd.DataFrame, alpha: float) -> None:
    one, other = (side["revenue"] for side in sides(shop))
    ours = experiment(shop, [Mean("revenue")], alpha=alpha).comparisons[0]
    theirs = ttest_ind(one, other, equal_var=False).confidence_interval(1 - alpha)
    assert (ours.diff_lower, ours.diff_upper) == pytest.approx((theirs.low, theirs.high))
    # an end of Fieller's interval is where arm and ratio times control just differ
    for end in (1 + ours.rel_lower, 1 + ours.rel_upper):
        error = math.sqrt(one.var() / len(one) + end**2 * other.var() / len(other))
        assert abs(one.mean() - end * other.mean()) / error == pytest.approx(norm.isf(alpha / 2), rel=1e-3)


def test_cuped_with_one_covariate_is_that_of_tea_tasting(shop: pd.DataFrame) -> None:
    ours = found(shop, Mean("revenue", covariate="pre_revenue"))
    theirs = tea(shop, tea_tasting.Mean("revenue", "pre_revenue"))
    assert ours.diff == pytest.approx(theirs.effect_size, rel=2e-4)
    assert ours.pvalue == pytest.approx(theirs.pvalue, rel=2e-2)
    assert ours.error < found(shop, Mean("revenue")).error


def test_cuped_with_several_covariates_is_least_squares_on_the_pooled_outcomes(shop: pd.DataFrame) -> None:
    ours = found(shop, Mean("revenue", covariate=("pre_revenue", "pre_orders")))
    history = shop[["pre_revenue", "pre_orders"]]
    fit = sm.OLS(shop["revenue"], sm.add_constant(history)).fit()
    rest = shop["revenue"] - (history - history.mean()) @ fit.params[["pre_revenue", "pre_orders"]]
    one, other = rest[shop["arm"] == "mail"], rest[shop["arm"] == "control"]
    assert ours.diff == pytest.approx(one.mean() - other.mean(), rel=1e-9)
    assert ours.error == pytest.approx(np.sqrt(one.var() / len(one) + other.var() / len(other)), rel=1e-9)
    assert 0 < ours.variance_saved < 1


def test_customers_without_history_are_a_group_of_their_own(shop: pd.DataFrame) -> None:
    gaps = shop.assign(pre_revenue=shop["pre_revenue"].where(shop.index % 20 > 0))
    ours = found(gaps, Mean("revenue", covariate="pre_revenue"))
    history = pd.DataFrame(
        {"filled": gaps["pre_revenue"].fillna(0.0), "missing": gaps["pre_revenue"].isna().astype(float)}
    )
    fit = sm.OLS(gaps["revenue"], sm.add_constant(history)).fit()
    rest = gaps["revenue"] - (history - history.mean()) @ fit.params[["filled", "missing"]]
    one, other = rest[gaps["arm"] == "mail"], rest[gaps["arm"] == "control"]
    assert ours.diff == pytest.approx(one.mean() - other.mean(), rel=1e-9)
    assert ours.note == ""


def test_a_covariate_that_never_varies_or_comes_twice_is_harmless(shop: pd.DataFrame) -> None:
    plain = found(shop.assign(flat=3.0), Mean("revenue", covariate="flat"))
    assert plain.diff == pytest.approx(found(shop, Mean("revenue")).diff)
    assert "nothing was taken out" in plain.note
    once = found(shop, Mean("revenue", covariate="pre_revenue"))
    twice = found(shop.assign(again=shop["pre_revenue"] * 2), Mean("revenue", covariate=("pre_revenue", "again")))
    assert twice.diff == pytest.approx(once.diff)


def test_experiment_wide_covariates_serve_every_mean_and_ratio_without_its_own(shop: pd.DataFrame) -> None:
    metrics = [Mean("revenue"), Ratio("opens", "mails"), Mean("value", strata="segment"), Rate("bought")]
    result = experiment(shop.assign(bought=shop["revenue"] > 0), metrics, covariates=["pre_revenue"])
    methods = [one.method for one in result.comparisons]
    assert "CUPED (pre_revenue)" in methods[0]
    assert "CUPED (pre_revenue)" in methods[1]
    assert "post-stratification" in methods[2]


def test_post_stratification_is_the_weighted_sum_over_strata(shop: pd.DataFrame) -> None:
    ours = found(shop, Mean("value", strata="segment"))
    diff = variance = 0.0
    for _, group in shop.groupby("segment"):
        one, other = sides(group)
        weight = len(group) / len(shop)
        diff += weight * (one["value"].mean() - other["value"].mean())
        variance += weight**2 * (one["value"].var() / len(one) + other["value"].var() / len(other))
    assert ours.diff == pytest.approx(diff)
    assert ours.error == pytest.approx(np.sqrt(variance))
    assert ours.variance_saved > 0.8
    assert "3 strata" in ours.method


def test_strata_that_one_arm_lacks_are_left_out_and_said(shop: pd.DataFrame) -> None:
    frame = shop.assign(segment=shop["segment"].where(~((shop["arm"] == "mail") & (shop["segment"] == "lost")), "new"))
    ours = found(frame, Mean("value", strata="segment"))
    assert "left out, in strata that one arm lacks" in ours.note
    assert np.isfinite(ours.diff)


def test_a_ratio_is_that_of_tea_tasting(shop: pd.DataFrame) -> None:
    ours, theirs = found(shop, Ratio("opens", "mails")), tea(shop, tea_tasting.RatioOfMeans("opens", "mails"))
    assert ours.value == pytest.approx(theirs.treatment)
    assert ours.diff == pytest.approx(theirs.effect_size)
    assert (ours.diff_lower, ours.diff_upper) == pytest.approx(
        (theirs.effect_size_ci_lower, theirs.effect_size_ci_upper), rel=1e-6
    )
    assert ours.pvalue == pytest.approx(theirs.pvalue, rel=1e-5)


def test_rows_of_one_customer_are_added_up_before_a_ratio_is_compared(shop: pd.DataFrame) -> None:
    rows = shop.loc[shop.index.repeat(shop["mails"]), ["unit", "arm", "opens", "mails"]]
    rows = rows.assign(opens=rows["opens"] / rows["mails"], mails=1.0).sample(frac=1, random_state=1)
    whole, by_row = found(shop, Ratio("opens", "mails")), found(rows, Ratio("opens", "mails", repeats=True))
    assert by_row.diff == pytest.approx(whole.diff)
    assert by_row.error == pytest.approx(whole.error)
    assert by_row.n == whole.n
    with pytest.raises(MetricError, match="Ratio adds up"):
        experiment(rows, [Ratio("opens", "mails"), Mean("opens")])


def test_covariates_take_noise_out_of_a_ratio(shop: pd.DataFrame) -> None:
    plain = found(shop, Ratio("revenue", "mails", currency="EUR"))
    less = found(shop, Ratio("revenue", "mails", covariate="pre_revenue", currency="EUR"))
    assert less.variance_saved > 0.02
    assert less.error < plain.error
    assert less.diff == pytest.approx(plain.diff, abs=3 * plain.error)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"opens": lambda f: f["mails"] + 1}, "opens exceeds mails"),
        ({"mails": lambda f: -f["mails"]}, "mails is negative"),
        ({"opens": lambda f: -f["opens"] - 1}, "opens is negative"),
        ({"mails": 0, "opens": 0}, "nothing to divide by"),
        ({"opens": lambda f: f["opens"].where(f["unit"] > 3)}, "follow-up is missing"),
    ],
)
def test_a_ratio_that_cannot_be_is_undefined_with_the_reason(shop: pd.DataFrame, change: dict, reason: str) -> None:
    ours = found(shop.assign(**change), Ratio("opens", "mails"))
    assert np.isnan(ours.diff)
    assert np.isnan(ours.pvalue)
    assert reason in ours.note


def test_opens_above_mails_are_accepted_when_each_may_count_again(shop: pd.DataFrame) -> None:
    assert np.isfinite(found(shop.assign(opens=shop["mails"] + 1), Ratio("opens", "mails", repeats=True)).value)


def test_opens_with_a_verdict_are_given_at_least_and_at_most() -> None:
    verdict = ["human"] * 100 + ["machine"] * 300 + ["unsure"] * 50 + [None] * 550
    other = ["human"] * 150 + ["machine"] * 300 + ["unsure"] * 100 + [None] * 450
    frame = pd.DataFrame({"arm": ["control"] * 1000 + ["mail"] * 1000, "verdict": verdict + other})
    result = experiment(frame, [Rate("opened", verdict="verdict")])
    low, high = result.comparisons
    assert (low.metric, high.metric) == ("opened (at least)", "opened (at most)")
    assert (low.control, low.value) == (0.10, 0.15)
    assert (high.control, high.value) == (0.15, 0.25)
    assert "60% machine" in low.note
    verdict_text = result.verdict()
    assert "opens alone decide here" in verdict_text
    assert "60% of the opens are a machine's" in verdict_text


def test_a_verdict_of_another_word_is_an_error() -> None:
    frame = pd.DataFrame({"arm": ["control", "mail"], "verdict": ["human", "robot"]})
    with pytest.raises(MetricError, match="holds 'robot'; allowed: human, machine, unsure"):
        experiment(frame, [Rate("opened", verdict="verdict")])


def test_the_interval_of_a_quantile_is_the_exact_one_of_order_statistics() -> None:
    """Conover's interval for the median of 100 is the 40th to the 61st value, and covers 96.5%."""
    assert quantile_interval(np.arange(1.0, 101.0), 0.5) == (40.0, 61.0)
    for n in (7, 20, 63, 400):
        for q in (0.1, 0.5, 0.9):
            lower, upper = quantile_interval(np.arange(1.0, n + 1), q)
            ranks = np.arange(0, n + 1)
            inside = (ranks >= lower) & (ranks < upper)
            assert binom.pmf(ranks[inside], n, q).sum() >= 0.95


def test_a_difference_of_quantiles_covers_the_truth_as_promised() -> None:
    """250 draws: 95% intervals must hold 93 to 99.6% (Monte-Carlo error 1.4 points; the method is conservative)."""
    rng = np.random.default_rng(5)
    truth = np.log(2) * 5
    hits = excluded = 0
    for _ in range(250):
        values = np.concatenate([rng.exponential(10, 300), rng.exponential(15, 200)])
        frame = pd.DataFrame({"arm": ["control"] * 300 + ["mail"] * 200, "value": values})
        one = found(frame, Quantile("value"))
        hits += one.diff_lower <= truth <= one.diff_upper
        excluded += (one.diff_lower > 0 or one.diff_upper < 0) == (one.pvalue < 0.05)
        assert (one.rel_lower > 0 or one.rel_upper < 0) == (one.pvalue < 0.05)
    assert 0.93 < hits / 250 <= 0.996
    assert excluded == 250


@pytest.mark.parametrize("scale", [0.001, 1.0, 1_000.0])
@pytest.mark.parametrize("swapped", [False, True], ids=["higher", "lower"])
def test_the_pvalue_of_a_quantile_is_where_its_interval_begins_to_exclude_no_difference(
    scale: float, swapped: bool
) -> None:
    """MOVER (Donner & Zou 2012): each end is the difference less, or plus, the root of the squared distances."""
    rng = np.random.default_rng(16)
    for q in (0.25, 0.5, 0.8):
        one, other = np.sort(rng.exponential(1.4, 60)) * scale, np.sort(rng.exponential(1, 90)) * scale
        one, other = (other, one) if swapped else (one, other)

        def ends(alpha: float, one: np.ndarray = one, other: np.ndarray = other, q: float = q) -> tuple[float, float]:
            value, base = (np.quantile(side, q, method="inverted_cdf") for side in (one, other))
            (low, high), (low0, high0) = (quantile_interval(side, q, alpha=alpha) for side in (one, other))
            return (
                value - base - np.hypot(value - low, high0 - base),
                value - base + np.hypot(high - value, base - low0),
            )

        frame = pd.DataFrame({"arm": ["mail"] * len(one) + ["control"] * len(other), "v": np.append(one, other)})
        ours = found(frame, Quantile("v", q=q))
        value, base = (float(np.quantile(side, q, method="inverted_cdf")) for side in (one, other))
        assert (ours.value, ours.control, ours.diff) == pytest.approx((value, base, value - base))
        assert ours.rel == pytest.approx(value / base - 1)
        assert 0 < ours.pvalue < 1
        inside, outside = ends(ours.pvalue * (1 - 1e-9)), ends(ours.pvalue * (1 + 1e-9))
        assert inside[0] <= 0 <= inside[1]
        assert outside[0] > 0 or outside[1] < 0
        assert (ours.diff_lower, ours.diff_upper) == pytest.approx(ends(0.05))


def test_a_quantile_at_the_lowest_value_of_both_arms_says_nothing(shop: pd.DataFrame) -> None:
    ours = found(shop, Quantile("revenue"))
    assert np.isnan(ours.pvalue)
    assert "cannot tell the arms apart" in ours.note
    assert found(shop, Quantile("revenue", q=0.9)).pvalue < 1


def test_time_to_an_event_compares_whether_and_how_soon() -> None:
    rng = np.random.default_rng(9)
    entered = pd.Timestamp("2025-01-01", tz="UTC") + pd.to_timedelta(rng.uniform(0, 30, 2000), unit="D")
    arm = np.repeat(["control", "mail"], 1000)
    days = rng.exponential(np.where(arm == "mail", 20, 40))
    end = pd.Timestamp("2025-03-15", tz="UTC")
    back = pd.Series(entered) + pd.to_timedelta(days, unit="D")
    frame = pd.DataFrame({"arm": arm, "entered_at": entered, "back_at": back.where(back <= end)})
    metric = TimeTo("back_at", within="28d", since="entered_at", until="2025-03-15")
    whether, soon = experiment(frame, [metric]).comparisons
    assert whether.metric == "back_at within 28d"
    assert whether.value == pytest.approx(np.mean(days[1000:] <= 28))
    assert whether.improved
    assert soon.value == pytest.approx(np.minimum(days[1000:], 28).mean())
    assert soon.better == "lower"
    assert soon.improved
    assert "log-rank p" in soon.note
    curves = survival_curves(frame, metric)
    assert list(curves) == ["control", "mail"]
    assert curves["mail"].at(28) < curves["control"].at(28)


def test_a_rate_is_refused_when_follow_up_is_shorter_than_its_window() -> None:
    rng = np.random.default_rng(10)
    happens, followed = rng.exponential(20, 600), rng.uniform(5, 40, 600)
    frame = pd.DataFrame(
        {
            "arm": ["control", "mail"] * 300,
            "days": np.where(happens <= followed, happens, np.nan),
            "followed": followed,
        }
    )
    whether, soon = experiment(frame, [TimeTo("days", within="28d", until="followed")]).comparisons
    assert np.isnan(whether.diff)
    assert "followed for less than 28d" in whether.note
    assert np.isfinite(soon.diff)
    assert soon.role == "primary"


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (TimeTo("back_at", within="28d"), "say since="),
        (TimeTo("back_at", within="28d", since="days"), "holds no times"),
        (TimeTo("days", within="28d", until="never"), "a column, or a moment"),
        (TimeTo("days", within="28d", until="nothing"), "a column, or a moment"),
        (TimeTo("days", within="28d", until="gaps"), "no end of follow-up"),
        (TimeTo("early", within="28d"), "before the moment"),
    ],
)
def test_times_that_cannot_be_are_errors(metric: TimeTo, message: str) -> None:
    frame = pd.DataFrame(
        {
            "arm": ["control", "mail"],
            "back_at": pd.to_datetime(["2025-01-01", "2025-01-02"]),
            "days": [1.0, 2.0],
            "gaps": [1.0, np.nan],
            "early": [-1.0, 1.0],
        }
    )
    with pytest.raises(MetricError, match=message):
        experiment(frame, [metric])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mean("x", covariate="x"), "cannot explain itself"),
        (lambda: Mean("x", covariate="y", strata="z"), "not both"),
        (lambda: Mean("x", method="t"), "allowed: auto"),
        (lambda: Mean("x", method="permutation", covariate="y"), "works without"),
        (lambda: Rate("x", role="primry"), "did you mean 'primary'"),
        (lambda: Rate("x", better="up"), "allowed: higher, lower"),
        (lambda: Rate("x", margin=-1), "positive"),
        (lambda: Rate("x", margin=0.1, margin_relative=0.1), "not both"),
        (lambda: Rate("x", role="guardrail"), "needs the largest harm"),
        (lambda: Rate("x", verdict="y", opens=False), "is for opens"),
        (lambda: Ratio("x", "x"), "different columns"),
        (lambda: Quantile("x", q=1), "between 0 and 1"),
        (lambda: TimeTo("x", within="soon"), "expected a duration"),
        (lambda: TimeTo("x", within="0d"), "longer than nothing"),
    ],
)
def test_metrics_that_cannot_be_are_errors(make, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        make()


def test_moments_are_those_of_numpy_whatever_the_kinds_and_the_order_of_the_rows() -> None:
    rng = np.random.default_rng(11)
    frame = pd.DataFrame(
        {
            "a": rng.normal(1e9, 1, 100_000),  # far from 0: nothing may cancel
            "b": np.sort(rng.gamma(1, 1000, 100_000)),
            "c": rng.random(100_000) < 0.2,
            "d": pd.array(rng.integers(0, 9, 100_000), dtype="Int64"),
        }
    )
    codes = rng.integers(0, 3, 100_000)
    terms = [Term("value", name) for name in "abcd"]
    parts = gather(frame, terms, codes=codes, arms=4)
    for arm in range(3):
        mine = frame[codes == arm].astype(float)
        assert parts[arm].n == len(mine)
        assert parts[arm].means == pytest.approx(mine.mean().to_numpy(), rel=1e-12)
        expected = np.cov(mine.to_numpy().T)
        assert parts[arm].comoments / (parts[arm].n - 1) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert parts[3].n == 0
    whole = parts[0] + parts[1] + parts[2] + parts[3]
    assert whole.covariance(terms[1], terms[3]) == pytest.approx(frame["b"].cov(frame["d"].astype(float)), rel=1e-6)
    assert whole.variance(terms[0]) == pytest.approx(frame["a"].var(), rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
@pytest.mark.parametrize("control_first", [True, False])
def test_an_arm_whose_values_are_all_the_same_has_no_variance_at_all(value: float, control_first: bool) -> None:
    rng = np.random.default_rng(12)
    frame = pd.DataFrame(
        {
            "arm": np.repeat(["control", "mail"], 60_000),
            "revenue": np.concatenate([np.full(60_000, value), rng.gamma(1, 1000, 60_000)]),
        }
    )
    codes = (frame["arm"] == "mail").to_numpy(dtype=np.int8)
    if not control_first:
        frame, codes = frame.iloc[::-1], codes[::-1]
    control, mail = gather(frame, [Term("value", "revenue")], codes=codes, arms=2)
    assert control.variance(Term("value", "revenue")) == 0.0
    assert control.mean(Term("value", "revenue")) == pytest.approx(value, rel=1e-12, abs=1e-9)
    assert mail.variance(Term("value", "revenue")) == pytest.approx(frame["revenue"][frame["arm"] == "mail"].var())


def test_follow_up_may_end_on_a_day_whose_midnight_does_not_come() -> None:
    entered = pd.to_datetime(["2017-10-01T12:00", "2017-10-02T12:00"]).tz_localize("America/Sao_Paulo")
    rows = pd.DataFrame({"entered_at": entered, "bought_at": pd.Series([entered[0] + pd.Timedelta("1D"), pd.NaT])})
    lengths, happened = TimeTo("bought_at", since="entered_at", until="2017-10-15", within="30d").followed(rows)
    assert happened.tolist() == [True, False]
    assert lengths.tolist() == pytest.approx([1.0, 12.5])  # the day begins at one o'clock, an hour early
