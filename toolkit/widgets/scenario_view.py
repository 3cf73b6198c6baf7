"""The scenario as a diagram: people flowing through it, and every step open to be changed, with undo."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from toolkit.charts.diagram import diagram
from toolkit.charts.sends import span_text
from toolkit.engine import Run, replay
from toolkit.engine.flow import answers_of
from toolkit.engine.unmet import nobody_enters
from toolkit.errors import InputError, ScenarioError, listed
from toolkit.events import EventLog
from toolkit.events.mail_counts import StepAnswers
from toolkit.scenario import Program, Scenario, dump, load, set_parameters
from toolkit.scenario.models import Offer, Send, Step, every_step
from toolkit.widgets.guard import told
from toolkit.widgets.jobs import Job, Jobs
from toolkit.widgets.markup import Html, button, chip, note, tag, together
from toolkit.widgets.panel import Panel
from toolkit.widgets.step_sheet import number_typed, step_sheet, whole_number_typed
from toolkit.widgets.versions import File, save_version

__all__ = ["ScenarioView"]

_ANSWERS = (
    " In the dashed boxes: the mails that really went, as the log tells, and how people answered them, each mail once, "
    "shares of those that arrived. Opened and clicked: at least by people, at most with those that may be a machine's; "
    "what machines opened or clicked is left out. What followed a mail is not what it brought: only an experiment "
    "says that."
)


class ScenarioView(Panel):
    """A scenario as a diagram. Press a step to change its wait, its offer or the arms that get it.

    With a log, the counts of a replay flow through it (exact), and are counted anew after each change, beside the
    notebook. Where the log holds mails of the scenario, each step says how people answered those (observed). Nothing
    is written to disk before somebody presses a button that says so.

    Args:
        program: one or many scenarios and their policies; or one scenario.
        log: what customers did; without one, no counts are shown.
        scenario: which one; needed where the program has several.
        path: its YAML file, to save to; the view then tells when the file changes on the disk.
        versions: the folder for numbered versions.
        until: the last moment decided; the end of the log unless given.

    Attributes:
        value: the scenario as it is now, frozen.
        program: the program with it.
        run: the last replay, or None.

    Raises:
        ScenarioError: no program, or one that has no such scenario, or several and none was named.
        InputError: a log that is none.

    >>> from toolkit.scenario import load
    >>> view = ScenarioView(load("templates/abandoned_cart"))
    >>> view.set("pause.wait", "2h")
    >>> view.value.steps[0].wait
    Duration('2h')
    >>> view.undo()
    >>> view.value.steps[0].wait
    Duration('4h')
    """

    def __init__(
        self,
        program: Program | Scenario,
        log: EventLog | None = None,
        *,
        scenario: str | None = None,
        path: str | os.PathLike[str] | None = None,
        versions: str | os.PathLike[str] = "versions",
        until: datetime | None = None,
    ) -> None:
        whole = _whole(program, log)
        self._name = _named(whole, scenario)
        self.program = self._saved = whole
        self._log, self._until = log, until
        self._file = None if path is None else File(path)
        self._versions = Path(versions)
        self._before: list[Program] = []
        self._after: list[Program] = []
        self._chosen: str | None = None
        self._page = ""
        self._drafts: dict[str, tuple[str, str]] = {}
        self._said = ""
        self._jobs = Jobs()
        self._is_counting = False
        self.run: Run | None = None if log is None else replay(whole, log, until=until)
        self._answers = self._answered(self.run)
        super().__init__(title=f"Scenario {self._name.replace('_', ' ')}")
        self.redraw()

    # --- what it holds ------------------------------------------------------------------------------------------------

    @property
    def value(self) -> Scenario:
        """The scenario as it is now."""
        return self.program[self._name]

    def set(self, path: str, value: Any) -> None:
        """Change one thing.

        Args:
            path: below the scenario, for example `pause.wait` or `offer.offer.percent`.
            value: as in `toolkit.scenario.set_parameters`.

        Raises:
            ScenarioError: no such path, or a value that is not allowed there; nothing is changed.
        """
        self._take(set_parameters(self.program, {f"{self._name}.{path}": value}))
        self.redraw()

    def undo(self) -> None:
        """Back to how it was before the last change."""
        if self._before:
            self._after.append(self.program)
            self._moved_to(self._before.pop())

    def redo(self) -> None:
        """Forward again to what was undone last."""
        if self._after:
            self._before.append(self.program)
            self._moved_to(self._after.pop())

    def diff(self) -> str:
        """What differs from the scenario as it was given, or saved last; a unified diff of the YAML, "" for nothing."""
        lines = difflib.unified_diff(
            dump(self._saved[self._name]).splitlines(), dump(self.value).splitlines(), "saved", "now", lineterm=""
        )
        return "\n".join(lines)

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until the counts are made."""
        self._jobs.wait(seconds)

    # --- what is pressed ----------------------------------------------------------------------------------------------

    def act_step(self, value: Any) -> None:
        """A step was pressed."""
        self._chosen = None if value == self._chosen else value
        self._drafts.clear()
        self._said = ""

    def act_page(self, value: Any) -> None:
        """Show the YAML or the differences."""
        self._page = "" if value == self._page else str(value)

    def act_undo(self, value: Any) -> None:
        """Undo."""
        self.undo()

    def act_redo(self, value: Any) -> None:
        """Redo."""
        self.redo()

    def act_close(self, value: Any) -> None:
        """Close the step's sheet."""
        self._chosen = None
        self._drafts.clear()

    def act_wait(self, value: Any) -> None:
        """Another wait was typed."""
        self._typed("wait", value)

    def act_until(self, value: Any) -> None:
        """Another time of day was typed."""
        self._typed("wait.until", value)

    def act_within(self, value: Any) -> None:
        """Another deadline was typed."""
        self._typed("wait_for.within", value)

    def act_repeat(self, value: Any) -> None:
        """Another number of times was typed."""
        self._typed("repeat", value, of=whole_number_typed)

    def act_percent(self, value: Any) -> None:
        """Another discount was typed; nothing, or 0, takes it out."""
        self._typed_offer("percent", value)

    def act_valid(self, value: Any) -> None:
        """Another validity was typed; nothing means without end."""
        self._typed_offer("valid", value)

    def act_shipping(self, value: Any) -> None:
        """Free shipping was turned on or off."""
        self._typed_offer("free_shipping", bool(value))

    def act_arm(self, value: Any) -> None:
        """An arm gets this mail, or does not any more."""
        step = self._step()
        arms = list(self.value.experiment.arms) if self.value.experiment else []
        now = set(step.only or arms) ^ {str(value)}
        if not now:
            raise InputError(f"{step.id}: at least one arm has to get it; take the step out of the file instead")
        kept = [arm for arm in arms if arm in now]
        self._typed("only", () if len(kept) == len(arms) else tuple(kept))

    def act_save(self, value: Any) -> None:
        """Write the scenario to its file; what stood there is kept as a version."""
        if self._file is None:
            raise InputError("this view was given no path= to save to; save a version instead")
        before = self._file.check(self._name)
        kept = save_version(self._saved[self._name], self._versions, note="before a change", text=before)
        self._file.write(self.value)
        self._saved = self.program
        self._said = f"Saved to {self._file.path}, without comments. What stood there before is {kept}."

    def act_version(self, value: Any) -> None:
        """Keep the scenario as a new version."""
        path = save_version(self.value, self._versions)
        self._said = f'Saved as {path}. Load it with tk.load("{path.as_posix()}", policies=…).'

    def act_reload(self, value: Any) -> None:
        """Take what is on the disk now."""
        if self._file is None:
            return
        there = load(self._file.path)
        fresh = there[_named(there, self._name)]
        changed = tuple(fresh if one.scenario == self._name else one for one in self.program.scenarios)
        self._file.read_again()
        self._saved = self.program.replace(scenarios=changed)
        self._take(self._saved)
        self._said = f"Loaded {self._file.path} again; undo leads back to what you had."

    def act_keep(self, value: Any) -> None:
        """Keep what is on the screen although the file changed."""
        if self._file is not None:
            self._file.read_again()
            self._said = "Kept what is on the screen; saving will replace the file."

    # --- how changes go -----------------------------------------------------------------------------------------------

    def _step(self) -> Step:
        for step in every_step(self.value.steps):
            if step.id == self._chosen:
                return step
        raise InputError("no step is chosen; press one in the diagram")

    def _typed(self, place: str, value: Any, *, of: Callable[[Any], Any] = lambda text: text) -> None:
        """Take what was typed; what is not allowed stays in its box, with the reason, and changes nothing."""
        step = self._step()
        try:
            self._take(set_parameters(self.program, {f"{self._name}.{step.id}.{place}": of(value)}))
        except (ScenarioError, ValueError) as fault:
            self._drafts[place] = (str(value), told(fault))
        else:
            self._drafts.pop(place, None)

    def _typed_offer(self, name: str, value: Any) -> None:
        step = self._step()
        if not isinstance(step, Send):
            raise InputError(f"{step.id} is no mail, so it has no offer")
        key = f"offer.{name}"
        try:
            new: Any = value
            if name == "percent":
                new = number_typed(value) if str(value).strip() else None
                new = None if new == 0 else new
            elif name == "valid":
                new = str(value).strip() or None
            held = _fields(step.offer) | {name: new}
            offer = None if not (held.get("percent") or held.get("amount") or held.get("free_shipping")) else held
            self._take(set_parameters(self.program, {f"{self._name}.{step.id}.offer": offer}))
        except (ScenarioError, ValueError) as fault:
            self._drafts[key] = (str(value), told(fault))
        else:
            self._drafts.pop(key, None)

    def _take(self, program: Program) -> None:
        if program == self.program:
            return
        self._before.append(self.program)
        self._after.clear()
        self._moved_to(program)

    def _moved_to(self, program: Program) -> None:
        self.program = program
        self._said = ""
        if self._chosen not in {step.id for step in every_step(self.value.steps)}:
            self._chosen = None
        self._count()
        self.redraw()
        self.changed()

    def _count(self) -> None:
        if self._log is None:
            return
        log, program = self._log, self.program
        self._is_counting = True

        def done(found: tuple[Run, dict[str, StepAnswers]]) -> None:
            with self._lock:
                (self.run, self._answers), self._is_counting = found, False
                self.guarded_draw()

        def failed(fault: BaseException) -> None:
            with self._lock:
                self._is_counting = False
                self.error = told(fault)
                self.guarded_draw()

        def work(job: Job) -> tuple[Run, dict[str, StepAnswers]]:
            run = replay(program, log, until=self._until)
            return run, self._answered(run)

        self._jobs.start(work, done=done, failed=failed)

    def _answered(self, run: Run | None) -> dict[str, StepAnswers]:
        return {} if run is None else answers_of(run, self._name)

    # --- how it shows -------------------------------------------------------------------------------------------------

    def body(self) -> Html:
        """The diagram, the sheet of the step that was pressed, and what can be done."""
        name = self._name.replace("_", " ")
        changed = self._changed_steps()
        run = self.run if self.run is not None and self._fits(self.run) else None
        picture = diagram(self.value, run, answers=self._answers, act="step", chosen=self._chosen, changed=changed)
        difference = self.diff()
        head = tag(
            "header",
            tag("h3", name[:1].upper() + name[1:]),
            self._counted(),
            tag("div", *self._pages(bool(difference)), class_="ttk-row"),
        )
        parts: list[Html | None] = [head, self._disk(), *self._nobody()]
        parts.append(tag("div", Html(picture), class_="ttk-scroller", data_scroll="diagram"))
        if any(str(step.id) in self._answers for step in every_step(self.value.steps)):
            parts.append(tag("p", chip("observed"), _ANSWERS, class_="ttk-detail"))
        parts.append(self._sheet())
        if self._page == "yaml":
            parts.append(tag("pre", dump(self.value), class_="ttk-code", tabindex=0, role="region", aria_label="YAML"))
        elif self._page == "diff" and difference:
            parts.append(
                tag(
                    "pre",
                    _shown_diff(difference),
                    class_="ttk-code",
                    tabindex=0,
                    role="region",
                    aria_label="What changed",
                )
            )
        parts.append(self._foot(bool(difference)))
        return together(parts)

    def _pages(self, differs: bool) -> list[Html]:
        return [
            button("↶", "undo", off=not self._before, kind="icon", aria_label="Undo", title="Undo"),
            button("↷", "redo", off=not self._after, kind="icon", aria_label="Redo", title="Redo"),
            button("Show YAML", "page", value="yaml", aria_pressed=str(self._page == "yaml").lower()),
            button(
                "What changed", "page", value="diff", off=not differs, aria_pressed=str(self._page == "diff").lower()
            ),
        ]

    def _counted(self) -> Html:
        if self._log is None:
            return tag("span", "no log, no counts", class_="ttk-soft")
        if self._is_counting:
            return tag("span", "counting anew…", class_="ttk-soft", role="status")
        shown = tag("span", span_text(self.run), class_="ttk-soft") if self.run is not None else None
        return tag("span", chip("exact"), " ", shown, class_="ttk-soft")

    def _disk(self) -> Html | None:
        if self._file is None or not self._file.changed:
            return None
        return tag(
            "div",
            note(f"{self._file.path} changed on the disk since it was loaded.", tone="careful"),
            button("Load what is on the disk", "reload"),
            button("Keep what is here", "keep"),
            class_="ttk-row",
        )

    def _nobody(self) -> list[Html]:
        """Why nobody enters, where the log has nothing by which anybody could."""
        if self.run is None:
            return []
        mine = nobody_enters((self.value,), self.run.log.event_names, without=(self._name,))
        return [note(one, tone="careful") for one in self.run.nobody_enters if one in mine]

    def _foot(self, differs: bool) -> Html:
        save = button("Save to the file", "save", kind="main", off=not differs) if self._file is not None else None
        hint = "" if self._chosen else "Press a step to change it."
        return tag(
            "div",
            save,
            button("Save as a version", "version"),
            tag("span", self._said or hint, class_="ttk-detail", role="status"),
            class_="ttk-row ttk-gap",
        )

    def _sheet(self) -> Html | None:
        return None if self._chosen is None else step_sheet(self._step(), self.value.experiment, self._drafts)

    def _changed_steps(self) -> frozenset[str]:
        before = {step.id: step for step in every_step(self._saved[self._name].steps)}
        return frozenset(str(step.id) for step in every_step(self.value.steps) if before.get(step.id) != step)

    def _fits(self, run: Run) -> bool:
        """Whether the counts are of the same steps."""
        ids = [[step.id for step in every_step(program[self._name].steps)] for program in (run.program, self.program)]
        return ids[0] == ids[1]


