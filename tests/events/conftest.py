"""What the tests of the events room share."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a text file into the test's folder."""

    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def three_events() -> pd.DataFrame:
    """Three events of two customers, local times without a zone."""
    return pd.DataFrame(
        {
            "customer_id": ["ana", "ana", "bo"],
            "event": ["view", "purchase", "view"],
            "at": ["2024-05-01 09:00", "2024-05-01 09:20", "2024-05-02 18:30"],
            "revenue": [None, 20.0, None],
        }
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real files, where it is at hand."""
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("TOOLKIT_SHARED_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the shared real files are absent: set TOOLKIT_SHARED_DATA to their folder")
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _postgres_programs() -> Path:
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    programs = [folder for folder in folders if (folder / "postgres").exists()]
    if not programs:
        pytest.skip("PostgreSQL's programs (initdb, postgres) are not installed")
    return programs[-1]


def _server_user() -> str | None:
    """PostgreSQL refuses to run as root; another user must then be at hand."""
    if os.geteuid() != 0:
        return None
    for user in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(user).pw_name
    pytest.skip("PostgreSQL does not run as root and there is no user postgres or nobody")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a throwaway PostgreSQL server on loopback, stopped and removed afterwards."""
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed (extra: postgres)")
    programs = _postgres_programs()
    user = _server_user()
    folder = Path(tempfile.mkdtemp(prefix="toolkit-postgres-"))
    server = None
    try:
        if user is not None:
            shutil.chown(folder, user)
        data = folder / "data"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "user": user, "cwd": folder}
        setup = [programs / "initdb", "-D", data, "-U", "tester", "--auth=trust", "--no-sync", "--encoding=UTF8"]
        subprocess.run(setup, check=True, **quiet)
        port = _free_port()
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F"], **quiet
        )
        url = f"postgresql://tester@127.0.0.1:{port}/postgres"
        for _ in range(100):
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url):
                break
            time.sleep(0.1)
        else:
            pytest.fail("the throwaway PostgreSQL server did not start within 10 s")
        yield url
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)
