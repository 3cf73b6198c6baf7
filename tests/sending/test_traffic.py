"""A commit of the sender waits a moment for the connections that have not asked for leave yet, and for no others."""

from __future__ import annotations

import pytest

from toolkit.sending.protocol import Outgoing, Receipt
from toolkit.sending.states import State
from toolkit.sending.transports import traffic
from toolkit.sending.transports.smtp import Smtp


def _mail(number):
    return Outgoing(f"d{number}", f"m{number}@example.com", "shop@example.com", f"c{number}@example.org", b"Hello\r\n")


@pytest.fixture
def lanes(monkeypatch):
    """Five open connections with a mail each; `naps` are what happens while they are waited for, nap by nap."""
    lanes = traffic._Traffic(Smtp("127.0.0.1", connections=5))
    lanes._open = lanes._under_way = 5
    lanes.naps = []
    clock = [0.0]

    def nap(seconds):
        clock[0] += seconds
        for event in lanes.naps.pop(0) if lanes.naps else []:
            lanes._out.put(event)

    monkeypatch.setattr(traffic.time, "sleep", nap)
    monkeypatch.setattr(traffic.time, "perf_counter", lambda: clock[0])
    lanes.clock = clock
    yield lanes
    lanes._loop.close()


def _ask(number):
    return "ask", _mail(number), None


def _done(number):
    return "done", _mail(number), Receipt(f"d{number}", State.ACCEPTED)


def test_who_has_all_of_them_goes_at_once(lanes):
    for number in range(5):
        lanes._out.put(_ask(number))
    asked, receipts = lanes.events(1.0)
    assert ([mail.decision_id for mail in asked], receipts) == ([f"d{number}" for number in range(5)], [])
    assert lanes.clock == [0.0]


def test_those_that_come_a_moment_later_go_along(lanes):
    lanes._out.put(_ask(0))
    lanes.naps = [[_done(7), _ask(1)], [], [_ask(2), _ask(3)]]
    asked, receipts = lanes.events(1.0)
    assert [mail.decision_id for mail in asked] == ["d0", "d1", "d2", "d3"]  # all that are under way by then
    assert [receipt.decision_id for receipt in receipts] == ["d7"]
    assert 0 < lanes.clock[0] < traffic._GATHERING


def test_a_connection_that_does_not_come_is_not_waited_for_longer(lanes):
    lanes._out.put(_ask(0))
    lanes.naps = [[], [_ask(1)], [], [], [], [_ask(2)]]
    asked, _ = lanes.events(1.0)
    assert [mail.decision_id for mail in asked] == ["d0", "d1"]
    assert lanes.clock[0] == pytest.approx(traffic._GATHERING, rel=0.3)


def test_receipts_alone_are_passed_on_at_once(lanes):
    lanes._out.put(_done(0))
    asked, receipts = lanes.events(1.0)
    assert (asked, [receipt.decision_id for receipt in receipts]) == ([], ["d0"])
    assert lanes.clock == [0.0]
