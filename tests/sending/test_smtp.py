"""Mails through a mail server that is slow, lies, refuses, hangs up or is not there."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.sending.nursery import Nursery
from tests.sending.shops import NOON, batches_of, program_of
from toolkit.errors import InputError, TransportError
from toolkit.sending import Ledger, Outgoing, State, approve, send, transport
from toolkit.sending.transports import Smtp
from toolkit.sending.transports.wire import BrokenError, Wire

COUNT = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def batch(folder, make_shop, make_log):
    return make_shop(folder, make_log(COUNT)).prepare()


@pytest.fixture(scope="module")
def approved(batch, noon, signing_key_file):
    return approve(batch, by="ana", key=signing_key_file, clock=lambda: noon)


@pytest.fixture
def ledger_file(tmp_path):
    return tmp_path / "ledger.sqlite"


def _send(batch, approved, ledger, port, *, options="connections=3&timeout=0.5", later=0):
    """Through a server, five minutes after noon of the batch's day."""

    def clock():
        return NOON + timedelta(minutes=5 + later)

    way = f"smtp:127.0.0.1:{port}?{options}"
    return send(batch, approved, transport=way, confirm=COUNT, ledger=ledger, progress=False, clock=clock)


def _send_first(batches, approved, ledger, port):
    _send(batches[0], approved, ledger, port)


@pytest.fixture
def sending(batch, approved, ledger_file):
    """Sends the batch to a server, with a ledger of the test's own."""
    return partial(_send, batch, approved, ledger_file)


def _recipients(server):
    return Counter(recipient for _, recipient, _ in server.taken)


def _everyone(batch):
    return Counter(mail.letter.to for mail in batch.mails)


def _once(number, answer):
    return lambda verb: lambda said, count, recipient: answer if (said, count) == (verb, number) else None


def test_every_mail_arrives_once_as_approved(batch, sending, smtp_server):
    server = smtp_server(extensions=["PIPELINING", "8BITMIME"])
    report = sending(server.port)
    assert str(report) == f"sent {COUNT}, already sent 0, skipped 0, unknown 0, failed 0"
    bodies = {recipient: body for _, recipient, body in server.taken}
    assert bodies == {mail.letter.to: batch.spool[mail.number] for mail in batch.mails}
    assert {sender for sender, _, _ in server.taken} == {"hello@example.com"}
    assert server.connections == 3
    assert set(report.table.receipt) == {"250 taken"}
    assert sending(server.port).already_sent == COUNT
    assert len(server.taken) == COUNT


def test_the_envelope_of_the_next_mail_travels_with_the_dot_of_the_last(sending, smtp_server):
    server = smtp_server(extensions=["PIPELINING"], slow=0.02)
    sending(server.port, options="connections=1&timeout=2")
    verbs = [line.split()[0].decode() for line in server.lines]
    assert verbs.count("MAIL") == COUNT
    assert verbs.count("RSET") == 0


def test_a_server_without_pipelining_is_asked_one_thing_at_a_time(batch, sending, smtp_server):
    server = smtp_server()
    assert sending(server.port).sent == COUNT
    assert _recipients(server) == _everyone(batch)


BEFORE_THE_DOT = ["MAIL", "RCPT", "DATA"]


@pytest.mark.parametrize("extensions", [["PIPELINING"], []], ids=["pipelined", "step by step"])
@pytest.mark.parametrize("answer", ["drop", "stall", "garbage", "421 closing"])
@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", *BEFORE_THE_DOT])
def test_trouble_before_the_body_costs_no_mail_and_no_doubt(batch, sending, smtp_server, verb, answer, extensions):
    server = smtp_server(extensions=extensions, fault=_once(2, answer)(verb))
    report = sending(server.port)
    assert (report.sent, report.unknown, report.failed, report.waiting) == (COUNT, 0, 0, 0)
    assert _recipients(server) == _everyone(batch)


