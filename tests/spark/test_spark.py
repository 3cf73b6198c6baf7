"""What Spark decides, in executors of their own, is what one machine decides."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pandas as pd
import pytest

from tests.engine.test_ranges import THREE
from tests.engine.test_real_logs import CART
from tests.reference.worlds import world
from tests.shared import shared
from toolkit.engine import measure, replay
from toolkit.errors import EventLogError, InputError, NotSupportedError, ScenarioError
from toolkit.events import EventLog
from toolkit.events.spark import gathered
from toolkit.scenario import loads

pytest.importorskip("pyspark", reason="pyspark is not installed: make spark installs it")
pytestmark = [
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java"),
    # Spark says that it was not tried with this pandas; nothing here goes through pandas in it.
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
GOAL = "goal: {event: purchase, within: 7d, value: value}\nsteps:\n  - {id: pause, wait: 1h}"


# --- the same decisions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_in_however_many_parts_the_digest_is_that_of_one_machine(both, parts):
    run = replay(loads(THREE), both[1], parts=parts)
    assert (run.compiled.plan.pool_until < 2**62).all()  # both pools run out, so that customers wait for each other
    assert run.digest == replay(loads(THREE), both[0]).digest


def test_reports_are_those_of_one_machine(both):
    local, spark = (replay(loads(THREE), log) for log in both)
    assert str(spark) == str(local)
    assert "'Mars/Base'" in str(spark)
    for name in ("by_hour", "by_day", "offers"):
        pd.testing.assert_frame_equal(getattr(spark.load(), name), getattr(local.load(), name))
    assert str(spark.overlap()) == str(local.overlap())


def test_a_period_is_that_of_one_machine(both):
    local, spark = (replay(loads(THREE), log) for log in both)
    middle = local.decisions["at"].iloc[len(local.decisions) // 2]
    mine, theirs = (run.between(middle).between(None, middle + pd.Timedelta(days=40)) for run in (local, spark))
    assert str(theirs) == str(mine)
    assert str(theirs.load()) == str(mine.load())
    assert str(theirs.overlap()) == str(mine.overlap())
    assert theirs.digest == mine.digest != spark.digest
    with pytest.raises(InputError, match="found a period of a run"):
        theirs.measure(scenario="cart", within="7d")


def test_a_column_without_a_type_is_compared_with_anything(session):
    rows = "'ana' AS customer_id, 'view' AS event, timestamp '2025-01-01 10:00:00' AS at, NULL AS coupon"
    log = EventLog.from_spark(session.sql(f"SELECT {rows}"))
    assert log.properties == {"coupon": "empty"}
    for where, mails in (("coupon = 'X'", 0), ("coupon > 3", 0), ("coupon is null", 1)):
        program = loads(
            f'{{scenario: s, reentry: once, trigger: {{event: view, where: "{where}"}}, steps: [{{send: a/b}}]}}'
        )
        assert replay(program, log).decisions.count() == mails


def test_journeys_and_decisions_are_spark_frames_of_the_same_columns(both):
    local, spark = (replay(loads(THREE), log) for log in both)
    assert spark.journeys.columns == list(local.journeys.columns)
    assert spark.decisions.columns == list(local.decisions.columns)
    sent = spark.decisions.where("status = 'send'").groupBy("scenario").count().collect()
    assert {row["scenario"]: row["count"] for row in sent} == (
        local.decisions.query("status == 'send'").groupby("scenario").size().to_dict()
    )


def test_outcomes_are_those_of_one_machine(both):
    program = loads(THREE.replace("steps:\n  - {id: pause, wait: 1h}", GOAL))
    local, spark = (replay(program, log) for log in both)
    here = measure(local, scenario="cart").sort_values("unit", ignore_index=True)
    there = spark.measure(scenario="cart").toArrow().to_pandas().sort_values("unit", ignore_index=True)
    assert len(here) > 300
    pd.testing.assert_frame_equal(there[list(here.columns)], here, check_dtype=False)


@pytest.mark.parametrize("wait", ["1h", "24h"])
def test_abandoned_carts_of_retailrocket_are_those_of_one_machine(in_spark, wait):
    path = shared("retailrocket_sample/eventlog.parquet")
    local = EventLog.from_parquet(path, columns={"at": "timestamp"}, zone="UTC")
    program = loads(CART.format(wait=wait))
    assert replay(program, in_spark(local), parts=3).digest == replay(program, local).digest


def random_worlds(in_spark, numbers):
    for number in numbers:
        one = world(number)
        local = one.log()
        asked = {"until": one.until, "count_logged_sends": one.count_logged_sends}
        if not len(local):
            continue
        try:
            found = replay(one.program, in_spark(local), parts=2, **asked).digest
        except NotSupportedError:
            assert "median" in str(one.program) or "gap" in str(one.program)
            continue
        assert found == replay(one.program, local, **asked).digest, number


def test_random_programs_on_random_logs_are_replayed_alike(in_spark):
    random_worlds(in_spark, range(8))


@pytest.mark.soak
def test_a_hundred_random_programs_on_random_logs_are_replayed_alike(in_spark):
    random_worlds(in_spark, range(100, 200))


@pytest.mark.parametrize("events", [50_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_a_customer_with_very_many_events_is_decided_whole(in_spark, events):
    at = pd.date_range("2025-01-01", periods=events, freq="7s", tz="UTC")
    rows = pd.DataFrame({"customer_id": "one", "event": ["cart_added", "view"] * (events // 2), "at": at})
    few = pd.DataFrame({"customer_id": [f"c{n}" for n in range(500)], "event": "cart_added", "at": at[:500]})
    local = EventLog.from_pandas(pd.concat([rows, few], ignore_index=True))
    program = loads(CART.format(wait="1h"))
    assert replay(program, in_spark(local), parts=4).digest == replay(program, local).digest


def test_an_executor_killed_in_the_middle_changes_nothing(both):
    want = replay(loads(THREE), both[0]).digest
    killed = []

    def kill():
        deadline = time.monotonic() + 30
        while not killed and time.monotonic() < deadline:
            time.sleep(0.5)
            found = subprocess.run(
                ["pgrep", "-f", "executor.CoarseGrainedExecutorBackend"], check=False, capture_output=True, text=True
            )
            for pid in found.stdout.split()[:1]:
                os.kill(int(pid), signal.SIGKILL)
                killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    run = replay(loads(THREE), both[1], parts=7)
    thread.join()
    assert killed
    assert run.digest == want


# --- what cannot be ---------------------------------------------------------------------------------------------------


def frame(session, query):
    return session.sql(query)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("'ana' AS customer, 'view' AS event, now() AS at", "did you mean columns={'customer_id': 'customer'}"),
        ("'ana' AS customer_id, 'view' AS event, now() AS at, 1 AS p, 2 AS p", "more than one column is called 'p'"),
        ("'ana' AS customer_id, 'view' AS event, now() AS at, 1 AS p, 2 AS P", "called 'P', 'p' .upper and lower case"),
        ("'ana' AS customer_id, 'view' AS event, '2025-01-01' AS at", "must be a timestamp"),
        ("1.5 AS customer_id, 'view' AS event, now() AS at", "string or a whole number"),
        ("'ana' AS customer_id, 'view' AS event, now() AS at, '{}' AS properties", "from_json"),
        ("'ana' AS customer_id, 'view' AS event, now() AS at, array(1) AS basket", "column 'basket' is array<int>"),
    ],
)
def test_a_column_that_cannot_be_used_is_named_before_a_job_starts(session, query, message):
    with pytest.raises(EventLogError, match=message):
        EventLog.from_spark(frame(session, f"SELECT {query}"))


def test_columns_are_called_as_in_a_log_on_this_machine(session):
    query = "SELECT 'ana' AS who, 'view' AS event, timestamp'2025-01-01' AS at, 'x' AS `row`, true AS person, 2 AS n"
    log = EventLog.from_spark(frame(session, query), columns={"customer_id": "who", "pieces": "n"})
    here = EventLog.from_pandas(
        pd.DataFrame({"who": ["ana"], "event": ["view"], "at": [pd.Timestamp("2025-01-01T00:00Z")], "row": ["x"],
                      "person": [True], "n": [2]}), columns={"customer_id": "who", "pieces": "n"},
    )  # fmt: skip
    assert (log.properties, log.properties.keys()) == (here.properties, {"row_property", "person", "pieces"})
    assert any("'row_property'" in note for note in log.notes)
    program = loads("""
