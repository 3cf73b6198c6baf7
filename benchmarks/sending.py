"""Sending beside other ways: Postfix's own smtp-source on the same sink, and EmailMessage + smtplib + UPDATE."""

from __future__ import annotations

import gc
import hashlib
import os
import resource
import shutil
import smtplib
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.mailing import Peer
from benchmarks.measuring import Bound, Result, peak_memory
from toolkit.events import EventLog
from toolkit.scenario import loads
from toolkit.scenario.models import Policies, Program
from toolkit.sending import ApprovalPolicy, Batch, Ledger, approve, prepare, send, submit
from toolkit.sending.clock import micros
from toolkit.sending.ledger.planning import Entry, RunRecord, Signed
from toolkit.sending.sender_service import take_one

CONNECTIONS = 20
MAILS = 10_000
NAIVE = 1_000
SCENARIO = """
scenario: welcome
trigger: {event: sign_up}
reentry: once
steps: [{wait: 1h}, {id: hello, send: welcome/hello}]
"""
POLICIES = {
    "sender": {"name": "Shop", "email": "hello@example.com"},
    "brand": {"name": "Shop", "address": "Paris", "unsubscribe_url": "https://shop.example.com/u/{token}"},
}
TEXT = """subject: Welcome {{ customer.first_name }}
preheader: Good to see you
---
Hello {{ customer.first_name }}, welcome.
{{ unsubscribe }}
"""
HTML = """<mjml><mj-body><mj-section><mj-column><mj-text>Hello {{ customer.first_name }}, welcome.
<a href="{{ unsubscribe }}">Unsubscribe</a></mj-text></mj-column></mj-section></mj-body></mjml>"""


def sending() -> Iterator[Result]:
    """Mails end to end with a ledger on the disk, beside smtp-source and the naive way, all into one smtp-sink."""
    with _folder() as folder, _sink() as port:
        batch = _batch(folder, MAILS)
        approval = approve(batch, by="bench")
        size = batch.spool.size(0)
        ours, source, naive = [], [], []
        for turn in range(3):
            source.append(_smtp_source(port, size))
            start = time.perf_counter()
            way = f"smtp:127.0.0.1:{port}?connections={CONNECTIONS}"
            ledger = folder / f"ledger{turn}.sqlite"
            report = send(batch, approval, transport=way, confirm=MAILS, ledger=ledger, progress=False)
            ours.append(time.perf_counter() - start)
            ledger.unlink()  # or the next turn would be refused: its mails would go twice
            if report.sent != MAILS:
                raise RuntimeError(f"expected {MAILS} mails sent: {report}")
            naive.append(_naive(batch, port, folder / f"naive{turn}.sqlite") * MAILS / NAIVE)
        said = f"{MAILS:,} mails of {size:,} bytes"
        rate, about = (
            round(MAILS / min(ours)),
            "Speeds in mails a second; every one is leased, started and receipted on the disk.",
        )
        for name, peer, seconds, least in (
            ("send_vs_smtp_source", "Postfix smtp-source", min(source), 0.25),
            ("send_vs_naive", f"EmailMessage + smtplib + UPDATE, {NAIVE:,} mails scaled", min(naive), 8.0),
        ):
            more = {
                "mails_per_s": rate,
                "peer_mails_per_s": round(MAILS / seconds),
                "speed": float(f"{seconds / min(ours):.4g}"),
                "connections": CONNECTIONS,
            }
            yield Result(name, said, min(ours), peer, seconds, more, (Bound("speed", at_least=least),), about)


def planning() -> Iterator[Result]:
    """A million approved mails written into a new ledger, beside the same rows inserted bare in one transaction."""
    count = 1_000_000
    with _folder() as folder:
        start = time.perf_counter()
        with Ledger.open(folder / "ledger.sqlite") as ledger:
            ledger.plan(_run(count), map(_entry, range(count)))
        ours = time.perf_counter() - start
        start = time.perf_counter()
        with sqlite3.connect(folder / "bare.sqlite") as bare:
            bare.execute("CREATE TABLE d (id TEXT PRIMARY KEY, c TEXT, a TEXT, m TEXT UNIQUE, s TEXT, h TEXT)")
            rows = (
                (e.decision_id, e.customer_id, e.address, e.message_id, "planned", e.payload_sha256)
                for e in map(_entry, range(count))
            )
            bare.executemany("INSERT INTO d VALUES (?, ?, ?, ?, ?, ?)", rows)
        bare.close()
        yield Result(
            "send_plan_1m", "1,000,000 mails", ours, "bare INSERT, one transaction", time.perf_counter() - start, {}
        )


