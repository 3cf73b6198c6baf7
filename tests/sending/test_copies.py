"""Test copies: a marketer sends mails to himself before approving them, and nothing counts."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from email import policy
from email.parser import BytesParser

import pytest

from tests.sending.shops import GIFT, NOON
from toolkit.errors import InputError, TransportError
from toolkit.scenario import loads
from toolkit.sending import Ledger, approve, erase, prepare, send, send_test, transport
from toolkit.sending.keys import mail_key
from toolkit.tracking import Answers
from toolkit.tracking.server import tracker

ME = "ana@shop.example"
LINK = re.compile(r"https://(?:shop|mail)\.example\.com/u/([\w-]{34})")


def parsed(message):
    return BytesParser(policy=policy.default).parsebytes(message)


@pytest.fixture
def copied(shop, tmp_path):
    """Test copies of a batch in a folder of their own: what was said of them, and the mails."""

    def make(batch, to=ME, **options):
        said = send_test(batch, to, transport=f"outbox:{tmp_path / 'copies'}", progress=False, **options)
        return said, [parsed(path.read_bytes()) for path in sorted((tmp_path / "copies").glob("test-*.eml"))]

    return make


@pytest.fixture
def tracked(shop, make_program):
    """A shop whose mails are tracked."""
    shop.program = make_program(
        tracking={"url": "https://mail.example.com"}, brand={"name": "Maison Lune", "address": "12 rue de l'Exemple"}
    )
    link = "https://shop.example.com/new"
    for ending, said in (("mjml", f'<a href="{link}">look</a>'), ("txt", link)):
        path = shop.templates / "welcome" / f"hello.{ending}"
        path.write_text(path.read_text().replace("you signed up.", f"you signed up. {said}"))
    return shop


def told(message, *, token="", name=""):
    """All that a mail says, its token, Message-ID and address left out."""
    headers = [(key, value.removeprefix("[Test] ")) for key, value in message.items()]
    left = {"To", "Message-ID", "Content-Type", "X-Test-Copy"}
    parts = [part.get_content() for part in message.walk() if not part.is_multipart()]
    return [LINK.sub("the link", text) for text in (*(f"{k}: {v}" for k, v in headers if k not in left), *parts)]


def test_a_copy_says_what_the_mail_will_say(shop, copied):
    batch = shop.prepare()
    said, (copy,) = copied(batch, mails=3)
    mail, real = batch.mails[3], parsed(batch.spool[batch.mails[3].number])
    assert told(copy) == told(real)
    assert (copy["To"], copy["Subject"]) == (ME, f"[Test] {real['Subject']}")
    assert copy["X-Test-Copy"] == f'decision={mail.letter.decision_id}; customer="{mail.customer_id}"'
    assert copy["Message-ID"] != real["Message-ID"]
    row = said.table.iloc[0]
    assert (said.sent, row.number, row.customer_id, row.state) == (1, 3, mail.customer_id, "accepted")
    assert "1 of 1 test copy sent to ana@shop.example" in str(said)
    assert "a folder took the copies; nothing left this machine" in str(said)


def test_a_copy_counts_for_nothing_and_its_mail_goes_later(shop, copied):
    batch = shop.prepare()
    digest = batch.digest
    copied(batch, customer="c3")
    assert not Ledger.exists(shop.outbox / "ledger.sqlite")
    approval = shop.approve(batch)
    send(batch, approval, confirm=len(batch), progress=False)
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        before = ledger.deliveries()
    copied(batch, customer="c3")
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        after = ledger.deliveries()
    assert before.equals(after)
    assert (len(after), batch.digest) == (12, digest)
    # In the very outbox of the real mails, too, a copy is none of them.
    send_test(batch, ME, transport=f"outbox:{shop.outbox}", progress=False)
    assert transport(f"outbox:{shop.outbox}").find([batch.mails[0].letter.decision_id]).keys()
    assert len([name for name in shop.mails() if not name.startswith("test-")]) == 12


def test_called_again_it_sends_again_under_another_name(shop, copied):
    batch = shop.prepare()
    copied(batch)
    _, copies = copied(batch)
    assert len({copy["Message-ID"] for copy in copies}) == 2


def test_one_mail_of_each_kind_goes_unless_others_are_named(shop, copied, make_program, make_log, make_people):
    people = make_people(12).assign(locale=["en", "fr", *["de"] * 10])
    shop.log = make_log(people=people)
    for ending in ("txt", "mjml"):
        path = shop.templates / "welcome" / f"hello.{ending}"
        (shop.templates / "welcome" / f"hello.fr.{ending}").write_text(path.read_text().replace("Hello", "Bonjour"))
    batch = shop.prepare()
    said, _ = copied(batch)
    assert len(said) == 2  # nobody wrote the mail in German
    assert (said.table["locale"] == "fr").tolist().count(True) == 1
    assert copied(batch, customer="c7")[0].table["customer_id"].tolist() == ["c7"]
    assert copied(batch, mails=[4, 4, -1])[0].table["number"].tolist() == [4, 11]
    assert copied(batch, [ME, "ben@shop.example"], mails=0)[0].table["to"].tolist() == [ME, "ben@shop.example"]


def test_links_of_a_copy_lead_straight_to_their_goals_and_unsubscribe_nobody(tracked, copied, serving):
    batch = tracked.prepare()
    send(batch, tracked.approve(batch), confirm=len(batch), progress=False)
    _, (copy,) = copied(batch, mails=2)
    html = copy.get_body(("html",)).get_content()
    assert 'href="https://shop.example.com/new"' in html
    assert "/c/" not in html
    assert "/o/" not in html
    token = LINK.search(html)[1]
    assert copy["List-Unsubscribe"] == f"<https://mail.example.com/u/{token}>"
    ledger = str(tracked.outbox / "ledger.sqlite")
    with Answers.open(tracked.outbox / "answers.sqlite") as answers:
        before = len(answers.table)
        with serving(tracker(answers, mail_key(ledger).tokens)) as client:
            for answer in (
                client.get(f"/u/{token}"),
                client.post(f"/u/{token}", data={"List-Unsubscribe": "One-Click"}),
            ):
                assert answer.status_code == 200
                assert "Nobody was unsubscribed" in answer.text
                assert "<form" not in answer.text
            assert "Personne n’a été désabonné" in client.get(f"/u/{token}?lang=fr").text
            assert [client.get(f"/{page}/{token}").status_code for page in "ocp"] == [404, 404, 404]
        assert len(answers.table) == before
        assert answers.standing(batch.mails[2].message_id[:16]).state == "subscribed"


def test_a_copy_shows_a_code_that_is_nobodys(shop, copied, make_program):
    shop.program = make_program(loads(GIFT).scenarios, pools={"spring": {"file": "spring.csv"}})
    for ending in ("txt", "mjml"):
        path = shop.templates / "welcome" / f"hello.{ending}"
        path.write_text(path.read_text().replace("% for you", "% with {{ offer.code }}"))
    codes = [f"SPRING-{number:03}" for number in range(12)]
    (shop.templates / "spring.csv").write_text("\n".join(["code", *codes]))
    batch = shop.prepare()
    said, (copy,) = copied(batch)
    for part in ("plain", "html"):
        text = copy.get_body((part,)).get_content()
        assert "TEST00-000" in text
        assert "SPRING" not in text
    assert "its coupon code is made up" in str(said)
    assert send(batch, shop.approve(batch), confirm=len(batch), progress=False).sent == 12
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        assert sorted(ledger.coupons()["code"]) == codes


@pytest.mark.parametrize(
    ("to", "options", "said"),
    [
        ("", {}, "no address; write your own"),
        (None, {}, "no address; write your own"),
        (17, {}, "17 is no address"),
        ("ana", {}, "'ana' is no address"),
        ("c3@example.org", {}, "c3@example.org is a customer's: a mail of this batch goes there"),
        ("C3@Example.ORG", {"mails": 0}, "is a customer's"),
        (f"{ME}, c3@example.org", {}, "is a customer's"),
        ([f"a{number}@shop.example" for number in range(6)], {}, "found 6 addresses; allowed: 5"),
        ([f"a{number}@shop.example" for number in range(5)], {"mails": range(11)}, "11 mails to 5 addresses are 55"),
        (ME, {"mails": 12}, "there is no mail 12; the batch has 12"),
        (ME, {"mails": "first"}, "there is no mail 'first'"),
        (ME, {"mails": []}, "found none"),
        (ME, {"customer": "C3"}, "no mail here goes to 'C3'; did you mean 'c3'"),
        (ME, {"customer": "c3", "mails": 0}, "both mails= and customer="),
    ],
)
def test_what_is_no_copy_to_oneself_is_refused(shop, copied, to, options, said):
    with pytest.raises(InputError, match=re.escape(said)):
        copied(shop.prepare(), to, **options)
    assert not list(shop.folder.glob("copies/*"))


def test_the_policies_say_to_what_domains_copies_may_go(shop, copied, make_program):
    shop.program = make_program(test_copies={"domains": ["shop.example", "example.org"]})
    batch = shop.prepare()
    assert copied(batch)[0].sent == 1
    assert copied(batch, "c3@example.org")[0].sent == 1  # one of us, who is a customer, too
    refused = r"at no domain that policies\.test_copies names; allowed: addresses at shop\.example, example\.org"
    for address in ("ana@gmail.example", "ana@mail.shop.example", f"{ME} ben@elsewhere.example"):
        with pytest.raises(InputError, match=refused):
            copied(batch, address)


def test_who_must_get_nothing_or_is_a_customer_of_the_ledger_gets_no_copy(shop, copied):
    batch = shop.prepare()
    send(batch, shop.approve(batch), confirm=len(batch), progress=False)
    later = replace(batch, mails=[mail for mail in batch.mails if mail.customer_id != "c3"])
    with pytest.raises(InputError, match=r"c3@example\.org is a customer's: the ledger has mails to it"):
        copied(later, "c3@example.org")
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        ledger.suppressions.add(ME, reason="unsubscribed", by="ana")
    with pytest.raises(InputError, match=r"on the suppression list \(unsubscribed\); .*toolkit suppressions remove"):
        copied(batch)


def test_a_blocked_batch_is_shown_and_what_blocks_it_is_said(shop, copied):
    path = shop.templates / "welcome" / "hello.mjml"
    path.write_text(path.read_text().replace("you signed up.", '<a href="https://localhost/x">look</a>'))
    batch = shop.prepare()
    assert batch.errors
    said, copies = copied(batch)
    assert len(copies) == 1
    assert re.search(r"the batch is blocked by \d+ findings?, and cannot go out yet: error: welcome/hello", str(said))


def test_a_template_that_was_changed_since_is_told(shop, copied):
    batch = shop.prepare()
    path = shop.templates / "welcome" / "hello.txt"
    path.write_text(path.read_text().replace("Welcome", "Hi"))
    said, (copy,) = copied(batch)
    assert copy["Subject"].startswith("[Test] Welcome")
    assert "changed since the batch was prepared, so not in the copies: welcome/hello.txt; prepare again" in str(said)


def test_a_batch_of_nothing_has_nothing_to_show(shop, copied):
    with pytest.raises(InputError, match="the batch has no mails"):
        copied(shop.prepare(now=NOON + timedelta(days=3)))


def test_copies_go_through_a_mail_server_to_the_tester_alone(shop, smtp_server, make_program):
    shop.program = make_program(
        sender={"name": "Maison Lune", "email": "hello@example.com", "bounces": "bounces@example.com"}
    )
    server = smtp_server(
        extensions=["PIPELINING"],
        fault=lambda verb, number, recipient: "550 unknown" if verb == "RCPT" and "ben" in recipient else None,
    )
    way = f"smtp:127.0.0.1:{server.port}?timeout=5"
    said = send_test(shop.prepare(), f"{ME} ben@shop.example", transport=way, progress=False)
    ((sender, recipient, body),) = server.taken
    name = parsed(body)["Message-ID"].partition("@")[0].strip("<")
    assert (sender, recipient) == (f"bounces+{name}@example.com", ME)
    assert b"Subject: [Test] Welcome" in body
    assert said.table["state"].tolist() == ["accepted", "failed"]
    assert "failed: ben@shop.example, welcome/hello: unknown" in str(said)
    assert "nothing left this machine" not in str(said)


def test_a_mail_server_that_asks_to_wait_is_told_as_such_and_one_that_is_away_is_an_error(shop, smtp_server):
    batch = shop.prepare()
    server = smtp_server(fault=lambda verb, number, recipient: "450 4.7.1 greylisted" if verb == "RCPT" else None)
    said = send_test(batch, ME, transport=f"smtp:127.0.0.1:{server.port}?timeout=5", progress=False)
    assert said.sent == 0
    assert "deferred: ana@shop.example, welcome/hello: 4.7.1 greylisted; try again in some minutes" in str(said)
    with pytest.raises(TransportError, match="cannot be reached") as raised:
        send_test(batch, ME, transport="smtp:127.0.0.1:1?timeout=5", progress=False)
    assert raised.value.__notes__ == ["0 of 1 test copies were sent. Call send_test again: copies count for nothing."]


def test_a_customer_who_is_forgotten_is_taken_out_of_copies_in_an_outbox(shop, make_people, make_log):
    people = make_people(12)
    names = people["customer_id"].replace({"c3": "José 3", "c4": "1234"})
    events = [{"customer_id": one, "event": "sign_up", "at": NOON - timedelta(hours=4)} for one in ("José 3", "1234")]
    shop.log = make_log(3, more=events, people=people.assign(customer_id=names))
    batch = shop.prepare()
    for name in ("José 3", "1234", "c1"):
        send_test(batch, ME, customer=name, transport=f"outbox:{shop.outbox}", progress=False)
    for count, name in ((2, "José 3"), (1, "1234"), (0, "c1")):
        erase(name, by="ana", outboxes=[shop.outbox], yes=True)
        assert len(shop.mails()) == count


def test_a_signature_holds_after_copies_were_sent(shop, copied, signing_key_file):
    batch = shop.prepare()
    approval = approve(batch, by="ana", key=signing_key_file)
    copied(batch)
    assert send(batch, approval, confirm=12, progress=False).sent == 12
    assert prepare(
        shop.program, shop.log, now=NOON, templates=shop.templates, ledger=shop.outbox / "ledger.sqlite", progress=False
    ).skipped == {"already sent": 12}
