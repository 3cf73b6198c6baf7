"""The report: one file that a marketer opens in a browser, with no network."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import partial
from html import escape
from pathlib import Path

import pandas as pd

from toolkit.bars import Bar
from toolkit.charts.given import check_given
from toolkit.charts.lift_report import days_chapter, lift_chapter, verdict_box
from toolkit.charts.own_purchases import own_chart, whose
from toolkit.charts.pages import card, chip, figure_html, page, table_html, write_page
from toolkit.charts.sends import not_sent, sends_by_day, sends_by_hour, span_text
from toolkit.charts.style import money, share_text
from toolkit.charts.sweeps import setting_name, setting_text, sweep_heatmap, sweep_lines
from toolkit.charts.traces import timeline
from toolkit.engine import Run, Sweep, Trace
from toolkit.engine.own_purchases import OwnPurchases, own_purchases
from toolkit.engine.sends import people_mailed
from toolkit.errors import check_flag
from toolkit.readable import reason_text
from toolkit.sending import BatchSummary
from toolkit.stats import LiftByDay, Result

__all__ = ["report"]

_SIGNS = {"event": "·", "journey": "▸", "mail": "✉", "no mail": "✕"}
_LONGEST_STORY = 60
_NARROW = 2
_CHAPTERS = 8


def report(
    run: Run,
    *,
    path: str | os.PathLike[str],
    sweep: Sweep | None = None,
    result: Result | None = None,
    by_day: LiftByDay | None = None,
    trace: Trace | None = None,
    batch_summary: BatchSummary | None = None,
    progress: bool = True,
) -> Path:
    """One HTML file with a replay and what is known beside it; it opens without a network and prints well.

    Args:
        run: the replay.
        path: where to write; an older file there is replaced at once, or not at all.
        sweep: settings that were tried.
        result: what an experiment showed.
        by_day: how its lift developed, from `toolkit.stats.lift_by_day`.
        trace: one customer's story.
        batch_summary: the mails that were prepared, from `Batch.summary()`.
        progress: show a progress bar where it takes longer than a moment.

    Returns:
        The path of the file.

    Raises:
        InputError: the folder to write to is not there, `run` is no replay, or what is given beside it is another
            thing.
    """
    check_given(run, Run, name="report: run", giver="tk.replay")
    for name, given, kind, giver in (
        ("sweep", sweep, Sweep, "tk.sweep"),
        ("result", result, Result, "tk.experiment"),
        ("by_day", by_day, LiftByDay, "toolkit.stats.lift_by_day"),
        ("trace", trace, Trace, "run.trace"),
        ("batch_summary", batch_summary, BatchSummary, "Batch.summary()"),
    ):
        if given is not None:
            check_given(given, kind, name=f"report: {name}", giver=giver)
    check_flag(progress, name="progress")
    with Bar(total=_CHAPTERS, desc="report", unit=" chapters", disable=not progress, delay=0.5) as bar:
        own = _own(run, sweep)
        parts = list[str]()
        for chapter in (
            _opening(run, own, result),
            _mails(run),
            _wait(sweep, own),
            lift_chapter(result) if result is not None else (),
            days_chapter(by_day),
            _story(trace),
            _batch(batch_summary),
            _closing(run),
        ):
            parts += chapter
            bar.update()
    return write_page(path, page(_title(run), "\n".join(parts)))


# Chapters .............................................................................................................


def _opening(run: Run, own: OwnPurchases | None, result: Result | None) -> Iterator[str]:
    sent, kept = _counts(run)
    people = people_mailed(run)
    days = _days(run)
    yield f'<p class="kicker">Replay · {escape(span_text(run))}</p>'
    yield f"<h1>{escape(_title(run))}</h1>"
    yield from (f'<p class="lede"><b>{escape(sentence)}</b></p>' for sentence in run.nobody_enters)
    told = f"would have sent {sent:,} mails to {people:,} people, {sent / max(1, days):,.0f} a day."
    ran = f"Had this program run over these {days:,} days, it {told}"
    lede = [ran if run.period is None else f"In these {days:,} days this program, at work since before them, {told}"]
    if kept.sum():
        lede.append(
            f"{int(kept.sum()):,} more came to their moment and were not sent, most often: "
            f"{reason_text(str(kept.idxmax()))}."
        )
    if own is not None and own.mails:
        lede.append(
            f"Of those who came to the {_plain(own.scenario)} mail, {share_text(own.after_rate)} would have bought "
            f"within {own.window} anyway."
        )
    yield f'<p class="lede">{escape(" ".join(lede))}</p>'
    if result is not None:
        yield from verdict_box(result)
    cards = [
        card(f"{sent:,}", "mails sent", "exact"),
        card(f"{people:,}", "people mailed", "exact"),
        card(f"{sent / max(1, days) * 7:,.0f}", "mails a week", "exact"),
    ]
    if own is not None and own.mails:
        cards.append(
            card(share_text(own.after_rate), f"bought anyway after the {_plain(own.scenario)} mail", "observed")
        )
        percent = _percent(run, own)
        if percent and not math.isnan(own.given_away(percent)):
            away = money(own.given_away(percent), own.currency)
            cards.append(card(away, f"given away by 100 offers of {percent:g}% to people who buy anyway", "observed"))
    yield f'<div class="cards">{"".join(cards)}</div>'


def _mails(run: Run) -> Iterator[str]:
    yield f"<h2>When mails leave, and why others do not {chip('exact')}</h2>"
    yield figure_html(sends_by_hour(run), "sends_by_hour")
    yield figure_html(sends_by_day(run), "sends_by_day")
    yield figure_html(not_sent(run), "not_sent")
    table = run.summary().table
    is_one = table["scenario"].nunique() == 1  # the page is about it
    yield f"<h3>Journeys and mails, by {'arm' if is_one else 'scenario and arm'}</h3>"
    yield table_html(table.drop(columns="scenario") if is_one else table.assign(scenario=table["scenario"].map(_plain)))


def _wait(sweep: Sweep | None, own: OwnPurchases | None) -> Iterator[str]:
    if own is not None and own.basis != "none":
        yield f"<h2>Who would have bought anyway {chip('observed')}</h2>"
        yield (
            f"<p>What people did on their own, in {escape(whose(own.basis))}. "
            "Whoever buys before the mail is spared it; "
            "whoever buys after it would have needed neither mail nor discount.</p>"
        )
        yield figure_html(own_chart(own), "own_purchases")
    if sweep is None:
        return
    yield f"<h2>What another setting would do {chip('exact')} {chip('observed')}</h2>"
    drawing = sweep_lines(sweep) if len(sweep.over) == 1 else sweep_heatmap(sweep) if len(sweep.over) == 2 else None
    if drawing is not None:
        yield figure_html(drawing, "sweep")
    owner = next(iter(sweep.over)).partition(".")[0]
    rows = sweep.table[sweep.table["scenario"] == owner] if owner in set(sweep.table["scenario"]) else sweep.table
    shown = rows[[*sweep.over, "journeys", "sent", "own_before", "mailed", "own_after", "own_after_rate"]].copy()
    for path in sweep.over:
        shown[path] = shown[path].map(partial(setting_text, path=path))
    names = {path: setting_name(path) for path in sweep.over} | {
        "sent": "mails sent",
        "own_before": "bought before the mail",
        "mailed": "came to the mail, window closed",
        "own_after": "would have bought anyway",
        "own_after_rate": "share",
    }
    yield table_html(shown, names=names)
    if "control" in set(rows["basis"]):
        yield (
            '<p class="soft">The last three columns are of the control group alone: the log holds real mails to the '
            "others.</p>"
        )


def _story(trace: Trace | None) -> Iterator[str]:
    if trace is None:
        return
    yield f"<h2>One customer's story {chip('exact')}</h2>"
    yield figure_html(timeline(trace), "trace")
    rows = trace.table.head(_LONGEST_STORY)
    lines = "".join(
        f'<li class="{"no" if kind == "no mail" else kind}"><time>{escape(f"{local:%Y-%m-%d %H:%M}")}</time>'
        f"<span>{_SIGNS[kind]}</span><span>{escape(what)}</span></li>"
        for local, kind, what in zip(rows["local"], rows["kind"], rows["what"], strict=True)
    )
    left = len(trace.table) - len(rows)
    more = f'<p class="soft">and {left:,} more lines</p>' if left > 0 else ""
    yield '<details><summary>Line by line</summary><div class="panel">'
    yield f'<ol class="story">{lines}</ol>{more}</div></details>'


def _batch(summary: BatchSummary | None) -> Iterator[str]:
    if summary is None:
        return
    yield "<h2>The batch that was prepared</h2>"
    yield "".join(f"<p>{escape(line.removesuffix(', see .preflight'))}</p>" for line in summary.lines)
    filled = {title: table for title, table in summary.tables.items() if len(table)}
    narrow = [_titled(title, table) for title, table in filled.items() if len(table.columns) <= _NARROW]
    yield f'<div class="pair">{"".join(narrow)}</div>'
    yield from (_titled(title, table) for title, table in filled.items() if len(table.columns) > _NARROW)


def _titled(title: str, table: pd.DataFrame) -> str:
    table = table.assign(reason=table["reason"].map(reason_text)) if "reason" in table else table
    return f"<section><h3>{escape(title)}</h3>{table_html(table)}</section>"


def _closing(run: Run) -> Iterator[str]:
    if run.notes:
        yield "<h2>Notes</h2><ul>" + "".join(f"<li>{escape(note)}</li>" for note in run.notes) + "</ul>"
    yield (
        "<footer>"
        f"<p>{chip('exact')} who would get which mail, when, and why not: decided by the rules from the log.</p>"
        f"<p>{chip('observed')} what did follow in the history that really was. It says what a mail brings only where "
        "chance decided who got it.</p>"
        f"<p>Replay {escape(run.digest[:16])}: the same program over the same log gives the same.</p>"
        "</footer>"
    )


# Numbers ..............................................................................................................


def _title(run: Run) -> str:
    names = [_plain(scenario.scenario) for scenario in run.program.scenarios]
    sent, _ = _counts(run)
    many = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    said = many if len(names) <= 4 else f"{len(names)} scenarios"
    return f"{said[0].upper()}{said[1:]}: {sent:,} mails in {_days(run):,} days"


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _days(run: Run) -> int:
    first, last = run.span
    return 1 if first is None else max(1, (last - first).days + 1)


def _counts(run: Run) -> tuple[int, pd.Series]:
    """Mails sent, and mails not sent by reason."""
    summary = run.summary()
    return int(summary.table["sent"].sum()), summary.reasons.groupby("reason")["mails"].sum()


def _own(run: Run, sweep: Sweep | None) -> OwnPurchases | None:
    """Own purchases of the scenario the report is about: the one swept, else the one tested, else the first."""
    able = [scenario for scenario in run.program.scenarios if scenario.goal is not None]
    if not able:
        return None
    names = [scenario.scenario for scenario in able]
    swept = "" if sweep is None else next(iter(sweep.over)).partition(".")[0]
    tested = next((scenario.scenario for scenario in able if scenario.experiment is not None), names[0])
    return own_purchases(run, scenario=swept if swept in names else tested)


def _percent(run: Run, own: OwnPurchases) -> float | None:
    if own.offer is None:
        return None
    for send in run.compiled.sends:
        if send.scenario == own.scenario and send.step_id == own.offer and send.offer is not None:
            return send.offer.percent
    return None
