"""Outcomes in files or in a log give the numbers that the same outcomes give as a frame, and the same errors."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.shared import outcomes_of_an_experiment
from toolkit.errors import EventLogError, MetricError, NotSupportedError
from toolkit.events import EventLog, OutcomeTable
from toolkit.stats import Mean, Metric, Quantile, Rate, Ratio, Source, TimeTo, experiment
from toolkit.stats.moments import Term
from toolkit.stats.pieces import _columns, gather_pieces

METRICS: list[Metric] = [
    Rate("converted"),
    Rate("opened", verdict="open"),
    Mean("revenue", covariate=("pre_revenue", "pre_gaps"), currency="EUR"),
    Mean("revenue", name="plain revenue"),
    Mean("revenue", strata="segment", name="revenue by segment"),
    Mean("level"),
    Ratio("clicks", "mails"),
    Quantile("level", q=0.75),
    TimeTo("days", within="14d", name="soon"),
]


@pytest.fixture(scope="module")
def outcomes() -> pd.DataFrame:
    return outcomes_of_an_experiment()


@pytest.fixture(params=["one thread", "two threads"])
def shared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Files of some thousand rows read as millions are: by one thread, or half by one and half by another."""
    two = request.param == "two threads"
    monkeypatch.setattr("toolkit.events.outcome_pieces._ROWS", 500)
    monkeypatch.setattr("toolkit.events.outcome_pieces._WORTH_SHARING", 1 if two else 1_000_000)
    return two


def stored(frame: pd.DataFrame, folder: Path, name: str = "outcomes") -> Path:
    path = folder / f"{name}.parquet"
    frame.to_parquet(path, index=False, row_group_size=500)
    return path


@pytest.mark.usefixtures("shared")
def test_parquet_gives_the_lift_of_the_frame_for_every_metric(outcomes: pd.DataFrame, tmp_path: Path) -> None:
    ours = experiment(stored(outcomes, tmp_path), METRICS, contaminated="other", weights={"control": 1, "mail": 1})
    theirs = experiment(outcomes, METRICS, contaminated="other", weights={"control": 1, "mail": 1})
    pd.testing.assert_frame_equal(ours.table, theirs.table, rtol=1e-9, check_dtype=False)
    assert ours.verdict() == theirs.verdict()
    assert "another scenario reached" in ours.verdict()


def test_a_small_holdout_is_resampled_from_parquet_as_from_the_frame(outcomes: pd.DataFrame, tmp_path: Path) -> None:
    frame = outcomes.assign(arm=np.where(np.arange(len(outcomes)) % 20, "mail", "control"))
    ours, theirs = (experiment(one, [Mean("revenue")]).lift for one in (stored(frame, tmp_path), frame))
    assert "permutation" in ours["method"].iloc[0]
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-9, check_dtype=False)


@pytest.mark.usefixtures("shared")
def test_sums_of_the_database_are_those_of_rows_read_piece_by_piece(
    outcomes: pd.DataFrame, tmp_path: Path, monkeypatch
) -> None:
    path = stored(outcomes, tmp_path)
    pieces = experiment(path, METRICS).table
    with monkeypatch.context() as patch:
        patch.setattr(OutcomeTable, "pieces", lambda *_, **__: None)
        sums = experiment(path, METRICS).table
    pd.testing.assert_frame_equal(pieces, sums, rtol=1e-9, check_dtype=False)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("first", [600, 3_100, 5_990])  # behind the first piece, in the second half, in its last piece
def test_a_covariate_whose_first_gap_comes_late_is_read_again_with_it(
    outcomes: pd.DataFrame, tmp_path: Path, first: int
) -> None:
    late = outcomes.assign(pre_gaps=outcomes["pre_gaps"].fillna(1.0).where(outcomes.index < first))
    metrics = [Mean("revenue", covariate=("pre_revenue", "pre_gaps")), Ratio("clicks", "mails")]
    ours = experiment(stored(late, tmp_path), metrics).table
    pd.testing.assert_frame_equal(ours, experiment(late, metrics).table, rtol=1e-9, check_dtype=False)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("falling", [False, True])
