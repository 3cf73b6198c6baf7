"""The list of commands says of each what the command says of itself, and no command loads what another needs."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
from typer.main import get_group

from tests.shared import ROOT
from toolkit.cli.app import COMMANDS, app

_HEAVY = ("pandas", "duckdb", "sqlglot", "numba", "scipy", "sqlalchemy", "jinja2", "plotly")


def test_every_command_is_listed_with_its_own_words_and_stands_where_the_list_says() -> None:
    for home in {home for home, _ in COMMANDS.values()}:
        importlib.import_module(f"toolkit.cli.{home}")
    commands = get_group(app).commands
    assert set(commands) == set(COMMANDS)
    assert {name: command.help for name, command in commands.items()} == {
        name: said for name, (_, said) in COMMANDS.items()
    }
    for name, command in commands.items():
        if command.callback is not None:  # a group of commands has none
            assert command.callback.__module__ == f"toolkit.cli.{COMMANDS[name][0]}"


@pytest.mark.parametrize(
    ("args", "loaded"),
    [
        ([], set()),
        (["--help"], set()),
        (["nonsense"], set()),
        (["lab", "no_such.ipynb"], set()),
        (["describe", "templates/welcome"], {"pandas", "sqlglot"}),
        (["profile", "--events", "nowhere.csv"], {"pandas", "duckdb"}),
        (["replay", "templates/welcome", "--events", "nowhere.csv"], {"pandas", "duckdb", "sqlglot", "numba", "scipy"}),
    ],
)
def test_a_command_loads_only_what_it_needs(args: list[str], loaded: set[str]) -> None:
    program = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('loaded:', *[name for name in {_HEAVY!r} if name in sys.modules]))\n"
        f"sys.argv = ['toolkit', *{args!r}]\n"
        "from toolkit.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert set(done.stdout.splitlines()[-1].split()[1:]) <= loaded, done.stdout + done.stderr


def test_whoever_asks_a_ledger_waits_for_no_kernel_and_no_writer_of_mails():
    code = "import sys, toolkit.cli.ledgers; print({'numba', 'toolkit.engine', 'toolkit.mail'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_the_package_run_as_a_module_is_the_command() -> None:
    asked = [sys.executable, "-m", "toolkit", "nonsense"]
    ended = subprocess.run(asked, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (ended.returncode, ended.stderr[:20]) == (2, "no command 'nonsense'"[:20])
