"""What a program would bring if people answered as a model says."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from tests.simulation.one_draw import run_of
from toolkit.engine import answers as a
from toolkit.engine import layout as m
from toolkit.engine import replay
from toolkit.errors import InputError, ScenarioError
from toolkit.events import EventLog
from toolkit.scenario import loads
from toolkit.scenario.models import Program
from toolkit.simulation import ResponseModel, Simulation, simulate, tune
from toolkit.simulation.noise import deviates, scatter_of
from toolkit.simulation.simulation import draw_seed

CART = loads("""
scenario: cart
trigger: {event: cart_add}
reentry: {after: 3d, from: entry}
exit_on: [{event: purchase}]
goal: {event: purchase, within: 3d, value: revenue}
experiment: {name: cart_1, arms: {control: 0.3, mail: 0.7}, holdout: control}
steps:
  - {id: pause, wait: 4h}
  - {id: reminder, send: cart/reminder}
  - wait_for: {event: email_opened, where: "step = 'reminder'", within: 1d}
    then: [{id: opener, send: cart/opener, offer: {percent: 10, valid: 2d}}]
    else: [{id: other, send: cart/other}]
""")
MODEL = ResponseModel.parse("""
response: guess
source: the team
window: 3d
opens: {rate: [0.3, 0.4, 0.5], machine: 0.1}
clicks: {rate: 0.2}
buys: {rate: [0.05, 0.1, 0.2], by_delay: {1h: 1, 1d: 0.5}, by_offer: {0: 1, 10: 1.5}}
unsubscribes: {rate: 0.02}
offers: {used_anyway: 0.5}
purchases: {pulled_forward: 0.2, pulled_within: 10d}
order: {margin: 0.4}
costs: {mail: 0.01}
""")


def shop_log(people: int = 400, *, seed: int = 5, answers: bool = False) -> EventLog:
    """Carts over six weeks; three of ten are bought on their own within two days."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), rng.integers(1, 4, people))
    at = pd.Timestamp("2025-01-01T00:00Z") + pd.to_timedelta(rng.uniform(0, 42, len(who)), unit="D")
    buys = rng.random(len(who)) < 0.3
    bought = at[buys] + pd.to_timedelta(rng.exponential(12, int(buys.sum())), unit="h")
    frames = [
        pd.DataFrame({"customer_id": who, "event": "cart_add", "at": at}),
        pd.DataFrame({"customer_id": who[buys], "event": "purchase", "at": bought,
                      "revenue": rng.lognormal(4, 0.5, int(buys.sum())).round(2)}),
    ]  # fmt: skip
    if answers:
        frames.append(pd.DataFrame({"customer_id": who, "event": "email_opened", "at": at + pd.Timedelta("5h")}))
    events = pd.concat(frames, ignore_index=True)
    events["customer_id"] = "c" + events["customer_id"].astype(str)
    return EventLog.from_pandas(events.assign(step=None))


@pytest.fixture(scope="module")
def log() -> EventLog:
    return shop_log()


@pytest.fixture(scope="module")
def forecast(log: EventLog):
    return simulate(CART, log, response=MODEL, draws=60, seed=3, progress=False)


def test_a_response_of_nothing_is_the_replay(log: EventLog) -> None:
    simulation = Simulation(CART, log, response=ResponseModel.nothing())
    assert run_of(simulation).digest == replay(CART, log, assume="never").digest


def test_answers_that_the_log_holds_are_not_answers_to_these_mails() -> None:
    log = shop_log(150, answers=True)
    simulation = Simulation(CART, log, response=ResponseModel.nothing())
    assert run_of(simulation).digest == replay(CART, log, assume="never").digest