def test_an_arm_that_comes_late_counts_from_its_first_row(
    outcomes: pd.DataFrame, tmp_path: Path, falling: bool
) -> None:
    sorted_by_arm = outcomes.sort_values(["arm", "unit"], ascending=[not falling, True])
    sorted_by_arm = sorted_by_arm.assign(level=lambda f: 7.0 + 0.1 * (f["arm"] == "mail"))
    ours = experiment(stored(sorted_by_arm, tmp_path), METRICS).table
    pd.testing.assert_frame_equal(ours, experiment(sorted_by_arm, METRICS).table, rtol=1e-9, check_dtype=False)


def test_a_unit_that_comes_again_in_the_other_half_is_found(
    outcomes: pd.DataFrame, tmp_path: Path, shared: bool
) -> None:
    twice = outcomes.assign(unit=np.arange(len(outcomes)) % (len(outcomes) // 2))  # each half rises on its own
    with pytest.raises(MetricError, match=f"{len(outcomes) // 2:,} units have more than one row|in more than one arm"):
        experiment(stored(twice, tmp_path), [Rate("converted")])
    pieces = OutcomeTable.from_parquet(stored(outcomes, tmp_path)).pieces(["arm", "unit"], arm="arm")
    assert pieces is not None
    assert [sum(map(len, run)) for run in pieces] == ([3_000, 3_000] if shared else [6_000])


UNITS = {
    "rise": ([[1, 2], [], [3]], True),
    "stand still between pieces": ([[1, 2], [2, 3]], False),
    "fall behind an empty piece": ([[1, 2], [], [1]], False),
    "fall within a piece": ([["a", "c", "b"]], False),
    "are missing": ([[1, None, 3]], False),
}


@pytest.mark.parametrize(("pieces", "rising"), UNITS.values(), ids=UNITS)
def test_units_are_looked_at_beside_the_sums(pieces: list, rising: bool) -> None:
    rows = pa.record_batch({"arm": ["control", "mail"], "revenue": [1.0, 2.0]})
    read = []

    def units():
        for piece in pieces:
            read.append(len(piece))
            yield pa.array(piece, type=None if piece else pa.int64())

    def gathered(units):
        given = {"arm": "arm", "units": units, "groups": None, "faults": lambda *_: (0, 0)}
        return gather_pieces(lambda: [iter([rows])], [Term("value", "revenue")], **given)

    assert gathered(units()).rising is rising
    assert sum(read) == sum(map(len, pieces))
    assert gathered(None).rising is False  # nobody looked


def test_units_that_do_not_rise_are_not_read_to_their_end() -> None:
    rows = pa.record_batch({"arm": ["control", "mail"], "revenue": [1.0, 2.0]})
    units = iter([pa.array([2, 1]), pa.array([3, 4])])
    given = {"arm": "arm", "units": units, "groups": None, "faults": lambda *_: (0, 0)}
    assert not gather_pieces(lambda: [iter([rows])], [Term("value", "revenue")], **given).rising
    assert next(units).to_pylist() == [3, 4]


def test_units_of_two_kinds_in_two_files_are_left_to_the_database(outcomes: pd.DataFrame, tmp_path: Path) -> None:
    half = len(outcomes) // 2
    stored(outcomes[:half].assign(unit=np.arange(half)), tmp_path, "a")
    stored(outcomes[half:].assign(unit=np.arange(half, len(outcomes)).astype("int32")), tmp_path, "b")
    assert OutcomeTable.from_parquet(tmp_path).column("unit") is None
    ours = experiment(tmp_path, METRICS).table
    pd.testing.assert_frame_equal(ours, experiment(outcomes, METRICS).table, rtol=1e-9, check_dtype=False)
    stored(outcomes[half:].assign(unit=np.arange(len(outcomes) - half).astype("int32")), tmp_path, "b")
    with pytest.raises(MetricError, match=r"more than one (row|arm)"):
        experiment(tmp_path, METRICS)


@pytest.mark.usefixtures("shared")
def test_row_groups_too_large_to_be_decoded_whole_give_the_same(
    outcomes: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.events.outcome_pieces._AT_ONCE", 20_000)
    outcomes.to_parquet(tmp_path / "large.parquet", index=False, row_group_size=3_500)
    ours = experiment(tmp_path / "large.parquet", METRICS).table
    pd.testing.assert_frame_equal(ours, experiment(outcomes, METRICS).table, rtol=1e-9, check_dtype=False)


def test_flags_of_any_part_of_a_column_are_those_of_pyarrow() -> None:
    flags = pa.array(np.random.default_rng(3).random(1_000) < 0.4)
    for start, rows in ((0, 1_000), (0, 0), (3, 0), (7, 1), (8, 8), (13, 500), (992, 8), (999, 1)):
        part = pa.record_batch({"arm": pa.array(["a"] * rows), "paid": flags.slice(start, rows)})
        assert _columns(part, [Term("value", "paid")])["paid", ""].tolist() == part["paid"].to_pylist()


@pytest.mark.usefixtures("shared")
def test_the_same_file_gives_the_same_bytes(outcomes: pd.DataFrame, tmp_path: Path) -> None:
    path = stored(outcomes, tmp_path)
    one, two = (experiment(path, [Rate("converted"), Mean("revenue")]).table for _ in range(2))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_arms_are_read_whatever_they_are_stored_as(outcomes: pd.DataFrame, tmp_path: Path) -> None:
    mailed = outcomes["arm"] == "mail"
    theirs = experiment(outcomes, METRICS).lift["diff"]
    for at, (arm, control) in enumerate(
        [
            (mailed, False),
            (mailed.astype("int64"), 0),
            (outcomes["arm"].astype("category").cat.add_categories("nobody"), "control"),
            (mailed.astype("float64"), 0.0),
        ]
    ):
        path = stored(outcomes.assign(arm=arm), tmp_path, str(at))
        pd.testing.assert_series_equal(experiment(path, METRICS, control=control).lift["diff"], theirs, rtol=1e-6)


def test_a_damaged_file_of_outcomes_is_an_error(outcomes: pd.DataFrame, tmp_path: Path) -> None:
    path = stored(outcomes, tmp_path)
    content = bytearray(path.read_bytes())
    content[100:20_000] = bytes(19_900)
    path.write_bytes(content)
    with pytest.raises(EventLogError, match="can no longer be read"):
        experiment(path, METRICS)


def test_several_files_and_folders_are_one_table(outcomes: pd.DataFrame, tmp_path: Path) -> None:
    stored(outcomes.iloc[:2_500], tmp_path, "a")
    stored(outcomes.iloc[2_500:], tmp_path, "b")
    table = OutcomeTable.from_parquet(tmp_path)
    assert isinstance(table, Source)
    expected = experiment(outcomes, [Rate("converted")]).lift
    pd.testing.assert_frame_equal(experiment(table, [Rate("converted")]).lift, expected, check_dtype=False)
    assert len(table.frame()) == len(outcomes)


def test_what_measure_said_of_outcomes_is_heeded_in_a_file_as_in_a_frame(
    outcomes: pd.DataFrame, tmp_path: Path
) -> None:
    halves = [outcomes.iloc[::2].copy(), outcomes.iloc[1::2].copy()]
    for at, half in enumerate(halves):
        half.attrs["toolkit"] = {"randomised": True, "window": "7d", "open_windows": 3}
        half.to_parquet(tmp_path / f"{at}.parquet")
    told = experiment(tmp_path, [Rate("converted")]).verdict()
    assert "6 customers are left out because their window of 7d has not closed yet" in told
    halves[0].attrs["toolkit"] |= {"randomised": False, "why": "the log holds no mails"}
    halves[0].to_parquet(tmp_path / "0.parquet")
    for where in (tmp_path, tmp_path / "0.parquet", f"file://{tmp_path}/0.parquet"):
        with pytest.raises(MetricError, match=r"not drawn at random \(the log holds no mails\)"):
            experiment(str(where), [Rate("converted")])
    (tmp_path / "outcomes.csv").write_text("unit,arm\n1,control\n")
    with pytest.raises(EventLogError, match=r"a CSV file may be given as pandas.read_csv\(\.\.\.\)"):
        experiment(tmp_path / "outcomes.csv", [Rate("converted")])


def test_rows_of_one_customer_are_added_up_for_ratios(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({"unit": np.repeat(np.arange(500), 3), "arm": np.repeat(["control", "mail"], 750)})
    rows["mails"], rows["opens"] = 1, rng.integers(0, 2, 1_500)
    rows["pre_taste"] = rng.random(1_500)
    path = stored(rows, tmp_path)
    metric = Ratio("opens", "mails", covariate="pre_taste")
    pd.testing.assert_frame_equal(
        experiment(path, [metric]).table, experiment(rows, [metric]).table, rtol=1e-9, check_dtype=False
    )
    with pytest.raises(MetricError, match="500 units have more than one row, for example '0'"):
        experiment(path, [Rate("opens")])
    rows.loc[0, "arm"] = "mail"
    with pytest.raises(MetricError, match="1 unit is in more than one arm, for example '0'"):
        experiment(stored(rows, tmp_path, "moved"), [metric])


def test_what_is_missing_in_one_of_a_customers_rows_is_missing_in_a_file_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = pd.DataFrame({"unit": np.repeat(np.arange(50), 2), "arm": np.repeat(["control", "mail"], 50)})
    rows["mails"], rows["opens"] = 2.0, rng.integers(0, 2, 100).astype(float)
    rows["pre_taste"] = np.repeat(rng.random(50), 2)
    rows.loc[[2, 8, 9], "pre_taste"] = np.nan  # the first row of one customer, both of another
    metric = Ratio("opens", "mails", covariate="pre_taste")
    there, here = (experiment(one, [metric]).table for one in (stored(rows, tmp_path, "covariate"), rows))
    pd.testing.assert_frame_equal(there, here, rtol=1e-12, check_dtype=False)
    rows.loc[3, "opens"] = np.nan
    for one in (rows, stored(rows, tmp_path, "follow-up")):
        assert "1 of 25 units in arm 'control' have no value of opens" in experiment(one, [metric]).lift["note"][0]


def test_an_infinite_value_beside_large_ones_is_told_where_a_database_adds_up(tmp_path: Path) -> None:
    rows = pd.DataFrame({"unit": range(20), "arm": ["control", "mail"] * 10})
    rows["paid"] = 1e9 + np.arange(20.0)
    rows.loc[1, "paid"] = np.inf
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as database:
        database.register("rows", rows)
        database.execute("CREATE TABLE outcomes AS SELECT * FROM rows")
    table = OutcomeTable.from_sql(f"duckdb:///{tmp_path / 'shop.duckdb'}", "outcomes")
    assert experiment(table, [Mean("paid")]).lift["note"][0] == "1 of 10 values of paid in arm 'mail' are infinite"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"within": None}, "window: found None; allowed: a number and s, m, h, d or w"),
        ({"within": "99999999w"}, "window: found '99999999w'; allowed: at most 36,525 days"),
        ({"flags": ["purchase"]}, r"flags: found \['purchase'\]; allowed: a name and an event"),
        ({"sums": {"revenue": "purchase"}}, "sums: found .*; allowed: a name, an event and a property"),
        ({"counts": {"orders": None}}, "counts: found .*; allowed: a name and an event"),
        ({"flags": {"arm": "purchase"}}, "an outcome cannot be called 'arm'"),
        (
            {"counts": {"orders": "purchase"}, "flags": {"pre_orders": "purchase"}, "before": "2d"},
            "outcome 'pre_orders' is there twice",
        ),
    ],
)
def test_outcomes_of_a_log_that_cannot_be_are_told(asked: dict[str, object], said: str) -> None:
    events = pd.DataFrame({"customer_id": ["ana", "ana"], "event": ["assigned", "purchase"], "arm": ["mail", None]})
    log = EventLog.from_pandas(events.assign(at=["2024-05-01", "2024-05-09"]), zone="UTC")
    with pytest.raises(EventLogError, match=said):
        OutcomeTable.from_log(log, **({"entry": "assigned", "within": "2d"} | asked))  # type: ignore[arg-type]


