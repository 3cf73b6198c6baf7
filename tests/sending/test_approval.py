"""A signature under one batch, which any changed byte voids."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from toolkit.errors import ApprovalError, InputError
from toolkit.sending import Approval, Batch, approve
from toolkit.sending.ledger.coupons import Coupon

NOW = datetime(2026, 3, 2, 13, tzinfo=UTC)


def _now():
    return NOW


@pytest.fixture(scope="module")
def shop(tmp_path_factory, make_shop):
    """One for all tests here: they sign, and send nothing."""
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def batch(shop):
    return shop.prepare()


@pytest.fixture
def own(shop):
    """A batch of the test's own, to be tampered with."""
    return shop.prepare()


@pytest.fixture(autouse=True)
def _own_keys(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_an_approval_covers_its_batch(batch):
    approval = approve(batch, by="ana", clock=_now)
    approval.check(batch, clock=_now)
    assert (approval.by, approval.digest, approval.mails) == ("ana", batch.digest, 12)
    assert approval.expires_at == NOW + timedelta(hours=72)


def test_an_approval_covers_the_same_batch_prepared_again(shop, batch):
    approve(batch, by="ana").check(shop.prepare())


def test_an_approval_signed_with_a_given_key_names_it(batch, tmp_path):
    key = Ed25519PrivateKey.generate()
    path = tmp_path / "key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    approval = approve(batch, by="ana", key=path)
    assert approval.public_key == key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    approval.check(batch)


def test_without_a_key_the_users_own_signs_and_the_approval_says_where_it_is(batch, tmp_path):
    approval = approve(batch, by="ana")
    path = tmp_path / "config" / "trigger-toolkit" / "approval.pem"
    assert approval.key_file == str(path)
    assert str(path) in repr(approval)
    assert approve(batch, by="ben").public_key == approval.public_key


def test_an_approval_is_the_same_after_saving_and_loading(batch, tmp_path):
    approval = approve(batch, by="ana", author="ben")
    loaded = Approval.load(approval.save(tmp_path / "approval.json"))
    assert loaded == approval
    loaded.check(batch)
    assert str(tmp_path / "config") not in (tmp_path / "approval.json").read_text()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("by", "mallory"),
        ("author", "mallory"),
        ("digest", "0" * 64),
        ("mails", 13),
        ("expires_at", "2099-01-01T00:00:00+00:00"),
        ("signed_at", "2020-01-01T00:00:00+00:00"),
        ("public_key", "0" * 64),
        ("signature", "AAAA"),
        ("outline", {}),
    ],
)
def test_an_approval_changed_in_any_field_is_refused(batch, tmp_path, name, value):
    path = approve(batch, by="ana").save(tmp_path / "approval.json")
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {name: value}))
    with pytest.raises(ApprovalError, match="was changed after signing"):
        Approval.load(path).check(batch)


def test_an_approval_signed_with_another_key_than_it_names_is_refused(batch):
    mine, other = approve(batch, by="ana"), Ed25519PrivateKey.generate().public_key()
    forged = dataclasses.replace(mine, public_key=other.public_bytes(Encoding.Raw, PublicFormat.Raw).hex())
    with pytest.raises(ApprovalError, match="was changed after signing"):
        forged.check(batch)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": "trigger-toolkit approval 1"}', '{"kind": "later"}'])
def test_a_file_that_is_no_approval_is_refused(tmp_path, content):
    path = tmp_path / "approval.json"
    path.write_text(content)
    with pytest.raises(ApprovalError, match=r"approval\.json: (is not an approval|expected kind)"):
        Approval.load(path)


