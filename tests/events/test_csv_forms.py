"""CSV files of people with other habits: dates, decimals, separators and encodings of their own."""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
import os

import pandas as pd
import pyarrow as pa
import pytest

from toolkit.errors import EventLogError
from toolkit.events import EventLog
from toolkit.events.csv_forms import CsvForm
from toolkit.events.erasure import Person, erase_from_files

HEAD = "customer_id;event;at;revenue;paid\n"


def read(path, lines, *, encoding="utf-8", **said):
    path.write_bytes((HEAD + lines).encode(encoding))
    return EventLog.from_csv(path, zone="Europe/Paris", **said)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "log.csv"


@pytest.mark.parametrize(
    ("order", "written", "utc"),
    [
        ("day first", "27.11.2026 14:05", "2026-11-27 13:05"),
        ("day first", "3/4/2026 9:05:30.25", "2026-04-03 07:05:30.25"),
        ("day first", " 03-04-2026 ", "2026-04-02 22:00"),
        ("month first", "11-27-2026 14:05:59", "2026-11-27 13:05:59"),
        ("day first", "27.11.2026T14:05Z", "2026-11-27 14:05"),
        ("day first", "27.11.2026 14:05+03:00", "2026-11-27 11:05"),
        ("day first", "27.11.2026 14:05 UTC", "2026-11-27 14:05"),
        ("month first", "11/27/2026 2:05 PM", "2026-11-27 13:05"),
        ("month first", "11/27/2026, 12:05:09 a.m.", "2026-11-26 23:05:09"),
        ("%d.%m.%y %H:%M", "27.11.26 14:05", "2026-11-27 13:05"),
        ("%d %b %Y", "27 Nov 2026", "2026-11-26 23:00"),
        ("%Y%m%d%H%M%S%z", "20261127140500+0300", "2026-11-27 11:05"),
        ("day first", "2026-11-27 14:05", "2026-11-27 13:05"),
        ("%Y-%d-%m", "2026-03-04", "2026-04-02 22:00"),
    ],
)
def test_times_are_read_as_it_was_said_that_they_are_written(file, order, written, utc):
    log = read(file, f"1;x;{written};;\n", date_format=order)
    assert log.events["at"].iloc[0] == pd.Timestamp(utc, tz="UTC")


def test_the_parts_of_a_date_are_taken_by_one_match_of_the_pattern():
    assert CsvForm("day first").iso("x").count("regexp_extract(") == 1


def test_which_of_day_and_month_is_first_is_never_guessed(file):
    with pytest.raises(EventLogError) as fault:
        read(file, "1;x;05.05.2026 14:05;;\n1;x;03.04.2026 14:05;;\n")
    assert str(fault.value) == (
        f"{file}, row 1: column 'at' (at) should hold times, found '05.05.2026 14:05'; not a time in 2 rows of 2; "
        "'03.04.2026 14:05' is 2026-04-03 with the day first and 2026-03-04 with the month first; say which it is: "
        "date_format='day first' or date_format='month first'"
    )


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (["03.04.2026", "27.11.2026"], "have the day first, since 27 is no month; say so: date_format='day first'"),
        (["3/4/2026", "11/28/2026"], "have the month first, since 28 is no month; say so: date_format='month first'"),
        (["27/11/2026", "11/28/2026"], "some values have the day first and some the month: no one reading fits all"),
        (["5/5/2026"], "say whether such dates have the day or the month first: date_format='day first' or"),
    ],
)
def test_what_all_values_tell_of_their_order_is_said(file, written, told):
    with pytest.raises(EventLogError) as fault:
        read(file, "".join(f"1;x;{one};;\n" for one in written))
    assert told in str(fault.value)


def test_such_dates_in_a_frame_are_left_to_pandas():
    frame = pd.DataFrame({"customer_id": ["a"], "event": "x", "at": "27.11.2026"})
    with pytest.raises(EventLogError, match=r"27 is no month; say so: pandas.to_datetime\(…, dayfirst=True\)"):
        EventLog.from_pandas(frame, zone="UTC")


def test_a_time_of_another_form_is_an_error_with_file_row_and_what_is_allowed(file):
    with pytest.raises(EventLogError) as fault:
        read(file, "1;x;27.11.2026;;\n1;x;31.02.2026;;\n1;x;2026-11-27;;\n", date_format="day first")
    assert str(fault.value).startswith(
        f"{file}, row 2: column 'at' (at) should hold times with the day first, found '31.02.2026'; no such time in 2 "
        "rows of 3; date_format='day first' holds for all values of a column; allowed: 'day first' (27.11.2026"
    )