def broken(frame: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    changed = frame.copy()
    changed[column] = changed[column].astype(object)
    changed.loc[[1, 4], column] = value
    return changed.astype({column: "float64"})


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    "change",
    [
        lambda f: broken(f, "revenue", np.nan),
        lambda f: broken(f, "revenue", np.inf),
        lambda f: broken(f, "converted", 2),
        lambda f: broken(f, "clicks", 9),
        lambda f: broken(f, "clicks", -1),
        lambda f: f.assign(revenue=0.0),
        lambda f: f.assign(revenue=7.5),
        lambda f: f.assign(revenue=np.where(f["arm"] == "control", 0.0, 3.5)),
        lambda f: f.assign(revenue=np.where(f["arm"] == "control", 4.25, 3.5)),
        lambda f: f.assign(converted=False),
        lambda f: f.assign(clicks=0),
        lambda f: f.assign(mails=0),
        lambda f: f.assign(arm=[f"a{at % 20:02d}" if at % 20 else "control" for at in range(len(f))]),
        lambda f: f.assign(revenue=f["revenue"].astype("float32"), mails=f["mails"].astype("int8")),
        lambda f: f.assign(converted=f["converted"].astype("Int64"), revenue=f["revenue"].round(2).astype("Float64")),
    ],
)
def test_bad_numbers_in_files_are_undefined_with_the_reason_a_frame_gives(
    outcomes: pd.DataFrame, tmp_path: Path, change
) -> None:
    frame = change(outcomes)
    metrics = [Rate("converted"), Mean("revenue", method="welch"), Ratio("clicks", "mails")]
    ours, theirs = experiment(stored(frame, tmp_path), metrics).lift, experiment(frame, metrics).lift
    assert ours["note"].tolist() == theirs["note"].tolist()
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-6, check_dtype=False)