def test_an_open_opens_a_branch_a_purchase_ends_the_journey_and_an_unsubscribe_ends_all(log: EventLog) -> None:
    def told(text: str) -> pd.DataFrame:
        run = run_of(Simulation(CART, log, response=ResponseModel.parse("{response: x, window: 3d, " + text + "}")))
        return run.decisions.query("status == 'send'")["step"].value_counts().to_dict() | (
            run.journeys["ended_by"].value_counts().to_dict()
        )

    silent, opened = told("opens: {rate: 0}"), told("opens: {rate: 1}")
    assert "opener" not in silent
    assert "other" in silent
    assert opened["opener"] > 5 * opened.get("other", 0)
    assert told("buys: {rate: 1, after: 1h}")["exited"] > 2 * silent["exited"]
    left = told("unsubscribes: {rate: 1}, opens: {after: 1m}")
    assert left["unsubscribed"] > 100
    assert left["reminder"] < silent["reminder"]  # whoever has left is not mailed again


def test_the_same_seed_gives_the_same_numbers_in_whatever_order_the_log_lies(log: EventLog) -> None:
    shuffled = EventLog.from_pandas(log.events.sample(frac=1, random_state=4))
    one, other = (simulate(CART, each, response=MODEL, draws=8, seed=3) for each in (log, shuffled))
    assert np.array_equal(one.counted, other.counted)
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)


def test_the_scatter_of_people_is_added_up_without_losing_a_digit() -> None:
    rng = np.random.default_rng(2)
    log = shop_log(80)
    respondents = Simulation(CART, log, response=MODEL).respondents
    respondents.people[:] = rng.integers(-(2**40), 2**40, respondents.people.shape)
    scatter = scatter_of(respondents, 7)
    group = int(np.argmax(scatter.people))
    assert scatter.people[group] > 20
    total = scatter + scatter
    assert int(total.products[group, 3, 4]) == 2 * int(scatter.products[group, 3, 4])
    place = {customer: at for at, customer in enumerate(respondents.chosen.tolist())}
    journeys = respondents.silent_run.journeys
    mine = sorted({int(row[m.J_CUSTOMER]) for row in journeys if row[m.J_ARM] == group})
    own = dict(zip(respondents.entered.tolist(), respondents.on_their_own.tolist(), strict=True))
    rows = [
        respondents.people[place[one]].tolist() if one in place else [7 * value for value in own[one]]
        for one in mine
        if own[one][a.N_PEOPLE]
    ]
    assert len(rows) == scatter.people[group]
    assert int(scatter.products[group, 3, 4]) == sum(row[3] * row[4] for row in rows)
    assert [int(value) for value in scatter.sums[group]] == [sum(column) for column in zip(*rows, strict=True)]
    np.testing.assert_allclose(
        scatter.covariances(7)[group], 2 * len(rows) * np.cov(np.array(rows, dtype=float) / 7, rowvar=False), rtol=1e-9,
        atol=1e6,
    )  # fmt: skip


TWICE = Program(
    scenarios=tuple(
        loads(f"""
scenario: {name}
trigger: {{event: cart_add}}
reentry: once
goal: {{event: purchase, within: 3d, value: revenue}}
steps: [{{id: pause, wait: 4h}}, {{id: mail, send: {name}/mail}}]
""").scenarios[0]
        for name in ("first", "second")
    )
)


def test_what_two_scenarios_add_up_to_scatters_as_the_people_whom_they_share() -> None:
    forecast = simulate(TWICE, shop_log(300), response=MODEL, draws=400, seed=2, progress=False)
    assert list(forecast.across) == [(0, 1)]
    place = a.METRICS.index("own_conversions")
    # What people do on their own is the same in both: not one digit of it may count as somebody else's.
    assert forecast.across[0, 1][place, place] == pytest.approx(forecast.covariances[0][place, place], rel=1e-12)
    one, both = forecast.metric(0, "own_conversions"), forecast.total("own_conversions")
    assert both.std() == pytest.approx(2 * one.std(), rel=1e-6)  # unrelated people would give 1.4 times
    lone = simulate(TWICE.scenarios[0], shop_log(300), response=MODEL, draws=400, seed=2, progress=False)
    assert not lone.across
    alone = deviates(lone.covariances[0], lone.draws, lone.seed, 0)
    np.testing.assert_array_equal(lone.metric(0, "mails") - lone.metric(0, "mails", noise=False), alone[:, a.N_MAILS])
    ends = np.quantile(forecast.total("profit"), [0.05, 0.95])
    line = next(line for line in str(forecast).splitlines() if line.split()[0] == "together")
    assert f"[{ends[0]:,.0f}, {ends[1]:,.0f}]" in line
    assert "together" not in str(lone)


