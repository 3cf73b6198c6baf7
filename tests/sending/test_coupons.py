"""Coupon codes of pools: each mail has one that no other mail has, however often and by whomever batches are sent."""

from __future__ import annotations

import itertools
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from email import policy
from email.parser import BytesParser

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sending.shops import GIFT, NOON, events_of, people_of
from toolkit.engine import replay
from toolkit.errors import InputError, ScenarioError
from toolkit.events import EventLog
from toolkit.mail import Templates
from toolkit.scenario import loads
from toolkit.sending import Ledger, State, approve, approve_standing, parity, send, serve, start_sending, submit
from toolkit.sending.approval.policy import ApprovalPolicy
from toolkit.sending.batch.parcel import BatchParcel, entry_of
from toolkit.sending.batch.stock import read_codes
from toolkit.sending.clock import micros
from toolkit.sending.delivery import run_record as run_of
from toolkit.sending.keys import new_key, public_line, signing_key
from toolkit.sending.ledger.coupons import Coupon
from toolkit.sending.ledger.planning import plan_mails, plan_run
from toolkit.sending.live import keep_sending, round_of
from toolkit.sending.transports import transport

MORNING = NOON - timedelta(hours=3)


@pytest.fixture
def gift(make_program):
    def make(*, empty="skip", **pool):
        text = GIFT.replace("pool: spring", f"pool: spring, on_empty: {empty}")
        return make_program(loads(text).scenarios, pools={"spring": pool or {"file": "spring.csv"}})

    return make


@pytest.fixture
def pooled(shop, gift):
    """A shop whose twelve mails give codes of a pool of thirty."""
    shop.program = gift()
    for ending in ("txt", "mjml"):
        path = shop.templates / "welcome" / f"hello.{ending}"
        path.write_text(path.read_text().replace("% for you", "% with {{ offer.code }}"))
    write(shop, 30)
    return shop


def write(shop, count, *, first=0):
    codes = "\n".join(f"SPRING-{number:03}" for number in range(first, first + count))
    (shop.templates / "spring.csv").write_text(f"code\n{codes}\n")


def codes_in(batch):
    """The code that each mail shows, by customer, read from its very bytes."""
    found = {}
    for mail in batch.mails:
        message = BytesParser(policy=policy.default).parsebytes(batch.spool[mail.number])
        shown = [message.get_body((kind,)).get_content() for kind in ("plain", "html")]
        both = {text.partition("% with ")[2][:10] for text in shown}
        assert len(both) == 1
        found[mail.customer_id] = both.pop()
    return found


def go(shop, batch, *, minutes=1, approval=None, **options):
    options.setdefault("ledger", shop.outbox / "ledger.sqlite")
    clock = lambda: NOON + timedelta(minutes=minutes)  # noqa: E731
    approval = approval or approve(batch, by="ana", clock=clock)
    way = f"outbox:{shop.outbox}"
    return send(batch, approval, transport=way, confirm=len(batch), progress=False, clock=clock, **options)


def given_codes(shop):
    with Ledger.open(shop.outbox / "ledger.sqlite") as ledger:
        return ledger.coupons()


def newcomers(count, *, hours=4, first=0):
    """So many sign-ups, so many hours before noon."""
    events = events_of(first + count).iloc[first:]
    events["at"] = NOON - timedelta(hours=hours)
    return events


def log_with(*groups):
    events = pd.concat(groups, ignore_index=True)
    count = events["customer_id"].str[1:].astype(int).max() + 1
    return EventLog.from_pandas(events, customers=people_of(count))


def test_each_mail_shows_a_code_of_its_own_and_the_ledger_knows_whose_it_is(pooled):
    batch = pooled.prepare()
    codes = codes_in(batch)
    assert list(codes.values()) == [f"SPRING-{number:03}" for number in range(12)]
    assert "pool spring: 18 codes left after these mails" in batch.notes
    assert str(go(pooled, batch)).startswith("sent 12")
    table = given_codes(pooled)
    assert dict(zip(table["customer_id"], table["code"], strict=True)) == codes
    assert list(table.columns) == ["pool", "code", "decision_id", "customer_id", "scenario", "step", "state"]
    assert set(table["state"]) == {"accepted"}


def test_preparing_again_takes_nothing_and_gives_the_same_codes(pooled):
    assert pooled.prepare().digest == pooled.prepare().digest
    assert codes_in(pooled.prepare()) == codes_in(pooled.prepare())


