"""Screens for notebooks, over the public functions.

Each is loaded when it is first used, so that the server of the notebooks, which needs none of them, starts at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOMES = {
    "ApprovalDesk": "approval_desk",
    "ExperimentBoard": "experiment_board",
    "ExperimentDesigner": "experiment_designer",
    "LogProfile": "log_profile",
    "MailPreview": "mail_preview",
    "ScenarioView": "scenario_view",
    "SendConsole": "send_console",
    "SweepMap": "sweep_map",
    "TraceView": "trace_view",
    "Tuner": "tuner",
}

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


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            value = getattr(importlib.import_module(f"toolkit.widgets.{_HOMES[name]}"), name)
            globals()[name] = value
            return value
        raise AttributeError(f"module 'toolkit.widgets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
