"""The customers table."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from toolkit.errors import EventLogError
from toolkit.events import EventLog


def log_with(customers, **options):
    events = pd.DataFrame({"customer_id": ["1"], "event": ["x"], "at": ["2024-01-01"]})
    return EventLog.from_pandas(events, customers=customers, **{"zone": "Europe/Paris", **options})


def test_a_log_without_customers_has_an_empty_table_and_says_so():
    log = log_with(None)
    assert log.customer_table.schema == pa.schema([("customer_id", pa.string())])
    assert log.customers.empty
    assert log.attributes == {}
    assert any("no customers table" in note for note in log.notes)


def test_attributes_have_kinds_and_dates_stay_dates():
    customers = pd.DataFrame(
        {
            "city": ["Lyon", None],
            "customer_id": [1.0, 2.0],
            "birthday": ["1990-05-04", None],
            "since": pd.to_datetime(["2024-01-01", "2024-01-02"]),
            "seen": pd.to_datetime(["2024-01-01 10:00Z", None]),
            "consent": [True, None],
            "tags": [["a"], None],
            "orders": [3, 4],
        }
    )
    log = log_with(customers)
    assert log.customer_table.column_names[0] == "customer_id"
    assert log.customer_table.column("customer_id").to_pylist() == ["1", "2"]
    assert log.attributes == {
        "city": "text",
        "birthday": "time",
        "since": "time",
        "seen": "time",
        "consent": "flag",
        "tags": "text",
        "orders": "number",
    }
    first = log.customer_table.to_pylist()[0]
    assert first["birthday"] == dt.date(1990, 5, 4)
    assert first["since"] == dt.date(2024, 1, 1)
    assert first["seen"] == dt.datetime(2024, 1, 1, 10, tzinfo=dt.UTC)
    assert first["tags"] == '["a"]'
    assert str(log.customers["seen"].dtype) == "datetime64[us, UTC]"


@pytest.mark.parametrize(
    "values",
    [
        [True, False, None],
        ["Yes", "no", None],
        ["TRUE", " false ", ""],
        [1, 0, None],
        [1.0, 0.0, np.nan],
        ["1", "0", "nan"],
        ["y", "N", None],
        ["ja", "Nein", None],
        ["oui", "non", None],
    ],
)
def test_consent_is_yes_no_or_unknown_however_it_is_written(values):
    customers = pd.DataFrame({"customer_id": ["1", "2", "3"], "consent": pd.Series(values, dtype=object)})
    assert log_with(customers).customer_table.column("consent").to_pylist() == [True, False, None]


def test_another_consent_is_an_error_that_names_the_row_and_the_value():
    customers = pd.DataFrame({"customer_id": ["1", "2"], "consent": ["yes", "maybe"]})
    with pytest.raises(EventLogError, match=r"customers, row 1: column 'consent'.*found 'maybe'; 1 value of that sort"):
        log_with(customers)


def test_a_repeated_id_is_an_error_that_names_the_first():
    customers = pd.DataFrame({"customer_id": [2, 1, 2, 1, 1, 3]})
    with pytest.raises(EventLogError, match=r"must be unique; 2 ids.*'2' \(2 rows\), '1' \(3 rows\)"):
        log_with(customers)


@pytest.mark.parametrize("missing", [None, "", np.nan])
def test_a_missing_id_is_an_error(missing):
    customers = pd.DataFrame({"customer_id": pd.Series(["1", missing], dtype=object)})
    with pytest.raises(EventLogError, match="customers, row 1: customer_id is missing or empty in 1 row"):
        log_with(customers)


def test_a_missing_id_column_names_the_nearest():
    with pytest.raises(
        EventLogError,
        match=r"missing; did you mean columns=\{'customers.customer_id': 'customerid'\}\?.*found: customerid",
    ):
        log_with(pd.DataFrame({"customerid": [1]}))


def test_columns_of_the_customers_are_mapped_beside_those_of_the_events(write, tmp_path):
    people = write("people.csv", "nr;mail;Newsletter;plz\n007;ana@example.org;yes;01067\n008;;no;\n")
    events = write("events.csv", "nr,what,when\n007,view,2024-01-01T10:00Z\n")
    columns = {"customer_id": "nr", "event": "what", "at": "when"}
    of_people = {"customers.customer_id": "nr", "customers.email": "mail", "customers.consent": "Newsletter"}
    log = EventLog.from_csv(events, customers=people, columns=columns | of_people)
    assert log.customer_table.to_pydict() == {
        "customer_id": ["007", "008"],
        "email": ["ana@example.org", None],
        "consent": [True, False],
        "plz": ["01067", None],
    }
    assert list(log.events["customer_id"]) == ["007"]
    for wrong, said in (
        (
            {"customers.email": "mial"},
            r"columns=\{'customers.email': 'mial'\}: there is no column 'mial'; did you mean 'mail'",
        ),
        ({"customers.email": "mail", "customers.x": "mail"}, "one column of the customers two names"),
        ({"customers.plz": "mail"}, "more than one column is called 'plz'"),
    ):
        with pytest.raises(EventLogError, match=said):
            EventLog.from_csv(events, customers=people, columns=columns | {"customers.customer_id": "nr"} | wrong)
    with pytest.raises(EventLogError, match=r"names 'customers.email', and there is no customers table"):
        EventLog.from_csv(events, columns=columns | {"customers.email": "mail"})


def test_missing_address_and_consent_columns_are_noted():
    notes = " ".join(log_with(pd.DataFrame({"customer_id": ["1"]})).notes)
    assert "no column 'email': nobody can be mailed" in notes
    assert "no column 'consent'" in notes


def test_customers_come_from_csv_typed_with_their_zeros(write):
    path = write("people.csv", "customer_id,email,birthday,consent,age\n007,a@example.org,1990-01-02,1,40\n8,,,0,5\n")
    log = log_with(path)
    assert log.customer_table.to_pylist() == [
        {
            "customer_id": "007",
            "email": "a@example.org",
            "birthday": dt.date(1990, 1, 2),
            "consent": True,
            "age": 40,
        },
        {"customer_id": "8", "email": None, "birthday": None, "consent": False, "age": 5},
    ]


def test_customers_come_from_parquet_as_they_do_from_a_frame(tmp_path):
    customers = pd.DataFrame({"customer_id": ["a", "b"], "email": ["a@example.org", None], "n": [1.5, np.nan]})
    customers.to_parquet(tmp_path / "people.parquet", index=False)
    assert log_with(tmp_path / "people.parquet").customer_table == log_with(customers).customer_table


def test_no_such_file_and_no_such_kind_are_said_so(tmp_path):
    with pytest.raises(EventLogError, match="no such file"):
        log_with(tmp_path / "people.csv")
    with pytest.raises(EventLogError, match="expected a DataFrame or a path, found dict"):
        log_with({"customer_id": ["1"]})


def test_an_empty_customers_table_is_allowed():
    log = log_with(pd.DataFrame({"customer_id": [], "email": []}))
    assert log.attributes == {"email": "text"}
    assert len(log.customer_table) == 0