def test_the_scatter_across_two_groups_is_added_up_without_losing_a_digit() -> None:
    rng = np.random.default_rng(3)
    simulation = Simulation(TWICE, shop_log(80), response=MODEL)
    respondents = simulation.respondents
    respondents.people[:] = rng.integers(-(2**40), 2**40, respondents.people.shape)
    scatter = scatter_of(respondents, 7)
    met = scatter.meetings[0, 1]
    kinds = len(a.METRICS)
    own = respondents.on_their_own.reshape(-1, 2, kinds)
    drawn = dict(zip(respondents.chosen.tolist(), respondents.people.reshape(-1, 2, kinds).tolist(), strict=True))
    alone = dict(zip(respondents.entered.tolist(), (7 * own).tolist(), strict=True))
    counted = own[:, :, a.N_PEOPLE].all(axis=1)
    shared = [drawn.get(one, alone[one]) for one in respondents.entered[counted].tolist()]
    assert met.people == len(shared) > 20
    assert int(met.products[3, 5]) == sum(mine[3] * theirs[5] for mine, theirs in shared)
    assert [int(value) for value in met.right] == [
        sum(theirs[k] for _, theirs in shared) for k in range(len(a.METRICS))
    ]
    twice = (scatter + scatter).meetings[0, 1]
    assert (twice.products == 2 * met.products).all()
    assert twice.people == 2 * met.people
    assert (scatter.across(7)[0, 1] != 0).any()


@pytest.mark.parametrize("partitions", [2, 7])
def test_the_same_seed_gives_the_same_numbers_however_the_customers_are_parted(log: EventLog, partitions: int) -> None:
    one, many = (simulate(CART, log, response=MODEL, draws=8, seed=3, partitions=p) for p in (1, partitions))
    assert (one.counted == many.counted).all()
    pd.testing.assert_frame_equal(one.table, many.table, check_exact=True)


def test_nothing_after_the_last_moment_decided_is_looked_at(log: EventLog) -> None:
    """Not even as a pattern for the purchases that mails bring about."""
    first, last = log.span
    until = first + (last - first) * 2 / 3
    early = EventLog.from_pandas(log.events[log.events["received_at"] <= until])
    whole, cut = (simulate(CART, one, response=MODEL, draws=8, seed=3, until=until) for one in (log, early))
    pd.testing.assert_frame_equal(whole.table, cut.table, check_exact=True)


def test_a_customer_answers_alike_in_a_log_of_their_own(log: EventLog) -> None:
    events = log.events
    ids = sorted(events["customer_id"].unique())
    parts = [EventLog.from_pandas(events[events["customer_id"].isin(ids[k::2])]) for k in (0, 1)]
    model = ResponseModel.parse("{response: x, opens: {rate: 0.4}, clicks: {rate: 0.5}}")
    end = log.span[1]
    whole, first, second = (
        simulate(CART, one, response=model, draws=4, seed=3, until=end, progress=False).counted for one in (log, *parts)
    )
    assert (whole == first + second).all()


def test_everything_modelled_carries_its_label_and_its_interval(forecast) -> None:
    table = forecast.table
    assert set(table["label"]) == {"exact", "observed", "modelled"}
    modelled = table[(table["label"] == "modelled") & (table["arm"] == "mail")]
    assert (modelled["lower"] <= modelled["upper"]).all()
    assert (modelled.loc[modelled["metric"].isin(["opens", "caused", "profit"])].eval("upper - lower") > 0).all()
    assert (forecast.lift["label"] == "modelled").all()
    assert "modelled" in str(forecast)
    assert "modelled" in forecast._repr_html_()