def test_a_property_of_such_dates_is_a_time_and_one_that_is_not_all_dates_stays_text(file):
    log = read(file, "1;x;27.11.2026;a;01.02.2026\n1;x;28.11.2026;03.04.2026;\n", date_format="day first")
    assert log.properties == {"revenue": "text", "paid": "time"}
    assert log.events["paid"].dropna().tolist() == [pd.Timestamp("2026-02-01", tz="UTC")]
    assert "dates are read with the day first: at, paid" in log.notes


def test_what_is_first_known_after_many_empty_rows_is_read_too(file):
    empty = "1;x;27.11.2026;;\n" * 2500
    log = read(file, f"{empty}1;y;27.11.2026;19,90;01.02.2026\n", date_format="day first", decimal=",")
    assert log.properties == {"revenue": "number", "paid": "time"}


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        (["19,90", "5"], [19.9, 5.0]),
        (["1.234,50", "-0,5"], [1234.5, -0.5]),
        (["1 234,50", "1\u202f234"], [1234.5, 1234.0]),
        (["1.234"], [1234]),
        (["48.85", "2.5"], [48.85, 2.5]),
        (["19,90", "free"], ["19,90", "free"]),
        (["007,5"], ["007,5"]),
    ],
)
def test_decimals_after_a_comma_are_numbers_where_all_of_a_column_are(file, written, read_as):
    log = read(file, "".join(f"1;x{n};2026-11-27;{one};\n" for n, one in enumerate(written)), decimal=",")
    assert log.events["revenue"].tolist() == read_as


def test_ids_and_names_are_texts_whatever_is_said_of_dates_and_decimals(file):
    file.write_text("customer_id;event;at;event_id\n1,5;27.11.2026;27.11.2026;2,50\n")
    log = EventLog.from_csv(file, zone="UTC", date_format="day first", decimal=",")
    assert log.events[["customer_id", "event", "event_id"]].to_numpy().tolist() == [["1,5", "27.11.2026", "2,50"]]


def test_customers_in_a_csv_file_are_read_in_the_same_form(file, tmp_path):
    people = tmp_path / "people.csv"
    people.write_bytes(
        "sep=;\r\nid;consent;birthday;score;email\r\n1;yes;01.02.1990;2,5;zoé@example.org\r\n".encode("cp1252")
    )
    said = {"date_format": "day first", "decimal": ",", "encoding": "cp1252"}
    file.write_text(f"{HEAD}1;x;27.11.2026;;\n")
    log = EventLog.from_csv(file, customers=people, columns={"customers.customer_id": "id"}, zone="UTC", **said)
    one = log.customers.iloc[0]
    assert (str(one["birthday"])[:10], one["score"], one["email"]) == ("1990-02-01", 2.5, "zoé@example.org")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8-sig", "utf-16"])
def test_files_of_many_habits_are_read_as_one(tmp_path, encoding):
    (tmp_path / "a.csv").write_bytes(f"sep=;\r\n{HEAD}zoé;x;2026-11-27;1;\r\n".replace("\r", "").encode(encoding))
    (tmp_path / "b.csv").write_text("customer_id,event,at\nbo,y,2026-11-28\n")
    log = EventLog.from_csv(tmp_path, zone="UTC", encoding=encoding if encoding == "cp1252" else None)
    assert log.events[["customer_id", "event"]].to_numpy().tolist() == [["zoé", "x"], ["bo", "y"]]
    (tmp_path / "b.csv").write_text("customer_id,event,at\nbo,y,soon\n")
    with pytest.raises(EventLogError, match=r"b.csv, row 1: .* found 'soon'"):
        EventLog.from_csv(tmp_path, zone="UTC", encoding=encoding if encoding == "cp1252" else None)


def test_a_fault_below_the_line_of_a_spreadsheet_has_the_number_of_its_line(file):
    file.write_text(f"sep=;\n{HEAD}1;x;2026-11-27;;\n1;x\n")
    with pytest.raises(EventLogError, match="line 4 has 2 fields; the header has 5"):
        EventLog.from_csv(file, zone="UTC")