@pytest.mark.parametrize("extensions", [["PIPELINING"], []], ids=["pipelined", "step by step"])
@pytest.mark.parametrize("verb", [*BEFORE_THE_DOT, "."])
def test_a_mail_refused_for_now_waits_and_goes_later(batch, sending, smtp_server, verb, extensions):
    server = smtp_server(extensions=extensions, fault=_once(5, "451 later")(verb))
    report = sending(server.port)
    assert (report.sent, report.waiting, report.unknown) == (COUNT - 1, 1, 0)
    row = report.table[report.table.outcome == "deferred"].iloc[0]
    assert (row.code, row.reason) == (451, "later")
    assert sending(server.port, later=2).sent == 1
    assert _recipients(server) == _everyone(batch)


def test_a_mail_whose_sender_was_refused_is_not_sent_though_the_server_asks_for_it(batch, sending, smtp_server):
    server = smtp_server(extensions=["PIPELINING"], confused=True, fault=_once(5, "451 later")("MAIL"))
    assert sending(server.port).sent == COUNT
    assert all(body for _, _, body in server.taken)
    assert _recipients(server) == _everyone(batch)


@pytest.mark.parametrize("extensions", [["PIPELINING"], []], ids=["pipelined", "step by step"])
@pytest.mark.parametrize("verb", ["RCPT", "DATA", "."])
def test_a_mail_refused_for_good_fails_and_is_not_tried_again(sending, smtp_server, verb, extensions):
    server = smtp_server(extensions=extensions, fault=_once(5, "550 no such user")(verb))
    report = sending(server.port)
    assert (report.sent, report.failed) == (COUNT - 1, 1)
    assert report.table.set_index("outcome").reason["failed"] == "no such user"
    assert sending(server.port, later=600).failed == 1
    assert len(server.taken) == COUNT - 1


@pytest.mark.parametrize("answer", ["drop", "take_and_drop", "stall", "garbage"])
def test_no_answer_to_the_dot_leaves_one_mail_in_doubt_and_it_is_never_sent_again(
    ledger_file, batch, sending, smtp_server, answer
):
    server = smtp_server(extensions=["PIPELINING"], fault=_once(5, answer)("."))
    report = sending(server.port, options="connections=3&timeout=0.1")
    assert (report.sent, report.unknown) == (COUNT - 1, 1)
    assert "after the last dot" in report.table.set_index("outcome").reason["unknown"]
    again = sending(server.port, later=60)
    assert (again.sent, again.unknown) == (0, 1)
    assert all(times == 1 for times in _recipients(server).values())
    with Ledger.open(ledger_file) as ledger:
        doubtful = set(ledger.deliveries(state="unknown").address)
    assert set(_recipients(server)) | doubtful == set(_everyone(batch))


@pytest.mark.parametrize("few", [1, 4])
def test_a_server_that_hangs_up_after_every_few_mails_is_called_again(few, batch, sending, smtp_server):
    mails = Counter()

    def fault(verb, number, recipient):
        connection = asyncio.current_task()
        mails[connection] += verb == "MAIL"
        return "421 enough for one connection" if verb == "MAIL" and mails[connection] > few else None

    server = smtp_server(extensions=["PIPELINING"], fault=fault)
    assert sending(server.port, options="connections=3&timeout=5").sent == COUNT
    assert _recipients(server) == _everyone(batch)
    assert server.connections >= COUNT // few


def test_a_mail_that_meets_the_end_of_one_connection_after_the_other_is_not_postponed(batch, sending, smtp_server):
    mails = Counter()

    def fault(verb, number, recipient):
        connection = asyncio.current_task()
        mails[connection] += verb == "MAIL"
        return "421 enough for one connection" if verb == "RCPT" and mails[connection] > 1 else None

    server = smtp_server(extensions=["PIPELINING"], fault=fault)
    assert sending(server.port, options="connections=3&timeout=5").sent == COUNT
    assert _recipients(server) == _everyone(batch)
    announced = sum(line.startswith(b"RCPT TO:") for line in server.lines)
    assert announced > COUNT + COUNT // 2  # every connection took one mail and ended with the next