def test_the_holdout_gets_nothing_and_costs_nothing(forecast) -> None:
    for metric in ("mails", "opens", "caused", "discount", "profit"):
        assert forecast.value("cart", metric, "control") == 0


def test_the_accounts_add_up(forecast) -> None:
    value = {metric: forecast.value("cart", metric, "mail") for metric in forecast.table["metric"].unique()}
    margin = 0.4 * value["caused_revenue"] - value["discount"]
    assert value["margin"] == pytest.approx(margin)
    assert value["profit"] == pytest.approx(margin - 0.01 * value["mails"])
    assert 0 < value["discount_own"] < value["discount"]
    assert (
        value["own_conversions"]
        < value["conversions"]
        <= value["own_conversions"] + value["caused"] + 1e-9 + (value["pulled_forward"])
    )


def test_what_is_brought_about_is_what_the_model_says(log: EventLog) -> None:
    model = ResponseModel.parse("{response: x, window: 3d, buys: {rate: 0.25}}")
    one_mail = loads("""
scenario: one
trigger: {event: cart_add}
reentry: once
exit_on: [{event: purchase}]
goal: {event: purchase, within: 3d, value: revenue}
steps: [{wait: 1h}, {send: one/mail}]
""")
    told = simulate(one_mail, log, response=model, draws=60, seed=1, progress=False)
    run = replay(one_mail, log)
    mails = run.decisions.query("status == 'send'").merge(run.journeys[["journey_id", "entered_at"]])
    end = log.span[1] - pd.Timedelta(days=6)
    mails = mails[mails["entered_at"] <= end]
    bought = log.events.query("event == 'purchase'")[["customer_id", "at"]].rename(columns={"at": "bought"})
    pairs = mails.merge(bought, on="customer_id")
    soon = pairs[(pairs["bought"] > pairs["at"]) & (pairs["bought"] <= pairs["at"] + pd.Timedelta(days=3))]
    idle = len(mails) - soon["journey_id"].nunique()
    assert told.value("one", "mails") == len(mails)
    assert told.value("one", "caused") == pytest.approx(0.25 * idle, rel=0.05)


def test_more_people_make_the_interval_narrower_and_known_numbers_leave_only_chance() -> None:
    widths = []
    for people in (200, 1600):
        told = simulate(CART, shop_log(people), response=MODEL.with_numbers({"buys.rate": 0.1, "opens.rate": 0.4}),
                        draws=80, seed=1, progress=False)  # fmt: skip
        row = told.lift.query("arm == 'mail' and metric == 'profit'").iloc[0]
        widths.append(row["diff_upper"] - row["diff_lower"])
        assert set(told.assumptions["assumption"]) == {"chance", "people"}
    assert 1.8 < widths[0] / widths[1] < 4.5  # the square root of eight is 2.8


def test_the_interval_says_what_it_is_made_of(forecast) -> None:
    shares = forecast.assumptions.query("arm == 'mail'").set_index("assumption")["share"]
    assert shares.sum() == pytest.approx(1)
    assert shares.idxmax() == "buys.rate"