def test_codes_once_given_are_never_given_again_also_when_the_file_is_a_new_one(pooled):
    log = log_with(newcomers(12), newcomers(6, hours=3, first=12))
    early = pooled.prepare(now=NOON - timedelta(hours=2, minutes=30), log=log)
    first = codes_in(early)
    assert len(first) == 12
    go(pooled, early, minutes=-149)
    write(pooled, 16, first=10)  # two of them were given
    later = pooled.prepare(log=log)
    assert sorted(codes_in(later).values()) == [f"SPRING-{number:03}" for number in range(12, 18)]
    assert not set(codes_in(later).values()) & set(first.values())


def test_whoever_comes_when_the_pool_is_empty_gets_no_mail_or_one_without_the_offer(pooled, gift):
    write(pooled, 5)
    batch = pooled.prepare()
    assert len(batch) == 5
    assert batch.skipped == {"coupon_empty": 7}
    assert set(batch.left_out.values()) == {"coupon_empty"}
    plain = pooled.prepare(program=gift(empty="send_without"))
    assert len(plain) == 12
    assert plain.table["offer"].notna().sum() == 5
    shown = [str(plain.preview(number)) for number in range(12)]
    assert sum("SPRING-" in text for text in shown) == 5
    assert not any("%" in text for text in shown if "SPRING-" not in text)


def test_of_two_batches_prepared_before_either_went_the_second_mails_nobody_a_code_of_the_first(pooled):
    early = log_with(newcomers(3))
    one = pooled.prepare(log=early)
    log = log_with(newcomers(3), newcomers(4, hours=3, first=3))
    two = pooled.prepare(log=log)
    keep = [mail.letter.decision_id for mail in two.mails if mail.customer_id in ("c3", "c4", "c5", "c6")]
    other = pooled.prepare(log=log_with(newcomers(4, hours=3, first=3)))
    assert [mail.letter.decision_id for mail in other.mails] == keep
    assert str(go(pooled, one)).startswith("sent 3")
    report = go(pooled, other)
    assert (report.sent, report.spent, report.skipped, report.waiting) == (1, 3, 3, 0)
    assert "of the skipped 3 whose codes other mails took: prepare again" in str(report)
    assert report.table["reason"].value_counts().to_dict() == {"coupon_empty": 3}
    assert str(go(pooled, other)).startswith("sent 0, already sent 1, skipped 3")
    clock = lambda: NOON + timedelta(minutes=2)  # noqa: E731
    job = start_sending(
        other, approve(other, by="ana", clock=clock), transport=f"outbox:{pooled.outbox}", confirm=4, clock=clock
    )
    assert job.wait(60).spent == 3
    assert (job.progress.already_sent, job.progress.skipped, job.progress.waiting) == (1, 3, 0)
    again = pooled.prepare(log=log)
    assert sorted(codes_in(again).values()) == ["SPRING-004", "SPRING-005", "SPRING-006"]
    assert str(go(pooled, again)).startswith("sent 3")
    assert given_codes(pooled)["code"].is_unique
    assert len(given_codes(pooled)) == 7


def test_a_mail_that_waits_keeps_its_code_and_a_cancelled_one_gives_it_back(pooled):
    batch = pooled.prepare()
    clock = lambda: NOON + timedelta(minutes=1)  # noqa: E731
    approval = approve(batch, by="ana", clock=clock)
    with Ledger.open(pooled.outbox / "ledger.sqlite", clock=clock) as ledger:
        parcel = BatchParcel(batch)
        run = run_of(parcel, [approval], transport(f"outbox:{pooled.outbox}"))
        ledger.plan(run, (entry_of(parcel.stub(number)) for number in range(4)))
        assert list(ledger.coupons()["code"]) == [f"SPRING-{number:03}" for number in range(4)]
        write(pooled, 30, first=100)
        waiting = pooled.prepare()
        assert list(codes_in(waiting).values())[:5] == [f"SPRING-{n:03}" for n in (0, 1, 2, 3, 100)]
        ledger.cancel(run.id, by="ana")
        assert ledger.coupons().empty
    write(pooled, 30)
    fresh = pooled.prepare()
    assert list(codes_in(fresh).values()) == [f"SPRING-{number:03}" for number in range(8)]
    go(pooled, fresh, minutes=2)
    assert len(given_codes(pooled)) == 8


