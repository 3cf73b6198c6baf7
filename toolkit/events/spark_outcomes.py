"""Outcomes in Spark: what `experiment` asks of them is added up where they lie, and only moments come to the driver."""

from __future__ import annotations

import contextlib
import json
import weakref
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import pandas as pd

from toolkit.errors import EventLogError
from toolkit.events.outcome_sums import Dialect, OutcomeSums
from toolkit.events.spark import check_spark

__all__ = ["SparkOutcomes", "labelled"]

_ABOUT = "toolkit"
_TYPES = {"INT": "INTEGER", "STRING": "VARCHAR"}


class _SparkWords(Dialect):
    """How Spark says it."""

    text = "STRING"

    def name(self, column: str) -> str:
        return "`" + column.replace("`", "``") + "`"

    def literal(self, text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def is_infinite(self, number: str) -> str:
        return f"(abs({number}) = double('infinity'))"

    def constant(self, number: float) -> str:
        return f"double('{number!r}')"


class SparkOutcomes(OutcomeSums):
    """Outcomes in a Spark DataFrame, one row per unit; `experiment` makes it of the DataFrame that it is given.

    What is known of the outcomes stands with the column `arm`, where `SparkRun.measure` has put it.
    """

    dialect = _SparkWords()
    place = "Spark"

    def __init__(self, frame: Any, *, about: Mapping[str, Any] | None = None) -> None:
        check_spark(frame, "outcomes")
        self._session = frame.sparkSession
        view = f"toolkit_{uuid4().hex}"
        frame.createOrReplaceTempView(view)
        weakref.finalize(self, _forget, self._session, view)
        types = {column: _TYPES.get(kind.upper(), kind.upper()) for column, kind in frame.dtypes}
        super().__init__(view, types=types, about=_told(frame) if about is None else about)

    def _answers(self, query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._session.sql(query).collect()]

    def added_up(self, unit: str, *, arm: str, summed: Sequence[str], kept: Sequence[str]) -> SparkOutcomes:
        """The same with one row per unit: some columns summed, others, which do not change within a unit, kept."""
        rows = self._session.sql(self._added_up(unit, arm=arm, summed=summed, kept=kept))
        found = SparkOutcomes(rows, about=self.about)
        found._over = self  # its view must live as long
        return found

    _over: SparkOutcomes | None = None

    def rows(self, columns: Sequence[str], *, arm: str, label: Any) -> pd.DataFrame:
        """Some columns of the rows of one arm, by unit (without that column, by value); columns it lacks are left out.

        Raises:
            NotSupportedError: more than five million rows, which only a metric that needs them all asks for.
        """
        there, query = self._rows_asked(columns, arm=arm, label=label)
        frame: pd.DataFrame = self._session.sql(query).toArrow().to_pandas()
        return frame[there]


def labelled(frame: Any, about: Mapping[str, Any]) -> Any:
    """A DataFrame of outcomes with what is known of them, for `SparkOutcomes`."""
    return frame.withMetadata("arm", {_ABOUT: json.dumps(dict(about))})


def _told(frame: Any) -> dict[str, Any]:
    for field in frame.schema.fields:
        if _ABOUT in field.metadata:
            said = json.loads(field.metadata[_ABOUT])
            if not isinstance(said, dict):
                raise EventLogError(f"outcomes: column {field.name!r}: its metadata {_ABOUT!r} is none of ours")
            return said
    return {}


def _forget(session: Any, view: str) -> None:
    with contextlib.suppress(Exception):  # the session may be gone
        session.catalog.dropTempView(view)
