"""Pictures of results: tables in, plotly figures out; and the report a marketer can open."""

from toolkit.charts.by_day import lift_days
from toolkit.charts.curves import plan_curve, qini_curve, survival_plot
from toolkit.charts.deliverability import deliverability_chart
from toolkit.charts.figure import figure
from toolkit.charts.lift import forest
from toolkit.charts.lift_report import experiment_report
from toolkit.charts.looks import boundary
from toolkit.charts.own_purchases import own_chart
from toolkit.charts.report import report
from toolkit.charts.sends import not_sent, sends_by_day, sends_by_hour
from toolkit.charts.sweeps import sweep_heatmap, sweep_lines
from toolkit.charts.traces import timeline

__all__ = [
    "boundary",
    "deliverability_chart",
    "experiment_report",
    "figure",
    "forest",
    "lift_days",
    "not_sent",
    "own_chart",
    "plan_curve",
    "qini_curve",
    "report",
    "sends_by_day",
    "sends_by_hour",
    "survival_plot",
    "sweep_heatmap",
    "sweep_lines",
    "timeline",
]
