"""A real Postfix takes the mails we write and lays them in a mailbox, unchanged to the byte."""

import os
import shutil
import smtplib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from toolkit.mail import Address, Templates, compose

POSTFIX = shutil.which("postfix", path="/usr/sbin:/usr/bin")
ADDED = (b"Return-Path:", b"X-Original-To:", b"Delivered-To:", b"Received:")
MAIN = """compatibility_level = 3.6
queue_directory = {place}/queue
data_directory = {place}/data
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file_prefixes = {place}
maillog_file = {place}/log
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
myhostname = mail.example.org
mydestination =
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtputf8_enable = yes
smtputf8_autodetect_classes = all
alias_maps =
virtual_mailbox_domains = example.org
virtual_mailbox_base = {place}/box
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
"""
MASTER = """127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
error unix - - n - - error
retry unix - - n - - error
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""
NAMES = (
    "Zoé 🌙 Lune",
    'Comma, "Quote" \\ Slash; <b@example.org>',
    "=?utf-8?q?Bcc=3A_evil=40example.org?=",
    "عائشة",
    "Ana\u202eevil",
    "From: x@example.org",
    ".",
)
SUBJECTS = (
    "Your basket is still here",
    "  spaces  around  ",
    "Ω" * 300,
    "x" * 900,
    "=?utf-8?b?aGk=?= literally",
    "Ligne très longue, " * 30,
    "🌙 " * 60,
)


@pytest.fixture(scope="module")
def postfix() -> Iterator[tuple[int, Path]]:
    """Port of a Postfix that delivers example.org into a mailbox, and the mailbox."""
    if POSTFIX is None or os.geteuid() != 0:
        pytest.skip("needs Postfix (apt-get install postfix), started by root")
    # Not below pytest's own folder, which only its owner may enter: Postfix works as a user of its own.
    place = Path(tempfile.mkdtemp(prefix="postfix-"))
    place.chmod(0o755)
    for name in ("etc", "queue", "data", "box"):
        (place / name).mkdir()
    shutil.chown(place / "data", "postfix", "postfix")
    owner = (place / "data").stat()
    os.chown(place / "box", owner.st_uid, owner.st_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    main = MAIN.format(place=place, uid=owner.st_uid, gid=owner.st_gid)
    (place / "etc/main.cf").write_text(main, encoding="ascii")
    (place / "etc/master.cf").write_text(MASTER.format(port=port), encoding="ascii")
    command = [POSTFIX, "-c", str(place / "etc")]
    started = subprocess.run([*command, "start"], capture_output=True, text=True, check=False)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                smtplib.SMTP("127.0.0.1", port, timeout=5).quit()
                break
            except OSError:
                if time.monotonic() > deadline:
                    log = (place / "log").read_text() if (place / "log").exists() else ""
                    pytest.fail(f"Postfix did not start: {started.stderr} {log}")
                time.sleep(0.2)
        yield port, place / "box/all/new"
    finally:
        subprocess.run([*command, "stop"], capture_output=True, check=False)
        shutil.rmtree(place, ignore_errors=True)


def messages(library: Templates) -> list[bytes]:
    at = datetime(2026, 3, 1, 9, tzinfo=UTC)
    made = []
    for number, (name, subject) in enumerate(zip(NAMES, SUBJECTS, strict=True)):
        made.append(
            compose(
                sender=Address("hello@münchen.example", name),
                to=f"ana{number}@example.org",
                subject=subject,
                at=at,
                message_id=f"hostile{number}@example.com",
                html=f"<p>{name}</p>\n.\n..\n{'long ' * 400}\nFrom here\n" + "é" * 900,
                text=f"{name}\n.\n..hidden\n" + "x" * 3_000 + "\nFrom me\n \ttail \n",
                unsubscribe_url="https://shop.example.com/u/" + "t" * 800,
                feedback_id="a:b:c:maisonlune",
            )
        )
    for name in library.names:
        for locale in ("en", "fr"):
            letter = replace(library.sample(name, locale=locale), to="ana@example.org")
            url = "https://shop.example.com/u/t0ken" if letter.class_ == "marketing" else None
            message_id = f"{name.replace('/', '.')}.{locale}@example.com"
            made.append(library.message(letter, message_id=message_id, unsubscribe_url=url))
    return made


def test_a_real_postfix_delivers_every_mail_of_the_library_and_hostile_ones_unchanged(
    postfix: tuple[int, Path], library: Templates
) -> None:
    port, box = postfix
    made = messages(library)
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as server:
        for message in made:
            to = message_from_bytes(message)["To"]
            assert server.sendmail("bounce@example.com", [to], message) == {}
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline and len(list(box.glob("*") if box.exists() else ())) < len(made):
        time.sleep(0.2)
    delivered = {}
    for path in box.iterdir():
        lines = path.read_bytes().split(b"\n")
        while lines[0].startswith((*ADDED, b" ", b"\t")):
            lines.pop(0)
        parsed = message_from_bytes(b"\n".join(lines), policy=policy.default)
        delivered[parsed["Message-ID"]] = b"\n".join(lines)
        assert parsed.defects == []
        assert len(parsed.get_all("To")) == 1
    assert len(delivered) == len(made)
    for message in made:
        assert delivered[message_from_bytes(message)["Message-ID"]] == message.replace(b"\r\n", b"\n")
