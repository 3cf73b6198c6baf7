"""The mails due at a moment: whom, what, and why not."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email import policy
from email.parser import BytesParser

import pandas as pd
import pytest

from tests.sending.shops import POLICIES, WELCOME
from toolkit.errors import InputError, PreflightError, TemplateError
from toolkit.events import EventLog
from toolkit.mail import Templates
from toolkit.scenario.models import Policies
from toolkit.sending import Batch, Ledger, send
from toolkit.sending.keys import mail_key
from toolkit.sending.preparation.notes import made_up_in
from toolkit.sending.spool import Store
from toolkit.tables import REASONS

ARMS = """
scenario: welcome
trigger: {event: sign_up}
reentry: once
experiment: {name: hello_1, arms: {control: 0.5, mail: 0.5}, holdout: control}
steps:
  - {wait: 1h}
  - {id: hello, send: welcome/hello, offer: {percent: 10, valid: 3d}}
"""
ORDERS = """
scenario: welcome
class: transactional
trigger: {event: sign_up}
key: order_id
reentry: every
while_active: parallel
exit_on: [{event: cancelled, match: order_id}]
steps:
  - {wait: 1h}
  - {id: hello, send: welcome/hello}
"""


def _after(noon, **amount):
    return noon - timedelta(hours=3) + timedelta(**amount)


def test_a_scenario_that_is_not_there_is_refused_and_not_an_empty_batch(shop):
    with pytest.raises(InputError, match="prepare: no scenario 'welcom'; there are welcome; did you mean 'welcome'"):
        shop.prepare(scenarios=["welcom"])
    assert len(shop.prepare(scenarios="welcome")) == 12


def test_the_table_has_one_row_a_mail_with_its_address_masked(shop, noon):
    batch = shop.prepare()
    assert len(batch) == len(batch.table) == 12
    row = batch.table.iloc[0]
    assert (row.address, row.scenario, row.step, row.template) == (
        "c***@example.org",
        "welcome",
        "hello",
        "welcome/hello",
    )
    assert row.due_at == pd.Timestamp(noon - timedelta(hours=3))
    assert sorted(batch.table.subject) == sorted(f"Welcome Name{number}" for number in range(12))
    assert (batch.table["size"] > 1000).all()
    assert batch.table.decision_id.is_unique


def test_preparing_writes_no_mail_and_no_ledger(shop):
    shop.prepare()
    assert [path.name for path in shop.outbox.iterdir()] == ["ledger.key"]


def test_a_moment_without_a_time_zone_is_refused(shop, noon):
    with pytest.raises(InputError, match=r"prepare: now needs a time zone; found '2026-03-02 12:00:00'; for"):
        shop.prepare(now=noon.replace(tzinfo=None))
    with pytest.raises(InputError, match=r"prepare: now needs a time zone; found '2026-03-02'"):
        shop.prepare(now="2026-03-02")


def test_a_moment_may_be_a_text_as_elsewhere(shop, noon):
    assert shop.prepare(now="2026-03-02T12:00Z").digest == shop.prepare(now=noon).digest
    assert shop.prepare(since="2026-03-02T00:00Z").digest == shop.prepare(since=noon.replace(hour=0)).digest
    with pytest.raises(InputError, match=r"prepare: since: found 'today at 9h'; allowed: a moment with a time zone"):
        shop.prepare(since="today at 9h")


def test_a_moment_of_pandas_in_any_zone_is_the_same_moment(shop, noon):
    assert shop.prepare(now=pd.Timestamp(noon).tz_convert("Asia/Tokyo")).digest == shop.prepare().digest


@pytest.mark.parametrize("window", ["0h", "-1h", "soon"])
def test_a_window_that_is_none_is_refused(shop, window):
    with pytest.raises(InputError, match="prepare: window: expected"):
        shop.prepare(window=window)


def test_a_decision_is_due_from_its_moment_until_the_window_is_over(shop, noon):
    at = _after(noon)
    microsecond = timedelta(microseconds=1)
    assert len(shop.prepare(now=at - microsecond)) == 0
    assert len(shop.prepare(now=at)) == 12
    assert len(shop.prepare(now=at + timedelta(hours=24) - microsecond)) == 12
    assert len(shop.prepare(now=at + timedelta(hours=24))) == 0


def test_what_the_ledger_has_sent_is_counted_and_left_out(shop):
    batch = shop.prepare()
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        assert ledger.status().empty
    send(batch, shop.approve(batch), transport=f"outbox:{shop.outbox}", confirm=12, progress=False)
    again = shop.prepare()
    assert len(again) == 0
    assert again.skipped == {"already sent": 12}


def test_decisions_the_engine_did_not_send_are_counted_by_reason(shop, make_program):
    batch = shop.prepare(program=make_program(ARMS))
    assert batch.skipped == {"holdout": 12 - len(batch)}
    assert 0 < len(batch) < 12
    assert set(batch.table.arm) == {"mail"}


def test_a_mail_whose_offer_is_over_by_now_is_too_late(shop, noon, make_program):
    offer = WELCOME.replace("send: welcome/hello", "send: welcome/hello, offer: {percent: 10, valid: 3h}")
    program = make_program(offer)
    at = _after(noon)
    assert len(shop.prepare(program=program, now=at + timedelta(hours=3, microseconds=-1))) == 12
    late = shop.prepare(program=program, now=at + timedelta(hours=3))
    assert len(late) == 0
    assert late.skipped == {"too_late": 12}
    assert set(late.left_out.values()) == {"too_late"}


def test_people_without_a_usable_address_are_counted_and_do_not_block_the_others(shop, make_people, make_log):
    people = make_people(12)
    people["email"] = [
        "",
        None,
        "nonsense",
        "a@b@example.org",
        " c4@example.org ",
        "c5@bücher.example",
        "jörg@example.org",
        "c7@example.org, c8@example.org",
        *people.email[8:],
    ]
    batch = shop.prepare(log=make_log(people=people))
    assert batch.skipped == {"no_address": 6}
    assert len(batch) == 6
    assert {"example.org", "bücher.example"} == {mail.letter.to.rpartition("@")[2] for mail in batch.mails}
    assert batch.errors == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"program": "templates"}, "program: found .templates.; allowed: a Program or a Scenario; read files with"),
        ({"log": pd.DataFrame()}, "log: found DataFrame; allowed: an EventLog"),
        ({"templates": None}, "prepare: templates: found NoneType; allowed: the folder of the mails"),
        ({"now": datetime(1, 1, 1, tzinfo=UTC)}, "prepare: now: found 0001-01-01; the window would begin before"),
    ],
)
def test_what_is_no_program_log_or_folder_is_named(shop, given, said):
    with pytest.raises(InputError, match=said):
        shop.prepare(**given)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"event": "email_unsubscribed"}, "unsubscribed"),
        ({"event": "email_complained"}, "unsubscribed"),
        ({"event": "email_bounced", "bounce_type": "hard"}, "suppressed"),
        ({"event": "email_bounced", "bounce_type": "soft"}, None),
        ({"event": "email_bounced"}, "suppressed"),  # a log that does not tell them apart: as the engine reads it
        ({"event": "customer_updated", "consent": False}, "unsubscribed"),
        ({"event": "customer_updated", "consent": True}, None),
        ({"event": "customer_updated", "consent": "yes"}, None),
        ({"event": "customer_updated", "consent": "Y"}, None),
        ({"event": "customer_updated", "consent": "no"}, "unsubscribed"),
        ({"event": "customer_updated", "consent": "who knows"}, None),
        ({"event": "purchase", "revenue": 60.0}, "exited"),
        ({"event": "purchase", "revenue": 10.0}, None),
    ],
)
def test_what_happened_between_the_decision_and_now_stops_the_mail(shop, noon, make_log, event, reason):
    more = [{"customer_id": "c3", "at": _after(noon, minutes=30), **event}]
    batch = shop.prepare(log=make_log(more=more))
    assert dict(batch.skipped) == ({reason: 1} if reason else {})
    assert ("c3" in set(batch.table.customer_id)) == (reason is None)
    assert reason is None or reason in REASONS


def test_what_happens_after_now_is_not_seen(shop, noon, make_log):
    more = [{"customer_id": "c3", "at": noon + timedelta(minutes=1), "event": "email_unsubscribed"}]
    assert len(shop.prepare(log=make_log(more=more))) == 12


def test_an_exit_of_one_order_leaves_the_mail_of_another(shop, noon, make_people, make_program):
    events = pd.DataFrame(
        {
            "customer_id": ["c0", "c0", "c0"],
            "event": ["sign_up", "sign_up", "cancelled"],
            "at": pd.to_datetime([noon - timedelta(hours=4)] * 2 + [_after(noon, minutes=5)], utc=True),
            "order_id": ["A", "B", "B"],
        }
    )
    log = EventLog.from_pandas(events, customers=make_people(1))
    batch = shop.prepare(log=log, program=make_program(ORDERS))
    assert batch.skipped == {"exited": 1}
    assert [mail.letter.event["order_id"] for mail in batch.mails] == ["A"]


def test_a_transactional_mail_goes_to_those_who_unsubscribed_and_carries_no_unsubscribe(
    shop, noon, make_people, make_program
):
    events = pd.DataFrame(
        {
            "customer_id": ["c0", "c0"],
            "event": ["sign_up", "email_unsubscribed"],
            "at": pd.to_datetime([noon - timedelta(hours=4), _after(noon, minutes=5)], utc=True),
            "order_id": ["A", None],
        }
    )
    batch = shop.prepare(
        log=EventLog.from_pandas(events, customers=make_people(1)),
        program=make_program(ORDERS.replace("exit_on: [{event: cancelled, match: order_id}]\n", ""), brand=None),
    )
    assert len(batch) == 1
    assert b"List-Unsubscribe" not in batch.spool[0]


def test_a_mail_says_what_is_known_of_the_customer_by_now(shop, noon, make_log):
    more = [
        {"customer_id": "c3", "at": _after(noon, minutes=1), "event": "customer_updated", "first_name": "Old"},
        {"customer_id": "c3", "at": _after(noon, minutes=2), "event": "customer_updated", "first_name": "New"},
        {"customer_id": "c3", "at": noon + timedelta(hours=1), "event": "customer_updated", "first_name": "Later"},
    ]
    table = shop.prepare(log=make_log(more=more)).table.set_index("customer_id")
    assert table.subject["c3"] == "Welcome New"
    assert table.subject["c4"] == "Welcome Name4"


def test_late_news_of_what_was_before_changes_neither_a_name_nor_a_consent(shop, noon, make_log, make_people):
    told = [("New", True, 20, 20), ("Old", False, 10, 30)]  # the older is received last
    more = [
        {"customer_id": "c3", "event": "customer_updated", "first_name": first, "consent": consent}
        | {"at": _after(noon, minutes=at), "received_at": _after(noon, minutes=received)}
        for first, consent, at, received in told
    ]
    signed = make_log(12).events.assign(first_name=None, consent=None)
    events = pd.concat([signed.assign(received_at=signed["at"]), pd.DataFrame(more)], ignore_index=True)
    log = EventLog.from_pandas(events[[*more[0], "revenue"]], customers=make_people(12))
    table = shop.prepare(log=log).table.set_index("customer_id")
    assert table.subject["c3"] == "Welcome New"


def test_an_offer_is_in_the_mail_the_table_and_the_sum_at_stake(shop, make_program):
    batch = shop.prepare(program=make_program(ARMS))
    assert set(batch.table.offer) == {"10% off, valid 3d"}
    assert "10 % for you" in str(batch.preview(0))
    said = str(batch.summary())
    assert f"offer 10% off, valid 3d in {len(batch)} mails of welcome.hello: no upper bound" in said


def test_an_amount_off_has_an_upper_bound(shop, make_program):
    batch = shop.prepare(program=make_program(ARMS.replace("percent: 10", "amount: 5, currency: EUR")))
    assert f"at most €{5 * len(batch):,.2f} if everyone uses it once" in str(batch.summary())


def test_a_share_of_what_set_the_mail_off_is_added_up(shop, make_program, make_log, make_people, noon):
    events = pd.DataFrame(
        {
            "customer_id": ["c0", "c1"],
            "event": "sign_up",
            "at": pd.Timestamp(noon - timedelta(hours=4)),
            "value": [100.0, 50.0],
        }
    )
    program = make_program(ARMS.replace("experiment", "# experiment"))
    batch = shop.prepare(program=program, log=EventLog.from_pandas(events, customers=make_people(2)))
    assert "what set off 2 of them is worth €150.00, 10% of that is €15.00; no upper bound" in str(batch.summary())


@pytest.mark.parametrize("link", [None, "https://example.org/u", "http://example.org/u/{token}"])
def test_marketing_mail_needs_a_link_to_unsubscribe(shop, make_program, link):
    brand = {"name": "Maison Lune"} | ({"unsubscribe_url": link} if link else {})
    with pytest.raises(InputError, match=r"brand\.unsubscribe_url: .* https link with \{token\}"):
        shop.prepare(program=make_program(brand=brand))


def test_the_link_to_unsubscribe_is_in_header_and_text_and_names_the_mail_not_the_address(shop):
    batch = shop.prepare()
    message = BytesParser(policy=policy.default).parsebytes(batch.spool[3])
    link = re.fullmatch(r"<(https://shop\.example\.com/u/([\w-]{34}))>", message["List-Unsubscribe"])
    assert link
    assert link[1] in message.get_body(("plain",)).get_content()
    key = mail_key(str(shop.outbox / "ledger.sqlite"))
    read = key.tokens.read(link[2], purpose="unsubscribe")
    assert read
    assert message["Message-ID"].startswith(f"<{read.mail}")


def test_a_template_with_an_undefined_variable_is_shown_and_blocks_the_approval(shop):
    path = shop.templates / "welcome" / "hello.txt"
    path.write_text(path.read_text().replace("customer.first_name", "customer.frist_name"))
    batch = shop.prepare()
    assert len(batch) == 0
    assert batch.skipped == {"render_error": 12}
    assert "blocked by 1 finding: error: welcome/hello.txt:1" in str(batch.summary())
    with pytest.raises(PreflightError, match=r"(?s)cannot be approved.*hello\.txt:1.*frist_name.*customer\.first_name"):
        shop.approve(batch)


def test_a_mail_that_is_not_among_the_templates_blocks_the_approval(shop, make_program):
    batch = shop.prepare(program=make_program(ARMS.replace("welcome/hello", "welcome/helo")))
    with pytest.raises(PreflightError, match="did you mean 'welcome/hello'"):
        shop.approve(batch)


def test_no_such_folder_of_templates(shop):
    with pytest.raises(TemplateError, match="no such folder"):
        shop.prepare(templates=shop.folder / "none")


def test_templates_handed_in_compiled_serve_as_well(shop, make_program):
    compiled = Templates.load(shop.templates, shop.program.policies)
    batch = shop.prepare(templates=compiled)
    assert len(batch) == 12
    assert batch.folder is None
    with pytest.raises(InputError, match="loaded with other policies"):
        shop.prepare(templates=compiled, program=make_program(locale="fr"))


def test_an_empty_log_gives_an_empty_batch(shop, make_people):
    nothing = pd.DataFrame({"customer_id": ["c0"], "event": ["sign_up"], "at": [pd.Timestamp("2026-03-02T08:00Z")]})[:0]
    log = EventLog.from_pandas(nothing.assign(revenue=pd.Series(dtype="float64")), customers=make_people(2))
    batch = shop.prepare(log=log)
    assert len(batch) == 0
    assert batch.table.empty
    assert isinstance(batch, Batch)
    assert "0 mails due at 2026-03-02 12:00 UTC" in str(batch.summary())


def test_a_sender_and_links_that_the_library_came_with_are_told_before_people_get_them(shop):
    (said,) = [note for note in shop.prepare().notes if "made-up names" in note]
    assert said.startswith(
        "hello@example.com, shop.example.com: made-up names, which lead nowhere; write your own sender:"
    )
    own = {
        "sender": {"name": "Maison Lune", "email": "hello@maisonlune.test"},
        "brand": {**POLICIES["brand"], "url": "https://maisonlune.test", "help": "https://maisonlune.test/help"},
    }
    own["brand"]["unsubscribe_url"] = "https://maisonlune.test/u/{token}"
    assert made_up_in(Policies.model_validate(own)) == ()


def test_the_first_batch_says_which_mails_follow_on_others_that_were_never_sent(shop, noon, make_program, make_log):
    later = "{id: hello, send: welcome/hello}\n  - {wait: 2h}\n  - {id: again, send: welcome/hello}"
    program = make_program(WELCOME.replace("{id: hello, send: welcome/hello}", later))
    late = {"customer_id": "c12", "event": "sign_up", "at": noon - timedelta(hours=1)}
    log = make_log(12, people=make_log(13).customers, more=[late])
    batch = shop.prepare(program=program, log=log, window="2h")
    said = "nothing was sent yet, and 12 of these mails follow on others of their journey"
    assert len(batch) == 13
    assert any(note.startswith(said) for note in batch.notes)
    since = shop.prepare(program=program, log=log, window="2h", since=noon - timedelta(hours=2))
    assert (len(since), since.skipped) == (1, {"began before the start": 12})
    assert not any(note.startswith("nothing was sent") for note in since.notes)
    send(batch, shop.approve(batch), transport=f"outbox:{shop.outbox}", confirm=13, progress=False)
    assert not [note for note in shop.prepare(program=program, log=log).notes if note.startswith("nothing was sent")]


def test_what_nobody_hears_of_without_a_tracker_is_told_before_it_is_sent(shop, make_program, make_log):
    last = "\n---\n" + ARMS.replace("welcome\n", "last\n", 1).replace("sign_up", "email_clicked", 1).replace(
        "offer_1", "offer_2"
    )
    program = make_program(ARMS + last)
    (said,) = [note for note in shop.prepare(program=program).notes if "tracking:" in note]
    assert said.startswith("last begins with 'email_clicked', which nothing writes into the log")
    tracked = make_program(ARMS + last, tracking={"url": "https://mail.example.com"})
    assert not [note for note in shop.prepare(program=tracked).notes if "tracking:" in note]
    clicked = make_log(more=[{"customer_id": "c0", "event": "email_clicked", "at": pd.Timestamp("2026-03-01T08:00Z")}])
    assert not [note for note in shop.prepare(program=program, log=clicked).notes if "tracking:" in note]


def test_a_log_that_ends_before_the_window_is_said_to(shop, noon):
    batch = shop.prepare(now=noon + timedelta(days=30))
    assert any(note.startswith("the log ends 2026-03-02 08:00 UTC") for note in batch.notes)


def test_mails_missed_since_the_last_run_are_said_to_be(shop, noon, make_log, make_people):
    log = make_log(people=make_people(13), more=[{"customer_id": "c12", "at": noon, "event": "sign_up"}])
    batch = shop.prepare(log=log)
    send(batch, shop.approve(batch), transport=f"outbox:{shop.outbox}", confirm=12, progress=False)
    late = shop.prepare(log=log, now=noon + timedelta(days=2))
    assert "due since the last run, and by now too late for the window: 1" in late.notes
    assert len(late) == 0


def test_a_mail_set_aside_that_nobody_mended_in_time_is_told_once_more_as_lost(shop, noon, make_log, make_people):
    people = make_people(14)
    people.loc[0, "first_name"] = "*|FNAME|*"
    people.loc[1, "email"] = "none"
    people.loc[2, "consent"] = False
    later = [{"customer_id": f"c{n}", "at": noon + timedelta(hours=n), "event": "sign_up"} for n in (12, 13)]
    log = make_log(people=people, more=later)
    batch = shop.prepare(log=log)
    assert send(batch, shop.approve(batch), confirm=9, progress=False).sent == 9
    soon = shop.prepare(log=log, now=noon + timedelta(hours=20))
    assert (len(soon), dict(soon.lost)) == (2, {})
    late = shop.prepare(log=log, now=noon + timedelta(hours=23))
    assert list(late.lost.values()) == ["c0"]
    note = "due at the last run, did not go then, and by now too late for the window: 1 (customers c0)"
    assert note in late.notes
    approval = shop.approve(late, clock=lambda: noon)
    assert send(late, approval, confirm=2, progress=False, clock=lambda: noon).sent == 2
    assert dict(shop.prepare(log=log, now=noon + timedelta(hours=40)).lost) == {}


@pytest.mark.parametrize(("some", "shown"), [(5, True), (12, False)])
def test_a_large_batch_shows_how_far_its_letters_have_come(shop, monkeypatch, capsys, some, shown):
    monkeypatch.setattr("toolkit.sending.preparation.preparation._SOME", some)
    assert len(shop.prepare(progress=True)) == 12
    said = capsys.readouterr().err
    assert ("letters" in said) == shown
    assert ("12/12" in said) == shown


def test_of_a_long_history_only_what_reaches_the_window_is_named(shop, noon, make_log, make_people, monkeypatch):
    log = make_log(people=make_people(13), more=[{"customer_id": "c12", "at": noon, "event": "sign_up"}])
    asked: list[int] = []
    named = EventLog.event_ids
    monkeypatch.setattr(
        EventLog, "event_ids", lambda self, rows, **o: asked.append(len(rows)) or named(self, rows, **o)
    )
    late = shop.prepare(log=log, now=noon + timedelta(hours=2), window="90m")
    assert len(late) == 1
    assert sum(asked) == 1  # of thirteen journeys


def test_two_preparations_of_the_same_moment_give_the_same_bytes_and_digest(shop):
    one, two = shop.prepare(), shop.prepare()
    assert one.digest == two.digest
    assert one.manifest == two.manifest
    assert [one.spool[n] for n in range(12)] == [two.spool[n] for n in range(12)]


def test_the_manifest_holds_no_address(shop):
    batch = shop.prepare()
    assert "example.org" not in str(list(batch.manifest["audience"]))
    assert len(batch.manifest["audience"]) == 12


def test_a_batch_of_one_customer_reads_well(shop, make_log):
    said = str(shop.prepare(log=make_log(1)).summary())
    assert said.startswith("1 mail due at 2026-03-02 12:00 UTC (decided within 24h before)")


def test_a_batch_is_shown_as_often_as_wanted_without_reading_its_mails_again(shop, monkeypatch):
    batch = shop.prepare()
    monkeypatch.setattr(Store, "__getitem__", lambda store, place: pytest.fail("read again"))
    assert str(batch) == str(batch.summary())
    assert "12 mails" in batch._repr_html_()


def test_the_summary_counts_by_everything_a_reviewer_asks_for(shop):
    batch = shop.prepare()
    titles = list(batch.summary().tables)
    assert titles == [
        "By scenario and arm",
        "By template",
        "By domain",
        "By locale",
        "Not mailed",
        "One sample of each",
    ]
    assert batch.summary().tables["By domain"].to_dict("list") == {"domain": ["example.org"], "mails": [12]}
    assert "<table" in batch._repr_html_()


def test_a_preview_shows_the_very_mail_and_loads_nothing(shop):
    batch = shop.prepare()
    preview = batch.preview(0)
    assert preview.subject == batch.table.subject[0]
    assert preview.subject.replace("Welcome", "Hello") in preview.html
    page = preview._repr_html_()
    assert "<iframe sandbox srcdoc=" in page
    assert "default-src &#x27;none&#x27;" in page
    with pytest.raises(InputError, match="there is no mail 12; the batch has 12"):
        shop.prepare().preview(12)


def test_the_summary_says_what_sending_costs_where_the_price_is_known(shop, make_log):
    priced = shop.prepare(log=make_log(500), price_per_thousand=0.4)
    assert "sending costs about €0.20, at €0.40 a thousand" in priced.summary().lines
    plain = shop.prepare(log=make_log(500))
    assert not [line for line in plain.summary().lines if "costs" in line]
    assert plain.digest == priced.digest
    for wrong in (-1, float("nan"), float("inf"), "x"):
        with pytest.raises(InputError, match="price_per_thousand: expected 0 or more"):
            shop.prepare(price_per_thousand=wrong)
