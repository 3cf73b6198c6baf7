"""A tuned scenario beside the one it came from, as one scenario with an experiment: control, now, tuned."""

from __future__ import annotations

from typing import Any

from toolkit.errors import NotSupportedError
from toolkit.scenario.models import Experiment, Scenario, Send, Step, Wait, every_step
from toolkit.scenario.reading import loads
from toolkit.scenario.writing import dump

__all__ = ["as_experiment"]


def as_experiment(live: Scenario, tuned: Scenario, *, name: str) -> Scenario:
    """One scenario whose arms are control, `now` and `tuned`; steps that differ are there twice, each for its arm.

    Args:
        live: the scenario as it is.
        tuned: the same scenario with other waits or offers.
        name: of the experiment; people are drawn by it, so it must be new.

    Returns:
        The scenario. Control, a fifth, walks the way of `now` and gets nothing; the rest is shared by halves.

    Raises:
        NotSupportedError: the two differ in their steps, not only in what is set in them; or steps inside branches
            differ.
    """
    if [step.id for step in every_step(live.steps)] != [step.id for step in every_step(tuned.steps)]:
        raise NotSupportedError("the two scenarios have other steps; an experiment compares settings of the same steps")
    experiment = Experiment(name=name, arms={"control": 0.2, "now": 0.4, "tuned": 0.4}, holdout="control")
    steps: list[Step] = []
    for before, after in zip(live.steps, tuned.steps, strict=True):
        # What one arm of the earlier experiment got, both arms get now: they are compared as they are set.
        was, will = (one.model_copy(update={"only": ()}) for one in (before, after))
        if was == will:
            steps.append(was)
        elif isinstance(was, Send | Wait):
            steps.append(was.model_copy(update={"only": ("control", "now")}))
            steps.append(will.model_copy(update={"only": ("tuned",), "id": f"{will.id}_tuned"}))
        else:
            raise NotSupportedError(f"{before.id}: steps inside a branch differ; write this experiment in the file")
    made: Any = live.model_copy(update={"experiment": experiment, "steps": tuple(steps)})
    # Read back, so that it is checked like one that was written by hand.
    return loads(dump(made))[live.scenario]