def _whole(program: object, log: object) -> Program:
    if isinstance(program, Scenario):
        program = Program(scenarios=(program,))
    if not isinstance(program, Program):
        found = type(program).__name__
        raise ScenarioError(
            f"program: expected a program or a scenario; found {found}; tk.load(folder) gives a program"
        )
    if log is not None and not isinstance(log, EventLog):
        raise InputError(f"log: expected an EventLog; found {type(log).__name__}; tk.EventLog.open(place) gives one")
    return program


def _named(program: Program, name: str | None) -> str:
    names = [one.scenario for one in program.scenarios]
    if name is None:
        if len(names) != 1:
            raise ScenarioError(f"which scenario? pass scenario=; this program has {listed(names)}")
        return names[0]
    try:
        return program[name].scenario
    except KeyError as fault:
        raise ScenarioError(str(fault.args[0])) from None


def _fields(offer: Offer | None) -> dict[str, Any]:
    return {} if offer is None else {name: getattr(offer, name) for name in type(offer).model_fields}


def _shown_diff(text: str) -> Html:
    lines = []
    for line in text.splitlines()[2:]:
        if line.startswith("+"):
            lines.append(tag("ins", line))
        elif line.startswith("-"):
            lines.append(tag("del", line))
        elif not line.startswith("@@"):
            lines.append(tag("span", line + "\n"))
    return together(lines)