def test_a_file_of_bytes_that_are_no_text_is_refused(tmp_path):
    (tmp_path / "approval.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ApprovalError, match=r"approval\.json: is not an approval"):
        Approval.load(tmp_path / "approval.json")


def test_an_approval_that_cannot_be_written_names_the_file(batch, tmp_path):
    with pytest.raises(InputError, match=r"nowhere/a\.json: cannot be written: No such file"):
        approve(batch, by="ana").save(tmp_path / "nowhere" / "a.json")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        Approval.load(tmp_path / "none.json")


def test_an_approval_is_over_at_its_last_moment(batch):
    approval = approve(batch, by="ana", expires="2h", clock=_now)
    approval.check(batch, clock=lambda: NOW + timedelta(hours=2) - timedelta(microseconds=1))
    with pytest.raises(ApprovalError, match=r"over since 2026-03-02 15:00 UTC .*approve again"):
        approval.check(batch, clock=lambda: NOW + timedelta(hours=2))


def test_an_approval_signed_by_a_clock_that_is_ahead_holds_within_minutes_and_is_refused_beyond(batch):
    approval = approve(batch, by="ana", expires="2h", clock=_now)
    approval.check(batch, clock=lambda: NOW - timedelta(minutes=5))
    ahead = (
        r"signed 2026-03-02 13:00 UTC, which is still to come \(now 2026-03-02 12:54\); clocks .* 5 minutes: set the"
    )
    with pytest.raises(ApprovalError, match=ahead):
        approval.check(batch, clock=lambda: NOW - timedelta(minutes=5, microseconds=1))


@pytest.mark.parametrize("expires", ["0h", "-3h", "soon", ""])
def test_an_approval_that_would_not_last_is_refused(batch, expires):
    with pytest.raises(InputError, match="approve: expires: expected"):
        approve(batch, by="ana", expires=expires)


@pytest.mark.parametrize("by", ["", "  ", None])
def test_an_approval_by_nobody_is_refused(batch, by):
    with pytest.raises(InputError, match="expected the name of who approves"):
        approve(batch, by=by)


@pytest.mark.parametrize("by", ["ana\n2026-03-02 ben", "ana\x1b[2K", "ana\u2028ben"])
def test_a_name_that_would_be_another_line_of_the_audit_is_refused(batch, by):
    with pytest.raises(InputError, match="the name of who approves in one line"):
        approve(batch, by=by)


@pytest.mark.parametrize("other", ["jose\u0301 lopez", "José  Lopez", "Jos\u200bé Lopez", "Ｊosé Lopez"])
def test_a_name_that_reads_the_same_is_the_same_person(batch, other):
    with pytest.raises(ApprovalError, match="someone else has to approve it"):
        approve(batch, by=other, author="José Lopez")


def test_nobody_approves_what_they_wrote_themselves(batch):
    with pytest.raises(ApprovalError, match="someone else has to approve it"):
        approve(batch, by="Ana ", author="ana")
    assert approve(batch, by="ana", author="ben").author == "ben"


def test_who_approves_does_not_say_otherwise_who_wrote_it(shop):
    batch = shop.prepare(author="ana")
    with pytest.raises(ApprovalError, match="the batch says that 'ana' wrote it; found author='ben'"):
        approve(batch, by="ana", author="ben")
    assert approve(batch, by="ben", author=" Ana").author == "Ana"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"now": timedelta(minutes=1)}, r"limits: changed as_of"),
        ({"window": "12h"}, r"limits: changed window"),
        ({"people": 11}, r"audience: approved 12, found 11"),
        ({"address": "thief@example.net"}, r"audience: the same number, other content"),
        ({"sender": "other@example.com"}, r"sender: changed email"),
        ({"wait": "2h"}, r"program: changed content_hash, scenario welcome"),
        ({"arms": True}, r"program: changed content_hash, scenario welcome"),
        ({"brand": "Other"}, r"program: changed content_hash, policies"),
        ({"template": "Hello there"}, r"templates: changed welcome/hello"),
        ({"part": "_foot.mjml"}, r"files: added _foot\.mjml"),
    ],
)
def test_an_approval_for_another_batch_is_refused_and_says_what_differs(
    shop, batch, noon, make_log, make_people, make_program, tmp_path, change, said
):
    approval = approve(batch, by="ana")
    options = {}
    if "now" in change:
        options["now"] = noon + change["now"]
    if "window" in change:
        options["window"] = change["window"]
    if "people" in change:
        options["log"] = make_log(change["people"])
    if "address" in change:
        options["log"] = make_log(people=make_people(12).replace("c3@example.org", change["address"]))
    if "sender" in change:
        options["program"] = make_program(sender={"name": "Maison Lune", "email": change["sender"]})
    if "wait" in change:
        welcome = shop.program["welcome"]
        wait = welcome.steps[0].replace(wait=change["wait"])
        options["program"] = make_program((welcome.replace(steps=(wait, *welcome.steps[1:])),))
    if "arms" in change:  # the same arms in another order are other people (rule R13)
        two = {"name": "x", "arms": {"a": 0.5, "b": 0.5}}
        one, other = ({**two, "arms": dict(arms)} for arms in ([("a", 0.5), ("b", 0.5)], [("b", 0.5), ("a", 0.5)]))
        welcome = shop.program["welcome"]
        before = shop.prepare(program=make_program((welcome.replace(experiment=one),)))
        approval = approve(before, by="ana")
        options["program"] = make_program((welcome.replace(experiment=other),))
    if "brand" in change:
        brand = shop.program.policies.brand.replace(name=change["brand"])
        options["program"] = shop.program.replace(policies=shop.program.policies.replace(brand=brand))
    if "template" in change or "part" in change:
        options["templates"] = shutil.copytree(shop.templates, tmp_path / "templates")
    if "template" in change:
        path = tmp_path / "templates" / "welcome" / "hello.txt"
        path.write_text(path.read_text().replace("Hello", change["template"]))
    if "part" in change:
        (tmp_path / "templates" / change["part"]).write_text("nothing")
    with pytest.raises(ApprovalError, match=rf"(?s)is for another batch; nothing was sent.*{said}"):
        approval.check(shop.prepare(**options))


