"""Scenarios on the disk: what was loaded, whether it changed since, and numbered versions beside it."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from toolkit.errors import InputError, ScenarioError, path_text
from toolkit.scenario import Scenario, dump
from toolkit.scenario.document import read
from toolkit.whole import write_text

__all__ = ["File", "save_version"]


def save_version(
    scenario: Scenario, folder: str | os.PathLike[str] = "versions", *, note: str = "", text: str | None = None
) -> Path:
    """The scenario as a new file, numbered after those already there.

    Args:
        scenario: what to keep.
        folder: where versions are kept; made where it is not there.
        note: a line at the top of the file.
        text: the scenario as somebody wrote it, with their comments; its canonical form unless given.

    Returns:
        The file, for example `versions/abandoned_cart_v2.yaml`; the last one where it says the same already.

    Raises:
        InputError: the folder cannot be written.
    """
    place, written = (
        Path(path_text(folder, name="versions", allowed="a folder")),
        dump(scenario) if text is None else text,
    )
    head = "".join(f"# {line}\n" for line in note.splitlines())
    try:
        place.mkdir(parents=True, exist_ok=True)
        pattern = re.compile(rf"{re.escape(scenario.scenario)}_v(\d+)\.yaml")
        known = {
            int(match.group(1)): path for path in place.iterdir() if (match := pattern.fullmatch(path.name)) is not None
        }
        if known:
            last = known[max(known)]
            there = last.read_text(encoding="utf-8")
            if there in (written, head + written) or (text is None and _without_notes(there) == written):
                return last
        path = place / f"{scenario.scenario}_v{max(known, default=0) + 1}.yaml"
        write_text(path, head + written)
    except OSError as fault:
        raise InputError(f"versions {place}: cannot be written: {fault.strerror}") from fault
    return path


def _without_notes(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


class File:
    """A scenario's file as it was when it was read.

    Args:
        path: the YAML file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path_text(path, name="path"))
        self.digest = self._digest()

    @property
    def changed(self) -> bool:
        """Whether the disk holds something else by now."""
        return self._digest() != self.digest

    def check(self, name: str) -> str | None:
        """Nobody else has changed the file, and it holds one scenario and nothing else.

        Args:
            name: of the scenario.

        Returns:
            What stands in it; None where there is no such file yet.

        Raises:
            InputError: somebody has, or what else it holds would be lost.
        """
        if self.changed:
            raise InputError(f"{self.path} changed on the disk since it was read; load it, or save a version instead")
        if not self.path.is_file():
            return None
        try:
            text = self.path.read_bytes().decode("utf-8-sig")
            documents, _ = read(text)
        except (OSError, UnicodeDecodeError, ScenarioError) as fault:
            raise InputError(f"{self.path}: cannot be read: {fault}; save a version instead") from fault
        names = [document.child("scenario") for document in documents]
        if [None if one is None else one.value for one in names] != [name]:
            found = ", ".join("no scenario" if one is None else str(one.value) for one in names) or "nothing"
            raise InputError(f"{self.path} holds {found}; saving would leave only {name} in it; save a version instead")
        return text

    def write(self, scenario: Scenario) -> None:
        """Put the scenario into the file; comments in it are not kept.

        Raises:
            InputError: the file changed since it was read, holds something else, or cannot be written.
        """
        self.check(scenario.scenario)
        try:
            write_text(self.path, dump(scenario))
        except OSError as fault:
            raise InputError(f"{self.path}: cannot be written: {fault.strerror}") from fault
        self.digest = self._digest()

    def read_again(self) -> None:
        """Take what is on the disk now as what was read."""
        self.digest = self._digest()

    def _digest(self) -> str:
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError:
            return ""
