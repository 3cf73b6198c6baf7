"""Who opened or clicked depends neither on the order in which answers come, nor on those to other mails."""

from __future__ import annotations

from collections import defaultdict
from random import Random

import pytest

from tests.tracking.conftest import NAMES, SECOND, START
from toolkit.tracking import Answers, Incoming
from toolkit.tracking.tokens import TRAP
from toolkit.tracking.verdicts import Seen, judge_together

AGENTS = ("Mozilla/5.0 (X11; Linux) Firefox/140.0", "Mozilla/5.0 (iPhone) Safari/604.1", "Mozilla/5.0")
KNOWN = ("kind", "at", "number", "agent", "network")


def _answers(chance: Random):
    """Half a second or 25 seconds apart, so that none lies at the edge of what is looked at together."""
    for number in range(chance.randint(2, 12)):
        kind = chance.choice(["opened", "clicked"])
        yield {
            "event_id": f"e{number}",
            "mail": chance.choice(NAMES[:2]),
            "kind": kind,
            "at": START - 500 * SECOND + chance.randrange(7) * 25 * SECOND + chance.randrange(2) * SECOND // 2,
            "number": chance.choice([0, 0, 1, TRAP]) if kind == "clicked" else 0,
            "agent": chance.choice(AGENTS),
            "network": chance.choice(["", "192.0.2.0/24", "198.51.100.0/24"]),
        }


@pytest.mark.parametrize("seed", range(5))
def test_verdicts_are_those_of_all_answers_of_a_mail_together_however_they_come(seed, tmp_path):
    chance = Random(seed)
    for turn in range(25):
        coming = list(_answers(chance))
        by_mail = defaultdict(list)
        for one in coming:
            by_mail[one["mail"]].append(one)
        wanted = {}
        for mine in by_mail.values():
            verdicts = judge_together([Seen(**{name: one[name] for name in KNOWN}) for one in mine])
            wanted |= {one["event_id"]: verdict for one, (verdict, _) in zip(mine, verdicts, strict=True)}
        chance.shuffle(coming)
        with Answers.open(tmp_path / f"{turn}.sqlite", clock=lambda: START) as store:
            while coming:
                some = chance.randint(1, 3)
                store.record([Incoming(provider="x", **one) for one in coming[:some]])
                coming = coming[some:]
            assert dict(zip(store.table["event_id"], store.table["verdict"], strict=True)) == wanted


def test_what_a_machine_asked_for_stays_a_machine_s_when_a_person_follows_a_link_a_minute_after(answers):
    for at, kind, number, agent in ((0, "clicked", TRAP, 0), (50, "opened", 0, 0), (100, "clicked", 0, 1)):
        moment = START - (200 - at) * SECOND
        answers.record([Incoming(kind, moment, mail=NAMES[0], number=number, agent=AGENTS[agent], event_id=f"e{at}")])
    assert answers.table["verdict"].tolist() == ["machine", "machine", "human"]


def test_a_burst_that_begins_at_the_end_of_the_minute_still_gives_a_machine_away_before_the_log_hears(tmp_path):
    """The second link of the burst comes 61.5 seconds after the first answer; all are judged as together."""
    moments = {"first": 0, "link": 59.5, "other link": 61.5}
    seen = [
        Seen("clicked", int(at * SECOND), number=number, agent=AGENTS[0]) for number, at in enumerate(moments.values())
    ]
    assert [verdict for verdict, _ in judge_together(seen)] == ["machine"] * 3
    now = START
    with Answers.open(tmp_path / "answers.sqlite", clock=lambda: now) as store:
        for number, (name, at) in enumerate(moments.items()):
            now = START + int(at * SECOND)
            store.record([Incoming("clicked", now, mail=NAMES[0], number=number, agent=AGENTS[0], event_id=name)])
            told = store.table
            assert (told["received_at"] - told["at"] == 62 * SECOND).all()
        assert store.table["verdict"].tolist() == ["machine"] * 3


@pytest.mark.parametrize(
    ("agents", "networks", "verdict"),
    [
        ((0, 0), ("192.0.2.0/24", "198.51.100.0/24"), "machine"),  # the same name from elsewhere
        ((0, 1), ("192.0.2.0/24", "192.0.2.0/24"), "machine"),  # another name from the same place
        ((0, 1), ("192.0.2.0/24", "198.51.100.0/24"), "human"),  # two people
        ((0, 1), ("", ""), "human"),
    ],
)
def test_a_burst_of_links_is_of_one_program_or_one_place(agents, networks, verdict):
    seen = [
        Seen("clicked", number * SECOND, number=number, agent=AGENTS[agent], network=network)
        for number, (agent, network) in enumerate(zip(agents, networks, strict=True))
    ]
    assert [found for found, _ in judge_together(seen)] == [verdict] * 2
