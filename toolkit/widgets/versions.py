"""Scenarios on the disk: what was loaded, whether it changed since, and numbered versions beside it."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from toolkit.errors import InputError
from toolkit.scenario import Scenario, dump

__all__ = ["File", "save_version"]


def save_version(scenario: Scenario, folder: str | os.PathLike[str] = "versions", *, note: str = "") -> Path:
    """The scenario as a new file, numbered after those already there.

    Args:
        scenario: what to keep.
        folder: where versions are kept; made where it is not there.
        note: a line at the top of the file.

    Returns:
        The file, for example `versions/abandoned_cart_v2.yaml`; the last one where it says the same already.

    Raises:
        InputError: the folder cannot be written.
    """
    place, text = Path(folder), dump(scenario)
    try:
        place.mkdir(parents=True, exist_ok=True)
        pattern = re.compile(rf"{re.escape(scenario.scenario)}_v(\d+)\.yaml")
        known = {
            int(match.group(1)): path for path in place.iterdir() if (match := pattern.fullmatch(path.name)) is not None
        }
        if known:
            last = known[max(known)]
            if _without_notes(last.read_text(encoding="utf-8")) == text:
                return last
        path = place / f"{scenario.scenario}_v{max(known, default=0) + 1}.yaml"
        head = "".join(f"# {line}\n" for line in note.splitlines())
        path.write_text(head + text, encoding="utf-8")
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
        self.path = Path(path)
        self.digest = self._digest()

    @property
    def changed(self) -> bool:
        """Whether the disk holds something else by now."""
        return self._digest() != self.digest

    def check(self) -> None:
        """Nobody else has changed the file.

        Raises:
            InputError: somebody has.
        """
        if self.changed:
            raise InputError(f"{self.path} changed on the disk since it was read; load it, or save a version instead")

    def write(self, scenario: Scenario) -> None:
        """Put the scenario into the file; comments in it are not kept.

        Raises:
            InputError: the file changed since it was read, or cannot be written.
        """
        self.check()
        try:
            self.path.write_text(dump(scenario), encoding="utf-8")
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
