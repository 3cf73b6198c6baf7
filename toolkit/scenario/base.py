"""What every construct of the language is built on: frozen values, kinds of words, conditions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from toolkit.scenario.duration import Positive

__all__ = [
    "Amount",
    "Condition",
    "Currency",
    "Day",
    "EventMatch",
    "EventName",
    "Flag",
    "History",
    "Model",
    "Name",
    "Share",
    "Weekday",
]

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)]
EventName = Annotated[str, Field(min_length=1, max_length=200)]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Amount = Annotated[float, Field(strict=True, gt=0)]
Flag = Annotated[bool, Field(strict=True)]


class Model(BaseModel):
    """A frozen value; `replace` gives a changed copy, checked anew."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True, allow_inf_nan=False
    )

    def replace(self, **changes: Any) -> Any:
        """A copy with some fields changed; raises pydantic.ValidationError where the result is not allowed."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **(self.model_extra or {}), **changes})


class EventMatch(Model):
    """An event by name, and by a condition on its properties."""

    event: EventName
    where: str | None = None


class History(EventMatch):
    """An event that happened at least so often in the window `(t - within, t]` (rules R1, R5)."""

    within: Positive | None = None
    at_least: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 1


class Condition(Model):
    """True when every part is: `where` on attributes, `trigger` on the trigger's properties, history, and any of `any`.

    A plain string is `where`.
    """

    where: str | None = None
    trigger: str | None = None
    happened: tuple[History, ...] = ()
    not_happened: tuple[History, ...] = ()
    any_: tuple[Condition, ...] = Field(default=(), alias="any")

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"where": value}
        if isinstance(value, dict):
            value = dict(value)
            for name in ("happened", "not_happened"):
                if isinstance(value.get(name), dict):
                    value[name] = (value[name],)
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        full = handler(schema)
        inner = handler.resolve_ref_schema(full)
        for name in ("happened", "not_happened"):
            many = inner["properties"][name]
            inner["properties"][name] = {"anyOf": [many["items"], many]}
        return {"anyOf": [{"type": "string"}, full]}
