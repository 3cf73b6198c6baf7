"""YAML text as plain values that remember their line and path.

YAML 1.2: `no`, `off` and `09:00` are text. Aliases are welcome up to a limit; merge keys and tags are not part of the
language. Nothing is ever constructed from a tag.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
)
from ruamel.yaml.reader import ReaderError

from toolkit.errors import Fault, ScenarioError

__all__ = ["Node", "Place", "read", "read_each", "scalar"]

Place = tuple[str | int, ...]
"""The keys and indices that lead to a value."""

MAX_CHARACTERS = 262_144
MAX_DEPTH = 100
MAX_NODES = 20_000
MAX_INTEGER = 2**53 - 1

_INTEGER = re.compile(r"[-+]?[0-9]+")
_OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_BETWEEN = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_NO_SPACE = re.compile(r"\s*(?:- )?\w+:[^\s:/]")
_WORDS = {"": None, "~": None} | {
    form: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for form in (word, word.title(), word.upper())
}


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value of a document: text, number, true, false, none, a dict or a list of nodes; with its line and path."""

    value: Any
    line: int
    path: str = ""

    def plain(self) -> Any:
        """The value without lines."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def at(self, place: Sequence[str | int]) -> tuple[Node, Place]:
        """The deepest node on the way to a place, and what is left of the way.

        Parts that lead nowhere (a tag, the index of a list of one that was written without brackets) are passed over.
        """
        node = self
        left: list[str | int] = []
        for part in place:
            inner = node.child(part)
            if inner is not None and not left:
                node = inner
            elif not (isinstance(part, int) or part.startswith("<")):
                left.append(part)
        return node, tuple(left)

    def child(self, part: str | int) -> Node | None:
        """The node under a key or index, if there is one."""
        found: Node | None = None
        if isinstance(self.value, dict) and isinstance(part, str):
            found = self.value.get(part)
        elif isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            found = self.value[part]
        return found

    def changed(self, changes: Mapping[int, Node | None]) -> Node:
        """A copy with other nodes, or none, for those of these identities; the rest keeps line and path."""
        if isinstance(self.value, dict):
            items = [(key, changes.get(id(node), node.changed(changes))) for key, node in self.value.items()]
            return Node({key: node for key, node in items if node is not None}, self.line, self.path)
        if isinstance(self.value, list):
            nodes = [changes.get(id(node), node.changed(changes)) for node in self.value]
            return Node([node for node in nodes if node is not None], self.line, self.path)
        return self


@dataclass(slots=True)
class _Open:
    """A collection under construction."""

    value: Any
    line: int
    key: tuple[str, int] | None = None
    lines: dict[str, int] = field(default_factory=dict)
    anchor: str | None = None
    skip: bool = False


def read(text: str, *, file: str | None = None) -> tuple[list[Node], list[Fault]]:
    """The documents of a YAML text, and the faults that do not keep it from being read.

    Raises:
        ScenarioError: the text is not YAML, or larger or deeper than any scenario.
    """
    nodes, faults = read_each(text, file=file)
    documents = [node for node in nodes if node is not None]
    if len(documents) < len(nodes):
        raise ScenarioError(faults)
    return documents, faults


def read_each(text: str, *, file: str | None = None) -> tuple[list[Node | None], list[Fault]]:
    """The documents of a YAML text, None for each that cannot be read, and the faults found.

    Of a document that is no YAML the first fault is told, since nobody knows how the rest of it is meant; the other
    documents of the text are read all the same.

    Raises:
        ScenarioError: the text is larger than any scenario.
    """
    if len(text) > MAX_CHARACTERS:
        raise ScenarioError(
            [Fault("the file is too long", file=file, found=len(text), allowed=f"{MAX_CHARACTERS:,} characters")]
        )
    try:
        documents, faults = _read(text, file)
    except ScenarioError as error:
        parts = _parted(text)
        if len(parts) == 1:
            return [None], list(error.faults)
    else:
        return [*documents], faults
    nodes: list[Node | None] = []
    told: list[Fault] = []
    for part in parts:
        try:
            documents, faults = _read(part, file)
        except ScenarioError as error:
            nodes.append(None)
            told += error.faults
        else:
            nodes += documents
            told += faults
    return nodes, told


def _parted(text: str) -> list[str]:
    """The documents of a text, each behind as many empty lines as there were lines before it."""
    starts = [0, *(found.start() for found in _BETWEEN.finditer(text) if found.start())]
    return ["\n" * text.count("\n", 0, start) + text[start:end] for start, end in pairwise([*starts, len(text)])]


def _read(text: str, file: str | None) -> tuple[list[Node], list[Fault]]:
    """The documents of a text that is YAML as a whole.

    Raises:
        ScenarioError: it is not, or is deeper than any scenario.
    """
    reader = _Reader(file, text)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            reader.take(event)
    except MarkedYAMLError as error:
        raise ScenarioError([_syntax_fault(error, text, file)]) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        found = f"U+{ord(text[error.position]):04X}"
        fault = Fault("a character that YAML does not allow", file=file, line=line, found=found)
        raise ScenarioError([fault]) from None
    except ScenarioError:
        raise
    except (YAMLError, ValueError, OverflowError):
        # An escape such as "\\UFFFFFFFF" passes the scanner and fails in Python.
        raise ScenarioError([Fault("not YAML: no such character", file=file, line=reader.line)]) from None
    counted = _Count(file)
    return [_placed(node, "", counted, 0) for node in reader.documents], reader.faults


# What the parser says, what that means to a person, and how it is written.
_SYNTAX = (
    (
        "mapping values are not allowed",
        None,
        "one `key: value` a line, a space behind the colon; text with a colon in quotes",
    ),
    (
        "expected ',' or '}'",
        "the {{ of line {begun} is not closed, or a comma is missing",
        "{key: value, key: value}; text with quotes, braces or a colon in it in quotes: \"country = 'FR'\"",
    ),
    ("expected ',' or ']'", "the [ of line {begun} is not closed, or a comma is missing", "[a, b]"),
    (
        "expected <block end>",
        "this does not fit what stands above it",
        "as many spaces as its neighbours have; text that begins with a quote in quotes as a whole",
    ),
    ("unexpected end of stream", "a quote of line {begun} is not closed", 'text in quotes: "value > 3"'),
    ("could not find expected ':'", "a line without a colon", "one `key: value` a line; longer text in quotes"),
    ("cannot start any token", "{problem}", "text that begins with a sign in quotes"),
)


def _syntax_fault(error: MarkedYAMLError, text: str, file: str | None) -> Fault:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    problem = error.problem or error.context or "not YAML"
    if "could not find expected ':'" in problem and error.context_mark:
        line = error.context_mark.line + 1  # where the text begins that has none
    lines = text.splitlines()
    written = lines[line - 1] if line and line <= len(lines) else ""
    if "'\\t'" in problem or written[: len(written) - len(written.lstrip())].count("\t"):
        return Fault("a tab", file=file, line=line, allowed="spaces, two for each level")
    if line and line > 1 and "mapping values are not allowed" in problem and _NO_SPACE.match(lines[line - 2]):
        line, written = line - 1, lines[line - 2]  # where the space is missing, not where that is noticed
    begun = error.context_mark.line + 1 if error.context_mark else line
    message, hint = problem, None
    for words, said, allowed in _SYNTAX:
        if words in problem:
            message, hint = (said or problem).format(begun=begun, problem=problem), allowed
            break
    return Fault(f"not YAML: {message}", file=file, line=line, found=written.strip()[:80] or None, allowed=hint)


class _Reader:
    """Builds nodes from the events of the parser, without recursion."""

    def __init__(self, file: str | None, text: str) -> None:
        self.file = file
        self.text = text
        self.documents: list[Node] = []
        self.faults: list[Fault] = []
        self.root: Node | None = None
        self.open: list[_Open] = []
        self.anchors: dict[str, Node] = {}
        self.count = 0
        self.line = 1

    def take(self, event: Any) -> None:
        self.line = event.end_mark.line + 1
        if isinstance(event, DocumentStartEvent):
            self.anchors, self.root = {}, None
        elif isinstance(event, DocumentEndEvent):
            if self.root is not None:
                self.documents.append(self.root)
        elif isinstance(event, NodeEvent):
            self._take_node(event, event.start_mark.line + 1)
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            done = self.open.pop()
            self._put(Node(done.value, done.line), done.anchor)

    def _take_node(self, event: NodeEvent, line: int) -> None:
        self.count += 1
        if self.count > MAX_NODES:
            raise self._stop(f"more than {MAX_NODES:,} values", line)
        if isinstance(event, AliasEvent):
            if event.anchor not in self.anchors:
                raise self._stop(f"alias *{event.anchor} has no finished anchor above it", line)
            if self._wants_key():
                raise self._stop("an alias as a key", line)
            self._put(self.anchors[event.anchor], None)
            return
        given = getattr(event, "tag", None)
        tag = None if given is None else str(given)
        if tag is not None and tag not in ("!", "tag:yaml.org,2002:str"):
            self._fault("tags are not part of the language", line, found=tag, allowed="plain values")
        if isinstance(event, ScalarEvent):
            is_plain = bool(event.implicit[0]) and tag is None
            if self._wants_key():
                self._take_key(event.value, line, plain=is_plain)
            else:
                self._put(Node(self._value(event.value, line) if is_plain else event.value, line), event.anchor)
        else:
            if self._wants_key():
                allowed = "text that begins with a brace or a bracket in quotes; a scenario has no placeholders"
                found = self.text.splitlines()[line - 1].strip()[:80]
                raise self._stop("a key that is a list or a mapping", line, found=found, allowed=allowed)
            if len(self.open) >= MAX_DEPTH:
                raise self._stop(f"nested deeper than {MAX_DEPTH} levels", line)
            value: Any = {} if isinstance(event, MappingStartEvent) else []
            self.open.append(_Open(value, line, anchor=event.anchor))

    def _wants_key(self) -> bool:
        return bool(self.open) and isinstance(self.open[-1].value, dict) and self.open[-1].key is None

    def _take_key(self, key: str, line: int, *, plain: bool) -> None:
        parent = self.open[-1]
        parent.key = (key, line)
        parent.skip = True
        if key == "<<" and plain:
            self._fault("merge keys are not part of the language", line, found=key, allowed="the keys written out")
        elif key in parent.lines:
            self._fault(f"the key stands twice, first on line {parent.lines[key]}", line, found=key)
        else:
            parent.lines[key] = line
            parent.skip = False

    def _put(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        if isinstance(parent.value, list):
            parent.value.append(node)
            return
        if parent.key is not None:
            key, line = parent.key
            if not parent.skip:
                parent.value[key] = Node(node.value, line)
        parent.key = None

    def _value(self, text: str, line: int) -> Any:
        value = scalar(text)
        too_large = isinstance(value, int) and abs(value) > MAX_INTEGER
        if too_large or (isinstance(value, float) and not math.isfinite(value)):
            self._fault("not a number that can be counted with", line, found=text[:40], allowed="text in quotes")
            return text
        return value

    def _fault(self, message: str, line: int, **more: Any) -> None:
        self.faults.append(Fault(message, file=self.file, line=line, **more))

    def _stop(self, message: str, line: int, **more: Any) -> ScenarioError:
        return ScenarioError([*self.faults, Fault(message, file=self.file, line=line, **more)])


def scalar(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar in the core schema of YAML 1.2.

    >>> [scalar(text) for text in ("12", "0.5", "true", "no", "09:00", "~")]
    [12, 0.5, True, 'no', '09:00', None]
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) < 100 else math.inf
    if _OTHER_BASE.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


@dataclass(slots=True)
class _Count:
    file: str | None
    nodes: int = 0


def _placed(node: Node, path: str, count: _Count, depth: int) -> Node:
    """The node with every alias written out and every path known."""
    count.nodes += 1
    if count.nodes > MAX_NODES or depth > MAX_DEPTH:
        what = f"{MAX_NODES:,} values" if count.nodes > MAX_NODES else f"{MAX_DEPTH} levels"
        raise ScenarioError([Fault(f"aliases that unfold to more than {what}", file=count.file, line=node.line)])
    if isinstance(node.value, dict):
        value: Any = {
            key: _placed(inner, f"{path}.{key}" if path else key, count, depth + 1) for key, inner in node.value.items()
        }
    elif isinstance(node.value, list):
        value = [
            _placed(inner, path + name, count, depth + 1)
            for inner, name in zip(node.value, _names(path, node.value), strict=True)
        ]
    else:
        value = node.value
    return Node(value, node.line, path)


def _names(path: str, items: list[Node]) -> Iterator[str]:
    """How the items of a list are called: steps by their id, where they have one."""
    for index, item in enumerate(items):
        named = item.value.get("id") if isinstance(item.value, dict) else None
        word = named.value if named is not None and _holds_steps(path) else None
        yield f".{word}" if isinstance(word, str) and word.isidentifier() else f"[{index}]"


def _holds_steps(path: str) -> bool:
    last = path.rpartition(".")[2]
    return last in ("steps", "then", "else") or ".paths." in path