def test_a_batch_that_takes_over_a_waiting_mail_gives_it_one_code(pooled, entries, run_record, clock):
    (entry,) = entries(1)
    with Ledger.open(pooled.outbox / "ledger.sqlite", clock=clock) as ledger:
        ledger.plan(run_record("one", mails=1), [replace(entry, coupon=Coupon("spring", "A"))])
        other = replace(entry, coupon=Coupon("spring", "B"), payload_sha256="1" * 64)
        assert ledger.plan(run_record("two", mails=1), [other]).adopted == 1
        assert list(ledger.coupons()["code"]) == ["B"]
        assert ledger.plan(run_record("three", mails=1), [replace(entry, coupon=None)]).adopted == 1
        assert ledger.coupons().empty


def test_who_came_before_the_start_uses_up_no_code(pooled):
    log = log_with(newcomers(40, hours=24 * 90), newcomers(3, first=40))
    write(pooled, 3)
    batch = pooled.prepare(log=log, since=NOON - timedelta(days=1))
    assert sorted(codes_in(batch)) == ["c40", "c41", "c42"]


def test_codes_may_be_handed_over_in_place_of_the_file(pooled, tmp_path):
    own = [f"OWN-{number:06}" for number in range(12)]
    assert list(codes_in(pooled.prepare(codes={"spring": own})).values()) == own
    elsewhere = tmp_path / "codes.csv"
    elsewhere.write_text("id;Code\n" + "\n".join(f"{n};{code}" for n, code in enumerate(own)), encoding="utf-8-sig")
    assert list(codes_in(pooled.prepare(codes={"spring": elsewhere})).values()) == own
    with pytest.raises(InputError, match=r"codes: no pool 'sprin'; policies\.pools has spring; did you mean 'spring'"):
        pooled.prepare(codes={"sprin": own})
    compiled = Templates.load(pooled.templates, pooled.program.policies)
    with pytest.raises(InputError, match=r"spring\.file: spring.csv is beside templates, and these were handed over"):
        pooled.prepare(templates=compiled)
    assert len(pooled.prepare(templates=compiled, codes={"spring": own})) == 12


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("code\nA\n\nB\nA\n", "line 5: 'A' stands in line 2 already"),
        ("A\n" + "x" * 65, "line 2: found 'xxxx"),
        ("code,until\nA,May\n,June\n", "line 3: found ''; allowed: 1 to 64 characters that can be printed"),
        ("id,name\n1,A\n", "line 1: found the columns id, name; allowed: a column `code`, or one column"),
        ("A\nB\x1b[31m\n", r"line 2: found 'B\x1b[31m'"),
    ],
)
def test_a_file_that_holds_no_codes_is_named_with_its_line(pooled, text, said):
    path = pooled.templates / "spring.csv"
    path.write_text(text)
    with pytest.raises(InputError) as fault:
        pooled.prepare()
    assert str(path) in str(fault.value)
    assert said in str(fault.value)


def test_a_file_that_is_not_there_and_a_pool_without_one_are_told_before_anything_is_sent(pooled, gift):
    (pooled.templates / "spring.csv").unlink()
    with pytest.raises(InputError, match=r"spring.csv: codes cannot be read: No such file"):
        pooled.prepare()
    with pytest.raises(InputError, match=r"spring.csv: codes cannot be read"):
        approve_standing(pooled.program, pooled.templates, by="ana", mails_a_day=100)
    sized = gift(size=100)
    for attempt in (
        lambda: pooled.prepare(program=sized),
        lambda: approve_standing(sized, pooled.templates, by="ana", mails_a_day=100),
    ):
        with pytest.raises(InputError, match=r"policies\.pools\.spring: says how many codes there are and not which"):
            attempt()
    (pooled.templates / "spring.csv").write_bytes(b"A\nB\xff\n")
    with pytest.raises(InputError, match="line 2: not UTF-8"):
        read_codes(pooled.templates / "spring.csv")


def test_an_empty_file_is_an_empty_pool(pooled):
    (pooled.templates / "spring.csv").write_text("")
    assert pooled.prepare().skipped == {"coupon_empty": 12}


