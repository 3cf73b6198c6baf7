"""Files that are replaced whole or not at all, whatever ends the program that writes them."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toolkit.whole import whole_file, write_text

LIMITED = """
import resource, sys
from pathlib import Path
path = Path(sys.argv[1])
def full():  # from now on the disk takes no more than 64 bytes of a file
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
from toolkit.errors import ToolkitError
try:
{work}
except ToolkitError as error:
    print(type(error).__name__, error)
"""
WRITERS = {
    "a design": """
    from toolkit.stats import Rate, plan
    from toolkit.stats.design import Design
    design = plan(Rate("converted"), baseline=0.1, diff=0.02)
    full()
    design.freeze(path)
    """,
    "an approval": """
    from toolkit.sending.files import saved
    full()
    saved({"kind": "x" * 1000}, path)
    """,
    "the suppression list": """
    from toolkit.sending import Ledger
    with Ledger.open(path.parent / "ledger" / "ledger.sqlite") as ledger:
        for one in range(40):
            ledger.suppressions.add(f"c{one}@example.org", by="ana")
        full()
        ledger.suppressions.export_file(path)
    """,
    "a page": """
    from toolkit.charts.pages import write_page
    full()
    write_page(path, "x" * 1000)
    """,
    "a version of a scenario": """
    from toolkit.scenario import loads
    from toolkit.widgets.versions import File
    cart = "scenario: cart\\ntrigger: {event: a}\\nreentry: once\\nsteps: [{wait: 1h}, {send: cart/reminder}]"
    path.write_text(cart)
    file = File(path)
    full()
    file.write(loads(cart).scenarios[0])
    """,
}


def test_the_file_takes_the_place_of_the_older_one_at_the_end_and_may_be_read_by_as_many(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    path.chmod(0o640)
    with whole_file(path) as part:
        part.write_text("half")
        assert path.read_text() == "old"
        part.write_text("new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_a_stop_on_the_way_leaves_the_older_file_and_nothing_else(tmp_path: Path, stop: type[BaseException]) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def half(part: Path) -> None:
        part.write_text("half")
        raise stop

    with pytest.raises(stop), whole_file(path) as part:
        half(part)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_kill_9_on_the_way_leaves_the_older_file_and_what_it_left_goes_after_a_day(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    code = (
        "import os, signal, sys\nfrom toolkit.whole import whole_file\nwith whole_file(sys.argv[1]) as part:\n"
        "    part.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    (left,) = tmp_path.glob(".*.part")
    write_text(path, "new")
    assert left.exists()  # somebody may be writing it
    os.utime(left, (time.time() - 90_000,) * 2)
    write_text(path, "newer")
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_link_stays_and_the_file_that_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "a.json").symlink_to("real.json")
    write_text(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"


def test_what_is_no_file_is_written_to_itself() -> None:
    write_text("/dev/null", "gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every file")
def test_a_file_that_nobody_may_write_to_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(PermissionError):
        write_text(path, "new")
    assert path.read_text() == "old"


@pytest.mark.parametrize("what", WRITERS)
def test_a_full_disk_is_one_clear_error_and_the_older_file_stays(tmp_path: Path, what: str) -> None:
    path = tmp_path / "file"
    if what != "a design":  # one that is there must hold the same
        path.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.format(work=WRITERS[what]), path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "File too large" in done.stdout
    assert str(path) in done.stdout
    assert path.exists() == (what != "a design")
    if what not in ("a design", "a version of a scenario"):
        assert path.read_text() == "old"
    assert not [one for one in os.listdir(tmp_path) if one.startswith(".")]