def test_ctrl_c_while_the_connections_say_goodbye_is_heard(smtp_server):
    def fault(verb, number, recipient):
        if verb == "QUIT":
            os.kill(os.getpid(), signal.SIGINT)
            return "stall"
        return None

    way = transport(f"smtp:127.0.0.1:{smtp_server(fault=fault).port}?connections=1&timeout=5")
    mail = Outgoing("d1", "m1@example.com", "hello@example.com", "ana@example.org", b"Subject: Hi\r\n\r\nHi\r\n")
    receipts = []
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without it
    gc.disable()  # Python drops what a signal raises while it cleans up behind objects, here those of other tests
    try:
        with pytest.raises(KeyboardInterrupt):
            receipts.extend(way.deliver(iter([mail]), lambda names: names))
    finally:
        gc.enable()
        signal.signal(signal.SIGINT, usual)
    assert not [one for one in threading.enumerate() if one.name == "smtp"]


def test_a_server_that_takes_one_connection_only_gets_one(batch, sending, smtp_server):
    server = smtp_server(
        extensions=["PIPELINING"],
        slow=0.01,
        fault=lambda verb, number, recipient: "421 one at a time" if verb == "CONNECT" and number > 1 else None,
    )
    assert sending(server.port, options="connections=3&timeout=2").sent == COUNT
    assert _recipients(server) == _everyone(batch)


def test_a_server_that_is_not_there_stops_the_sending_and_every_mail_waits(ledger_file, sending):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(
        TransportError, match=rf"smtp 127\.0\.0\.1:{port}: cannot be reached: Connection refused"
    ) as raised:
        sending(port)
    assert f"waiting {COUNT}" in raised.value.__notes__[0]
    with Ledger.open(ledger_file) as ledger:
        assert ledger.status().iloc[0].planned == COUNT


def test_a_sender_the_server_does_not_want_stops_the_sending_before_all_mails_fail(sending, smtp_server):
    server = smtp_server(
        extensions=["PIPELINING"],
        fault=lambda verb, number, recipient: "550 you are not welcome" if verb == "MAIL" else None,
    )
    with pytest.raises(TransportError, match=r"does not take mail from hello@example\.com: 550 you are not") as raised:
        sending(server.port)
    assert f"failed 0, waiting {COUNT}" in raised.value.__notes__[0]
    assert server.counts["MAIL"] <= 6


def test_mails_that_are_postponed_say_by_what_answer_and_when_they_go_again(ledger_file, sending, smtp_server):
    server = smtp_server(fault=lambda verb, number, recipient: "450 4.2.0 greylisted" if verb == "RCPT" else None)
    report = sending(server.port)
    assert report.waiting == COUNT
    with Ledger.open(ledger_file) as ledger:
        (moment,) = ledger.status()["created_at"]
    said = rf"waiting {COUNT}: .*postponed by the other side \(450 4\.2\.0 greylisted\), to go again from (.+) UTC on$"
    again = datetime.fromisoformat(re.search(said, str(report))[1] + "+00:00")
    assert timedelta(0) <= again - moment.floor("min") <= timedelta(minutes=3)


def test_a_run_in_which_much_is_refused_is_paused(ledger_file, sending, smtp_server):
    server = smtp_server(
        extensions=["PIPELINING"],
        fault=lambda verb, number, recipient: "554 looks like spam" if verb == "." else None,
    )
    report = sending(server.port)
    assert report.failed < COUNT
    assert re.search(
        r"the run is paused by sender: (\d+) of \1 failed, most often for 554 looks like spam; `toolkit resume",
        str(report),
    )
    with Ledger.open(ledger_file) as ledger:
        line = ledger.audit().set_index("action").loc["paused"]
        assert line.actor.startswith("sender: 2")


