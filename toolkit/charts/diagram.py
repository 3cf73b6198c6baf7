"""A scenario as a picture: trigger, waits, branches, mails and ends from left to right, people flowing through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from toolkit.charts.step_words import (
    answer_lines,
    condition_text,
    leaving_lines,
    length_text,
    offer_text,
    plain_name,
    trigger_text,
)
from toolkit.charts.vector import fit_name, fit_text, shape, text_width, words
from toolkit.engine import Run
from toolkit.engine.flow import Flow, Leaving, flow_of
from toolkit.errors import InputError
from toolkit.events.mail_counts import StepAnswers
from toolkit.readable import counted
from toolkit.scenario import Scenario
from toolkit.scenario.models import (
    Branch,
    ExitStep,
    Repeat,
    Send,
    Split,
    Step,
    Wait,
    WaitFor,
    WaitUntil,
)

__all__ = ["diagram"]

_GAP, _LANE, _FORK, _MARGIN = 26.0, 22.0, 46.0, 18.0
_CARD_HIGH, _PILL_HIGH = 78.0, 28.0
_THICKEST, _THINNEST = 15.0, 2.0
_LINE_HIGH, _MOST_ARMS = 16.0, 4  # of a list of arms
_GONE_HIGH, _WIDEST_GONE = 14.0, 190.0  # of words on who left
_SMALLEST = 0.76  # of its size, before a page has to be moved to see the rest
ARM_COLORS = ("#5e6673", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Colours of arms in the order written; the first, usually control, is grey."""

STYLE = """
.tkd text{font-family:inherit;font-size:12px;fill:var(--ink,#5a6272)}
.tkd .s{fill:var(--soft,#717989);font-size:11px}
.tkd .b{font-weight:650;font-size:13px}
.tkd .box{fill:var(--card,#fff);stroke:var(--line,#c9ced8);stroke-width:1.2}
.tkd .start{fill:var(--accent-box,#e3eef7);stroke:var(--accent,#0072b2);stroke-width:1.4}
.tkd .pill{fill:var(--card,#fff);stroke:var(--soft,#8a93a5);stroke-width:1.2}
.tkd .way{fill:none;stroke:var(--way,#bcd8ea);stroke-linecap:butt}
.tkd .dash{fill:none;stroke:var(--accent,#0072b2);stroke-opacity:.55;stroke-width:1.5;
stroke-dasharray:2 10;stroke-linecap:round}
.tkd .out{fill:none;stroke:var(--soft,#8a93a5);stroke-width:1.2;stroke-dasharray:3 3}
.tkd .bad{fill:var(--warn,#b3261e)}
.tkd .seen{fill:none;stroke:var(--observed,#00734d);stroke-width:1.3;stroke-dasharray:3.5 3}
.tkd .seent{fill:var(--observed,#00734d);font-size:11px}
.tkd .give{fill:var(--give,#fdf0d0)}.tkd .givet{fill:var(--careful,#8a5a00);font-size:11px;font-weight:600}
.tkd .env{fill:none;stroke:var(--accent,#0072b2);stroke-width:1.5;stroke-linejoin:round}
.tkd [data-act]{cursor:pointer}
.tkd [data-act]:hover .box,.tkd [data-act]:hover .pill{stroke:var(--accent,#0072b2);stroke-width:2}
.tkd .on .box,.tkd .on .pill{stroke:var(--accent,#0072b2);stroke-width:2.4;fill:var(--accent-box,#e3eef7)}
.tkd .new .box,.tkd .new .pill{stroke:var(--after,#e69f00);stroke-width:2}
.tkd [data-act]:focus{outline:none}
.tkd [data-act]:focus-visible{outline:2px solid var(--accent,#0072b2);outline-offset:3px;border-radius:8px}
"""


@dataclass(frozen=True, slots=True)
class _Block:
    """Something laid out: its width, what it needs above and below the line, and how it is painted at a place."""

    width: float
    up: float
    down: float
    paint: Callable[[float, float], list[str]]
    ends: bool = False  # nobody goes on from here


