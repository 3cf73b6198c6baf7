"""The sender of another user believes signatures and nothing else."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pandas as pd
import pytest

from toolkit.errors import ApprovalError, InputError, TransportError
from toolkit.events import EventLog
from toolkit.sending import ApprovalPolicy, Ledger, Outbox, approve, approve_standing, serve, submit, transport
from toolkit.sending.batch.parcel import BatchParcel, entry_of
from toolkit.sending.delivery import run_record
from toolkit.sending.keys import new_key, public_line, signing_key
from toolkit.sending.sender.gate import gate_of
from toolkit.sending.sender_service import take_one

WELCOME = """
scenario: welcome
trigger: {event: sign_up}
reentry: once
steps:
  - {wait: 1h}
  - {id: hello, send: welcome/hello}
"""


@pytest.fixture
def key(tmp_path):
    return new_key(tmp_path / "ana.pem")


@pytest.fixture
def policy(key):
    return ApprovalPolicy(approvers={"ana": public_line(signing_key(key)[0])})


@pytest.fixture
def submitted(shop, key, noon, tmp_path):
    batch = shop.prepare()
    return submit(batch, approve(batch, by="ana", key=key, clock=lambda: noon), tmp_path / "spool")


@pytest.fixture
def serving(tmp_path, policy, noon):
    """The sender looks once; what it said."""

    def go(**options):
        lines = []
        clock = lambda: noon + timedelta(minutes=5)  # noqa: E731
        options = {"policy": policy, "transport": f"outbox:{tmp_path}/out", "clock": clock, **options}
        options.setdefault("ledger", tmp_path / "sender.sqlite")
        serve(tmp_path / "spool", once=True, say=lines.append, **options)
        return lines

    return go


def test_what_was_left_out_when_the_batch_was_prepared_is_told(
    shop, key, noon, tmp_path, serving, make_log, make_people
):
    people = make_people(12)
    people.loc[0, "first_name"] = "*|FNAME|*"
    people.loc[1, "email"] = "none"
    batch = shop.prepare(log=make_log(12, people=people))
    folder = submit(batch, approve(batch, by="ana", key=key, clock=lambda: noon), tmp_path / "spool")
    (line,) = serving()
    assert line.startswith(
        f"{folder.name}: sent 10, already sent 0, skipped 0, unknown 0, failed 0, left out 1 (warning:"
    )
    assert "would reach the reader" in line


def test_what_was_submitted_is_sent_once_and_put_away_with_its_report(submitted, serving, tmp_path):
    assert serving() == [f"{submitted.name}: sent 12, already sent 0, skipped 0, unknown 0, failed 0"]
    assert len(list((tmp_path / "out").glob("*.eml"))) == 12
    assert serving() == []
    said = json.loads((tmp_path / "spool" / "done" / submitted.name / "outcome.json").read_text())
    with Ledger.open(tmp_path / "sender.sqlite") as ledger:
        assert said["audit"] == ledger.audit_head()
        assert ledger.verify() == ()


def test_the_same_batch_submitted_twice_is_sent_once(shop, key, noon, serving, tmp_path):
    batch = shop.prepare()
    approval = approve(batch, by="ana", key=key, clock=lambda: noon)
    assert submit(batch, approval, tmp_path / "spool") == submit(batch, approval, tmp_path / "spool")
    serving()
    submit(batch, approval, tmp_path / "spool")
    assert "sent 0, already sent 12" in serving()[0]


def _edit(path, before, after):
    data = path.read_bytes()
    assert before in data
    path.write_bytes(data.replace(before, after, 1))


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lambda f: _edit(f / "messages", b"Hello", b"Hullo"), r"mail \w+: its bytes are not those approved"),
        (lambda f: _edit(f / "mails.jsonl", b"c0@example.org", b"x0@example.org"), "goes to another address"),
        (
            lambda f: _edit(f / "audience.jsonl", b'"customer":"c0"', b'"customer":"x0"'),
            "audience: the same number, other",
        ),
        (lambda f: _edit(f / "audience.jsonl", b'"offer":null', b'"offer":"50%"'), "audience: the same number, other"),
        (
            lambda f: _edit(f / "audience.jsonl", b'"decided_at":"2026-03-02T09:', b'"decided_at":"2027-03-02T09:'),
            "audience: the same number, other",
        ),
        (lambda f: _edit(f / "manifest.json", b'"offers": {}', b'"offers": {"a": 1}'), "offers: added a"),
        (lambda f: _edit(f / "manifest.json", b'"mails": 12', b'"mails": 13'), r"limits: changed mails \(approved 12"),
        (lambda f: _edit(f / "manifest.json", b"hello@example.com", b"eve@example.com"), "sender: changed email"),
        (lambda f: _edit(f / "approvals.json", b'"mails": 12', b'"mails": 99'), "was changed after signing"),
        (
            lambda f: _edit(f / "program.yaml", b"revenue >= 50", b"revenue >= 5000"),
            "not the scenarios that were approved",
        ),
        (lambda f: (f / "approvals.json").write_text("[]"), "0 of 1 needed approvals"),
        (lambda f: (f / "mails.jsonl").write_text(""), "0 mails, 12 were approved"),
        (lambda f: (f / "manifest.json").write_text("{}"), "holds no batch"),
        (
            lambda f: _edit(f / "mails.jsonl", b', "locale": "en", "targets": []', b""),
            "an earlier version of the toolkit put this batch here; prepare and submit it again",
        ),
    ],
    ids=[
        "message",
        "address",
        "customer",
        "offer",
        "moment",
        "offers",
        "limits",
        "sender",
        "approval",
        "program",
        "no approval",
        "mails",
        "manifest",
        "earlier version",
    ],
)
def test_whatever_was_changed_is_refused_and_named_and_nothing_goes(submitted, serving, tmp_path, tamper, said):
    tamper(submitted)
    (line,) = serving()
    assert line.startswith(f"{submitted.name}: refused: ")
    with pytest.raises((ApprovalError, InputError), match=said):
        raise ApprovalError(line)
    assert not list((tmp_path / "out").glob("*.eml"))
    assert (tmp_path / "spool" / "refused" / submitted.name / "outcome.json").exists()


def test_a_signature_of_someone_else_is_refused_whatever_the_notebook_says(shop, noon, serving, tmp_path):
    batch = shop.prepare()
    own = approve(batch, by="ana", key=new_key(tmp_path / "eve.pem"), clock=lambda: noon)
    submit(batch, own, tmp_path / "spool")
    assert "signed with key" in serving()[0]


def test_an_old_batch_is_not_sent(submitted, policy, noon, tmp_path):
    with pytest.raises(ApprovalError, match="a day away"):
        take_one(
            submitted,
            transport=f"outbox:{tmp_path}/out",
            ledger=tmp_path / "l.sqlite",
            policy=policy,
            clock=lambda: noon + timedelta(days=2),
        )


def test_a_standing_approval_serves_and_a_changed_scenario_voids_it(shop, key, noon, serving, tmp_path, make_program):
    standing = approve_standing(shop.program, shop.templates, by="ana", key=key, mails_a_day=5, clock=lambda: noon)
    submit(shop.prepare(), standing, tmp_path / "spool")
    assert "sent 5," in serving()[0]
    assert "held back" in serving()[0]
    other = make_program(sender={"name": "Another", "email": "hello@example.com"})
    submit(shop.prepare(program=other), standing, tmp_path / "spool")
    assert any("the standing approval is void" in line for line in serving())


def test_a_standing_approval_that_was_changed_or_covers_something_else_or_findings_is_refused(
    shop, key, noon, serving, make_program, make_people, make_log, tmp_path
):
    ways = {"by": "ana", "key": key, "mails_a_day": 5, "clock": lambda: noon}
    standing = approve_standing(shop.program, shop.templates, **ways)
    submit(shop.prepare(), replace(standing, mails_a_day=1_000), tmp_path / "spool")
    assert "it was changed after signing" in serving()[0]
    both = make_program(f"{WELCOME}---{WELCOME.replace('scenario: welcome', 'scenario: other')}")
    batch = shop.prepare(program=both)
    submit(batch, approve_standing(both, shop.templates, scenarios=["welcome"], **ways), tmp_path / "spool")
    assert any("does not cover other, only welcome" in line for line in serving())
    people = make_people(12)
    people.loc[0, "first_name"] = "*|FNAME|*"
    blocked = shop.prepare(log=make_log(people=people), set_aside=False)
    assert len(blocked.errors) == 1
    submit(blocked, standing, tmp_path / "spool")
    assert any("the batch has findings that block it" in line for line in serving())
    with Ledger.open(tmp_path / "sender.sqlite") as ledger:
        assert len(ledger.deliveries()) == 0


def test_what_happened_since_the_batch_was_prepared_is_asked_of_the_log(submitted, serving, make_log, noon, tmp_path):
    def since(customer, event, **more):
        return {"customer_id": customer, "event": event, "at": noon + timedelta(minutes=1), **more}

    log = make_log(
        more=[
            since("c1", "email_unsubscribed"),
            since("c2", "email_bounced", bounce_type="hard"),
            since("c3", "purchase", revenue=60.0),
            since("c4", "purchase", revenue=40.0),  # does not end the scenario
            since("c5", "email_unsubscribed") | {"at": noon + timedelta(hours=1)},  # not known yet
        ],
        bounce_type=True,
    )
    assert "sent 9, already sent 0, skipped 3," in serving(log=lambda: log)[0]
    with Ledger.open(tmp_path / "sender.sqlite") as ledger:
        rows = ledger.deliveries()
    held = rows[rows.state != "accepted"].set_index("customer_id")
    assert held.reason.to_dict() == {"c1": "unsubscribed", "c2": "suppressed", "c3": "exited"}
    assert held.state.to_dict() == {"c1": "suppressed", "c2": "suppressed", "c3": "skipped"}


def test_caps_are_asked_of_the_ledger_again_between_two_batches(shop, key, noon, serving, tmp_path, make_program):
    caps = [{"limit": 1, "per": "7d", "scope": "marketing"}]
    twin = make_program(WELCOME.replace("scenario: welcome", "scenario: twin"), caps=caps)
    for program in (make_program(caps=caps), twin):
        batch = shop.prepare(program=program)
        submit(batch, approve(batch, by="ana", key=key, clock=lambda: noon), tmp_path / "spool")
    first, second = serving()
    assert "sent 12, already sent 0, skipped 0," in first
    assert "sent 0, already sent 0, skipped 12," in second


def test_a_log_that_cannot_be_read_is_no_fault_of_the_batch_which_waits(submitted, serving):
    def unreadable():
        raise InputError("events: no such file")

    (line,) = serving(log=unreadable)
    assert line == f"{submitted.name}: broken off, goes on later: the log cannot be read: events: no such file"
    assert "sent 12," in serving()[0]


def test_a_batch_that_cannot_go_is_tried_less_and_less_often_and_told_once(submitted, policy, noon, tmp_path):
    tries, lines, stop = [], [], threading.Event()

    class Closed(Outbox):
        def deliver(self, mails, start):
            tries.append(time.monotonic())
            if len(tries) == 5:
                stop.set()
            raise TransportError("smtp: does not accept user and password")

    options = {"policy": policy, "transport": Closed(tmp_path / "out"), "clock": lambda: noon + timedelta(minutes=5)}
    serve(tmp_path / "spool", ledger=tmp_path / "sender.sqlite", every=0.1, stop=stop, say=lines.append, **options)
    waits = [later - before for before, later in pairwise(tries)]
    assert [wait >= least for wait, least in zip(waits, (0.1, 0.2, 0.4, 0.8), strict=True)] == [True] * 4
    assert lines == [f"{submitted.name}: broken off, goes on later: smtp: does not accept user and password"]


def test_a_log_without_what_the_scenario_asks_for_keeps_the_batch_waiting(submitted, serving, noon):
    bought = pd.DataFrame({"customer_id": ["c1"], "event": ["purchase"], "at": [noon]})
    (line,) = serving(log=lambda: EventLog.from_pandas(bought))
    assert line.startswith(f"{submitted.name}: broken off, goes on later: the log does not fit the batch: ")
    assert "sent 12," in serving()[0]


def test_a_way_out_that_is_none_is_no_fault_of_the_batch_which_waits(submitted, serving):
    with pytest.raises(InputError, match="did you mean 'smtp:'"):
        serving(transport="smpt:mail.example.org")
    assert "sent 12," in serving()[0]


def test_a_batch_that_is_still_being_written_is_left_alone(submitted, serving, tmp_path):
    part = submitted.rename(submitted.with_name(f".{submitted.name}.0a1b2c3d"))
    (part / "messages").rename(tmp_path / "later")
    assert serving() == []
    (tmp_path / "later").rename(part / "messages")
    part.rename(submitted)
    assert "sent 12," in serving()[0]


def _pipe(path):
    path.unlink()
    os.mkfifo(path)


def _link(path):
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


@pytest.mark.parametrize(
    ("file", "spoil"),
    [
        ("approvals.json", lambda path: path.write_text("[5]")),
        ("approvals.json", lambda path: path.write_text("null")),
        ("manifest.json", lambda path: path.write_text("[" * 100_000)),
        ("audience.jsonl", _pipe),
        ("messages", _pipe),
        ("program.yaml", _link),
    ],
)
def test_whatever_stands_in_a_folder_does_not_end_the_sender(submitted, serving, file, spoil):
    spoil(submitted / file)
    (line,) = serving()
    assert line.startswith(f"{submitted.name}: refused: ")
    assert serving() == []


@pytest.mark.parametrize("locale", [r"\ud800", r"\u0000de", "x" * 10_000])
def test_a_locale_that_no_database_keeps_stops_no_mail(submitted, serving, tmp_path, locale, postgres_server):
    name = f"locale{abs(hash(locale))}"
    with postgres_server.psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    _edit(submitted / "mails.jsonl", b'"locale": "en"', b'"locale": "%s"' % locale.encode())
    assert "sent 12," in serving(ledger=f"{postgres_server.server_url}/{name}")[0]


def test_an_outcome_is_never_written_through_a_link(submitted, serving, tmp_path):
    (tmp_path / "precious").write_text("mine")
    (submitted / "outcome.json").symlink_to(tmp_path / "precious")
    assert "sent 12," in serving()[0]
    assert (tmp_path / "precious").read_text() == "mine"
    assert "sent 12," in (tmp_path / "spool" / "done" / submitted.name / "outcome.json").read_text()


def test_a_batch_that_another_sender_put_away_meanwhile_is_no_error(submitted, serving, tmp_path):
    def log():
        submitted.rename(tmp_path / "elsewhere")
        return

    assert "sent 12," in serving(log=log)[0]


def test_the_gate_looks_at_some_customers_at_a_time_and_finds_the_same(shop, make_log, make_program, noon, tmp_path):
    twice = [{"customer_id": f"c{n}", "event": "sign_up", "at": noon - timedelta(hours=3)} for n in range(0, 12, 2)]
    gone = [{"customer_id": f"c{n}", "event": "email_unsubscribed", "at": noon} for n in (3, 4)]
    again = WELCOME.replace("reentry: once", "reentry: every").replace("- {wait: 1h}", "- {wait: 10m}")
    caps = [{"limit": 1, "per": "7d", "scope": "marketing"}]
    batch = shop.prepare(program=make_program(again), log=make_log(more=twice))
    assert len(batch) == 18
    capped = replace(batch, program=make_program(again, caps=caps))
    log, clock = make_log(more=[*twice, *gone]), lambda: noon + timedelta(minutes=5)
    with Ledger.open(tmp_path / "gate.sqlite", clock=clock) as ledger:
        parcel = BatchParcel(capped)
        entries = [entry_of(parcel.stub(number)) for number in range(18)]
        ledger.plan(run_record(parcel, [shop.approve(capped)], transport(f"outbox:{tmp_path}/out")), entries)
        found = [
            gate_of(parcel, ledger, log, clock, way=Outbox(tmp_path), run_id="run", at_once=count)()
            for count in (1, 4, 50)
        ]
    assert found[0] == found[1] == found[2]
    assert Counter(found[0].values()) == {"cap": 5, "unsubscribed": 3}


@pytest.mark.parametrize("after", [5, 20])  # while it is read, and while it is checked
def test_a_batch_that_is_being_checked_is_left_when_the_sender_is_stopped(submitted, tmp_path, policy, noon, after):
    class Stopped(threading.Event):
        looks = 0

        def is_set(self):
            self.looks += 1
            return self.looks > after

    stop = Stopped()
    options = {"policy": policy, "transport": f"outbox:{tmp_path}/out", "clock": lambda: noon}
    with pytest.raises(KeyboardInterrupt):
        take_one(submitted, ledger=tmp_path / "sender.sqlite", stop=stop, **options)
    assert stop.looks == after + 1
    assert not (tmp_path / "out").exists()
    assert "sent 12," in str(take_one(submitted, ledger=tmp_path / "sender.sqlite", **options))
