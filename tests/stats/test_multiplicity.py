"""Many comparisons: the example of Benjamini and Hochberg, and statsmodels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from toolkit.errors import MetricError
from toolkit.stats import Mean, Rate, experiment
from toolkit.stats.multiplicity import benjamini_hochberg, holm
from toolkit.stats.srm import sample_ratio

PVALUES = [
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1,
]  # fmt: skip


def test_adjusted_pvalues_are_those_of_the_example_in_benjamini_and_hochberg_1995() -> None:
    assert holm(PVALUES)[:5].round(4).tolist() == [0.0015, 0.0056, 0.0247, 0.114, 0.2211]
    assert benjamini_hochberg(PVALUES)[:6].round(6).tolist() == [0.0015, 0.003, 0.0095, 0.035625, 0.0603, 0.063857]


@pytest.mark.parametrize(("ours", "theirs"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
def test_adjusted_pvalues_are_those_of_statsmodels(ours, theirs: str) -> None:
    pvalues = np.random.default_rng(1).beta(0.4, 2, 40)
    assert ours(pvalues) == pytest.approx(multipletests(pvalues, method=theirs)[1])


def test_an_undefined_pvalue_stays_undefined_and_does_not_count() -> None:
    found = holm([0.01, np.nan, 0.04])
    assert np.isnan(found[1])
    assert found[[0, 2]].tolist() == pytest.approx([0.02, 0.04])
    assert benjamini_hochberg([]).tolist() == []


def test_the_sample_ratio_test_is_that_of_fabijan_2019() -> None:
    found = sample_ratio({"control": 821588, "mail": 815482}, {"control": 1, "mail": 1})
    assert found.pvalue == pytest.approx(1.8217929e-06, rel=1e-7)
    assert found.alarm
    assert "not what was meant" in str(found)
    assert str(sample_ratio({"a": 500, "b": 1_010}, {"a": 1, "b": 2})) == (
        "split as meant: a 500 (meant 503), b 1,010 (meant 1,007); p = 0.856"
    )
    with pytest.raises(MetricError, match="weights: arm 'mial' is not in the outcomes; did you mean 'mail'"):
        sample_ratio({"control": 500, "mail": 500}, {"control": 1, "mial": 1})


def test_several_arms_and_metrics_together_raise_no_more_alarms_than_promised() -> None:
    """200 experiments without effect, three arms, two primary and four secondary metrics that go together; a share of
    0.05 strays by 0.015. Uncorrected, an alarm among the primary ones is raised in two of ten."""
    rng = np.random.default_rng(1)
    alarms = {"primary": 0, "secondary": 0, "uncorrected": 0}
    metrics = [Rate("x", role="primary"), Rate("y", role="primary"), *(Mean(f"m{at}") for at in range(4))]
    for _ in range(200):
        taste = rng.normal(size=2_400)
        outcomes = pd.DataFrame({f"m{at}": taste + rng.normal(size=2_400) for at in range(4)})
        outcomes["x"], outcomes["y"] = (taste + rng.normal(size=2_400) > bar for bar in (0.5, 1.0))
        outcomes["arm"] = np.arange(2_400) % 4
        table = experiment(outcomes, metrics, control=0).table
        for role in set(table["role"][table["pvalue_adjusted"] < 0.05]):
            alarms[role] += 1
        alarms["uncorrected"] += bool((table["pvalue"][:6] < 0.05).any())
    assert alarms["primary"] / 200 < 0.09
    assert alarms["secondary"] / 200 < 0.09
    assert alarms["uncorrected"] / 200 > 0.15
