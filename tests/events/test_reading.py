"""Reading event logs from frames, CSV and Parquet."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toolkit.errors import EventLogError
from toolkit.events import EventLog

BASE = {"customer_id": ["a", "b"], "event": ["x", "y"], "at": ["2024-01-01 00:00", "2024-01-02 00:00"]}


def with_columns(**columns):
    return pd.DataFrame({**BASE, **columns})


def test_a_frame_becomes_a_log_in_utc_with_canonical_columns_first(three_events):
    log = EventLog.from_pandas(three_events, zone="Europe/Paris")
    assert list(log.events.columns) == ["customer_id", "event", "at", "received_at", "revenue"]
    assert str(log.events["at"].dtype) == "datetime64[us, UTC]"
    assert log.events["at"].iloc[0] == pd.Timestamp("2024-05-01 07:00", tz="UTC")
    assert log.span == (pd.Timestamp("2024-05-01 07:00", tz="UTC"), pd.Timestamp("2024-05-02 16:30", tz="UTC"))
    assert log.event_counts == {"view": 2, "purchase": 1}
    assert log.event_names == ("purchase", "view")
    assert len(log) == 3
    assert not log.has_event_ids


def test_the_frame_may_change_afterwards_without_changing_the_log(three_events):
    log = EventLog.from_pandas(three_events, zone="UTC")
    three_events.loc[0, "customer_id"] = "someone else"
    assert set(log.events["customer_id"]) == {"ana", "bo"}


def test_columns_are_renamed_by_a_mapping_from_our_name_to_theirs():
    frame = with_columns(amount=[1, 2]).rename(columns={"at": "timestamp", "customer_id": "user"})
    log = EventLog.from_pandas(
        frame, zone="UTC", columns={"at": "timestamp", "customer_id": "user", "revenue": "amount"}
    )
    assert log.properties == {"revenue": "number"}


def test_all_missing_columns_are_named_at_once_with_what_was_found_and_the_nearest():
    frame = with_columns().rename(columns={"at": "timestamp", "customer_id": "user_id"})
    with pytest.raises(EventLogError) as fault:
        EventLog.from_pandas(frame, zone="UTC")
    said = str(fault.value)
    assert "columns={'customer_id': 'user_id'}" in said
    assert "columns={'at': 'timestamp'}" in said
    assert "columns found: user_id, event, timestamp" in said


def test_a_mapping_to_a_column_that_is_not_there_names_the_nearest():
    with pytest.raises(EventLogError, match="no column 'tmestamp'; did you mean 'timestamp'"):
        EventLog.from_pandas(with_columns(timestamp=BASE["at"]), columns={"at": "tmestamp"})


def test_a_column_given_away_to_another_name_is_said_to_be():
    with pytest.raises(EventLogError) as fault:
        EventLog.from_pandas(with_columns(), zone="UTC", columns={"att": "at"})
    assert str(fault.value) == (
        "events: column 'at' is missing: columns={'att': 'at'} gave it to 'att'; leave that out, or name yours with "
        "columns={...}; columns found: customer_id, event, at"
    )
    with pytest.raises(EventLogError, match=r"leave that out, or did you mean columns=\{'at': 'timestamp'\}\?"):
        EventLog.from_pandas(with_columns(timestamp=BASE["at"]), zone="UTC", columns={"att": "at"})


@pytest.mark.parametrize("columns", [["at"], "at", [("at", "timestamp")], {"at": 5}, {"at": ["timestamp"]}, {5: "at"}])
def test_columns_that_map_no_names_are_refused_with_what_is_allowed(columns):
    with pytest.raises(EventLogError) as fault:
        EventLog.from_pandas(with_columns(), zone="UTC", columns=columns)
    allowed = "our names to yours as texts, for example columns={'at': 'timestamp'}"
    assert str(fault.value) == f"columns={columns!r}; allowed: {allowed}"


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([1, 2], ["1", "2"]),
        ([1.0, 2.0], ["1", "2"]),
        ([1.5, 2.0], ["1.5", "2"]),
        ([Decimal("7"), Decimal("8")], ["7", "8"]),
        (["00123", 'O\'Neil "q" é 🙂'], ["00123", 'O\'Neil "q" é 🙂']),
        (pd.Categorical(["p", "q"]), ["p", "q"]),
        (np.array([2**62, 3], dtype=np.int64), [str(2**62), "3"]),
    ],
)
def test_customer_ids_become_text_as_a_person_would_write_them(ids, expected):
    log = EventLog.from_pandas(with_columns(customer_id=ids), zone="UTC")
    assert list(log.events["customer_id"]) == expected


@pytest.mark.parametrize("missing", [None, np.nan, "", pd.NA])
def test_rows_without_a_customer_are_an_error_that_offers_to_drop_them(missing):
    frame = with_columns(customer_id=pd.Series(["a", missing], dtype=object))
    with pytest.raises(
        EventLogError, match=r"customer_id is missing or empty in 1 row \(events, row 1\).*anonymous='drop'"
    ):
        EventLog.from_pandas(frame, zone="UTC")
    log = EventLog.from_pandas(frame, zone="UTC", anonymous="drop")
    assert len(log) == 1
    assert "1 row without a customer_id dropped" in log.notes


def test_rows_without_a_numeric_customer_can_be_dropped():
    log = EventLog.from_pandas(with_columns(customer_id=[np.nan, 12.0]), zone="UTC", anonymous="drop")
    assert list(log.events["customer_id"]) == ["12"]


def test_a_missing_event_or_time_is_an_error_that_names_the_rows():
    with pytest.raises(
        EventLogError, match=r"event is missing .* row 0.*; at is missing or empty in 1 row \(events, row 1\)"
    ):
        EventLog.from_pandas(with_columns(event=["", "y"], at=["2024-01-01", None]), zone="UTC")


def test_an_unknown_choice_for_anonymous_is_refused(three_events):
    with pytest.raises(EventLogError, match="allowed: 'error', 'drop'"):
        EventLog.from_pandas(three_events, zone="UTC", anonymous="ignore")


def test_an_empty_log_works_throughout():
    log = EventLog.from_pandas(pd.DataFrame({column: [] for column in BASE}))
    assert len(log) == 0
    assert log.span is None
    assert log.event_counts == {}
    assert log.event_ids([]) == []
    assert log.events.empty
    assert log.quarantine.empty
    assert str(log.events["at"].dtype) == "datetime64[us, UTC]"
    assert repr(log) == "EventLog(no events)"


def test_not_a_frame_is_said_so():
    with pytest.raises(EventLogError, match=r"expected a DataFrame of pandas .*; found list"):
        EventLog.from_pandas([1, 2])


def test_two_columns_of_one_name_are_refused():
    frame = pd.concat([with_columns(), with_columns()[["event"]]], axis=1)
    with pytest.raises(EventLogError, match="more than one column is called 'event'"):
        EventLog.from_pandas(frame, zone="UTC")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["p", "P"], "'P', 'p' (upper and lower case are one name)"),
        (["p", "At"], "'At', 'at' (upper and lower case are one name)"),
        (["p", "p"], "'p'"),
        (["P", "at"], "'at'"),
    ],
)
def test_two_columns_of_one_name_are_refused_in_files_and_tables_of_customers_too(tmp_path, more, said):
    names = ["customer_id", "event", "at", *more]
    values = ["a", "x", "2024-01-01", "1", "2"]
    csv, parquet = tmp_path / "log.csv", tmp_path / "log.parquet"
    csv.write_text(f"{','.join(names)}\n{','.join(values)}\n")
    pq.write_table(pa.table([pa.array([value]) for value in values], names=names), parquet)
    frame = pd.DataFrame([values], columns=names)
    for label, reading in (
        (csv, lambda: EventLog.from_csv(csv, zone="UTC")),
        (parquet, lambda: EventLog.from_parquet(parquet, zone="UTC")),
        ("events", lambda: EventLog.from_pandas(frame, zone="UTC")),
        ("customers", lambda: EventLog.from_pandas(with_columns(), zone="UTC", customers=frame)),
        (csv, lambda: EventLog.from_pandas(with_columns(), zone="UTC", customers=csv)),
    ):
        with pytest.raises(EventLogError) as fault:
            reading()
        assert str(fault.value) == f"{label}: more than one column is called {said}"


def test_a_name_that_ends_in_a_number_is_one_name(tmp_path):
    path = tmp_path / "log.parquet"
    with_columns(p=[1, 2], p_1=[3, 4]).to_parquet(path)
    assert list(EventLog.from_parquet(path, zone="UTC").properties) == ["p", "p_1"]


def test_properties_keep_their_kind_and_nested_ones_become_json_text():
    frame = with_columns(
        number=[1, 2],
        price=[Decimal("1.5"), None],
        flag=[True, None],
        day=[dt.date(2024, 1, 1), None],
        moment=pd.to_datetime(["2024-01-01T10:00+02:00", None]).as_unit("ns"),
        tags=[["a"], None],
        mixed=[1, "x"],
        category=pd.Categorical(["q", None]),
        nothing=[None, None],
    )
    log = EventLog.from_pandas(frame, zone="UTC")
    assert log.properties == {
        "number": "number",
        "price": "number",
        "flag": "flag",
        "day": "time",
        "moment": "time",
        "tags": "text",
        "mixed": "text",
        "category": "text",
        "nothing": "empty",
    }
    first = log.events.iloc[0]
    assert first["tags"] == '["a"]'
    assert first["mixed"] == "1"
    assert first["moment"] == pd.Timestamp("2024-01-01 08:00", tz="UTC")


def test_a_nan_property_is_missing_also_in_a_parquet_file(tmp_path):
    times = pa.array([0, 1], pa.timestamp("us", "UTC"))
    table = pa.table({"customer_id": ["a", "b"], "event": ["x", "x"], "at": times, "value": [float("nan"), 30.0]})
    pq.write_table(table, tmp_path / "log.parquet")
    log = EventLog.from_parquet(tmp_path / "log.parquet")
    (count,) = log.cursor().execute(f"SELECT count(*) FROM {log.relation} WHERE value >= 20").fetchone()
    assert count == 1


def test_a_property_that_has_one_of_our_names_gets_a_suffix():
    log = EventLog.from_pandas(with_columns(row=["q", "r"]), zone="UTC")
    assert list(log.properties) == ["row_property"]
    assert any("row_property" in note for note in log.notes)


class TestJsonProperties:
    def test_a_json_column_is_opened_into_typed_columns(self):
        documents = ['{"price": 1, "ok": true, "name": "é\\"q", "deep": {"a": [1]}}', '{"price": 2.5, "x/y": "z"}']
        log = EventLog.from_pandas(with_columns(properties=documents), zone="UTC")
        assert log.properties == {"price": "number", "ok": "flag", "name": "text", "deep": "text", "x/y": "text"}
        first, second = log.events.to_dict("records")
        assert (first["price"], first["ok"], first["name"], first["deep"]) == (1.0, True, 'é"q', '{"a":[1]}')
        assert (second["price"], second["x/y"]) == (2.5, "z")

    def test_dicts_are_as_good_as_json_text(self):
        log = EventLog.from_pandas(with_columns(properties=[{"price": 1}, None]), zone="UTC")
        assert log.properties == {"price": "number"}

    def test_numbers_and_words_under_one_key_become_text(self):
        log = EventLog.from_pandas(with_columns(properties=['{"a": 1}', '{"a": "one"}']), zone="UTC")
        assert list(log.events["a"]) == ["1", "one"]

    def test_a_number_written_as_text_stays_text(self):
        log = EventLog.from_pandas(with_columns(properties=['{"zip": "00123"}', '{"zip": "75001"}']), zone="UTC")
        assert log.properties == {"zip": "text"}
        assert list(log.events["zip"]) == ["00123", "75001"]

    def test_a_whole_number_too_long_for_a_number_stays_exact_as_text(self):
        log = EventLog.from_pandas(with_columns(properties=['{"n": 12345678901234567890}', '{"n": 1}']), zone="UTC")
        assert list(log.events["n"]) == ["12345678901234567890", "1"]

    def test_times_with_an_offset_become_times(self):
        log = EventLog.from_pandas(with_columns(properties=['{"t": "2024-01-01T10:00:00+02:00"}', "{}"]), zone="UTC")
        assert log.properties == {"t": "time"}
        assert log.events["t"].iloc[0] == pd.Timestamp("2024-01-01 08:00", tz="UTC")

    def test_a_key_with_one_of_our_names_gets_a_suffix_and_a_note(self):
        log = EventLog.from_pandas(with_columns(properties=['{"event": "boo"}', '{"Event": "hoo"}']), zone="UTC")
        assert list(log.properties) == ["event_property", "Event_property_2"]
        assert any("'event_property'" in note for note in log.notes)

    @pytest.mark.parametrize("nothing", [[None, None], ["", "  "], ["null", "{}"]])
    def test_no_properties_are_no_columns(self, nothing):
        assert EventLog.from_pandas(with_columns(properties=nothing), zone="UTC").properties == {}

    @pytest.mark.parametrize("bad", ["[1]", "hello", "{'a': 1}", "5", '{"a":'])
    def test_anything_but_json_objects_is_an_error_that_names_the_row_and_the_way_out(self, bad):
        with pytest.raises(
            EventLogError, match="events, row 1: column 'properties' should hold a JSON object"
        ) as fault:
            EventLog.from_pandas(with_columns(properties=["{}", bad]), zone="UTC")
        assert bad in str(fault.value)
        assert "columns={'other_name': 'properties'}" in str(fault.value)

    def test_half_of_a_sign_is_left_out_of_a_document_on_every_way_in(self, tmp_path):
        # Where a program cut a text in the middle of a sign; whole signs and escaped backslashes stay.
        said = ["na \ud83d", "\ud83d\U0001f600 x", r"a \ud83d b"]
        frame = with_columns(event_id=["a", "b"])
        frame = pd.concat([frame, frame.iloc[:1].assign(event_id="c")], ignore_index=True)
        texts = frame.assign(properties=[json.dumps({"said": one}) for one in said])
        texts.to_csv(tmp_path / "log.csv", index=False)
        texts.to_parquet(tmp_path / "log.parquet", index=False)
        documents = frame.assign(properties=[{"said": one} for one in said])
        for log in (
            EventLog.from_pandas(documents, zone="UTC"),
            EventLog.from_pandas(texts, zone="UTC"),
            EventLog.from_csv(tmp_path / "log.csv", zone="UTC"),
            EventLog.from_parquet(tmp_path / "log.parquet", zone="UTC"),
        ):
            assert list(log.events["said"]) == ["na ", "\U0001f600 x", r"a \ud83d b"]
            note = "2 values of 'properties' with half of a sign, as where a text was cut; the half is left out"
            assert note in log.notes

    def test_the_way_out_works(self):
        log = EventLog.from_pandas(
            with_columns(properties=["hello", "you"]), zone="UTC", columns={"said": "properties"}
        )
        assert list(log.events["said"]) == ["hello", "you"]

    def test_keys_that_are_values_are_refused(self):
        documents = ["{" + ", ".join(f'"k{i}": 1' for i in range(1200)) + "}", None]
        with pytest.raises(EventLogError, match="1,200 different keys"):
            EventLog.from_pandas(with_columns(properties=documents), zone="UTC")


class TestCsv:
    def test_columns_are_typed_and_ids_keep_their_zeros(self, write):
        path = write(
            "log.csv",
            "customer_id;event;timestamp;zip;n;flag;day;moment;said\n"
            '00123;view;2024-01-01 00:00;01234;1;true;2024-02-03;2024-01-01T00:00:00Z;"a;b"\n'
            "17;buy;2024-01-02 00:00;;2.5;False;;;\n",
        )
        log = EventLog.from_csv(path, columns={"at": "timestamp"}, zone="UTC")
        assert log.properties == {
            "zip": "text",
            "n": "number",
            "flag": "flag",
            "day": "time",
            "moment": "time",
            "said": "text",
        }
        assert list(log.events["customer_id"]) == ["00123", "17"]
        assert log.events["said"].iloc[0] == "a;b"

    def test_many_files_and_patterns_are_one_log(self, write, tmp_path):
        write("p1.csv", "customer_id,event,at\n1,a,2024-01-01\n2,a,2024-01-02\n")
        write("p2.csv", "customer_id,event,at,z\n3,a,2024-01-01,5\n")
        for paths in (tmp_path / "p*.csv", [tmp_path / "p1.csv", str(tmp_path / "p2.csv")], tmp_path):
            log = EventLog.from_csv(paths, zone="UTC")
            assert list(log.events["customer_id"]) == ["1", "2", "3"]
            assert log.properties == {"z": "number"}

    def test_ids_that_a_spreadsheet_wrote_as_decimals_lose_the_point(self, write):
        path = write("log.csv", "customer_id,event,at\n17850.0,a,2024-01-01\n13047.0,a,2024-01-02\n")
        log = EventLog.from_csv(path, zone="UTC")
        assert list(log.events["customer_id"]) == ["17850", "13047"]
        assert any("ends in '.0'" in note for note in log.notes)

    @pytest.mark.parametrize(
        "content",
        [
            b"\xef\xbb\xbfcustomer_id,event,at\n1,a,2024-01-01\n",
            b"customer_id,event,at\r\n1,a,2024-01-01\r\n",
            b"customer_id\tevent\tat\n1\ta\t2024-01-01",
            b'"customer_id";"event";"at"\n"1";"a";"2024-01-01"\n\n',
            gzip.compress(b"customer_id|event|at\n1|a|2024-01-01\n"),
        ],
        ids=["byte order mark", "windows", "tabs", "quotes and a blank line", "gzip"],
    )
    def test_files_of_many_origins_are_read(self, tmp_path, content):
        path = tmp_path / ("log.csv.gz" if content[:2] == b"\x1f\x8b" else "log.csv")
        path.write_bytes(content)
        log = EventLog.from_csv(path, zone="UTC")
        assert log.events[["customer_id", "event"]].to_numpy().tolist() == [["1", "a"]]
        assert log.properties == {}

    def test_a_value_may_hold_lines_and_quotes(self, write):
        path = write("log.csv", 'customer_id,event,at,said\n1,a,2024-01-01,"two\nlines, ""quoted"""\n')
        assert EventLog.from_csv(path, zone="UTC").events["said"].iloc[0] == 'two\nlines, "quoted"'

    def test_a_file_in_another_encoding_is_an_error_that_names_it(self, tmp_path):
        path = tmp_path / "log.csv"
        path.write_bytes("customer_id,event,at\né,a,2024-01-01\n".encode("latin-1"))
        with pytest.raises(EventLogError, match=r"log.csv: cannot be read as CSV.*(utf|unicode|encod)"):
            EventLog.from_csv(path, zone="UTC")

    def test_a_bad_time_names_the_file_and_the_row(self, write):
        first = write("p1.csv", "customer_id,event,at\n1,a,2024-01-01\n2,a,2024-01-02\n")
        second = write("p2.csv", "customer_id,event,at\n3,a,2024-01-01\n4,a,01/02/2024\n5,a,soon\n")
        with pytest.raises(EventLogError, match=r"p2.csv, row 2: column 'at'.*'01/02/2024'; not a time in 2 rows of 5"):
            EventLog.from_csv([first, second], zone="UTC")

    def test_a_file_with_a_header_only_is_an_empty_log(self, write):
        assert len(EventLog.from_csv(write("log.csv", "customer_id,event,at\n"))) == 0

    def test_an_empty_file_is_an_error(self, write):
        with pytest.raises(EventLogError, match="the file is empty"):
            EventLog.from_csv(write("log.csv", ""))

    def test_ragged_lines_are_an_error_that_names_the_line(self, write):
        path = write("log.csv", "customer_id,event,at\n1,a,2024-01-01\n2,a\n3,a,2024-01-01,4,5\n")
        with pytest.raises(EventLogError, match=r"log.csv: cannot be read as CSV.*[Ll]ine"):
            EventLog.from_csv(path, zone="UTC")

    @pytest.mark.parametrize(
        ("lines", "why"),
        [
            ("d,a,2024-01-04", "line 5 has 3 fields; the header has 4"),
            ("d,a,2024-01-04,1,2", "line 5 has 5 fields; the header has 4; a value with ',' in it needs quotes"),
            ("d\n\ne,a\nf,a\ng,a", "line 5 has 1 field, line 7 has 2, line 8 has 2, and 1 more line like that"),
            ('d,"a,2024-01-04,1\ne,a,2024-01-04,1', "a quote in line 5 is not closed"),
            ('d,"a,2024-01-04,1\ne,"a",2024-01-04,1', "lines 5 to 6: a quote is not closed, or stands within a value"),
            ('d,"a\\"b",2024-01-04,1', "line 5: a quote is not closed, or stands within a value"),
            ('d,"a\nb",2024-01-04,1\ne,a', "line 7 has 2 fields; the header has 4"),
            ("d,é,2024-01-04,1\ne,a", "line 6 has 2 fields; the header has 4"),
            ("d,a,2024-01-04,1\r\n", r"its lines end in more than one way: line 1 in '\n' and line 5 in '\r\n'"),
        ],
    )
    @pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
    def test_what_is_wrong_with_a_line_is_said_with_its_number(self, tmp_path, lines, why, ending):
        good = "customer_id,event,at,n\na,a,2024-01-01,1\nb,a,2024-01-02,2\nc,a,2024-01-03,3\n"
        path, right = tmp_path / f"log{ending}", tmp_path / f"a{ending}"
        packed = gzip.compress if ending.endswith(".gz") else bytes
        right.write_bytes(packed(good.encode()))
        path.write_bytes(packed(f"{good}{lines}\n".encode()))
        for paths in (path, [right, path]):
            with pytest.raises(EventLogError) as fault:
                EventLog.from_csv(paths, zone="UTC")
            assert str(fault.value).startswith(f"{path}: cannot be read as CSV: {why}")
            assert "search space" not in str(fault.value)

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
    def test_a_file_tells_its_unicode_encoding_by_itself(self, tmp_path, encoding):
        path = tmp_path / "log.csv"
        path.write_bytes("customer_id,event,at\né,a,2024-01-01\nb,a,soon\n".encode(encoding))
        with pytest.raises(EventLogError, match=r"^\S+/log.csv, row 2: column 'at' .* found 'soon'"):
            EventLog.from_csv(path, zone="UTC")
        path.write_bytes("customer_id,event,at\né,a,2024-01-01\n".encode(encoding))
        assert EventLog.from_csv(path, zone="UTC").events["customer_id"].tolist() == ["é"]

    def test_a_file_that_only_looks_packed_is_an_error(self, write):
        with pytest.raises(EventLogError, match=r"log.csv.gz: cannot be read: Not a gzipped file"):
            EventLog.from_csv(write("log.csv.gz", "customer_id,event,at\n"))

    def test_epoch_numbers_in_a_file_are_times(self, write):
        log = EventLog.from_csv(write("log.csv", "customer_id,event,at\n1,a,1700000000123\n"))
        assert log.events["at"].iloc[0] == pd.Timestamp("2023-11-14 22:13:20.123", tz="UTC")
        assert any("milliseconds since 1970" in note for note in log.notes)


