"""A clock that is set by hand, a ledger in a file, a shop with mails to send, and a mail server on loopback."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import os
import ssl
import subprocess
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.sending.mailings import Mailing
from tests.sending.shops import NOON, Shop, log_of, people_of, program_of, write_templates
from toolkit.sending.clock import micros
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.planning import Entry, RunRecord, Signed

START = datetime(2026, 3, 2, 12, tzinfo=UTC)


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now=START):
        self.now = now

    def __call__(self):
        return self.now

    def forward(self, **amount):
        self.now += timedelta(**amount)


def _entries(count, *, first=0, class_="marketing"):
    return [
        Entry(
            decision_id=f"d{number:05d}",
            customer_id=f"c{number}",
            address=f"c{number}@example.org",
            class_=class_,
            message_id=f"m{number:05d}@example.com",
            payload_sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        )
        for number in range(first, first + count)
    ]


def _run_record(name="run", *, mails=0, now=START, transport="outbox:/here", hours=72, **options):
    return RunRecord(
        id=name,
        digest="0" * 64,
        program="1" * 64,
        transport=transport,
        mails=mails,
        as_of=micros(now),
        approvals=(
            Signed(
                id=f"approval of {name}",
                by="ana",
                document="{}",
                signed_at=micros(now),
                expires_at=micros(now + timedelta(hours=hours)),
            ),
        ),
        **options,
    )


@pytest.fixture(scope="session")
def make_log():
    return log_of


@pytest.fixture(scope="session")
def make_people():
    return people_of


@pytest.fixture(scope="session")
def make_program():
    return program_of


@pytest.fixture(scope="session")
def make_shop():
    """Builds a shop in a folder; its batches can be prepared once and sent in many tests."""

    def make(folder, log=None):
        write_templates(folder / "templates")
        return Shop(folder, program_of(), log_of() if log is None else log)

    return make


@pytest.fixture(scope="session")
def signing_key_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "approval.pem"
    path.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    write_templates(tmp_path / "templates")
    return Shop(tmp_path, program_of(), log_of())


@pytest.fixture
def mailing(shop, smtp_server, noon, tmp_path):
    return Mailing(shop, smtp_server(), noon, tmp_path / "srv")


_databases = itertools.count()


@pytest.fixture
def database(postgres_server):
    psycopg = pytest.importorskip("psycopg")
    names = [f"restored{next(_databases)}" for _ in range(2)]
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {names[0]}")

    def again():
        """The database as it was when this was called first, under the same name."""
        with psycopg.connect(postgres_server.url, autocommit=True) as connection:
            there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [names[1]]).fetchone()
            if there is None:
                connection.execute(f"CREATE DATABASE {names[1]} TEMPLATE {names[0]}")
                return
            connection.execute(f"DROP DATABASE {names[0]}")
            connection.execute(f"CREATE DATABASE {names[0]} TEMPLATE {names[1]}")

    return f"{postgres_server.server_url}/{names[0]}", again


class SmtpServer:
    """A mail server on loopback that keeps what it takes, and misbehaves on demand.

    `fault(verb, number, recipient)` is asked before each answer (verbs CONNECT, EHLO, AUTH, MAIL, RCPT, DATA and `.`,
    numbered from 1) and gives back None, an answer such as `451 later`, or one of drop, stall, garbage and, for the
    dot, take_and_drop. For BODY it is asked after the first bytes of a mail: drop or stall. A confused server goes on
    although it refused the sender.
    """

    def __init__(
        self, *, fault=None, context=None, implicit=False, extensions=(), users=None, slow=0.0, confused=False
    ):
        self.fault = fault or (lambda verb, number, recipient: None)
        self.context = context
        self.implicit = implicit
        self.extensions = list(extensions)
        self.users = users
        self.slow = slow
        self.confused = confused
        self.taken = []
        self.lines = []
        self.connections = 0
        self.counts = Counter()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        self.server = asyncio.run_coroutine_threadsafe(self._listen(), self.loop).result()
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *reason):
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def _listen(self):
        self.tasks = set()
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context if self.implicit else None)

    async def _close(self):
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self.connections += 1
        self.tasks.add(asyncio.current_task())
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()

    async def _talk(self, reader, writer):
        sender = recipient = None
        if not await self._say(writer, "CONNECT", "220 here"):
            return
        while line := await reader.readline():
            self.lines.append(line)
            text = line.decode().strip()
            verb = text.split(" ")[0].upper()
            if verb == "EHLO":
                offered = [*self.extensions, *(["STARTTLS"] if self.context and not self.implicit else [])]
                offered += ["AUTH PLAIN LOGIN"] if self.users else []
                lines = ["here", *offered]
                answer = "\r\n".join(f"250{' ' if n == len(lines) - 1 else '-'}{w}" for n, w in enumerate(lines))
                if not await self._say(writer, "EHLO", answer):
                    return
            elif verb == "STARTTLS":
                if not await self._say(writer, "STARTTLS", "220 go"):
                    return
                await writer.start_tls(self.context)
            elif verb == "AUTH":
                given = base64.b64decode(text.split(" ")[2]).decode().split("\0")[1:]
                answer = "235 ok" if tuple(given) == self.users else "535 wrong"
                if not await self._say(writer, "AUTH", answer):
                    return
            elif verb == "MAIL":
                sender, recipient = text[text.find("<") + 1 : text.find(">")], None
                answer = await self._say(writer, "MAIL", "250 ok")
                if not answer:
                    return
                sender = sender if answer.startswith("250") or self.confused else None
            elif verb == "RCPT":
                asked = text[text.find("<") + 1 : text.find(">")]
                answer = await self._say(writer, "RCPT", "250 ok" if sender else "503 first MAIL", asked)
                if not answer:
                    return
                recipient = asked if answer.startswith("250") else None
            elif verb == "DATA":
                answer = "354 go on" if recipient else "554 no valid recipients"
                answer = await self._say(writer, "DATA", answer, recipient)
                if not answer:
                    return
                if answer.startswith("354"):
                    self.counts["BODY"] += 1
                    cut = self.fault("BODY", self.counts["BODY"], recipient)
                    if cut:  # the mail comes in part only
                        await reader.read(64)
                        await asyncio.sleep(60 if cut == "stall" else 0)
                        return
                    body = b""
                    while (line := await reader.readline()) != b".\r\n":
                        if not line:
                            return
                        body += line[1:] if line.startswith(b".") else line
                    if self.slow:
                        await asyncio.sleep(self.slow)
                    if not await self._say(writer, ".", "250 taken", recipient, (sender, recipient, body)):
                        return
            elif verb == "QUIT":
                await self._say(writer, "QUIT", "221 bye")
                return
            elif not await self._say(writer, verb, "250 ok"):
                return

    async def _say(self, writer, verb, answer, recipient=None, mail=None):
        self.counts[verb] += 1
        fault = self.fault(verb, self.counts[verb], recipient)
        if mail is not None and (fault == "take_and_drop" or (fault is None and answer.startswith("250"))):
            self.taken.append(mail)
        if fault in ("drop", "take_and_drop"):
            return None
        if fault == "stall":
            await asyncio.sleep(60)
        if fault == "garbage":
            answer = "HTTP/1.1 400 Bad Request"
        elif fault:
            answer = fault
        writer.write(f"{answer}\r\n".encode())
        await writer.drain()
        return None if answer.startswith("421") else answer


@pytest.fixture
def smtp_server():
    """Starts mail servers on loopback; they end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(SmtpServer(**options))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte, and how to make it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Makes a certificate for localhost: its file, and a server's context with it."""

    def make(*, days=1, name="localhost"):
        folder = tmp_path_factory.mktemp("certificate")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=3))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        path = folder / "server.pem"
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
        )
        public = folder / "public.pem"
        public.write_bytes(made.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return public, context

    return make


@pytest.fixture(scope="session")
def noon():
    return NOON


@pytest.fixture
def entries():
    return _entries


@pytest.fixture
def run_record():
    return _run_record


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def ledger(tmp_path, clock):
    with Ledger.open(tmp_path / "ledger.sqlite", clock=clock) as opened:
        yield opened