scenario: seen
trigger: {event: view, where: person and row_property = 'x'}
reentry: every
steps: [{send: seen/mail}]
""")
    assert replay(program, log).journeys.count() == 1
    assert (log.carried("view"), log.carried("none")) == (("row_property", "person", "pieces"), ())
    never = replay(loads("scenario: x\ntrigger: {event: view, where: pieces > 5}\nreentry: every\nsteps: [exit]"), log)
    assert any("none of the 1 'view' events meets 'pieces > 5'" in note for note in never.notes)
    with pytest.raises(EventLogError, match=r"column 'event' is missing: .* gave it to 'what'"):
        EventLog.from_spark(frame(session, query), columns={"customer_id": "who", "what": "event"})


def test_a_row_without_a_customer_is_named(session):
    log = EventLog.from_spark(frame(session, "SELECT cast(null AS string) AS customer_id, 'x' AS event, now() AS at"))
    with pytest.raises(EventLogError, match="1 rows have no customer_id"):
        replay(loads(CART.format(wait="1h")), log)


def test_an_event_id_with_two_customers_is_refused(session):
    rows = "('ana', 'view', now(), 'e1'), ('bo', 'view', now(), 'e1')"
    log = EventLog.from_spark(frame(session, f"SELECT * FROM VALUES {rows} AS t(customer_id, event, at, event_id)"))
    with pytest.raises(EventLogError, match="'e1' stands with two customers, 'ana' and 'bo'"):
        replay(loads(CART.format(wait="1h")), log)


def test_a_program_that_asks_for_a_column_that_is_not_there_is_refused_before_a_job_starts(both):
    with pytest.raises(ScenarioError, match="valeu"):
        replay(loads(THREE.replace("value >= 20", "valeu >= 20")), both[1])


def test_a_spark_that_is_too_old_is_named():
    old = SimpleNamespace(sparkSession=SimpleNamespace(version="3.5.1"))
    with pytest.raises(NotSupportedError, match=r"Spark 3\.5\.1 is too old; 4\.1 or newer"):
        EventLog.from_spark(old)
    with pytest.raises(EventLogError, match="expected a Spark DataFrame or a path, found int"):
        EventLog.from_spark(3)


def elsewhere(code, **variables):
    """What a Python of its own says, in an environment that may lack something."""
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment, timeout=120
    )
    return done.stdout + done.stderr


START = (
    "from toolkit.events.spark import spark_session\nfrom toolkit.errors import NotSupportedError\n{before}\n"
    "try:\n    spark_session()\nexcept NotSupportedError as fault:\n    print(fault)\n"
)


def test_without_java_it_says_what_to_install(tmp_path):
    said = elsewhere(START.format(before=""), JAVA_HOME=str(tmp_path), PATH=str(tmp_path))
    assert "Spark needs Java 17 or newer, and found none that starts; on Debian: apt-get install" in said


def test_with_a_java_that_is_too_old_it_says_what_to_install(tmp_path):
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text("#!/bin/sh\necho 'UnsupportedClassVersionError: class file version 61.0' >&2\nexit 1\n")
    java.chmod(0o755)
    assert "Spark needs Java 17 or newer" in elsewhere(START.format(before=""), JAVA_HOME=str(tmp_path))


def test_without_pyspark_it_names_the_extra():
    said = elsewhere(START.format(before="import sys; sys.modules['pyspark.sql'] = None"))
    assert "Spark needs pyspark: pip install 'trigger-toolkit[spark]'" in said


def test_a_folder_that_is_not_there_is_named(session, tmp_path):
    with pytest.raises(EventLogError, match=r"nowhere: cannot be read by Spark as Parquet"):
        EventLog.from_spark(f"{tmp_path}/nowhere")


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ("'ana' AS customer", "customers: column 'customer_id' is missing; did you mean 'customer'"),
        ("'ana' AS customer_id, 'yes' AS consent", "'consent' must be true or false; found string"),
        ("explode(array('ana', 'ana')) AS customer_id", "each stands once; found 'ana' more than once"),
        ("'ana' AS customer_id, map('a', 1) AS tastes", "column 'tastes' is map<string,int>"),
    ],
)
def test_a_customers_table_that_cannot_be_used_is_named_before_a_job_starts(session, people, message):
    events = frame(session, "SELECT 'ana' AS customer_id, 'view' AS event, now() AS at")
    with pytest.raises(EventLogError, match=message):
        EventLog.from_spark(events, customers=frame(session, f"SELECT {people}"))


def test_executors_without_this_library_are_named(session):
    """What Spark says when a part cannot even be read back there."""
    log = EventLog.from_spark(frame(session, "SELECT 'ana' AS customer_id, 'view' AS event, now() AS at"))

    def lost(part):
        raise ModuleNotFoundError("No module named 'toolkit'", name="toolkit")

    with pytest.raises(NotSupportedError, match=r"Spark's executors lack this library \(No module named 'toolkit'\)"):
        gathered(log.parts(1), lost)
