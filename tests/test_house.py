"""The house stands as DESIGN and ARCHITECTURE say: rooms, imports, sizes, what a commit may hold."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = (
    "events",
    "scenario",
    "engine",
    "simulation",
    "stats",
    "mail",
    "sending",
    "tracking",
    "charts",
    "widgets",
    "cli",
)
LINES = 500
LONGER: dict[str, str] = {}  # file to the reason why it is longer; none is
IMPORT_SECONDS = 3.0
LATE = ("plotly", "numba", "jupyterlab", "IPython", "ipywidgets", "matplotlib")


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout: no list of tracked files")
    paths = (ROOT / name for name in listing.stdout.decode().split("\0") if name)
    return [path for path in paths if path.is_file()]


def test_rooms_import_downwards_only():
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_package_is_a_room_of_the_design():
    packages = {path.parent.name for path in (ROOT / "toolkit").glob("*/__init__.py")}
    assert packages == set(ROOMS)


def test_every_module_stands_in_the_import_contract():
    layers = _project()["tool"]["importlinter"]["contracts"][0]["layers"]
    held = {name.strip().removeprefix("toolkit.") for layer in layers for name in layer.split("|")}
    modules = {path.stem for path in (ROOT / "toolkit").glob("*.py")} - {"__init__", "__main__"}
    assert modules | set(ROOMS) == held


def test_no_module_has_a_name_that_says_nothing():
    vague = {"util", "utils", "helper", "helpers", "manager", "managers", "misc", "common"}
    assert not [path for path in (ROOT / "toolkit").rglob("*.py") if path.stem in vague or path.parent.name in vague]


def test_no_file_of_the_library_is_longer_than_it_should_be():
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / "toolkit").rglob("*.py")
    }
    longer = {path: length for path, length in lengths.items() if length > LINES}
    assert longer.keys() <= LONGER.keys(), longer
    assert LONGER.keys() <= lengths.keys()


def test_every_progress_bar_says_what_it_counts():
    """Else tqdm says 3.1it/s, and 3.1mail/s without a space."""
    bars = 0
    for path in (ROOT / "toolkit").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Bar":
                given = {one.arg: one.value for one in call.keywords}
                unit = given.get("unit", ast.Constant(""))
                assert "bar_format" in given or ast.literal_eval(unit).startswith(" "), f"{path}:{call.lineno}"
                bars += 1
    assert bars > 10


def test_no_tracked_file_names_a_machine_path_or_a_package_index():
    forbidden = re.compile(
        rb"(?<![\w./:-])/(?:work|root|home|Users)/\w"
        rb"|pypi\.org|pythonhosted\.org|registry\.npmjs|deb\.debian\.org|--(?:extra-)?index-url|--find-link[s]"
    )
    found = [
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in _tracked()
        if (match := forbidden.search(path.read_bytes()))
    ]
    assert not found


def test_addresses_in_tracked_text_are_examples():
    address = re.compile(r"(?<![\w.+-])[A-Za-z0-9_.+-]+@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,})\b")
    reserved = re.compile(r"(^|[.-])(example\.(org|com|net)|example|test|invalid|localhost)$")
    text = {".py", ".md", ".yaml", ".yml", ".html", ".txt", ".ipynb", ".j2", ".mjml", ".csv", ".json"}
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in _tracked()
        if path.suffix in text
        for match in address.finditer(path.read_text(encoding="utf-8"))
        if not reserved.search(match[1].casefold())
    ]
    assert not found


def test_the_lock_pins_every_dependency_with_hashes_and_names_no_index():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    entries = re.findall(r"(?m)^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==\S+(.*(?:\n    --hash=sha256:[0-9a-f]{64}.*)*)", lock)
    named = {re.sub(r"[-_.]+", "-", name).lower() for name, _ in entries}
    assert not [name for name, hashes in entries if "--hash=sha256:" not in hashes]
    assert len(entries) == len(re.findall(r"(?m)^[^\s#-]", lock))

    project = _project()
    asked = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    extras = project["project"]["optional-dependencies"]
    asked += [need for extra in ("test", "lint", "build") for need in extras.get(extra, [])]
    names = {re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", need)[0]).lower() for need in asked}
    assert not names - named


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_of_a_room_exists_and_says_what_it_is(room):
    module = importlib.import_module(f"toolkit.{room}")
    missing = []
    for name in getattr(module, "__all__", ()):
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isroutine(thing)):
            continue
        said = (thing.__dict__.get("__doc__") if inspect.isclass(thing) else thing.__doc__) or ""
        if not said.strip() or said.startswith(f"{name}("):  # what @dataclass writes by itself
            missing.append(name)
    assert not missing


def test_importing_the_toolkit_is_quick_and_loads_nothing_for_pictures_or_kernels(record_property):
    program = (
        "import sys, time; start = time.perf_counter(); import toolkit; "
        f"print(time.perf_counter() - start, *[name for name in {LATE!r} if name in sys.modules])"
    )
    seconds, *loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    record_property("import_seconds", seconds)
    assert not loaded
    assert float(seconds) < IMPORT_SECONDS, f"import toolkit took {seconds} s; the aim is under 1 s"
