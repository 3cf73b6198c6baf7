"""Types: what a user's checker learns of the public calls, and that it may read them at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import toolkit as tk

ROOT = Path(__file__).parents[1]

USER = """
import pandas as pd

import toolkit as tk
from toolkit.simulation import fit, logged_sends

log = tk.EventLog.open("data/shop")
program = tk.load("templates/")
run = tk.replay(program, log, until="2025-05-01T00:00Z")
swept = tk.sweep(program, log, {"abandoned_cart.pause.wait": ["1h", "4h"]})
model = tk.ResponseModel.load("model.yaml")
outcomes = tk.measure(run)
forecast = tk.simulate(program, log, response=model)
metrics = [tk.Rate("converted"), tk.Mean("revenue"), tk.Ratio("revenue", "sends"), tk.Quantile("revenue")]
result = tk.experiment(outcomes, metrics=metrics)
planned = tk.plan(tk.Rate("converted"), baseline=0.2, rel=0.1)
batch = tk.prepare(program, log, now=run.until, templates="templates/")
approval = tk.approve(batch, by="ana")
"""

LEARNS = {
    "log": "EventLog",
    "program": "Program",
    "run": "Run",
    "run.decisions": "DataFrame",
    "run.digest": "str",
    "swept": "Sweep",
    "swept.table": "DataFrame",
    'swept.best("sent")': "Selection",
    "model": "ResponseModel",
    "outcomes": "DataFrame",
    "forecast": "Forecast",
    "forecast.lift": "DataFrame",
    'forecast.value("abandoned_cart", "profit")': "float",
    'tk.tune(program, log, model, over={"abandoned_cart.pause.wait": ["1h", "4h"]})': "Tuning",
    "result": "Result",
    "result.verdict()": "Verdict",
    "planned": "Plan",
    "planned.freeze()": "Design",
    "batch": "Batch",
    "approval": "Approval",
    'tk.send(batch, approval, transport="outbox:./outbox", confirm=len(batch))': "Report",
    "tk.shop(customers=100, seed=1)": "Shop",
    "tk.compact(program, log)": "EventLog",
    "logged_sends(program, log)": "DataFrame",
    "fit(logged_sends(program, log))": "ResponseModel",
}


def test_a_user_under_a_strict_checker_learns_the_type_of_every_public_call(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    asked = [f"reveal_type({expression})" for expression in LEARNS]
    (tmp_path / "user.py").write_text("\n".join([USER, *asked, "tk.simulat", ""]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}/cache", "user.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line.rsplit('"', 2)[1].rsplit(".", 1)[-1] for line in done.stdout.splitlines() if "Revealed type" in line]
    assert dict(zip(LEARNS, told, strict=True)) == LEARNS, done.stdout
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 1, done.stdout
    assert 'Module has no attribute "simulat"' in errors[0]


def test_a_public_name_misspelled_names_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'simulat'; did you mean 'simulate'\?"):
        tk.simulat  # noqa: B018
