"""Moments gathered in blocks by two threads are those of a plain sum over the rows of each arm."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from toolkit.stats.gathering import gather
from toolkit.stats.moments import Term

TERMS = [Term("value", "spend"), Term("value", "orders"), Term("value", "bought"), Term("filled", "before")]
TERMS += [Term("missing", "before"), Term("some", "spend"), Term("above", "orders", "visits"), Term("broken", "spend")]


@pytest.mark.parametrize(("count", "arms"), [(700, 2), (450_000, 2), (250_000, 20)])
@pytest.mark.parametrize("split", ["even", "small"])
def test_moments_are_those_of_each_arm_alone(count: int, arms: int, split: str) -> None:
    rng = np.random.default_rng(count + arms)
    weights = np.ones(arms) if split == "even" else np.r_[0.02 * arms, np.ones(arms - 1)]
    codes = rng.choice(arms, count, p=weights / weights.sum()).astype(np.int8)
    frame = pd.DataFrame(
        {
            "spend": 1e6 + rng.gamma(1, 10, count),  # digits would cancel without a shift
            "orders": rng.integers(-3, 9, count).astype(np.int32),
            "bought": rng.random(count) < 0.1,
            "before": np.where(rng.random(count) < 0.2, np.nan, rng.gamma(1, 10, count)),
            "visits": rng.integers(0, 9, count),
        }
    )
    found = gather(frame, TERMS, codes=codes, arms=arms)
    terms = found[0].terms
    for arm in range(arms):
        rows = frame[codes == arm]
        plain = pd.DataFrame(
            {"spend": rows["spend"], "orders": rows["orders"], "bought": rows["bought"].astype(float)}
        ).assign(filled=rows["before"].fillna(0), missing=rows["before"].isna().astype(float))
        assert found[arm].n == len(rows)
        at = [terms.index(term) for term in TERMS[:5]]
        np.testing.assert_allclose(found[arm].means[at], plain.mean(), rtol=1e-12)
        covered = found[arm].comoments[np.ix_(at, at)] / (len(rows) - 1)
        np.testing.assert_allclose(covered, plain.cov(), rtol=1e-7, atol=1e-9)
        np.testing.assert_array_equal(found[arm].minima[at], [*frame[["spend", "orders"]].min(), 0, 0, 0])
        assert found[arm].count(TERMS[5]) == len(rows)
        assert found[arm].count(TERMS[6]) == (rows["orders"] > rows["visits"]).sum()