class TestPaths:
    def test_no_such_file_names_the_nearest_one(self, write, tmp_path):
        write("events.csv", "customer_id,event,at\n")
        with pytest.raises(EventLogError, match=r"no such file: .*event.csv; did you mean '.*events.csv'"):
            EventLog.from_csv(tmp_path / "event.csv")

    def test_a_pattern_without_a_match_says_what_the_folder_holds(self, write, tmp_path):
        write("zebra.txt", "")
        with pytest.raises(EventLogError, match=r"no file matches .*2024-\*.parquet; .* holds zebra.txt"):
            EventLog.from_parquet(tmp_path / "2024-*.parquet")

    def test_a_folder_that_does_not_exist_is_named(self, tmp_path):
        with pytest.raises(EventLogError, match=r"its folder .*nowhere does not exist"):
            EventLog.from_csv(tmp_path / "nowhere" / "log.csv")

    def test_an_empty_list_is_an_error(self):
        with pytest.raises(EventLogError, match="no files given"):
            EventLog.from_parquet([])

    def test_a_text_file_read_as_parquet_is_said_so(self, write):
        with pytest.raises(EventLogError, match="cannot be read as Parquet"):
            EventLog.from_parquet(write("log.parquet", "customer_id,event,at\n"))


def events_of_many_files(tmp_path):
    for number in range(3):
        frame = pd.DataFrame(
            {
                "customer_id": [10 * number + 1, 10 * number + 2],
                "event": ["view", "purchase"],
                "at": pd.to_datetime(["2024-01-01", "2024-01-02"], utc=True).as_unit("us"),
                "value": [float(number), None],
            }
        )
        frame.to_parquet(tmp_path / f"part{number}.parquet", index=False)