def test_another_encoding_is_told_with_its_line_and_what_to_say(file):
    with pytest.raises(EventLogError, match=r"line 3 is not in UTF-8; allowed: .* for example encoding='cp1252'"):
        read(file, "1;x;2026-11-27;;\nzoé;x;2026-11-27;;\n", encoding="cp1252")
    file.write_bytes(f"{HEAD}1;x;2026-11-27;;\n\x81;x;2026-11-27;;\n".encode("latin-1"))
    with pytest.raises(EventLogError, match=r"log.csv: cannot be read as CSV: line 3 is not in cp1252"):
        EventLog.from_csv(file, zone="UTC", encoding="cp1252")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"date_format": "dayfirst"}, "date_format='dayfirst'; did you mean 'day first'?; allowed: 'day first'"),
        ({"date_format": "DD.MM.YYYY"}, "date_format='DD.MM.YYYY'; allowed: 'day first'"),
        ({"date_format": "%d.%m."}, "or a format of strptime with year, month and day"),
        ({"date_format": "%d.%m.%Y %q"}, "Unrecognized format for strftime/strptime: %q; allowed"),
        ({"date_format": 5}, "date_format=5; allowed"),
        ({"decimal": ";"}, "decimal=';'; allowed: '.' (19.90) or ',' (19,90)"),
        ({"encoding": "cp1253x"}, "encoding='cp1253x'; allowed: one that Python knows, such as 'cp1252'"),
        ({"encoding": "base64"}, "encoding='base64'; allowed"),
    ],
)
def test_a_form_that_cannot_be_is_refused_with_what_is_allowed(file, said, told):
    file.write_text(f"{HEAD}1;x;2026-11-27;;\n")
    with pytest.raises(EventLogError) as fault:
        EventLog.from_csv(file, zone="UTC", **said)
    assert told in str(fault.value)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("form", ["utf-8-sig", "cp1252"])
def test_of_a_file_that_grows_every_whole_line_is_read_wherever_its_writer_stands(file, ending, form):
    lines = [
        HEAD.strip(), "zoé;x;2026-11-27;19.90;", 'bo;x;2026-11-28;"two', 'lines, ""quoted""";', "cy;x;2026-11-29;1;"
    ]  # fmt: skip
    whole = "".join(line + ending for line in lines).encode(form)
    ends = [len(ending.join([*lines[:n], ""]).encode(form)) for n in (2, 4, 5)]
    said = {"encoding": "cp1252"} if form == "cp1252" else {}
    for size in range(ends[0], len(whole) + 1):
        file.write_bytes(whole[:size])
        log = EventLog.from_csv(file, zone="UTC", growing=True, **said)
        assert len(log) == sum(size >= end for end in ends), whole[:size]
        assert any("the last line does not end yet" in note for note in log.notes) == (size not in ends)


def test_a_broken_line_of_a_file_that_grows_is_an_error_all_the_same(file):
    file.write_text(f"{HEAD}a;x;2026-11-27\nb;x;2026-11-27;;\nc;x;20")
    with pytest.raises(EventLogError, match=r"log.csv: cannot be read as CSV: line 2 has 3 fields; the header has 5"):
        EventLog.from_csv(file, zone="UTC", growing=True)
    file.write_text(f'{HEAD}a;x;2026-11-27;;"open\n' + "b;x;2026-11-27;;\n" * 1000)
    with pytest.raises(EventLogError, match="a quote in line 2 is not closed"):
        EventLog.from_csv(file, zone="UTC", growing=True)


def test_a_whole_file_may_end_without_an_end_of_line(file):
    file.write_text(f"{HEAD}a;x;2026-11-27;19.9;")
    assert EventLog.from_csv(file, zone="UTC").events["revenue"].tolist() == [19.9]


def test_an_impossible_time_is_not_told_to_say_what_is_said(file):
    with pytest.raises(EventLogError, match=r"found '27/11/2026 25:00'.* is said, but no such time can be; allowed"):
        read(file, "1;x;27/11/2026 25:00;;\n", date_format="day first")


def test_a_file_that_is_not_in_the_utf_16_it_is_said_to_be_in_is_told(file):
    file.write_text(f"{HEAD}1;x;2026-11-27;;\n")
    with pytest.raises(EventLogError, match=r"log.csv: cannot be read as CSV: line 1 is not in utf-16"):
        EventLog.from_csv(file, zone="UTC", encoding="utf-16")


PLAIN = "customer_id,event,at,value\nana,x,2026-11-27T14:05:00Z,1.5\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (gzip.compress(PLAIN.encode()), "it is packed with gzip; give it a name that ends in .csv.gz"),
        (pa.compress(PLAIN.encode(), codec="zstd", asbytes=True), "it is packed with zstd; give it a name that ends"),
        (bz2.compress(PLAIN.encode()), "it is packed with bzip2; unpack it, or pack it with gzip"),
        (lzma.compress(PLAIN.encode()), "it is packed with xz; unpack it"),
        (b"PK\x03\x04" + bytes(80), "it is a zip archive or an Excel workbook; unpack it, or save the sheet as CSV"),
        (b"PAR1" + bytes(80), "it is a Parquet file; read it with from_parquet"),
        (b"SQLite format 3\x00" + bytes(80), "it is an SQLite database; read a table of it with from_sql"),
    ],
    ids=["gzip", "zstd", "bzip2", "xz", "zip", "parquet", "sqlite"],
)
def test_a_file_of_another_kind_is_told_as_what_it_is(file, content, told):
    file.write_bytes(content)
    with pytest.raises(EventLogError) as fault:
        EventLog.from_csv(file)
    assert str(fault.value).startswith(f"{file}: cannot be read as CSV: {told}")


