"""What may become of a mail, and what never."""

from __future__ import annotations

import pytest

from toolkit.errors import InputError
from toolkit.sending.states import FINAL, MOVES, OPEN, State, allowed, state_of


def _reachable(start):
    seen, todo = set(), [start]
    while todo:
        state = todo.pop()
        for move in MOVES:
            if move.source == state and move.target not in seen:
                seen.add(move.target)
                todo.append(move.target)
    return seen


def test_every_state_is_open_or_final_or_unknown_and_never_two_of_these():
    assert OPEN | FINAL | {State.UNKNOWN} == set(State)
    assert not OPEN & FINAL


def test_every_state_can_be_reached_from_the_beginning():
    assert _reachable(None) == set(State)


def test_a_final_state_is_never_left():
    assert not [move for move in MOVES if move.source in FINAL]


def test_every_open_state_can_come_to_an_end():
    assert all(_reachable(state) & FINAL for state in OPEN)


def test_a_mail_is_accepted_only_from_sending_or_by_evidence_on_an_unknown_one():
    assert {move.source for move in MOVES if move.target is State.ACCEPTED} == {State.SENDING, State.UNKNOWN}


def test_nothing_under_way_goes_back_to_planned_without_having_been_unknown():
    assert not allowed(State.SENDING, State.PLANNED)
    assert not allowed(State.SENDING, State.LEASED)


def test_no_move_is_written_twice_and_each_says_when():
    assert len({(move.source, move.target) for move in MOVES}) == len(MOVES)
    assert all(move.when for move in MOVES)


def test_a_state_that_is_none_names_the_nearest():
    with pytest.raises(InputError, match=r"state: found 'unkown'; allowed: planned, .*; did you mean 'unknown'\?"):
        state_of("unkown")
