"""Every error a user of the toolkit can meet, in one tree.

    ToolkitError
    ├── InputError            what came in at a door is wrong (also a ValueError)
    │   ├── EventLogError     an event log or a customers table
    │   ├── ScenarioError     scenarios and policies; carries all faults at once
    │   ├── MetricError       outcomes, metrics, an experiment's design
    │   └── TemplateError     a mail's template, or a value it needs
    ├── NotSupportedError     understood, but not something this version does
    ├── PreflightError        a batch of mails has findings that block it
    ├── ApprovalError         an approval that does not cover what is to be sent
    ├── AnswersError          the answers to mails (opens, clicks, bounces) cannot be read or written
    └── SendingError          sending stopped; says what was sent and what was not
        ├── LedgerError       the record of what was sent cannot be read or written
        └── TransportError    the way out (outbox, server) refused

A message says what was found, where, what is allowed and the nearest right word.
"""

from __future__ import annotations

import difflib
import errno
import linecache
import os
import reprlib
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import TypeGuard

__all__ = [
    "AnswersError",
    "ApprovalError",
    "EventLogError",
    "Fault",
    "InputError",
    "LedgerError",
    "MetricError",
    "NotSupportedError",
    "PreflightError",
    "ScenarioError",
    "SendingError",
    "TemplateError",
    "ToolkitError",
    "TransportError",
    "check_flag",
    "did_you_mean",
    "is_one_of",
    "is_text",
    "listed",
    "nearest",
    "path_text",
    "shown",
]


_NAMED = 5  # places of one fault
_WHOLE = 500  # characters of what was found
_SHORT = 80  # characters of a text that is told whole, as the name of a mail is
_MOST_NAMES = 12  # in a list of what there is


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice most like the word, or None when nothing is close.

    Args:
        word: what was found.
        choices: what is allowed.

    Returns:
        One of the choices, spelled as given, or None.

    >>> nearest("purchse", ["purchase", "cart_add"])
    'purchase'
    >>> nearest("zebra", ["purchase", "cart_add"]) is None
    True
    """
    by_fold = {choice.casefold(): choice for choice in choices}
    close = difflib.get_close_matches(str(word).casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[close[0]] if close else None


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The end of a message that names the choice most like the word; nothing when none is close.

    >>> did_you_mean("purchse", ["purchase", "cart_add"]), did_you_mean("zebra", ["purchase"])
    ("; did you mean 'purchase'?", '')
    """
    near = nearest(word, choices)
    return f"; did you mean {near!r}?" if near else ""


def listed(names: Iterable[object], *, near: object = None) -> str:
    """Names in a message, twelve of them where there are many; those most like a word that was found come first then.

    >>> listed(["control", "mail"]), listed([])
    ('control, mail', 'none')
    >>> listed(range(5_000))
    '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 4,988 more'
    >>> listed(["age", "city", *(f"column_{n}" for n in range(20)), "value"], near="vallue").partition(",")[0]
    'value'
    """
    texts = [str(name) for name in names]
    most = _MOST_NAMES if len(texts) > _MOST_NAMES + 1 else len(texts)
    if near is not None and most < len(texts):
        word = difflib.SequenceMatcher(b=str(near).casefold())

        def unlike(name: str) -> float:
            word.set_seq1(name.casefold())
            return -word.ratio()

        texts.sort(key=unlike)
    told = [text if len(text) <= _SHORT else shown(text) for text in texts[:most]]
    further = len(texts) - len(told)
    return (", ".join(told) or "none") + (f" and {further:,} more" if further else "")


def is_one_of(word: object, choices: Collection[str]) -> bool:
    """Whether something is one of the words allowed. A table or an array is none, and is compared with none of them.

    >>> is_one_of("hours", ("hours", "days")), is_one_of(["hours"], ("hours", "days")), is_one_of(None, ("hours",))
    (True, False, False)
    """
    return isinstance(word, str) and word in choices