def memory() -> Iterator[Result]:
    """The most memory that a sender takes, for ten thousand mails and for ten times as many.

    Each batch is prepared, approved and put on the disk by one process, and sent by another, as `toolkit sender` does.
    """
    took: dict[int, tuple[float, float, float, float]] = {}
    for count in (FEW, 10 * FEW):
        with _folder() as folder, _sink() as port:
            held, prepared = _child(f"_submitted({count}, {str(folder)!r})", folder)
            seconds, peak = _child(f"_sent({count}, {str(folder)!r}, {port})", folder)
            took[count] = (seconds, peak, held, prepared)
    few, many = took[FEW], took[10 * FEW]
    more = {
        "sender_mb": round(many[1]),
        "sender_mb_of_a_tenth": round(few[1]),
        "growth": float(f"{many[1] / few[1]:.4g}"),
        "batch_bytes_a_mail": round((many[2] - few[2]) * 2**20 / (9 * FEW)),
        "prepare_mb": round(many[3]),
        "prepare_mb_of_a_tenth": round(few[3]),
    }
    about = "The peak of the whole sending process; prepare also holds the log and the table of its decisions."
    yield Result(
        "send_memory", f"{10 * FEW:,} mails", many[0], more=more, bounds=(Bound("growth", at_most=1.1),), about=about
    )


def preparing() -> Iterator[Result]:
    """A batch decided, rendered, checked and hashed, beside the same mails made one by one and kept in a database."""
    took = {}
    for count in (FEW, 10 * FEW):
        with _folder() as folder:
            took[count] = _child(f"_prepared({count}, {str(folder)!r})", folder)
    (_, few, _, _), (seconds, many, peak, peer) = took[FEW], took[10 * FEW]
    more = {
        "mails_per_s": round(10 * FEW / seconds),
        "cpu_us_a_mail": round(many / (10 * FEW) * 1e6),
        "cpu_growth": float(f"{many / few / 10:.4g}"),
        "peak_mb": round(peak),
    }
    about = "Of the growth: processor time a mail, all processes, beside that of a batch a tenth as large."
    said = f"jinja2 + EmailMessage + INSERT, {NAIVE:,} mails scaled"
    bounds = (Bound("cpu_growth", at_most=1.3),)
    yield Result("prepare_vs_stdlib", f"{10 * FEW:,} mails", seconds, said, peer, more, bounds, about)


FEW = 10_000


def _prepared(count: int, folder: str) -> tuple[float, float, float, float]:
    """Seconds, seconds of all processors, the peak of this process in MB, and the seconds that the peer would take."""
    program, log, now = _shop(Path(folder), count)
    options: dict[str, Any] = {"templates": Path(folder) / "templates", "progress": False}
    options["ledger"] = f"{folder}/none.sqlite"
    prepare(program, _log(10, now), now=now, **options)  # what is loaded and compiled once
    start, before = time.perf_counter(), _processors()
    batch = prepare(program, log, now=now, **options)
    took, worked = time.perf_counter() - start, _processors() - before
    peak = peak_memory() / 2**20
    peer, letters = Peer(batch.templates, "welcome/hello"), [mail.letter for mail in batch.mails[:NAIVE]]
    start = time.perf_counter()
    with sqlite3.connect(f"{folder}/mails.sqlite") as mails:
        mails.execute("CREATE TABLE mail (id TEXT PRIMARY KEY, address TEXT, message BLOB)")
        for letter in letters:
            mails.execute("INSERT INTO mail VALUES (?, ?, ?)", (letter.decision_id, letter.to, peer.build(letter)))
    mails.close()
    return took, worked, peak, (time.perf_counter() - start) * count / len(letters)


def _processors() -> float:
    every = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in every)


def _child(call: str, folder: Path) -> list[float]:
    code = f"from benchmarks.sending import _prepared, _sent, _submitted; print(*{call})"
    home = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config")}
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, env=home)
    return [float(word) for word in done.stdout.splitlines()[-1].split()]


def _submitted(count: int, folder: str) -> tuple[float, float]:
    """What a prepared batch holds beyond what was there before it, and the peak until it was on the disk, in MB."""
    program, log, now = _shop(Path(folder), count)
    options: dict[str, Any] = {"templates": Path(folder) / "templates", "progress": False}
    options["ledger"] = f"{folder}/none.sqlite"
    warm = prepare(program, _log(10, now), now=now, **options)  # what is loaded and compiled once is not the batch's
    before = _now_mb()
    batch = prepare(program, log, now=now, **options)
    gc.collect()
    held = _now_mb() - before
    submit(batch, approve(batch, by="bench"), Path(folder) / "spool")
    del warm
    return held, peak_memory() / 2**20


