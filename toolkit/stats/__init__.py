"""Numbers in, results out: experiments, intervals, sequential looks, planning. Pure: seeds are arguments."""

from toolkit.stats.design import Design
from toolkit.stats.experiment import experiment
from toolkit.stats.looks import Looks
from toolkit.stats.means import Mean
from toolkit.stats.metric import Metric
from toolkit.stats.planning import Plan, plan
from toolkit.stats.quantiles import Quantile
from toolkit.stats.rates import Rate
from toolkit.stats.ratios import Ratio
from toolkit.stats.result import Result
from toolkit.stats.sequential import Spending
from toolkit.stats.times import TimeTo, survival_curves
from toolkit.stats.verdict import Verdict

__all__ = [
    "Design",
    "Looks",
    "Mean",
    "Metric",
    "Plan",
    "Quantile",
    "Rate",
    "Ratio",
    "Result",
    "Spending",
    "TimeTo",
    "Verdict",
    "experiment",
    "plan",
    "survival_curves",
]
