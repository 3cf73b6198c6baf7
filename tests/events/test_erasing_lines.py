"""A customer's lines taken out of CSV files of every shape; the other lines keep each byte."""

from __future__ import annotations

import pandas as pd
import pytest

from toolkit.events import EventLog
from toolkit.events.erasure import Person, addresses_in_files, erase_from_files, erase_from_log, text_names


@pytest.mark.parametrize(
    ("before", "customer", "after"),
    [
        ('"customer_id","ev\nent",at\na,x,1\nb,x,1\n', "a", '"customer_id","ev\nent",at\nb,x,1\n'),
        ("\n\ncustomer_id,event\na,x\nb,x\n", "a", "\n\ncustomer_id,event\nb,x\n"),
        ("\ufeffcustomer_id;event\r\na;x\r\n\r\nb;x\r\n", "a", "\ufeffcustomer_id;event\r\n\r\nb;x\r\n"),
        ("customer_id,event\n17850.0,x\n17851.0,x\n", "17850", "customer_id,event\n17851.0,x\n"),
        ("customer_id,event\n17850.0,x\n17850,y\n", "17850", "customer_id,event\n17850.0,x\n"),
        ('customer_id,event\n"a\nb",x\nc,x', "a\nb", "customer_id,event\nc,x"),
    ],
    ids=["a name over two lines", "empty lines above", "a mark, and other ends", "ids of a spreadsheet",
         "mixed ids are texts", "an id over two lines"],
)  # fmt: skip
def test_only_the_lines_of_the_customer_go(tmp_path, before, customer, after):
    file = tmp_path / "events.csv"
    file.write_bytes(before.encode())
    assert erase_from_files(file, Person(customer), yes=True) == {str(file): 1}
    assert file.read_bytes().decode() == after


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "cp1252", "latin-1"])
def test_lines_go_from_files_of_other_encodings_below_what_a_spreadsheet_wrote_above_them(tmp_path, encoding):
    mark = "\ufeff" if encoding.startswith("utf") else ""
    file = tmp_path / "events.csv"
    file.write_bytes(f"{mark}sep=;\r\ncustomer_id;event\r\nzoé;x\r\nbé;\x7f\r\n".encode(encoding))
    assert erase_from_files(file, Person("zoé"), yes=True) == {str(file): 1}
    assert file.read_bytes() == f"{mark}sep=;\r\ncustomer_id;event\r\nbé;\x7f\r\n".encode(encoding)
    assert text_names(file, Person("bé")) == {str(file): 1}


def test_the_address_of_an_id_of_a_spreadsheet_is_found(tmp_path):
    file = tmp_path / "people.csv"
    file.write_text("customer_id,email\n17850.0,Ana@example.org\n17851.0,bo@example.org\n")
    assert addresses_in_files(file, "17850", {}) == {"ana@example.org"}


@pytest.fixture(params=["events.csv", "events.csv.gz", "events.parquet"])
def file(request, tmp_path):
    """A log of two customers, which its owner alone may read."""
    file = tmp_path / request.param
    frame = pd.DataFrame({"customer_id": ["a", "b"], "event": "x"})
    frame.to_parquet(file) if file.suffix == ".parquet" else frame.to_csv(file, index=False)
    file.chmod(0o600)
    return file


def _customers(file):
    return (pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file))["customer_id"].tolist()


def test_a_file_that_its_owner_alone_may_read_stays_so(file):
    erase_from_files(file, Person("a"), yes=True)
    assert (_customers(file), file.stat().st_mode & 0o777) == (["b"], 0o600)


def test_of_a_link_the_file_it_leads_to_loses_the_lines(file, tmp_path):
    link = tmp_path / f"current_{file.name}"
    link.symlink_to(file)
    erase_from_files(link, Person("a"), yes=True)
    assert _customers(file) == ["b"]
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((file.name, link.name))


def test_a_stored_log_that_its_owner_alone_may_look_into_stays_so(tmp_path):
    store = tmp_path / "store"
    frame = pd.DataFrame({"customer_id": ["a", "b"], "event": "x", "at": "2025-01-01T09:00:00Z"})
    EventLog.from_pandas(frame).save(store)
    store.chmod(0o700)
    erase_from_log(store, Person("a"), yes=True)
    assert store.stat().st_mode & 0o777 == 0o700
    assert len(EventLog.open(store)) == 1