class TestParquet:
    def test_rows_of_many_files_are_numbered_through(self, tmp_path):
        events_of_many_files(tmp_path)
        log = EventLog.from_parquet(tmp_path)
        rows = log.cursor().execute(f"SELECT row, customer_id FROM {log.relation} ORDER BY row").fetchall()
        assert rows == [(0, "1"), (1, "2"), (2, "11"), (3, "12"), (4, "21"), (5, "22")]

    def test_a_bad_row_of_many_files_is_named_by_its_file(self, tmp_path):
        events_of_many_files(tmp_path)
        frame = pd.read_parquet(tmp_path / "part1.parquet")
        frame.loc[1, "event"] = None
        frame.to_parquet(tmp_path / "part1.parquet", index=False)
        with pytest.raises(EventLogError, match=r"event is missing or empty in 1 row \(.*part1.parquet, row 2\)"):
            EventLog.from_parquet(tmp_path)

    def test_a_filter_on_events_reaches_the_file(self, tmp_path):
        events_of_many_files(tmp_path)
        log = EventLog.from_parquet(tmp_path)
        plan = (
            log.cursor()
            .execute(f"EXPLAIN SELECT customer_id, row FROM {log.relation} WHERE event IN ('purchase', 'view')")
            .fetchall()[0][1]
        )
        scan = plan[plan.index("Read Parquet") :]
        assert "Filters" in scan
        assert "purchase" in scan
        assert "value" not in scan

    def test_local_times_in_a_file_need_a_zone(self, tmp_path):
        frame = pd.DataFrame({**BASE, "at": pd.to_datetime(["2024-07-01", "2024-12-01"])})
        frame.to_parquet(tmp_path / "log.parquet", index=False)
        with pytest.raises(EventLogError, match="2 times without a time zone, for example 2024-07-01 00:00:00"):
            EventLog.from_parquet(tmp_path / "log.parquet")
        log = EventLog.from_parquet(tmp_path / "log.parquet", zone="Europe/Paris")
        assert list(log.events["at"].dt.hour) == [22, 23]

    def test_exact_repetitions_in_a_file_count_once_for_people(self, tmp_path):
        frame = with_columns(at=pd.to_datetime(BASE["at"], utc=True))
        pd.concat([frame, frame]).to_parquet(tmp_path / "log.parquet", index=False)
        log = EventLog.from_parquet(tmp_path / "log.parquet")
        assert len(log) == 2
        assert len(log.events) == 2
        assert "2 exact repetitions of a row left out: each counts once" in log.notes

    def test_a_frame_and_its_file_give_the_same_event_ids(self, tmp_path, three_events):
        three_events["at"] = pd.to_datetime(three_events["at"], utc=True)
        three_events.to_parquet(tmp_path / "log.parquet", index=False)
        three_events.to_csv(tmp_path / "log.csv", index=False)
        ids = [
            log.event_ids([2, 0, 1])
            for log in (
                EventLog.from_pandas(three_events),
                EventLog.from_parquet(tmp_path / "log.parquet"),
                EventLog.from_csv(tmp_path / "log.csv"),
            )
        ]
        assert ids[0] == ids[1] == ids[2]
        assert len(set(ids[0])) == 3


