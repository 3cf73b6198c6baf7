"""Conditions on columns, written as SQL boolean expressions and checked word by word.

An expression is read with sqlglot and written again from an allow-list of constructs, every column quoted and every
operation in brackets, so that nothing but a comparison of columns and literals can reach the database.
Where a value is missing, a comparison is neither true nor false and counts as not true; so it is where a value
cannot be cast, and where something is divided by zero.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from toolkit.errors import Fault, ScenarioError, listed, nearest
from toolkit.scenario.findings import check_is, kinds_of

__all__ = ["ATTRIBUTES", "EVENT_COLUMNS", "FUNCTIONS", "Expression"]

EVENT_COLUMNS: Mapping[str, str] = {
    "customer_id": "text",
    "event": "text",
    "at": "time",
    "received_at": "time",
    "event_id": "text",
}
"""What every event has, and of what kind."""

ATTRIBUTES: Mapping[str, str] = {
    "customer_id": "text",
    "email": "text",
    "timezone": "text",
    "locale": "text",
    "consent": "flag",
}
"""What every customer has, and of what kind."""

FUNCTIONS = (
    "abs",
    "ceil",
    "coalesce",
    "contains",
    "day",
    "floor",
    "length",
    "lower",
    "month",
    "round",
    "starts_with",
    "substring",
    "trim",
    "upper",
    "year",
)
"""Functions an expression may use, besides cast."""

MAX_CHARACTERS = 4_000

_COMPARISONS = {exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<="}
_COMPARED = frozenset((*_COMPARISONS, exp.In))
_ARITHMETIC = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%"}
_LIKES = {exp.Like: "LIKE", exp.ILike: "ILIKE"}
_ONE_ARGUMENT: dict[type[exp.Expression], tuple[str, str, str]] = {
    exp.Lower: ("lower", "text", "text"),
    exp.Upper: ("upper", "text", "text"),
    exp.Trim: ("trim", "text", "text"),
    exp.Length: ("length", "text", "number"),
    exp.Abs: ("abs", "number", "number"),
    exp.Ceil: ("ceil", "number", "number"),
    exp.Floor: ("floor", "number", "number"),
}
_TYPES = (
    ("BIGINT", "number", ("INT", "BIGINT", "SMALLINT", "TINYINT", "HUGEINT", "UINT", "UBIGINT")),
    ("DOUBLE", "number", ("DOUBLE", "FLOAT", "DECIMAL")),
    ("VARCHAR", "text", ("TEXT", "VARCHAR", "CHAR", "NCHAR", "NVARCHAR")),
    ("DATE", "time", ("DATE",)),
    ("TIMESTAMP", "time", ("TIMESTAMP", "TIMESTAMPNTZ", "DATETIME")),
    ("BOOLEAN", "flag", ("BOOLEAN",)),
)
# What a construct may carry. Anything else, such as an option that a later parser puts into a node, is refused rather
# than forgotten.
_PARTS: dict[type[exp.Expression], frozenset[str]] = {
    exp.Like: frozenset(("this", "expression", "negate")),
    exp.ILike: frozenset(("this", "expression", "negate")),
    exp.In: frozenset(("this", "expressions")),
    exp.Between: frozenset(("this", "low", "high")),
    exp.Coalesce: frozenset(("this", "expressions")),
    exp.Round: frozenset(("this", "decimals")),
    exp.Substring: frozenset(("this", "start", "length")),
    exp.Cast: frozenset(("this", "to")),
    exp.TryCast: frozenset(("this", "to", "safe")),
    exp.Literal: frozenset(("this", "is_string")),
}
_QUOTED = (sqlglot.TokenType.STRING, sqlglot.TokenType.IDENTIFIER)
_USUAL_PARTS = frozenset(("this", "expression"))
_ONE_PART = frozenset(("this",))
_ALLOWED = (
    "columns, numbers, 'text', = <> < <= > >=, and, or, not, in, between, like, ilike, is null, + - * / %, cast, "
    + ", ".join(FUNCTIONS)
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked condition on columns.

    sql: canonical DuckDB SQL in brackets, columns quoted; safe to stand in a query.
    columns: the columns it reads, in the order of the alphabet.
    text: as it was written.

    >>> rule = Expression.parse("value >= 20 and country in ('FR', 'BE')")
    >>> rule.sql
    '(("value" >= 20) AND ("country" IN (\\'FR\\', \\'BE\\')))'
    >>> rule.columns
    ('country', 'value')
    """

    sql: str
    columns: tuple[str, ...]
    text: str = field(compare=False)

    @classmethod
    def parse(cls, text: str, *, columns: Mapping[str, str] | None = None) -> Expression:
        """The checked form of a condition.

        Args:
            text: an SQL boolean expression over columns and literals. Times are UTC.
            columns: the columns there are and their kinds (number, text, flag, time, empty); any where not given.

        Returns:
            The expression.

        Raises:
            ScenarioError: it is not an expression, uses what is not allowed, compares what cannot be compared, is not
                true or false, or names a column that is not there; carries all faults and the nearest right word.

        >>> Expression.parse("valeu > 20", columns={"value": "number"})
        Traceback (most recent call last):
        ...
        toolkit.errors.ScenarioError: unknown column; found 'valeu'; allowed: value; did you mean 'value'?
        """
        check_is(text, str, "a condition in text")
        parsed, faults = _parse(text, kinds_of(columns))
        if parsed is None or faults:
            raise ScenarioError(faults)
        return parsed

    @classmethod
    def faults(cls, text: str, *, columns: Mapping[str, str] | None = None) -> tuple[Fault, ...]:
        """What is wrong with a condition; nothing when `parse` would take it."""
        return _parse(text, kinds_of(columns))[1]


