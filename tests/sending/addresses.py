"""Addresses written in many ways, of which a ledger must find those of one person, in either database."""

from __future__ import annotations

from dataclasses import replace

__all__ = ["check_that_addresses_are_found"]

WRITTEN = (
    "ana.info@example.org",
    "Ana.INFO@Example.ORG",
    "ana.info@shop.example.org",
    "Élise@example.org",
    "éLISE@EXAMPLE.org",
    "bo@bücher.example",
    "Bo@xn--bcher-kva.example",
    "a_a@example.org",
    "aba@example.org",
)
ASKED = {
    "ANA.info@example.org": [0, 1],
    " ana.info@example.org ": [0, 1],
    "élise@example.org": [3, 4],
    "ELISE@example.org": [],
    "bo@BÜCHER.example": [5, 6],
    "bo@xn--bcher-kva.example": [5, 6],
    "a_a@example.org": [7],
    "%@example.org": [],
    "c8": [8],
    "C8": [],
}


def check_that_addresses_are_found(ledger, run_record, entries):
    """Each is found by its id or by its address, however that is written, and no other is."""
    mails = [replace(one, address=address) for one, address in zip(entries(len(WRITTEN)), WRITTEN, strict=True)]
    ledger.plan(run_record(mails=len(mails)), mails)
    for asked, numbers in ASKED.items():
        found = ledger.deliveries(customer=asked)
        assert found["address"].tolist() == [WRITTEN[number] for number in numbers], asked
    assert ledger.deliveries(customer="c1", state="unknown").empty
    assert list(ledger.deliveries(customer="nobody").columns) == list(ledger.deliveries().columns)