def test_the_stop_button_lets_what_is_under_way_come_to_its_end(batch, sending, smtp_server):
    server = smtp_server(extensions=["PIPELINING"], slow=0.02)

    def stop():
        while len(server.taken) < 5:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=stop)
    presser.start()
    with pytest.raises(KeyboardInterrupt) as raised:
        sending(server.port)
    presser.join()
    came = len(server.taken)
    assert 5 <= came < COUNT
    assert raised.value.__notes__[0].startswith(f"sent {came}, already sent 0, skipped 0, unknown 0, failed 0")
    assert sending(server.port).sent == COUNT - came
    assert _recipients(server) == _everyone(batch)


def test_killed_in_the_middle_leaves_at_most_one_mail_a_connection_in_doubt_and_sends_none_twice(
    ledger_file, folder, batch, approved, sending, smtp_server
):
    server = smtp_server(extensions=["PIPELINING"], slow=0.003)
    kills = 0
    with Nursery(batches_of, folder, COUNT, NOON) as nursery:
        for taken in (2, 9, 17, 26):
            child = nursery.start(_send_first, approved, ledger_file, server.port)
            while len(server.taken) < taken and child.is_alive():
                time.sleep(0.001)
            child.kill()
            child.join()
            kills += child.exitcode == -signal.SIGKILL
    report = sending(server.port)
    assert kills
    assert all(times == 1 for times in _recipients(server).values())
    with Ledger.open(ledger_file) as ledger:
        doubtful = set(ledger.deliveries(state="unknown").address)
        assert set(ledger.deliveries(state="accepted").address) <= set(_recipients(server))
    assert report.unknown == len(doubtful) <= 3 * kills
    assert set(_recipients(server)) | doubtful == set(_everyone(batch))


# --- encryption and passwords -----------------------------------------------------------------------------------------

USER = ("ana", "geheim€")


@pytest.fixture
def _login(monkeypatch):
    monkeypatch.setenv("TOOLKIT_SMTP_USER", USER[0])
    monkeypatch.setenv("TOOLKIT_SMTP_PASSWORD", USER[1])


def _mails(count):
    return [
        Outgoing(f"d{n}", f"m{n}@example.com", "hello@example.com", f"c{n}@example.org", b"Subject: x\r\n\r\nhi\r\n")
        for n in range(count)
    ]


def _go(way, mails):
    return [receipt for receipt in way.deliver(iter(mails), set) if receipt is not None]


@pytest.mark.usefixtures("_login")
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mails_go_encrypted_and_logged_in(smtp_server, certificate, monkeypatch, security):
    public, context = certificate()
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    server = smtp_server(context=context, implicit=security == "tls", users=USER, extensions=["PIPELINING"])
    way = Smtp("localhost", server.port, security=security, timeout=5, connections=2)
    assert {receipt.state for receipt in _go(way, _mails(5))} == {State.ACCEPTED}
    assert len(server.taken) == 5
    assert server.counts["AUTH"] == 2


@pytest.mark.usefixtures("_login")
def test_a_wrong_password_is_tried_once_and_never_shown(smtp_server, certificate, monkeypatch):
    public, context = certificate()
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    server = smtp_server(context=context, users=("ana", "other"))
    way = Smtp("localhost", server.port, security="starttls", timeout=5)
    with pytest.raises(TransportError, match="does not accept user and password: 535 wrong") as raised:
        _go(way, _mails(20))
    assert server.counts["AUTH"] == 1
    assert USER[1] not in str(raised.value) + repr(way) + way.name


@pytest.mark.parametrize(
    ("days", "name", "said"), [(-1, "localhost", "expired"), (1, "mail.example.org", "mismatch|not valid for")]
)
def test_a_certificate_that_is_over_or_of_another_is_refused(smtp_server, certificate, monkeypatch, days, name, said):
    public, context = certificate(days=days, name=name)
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    server = smtp_server(context=context)
    with pytest.raises(TransportError, match=rf"(?i)its certificate is not accepted: .*({said})"):
        _go(Smtp("localhost", server.port, security="starttls", timeout=5), _mails(3))
    assert server.taken == []


def test_a_certificate_nobody_vouches_for_is_refused(smtp_server, certificate):
    server = smtp_server(context=certificate()[1])
    with pytest.raises(TransportError, match=r"its certificate is not accepted: self.signed"):
        _go(Smtp("localhost", server.port, security="starttls", timeout=5), _mails(1))