@pytest.mark.parametrize(
    ("change", "metric", "message"),
    [
        (lambda f: f[f["arm"] == "control"], Rate("converted"), "one arm only"),
        (lambda f: f.iloc[:0], Rate("converted"), "no rows"),
        (lambda f: f.assign(arm=f["arm"].where(f.index > 0)), Rate("converted"), "1 of 6,000 rows have no arm"),
        (lambda f: f.assign(unit=f["unit"].where(f.index > 0)), Rate("converted"), "1 of 6,000 rows have no 'unit'"),
        (lambda f: f.rename(columns={"arm": "arms"}), Rate("converted"), "did you mean 'arms'"),
        (lambda f: f, Rate("convertd"), "did you mean 'converted'"),
        (lambda f: f, Mean("segment"), "should be numbers or flags; found text"),
        (lambda f: f.assign(arm=f["arm"].str.replace("control", "contrl")), Rate("converted"), "control='contrl'"),
        (lambda f: f.assign(open="robot"), Rate("opened", verdict="open"), "holds 'robot'"),
    ],
)
def test_errors_of_a_frame_are_errors_of_a_file(
    outcomes: pd.DataFrame, tmp_path: Path, change, metric: Metric, message: str
) -> None:
    with pytest.raises(MetricError, match=message):
        experiment(stored(change(outcomes), tmp_path), [metric])


