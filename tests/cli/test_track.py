"""The circle closes on this machine: mails through a real Postfix, opened and clicked in a real Chromium, one
unsubscribed with one click, one bounced; and a tracker that is killed loses nothing it has acknowledged."""

from __future__ import annotations

import contextlib
import email
import os
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email import policy
from pathlib import Path

import httpx
import pandas as pd
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from playwright.sync_api import sync_playwright

from toolkit.engine import measure, replay
from toolkit.events import EventLog
from toolkit.scenario import load
from toolkit.sending import Ledger, approve, prepare, send
from toolkit.sending.keys import mail_key
from toolkit.tracking import Answers, TrackedMail

CHROMIUM = shutil.which("chromium")
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36"
SCENARIO = """
scenario: welcome
trigger: {event: sign_up}
reentry: once
goal: {event: purchase, within: 5m, value: revenue}
steps:
  - {id: hello, send: welcome/hello}
"""
POLICIES = """
sender: {name: Maison Lune, email: hello@example.com}
brand: {name: Maison Lune, address: "12 rue de l'Exemple, 75000 Paris", url: https://shop.example.com/}
tracking: {url: "https://mail.example.com:PORT"}
"""
HTML = """<mjml><mj-body><mj-section><mj-column><mj-text>Hello {{ customer.first_name }},
<a href="{{ link("https://shop.example.com/new", of="mails") }}">Look around</a>
<a href="{{ link("https://shop.example.com/help") }}">Help</a>
<a href="{{ unsubscribe }}">Unsubscribe</a></mj-text></mj-column></mj-section></mj-body></mjml>
"""
TEXT = """subject: Welcome {{ customer.first_name }}
preheader: Good to see you
---
Hello {{ customer.first_name }}, look around: {{ link("https://shop.example.com/new", of="mails") }}
Help: {{ link("https://shop.example.com/help") }}
Unsubscribe: {{ unsubscribe }}
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def until(condition, *, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def certificate(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    made = made.add_extension(
        x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.DNSName("mail.example.com")]), critical=False
    )
    (folder / "cert.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


@contextlib.contextmanager
def tracking(folder, port, *options):
    """`toolkit track` in a process of its own, listening."""
    command = [sys.executable, "-c", "from toolkit.cli import main; main()", "track", "--port", str(port), *options]
    with (folder / "tracker.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": _ROOT})
        try:

            def listens():
                assert process.poll() is None, (folder / "tracker.log").read_text()
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            until(listens)
            yield process
        finally:
            process.terminate()
            process.wait(20)


_ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def postfix():
    """A Postfix of its own: it keeps mails of example.org for c0 to c2 and bounces the rest to hello@example.com."""
    if os.geteuid() != 0 or not shutil.which("postfix", path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip("Postfix is not installed, or cannot be started by this user")
    folder = Path(tempfile.mkdtemp(prefix="postfix-"))
    folder.chmod(0o755)
    port = free_port()
    boxes = [f"c{n}@example.org=c{n}/" for n in range(3)] + ["hello@example.com=bounces/"]
    known = ", ".join(f"{{{one.replace('=', ' = ', 1)}}}" for one in boxes)
    for name in ("config", "queue", "data", "mail"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    shutil.chown(folder / "mail", "nobody")
    (folder / "config" / "main.cf").write_text(
        f"""compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = mx.example.net
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
virtual_mailbox_domains = example.org, example.com
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = inline:{{ {known} }}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 100
smtpd_reject_unlisted_recipient = no
smtpd_peername_lookup = no
"""
    )
    (folder / "config" / "master.cf").write_text(
        f"127.0.0.1:{port} inet n - n - - smtpd\n"
        + "".join(
            f"{name} unix {private} {'n' if name == 'virtual' else '-'} n {wake} {most} {daemon}\n"
            for name, private, wake, most, daemon in (
                ("pickup", "n", 60, 1, "pickup"),
                ("cleanup", "n", "-", 0, "cleanup"),
                ("qmgr", "n", 300, 1, "qmgr"),
                ("rewrite", "-", "-", "-", "trivial-rewrite"),
                ("bounce", "-", "-", 0, "bounce"),
                ("defer", "-", "-", 0, "bounce"),
                ("trace", "-", "-", 0, "bounce"),
                ("verify", "-", "-", 1, "verify"),
                ("flush", "n", "1000?", 0, "flush"),
                ("proxymap", "-", "-", "-", "proxymap"),
                ("smtp", "-", "-", "-", "smtp"),
                ("relay", "-", "-", "-", "smtp"),
                ("error", "-", "-", "-", "error"),
                ("retry", "-", "-", "-", "error"),
                ("virtual", "-", "-", "-", "virtual"),
                ("anvil", "-", "-", 1, "anvil"),
                ("scache", "-", "-", 1, "scache"),
            )
        )
        + "postlog unix-dgram n - n - 1 postlogd\n"
    )
    command = ["/usr/sbin/postfix", "-c", str(folder / "config")]
    started = subprocess.run([*command, "start"], capture_output=True, text=True, check=False)
    try:
        assert started.returncode == 0, started.stderr

        def listens():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        until(listens)
        yield port, folder / "mail"
    finally:
        subprocess.run([*command, "stop"], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A program with a tracker in its policies, and the port of that."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    port = free_port()
    (tmp_path / "templates" / "welcome").mkdir(parents=True)
    files = {
        "policies.yaml": POLICIES.replace("PORT", str(port)),
        "welcome/scenario.yaml": SCENARIO,
        "welcome/hello.mjml": HTML,
        "welcome/hello.txt": TEXT,
    }
    for name, content in files.items():
        (tmp_path / "templates" / name).write_text(content, encoding="utf-8")
    return load(tmp_path / "templates"), port


def shop(now):
    people = pd.DataFrame(
        {
            "customer_id": [f"c{n}" for n in range(4)],
            "email": [f"c{n}@example.org" for n in range(4)],
            "first_name": ["Ana", "Bo", "Cy", "Di"],
            "consent": True,
        }
    )
    events = pd.DataFrame({"customer_id": people["customer_id"], "event": "sign_up", "at": now - timedelta(minutes=20)})
    return EventLog.from_pandas(events.assign(revenue=0.0), customers=people)


def here(url):
    """The tracker's address on this machine."""
    return url.replace("mail.example.com", "localhost")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_tracker_is_tried_on_this_machine_without_a_certificate_and_every_step_says_so(program, tmp_path, host):
    """Prepared, sent to an outbox, clicked, opened and unsubscribed from."""
    port, now, ledger_at = program[1], datetime.now(UTC), tmp_path / "ledger.sqlite"
    base = f"http://{host}:{port}"
    policies = tmp_path / "templates" / "policies.yaml"
    policies.write_text(policies.read_text().replace(f"https://mail.example.com:{port}", base))
    batch = prepare(
        load(policies.parent), shop(now), now=now, templates=policies.parent, ledger=ledger_at, progress=False
    )
    (note,) = [note for note in batch.notes if "tracking.url" in note]
    assert note.startswith(f"tracking.url {base} leads to the machine that a mail is read on: it is for a trial")
    assert send(batch, approve(batch, by="ana"), transport="outbox:out", confirm=4, ledger=ledger_at, progress=False)
    message = email.message_from_bytes(next((tmp_path / "out").glob("*.eml")).read_bytes(), policy=policy.default)
    html = message.get_body(("html",)).get_content()
    with tracking(tmp_path, port, "--ledger", str(ledger_at)), httpx.Client() as client:
        answer = client.get(re.search(rf'href="({re.escape(base)}/c/[^"]*)"', html)[1])
        assert (answer.status_code, answer.headers["location"]) == (302, "https://shop.example.com/new?of=mails")
        assert client.get(re.search(rf'src="({re.escape(base)}/o/[^"]*)"', html)[1]).status_code == 200
        link = message["List-Unsubscribe"].strip("<>")
        assert link.startswith(f"{base}/u/")
        assert client.post(link, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    with Ledger.open(ledger_at) as ledger:
        assert len(ledger.suppressions) == 1
    first, second, third, fourth = (tmp_path / "tracker.log").read_text().splitlines()[:4]
    assert first == (
        f"what people and providers say is kept in {tmp_path}/answers.sqlite; who gets no more mail, in {ledger_at}"
    )
    assert second.startswith("since the last start: mails sent 0; suppressed: none")
    assert third == f"warning: mails lead to {base}, which answers on this machine alone: a trial"
    assert fourth == f"listening on http://127.0.0.1:{port}"


@pytest.mark.parametrize("url", ["https://localhost:8443", "https://127.0.0.1"])
def test_a_tracker_on_trial_may_have_a_certificate_too(program, tmp_path, url):
    policies = tmp_path / "templates" / "policies.yaml"
    policies.write_text(policies.read_text().replace(f"https://mail.example.com:{program[1]}", url))
    now = datetime.now(UTC)
    batch = prepare(load(policies.parent), shop(now), now=now, templates=policies.parent, progress=False)
    assert (len(batch), batch.errors) == (4, ())
    assert any(
        note.startswith(f"tracking.url {url} leads to the machine that a mail is read on") for note in batch.notes
    )


def mail_in(folder):
    (path,) = (folder / "new").iterdir()
    message = email.message_from_bytes(path.read_bytes(), policy=policy.default)
    return message, message.get_body(("html",)).get_content()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_opens_clicks_an_unsubscribe_and_a_bounce_come_home_each_once(postfix, program, tmp_path):
    smtp_port, boxes = postfix
    welcome, port = program
    now = datetime.now(UTC)
    log = shop(now)
    ledger_at, answers_at = tmp_path / "ledger.sqlite", tmp_path / "answers.sqlite"
    batch = prepare(welcome, log, now=now, templates=tmp_path / "templates", ledger=ledger_at, progress=False)
    assert len(batch) == 4
    report = send(batch, approve(batch, by="ana"), transport=f"smtp:127.0.0.1:{smtp_port}", confirm=4, progress=False)
    assert report.sent == 4
    until(lambda: all((boxes / f"c{n}" / "new").is_dir() for n in range(3)) and (boxes / "bounces" / "new").is_dir())
    cert, key = certificate(tmp_path)
    options = ("--ledger", str(ledger_at), "--certificate", str(cert), "--key", str(key))
    trusting = ssl.create_default_context(cafile=str(cert))
    with tracking(tmp_path, port, *options), httpx.Client(verify=trusting) as client:
        # c0 reads the mail and clicks, in a real browser.
        _, html = mail_in(boxes / "c0")
        arguments = ["--no-sandbox", "--host-resolver-rules=MAP mail.example.com 127.0.0.1"]
        with sync_playwright() as player:
            browser = player.chromium.launch(executable_path=CHROMIUM, args=arguments)
            page = browser.new_context(ignore_https_errors=True, user_agent=CHROME).new_page()
            page.route("https://shop.example.com/**", lambda route: route.fulfill(body="<title>The shop</title>"))
            page.set_content(html, wait_until="networkidle")
            page.get_by_text("Look around").click()
            page.wait_for_url("https://shop.example.com/new?of=mails")
            browser.close()
        # c1 unsubscribes with one click of the mail program.
        message, _ = mail_in(boxes / "c1")
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        once = {"List-Unsubscribe": "One-Click"}
        assert client.post(here(message["List-Unsubscribe"].strip("<>")), data=once).status_code == 200
        with Ledger.open(ledger_at) as ledger:
            assert ledger.suppressions.reason("c1@example.org") == "unsubscribed"
        # A scanner follows everything in c2's mail.
        _, html = mail_in(boxes / "c2")
        for url in re.findall(r'(?:href|src)="(https://mail[.]example[.]com[^"]*)"', html):
            client.get(here(url), headers={"User-Agent": CHROME})
    # c3 does not exist; the bounce is read from the mailbox.
    command = [sys.executable, "-c", "from toolkit.cli import main; main()", "bounces", str(boxes / "bounces")]
    for _ in range(2):
        done = subprocess.run(
            [*command, "--ledger", str(ledger_at)],
            capture_output=True, text=True, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": _ROOT},
        )  # fmt: skip
    assert "known already 1" in done.stdout
    with Ledger.open(ledger_at) as ledger:
        assert ledger.suppressions.reason("c3@example.org", class_="transactional") == "suppressed"
        assert len(ledger.suppressions) == 2
    # A minute passes, after which verdicts are final: the answers are moved back instead of waiting for it.
    with contextlib.closing(sqlite3.connect(answers_at)) as database, database:
        database.execute("UPDATE answer SET received_at = at")
    both = log.with_answers(str(answers_at))
    assert both.event_counts == {
        "sign_up": 4,
        "email_sent": 4,
        "email_opened": 1,
        "email_clicked": 1,
        "email_unsubscribed": 1,
        "email_bounced": 1,
        "email_opened_by_machine": 1,
        "email_clicked_by_machine": 3,
    }
    decisions = {mail.customer_id: mail.letter.decision_id for mail in batch.mails}
    home = both.events[both.events["decision_id"].notna()]
    assert (home["decision_id"] == home["customer_id"].map(decisions)).all()
    run = replay(welcome, both, until=now + timedelta(hours=1), assume="as_logged")
    outcomes = measure(run, within="30m").set_index("unit")
    assert outcomes["opened"].to_dict() == {"c0": True, "c1": False, "c2": False, "c3": False}
    assert outcomes["clicked"].to_dict() == {"c0": True, "c1": False, "c2": False, "c3": False}
    assert outcomes["unsubscribed"].to_dict() == {"c0": False, "c1": True, "c2": False, "c3": False}
    assert outcomes["open_verdict"].fillna("").to_dict() == {"c0": "human", "c1": "", "c2": "machine", "c3": ""}


def _loaded(folder, port, names, tokens, *, least):
    """Opens from eight readers until the tracker is killed; what was acknowledged, and what was asked for."""
    acknowledged, asked, lock = Counter(), Counter(), threading.Lock()

    def read(reader):
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            for number in range(10_000):
                agent = f"Mail/1.0 (reader {reader}, {number})"
                with lock:
                    asked[agent] += 1
                try:
                    path = f"/o/{tokens.mint(names[number % len(names)], purpose='open')}"
                    answer = client.get(path, headers={"User-Agent": agent})
                except httpx.HTTPError:
                    return
                if answer.status_code == 200:
                    with lock:
                        acknowledged[agent] += 1

    with tracking(folder, port, "--ledger", str(folder / "ledger.sqlite")) as process:
        readers = [threading.Thread(target=read, args=(number,)) for number in range(8)]
        for one in readers:
            one.start()
        until(lambda: acknowledged.total() >= least)
        process.send_signal(signal.SIGKILL)
        for one in readers:
            one.join()
    return acknowledged, asked


def _killed(program, folder, *, least):
    _, port = program
    names = [letter * 16 for letter in "abcdefgh"]
    where = folder / "ledger.sqlite"
    tokens = mail_key(str(where)).tokens
    with Answers.open(folder / "answers.sqlite") as answers:
        facts = ("s", "t", "t/x", None, None, "marketing", "example.org", "en", "m@example.com", 0)
        answers.register(TrackedMail(name, name, name, *facts) for name in names)
    acknowledged, asked = _loaded(folder, port, names, tokens, least=least)
    assert acknowledged.total() >= least
    with Answers.open(folder / "answers.sqlite") as answers:
        kept = Counter(answers.table["agent"])
    assert acknowledged - kept == Counter(), "acknowledged and lost"
    assert kept - asked == Counter(), "kept and never asked for"


def test_a_tracker_killed_under_load_loses_nothing_it_acknowledged(program, tmp_path):
    _killed(program, tmp_path, least=150)


@pytest.mark.soak
@pytest.mark.parametrize("turn", range(5))
def test_a_tracker_killed_at_another_moment_loses_nothing_it_acknowledged(program, tmp_path, turn):
    _killed(program, tmp_path, least=90 + 157 * turn)
