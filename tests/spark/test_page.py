"""The examples of docs/spark.md run, but for those that name machines elsewhere."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

import toolkit as tk
from tests.simulation.test_simulate import MODEL, shop_log
from toolkit.engine import measure, replay
from toolkit.scenario import loads

pytest.importorskip("pyspark", reason="pyspark is not installed: make spark installs it")
pytestmark = [
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
PAGE = Path(__file__).parents[2] / "docs" / "spark.md"
CART = """
scenario: abandoned_cart
trigger: {event: cart_add}
reentry: {after: 3d, from: entry}
exit_on: [{event: purchase}]
goal: {event: purchase, within: 3d, value: revenue}
experiment: {name: cart_1, arms: {control: 0.3, mail: 0.7}, holdout: control}
steps: [{id: pause, wait: 4h}, {id: reminder, send: cart/reminder}]
"""


def test_the_examples_of_the_page_run(session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log, program = shop_log(200), loads(CART)
    sends = replay(program, log).decisions.query("status == 'send'")
    mails = sends[["customer_id", "at", "scenario", "step", "arm"]].assign(event="email_sent", experiment="cart_1")
    events = pd.concat([log.events.astype({"step": "string"}), mails], ignore_index=True)
    for name in ("step", "scenario", "arm", "experiment"):
        events[name] = events[name].astype("string")
    events.to_parquet("events.parquet")
    people = pd.DataFrame({"customer_id": log.events["customer_id"].unique(), "email": "someone@example.org"})
    people.to_parquet("people.parquet")
    local = replay(program, tk.EventLog.from_pandas(events, customers=people))
    measure(local).to_parquet("outcomes.parquet")
    for name in ("events", "people", "outcomes"):
        session.read.parquet(f"{tmp_path}/{name}.parquet").createOrReplaceTempView(name)
    names = {"tk": tk, "spark": session, "program": program, "model": MODEL}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    run = [block for block in blocks if "://" not in block]
    assert len(run) == 2
    for block in run:
        exec(block.replace('"decisions")', f'"{tmp_path}/decisions")'), names)
    assert session.read.parquet(f"{tmp_path}/decisions").count() == len(local.decisions)
