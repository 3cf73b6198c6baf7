"""What one person wrote into a form keeps that person's mail here, and nobody else's; a template's fault blocks."""

from __future__ import annotations

import pytest

from toolkit.errors import ApprovalError, InputError, PreflightError
from toolkit.events import EventLog
from toolkit.sending import approve_standing, send
from toolkit.widgets.approval_desk import nothing_due

HOSTILE = [
    "{{ 7*7 }}",
    "*|FNAME|*",
    "x" * 2_000,
    "x" * 200_000,
    "Ana\r\nBcc: all@example.org",
    "50% off today, unsubscribe",
    "Ana\x00",
    "<script>alert(1)</script>" * 50,
    "\u202e" * 90,
    None,
]


@pytest.fixture
def signed_up(shop, make_log, make_people):
    """A batch of so many sign-ups, of whom the first ones have these names."""

    def go(names, count=12, **options):
        people = make_people(count)
        people.loc[: len(names) - 1, "first_name"] = names
        return shop.prepare(log=make_log(count, people=people), **options)

    return go


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_one_hostile_sign_up_stops_nobody_else(shop, signed_up, name):
    batch = signed_up([name])
    assert batch.errors == ()
    report = send(batch, shop.approve(batch), confirm=len(batch), progress=False)
    assert report.sent == len(batch) >= 11
    assert report.sent + len(batch.set_aside) == 12


def test_mails_set_aside_are_told_counted_and_named(shop, signed_up):
    batch = signed_up(["*|FNAME|*", None])
    assert (len(batch), batch.skipped) == (10, {"render_error": 2})
    assert set(batch.left_out.values()) == {"render_error"}
    aside = batch.set_aside.sort_values("customer_id", ignore_index=True)
    assert list(aside["customer_id"]) == ["c0", "c1"]
    assert set(aside["decision_id"]) == set(batch.left_out)
    assert "would reach the reader" in aside["why"][0]
    assert "first_name" in aside["why"][1]
    assert not set(aside["address"]) & {"c0@example.org", "c1@example.org"}
    line = batch.summary().lines[1]
    assert line.startswith("left out: 2 mails unfit for what is in their own customer's data, the others go")
    assert "still due until 24h" in line
    assert "undefined variable customer.first_name (1); .set_aside names each" in line
    assert {mail.customer_id for mail in batch.mails} == {f"c{n}" for n in range(2, 12)}
    assert "Name" in batch.preview(0).text
    report = send(batch, shop.approve(batch), confirm=10, progress=False)
    assert "left out 2 (warning: welcome/hello.txt" in str(report)


def test_an_id_that_no_database_can_hold_keeps_its_own_mail_here(shop, make_log, make_people, database):
    place, _ = database
    people = make_people(12).replace({"c0": "c\x000"})
    events = make_log(12).events.replace({"c0": "c\x000"})
    batch = shop.prepare(log=EventLog.from_pandas(events, customers=people), ledger=place)
    assert (len(batch), list(batch.set_aside["customer_id"])) == (11, ["c\x000"])
    assert "an id with a NUL" in batch.set_aside["why"][0]
    report = send(batch, shop.approve(batch), ledger=place, confirm=11, progress=False)
    assert report.sent == 11


def test_a_mail_set_aside_goes_once_its_data_are_right_and_no_other_goes_again(shop, signed_up):
    first = signed_up(["*|FNAME|*"])
    assert send(first, shop.approve(first), confirm=11, progress=False).sent == 11
    again = signed_up(["*|FNAME|*"])
    assert (len(again), again.skipped) == (1, {"already sent": 11})
    assert len(again.errors) == 1  # alone it blocks: nobody else waits for it
    mended = signed_up(["Ana"])
    assert [mail.customer_id for mail in mended.mails] == ["c0"]
    assert send(mended, shop.approve(mended), confirm=1, progress=False).sent == 1


@pytest.mark.parametrize(
    ("unfit", "count", "blocks"), [(10, 12, False), (11, 12, True), (11, 110, False), (12, 110, True), (2, 2, True)]
)
def test_more_than_ten_mails_and_one_in_ten_are_the_templates_fault(shop, signed_up, unfit, count, blocks):
    batch = signed_up(["*|FNAME|*"] * unfit, count)
    assert bool(batch.errors) is blocks
    assert len(batch) == (count if blocks else count - unfit)
    assert len(batch.set_aside) == (0 if blocks else unfit)
    if blocks:
        with pytest.raises(PreflightError, match="would reach the reader"):
            shop.approve(batch)
        assert ("set_aside=True leaves out" in str(batch.preflight)) is (unfit < count)
        assert "left out" not in str(batch.summary()).partition("digest")[0].replace("leaves out", "")


def test_whoever_wants_a_single_one_to_block_or_none_says_so(shop, signed_up):
    names = ["*|FNAME|*"] * 3
    assert len(signed_up(names, set_aside=False).errors) == 1
    assert len(signed_up(names * 4, set_aside=True)) == 0
    nobody = signed_up(names * 4, set_aside=True)
    assert nobody.errors == ()
    assert "unfit for what is in its own customer's data (12)" in nothing_due(nobody)
    assert len(signed_up(["*|FNAME|*"] * 30, 50, set_aside=0.6)) == 20


@pytest.mark.parametrize("share", [-0.1, 1.5, "all", None, float("nan")])
def test_a_share_that_is_none_is_refused(signed_up, share):
    with pytest.raises(InputError, match="set_aside: expected a share of a template's mails from 0 to 1"):
        signed_up([], set_aside=share)


def test_a_mail_that_the_inbox_would_clip_goes_with_a_warning_and_blocks_nobody(shop, signed_up):
    text = shop.templates / "welcome" / "hello.txt"
    text.write_text(text.read_text().replace("Welcome {{ customer.first_name }}", "Welcome"))
    html = shop.templates / "welcome" / "hello.mjml"
    html.write_text(html.read_text().replace("you signed up.", "you signed up. " + "word " * 18_000))
    name = "word " * 3_000
    batch = signed_up([name])
    assert batch.errors == ()
    assert ("large_for_some", 1) in [(one.rule, one.count) for one in batch.preflight.warnings]
    assert len(batch) == 12
    assert [one.rule for one in signed_up([name], set_aside=False).preflight.errors] == ["too_large"]
    assert [one.rule for one in signed_up([name] * 11).preflight.errors] == ["too_large"]


def test_no_standing_approval_lets_a_batch_go_that_findings_block(shop, signed_up):
    batch = signed_up(["*|FNAME|*"], set_aside=False)
    assert len(batch.errors) == 1
    standing = approve_standing(shop.program, shop.templates, by="ana", mails_a_day=100)
    with pytest.raises(ApprovalError, match="the batch has findings; nothing was sent"):
        send(batch, standing, transport=f"outbox:{shop.outbox}", confirm=len(batch), progress=False)
    assert shop.mails() == []
