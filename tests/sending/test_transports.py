"""The contract every way out keeps, and what is special about the outbox."""

from __future__ import annotations

import os
import signal
import stat
import time
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ses.models import ses_backends

from toolkit.errors import InputError, NotSupportedError, TransportError
from toolkit.sending.protocol import Outgoing, Witness
from toolkit.sending.states import State
from toolkit.sending.transports import Maildir, Outbox, transport


@dataclass
class Way:
    """A transport, a second one on the same place, and what arrived there: bytes by decision."""

    transport: object
    again: object
    arrived: object


def _outbox(folder):
    def arrived():
        return {path.stem: path.read_bytes() for path in sorted(Path(folder).glob("*.eml"))}

    return Way(Outbox(folder), transport(f"outbox:{folder}"), arrived)


def _smtp(server):
    def arrived():
        return {recipient.partition("@")[0]: body for _, recipient, body in server.taken}

    where = f"smtp:127.0.0.1:{server.port}?connections=3&timeout=5"
    return Way(transport(where), transport(where), arrived)


def _maildir(folder):
    def arrived():
        return {path.name.partition(":")[0]: path.read_bytes() for path in sorted(Path(folder).glob("[cn]*/*"))}

    return Way(Maildir(folder), transport(f"maildir:{folder}"), arrived)


