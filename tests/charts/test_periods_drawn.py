"""Pictures and a report of a period count its mails, and flows and own purchases the journeys they speak of."""

from __future__ import annotations

import pandas as pd

import toolkit as tk
from toolkit.charts import figure
from toolkit.charts.diagram import diagram
from toolkit.engine.flow import flow_of
from toolkit.engine.own_purchases import own_purchases

ONE = pd.Timedelta(1, unit="us")


def test_pictures_and_a_report_are_of_the_period(shop_run, tmp_path):
    march = shop_run.between("2025-03-01T00:00+01:00", "2025-04-01T00:00+02:00")
    drawing = figure(march, show="days")
    assert "· 1 Mar – 31 Mar 2025" in drawing.layout.title.text
    assert sum(sum(bars.y) for bars in drawing.data) == (march.decisions["status"] == "send").sum()
    page = tk.report(march, path=tmp_path / "report.html", progress=False).read_text(encoding="utf-8")
    assert "In these 31 days this program, at work since before them, would have sent" in page
    assert len(march.load().by_day) == 32  # local midnight is in two UTC days
    flow = flow_of(march, "abandoned_cart")
    mine = march.journeys.query("scenario == 'abandoned_cart' and ended_by != 'superseded'")
    assert flow.journeys == len(mine)
    assert sum(one.total for one in flow.left.values()) == mine["ended_by"].isin(["exited", "unsubscribed"]).sum()
    first, last = (shop_run.decisions["at"].min(), march.until)
    known = shop_run.between(first, last + ONE).decisions.query("status != 'superseded'")
    steps = known.sort_values("at").groupby("journey_id")["step"].last()
    gone = mine[mine["ended_by"].isin(["exited", "unsubscribed"])]
    wanted = gone["journey_id"].map(steps).fillna("").value_counts().to_dict()
    assert {step: one.total for step, one in flow.left.items()} == wanted
    assert diagram(shop_run.program["abandoned_cart"], march)


def test_own_purchases_of_a_period_are_those_of_journeys_that_began_in_it(shop_run):
    middle = "2025-03-01T00:00Z"
    both = [
        own_purchases(run, scenario="abandoned_cart")
        for run in (shop_run.between(None, middle), shop_run.between(middle))
    ]
    whole = own_purchases(shop_run, scenario="abandoned_cart")
    assert sum(one.mails for one in both) == whole.mails
    assert sum(len(one.table) for one in both) == len(whole.table)
