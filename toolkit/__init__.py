"""Automated e-mail for Jupyter: replay, tune, measure, approve and send triggered mails.

    import toolkit as tk
    log = tk.EventLog.open("data/shop")
    program = tk.load("templates/")
    run = tk.replay(program, log)

Names are loaded when they are first used, so that importing the package takes no time.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.charts import report
    from toolkit.engine import Run, compact, measure, replay, sweep
    from toolkit.errors import ToolkitError
    from toolkit.events import EventLog, OutcomeTable
    from toolkit.scenario import load
    from toolkit.sending import approve, prepare, send
    from toolkit.simulation import ResponseModel, shop, simulate, tune
    from toolkit.stats import Mean, Quantile, Rate, Ratio, TimeTo, experiment, plan

__version__ = "0.2.0"

_HOMES = {
    "EventLog": "toolkit.events",
    "Mean": "toolkit.stats",
    "OutcomeTable": "toolkit.events",
    "Quantile": "toolkit.stats",
    "Rate": "toolkit.stats",
    "Ratio": "toolkit.stats",
    "ResponseModel": "toolkit.simulation",
    "Run": "toolkit.engine",
    "TimeTo": "toolkit.stats",
    "ToolkitError": "toolkit.errors",
    "approve": "toolkit.sending",
    "compact": "toolkit.engine",
    "experiment": "toolkit.stats",
    "load": "toolkit.scenario",
    "measure": "toolkit.engine",
    "plan": "toolkit.stats",
    "prepare": "toolkit.sending",
    "replay": "toolkit.engine",
    "report": "toolkit.charts",
    "send": "toolkit.sending",
    "shop": "toolkit.simulation",
    "simulate": "toolkit.simulation",
    "sweep": "toolkit.engine",
    "tune": "toolkit.simulation",
}

__all__ = [
    "EventLog",
    "Mean",
    "OutcomeTable",
    "Quantile",
    "Rate",
    "Ratio",
    "ResponseModel",
    "Run",
    "TimeTo",
    "ToolkitError",
    "approve",
    "compact",
    "experiment",
    "load",
    "measure",
    "plan",
    "prepare",
    "replay",
    "report",
    "send",
    "shop",
    "simulate",
    "sweep",
    "tune",
]


if not TYPE_CHECKING:  # so that a type checker knows the names above, and no others

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            value = getattr(importlib.import_module(_HOMES[name]), name)
            globals()[name] = value
            return value
        meant = importlib.import_module("toolkit.errors").did_you_mean(name, __all__)
        doors = sorted(Path(__file__).parent.glob("*/__init__.py"))
        rooms = [door.parent.name for door in doors if f'"{name}"' in door.read_text(encoding="utf-8")]
        meant = f"; it is in toolkit.{' and toolkit.'.join(rooms)}" if rooms else meant
        # With a name given, Python adds no hint of its own behind this one.
        raise AttributeError(f"module 'toolkit' has no attribute {name!r}{meant}", name=name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
