"""Mails are handed down to the tracker before they leave, and what it heard reaches the suppression list."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import policy
from email.parser import BytesParser

import pytest
from sqlalchemy import event

from tests.sending.shops import NOON, WELCOME
from tests.shared import FIREFOX
from toolkit.engine import replay
from toolkit.errors import InputError, LedgerError, SendingError
from toolkit.sending import (
    ApprovalPolicy,
    Ledger,
    Outbox,
    approve,
    approve_standing,
    parity,
    round_of,
    send,
    serve,
    submit,
)
from toolkit.sending.answered import answers_place, heard, take_up, tell_sent, told
from toolkit.sending.batch.parcel import BatchParcel
from toolkit.sending.clock import micros
from toolkit.sending.keys import key_file, mail_key, new_key, public_line, rotate, signing_key
from toolkit.sending.protocol import Receipt
from toolkit.sending.states import State
from toolkit.tracking import Answers, Incoming, TrackedMail
from toolkit.tracking.server import tracker

TRACKED = {"tracking": {"url": "https://mail.example.com"}}
NOW = 1_772_452_800_000_000  # 2 March 2026, noon
HTML = """<mjml><mj-body><mj-section><mj-column><mj-text>Hello {{ customer.first_name }},
<a href="{{ link("https://shop.example.com/new", who=customer.first_name, of="mails") }}">look</a>
{% if unsubscribe is defined %}<a href="{{ unsubscribe }}">Stop</a>{% endif %}</mj-text>
</mj-column></mj-section></mj-body></mjml>
"""


@pytest.fixture
def tracked_shop(shop, make_program):
    shop.program = make_program(**TRACKED)
    (shop.templates / "welcome" / "hello.mjml").write_text(HTML, encoding="utf-8")
    text = (shop.templates / "welcome" / "hello.txt").read_text(encoding="utf-8")
    link = '{{ link("https://shop.example.com/new", who=customer.first_name, of="mails") }} .\n'
    (shop.templates / "welcome" / "hello.txt").write_text(text.replace("---\n", f"---\n{link}"), encoding="utf-8")
    return shop


@pytest.fixture
def sent(tracked_shop):
    batch = tracked_shop.prepare()
    send(batch, tracked_shop.approve(batch), confirm=len(batch), progress=False)
    return batch


def _soon():
    return NOON + timedelta(minutes=5)


def _copy(source, target):
    with contextlib.closing(sqlite3.connect(source)) as here, contextlib.closing(sqlite3.connect(target)) as there:
        here.backup(there)


class _Real(Outbox):
    """A way out by which mails of a past day may not go, as a mail server is."""

    rehearsal = False


def test_a_sender_whose_tracker_would_not_know_the_links_refuses_the_batch(tracked_shop, tmp_path):
    key = new_key(tmp_path / "ana.pem")
    batch = tracked_shop.prepare()
    submit(batch, approve(batch, by="ana", key=key, clock=_soon), tmp_path / "spool")
    policy = ApprovalPolicy(approvers={"ana": public_line(signing_key(key)[0])})
    lines: list[str] = []

    def look(ledger):
        way = _Real(tmp_path / "out")
        options = {"policy": policy, "once": True, "say": lines.append, "clock": _soon}
        serve(tmp_path / "spool", transport=way, ledger=ledger, **options)
        return len(list((tmp_path / "out").glob("*.eml")))

    assert look(tmp_path / "sender.sqlite") == 0
    assert "refused: the links of these mails, and their unsubscribe, are unknown to the tracker" in lines[0]
    submit(batch, approve(batch, by="ana", key=key, clock=_soon), tmp_path / "spool")
    ours = key_file(str(tracked_shop.outbox / "ledger.sqlite"))
    theirs = tmp_path / "other" / "ledger.sqlite"
    theirs.parent.mkdir()
    shutil.copy(ours, key_file(str(theirs)))
    assert look(theirs) == 12


@pytest.fixture
def ledger(sent, tracked_shop):
    with Ledger.open(tracked_shop.outbox / "ledger.sqlite") as opened:
        yield opened


@pytest.fixture
def answers(sent, tracked_shop):
    with Answers.open(tracked_shop.outbox / "answers.sqlite") as opened:
        yield opened


def parts(batch, number=0):
    message = BytesParser(policy=policy.default).parsebytes(batch.spool[batch.mails[number].number])
    bodies = {part.get_content_type(): part.get_content() for part in message.walk() if not part.is_multipart()}
    return message, bodies["text/html"], bodies["text/plain"]


def test_without_a_tracker_in_the_policies_no_mail_is_tracked(shop):
    batch = shop.prepare()
    _, html, _ = parts(batch)
    assert "<img" not in html
    assert "https://mail.example.com" not in html
    assert all(mail.targets == () for mail in batch.mails)


def test_what_was_sent_is_in_the_log_without_a_tracker_too(shop, make_program):
    experiment = "experiment: {name: hello_1, arms: {control: 0.5, mail: 0.5}, holdout: control}\n"
    shop.program = make_program(WELCOME.replace("exit_on:", f"{experiment}exit_on:"))
    batch = shop.prepare()
    assert not [note for note in batch.notes if "tracking" in note]
    assert 0 < len(batch) < 12
    send(batch, shop.approve(batch), confirm=len(batch), progress=False)
    log = shop.log.with_answers(shop.outbox / "answers.sqlite")
    mails = log.events[log.events["event"] == "email_sent"]
    assert set(mails["decision_id"]) == {mail.letter.decision_id for mail in batch.mails}
    assert set(zip(mails["scenario"], mails["step"], mails["experiment"], mails["arm"], strict=True)) == {
        ("welcome", "hello", "hello_1", "mail")
    }


def test_a_scenario_that_begins_with_a_mail_begins_in_rounds_without_a_tracker(shop, tmp_path, make_program):
    last = """