def shown(value: object) -> str:
    """What was found, on one line of a message: as it is written where that is short, else, as a table, by its kind.

    >>> shown("hour"), shown(None), shown(range(3)), shown("abandoned_cart_of_the_summer/second_reminder")
    ("'hour'", 'None', 'range(0, 3)', "'abandoned_cart_of_the_summer/second_reminder'")
    """
    written = repr(value) if isinstance(value, str) and len(value) <= _SHORT else reprlib.repr(value)
    is_table = hasattr(value, "columns") and not isinstance(value, type)  # whose single row may lose its line breaks
    return f"a {type(value).__name__}" if is_table or "\n" in written else written


def is_text(value: object) -> TypeGuard[str]:
    """Whether something is a text that can be written down: one with half a surrogate pair stands in no log or file.

    >>> is_text("zoé"), is_text("\\ud800"), is_text(3)
    (True, False, False)
    """
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def path_text(
    given: object, *, name: str, allowed: str = "the path of a file", error: type[ToolkitError] | None = None
) -> str:
    """A path that was handed over, as text; what is none, and what no file can be called, is refused.

    Args:
        given: what came as a path.
        name: what it is called there.
        allowed: what to say is allowed.
        error: what to raise; an InputError unless given.

    >>> path_text("a\\0b", name="path")
    Traceback (most recent call last):
        ...
    toolkit.errors.InputError: path: found 'a\\x00b', no path that a file can have; allowed: the path of a file
    """
    error = error or InputError
    text = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(text, str):
        raise error(f"{name}: found {shown(given)}; allowed: {allowed}")
    why = ""
    try:
        os.stat(text)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as fault:  # ValueError: a NUL, or half a surrogate pair
        named = isinstance(fault, OSError) and fault.errno != errno.ENAMETOOLONG
        why = str(getattr(fault, "strerror", "")) if named else "no path that a file can have"
    if why:
        raise error(f"{name}: found {shown(text)}, {why}; allowed: {allowed}")
    return text


def check_flag(value: object, *, name: str) -> None:
    """Refuse what is neither True nor False: a text such as `no` would count as yes, and a table is neither."""
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):  # or numpy's
        raise InputError(f"{name}: found {shown(value)}; allowed: True or False")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input: where it stands, what was found and what would be right.

    >>> print(Fault("expected a duration", file="cart.yaml", line=4, path="pause.wait",
    ...             found="4 hrs", allowed="for example 30m, 4h or 1d", nearest="4h"))
    cart.yaml:4: pause.wait: expected a duration; found '4 hrs'; allowed: for example 30m, 4h or 1d; did you mean '4h'?
    """

    message: str
    file: str | None = None
    line: int | None = None
    path: str | None = None
    found: object = None
    allowed: str | None = None
    nearest: str | None = None

    @property
    def where(self) -> str:
        """The file and the line, as far as they are known."""
        if self.line is None:
            return self.file or ""
        return f"{self.file}:{self.line}" if self.file else f"line {self.line}"

    @property
    def place(self) -> str:
        """The file, the line and the path, as far as they are known."""
        return ": ".join(part for part in (self.where, self.path) if part)

    def __str__(self) -> str:
        said = [self.message]
        if self.found is not None:
            written = repr(self.found)  # a condition is told whole
            said.append(f"found {written if len(written) <= _WHOLE else shown(self.found)}")
        if self.allowed:
            said.append(f"allowed: {self.allowed}")
        if self.nearest:
            said.append(f"did you mean {self.nearest!r}?")
        return ": ".join([*filter(None, [self.place]), "; ".join(said)])


class ToolkitError(Exception):
    """The root of every error the toolkit raises on purpose.

    In a notebook it shows its message first and then only the lines of those who called; `%tb` shows the whole
    traceback. Elsewhere Python's own traceback stays.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it: the second time, which is `%tb`, and in its verbose modes, everything."""
        shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
        if shell is None:
            return traceback.format_exception(self)
        is_first = not getattr(self, "_was_shown", False)
        self._was_shown = True
        if not (is_first and shell.InteractiveTB.mode in ("Context", "Minimal")):
            whole: list[str] = shell.InteractiveTB.structured_traceback(
                type(self), self, self.__traceback__, tb_offset=1
            )
            return whole
        name, *rest = "".join(traceback.format_exception_only(self)).rstrip("\n").partition(":")
        has_color = str(shell.colors).lower() != "nocolor"
        # No red: on the dark red that JupyterLab puts below errors it could hardly be read.
        bold, faint, plain = ("\x1b[1m", "\x1b[2m", "\x1b[0m") if has_color else ("", "", "")
        told = [f"{bold}{name.rpartition('.')[2]}{plain}{''.join(rest)}", ""]
        for frame, line in _of_callers(self.__traceback__):
            code = frame.f_code
            cell = shell.compile.format_code_name(code.co_filename)
            place = " ".join(cell) if cell else f"File {code.co_filename}, in {code.co_name}"
            told += [f"{place}, line {line}", f"    {linecache.getline(code.co_filename, line).strip()}", ""]
        return [*told, f"{faint}%tb shows where in the toolkit it was raised.{plain}"]


