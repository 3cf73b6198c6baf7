"""Numbers in, results out: experiments, intervals, sequential looks, planning. Pure: seeds are arguments."""

from toolkit.stats.bayesian import Belief, effect_posterior, rates_posterior
from toolkit.stats.bootstrap import bootstrap_difference, bootstrap_means
from toolkit.stats.by_day import LiftByDay, lift_by_day
from toolkit.stats.calibration import calibrate
from toolkit.stats.design import Design
from toolkit.stats.experiment import experiment
from toolkit.stats.lapse import BuyingModel, buying_histories, fit_buying
from toolkit.stats.looks import Looks
from toolkit.stats.means import Mean
from toolkit.stats.metric import Metric
from toolkit.stats.planning import Plan, plan
from toolkit.stats.proportions import Share
from toolkit.stats.quantiles import Quantile
from toolkit.stats.rates import Rate
from toolkit.stats.ratios import Ratio
from toolkit.stats.result import Result
from toolkit.stats.sequential import Spending
from toolkit.stats.source import Source
from toolkit.stats.srm import SampleRatio, sample_ratio
from toolkit.stats.survival import Survival, kaplan_meier, log_rank
from toolkit.stats.targeting import Qini, qini, uplift_by_segment
from toolkit.stats.times import TimeTo, survival_curves
from toolkit.stats.verdict import Verdict

__all__ = [
    "Belief",
    "BuyingModel",
    "Design",
    "LiftByDay",
    "Looks",
    "Mean",
    "Metric",
    "Plan",
    "Qini",
    "Quantile",
    "Rate",
    "Ratio",
    "Result",
    "SampleRatio",
    "Share",
    "Source",
    "Spending",
    "Survival",
    "TimeTo",
    "Verdict",
    "bootstrap_difference",
    "bootstrap_means",
    "buying_histories",
    "calibrate",
    "effect_posterior",
    "experiment",
    "fit_buying",
    "kaplan_meier",
    "lift_by_day",
    "log_rank",
    "plan",
    "qini",
    "rates_posterior",
    "sample_ratio",
    "survival_curves",
    "uplift_by_segment",
]