def test_many_threads_may_ask_one_log_at_once(tmp_path):
    events_of_many_files(tmp_path)
    log = EventLog.from_parquet(tmp_path)

    def ask(_):
        count = log.cursor().execute(f"SELECT count(*) FROM {log.relation}").fetchall()[0][0]
        return count, len(log), len(log.events), tuple(log.event_ids([5, 0]))

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(ask, range(40)))
    assert len(answers) == 1
    assert answers.pop()[:3] == (6, 6, 6)


def test_nothing_is_written_beside_the_program(tmp_path, monkeypatch, three_events):
    monkeypatch.chdir(tmp_path)
    log = EventLog.from_pandas(three_events, zone="UTC")
    assert len(log.events) == 3
    assert list(tmp_path.iterdir()) == []


def test_asking_for_the_id_of_a_row_that_is_not_there_is_an_error(three_events):
    with pytest.raises(EventLogError, match="1 of 2 row numbers are not in the log"):
        EventLog.from_pandas(three_events, zone="UTC").event_ids([0, 99])


@pytest.mark.parametrize("name", ["retailrocket_sample", "cdnow", "online_retail", "olist_sample"])
def test_real_logs_are_read_with_one_renamed_column(shared_data, name):
    path = shared_data / name / "eventlog.parquet"
    log = EventLog.from_parquet(path, columns={"at": "timestamp"}, zone="UTC")
    raw = pd.read_parquet(path)
    assert len(log) == len(raw.drop_duplicates())
    assert set(log.event_names) == set(raw["event"])
    assert log.events["customer_id"].nunique() == raw["customer_id"].nunique()
    assert log.properties


