"""The commands about sending, from a shell."""

from __future__ import annotations

from datetime import timedelta
from email import message_from_bytes
from email.header import decode_header, make_header
from pathlib import Path

import pytest
from typer.testing import CliRunner

from toolkit.cli import app, ledgers
from toolkit.sending import Ledger, State
from toolkit.sending.clock import micros, utc_now
from toolkit.sending.ledger.planning import Entry, RunRecord, Signed
from toolkit.sending.ledger.waiting import left_over
from toolkit.sending.protocol import Receipt
from toolkit.tracking import Answers, TrackedMail


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def run(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        return result.exit_code, result.output

    return run


@pytest.fixture
def place(tmp_path):
    """A ledger with one mail in doubt."""
    now = micros(utc_now())
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        signed = Signed("approval", "ana", "{}", now, now + 3_600_000_000)
        entry = Entry("d1", "c1", "c1@example.org", "marketing", "m1@example.com", "0" * 64)
        ledger.plan(RunRecord("run", "0" * 64, "1" * 64, "smtp:here", 1, now, (signed,)), [entry])
        rows = ledger.start(ledger.claim("run", owner="a", limit=1, lease=60_000_000))
        ledger.record([(rows[0], Receipt("d1", State.UNKNOWN, reason="no answer"))])
    return path


def test_a_new_key_is_made_once_and_its_public_half_shown(shell, tmp_path):
    code, said = shell("keys", "new", tmp_path / "key.pem")
    assert code == 0
    assert "ssh-ed25519 " in said
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0
    assert "PRIVATE" not in said
    code, said = shell("keys", "new", tmp_path / "key.pem")
    assert (code, "is there already" in said) == (1, True)
    assert shell("keys", "show", tmp_path / "key.pem")[1].startswith("ssh-ed25519 ")


def test_the_audit_is_verified_and_a_changed_line_named(shell, place):
    code, said = shell("audit", "verify", "--ledger", place)
    assert (code, said.startswith("1 line, unbroken; head ")) == (0, True)
    assert shell("audit", "verify", "--ledger", place, "--head", "f" * 64)[0] == 1
    with Ledger.open(place) as ledger, ledger._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE audit SET actor = 'eve' WHERE seq = 1")
    code, said = shell("audit", "verify", "--ledger", place)
    assert (code, "audit line 1 (planned run): was changed" in said) == (1, True)


def test_a_doubt_is_shown_and_settled_by_a_person(shell, place):
    code, said = shell("status", "--ledger", place)
    assert code == 0
    assert "ana: 1 mail, done, 1 unknown" in said
    assert "in doubt: d1  c1@example.org  no answer  (customer c1, marketing)" in said
    code, said = shell("settle", "d1", "--ledger", place, "--by", "ana", "--assume-sent", "--why", "she wrote back")
    assert (code, said.strip()) == (0, "d1: taken as sent")
    assert "in doubt" not in shell("status", "--ledger", place)[1]
    assert shell("settle", "d1", "--ledger", place, "--by", "ana", "--send-again")[0] == 1


@pytest.fixture
def doubts(tmp_path):
    """A ledger of five mails, of which the first three are in doubt."""
    now, path = micros(utc_now()), tmp_path / "many.sqlite"
    with Ledger.open(path) as ledger:
        signed = Signed("approval", "ana", "{}", now, now + 3_600_000_000)
        mails = [(f"d{n}", f"c{n}", f"c{n}@example.org", "marketing", f"m{n}@example.com", "0" * 64) for n in range(5)]
        run = RunRecord("run", "0" * 64, "1" * 64, "smtp:here", 5, now, (signed,))
        ledger.plan(run, [Entry(*mail) for mail in mails])
        rows = ledger.start(ledger.claim("run", owner="a", limit=3, lease=60_000_000))
        ledger.record([(row, Receipt(row.decision_id, State.UNKNOWN, reason="no answer")) for row in rows])
    return path


def test_of_very_many_doubts_the_first_are_shown_and_all_of_them_when_asked_for(shell, doubts, monkeypatch):
    monkeypatch.setattr(ledgers, "_DOUBTS", 2)
    said = shell("status", "--ledger", doubts)[1]
    assert (said.count("@example.org  no answer"), "in doubt: 1 more; --all shows them" in said) == (2, True)
    said = shell("status", "--ledger", doubts, "--all")[1]
    assert (said.count("@example.org  no answer"), "more;" in said) == (3, False)


def test_a_doubt_whose_address_is_not_known_says_whose_mail_it_is_and_of_when(shell, tmp_path):
    now, path = utc_now(), tmp_path / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        signed = Signed("approval", "ana", "{}", micros(now), micros(now) + 3_600_000_000)
        mail = Entry("d1", "c1", "", "marketing", "m1@example.com", "0" * 64, 0.0, micros(now), "welcome", "hello")
        ledger.plan(RunRecord("run", "0" * 64, "1" * 64, "smtp:here", 1, micros(now), (signed,)), [mail])
        rows = ledger.start(ledger.claim("run", owner="a", limit=1, lease=60_000_000))
        ledger.record([(rows[0], Receipt("d1", State.UNKNOWN, reason="unknown_delivery"))])
    whose = f"(customer c1, welcome.hello of {now:%Y-%m-%d %H:%M} UTC)"
    assert f"in doubt: d1  (address unknown)  unknown_delivery  {whose}" in shell("status", "--ledger", path)[1]


def test_many_doubts_are_settled_at_once_by_a_file_or_a_run_and_a_count_all_or_none(shell, doubts, tmp_path):
    options = "--ledger", doubts, "--by", "ana", "--assume-sent", "--why", "the server's log"
    file = tmp_path / "ids.csv"
    file.write_text("# from the log of the server\nd0,c0\nd1 c1@example.org\nd0\n\n", encoding="utf-8")
    code, said = shell("settle", "--file", file, *options)
    assert (code, "there are 2 mails to settle: --confirm 2 settles them" in said) == (1, True)
    code, said = shell("settle", "d2", "d4", *options, "--confirm", "2")
    assert code == 1
    assert "d4 is planned; only an unknown mail can be settled; nothing was settled" in said
    with Ledger.open(doubts) as ledger:
        assert len(ledger.deliveries(state="unknown")) == 3
    assert shell("settle", "--file", file, *options, "--confirm", "2") == (0, "2 mails: taken as sent\n")
    assert shell("settle", "--run", "ru", "--ledger", doubts, "--by", "ben", "--send-again")[1] == (
        "d2: goes again with the next sending\n"
    )
    with Ledger.open(doubts) as ledger:
        assert ledger.deliveries()["state"].tolist() == ["accepted", "accepted", "planned", "planned", "planned"]
        audit = ledger.audit()
        settled = audit[audit["action"] == "settled"]
        assert settled[["actor", "subject"]].to_numpy().tolist() == [
            ["ana", "d0"],
            ["ana", "d1"],
            ["ben", "d2"],
        ]
        assert settled["detail"].str.contains("the server's log").tolist() == [True, True, False]
        assert ledger.verify() == ()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "name the mails in one way"),
        (("d0", "--run", "run"), "name the mails in one way"),
        (("--run", "other"), "0 runs with mails in doubt are called so"),
        (("--file", "nowhere.txt"), "--file nowhere.txt: cannot be read: No such file"),
    ],
    ids=["none", "two", "no run", "no file"],
)
def test_what_is_to_be_settled_is_named_in_one_way(shell, doubts, names, said):
    code, told = shell("settle", *names, "--ledger", doubts, "--by", "ana", "--assume-sent")
    assert (code, said in told) == (1, True)


