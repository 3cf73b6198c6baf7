"""How many people came where, drawn: observed answers and who left stand in the diagram."""

from __future__ import annotations

import re

import toolkit as tk
from tests.engine.test_flow import TWICE, answered, carts, left, without_goal
from toolkit.charts.diagram import diagram
from toolkit.engine.flow import answers_of
from toolkit.scenario import loads


def test_observed_answers_stand_in_a_box_of_their_own_below_the_exact_counts():
    run = tk.replay(loads(TWICE), answered(), progress=False)
    scenario = run.program["cart"]
    drawn = diagram(scenario, run, answers=answers_of(run, "cart"))
    assert "observed: 4 mails went; opened 25–50%; clicked 25–50%; then purchase in 7 d: 25%" in drawn
    assert 'class="seen"' in drawn
    assert 'class="seen"' not in diagram(scenario, run)
    assert answers_of(tk.replay(loads(TWICE), carts(), progress=False), "cart") == {}


def test_who_reached_the_goal_who_left_without_it_and_who_unsubscribed_are_drawn_apart():
    run = left()
    drawn = diagram(run.program["cart"], run)
    told = [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", drawn)]
    assert [told.count(one) for one in ("1 left: purchase", "2 left, no purchase", "2 unsubscribed")] == [2, 2, 1]
    assert told[-4:] == ["1 at the end", "2 left: purchase", "2 left, no purchase", "3 unsubscribed"]
    assert drawn.count('class="s bad"') == 3


def test_where_there_is_no_goal_whoever_left_is_drawn_as_left_early():
    run = without_goal()
    assert "1 left early" in diagram(run.program["cart"], run)