class _Drawer:
    def __init__(
        self,
        scenario: Scenario,
        flow: Flow | None,
        answers: Mapping[str, StepAnswers],
        *,
        act: str | None,
        chosen: str | None,
        changed: frozenset[str],
        currency: str | None,
    ) -> None:
        self.scenario, self.flow, self.answers, self.currency = scenario, flow, answers, currency
        self.act, self.chosen, self.changed = act, chosen, changed
        arms = scenario.experiment.arms if scenario.experiment else {}
        self.colors = {arm: ARM_COLORS[number % len(ARM_COLORS)] for number, arm in enumerate(arms)}
        self.people = flow.journeys if flow else 0  # who is on the line just now

    # --- lines --------------------------------------------------------------------------------------------------------

    def thick(self, people: int) -> float:
        if not self.flow or not self.flow.journeys:
            return 4.0
        return max(_THINNEST, _THICKEST * min(1.0, people / self.flow.journeys))

    def way(self, d: str, people: int) -> list[str]:
        return [
            shape("path", d=d, class_="way", stroke_width=self.thick(people)),
            shape("path", d=d, class_="dash ttk-flow"),
        ]

    # --- steps in a row -----------------------------------------------------------------------------------------------

    def row(self, steps: Sequence[Step]) -> _Block:
        blocks, counts = [], []
        for step in steps:
            counts.append(self.people)
            blocks.append(self.step(step))
        counts.append(self.people)
        if not blocks:
            return _Block(_GAP, 6, 6, lambda x, y: self.way(f"M{x:.1f} {y:.1f}h{_GAP}", counts[0]))
        width = sum(block.width for block in blocks) + _GAP * (len(blocks) + 1)

        def paint(x: float, y: float) -> list[str]:
            lines, boxes = [], []
            for number, block in enumerate(blocks):
                lines += self.way(f"M{x:.1f} {y:.1f}h{_GAP + min(12.0, block.width / 2):.1f}", counts[number])
                boxes += block.paint(x + _GAP, y)
                x += _GAP + block.width
            if not blocks[-1].ends:
                lines += self.way(f"M{x - min(12.0, blocks[-1].width / 2):.1f} {y:.1f}h{_GAP + 12:.1f}", counts[-1])
            return lines + boxes

        return _Block(
            width, max(block.up for block in blocks), max(block.down for block in blocks), paint, blocks[-1].ends
        )

    def step(self, step: Step) -> _Block:
        match step:
            case Send():
                return self.mail(step)
            case Wait():
                text = f"until {step.wait.until}" if isinstance(step.wait, WaitUntil) else length_text(step.wait)
                if isinstance(step.wait, WaitUntil) and step.wait.on:
                    text += f" {', '.join(step.wait.on)}"
                return self.pill(step, text)
            case WaitFor():
                event = step.wait_for
                return self.fork(
                    step,
                    [(f"{plain_name(event.event)}", step.then), ("not in time", step.else_)],
                    f"{plain_name(event.event)} within {length_text(event.within)}?",
                )
            case Branch():
                return self.fork(step, [("yes", step.then), ("no", step.else_)], condition_text(step.branch))
            case Split():
                lanes = [
                    (f"{arm} {100 * share:.0f}%", step.paths.get(arm, ())) for arm, share in step.split.arms.items()
                ]
                return self.fork(step, lanes, f"split {plain_name(step.split.name)}")
            case Repeat():
                return self.repeat(step)
            case ExitStep():
                return self.stop()
        raise InputError(f"a step that has no picture: {type(step).__name__}")

    def group(self, step: Step, said: str, parts: list[str]) -> str:
        classes = " ".join(
            name for name, is_so in (("on", step.id == self.chosen), ("new", step.id in self.changed)) if is_so
        )
        pressed = {"data_act": self.act, "data_value": step.id, "tabindex": 0, "role": "button"} if self.act else {}
        return shape("g", *parts, class_=classes or None, aria_label=said, **pressed)

    def pill(self, step: Step, text: str) -> _Block:
        wide = max(52.0, text_width(text, 12) + 44)
        only, lower = self.arms_of(step.only, wide + 20)

        def paint(x: float, y: float) -> list[str]:
            clock = shape(
                "path",
                d=f"M{x + 16:.1f} {y - 3.5:.1f}v3.8h3.2M{x + 22:.1f} {y:.1f}a6 6 0 1 1 -12 0a6 6 0 1 1 12 0",
                class_="env",
            )
            parts = [
                shape("rect", x=x, y=y - _PILL_HIGH / 2, width=wide, height=_PILL_HIGH, rx=14, class_="pill"),
                clock,
                words(x + 29, y + 4, text),
            ]
            return [self.group(step, f"wait {text}", parts), *only(x + 4, y + 24)]

        return _Block(wide, 18, 18 + lower, paint)

    def mail(self, step: Send) -> _Block:
        flow, name = self.flow, str(step.id)
        title, given = plain_name(name), offer_text(step.offer, self.currency)
        lines = []
        if flow is not None:
            lines.append(f"{flow.sent.get(name, 0):,} sent")
            held = [
                f"{count:,} {word}"
                for count, word in ((flow.withheld.get(name, 0), "control"), (flow.skipped.get(name, 0), "not sent"))
                if count
            ]
            if held:
                lines.append(" · ".join(held))
        wide = max([118.0, text_width(title, 13.5) + 50, *(text_width(line, 11.5) + 50 for line in lines)])
        answered = answer_lines(self.answers[name], self.scenario.goal) if name in self.answers else []
        wide = max(wide, text_width(given, 11) + 30 if given else 0, *(text_width(one, 11) + 24 for one in answered))
        wide = min(210.0, wide)
        drawer = 15.0 * len(answered) + 10 if answered else 0.0
        left = self.left_at(name)
        if flow is not None:
            self.people = max(0, (self.people if step.only else flow.reached(name)) - left.total)
        gone = leaving_lines(left, self.scenario.goal)
        wide = max(wide, *(min(210.0, text_width(text, 11) + 30) for text, _ in gone), 0.0)
        only, lower = self.arms_of(step.only, wide)
        high = _CARD_HIGH - (0 if len(lines) > 1 else 14) - (0 if lines else 8)

        def paint(x: float, y: float) -> list[str]:
            top = y - high / 2
            parts = [
                shape("rect", x=x, y=top, width=wide, height=high, rx=11, class_="box"),
                shape(
                    "path",
                    d=f"M{x + 12:.1f} {top + 15:.1f}h18v13h-18zm0 .5l9 7.5l9 -7.5",
                    class_="env",
                ),
                words(x + 38, top + 26, fit_name(title, wide - 48, 13.5), class_="b"),
            ]
            parts += [words(x + 38, top + 43 + 15 * number, line, class_="s") for number, line in enumerate(lines)]
            if given:
                parts.append(
                    shape(
                        "rect", x=x + 10, y=top - 11, width=text_width(given, 11) + 18, height=20, rx=10, class_="give"
                    )
                )
                parts.append(words(x + 18, top + 3, given, class_="givet"))
            said = f"mail {title}, {'; '.join([*lines, given] if given else lines)}"
            shown = [self.group(step, said, parts), *only(x + 8, top + high + drawer + 14)]
            if answered:
                box = shape(
                    "path",
                    d=f"M{x + 8:.1f} {top + high:.1f}v{drawer - 7:.1f}a7 7 0 0 0 7 7h{wide - 30:.1f}"
                    f"a7 7 0 0 0 7 -7v{7 - drawer:.1f}",
                    class_="seen",
                )
                told = [
                    words(x + 15, top + high + 15 + 15 * number, fit_text(one, wide - 24, 11), class_="seent")
                    for number, one in enumerate(answered)
                ]
                shown.append(shape("g", shape("title", f"observed: {'; '.join(answered)}"), box, *told))
            if gone:
                low = top + high + 3 + lower + drawer
                shown.append(shape("path", d=f"M{x + 16:.1f} {low:.1f}v{_GONE_HIGH * len(gone) - 2:.1f}", class_="out"))
                shown += _gone(x + 22, low + 14, gone, wide - 26)
            return shown

        down = high / 2 + lower + drawer + (12 + _GONE_HIGH * len(gone) if gone else 6)
        return _Block(wide, high / 2 + (14 if given else 4), down, paint)

    def arms_of(self, only: Sequence[str], room: float) -> tuple[Callable[[float, float], list[str]], float]:
        """The arms that a step is for, one below the other, and the height they need."""
        shown = list(only) if len(only) <= _MOST_ARMS else list(only[: _MOST_ARMS - 1])
        more = len(only) - len(shown)

        def paint(x: float, y: float) -> list[str]:
            parts = []
            for arm in shown:
                parts.append(shape("circle", cx=x + 4, cy=y - 4, r=4.5, fill=self.colors.get(arm, ARM_COLORS[0])))
                parts.append(words(x + 13, y, fit_name(f"only {arm}", room - 13, 11), class_="s"))
                y += _LINE_HIGH
            return [*parts, words(x + 13, y, f"and {more} more", class_="s")] if more else parts

        return paint, _LINE_HIGH * (len(shown) + bool(more)) + 2.0 if only else 0.0

    def fork(self, step: Step, lanes: Sequence[tuple[str, Sequence[Step]]], title: str) -> _Block:
        before = self.people
        shown = fit_text(title, 190, 12)
        head = text_width(shown, 12) + 26
        blocks, counts = [], []
        for _, steps in lanes:
            self.people = before
            blocks.append(self.row(steps))
            counts.append(self.people)
        self.people = before
        label = max(text_width(name, 11) for name, _ in lanes) + 12
        inner = max(block.width for block in blocks) + label
        heights = [max(block.up, 14.0) + max(block.down, 10.0) for block in blocks]
        total = sum(heights) + _LANE * (len(blocks) - 1)
        width = head + _FORK + inner + _FORK

        def paint(x: float, y: float) -> list[str]:
            ways, parts = [], []
            lane_top = y - total / 2
            start, end = x + head, x + width
            for (name, _), block, high in zip(lanes, blocks, heights, strict=True):
                lane = lane_top + max(block.up, 14.0)
                lane_top += high + _LANE
                middle = start + _FORK / 2
                ways += self.way(
                    f"M{start - 10:.1f} {y:.1f}C{middle:.1f} {y:.1f} {middle:.1f} {lane:.1f} "
                    f"{start + _FORK:.1f} {lane:.1f}h{label:.1f}",
                    before // len(blocks) if self.flow else 0,
                )
                parts.append(words(start + _FORK - 2, lane - 8, name, class_="s"))
                parts += block.paint(start + _FORK + label, lane)
                if not block.ends:
                    done = start + _FORK + label + block.width
                    back = end - _FORK / 2
                    ways += self.way(
                        f"M{done:.1f} {lane:.1f}H{end - _FORK:.1f}"
                        f"C{back:.1f} {lane:.1f} {back:.1f} {y:.1f} {end:.1f} {y:.1f}",
                        before // len(blocks) if self.flow else 0,
                    )
            pill = [
                shape("rect", x=x, y=y - 15, width=head, height=30, rx=6, class_="pill"),
                words(x + 13, y + 4, shown),
            ]
            return [*ways, self.group(step, title, pill), *parts]

        return _Block(width, total / 2 + 8, total / 2 + 8, paint, all(block.ends for block in blocks))

    def repeat(self, step: Repeat) -> _Block:
        inner = self.row(step.steps)
        text = f"× {step.repeat}"

        def paint(x: float, y: float) -> list[str]:
            frame = shape(
                "rect",
                x=x,
                y=y - inner.up - 22,
                width=inner.width,
                height=inner.up + inner.down + 28,
                rx=12,
                class_="out",
            )
            head = [
                shape(
                    "rect",
                    x=x + 12,
                    y=y - inner.up - 34,
                    width=text_width(text, 12) + 20,
                    height=24,
                    rx=12,
                    class_="pill",
                ),
                words(x + 22, y - inner.up - 18, text),
            ]
            return [frame, *inner.paint(x, y), self.group(step, f"repeat {step.repeat} times", head)]

        return _Block(inner.width, inner.up + 38, inner.down + 10, paint, inner.ends)

    def stop(self) -> _Block:
        def paint(x: float, y: float) -> list[str]:
            return [
                shape("circle", cx=x + 10, cy=y, r=10, class_="box"),
                shape("rect", x=x + 6, y=y - 4, width=8, height=8, rx=1.5, fill="var(--soft,#8a93a5)"),
                words(x + 24, y + 4, "ends here", class_="s"),
            ]

        return _Block(80, 14, 14, paint, ends=True)

    # --- the ends -----------------------------------------------------------------------------------------------------

    def start(self) -> _Block:
        title, detail = trigger_text(self.scenario)
        count = counted(self.flow.journeys, "journey") if self.flow else ""
        arms = self.scenario.experiment.arms if self.scenario.experiment else {}
        shown = fit_text(detail, 170, 11)
        told = [f"{fit_name(arm, 124, 11)} {100 * share:.0f}%" for arm, share in arms.items()]
        wide = max(112.0, *(text_width(text, 13) + 28 for text in (title, count)), text_width(shown, 11) + 28)
        lines = [line for line in (shown, count) if line]
        high = 30 + 16 * len(lines)
        left = self.left_at("")
        if self.flow:
            self.people = self.flow.journeys - left.total
        gone = [("before a mail", False), *leaving_lines(left, self.scenario.goal)] if left.total else []
        # What leaves is told beside the arms, and above them where a name is too long for that.
        below = 34.0 + _GONE_HIGH * len(gone)
        lower = (
            max(0.0, below - 14 - high / 2) if gone and any(text_width(text, 11) + 20 > wide for text in told) else 0.0
        )

        def paint(x: float, y: float) -> list[str]:
            top = y - high / 2
            parts = [
                shape("rect", x=x, y=top, width=wide, height=high, rx=12, class_="start"),
                words(x + 14, top + 21, title, class_="b"),
            ]
            parts += [words(x + 14, top + 38 + 16 * number, line, class_="s") for number, line in enumerate(lines)]
            for number, (arm, text) in enumerate(zip(arms, told, strict=True)):
                low = top + high + lower + 17 + 16 * number
                parts.append(shape("circle", cx=x + 10, cy=low - 4, r=4.5, fill=self.colors[arm]))
                parts.append(words(x + 20, low, text, class_="s"))
            if gone:
                parts.append(shape("path", d=f"M{x + wide + 12:.1f} {y + 9:.1f}v26", class_="out"))
                parts += _gone(x + wide + 8, y + 48, gone, _WIDEST_GONE)
            return parts

        return _Block(wide, high / 2 + 4, max(high / 2 + lower + 20 + 16 * len(arms), below if gone else 0), paint)

    def left_at(self, step: str) -> Leaving:
        """Who left after a send step; after none of them where it is empty."""
        return self.flow.left.get(step, Leaving()) if self.flow else Leaving()

    def lead(self) -> float:
        """How far the first step stands from the start, so that the words on who leaves before a mail find room."""
        left = self.left_at("")
        if not left.total:
            return 0.0
        texts = ["before a mail", *(text for text, _ in leaving_lines(left, self.scenario.goal))]
        needed = min(_WIDEST_GONE, max(text_width(text, 11) for text in texts)) + 20
        first = self.scenario.steps[0] if self.scenario.steps else None
        free = 2 * _GAP + self.step(first).width if isinstance(first, Wait) and not first.only else _GAP
        return max(40.0, needed - free)

    def end(self) -> _Block:
        lines: list[tuple[str, bool]] = []
        if self.flow:
            left = sum(self.flow.left.values(), Leaving())
            lines = [(f"{self.flow.finished:,} at the end", False)] if self.flow.finished else []
            lines += leaving_lines(left, self.scenario.goal)
            lines += [(f"{self.flow.still_open:,} under way", False)] if self.flow.still_open else []
        wide = 34 + max((min(_WIDEST_GONE, text_width(line, 11)) for line, _ in lines), default=20)

        def paint(x: float, y: float) -> list[str]:
            top = y - 8 * (len(lines) - 1) + 4
            return [
                shape("circle", cx=x + 9, cy=y, r=9, class_="start"),
                shape("path", d=f"M{x + 5:.1f} {y:.1f}l3 3l6 -6.5", class_="env"),
                *_gone(x + 26, top, lines, _WIDEST_GONE, high=16.0),
            ]

        return _Block(wide, 12 + 8 * len(lines), 12 + 8 * len(lines), paint)


