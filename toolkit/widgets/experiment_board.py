"""What an experiment showed: the verdict first, then the pictures that carry it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from toolkit.arrow import A_FRAME, TableLike, of_frame
from toolkit.charts.by_day import days_said, days_svg
from toolkit.charts.experiments import boundary_svg, forest_svg
from toolkit.charts.lift_report import folded, telling
from toolkit.errors import InputError, did_you_mean, shown
from toolkit.readable import text_html
from toolkit.stats import LiftByDay, Mean, Metric, Rate, Ratio, Result, lift_by_day
from toolkit.stats.arguments import check_zone
from toolkit.stats.comparison import Comparison
from toolkit.stats.reading import known_about
from toolkit.stats.targeting import uplift_by_segment
from toolkit.stats.verdict import amount
from toolkit.stats.wording import BETWEEN_NUMBERS, between_table, level_of
from toolkit.tables import LIFT
from toolkit.widgets.guard import told
from toolkit.widgets.jobs import Job, Jobs
from toolkit.widgets.markup import (
    Html,
    at_widths,
    card,
    chip,
    choice,
    note,
    page_tabs,
    progress_bar,
    table,
    tag,
    together,
)
from toolkit.widgets.panel import Panel

__all__ = ["ExperimentBoard"]

_ENTERED = "entered_at"
_MOST_DAYS = 60
_SHOWN_NUMBERS = ("control", "arm ", "difference", "interval", "p, adjusted")
_TONES = {
    "roll out": ("good", "Roll it out"),
    "keep testing": ("careful", "Keep testing"),
    "cannot decide": ("careful", "Nothing can be decided"),
    "stop": ("plain", "Stop: nothing was found"),
    "do not roll out": ("bad", "Do not roll it out"),
    "do not trust": ("bad", "Do not trust this result"),
    "look only": ("careful", "Look only: not randomised"),
}


class ExperimentBoard(Panel):
    """An experiment's result: the verdict, every arm against control, day by day, looks, guardrails, segments.

    Args:
        result: from `tk.experiment`.
        outcomes: the outcomes it came from; needed for segments and for how the lift developed day by day.
        segments: column or columns of the outcomes to split by.
        zone: the time zone whose days these are, day by day, for example `Asia/Tokyo`.

    Attributes:
        value: the `Result`, frozen.

    Raises:
        InputError: a result that is none, outcomes that are no frame, a segment that is no column of them, or no such
            time zone.
    """

    def __init__(
        self,
        result: Result,
        *,
        outcomes: TableLike | None = None,
        segments: str | Sequence[str] = (),
        zone: str = "UTC",
    ) -> None:
        if not isinstance(result, Result):
            raise InputError(f"result: found {type(result).__name__}; allowed: what tk.experiment returned")
        frame = of_frame(outcomes, "outcomes")
        if frame is not None and not isinstance(frame, pd.DataFrame):
            raise InputError(f"outcomes: found {type(outcomes).__name__}; allowed: {A_FRAME}")
        check_zone(zone, where="experiment board")
        self._result, self._outcomes, self._zone = result, frame, zone
        self._segments = (segments,) if isinstance(segments, str) else tuple(segments)
        columns = [] if frame is None else list(map(str, frame.columns))
        for name in self._segments:
            if name not in columns:
                raise InputError(f"segments: no column {shown(name)} in the outcomes" + did_you_mean(name, columns))
        self._segment = self._segments[0] if self._segments else ""
        self._by_column: dict[str, pd.DataFrame] = {}
        self._page = "arms"
        self._by_day: LiftByDay | BaseException | None = None
        self._metric: str | None = None
        self._jobs = Jobs()
        super().__init__(title="Experiment")
        self.redraw()

    @property
    def value(self) -> Result:
        """The result."""
        return self._result

    def act_page(self, value: Any) -> None:
        """Arms, days, looks, guardrails or segments."""
        self._page = str(value)
        if self._page == "days" and self._by_day is None:
            self._reckon()

    def act_metric(self, value: Any) -> None:
        """Another metric, day by day."""
        self._metric = str(value)

    def act_segment(self, value: Any) -> None:
        """Split by another column."""
        self._segment = str(value)

    def body(self) -> Html:
        """The verdict, then one page of what carries it."""
        verdict = self._result.verdict()
        tone, words = _TONES.get(verdict.action, ("plain", verdict.action))
        *_, advice = (line for line in verdict.splitlines() if not line.startswith("Warning"))
        first, rest = folded(self._result)
        last = [advice]
        if verdict.action in ("roll out", "keep testing", "do not roll out"):
            words, last = advice.rstrip("."), []  # the same advice, and which arms
        kind = "observed"
        head = tag(
            "div",
            tag(
                "p",
                tag(
                    "span",
                    {"good": "✓", "careful": "!", "bad": "✕", "plain": "i"}[tone],
                    class_="ttk-sign",
                    aria_hidden="true",
                ),
                f" {words}",
                class_="ttk-verdict",
            ),
            together(map(_line, first)),
            tag("details", tag("summary", f"and {len(rest)} more findings"), *map(_line, rest)) if rest else None,
            *map(_line, last),
            class_=f"ttk-hero ttk-note-{tone}",
            role="status",
        )
        label = tag(
            "header",
            tag("h3", "Experiment"),
            tag(
                "span",
                chip(kind),
                f" {self._result.label}",
                f" · window {self._result.window}" if self._result.window else "",
                class_="ttk-soft",
            ),
        )
        warnings = together(note(line, tone="careful") for line in verdict.warnings)
        pages = [("arms", "Arms against control")]
        if self._has_days:
            pages.append(("days", "Day by day"))
        if self._result.look is not None:
            pages.append(("looks", "Looks"))
        pages.append(("guards", "Split and guardrails"))
        if self._segments:
            pages.append(("segments", "Segments"))
        tabs = page_tabs(pages, self._page)
        shown = {
            "arms": self._arms,
            "days": self._days,
            "looks": self._looks,
            "guards": self._guards,
            "segments": self._by_segment,
        }
        return together(
            [
                label,
                head,
                self._cards(),
                tag("div", warnings, class_="ttk-gap"),
                tag("div", tabs, class_="ttk-row ttk-gap"),
                tag("div", shown[self._page](), class_="ttk-gap"),
            ]
        )

    def _cards(self) -> Html:
        cards = []
        for found in telling(self._result)[:4]:
            number = amount(found.diff, found, signed=True) if found.defined else "–"
            span = (
                f"{amount(found.diff_lower, found, bare=True)} to {amount(found.diff_upper, found, bare=True)}"
                if found.defined
                else found.note
            )
            level = f"{100 * (1 - self._result.alpha):.0f}% interval {span}"
            cards.append(card(f"{found.arm}, {found.metric}", number, level, "observed"))
        split = self._result.split
        if split is not None:
            count = sum(split.observed.values()) if hasattr(split, "observed") else 0
            cards.append(
                card("Is the split sound?", "no" if split.alarm else "yes", f"{count:,} people" if count else "")
            )
        return tag("div", *cards, class_="ttk-cards ttk-gap")

    def _arms(self) -> Html:
        return together(
            [
                at_widths(lambda width: forest_svg(self._result, width=width), 760),
                tag(
                    "p",
                    "Filled: the difference is established, all comparisons counted. Hollow: it is not.",
                    class_="ttk-detail",
                ),
                *self._between(),
            ]
        )

    def _between(self) -> list[Html]:
        """Winning arms against each other, where there are any."""
        pairs = self._result.pairs
        if not pairs:
            return []
        shown = tag("div", table(between_table(pairs), numbers=BETWEEN_NUMBERS), class_="ttk-gap")
        return [tag("div", tag("h4", "Winning arms against each other"), class_="ttk-gap"), shown]

    @property
    def _has_days(self) -> bool:
        """Whether the outcomes say when each unit entered and how long its window is."""
        rows = self._outcomes
        return rows is not None and _ENTERED in rows.columns and known_about(rows).get("window") is not None

    def _reckon(self) -> None:
        """How the lift developed, beside the notebook; at most so many days that it takes seconds."""
        rows, result = self._outcomes, self._result
        if rows is None:
            return

        def work(job: Job) -> LiftByDay:
            span = rows[_ENTERED].max() - rows[_ENTERED].min()
            return lift_by_day(rows, result, every=1 + span.days // _MOST_DAYS, zone=self._zone, progress=job.step)

        def shown(found: LiftByDay | BaseException) -> None:
            with self._lock:
                self._by_day = found
                self.guarded_draw()

        def moved(job: Job) -> None:
            if self._page == "days" and not job.cancelled:
                self.guarded_draw()

        self._jobs.start(work, done=shown, failed=shown, moved=moved)

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until the days are reckoned."""
        self._jobs.wait(seconds)

    def _days(self) -> Html:
        found = self._by_day
        if found is None:
            job = self._jobs.now
            if job is None or not job.total:
                return tag("p", "Reckoning each day…", class_="ttk-detail", role="status")
            return progress_bar(job.at, job.total, f"Reckoning each day… {job.at} of {job.total}")
        if isinstance(found, BaseException):
            return note(told(found), tone="careful")
        last = found.days[-1].comparisons
        metrics = list(dict.fromkeys(one.metric for one in last))
        first = next((one.metric for one in last if one.role == "primary"), metrics[0])
        chosen = self._metric if self._metric in metrics else first
        which = choice("Metric", "metric", [(name, name) for name in metrics], chosen)
        zone = f" ({found.zone})" if found.zone != "UTC" else ""
        marks = "the plan's end" if found.is_one_look else "the looks of the plan"
        return together(
            [
                tag("div", which, class_="ttk-row") if len(metrics) > 1 else None,
                tag("div", tag("h4", days_said(found, metric=chosen)), class_="ttk-gap"),
                at_widths(lambda width: days_svg(found, metric=chosen, width=width), 760),
                tag(
                    "p",
                    f"Line: the difference{_unit(found, chosen)} as known on each day; people count from the day their "
                    f"window of {found.window} closed{zone}. Band: {100 * (1 - found.alpha):g}% on all days together, "
                    "so looking every day does not mislead; it is wider than an interval for one look."
                    + (f" Squares: {marks}, with the interval that decides there." if found.marks else ""),
                    class_="ttk-detail",
                ),
                *(tag("p", f"{text[:1].upper()}{text[1:]}.", class_="ttk-detail") for text in found.notes),
            ]
        )

    def _looks(self) -> Html:
        look = self._result.look
        if look is None:
            return note("One look was planned, so there is no boundary.")
        primary = [found for found in self._result.comparisons if found.role == "primary"]
        several = len({found.metric for found in primary}) > 1
        arms = [(f"{found.arm}, {found.metric}" if several else found.arm, found.z) for found in primary]
        return together(
            [
                at_widths(lambda width: boundary_svg(look, arms, width=width), 560),
                tag("p", look.method.replace("obrien_fleming", "O'Brien-Fleming"), class_="ttk-detail"),
            ]
        )

    def _guards(self) -> Html:
        parts: list[Html] = []
        if self._result.split is not None:
            parts.append(note(str(self._result.split), tone="bad" if self._result.split.alarm else "good"))
        for found in self._result.comparisons:
            if found.role == "guardrail":
                good = found.not_worse
                tone = "plain" if good is None else "good" if good else "careful"
                said = amount(found.diff, found, signed=True) if found.defined else found.note
                held = "no harm beyond the margin" if good else "harm beyond the margin is not excluded"
                parts.append(note(f"{found.arm}, {found.metric}: {said}; {held}", tone=tone))
        lift = self._result.lift
        frame = pd.DataFrame(
            {
                "metric": lift["metric"],
                "arm": lift["arm"],
                "people": lift["n"],
                "in control": lift["n_control"],
                "control": [level_of(one.control, one) for one in self._result.comparisons],
                "arm ": [level_of(one.value, one) for one in self._result.comparisons],
                "p": [_chance(one) for one in lift["pvalue"]],
                "note": lift["note"],
            }
        )
        if not any(frame["note"]):
            frame = frame.drop(columns="note")
        return together([*parts, tag("div", table(frame, numbers=("control", "arm ", "p")), class_="ttk-gap")])

    def _split(self, metric: Metric) -> pd.DataFrame:
        """The lift by the segment that is chosen, worked out once."""
        if self._segment not in self._by_column and self._outcomes is not None:
            self._by_column[self._segment] = uplift_by_segment(
                self._outcomes,
                metric,
                by=self._segment,
                control=self._result.control,
                arm=self._result.arm,
                unit=self._result.unit_column,
                alpha=self._result.alpha,
            )
        return self._by_column[self._segment]

    def _by_segment(self) -> Html:
        if self._outcomes is None or not self._segment:
            return note("Pass outcomes= and segments= to split the result.")
        plain = [one for one in self._result.metrics if isinstance(one, Rate | Mean | Ratio) and not _is_bounded(one)]
        metric = next((one for one in plain if one.role == "primary"), plain[0] if plain else None)
        if metric is None:
            return note("Segments are shown for rates, means and ratios; this experiment has none.")
        found = self._split(metric)
        lifts = [_lift(row, metric) for row in found.to_dict("records")]
        shown = pd.DataFrame(
            {
                "segment": found["segment"].replace({"True": "yes", "False": "no"}),
                "arm": found["arm"],
                "people": found["n"],
                "in control": found["n_control"],
                "control": [level_of(one.control, one) for one in lifts],
                "arm ": [level_of(one.value, one) for one in lifts],
                "difference": [_signed(one.diff, one) for one in lifts],
                "interval": [f"{_signed(one.diff_lower, one)} to {_signed(one.diff_upper, one)}" for one in lifts],
                "p, adjusted": [_chance(one) for one in found["pvalue_adjusted"]],
                "note": found["note"],
            }
        )
        if not any(shown["note"]):
            shown = shown.drop(columns="note")
        segments = [(name, name.replace("_", " ")) for name in self._segments]
        return together(
            [
                tag("div", choice("Split by", "segment", segments, self._segment), class_="ttk-row"),
                tag("p", f"{metric.label}, by {self._segment.replace('_', ' ')}", class_="ttk-detail"),
                tag(
                    "div",
                    note(
                        "Segments chosen after looking are ideas for the next experiment, not findings.", tone="careful"
                    ),
                    class_="ttk-gap",
                ),
                tag("div", table(shown, numbers=_SHOWN_NUMBERS), class_="ttk-gap"),
                tag("p", _whether_they_differ(found), class_="ttk-detail"),
            ]
        )