@lru_cache(maxsize=4096)
def _parse(text: str, columns: tuple[tuple[str, str], ...] | None) -> tuple[Expression | None, tuple[Fault, ...]]:
    if not text.strip():
        return None, (Fault("the condition is empty", allowed=_ALLOWED),)
    if len(text) > MAX_CHARACTERS:
        return None, (Fault("the condition is too long", found=len(text), allowed=f"{MAX_CHARACTERS:,} characters"),)
    try:
        tokens = sqlglot.tokenize(text, read="duckdb")
        said = _odd_words(text, tokens)
        if said is not None:
            return None, (said,)
        tree = sqlglot.parse_one(text, into=exp.Condition, dialect="duckdb")
        writer = _Writer(dict(columns) if columns is not None else None, text)
        sql, kind = writer.write(tree)
    except (SqlglotError, ValueError) as error:
        return None, (_unreadable(text, error),)
    except RecursionError:
        return None, (Fault("the condition is nested too deep", found=text[:80]),)
    if not writer.faults and kind not in ("flag", "any"):
        allowed = "something true or false, such as a comparison"
        writer.faults.append(Fault(f"this is {_A[kind]}, not a condition", found=text, allowed=allowed))
    return Expression(sql, tuple(sorted(writer.columns)), text), tuple(dict.fromkeys(writer.faults))


def _odd_words(text: str, tokens: list[Any]) -> Fault | None:
    """What the words alone show, before the parser makes something of them."""
    kinds = [token.token_type for token in tokens]
    words = ["" if token.token_type in _QUOTED else token.text.upper() for token in tokens]
    end = tokens[-1].end + 1 if tokens else 0
    if any(token.comments for token in tokens) or text[end:].strip(" \t\r\n;"):
        return Fault("a comment in a condition", found=text, allowed="a comment of the file, after #")
    if sqlglot.TokenType.SEMICOLON in kinds:
        return Fault("more than one expression", found=text, allowed="one, without ;")
    if "&&" in words or "||" in words:
        right = _outside_quotes(r"\s*&&\s*", " and ", _outside_quotes(r"\s*\|\|\s*", " or ", text))
        return Fault("not a condition in SQL", found=text, allowed="and, or", nearest=_corrected(text, right))
    for word, kind in zip(words, kinds, strict=True):
        if word == "IF":
            return Fault("a function that conditions do not have", found="if", allowed=", ".join(FUNCTIONS))
        if kind is sqlglot.TokenType.VAR and re.search(r"[‘’“”]", word):
            return Fault("curly quotes", found=text, allowed="text in straight single quotes: 'FR'")
    for place, word in enumerate(words):
        # The parser would take the arguments of like(a, b) the other way round.
        if word in ("LIKE", "ILIKE") and (place == 0 or words[place - 1] in ("AND", "OR", "(", ",")):
            return Fault("like is not a function", found=text, allowed="country like 'F%'")
    return None