def test_a_file_that_is_not_there_or_no_file_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EventLogError, match="no such file"):
        experiment(tmp_path / "outcomes.parquet", [Rate("converted")])
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(EventLogError, match="cannot be read as Parquet"):
        experiment(tmp_path / "text.parquet", [Rate("converted")])
    with pytest.raises(MetricError, match="found list; allowed: a DataFrame"):
        experiment([1, 2], [Rate("converted")])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def log() -> EventLog:
    """Assignments over 20 days, purchases around them; the log ends on day 30."""
    rng = np.random.default_rng(3)
    start = pd.Timestamp("2024-03-01", tz="UTC")
    days = rng.uniform(0, 20, 800)
    assigned = pd.DataFrame(
        {
            "customer_id": [f"c{at}" for at in range(800)],
            "event": "assigned",
            "at": start + pd.to_timedelta(days, unit="D"),
            "arm": np.where(rng.random(800) < 0.5, "mail", "control"),
        }
    )
    again = assigned.sample(200, random_state=1).assign(at=lambda f: f["at"] + pd.Timedelta("2h"))
    bought = pd.DataFrame(
        {
            "customer_id": rng.choice(assigned["customer_id"], 2_000),
            "event": rng.choice(["purchase", "view"], 2_000),
            "at": start + pd.to_timedelta(rng.uniform(-10, 30, 2_000), unit="D"),
            "revenue": rng.gamma(2, 20, 2_000).round(2),
        }
    )
    return EventLog.from_pandas(pd.concat([assigned, again, bought], ignore_index=True))


