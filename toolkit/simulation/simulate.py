"""Simulate: a program, a log and a response model in, what it would bring out. Modelled, with intervals."""

from __future__ import annotations

from datetime import datetime

from toolkit.engine.doors import check_program
from toolkit.events import EventLog, SparkLog
from toolkit.scenario.models import Program, Scenario
from toolkit.simulation.doors import check_numbers, check_response
from toolkit.simulation.forecast import Forecast
from toolkit.simulation.model import ResponseModel
from toolkit.simulation.simulation import Simulation
from toolkit.simulation.spark import simulate_in_spark

__all__ = ["simulate"]


def simulate(
    program: Program | Scenario,
    log: EventLog | SparkLog,
    *,
    response: ResponseModel,
    draws: int = 200,
    seed: int = 1,
    level: float = 0.9,
    until: datetime | str | None = None,
    since: datetime | str | None = None,
    partitions: int | None = None,
    progress: bool = True,
) -> Forecast:
    """What a program would bring, if people answered as a response model says.

    The program runs over the log as in a replay, and every mail that goes is answered: opens, clicks, purchases and
    unsubscribes become events of that customer, which the program meets like any other. What people did on their own
    stays: their purchases in the log happen anyway, unless a mail pulls one forward. Each draw takes every number of
    the model from its range, so that intervals hold what is not known of the model, the chance of answers, and that
    another time other people come (as many as now).

    Args:
        program: one or many scenarios and the policies they share.
        log: what customers did, without these mails. Where it holds real mails of a scenario, what they caused counts
            as done anyway, and a note says so. A log in Spark (`EventLog.from_spark`) is simulated there, with the same
            numbers.
        response: how people answer.
        draws: how often; 200 give steady 90% intervals.
        seed: where chance comes from, any whole number. The same seed gives the same numbers, however many partitions;
            two programs simulated with one seed meet the same people in the same mood (common random numbers).
        level: share of an interval, between 0 and 1.
        until: the last moment that is decided; the end of the log unless given.
        since: journeys that began before this moment, with a time zone, count for nothing: where the people of a long
            log were others once (a note says so where it shows).
        partitions: in how many parts the customers are simulated at once; the number of processors unless given, in
            Spark as in `replay`.
        progress: show a progress bar where it takes longer than a moment.

    Returns:
        The forecast: `.table`, `.lift`, `.profit`, `.assumptions`, `.plot()`.

    Raises:
        ScenarioError: the program does not fit the log, or the model names a mail that is not in it.
        InputError: a number out of its range; a response that is no model; a log without purchases, or without their
            price where the model states none (`order.price`); a log too short to see what follows.
        NotSupportedError: coupons that may run out, over a log in Spark.

    >>> import pandas as pd
    >>> from toolkit.scenario import loads
    >>> log = EventLog.from_pandas(pd.DataFrame({
    ...     "customer_id": ["ana", "bo", "bo", "cy"], "event": ["cart_add", "cart_add", "purchase", "view"],
    ...     "at": ["2025-03-03T10:00Z", "2025-03-03T10:00Z", "2025-03-03T12:00Z", "2025-04-03T10:00Z"],
    ...     "revenue": [None, None, 30.0, None]}))
    >>> cart = loads('''
    ... scenario: cart
    ... trigger: {event: cart_add}
    ... reentry: once
    ... exit_on: [{event: purchase}]
    ... goal: {event: purchase, within: 7d, value: revenue}
    ... steps: [{wait: 1h}, {send: cart/reminder}]
    ... ''')
    >>> surely = ResponseModel.parse("{response: surely, buys: {rate: 1}, order: {margin: 0.5}}")
    >>> told = simulate(cart, log, response=surely, draws=20, seed=1, progress=False)
    >>> told.value("cart", "caused"), told.value("cart", "profit")
    (1.0, 15.0)
    """
    check_program(program, log)
    check_response(response)
    check_numbers(draws, level, seed)
    if isinstance(log, SparkLog):
        return simulate_in_spark(
            program, log, response=response, draws=draws, seed=seed, level=level, until=until, since=since,
            partitions=partitions,
        )  # fmt: skip
    simulation = Simulation(program, log, response=response, until=until, since=since, partitions=partitions)
    return simulation.run(draws=draws, seed=seed, level=level, progress=progress)