def test_memory_does_not_grow_with_the_draws(log: EventLog) -> None:
    peaks = []
    for draws in (10, 60):
        tracemalloc.start()
        simulate(CART, log, response=MODEL, draws=draws, seed=1, partitions=1, progress=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.15 * peaks[0]


def test_bad_numbers_are_refused(log: EventLog) -> None:
    with pytest.raises(InputError, match="draws: found 0"):
        simulate(CART, log, response=MODEL, draws=0)
    with pytest.raises(InputError, match="level: found 90"):
        simulate(CART, log, response=MODEL, level=90)
    with pytest.raises(InputError, match="partitions: found 0"):
        simulate(CART, log, response=MODEL, partitions=0)
    for seed in (1.5, "1", None, True):
        with pytest.raises(InputError, match=f"seed: found {seed!r}; allowed: a whole number"):
            simulate(CART, log, response=MODEL, seed=seed)
    with pytest.raises(InputError, match=r"draws: found 2\.5; allowed: a whole number, 1 to 100,000"):
        simulate(CART, log, response=MODEL, draws=2.5)
    with pytest.raises(InputError, match="level: found 'high'"):
        simulate(CART, log, response=MODEL, level="high")
    with pytest.raises(ScenarioError, match=r"mails.cart.remainder: not a mail .*did you mean 'cart.reminder'"):
        simulate(CART, log, response=ResponseModel.parse("{response: x, mails: {cart.remainder: {opens: {rate: 1}}}}"))
    with pytest.raises(InputError, match="no event 'order' with a number in 'revenue'"):
        simulate(CART, log, response=ResponseModel.parse("{response: x, purchase: order, buys: {rate: 0.1}}"))
    short = EventLog.from_pandas(log.events[log.events["at"] < pd.Timestamp("2025-01-03", tz="UTC")])
    with pytest.raises(InputError, match="nobody enters early enough"):
        simulate(CART, short, response=MODEL)


def test_a_response_that_is_no_model_is_refused(log: EventLog) -> None:
    with pytest.raises(InputError, match=r"response: found 'x\.yaml'; allowed: a ResponseModel; .*ResponseModel\.load"):
        simulate(CART, log, response="x.yaml")
    with pytest.raises(InputError, match=r"response: found None; allowed: a ResponseModel$"):
        simulate(CART, log, response=None)
    with pytest.raises(InputError, match="response: found None"):
        tune(CART, log, None, over={"cart.pause.wait": ["1h"]})
    with pytest.raises(InputError, match=r"seed: found 1\.5"):
        tune(CART, log, MODEL, over={"cart.pause.wait": ["1h"]}, seed=1.5)


def test_every_whole_seed_has_people_of_its_own_and_small_ones_those_they_had() -> None:
    covariance = np.diag([1.0, 4.0])
    seeds = [-(2**63) - 1, -2, -1, 0, 1, 2**62, 2**63]
    found = [deviates(covariance, 4, seed, 1) for seed in seeds]
    assert len({each.tobytes() for each in found}) == len(seeds)
    rng = np.random.Generator(np.random.Philox(key=[7, 1]))
    np.testing.assert_array_equal(deviates(covariance, 4, 7, 1), deviates(covariance, 4, np.int64(7), 1))
    np.testing.assert_allclose(deviates(covariance, 4, 7, 1), rng.standard_normal((4, 2)) * [1, 2])
    assert draw_seed(np.int64(-3), 5) == draw_seed(-3, 5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("buys: {rate: [0.5, 0.1, 0.2]}",
         "buys.rate: not in order; found [0.5, 0.1, 0.2]; allowed: [low, likely, high], rising"),
        ("costs: {mail: [1, 3, 2]}",
         "costs.mail: not in order; found [1.0, 3.0, 2.0]; allowed: [low, likely, high], rising"),
        ("buys: {rate: [1.5, 0.1, 0.2]}",
         "buys.rate: out of range; found [1.5, 0.1, 0.2]; allowed: a probability, 0 to 1"),
        ("order: {margin: [0.2, 1.4, 0.5]}",
         "order.margin: out of range; found [0.2, 1.4, 0.5]; allowed: a share of the price, 0 to 1"),
        ("buys: {rate: 0.1, by_offer: {ten: 1}}",
         "buys.by_offer: not a point of this curve; found 'ten'; allowed: percent, 0 to 100"),
        ("buys: {rate: 0.1, by_hour: {'8:x': 1}}",
         "buys.by_hour: not a point of this curve; found '8:x'; allowed: hours 0 to 24, or times of day as 08:30"),
        ("opens: {rate: 0.1, by_past_mails: {few: 1}}",
         "opens.by_past_mails: not a point of this curve; found 'few'; allowed: 0 or more"),
        ("buys: {rate: 0.1, by_delay: {soon: 1}}",
         "buys.by_delay: not a point of this curve; found 'soon'; allowed: a number and s, m, h (elapsed time)"),
    ],
)  # fmt: skip
def test_a_fault_of_a_number_says_what_is_allowed_in_its_place(text: str, said: str) -> None:
    with pytest.raises(ScenarioError) as error:
        ResponseModel.parse(f"response: x\n{text}")
    assert said in str(error.value)