def test_the_sender_of_another_user_keeps_codes_apart_too(pooled, tmp_path):
    key = new_key(tmp_path / "ana.pem")
    rules = ApprovalPolicy(approvers={"ana": public_line(signing_key(key)[0])})
    clock = lambda: NOON + timedelta(minutes=5)  # noqa: E731
    for log in (log_with(newcomers(3)), log_with(newcomers(4, hours=3, first=3))):
        batch = pooled.prepare(log=log)  # the ledger of the sender is not at hand here
        submit(batch, approve(batch, by="ana", key=key, clock=clock), tmp_path / "spool")
    lines = []
    serve(
        tmp_path / "spool",
        ledger=tmp_path / "sender.sqlite",
        policy=rules,
        transport=f"outbox:{tmp_path}/out",
        clock=clock,
        once=True,
        say=lines.append,
    )
    with Ledger.open(tmp_path / "sender.sqlite") as ledger:
        assert ledger.coupons()["code"].is_unique
        assert len(ledger.coupons()) == 4  # the first batch's, and the one that the second has besides
    assert any("of the skipped 3 whose codes other mails took" in line for line in lines)
    assert len(list((tmp_path / "spool" / "done").iterdir())) == 2


def test_rounds_give_codes_until_there_are_none_and_the_day_is_explained(pooled, tmp_path):
    write(pooled, 10)
    log = log_with(newcomers(8), newcomers(6, hours=3, first=8))
    standing = approve_standing(pooled.program, pooled.templates, by="ana", mails_a_day=100, clock=lambda: MORNING)
    places = {"ledger": pooled.outbox / "ledger.sqlite", "captures": tmp_path / "captures"}
    for minutes in (1, 61, 62):
        moment = MORNING + timedelta(minutes=minutes)
        ways = {"templates": pooled.templates, "approval": standing, "transport": f"outbox:{pooled.outbox}"}
        report = round_of(pooled.program, log, now=moment, clock=lambda now=moment: now, **ways, **places)
    assert report.before == {"already sent": 10, "coupon_empty": 4}
    assert str(report).startswith("sent 0, already sent 10, skipped 0, unknown 0, failed 0, 4 left out for want of a")
    found = parity(pooled.program, log, day=NOON.date(), **places)
    assert sorted(found.table["verdict"].value_counts().to_dict().items()) == [("explained", 4), ("same", 10)]
    assert set(found.table.loc[found.table["verdict"] == "explained", "why"]) == {"left out: coupon_empty"}


def test_a_replay_counts_with_the_size_and_says_when_it_has_none(gift, pooled):
    whole = replay(gift(), pooled.log, until=NOON)
    assert list(whole.decisions["status"]) == ["send"] * 12
    assert any("policies.pools.spring: how many codes there are is not told" in note for note in whole.notes)
    some = replay(gift(size=5, file="spring.csv"), pooled.log, until=NOON)
    assert some.decisions["reason"].value_counts().to_dict() == {"coupon_empty": 7}
    assert not any("pools" in note for note in some.notes)
    assert len(pooled.prepare(program=gift(size=5, file="spring.csv"))) == 12  # the file says how many there are now
    assert not any("policies.pools" in note for note in pooled.prepare().notes)


def test_a_file_of_codes_is_no_mail():
    with pytest.raises(ScenarioError, match=r"pools\.s\.file: the codes' file ends as a mail's does; found 'c.txt'"):
        loads(GIFT.replace("pools: {", "pools: {s: {file: c.txt}, "))


number = itertools.count()


@given(st.lists(st.tuples(st.sets(st.integers(0, 7), min_size=1), st.booleans()), max_size=8), st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_code_is_two_mails_whatever_is_planned_and_cancelled(tmp_path_factory, entries, run_record, runs, data):
    pool = entries(8)
    with Ledger.open(tmp_path_factory.mktemp("coupons") / "ledger.sqlite", clock=lambda: NOON) as ledger:
        for turn, (wanted, cancelled) in enumerate(runs):
            codes = data.draw(st.permutations("ABCDEFGH"))
            some = [replace(pool[n], coupon=Coupon("s", codes[n])) for n in sorted(wanted)]
            states = ledger.known([entry.decision_id for entry in pool])
            owner = ledger.coupons().set_index("code")["decision_id"].to_dict()
            due = [entry for entry in some if states.get(entry.decision_id) in (None, State.PLANNED)]
            others = [entry for entry in due if owner.get(entry.coupon.code, entry.decision_id) != entry.decision_id]
            planned = ledger.plan(run_record(f"run{turn}", mails=len(some)), some)
            assert planned.spent == tuple(sorted(entry.decision_id for entry in others))
            assert planned.added + planned.adopted == len(due) - len(others)
            after = ledger.coupons()
            assert after["code"].is_unique
            assert after["decision_id"].is_unique
            states = ledger.known([entry.decision_id for entry in pool])
            assert set(after["decision_id"]) == {name for name, state in states.items() if state is State.PLANNED}
            if cancelled and planned.added + planned.adopted:
                ledger.cancel(f"run{turn}", by="ana")


def test_senders_at_once_on_postgresql_share_no_code(postgres_server, clock, entries, run_record):
    name = f"coupons{next(number)}"
    with postgres_server.psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    place = f"{postgres_server.server_url}/{name}"
    Ledger.open(place, clock=clock).close()

    def plan(turn):
        some = entries(50, first=50 * turn)
        some = [replace(entry, coupon=Coupon("s", f"CODE{n}")) for n, entry in enumerate(some)]
        with Ledger.open(place, clock=clock) as ledger:
            return ledger.plan(run_record(f"run{turn}", mails=50), some)

    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(plan, range(4)))
    assert sum(one.added for one in done) == 50
    assert sum(len(one.spent) for one in done) == 150
    with Ledger.open(place, clock=clock) as ledger:
        assert ledger.coupons()["code"].is_unique
        assert len(ledger.deliveries()) == len(ledger.coupons()) == 50


