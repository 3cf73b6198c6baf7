"""Addresses that get no mail."""

from __future__ import annotations

import pytest

from toolkit.errors import InputError
from toolkit.sending import Ledger
from toolkit.sending.ledger.suppression import address_hash

LEASE = 30_000_000


@pytest.fixture
def listed(ledger):
    return ledger.suppressions


def test_an_address_is_recognised_however_it_is_written(listed):
    assert listed.add(" Ana@BÜCHER.example ", by="ben", reason="hard_bounce")
    assert not listed.add("ana@xn--bcher-kva.example", by="ben", reason="hard_bounce")
    assert listed.reason("ANA@bücher.EXAMPLE") == "suppressed"
    assert listed.reason("ana2@bücher.example") is None


def test_who_unsubscribed_still_gets_what_they_ordered_and_who_bounced_gets_nothing(listed):
    listed.add("ana@example.org", by="ben", reason="unsubscribed")
    listed.add("bo@example.org", by="ben", reason="hard_bounce")
    assert listed.reason("ana@example.org") == "unsubscribed"
    assert listed.reason("ana@example.org", class_="transactional") is None
    assert listed.reason("bo@example.org", class_="transactional") == "suppressed"


def test_a_scope_given_goes_before_that_of_the_reason(listed):
    listed.add("ana@example.org", by="ben", reason="complaint", scope="all")
    assert listed.reason("ana@example.org", class_="transactional") == "unsubscribed"


def test_an_address_known_by_its_hash_alone_is_held_back(listed):
    listed.add(address_hash("ana@example.org").upper(), by="ben")
    assert listed.reason("Ana@example.org") == "suppressed"
    assert listed.table.address.isna().all()


def test_what_was_taken_off_the_list_may_be_mailed_and_the_audit_says_who_and_why(listed, ledger):
    listed.add("ana@example.org", by="ben")
    assert listed.remove("ANA@example.org", by="cleo", why="asked us to")
    assert not listed.remove("ana@example.org", by="cleo", why="again")
    assert listed.reason("ana@example.org") is None
    said = ledger.audit()
    assert list(zip(said.actor, said.action, strict=True)) == [("ben", "suppressed"), ("cleo", "unsuppressed")]
    assert "asked us to" in said.detail[1]
    assert "example.org" not in " ".join(said.detail + said.subject)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"address": "nobody"}, "expected an address or its SHA-256; found 'nobody'"),
        ({"address": "a@example.org", "reason": "hard_bouce"}, "did you mean 'hard_bounce'"),
        ({"address": "a@example.org", "scope": "marketting"}, "did you mean 'marketing'"),
    ],
)
def test_what_cannot_be_put_on_the_list_says_why(listed, call, said):
    with pytest.raises(InputError, match=said):
        listed.add(by="ben", **call)
    assert len(listed) == 0


@pytest.mark.parametrize(
    "written",
    ["ana@example.org,", "ana@example.org;", "mailto:ana@example.org", "'ana@example.org'", "Ana Lo <ana@example.org>"],
)
def test_what_lists_leave_around_an_address_is_no_part_of_it(listed, tmp_path, written):
    assert listed.add(written, by="ben")
    assert listed.reason("ana@example.org") == "suppressed"
    (tmp_path / "list.txt").write_text(f"bo@example.org\n{written}\n")
    assert str(listed.import_file(tmp_path / "list.txt", by="ben")) == "added 1, already there 1, not an address 0"
    assert listed.reason(written) == "suppressed"
    assert listed.remove(written, by="ben", why="asked us to")
    assert listed.reason("ana@example.org") is None


@pytest.mark.parametrize("written", ["ana", "", None, 5])
def test_what_is_no_address_is_told_and_not_said_to_be_off_the_list(listed, written):
    with pytest.raises(InputError, match="expected an address"):
        listed.reason(written)
    with pytest.raises(InputError, match="expected an address or its SHA-256"):
        listed.remove(written, by="ben", why="asked us to")


