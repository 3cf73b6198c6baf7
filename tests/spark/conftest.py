"""A Spark with executors of their own, and logs that lie in files and in it."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.engine.test_ranges import PEOPLE
from toolkit.events import EventLog
from toolkit.events.spark import SparkLog, spark_session
from toolkit.simulation import generate_events


@pytest.fixture(scope="session")
def session():
    one = spark_session("local-cluster[2,1,1024]")
    one.sparkContext.setLogLevel("OFF")
    yield one
    one.stop()


@pytest.fixture(scope="session")
def both(session, tmp_path_factory):
    """One log of 20,000 events and 1,200 people, once as files and once in Spark."""
    place = tmp_path_factory.mktemp("spark")
    generate_events(20_000, place / "events.parquet", customers=900, seed=3)
    PEOPLE.to_parquet(place / "people.parquet")
    log = EventLog.from_parquet(place / "events.parquet", customers=PEOPLE)
    read = session.read.parquet
    return log, EventLog.from_spark(read(f"{place}/events.parquet"), customers=read(f"{place}/people.parquet"))


def _typed(kinds):
    """Types that a file keeps where a column is empty: of one whose type is null Spark reads whole numbers."""
    types = {"text": "string", "flag": "boolean", "empty": "string"}
    return {name: types[kind] for name, kind in kinds.items() if kind in types}


@pytest.fixture
def in_spark(session, tmp_path_factory):
    """The same log, written to files and read by Spark."""

    def read(log: EventLog) -> SparkLog:
        folder = tmp_path_factory.mktemp("log")
        log.events.astype(_typed(log.properties)).to_parquet(folder / "events.parquet")
        people = None
        if log.attributes:
            log.customers.astype(_typed(log.attributes)).to_parquet(folder / "people.parquet")
            people = session.read.parquet(f"{folder}/people.parquet")
        return EventLog.from_spark(session.read.parquet(f"{folder}/events.parquet"), customers=people)

    return read


@pytest.fixture
def frame_in_spark(session, tmp_path_factory):
    """The same frame in Spark, in several files."""

    def read(frame: pd.DataFrame):
        folder = tmp_path_factory.mktemp("frame")
        for number in range(3):
            frame.iloc[number::3].to_parquet(folder / f"part{number}.parquet", index=False)
        return session.read.parquet(str(folder))

    return read
