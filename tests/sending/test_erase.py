"""Someone who asks to be forgotten is, everywhere, and still gets no mail twice."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from toolkit.cli import app
from toolkit.engine import replay
from toolkit.errors import EventLogError, InputError, LedgerError
from toolkit.events import EventLog
from toolkit.sending import ApprovalPolicy, Feedback, Ledger, State, approve, erase, send, serve, submit
from toolkit.sending.keys import mail_key, new_key, public_line, signing_key
from toolkit.tracking import Answers, Incoming

ZOE, ADDRESS = "zoe-41x", "Zoe.Unique@example.org"
HTML = """<mjml><mj-body><mj-section><mj-column><mj-text>Hello {{ customer.first_name }},
<a href="{{ link("https://shop.example.com/new", who=customer.first_name) }}">look</a>
{% if unsubscribe is defined %}<a href="{{ unsubscribe }}">Stop</a>{% endif %}</mj-text>
</mj-column></mj-section></mj-body></mjml>
"""


@pytest.fixture
def people(make_people):
    frame = make_people(12)
    frame.loc[5, ["customer_id", "email", "first_name"]] = [ZOE, ADDRESS, "Zoeunique"]
    return frame


@pytest.fixture
def kept(tmp_path, shop, people, make_log, make_program, noon):
    """Zoe in every place where something is kept: a store, files, a ledger, answers, an outbox, a spool."""
    log = make_log(12, people=people)
    events = log.events.assign(customer_id=log.events["customer_id"].replace({"c5": ZOE}))
    shop.log = EventLog.from_pandas(events, customers=people)
    shop.log.save(tmp_path / "store")
    events.to_parquet(tmp_path / "events.parquet", row_group_size=5)
    noted = people.assign(note=[f'said "hello,\n{number}"' for number in range(12)])
    (tmp_path / "people.csv").write_bytes(b"\xef\xbb\xbf" + noted.to_csv(index=False).replace("\n", "\r\n").encode())
    (tmp_path / "people.csv.gz").write_bytes(gzip.compress(people.to_csv(index=False, sep=";").encode()))
    shop.program = make_program(tracking={"url": "https://mail.example.com"})
    (shop.templates / "welcome" / "hello.mjml").write_text(HTML, encoding="utf-8")
    text = (shop.templates / "welcome" / "hello.txt").read_text(encoding="utf-8")
    link = '{{ link("https://shop.example.com/new", who=customer.first_name) }} .\n'
    (shop.templates / "welcome" / "hello.txt").write_text(text.replace("---\n", f"---\n{link}"), encoding="utf-8")

    batch = shop.prepare()
    send(batch, shop.approve(batch), confirm=len(batch), progress=False)
    (mine,) = [mail for mail in batch.mails if mail.customer_id == ZOE]
    name = mail_key(str(shop.outbox / "ledger.sqlite")).mail_name(mine.letter.decision_id)
    with Answers.open(shop.outbox / "answers.sqlite") as answers:
        at = int(noon.timestamp() * 1e6)
        answers.record([Incoming("opened", at=at, mail=name, agent="A browser of Zoe's")])
        answers.record([Incoming("bounced", at=at, mail=name, detail=f"550 <{ADDRESS}> is away")])
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        said = {"provider": "dsn", "at": noon, "detail": f"550 {ADDRESS.lower()} is unknown"}
        ledger.report_events(
            [
                Feedback(
                    event_id="1", event="email_bounced", decision_id=mine.letter.decision_id, bounce_type="hard", **said
                )
            ]
        )
        ledger.suppressions.add(ADDRESS, by="ana")

    key = new_key(tmp_path / "ana.pem")
    approval = approve(batch, by="ana", key=key, clock=lambda: noon)
    submit(batch, approval, tmp_path / "spool")
    policy = ApprovalPolicy(approvers={"ana": public_line(signing_key(key)[0])})
    ways = {"transport": f"outbox:{tmp_path}/out", "ledger": tmp_path / "sender.sqlite", "policy": policy}
    serve(tmp_path / "spool", once=True, clock=lambda: noon + timedelta(minutes=5), **ways)  # goes to done/
    submit(batch, approval, tmp_path / "spool")
    return shop, batch


@pytest.fixture
def everywhere(tmp_path, kept):
    return {
        "by": "ana",
        "logs": [tmp_path / "store"],
        "files": [tmp_path / "events.parquet", tmp_path / "people.csv", tmp_path / "people.csv.gz"],
        "ledger": tmp_path / "sender.sqlite",
        "outboxes": [tmp_path / "outbox", tmp_path / "out"],
        "spools": [tmp_path / "spool"],
    }


def test_what_is_known_of_the_mails_beside_a_ledger_need_not_be_named(kept, tmp_path):
    found = erase(ZOE, by="ana", ledger=tmp_path / "sender.sqlite")
    assert {row.what: row.found for row in found.table.itertuples() if row.place.startswith("answers")} == {
        "tracked mails": 1,
        "answers": 1,
        "links": 1,
    }
    done = erase(ZOE, by="ana", ledger=tmp_path / "sender.sqlite", yes=True)
    assert (done.done, done.left) == (True, ())
    with Answers.open(tmp_path / "answers.sqlite") as answers:
        assert ZOE not in set(answers.events["customer_id"])


def fingerprints(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def naming(folder):
    """Files below a folder whose bytes, or whose rows where these are packed, name Zoe."""
    found = set()
    for path in folder.rglob("*"):
        if not path.is_file() or path.suffix in (".pem",):
            continue
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += pq.read_table(path).to_pandas().to_csv().encode()
        if path.suffix == ".gz":
            content += gzip.decompress(content)
        if re.search(rb"zoe-41x|zoe\.unique|zoeunique", content, re.IGNORECASE):
            found.add(str(path.relative_to(folder)))
    return found


def test_a_look_counts_everything_and_changes_nothing(kept, everywhere, tmp_path):
    before = fingerprints(tmp_path)
    found = erase(ZOE, **everywhere)
    counts = {(row.place.split()[0], row.what): row.found for row in found.table.itertuples() if row.found}
    assert counts[("log", "events")] == 1
    assert counts[("files", "rows of people.csv")] == 1
    assert counts[("outbox", "mails")] == 1
    assert counts[("answers", "answers")] == 3  # sent, opened, bounced
    assert counts[("spool", "batches waiting")] == counts[("spool", "batches that are over")] == 1
    assert (found.done, found.addresses) == (False, (ADDRESS.lower(),))
    assert "nothing changed yet" in str(found)
    assert {path for path in before if path.suffix != ".sqlite-shm"} <= set(fingerprints(tmp_path))
    after = fingerprints(tmp_path)
    assert {path for path, digest in before.items() if after[path] != digest} <= set(tmp_path.rglob("*.sqlite*"))
    assert len(naming(tmp_path)) >= 12


def test_afterwards_no_byte_of_any_file_names_them(kept, everywhere, tmp_path):
    shop, batch = kept
    assert {"store/events.parquet", "store/customers.parquet", "outbox/ledger.sqlite"} <= naming(tmp_path)
    done = erase(ZOE, **everywhere, yes=True)
    assert (done.done, done.left) == (True, ())
    assert "nothing names them" in str(done)
    assert naming(tmp_path) == set()
    # Everyone else is as before.
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        assert ledger.verify() == ()
        rows = ledger.deliveries()
        last = ledger.audit().iloc[-1]
    assert (rows["customer_id"] == "erased").sum() == 1
    assert set(rows["state"]) == {"accepted"}
    assert len(shop.mails()) == 11
    assert (last.actor, last.action, last.subject) == ("ana", "erased", "a customer")
    stored = EventLog.open(tmp_path / "store")
    assert len(stored) == 11
    assert len(stored.customers) == 11
    others = replay(shop.program, stored).decisions
    whole = replay(shop.program, shop.log).decisions
    pd.testing.assert_frame_equal(others, whole[whole["customer_id"] != ZOE].reset_index(drop=True))
    # The batch that was approved before is still in somebody's notebook: nobody gets it twice.
    report = send(batch, shop.approve(batch), confirm=len(batch), progress=False)
    assert (report.sent, report.already_sent) == (0, 12)


def test_erasing_again_finds_nothing(kept, everywhere):
    erase(ZOE, **everywhere, yes=True)
    again = erase(ZOE, **everywhere)
    assert (again.found, str(again)) == (0, f"customer {ZOE}, no address known: in none of these places")


def test_the_other_lines_of_a_csv_file_keep_every_byte(kept, everywhere, tmp_path):
    before = (tmp_path / "people.csv").read_bytes()
    erase(ZOE, **everywhere, yes=True)
    line = next(text for text in re.split(rb"(?<=\")\r\n", before) if text.startswith(ZOE.encode()))
    assert (tmp_path / "people.csv").read_bytes() == before.replace(line + b"\r\n", b"")


def test_who_is_never_to_be_mailed_is_known_by_a_hash(kept, everywhere, make_log, people, tmp_path):
    shop, _ = kept
    erase(ZOE, **everywhere, never_mail=True, yes=True)
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        assert ledger.suppressions.reason(ADDRESS, class_="transactional") == "suppressed"
        assert ledger.suppressions.table["address"].isna().all()
    people.loc[5, "customer_id"] = "another-id"  # they come back by another road
    events = shop.log.events.assign(customer_id=shop.log.events["customer_id"].replace({ZOE: "another-id"}))
    again = shop.prepare(log=EventLog.from_pandas(events, customers=people))
    assert "another-id" not in {mail.customer_id for mail in again.mails}


def test_a_mail_on_its_way_stops_it_before_anything_is_changed(kept, everywhere, entries, run_record, tmp_path):
    with Ledger.open(tmp_path / "sender.sqlite") as ledger:
        (entry,) = entries(1)
        ledger.plan(run_record(hours=1_000_000), [replace(entry, customer_id=ZOE)])
        ledger.start(ledger.claim("run", owner="someone", limit=1, lease=600_000_000))
    before = naming(tmp_path)
    with pytest.raises(LedgerError, match=f"a mail to customer {ZOE} is on its way at this moment"):
        erase(ZOE, **everywhere, yes=True)
    assert naming(tmp_path) == before


@pytest.mark.parametrize("state", [State.PLANNED, State.UNKNOWN])
def test_a_mail_that_waits_is_cancelled_and_one_in_doubt_never_goes_again(ledger, entries, run_record, tmp_path, state):
    ledger.plan(run_record(), entries(1))
    if state is State.UNKNOWN:
        ledger.start(ledger.claim("run", owner="gone", limit=1, lease=60_000_000))
        ledger.recover(owner="gone")
    erase("c0", by="ana", ledger=tmp_path / "ledger.sqlite", yes=True, clock=ledger._clock)
    (row,) = ledger.deliveries().to_dict("records")
    assert row["state"] == {State.PLANNED: "cancelled", State.UNKNOWN: "accepted"}[state]
    assert ledger.verify() == ()
    assert ledger.plan(run_record("later"), entries(1)).known == 1
    assert ledger.claim("later", owner="b", limit=1, lease=60_000_000) == []


def test_a_ledger_in_postgresql_forgets_too(postgres_server, entries, run_record, clock):
    with postgres_server.psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE forgets")
    place = f"{postgres_server.server_url}/forgets"
    with Ledger.open(place, clock=clock) as ledger:
        ledger.plan(run_record(), entries(3))
    found = erase("c1", by="ana", ledger=place, yes=True, clock=clock)
    assert found.left == ()
    with Ledger.open(place, clock=clock) as ledger:
        assert sorted(ledger.deliveries()["address"]) == ["c0@example.org", "c2@example.org", "erased"]
        assert ledger.verify() == ()


def test_words_that_someone_wrote_into_the_audit_are_told_because_they_cannot_be_changed(
    ledger, entries, run_record, tmp_path
):
    ledger.plan(run_record(), entries(1))
    ledger.pause("run", by="ana", why="c0@example.org called")
    found = erase("c0", by="ana", ledger=tmp_path / "ledger.sqlite", yes=True, clock=ledger._clock)
    (left,) = found.left
    assert left.endswith(": 1 line of the audit, in words that someone wrote; its chain cannot be changed")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, InputError, "nothing to look at"),
        ({"logs": ["nowhere"]}, EventLogError, "nowhere"),
        ({"files": ["nowhere.csv"]}, EventLogError, "nowhere.csv"),
        ({"ledger": "nowhere.sqlite"}, InputError, "there is none"),
        ({"answers": "nowhere.sqlite"}, InputError, "there are none"),
        ({"outboxes": ["."], "never_mail": True}, InputError, "never_mail needs the ledger"),
    ],
)
def test_a_place_that_is_not_there_is_named(tmp_path, monkeypatch, options, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        erase("c0", by="ana", **options)


def test_a_file_without_the_column_is_named(tmp_path):
    (tmp_path / "events.csv").write_text("visitor,event\nzoe,view\n")
    with pytest.raises(EventLogError, match="no column 'customer_id' to find a customer by; it has visitor, event"):
        erase("zoe", by="ana", files=[tmp_path / "events.csv"])
    erase("zoe", by="ana", files=[tmp_path / "events.csv"], columns={"customer_id": "visitor"}, yes=True)
    assert (tmp_path / "events.csv").read_text() == "visitor,event\n"


def test_files_of_events_and_of_customers_may_call_the_customer_by_other_names(tmp_path):
    events, people = tmp_path / "events.csv", tmp_path / "people.csv"
    events.write_text("visitor,event\nzoe,view\nbo,view\n")
    people.write_text("nr;mail\nzoe;zoe@example.org\nbo;bo@example.org\n")
    named = {"customer_id": "visitor", "customers.customer_id": "nr", "customers.email": "mail"}
    done = erase("zoe", by="ana", files=[events, people], columns=named, yes=True)
    assert (events.read_text(), people.read_text()) == ("visitor,event\nbo,view\n", "nr;mail\nbo;bo@example.org\n")
    assert "zoe@example.org" in done.addresses


def test_the_command_looks_first_and_does_it_with_yes(kept, tmp_path):
    words = ["erase", ZOE, "--by", "ana", "--events", "store", "--events", "people.csv", "--outbox", "outbox"]
    looked = CliRunner().invoke(app, words)
    assert (looked.exit_code, "nothing changed yet" in looked.output) == (0, True)
    assert "to be removed" in looked.output
    did = CliRunner().invoke(app, [*words, "--yes"])
    assert (did.exit_code, "nothing names them" in did.output) == (0, True)
    assert not {one for one in naming(tmp_path) if one.startswith(("store", "outbox", "people.csv/"))}


@pytest.mark.parametrize(("customer", "address"), [("2026", "ana@example.org"), ("mar", "n@example.org"), ("5", "-")])
def test_what_is_of_others_stays_whatever_a_name_or_an_address_is_part_of(
    shop, people, make_log, tmp_path, noon, customer, address
):
    people.loc[3, ["customer_id", "email"]] = [customer, address]
    people.loc[4, "email"] = "diana@example.org"
    log = make_log(12, people=people)
    events = log.events.assign(customer_id=log.events["customer_id"].replace({"c3": customer, "c5": ZOE}))
    shop.log = EventLog.from_pandas(events, customers=people)
    shop.log.save(tmp_path / "store")
    batch = shop.prepare()
    send(batch, shop.approve(batch), confirm=len(batch), progress=False)
    submit(batch, shop.approve(batch), tmp_path / "spool")
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        told = [Feedback("dsn", f"of-{n}", "email_delivered", noon, address=n) for n in ("diana@example.org", ADDRESS)]
        ledger.report_events([replace(one, detail=f"250 ok, {one.address}") for one in told])
    mine = int(address != "-")
    before = len(list(shop.outbox.glob("*.eml")))
    places = {"logs": [tmp_path / "store"], "outboxes": [shop.outbox]}
    found = erase(customer, by="ana", **places, yes=True)
    counts = found.table.set_index("what")["found"]
    assert (counts["mails"].tolist(), counts["reports of providers"]) == ([mine, mine], 0)
    assert len(list(shop.outbox.glob("*.eml"))) == before - mine
    assert found.left == ()
    looked = erase(customer, by="ana", spools=[tmp_path / "spool"], addresses=["nobody@example.org"])
    assert looked.table["found"].tolist() == [mine, 0]


def test_a_look_calls_nothing_removed_that_is_still_there(kept, shop):
    look = erase(ZOE, by="ana", outboxes=[shop.outbox])
    actions = look.table.loc[look.table["found"] > 0, "action"]
    assert len(actions) > 2
    assert actions.str.match("to be |hash kept|not erased").all()


def test_one_address_or_place_may_be_named_without_a_list_and_is_not_read_letter_by_letter(kept, shop):
    one = erase("stranger", by="ana", outboxes=shop.outbox, addresses=ADDRESS)
    assert one.addresses == (ADDRESS.casefold(),)
    assert one.table.equals(erase("stranger", by="ana", outboxes=[shop.outbox], addresses=[ADDRESS]).table)


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ({"outboxes": ["outbx"]}, "outbox outbx: no such folder"),
        ({"spools": ["spol"]}, "spool spol: no such folder"),
        ({"outboxes": ["."], "addresses": ["-"]}, "expected addresses such as ana@example.org; found '-'"),
    ],
)
def test_a_place_that_is_not_there_is_told_and_not_found_empty(shop, places, said):
    with pytest.raises(InputError, match=said):
        erase(ZOE, by="ana", **places)
    with pytest.raises(InputError, match="whose, and who does it"):
        erase(5, by="ana", outboxes=["."])


def test_copies_that_killed_programs_left_beside_logs_and_files_are_told(tmp_path, make_log, people):
    make_log(12, people=people).save(tmp_path / "store")
    people.to_csv(tmp_path / "people.csv", index=False)
    places = {"logs": [tmp_path / "store"], "files": [tmp_path / "people.csv"]}
    assert erase(ZOE, by="ana", yes=True, **places).left == ()
    aside, part = tmp_path / ".store.0a1b2c3d.old", tmp_path / ".people.csv.0a1b2c3d.part"
    aside.mkdir()
    part.touch()
    left = erase(ZOE, by="ana", yes=True, **places).left
    assert [str(one) in said for one, said in zip((aside, part), left, strict=True)] == [True, True]
    assert "delete it" in left[0]
