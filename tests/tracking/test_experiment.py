"""An experiment is read from answers that came home: opens between two bounds, clicks of people, and no machine."""

from __future__ import annotations

import random

import pandas as pd
import pytest

import toolkit as tk
from tests.tracking.conftest import FIREFOX, SECOND, START
from toolkit.scenario import loads
from toolkit.tracking import Answers, Incoming, TrackedMail

HOUR = 3600 * SECOND
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
APPLE = "Mozilla/5.0"  # how Mail Privacy Protection fetches
SCENARIO = """
scenario: cart
trigger: {event: cart_add}
reentry: once
goal: {event: purchase, within: 7d, value: revenue}
experiment: {name: offer, arms: {control: 0.3, plain: 0.35, offer: 0.35}, holdout: control}
steps:
  - {wait: 1h}
  - {id: reminder, send: cart/reminder}
"""


@pytest.fixture
def told(tmp_path, clock):
    """A logged experiment on 1,500 people: the shop's log on the disk, the answers to the mails of its replay, and who
    answered how."""
    chance, at = random.Random(7), pd.Timestamp(START - 10 * 24 * HOUR, unit="us", tz="UTC")
    rows = [{"customer_id": f"c{n}", "event": "cart_add", "at": at, "revenue": 0.0} for n in range(1500)]
    rows.append({"customer_id": "c0", "event": "view", "at": at + pd.Timedelta(days=9), "revenue": 0.0})
    tk.EventLog.from_pandas(pd.DataFrame(rows)).save(tmp_path / "shop")
    program = loads(SCENARIO)
    sends = tk.replay(program, tk.EventLog.open(tmp_path / "shop")).decisions.query("status == 'send'")
    counts = {arm: dict.fromkeys(("mails", "human", "unsure", "machine", "clicked"), 0) for arm in ("plain", "offer")}
    with Answers.open(tmp_path / "answers.sqlite", clock=clock) as answers:
        mails, heard = [], []
        for number, row in enumerate(sends.itertuples()):
            name, sent = f"m{number:05d}aaaaaaaaaa", int(row.at.timestamp() * 1e6)
            mails.append(
                TrackedMail(
                    name, row.decision_id, row.customer_id, "cart", "reminder", "cart/reminder", "offer", row.arm,
                    "marketing", "example.org", "en", f"{name}@example.com", sent, ("https://shop.example.com/cart",),
                )
            )  # fmt: skip
            count, drawn = counts[row.arm], chance.random()
            count["mails"] += 1
            likes = 0.5 if row.arm == "offer" else 0.3
            whose = "human" if drawn < likes else "unsure" if drawn < 0.7 else "machine" if drawn < 0.9 else None
            agent = {"human": FIREFOX, "unsure": GMAIL, "machine": APPLE}.get(whose)
            if agent is not None:
                count[whose] += 1
                heard.append(Incoming("opened", sent + 2 * HOUR, mail=name, agent=agent))
            if whose == "human" and chance.random() < 0.4:
                count["clicked"] += 1
                heard.append(Incoming("clicked", sent + 2 * HOUR + SECOND, mail=name, agent=FIREFOX, number=0))
            if whose == "machine":
                heard += [Incoming("clicked", sent + 2 * HOUR, mail=name, agent="Barracuda Sentinel", number=0)]
        answers.register(mails)
        answers.sent([(one.decision_id, one.due_at, None) for one in mails])
        # Each answer is heard when it happens, so that its verdict is known within the minute.
        clock.now = heard[0].at
        answers.record(heard)
        clock.now = START
    return program, tmp_path, counts


def test_an_experiment_over_answers_gives_both_bounds_of_opens_and_counts_no_machine(told):
    program, folder, counts = told
    log = tk.EventLog.open(folder / "shop", answers=str(folder / "answers.sqlite"))
    outcomes = tk.measure(tk.replay(program, log, assume="as_logged"))
    opens, clicks = tk.Rate("opened", verdict="open_verdict"), tk.Rate("clicked")
    result = tk.experiment(outcomes, metrics=[opens, clicks], control="plain")
    rows = result.lift.set_index(["metric", "arm"])
    plain, offer = counts["plain"], counts["offer"]
    for metric, words in (("opened (at least)", ("human",)), ("opened (at most)", ("human", "unsure"))):
        row = rows.loc[(metric, "offer")]
        assert (row["n_control"], row["n"]) == (plain["mails"], offer["mails"])
        assert row["control"] == pytest.approx(sum(plain[word] for word in words) / plain["mails"])
        assert row["value"] == pytest.approx(sum(offer[word] for word in words) / offer["mails"])
    # More people open the offer. Of all who may have opened, nobody can tell: both bounds are given, and differ.
    assert rows.loc[("opened (at least)", "offer"), "diff_lower"] > 0.1
    assert rows.loc[("opened (at most)", "offer"), "diff_lower"] < 0 < rows.loc[("opened (at most)", "offer"), "diff"]
    clicked = rows.loc[("clicked", "offer")]
    assert clicked["value"] == pytest.approx(offer["clicked"] / offer["mails"])
    assert clicked["control"] == pytest.approx(plain["clicked"] / plain["mails"])
    assert log.event_counts["email_clicked_by_machine"] == plain["machine"] + offer["machine"] > 100
    assert "machine" in rows.loc[("opened (at most)", "offer"), "note"]
    held = rows.loc[("opened (at most)", "control")]
    assert held["value"] == 0  # who got no mail opened none
