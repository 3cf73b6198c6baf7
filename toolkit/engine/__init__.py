"""The engine room: compile, replay, sweep and measure. Pure: the same input gives the same bytes."""

from toolkit.engine.columns import column_words
from toolkit.engine.compaction import compact
from toolkit.engine.difference import CHANGES, Difference
from toolkit.engine.hashing import uniform
from toolkit.engine.instructions import Assumption
from toolkit.engine.load import Load
from toolkit.engine.measure import measure
from toolkit.engine.overlap import Overlap
from toolkit.engine.own_purchases import OwnPurchases, own_purchases
from toolkit.engine.replay import replay
from toolkit.engine.run import Run
from toolkit.engine.selection import Selection
from toolkit.engine.sends import sends_table
from toolkit.engine.summary import Summary
from toolkit.engine.sweep import OBSERVED, Sweep, sweep
from toolkit.engine.trace import Trace

__all__ = [
    "CHANGES",
    "OBSERVED",
    "Assumption",
    "Difference",
    "Load",
    "Overlap",
    "OwnPurchases",
    "Run",
    "Selection",
    "Summary",
    "Sweep",
    "Trace",
    "column_words",
    "compact",
    "measure",
    "own_purchases",
    "replay",
    "sends_table",
    "sweep",
    "uniform",
]