def test_a_log_gives_the_outcomes_that_pandas_finds_in_its_events(log: EventLog) -> None:
    table = OutcomeTable.from_log(
        log,
        entry="assigned",
        within="12d",
        flags={"converted": "purchase"},
        counts={"orders": "purchase"},
        sums={"revenue": ("purchase", "revenue")},
        before="5d",
    )
    events = log.events
    entries = events[events["event"] == "assigned"].groupby("customer_id").agg(at=("at", "min"), arm=("arm", "first"))
    closed = entries[entries["at"] + pd.Timedelta("12D") <= events["received_at"].max()]
    bought = events[events["event"] == "purchase"].merge(closed, on="customer_id", suffixes=("", "_entry"))
    after = bought["at"] - bought["at_entry"]
    within = bought[(after > pd.Timedelta(0)) & (after <= pd.Timedelta("12D"))].groupby("customer_id")["revenue"]
    before = bought[(after <= pd.Timedelta(0)) & (after > -pd.Timedelta("5D"))].groupby("customer_id")["revenue"]
    expected = closed[["arm"]].assign(orders=within.size(), revenue=within.sum(), pre_orders=before.size())
    expected = expected.assign(pre_revenue=before.sum()).fillna(0.0).sort_index()
    found = table.frame().set_index("unit")
    assert found["revenue"].to_numpy() == pytest.approx(expected["revenue"].to_numpy())
    assert found["pre_revenue"].to_numpy() == pytest.approx(expected["pre_revenue"].to_numpy())
    assert found["orders"].tolist() == expected["orders"].tolist()
    assert found["pre_orders"].tolist() == expected["pre_orders"].tolist()
    assert found["converted"].tolist() == (expected["orders"] > 0).tolist()
    assert found["arm"].tolist() == expected["arm"].tolist()
    metrics = [Rate("converted"), Mean("revenue", covariate="pre_revenue")]
    ours = experiment(table, metrics)
    theirs = experiment(table.frame(), metrics)
    pd.testing.assert_frame_equal(ours.table, theirs.table, rtol=1e-9, check_dtype=False)
    assert f"{len(entries) - len(closed)} customers are left out because their window of 12d" in ours.verdict()


def test_a_customer_assigned_to_two_arms_is_an_error(log: EventLog) -> None:
    events = log.events
    moved = events[events["event"] == "assigned"].head(1)
    moved = moved.assign(arm="control" if moved["arm"].iloc[0] == "mail" else "mail")
    both = EventLog.from_pandas(pd.concat([events, moved], ignore_index=True))
    table = OutcomeTable.from_log(both, entry="assigned", within="5d", flags={"converted": "purchase"})
    with pytest.raises(MetricError, match="1 unit is in more than one arm"):
        experiment(table, [Rate("converted")])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"entry": "asigned", "within": "5d"}, "no event 'asigned' .* did you mean 'assigned'"),
        ({"entry": "assigned", "within": "5d", "arm": "arms"}, "no property 'arms' .* did you mean 'arm'"),
        ({"entry": "assigned", "within": "5 moons"}, "allowed: a number and s, m, h, d or w"),
        ({"entry": "assigned", "within": "0d"}, "longer than nothing"),
        ({"entry": "assigned", "within": "5d", "flags": {"x": "view"}, "counts": {"x": "view"}}, "'x' is there twice"),
        (
            {"entry": "asigned", "within": "5d", "sums": {"x": ("vew", "revenu")}},
            "no event 'asigned'.*no event 'vew'.*no property 'revenu'",
        ),
    ],
)
def test_outcomes_that_a_log_cannot_give_are_errors_all_at_once(log: EventLog, asked: dict, message: str) -> None:
    with pytest.raises(EventLogError, match=message):
        OutcomeTable.from_log(log, **asked)


def test_a_file_of_one_row_group_gives_the_numbers_of_many(outcomes: pd.DataFrame, tmp_path: Path) -> None:
    outcomes.to_parquet(tmp_path / "many.parquet", index=False, row_group_size=700)
    one, many = (experiment(path, METRICS).lift for path in (stored(outcomes, tmp_path), tmp_path / "many.parquet"))
    pd.testing.assert_frame_equal(one, many, rtol=1e-9)


def test_a_fault_of_the_units_is_told_before_a_fault_of_the_columns(outcomes: pd.DataFrame, tmp_path: Path) -> None:
    twice = pd.concat([outcomes, outcomes.iloc[:1].assign(arm="other")])
    with pytest.raises(MetricError, match="1 unit is in more than one arm"):
        experiment(stored(twice, tmp_path), [Rate("nothing_like_this")])


def test_postgresql_adds_up_what_the_frame_does(outcomes: pd.DataFrame, postgres: str) -> None:
    _into_postgresql(outcomes, postgres, "outcomes")
    table = OutcomeTable.from_sql(postgres, "outcomes")
    assert isinstance(table, Source)
    ours, theirs = (
        experiment(one, METRICS, contaminated="other", weights={"control": 1, "mail": 1}) for one in (table, outcomes)
    )
    pd.testing.assert_frame_equal(ours.table, theirs.table, rtol=1e-11, check_dtype=False)
    assert ours.verdict() == theirs.verdict()