def _letter(batch, **changes):
    mail = batch.mails[3]
    letter = dataclasses.replace(mail.letter, **changes)
    return (*batch.mails[:3], dataclasses.replace(mail, letter=letter), *batch.mails[4:])


def _mail(batch, **changes):
    return (*batch.mails[:3], dataclasses.replace(batch.mails[3], **changes), *batch.mails[4:])


def _flip_a_byte(batch):
    batch.spool._memory[500] ^= 1


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lambda b: object.__setattr__(b, "mails", b.mails[:-1]), "audience: approved 12, found 11"),
        (lambda b: object.__setattr__(b, "mails", (*b.mails, b.mails[0])), "audience: approved 12, found 13"),
        (lambda b: object.__setattr__(b, "mails", _letter(b, to="thief@example.net")), "audience: the same number"),
        (lambda b: object.__setattr__(b, "mails", _letter(b, decision_id="other")), "audience: the same number"),
        (lambda b: object.__setattr__(b, "mails", _mail(b, offer="50% off")), "offer approved None, found '50% off'"),
        (lambda b: object.__setattr__(b, "mails", _mail(b, arm="discount")), "arm approved None, found 'discount'"),
        (_flip_a_byte, "audience: the same number, other content"),
        (lambda b: object.__setattr__(b, "digest", "0" * 64), "digest: not that of the manifest"),
        (lambda b: b.manifest["limits"].update(mails=99), "limits: changed mails"),
        (lambda b: object.__setattr__(b, "files", {}), "files: gone welcome/hello.mjml, welcome/hello.txt"),
        (lambda b: object.__setattr__(b, "problems", ("x",)), "preflight: changed problems"),
        (lambda b: b.templates._hashes.update({"welcome/hello": "0"}), "templates: changed welcome/hello"),
    ],
)
def test_a_batch_tampered_with_in_memory_is_refused_and_the_part_named(own, tamper, said):
    approval = approve(own, by="ana")
    tamper(own)
    with pytest.raises(ApprovalError, match=rf"(?s)was changed after it was prepared; nothing was sent.*{said}"):
        approval.check(own)


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("class", {"class_": "transactional"}),  # it would go in quiet hours, over the caps, and to who unsubscribed
        ("step", {"step": "offer"}),
        ("decided_at", {"at": NOW + timedelta(days=1)}),
        ("customer", {"customer_id": "c0"}),
        ("journey", {"key": "other"}),
        ("due_at", {"due_at": NOW + timedelta(days=1)}),
        ("message_id", {"message_id": "other@example.com"}),
        ("subject", {"subject": "Other"}),
        ("timezone", {"timezone": "Asia/Tokyo"}),
        ("targets", {"targets": ("https://example.net/",)}),
        ("coupon", {"coupon": Coupon("pool", "CODE")}),
        ("ends", {"offer": {"percent": 10, "valid_until": NOW + timedelta(days=9)}}),
        ("discount", {"offer": {"amount": 50}}),
    ],
)
def test_one_thing_about_one_mail_changed_after_the_approval_is_named_and_nothing_goes(own, part, changes):
    approval = approve(own, by="ana")
    of_letter = not changes.keys() & {one.name for one in dataclasses.fields(own.mails[3])} or "offer" in changes
    object.__setattr__(own, "mails", (_letter if of_letter else _mail)(own, **changes))
    said = rf"(?s)was changed after it was prepared; nothing was sent.*[:,] {part} approved "
    with pytest.raises(ApprovalError, match=said):
        approval.check(own)


def test_a_tampered_batch_is_not_approved_either(own):
    object.__setattr__(own, "mails", own.mails[:-1])
    with pytest.raises(ApprovalError, match=r"(?s)was changed after it was prepared.*audience: approved 12, found 11"):
        approve(own, by="ana")


def test_an_approval_reads_well_and_is_safe_to_show(batch):
    approval = approve(batch, by="<b>ana</b>", author="ben", clock=_now)
    assert repr(approval).startswith("Approval of 12 mails by <b>ana</b>, until 2026-03-05 13:00 UTC (digest ")
    page = approval._repr_html_()
    assert "&lt;b&gt;ana" in page
    assert "written by" in page
    assert "guards against mistakes" in page


@pytest.mark.parametrize("progress", [True, False])
def test_a_long_look_at_every_mail_shows_how_far_it_is(shop, monkeypatch, capsys, progress):
    batch, audience = shop.prepare(), Batch._audience

    def slowly(self, *mail):
        time.sleep(0.08)
        return audience(self, *mail)

    monkeypatch.setattr(Batch, "_audience", slowly)
    shop.approve(batch, progress=progress)
    assert ("hashing: " in capsys.readouterr().err) == progress