def test_ids_that_are_decimals_keep_every_digit(tmp_path):
    ids = pa.array([Decimal("12345678901234567890"), Decimal("9007199254740993"), Decimal(7)], pa.decimal128(38, 0))
    at = pa.array([1735689600] * 3)
    pq.write_table(pa.table({"customer_id": ids, "event": ["x"] * 3, "at": at}), tmp_path / "events.parquet")
    pq.write_table(pa.table({"customer_id": ids}), tmp_path / "people.parquet")
    log = EventLog.from_parquet(tmp_path / "events.parquet", customers=tmp_path / "people.parquet")
    whole = ["12345678901234567890", "7", "9007199254740993"]
    assert sorted(log.events["customer_id"]) == whole
    assert sorted(log.customers["customer_id"]) == whole
    frame = pd.DataFrame(
        {"customer_id": [Decimal("9007199254740993"), Decimal("2.50")], "event": "x", "at": 1735689600}
    )
    assert sorted(EventLog.from_pandas(frame).events["customer_id"]) == ["2.5", "9007199254740993"]


def test_the_file_that_is_no_parquet_is_the_one_that_is_told(tmp_path):
    good, bad = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pq.write_table(pa.table({"customer_id": ["a"], "event": ["x"], "at": [1735689600]}), good)
    bad.write_bytes(good.read_bytes()[:-20])
    with pytest.raises(EventLogError) as fault:
        EventLog.from_parquet(tmp_path)
    assert str(fault.value).startswith(f"{bad}: cannot be read as Parquet: ")
    assert "SELECT" not in str(fault.value)