def _unreadable(text: str, error: Exception) -> Fault:
    message = str(error.__cause__ or error).splitlines()[0]
    signs = re.search("=>|=<", re.sub("'[^']*'", "", text))
    if signs is not None:
        right = signs[0][::-1]
        hint = f": the sign is written {right}"
        return Fault(
            "not a condition in SQL" + hint, found=text, allowed=_ALLOWED, nearest=text.replace(signs[0], right)
        )
    if text.count("'") % 2 or text.count('"') % 2:
        hint = ": a quote is missing"
    elif "Required keyword" in message:
        hint = ": something is missing"
    elif "Expecting )" in message:
        hint = ": a ) is missing"
    elif "Unexpected token" in message:
        faults = getattr(error.__cause__ or error, "errors", [])
        word = faults[0].get("highlight") if faults else None
        hint = f": it cannot be read from {word!r} on" if word else ""
    else:
        hint = "" if "Failed to parse" in message else f": {message.partition('. ')[0]}"
    near = None if "(" in text else _corrected(text, _outside_quotes(r"(?<=\d),(?=\d{1,2}(?!\d))", ".", text))
    return Fault("not a condition in SQL" + hint, found=text, allowed=_ALLOWED, nearest=near)


def _corrected(text: str, right: str) -> str | None:
    """Another form of a text, where it is another and a condition."""
    return None if right == text or _parse(right, None)[1] else right


def _outside_quotes(sign: str, right: str, text: str) -> str:
    """A text with another sign in the place of one, save in what it quotes."""
    return re.sub(rf"('[^']*'|\"[^\"]*\")|{sign}", lambda found: found[1] or right, text)


_A = {"number": "a number", "text": "text", "time": "a time", "flag": "true or false", "missing": "nothing"}
_MOMENT = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|(?P<offset>[+-]\d{2}(?::?\d{2})?))?)?"
)
_MOMENTS = "'2026-11-27' or '2026-11-27 09:00', in UTC"
_NUMBER = re.compile(r"(\d{1,18}(\.\d{0,30})?|\.\d{1,30})([eE][-+]?\d{1,2})?")

Written = tuple[str, str]
"""SQL and its kind: number, text, time, flag, missing (null), or any where it is not known."""