---
scenario: last
trigger: {event: email_sent, where: "scenario = 'welcome'"}
reentry: once
steps: [{wait: 1h}, {id: again, send: welcome/hello}]
"""
    shop.program = make_program(WELCOME + last)
    approval = approve_standing(shop.program, shop.templates, by="ana", mails_a_day=100, clock=lambda: NOON)
    ways = {"templates": shop.templates, "approval": approval, "transport": f"outbox:{shop.outbox}"}
    places = {"ledger": shop.outbox / "ledger.sqlite", "captures": tmp_path / "captures"}

    def tick(minutes):
        moment = NOON + timedelta(minutes=minutes)
        return round_of(shop.program, shop.log, now=moment, clock=lambda: moment, **ways, **places).sent

    assert [tick(minutes) for minutes in (0, 59, 61, 62)] == [12, 0, 12, 0]
    found = parity(shop.program, shop.log, day=NOON.date(), **places)
    assert (len(found.table), found.is_identical) == (24, True)
    (note,) = [note for note in shop.prepare().notes if note.startswith("last begins")]
    assert note.endswith("answers.sqlite') reads what became of the mails")


def test_a_round_reads_of_the_answers_what_the_program_asks_for_and_what_says_whom_one_may_mail(
    sent, ledger, answers, tracked_shop, make_program
):
    names = [sent.key.mail_name(mail.letter.decision_id) for mail in sent.mails]
    with Answers.open(tracked_shop.outbox / "answers.sqlite", clock=lambda: NOW) as earlier:
        earlier.record([Incoming("opened", NOW, mail=name, agent=FIREFOX) for name in names[:5]])
        earlier.record([Incoming("clicked", NOW, mail=name, agent=FIREFOX, number=0) for name in names[:3]])
    answers.record([Incoming("unsubscribed", NOW, mail=names[0])])
    every = tracked_shop.log.with_answers(tracked_shop.outbox / "answers.sqlite")
    clicked = "\n---\nscenario: last\ntrigger: {event: email_clicked}\nreentry: once\nsteps: [{send: welcome/hello}]\n"
    schedule = clicked.replace("{event: email_clicked}", "{schedule: once, from: 2026-03-02, at: '18:00'}")

    def read(text):
        program = make_program(WELCOME + text, **TRACKED)
        log = heard(tracked_shop.log, program, ledger.place)
        runs = [replay(program, one, until=log.span[1] + timedelta(days=1), assume="as_logged") for one in (log, every)]
        assert runs[0].digest == runs[1].digest
        return {name: count for name, count in log.event_counts.items() if name.startswith("email_")}

    first = {"email_opened": 1}  # with it the log begins where it would
    assert read("") == {**first, "email_unsubscribed": 1}
    assert read(clicked) == {**first, "email_unsubscribed": 1, "email_clicked": 3}
    assert read(schedule) == {name: count for name, count in every.event_counts.items() if name.startswith("email_")}
    assert every.event_counts["email_opened"] == 5


def test_a_round_reads_only_those_mails_sent_for_which_the_program_asks(sent, ledger, tracked_shop, make_program):
    """Twelve mails of the step hello were sent; where a condition is more than texts, more is read than meets it."""
    every = tracked_shop.log.with_answers(tracked_shop.outbox / "answers.sqlite")
    follows = (
        "\n---\nscenario: last\ntrigger: {{event: email_sent{}}}\nreentry: once\n{}steps: [{{send: welcome/hello}}]\n"
    )

    def read(where="", more=""):
        text = follows.format(f', where: "{where}"' if where else "", more)
        program = make_program(WELCOME + text, **TRACKED)
        log = heard(tracked_shop.log, program, ledger.place)
        until = log.span[1] + timedelta(days=1)
        both = [replay(program, one, until=until, assume="as_logged") for one in (log, every)]
        assert both[0].digest == both[1].digest
        return log.event_counts.get("email_sent", 0)

    assert read() == 12
    assert read("scenario = 'welcome' and step = 'hello'") == 12
    assert read("scenario = 'welcome' and step in ('offer', 'thanks')") == 1  # with the first the log begins
    assert read("scenario = 'it''s' and template like '%'") == 1
    assert read("scenario = 'another' or step = 'hello'") == 12
    assert read("not (scenario = 'another')") == 12
    assert read("step = 'offer'", "exit_on: [{event: email_sent, where: \"template = 'welcome/hello'\"}]\n") == 12
    assert read("step = 'offer'", "exit_on: [{event: email_sent, where: \"arm = 'a' and scenario = 'no'\"}]\n") == 1
    assert read("step = 'offer'", "goal: {event: email_sent, within: 1d}\n") == 12


def test_links_of_mails_that_another_user_sends_lead_where_they_were_approved_to(tracked_shop, tmp_path, serving):
    key = new_key(tmp_path / "ana.pem")
    batch = tracked_shop.prepare()
    approval = approve(batch, by="ana", key=key, clock=_soon)
    rules = ApprovalPolicy(approvers={"ana": public_line(signing_key(key)[0])})
    lines: list[str] = []
    theirs = tmp_path / "mailer"
    theirs.mkdir()
    shutil.copy(key_file(str(tracked_shop.outbox / "ledger.sqlite")), key_file(str(theirs / "ledger.sqlite")))
    options = {"transport": f"outbox:{theirs}", "ledger": theirs / "ledger.sqlite", "policy": rules, "clock": _soon}
    folder = submit(batch, approval, tmp_path / "spool")
    mails = folder / "mails.jsonl"
    honest = mails.read_text()
    mails.write_text(honest.replace("https://shop.example.com/new", "https://evil.example.org/new", 1))
    serve(tmp_path / "spool", once=True, say=lines.append, **options)
    assert "its links lead elsewhere than those approved" in lines[-1]
    assert not list(theirs.glob("*.eml"))
    submit(batch, approval, tmp_path / "spool")
    serve(tmp_path / "spool", once=True, say=lines.append, **options)
    assert "sent 12" in lines[-1]
    _, html, _ = parts(batch)
    click = re.search(r'href="https://mail\.example\.com(/c/[\w-]{34})"', html).group(1)
    with Answers.open(theirs / "answers.sqlite") as answers:
        assert set(answers.events["event"]) == {"email_sent"}
        assert len(answers.events) == 12
        with serving(tracker(answers, mail_key(str(theirs / "ledger.sqlite")).tokens)) as client:
            answer = client.get(click)
    assert (answer.status_code, answer.headers["location"]) == (302, batch.mails[0].targets[0])


def test_links_of_a_tracked_mail_lead_through_the_tracker_and_its_text_stays_readable(tracked_shop):
    batch = tracked_shop.prepare()
    message, html, text = parts(batch)
    key = mail_key(str(tracked_shop.outbox / "ledger.sqlite"))
    name = key.mail_name(batch.mails[0].letter.decision_id)
    clicks = re.findall(r'href="https://mail\.example\.com/c/([\w-]{34})"', html)
    assert [key.tokens.read(token, purpose="click").number for token in clicks] == [0, 255]
    assert {key.tokens.read(token, purpose="click").mail for token in clicks} == {name}
    who = batch.mails[0].letter.customer["first_name"]
    assert batch.mails[0].targets == (f"https://shop.example.com/new?who={who}&of=mails",)
    (picture,) = re.findall(r'<img src="https://mail\.example\.com/o/([\w-]{34})" width="1"', html)
    assert key.tokens.read(picture, purpose="open").mail == name
    assert batch.mails[0].targets[0] in text
    assert "mail.example.com/c/" not in text
    stop = message["List-Unsubscribe"].strip("<>")
    assert stop in html
    assert stop in text


def test_the_tracker_takes_unsubscribes_where_the_brand_names_no_other_place(tracked_shop, make_program):
    brand = {"name": "Maison Lune", "address": "12 rue de l'Exemple, 75000 Paris"}
    tracked_shop.program = make_program(brand=brand, **TRACKED)
    message, _, _ = parts(tracked_shop.prepare())
    token = message["List-Unsubscribe"].strip("<>").removeprefix("https://mail.example.com/u/")
    key = mail_key(str(tracked_shop.outbox / "ledger.sqlite"))
    assert key.tokens.read(token, purpose="unsubscribe") is not None


def test_the_same_decisions_get_the_same_tokens(tracked_shop):
    one, other = tracked_shop.prepare(), tracked_shop.prepare()
    assert [one.spool[mail.number] for mail in one.mails] == [other.spool[mail.number] for mail in other.mails]
    assert one.digest == other.digest


def test_opens_clicks_and_the_trap_can_be_left_out_each(tracked_shop, make_program):
    tracked_shop.program = make_program(tracking={"url": "https://mail.example.com", "opens": False, "trap": False})
    _, html, _ = parts(tracked_shop.prepare())
    assert "<img" not in html
    assert html.count("https://mail.example.com/c/") == 1
    tracked_shop.program = make_program(tracking={"url": "https://mail.example.com", "clicks": False})
    _, html, _ = parts(tracked_shop.prepare())
    assert "https://mail.example.com/c/" not in html
    assert html.count("<img") == 1


def test_every_mail_is_known_before_it_leaves_and_sent_once(sent, ledger, answers, tracked_shop):
    events = answers.events
    assert len(events) == len(sent)
    assert set(events["event"]) == {"email_sent"}
    assert set(events["decision_id"]) == {mail.letter.decision_id for mail in sent.mails}
    assert tell_sent(ledger, answers) == 0
    send(sent, tracked_shop.approve(sent), confirm=len(sent), progress=False)
    assert len(answers.events) == len(sent)


def test_of_a_long_history_only_what_is_new_is_told(sent, ledger, answers):
    told, tell = [], answers.sent
    answers.sent = lambda mails: tell(told.extend(mails) or mails)
    assert tell_sent(ledger, answers) == 0
    assert told == []
    # A ledger that is another one by now has fewer attempts than were told of.
    answers.note(f"sent of {ledger.place}", 10**6)
    assert tell_sent(ledger, answers) == 0
    assert len(told) == len(sent)
    assert answers.noted(f"sent of {ledger.place}") == len(sent)


def test_what_ended_a_sending_is_told_though_the_ledger_cannot_be_read_any_more(tracked_shop, monkeypatch):
    def gone(*handed, **options):
        raise LedgerError("ledger: the disk is gone")

    class Broken(Outbox):
        def deliver(self, mails, start):
            raise SendingError("the line is cut")

    monkeypatch.setattr("toolkit.sending.answered.tell_sent", gone)
    batch = tracked_shop.prepare()
    with pytest.raises(SendingError, match="the line is cut"):
        send(batch, tracked_shop.approve(batch), transport=Broken("out"), confirm=len(batch), progress=False)


def test_no_address_is_in_the_store_of_answers(sent, answers, tracked_shop):
    answers.close()
    content = b"".join(path.read_bytes() for path in tracked_shop.outbox.glob("answers.sqlite*"))
    assert b"c0" in content
    assert b"c0@example.org" not in content


def test_unsubscribes_complaints_and_hard_bounces_are_taken_up_once_and_soft_bounces_never(sent, ledger, answers):
    key = sent.key
    names = [key.mail_name(mail.letter.decision_id) for mail in sent.mails]
    answers.record(
        [
            Incoming("unsubscribed", NOW, mail=names[0]),
            Incoming("complained", NOW, provider="ses", mail=names[1], event_id="c"),
            Incoming("bounced", NOW, provider="bounce", mail=names[2], bounce_type="hard", event_id="b"),
            Incoming("bounced", NOW, provider="bounce", mail=names[3], bounce_type="soft", event_id="s"),
            Incoming("bounced", NOW, provider="bounce", mail="zzzzzzzzzzzzzzzz", bounce_type="hard", event_id="u"),
        ]
    )
    said = take_up(ledger, answers)
    assert said.suppressed == {"unsubscribed": 1, "complaint": 1, "hard_bounce": 1}
    assert said.unknown == 1
    suppressed = "suppressed: complaint 1, hard_bounce 1, unsubscribed 1"
    assert str(said) == f"{suppressed}; restored 0; mails settled 0; of mails not sent from here 1"
    addresses = [mail.letter.to for mail in sent.mails]
    reasons = [ledger.suppressions.reason(address, class_="marketing") for address in addresses[:4]]
    assert reasons == ["unsubscribed", "unsubscribed", "suppressed", None]
    assert ledger.suppressions.reason(addresses[0], class_="transactional") is None
    assert take_up(ledger, answers).suppressed == {}
    assert len(ledger.suppressions) == 3


def test_whoever_subscribes_again_comes_off_the_list_unless_the_address_bounced(sent, ledger, answers):
    names = [sent.key.mail_name(mail.letter.decision_id) for mail in sent.mails]
    answers.record([Incoming("unsubscribed", NOW, mail=name) for name in names[:2]])
    answers.record([Incoming("bounced", NOW, "bounce", names[1], bounce_type="hard", event_id="b")])
    take_up(ledger, answers)
    answers.record([Incoming("subscribed", NOW, mail=name) for name in names[:2]])
    assert take_up(ledger, answers).restored == 1
    addresses = [mail.letter.to for mail in sent.mails[:2]]
    assert [ledger.suppressions.reason(address) for address in addresses] == [None, "suppressed"]


def test_who_unsubscribes_after_the_clock_was_put_back_is_held_back_all_the_same(sent, ledger, tracked_shop):
    names = [sent.key.mail_name(mail.letter.decision_id) for mail in sent.mails]
    moment = [NOW]
    with Answers.open(tracked_shop.outbox / "answers.sqlite", clock=lambda: moment[0]) as answers:
        answers.record([Incoming("unsubscribed", NOW, mail=names[0])])
        answers.record([Incoming("paused", NOW, mail=names[1], until=NOW + 60_000_000)])
        assert take_up(ledger, answers).suppressed == {"unsubscribed": 2}
        moment[0] -= 3_600_000_000
        answers.record([Incoming("unsubscribed", moment[0], mail=names[2])])
        assert take_up(ledger, answers).suppressed == {"unsubscribed": 1}
        assert take_up(ledger, answers).suppressed == {}
        moment[0] = NOW + 120_000_000
        assert take_up(ledger, answers).restored == 1  # the end of the pause, though later answers were taken up
    reasons = [ledger.suppressions.reason(mail.letter.to) for mail in sent.mails[:3]]
    assert reasons == ["unsubscribed", None, "unsubscribed"]


def test_only_the_latest_choice_takes_an_address_off_the_list_and_the_mark_never_goes_back(sent, ledger, answers):
    name, address = sent.key.mail_name(sent.mails[0].letter.decision_id), sent.mails[0].letter.to
    for kind in ("unsubscribed", "subscribed", "unsubscribed"):
        answers.record([Incoming(kind, NOW, mail=name)])
    mark = f"suppressions of {ledger.place}"
    first, _, last = answers.standing_since(mark)
    assert take_up(ledger, answers).restored == 0
    assert ledger.suppressions.reason(address) == "unsubscribed"
    answers.taken_up(mark, first)  # another process that was slower
    assert list(answers.standing_since(mark)) == []
    answers.taken_up("another ledger", first)
    assert [one.id for one in answers.standing_since("another ledger")] == [last.id - 1, last.id]


def test_an_unsubscribe_of_a_mail_that_was_never_handed_down_still_finds_its_address(sent, ledger, tmp_path):
    with Answers.open(tmp_path / "others.sqlite") as others:
        others.record([Incoming("unsubscribed", NOW, mail=sent.key.mail_name(sent.mails[0].letter.decision_id))])
        assert take_up(ledger, others).suppressed == {"unsubscribed": 1}
    assert ledger.suppressions.reason(sent.mails[0].letter.to) == "unsubscribed"


def test_mails_whose_links_the_tracker_of_a_ledger_would_not_know_reach_nobody(tracked_shop, tmp_path):
    batch = tracked_shop.prepare(now=datetime.now(UTC), window="36500d")
    asked = {"transport": "smtp:127.0.0.1:9", "confirm": len(batch), "progress": False}
    with pytest.raises(InputError, match=r"unknown to the tracker of ledger .*elsewhere\.sqlite"):
        send(batch, tracked_shop.approve(batch), ledger=tmp_path / "elsewhere.sqlite", **asked)
    assert len(batch)
    with pytest.raises(SendingError):  # nobody listens there; its own ledger is asked no such question
        send(batch, tracked_shop.approve(batch), ledger=tracked_shop.outbox / "ledger.sqlite", **asked)


def test_links_keep_working_when_the_secret_changes_and_die_when_it_is_retired(tracked_shop):
    where = str(tracked_shop.outbox / "ledger.sqlite")
    old = mail_key(where)
    token = old.token("d1", purpose="unsubscribe")
    rotate(where)
    new = mail_key(where)
    assert new.message_id("d1", domain="example.com") == old.message_id("d1", domain="example.com")
    assert new.token("d1", purpose="unsubscribe") != token
    assert new.tokens.read(token, purpose="unsubscribe").mail == old.mail_name("d1")
    assert old.tokens.read(new.token("d1", purpose="unsubscribe"), purpose="unsubscribe") is None
    rotate(where, retire=True)
    expired = mail_key(where)
    assert expired.tokens.read(token, purpose="unsubscribe") is None
    assert expired.mail_name("d1") == old.mail_name("d1")
    assert (tracked_shop.outbox / "ledger.key").stat().st_mode & 0o777 == 0o600


@pytest.fixture
def under_way(tmp_path, clock, entries, run_record, tracked_mail):
    """A run of thirty mails of which so many are out, and the store of answers to them."""
    names = [f"m{number:05d}aaaaaaaaaa" for number in range(30)]

    def go(out, *, doubts=0, **options):
        book = opened.enter_context(Ledger.open(tmp_path / "run.sqlite", clock=clock))
        planned = [
            replace(one, message_id=f"{name}zz@example.com") for one, name in zip(entries(30), names, strict=True)
        ]
        book.plan(run_record(mails=30, **options), planned)
        store = opened.enter_context(Answers.open(tmp_path / "run_answers.sqlite", clock=lambda: micros(clock())))
        store.register([tracked_mail(one, name) for one, name in zip(planned, names, strict=True)])
        rows = book.start(book.claim("run", owner="a", limit=out, lease=30_000_000))
        states = [State.ACCEPTED] * (len(rows) - doubts) + [State.UNKNOWN] * doubts
        book.record([(row, Receipt(row.decision_id, state)) for row, state in zip(rows, states, strict=True)])
        return book, store, names

    with contextlib.ExitStack() as opened:
        yield go


@pytest.fixture
def tracked_mail():
    def made(entry, name):
        return TrackedMail(
            name, entry.decision_id, entry.customer_id, "welcome", "hello", "welcome/hello", None, None, "marketing",
            "example.org", "en", entry.message_id, 0,
        )  # fmt: skip

    return made


@pytest.mark.parametrize(
    ("kind", "bounce_type", "said"),
    [("bounced", "hard", "3 of 20 bounced"), ("complained", None, "3 of 20 complained"), ("bounced", "soft", None)],
)
def test_what_the_tracker_hears_sounds_the_alarms_of_a_run(under_way, kind, bounce_type, said):
    ledger, answers, names = under_way(20)
    heard = [Incoming(kind, NOW, "ses", name, event_id=name, bounce_type=bounce_type) for name in names[:3]]
    answers.record(heard[:2])
    take_up(ledger, answers)
    assert ledger.run_state("run") == "active"
    answers.record([*heard, *heard])
    take_up(ledger, answers)
    assert ledger.why("run") == ("planned by ana" if said is None else f"paused by sender: {said}")
    assert len(ledger.claim("run", owner="a", limit=5, lease=30_000_000)) == (5 if said is None else 0)


def test_a_bounce_the_tracker_hears_while_the_canary_waits_holds_the_rest_back(under_way, clock):
    ledger, answers, names = under_way(4, canary=4, canary_wait=60_000_000)
    assert ledger.claim("run", owner="a", limit=5, lease=30_000_000) == []
    answers.record([Incoming("bounced", NOW, "bounce", names[2], bounce_type="hard", event_id="b")])
    take_up(ledger, answers)
    clock.forward(minutes=2)
    assert ledger.claim("run", owner="a", limit=5, lease=30_000_000) == []
    assert ledger.why("run") == "paused by canary: of the first 4, 1 bounced"


@pytest.mark.parametrize(
    ("kind", "more", "state"),
    [
        ("opened", {}, "accepted"),
        ("clicked", {"number": 0}, "accepted"),
        ("unsubscribed", {}, "accepted"),
        ("delivered", {"provider": "ses", "event_id": "e"}, "accepted"),
        ("bounced", {"provider": "ses", "event_id": "e", "bounce_type": "hard"}, "failed"),
        ("bounced", {"provider": "ses", "event_id": "e", "bounce_type": "soft"}, "unknown"),
        ("deferred", {"provider": "ses", "event_id": "e"}, "unknown"),
    ],
)
def test_an_answer_settles_a_mail_in_doubt(under_way, kind, more, state):
    ledger, answers, names = under_way(6, doubts=2)
    assert take_up(ledger, answers).settled == 0
    answers.record([Incoming(kind, NOW, mail=names[4], **more)])
    assert take_up(ledger, answers).settled == (state != "unknown")
    assert ledger.deliveries()["state"].tolist()[4:6] == [state, "unknown"]
    assert take_up(ledger, answers).settled == 0
    assert ledger.verify() == ()


def test_a_bounce_heard_while_a_dead_senders_lease_lasts_settles_the_mail_when_it_is_in_doubt(under_way, clock):
    ledger, answers, names = under_way(3)
    ledger.start(ledger.claim("run", owner="dead", limit=1, lease=30_000_000))
    answers.record([Incoming("bounced", NOW, "ses", names[3], event_id="e", bounce_type="hard")])
    said = take_up(ledger, answers)
    assert (said.suppressed, said.settled) == ({"hard_bounce": 1}, 0)
    clock.forward(minutes=1)
    assert len(ledger.recover()) == 1
    assert take_up(ledger, answers).settled == 1
    assert ledger.deliveries()["state"].tolist()[3] == "failed"
    assert ledger.verify() == ()


def test_a_pause_takes_the_address_off_the_list_when_it_is_over(sent, ledger, answers, tracked_shop):
    name = sent.key.mail_name(sent.mails[0].letter.decision_id)
    address = sent.mails[0].letter.to
    soon = int((datetime.now(UTC) + timedelta(days=30)).timestamp() * 1e6)
    answers.record([Incoming("paused", NOW, mail=name, until=soon)])
    take_up(ledger, answers)
    assert ledger.suppressions.reason(address) == "unsubscribed"
    with Answers.open(tracked_shop.outbox / "answers.sqlite", clock=lambda: soon + 1) as later:
        assert take_up(ledger, later).restored == 1
    assert ledger.suppressions.reason(address) is None


def test_a_call_of_a_thousand_bounces_is_taken_up_in_a_few_commits_and_reads_no_table_through(under_way):
    ledger, answers, names = under_way(30)
    answers.record(_bounces([*names[:20], *(f"other{number:011d}" for number in range(970))]))
    commits, plans = _counted(ledger)
    said = take_up(ledger, answers)
    assert said.suppressed == {"hard_bounce": 20}
    assert said.unknown == 970
    assert len(commits) <= 10
    assert [plan for plan in plans if "SCAN delivery" in plan] == []


def test_a_ledger_put_back_from_a_backup_takes_up_what_was_heard_since(under_way, tmp_path):
    ledger, answers, names = under_way(20)
    unsubscribed = [Incoming("unsubscribed", NOW, mail=name) for name in names[:2]]
    answers.record(unsubscribed[:1])
    take_up(ledger, answers)
    _copy(tmp_path / "run.sqlite", tmp_path / "backup.sqlite")
    answers.record(unsubscribed[1:])
    assert take_up(ledger, answers).suppressed == {"unsubscribed": 1}
    _copy(tmp_path / "backup.sqlite", tmp_path / "run.sqlite")
    assert ledger.suppressions.reason("c1@example.org") is None
    assert take_up(ledger, answers).suppressed == {"unsubscribed": 1}
    assert ledger.suppressions.reason("c1@example.org") == "unsubscribed"
    assert list(answers.standing_since(f"suppressions of {ledger.place}")) == []
    assert take_up(ledger, answers).suppressed == {}


def test_an_answer_whose_mail_is_named_by_wildcards_is_of_no_mail(under_way):
    ledger, answers, _ = under_way(30)
    answers.record([Incoming("bounced", NOW, "ses", "_" * 16, event_id="w", bounce_type="hard")])
    said = take_up(ledger, answers)
    assert (said.suppressed, said.unknown) == ({}, 1)
    assert len(ledger.suppressions) == 0


def _counted(ledger):
    """The commits of a ledger's file from now on, and the plan of each question it is asked."""
    commits, plans = [], []

    @event.listens_for(ledger._engine, "commit")
    def committed(connection):
        if not connection.get_execution_options().get("toolkit_read"):
            commits.append(connection)

    @event.listens_for(ledger._engine, "before_cursor_execute")
    def asked(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith("SELECT") and "delivery" in statement:
            raw = connection.connection.driver_connection
            plans.extend(row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    return commits, plans


def _bounces(names):
    return [Incoming("bounced", NOW, "ses", name, event_id=name, bounce_type="hard") for name in names]


def test_links_of_a_mail_that_another_batch_told_before_lead_where_the_mail_that_leaves_says(tracked_shop, serving):
    key = mail_key(str(tracked_shop.outbox / "ledger.sqlite"))
    early = tracked_shop.prepare()
    where = tracked_shop.outbox / "ledger.sqlite"
    with Ledger.open(where) as ledger, told(BatchParcel(early), ledger, answers_place(where), run_id="never sent"):
        pass
    for path in (tracked_shop.templates / "welcome").iterdir():
        if path.suffix in (".txt", ".mjml"):
            path.write_text(path.read_text().replace("https://shop.example.com/new", "https://shop.example.com/mended"))
    mended = tracked_shop.prepare()
    assert early.mails[0].targets != mended.mails[0].targets
    send(mended, tracked_shop.approve(mended), confirm=len(mended), progress=False)
    _, html, _ = parts(mended)
    click = re.search(r'href="https://mail\.example\.com(/c/[\w-]{34})"', html).group(1)
    send(mended, tracked_shop.approve(mended), confirm=len(mended), progress=False)
    with Ledger.open(where) as ledger, told(BatchParcel(early), ledger, answers_place(where), run_id="late") as planned:
        planned()  # they have left by now, as the other batch has them
    with Answers.open(tracked_shop.outbox / "answers.sqlite") as answers:
        with serving(tracker(answers, key.tokens)) as client:
            answer = client.get(click)
        assert (answer.status_code, answer.headers["location"]) == (302, mended.mails[0].targets[0])
        assert answers.erase("c0")["links"] == 2  # what it had is found, too
