"""Scenarios and policies from YAML files: every fault at once, each with its file, line and path."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.errors import Fault, ScenarioError, nearest, path_text
from toolkit.scenario.coherence import findings, program_findings
from toolkit.scenario.document import Node, read_each
from toolkit.scenario.findings import Finding, check_is
from toolkit.scenario.models import Policies, Program, Scenario
from toolkit.scenario.origins import remember
from toolkit.scenario.shapes import Shaped, fields_by_alias, shaped

__all__ = ["load", "loads"]

_OURS = re.compile(r"^(scenario|trigger|steps)\s*:", re.MULTILINE)
_ENDINGS = (".yaml", ".yml")
_POLICIES = ("policies.yaml", "policies.yml")


def load(path: str | os.PathLike[str], *, policies: str | os.PathLike[str] | None = None) -> Program:
    """A program from a scenario's file, or from a folder of scenarios and one policies.yaml.

    In a folder every YAML file with a `scenario:` is read, however deep; hidden folders are passed over. The policies
    are the policies.yaml in the folder, or beside the file; where there is none, the one in the folder above.

    Args:
        path: a YAML file, or a folder.
        policies: another file of policies.

    Returns:
        The program: scenarios in the order of their names, and the policies they share.

    Raises:
        ScenarioError: there is no such file or no scenario in it, or the files have faults; carries all of them, with
            file, line and path, what was found, what is allowed, and the nearest right word.

    >>> load("templates").policies.timezone
    'Europe/Paris'
    """
    place = _path_of(path, "path")
    sources = list(_sources(place))
    shared = [_path_of(policies, "policies")] if policies is not None else _policies_of(place)
    for file in shared:
        if not file.is_file():
            raise ScenarioError([Fault("no such file", file=str(file))])
    if len(shared) > 1:
        raise ScenarioError(
            [
                Fault("a program has one policies file", file=str(file), allowed=f"{shared[0]} only")
                for file in shared[1:]
            ]
        )
    draft = _Draft()
    for file in sources:
        draft.take(file, is_policies=False)
    for file in shared:
        draft.take(file, is_policies=True)
    draft.scenarios.sort(key=lambda entry: entry[0].scenario)
    return draft.program()


def loads(text: str, *, file: str | None = None) -> Program:
    """A program from YAML text: one scenario, or several and their policies, parted by lines of `---`.

    Args:
        text: YAML.
        file: the name that faults are to give.

    Returns:
        The program, scenarios in the order written.

    Raises:
        ScenarioError: as for `load`.

    >>> program = loads("{scenario: hello, trigger: {event: sign_up}, reentry: once, steps: [{send: welcome/hello}]}")
    >>> program["hello"].steps[0].id
    'hello'
    """
    check_is(text, str, "YAML text; load reads files")
    if text.strip().endswith(_ENDINGS) and "\n" not in text.strip() and ":" not in text:
        raise ScenarioError([Fault("the name of a file, not YAML", found=text, allowed="load reads files")])
    draft = _Draft()
    draft.take_text(text, file, is_policies=False)
    return draft.program()


def _path_of(value: object, name: str) -> Path:
    allowed = "the path of a file or a folder"
    text = path_text(value, name=name, allowed=allowed, error=ScenarioError)
    if not text.strip():  # an empty variable is not the folder one stands in
        raise ScenarioError([Fault(f"{name}: expected a path", found=value, allowed=f"{allowed}; '.' is this one")])
    return Path(text)


def _sources(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    if not place.is_dir():
        beside = [inner.name for inner in place.parent.iterdir()] if place.parent.is_dir() else []
        raise ScenarioError([Fault("no such file or folder", file=str(place), nearest=nearest(place.name, beside))])
    found = [file for file in _yaml_files(place) if file.stem == "scenario" or _looks_like_a_scenario(file)]
    if not found:
        allowed = "a scenario.yaml, or another YAML file with `scenario:`, at any depth"
        raise ScenarioError([Fault("no scenario in this folder", file=str(place), allowed=allowed)])
    yield from found


def _yaml_files(folder: Path) -> list[Path]:
    files = (file for ending in _ENDINGS for file in folder.rglob(f"*{ending}") if file.is_file())
    visible = (file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts))
    return sorted(file for file in visible if file.name not in _POLICIES)


def _looks_like_a_scenario(file: Path) -> bool:
    return bool(_OURS.search(file.read_bytes().decode("utf-8", errors="replace")))


def _policies_of(place: Path) -> list[Path]:
    folder = place if place.is_dir() else place.parent
    if place.is_dir():
        inside = sorted(
            file
            for name in _POLICIES
            for file in folder.rglob(name)
            if not any(part.startswith(".") for part in file.relative_to(folder).parts)
        )
        if inside:
            return inside
    for near in (folder, folder.resolve().parent):
        for name in _POLICIES:
            if (near / name).is_file():
                return [near / name]
    return []


@dataclass(slots=True)
class _Draft:
    """Scenarios and policies read so far, with the files they came from, and every fault found."""

    scenarios: list[tuple[Scenario, Shaped[Scenario], str | None]] = field(default_factory=list)
    policies: tuple[Policies, Shaped[Policies], str | None] | None = None
    policies_lost: bool = False
    lost: bool = False
    faults: list[Fault] = field(default_factory=list)

    def take(self, file: Path, *, is_policies: bool) -> None:
        """Read a file."""
        try:
            text = file.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            found = f"byte 0x{error.object[error.start]:02X}"
            self.faults.append(Fault("not UTF-8", file=str(file), line=line, found=found, allowed="text in UTF-8"))
        except OSError as error:
            self.faults.append(Fault(f"cannot be read: {error.strerror}", file=str(file)))
        else:
            self.take_text(text, str(file), is_policies=is_policies)
            return
        self.policies_lost |= is_policies

    def take_text(self, text: str, file: str | None, *, is_policies: bool) -> None:
        """Read the documents of a text."""
        try:
            nodes, faults = read_each(text, file=file)
        except ScenarioError as error:
            self.faults += error.faults
            self.policies_lost |= is_policies
            return
        self.faults += faults
        if not nodes:
            allowed = "{} where the defaults are meant" if is_policies else "a scenario"
            self.faults.append(Fault("the file is empty", file=file, line=1, allowed=allowed))
            self.policies_lost |= is_policies
        for node in nodes:
            if node is None:  # nobody knows what stood there
                self.lost = True
                self.policies_lost |= is_policies
            elif is_policies or (len(nodes) > 1 and not _is_a_scenario(node)):
                self._take_policies(node, file)
            else:
                scenario = shaped(Scenario, node, file=file)
                self.faults += scenario.faults
                if scenario.model is not None:
                    self.scenarios.append((scenario.model, scenario, file))

    def _take_policies(self, node: Node, file: str | None) -> None:
        policies = shaped(Policies, node, file=file)
        self.faults += policies.faults
        if self.policies is not None or self.policies_lost:
            first = self.policies[2] if self.policies is not None else None
            where = f", after those of {first}; keep them in one" if first and first != file else ""
            self.faults.append(Fault(f"policies a second time{where}", file=file, line=node.line))
        elif policies.model is None:
            self.policies_lost = True
        else:
            self.policies = (policies.model, policies, file)

    def program(self) -> Program:
        """The program, where there is no fault in anything read."""
        policies, is_sure = Policies(), not (self.policies_lost or self.lost)
        if self.policies is not None:
            policies, source, file = self.policies
            remember(policies, source.node, file)
            is_sure = is_sure and not source.lost
            self._place(program_findings(policies), source.node, file, source.lost)
        seen: dict[str, tuple[str | None, int]] = {}
        for scenario, entry, file in self.scenarios:
            remember(scenario, entry.node, file)
            unsure = {re.split(r"[.\[]", path)[0] for path in entry.lost}
            found = findings(scenario, pools=policies.pools if is_sure else None, unsure=unsure)
            self._place(found, entry.node, file, entry.lost)
            if "scenario" not in unsure:
                self._take_name(scenario.scenario, entry.node.at(("scenario",))[0].line, file, seen)
        if self.faults:
            raise ScenarioError(sorted(dict.fromkeys(self.faults), key=lambda f: (f.file or "", f.line or 0)))
        return Program(scenarios=tuple(entry[0] for entry in self.scenarios), policies=policies)

    def _take_name(self, name: str, line: int, file: str | None, seen: dict[str, tuple[str | None, int]]) -> None:
        if name in seen:
            other, there = seen[name]
            message = f"two scenarios have this name; the other stands in {other or 'this text'}, line {there}"
            self.faults.append(Fault(message, file=file, line=line, path="scenario", found=name))
        seen[name] = (file, line)

    def _place(self, found: Iterator[Finding], node: Node, file: str | None, lost: frozenset[str]) -> None:
        for finding in found:
            at, _ = node.at(finding.place)
            # What was left out may be what a fault around it, or beside it, misses.
            around = {at.path, node.at(finding.beside)[0].path} if finding.beside else {at.path}
            silent = any(path == one or path.startswith((f"{one}.", f"{one}[")) for path in lost for one in around)
            if not finding.warning and not silent:
                self.faults.append(finding.fault(file=file, line=at.line, path=at.path))


def _is_a_scenario(node: Node) -> bool:
    if not isinstance(node.value, dict) or not node.value:
        return True
    required = ("scenario", "trigger", "reentry", "steps")
    shared = fields_by_alias(Policies)
    return any(key in node.value for key in required) or not any(nearest(key, shared) for key in node.value)