def test_what_nobody_sends_any_more_says_since_when_and_what_to_do_and_is_cancelled(shell, doubts):
    with Ledger.open(doubts) as ledger:
        (row,) = ledger.start(ledger.claim("run", owner="a", limit=1, lease=60_000_000))
        later = {row.decision_id: micros(utc_now()) + 60_000_000}
        ledger.record([(row, Receipt("d3", State.DEFERRED, code=451, reason="greylisted"))], next_at=later)
    said = shell("status", "--ledger", doubts)[1]
    assert "  1 postponed by the other side (451 greylisted), to go again from " in said
    assert "  last tried " in said
    assert ", and nobody sends them now: `send` with the same batch goes on until " in said
    assert f"`toolkit cancel run --ledger {doubts} --by NAME` ends the rest" in said
    with Ledger.open(doubts, clock=lambda: utc_now() + timedelta(hours=2)) as ledger:
        *_, line = left_over(ledger, "run")
        assert "its approval was over " in line
    cancel = "cancel", "run", "--ledger", doubts, "--by", "ana"
    assert shell(*cancel) == (0, "run: 2 mails would not go, by no later batch either; --yes does it\n")
    assert (shell("cancel", "", *cancel[2:])[0], shell("cancel", "other", *cancel[2:])[0]) == (1, 1)
    assert shell(*cancel, "--yes") == (0, "run: cancelled; 2 mails will not go\n")
    assert "nobody sends them" not in shell("status", "--ledger", doubts)[1]


