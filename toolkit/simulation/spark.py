"""A simulation over a log in Spark: customers answer where their rows are, and what each draw counts is added up.

Chance is a hash of (seed, customer, mail), and a purchase that a mail brings about is picked from those of the whole
log, so that the numbers are those of one machine, to the last digit, however the customers are parted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial, reduce
from operator import add

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from toolkit.engine.runners.donors import Donors, all_donors
from toolkit.engine.runners.spark import check_parts
from toolkit.errors import NotSupportedError
from toolkit.events import EventLog, SparkLog
from toolkit.events.marks import mailed_scenarios
from toolkit.events.spark import Reader, gathered
from toolkit.scenario.models import Program, Scenario
from toolkit.simulation.doors import check_partitions
from toolkit.simulation.forecast import Forecast
from toolkit.simulation.model import ResponseModel
from toolkit.simulation.simulation import Counts, Simulation, asked_of, check_donors, donors_in

__all__ = ["simulate_in_spark"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """Everything that travels to a part."""

    program: Program
    response: ResponseModel
    until: datetime | str | None
    since: datetime | str | None
    reader: Reader
    stated: bool | None = None

    def donors(self, rows: pa.Table) -> Donors:
        """The purchases of one part."""
        log = EventLog.of_part(self.reader.read(rows))
        return donors_in(asked_of(self.program, log, self.response, self.until, stated=self.stated))

    def simulation(self, rows: pa.Table, donors: Donors) -> Simulation:
        """The people of one part, ready to answer."""
        log = EventLog.of_part(self.reader.read(rows))
        return Simulation(
            self.program,
            log,
            response=self.response,
            until=self.until,
            since=self.since,
            partitions=1,
            donors=donors,
            stated=self.stated,
        )

    def counts(self, rows: pa.Table, *, donors: Donors, values: Mapping[str, Floats], draws: int, seed: int) -> Counts:
        """What all draws count of the people of one part."""
        return self.simulation(rows, donors).counts(values, draws, seed)


def simulate_in_spark(
    program: Program | Scenario,
    log: SparkLog,
    *,
    response: ResponseModel,
    draws: int,
    seed: int,
    level: float,
    until: datetime | str | None,
    since: datetime | str | None,
    partitions: int | None,
) -> Forecast:
    """What `simulate` gives, over a log in Spark; only the kinds of purchases and the counts of draws come back.

    Args:
        program, log, response, draws, seed, level, until, since, partitions: as in `simulate`.

    Raises:
        ScenarioError, InputError: as in `simulate`.
        NotSupportedError: coupons that may run out: in each draw they would at another moment, for all parts together.
    """
    if isinstance(program, Scenario):
        program = Program(scenarios=(program,))
    check_partitions(partitions)
    has_prices = response.value in log.properties
    task = _Task(program, response, until, since, log.reader, stated=False if has_prices else None)
    nobody = log.nobody
    # Whether the program can be simulated shows without anybody, before a job starts.
    none = task.donors(nobody)
    blank = task.simulation(nobody, none)
    if blank.asked.compiled.pools:
        named = ", ".join(name for name, _ in blank.asked.compiled.pools)
        raise NotSupportedError(
            f"coupons that may run out ({named}) tie all customers together, in each draw at another moment, which "
            "Spark's parts cannot know; simulate a sample of the customers on one machine, or leave the pool out"
        )
    check_parts(blank.asked.compiled)
    rows = log.parts(partitions)
    donors = all_donors([none, *gathered(rows, task.donors)])
    if has_prices and not len(donors) and "order.price" in response.numbers:  # a column without a price in it
        task = replace(task, stated=True)
        donors = all_donors([task.donors(nobody), *gathered(rows, task.donors)])
    check_donors(donors, response)
    values = response.draws(draws, seed)
    told = gathered(rows, partial(task.counts, donors=donors, values=values, draws=draws, seed=seed))
    blank = task.simulation(nobody, donors)  # its notes know the usual price
    counts = reduce(add, told, blank.counts(values, draws, seed))
    blank.check_people(counts.silent)
    mailed = mailed_scenarios(log, up_to=blank.asked.until)
    return blank.forecast(counts, values, seed=seed, level=level, mailed=mailed)
