"""The log that ships with the toolkit, made anew: `python -m toolkit.simulation.sample`.

It is the log of a shop in which the three scenarios of `templates/` below were at work, with the experiment of
abandoned_cart. When a rule of the engine or one of these scenarios changes, make it anew and commit it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from toolkit.scenario import Program, load
from toolkit.simulation.mailed import MailedShop, mailed
from toolkit.simulation.shop import shop

__all__ = ["SCENARIOS", "sample_program", "sample_shop"]

SCENARIOS = ("welcome", "abandoned_cart", "order_status")
_CUSTOMERS, _DAYS, _SEED, _START = 5500, 120, 5, "2025-01-06"


def sample_program(templates: str | PathLike[str] = "templates") -> Program:
    """The program that is at work in the sample.

    Args:
        templates: folder that holds a folder for each scenario, and policies.yaml.

    Returns:
        welcome, abandoned_cart and order_status with their policies.

    Raises:
        ScenarioError: a file is missing or wrong.
    """
    programs = [load(Path(templates) / name) for name in SCENARIOS]
    return Program(
        scenarios=tuple(program[name] for program, name in zip(programs, SCENARIOS, strict=True)),
        policies=programs[0].policies,
    )


def sample_shop(templates: str | PathLike[str] = "templates") -> MailedShop:
    """The shop whose log is the sample: 5,500 customers over 120 days, in about ten seconds.

    Args:
        templates: as for `sample_program`.

    Returns:
        The shop with its mails, and the truth behind them.
    """
    return mailed(shop(_CUSTOMERS, _DAYS, seed=_SEED, start=_START), sample_program(templates))


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the sample and store it."""
    parser = argparse.ArgumentParser(
        prog="python -m toolkit.simulation.sample", description="Make the sample log anew."
    )
    parser.add_argument("folder", nargs="?", default="data/shop", help="where to store it (default: %(default)s)")
    parser.add_argument("--templates", default="templates", help="folder of the scenarios (default: %(default)s)")
    options = parser.parse_args(arguments)
    sample_shop(options.templates).shop.log().save(options.folder)


if __name__ == "__main__":
    main()