def test_a_ledger_that_is_not_there_is_not_made(shell, tmp_path):
    code, said = shell("status", "--ledger", tmp_path / "nowhere.sqlite")
    assert (code, "there is none" in said) == (1, True)
    assert not (tmp_path / "nowhere.sqlite").exists()


def test_an_approval_is_revoked(shell, place):
    assert shell("revoke", "approval", "--ledger", place, "--by", "ben")[1].startswith("revoked approval")
    with Ledger.open(place) as ledger:
        assert ledger.audit().iloc[-1].action == "revoked"


@pytest.mark.parametrize("mistyped", ["aproval.json", "0123456789ab", ""])
def test_a_mistyped_file_or_a_shortened_id_revokes_nothing(shell, place, tmp_path, monkeypatch, mistyped):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "approval.json").write_text("{}")
    code, said = shell("revoke", mistyped, "--ledger", place, "--by", "ben")
    if mistyped:
        assert f"no such file, and not the id of an approval: {mistyped!r}; allowed: all 64 digits" in said
    assert (code, "did you mean 'approval.json'?" in said) == (1, mistyped == "aproval.json")
    with Ledger.open(place) as ledger:
        assert ledger.audit().action.tolist() == ["planned"]


def test_an_approval_that_was_not_used_yet_is_revoked_by_its_whole_id_which_is_shown(shell, place):
    assert shell("revoke", "0a" * 32, "--ledger", place, "--by", "ben")[1] == f"revoked {'0a' * 32}; runs that end: 0\n"


def test_an_approval_is_not_revoked_in_a_ledger_that_is_not_there(shell, tmp_path):
    code, said = shell("revoke", "0a" * 32, "--ledger", tmp_path / "leger.sqlite", "--by", "ben")
    assert (code, "there is none" in said) == (1, True)
    assert not (tmp_path / "leger.sqlite").exists()


def test_a_sender_needs_to_know_who_approves(shell, tmp_path):
    options = ("--transport", f"outbox:{tmp_path}/out", "--ledger", tmp_path / "l.sqlite", "--once")
    code, said = shell("sender", tmp_path / "spool", *options, "--approvers", tmp_path / "approvers.yaml")
    assert (code, "cannot be read" in said) == (1, True)
    (tmp_path / "approvers.yaml").write_text("needed: 1\n")
    assert shell("sender", tmp_path / "spool", *options, "--approvers", tmp_path / "approvers.yaml") == (0, "")


