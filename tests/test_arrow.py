"""Tables of other libraries are taken in wherever a pandas DataFrame is."""

from __future__ import annotations

from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import toolkit as tk
from toolkit.arrow import of_frame, table_of
from toolkit.errors import EventLogError, InputError, MetricError
from toolkit.simulation import fit, off_policy
from toolkit.stats import buying_histories, calibrate, plan, survival_curves, uplift_by_segment

EVENTS = pd.DataFrame(
    {
        "customer_id": ["ana", "ana", "bo", "bo"],
        "event": ["view", "purchase", "view", "basket"],
        "at": pd.to_datetime(["2024-05-01", "2024-05-02", "2024-05-03", "2024-05-03"], utc=True),
        "revenue": [None, 20.0, None, None],
        "gift": [None, True, None, False],
    }
)
PEOPLE = pd.DataFrame({"customer_id": ["ana", "bo"], "email": ["a@example.org", None], "consent": [True, False]})
OUTCOMES = pd.DataFrame(
    {
        "unit": range(400),
        "arm": ["control", "mail"] * 200,
        "converted": [n % 7 == 0 or n % 5 == 1 for n in range(400)],
        "revenue": [n % 11 or None for n in range(400)],
        "converted_at": pd.Timestamp("2024-05-02", tz="UTC"),
        "entered_at": pd.Timestamp("2024-05-01", tz="UTC"),
    }
)


def views(texts: pa.Array) -> pa.Array:
    """The same texts as views. One does not fit into its view: of short ones alone pyarrow before 25 hands on none."""
    long = pa.array(["longer than what a view holds itself"], texts.type)
    return pa.concat_arrays([texts, long]).cast(pa.string_view())[:-1]


class OfPolars:
    """A table as polars hands it on: texts as views, also inside a dictionary and a list."""

    def __init__(self, frame: pd.DataFrame) -> None:
        table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
        for place, field in enumerate(table.schema):
            if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
                column = pa.chunked_array([views(chunk) for chunk in table.column(place).chunks])
                table = table.set_column(place, field.name, column)
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


def relation_of(frame: pd.DataFrame) -> duckdb.DuckDBPyRelation:
    return duckdb.connect().from_arrow(pa.Table.from_pandas(frame, preserve_index=False))


def reader_of(frame: pd.DataFrame) -> pa.RecordBatchReader:
    return pa.Table.from_pandas(frame, preserve_index=False).to_reader()


KINDS = pytest.mark.parametrize("made", [OfPolars, relation_of, reader_of, pa.Table.from_pandas])


@KINDS
def test_a_log_of_another_librarys_tables_is_the_log_of_pandas(made):
    ours = tk.EventLog.from_pandas(EVENTS, customers=PEOPLE)
    theirs = tk.EventLog.from_pandas(made(EVENTS), customers=made(PEOPLE))
    pd.testing.assert_frame_equal(theirs.events, ours.events)
    pd.testing.assert_frame_equal(theirs.customers, ours.customers)
    assert theirs.notes == ours.notes
    assert theirs.event_ids(range(4)) == ours.event_ids(range(4))


@KINDS
def test_statistics_of_another_librarys_table_are_those_of_pandas(made):
    metrics = [tk.Rate("converted"), tk.Mean("revenue")]
    how_soon = tk.TimeTo("converted_at", within="7d", since="entered_at")
    expected = tk.experiment(OUTCOMES.dropna(), metrics=metrics)
    pd.testing.assert_frame_equal(tk.experiment(made(OUTCOMES.dropna()), metrics=metrics).lift, expected.lift)
    for call in (
        lambda outcomes: uplift_by_segment(outcomes, tk.Rate("converted"), by="unit_half"),
        lambda outcomes: calibrate(outcomes, tk.Rate("converted"), runs=100, seed=1),
        lambda outcomes: survival_curves(outcomes, how_soon)["mail"].median,
        lambda outcomes: plan(tk.Rate("converted"), outcomes=outcomes, rel=0.5).units,
        lambda outcomes: buying_histories(outcomes, "2024-05-09", customer="unit", at="converted_at"),
    ):
        frame = OUTCOMES.assign(unit_half=(OUTCOMES["unit"] < 200).map({True: "early", False: "late"}))
        assert str(call(made(frame))) == str(call(frame))


