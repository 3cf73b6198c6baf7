"""The report of an experiment: its verdict, pictures and methods in one file that opens without a network."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import pandas as pd

from toolkit.charts.by_day import lift_days
from toolkit.charts.curves import result_survival
from toolkit.charts.lift import forest
from toolkit.charts.looks import boundary
from toolkit.charts.pages import card, chip, figure_html, page, table_html, write_page
from toolkit.charts.style import share_text
from toolkit.errors import InputError, shown
from toolkit.readable import text_html
from toolkit.stats import LiftByDay, Result
from toolkit.stats.comparison import Comparison
from toolkit.stats.verdict import amount
from toolkit.stats.wording import BETWEEN_NUMBERS, LIFT_NUMBERS, between_table, lift_table

__all__ = ["days_chapter", "experiment_report", "folded", "lift_chapter", "telling", "verdict_box"]

_TONES = {"roll out": " good", "do not roll out": " bad", "do not trust": " bad"}
_FEW = 3  # comparisons that stay in the order written
_MOST_FINDINGS = 8  # sentences of a verdict that are shown at once


def experiment_report(
    result: Result,
    *,
    path: str | os.PathLike[str],
    title: str | None = None,
    by_day: LiftByDay | None = None,
) -> Path:
    """One HTML file with what an experiment showed; it opens without a network and prints well.

    Args:
        result: from `experiment`.
        path: where to write; an older file there is replaced at once, or not at all.
        title: the heading; the advice of the verdict unless given.
        by_day: how the lift developed, from `lift_by_day`.

    Returns:
        The path of the file.

    Raises:
        InputError: the folder to write to is not there; a path, a title or a `by_day` that is none.
    """
    _check_by_day(by_day)
    if title is not None and not isinstance(title, str):
        raise InputError(f"title: found {shown(title)}; allowed: a text")
    heading = title or _advice(result)
    parts = [
        '<p class="kicker">Experiment'
        + (f" · outcomes within {escape(result.window)}" if result.window else "")
        + "</p>",
        f"<h1>{escape(heading)}</h1>",
        *verdict_box(result),
        *_cards(result),
        *lift_chapter(result),
        *days_chapter(by_day),
        *_looks(result),
        *_survival(result),
        *_beliefs(result),
        *_closing(result),
    ]
    return write_page(path, page(heading, "\n".join(parts)))


def verdict_box(result: Result) -> Iterator[str]:
    """The verdict, with its action and warnings set apart."""
    first, rest = folded(result)
    said = [f'<p class="finding">{text_html(line)}</p>' for line in first]
    if rest:
        more = "".join(f"<p>{text_html(line)}</p>" for line in rest)
        said.append(f"<details><summary>and {len(rest)} more findings</summary>{more}</details>")
    *_, advice = (line for line in result.verdict().splitlines() if not line.startswith("Warning"))
    said.append(f'<p class="action">{text_html(advice)}</p>')
    said += [f'<p class="warning">Warning: {text_html(warning)}.</p>' for warning in result.verdict().warnings]
    tone = _TONES.get(result.verdict().action, "")
    yield f'<div class="verdict{tone}">{"".join(said)}</div>'


def lift_chapter(result: Result) -> Iterator[str]:
    """Every arm against control: the picture, the table, and how the numbers were found."""
    yield f"<h2>What the experiment showed {chip('observed')}</h2>"
    yield figure_html(forest(result), "lift")
    yield table_html(lift_table(result.comparisons), numbers=LIFT_NUMBERS)
    for metric in dict.fromkeys(one.metric for one in result.comparisons):
        mine = [one for one in result.comparisons if one.metric == metric]
        how, notes = [one.method or "no number" for one in mine], [one.note for one in mine]
        told = [*_told(mine, how), *_told(mine, [note[:1].upper() + note[1:] for note in notes])]
        yield f'<p class="soft">{escape(metric)}: {escape(" ".join(told))}</p>'
    if result.pairs:
        yield f"<h2>Winning arms against each other {chip('observed')}</h2>"
        yield table_html(between_table(result.pairs), numbers=BETWEEN_NUMBERS)


def days_chapter(by_day: LiftByDay | None) -> Iterator[str]:
    """How the lift developed, a picture for each primary metric; nothing where it was not asked for."""
    if by_day is None:
        return
    yield f"<h2>How the lift developed {chip('observed')}</h2>"
    yield (
        "<p>Each day is what was known by its evening. The band holds on all days together, so looking at it every day "
        "does not mislead; it is wider than an interval for one look.</p>"
    )
    primary = dict.fromkeys(one.metric for one in by_day.days[-1].comparisons if one.role == "primary")
    for place, metric in enumerate(primary):
        yield figure_html(lift_days(by_day, metric=metric), f"days_{place}")
    yield from (f'<p class="soft">{escape(note[:1].upper() + note[1:])}.</p>' for note in by_day.notes)


def _check_by_day(by_day: object) -> None:
    if by_day is not None and not isinstance(by_day, LiftByDay):
        raise InputError(f"by_day: found {type(by_day).__name__}; allowed: what toolkit.stats.lift_by_day gives")


def _told(found: Sequence[Comparison], texts: Sequence[str]) -> list[str]:
    """What is said of the arms of a metric, once where it is the same for all of them."""
    said = dict.fromkeys(text for text in texts if text)
    if len(said) == 1 and all(texts):
        return [f"{text}." for text in said]
    arms = {text: [one.arm for one, of in zip(found, texts, strict=True) if of == text] for text in said}
    return [f"{', '.join(arms[text])}: {text}." for text in said]


def _advice(result: Result) -> str:
    verdict = result.verdict()
    lines = [line for line in verdict.splitlines() if not line.startswith("Warning")]
    return lines[-1].rstrip(".")


def _cards(result: Result) -> Iterator[str]:
    primary = [one for one in result.comparisons if one.role == "primary"]
    first = primary[0] if primary else result.comparisons[0]
    people = first.n_control + sum(one.n for one in result.comparisons if one.metric == first.metric)
    cards = [card(f"{people:,}", "people in the experiment", "exact")]
    for one in [found for found in telling(result) if found.defined][:3]:
        ends = (amount(end, one, bare=True) for end in (one.diff_lower, one.diff_upper))
        what = f"{one.arm} on {one.metric} [{', '.join(ends)}]"
        cards.append(card(amount(one.diff, one, signed=True), what, "observed"))
    yield f'<div class="cards">{"".join(cards)}</div>'


def telling(result: Result) -> list[Comparison]:
    """Primary comparisons, first those of the arms that the verdict speaks for, then the surest; a few stay in order.

    Args:
        result: from `experiment`.
    """
    primary = [one for one in result.comparisons if one.role == "primary"]
    if len(primary) <= _FEW:
        return primary
    actions = result.verdict().actions

    def rank(one: Comparison) -> tuple[bool, bool, float]:
        return (
            actions[one.arm] != "roll out",
            not one.sure(result.alpha),
            -abs(one.diff / one.error if one.error > 0 else 0),
        )

    return sorted(primary, key=rank)


def folded(result: Result) -> tuple[Sequence[str], Sequence[str]]:
    """The findings of a verdict that are shown at once, and the rest; of many, those of the advised arm come first.

    Args:
        result: from `experiment`.
    """
    verdict = result.verdict()
    lines = [line for line in verdict.splitlines() if not line.startswith("Warning")]
    findings = lines[:-1]  # the last one is the advice
    if len(findings) <= _MOST_FINDINGS + 1:
        return findings, []
    groups: list[list[str]] = []
    for line in findings:  # what the arm costs and gains stands behind what it does
        if line.startswith("It ") and groups:
            groups[-1].append(line)
        else:
            groups.append([line])
    groups.sort(key=lambda group: not group[0].startswith(f"{verdict.advised} "))
    told = [line for group in groups for line in group]
    return told[:_MOST_FINDINGS], told[_MOST_FINDINGS:]


def _looks(result: Result) -> Iterator[str]:
    if result.looks is None:
        return
    yield f"<h2>Where this look stands {chip('observed')}</h2>"
    yield (
        "<p>Looking early is paid for: an effect counts only when it crosses the line, so that false alarms stay as "
        "rare as promised over all looks together.</p>"
    )
    yield figure_html(boundary(result), "looks")


def _survival(result: Result) -> Iterator[str]:
    for place, name in enumerate(result.curves):
        if not place:
            yield f"<h2>How soon it happens {chip('observed')}</h2>"
        yield figure_html(result_survival(result, metric=name), f"survival_{place}")


def _beliefs(result: Result) -> Iterator[str]:
    beliefs = result.beliefs()
    if beliefs["probability"].isna().all():
        return
    named = {(one.metric, one.arm): one for one in result.comparisons}

    def loss(row: pd.Series, column: str) -> str:
        value = float(row[column])
        return "–" if math.isnan(value) else amount(value, named[row["metric"], row["arm"]])

    shown = pd.DataFrame(
        {
            "metric": beliefs["metric"],
            "arm": beliefs["arm"],
            "chance to be better": [share_text(float(value)) for value in beliefs["probability"]],
            "lost on average by choosing the arm": [loss(row, "expected_loss") for _, row in beliefs.iterrows()],
            "by staying with control": [loss(row, "expected_loss_control") for _, row in beliefs.iterrows()],
        }
    )
    yield f"<h2>The same as beliefs {chip('observed')}</h2>"
    yield "<p>Flat beliefs before; what to believe after these data. Peeking and many comparisons are not counted.</p>"
    yield table_html(shown, numbers=list(shown.columns[2:]))


def _closing(result: Result) -> Iterator[str]:
    facts = []
    if result.split is not None:
        facts.append(str(result.split))
    if result.design is not None:
        design = result.design
        facts.append(
            f"design: {design.metric}, {design.units:,} {design.unit}s, alpha {design.alpha:g}"
            f", power {design.power:.0%}" + (f", window {design.window}" if design.window else "")
        )
    between = "; winning arms by Holm over all pairs of arms" if result.pairs else ""
    facts.append(
        f"two-sided alpha {result.alpha:g}; primary comparisons by Holm, secondary ones by Benjamini-Hochberg{between}"
    )
    facts.append(f"{result.label}; everybody counts in the arm drawn for them (intention to treat)")
    yield "<footer>" + "".join(f"<p>{escape(fact[0].upper() + fact[1:])}.</p>" for fact in facts)
    yield f"<p>{chip('observed')} what did follow in the history that really was.</p></footer>"