def test_texts_of_a_database_are_told_with_what_makes_numbers_of_them_there(postgres: str, tmp_path: Path) -> None:
    rows = pd.DataFrame({"unit": range(4), "arm": ["control", "mail"] * 2, "bought": ["no", "yes", None, "no"]})
    rows["paid"], rows["cost"], rows["due"] = ["0,50", "12,00", "3", "1"], ["1.234,50 €"] * 4, ["1.5", "2", "0", "3"]
    _into_postgresql(rows, postgres, "texts")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as database:
        database.register("rows", rows)
        database.execute("CREATE TABLE texts AS SELECT * FROM rows")
    for url in (postgres, f"duckdb:///{tmp_path / 'shop.duckdb'}"):
        table = OutcomeTable.from_sql(url, "texts")
        for metric, said in (
            (Rate("bought"), "found text, for example 'no'; bought = 'yes' in a view of the table makes flags of them"),
            (Mean("paid"), "'0,50'; CAST(replace(paid, ',', '.') AS double precision) in a view of the table makes"),
            (Mean("due"), "'1.5'; CAST(due AS double precision) in a view of the table makes numbers of them"),
            (Mean("cost"), "found text, for example '1.234,50 €'"),
        ):
            with pytest.raises(MetricError) as told:
                experiment(table, [metric])
            assert said in str(told.value)
            for cast in re.findall(r"CAST\(.*?precision\)", str(told.value)):
                view = f"SELECT unit, arm, {cast} AS paid FROM texts"
                assert experiment(OutcomeTable.from_sql(url, view), [Mean("paid")]).lift["n"][0] == 2


def test_more_rows_than_fit_here_are_not_asked_of_postgresql(
    outcomes: pd.DataFrame, postgres: str, monkeypatch
) -> None:
    _into_postgresql(outcomes, postgres, "many")
    monkeypatch.setattr("toolkit.events.outcome_sums.MOST_ROWS", 100)
    with pytest.raises(NotSupportedError, match=r"level: this asks for all .* which stay in PostgreSQL"):
        experiment(OutcomeTable.from_sql(postgres, "many"), [Quantile("level", q=0.75)])


def test_rows_of_one_customer_are_added_up_in_postgresql(postgres: str) -> None:
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({"unit": np.repeat(np.arange(500), 3), "arm": np.repeat(["control", "mail"], 750)})
    rows["mails"], rows["opens"] = 1, rng.integers(0, 2, 1_500)
    rows["pre_taste"] = np.repeat(rng.random(500), 3)
    _into_postgresql(rows, postgres, "mails")
    table, metric = (
        OutcomeTable.from_sql(postgres, "SELECT * FROM mails"),
        Ratio("opens", "mails", covariate="pre_taste"),
    )
    pd.testing.assert_frame_equal(
        experiment(table, [metric]).table, experiment(rows, [metric]).table, rtol=1e-11, check_dtype=False
    )
    with pytest.raises(MetricError, match="500 units have more than one row, for example '0'"):
        experiment(table, [Rate("opens")])
    with pytest.raises(EventLogError, match="did you mean 'mails'"):
        OutcomeTable.from_sql(postgres, "mail")


def _into_postgresql(frame: pd.DataFrame, url: str, table: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    kinds = {"b": "boolean", "i": "bigint", "f": "double precision"}
    columns = ", ".join(f'"{name}" {kinds.get(frame[name].dtype.kind, "text")}' for name in frame)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
        connection.execute(f"CREATE TABLE {table} ({columns})")
        with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
            for row in frame.astype(object).where(frame.notna(), None).itertuples(index=False):
                copy.write_row(row)


def test_parquet_behind_a_url_is_read_column_by_column(outcomes: pd.DataFrame, tmp_path: Path) -> None:
    path = stored(outcomes, tmp_path)
    ours, theirs = (experiment(one, METRICS).table for one in (path.as_uri(), outcomes))
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-9, check_dtype=False)
    with pytest.raises(EventLogError, match=r"nowhere\.parquet: cannot be read as Parquet"):
        experiment((tmp_path / "nowhere.parquet").as_uri(), METRICS)
