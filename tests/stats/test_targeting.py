"""For whom: segments and the Qini curve, against hand computations and known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency, norm

from toolkit.bars import Bar
from toolkit.errors import MetricError
from toolkit.stats import Mean, Rate, Ratio
from toolkit.stats.targeting import qini, uplift_by_segment


def people(count: int, seed: int, *, moved: float = 0.2) -> pd.DataFrame:
    """People of whom half are moved by the mail, and half are not."""
    rng = np.random.default_rng(seed)
    treated, kind = rng.random(count) < 0.5, rng.random(count) < 0.5
    return pd.DataFrame(
        {
            "arm": np.where(treated, "mail", "control"),
            "kind": np.where(kind, "moved", "not moved"),
            "converted": rng.random(count) < 0.2 + moved * (treated & kind),
            "score": kind + 0.01 * rng.random(count),
            "chance": rng.random(count),
        }
    )


def test_the_curve_is_the_one_computed_by_hand() -> None:
    found = qini([1, 0, 0, 0], [True, False, True, False], [0.9, 0.8, 0.2, 0.1])
    assert found.table["share"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert found.table["gain"].tolist() == [0, 0.5, 0.5, 0.5, 0.5]
    assert found.qini == pytest.approx(0.4375 - 0.25)
    assert found.auuc == pytest.approx(0.25 * (0.125 + 0.375 + 0.4375 + 0.4375))
    assert "qini = area under gain" in str(found)


def test_the_curve_is_that_of_its_definition_group_of_scores_by_group_of_scores() -> None:
    """Radcliffe (2007): the gain of the best scores is their treated total less control's, scaled to as many units."""
    rng = np.random.default_rng(8)
    treated, score = rng.random(300) < 0.3, rng.integers(0, 12, 300)
    outcome = rng.gamma(1, 5 + score + 3 * treated)
    gains, uplifts, shares = [0.0], [0.0], [0.0]
    for least in sorted(set(score), reverse=True):
        best, control = outcome[treated & (score >= least)], outcome[~treated & (score >= least)]
        gains.append((best.sum() - control.sum() * len(best) / len(control)) / treated.sum())
        shares.append((score >= least).mean())
        uplifts.append(shares[-1] * (best.mean() - control.mean()))
    found = qini(outcome, treated, score)
    assert found.table["gain"].tolist() == pytest.approx(gains)
    assert found.table["random"].tolist() == pytest.approx([share * gains[-1] for share in shares])
    assert found.qini == pytest.approx(np.trapezoid(gains, shares) - gains[-1] / 2)
    assert found.auuc == pytest.approx(np.trapezoid(uplifts, shares))


def test_a_score_that_finds_buyers_whom_no_mail_moves_has_no_qini() -> None:
    rng = np.random.default_rng(9)
    treated, score = rng.random(20_000) < 0.5, rng.random(20_000)
    found = qini(rng.random(20_000) < score, treated, score, draws=100)
    assert found.qini_lower < 0 < found.qini_upper
    assert f"[{found.qini_lower:.4g}, {found.qini_upper:.4g}]" in str(found)
    assert "nan" not in str(qini([1, 0], [True, False], [2, 1]))


def test_units_of_equal_score_enter_together_whatever_their_order() -> None:
    frame = people(500, 1)
    tied = frame.assign(score=frame["score"].round(1))
    one = qini(tied["converted"], tied["arm"] == "mail", tied["score"])
    mixed = tied.sample(frac=1, random_state=2)
    other = qini(mixed["converted"], mixed["arm"] == "mail", mixed["score"])
    assert one.qini == pytest.approx(other.qini)
    assert len(one.table) == 3


def test_a_good_score_has_a_qini_above_0_and_chance_has_not() -> None:
    frame = people(20_000, 3)
    good = qini(frame["converted"], frame["arm"] == "mail", frame["score"], draws=100, seed=1)
    chance = qini(frame["converted"], frame["arm"] == "mail", frame["chance"], draws=100, seed=1)
    # half of the people gain 0.2: the best order gains 0.1 by the middle, 0.05 above the straight line there
    assert good.qini == pytest.approx(0.025, abs=0.006)
    assert good.qini_lower > 0
    assert chance.qini_lower < 0 < chance.qini_upper


