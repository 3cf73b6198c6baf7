"""Numbers in, results out: experiments, intervals, sequential looks, planning. Pure: seeds are arguments."""

from toolkit.stats.experiment import Result, experiment
from toolkit.stats.metrics import Mean, Metric, Rate

__all__ = ["Mean", "Metric", "Rate", "Result", "experiment"]