def test_a_mail_planned_by_two_senders_at_once_on_postgresql_has_one_code(postgres_server, clock, entries, run_record):
    name = f"coupons{next(number)}"
    with postgres_server.psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    place = f"{postgres_server.server_url}/{name}"
    (entry,) = entries(1)
    one, two = (replace(entry, coupon=Coupon("s", code)) for code in "AB")
    now = micros(clock())

    def plan():
        with Ledger.open(place, clock=clock) as mine:
            return mine.plan(run_record("two", mails=1), [two])

    with Ledger.open(place, clock=clock) as ledger, ThreadPoolExecutor(1) as threads:
        with ledger.changing() as connection:
            plan_run(connection, run_record("one", mails=1), now=now)
        with ledger.changing() as connection:
            plan_mails(connection, run_record("one", mails=1), [one], now=now)
            other = threads.submit(plan)
            time.sleep(1.0)  # it waits for this transaction by now
        assert other.result(timeout=30).adopted == 1
        assert list(ledger.coupons()["code"]) == ["B"]


def test_the_code_of_a_mail_that_was_in_doubt_is_never_given_again(tmp_path, clock, entries, run_record):
    first, second = entries(2, class_="transactional")
    with Ledger.open(tmp_path / "ledger.sqlite", clock=clock) as ledger:
        ledger.plan(run_record("one", mails=1), [replace(first, coupon=Coupon("s", "A"))])
        ledger.start(ledger.claim("one", owner="a", limit=1, lease=1_000_000))
        clock.forward(seconds=31)
        ledger.recover()
        assert ledger.again("one", wait=0)
        ledger.cancel("one", by="ana")
        assert ledger.known([first.decision_id]) == {first.decision_id: State.CANCELLED}
        assert list(ledger.coupons()["code"]) == ["A"]
        planned = ledger.plan(run_record("two", mails=1), [replace(second, coupon=Coupon("s", "A"))])
        assert (planned.added, planned.spent) == (0, (second.decision_id,))


@pytest.mark.parametrize("heading", ["Codes", "Coupon code", "voucher_code", "Gutscheincode", "vouchers"])
def test_a_heading_that_is_not_code_is_nobodys_code(tmp_path, heading):
    path = tmp_path / "spring.csv"
    path.write_text(f"{heading}\nA\n")
    with pytest.raises(InputError, match=f"line 1: found '{heading}', which reads like the heading"):
        read_codes(path)


def test_a_quotation_mark_that_is_never_closed_is_told_in_a_line(tmp_path):
    path = tmp_path / "spring.csv"
    for count in (50, 100_000):
        path.write_text('code\n"' + "\n".join(f"SPRING-{number:06}" for number in range(count)))
        with pytest.raises(InputError, match=r"spring.csv: line \d+: ") as fault:
            read_codes(path)
        assert len(str(fault.value)) < 500


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ("spring.csv", "codes: found str; allowed: pool to its codes, or to the path of a CSV file"),
        ({"spring": 5}, r"codes\['spring'\]: found 5; allowed: codes, or the path"),
        ({"spring": pd.Series([1.5, None])}, r"codes\['spring'\]: code 1: found 1.5; allowed: 1 to 64 characters"),
    ],
)
def test_codes_that_are_none_are_refused_in_words(pooled, codes, said):
    with pytest.raises(InputError, match=said):
        pooled.prepare(codes=codes)


