"""Outcomes in a bucket, behind a real HTTP server that speaks S3, give the numbers of the same outcomes as a frame."""

from __future__ import annotations

import boto3
import numpy as np
import pandas as pd
import pytest
from moto.server import ThreadedMotoServer

from toolkit.errors import EventLogError, MetricError
from toolkit.stats import Mean, Quantile, Rate, Ratio, experiment

METRICS = [
    Rate("converted"),
    Mean("revenue", covariate="pre_revenue"),
    Ratio("clicks", "mails"),
    Quantile("revenue", q=0.9),
]


@pytest.fixture(scope="module")
def outcomes() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    count = 3_000
    mailed, before, mails = rng.random(count) < 0.5, rng.gamma(2, 15, count), rng.integers(1, 5, count)
    return pd.DataFrame(
        {
            "unit": [f"c{at}" for at in range(count)],
            "arm": np.where(mailed, "mail", "control"),
            "converted": rng.random(count) < 0.1 + 0.05 * mailed,
            "revenue": before + rng.gamma(2, 10, count),
            "pre_revenue": before,
            "mails": mails,
            "clicks": rng.binomial(mails, 0.2),
        }
    )


@pytest.fixture
def bucket(outcomes, tmp_path, monkeypatch):
    """Three files in a bucket of a server on loopback, which the usual variables name."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        for name, value in {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="shop-data")
        for number in range(3):
            outcomes.iloc[1_000 * number : 1_000 * (number + 1)].to_parquet(tmp_path / "part.parquet", index=False)
            client.upload_file(str(tmp_path / "part.parquet"), "shop-data", f"outcomes/part-{number}.parquet")
        yield "s3://shop-data/outcomes/"
    finally:
        server.stop()


def test_outcomes_in_a_bucket_have_the_lift_of_the_frame(bucket, outcomes):
    ours, theirs = experiment(bucket, METRICS), experiment(outcomes, METRICS)
    pd.testing.assert_frame_equal(ours.table, theirs.table, rtol=1e-12, check_dtype=False)
    assert ours.verdict() == theirs.verdict()


def test_what_is_not_there_is_named_before_anything_is_read(bucket):
    with pytest.raises(EventLogError, match=r"s3://shop-data/nothing/: cannot be read as Parquet"):
        experiment("s3://shop-data/nothing/", METRICS)
    with pytest.raises(EventLogError, match=r"s3://other-data/outcomes/: cannot be read as Parquet"):
        experiment("s3://other-data/outcomes/", METRICS)
    with pytest.raises(MetricError, match=r"'revenu'.*'revenue'"):
        experiment(bucket, [Mean("revenu")])
