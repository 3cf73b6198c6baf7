"""People stay in the arm whose mails they get: new weights need a new name (rule R13)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.sending.shops import NOON, WELCOME, log_of, program_of, without
from toolkit.errors import ApprovalError, PreflightError
from toolkit.sending import Ledger, send
from toolkit.sending.ledger.draws import draws_of

TEST = WELCOME.replace("steps:", "experiment: {name: hello_1, arms: {short: 0.5, long: 0.5}}\nsteps:")
SPLIT = WELCOME.replace(
    "  - {id: hello, send: welcome/hello}",
    """
  - id: way
    split: {name: way_1, arms: {left: 0.5, right: 0.5}}
    paths:
      left: [{id: hello, send: welcome/hello}]
      right: [{id: hallo, send: welcome/hello}]
""",
)
OTHER = TEST.replace("scenario: welcome", "scenario: other").replace("sign_up", "purchase")


@pytest.fixture
def sent(shop):
    """Twelve people mailed in one of two arms, half and half."""
    _send(shop, shop.prepare(program=program_of(TEST)))
    return shop


def _send(shop, batch):
    report = send(batch, shop.approve(batch), transport=f"outbox:{shop.outbox}", confirm=len(batch), progress=False)
    assert report.sent == len(batch)


def _prepared(shop, text, *more):
    return shop.prepare(log=log_of(20), program=program_of("\n---\n".join((text, *more))))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (("0.5, long: 0.5", "0.3, long: 0.7"), "short 0.3, long 0.7 by customer"),
        (("short: 0.5, long: 0.5", "long: 0.5, short: 0.5"), "long 0.5, short 0.5 by customer"),
        (("long: 0.5}", "long: 0.5}, unit: journey"), "short 0.5, long 0.5 by journey"),
        (("long: 0.5", "long: 0.25, none: 0.25"), "short 0.5, long 0.25, none 0.25 by customer"),
    ],
    ids=["weights", "order", "unit", "arms"],
)
def test_another_draw_under_the_same_name_is_refused(sent, change, found):
    batch = _prepared(sent, TEST.replace(*change))
    assert batch.problems == (
        "welcome: the experiment 'hello_1' was mailed with short 0.5, long 0.5 by customer; "
        f"found {found}: people would change arms under way; allowed: those shares, or another name, "
        "for example 'hello_2'",
    )
    with pytest.raises(PreflightError, match="hello_2"):
        sent.approve(batch)


@pytest.mark.parametrize(
    "text",
    [
        TEST,
        TEST.replace("hello_1", "hello_2").replace("0.5, long: 0.5", "0.3, long: 0.7"),
        TEST.replace("long: 0.5}", "long: 0.5}, holdout: short"),
        WELCOME,
    ],
    ids=["as before", "another name", "another holdout", "the test is over"],
)
def test_what_moves_nobody_goes(sent, text):
    batch = _prepared(sent, text)
    assert batch.problems == ()
    assert 0 < len(batch) <= 8
    _send(sent, batch)


def test_a_step_that_splits_is_a_draw_too(shop):
    _send(shop, shop.prepare(program=program_of(SPLIT)))
    batch = _prepared(shop, SPLIT.replace("0.5, right: 0.5", "0.6, right: 0.4"))
    assert "'way_1' was mailed with left 0.5, right 0.5" in batch.problems[0]


def test_other_scenarios_of_the_program_go_on(sent):
    """What is asked is about the scenarios that have mails in the batch."""
    bought = OTHER.replace("hello_1", "other_1")
    at = NOON - timedelta(hours=3)
    log = log_of(12, more=[{"customer_id": "c1", "event": "purchase", "at": at, "revenue": 1.0}])
    changed = TEST.replace("0.5, long: 0.5", "0.3, long: 0.7")
    batch = sent.prepare(log=log, program=program_of(f"{changed}\n---\n{bought}"))
    assert [mail.letter.scenario for mail in batch.mails] == ["other"]
    _send(sent, batch)


def test_of_two_batches_prepared_at_once_the_second_is_refused(shop):
    first = shop.prepare(program=program_of(TEST))
    second = _prepared(shop, TEST.replace("0.5, long: 0.5", "0.3, long: 0.7"))
    assert second.problems == ()
    _send(shop, first)
    way = {"transport": f"outbox:{shop.outbox}", "confirm": len(second), "progress": False}
    with pytest.raises(ApprovalError, match=r"people would change arms.*nothing was sent"):
        send(second, shop.approve(second), **way)
    assert len(shop.mails()) == 12


def test_a_ledger_of_the_fifth_version_keeps_draws_from_now_on(sent):
    path = sent.outbox / "ledger.sqlite"
    without(path, "draw", version=5)
    changed = TEST.replace("0.5, long: 0.5", "0.3, long: 0.7")
    _send(sent, _prepared(sent, changed))
    with Ledger.open(path) as ledger:
        assert ledger.verify() == ()
    assert _prepared(sent, TEST).problems == ()  # nobody is left to be mailed
    assert "0.3" in sent.prepare(log=log_of(30), program=program_of(TEST)).problems[0]


def test_a_draw_is_known_by_its_shares_and_their_order():
    (one,) = draws_of(program_of(TEST), {"welcome"})
    assert one == ("welcome", "hello_1", "customer", '[["short",0.5],["long",0.5]]')
    assert draws_of(program_of(TEST), set()) == ()
