"""Screens for notebooks, over the public functions."""

from toolkit.widgets.approval_desk import ApprovalDesk
from toolkit.widgets.experiment_board import ExperimentBoard
from toolkit.widgets.experiment_designer import ExperimentDesigner
from toolkit.widgets.log_profile import LogProfile
from toolkit.widgets.mail_preview import MailPreview
from toolkit.widgets.scenario_view import ScenarioView
from toolkit.widgets.send_console import SendConsole
from toolkit.widgets.sweep_map import SweepMap
from toolkit.widgets.trace_view import TraceView
from toolkit.widgets.tuner import Tuner

__all__ = [
    "ApprovalDesk",
    "ExperimentBoard",
    "ExperimentDesigner",
    "LogProfile",
    "MailPreview",
    "ScenarioView",
    "SendConsole",
    "SweepMap",
    "TraceView",
    "Tuner",
]