def test_a_server_without_encryption_gets_neither_mails_nor_the_password(smtp_server, monkeypatch):
    monkeypatch.setenv("TOOLKIT_SMTP_USER", USER[0])
    monkeypatch.setenv("TOOLKIT_SMTP_PASSWORD", USER[1])
    server = smtp_server(users=USER)
    with pytest.raises(TransportError, match="offers no encryption"):
        _go(Smtp("localhost", server.port, security="starttls", timeout=5), _mails(1))
    with pytest.raises(TransportError, match="a password is not sent without encryption"):
        _go(Smtp("localhost", server.port, security="none", timeout=5), _mails(1))
    with pytest.raises(TransportError, match=r"write \?security=starttls \(none is for this machine alone\)"):
        _go(Smtp("localhost", server.port, timeout=5), _mails(1))
    assert server.counts["AUTH"] == 0


def test_a_server_that_does_not_begin_with_encryption_is_told_from_a_wrong_certificate(smtp_server):
    with pytest.raises(TransportError, match=r"does not begin with encryption: smtps: is .*587, is smtp:$"):
        _go(Smtp("localhost", smtp_server().port, security="tls", timeout=5), _mails(1))


def test_words_slipped_in_before_encryption_are_not_believed(smtp_server, certificate, monkeypatch):
    public, context = certificate()
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    forged = "220 go\r\n250 forged"
    server = smtp_server(context=context, fault=lambda verb, number, who: forged if verb == "STARTTLS" else None)
    with pytest.raises(TransportError, match="more than the server's go-ahead came before encryption"):
        _go(Smtp("localhost", server.port, security="starttls", timeout=1), _mails(1))


# --- what a mail may not do -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipient": "c@example.org>\r\nRCPT TO:<d@example.org"}, "not an address"),
        ({"recipient": "c d@example.org"}, "not an address"),
        ({"sender": "<>"}, "not an address"),
        ({"message": b"Subject: x\r\n\r\nhi\n.\nMAIL FROM:<x>\r\n"}, "line ends"),
        ({"message": b"Subject: x\r\n\r\nhi\r.\r\n"}, "line ends"),
        ({"recipient": "josé@example.org"}, "takes no such address"),
    ],
)
def test_a_mail_that_would_say_more_than_its_envelope_is_not_sent(smtp_server, changes, said):
    server = smtp_server(extensions=["PIPELINING"])
    good = _mails(3)
    bad = Outgoing(
        **(
            {
                "decision_id": "bad",
                "message_id": "b@example.com",
                "sender": "hello@example.com",
                "recipient": "c@example.org",
                "message": b"Subject: x\r\n\r\nhi\r\n",
            }
            | changes
        )
    )
    way = Smtp("127.0.0.1", server.port, timeout=2, connections=1)
    receipts = {receipt.decision_id: receipt for receipt in _go(way, [good[0], bad, *good[1:]])}
    assert receipts["bad"].state is State.FAILED
    assert said in receipts["bad"].reason
    assert len(server.taken) == 3


def test_a_name_in_another_script_goes_where_the_server_knows_them(smtp_server):
    server = smtp_server(extensions=["PIPELINING", "SMTPUTF8"])
    mail = Outgoing("d", "m@example.com", "hello@example.com", "josé@bücher.example", b"Subject: x\r\n\r\nhi\r\n")
    assert _go(Smtp("127.0.0.1", server.port, timeout=2), [mail])[0].state is State.ACCEPTED
    assert server.taken[0][1] == "josé@xn--bcher-kva.example"
    assert any(line.endswith(b" SMTPUTF8\r\n") for line in server.lines)


