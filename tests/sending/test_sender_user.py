"""`toolkit sender` as another user, who alone holds the password, the ledger and the list of approvers."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from toolkit.errors import TransportError
from toolkit.events import EventLog
from toolkit.sending import Ledger, approve, send, submit
from toolkit.sending.keys import new_key, public_line, signing_key

SENDER, NOTEBOOK = 65534, 65533  # neither is root
ROOT = Path(__file__).parents[2]
PEOPLE = 5
PATHS = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a process as another user")


@functools.cache
def python():
    """A Python of this version that another user can start, and that finds the toolkit."""
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for program in (
        sys.executable,
        str(Path(sys.executable).resolve()),
        f"/usr/bin/{minor}",
        f"/usr/local/bin/{minor}",
    ):
        try:
            as_user(SENDER, [program, "-c", "import toolkit, numpy, sqlalchemy"], check=True, home="/nonexistent")
        except (OSError, subprocess.CalledProcessError):
            continue
        return program
    pytest.skip("no Python here that another user may start")


def as_user(user, command, *, home, check=False, **environment):
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(PATHS), "HOME": str(home), **environment}
    return subprocess.run(
        command,
        user=user,
        group=user,
        extra_groups=[],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=check,
    )


@pytest.fixture
def place():
    """A folder that every user can reach: in it the sender's own, and one for batches that belongs to the sender."""
    base = Path(tempfile.mkdtemp(prefix="toolkit-sender-"))
    base.chmod(0o711)
    for name, mode in (("own", 0o700), ("spool", 0o1777)):
        (base / name).mkdir()
        (base / name).chmod(mode)
        os.chown(base / name, SENDER, SENDER)
    yield base
    shutil.rmtree(base)


@pytest.fixture
def batch(tmp_path, monkeypatch, make_shop, make_people):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    now = datetime.now(UTC)
    signed = {"customer_id": [f"c{number}" for number in range(PEOPLE)], "event": "sign_up"}
    events = pd.DataFrame({**signed, "at": pd.Timestamp(now) - pd.Timedelta("4h"), "revenue": float("nan")})
    shop = make_shop(tmp_path, EventLog.from_pandas(events, customers=make_people(PEOPLE)))
    return shop.prepare(now=now, ledger=tmp_path / "ledger.sqlite")


@pytest.fixture
def ana(tmp_path):
    return new_key(tmp_path / "ana.pem")


@pytest.fixture
def server(smtp_server, certificate, place):
    """A mail server that lets in only who knows the password; its certificate is trusted by the sender."""
    public, context = certificate()
    shutil.copy(public, place / "server.pem")
    (place / "server.pem").chmod(0o644)
    return smtp_server(extensions=["PIPELINING"], context=context, users=("shop", "s3cret-of-the-sender"))


@pytest.fixture
def sender(place, server, ana):
    """Runs `toolkit sender` once, as its own user, with the password in its environment alone."""
    approvers = place / "own" / "approvers.yaml"
    approvers.write_text(f"approvers:\n  ana: {public_line(signing_key(ana)[0])}\n")
    os.chown(approvers, SENDER, SENDER)
    approvers.chmod(0o600)

    def run():
        command = [python(), "-c", "from toolkit.cli import main; main()", "sender", str(place / "spool"), "--once"]
        command += ["--transport", f"smtp:localhost:{server.port}?security=starttls&timeout=20"]
        command += ["--ledger", str(place / "own" / "ledger.sqlite"), "--approvers", str(approvers)]
        secrets = {"TOOLKIT_SMTP_USER": "shop", "TOOLKIT_SMTP_PASSWORD": "s3cret-of-the-sender"}
        trust = {"SSL_CERT_FILE": str(place / "server.pem")}
        return as_user(SENDER, command, home=place / "own", **secrets, **trust)

    return run


def test_the_notebook_cannot_send_what_the_other_user_sends_for_it(
    batch, ana, place, server, sender, monkeypatch, tmp_path
):
    approval = approve(batch, by="ana", key=ana)
    monkeypatch.setenv("SSL_CERT_FILE", str(place / "server.pem"))
    way = f"smtp:localhost:{server.port}?security=starttls&timeout=5"
    server.fault = lambda verb, number, recipient: "530 5.7.0 who are you" if verb == "MAIL" and not logged_in else None
    logged_in = False
    with pytest.raises(TransportError, match="who are you"):
        send(batch, approval, transport=way, confirm=PEOPLE, ledger=tmp_path / "mine.sqlite", progress=False)
    assert server.taken == []

    logged_in = True
    folder = submit(batch, approval, place / "spool")
    done = sender()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{folder.name}: sent 5, already sent 0, skipped 0, unknown 0, failed 0\n"
    assert sorted(recipient for _, recipient, _ in server.taken) == [f"c{n}@example.org" for n in range(PEOPLE)]
    assert sender().stdout == ""  # the batch belongs to the notebook's user and stays, and is known as over
    assert len(server.taken) == PEOPLE
    said = json.loads((place / "spool" / "done" / folder.name / "outcome.json").read_text())
    with Ledger.open(place / "own" / "ledger.sqlite") as ledger:
        assert said["audit"] == ledger.audit_head()
        assert ledger.verify() == ()
    assert b"s3cret" not in (place / "own" / "ledger.sqlite").read_bytes()
    for secret in ("ledger.sqlite", "approvers.yaml"):
        read = as_user(NOTEBOOK, ["cat", str(place / "own" / secret)], home="/")
        assert (read.returncode, "Permission denied" in read.stderr) == (1, True)


def test_what_nobody_on_the_senders_list_signed_is_refused_whatever_key_the_notebook_has(
    batch, place, server, sender, tmp_path
):
    folder = submit(batch, approve(batch, by="ana", key=new_key(tmp_path / "eve.pem")), place / "spool")
    done = sender()
    assert f"{folder.name}: refused: " in done.stdout
    assert "signed with key" in done.stdout
    assert (server.taken, server.connections) == ([], 0)
    assert (place / "spool" / "refused" / folder.name / "outcome.json").exists()


def test_a_folder_that_nobody_else_may_look_into_is_refused_and_the_next_batch_goes(batch, ana, place, sender):
    shut = submit(batch, approve(batch, by="ana", key=ana), place / "spool")
    shut.chmod(0o700)
    done = sender()
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{shut.name}: refused: sender: {shut}: holds no batch: [Errno 13] Permission denied" in done.stdout
    shut.chmod(0o777)
    approvers = place / "own" / "approvers.yaml"
    before = approvers.read_bytes()
    (shut / "outcome.json").symlink_to(approvers)
    assert "sent 5," in sender().stdout
    assert approvers.read_bytes() == before


def test_a_folder_for_outcomes_that_another_user_made_is_not_written_to(batch, ana, place, sender, server, tmp_path):
    submit(batch, approve(batch, by="ana", key=ana), place / "spool")
    (place / "spool" / "done").symlink_to(place / "own")
    done = sender()
    assert done.returncode == 1
    assert "done is not this user's own" in done.stderr
    assert not (place / "own" / "outcome.json").exists()
