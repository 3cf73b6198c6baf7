"""The sheet of one step: what of it can be set, and what was typed and not taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.errors import Fault, ScenarioError
from toolkit.scenario.models import Experiment, Repeat, Send, Step, Wait, WaitFor, WaitUntil
from toolkit.widgets.markup import Html, button, field, tag, together

__all__ = ["Drafts", "number_typed", "step_sheet", "whole_number_typed"]

Drafts = Mapping[str, tuple[str, str]]
"""What was typed, and why it was not taken, by place in the step."""


def number_typed(value: Any) -> float:
    """What was typed as a number: `10`, `12,5` or `10 %`.

    Raises:
        ScenarioError: it is none.

    >>> number_typed("12,5 %")
    12.5
    """
    try:
        return float(str(value).strip().removesuffix("%").strip().replace(",", "."))
    except ValueError:
        raise ScenarioError([Fault("expected a number", found=value, allowed="a number such as 10")]) from None


def whole_number_typed(value: Any) -> int:
    """What was typed as a whole number.

    Raises:
        ScenarioError: it is none.
    """
    try:
        return int(str(value).strip())
    except ValueError:
        raise ScenarioError([Fault("expected a whole number", found=value, allowed="a number such as 2")]) from None


def step_sheet(step: Step, experiment: Experiment | None, drafts: Drafts) -> Html:
    """The boxes of a step, and the arms that get it.

    Args:
        step: the one that was pressed.
        experiment: of the scenario, where it has one.
        drafts: what was typed and not taken, with the reason, by place.
    """

    def box(label: str, act: str, place: str, value: str, hint: str) -> Html:
        draft = drafts.get(place)
        if draft is None:
            return field(label, act, value, hint=hint, size=8)
        typed, why = draft
        return field(label, act, typed, hint=f"not taken: {why}", size=8, aria_invalid="true")

    parts: list[Html] = []
    match step:
        case Wait(wait=WaitUntil() as moment):
            parts.append(box("Wait until", "until", "wait.until", str(moment.until), "local time, such as 09:00"))
        case Wait():
            parts.append(box("Wait", "wait", "wait", str(step.wait), "such as 30m, 4h or 1d"))
        case WaitFor():
            parts.append(box("Wait at most", "within", "wait_for.within", str(step.wait_for.within), "such as 1d"))
        case Repeat():
            parts.append(box("Times", "repeat", "repeat", str(step.repeat), "1 to 50"))
        case Send():
            offer = step.offer
            percent = "" if offer is None or offer.percent is None else f"{offer.percent:g}"
            valid = "" if offer is None or offer.valid is None else str(offer.valid)
            parts.append(box("Discount, %", "percent", "offer.percent", percent, "empty: none"))
            parts.append(box("Valid for", "valid", "offer.valid", valid, "such as 3d"))
            parts.append(
                tag(
                    "label",
                    tag("input", type="checkbox", checked=bool(offer and offer.free_shipping), data_act="shipping"),
                    "free shipping",
                    class_="ttk-check",
                )
            )
        case _:
            parts.append(tag("span", "This step has nothing to set here; change it in the file.", class_="ttk-soft"))
    arms = list(experiment.arms) if experiment else []
    holdout = experiment.holdout if experiment else None
    if arms and isinstance(step, Send | Wait):
        parts.append(
            tag(
                "fieldset",
                tag("legend", "Arms that get it", class_="ttk-what"),
                tag(
                    "div",
                    together(
                        button(
                            f"{arm} (control)" if arm == holdout != "control" else arm,
                            "arm",
                            value=arm,
                            aria_pressed=str(not step.only or arm in step.only).lower(),
                        )
                        for arm in arms
                    ),
                    class_="ttk-row",
                ),
                class_="ttk-arms",
            )
        )
    title = str(step.id).replace("_", " ")
    return tag(
        "div",
        tag("header", tag("h4", f"Step {title}"), tag("span", class_="ttk-soft"), button("Close", "close")),
        tag("div", together(parts), class_="ttk-fields"),
        class_="ttk-sheet ttk-gap",
    )