def test_numbers_out_of_range_are_named_with_their_lines() -> None:
    with pytest.raises(ScenarioError) as error:
        ResponseModel.parse("""
response: x
opens: {rate: 1.2}
buys: {rate: -0.1, by_offer: {120: 1}, by_delay: {soon: 1}}
order: {margin: 1.4}
byus: {rate: 0.1}
unsubscribes: {rate: [0.3, 0.2, 0.1]}
""")
    told = str(error.value)
    for words in (
        "line 3: opens.rate: out of range; found 1.2; allowed: a probability, 0 to 1",
        "line 4: buys.rate: out of range; found -0.1",
        "line 4: buys.by_offer: not a point of this curve; found '120'; allowed: percent, 0 to 100",
        "found 'soon'",
        "no margin is above the price",
        "did you mean 'buys'?",
        "[0.3, 0.2, 0.1]",
    ):
        assert words in told


def test_a_model_written_down_and_read_again_is_the_same() -> None:
    again = ResponseModel.parse(MODEL.dump())
    assert dict(again.numbers) == dict(MODEL.numbers)
    assert dict(again.times) == dict(MODEL.times)


def test_coupons_that_run_out_are_given_once(log: EventLog) -> None:
    program = loads("""
scenario: cart
trigger: {event: cart_add}
reentry: once
goal: {event: purchase, within: 3d, value: revenue}
steps: [{send: cart/offer, offer: {percent: 10, valid: 2d, pool: spring}}]
---
pools: {spring: {size: 40}}
""")
    assert isinstance(program, Program)
    model = ResponseModel.parse("{response: x, window: 3d, buys: {rate: 0.3}, order: {margin: 0.5}}")
    run = run_of(Simulation(program, log, response=model))
    assert (run.decisions["status"] == "send").sum() == 40


def test_a_forecast_of_few_draws_says_that_its_intervals_are_rough() -> None:
    log = shop_log(100)
    few = simulate(CART, log, response=MODEL, draws=3, progress=False)
    assert few.notes[0] == "3 draws are too few for 90% intervals: take 20 at the least, better 200"
    assert "too few" not in str(simulate(CART, log, response=MODEL, draws=20, progress=False))


@pytest.mark.parametrize(("happened", "caused", "used"), [("5h", 0, 1), ("1h", 1, 0)])
def test_a_purchase_of_before_the_mail_that_is_heard_of_late_is_none_to_come(happened, caused, used) -> None:
    """It neither keeps the mail from bringing one about, nor is the mail's offer used for it."""
    program = loads("""
scenario: cart
trigger: {event: cart_add}
reentry: once
goal: {event: purchase, within: 1d, value: revenue}
steps: [{id: pause, wait: 4h}, {id: gift, send: cart/gift, offer: {percent: 10, valid: 1d}}]
""")
    model = ResponseModel.parse("{response: certain, window: 1d, buys: {rate: 1}, offers: {used_anyway: 1}}")
    begin = pd.Timestamp("2025-03-03T10:00Z")
    rows = [("ana", "cart_add", "0h", "0h"), ("ana", "purchase", happened, "10h"), ("bo", "purchase", "0h", "0h")]
    rows.append(("bo", "view", "720h", "720h"))
    events = pd.DataFrame(rows, columns=["customer_id", "event", "at", "received_at"])
    events[["at", "received_at"]] = events[["at", "received_at"]].apply(lambda column: begin + pd.to_timedelta(column))
    forecast = simulate(
        program, EventLog.from_pandas(events.assign(revenue=50.0)), response=model, draws=2, progress=False
    )
    assert [forecast.value("cart", metric) for metric in ("mails", "caused", "own_with_offer")] == [1, caused, used]
