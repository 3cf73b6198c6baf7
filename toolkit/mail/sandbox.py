"""jinja behind bars: an allow-list of its language, plain values only, and a budget of steps, size and time.

jinja's own sandbox stops a template from reaching into Python; it does not stop `'x' * 200000000`, nested loops or
a `%2000000000d`. Here a template may read values, branch, loop and call named filters; whatever can grow is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import Decimal
from itertools import islice
from typing import Any, cast

from babel import Locale
from jinja2 import Template, nodes, pass_context
from jinja2.filters import FILTERS
from jinja2.runtime import Context, LoopContext, StrictUndefined, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS
from markupsafe import Markup, escape

from toolkit.errors import Fault, nearest
from toolkit.mail.foreign import field_named
from toolkit.mail.formats import ShownError, as_date, as_link, as_money, as_number, as_percent, as_time
from toolkit.mail.values import LONGEST_TEXT, Listed

__all__ = ["FILTER_NAMES", "BudgetError", "MissingError", "RenderState", "Sandbox", "check_tree", "run"]

MOST_STEPS = 20_000
MOST_OUTPUT = 1_000_000
MOST_SECONDS = 1.0
_DEEPEST_TREE = 60
_AT_ONCE = 64
_STATE = "\0state"  # no template can name this
_LOOP = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"})


class MissingError(Exception):
    """A template asked for a value that is not there."""

    def __init__(self, name: str, holder: object) -> None:
        super().__init__(name)
        self.name = name
        self.holder = holder


class BudgetError(Exception):
    """A template took too many steps, too long, or wrote too much."""


class _Missing(StrictUndefined):
    __slots__ = ()

    def __init__(self, hint: str | None = None, obj: Any = None, name: str | None = None, exc: Any = None) -> None:
        # jinja only calls what it is given here, so the error can carry the holder beside the name.
        super().__init__(hint, obj, name, exc or cast(Any, _raiser(obj, name)))


def _raiser(holder: object, name: str | None) -> Callable[[str | None], MissingError]:
    return lambda _message: MissingError(str(name), holder)


@dataclass(slots=True)
class RenderState:
    """What one rendering needs beside its values, and what it has used up."""

    locale: Locale
    zone: tzinfo
    currency: str
    steps: int = 0
    started: float = field(default_factory=time.thread_time)

    def step(self) -> None:
        """Count one turn of a loop."""
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise BudgetError(f"more than {MOST_STEPS:,} turns of its loops")
        self.check_time()

    def check_time(self) -> None:
        """Stop where the thread has worked for too long."""
        if time.thread_time() - self.started > MOST_SECONDS:
            raise BudgetError(f"more than {MOST_SECONDS:g} s of work")


# --- filters ----------------------------------------------------------------------------------------------------------


def _state(context: Context) -> RenderState:
    state: RenderState = context.parent[_STATE]
    return state


@pass_context
def _money(context: Context, value: Any, currency: str | None = None) -> str:
    state = _state(context)
    return as_money(value, currency or state.currency, state.locale)


@pass_context
def _number(context: Context, value: Any, decimals: int | None = None) -> str:
    return as_number(value, decimals, _state(context).locale)


@pass_context
def _percent(context: Context, value: Any) -> str:
    return as_percent(value, _state(context).locale)


@pass_context
def _date(context: Context, value: Any, style: str = "long") -> str:
    state = _state(context)
    return as_date(value, style, state.locale, state.zone)


@pass_context
def _time(context: Context, value: Any) -> str:
    state = _state(context)
    return as_time(value, state.locale, state.zone)


@pass_context
def _each(context: Context, values: Iterable[Any]) -> Iterator[Any]:
    state = _state(context)
    for value in values:
        state.step()
        yield value


@pass_context
def _concat(context: Context, values: list[Any]) -> str:
    _state(context).check_time()
    texts = [value if isinstance(value, Markup) else str(value) for value in values]
    return _sized(Markup("").join(texts) if any(isinstance(text, Markup) for text in texts) else "".join(texts))


@pass_context
def _join(context: Context, values: Any, between: Any = "") -> str:
    # jinja's own would build a text of any length before it could be measured.
    texts = []
    size = 0
    for value in _each(context, values):
        text = value if isinstance(value, Markup) else str(value)
        size += len(text) + len(str(between))
        if size > LONGEST_TEXT:
            raise BudgetError(f"a value of more than {LONGEST_TEXT:,} characters")
        texts.append(text)
    if context.eval_ctx.autoescape:
        return escape(between).join(texts)
    return str(between).join(texts)


def _default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    # jinja's own keeps an empty text, and a name of blanks is no name: "Hello ," would go out.
    missing = isinstance(value, Undefined) or (isinstance(value, str) and not value.strip())
    return default_value if missing or (boolean and not value) else value


def _items(value: Any) -> Listed:
    # jinja's own is a generator, which shows its place in memory where it is not looped over.
    if isinstance(value, Undefined):
        return Listed()
    if not isinstance(value, dict):
        raise ShownError("items are those of values by name, and this is none", value)
    return Listed(value.items())


def _link(url: Any, **query: Any) -> str:
    for value in (url, *query.values()):
        if isinstance(value, Undefined):
            str(value)
    return as_link(url, **query)


def _sized(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        raise BudgetError(f"a value of more than {LONGEST_TEXT:,} characters")
    return text


_OWN_FILTERS = {
    "d": _default,
    "default": _default,
    "money": _money,
    "number": _number,
    "percent": _percent,
    "date": _date,
    "items": _items,
    "join": _join,
    "time": _time,
}
_BORROWED_FILTERS = (
    "abs",
    "capitalize",
    "count",
    "e",
    "escape",
    "first",
    "float",
    "int",
    "last",
    "length",
    "lower",
    "title",
    "trim",
    "truncate",
    "upper",
    "urlencode",
)
_TESTS = (
    *("defined", "undefined", "odd", "even", "divisibleby", "string", "number", "mapping", "sequence", "boolean"),
    *("true", "false", "in", "eq", "equalto", "==", "ne", "!="),
    *("lt", "lessthan", "<", "le", "<=", "gt", "greaterthan", ">", "ge", ">="),
)
# What other tools call a filter.
_OTHER_FILTERS = {
    "currency": "money",
    "price": "money",
    "round": "number",
    "format": "number",
    "strftime": "date",
    "size": "length",
    "upcase": "upper",
    "downcase": "lower",
    "strip": "trim",
}
FILTER_NAMES = tuple(sorted([*_OWN_FILTERS, *_BORROWED_FILTERS]))


# --- environment ------------------------------------------------------------------------------------------------------


class Sandbox(ImmutableSandboxedEnvironment):
    """A jinja environment that knows nothing but the names given here."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    intercepted_unops = frozenset({"-", "+"})

    def __init__(self, *, html: bool) -> None:
        super().__init__(
            autoescape=html,
            undefined=_Missing,
            trim_blocks=not html,
            lstrip_blocks=not html,
            keep_trailing_newline=True,
            optimized=False,
            cache_size=0,
        )
        self.filters = {name: FILTERS[name] for name in _BORROWED_FILTERS}
        self.filters.update(_OWN_FILTERS)
        self.filters.update(_each=_each, _concat=_concat)
        self.tests = {name: TESTS[name] for name in _TESTS}
        self.globals = {"link": _link}

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict):
            try:
                return obj[attribute]
            except KeyError:
                return _Missing(obj=obj, name=attribute)
        if isinstance(obj, Undefined):
            return obj
        if isinstance(obj, LoopContext) and attribute in _LOOP:
            return getattr(obj, attribute)
        return _Missing(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, dict | list | tuple | str) and isinstance(argument, str | int):
            holder: Any = obj
            try:
                return holder[argument]
            except (LookupError, TypeError):
                return _Missing(obj=obj, name=str(argument))
        return obj if isinstance(obj, Undefined) else _Missing(obj=obj, name=str(argument))

    def is_safe_callable(self, obj: Any) -> bool:
        return obj is _link

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, Undefined):
            str(left)
        if isinstance(right, Undefined):
            str(right)
        if _is_number(left) and _is_number(right):
            if abs(left) > 1e15 or abs(right) > 1e15:
                raise BudgetError("a number over 10^15")
            return super().call_binop(context, operator, left, right)
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return _sized(left + right)
        raise ShownError(f"expected numbers around {operator!r}", f"{left!r:.40} and {right!r:.40}")

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        if isinstance(arg, Undefined):
            str(arg)
        if not _is_number(arg):
            raise ShownError(f"expected a number after {operator!r}", f"{arg!r:.40}")
        return super().call_unop(context, operator, arg)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal)


