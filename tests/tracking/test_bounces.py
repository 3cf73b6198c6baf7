"""Bounces of every kind of server: who, and whether for good; out of a Maildir or an IMAP folder, each once."""

from __future__ import annotations

import json
import mailbox
import socketserver
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shared import shared
from tests.tracking.conftest import NAMES
from toolkit.errors import AnswersError, InputError
from toolkit.tracking.bounces import CAUSES, cause_of, messages_of, read_bounce, take_bounces

OWN_ID = f"<{NAMES[0]}zzzzzzzzzzzzzzzz@example.com>"
DSN = """From: MAILER-DAEMON@mx.example.org
To: bounces@example.com
Date: Mon, 02 Mar 2026 11:00:00 +0000
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

<{address}>: host mx.example.org said: {said}

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org

Final-Recipient: rfc822; {address}
Action: {action}
Status: {status}
Diagnostic-Code: smtp; {said}

--b
Content-Type: text/rfc822-headers

Message-ID: {message_id}
To: {address}
Subject: Your basket

--b--
"""


def dsn(address="nobody@example.org", said="550 5.1.1 User unknown (in reply to RCPT TO)", **changes):
    fields = {"action": "failed", "status": "5.1.1", "message_id": OWN_ID} | changes
    return DSN.format(address=address, said=said, **fields).encode()


@pytest.fixture(scope="module")
def recorded():
    """Name, expectation and reading of each of the 557 recorded bounces with a known answer."""
    expected = json.loads(shared("bounces_sisimai/expected.json").read_text(encoding="utf-8"))
    folder = shared("bounces_sisimai/raw/maildir")
    files = {path.name: path for path in folder.rglob("*.eml")}
    return [(name, wanted, read_bounce(files[name].read_bytes())) for name, wanted in expected.items()]


def test_hard_and_soft_are_told_apart_in_at_least_95_of_100_recorded_bounces(recorded):
    right, wrong = 0, []
    for name, wanted, found in recorded:
        for place, one in enumerate(wanted):
            # An answering machine is no bounce, and nothing is to be found in it.
            silent = place >= len(found) and one["reason"] == "vacation"
            told = place < len(found) and (found[place].bounce_type == "hard") == one["hardbounce"]
            right += silent or told
            if not (silent or told):
                wrong.append(name)
    total = right + len(wrong)
    assert total == 567
    assert right / total >= 0.95, wrong


def test_failing_recipients_are_found_in_at_least_95_of_100_recorded_bounces(recorded):
    wrong = [
        name
        for name, wanted, found in recorded
        if len(found) != len(wanted) and not (not found and all(one["reason"] == "vacation" for one in wanted))
    ]
    assert len(recorded) == 557
    assert 1 - len(wrong) / len(recorded) >= 0.95, wrong


def test_what_the_machine_readable_part_names_is_what_is_found(recorded):
    folder = shared("bounces_sisimai/raw/maildir/bsd")
    for name in ("lhost-postfix-04.eml", "lhost-sendmail-03.eml", "lhost-outlook-07.eml"):
        raw = (folder / name).read_bytes().decode("utf-8", "replace")
        named = [line.partition(";")[2].strip().strip("<>") for line in raw.splitlines() if "inal-Recipient:" in line]
        found = [one.recipient for one in read_bounce(raw.encode())]
        assert found
        assert set(found) <= set(named)


def test_mails_that_are_no_bounces_are_none():
    for path in sorted(shared("bounces_sisimai/raw/maildir/not").glob("is-not-bounce-*.eml")):
        assert read_bounce(path.read_bytes()) == ()
    letter = b"From: ana@example.org\nTo: shop@example.com\nSubject: Thank you\n\nThe lamp is lovely.\n"
    assert read_bounce(letter) == ()


def test_a_bounce_names_our_mail_and_when_it_came():
    (one,) = read_bounce(dsn())
    assert (one.recipient, one.kind, one.bounce_type, one.cause) == (
        "nobody@example.org", "bounced", "hard", "no_such_person",
    )  # fmt: skip
    assert (one.mail, one.message_id, one.status) == (NAMES[0], OWN_ID, "5.1.1")
    assert one.at == 1_772_449_200_000_000


@pytest.mark.parametrize(
    ("said", "status", "bounce_type"),
    [
        ("552 5.2.2 Mailbox full", "5.2.2", "soft"),
        ("550 5.7.1 Message rejected as spam", "5.7.1", "soft"),
        ("550 5.1.2 Host unknown", "5.1.2", "hard"),
        ("551 5.1.6 user has moved; please try <x@example.org>", "5.1.6", "hard"),
        ("550 5.1.1 User unknown (in reply to end of DATA command)", "5.0.0", "hard"),
        ("550 User unknown (in reply to end of DATA command)", "5.0.0", "soft"),
        ("421 4.7.0 Try again later", "4.7.0", "soft"),
    ],
)
def test_what_servers_say_is_understood(said, status, bounce_type):
    (one,) = read_bounce(dsn(said=said, status=status))
    assert one.bounce_type == bounce_type


def test_a_delay_and_a_delivery_are_no_bounces():
    (late,) = read_bounce(dsn(action="delayed", status="4.4.1", said="connection timed out"))
    (there,) = read_bounce(dsn(action="delivered", status="2.0.0", said="250 ok"))
    assert (late.kind, late.bounce_type, there.kind) == ("deferred", None, "delivered")


