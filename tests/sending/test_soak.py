"""What happens when something breaks, many times over: nothing twice, nothing silently lost.

The last test writes the table of docs/sending.md; `python -m pytest -m soak tests/sending/test_soak.py -s` shows it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.sending.nursery import Nursery
from tests.sending.shops import NOON, POLICIES, batches_of, people_of, write_templates
from tests.shared import ROOT
from toolkit.errors import ToolkitError
from toolkit.scenario import load
from toolkit.sending import Ledger, approve, approve_standing, send, start_sending

pytestmark = pytest.mark.soak

COUNT = 300
CONNECTIONS = 4
KILLS = int(os.environ.get("TOOLKIT_SOAK_KILLS", "200"))
BEGAN = time.time()
TABLE: dict[str, dict[str, int]] = {}


@pytest.fixture(scope="module")
def now():
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def batch(folder, make_shop, make_log):
    return make_shop(folder, make_log(COUNT)).prepare()


@pytest.fixture(scope="module")
def approved(batch, noon, signing_key_file):
    return approve(batch, by="ana", key=signing_key_file, clock=lambda: noon)


@pytest.fixture(scope="module")
def nursery(folder):
    """Its children send the same batch, prepared once more from the same folder."""
    with Nursery(batches_of, folder, COUNT, NOON) as opened:
        yield opened


def _send(batch, approved, began, port, ledger, *, clock=None, timeout=1.0):
    # One clock for all senders of these tests, or one would not see the other's lease end.
    clock = clock or (lambda: NOON + timedelta(seconds=1 + time.time() - began))
    way = f"smtp:127.0.0.1:{port}?connections={CONNECTIONS}&timeout={timeout}"
    return send(batch, approved, transport=way, confirm=COUNT, ledger=ledger, progress=False, clock=clock)


def _send_quietly(batches, *arguments):
    with contextlib.suppress(ToolkitError, KeyboardInterrupt):
        _send(batches[0], *arguments[:-1], timeout=arguments[-1])


@pytest.fixture
def sending(batch, approved):
    """Sends the batch through a server, with a ledger, by a clock so many seconds after noon of its day."""
    return partial(_send, batch, approved, BEGAN)


@pytest.fixture
def child_sending(nursery, approved):
    """The same in a process of its own."""
    return lambda port, ledger, timeout=1.0: nursery.start(_send_quietly, approved, BEGAN, port, ledger, timeout)


def _everyone(batch):
    return {mail.letter.to for mail in batch.mails}


def _held(everyone, server, ledger, fault, times, *, most_unknown, least_taken=1.0):
    """Everyone is in exactly one of: taken once, certainly not taken, in doubt and listed; and a row for the table.

    A sender that sends nothing loses nothing: so of those not in doubt the server took `least_taken`, all unless given.
    """
    taken = Counter(recipient for _, recipient, _ in server.taken)
    with Ledger.open(ledger) as opened:
        rows = opened.deliveries()
        assert opened.verify() == ()
    by_state = rows.groupby("state").address.agg(set).to_dict()
    unknown, accepted = by_state.get("unknown", set()), by_state.get("accepted", set())
    listed = set().union(*by_state.values()) if by_state else set()
    twice = [address for address, count in taken.items() if count > 1]
    lost = everyone - set(taken) - (listed - accepted)  # not taken, and the ledger says it was, or nothing
    wrong = set(taken) - accepted - unknown  # taken, and the ledger does not even doubt it
    row = {
        "times": times,
        "mails": len(rows),
        "twice": len(twice),
        "lost": len(lost | wrong),
        "unknown": len(unknown),
    }
    before = TABLE.setdefault(fault, dict.fromkeys(row, 0))
    TABLE[fault] = {name: before[name] + count for name, count in row.items()}
    assert (twice, lost, wrong) == ([], set(), set())
    assert len(unknown) <= most_unknown
    assert len(accepted) >= least_taken * len(everyone - unknown), {
        state: len(some) for state, some in by_state.items()
    }
    return by_state


def test_two_hundred_kills_at_random_moments(batch, sending, child_sending, smtp_server, tmp_path):
    chance, kills, number, midway = random.Random(7), 0, 0, 0
    while kills < KILLS:
        number += 1
        server, ledger = smtp_server(extensions=["PIPELINING"], slow=0.02), tmp_path / f"ledger{number}.sqlite"
        mine = 0
        while len(server.taken) < COUNT - 30 and kills < KILLS:
            child = child_sending(server.port, ledger)
            came = len(server.taken)
            # Most are killed while mails leave, however long this machine takes to begin; the others at any moment.
            is_patient = chance.random() < 0.9
            while is_patient and len(server.taken) == came and child.is_alive():
                time.sleep(0.001)
            end = time.monotonic() + chance.uniform(0.0, 0.2)
            while time.monotonic() < end:
                time.sleep(0.001)
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            mine, kills = mine + 1, kills + 1
            midway += child.exitcode == -signal.SIGKILL and len(server.taken) > came
        time.sleep(0.1)  # what the server has read, it takes
        sending(server.port, ledger)
        _held(_everyone(batch), server, ledger, "kill -9 of the sender", mine, most_unknown=mine * CONNECTIONS)
    assert midway > KILLS // 2


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "BODY", "."])
@pytest.mark.parametrize("fault", ["451 4.3.0 later", "554 5.3.0 never", "drop", "stall", "garbage", "take_and_drop"])
def test_faults_at_every_verb(batch, sending, smtp_server, tmp_path, verb, fault):
    if fault == "take_and_drop" and verb != ".":
        pytest.skip("only a dot takes a mail")
    if verb == "BODY" and fault not in ("drop", "stall"):
        pytest.skip("nothing is answered in the middle of a body")
    server = smtp_server(
        extensions=["PIPELINING"],
        fault=lambda said, count, recipient: fault if said == verb and count % 25 == 3 else None,
    )
    ledger = tmp_path / "ledger.sqlite"
    for _ in range(3):
        with contextlib.suppress(ToolkitError):
            sending(server.port, ledger, timeout=0.4)
    word = {"drop": "hangs up", "stall": "is silent", "garbage": "lies", "take_and_drop": "takes and hangs up"}
    word = {"drop": "hangs up in a mail", "stall": "falls silent in a mail"} if verb == "BODY" else word
    name = f"server {word.get(fault, 'says ' + fault[:3])}"
    most = COUNT // 10 + 3 * CONNECTIONS
    least = 0.1 if (verb, fault[:3]) == ("MAIL", "554") else 0.9  # a server that refuses the sender is not asked on
    _held(_everyone(batch), server, ledger, name, 1, most_unknown=most, least_taken=least)


def test_two_senders_at_once(batch, child_sending, smtp_server, tmp_path):
    server, ledger = smtp_server(extensions=["PIPELINING"]), tmp_path / "ledger.sqlite"
    children = [child_sending(server.port, ledger) for _ in range(2)]
    for child in children:
        child.join()
    assert len(server.taken) == COUNT
    _held(_everyone(batch), server, ledger, "two senders at once", 1, most_unknown=0)


def test_a_sender_stopped_past_its_lease(batch, sending, child_sending, smtp_server, tmp_path):
    server, ledger = smtp_server(extensions=["PIPELINING"], slow=0.02), tmp_path / "ledger.sqlite"
    first = child_sending(server.port, ledger)
    while len(server.taken) < 40:
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGSTOP)
    time.sleep(32)  # the lease is thirty seconds
    second = child_sending(server.port, ledger)
    time.sleep(1)
    os.kill(first.pid, signal.SIGCONT)
    first.join()
    second.join()
    sending(server.port, ledger)
    _held(_everyone(batch), server, ledger, "SIGSTOP past the lease", 1, most_unknown=CONNECTIONS)


@pytest.mark.parametrize("jump", [-3600, 20, 3600], ids=["back an hour", "on 20 s", "on an hour"])
def test_a_clock_that_jumps(batch, sending, smtp_server, tmp_path, noon, jump):
    server, ledger = smtp_server(extensions=["PIPELINING"], slow=0.005), tmp_path / "ledger.sqlite"

    def clock():
        return noon + timedelta(minutes=5, seconds=jump if len(server.taken) > 60 else 0)

    with contextlib.suppress(ToolkitError):
        sending(server.port, ledger, clock=clock)
    with contextlib.suppress(ToolkitError):
        sending(server.port, ledger, clock=clock)
    _held(_everyone(batch), server, ledger, "the clock jumps", 1, most_unknown=2 * CONNECTIONS)


@pytest.mark.parametrize("room", [0, 150, 300, 450, 600])
def test_a_disk_that_is_full_of_the_ledger(batch, sending, smtp_server, small_disk, room):
    """The first sender finds so many kilobytes less than a megabyte; the second a larger disk."""
    server, ledger = smtp_server(extensions=["PIPELINING"]), small_disk / "ledger.sqlite"
    (small_disk / "filler").write_bytes(b"x" * room * 1024)
    with contextlib.suppress(ToolkitError):
        sending(server.port, ledger)
    came = len(server.taken)
    subprocess.run(["mount", "-o", "remount,size=32m", str(small_disk)], check=True)
    sending(server.port, ledger)
    assert came < COUNT
    _held(_everyone(batch), server, ledger, "the ledger's disk is full", 1, most_unknown=CONNECTIONS)


def test_a_database_that_restarts_midway(batch, sending, child_sending, smtp_server, postgres_server):
    with postgres_server.psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE soak")
    server, ledger = smtp_server(extensions=["PIPELINING"], slow=0.02), f"{postgres_server.server_url}/soak"
    for how in (signal.SIGINT, signal.SIGQUIT):  # an orderly end, and one as when the power goes
        came = len(server.taken)
        child = child_sending(server.port, ledger)
        while len(server.taken) < came + 40:
            time.sleep(0.01)
        postgres_server.stop(how)
        child.join(60)
        postgres_server.start()
    sending(server.port, ledger)
    _held(_everyone(batch), server, ledger, "the database restarts", 2, most_unknown=4 * CONNECTIONS)


def test_three_senders_on_postgresql_that_are_killed_while_the_server_fails(
    batch, sending, child_sending, smtp_server, postgres_server
):
    """Whoever joins needs nothing but the ledger's address: each killed sender is followed by another."""
    with postgres_server.psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE three")
    chance, kills, joined = random.Random(11), 0, 3
    faults = {"MAIL": "451 4.3.0 later", "RCPT": "drop", "BODY": "drop", ".": "take_and_drop"}
    server = smtp_server(
        extensions=["PIPELINING"],
        slow=0.1,
        fault=lambda verb, count, recipient: faults.get(verb) if verb in faults and count % 60 == 17 else None,
    )
    ledger = f"{postgres_server.server_url}/three"
    children = [child_sending(server.port, ledger, timeout=0.5) for _ in range(3)]
    most = 0
    end = time.monotonic() + 240
    while len(server.taken) < COUNT - 20 and kills < 30 and time.monotonic() < end:
        time.sleep(chance.uniform(0.1, 0.7))
        alive = [child for child in children if child.is_alive()]
        most = max(most, len(alive))
        if len(alive) == 3:
            chosen = chance.choice(alive)
            os.kill(chosen.pid, signal.SIGKILL)
            chosen.join()
            kills += 1
        for _ in range(3 - sum(child.is_alive() for child in children)):
            children.append(child_sending(server.port, ledger, timeout=0.5))
            joined += 1
    for child in children:
        child.join(60)
    with contextlib.suppress(ToolkitError):
        sending(server.port, ledger, timeout=0.5)
    faults.clear()  # what it put off goes when it is well again, and its time has come
    sending(server.port, ledger, clock=lambda: NOON + timedelta(hours=2, seconds=time.time() - BEGAN))
    assert (most, kills >= 5, joined > kills) == (3, True, True)
    most_unknown = kills * CONNECTIONS + COUNT // 10
    _held(
        _everyone(batch),
        server,
        ledger,
        "three senders on PostgreSQL, killed, bad server",
        kills,
        most_unknown=most_unknown,
    )


