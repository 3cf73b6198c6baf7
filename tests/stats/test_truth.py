"""Shops whose truth is known: the verdict is right as often as promised, under everything that disturbs it.

Money has heavy tails, the holdout is small, customers come back and get several mails, machines open mails.
The fast runs give Monte-Carlo errors of 2 to 4 points, the long ones (soak) of half a point.
"""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest

from toolkit.stats import Looks, Mean, Rate, Ratio, Spending, experiment
from toolkit.stats.power import power_of_rates

RUNS = [pytest.param(60, id="fast"), pytest.param(2_500, id="long", marks=pytest.mark.soak)]


def shop(
    rng: np.random.Generator, count: int, *, moved: float, machines: float, others: tuple[float, float] = (0, 0)
) -> pd.DataFrame:
    """Customers of whom a share `moved` buys because of the mail; a tenth is held out.

    Shares `others` of control and of the mailed get a mail of another scenario, which makes a third of them buy.
    """
    mailed = rng.random(count) < 0.9
    taste = rng.beta(1, 6, count)
    mails = rng.geometric(0.4, count)
    buys = (rng.random(count) < taste) | (mailed & (rng.random(count) < moved))
    other = np.zeros(count, dtype=bool)
    if any(others):
        other = rng.random(count) < np.where(mailed, others[1], others[0])
        buys |= other & (rng.random(count) < 1 / 3)
    people = rng.binomial(mails, np.clip(taste * 2, 0, 0.9)) > 0
    opened = np.where(rng.random(count) < machines, "machine", np.where(people, "human", "none"))
    return pd.DataFrame(
        {
            "arm": np.where(mailed, "mail", "control"),
            "converted": buys,
            "revenue": np.where(buys, rng.lognormal(3, 1.1, count), 0.0),
            "mails": mails,
            "clicks": rng.binomial(mails, np.clip(taste + moved * mailed, 0, 1)),
            "open": pd.Series(opened).where(opened != "none"),
            "other_mails": other.astype(int),
        }
    )


METRICS = [
    Rate("converted", role="primary"),
    Mean("revenue", currency="EUR"),
    Ratio("clicks", "mails"),
    Rate("opened", verdict="open"),
]


def verdicts(
    runs: int, *, moved: float, machines: float, seed: int, others: tuple[float, float] = (0, 0)
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for run in range(runs):
        result = experiment(shop(rng, 3_000, moved=moved, machines=machines, others=others), METRICS, seed=run)
        verdict = result.verdict()
        row = {"action": verdict.action, "uneven": "reached the arms unevenly" in verdict}
        for one in result.comparisons:
            row[one.metric] = one.pvalue < 0.05
            row[f"{one.metric} diff"] = one.diff
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("machines", [0.0, 0.5])
def test_a_mail_without_effect_is_rolled_out_as_rarely_as_alpha_says(runs: int, machines: float) -> None:
    found = verdicts(runs, moved=0.0, machines=machines, seed=1)
    error = (0.05 * 0.95 / runs) ** 0.5
    assert (found["action"] == "roll out").mean() < 0.025 + 3 * error
    for metric in ("converted", "revenue", "clicks per mails", "opened (at least)", "opened (at most)"):
        assert found[metric].mean() == pytest.approx(0.05, abs=3.5 * error + 0.008), metric


@pytest.mark.parametrize("runs", RUNS)
def test_a_mail_that_moves_people_is_found_with_its_true_size(runs: int) -> None:
    found = verdicts(runs, moved=0.07, machines=0.5, seed=2)
    base, better = 1 / 7, 1 / 7 + 0.07 * 6 / 7
    power = power_of_rates(better, base, n=2_700, n_control=300)
    assert (found["action"] == "roll out").mean() == pytest.approx(
        power, abs=3 * (power * (1 - power) / runs) ** 0.5 + 0.02
    )
    assert (found["action"] == "do not roll out").mean() < 0.02 + 3 * (0.02 / runs) ** 0.5
    assert found["converted diff"].mean() == pytest.approx(
        better - base, abs=4 * found["converted diff"].std() / runs**0.5
    )


@pytest.mark.parametrize("runs", RUNS)
def test_another_scenario_that_reaches_both_arms_alike_changes_no_promise(runs: int) -> None:
    found = verdicts(runs, moved=0.0, machines=0.5, seed=4, others=(0.3, 0.3))
    error = (0.05 * 0.95 / runs) ** 0.5
    assert (found["action"] == "roll out").mean() < 0.025 + 3 * error
    for metric in ("converted", "revenue"):
        assert found[metric].mean() == pytest.approx(0.05, abs=3.5 * error + 0.008), metric
    assert found["uneven"].mean() < 0.001 + 3.5 * (0.001 / runs) ** 0.5


@pytest.mark.parametrize("runs", RUNS)
def test_another_scenario_that_gives_way_to_the_mail_is_told_and_its_loss_is_in_the_lift(runs: int) -> None:
    found = verdicts(runs, moved=0.07, machines=0.0, seed=5, others=(0.3, 0.1))
    assert found["uneven"].mean() > 0.97
    stay = 6 / 7  # who does not buy on their own
    truth = stay * (1 - 0.93 * (1 - 0.1 / 3)) - stay * (0.3 / 3)
    assert found["converted diff"].mean() == pytest.approx(truth, abs=4 * found["converted diff"].std() / runs**0.5)


LOOKING = int(os.environ.get("TOOLKIT_LOOKING_RUNS", "1000"))
"""Experiments looked at on each of 21 days: each takes a second, for repeated p-values are solved for at every look."""


@pytest.mark.parametrize(
    "runs", [pytest.param(20, id="fast"), pytest.param(LOOKING, id="long", marks=pytest.mark.soak)]
)
@pytest.mark.parametrize("spending", [Spending("obrien_fleming"), Spending("pocock"), "always"])
def test_looking_every_day_for_four_weeks_keeps_alpha_through_the_whole_path(runs: int, spending) -> None:
    rng = np.random.default_rng(3)
    days, daily = 28, 150
    alarms = naive = 0
    for _ in range(runs):
        frame = pd.DataFrame({"arm": np.arange(days * daily) % 2, "converted": rng.random(days * daily) < 0.2})
        past: list[int] = []
        alarmed = peeked = False
        for day in range(8, days + 1, 1 if runs > 100 else 5):
            now = frame.iloc[: day * daily]
            looks = Looks(planned=days * daily, past=past, spending=spending)
            one = experiment(now, [Rate("converted")], control=0, looks=looks).comparisons[0]
            alarmed |= one.diff_lower > 0 or one.diff_upper < 0
            peeked |= one.pvalue < 0.05
            past.append(day * daily)
        alarms += alarmed
        naive += peeked
    assert alarms / runs < 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    assert naive >= alarms