def test_codes_may_come_from_a_series_or_a_generator(pooled):
    own = [f"OWN-{number:06}" for number in range(12)]
    for codes in (pd.Series(own, index=range(5, 17)), (code for code in own)):
        assert list(codes_in(pooled.prepare(codes={"spring": codes})).values()) == own


def test_a_mail_that_waits_elsewhere_is_not_counted_among_those_skipped(pooled, entries, run_record):
    batch = pooled.prepare(log=log_with(newcomers(1)))
    parcel = BatchParcel(batch)
    mine = replace(entry_of(parcel.stub(0)), coupon=Coupon("spring", "ELSEWHERE"))
    (other,) = (replace(entry, coupon=parcel.stub(0).coupon) for entry in entries(1))
    with Ledger.open(pooled.outbox / "ledger.sqlite", clock=lambda: NOON) as ledger:
        ledger.plan(run_record("first", mails=2, transport="elsewhere"), [mine, other])
    report = go(pooled, batch)
    assert (report.sent, report.skipped, report.waiting, report.spent) == (0, 0, 1, 0)
    assert "prepare again" not in str(report)


def test_a_file_of_codes_that_is_half_written_breaks_off_a_round_and_no_loop(pooled, tmp_path):
    standing = approve_standing(pooled.program, pooled.templates, by="ana", mails_a_day=100, clock=lambda: MORNING)
    path = pooled.templates / "spring.csv"
    path.write_text("code\nA\nA\n")
    lines = []

    def say(line):
        lines.append(line)
        write(pooled, 30)

    options = {"templates": pooled.templates, "approval": standing, "transport": f"outbox:{pooled.outbox}"}
    options |= {"ledger": pooled.outbox / "ledger.sqlite", "captures": tmp_path / "captures", "say": say}
    options |= {"every": timedelta(seconds=0), "clock": lambda: MORNING + timedelta(minutes=1)}
    log = log_with(newcomers(3))
    assert keep_sending(pooled.program, lambda: log, rounds=2, **options) == 2
    assert "broken off: " in lines[0]
    assert "spring.csv: line 3: 'A' stands in line 2 already" in lines[0]
    assert "sent 3" in lines[1]
    path.unlink()
    with pytest.raises(InputError, match="codes cannot be read"):
        keep_sending(pooled.program, lambda: log_with(newcomers(6)), rounds=9, **options | {"say": lines.append})
    assert sum("broken off" in line for line in lines) == 4


def test_codes_given_since_the_backup_of_a_ledger_are_given_to_nobody_else(pooled, mailing):
    assert mailing.send(4).sent == 4
    mailing.back_up()
    assert mailing.send(8).sent == 4
    with Ledger.open(mailing.ledger) as ledger:
        given = ledger.coupons()[["code", "decision_id"]]
    mailing.put_back()
    assert "which codes" not in str(mailing.reconcile(yes=True))
    with Ledger.open(mailing.ledger) as ledger:
        again = ledger.coupons()[["code", "decision_id"]]
        assert again.sort_values("code").values.tolist() == given.sort_values("code").values.tolist()
    assert mailing.send(12).sent == 4
    codes = [re.search(rb"SPRING-\d+", body).group() for _, _, body in mailing.server.taken]
    assert len(set(codes)) == len(codes) == 12


def test_a_code_of_two_batches_stays_with_the_mail_that_left_with_it(pooled, mailing):
    """Both batches are prepared with the first codes, and told to the answers; the ledger lets each code go once."""
    assert mailing.send(1).sent == 1
    mailing.back_up()
    first, second = mailing.prepare(2), mailing.prepare(4)
    for batch in (second, first):
        send(
            batch,
            mailing.approve(batch),
            transport=mailing.way,
            confirm=len(batch),
            ledger=mailing.ledger,
            progress=False,
            clock=mailing.clock,
        )
    with Ledger.open(mailing.ledger) as ledger:
        given = ledger.coupons().set_index("code")["decision_id"].to_dict()
    mailing.put_back()
    mailing.reconcile(yes=True)
    with Ledger.open(mailing.ledger) as ledger:
        again = ledger.coupons().set_index("code")["decision_id"].to_dict()
    assert again.items() >= given.items()


def test_where_the_answers_are_gone_it_is_said_that_codes_are_lost(pooled, mailing):
    mailing.send(4)
    mailing.back_up()
    mailing.send(8)
    mailing.put_back()
    (mailing.folder / "answers.sqlite").unlink()
    assert "which codes of coupons were given (put new ones into their file)" in str(mailing.reconcile(yes=True))