def run(template: Template, values: Mapping[str, Any], state: RenderState) -> list[str]:
    """The text a compiled template gives for plain values, in the pieces it wrote.

    Raises:
        MissingError: it asked for a value that is not there.
        BudgetError: it took too many steps, too long, or wrote too much.
    """
    context = template.new_context({**values, _STATE: state})
    written = template.root_render_func(context)
    pieces: list[str] = []
    size = 0
    # Measured a handful at a time: a piece is a value or a stretch of the template, and neither is long.
    while more := list(islice(written, _AT_ONCE)):
        size += sum(map(len, more))
        if size > MOST_OUTPUT:
            raise BudgetError(f"more than {MOST_OUTPUT:,} characters written")
        pieces += more
    return pieces


# --- the allow-list of the language -----------------------------------------------------------------------------------

_ALLOWED: tuple[type[nodes.Node], ...] = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.List,
    nodes.Tuple,
    nodes.Getattr,
    nodes.Getitem,
    nodes.If,
    nodes.For,
    nodes.Assign,
    nodes.Filter,
    nodes.Test,
    nodes.Call,
    nodes.Keyword,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Add,
    nodes.Sub,
    nodes.Mul,
    nodes.Div,
    nodes.FloorDiv,
    nodes.Mod,
    nodes.Neg,
    nodes.Pos,
    nodes.Concat,
    nodes.CondExpr,
)
_CALLED = {
    nodes.Include: "{% include %} with anything but a file name in quotes",
    nodes.AssignBlock: "{% set %} ... {% endset %}",
    nodes.Macro: "{% macro %}",
    nodes.CallBlock: "{% call %}",
    nodes.FilterBlock: "{% filter %}",
    nodes.Extends: "{% extends %}",
    nodes.Block: "{% block %}",
    nodes.Pow: "**",
    nodes.Dict: "a dict",
    nodes.Slice: "a slice",
    nodes.Import: "{% import %}",
    nodes.FromImport: "{% from %}",
    nodes.With: "{% with %}",
    nodes.Scope: "{% autoescape %}",
    nodes.ScopedEvalContextModifier: "{% autoescape %}",
}