class _Writer:
    """Writes a parsed tree again, construct by construct, and notes what is not allowed."""

    def __init__(self, known: Mapping[str, str] | None, text: str) -> None:
        self.known = known
        self.text = text
        self.columns: set[str] = set()
        self.faults: list[Fault] = []

    def write(self, node: Any) -> Written:
        if node is None:
            self.faults.append(Fault("not a condition in SQL: something is missing"))
            return "NULL", "any"
        kind: Any = type(node)
        if (kind in _WRITERS or kind in _ONE_ARGUMENT or kind in _LIKES) and self._carries_more(node):
            return self._refused(node.sql("duckdb"), _ALLOWED)
        if isinstance(node, exp.And | exp.Or):
            word = " AND " if isinstance(node, exp.And) else " OR "
            return "(" + word.join(self._of(part, "flag") for part in node.flatten()) + ")", "flag"
        if kind in _COMPARISONS:
            return self._comparison(_COMPARISONS[kind], node.this, node.expression)
        if kind in _ARITHMETIC:
            left, right = (self._of(part, "number") for part in (node.this, node.expression))
            if kind in (exp.Div, exp.Mod):
                right = f"nullif({right}, 0)"  # nothing comes of a division by zero, not even an error
            return f"({left} {_ARITHMETIC[kind]} {right})", "number"
        if kind in _LIKES:
            left, right = (self._of(part, "text") for part in (node.this, node.expression))
            return f"({left} {'NOT ' if node.args.get('negate') else ''}{_LIKES[kind]} {right})", "flag"
        if kind in _ONE_ARGUMENT:
            name, wanted, result = _ONE_ARGUMENT[kind]
            return f"{name}({self._of(node.this, wanted)})", result
        writer = _WRITERS.get(kind)
        if writer is not None:
            return writer(self, node)
        return self._not_allowed(node)

    def _carries_more(self, node: exp.Expression) -> bool:
        known = _PARTS.get(type(node), _ONE_PART if type(node) in _ONE_ARGUMENT else _USUAL_PARTS)
        return any(part not in known and value not in (None, False, []) for part, value in node.args.items())

    def _of(self, node: Any, wanted: str) -> str:
        """The SQL of a part that has to be of a kind."""
        sql, kind = self.write(node)
        if kind not in (wanted, "any", "missing"):
            self._fault(f"expected {_A[wanted]}; this is {_A[kind]}", node)
        return sql

    def _comparison(self, sign: str, *parts: Any) -> Written:
        written = [self.write(part) for part in parts]
        kinds = {kind for _, kind in written} - {"any"}
        if "missing" in kinds:
            self._fault("nothing equals null", parts[0].parent, allowed="is null, is not null")
            kinds.discard("missing")
        if "time" in kinds and "text" in kinds:
            for part, (_, kind) in zip(parts, written, strict=True):
                if kind == "text" and isinstance(part, exp.Literal):
                    self._moment(part)
            kinds.discard("text")
        if kinds == {"number", "flag"} and all(
            kind != "number" or part.name in ("0", "1") for part, (_, kind) in zip(parts, written, strict=True)
        ):
            kinds = {"flag"}
        if len(kinds) > 1:
            names = sorted(kinds)
            said = " and ".join(_A[name] for name in names)
            allowed = "= true, = false, without quotes" if "flag" in kinds else "text in 'quotes', numbers without"
            if kinds == {"number", "text"}:
                texts = [
                    part.name
                    for part, (_, kind) in zip(parts, written, strict=True)
                    if kind == "text" and isinstance(part, exp.Column)
                ]
                allowed += "".join(
                    f"; {text} holds text: where it means an amount, make it a number before" for text in texts
                )
            self._fault(f"{said} cannot be compared", parts[0].parent, allowed=allowed)
        if sign == "IN":
            return f"({written[0][0]} IN ({', '.join(sql for sql, _ in written[1:])}))", "flag"
        if sign == "BETWEEN":
            return f"({written[0][0]} BETWEEN {written[1][0]} AND {written[2][0]})", "flag"
        return f"({written[0][0]} {sign} {written[1][0]})", "flag"

    def _moment(self, literal: exp.Literal) -> None:
        try:
            datetime.fromisoformat(literal.name)
        except ValueError:
            known = None
        else:
            known = _MOMENT.fullmatch(literal.name)
        if known is None:
            self._fault("not a date or time", literal, allowed=_MOMENTS)
        elif known["offset"]:
            # The database would pass over it, and compare with a moment hours away.
            self._fault("an offset in a time: times are UTC", literal, allowed=_MOMENTS)

    def _column(self, node: exp.Column) -> Written:
        if not isinstance(node.this, exp.Identifier):
            return self._refused(node.sql("duckdb"), "a column by its name")
        name = node.name
        self.columns.add(name)
        kind = "any" if self.known is None else self.known.get(name, "any")
        if self.known is not None and name not in self.known:
            shown = listed(sorted(self.known), near=name)
            near = nearest(name, self.known)
            around = node.parent
            compared = around is not None and type(around) in _COMPARED and around.this is not node
            is_text = near is None and (node.this.args.get("quoted") or compared)
            hint = "; text stands in single quotes" if is_text else ""
            self.faults.append(Fault(f"unknown column{hint}", found=name, allowed=shown, nearest=near))
        if kind == "empty":  # without a value it has no kind, and nothing comes of a comparison
            return "NULL", "any"
        return '"' + name.replace('"', '""') + '"', kind

    def _literal(self, node: exp.Literal) -> Written:
        if node.is_string:
            return "'" + node.name.replace("'", "''") + "'", "text"
        if not _NUMBER.fullmatch(node.name):
            return self._refused(node.name, "a number such as 20 or 0.5")
        return node.name, "number"

    def _is(self, node: exp.Is) -> Written:
        if isinstance(node.expression, exp.Null):
            return f"({self.write(node.this)[0]} IS NULL)", "flag"
        if isinstance(node.expression, exp.Boolean):
            return f"({self._of(node.this, 'flag')} IS {self.write(node.expression)[0]})", "flag"
        near = f"{node.this.sql('duckdb')} = {node.expression.sql('duckdb')}"
        return self._refused("is", "is null, is not null, is true, is false", near)

    def _in(self, node: exp.In) -> Written:
        if not node.expressions:
            return self._refused("in", "a list: in ('FR', 'BE')")
        return self._comparison("IN", node.this, *node.expressions)

    def _between(self, node: exp.Between) -> Written:
        return self._comparison("BETWEEN", node.this, node.args["low"], node.args["high"])

    def _coalesce(self, node: exp.Coalesce) -> Written:
        written = [self.write(part) for part in (node.this, *node.expressions)]
        kinds = {kind for _, kind in written} - {"any", "missing"}
        if len(kinds) > 1:
            self._fault("the values of coalesce are of different kinds", node)
        return f"coalesce({', '.join(sql for sql, _ in written)})", kinds.pop() if len(kinds) == 1 else "any"

    def _round(self, node: exp.Round) -> Written:
        digits = node.args.get("decimals")
        number = self._of(node.this, "number")
        if digits is None:
            return f"round({number})", "number"
        if not isinstance(digits, exp.Literal) or not re.fullmatch(r"\d{1,2}", digits.name):
            return self._refused("round", "round(number, 2)")
        return f"round({number}, {digits.name})", "number"

    def _two_texts(self, node: exp.StartsWith | exp.Contains) -> Written:
        name = "starts_with" if isinstance(node, exp.StartsWith) else "contains"
        return f"{name}({self._of(node.this, 'text')}, {self._of(node.expression, 'text')})", "flag"

    def _substring(self, node: exp.Substring) -> Written:
        numbers = [node.args[key] for key in ("start", "length") if node.args.get(key) is not None]
        if not numbers:
            return self._refused("substring", "substring(text, start, length)")
        if not all(isinstance(number, exp.Literal) and re.fullmatch(r"\d{1,4}", number.name) for number in numbers):
            return self._refused("substring", "whole numbers: substring(text, 1, 2)")
        parts = [self._of(node.this, "text"), *(number.name for number in numbers)]
        return f"substring({', '.join(parts)})", "text"

    def _part_of_date(self, node: exp.Expression) -> Written:
        if isinstance(node, exp.Extract):
            name, moment = node.name.lower(), node.expression
            if name not in ("year", "month", "day"):
                return self._refused(name, "year, month, day")
        else:
            name, moment = type(node).__name__.lower(), node.this
        sql, kind = self.write(moment)
        if kind not in ("time", "text", "any", "missing"):
            self._fault(f"expected a date; this is {_A[kind]}", moment)
        return f"{name}(TRY_CAST({sql} AS TIMESTAMP))", "number"

    def _cast(self, node: exp.Cast) -> Written:
        to = node.args["to"]
        word = getattr(to.this, "name", str(to.this))
        for name, kind, words in _TYPES:
            if word in words and not to.args.get("nested"):
                if kind == "time":
                    self._date_literal(node.this)
                return f"TRY_CAST({self.write(node.this)[0]} AS {name})", kind
        found = to.sql("duckdb").lower()
        return self._refused(found, "cast to int, double, varchar, date, timestamp or boolean")

    def _date_literal(self, node: exp.Expression) -> None:
        if isinstance(node, exp.Literal) and node.is_string:
            self._moment(node)

    def _not_allowed(self, node: Any) -> Written:
        if isinstance(node, exp.Func):
            # The parser has names of its own: what it calls rand stands there as random(), date_trunc under no name.
            names = [node.name] if isinstance(node, exp.Anonymous) else node.sql_names()
            there = set(re.findall(r"\w+", self.text.lower()))
            name = next((name.lower() for name in names if name.lower() in there), self.text)
            near = nearest(name, FUNCTIONS)
            self.faults.append(
                Fault("a function that conditions do not have", found=name, allowed=", ".join(FUNCTIONS), nearest=near)
            )
            return "NULL", "any"
        return self._refused(node.sql("duckdb"), _ALLOWED)

    def _refused(self, found: str, allowed: str, near: str | None = None) -> Written:
        near = near or _day_meant(found)
        self.faults.append(Fault("not allowed in a condition", found=found, allowed=allowed, nearest=near))
        return "NULL", "any"

    def _fault(self, message: str, node: exp.Expression, *, allowed: str | None = None) -> None:
        found = node.sql("duckdb")
        self.faults.append(Fault(message, found=found, allowed=allowed, nearest=_day_meant(found)))