def test_three_loops_on_postgresql_that_are_killed_while_the_log_grows(
    tmp_path, smtp_server, postgres_server, monkeypatch
):
    """`toolkit run` in processes of its own; each killed one is followed by another that knows the ledger's address."""
    with postgres_server.psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE running")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    write_templates(tmp_path / "mails")
    Path("mails/welcome/scenario.yaml").write_text(
        "scenario: welcome\ntrigger: {event: sign_up}\nreentry: once\nsteps: [{id: hello, send: welcome/hello}]\n"
    )
    Path("mails/policies.yaml").write_text(json.dumps(POLICIES))
    approve_standing(load("mails"), "mails", by="ana", mails_a_day=1_000).save("standing.json")
    people_of(COUNT).to_csv("people.csv", index=False)
    signed: list[str] = []

    def sign_up(count):
        at = datetime.now(UTC).isoformat()
        signed.extend(f"c{number},sign_up,{at},0.0\n" for number in range(len(signed), min(COUNT, len(signed) + count)))
        Path("new.csv").write_text("customer_id,event,at,revenue\n" + "".join(signed))
        Path("new.csv").rename("events.csv")  # a loop reads all of it or what it was

    server = smtp_server(extensions=["PIPELINING"], slow=0.02)
    ledger = f"{postgres_server.server_url}/running"
    command = [
        sys.executable,
        "-c",
        "from toolkit.cli import app; app()",
        "run",
        "mails",
        "--events",
        "events.csv",
        "--customers",
        "people.csv",
    ]
    command += ["--approval", "standing.json", "--ledger", ledger, "--every", "1s"]
    command += ["--transport", f"smtp:127.0.0.1:{server.port}?connections={CONNECTIONS}&timeout=1"]
    chance, kills = random.Random(5), 0

    def start():
        with open(f"loop{len(list(Path().glob('loop*')))}.log", "wb") as file:
            return subprocess.Popen(command, stdout=file, stderr=file)

    sign_up(20)
    loops, last = [start() for _ in range(3)], time.monotonic()
    end = time.monotonic() + 400
    while (kills < 6 or len(server.taken) < COUNT - 10) and time.monotonic() < end:
        time.sleep(chance.uniform(0.5, 1.5))
        sign_up(4)
        if kills < 6 and time.monotonic() - last > 14:  # long enough for those that joined to be given a part
            chosen = chance.randrange(3)
            loops[chosen].kill()
            loops[chosen].wait()
            kills, loops[chosen], last = kills + 1, start(), time.monotonic()
    for _ in range(2):
        time.sleep(8)
        sign_up(COUNT)
    for one in loops:
        one.terminate()
    assert {one.wait(60) for one in loops} <= {0, -signal.SIGTERM}  # one that has just begun does not listen yet
    said = "".join(path.read_text() for path in Path().glob("loop*"))
    held = {int(count) for count in re.findall(r"(\d+) of 24 shares of the customers", said)}
    assert held & {8, 12}, said  # thirds, or halves where a third loop has just been killed
    subprocess.run([*command, "--rounds", "1"], check=True)
    assert kills == 6
    everyone = {f"c{number}@example.org" for number in range(COUNT)}
    _held(everyone, server, ledger, "three loops on PostgreSQL, killed", kills, most_unknown=kills * CONNECTIONS)