def test_the_lift_of_each_segment_is_that_of_its_people() -> None:
    frame = people(8_000, 4)
    found = uplift_by_segment(frame, Rate("converted"), "kind").set_index("segment")
    part = frame[frame["kind"] == "moved"].groupby("arm")["converted"].mean()
    assert found.loc["moved", "diff"] == pytest.approx(part["mail"] - part["control"])
    assert found.loc["moved", "pvalue_adjusted"] < 0.001
    assert found.loc["not moved", "pvalue_adjusted"] > 0.05
    assert found["heterogeneity"].max() < 1e-6


def test_pvalues_of_segments_count_all_segments() -> None:
    """80 experiments, ten segments, no effect: Holm keeps the chance of any alarm near 5% (error 2.4 points)."""
    rng = np.random.default_rng(5)
    any_alarm = naive = 0
    for _ in range(80):
        frame = pd.DataFrame(
            {
                "arm": np.where(rng.random(12_000) < 0.5, "mail", "control"),
                "segment": rng.integers(0, 10, 12_000),
                "converted": rng.random(12_000) < 0.2,
            }
        )
        found = uplift_by_segment(frame, Rate("converted"), "segment")
        any_alarm += (found["pvalue_adjusted"] < 0.05).any()
        naive += (found["pvalue"] < 0.05).any()
    assert any_alarm / 80 < 0.13
    assert naive / 80 > 0.2


def test_a_segment_without_control_is_undefined_with_the_reason() -> None:
    frame = people(300, 6)
    frame.loc[frame["arm"] == "mail", "kind"] = "mailed only"
    found = uplift_by_segment(frame, Mean("score"), "kind").set_index("segment")
    assert np.isnan(found.loc["mailed only", "diff"])
    assert "no units in arm" in found.loc["mailed only", "note"]