def _day_meant(written: str) -> str | None:
    """A day as a condition has it; 01/05 may be in January or in May, and is not guessed."""
    day = re.fullmatch(r"'?(\d{1,2})\.(\d{1,2})\.(\d{4})'?", written)
    return f"'{day[3]}-{int(day[2]):02d}-{int(day[1]):02d}'" if day else None


_WRITERS: dict[type[exp.Expression], Callable[[_Writer, Any], Written]] = {
    exp.Paren: lambda writer, node: writer.write(node.this),
    exp.Not: lambda writer, node: (f"(NOT {writer._of(node.this, 'flag')})", "flag"),
    exp.Neg: lambda writer, node: (f"(- {writer._of(node.this, 'number')})", "number"),
    exp.Boolean: lambda writer, node: ("TRUE" if node.this else "FALSE", "flag"),
    exp.Null: lambda writer, node: ("NULL", "missing"),
    exp.Column: _Writer._column,
    exp.Literal: _Writer._literal,
    exp.Is: _Writer._is,
    exp.In: _Writer._in,
    exp.Between: _Writer._between,
    exp.Coalesce: _Writer._coalesce,
    exp.Round: _Writer._round,
    exp.StartsWith: _Writer._two_texts,
    exp.Contains: _Writer._two_texts,
    exp.Substring: _Writer._substring,
    exp.Year: _Writer._part_of_date,
    exp.Month: _Writer._part_of_date,
    exp.Day: _Writer._part_of_date,
    exp.Extract: _Writer._part_of_date,
    exp.Cast: _Writer._cast,
    exp.TryCast: _Writer._cast,
}