def _is_bounded(metric: Metric) -> bool:
    """Whether it is compared twice, at least and at most."""
    return isinstance(metric, Rate) and metric.verdict is not None


def _lift(row: Mapping[Hashable, Any], metric: Metric) -> Comparison:
    """A row of the lift of segments, as numbers are written by."""
    told = {name: row[name] for name in LIFT.names}
    return Comparison(**told, kind=metric.kind, better=metric.better, currency=getattr(metric, "currency", None))


def _whether_they_differ(found: pd.DataFrame) -> str:
    """The test of segments against each other, arm by arm: a lift shown in one and not in another is no difference."""
    chances = found.drop_duplicates("arm").set_index("arm")["heterogeneity"]
    told = "; ".join(f"{arm}: p = {_chance(one)}" for arm, one in chances.items()).replace("= <", "<")
    return f"Whether the lift differs between segments at all: {told}." if chances.notna().any() else ""


def _line(text: str) -> Html:
    return tag("p", Html(text_html(text)))


def _unit(found: LiftByDay, metric: str) -> str:
    """What the differences of a metric are given in."""
    one = next(one for one in found.days[-1].comparisons if one.metric == metric)
    unit = {"rate": "points", "time": "days"}.get(one.kind, one.currency or "")
    return f" in {unit}" if unit else ""


def _signed(value: float, one: Comparison) -> str:
    return "–" if pd.isna(value) else amount(value, one, signed=True)


def _chance(pvalue: float) -> str:
    return "–" if pd.isna(pvalue) else "< 0.001" if pvalue < 0.001 else f"{pvalue:.3f}"