def _gone(x: float, y: float, lines: Sequence[tuple[str, bool]], room: float, *, high: float = _GONE_HIGH) -> list[str]:
    """Who left, a kind a line; bad news in a colour of its own."""
    return [
        words(x, y + high * number, fit_text(text, room, 11), class_="s bad" if is_bad else "s")
        for number, (text, is_bad) in enumerate(lines)
    ]


def diagram(
    scenario: Scenario,
    run: Run | None = None,
    *,
    answers: Mapping[str, StepAnswers] | None = None,
    act: str | None = None,
    chosen: str | None = None,
    changed: frozenset[str] = frozenset(),
) -> str:
    """A scenario as a picture, with the people of a replay flowing through it.

    Args:
        scenario: what to draw.
        run: a replay of it; without one, no counts are shown. Counts are exact.
        answers: how people answered the mails that the log holds, from `engine.flow.answers_of`: below each mail, in a
            box of its own, because they are observed, and of the mails that really went.
        act: what a step tells its screen when it is pressed; steps cannot be pressed unless given.
        chosen: id of the step to mark as chosen.
        changed: ids of steps to mark as changed.

    Returns:
        SVG. The wider a line, the more people.

    >>> from toolkit.scenario import load
    >>> diagram(load("templates/abandoned_cart")["abandoned_cart"]).count("mail reminder")
    1
    """
    flow = flow_of(run, scenario.scenario) if run is not None else None
    money = None if run is None else run.program.policies.currency
    drawer = _Drawer(scenario, flow, answers or {}, act=act, chosen=chosen, changed=changed, currency=money)
    start = drawer.start()
    row = drawer.row(scenario.steps)
    end = drawer.end()
    up = max(start.up, row.up, end.up) + _MARGIN
    down = max(start.down, row.down, end.down) + _MARGIN
    lead = drawer.lead()
    width = start.width + lead + row.width + (0 if row.ends else end.width) + 2 * _MARGIN
    x = _MARGIN + start.width
    parts = drawer.way(f"M{x - 6:.1f} {up:.1f}h{lead + 8:.1f}", flow.journeys if flow else 0)
    parts += row.paint(x + lead, up) + start.paint(_MARGIN, up)
    if not row.ends:
        parts += end.paint(x + lead + row.width, up)
    return shape(
        "svg",
        f"<style>{STYLE}</style>",
        *parts,
        viewBox=f"0 0 {width:.0f} {up + down:.0f}",
        width=f"{width:.0f}",
        height=f"{up + down:.0f}",
        role="group",
        class_="ttk-plot tkd",
        style=f"max-width:100%;min-width:{_SMALLEST * width:.0f}px;height:auto",
        aria_label=f"Diagram of {plain_name(scenario.scenario)}",
    )
