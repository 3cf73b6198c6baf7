"""Response models as YAML that a marketer can read and write."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import Fault, ScenarioError, nearest
from toolkit.scenario.document import Node, read
from toolkit.scenario.duration import Duration
from toolkit.simulation.model_shape import CURVES, DURATIONS, MAIL_SECTIONS, SECTIONS, axis_value, fault_of, kind_of
from toolkit.simulation.quantity import Quantity

if TYPE_CHECKING:
    from toolkit.simulation.model import ResponseModel

__all__ = ["dump", "stated", "text_of"]

_TOP = ("response", "source", "purchase", "value", "window", "fatigue_within", "mails", *SECTIONS)
_A_NUMBER = "a number, [low, likely, high], or {likely, low, high, source}"


def text_of(path: str | PathLike[str]) -> str:
    """The text of a model's file.

    Raises:
        ScenarioError: no such file, or it is not text in UTF-8.
    """
    place = Path(path)
    if not place.is_file():
        raise ScenarioError([Fault("no such file", file=str(place))])
    try:
        return place.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise ScenarioError([Fault(f"cannot be read as text in UTF-8: {fault}", file=str(place))]) from fault


def stated(text: str, *, file: str | None = None) -> dict[str, Any]:
    """What YAML text says of a model: the arguments of `ResponseModel`.

    Raises:
        ScenarioError: carries every fault.
    """
    documents, faults = read(text, file=file)
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise ScenarioError([*faults, Fault("expected one response model", file=file, allowed="response: a name")])
    reader = _Reader(file, faults)
    said = reader.model(documents[0])
    if reader.faults:
        raise ScenarioError(reader.faults)
    return said


class _Reader:
    def __init__(self, file: str | None, faults: list[Fault]) -> None:
        self.file = file
        self.faults = list(faults)
        self.numbers: dict[str, Quantity] = {}
        self.times: dict[str, Duration] = {}
        self.source = "stated"

    def fault(self, message: str, node: Node, path: str, allowed: str | None, **more: Any) -> None:
        self.faults.append(Fault(message, file=self.file, line=node.line, path=path, allowed=allowed, **more))

    def model(self, root: Node) -> dict[str, Any]:
        words: dict[str, str] = {}
        for key in ("response", "source", "purchase", "value"):
            node = root.value.get(key)
            if node is not None:
                if isinstance(node.value, str) and node.value:
                    words[key] = node.value
                else:
                    self.fault("expected text", node, key, None, found=node.plain())
        if "response" not in root.value:
            self.fault("the model has no name", root, "response", "for example response: spring_guess")
        self.source = words.get("source", "stated")
        for key, node in root.value.items():
            if key in ("response", "source", "purchase", "value"):
                continue
            if key in ("window", "fatigue_within"):
                self.time(key, node)
            elif key in SECTIONS:
                self.section(key, key, node)
            elif key == "mails":
                self.mails(node)
            else:
                self.fault("unknown word", node, key, ", ".join(_TOP), nearest=nearest(key, _TOP))
        return {
            "name": words.get("response", ""),
            "source": self.source,
            "numbers": self.numbers,
            "times": self.times,
            "purchase": words.get("purchase", "purchase"),
            "value": words.get("value", "revenue"),
        }

    def mails(self, node: Node) -> None:
        if not isinstance(node.value, dict):
            self.fault(
                "expected mails and their numbers", node, "mails", "for example cart.offer: {buys: {rate: 0.05}}"
            )
            return
        for mail, inner in node.value.items():
            path = f"mails.{mail}"
            if mail.count(".") != 1 or not all(mail.split(".")) or not isinstance(inner.value, dict):
                self.fault("expected a mail", inner, path, "scenario.step: and its sections", found=mail)
                continue
            for name, section in inner.value.items():
                if name in MAIL_SECTIONS:
                    self.section(name, f"{path}.{name}", section)
                else:
                    self.fault(
                        "unknown word", section, f"{path}.{name}", ", ".join(MAIL_SECTIONS),
                        nearest=nearest(name, MAIL_SECTIONS),
                    )  # fmt: skip

    def section(self, name: str, path: str, node: Node) -> None:
        if not isinstance(node.value, dict):
            self.fault("expected numbers by name", node, path, ", ".join(SECTIONS[name]), found=node.plain())
            return
        times = [key.split(".")[1] for key in DURATIONS if key.startswith(f"{name}.")]
        known = [*SECTIONS[name], *CURVES.get(name, {}), *times, *(["grid"] if name == "buys" else [])]
        for key, inner in node.value.items():
            here = f"{path}.{key}"
            if key in times and path == name:
                self.time(here, inner)
            elif key in SECTIONS[name]:
                self.number(here, inner)
            elif key in CURVES.get(name, {}):
                self.curve(here, inner, CURVES[name][key])
            elif key == "grid" and name == "buys":
                if isinstance(inner.value, dict):
                    for depth, row in inner.value.items():
                        self.point(row, here, "offer", depth)
                        self.curve(f"{here}.{depth}", row, "delay")
                else:
                    self.fault("expected offers", inner, here, "percent: {delay: rate}")
            else:
                self.fault("unknown word", inner, here, ", ".join(known), nearest=nearest(key, known))

    def curve(self, path: str, node: Node, axis: Any) -> None:
        if not isinstance(node.value, dict) or not node.value:
            self.fault("expected points of a curve", node, path, "for example {1h: 1, 1d: 0.7}", found=node.plain())
            return
        for key, inner in node.value.items():
            if self.point(inner, path, axis, key):
                self.number(f"{path}.{key}", inner)

    def point(self, node: Node, path: str, axis: Any, key: str) -> bool:
        try:
            axis_value(axis, key)
        except ValueError as error:
            allowed = str(error).rsplit("allowed: ", maxsplit=1)[-1]
            self.fault("not a point of this curve", node, path, allowed, found=key)
            return False
        return True

    def time(self, path: str, node: Node) -> None:
        try:
            value = Duration.parse(node.value)
        except (ValueError, TypeError):
            value = Duration(-1)
        if value.elapsed <= 0:
            self.fault("expected a duration", node, path, "for example 30m, 4h or 7d", found=node.plain())
        else:
            self.times[path] = value

    def number(self, path: str, node: Node) -> None:
        kind = kind_of(path)
        if kind is None:
            self.fault("no such number", node, path, None)
            return
        plain = node.plain()
        source = self.source
        if isinstance(plain, dict):
            unknown = set(plain) - {"likely", "low", "high", "source"}
            source = str(plain.get("source", source))
            likely = plain.get("likely")
            plain = None if unknown or likely is None else [plain.get("low", likely), likely, plain.get("high", likely)]
        values = plain if isinstance(plain, list) else [plain] * 3
        if len(values) != 3 or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            self.fault("expected a number", node, path, _A_NUMBER, found=node.plain())
            return
        number = Quantity(float(values[1]), float(values[0]), float(values[2]), kind, source)
        wrong = fault_of(path, number, line=node.line, file=self.file)
        stated_loss = kind == "effect" and number.low < 0 and source.split()[:1] != ["fitted"]
        if stated_loss and not wrong:
            self.fault("out of range", node, path, "a probability, 0 to 1", found=node.plain())
        self.faults += wrong
        self.numbers[path] = number


def dump(model: ResponseModel) -> str:
    """The model as YAML; a number that is not known is [low, likely, high], or says its own source."""
    lines = [f"response: {_text(model.name)}", f"source: {_text(model.source)}"]
    lines += [f"{key}: {_text(getattr(model, key))}" for key in ("purchase", "value")]
    lines += [f"{key}: {model.times[key]}" for key in ("window", "fatigue_within")]
    tree: dict[str, Any] = {}
    times = {key: value for key, value in model.times.items() if "." in key and value != DURATIONS[key]}
    values: list[tuple[str, Quantity | Duration]] = [*times.items(), *model.numbers.items()]
    for path, value in values:
        _place(tree, _steps(path), _written(value, model.source))
    _lines(tree, 0, lines)
    return "\n".join(lines) + "\n"


def _steps(path: str) -> list[str]:
    """The words under which a number stands; a point of a curve may hold a dot itself."""
    parts = path.split(".")
    if parts[0] == "mails":
        return [parts[0], f"{parts[1]}.{parts[2]}", *_steps(".".join(parts[3:]))]
    if parts[1:2] == ["grid"]:
        return [*parts[:2], ".".join(parts[2:-1]), parts[-1]]
    return parts[:2] + ([".".join(parts[2:])] if len(parts) > 2 else [])


def _place(tree: dict[str, Any], steps: list[str], text: str) -> None:
    for step in steps[:-1]:
        tree = tree.setdefault(step, {})
    tree[steps[-1]] = text


def _written(value: Quantity | Duration, source: str) -> str:
    if isinstance(value, Duration):
        return str(value)
    low, likely, high = (_number(one) for one in (value.low, value.likely, value.high))
    if value.source != source:
        ends = "" if value.known else f"low: {low}, high: {high}, "
        return f"{{likely: {likely}, {ends}source: {_text(value.source)}}}"
    return likely if value.known else f"[{low}, {likely}, {high}]"


def _number(value: float) -> str:
    text = repr(float(value))
    return text.removesuffix(".0")


def _text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _lines(tree: dict[str, Any], depth: int, lines: list[str]) -> None:
    for key, value in tree.items():
        name = key if key.replace("_", "").replace(".", "").isalpha() else _text(key)
        if isinstance(value, dict):
            lines.append(f"{'  ' * depth}{name}:")
            _lines(value, depth + 1, lines)
        else:
            lines.append(f"{'  ' * depth}{name}: {value}")
