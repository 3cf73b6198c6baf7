"""The main job told once, on the log and the templates that the project ships: `make demo`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from toolkit.charts import report as write_report
from toolkit.engine import Run, Sweep, Trace, measure, replay, sweep
from toolkit.errors import InputError
from toolkit.events import EventLog
from toolkit.scenario import load
from toolkit.scenario.models import Program
from toolkit.sending import Batch, approve, prepare, send
from toolkit.stats import LiftByDay, Mean, Rate, Result, experiment, lift_by_day

__all__ = ["run_demo"]

_LOG = Path("data/shop")
_TEMPLATES = Path("templates")
_SHOWN = ("welcome", "abandoned_cart", "order_status")
_WAIT = "abandoned_cart.pause.wait"
_WAITS = ("1h", "4h", "12h", "1d", "3d")


def run_demo(*, outbox: Path, report: Path, say: Callable[[str], None]) -> None:
    """Replay, trace, sweep, lift, approve, send to an outbox, report.

    Args:
        outbox: folder that receives one .eml per mail.
        report: the HTML file to write.
        say: receives each line of what is told.

    Raises:
        InputError: the shipped log or templates are not in the current folder.
    """
    for needed in (_LOG, _TEMPLATES):
        if not needed.is_dir():
            raise InputError(f"no folder {needed} here; run the demo in the project's own folder")
    log = EventLog.open(_LOG)
    program = _shown(load(_TEMPLATES))
    _title(say, "1. The log")
    say(str(log.profile()))
    _title(say, "2. Replay: who would have got which mail, when, and why not")
    run = replay(program, log)
    say(str(run.summary()))
    _title(say, "3. One customer")
    trace = run.trace(_telling_customer(run))
    say(str(trace))
    _title(say, "4. How long should an abandoned cart wait?")
    tried = sweep(program, log, {_WAIT: _WAITS}, progress=False)
    say(_waits(tried))
    _title(say, "5. Lift of the experiment in the log")
    result, by_day = _lift(run)
    say(str(result.verdict()))
    _title(say, "6. Approve and send, twice")
    batch = _send(program, log, run, outbox, say)
    written = _report(run, trace, tried, (result, by_day), batch, report)
    say(f"\nThe report, for a browser: {written}")


def _title(say: Callable[[str], None], text: str) -> None:
    say(f"\n{text}\n{'─' * len(text)}")


def _shown(program: Program) -> Program:
    shown: Program = program.replace(scenarios=tuple(s for s in program.scenarios if s.scenario in _SHOWN))
    return shown


def _telling_customer(run: Run) -> str:
    """Someone whose timeline shows a mail that went and one that did not."""
    decisions = run.decisions[run.decisions["scenario"] == "abandoned_cart"]
    by_customer = decisions.groupby("customer_id").agg(
        sent=("status", lambda status: (status == "send").sum()), reasons=("reason", "nunique"), mails=("at", "size")
    )
    by_customer["events"] = run.log.events["customer_id"].value_counts()
    telling = by_customer[(by_customer["sent"] > 0) & (by_customer["reasons"] > 0) & (by_customer["mails"] <= 6)]
    chosen = telling if len(telling) else by_customer
    return str(chosen.sort_values(["events", "mails"], kind="stable").index[0])


def _waits(tried: Sweep) -> str:
    table = tried.table[tried.table["scenario"] == "abandoned_cart"]
    shown = pd.DataFrame(
        {
            "wait": table[_WAIT],
            "mails": table["sent"].map("{:,}".format),
            "bought before it": table["own_before"].map("{:,}".format),
            "would have bought anyway": [
                f"{rate:.1%} of {people:,}"
                for rate, people in zip(table["own_after_rate"], table["mailed"], strict=True)
            ],
        }
    )
    basis = (
        "\nExact: mails. Observed in the control group, which never got one: who bought before the mail was due,"
        "\nand who would have bought anyway within 7 days of it."
    )
    return shown.to_string(index=False) + basis


def _lift(run: Run) -> tuple[Result, LiftByDay]:
    outcomes = measure(run, scenario="abandoned_cart")
    revenue = Mean("revenue", covariate="pre_revenue", currency=run.program.policies.currency)
    result = experiment(outcomes, metrics=[Rate("converted"), revenue], control="control")
    return result, lift_by_day(outcomes, result, every=7)


def _send(program: Program, log: EventLog, run: Run, outbox: Path, say: Callable[[str], None]) -> Batch:
    now = run.until
    batch = prepare(program, log, now=now, templates=_TEMPLATES, progress=False)
    say(str(batch.summary()))
    approval = approve(batch, by="ana")
    say(f"\napproved: {approval}")
    for turn in ("first", "second"):
        told = send(batch, approval, transport=f"outbox:{outbox}", confirm=len(batch), progress=False)
        say(f"{turn} time: {told}")
    return batch


def _report(run: Run, trace: Trace, tried: Sweep, lift: tuple[Result, LiftByDay], batch: Batch, path: Path) -> Path:
    result, by_day = lift
    return write_report(
        run, sweep=tried, result=result, by_day=by_day, trace=trace, batch_summary=batch.summary(), path=path
    )
