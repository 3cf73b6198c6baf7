"""Who must approve: several people, of those listed, not the author, not for too long; and approvals taken back."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from toolkit.errors import ApprovalError, InputError
from toolkit.sending import ApprovalPolicy, Ledger, approve, load_approval, send

NOW = datetime(2026, 3, 2, 13, tzinfo=UTC)


@pytest.fixture
def keys(tmp_path):
    """A private key in a file and the public key as ssh-keygen writes it, for each name."""
    made = {}
    for name in ("ana", "ben", "eve"):
        key = Ed25519PrivateKey.generate()
        path = tmp_path / f"{name}.key"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        made[name] = path, f"{line} {name}@laptop"
    return made


@pytest.fixture
def policy_file(shop, keys):
    """Writes approvers.yaml beside the templates."""

    def write(text="needed: 2\n", names=("ana", "ben")):
        lines = "".join(f"  {name}: {keys[name][1]}\n" for name in names)
        (shop.templates / "approvers.yaml").write_text(f"{text}approvers:\n{lines}")

    return write


def _send(shop, batch, approvals, **options):
    return send(batch, approvals, transport=f"outbox:{shop.outbox}", confirm=len(batch), progress=False, **options)


def test_two_of_those_listed_must_approve_and_both_stand_in_the_ledger(shop, keys, policy_file):
    policy_file()
    batch = shop.prepare()
    ana = approve(batch, by="ana", key=keys["ana"][0])
    with pytest.raises(ApprovalError, match=r"1 of 2 needed approvals \(ana\); 2 people of ana, ben"):
        _send(shop, batch, ana)
    with pytest.raises(ApprovalError, match=r"1 of 2 needed.*one person, or one key, counts once"):
        _send(shop, batch, [ana, approve(batch, by="ana", key=keys["ana"][0], expires="1h")])
    assert shop.mails() == []
    ben = approve(batch, by="ben", key=keys["ben"][0])
    assert _send(shop, batch, [ana, ben]).sent == 12
    assert _send(shop, batch, [ben, ana]).already_sent == 12
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        assert ledger.status().approved_by.tolist() == ["ana, ben"]


def test_a_name_without_its_key_or_not_on_the_list_cannot_approve(shop, keys, policy_file):
    policy_file("needed: 1\n")
    batch = shop.prepare()
    with pytest.raises(ApprovalError, match=r"by 'eve': may not approve; allowed: ana, ben"):
        approve(batch, by="eve", key=keys["eve"][0])
    with pytest.raises(ApprovalError, match=r"by 'ana': signed with key .*but ana's key is"):
        approve(batch, by="ana", key=keys["eve"][0])


def test_who_signs_under_another_policy_is_refused_when_it_is_sent(shop, keys, policy_file):
    policy_file("needed: 1\n")
    batch = shop.prepare()
    own = ApprovalPolicy()
    approval = approve(batch, by="eve", key=keys["eve"][0], policy=own)
    with pytest.raises(ApprovalError, match="may not approve"):
        _send(shop, batch, approval)


def test_a_policy_made_easier_after_the_approval_voids_it(shop, keys, policy_file):
    policy_file()
    batch = shop.prepare()
    approval = approve(batch, by="ana", key=keys["ana"][0])
    policy_file("needed: 1\n")
    with pytest.raises(ApprovalError, match=r"changed: approvers\.yaml\n(.*\n)*.*-needed: 2\n.*\+needed: 1"):
        _send(shop, batch, approval)
    with pytest.raises(ApprovalError, match=r"files: changed approvers\.yaml"):
        _send(shop, shop.prepare(), approval)


@pytest.mark.parametrize(
    ("people", "signed_with"),
    [(("ana", "eve"), ("ana", "ana")), (("ana", "ana"), ("ana", "ben")), (("ana", " Ana "), ("ana", "ben"))],
)
def test_of_two_people_who_must_approve_neither_one_key_nor_one_name_counts_twice(shop, keys, people, signed_with):
    batch, two = shop.prepare(), ApprovalPolicy(needed=2)
    approvals = [
        approve(batch, by=by, key=keys[key][0], policy=two) for by, key in zip(people, signed_with, strict=True)
    ]
    with pytest.raises(ApprovalError, match=r"1 of 2 needed approvals .*one person, or one key, counts once"):
        _send(shop, batch, approvals, policy=two)
    assert shop.mails() == []
    both = [approve(batch, by=name, key=keys[name][0], policy=two) for name in ("ana", "ben")]
    assert _send(shop, batch, both, policy=two).sent == 12


def test_an_approval_may_hold_for_just_as_long_as_the_policy_lets_it(shop, clock):
    batch, policy = shop.prepare(), ApprovalPolicy(longest=timedelta(hours=72))
    assert approve(batch, by="ana", expires="72h", policy=policy, clock=clock).lasts == timedelta(hours=72)
    with pytest.raises(ApprovalError, match="longer than the 3 days, 0:00:00 allowed"):
        approve(batch, by="ana", expires="73h", policy=policy, clock=clock)


def test_the_author_does_not_approve_unless_the_policy_says_so(shop):
    batch = shop.prepare(author="ana")
    with pytest.raises(ApprovalError, match="'Ana' wrote it; someone else has to approve it"):
        approve(batch, by="Ana")
    relaxed = ApprovalPolicy(author_may_approve=True)
    approval = approve(batch, by="ana", policy=relaxed)
    with pytest.raises(ApprovalError, match="wrote it"):
        _send(shop, batch, approval)
    assert _send(shop, batch, approval, policy=relaxed).sent == 12


def test_an_approval_that_holds_longer_than_allowed_is_refused(shop):
    short = ApprovalPolicy(longest=timedelta(hours=1))
    with pytest.raises(ApprovalError, match=r"holds for 3 days, 0:00:00, longer than the 1:00:00 allowed"):
        approve(shop.prepare(), by="ana", policy=short)


@pytest.mark.parametrize("word", ["no", "off", "'false'", "0", "~"])
def test_a_word_that_is_no_yes_or_no_does_not_let_an_author_approve(shop, policy_file, word):
    policy_file(f"author_may_approve: {word}\n")
    with pytest.raises(InputError, match=r"author_may_approve: found .*; allowed: true or false"):
        approve(shop.prepare(author="ana"), by="ana")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("needed: yes\n", "needed: expected a whole number from 1; found 'yes'"),
        ("needed: true\n", "needed: expected a whole number from 1; found True"),
        ("longest: -1h\n", "longest: expected a time above zero"),
        ("needed: 0\n", "needed: expected a whole number from 1; found 0"),
        ("needed: 3\n", "needed: 3, but only 2 may approve"),
        ("neded: 2\n", "unknown word.*'neded'.*did you mean 'needed'"),
        ("longest: soon\n", "soon"),
        ("needed: [\n", "not YAML"),
    ],
)
def test_a_policy_that_makes_no_sense_names_file_and_fault(shop, policy_file, text, said):
    policy_file(text)
    with pytest.raises(InputError, match=rf"approvers.*(\n|.)*{said}") as raised:
        approve(shop.prepare(), by="ana")
    assert "approvers.yaml" in str(raised.value)


@pytest.mark.parametrize("text", ["", "- ana\n", "two\n", "approvers: [ana, ben]\n", "approvers: ana\n"])
def test_a_policy_of_another_shape_lets_nobody_approve(shop, text):
    (shop.templates / "approvers.yaml").write_text(text)
    with pytest.raises(InputError, match=r"approvers .*approvers\.yaml: expected needed, approvers"):
        approve(shop.prepare(), by="ana")


def test_a_policy_that_says_no_number_needs_one_approval(tmp_path):
    file = tmp_path / "approvers.yaml"
    file.write_text("author_may_approve: false\n")
    assert ApprovalPolicy.load(file) == ApprovalPolicy(needed=1)


@pytest.mark.parametrize("key", ["ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC", "abc", "z" * 64])
def test_a_key_that_is_none_is_refused(key):
    with pytest.raises(InputError, match="approvers: ana: "):
        ApprovalPolicy(approvers={"ana": key})


def test_one_key_under_two_names_is_refused(keys):
    with pytest.raises(InputError, match="two names have the same key"):
        ApprovalPolicy(approvers={"ana": keys["ana"][1], "anna": keys["ana"][1]})


def test_a_key_made_by_ssh_keygen_signs_and_its_public_line_is_recognised(shop, tmp_path):
    path = tmp_path / "id_ed25519"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    try:
        subprocess.run(command, check=True)
    except FileNotFoundError:
        pytest.skip("ssh-keygen is not installed")
    policy = ApprovalPolicy(approvers={"ana": path.with_suffix(".pub").read_text()})
    batch = shop.prepare()
    assert _send(shop, batch, approve(batch, by="ana", key=path, policy=policy), policy=policy).sent == 12


# --- taken back -------------------------------------------------------------------------------------------------------


def test_a_revoked_approval_sends_nothing_and_says_who_took_it_back(shop):
    batch = shop.prepare()
    approval = shop.approve(batch)
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        assert ledger.revoke(approval.id, by="ben", why="wrong price") == []
    with pytest.raises(ApprovalError, match="revoked by ben: wrong price; nothing was sent"):
        _send(shop, batch, approval)
    assert shop.mails() == []
    assert _send(shop, batch, approve(batch, by="ana", expires="1h")).sent == 12


def test_revoking_ends_a_run_midway_and_another_approval_takes_over_what_was_not_sent(ledger, entries, run_record):
    ledger.plan(run_record(mails=6), entries(6))
    ledger.claim("run", owner="a", limit=2, lease=30_000_000)
    assert ledger.revoke("approval of run", by="ben") == ["run"]
    assert ledger.claim("run", owner="a", limit=2, lease=30_000_000) == []
    assert ledger.status().iloc[0].says == "revoked, 6 to go"
    planned = ledger.plan(run_record("later", mails=6), entries(6))
    assert (planned.added, planned.adopted, planned.known) == (0, 4, 2)  # two are in the hands of a sender
    assert ledger.audit().action.tolist() == ["planned", "revoked", "revoked", "planned"]


def test_what_is_not_the_whole_id_of_an_approval_is_not_revoked(shop):
    approval = shop.approve(shop.prepare())
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        for wrong in (approval.id[:12], "approval.json", "", approval):
            with pytest.raises(InputError, match=r"not the id of an approval: .*; allowed: all 64 digits"):
                ledger.revoke(wrong, by="ben")
        assert ledger.audit().empty


def test_an_approval_kept_in_a_file_is_loaded_as_what_it_is(shop, tmp_path):
    batch = shop.prepare()
    path = shop.approve(batch).save(tmp_path / "approval.json")
    assert _send(shop, batch, load_approval(path)).sent == 12
    path.write_text('{"kind": "something"}')
    with pytest.raises(ApprovalError, match="expected kind"):
        load_approval(path)
