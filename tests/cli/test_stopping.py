"""Ctrl-C at a shell: one line and the exit code that shells know, never a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest
import typer

from toolkit.cli.app import plain_errors

# What is under way looks at `stop` now and then, or does not come to that.
WORK = """
import sys, time, typer
from toolkit.cli.app import plain_errors
from toolkit.cli.sending import _stopping

def busy(presses: int) -> None:
    with plain_errors(), _stopping() as stop:
        print("at work", flush=True)
        stop.wait(60) if presses == 1 else time.sleep(60)

typer.run(busy)
"""


def test_ctrl_c_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as over, plain_errors():
        raise KeyboardInterrupt
    assert over.value.exit_code == 130
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.parametrize(("presses", "code", "last"), [(1, 0, "stopping after"), (2, 130, "stopped; nothing is lost")])
def test_what_sends_says_at_once_that_it_heard_ctrl_c_and_the_second_ends_it(
    presses: int, code: int, last: str
) -> None:
    command = [sys.executable, "-c", WORK, str(presses)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        ends = threading.Timer(60, process.kill)
        ends.start()
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "at work\n"
        said = []
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
            said.append(process.stderr.readline())
        process.wait()
        ends.cancel()
        said.append(process.stderr.read())
    assert said[0] == "stopping after what is under way; Ctrl-C again stops at once\n"
    assert said[-2].startswith(last)
    assert said[-1] == ""
    assert process.returncode == code