@pytest.mark.parametrize("column", ["customer_id", "event_id", "customers"])
def test_ids_of_more_digits_than_a_float_keeps_are_refused(column):
    frame = pd.DataFrame({"customer_id": [1.0, 2.0], "event_id": [1.0, 2.0], "event": "x", "at": 1735689600})
    people = pd.DataFrame({"customer_id": [1.0, 2.0]})
    EventLog.from_pandas(frame, customers=people)
    wrong, name = (people, "customer_id") if column == "customers" else (frame, column)
    wrong.loc[1, name] = 1234567890123456789
    with pytest.raises(EventLogError) as fault:
        EventLog.from_pandas(frame, customers=people)
    assert str(fault.value) == (
        f"{'customers' if column == 'customers' else 'events'}, row 1: column '{name}' ({name}) holds floats of more "
        "digits than a float keeps, such as 1.2345678901234568e+18; give these ids as texts or whole numbers, in "
        "pandas 'Int64'"
    )


def test_a_parquet_file_that_is_written_anew_under_a_log_is_told_instead_of_half_of_each(tmp_path):
    file = tmp_path / "events.parquet"
    pq.write_table(pa.table({"customer_id": ["a"], "event": ["x"], "at": [1735689600]}), file)
    log = EventLog.from_parquet(file)
    joined = log.followed_by(EventLog.from_parquet(file))
    assert len(log) == 1
    pq.write_table(pa.table({"customer_id": ["a", "b"], "event": ["x", "y"], "at": [1735689600] * 2}), file)
    for one in (log, joined):
        with pytest.raises(
            EventLogError, match=r"events.parquet was written anew since this log was read from it: read"
        ):
            one.events  # noqa: B018


def test_the_unnamed_index_of_a_frame_written_to_parquet_is_left_out_and_told(tmp_path):
    frame = with_columns(value=[1.0, 2.0])
    frame.index = [7, 9]  # as after a filter
    frame.to_parquet(tmp_path / "events.parquet")
    people = pd.DataFrame({"customer_id": ["ana", "bo"], "email": None}, index=[3, 5])
    people.to_parquet(tmp_path / "people.parquet")
    log = EventLog.from_parquet(tmp_path / "events.parquet", customers=tmp_path / "people.parquet", zone="UTC")
    assert log.properties == {"value": "number"}
    assert list(log.attributes) == ["email"]
    assert any("'__index_level_0__' left out: it is the index of a frame" in note for note in log.notes)
    assert log.event_ids([0, 1]) == EventLog.from_pandas(frame, zone="UTC").event_ids([0, 1])
    numbered = EventLog.from_parquet(tmp_path / "events.parquet", zone="UTC", columns={"line": "__index_level_0__"})
    assert sorted(numbered.properties) == ["line", "value"]