def check_tree(tree: nodes.Template, names: Iterable[str]) -> list[tuple[int, Fault]]:
    """What a parsed template says that is not allowed; where it is, loops and `~` are made to be counted.

    Args:
        tree: changed in place.
        names: the values a template may name.

    Returns:
        One entry per fault: line in the parsed text, and the fault without its place.
    """
    faults: list[tuple[int, Fault]] = []
    known = {*names, "link"}
    own = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
    stack: list[tuple[nodes.Node, int]] = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        fault = _fault_of(node, known, own) if depth <= _DEEPEST_TREE else Fault("expressions nested too deeply")
        if fault is not None:
            faults.append((node.lineno or 1, fault))
            continue
        stack.extend((child, depth + 1) for child in node.iter_child_nodes())
        if isinstance(node, nodes.For):
            node.iter = nodes.Filter(node.iter, "_each", [], [], None, None, lineno=node.lineno)
    if not faults:
        _count_concats(tree)
    return sorted(faults, key=lambda one: one[0])


def _fault_of(node: nodes.Node, known: set[str], own: set[str]) -> Fault | None:
    if not isinstance(node, _ALLOWED):
        what = _CALLED.get(type(node), type(node).__name__)
        return Fault("not allowed in a mail", found=what, allowed="values, filters, if, for and set")
    if isinstance(node, nodes.Name):
        return _fault_of_name(node, known, own)
    if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        return Fault("names that begin with _ are not allowed in a mail", found=node.attr)
    if isinstance(node, nodes.Filter) and (node.name not in FILTER_NAMES or node.node is None):
        near = _OTHER_FILTERS.get(node.name) or nearest(node.name, FILTER_NAMES)
        return Fault("no such filter", found=node.name, allowed=", ".join(FILTER_NAMES), nearest=near)
    if isinstance(node, nodes.Test) and node.name not in _TESTS:
        return Fault(
            "no such test",
            found=node.name,
            allowed="defined, undefined, odd, even ...",
            nearest=nearest(node.name, _TESTS),
        )
    if isinstance(node, nodes.Call):
        if not (isinstance(node.node, nodes.Name) and node.node.name == "link"):
            return Fault("only link(...) can be called in a mail", allowed="filters, for example | upper")
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            return Fault("link(...) takes a link and named values")
    if isinstance(node, nodes.For) and node.recursive:
        return Fault("a recursive loop is not allowed in a mail")
    return None


def _fault_of_name(node: nodes.Name, known: set[str], own: set[str]) -> Fault | None:
    if node.ctx == "store":
        if node.name in known or node.name.startswith("_"):
            return Fault("this name is taken; choose another", found=node.name)
        return None
    if node.name in known or node.name in own or node.name == "loop":
        return None
    return Fault(
        "no such value",
        found=node.name,
        allowed=", ".join(sorted(known)),
        nearest=field_named(node.name) or nearest(node.name, known | own),
    )


def _count_concats(tree: nodes.Template) -> None:
    stack: list[nodes.Node] = [tree]
    while stack:
        node = stack.pop()
        for name, value in list(node.iter_fields()):
            if isinstance(value, nodes.Concat):
                setattr(node, name, _counted(value))
            elif isinstance(value, list):
                value[:] = [_counted(one) if isinstance(one, nodes.Concat) else one for one in value]
        stack.extend(node.iter_child_nodes())


def _counted(concat: nodes.Concat) -> nodes.Filter:
    pieces = nodes.List(concat.nodes, lineno=concat.lineno)
    return nodes.Filter(pieces, "_concat", [], [], None, None, lineno=concat.lineno)