def test_a_mail_larger_than_the_server_takes_is_not_even_offered(smtp_server):
    server = smtp_server(extensions=["PIPELINING", "SIZE 1000"])
    large = Outgoing("d", "m@example.com", "hello@example.com", "c@example.org", b"x" * 998 + b"\r\n" + b"y\r\n")
    first, *rest = _mails(3)
    receipts = _go(Smtp("127.0.0.1", server.port, timeout=2, connections=1), [first, large, *rest])
    assert Counter(receipt.state for receipt in receipts) == {State.ACCEPTED: 3, State.FAILED: 1}
    assert len(server.taken) == 3


@pytest.mark.parametrize("fault", ["drop", "stall"])
def test_a_mail_cut_off_before_its_last_dot_left_is_certainly_not_taken_and_waits(smtp_server, fault):
    server = smtp_server(extensions=["PIPELINING"], fault=lambda verb, number, to: fault if verb == "BODY" else None)
    # So large that the system's own buffers cannot take it all, and the dot cannot have left.
    large = Outgoing("d", "m@example.com", "hello@example.com", "c@example.org", b"x" * 998 + b"\r\n" * 8_000_000)
    (receipt,) = _go(Smtp("127.0.0.1", server.port, timeout=1, connections=1), [large])
    assert receipt.state is State.DEFERRED
    assert receipt.reason.startswith("before the last dot: ")
    assert server.taken == []


def _told(*pieces, count, late=()):
    """What a connection reads where a server's words come in these pieces, and some of them a moment later."""

    async def read():
        wire = Wire(0.3)
        for piece in pieces:
            wire.data_received(piece)
        for number, piece in enumerate(late, 1):
            asyncio.get_running_loop().call_later(0.2 * number, wire.data_received, piece)
        try:
            return [str(reply) for reply in await wire.replies(count)]
        finally:
            wire.close()

    return asyncio.run(read())


def test_answers_are_read_however_they_are_cut():
    words = b"250-mail.example.org\r\n250 PIPELINING\r\n354 go on\n250\r\n"
    whole = ["250 mail.example.org PIPELINING", "354 go on", "250 "]
    assert _told(words, count=3) == whole
    assert _told(*(words[place : place + 1] for place in range(len(words))), count=3) == whole
    # Each answer has its own time: three of them may come later than one alone could.
    assert _told(count=3, late=words.splitlines(keepends=True)[1:]) == ["250 PIPELINING", *whole[1:]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([b"250 yes\r\nhello?\r\n"], "does not speak SMTP"),
        ([b"250 yes\r\n250-a\r\n354 b\r\n"], "does not speak SMTP"),
        ([b"250 yes\r\n", b"2" * 5_000], "does not speak SMTP"),
        ([b"250 yes\r\n", b"250-more\r\n" * 200], "does not end"),
        ([b"250 yes\r\n250-and"], "no answer for 0.3 s"),
    ],
)
def test_what_is_no_answer_is_not_taken_for_one_and_the_answer_before_it_counts(words, said):
    assert _told(*words, count=1) == ["250 yes"]
    with pytest.raises(BrokenError, match=said):
        _told(*words, count=2)


def test_a_large_mail_with_every_kind_of_dot_arrives_as_it_was(smtp_server):
    server = smtp_server(extensions=["PIPELINING"])
    message = b".begins\r\n" + b"..\r\n.\r\n.x\r\n" * 10_000 + b"ends without a line end"
    mail = Outgoing("d", "m@example.com", "hello@example.com", "c@example.org", message)
    assert _go(Smtp("127.0.0.1", server.port, timeout=10), [mail])[0].state is State.ACCEPTED
    assert server.taken[0][2] == message + b"\r\n"


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("smtp://ana:geheim@mail.example.org", "do not belong in a notebook"),
        ("smtp:mail.example.org:70000", "expected smtp:HOST:PORT"),
        ("smtp:", "expected a host"),
        ("smtp:mail.example.org?conections=3", "did you mean 'connections'"),
        ("smtp:mail.example.org?connections=0", "expected 1 to 50"),
        ("smtp:mail.example.org?connections=x", "expected smtp:HOST:PORT"),
        ("smtp:mail.example.org?security=ssl", "expected one of starttls, tls, none"),
    ],
)
def test_a_server_written_wrongly_says_what_is_right_and_shows_no_password(where, said):
    with pytest.raises(InputError, match=said) as raised:
        transport(where)
    assert "geheim" not in str(raised.value)