def test_the_table_of_causes_is_hard_only_where_it_is_about_the_address():
    hard = {cause.name for cause in CAUSES if cause.bounce_type == "hard"}
    assert hard == {"moved", "takes_no_mail", "no_such_person", "no_such_host"}
    assert cause_of("what nobody ever said", None) == ("unknown", "soft")


def test_a_bounce_that_quotes_nothing_is_told_by_the_address_it_came_to():
    name = OWN_ID.strip("<>").partition("@")[0]
    raw = f"To: bounces+{name}@mail.example.com\nSubject: failed\n\n550 5.1.1 <ana@example.org> unknown user\n"
    assert [one.mail for one in read_bounce(raw.encode())] == [name[:16]]


@given(st.binary(max_size=600) | st.text(max_size=300).map(lambda text: dsn(said=text.replace("\n", " "))))
@settings(max_examples=150)
def test_no_message_whatever_stops_the_reader(raw):
    read_bounce(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'Content-Type: text/html; charset="\x00bad"\nContent-Transfer-Encoding: base64\n\n!!!!',
        b"Content-Type: text/plain; charset=idna\n\n550 5.1.1 <ana@example.org> unknown \xff",
        b"Content-Type: multipart/mixed; charset=us-ascii\n\n550 \xff",
    ],
)
def test_a_message_in_a_charset_that_is_none_does_not_stop_the_reader(raw):
    read_bounce(raw)


@pytest.fixture
def maildir(tmp_path):
    box = mailbox.Maildir(str(tmp_path / "bounces"))
    box.add(dsn())
    box.add(dsn("full@example.org", "552 5.2.2 Mailbox full", status="5.2.2", message_id="<other@example.net>"))
    box.add(b"From: ana@example.org\nSubject: Thank you\n\nThe lamp is lovely.\n")
    return tmp_path / "bounces"


def test_a_maildir_is_read_once_however_often(maildir, answers):
    said = take_bounces(messages_of(maildir), answers)
    assert (said.messages, said.hard, said.soft, said.no_bounce, said.unknown) == (3, 1, 1, 1, 1)
    again = take_bounces(messages_of(maildir), answers)
    assert (again.hard, again.soft, again.again) == (0, 0, 2)
    assert str(again) == (
        "messages 3: hard bounces 0, soft 0, known already 2, no bounce 1; of mails not sent from here 1"
    )
    events = answers.events
    assert events[["event", "decision_id", "bounce_type"]].values.tolist() == [["email_bounced", "d0", "hard"]]
    assert "nobody@example.org" not in answers.table.to_string()


def test_a_message_that_is_taken_away_meanwhile_or_huge_is_passed_over(maildir, tmp_path):
    messages = messages_of(maildir)
    first = next(messages)
    for path in sorted((maildir / "new").iterdir()):
        if path.read_bytes() != first:
            path.unlink()
    assert list(messages) == []
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "a.eml").write_bytes(dsn())
    (letters / "b.eml").write_bytes(b"From: ana@example.org\n\n" + b"x" * (10 * 2**20))
    (letters / "c.eml").write_bytes(dsn("full@example.org"))
    box = mailbox.Maildir(str(tmp_path / "box"))
    for path in sorted(letters.iterdir()):
        box.add(path.read_bytes())
    assert [len(one) for one in messages_of(letters)] == [len(dsn()), len(dsn("full@example.org"))]
    assert len(list(messages_of(tmp_path / "box"))) == 2
    messages = messages_of(letters)
    next(messages)
    (letters / "c.eml").unlink()
    assert list(messages) == []


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing is no folder"):
        list(messages_of(tmp_path / "nothing"))
    with pytest.raises(InputError, match=r"imaps://user:password@host"):
        list(messages_of("imaps://host.example.com/INBOX"))


class _Imap(socketserver.StreamRequestHandler):
    """As much of IMAP as reading a folder takes."""

    def handle(self):
        self.wfile.write(b"* OK ready\r\n")
        mails = self.server.mails
        while line := self.rfile.readline():
            tag, _, rest = line.decode().strip().partition(" ")
            word = rest.split(" ")[0].upper()
            said = b""
            if word == "CAPABILITY":
                said = b"* CAPABILITY IMAP4rev1\r\n"
            elif word == "LOGIN" and "secret" not in rest:
                self.wfile.write(f"{tag} NO wrong password\r\n".encode())
                continue
            elif word in ("EXAMINE", "SELECT"):
                said = f"* {len(mails)} EXISTS\r\n* OK [READ-ONLY]\r\n".encode()
            elif word == "SEARCH":
                said = b"* SEARCH " + b" ".join(str(n + 1).encode() for n in range(len(mails))) + b"\r\n"
            elif word == "FETCH":
                number = int(rest.split(" ")[1])
                body = mails[number - 1].replace(b"\n", b"\r\n")
                said = f"* {number} FETCH (BODY[] {{{len(body)}}}\r\n".encode() + body + b")\r\n"
            elif word == "LOGOUT":
                said = b"* BYE\r\n"
            self.wfile.write(said + f"{tag} OK done\r\n".encode())


def test_an_imap_folder_is_read_without_marking_anything(answers):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Imap) as server:
        server.daemon_threads = True
        server.mails = [dsn(), b"Subject: hello\n\nhi\n"]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        said = take_bounces(messages_of(f"imap://ana:secret@127.0.0.1:{port}/Bounces"), answers)
        with pytest.raises(AnswersError, match="wrong password"):
            list(messages_of(f"imap://ana:other@127.0.0.1:{port}/Bounces"))
        server.shutdown()
    assert (said.messages, said.hard) == (2, 1)