@KINDS
def test_a_model_is_fitted_from_another_librarys_table(made):
    sends = pd.DataFrame(
        {"sent": [n % 2 == 0 for n in range(2000)], "converted": [n % 9 == 0 for n in range(2000)], "propensity": 0.5}
    )
    assert str(fit(made(sends), margin=0.4, mail_cost=0.01)) == str(fit(sends, margin=0.4, mail_cost=0.01))
    value = off_policy(made(sends), {"sent": True}, actions="sent")
    pd.testing.assert_frame_equal(value.table, off_policy(sends, {"sent": True}, actions="sent").table)


def test_an_index_that_pandas_gave_to_arrow_is_as_one_of_pandas():
    shifted = EVENTS.set_index(pd.Index([3, 1, 4, 2]))
    assert "__index_level_0__" in pa.Table.from_pandas(shifted).column_names
    assert tk.EventLog.from_pandas(pa.Table.from_pandas(shifted)).properties == {"revenue": "number", "gift": "flag"}
    named = tk.EventLog.from_pandas(pa.Table.from_pandas(EVENTS.set_index(["customer_id", "at"])))
    pd.testing.assert_frame_equal(named.events, tk.EventLog.from_pandas(EVENTS).events)
    assert of_frame(pa.Table.from_pandas(OUTCOMES.set_index("unit")), "outcomes")["unit"].tolist() == [*range(400)]


def test_columns_of_a_type_that_the_log_does_not_have_are_what_a_frame_makes_of_them():
    table = pa.table(
        {
            "customer_id": ["a", "b"],
            "event": pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.uint32()), pa.array(["x"], pa.string_view())),
            "at": ["2024-05-01T09:00:00Z"] * 2,
            "nothing": pa.nulls(2),
            "wide": pa.array([Decimal("1.5"), None], pa.decimal256(50, 2)),
            "half": pa.array([np.float16(1.5), None], pa.float16()),
            "lines": pa.array([["x"], None], pa.list_(pa.string_view())),
            "took": pa.array([5, None], pa.duration("ms")),
        }
    )
    log = tk.EventLog.from_pandas(table)
    kinds = {"nothing": "empty", "wide": "number", "half": "number", "lines": "text", "took": "number"}
    assert log.properties == kinds
    assert log.events.loc[0, ["wide", "half", "lines", "took"]].tolist() == [1.5, 1.5, '["x"]', 5]
    assert of_frame(table.select(["lines"]), "rows")["lines"][0].tolist() == ["x"]


def test_what_is_no_table_is_refused_by_its_name():
    column = pa.chunked_array([["a"]])
    assert table_of(column, "events") is None
    with pytest.raises(EventLogError, match=r"^events: expected a DataFrame of pandas or polars, .* pyarrow.Chunked"):
        tk.EventLog.from_pandas(column)
    with pytest.raises(MetricError, match=r"outcomes: found pyarrow.ChunkedArray"):
        tk.experiment(column, metrics=[tk.Rate("converted")])
    with pytest.raises(EventLogError, match="more than one column is called 'A', 'a'"):
        tk.EventLog.from_pandas(pa.table([[1], [2]], names=["a", "A"]))
    with pytest.raises(EventLogError, match=r"files: found Table; .*; EventLog.from_pandas reads a table"):
        tk.EventLog.from_csv(pa.table({"customer_id": ["a"]}))


def test_a_table_that_cannot_give_its_rows_says_why():
    connection = duckdb.connect()
    relation = connection.sql("SELECT 1 AS customer_id")
    connection.close()
    with pytest.raises(EventLogError, match=r"^events: duckdb.DuckDBPyRelation gives no rows: .*already been closed"):
        tk.EventLog.from_pandas(relation)
    with pytest.raises(InputError, match=r"outcomes: duckdb.DuckDBPyRelation gives no rows"):
        tk.experiment(relation, metrics=[tk.Rate("converted")])
