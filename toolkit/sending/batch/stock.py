"""The coupon codes that are left: read from files when a batch is prepared, and given to its mails in their order.

Nothing is taken here. A batch that is never sent costs no code; `coupons.reserve` takes the codes of one that is.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from toolkit.errors import InputError, did_you_mean, shown
from toolkit.scenario.models import Offer, Pool, Program
from toolkit.sending.ledger.coupons import Coupon, given
from toolkit.sending.ledger.ledger import Ledger

__all__ = ["Codes", "CodesError", "Stock", "check_codes", "never_empty", "read_codes"]

Codes = Mapping[str, str | os.PathLike[str] | Iterable[str]]
"""Pool to the path of a CSV file of its codes, or to the codes themselves."""

_LONGEST = 64
_SHOWN = 5  # faults of a file
_HEADING = re.compile(r"(?:(?:coupon|voucher|discount|promo|promotion|gift|gutschein)s?[ _-]?)*(?:codes?)?")


class CodesError(InputError):
    """The codes of a pool cannot be read now: their file is away, half written, or has a fault."""


def never_empty(program: Program) -> Program:
    """The program with codes for everybody: how many there are when mails are sent is not for a replay to say.

    A replay counts from the beginning of the log, also what was never sent.
    """
    pools = {name: Pool(file=pool.file or f"{name}.csv") for name, pool in program.policies.pools.items()}
    if not pools:
        return program
    return program.model_copy(update={"policies": program.policies.model_copy(update={"pools": pools})})


class Stock:
    """The codes of a program's pools that no mail has yet.

    Args:
        program: its pools.
        ledger: knows the codes given; None where there is none yet.
        folder: where the pools' files are, None where templates were handed in compiled.
        codes: pool to its codes, in place of the pool's own file.

    Raises:
        InputError: `codes` names a pool that the program does not have.
    """

    def __init__(
        self, program: Program, ledger: Ledger | None, *, folder: Path | None, codes: Codes | None = None
    ) -> None:
        self._pools = program.policies.pools
        if codes is not None and not isinstance(codes, Mapping):
            raise InputError(
                f"prepare: codes: found {type(codes).__name__}; allowed: pool to its codes, or to the path of a CSV "
                'file of them, for example {"spring": "spring.csv"}'
            )
        self._ledger, self._folder, self._codes = ledger, folder, codes or {}
        self._had: dict[str, dict[str, str]] = {}
        self._left: dict[str, Iterator[str]] = {}
        self.left: dict[str, int] = {}
        for name in self._codes:
            if name not in self._pools:
                raise InputError(
                    f"prepare: codes: no pool {shown(name)}; policies.pools has {', '.join(self._pools) or 'none'}"
                    + did_you_mean(name, self._pools)
                )

    def code(self, pool: str, decision_id: str) -> Coupon | None:
        """The code of a mail: the one it was planned with, else the next that is left; None when there is none."""
        if pool not in self._left:
            self._open(pool)
        code = self._had[pool].get(decision_id)
        if code is None:
            code = next(self._left[pool], None)
            self.left[pool] -= code is not None
        return None if code is None else Coupon(pool, code)

    def notes(self) -> tuple[str, ...]:
        """How many codes are left of each pool that was asked."""
        return tuple(f"pool {pool}: {left:,} codes left after these mails" for pool, left in self.left.items())

    def _open(self, pool: str) -> None:
        try:
            codes = self._read(pool)
        except InputError as fault:
            raise CodesError(str(fault)) from fault
        taken: dict[str, str] = {}
        if self._ledger is not None:
            with self._ledger.reading() as connection:
                taken = given(connection, pool)
        self._had[pool] = {decision: code for code, decision in taken.items()}
        free = [code for code in codes if code not in taken]
        self._left[pool], self.left[pool] = iter(free), len(free)

    def _read(self, pool: str) -> Sequence[str]:
        handed = self._codes.get(pool)
        if handed is not None and not isinstance(handed, str | os.PathLike):
            where = f"prepare: codes[{shown(pool)}]"
            if not isinstance(handed, Iterable):
                raise InputError(f"{where}: found {_said(handed)}; allowed: codes, or the path of a CSV file of them")
            return _checked(where, list(enumerate(handed, start=1)), unit="code")
        if handed is not None:
            return read_codes(Path(handed).expanduser())
        return read_codes(_place(pool, self._pools[pool], self._folder, where="prepare"))


def check_codes(program: Program, offers: Sequence[Offer], *, folder: Path | None, where: str) -> None:
    """Whether the codes of offers can be read, before anything depends on them.

    Raises:
        InputError: a pool names no file, or one that is no file of codes.
    """
    for pool in sorted({offer.pool for offer in offers if offer.pool is not None}):
        read_codes(_place(pool, program.policies.pools[pool], folder, where=where))


def _place(name: str, pool: Pool, folder: Path | None, *, where: str) -> Path:
    if pool.file is None:
        raise InputError(
            f"{where}: policies.pools.{name}: says how many codes there are and not which; name their file beside "
            f"policies.yaml, for example {{size: {pool.size}, file: {name}.csv}}"
        )
    path = Path(pool.file).expanduser()
    if path.is_absolute() or folder is not None:
        return (folder or Path()) / path
    raise InputError(
        f"{where}: policies.pools.{name}.file: {pool.file} is beside templates, and these were handed over compiled; "
        "hand over their folder"
    )


def read_codes(path: Path) -> tuple[str, ...]:
    """The codes of a CSV file, in its order: its column `code`, or its only column.

    Raises:
        InputError: it cannot be read, has other columns, or its codes are not one each; names file and line.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "spring.csv"
    >>> _ = file.write_text("code\\nSPRING-1\\nSPRING-2\\n")
    >>> read_codes(file)
    ('SPRING-1', 'SPRING-2')
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as fault:
        raise InputError(f"{path}: codes cannot be read: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        line = fault.object.count(b"\n", 0, fault.start) + 1
        raise InputError(f"{path}: line {line}: not UTF-8; allowed: a CSV file of codes in UTF-8") from fault
    lines = text.splitlines()
    separator = max(",;\t", key=lines[0].count) if lines else ","
    reader = csv.reader(lines, delimiter=separator)
    try:
        rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as fault:  # a quotation mark that is never closed
        raise InputError(f"{path}: line {reader.line_num}: no CSV: {fault}; allowed: one code a line") from fault
    head = [name.strip().casefold() for name in rows[0][1]] if rows else []
    if "code" in head:
        place, rows = head.index("code"), rows[1:]
    elif len(head) > 1:
        allowed = "a column `code`, or one column"
        raise InputError(f"{path}: line 1: found the columns {', '.join(head)}; allowed: {allowed}")
    else:
        place = 0
        if head and _HEADING.fullmatch(head[0]):  # else it would be somebody's code
            said = f"found {rows[0][1][0]!r}, which reads like the heading of a column and no code"
            raise InputError(f"{path}: line 1: {said}; allowed: the heading `code`, or none")
    return _checked(str(path), [(line, row[place] if place < len(row) else "") for line, row in rows], unit="line")


def _checked(where: str, found: Sequence[tuple[int, str]], *, unit: str) -> tuple[str, ...]:
    """The codes, each usable and none twice."""
    seen: dict[str, int] = {}
    faults = []
    for line, value in found:
        code = value.strip() if isinstance(value, str) else value
        if not isinstance(code, str) or not code or len(code) > _LONGEST or not code.isprintable():
            faults.append(
                f"{unit} {line}: found {_said(value)}; allowed: 1 to {_LONGEST} characters that can be printed"
            )
        elif code in seen:
            faults.append(f"{unit} {line}: {code!r} stands in {unit} {seen[code]} already")
        else:
            seen[code] = line
    if faults:
        more = f" (and {len(faults) - _SHOWN:,} more)" if len(faults) > _SHOWN else ""
        raise InputError(f"{where}: {'; '.join(faults[:_SHOWN])}{more}")
    return tuple(seen)


def _said(value: object) -> str:
    """The value as it is shown, cut where it is long: it may be half a file."""
    text = repr(value)
    return text if len(text) <= 2 * _LONGEST else f"{text[: 2 * _LONGEST]}…"