def test_a_loop_needs_a_standing_approval(shell, tmp_path):
    words = ("run", "templates", "--events", "data/shop", "--transport", "outbox:x", "--ledger", "l")
    (tmp_path / "a.json").write_text("{}")
    code, output = shell(*words, "--approval", tmp_path / "a.json")
    assert (code, "is not an approval" in output) == (1, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["deliverability", "--ledger", "tpyo/ledger.sqlite"], "answers tpyo/answers.sqlite: there is none"),
        (["bounces", ".", "--ledger", "tpyo/ledger.sqlite"], "ledger tpyo/ledger.sqlite: there is none"),
        (["rotate-links", "--ledger", "tpyo/ledger.sqlite"], "tpyo/ledger.key: there is none"),
    ],
)
def test_a_mistyped_ledger_is_told_and_not_made(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert said in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_that_cannot_be_used_is_named_before_the_tracker_begins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none.pem").write_text("no certificate")
    program = str(Path(__file__).parents[2] / "templates" / "abandoned_cart")
    for options, said in (
        (["--certificate", "gone.pem"], "--certificate gone.pem: cannot be used: No such file or directory"),
        (["--certificate", "none.pem", "--key", "none.pem"], "--certificate none.pem, --key none.pem: cannot be used:"),
        (["--key", "none.pem"], "--key: belongs to --certificate"),
    ):
        done = CliRunner().invoke(app, ["track", "--program", program, "--port", "0", *options])
        assert done.exit_code == 1
        assert said in done.output


def test_a_paused_run_says_why_and_is_resumed_from_the_shell(shell, place):
    assert shell("pause", "run", "--ledger", place, "--by", "ben", "--why", "the server is moved")[0] == 0
    said = shell("status", "--ledger", place)[1]
    assert f"  paused by ben; `toolkit resume run --ledger {place} --by NAME` lets it go on" in said
    assert shell("resume", "run", "--ledger", place, "--by", "ben") == (
        0,
        "run: goes on with the next round or sending; failures and bounces are counted afresh\n",
    )
    assert "paused" not in shell("status", "--ledger", place)[1].replace(str(place), "")
    code, said = shell("resume", "run", "--ledger", place, "--by", "ben")
    assert (code, "run run is active; it cannot be resumed" in said) == (1, True)


def test_a_ledger_of_many_runs_shows_the_last_and_those_that_somebody_must_look_at(shell, tmp_path):
    now, path = micros(utc_now()), tmp_path / "many.sqlite"
    with Ledger.open(path) as ledger:
        for number in range(30):
            signed = Signed("approval", "ana", "{}", now, now + 3_600_000_000)
            entry = Entry(f"d{number}", "c1", "c1@example.org", "marketing", f"m{number}@example.com", "0" * 64)
            name = f"run{number:02d}"
            ledger.plan(RunRecord(name, "0" * 64, "1" * 64, "smtp:here", 1, now, (signed,)), [entry])
            rows = ledger.start(ledger.claim(name, owner="a", limit=1, lease=60_000_000))
            state = State.UNKNOWN if number == 3 else State.ACCEPTED
            ledger.record([(rows[0], Receipt(f"d{number}", state))])
    said = shell("status", "--ledger", path)[1]
    assert "9 earlier runs are done; --all shows them" in said
    assert [name for name in ("run03", "run04", "run09", "run10", "run29") if name in said] == [
        "run03",
        "run10",
        "run29",
    ]
    assert shell("status", "--ledger", path, "--all")[1].count("1 mail, ") == 30


def test_what_one_customer_was_sent_is_told_by_id_or_address(shell, place):
    for asked in ("c1", "C1@example.org"):
        code, said = shell("status", "--ledger", place, "--customer", asked)
        assert (code, "c1@example.org: unknown (no answer)" in said) == (0, True)
        assert "c1@example.org: not on the suppression list" in said
    assert shell("status", "--ledger", place, "--customer", "c2") == (0, "c2: no mail in this ledger\n")
    for reason, kinds in (("unsubscribed", "marketing mail"), ("hard_bounce", "mail")):
        shell("suppressions", "add", "c1@example.org", "--ledger", place, "--by", "ana", "--reason", reason)
        assert shell("status", "--ledger", place, "--customer", "c1")[1].endswith(f"gets no more {kinds}\n")


def test_a_mail_in_doubt_is_told_with_the_command_that_decides(shell, place):
    said = shell("status", "--ledger", place)[1]
    assert f"`toolkit settle ID --ledger {place} --by NAME` with --assume-sent, or --send-again" in said


def test_a_suppression_list_is_brought_along_before_the_first_mail(shell, tmp_path):
    old, ledger = tmp_path / "unsubscribed.csv", ("--ledger", tmp_path / "ledger.sqlite")
    old.write_text("Email Address,Date\nana@example.org,2024\nbo@example.org,2025\nnobody,2025\n")
    code, said = shell("suppressions", "import", old, *ledger, "--by", "ben", "--reason", "unsubscribed")
    assert (code, "there was none and it is made" in said) == (0, True)
    assert "added 2, already there 0, not an address 1" in said
    assert shell("suppressions", "show", "Ana@example.org", *ledger)[1].startswith(
        "unsubscribed (marketing mail) since "
    )
    assert shell("suppressions", "show", *ledger)[1] == "2 addresses\n  unsubscribed (marketing mail): 2\n"


def test_an_address_goes_onto_the_suppression_list_and_off_it_by_hand(shell, tmp_path):
    ledger = ("--ledger", tmp_path / "ledger.sqlite")
    assert "on the list now" in shell("suppressions", "add", "ana@example.org", *ledger, "--by", "ben")[1]
    assert "already" in shell("suppressions", "add", "ana@example.org", *ledger, "--by", "ben")[1]
    assert "1 line:" in shell("suppressions", "export", tmp_path / "list.csv", "--hashed", *ledger)[1]
    assert "ana@" not in (tmp_path / "list.csv").read_text()
    gone = ("suppressions", "remove", "ana@example.org", *ledger, "--by", "ben", "--why", "asked us to")
    assert shell(*gone) == (0, "ana@example.org: no longer on the list\n")
    assert shell(*gone) == (1, "ana@example.org: was not on the list\n")
    assert shell("suppressions", "show", "ana@example.org", *ledger)[1] == "ana@example.org: not on the list\n"
    code, said = shell("suppressions", "add", "nobody", *ledger, "--by", "ben")
    assert (code, "expected an address" in said) == (1, True)


def test_copies_of_what_is_due_are_sent_to_ones_own_address(shell, tmp_path, monkeypatch):
    root = Path(__file__).parents[2]
    monkeypatch.chdir(tmp_path)
    words = ["send-test", root / "templates", "--events", root / "data" / "shop", "--only", "abandoned_cart"]
    words += ["--transport", f"outbox:{tmp_path / 'copies'}"]
    code, said = shell(*words, "--to", "ana@shop.example", "--now", "2025-05-05T12:00Z")
    assert code == 0
    assert "6 of 6 test copies sent to ana@shop.example through outbox:" in said
    copies = [message_from_bytes(path.read_bytes()) for path in (tmp_path / "copies").glob("*.eml")]
    assert {copy["To"] for copy in copies} == {"ana@shop.example"}
    assert all(str(make_header(decode_header(copy["Subject"]))).startswith("[Test] ") for copy in copies)
    assert len(copies) == 6
    assert not Ledger.exists(tmp_path / "outbox" / "ledger.sqlite")
    code, said = shell(*words, "--to", "ana@shop.example", "--now", "2001-05-05T12:00Z")
    assert (code, "no mail is due at 2001-05-05T12:00Z; name a moment of the log with --now" in said) == (1, True)
    code, said = shell(*words, "--to", "ana", "--now", "2025-05-05T12:00Z")
    assert (code, "'ana' is no address" in said) == (1, True)


def test_the_board_of_a_shell_begins_where_it_is_told(shell, tmp_path):
    place = str(tmp_path / "answers.sqlite")
    march, april = 1_772_323_200_000_000, 1_775_001_600_000_000
    with Answers.open(place, clock=lambda: april) as store:
        for name, at in (("3nal3iqg2vqw7zeg", march), ("4nal3iqg2vqw7zeg", april)):
            mail = TrackedMail(
                *(name, name, "ana", "cart", "reminder", "cart/reminder", None, None, "marketing", "example.org", "en"),
                *(f"{name}@example.com", at),
            )
            store.register([mail])
            store.sent([(name, at, None)])

    def sent(*words: object) -> list[str]:
        said = shell("deliverability", "--answers", place, *words)[1]
        return [line.split()[1] for line in said.splitlines() if line.startswith("example.org")]

    assert (sent(), sent("--since", "2026-03-15T00:00Z")) == (["2"], ["1"])
    assert "--since needs a time zone" in shell("deliverability", "--answers", place, "--since", "2026-03-15")[1]
