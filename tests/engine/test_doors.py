"""What comes in at the doors of replay, sweep, compact and diff: one clear error for what is no program, log, list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from toolkit.engine import compact, measure, replay, sweep
from toolkit.errors import InputError, ToolkitError
from toolkit.events import EventLog
from toolkit.scenario import loads

CART = loads("""
scenario: cart
trigger: {event: cart_add}
reentry: once
steps: [{id: pause, wait: 1h}, {send: cart/reminder}]
""")
EVENTS = pd.DataFrame({"customer_id": ["ana"], "event": ["cart_add"], "at": ["2025-03-03T10:00Z"]})
LOG = EventLog.from_pandas(EVENTS)
WAITS = {"cart.pause.wait": ["1h", "2h"]}


@pytest.mark.parametrize("asked", [replay, compact, lambda program, log: sweep(program, log, WAITS)])
def test_what_is_no_program_and_what_is_no_log_is_named(asked: Callable[[Any, Any], object]) -> None:
    with pytest.raises(InputError, match=r"log: found DataFrame; allowed: an EventLog.*from_pandas makes one"):
        asked(CART, EVENTS)
    with pytest.raises(InputError, match="log: found NoneType; allowed: an EventLog"):
        asked(CART, None)
    with pytest.raises(InputError, match=r"program: found 'templates'; allowed: .*; read files with tk\.load"):
        asked("templates", LOG)
    with pytest.raises(InputError, match=r"program: found .*EventLog"):
        asked(LOG, CART)


@pytest.mark.parametrize(
    ("over", "said"),
    [
        (None, "over: found None; allowed: values to try"),
        ("cart.pause.wait", "over: found 'cart.pause.wait'; allowed: values to try.*, or a list of settings"),
        ([1, 2], r"over: found \[1, 2\]; allowed"),
        ({"cart.pause.wait": "1h"}, r"over: cart.pause.wait: found '1h'; allowed: a list of values, as \['1h', …\]"),
        ({"cart.pause.wait": 3}, "over: cart.pause.wait: found 3; allowed: a list of values"),
    ],
)
def test_a_sweep_over_what_is_no_list_is_refused(over: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        sweep(CART, LOG, over, progress=False)


@pytest.mark.parametrize("share", ["half", None, 0, 1.0, float("nan")])
def test_the_share_to_choose_on_lies_between_0_and_1(share: Any) -> None:
    with pytest.raises(InputError, match="chosen_on must lie between 0 and 1"):
        sweep(CART, LOG, WAITS, chosen_on=share, progress=False)


@pytest.mark.parametrize("assume", ["always", "", True, 0, ["never"], "modelled"])
def test_an_assumption_that_nobody_knows_is_not_taken_for_another(assume: Any) -> None:
    with pytest.raises(InputError, match=r"assume: found .*; allowed: 'never', 'as_logged', or None"):
        replay(CART, LOG, assume=assume)
    with pytest.raises(InputError, match="parts: found 0; allowed: a whole number, at least 1 part"):
        sweep(CART, LOG, WAITS, parts=0, progress=False)
    with pytest.raises(InputError, match="assume: found"):
        sweep(CART, LOG, WAITS, assume=assume, progress=False)


def test_modelled_answers_are_for_a_simulation_and_it_is_named() -> None:
    with pytest.raises(InputError, match=r"assume: found 'modelled'; .*; simulate\(program, log, response=\)"):
        replay(CART, LOG, assume="modelled")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"events_at_once": "x"}, "events_at_once: found 'x'; allowed: a whole number, at least 1 event, or None"),
        ({"events_at_once": float("nan")}, "events_at_once: found nan"),
        ({"events_at_once": 0}, "events_at_once: found 0"),
        ({"events_at_once": True}, "events_at_once: found True"),
        ({"parts": 1.5}, "parts: found 1.5"),
        ({"count_logged_sends": "no"}, "count_logged_sends: found 'no'; allowed: True or False"),
        ({"count_logged_sends": 1}, "count_logged_sends: found 1"),
    ],
)
def test_a_number_and_a_flag_of_a_replay_are_that(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        replay(CART, LOG, **asked)


@pytest.mark.parametrize("other", [None, LOG, "run"])
def test_a_run_differs_from_a_run_only(other: Any) -> None:
    with pytest.raises(InputError, match=r"diff: found .*; allowed: a run"):
        replay(CART, LOG).diff(other)


@pytest.mark.parametrize("customer", [1, -1, "ana", None, 0.5, True])
def test_the_zone_of_nobody_is_not_told(customer: Any) -> None:
    run = replay(CART, LOG, progress=False)
    assert run.zone_of(0) == run.zone_of(np.int64(0)) == "UTC"  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"customer: found .*; allowed: a place in marked\.customers, 0 to 0"):
        run.zone_of(customer)


@pytest.mark.parametrize("rows", [3, "x", None, [[1, 2]], np.zeros(3, np.int64)])
def test_arms_are_those_of_rows_of_journeys(rows: Any) -> None:
    with pytest.raises(InputError, match=r"journeys: found .*; allowed: rows of walked\.journeys"):
        replay(CART, LOG, progress=False).arm_names(rows)


LONG = "x" * 100_000
RUN = replay(CART, LOG, progress=False)


@pytest.mark.parametrize(
    "asked",
    [
        lambda: sweep(CART, LOG, {LONG: ["1h"]}),
        lambda: sweep(CART, LOG, {"cart.pause.wait": LONG}),  # type: ignore[dict-item]
        lambda: sweep(CART, LOG, WAITS, chosen_on=LONG),  # type: ignore[arg-type]
        lambda: RUN.load(largest_order=LONG),  # type: ignore[arg-type]
        lambda: RUN.between(LONG),
        lambda: RUN.trigger_properties([LONG]),
        lambda: measure(RUN, scenario=LONG),
        lambda: loads(f"{{scenario: cart, trigger: {{event: a}}, reentry: {LONG}, steps: [{{wait: {LONG}}}]}}"),
        lambda: EventLog.from_pandas(EVENTS, zone=LONG),
        lambda: EventLog.from_pandas(EVENTS, columns={"at": LONG}),
        lambda: EventLog.from_pandas(EVENTS.assign(at=LONG)),
        lambda: EventLog.from_sql(LONG, "events"),
        lambda: LOG.ranges(events=LONG),  # type: ignore[arg-type]
    ],
    ids=range(13),
)
def test_a_message_does_not_repeat_a_long_text(asked: Callable[[], object]) -> None:
    with pytest.raises(ToolkitError) as told:
        asked()
    assert len(str(told.value)) < 1_500
