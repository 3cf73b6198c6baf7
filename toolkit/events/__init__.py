"""The events room: read, clean, check and store event logs."""

from toolkit.events.log import EventLog
from toolkit.events.outcome_table import OutcomeTable
from toolkit.events.profile import Profile
from toolkit.events.sources import UNFINISHED
from toolkit.events.spark import SparkLog
from toolkit.events.spark_outcomes import SparkOutcomes

__all__ = ["UNFINISHED", "EventLog", "OutcomeTable", "Profile", "SparkLog", "SparkOutcomes"]
