"""What a verdict warns of although every number is right."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from toolkit.stats import Mean, Rate, Ratio, experiment


def frame(size: int = 4_000) -> pd.DataFrame:
    """Arms alike; every tenth customer spends 20, each gets one mail or two."""
    at = np.arange(size)
    return pd.DataFrame(
        {
            "arm": np.where(at % 2, "mail", "control"),
            "converted": at // 2 % 10 == 0,
            "revenue": np.where(at // 2 % 10 == 0, 20.0, 0.0),
            "mails": 1 + at // 2 % 2,
            "opens": (at // 2 % 4 == 0) * 1,
        }
    )


def told(outcomes: pd.DataFrame, *metrics: Mean | Rate | Ratio, word: str, **how: object) -> list[str]:
    found = experiment(outcomes, metrics or (Rate("converted"),), **how)  # type: ignore[arg-type]
    assert found.verdict().warnings[-len(found.notes) :] == found.notes or not found.notes
    return [note for note in found.notes if word in note]


def test_arms_that_were_drawn_alike_are_warned_of_nothing() -> None:
    found = experiment(frame(), [Rate("converted"), Mean("revenue"), Ratio("opens", "mails")])
    assert found.notes == ()


def test_a_ratio_over_mails_of_which_one_arm_gets_more_is_told() -> None:
    outcomes = frame()
    outcomes["mails"] += outcomes["arm"] == "mail"
    ratios = Ratio("opens", "mails"), Ratio("converted", "mails")
    assert told(outcomes, *ratios, word="differ in") == [
        "mail and control differ in mails (2.5 against 1.5 a customer), so opens per mails may fall although opens"
        " rise; Mean('opens') compares them customer by customer"
    ]
    assert told(outcomes, Rate("converted"), word="differ in") == []


@pytest.mark.parametrize(("more", "is_told"), [(84, False), (108, True)])
def test_a_denominator_is_told_where_chance_moves_it_once_in_a_thousand_experiments(more: int, is_told: bool) -> None:
    """Mails are 1 or 2, half each: their mean strays by sqrt(0.25 (1/2000 + 1/2000)) = 0.0158; 3.29 of that are 0.052,
    which 104 mails more in 2,000 customers make."""
    outcomes = frame()
    moved = outcomes.index[(outcomes["arm"] == "mail") & (outcomes["mails"] == 1)][:more]
    outcomes.loc[moved, "mails"] = 2
    assert bool(told(outcomes, Ratio("opens", "mails"), word="differ in")) == is_told


def test_a_single_customer_who_has_a_tenth_of_the_revenue_is_told() -> None:
    outcomes = frame()
    outcomes.loc[1, "revenue"] = 4_000.0  # of 12,000
    metrics = Mean("revenue"), Mean("revenue", name="again", method="welch")
    assert told(outcomes, *metrics, word="has") == [
        f"{name}: one customer has 33% of all of it (4,000), and in which arm that one is may decide: compare amounts"
        " with a cap, too"
        for name in ("revenue", "again")
    ]
    outcomes.loc[1, "revenue"] = 800.0  # 9% of 8,800
    assert told(outcomes, *metrics, word="has") == []


def test_of_few_buyers_each_has_a_large_part_and_none_is_told() -> None:
    outcomes = frame(40)
    assert outcomes["revenue"].gt(0).sum() == 4
    assert told(outcomes, Mean("revenue"), word="of all of it") == []
    outcomes["revenue"] -= 1
    assert told(outcomes, Mean("revenue"), word="of all of it") == []


@pytest.mark.parametrize(("kept", "is_told"), [(1_800, False), (1_780, True), (1_500, True), (1_499, False)])
def test_arms_of_unknown_weights_that_are_nearly_alike_are_told_where_chance_does_not_make_the_gap(
    kept: int, is_told: bool
) -> None:
    """2,000 against 1,780: chi-square 12.8, p 0.00034; 1,800: 10.5, p 0.0012. Beyond 4 to 3 others were meant."""
    outcomes = frame()
    outcomes = outcomes.drop(index=outcomes.index[outcomes["arm"] == "mail"][kept:])
    (note,) = told(outcomes, word="nearly as many") or [""]
    assert bool(note) == is_told
    if is_told:
        assert f"(control 2,000, mail {kept:,})" in note
        assert "weights= says what was meant" in note
    assert told(outcomes, word="nearly as many", weights={"control": 2_000, "mail": kept}) == []
    assert told(outcomes, word="nearly as many", observational=True) == []


@pytest.mark.parametrize("ratio", [False, True], ids=["mean", "ratio"])
def test_a_covariate_that_the_mail_itself_moves_is_told(ratio: bool) -> None:
    """CUPED on visits that the mail brings takes out what the mail did."""
    outcomes = frame()
    outcomes["visits"] = (np.arange(4_000) // 2 % 3 == 0) | outcomes["arm"].eq("mail") & (
        np.arange(4_000) // 2 % 3 == 1
    )
    outcomes["age"] = np.arange(4_000) // 2 % 50
    metric = Ratio("opens", "mails", covariate="visits") if ratio else Mean("revenue", covariate=("age", "visits"))
    (note,) = told(outcomes, metric, word="differed")
    assert note.startswith("mail and control differed in visits before the experiment (0.667 against 0.3335, p = ")
    assert note.endswith(": the split is not sound, or visits was not known before")
    (note,) = told(outcomes.rename(columns={"visits": "pre_visits"}), Rate("converted"), word="differed")
    assert note.endswith(": the split is not sound")
    assert told(outcomes, Mean("revenue", covariate="age"), word="differed") == []


def test_strata_that_the_mail_itself_makes_are_told() -> None:
    outcomes = frame()
    outcomes["opened"] = (outcomes["arm"] == "mail") & (outcomes.index % 10 < 4) | (outcomes.index % 10 == 0)
    outcomes["kind"] = np.arange(4_000) // 2 % 4
    notes = [experiment(outcomes, [Mean("revenue", strata=by)]).comparisons[0].note for by in ("opened", "kind")]
    assert notes[0].startswith("arms are not split alike by opened (p = ")
    assert notes[0].endswith("): it changed with the arms, or their weights changed")
    assert notes[1] == ""


@pytest.mark.parametrize(
    ("second", "is_told"),
    [("Mail A", False), ("mail a", True), (" Mail  A", True), ("MAIL A ", True), ("mail_a", False)],
)
def test_arms_that_are_one_written_in_several_ways_are_told(second: str, is_told: bool) -> None:
    outcomes = frame()
    outcomes["arm"] = np.resize(["control", "Mail B", "Mail A", second], len(outcomes))
    notes = told(outcomes, word="spaces or capitals")
    assert len(notes) == is_told
    if is_told:
        assert repr(second) in notes[0]
        assert "differ in spaces or capitals only and count as 2" in notes[0]
        assert "'Mail B'" not in notes[0]