class InputError(ToolkitError, ValueError):
    """What came in at a door is wrong."""


class EventLogError(InputError):
    """An event log or a customers table cannot be used as it is."""


def _of_callers(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    """The frames that lead to the first one of the toolkit, without IPython's own; and the line each stands at."""
    for frame, line in traceback.walk_tb(trace):
        room = str(frame.f_globals.get("__name__")).partition(".")[0]
        if room == __name__.partition(".")[0]:
            return
        if room not in ("IPython", "ipykernel"):
            yield frame, line


def _lines(faults: Sequence[Fault]) -> list[str]:
    """Each fault in a line; one that stands at several places once, with the others.

    Where nothing was found, the path itself may be what is wrong, so that faults of two paths are two.
    """
    alike: dict[tuple[str, ...], list[Fault]] = {}
    for fault in faults:
        path = fault.path if fault.found is None else None
        same = tuple(map(repr, (fault.message, path, fault.found, fault.allowed, fault.nearest)))
        alike.setdefault(same, []).append(fault)
    return [str(found[0]) + _elsewhere(found) for found in alike.values()]


def _elsewhere(faults: Sequence[Fault]) -> str:
    """Where else than at the first place a fault stands: the next few places, and how many more there are."""
    first, *others = faults
    has_one_path = all(fault.path == first.path for fault in others)
    places = dict.fromkeys(fault.where if has_one_path else fault.place for fault in others)
    named = [place for place in places if place][:_NAMED]
    more = len(others) - len(named)
    if more:
        named.append(f"{more:,} more place{'s' * (more > 1)}")
    return f" (and at {', '.join(named)})" if named else ""


class _FaultsError(InputError):
    def __init__(self, faults: Sequence[Fault] | str) -> None:
        if isinstance(faults, str):
            faults = (Fault(faults),)
        self.faults: tuple[Fault, ...] = tuple(faults)
        lines = _lines(self.faults)
        super().__init__(lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} faults", *lines]))

    def __reduce__(self) -> tuple[type[_FaultsError], tuple[tuple[Fault, ...]]]:
        return type(self), (self.faults,)


class ScenarioError(_FaultsError):
    """A scenario, a policy or a parameter path is wrong; `faults` holds every fault found."""


class MetricError(InputError):
    """Outcomes, a metric or an experiment's design cannot be used as they are."""


class TemplateError(_FaultsError):
    """A mail's template, or a value it needs, is wrong; `faults` holds every fault found."""


class NotSupportedError(ToolkitError, NotImplementedError):
    """The input is understood, but this version cannot do it; the message names the construct."""


class PreflightError(ToolkitError):
    """A batch of mails has findings that block it."""


class ApprovalError(ToolkitError):
    """An approval does not cover what is to be sent."""


class AnswersError(ToolkitError):
    """The answers to mails cannot be read, written, or trusted."""


class SendingError(ToolkitError):
    """Sending stopped; the message says what was sent and what was not."""


class LedgerError(SendingError):
    """The record of what was sent cannot be read or written."""


class TransportError(SendingError):
    """The way out refused a mail or could not be reached."""