def test_a_hundred_thousand_mails_into_the_sink_of_postfix_with_a_stop_and_a_resume(
    tmp_path, make_shop, make_log, monkeypatch, signing_key_file, noon
):
    """`TOOLKIT_SOAK_MAILS` scales it down."""
    count = int(os.environ.get("TOOLKIT_SOAK_MAILS", "100000"))
    program = shutil.which("smtp-sink", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        pytest.skip("smtp-sink (Debian package postfix) is not installed")
    batch = make_shop(tmp_path, make_log(count)).prepare()
    approval = approve(batch, by="ana", key=signing_key_file, clock=lambda: noon)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    sink = subprocess.Popen([program, *user, "-D", str(folder / "mails"), f"127.0.0.1:{port}", "1000"])
    try:
        time.sleep(0.5)
        ledger = tmp_path / "big.sqlite"
        options = {
            "transport": f"smtp:127.0.0.1:{port}?connections=20",
            "confirm": count,
            "ledger": ledger,
            "clock": lambda: noon + timedelta(minutes=5),
        }
        job = start_sending(batch, approval, **options)
        reached = threading.Event()
        job.observe(lambda look: reached.set() if look.sent > count // 3 else None)
        reached.wait(600)
        job.stop()
        first = job.wait(600)
        assert 0 < first.sent < count
        second = start_sending(batch, approval, **options).wait(1200)
        assert (first.sent + second.sent, second.already_sent) == (count, first.sent)
        with Ledger.open(ledger) as opened:
            assert opened.status().iloc[0].says == "done"
            assert opened.verify() == ()
        kept = Counter()
        for path in folder.iterdir():
            with open(path, "rb") as file:
                kept.update(line for line in file if line.startswith(b"X-Rcpt-Args: "))
        assert len(kept) == count
        assert set(kept.values()) == {1}
        TABLE["stop and resume, Postfix's sink"] = {"times": 1, "mails": count, "twice": 0, "lost": 0, "unknown": 0}
    finally:
        sink.kill()
        sink.wait()
        shutil.rmtree(folder)


def test_the_table_of_it_all():
    """Not a test of its own: what the others found, as docs/sending.md shows it."""
    print(
        "\n\n| what broke | times | mails | sent twice | silently lost | unknown, listed |\n|---|---|---|---|---|---|"
    )
    for name, row in TABLE.items():
        print(f"| {name} | {row['times']:,} | {row['mails']:,} | {row['twice']} | {row['lost']} | {row['unknown']} |")
    assert sum(row["twice"] + row["lost"] for row in TABLE.values()) == 0
