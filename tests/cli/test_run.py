"""`toolkit run` reacts to answers: what a real tracker heard between two rounds decides who gets which mail next."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email import policy
from email.parser import BytesParser

import pandas as pd
import pytest
from typer.testing import CliRunner

from toolkit.cli import app
from toolkit.events import EventLog
from toolkit.sending import Ledger, load_approval
from toolkit.sending.answered import take_up
from toolkit.sending.clock import micros
from toolkit.sending.keys import mail_key
from toolkit.tracking import Answers
from toolkit.tracking.server import tracker

SCENARIO = """
scenario: welcome
trigger: {event: sign_up}
reentry: once
goal: {event: purchase, within: 7d, value: revenue}
steps:
  - {id: hello, send: welcome/hello}
  - wait_for: {event: email_clicked, within: 30m}
    then: [{id: thanks, send: welcome/thanks}]
    else: [{id: again, send: welcome/again}]
"""
POLICIES = """
sender: {name: Maison Lune, email: hello@example.com}
brand: {name: Maison Lune, address: "12 rue de l'Exemple, 75000 Paris", url: https://shop.example.com/}
tracking: {url: "https://mail.example.com"}
"""
TEXT = """subject: STEP {{ customer.first_name }}
preheader: Good to see you
---
Hello {{ customer.first_name }}: {{ link("https://shop.example.com/new") }}
Stop: {{ unsubscribe }}
"""
HTML = """<mjml><mj-body><mj-section><mj-column><mj-text>Hello {{ customer.first_name }},
<a href="{{ link("https://shop.example.com/new") }}">look</a> <a href="{{ unsubscribe }}">Stop</a></mj-text>
</mj-column></mj-section></mj-body></mjml>
"""
PEOPLE = ("ana", "bo", "cy", "di")


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Four people who signed up ten minutes ago; the scenario, its mails, and a standing approval of them."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    mails = tmp_path / "mails" / "welcome"
    mails.mkdir(parents=True)
    (mails / "scenario.yaml").write_text(SCENARIO)
    (tmp_path / "mails" / "policies.yaml").write_text(POLICIES)
    for step in ("hello", "thanks", "again"):
        (mails / f"{step}.txt").write_text(TEXT.replace("STEP", step))
        (mails / f"{step}.mjml").write_text(HTML)
    at = datetime.now(UTC) - timedelta(minutes=10)
    signed = pd.DataFrame({"customer_id": PEOPLE, "event": "sign_up", "at": at.isoformat(), "revenue": 0.0})
    signed.to_csv(tmp_path / "events.csv", index=False)
    people = {"customer_id": PEOPLE, "first_name": PEOPLE, "consent": True}
    pd.DataFrame(people | {"email": [f"{one}@example.org" for one in PEOPLE]}).to_csv("people.csv", index=False)
    done = CliRunner().invoke(app, ["approve", "mails", "--by", "ana", "--mails-a-day", "100"])
    assert done.exit_code == 0, done.output
    assert "StandingApproval of welcome by ana: at most 100 mails a day" in done.output
    return tmp_path


def tick(*options, code=0):
    """One round of the command; the mails in the outbox after it, subject to message."""
    command = ["run", "mails", "--events", "events.csv", "--customers", "people.csv", "--approval", "standing.json"]
    command += ["--transport", "outbox:out", "--ledger", "out/ledger.sqlite", "--rounds", "1", *options]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == code, done.output
    return done.output


def parity(shop):
    """What the command says of the day that was captured."""
    day = next((shop / "captures").glob("*.jsonl")).stem
    command = ["parity", "mails", "--events", "events.csv", "--customers", "people.csv", "--day", day]
    done = CliRunner().invoke(app, [*command, "--ledger", "out/ledger.sqlite"])
    assert done.exit_code == 0, done.output
    return done.output


def outbox(shop):
    messages = [
        BytesParser(policy=policy.default).parsebytes(path.read_bytes()) for path in (shop / "out").glob("*.eml")
    ]
    return {message["Subject"]: message for message in messages}


def links(message):
    """The first link of a mail, and its one-click unsubscribe, as paths of the tracker."""
    html = next(part for part in message.walk() if part.get_content_type() == "text/html").get_content()
    click = re.search(r'href="https://mail\.example\.com(/c/[\w-]{34})"', html).group(1)
    return click, message["List-Unsubscribe"].strip("<>").removeprefix("https://mail.example.com")


def test_a_loop_is_paused_by_the_file_of_its_approval_and_says_in_round_and_status_how_it_goes_on(shop):
    def told(*words, code=0):
        done = CliRunner().invoke(app, [*words, "--ledger", "out/ledger.sqlite"])
        assert done.exit_code == code, done.output
        return done.output

    assert "sent 0," in tick("--since", "2099-01-01T00:00Z")  # a ledger, in which the approval has no run yet
    said = told("pause", "standing.json", "--by", "ben", "--why", "new server")
    assert said == (
        "standing.json: paused; `toolkit resume standing.json --ledger out/ledger.sqlite --by NAME` lets it go on\n"
    )
    assert "sent 0," in (round_ := tick())
    short = load_approval("standing.json").id[:12]
    how = f"(new server); `toolkit resume {short} --ledger"
    assert how in round_
    assert "4 mails due" in round_
    status = told("status")
    assert f"approval {short}: paused by ben on " in status
    assert how in status
    assert "there is no such file; did you mean 'standing.json'?" in told("resume", "standin.json", "--by", "b", code=1)
    assert told("resume", "standing.json", "--by", "ben").startswith("standing.json: goes on with the next round")
    assert "sent 4," in tick()
    assert "approval" not in told("status")
    run = told("status").split()[0]
    assert f"it is one round of a loop, which is paused by its approval, {short}" in told(
        "pause", run, "--by", "ben", code=1
    )
    told("pause", short, "--by", "ben")
    assert f"approval {short} of welcome: paused by ben" in told("status")


def test_a_click_sends_the_other_mail_and_an_unsubscribe_ends_the_journey(shop, serving):
    assert "sent 4," in tick()
    mails = outbox(shop)
    assert set(mails) == {f"hello {one}" for one in PEOPLE}
    # A verdict is final after a minute; so the tracker heard it two minutes ago.
    heard = micros(datetime.now(UTC) - timedelta(minutes=2))
    with (
        Ledger.open("out/ledger.sqlite") as ledger,
        Answers.open("out/answers.sqlite", clock=lambda: heard) as answers,
    ):
        tokens = mail_key("out/ledger.sqlite").tokens
        server = tracker(answers, tokens, standing=lambda: take_up(ledger, answers), clock=lambda: heard)
        with serving(server) as client:
            for one in ("ana", "cy"):
                answer = client.get(links(mails[f"hello {one}"])[0])
                assert (answer.status_code, answer.headers["location"]) == (302, "https://shop.example.com/new")
            scanner = client.get(links(mails["hello di"])[0], headers={"User-Agent": "Barracuda Sentinel (EE)"})
            assert scanner.status_code == 302
            gone = client.post(links(mails["hello cy"])[1], data={"List-Unsubscribe": "One-Click"})
            assert gone.status_code == 200
        assert ledger.suppressions.reason("cy@example.org") == "unsubscribed"
    assert "sent 1," in tick()
    assert set(outbox(shop)) == {*mails, "thanks ana"}
    assert "sent 0," in tick()
    assert set(outbox(shop)) == {*mails, "thanks ana"}
    assert "5 decisions to send, same 5, explained 0, unexplained 0" in parity(shop)


def test_half_a_line_at_the_end_of_a_growing_file_is_left_for_a_later_round_and_told_once(shop):
    half = "eve,sign_up,2026-"
    with (shop / "events.csv").open("a") as events:
        events.write(half)
    said = tick("--rounds", "2", "--every", "1s")
    assert "sent 4," in said
    assert said.count("events.csv: the last line does not end yet, and is left until it does") == 1
    assert "broken off" not in said


def test_a_stored_log_is_sent_from_as_a_file_is(shop):
    EventLog.from_csv("events.csv", customers="people.csv").save("log", progress=False)
    words = [
        "--approval",
        "standing.json",
        "--transport",
        "outbox:outbox",
        "--ledger",
        "ledger.sqlite",
        "--rounds",
        "1",
    ]
    done = CliRunner().invoke(app, ["run", "mails", "--events", "log", *words])
    assert (done.exit_code, "sent 4," in done.output) == (0, True), done.output


def test_what_is_approved_with_a_made_up_sender_is_told(shop):
    done = CliRunner().invoke(app, ["approve", "mails", "--by", "ana", "--mails-a-day", "5"])
    assert "warning: hello@example.com, shop.example.com: made-up names" in done.output


def test_what_began_before_the_start_gets_no_mail(shop):
    start = datetime.now(UTC) - timedelta(minutes=5)
    pd.concat(
        [
            pd.read_csv("events.csv").query("customer_id != 'di'"),
            pd.DataFrame({"customer_id": ["di"], "event": "sign_up", "at": datetime.now(UTC).isoformat()}),
        ]
    ).to_csv("events.csv", index=False)
    assert "sent 1," in tick("--since", f"{start:%Y-%m-%dT%H:%M:%SZ}")
    assert set(outbox(shop)) == {"hello di"}
    assert "4 decisions to send, same 1, explained 3, unexplained 0" in parity(shop)


def test_a_ledger_that_was_moved_without_its_key_is_told_before_a_mail_goes(shop):
    tick()
    (shop / "moved").mkdir()
    (shop / "out" / "ledger.sqlite").rename(shop / "moved" / "ledger.sqlite")
    command = ["run", "mails", "--events", "events.csv", "--customers", "people.csv", "--approval", "standing.json"]
    command += ["--transport", "outbox:moved", "--ledger", "moved/ledger.sqlite", "--rounds", "1"]
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, "another key than moved/ledger.key named the last mails" in done.output) == (1, True)
    assert not (shop / "moved" / "ledger.key").exists()
    (shop / "out" / "ledger.key").rename(shop / "moved" / "ledger.key")
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, "already sent 4" in done.output) == (0, True), done.output


def test_answers_that_are_not_there_are_told_and_none_are_made(shop):
    Ledger.open("ledger.sqlite").close()
    for words, said in (
        (
            ["deliverability"],
            "answers answers.sqlite: there is none; it is made when mails are sent",
        ),
        (["bounces", "box"], "bounces: box is no folder"),
    ):
        done = CliRunner().invoke(app, [*words, "--ledger", "ledger.sqlite"])
        assert (done.exit_code, said in done.output) == (1, True), done.output
        assert not (shop / "answers.sqlite").exists()


def test_an_approval_that_cannot_be_given_is_refused_at_the_shell(shop):
    wrong = ["approve", "mails", "--by", "ana", "--mails-a-day"]
    for options, said in (
        (["5", "--only", "welcom"], "did you mean 'welcome'"),
        (["0"], "mails_a_day: expected a whole number from 1"),
        (["5", "--to", "nowhere/standing.json"], "nowhere"),
    ):
        done = CliRunner().invoke(app, [*wrong, *options])
        assert (done.exit_code, said in done.output) == (1, True), done.output


def test_who_did_not_click_in_time_gets_the_mail_for_them(shop):
    at = datetime.now(UTC) - timedelta(minutes=45)
    pd.read_csv("events.csv").assign(at=at.isoformat()).to_csv("events.csv", index=False)
    tick()  # the first mail and the second fall due together, because no round was made at the time of the first
    assert set(outbox(shop)) == {f"{step} {one}" for step in ("hello", "again") for one in PEOPLE}
    assert "8 decisions to send, same 8, explained 0, unexplained 0" in parity(shop)


def test_answers_that_cannot_be_read_send_nothing(shop):
    (shop / "out").mkdir()
    (shop / "out" / "answers.sqlite").write_bytes(b"no database" * 100)
    assert "broken off: answers out/answers.sqlite: cannot be opened" in tick(code=1)
    assert outbox(shop) == {}