@pytest.mark.parametrize("by", ["", "  ", None])
def test_nobody_takes_an_address_off_the_list_or_imports_one(listed, tmp_path, by):
    listed.add("ana@example.org", by="ben")
    (tmp_path / "list.txt").write_text("bo@example.org\n")
    with pytest.raises(InputError, match="by: expected the name of a person"):
        listed.remove("ana@example.org", by=by, why="asked us to")
    with pytest.raises(InputError, match="by: expected the name of a person"):
        listed.import_file(tmp_path / "list.txt", by=by)
    assert len(listed) == 1


@pytest.mark.parametrize(
    "written", ["ana@example.org.", "ana@example", "a na@example.org", "ana@example.org/x", None, 5]
)
def test_what_no_mail_could_ever_go_to_is_refused_and_not_listed_in_vain(listed, written):
    with pytest.raises(InputError, match="expected an address or its SHA-256"):
        listed.add(written, by="ben")


def test_a_quote_that_is_not_closed_swallows_no_address(listed, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text('ana@example.org\n"bo@example.org\ncy@example.org\n')
    assert listed.import_file(path, by="ben").added == 3
    path.write_text('email,reason\ndi@example.org,spam\n"ed@example.org,spam\nfay@example.org,spam\n')
    with pytest.raises(InputError, match=r"list\.csv: line 3: a quote is not closed; nothing was added"):
        listed.import_file(path, by="ben")
    path.write_text(
        'email,note\ndi@example.org,"moved\ned@example.org,spam\n'
    )  # of another column, whose cell it fills
    with pytest.raises(InputError, match=r"list\.csv: line 2: a quote is not closed; nothing was added"):
        listed.import_file(path, by="ben")
    path.write_text("email,reason\n" + "x" * 200_000 + ",spam\n")
    with pytest.raises(InputError, match=r"line 2: field larger than field limit .*nothing was added"):
        listed.import_file(path, by="ben")
    assert len(listed) == 3


def test_a_list_saved_as_unicode_text_or_with_another_word_for_email_is_read_and_an_empty_one_is_empty(
    listed, tmp_path
):
    path = tmp_path / "list.txt"
    path.write_bytes("E-Mail\tname\r\nana@example.org\tAna\r\n".encode("utf-16"))
    assert listed.import_file(path, by="ben").added == 1
    path.write_bytes(b"")
    assert str(listed.import_file(path, by="ben")) == "added 0, already there 0, not an address 0"


def test_a_scope_written_out_is_read_in_again(listed, clock, tmp_path):
    listed.add("ana@example.org", by="ben", reason="complaint", scope="all")
    listed.export_file(tmp_path / "out.csv")
    with Ledger.open(tmp_path / "other.sqlite", clock=clock) as other:
        other.suppressions.import_file(tmp_path / "out.csv", by="cleo")
        assert other.suppressions.reason("ana@example.org", class_="transactional") == "unsubscribed"


def test_a_class_that_is_none_is_not_taken_for_one_that_may_be_mailed(listed):
    listed.add("ana@example.org", by="ben", reason="unsubscribed")
    with pytest.raises(InputError, match="class: expected one of marketing, transactional; found 'Marketing'"):
        listed.reason("ana@example.org", class_="Marketing")


@pytest.mark.parametrize("by", ["", " ", None])
def test_nobody_decides_nothing(listed, ledger, by):
    with pytest.raises(InputError, match="by: expected the name of a person"):
        listed.add("ana@example.org", by=by)
    with pytest.raises(InputError, match="by: expected the name of a person"):
        ledger.rates.limit("smtp:mail.example.org:587", by=by, per_day=1)
    assert (len(listed), len(ledger.rates.table), len(ledger.audit())) == (0, 0, 0)


def test_a_list_that_cannot_be_written_names_the_file(listed, tmp_path):
    with pytest.raises(InputError, match=r"nowhere/out\.csv: cannot be written"):
        listed.export_file(tmp_path / "nowhere" / "out.csv")


@pytest.mark.parametrize(
    ("content", "reasons"),
    [
        ("ana@example.org\nbo@example.org\n", ["imported", "imported"]),
        ("email\nana@example.org\nbo@example.org\n", ["imported", "imported"]),
        ("name;Email Address\nAna;ana@example.org\nBo;bo@example.org\n", ["imported", "imported"]),
        (
            "destination,reason,created\nana@example.org,BOUNCE,x\nbo@example.org,COMPLAINT,x\n",
            ["hard_bounce", "complaint"],
        ),
        (
            "\ufeffreason\trecipient\r\nunsubscribe\t<ana@example.org>\r\nSpam report\tbo@example.org\r\n",
            ["unsubscribed", "complaint"],
        ),
        (f"sha256\n{address_hash('ana@example.org')}\n{address_hash('bo@example.org')}\n", ["imported", "imported"]),
    ],
)
def test_lists_of_mail_services_are_read_as_they_come(listed, tmp_path, content, reasons):
    path = tmp_path / "list.csv"
    path.write_bytes(content.encode())
    done = listed.import_file(path, by="ben")
    assert (done.added, done.known, done.wrong) == (2, 0, 0)
    assert list(listed.table.reason) == reasons
    assert listed.reason("ana@example.org")
    assert listed.reason("bo@example.org")


def test_garbage_in_a_list_is_counted_and_shown_and_the_rest_is_taken(listed, tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"ana@example.org\n\nnonsense\n@\nbo@example.org\nAna@Example.org\n\xff\xfe\n")
    done = listed.import_file(path, by="ben")
    assert str(done).startswith(
        "added 2, already there 1, not an address 3 (for example line 3: 'nonsense'; line 4: '@'"
    )


def test_a_list_whose_column_is_not_known_asks_for_it(listed, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("kunde,kontakt\nAna,ana@example.org\n")
    with pytest.raises(InputError, match=r"which column holds the addresses\? It has kunde, kontakt"):
        listed.import_file(path, by="ben")
    with pytest.raises(InputError, match="no column 'kontakte'; it has kunde, kontakt; did you mean 'kontakt'"):
        listed.import_file(path, by="ben", column="kontakte")
    assert listed.import_file(path, by="ben", column="Kontakt").added == 1
    with pytest.raises(InputError, match=r"none\.csv: cannot be read"):
        listed.import_file(tmp_path / "none.csv", by="ben")


@pytest.mark.parametrize("hashed", [False, True])
def test_a_list_written_out_is_the_same_list_when_read_in(listed, clock, tmp_path, hashed):
    listed.add("ana@example.org", by="ben", reason="unsubscribed")
    listed.add("bo@example.org", by="ben", reason="hard_bounce")
    listed.add(address_hash("cy@example.org"), by="ben", reason="complaint")
    path = tmp_path / "out.csv"
    assert listed.export_file(path, hashed=hashed) == 3
    assert ("ana@" in path.read_text()) is not hashed
    assert path.read_text().splitlines()[0] == "email,scope,reason,source,at"
    assert path.read_text().splitlines()[1].endswith(",marketing,unsubscribed,ben,2026-03-02T12:00:00Z")
    with Ledger.open(tmp_path / "other.sqlite", clock=clock) as other:
        assert other.suppressions.import_file(path, by="cleo").added == 3
        columns = ["address_sha256", "scope", "reason"]
        assert other.suppressions.table[columns].equals(listed.table[columns])


def test_a_large_list_is_taken_in_at_once(listed, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("".join(f"c{n}@example.org\n" for n in range(5_000)))
    assert listed.import_file(path, by="ben", reason="unsubscribed").added == 5_000
    assert listed.import_file(path, by="ben", reason="unsubscribed").known == 5_000
    assert listed.reason("c4999@example.org") == "unsubscribed"


def test_the_gate_looks_at_the_list_when_a_mail_is_claimed(ledger, listed, entries, run_record):
    ledger.plan(run_record(mails=5), entries(5))
    listed.add("c1@example.org", by="ben", reason="hard_bounce")
    held = ledger.claim("run", owner="a", limit=10, lease=LEASE)
    assert [row.decision_id for row in held] == ["d00000", "d00002", "d00003", "d00004"]
    (row,) = ledger.rows(["d00001"])
    assert (row.state, row.reason) == ("suppressed", "suppressed")