def _ses(monkeypatch):
    """Amazon SES as moto plays it, in this process."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")

    def arrived():
        sent = ses_backends[DEFAULT_ACCOUNT_ID]["eu-west-1"].sent_messages
        return {one.destinations[0].partition("@")[0]: one.raw_data.encode() for one in sent}

    boto3.client("ses", region_name="eu-west-1").verify_domain_identity(Domain="example.com")
    # moto builds its table of routes at the first call, by ast.parse, which Python 3.11 may not do in threads at once.
    boto3.client("sesv2", region_name="eu-west-1").list_email_identities()
    return Way(transport("ses:eu-west-1?connections=4"), transport("ses:eu-west-1"), arrived)


@pytest.fixture(params=["outbox", "maildir", "smtp", "smtp step by step", "ses"])
def way(request, tmp_path, smtp_server, monkeypatch):
    if request.param == "outbox":
        return _outbox(tmp_path / "out")
    if request.param == "maildir":
        return _maildir(tmp_path / "mail")
    if request.param == "ses":
        request.getfixturevalue("played_ses")
        return _ses(monkeypatch)
    return _smtp(smtp_server(extensions=["PIPELINING"] if request.param == "smtp" else []))


@pytest.fixture
def played_ses():
    with mock_aws():
        yield


def _receipts(way, mails, start=set):
    return [receipt for receipt in way.transport.deliver(mails, start) if receipt is not None]


def _mails(count, first=0):
    return [
        Outgoing(
            decision_id=f"d{number:03d}",
            message_id=f"m{number}@example.com",
            sender="hello@example.com",
            recipient=f"d{number:03d}@example.org",
            message=f"Subject: {number}\r\n\r\nHello\r\n.\r\n..bye \xe9\r\n.\r\n".encode(),
        )
        for number in range(first, first + count)
    ]


def test_a_moment_when_no_mail_may_go_is_waited_for(way):
    mails = _mails(6)
    drawn = iter([None, *mails[:3], None, None, *mails[3:], None])
    assert len([receipt for receipt in way.transport.deliver(drawn, set) if receipt is not None]) == 6
    assert way.arrived() == {mail.decision_id: mail.message for mail in mails}


# --- the contract -----------------------------------------------------------------------------------------------------


def test_every_mail_started_gets_one_receipt_and_arrives_byte_for_byte(way):
    mails = _mails(150)
    receipts = _receipts(way, iter(mails))
    assert sorted(receipt.decision_id for receipt in receipts) == [mail.decision_id for mail in mails]
    assert all(receipt.state is State.ACCEPTED and receipt.receipt for receipt in receipts)
    assert way.arrived() == {mail.decision_id: mail.message for mail in mails}


def test_leave_is_asked_before_a_mail_can_arrive(way):
    seen = []

    def start(ids):
        seen.append((list(ids), set(ids) & set(way.arrived())))
        return set(ids)

    _receipts(way, iter(_mails(100)), start)
    assert sorted(name for ids, _ in seen for name in ids) == [mail.decision_id for mail in _mails(100)]
    assert not any(there for _, there in seen)


def test_a_mail_without_leave_does_not_go_and_gets_no_receipt(way):
    receipts = _receipts(way, iter(_mails(4)), lambda ids: {"d001", "d003"} & set(ids))
    assert {receipt.decision_id for receipt in receipts} == {"d001", "d003"} == set(way.arrived())


def test_no_more_mails_are_drawn_than_it_says_it_takes_at_once(way):
    drawn, got = 0, 0

    def drawing():
        nonlocal drawn
        for mail in _mails(200):
            assert drawn - got < way.transport.at_once
            drawn += 1
            yield mail

    for receipt in way.transport.deliver(drawing(), set):
        got += receipt is not None
    assert (drawn, got) == (200, 200)


def test_nothing_to_deliver_leaves_nothing_behind(way):
    assert _receipts(way, iter(())) == []
    assert way.arrived() == {}


def test_it_is_named_the_same_by_whoever_opens_it(way):
    assert way.transport.name == way.again.name
    assert way.transport.at_once >= 1


def test_a_witness_finds_what_arrived_and_only_that(way):
    if not isinstance(way.transport, Witness):
        pytest.skip("this way out cannot tell afterwards")
    _receipts(way, iter(_mails(3)))
    found = way.again.find(["d000", "d002", "d003"])
    assert set(found) == {"d000", "d002"}
    assert all(receipt.state is State.ACCEPTED and receipt.already for receipt in found.values())


# --- the outbox -------------------------------------------------------------------------------------------------------


def test_the_outbox_writes_nothing_the_second_time_and_never_over_a_file(tmp_path):
    box = Outbox(tmp_path)
    list(box.deliver(iter(_mails(3)), set))
    before = {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in tmp_path.iterdir()}
    other = [Outgoing(m.decision_id, m.message_id, m.sender, m.recipient, b"other") for m in _mails(3)]
    receipts = list(box.deliver(iter(other), set))
    assert all(receipt.already for receipt in receipts)
    assert {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in tmp_path.iterdir()} == before


def test_a_file_of_the_outbox_can_be_read_by_its_owner_alone(tmp_path):
    list(Outbox(tmp_path).deliver(iter(_mails(1)), set))
    assert stat.S_IMODE((tmp_path / "d000.eml").stat().st_mode) == 0o600


def test_what_a_killed_writer_left_half_done_is_swept_away_later(tmp_path):
    old, young = tmp_path / ".1234.d001.eml.part", tmp_path / ".5678.d002.eml.part"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    list(Outbox(tmp_path).deliver(iter(_mails(1)), set))
    assert sorted(path.name for path in tmp_path.iterdir()) == [young.name, "d000.eml"]


@pytest.mark.parametrize("name", ["../evil", "", ".hidden", "a/b", "a\x00b"])
def test_an_id_that_is_no_file_name_is_refused(tmp_path, name):
    mail = Outgoing(name, "m@example.com", "hello@example.com", "c@example.org", b"x")
    with pytest.raises(TransportError, match="cannot be the name of a file"):
        list(Outbox(tmp_path / "box").deliver(iter([mail]), set))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TransportError, match=r"d000\.eml cannot be written: Not a directory"):
        list(Outbox(tmp_path / "file" / "box").deliver(iter(_mails(1)), set))


def test_a_full_disk_leaves_whole_files_only(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    small, large = _mails(1)[0], Outgoing("d999", "m@example.com", "s@example.com", "c@example.org", b"x" * 200_000)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(TransportError, match="File too large"):
            list(Outbox(tmp_path).deliver(iter([small, large]), set))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert [path.name for path in tmp_path.iterdir()] == ["d000.eml"]
    assert (tmp_path / "d000.eml").read_bytes() == small.message


def test_a_file_system_without_hard_links_serves_as_well(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    receipts = list(Outbox(tmp_path).deliver(iter(_mails(2)), set))
    receipts += Outbox(tmp_path).deliver(iter(_mails(2)), set)
    assert [receipt.already for receipt in receipts] == [False, False, True, True]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d000.eml", "d001.eml"]


@pytest.mark.parametrize("where", ["brevo:", "sendmail:"])
def test_a_way_out_that_is_not_there_yet_says_what_is(where):
    with pytest.raises(NotSupportedError, match=r"is not there yet; use outbox:FOLDER, maildir:FOLDER, smtp:HOST:PORT"):
        transport(where)


@pytest.mark.parametrize(
    ("where", "said"),
    [("outbocks:x", "did you mean 'outbox:'"), ("outbox:", "names no folder"), ("./outbox", "expected outbox:FOLDER")],
)
def test_a_text_that_names_no_way_out_is_refused(where, said):
    with pytest.raises(InputError, match=said):
        transport(where)