def _sent(count: int, folder: str, port: int) -> tuple[float, float]:
    """Seconds, and the peak of this process in MB."""
    (bundle,) = (Path(folder) / "spool").iterdir()
    start = time.perf_counter()
    report = take_one(
        bundle,
        transport=f"smtp:127.0.0.1:{port}?connections={CONNECTIONS}",
        ledger=f"{folder}/sender.sqlite",
        policy=ApprovalPolicy(),
    )
    if report.sent != count:
        raise RuntimeError(f"expected {count} mails sent: {report}")
    return time.perf_counter() - start, peak_memory() / 2**20


def _now_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _batch(folder: Path, count: int) -> Batch:
    program, log, now = _shop(folder, count)
    ledger = folder / "prepared.sqlite"
    return prepare(program, log, now=now, templates=folder / "templates", ledger=ledger, progress=False)


def _shop(folder: Path, count: int) -> tuple[Program, EventLog, datetime]:
    now = datetime.now(UTC)
    (folder / "templates" / "welcome").mkdir(parents=True)
    (folder / "templates" / "welcome" / "hello.txt").write_text(TEXT)
    (folder / "templates" / "welcome" / "hello.mjml").write_text(HTML)
    program = Program(scenarios=loads(SCENARIO).scenarios, policies=Policies.model_validate(POLICIES))
    return program, _log(count, now), now


def _log(count: int, now: datetime) -> EventLog:
    names = [f"c{number}" for number in range(count)]
    people = pd.DataFrame(
        {"customer_id": names, "email": [f"{n}@example.org" for n in names], "first_name": names, "consent": True}
    )
    events = pd.DataFrame({"customer_id": names, "event": "sign_up", "at": pd.Timestamp(now - timedelta(hours=4))})
    return EventLog.from_pandas(events, customers=people)


def _smtp_source(port: int, size: int) -> float:
    command = [_program("smtp-source"), "-m", str(MAILS), "-s", str(CONNECTIONS), "-l", str(size), f"127.0.0.1:{port}"]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - start


def _naive(batch: Batch, port: int, path: Path) -> float:
    """One connection, one EmailMessage, one UPDATE and one commit a mail, as it is often written."""
    ledger = sqlite3.connect(path)
    ledger.execute("PRAGMA journal_mode=WAL")
    ledger.execute("PRAGMA synchronous=FULL")
    ledger.execute("CREATE TABLE mail (id INTEGER PRIMARY KEY, address TEXT, status TEXT)")
    mails = batch.mails[:NAIVE]
    ledger.executemany("INSERT INTO mail VALUES (?, ?, 'new')", [(n, m.letter.to) for n, m in enumerate(mails)])
    ledger.commit()
    shown = batch.preview(0)
    start = time.perf_counter()
    with smtplib.SMTP("127.0.0.1", port) as server:
        for number, mail in enumerate(mails):
            message = EmailMessage()
            message["From"], message["To"], message["Subject"] = shown.sender, mail.letter.to, mail.subject
            message.set_content(shown.text)
            message.add_alternative(shown.html, subtype="html")
            server.send_message(message)
            ledger.execute("UPDATE mail SET status = 'sent' WHERE id = ?", (number,))
            ledger.commit()
    seconds = time.perf_counter() - start
    ledger.close()
    return seconds


def _entry(number: int) -> Entry:
    # Names are hashes, in no order, as those of decisions are: it is what makes an index of them dear.
    name = hashlib.sha256(f"{number}".encode()).hexdigest()
    return Entry(name[:32], f"c{number}", f"c{number}@example.org", "marketing", f"{name[32:]}@example.com", name)


def _run(count: int) -> RunRecord:
    now = micros(datetime.now(UTC))
    signed = Signed("approval", "bench", "{}", now, now + 86_400_000_000)
    return RunRecord("run", "0" * 64, "0" * 64, "smtp:here", count, now, (signed,))


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder on a real disk, where a commit costs what it costs, and with keys of its own."""
    folder = Path(tempfile.mkdtemp(prefix="toolkit-bench-", dir="/var/tmp"))
    os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _sink() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    sink = subprocess.Popen([_program("smtp-sink"), *user, f"127.0.0.1:{port}", "1000"], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        sink.kill()
        sink.wait()


def _program(name: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        raise RuntimeError(f"{name} is not installed (Debian package postfix)")
    return found
