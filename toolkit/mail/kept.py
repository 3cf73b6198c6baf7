"""Mails compiled before: as long as none of their files changes, they are what an earlier load made of them.

A loop of rounds loads its templates each minute, to see whether they are still those that were approved; a notebook
loads them each time a cell is run.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.mail.source import Reader
from toolkit.mail.variants import Variant, compile_mail
from toolkit.mail.words import words_in
from toolkit.scenario.models import Policies

__all__ = ["compiled"]

_MOST = 500  # mails


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was read for a mail, the words beside it and of the brand, and what all this compiled to."""

    read: Mapping[str, bytes]
    words: Mapping[Path, bytes]
    variants: tuple[Variant, ...]

    def fits(self, root: Path, words: Mapping[Path, bytes]) -> bool:
        try:
            return words == self.words and all((root / name).read_bytes() == said for name, said in self.read.items())
        except OSError:
            return False


_mails: OrderedDict[tuple[Any, ...], _Kept] = OrderedDict()
_lock = threading.Lock()


def compiled(
    reader: Reader,
    name: str,
    pairs: Sequence[tuple[str | None, Path, Path]],
    policies: Policies,
    brand: Mapping[str, Any],
) -> tuple[Variant, ...]:
    """A mail as `compile_mail` makes it; from memory where every file it was made of has the same bytes as then.

    Every file is read each time; mails with faults are compiled anew.
    """
    key = (reader.root, name, tuple(pairs), policies.locale, json.dumps(brand, sort_keys=True, default=str))
    words = _words_of(reader.root, pairs)
    with _lock:
        kept = _mails.get(key)
    if kept is None or words is None or not kept.fits(reader.root, words):
        variants = compile_mail(reader, name, pairs, policies, brand)
        if reader.faults or words is None:
            return variants
        kept = _Kept(dict(reader.read), words, variants)
    reader.read.update(kept.read)
    with _lock:
        _mails[key] = kept
        _mails.move_to_end(key)
        while len(_mails) > _MOST:
            _mails.popitem(last=False)
    return kept.variants


def _words_of(root: Path, pairs: Sequence[tuple[str | None, Path, Path]]) -> dict[Path, bytes] | None:
    """The files of words that a mail may ask, read; None where one cannot be."""
    folders = {mjml.parent for _, mjml, _ in pairs} | {root / "brand"}
    try:
        return {file: file.read_bytes() for folder in folders for file in words_in(folder).values()}
    except OSError:
        return None
