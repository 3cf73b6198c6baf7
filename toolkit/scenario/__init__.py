"""The language: what a scenario is, read from YAML, checked, and held as frozen objects."""

from toolkit.scenario.checks import check, check_against
from toolkit.scenario.duration import Duration, TimeOfDay
from toolkit.scenario.expression import Expression
from toolkit.scenario.models import Policies, Program, Scenario
from toolkit.scenario.parameters import get_parameter, parameters, set_parameters
from toolkit.scenario.reading import load, loads
from toolkit.scenario.schema import schema, write_schema
from toolkit.scenario.words import describe
from toolkit.scenario.writing import content_hash, dump

__all__ = [
    "Duration",
    "Expression",
    "Policies",
    "Program",
    "Scenario",
    "TimeOfDay",
    "check",
    "check_against",
    "content_hash",
    "describe",
    "dump",
    "get_parameter",
    "load",
    "loads",
    "parameters",
    "schema",
    "set_parameters",
    "write_schema",
]
