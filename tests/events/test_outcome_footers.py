"""What footers of Parquet files say of outcomes is what DuckDB says; where they cannot tell, DuckDB is asked."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toolkit.errors import EventLogError
from toolkit.events import OutcomeTable
from toolkit.events.database import connect
from toolkit.events.outcome_footers import database_types, read_footers
from toolkit.events.quoting import paths
from toolkit.events.sources import columns_of

PLAIN = {
    "flag": pa.bool_(),
    **{f"whole {bits}": getattr(pa, f"int{bits}")() for bits in (8, 16, 32, 64)},
    **{f"count {bits}": getattr(pa, f"uint{bits}")() for bits in (8, 16, 32, 64)},
    "single": pa.float32(),
    "double": pa.float64(),
    "text": pa.string(),
    "large text": pa.large_string(),
    "few texts": pa.dictionary(pa.int32(), pa.string()),
    "day": pa.date32(),
    **{f"moment {unit}": pa.timestamp(unit) for unit in ("s", "ms", "us")},
    **{f"moment {unit} UTC": pa.timestamp(unit, "UTC") for unit in ("ms", "us")},
    "moment Berlin": pa.timestamp("us", "Europe/Berlin"),
}
OTHERS = {
    "nanoseconds": pa.timestamp("ns"),
    "price": pa.decimal128(9, 2),
    "list": pa.list_(pa.int64()),
    "bytes": pa.binary(),
    "half": pa.float16(),
    "time": pa.time64("us"),
}


def of_types(types: dict[str, pa.DataType], path: Path) -> str:
    pq.write_table(pa.schema(list(types.items())).empty_table(), path)
    return str(path)


def by_database(*files: str) -> dict[str, str]:
    return columns_of(connect(), f"read_parquet({paths(files)}, union_by_name=true)")


def test_types_of_columns_are_those_of_the_database(tmp_path: Path) -> None:
    file = of_types(PLAIN, tmp_path / "plain.parquet")
    found = database_types(read_footers([file]))
    assert found is not None
    assert list(found.items()) == list(by_database(file).items())


@pytest.mark.parametrize("name", OTHERS)
def test_the_database_is_asked_for_types_that_footers_cannot_tell(name: str, tmp_path: Path) -> None:
    file = of_types({"unit": pa.int64(), name: OTHERS[name]}, tmp_path / "other.parquet")
    assert database_types(read_footers([file])) is None
    assert set(OutcomeTable.from_parquet(file).kinds) == {"unit", name}


def test_the_database_is_asked_where_files_or_names_differ_and_where_a_folder_names_a_column(tmp_path: Path) -> None:
    one = of_types({"unit": pa.int64(), "paid": pa.int32()}, tmp_path / "one.parquet")
    two = of_types({"unit": pa.int64(), "paid": pa.float64()}, tmp_path / "two.parquet")
    assert database_types(read_footers([one, two])) is None
    assert OutcomeTable.from_parquet([one, two])._types == by_database(one, two)
    again = of_types({"unit": pa.int64(), "Unit": pa.int64()}, tmp_path / "again.parquet")
    assert database_types(read_footers([again])) is None
    for arm in ("control", "mail"):
        (tmp_path / "parts" / f"arm={arm}").mkdir(parents=True)
        pd.DataFrame({"unit": [arm]}).to_parquet(tmp_path / "parts" / f"arm={arm}" / "0.parquet")
    assert OutcomeTable.from_parquet(tmp_path / "parts").kinds == {"unit": "text", "arm": "text"}


def test_numbers_with_two_digits_behind_the_point_are_numbers(tmp_path: Path) -> None:
    pd.DataFrame({"unit": [1], "paid": [Decimal("9.50")]}).to_parquet(tmp_path / "paid.parquet")
    assert OutcomeTable.from_parquet(tmp_path / "paid.parquet").kinds["paid"] == "number"


def test_of_several_files_the_one_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    good = of_types(PLAIN, tmp_path / "a.parquet")
    bad = tmp_path / "b.parquet"
    bad.write_text("unit,arm\n1,control\n")
    with pytest.raises(EventLogError, match=r"b\.parquet: cannot be read as Parquet: "):
        OutcomeTable.from_parquet([good, str(bad)])


def test_a_file_written_anew_since_its_footer_was_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "outcomes.parquet"
    pd.DataFrame({"unit": range(4), "arm": ["a", "b"] * 2, "paid": [1.0, 2.0, 3.0, 4.0]}).to_parquet(file)
    table = OutcomeTable.from_parquet(file)
    pd.DataFrame({"unit": range(9), "arm": ["a", "b", "b"] * 3, "paid": range(9)}).to_parquet(file)
    os.utime(file, (1, 1))
    runs = table.pieces(["arm", "paid"], arm="arm")
    assert runs is not None
    with pytest.raises(EventLogError, match="written anew since these outcomes were read from it: read it again"):
        next(runs[0])