def test_a_server_is_spoken_to_encrypted_unless_it_is_this_machine():
    assert transport("smtp:mail.example.org").security == "starttls"
    assert (transport("smtps:mail.example.org").port, transport("smtp:mail.example.org:465").security) == (465, "tls")
    assert transport("smtp:localhost:1025").security == transport("smtp:127.0.0.1").security == "none"


# --- a real server ----------------------------------------------------------------------------------------------------


@pytest.fixture
def smtp_sink():
    """Postfix's test server, with options; gives its port and a function that counts recipients of what it kept."""
    program = shutil.which("smtp-sink", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        pytest.skip("smtp-sink (Debian package postfix) is not installed")
    running = []
    folder = Path(tempfile.mkdtemp())  # where another user may write, unlike below tmp_path
    folder.chmod(0o777)

    def start(*options):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        command = [program, *user, "-D", str(folder / "mails"), *options, f"127.0.0.1:{port}", "100"]
        running.append(subprocess.Popen(command))
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        assert running[-1].poll() is None

        def kept():
            said = "".join(path.read_text() for path in folder.iterdir())
            return Counter(re.findall(r"^X-Rcpt-Args: <(.*)>$", said, re.MULTILINE))

        return port, kept

    yield start
    for process in running:
        process.kill()
        process.wait()
    shutil.rmtree(folder)


@pytest.mark.parametrize("options", [(), ("-e",), ("-p",)], ids=["pipelined", "no EHLO", "no PIPELINING"])
def test_everyone_is_mailed_once_through_the_sink_of_postfix(batch, sending, smtp_sink, options):
    port, kept = smtp_sink(*options)
    assert sending(port, options="connections=4&timeout=5").sent == COUNT
    assert kept() == _everyone(batch)


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize("how", ["-r", "-f", "-q"], ids=["451", "551", "hang up"])
def test_a_sink_of_postfix_that_refuses_everything_gets_nothing_and_says_so(batch, sending, smtp_sink, verb, how):
    port, _ = smtp_sink(how, verb)
    outcome = Counter()
    try:
        report = sending(port, options="connections=2&timeout=2")
        outcome = Counter(sent=report.sent, failed=report.failed, waiting=report.waiting, unknown=report.unknown)
    except TransportError as fault:
        outcome = Counter(
            {word: int(n) for word, n in re.findall(r"(sent|failed|waiting|unknown) (\d+)", fault.__notes__[0])}
        )
    assert outcome["sent"] == 0
    assert outcome.total() == COUNT
    assert (outcome["unknown"] > 0) == (how == "-q" and verb == ".")
    assert (outcome["failed"] > 0) == (how == "-f" and verb != "MAIL")


def test_each_mail_has_an_address_of_its_own_to_which_it_is_returned(tmp_path, make_shop, make_log, smtp_server):
    shop = make_shop(tmp_path, make_log(3))
    sender = {"name": "Maison Lune", "email": "hello@example.com", "bounces": "bounces@mail.example.com"}
    batch = shop.prepare(program=program_of(sender=sender))
    server = smtp_server()
    approval = approve(batch, by="ana", clock=lambda: NOON)
    ways = {"transport": f"smtp:127.0.0.1:{server.port}", "ledger": tmp_path / "l.sqlite", "clock": lambda: NOON}
    send(batch, approval, confirm=3, progress=False, **ways)
    names = {mail.letter.to: mail.message_id.partition("@")[0] for mail in batch.mails}
    assert {recipient: returned for returned, recipient, _ in server.taken} == {
        recipient: f"bounces+{name}@mail.example.com" for recipient, name in names.items()
    }
    assert all(b"From: Maison Lune <hello@example.com>\r\n" in body for _, _, body in server.taken)
    assert not any(b"bounces" in body for _, _, body in server.taken)
