"""The command does what the functions do, and says what is wrong in one line."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from tests.shared import ROOT, shared
from toolkit.cli import app, main
from toolkit.events import EventLog

RUN = CliRunner()


def test_replay_of_a_file_with_columns_mapped(tmp_path: Path) -> None:
    events = tmp_path / "events.csv"
    events.write_text("visitor,event,timestamp,value\nana,cart_add,2025-03-03T10:00Z,30\nbo,view,2025-03-09T10:00Z,\n")
    done = RUN.invoke(
        app,
        [
            "replay",
            str(ROOT / "templates/abandoned_cart"),
            "--events",
            str(events),
            "--map",
            "at=timestamp,customer_id=visitor",
            "--set",
            "abandoned_cart.goal.value=null",
            "--trace",
            "ana",
            "--out",
            str(tmp_path / "out"),
        ],
    )
    assert done.exit_code == 0, done.output
    assert "abandoned_cart" in done.output
    assert "begins" in done.output
    assert (tmp_path / "out/decisions.csv").read_text().count("\n") >= 2


def test_a_file_of_other_habits_is_read_by_every_command_and_its_faults_name_options(tmp_path: Path) -> None:
    events = tmp_path / "events.csv"
    written = "zoé;cart_add;03.04.2025 10:00;30,50\r\nbo;view;09.04.2025 10:00;\r\n"
    events.write_bytes(f"sep=;\r\ncustomer_id;event;at;value\r\n{written}".encode("cp1252"))
    asked = ["replay", str(ROOT / "templates/abandoned_cart"), "--events", str(events), "--trace", "zoé"]
    asked += ["--set", "abandoned_cart.goal.value=null"]
    told = []
    for more in ("--encoding=cp1252", "--date-format=day first", "--zone=Europe/Paris", "--decimal=,"):
        told.append(RUN.invoke(app, asked).output)
        asked.append(more)
    assert (
        "line 3 is not in UTF-8; allowed: UTF-8 and UTF-16; or say which it is, for example --encoding 'cp1252'"
        in told[0]
    )
    assert "say which it is: --date-format 'day first' or --date-format 'month first'" in told[1]
    assert "say which zone they are in, for example --zone 'Europe/Paris' or --zone 'UTC'" in told[2]
    assert "value" in told[3]
    done = RUN.invoke(app, asked)
    assert (done.exit_code, "2025-04-03 10:00" in done.output) == (0, True), done.output
    parquet = ["profile", "--events", str(tmp_path / "events.parquet"), "--decimal", ","]
    assert "is read as Parquet; --decimal: for CSV files alone" in RUN.invoke(app, parquet).output


def test_columns_of_both_tables_are_mapped_and_faults_are_told_in_the_words_of_a_shell(tmp_path: Path) -> None:
    events, people, more = (tmp_path / name for name in ("events.csv", "people.csv", "more.csv"))
    events.write_text("visitor,event,timestamp\nana,view,2025-03-03T10:00Z\n")
    more.write_text("visitor,event,timestamp\nana,view,2025-03-04T10:00Z\n")
    people.write_text("nr,mail,consent\nana,ana@example.org,yes\n")
    asked = ["compact", str(ROOT / "templates/welcome"), "--events", str(events), "--customers", str(people)]
    asked += ["--into", str(tmp_path / "store"), "--later", str(more)]
    done = RUN.invoke(app, [*asked, "--map", "at=timestamp,customer_id=visitor"])
    assert (done.exit_code, "did you mean --map customers.customer_id=" in done.output) == (1, False), done.output
    assert "name yours with --map customers.customer_id=..." in done.output
    every = "at=timestamp,customer_id=visitor,customers.customer_id=nr,customers.email=mail"
    done = RUN.invoke(app, [*asked, "--map", every])
    assert (done.exit_code, "2 events" in done.output) == (0, True), done.output
    done = RUN.invoke(app, ["profile", "--events", str(events), "--map", "at=timestamp"])
    assert "column 'customer_id' is missing; name yours with --map;" in done.output


def test_the_shipped_cart_scenario_runs_on_a_real_log_with_its_own_event_names() -> None:
    path = shared("retailrocket_sample/eventlog.parquet")
    args = ["replay", str(ROOT / "templates/abandoned_cart"), "--events", str(path), "--map", "at=timestamp"]
    changed = ["--set", "abandoned_cart.trigger={event: cart_added}", "--set", "abandoned_cart.goal.value=null"]
    done = RUN.invoke(app, [*args, "--zone", "UTC", *changed])
    assert done.exit_code == 0, done.output
    assert "discount" in done.output


def test_a_period_of_a_replay_is_shown_and_written(tmp_path: Path) -> None:
    asked = ["replay", str(ROOT / "templates/abandoned_cart"), "--events", str(ROOT / "data/shop")]
    asked += ["--since", "2025-03-01T00:00+01:00", "--before", "2025-04-01T00:00+02:00", "--out", str(tmp_path)]
    done = RUN.invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "Replay, 2025-03-01 to 2025-03-31 (exact)" in done.output
    days = pd.to_datetime(pd.read_csv(tmp_path / "decisions.csv")["at"], format="ISO8601").dt.tz_convert("Europe/Paris")
    assert set(days.dt.strftime("%Y-%m")) == {"2025-03"}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["replay", "templates/welcome", "--events", "data/shop", "--before", "soon"], "--before"),
        (
            ["replay", "templates/welcome", "--events", "data/shop", "--since", "2035-01-01T00:00Z"],
            "nothing was decided",
        ),
        (["replay", "templates/abandoned_cart", "--events", "nowhere.csv"], "nowhere.csv"),
        (["replay", "templates/abandoned_crat", "--events", "data/shop"], "abandoned_cart"),
        (["replay", "templates/welcome", "--events", "data/shop", "--map", "at"], "--map"),
        (["replay", "templates/welcome", "--events", "data/shop", "--until", "soon"], "--until"),
        (["replay", "templates/welcome", "--events", "data/shop", "--set", "welcome.trigger"], "--set"),
        (
            ["replay", "templates/welcome", "--events", "data/shop", "--set", "welcome.goal.withn=3d"],
            "welcome.goal.within",
        ),
        (
            ["replay", "templates/welcome", "--events", "data/shop", "--until", "2025-02-01"],
            "--until needs a time zone",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(args: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = RUN.invoke(app, args)
    assert done.exit_code == 1
    assert said in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("2025-02-01", "for example '2025-02-01T00:00Z', which is UTC"),
        ("2025-02-01 10:30", "for example '2025-02-01T10:30Z', which is UTC"),
        ("2025-02-01T10:30:07", "for example '2025-02-01T10:30:07Z', which is UTC"),
        ("2025-02-01Z", "for example '2025-03-04T00:00Z'"),
        ("", "for example '2025-03-04T00:00Z'"),
        ("NaT", "for example '2025-03-04T00:00Z'"),
        ("9" * 40, "for example '2025-03-04T00:00Z'"),
    ],
)
def test_what_is_proposed_for_until_is_accepted(
    until: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    args = ["replay", "templates/welcome", "--events", str(_three_events(tmp_path)), "--until"]
    done = RUN.invoke(app, [*args, until])
    assert done.exit_code == 1
    assert said in done.output
    proposed = re.search(r"\d\S+Z", said)[0]
    assert RUN.invoke(app, [*args, proposed]).exit_code == 0


def _three_events(folder: Path) -> Path:
    events = folder / "events.csv"
    events.write_text(
        "customer_id,event,at,revenue\nana,sign_up,2025-01-03T10:00Z,\nbo,sign_up,2025-01-04T10:00Z,\n"
        "ana,purchase,2025-01-05T10:00Z,30\n"
    )
    return events


@pytest.mark.parametrize(("out", "why"), [("events.csv", "it is a file"), ("events.csv/deep", "Not a directory")])
def test_a_place_that_cannot_be_written_to_is_refused_before_the_replay(
    out: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(
        "toolkit.cli.replays.replay", lambda *_, **__: pytest.fail("replayed before --out was looked at")
    )
    events = _three_events(tmp_path)
    done = RUN.invoke(app, ["replay", "templates/welcome", "--events", str(events), "--out", str(tmp_path / out)])
    assert done.exit_code == 1
    assert f"InputError: --out: {tmp_path / out}: cannot be written to: {why}; allowed: a folder" in done.output


def test_a_customer_who_is_not_in_the_log_is_told_before_the_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    args = ["replay", "templates/welcome", "--events", str(_three_events(tmp_path)), "--trace"]
    done = RUN.invoke(app, [*args, "bo"])
    assert done.exit_code == 0, done.output
    monkeypatch.setattr(
        "toolkit.cli.replays.replay", lambda *_, **__: pytest.fail("replayed before --trace was looked at")
    )
    done = RUN.invoke(app, [*args, "nobody"])
    assert done.exit_code == 1
    assert "InputError: no customer 'nobody' in the log" in done.output


def test_a_folder_of_files_is_read_and_one_of_nothing_is_refused(tmp_path: Path) -> None:
    events = _three_events(tmp_path)
    (tmp_path / "more.csv").write_text("customer_id,event,at,revenue\nbo,purchase,2025-01-06T10:00Z,5\n")
    done = RUN.invoke(app, ["profile", "--events", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "4 events" in done.output
    parquet = tmp_path / "parquet"
    parquet.mkdir()
    EventLog.from_csv(events).events.drop(columns="received_at").to_parquet(parquet / "events.parquet")
    done = RUN.invoke(app, ["profile", "--events", str(parquet)])
    assert "3 events" in done.output
    (tmp_path / "empty").mkdir()
    done = RUN.invoke(app, ["profile", "--events", str(tmp_path / "empty")])
    assert done.exit_code == 1
    assert "is not a stored event log" in done.output


def test_a_table_that_cannot_be_written_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (tmp_path / "out/journeys.csv").mkdir(parents=True)
    args = ["replay", "templates/welcome", "--events", str(_three_events(tmp_path)), "--out", str(tmp_path / "out")]
    done = RUN.invoke(app, args)
    assert done.exit_code == 1
    assert "cannot be written to: Is a directory" in done.output


def test_describe_and_profile_and_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert "abandoned_cart" in RUN.invoke(app, ["describe", "templates/abandoned_cart"]).output
    made = RUN.invoke(app, ["shop", str(tmp_path / "shop"), "--customers", "50", "--days", "30"])
    assert made.exit_code == 0, made.output
    assert "sign_up" in RUN.invoke(app, ["profile", "--events", str(tmp_path / "shop")]).output


def test_describe_warns_of_what_has_no_effect(tmp_path: Path) -> None:
    scenario = tmp_path / "receipt.yaml"
    scenario.write_text(
        "{scenario: receipt, class: transactional, trigger: {event: purchase}, reentry: every,\n"
        " quiet: {from: '22:00', to: '08:00'}, steps: [{send: receipt/hello}]}"
    )
    done = RUN.invoke(app, ["describe", str(scenario)])
    assert done.exit_code == 0, done.output
    said = f"\n\nwarning: {scenario}:2: receipt.quiet: transactional mails ignore `quiet`\n"
    assert done.output.endswith(said)


def test_an_unknown_command_names_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["toolkit", "repaly"])
    with pytest.raises(SystemExit):
        main()
    assert "did you mean 'replay'?" in capsys.readouterr().err


def test_the_demo_outside_the_project_says_where_to_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = RUN.invoke(app, ["demo"])
    assert done.exit_code == 1
    assert "project's own folder" in done.output


def test_a_compact_log_goes_on_day_by_day(tmp_path: Path) -> None:
    history, today, customers = tmp_path / "history.csv", tmp_path / "today.csv", tmp_path / "customers.csv"
    history.write_text("visitor,event,at\nana,cart_add,2025-03-03T10:00Z\nbo,product_view,2025-03-03T10:00Z\n")
    today.write_text("visitor,event,at\nana,cart_add,2025-03-03T10:00Z\ncy,cart_add,2025-03-05T10:00Z\n")
    customers.write_text("customer_id,email,consent\nana,ana@example.org,true\ncy,cy@example.org,true\n")
    scenario = tmp_path / "cart.yaml"
    scenario.write_text(
        "{scenario: cart, trigger: {event: cart_add}, reentry: every, steps: [{wait: 1h}, {send: cart/hello}]}"
    )
    cart, state = str(scenario), str(tmp_path / "state")
    mapped = ["--map", "customer_id=visitor", "--customers", str(customers)]
    done = RUN.invoke(app, ["compact", cart, "--events", str(history), "--into", state, *mapped])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [f"2 events, 2 kept in {state}", "left out: product_view"]
    later = ["--later", str(today), "--map", "customer_id=visitor"]
    done = RUN.invoke(app, ["compact", cart, "--events", state, "--into", state, *later])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("3 events, 3 kept")
    whole = RUN.invoke(app, ["replay", cart, "--events", str(history), *later, *mapped[2:]])
    kept = RUN.invoke(app, ["replay", cart, "--events", state])
    assert whole.exit_code == kept.exit_code == 0, whole.output
    assert whole.output.split("\n\n")[:2] == kept.output.split("\n\n")[:2]


def test_a_file_of_customers_is_erased_from_by_the_word_that_reads_it(tmp_path: Path) -> None:
    events, people = tmp_path / "events.csv", tmp_path / "people.csv"
    events.write_text("customer_id,event,at\nana,view,2025-03-03T10:00Z\nbo,view,2025-03-03T10:00Z\n", encoding="utf-8")
    people.write_text("customer_id,email\nana,ana@example.org\nbo,bo@example.org\n", encoding="utf-8")
    done = RUN.invoke(app, ["erase", "ana", "--by", "me", "--events", str(events), "--customers", str(people), "--yes"])
    assert (done.exit_code, people.read_text(encoding="utf-8")) == (0, "customer_id,email\nbo,bo@example.org\n")
    assert "ana" not in events.read_text(encoding="utf-8")


def test_a_file_whose_ending_is_in_capitals_is_read_and_erased_from_as_csv(tmp_path: Path) -> None:
    events = tmp_path / "EVENTS.CSV"
    events.write_text("customer_id,event,at\nana,view,2025-03-03T10:00Z\nbo,view,2025-03-09T10:00Z\n")
    done = RUN.invoke(app, ["profile", "--events", str(events)])
    assert "2 events of 2 customers" in done.output
    done = RUN.invoke(app, ["erase", "ana", "--by", "me", "--events", str(events), "--yes"])
    assert done.exit_code == 0, done.output
    assert events.read_text() == "customer_id,event,at\nbo,view,2025-03-09T10:00Z\n"