@pytest.mark.parametrize("separator", [",", ";"])
def test_a_file_packed_with_zstd_is_read_and_erased_from(tmp_path, separator):
    file = tmp_path / "log.csv.zst"
    lines = PLAIN + "bo,x,2026-11-27T14:05:00Z,2.5\n"
    file.write_bytes(pa.compress(lines.replace(",", separator).encode(), codec="zstd", asbytes=True))
    assert EventLog.from_csv(file).events["value"].tolist() == [1.5, 2.5]
    assert erase_from_files(file, Person("ana"), yes=True) == {str(file): 1}
    assert EventLog.from_csv(file).events["customer_id"].tolist() == ["bo"]


def test_two_columns_of_one_name_in_a_file_packed_with_zstd_are_told(tmp_path):
    file = tmp_path / "log.csv.zst"
    twice = PLAIN.replace("at,value", "at,value,value").replace("1.5", "1.5,2")
    file.write_bytes(pa.compress(twice.encode(), codec="zstd", asbytes=True))
    with pytest.raises(EventLogError, match="more than one column is called 'value'"):
        EventLog.from_csv(file)


@pytest.mark.parametrize("above", ["\n\n", "  \n", "sep=,\n\n", "\nsep=,\n"])
def test_empty_lines_above_the_header_are_no_rows(file, above):
    file.write_text(above + PLAIN)
    log = EventLog.from_csv(file)
    assert (len(log), log.properties) == (1, {"value": "number"})
    file.write_text(above + PLAIN + "bo,x\n")
    with pytest.raises(EventLogError, match=f"line {above.count(chr(10)) + 3} has 2 fields; the header has 4"):
        EventLog.from_csv(file)


@pytest.mark.parametrize("content", ["\n", "  \n\n", "sep=;\n"])
def test_a_file_of_empty_lines_is_an_empty_file(file, content):
    file.write_text(content)
    with pytest.raises(EventLogError, match="the file is empty; expected a header line"):
        EventLog.from_csv(file)


def test_a_long_value_is_read_and_hides_no_fault_elsewhere(file):
    file.write_text(PLAIN.replace("1.5", "y" * 300_000))
    assert EventLog.from_csv(file).events["value"].str.len().tolist() == [300_000]
    file.write_text(PLAIN.replace("1.5", "y" * 300_000) + "bo,x\n")
    with pytest.raises(EventLogError, match="line 3 has 2 fields; the header has 4"):
        EventLog.from_csv(file)
    file.write_text(PLAIN.replace("1.5", "y" * 3_000_000))
    with pytest.raises(EventLogError, match="line 2 begins a value of more than 2,000,000 characters, the most that"):
        EventLog.from_csv(file)
    assert csv.field_size_limit() == 131_072


def test_seconds_with_a_fraction_are_read_from_a_csv_file(file):
    file.write_text("customer_id,event,at\na,x,1735689600.5\nb,x,1735689601\n")
    assert EventLog.from_csv(file).events["at"].tolist() == [
        pd.Timestamp("2025-01-01T00:00:00.5Z"),
        pd.Timestamp("2025-01-01T00:00:01Z"),
    ]


def test_seconds_among_milliseconds_are_told_with_their_rows(file):
    file.write_text("customer_id,event,at\na,x,1735689600000\nb,x,1735689600\n")
    with pytest.raises(EventLogError, match=r"1735689600 \(.*log.csv, row 2\) to 1735689600000 \(.*log.csv, row 1\)"):
        EventLog.from_csv(file)


def test_the_one_time_without_a_zone_is_told_with_its_row(file):
    file.write_text("customer_id,event,at\na,x,2025-01-01T00:00Z\nb,x,2025-01-02T00:00\n")
    with pytest.raises(EventLogError, match=r"log.csv, row 2: column 'at' \(at\) has 1 time without a time zone"):
        EventLog.from_csv(file)


def test_what_is_no_file_is_told(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(EventLogError, match=r"pipe.csv is neither a file nor a folder"):
        EventLog.from_csv(tmp_path / "pipe.csv")
