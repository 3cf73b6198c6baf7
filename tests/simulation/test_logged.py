"""A response model from a log alone: who was mailed by chance, who was left out at the same moment, what followed."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.shared import ROOT
from toolkit.errors import InputError, MetricError, NotSupportedError
from toolkit.events import EventLog
from toolkit.scenario.models import Program
from toolkit.simulation import fit, logged_sends
from toolkit.simulation.sample import sample_program

WEEK = pd.Timedelta(days=7)


@pytest.fixture(scope="module")
def log() -> EventLog:
    return EventLog.open(ROOT / "data" / "shop")


@pytest.fixture(scope="module")
def program() -> Program:
    return sample_program(ROOT / "templates")


@pytest.fixture(scope="module")
def sends(program: Program, log: EventLog) -> pd.DataFrame:
    return logged_sends(program, log, scenario="abandoned_cart")


def test_a_row_is_a_person_at_the_moment_of_the_one_mail_that_chance_gave_or_withheld(
    sends: pd.DataFrame, log: EventLog
) -> None:
    assert set(sends["arm"]) == {"control", "reminder"}  # who gets the discount gets two mails
    assert sends.attrs["toolkit"]["arms_left_out"] == ["discount"]
    assert sends["unit"].is_unique
    assert (sends["sent"] == (sends["arm"] == "reminder")).all()
    assert set(sends["delay"]) == {4.0}
    assert sends.groupby("sent")["propensity"].unique().map(list).to_dict() == {
        False: [pytest.approx(1 / 3)],
        True: [pytest.approx(2 / 3)],
    }
    events = log.events
    mails = events[(events["event"] == "email_sent") & (events["scenario"] == "abandoned_cart")]
    assert not set(sends.loc[~sends["sent"], "unit"]) & set(mails["customer_id"])
    first = mails[mails["step"] == "reminder"].groupby("customer_id")["at"].min()
    left = sends.loc[sends["sent"]].set_index("unit")["due_at"]
    near = (first.reindex(left.index) - left).abs() < pd.Timedelta(seconds=1)
    assert near.mean() > 0.98  # of the log's own mails, found by the replay to the second


def test_what_followed_is_what_the_log_says(sends: pd.DataFrame, log: EventLog) -> None:
    events = log.events
    for column, event in (
        ("converted", "purchase"),
        ("opened", "email_opened"),
        ("unsubscribed", "email_unsubscribed"),
    ):
        wanted = events[events["event"] == event]
        if column == "opened":
            wanted = wanted[wanted["scenario"] == "abandoned_cart"]
        both = sends[["unit", "due_at"]].merge(wanted, left_on="unit", right_on="customer_id")
        inside = both[(both["at"] > both["due_at"]) & (both["at"] <= both["due_at"] + WEEK)]
        assert set(sends.loc[sends[column], "unit"]) == set(inside["unit"])
        if column == "converted":
            assert sends["revenue"].sum() == pytest.approx(inside["revenue"].sum())
    assert (sends["due_at"] + WEEK <= events["at"].max()).all()


def test_a_seed_of_a_fit_is_any_whole_number(sends: pd.DataFrame) -> None:
    one, other = (str(fit(sends, margin=0.35, seed=seed)) for seed in (-1, -2))
    assert one == str(fit(sends, margin=0.35, seed=-1))
    assert one != other
    with pytest.raises(InputError, match=r"seed: found 1\.5; allowed: a whole number"):
        fit(sends, margin=0.35, seed=1.5)


def test_it_is_fitted_as_it_is(sends: pd.DataFrame) -> None:
    model = fit(sends, margin=0.35)
    number = model.numbers["buys.grid.0.4h"]
    mailed, left = (sends.loc[sends["sent"] == one, "converted"].mean() for one in (True, False))
    assert number.low < (mailed - left) / (1 - left) < number.high
    assert "randomised sends" in number.source
    assert not model.notes


def test_arms_that_chance_did_not_draw_so_are_refused_unless_insisted_on(program: Program, log: EventLog) -> None:
    cart = program["abandoned_cart"]
    assert cart.experiment is not None
    weights = {"control": 0.6, "reminder": 0.3, "discount": 0.1}
    other = cart.model_copy(update={"experiment": cart.experiment.model_copy(update={"arms": weights})})
    sends = logged_sends(Program(scenarios=(other,), policies=program.policies), log)
    assert sends.attrs["toolkit"]["randomised"] is False
    assert "propensity" not in sends
    with pytest.raises(MetricError, match=r"not randomised: .* went to another arm than the one drawn"):
        fit(sends)
    assert "not randomised, fitted on insistence" in str(fit(sends, insist=True))


def test_a_program_that_was_not_at_work_is_noticed(program: Program, log: EventLog) -> None:
    cart = program["abandoned_cart"]
    later = cart.model_copy(
        update={"steps": tuple(
            step.model_copy(update={"wait": type(step.wait).parse("60d")}) if step.id == "pause" else step
            for step in cart.steps
        )}
    )  # fmt: skip
    with pytest.raises(InputError, match="pass the program that was at work"):
        logged_sends(Program(scenarios=(later,), policies=program.policies), log)


def test_what_cannot_be_told_is_refused(program: Program, log: EventLog) -> None:
    with pytest.raises(InputError, match=r"which scenario\?"):
        logged_sends(program, log)
    with pytest.raises(InputError, match="did you mean 'abandoned_cart'"):
        logged_sends(program, log, scenario="abandoned_carts")
    with pytest.raises(InputError, match="welcome: no "):
        logged_sends(program, log, scenario="welcome")
    with pytest.raises(InputError, match="nobody was left out at step 'offer'"):
        logged_sends(program, log, scenario="abandoned_cart", step="offer")
    silent = EventLog.from_pandas(log.events[lambda events: events["event"] != "email_sent"].iloc[:2000])
    with pytest.raises(InputError, match="the log holds no mails of abandoned_cart"):
        logged_sends(program, silent, scenario="abandoned_cart")
    cart = program["abandoned_cart"]
    assert cart.experiment is not None
    two = cart.model_copy(
        update={"experiment": cart.experiment.model_copy(update={"arms": {"control": 0.2, "discount": 0.8}})}
    )
    with pytest.raises(NotSupportedError, match="not of one mail"):
        logged_sends(Program(scenarios=(two,), policies=program.policies), log)
