"""The table of benchmarks: its registry, its page, and that a missed bound is said."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from benchmarks.__main__ import BENCHMARKS, PAGE, PICTURE, RESULTS, main
from benchmarks.measuring import Bound, Result
from benchmarks.page import page
from benchmarks.picture import picture
from benchmarks.replaying import mails_found
from toolkit.simulation import generate_events

ROOT = Path(__file__).parents[1]


def _row(**more: object) -> dict:
    return Result("replay", "10 events", 0.002, "pandas", 0.01, {"rate": 2e7}, **more).row()  # type: ignore[arg-type]


def test_the_page_of_the_docs_is_that_of_the_results():
    assert PAGE.read_text(encoding="utf-8") == page(json.loads(RESULTS.read_text(encoding="utf-8")))


def test_the_picture_of_the_docs_is_that_of_the_results_and_says_each_of_them():
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))
    drawn = picture(rows)
    assert drawn is not None
    assert PICTURE.read_text(encoding="utf-8") == drawn
    assert drawn.count("<circle") >= 2 * sum(row["name"] in ("replay_1m", "replay_10m", "replay_100m") for row in rows)
    assert picture([_row()]) is None


def test_every_registered_benchmark_is_a_function_of_a_module():
    for place in BENCHMARKS.values():
        module, function = place.split(":")
        tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, place


def test_an_unknown_benchmark_is_refused_with_the_names_there_are(capsys):
    assert main(["replay_prepard_x"]) == 2
    assert "replay_prepared" in capsys.readouterr().err


def test_a_bound_that_is_missed_stands_in_the_row_and_in_the_page():
    row = _row(bounds=(Bound("ratio", at_most=0.1), Bound("rate", at_least=1e7)))
    assert [bound["met"] for bound in row["bounds"]] == [False, True]
    text = page([row])
    assert "| 2 ms | 10 ms | 0.2 | ratio ≤ 0.1<br>rate ≥ 10,000,000 | **missed**<br>met |" in text
    assert row["machine"] in text
    assert "rate 20,000,000" in text


def test_a_number_that_is_missing_does_not_meet_its_bound():
    row = Result("alone", "1", 1.0, bounds=(Bound("ratio", at_most=2.0),)).row()
    assert row["ratio"] is None
    assert not row["bounds"][0]["met"]


def test_engine_duckdb_and_pandas_find_the_same_mails_also_where_carts_are_heard_of_late(tmp_path):
    path = generate_events(200_000, tmp_path / "events.parquet", customers=10_000, seed=2)
    ours, *peers = mails_found(path)
    assert ours > 10_000
    assert peers == [ours, ours]