@pytest.mark.parametrize(
    ("outcome", "treated", "score", "message"),
    [
        ([1, 0], [True, True], [1, 2], "treated units and control units"),
        ([1, 0], [False, False], [1, 2], "treated units and control units"),
        ([1, 0], [True, False], [1], "same length"),
        ([1, np.nan], [True, False], [1, 2], "finite"),
        ([1, 0], [1, 2], [1, 2], "True or False"),
    ],
)
def test_a_curve_that_cannot_be_is_an_error(outcome: list, treated: list, score: list, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        qini(outcome, treated, score)


def test_segments_that_cannot_be_are_errors() -> None:
    frame = people(300, 7)
    with pytest.raises(MetricError, match="did you mean 'kind'"):
        uplift_by_segment(frame, Rate("converted"), "kinds")
    with pytest.raises(MetricError, match="at most 200"):
        uplift_by_segment(frame, Rate("converted"), "chance")
    with pytest.raises(MetricError, match="holm"):
        uplift_by_segment(frame, Rate("converted"), "kind", correction="none")
    with pytest.raises(MetricError, match="allowed: holm"):
        uplift_by_segment(frame, Rate("converted"), "kind", correction=["holm"])  # type: ignore[arg-type]


@pytest.mark.parametrize("progress", [True, False])
def test_many_draws_of_a_qini_show_how_far_they_are(capsys, monkeypatch, progress):
    def at_once(draws, **options):
        return Bar(draws, **{**options, "delay": 0})

    monkeypatch.setattr("toolkit.stats.targeting.Bar", at_once)  # however quick the machine is
    rng = np.random.default_rng(1)
    qini(rng.random(100_000) < 0.1, rng.random(100_000) < 0.5, rng.random(100_000), draws=60, progress=progress)
    assert ("qini: " in capsys.readouterr().err) == progress


def test_two_segments_differ_as_two_lifts_do_of_which_each_has_its_error() -> None:
    """Cochran's Q of two is the square of their difference in standard errors: chi-square with one degree."""
    found = uplift_by_segment(people(3_000, 15), Rate("converted"), "kind")
    variance = sum(
        row.value * (1 - row.value) / row.n + row.control * (1 - row.control) / row.n_control
        for row in found.itertuples()
    )
    z = np.diff(found["diff"].to_numpy())[0] / np.sqrt(variance)
    assert found["heterogeneity"].tolist() == pytest.approx([2 * norm.sf(abs(z))] * 2)


def test_rows_of_one_customer_are_added_up_within_each_segment() -> None:
    """One row per journey: mails of one customer are not independent, and 4 rows of a customer are no 4 customers."""
    rng = np.random.default_rng(14)
    journeys = rng.integers(1, 5, 600)
    taste = rng.beta(0.5, 1.5, 600)
    rows = pd.DataFrame({"unit": np.repeat(np.arange(600), journeys)})
    rows["arm"] = np.where(rows["unit"] % 2, "mail", "control")
    rows["kind"] = np.where(rows["unit"] % 3, "new", "loyal")
    rows["mails"] = rng.integers(1, 4, len(rows))
    rows["opens"] = rng.binomial(rows["mails"], taste[rows["unit"]])
    metric = Ratio("opens", "mails")
    found = uplift_by_segment(rows.sample(frac=1, random_state=1), metric, "kind")
    summed = rows.groupby(["unit", "arm", "kind"], as_index=False)[["mails", "opens"]].sum()
    wanted = uplift_by_segment(summed, metric, "kind")
    columns = ["n", "n_control", "diff", "diff_lower", "diff_upper", "pvalue", "split"]
    assert found[columns].to_numpy() == pytest.approx(wanted[columns].to_numpy())
    assert found["n"].sum() + found["n_control"].sum() == 600
    named = uplift_by_segment(rows.rename(columns={"unit": "person"}), metric, "kind", unit="person")
    assert named["diff_lower"].tolist() == pytest.approx(wanted["diff_lower"].tolist())
    with pytest.raises(MetricError, match="units have more than one row"):
        uplift_by_segment(rows.assign(opened=True), Rate("opened"), "kind")
    with pytest.raises(MetricError, match="unit is in more than one arm"):
        uplift_by_segment(rows.assign(arm=np.where(rows["kind"].eq("new"), "mail", "control"), unit=1), metric, "kind")
    with pytest.raises(MetricError, match=r"column 'person' .* is missing"):
        uplift_by_segment(rows, metric, "kind", unit="person")


def test_whether_arms_are_split_alike_in_all_segments_is_the_chi_square_test() -> None:
    frame = people(3_000, 11)
    frame["arm"] = np.where(frame["chance"] < 0.1, "other", frame["arm"])
    found = uplift_by_segment(frame, Rate("converted"), "kind")
    expected = chi2_contingency(pd.crosstab(frame["kind"], frame["arm"])).pvalue
    assert found["split"].tolist() == pytest.approx([expected] * 4)
    assert found["note"].eq("").all()


def test_segments_that_the_arms_changed_or_weights_that_changed_are_told() -> None:
    """Weights of 1 to 99 on Friday and 50 to 50 on Saturday, and a segment that the mail itself makes: opened."""
    frame = people(4_000, 12)
    rng = np.random.default_rng(13)
    frame["day"] = np.where(np.arange(4_000) < 2_000, "Friday", "Saturday")
    late = frame["day"].eq("Saturday")
    frame["arm"] = np.where(rng.random(4_000) < np.where(late, 0.5, 0.01), "mail", "control")
    frame["opened"] = rng.random(4_000) < np.where(frame["arm"] == "mail", 0.4, 0.1)
    for by in ("day", "opened"):
        found = uplift_by_segment(frame, Rate("converted"), by)
        assert found["split"].iloc[0] < 1e-10
        assert found["note"].str.contains(f"arms are not split alike by {by} (p = ", regex=False).all()


def test_segments_of_few_people_are_put_together_before_their_split_is_judged() -> None:
    """Of 40 segments of two people each, half of which have one arm only, a chi-square of cells of one says nothing."""
    rows = [(str(at), arm) for at in range(40) for arm in (("a", "a"), ("b", "b"), ("a", "b"), ("b", "a"))[at % 4]]
    frame = pd.DataFrame(rows, columns=["segment", "arm"]).assign(converted=True)
    assert np.isnan(uplift_by_segment(frame, Rate("converted"), "segment", control="a")["split"]).all()
    large = pd.DataFrame({"segment": "large", "arm": ["a"] * 60 + ["b"] * 20, "converted": True})
    found = uplift_by_segment(pd.concat([frame, large]), Rate("converted"), "segment", control="a")
    assert found["split"].iloc[0] == pytest.approx(chi2_contingency([[40, 40], [60, 20]], correction=False).pvalue)
