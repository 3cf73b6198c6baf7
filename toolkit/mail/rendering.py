"""One compiled part and plain values in, its text out; what goes wrong is named by the author's file and line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2.exceptions import UndefinedError

from toolkit.errors import Fault, TemplateError, nearest
from toolkit.mail.formats import ShownError
from toolkit.mail.letter import Letter
from toolkit.mail.samples import SAMPLE
from toolkit.mail.sandbox import BudgetError, MissingError, RenderState, run
from toolkit.mail.variants import Part

__all__ = ["rendered"]


# What Python says of the usual slips, and what it means.
_PLAINLY = (
    ("positional argument", "a filter has more or fewer values in its brackets than it takes"),
    ("unexpected keyword argument", "a filter has a named value in its brackets that it does not know"),
    ("not supported between instances", "a number and a text cannot be compared; a number stands without quotes"),
    ("division by zero", "a division by zero"),
    ("is not iterable", "for goes through a list, and this is none"),
    ("cannot unpack", "two values are expected of each here, and this is one"),
    ("has no len()", "length and count are those of a text or a list, and this is none"),
    ("is not reversible", "the last is that of a text or a list, and this is none"),
)


def rendered(part: Part, values: Mapping[str, Any], state: RenderState, letter: Letter) -> list[str]:
    """The text a part gives for the values of a letter, in the pieces it was written in.

    Raises:
        TemplateError: a value is missing or cannot be shown, or the part is over its budget.
    """
    try:
        return run(part.template, values, state)
    except MissingError as fault:
        raise TemplateError([_missing(fault, part, values, letter)]) from None
    except BudgetError as fault:
        place = _line_of(fault, part)
        raise TemplateError([Fault(f"this mail is over its budget: {fault}", file=place[0], line=place[1])]) from None
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        UndefinedError,
        ValueError,
    ) as fault:
        file, line = _line_of(fault, part)
        if isinstance(fault, ShownError):
            said = Fault(fault.message, file=file, line=line, found=fault.found, nearest=fault.near)
        else:
            message = str(fault) or type(fault).__name__
            plain = next((plain for words, plain in _PLAINLY if words in message), message)
            said = Fault(plain, file=file, line=line)
        raise TemplateError([said]) from fault


def _line_of(fault: BaseException, part: Part) -> tuple[str, int]:
    line = 0
    step = fault.__traceback__
    while step is not None:
        if step.tb_frame.f_globals.get("__jinja_template__") is part.template:
            line = part.template.get_corresponding_lineno(step.tb_lineno)
        step = step.tb_next
    return part.place(line)


def _missing(fault: MissingError, part: Part, values: Mapping[str, Any], letter: Letter) -> Fault:
    file, line = _line_of(fault, part)
    path = _path_of(fault.holder, values)
    word = f"{path}.{fault.name}" if path else fault.name
    if word == "unsubscribe" or (letter.class_ == "transactional" and word.partition(".")[0] == "offer"):
        return Fault("a transactional mail has neither unsubscribe nor offer", file=file, line=line, found=word)
    if word == "offer":
        return Fault(
            "this step has no offer",
            file=file,
            line=line,
            found=word,
            allowed="offer: in the scenario's send step, or {% if offer is defined %}",
        )
    holder = fault.holder if isinstance(fault.holder, dict) else {}
    near = nearest(fault.name, holder if path else values)
    here = "a value of this customer"
    if letter.decision_id.startswith(SAMPLE):
        here = f"a value of that name in {letter.template.rpartition('/')[0]}/sample.yaml"
    return Fault(
        "undefined variable",
        file=file,
        line=line,
        found=word,
        nearest=f"{path}.{near}" if path and near else near,
        allowed=f'{here}, or {{{{ {word} | default("") }}}} where it may be missing',
    )


def _path_of(holder: object, values: Mapping[str, Any], before: str = "") -> str:
    for name, value in values.items():
        if value is holder:
            return before + name
        if isinstance(value, dict):
            inner = _path_of(holder, value, f"{before}{name}.")
            if inner:
                return inner
    return ""
