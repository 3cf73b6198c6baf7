"""A customer's lines taken out of CSV files of every shape; the other lines keep each byte."""

from __future__ import annotations

import pytest

from toolkit.events.erasure import Person, addresses_in_files, erase_from_files


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


def test_the_address_of_an_id_of_a_spreadsheet_is_found(tmp_path):
    file = tmp_path / "people.csv"
    file.write_text("customer_id,email\n17850.0,Ana@example.org\n17851.0,bo@example.org\n")
    assert addresses_in_files(file, "17850", {}) == {"ana@example.org"}
