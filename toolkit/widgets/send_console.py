"""The way out: a count to type, a bar that moves, a pause and a stop; nothing leaves as the side effect of a cell."""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pandas as pd

from toolkit.charts.style import hours_text
from toolkit.errors import InputError
from toolkit.sending import Approval, Batch, Ledger, Report, SendingJob, Transport, start_sending, transport
from toolkit.sending.batch.manifest import digest_of
from toolkit.sending.sender.progress import Phase, Progress
from toolkit.sending.states import State
from toolkit.widgets.approval_desk import ApprovalDesk, folder_of, into, nothing_due
from toolkit.widgets.guard import told
from toolkit.widgets.markup import Html, button, card, field, note, progress_bar, table, tag, together
from toolkit.widgets.panel import Panel

__all__ = ["SendConsole"]

_UNKNOWN, _FAILED = "unknown: they may or may not have arrived", "refused for good"
_ADDRESS = re.compile(r"[^\s<>]+@[^\s<>:;,]+")
_MOST_REFUSED = 50
_SHORT = 90  # seconds; what takes longer is told in minutes
_STARTED: dict[str, SendingJob] = {}  # the last job by ledger, so that a cell run again shows it
_OPEN: weakref.WeakSet[SendConsole] = weakref.WeakSet()  # all of them, so that those of one batch show one job
_LOCK = threading.Lock()


class SendConsole(Panel):
    """Sends a signed batch, beside the notebook, when somebody types how many mails it has and presses Send.

    Running the cell again sends nothing: it shows the same job. What is shown is what the job and the ledger say.

    Args:
        batch: a batch, or the `ApprovalDesk` it is signed on; the console then waits for the signature.
        approval: the signature, where a batch was given.
        transport: the way out, for example `outbox:./outbox`.
        ledger: path or URL of the ledger; the batch's, else the transport's own unless given.

    Attributes:
        value: the `Report` of the sending, frozen; None until it has ended.
        job: the `SendingJob`, or None before anything was sent.

    Raises:
        InputError: a way out that is none, or one without a ledger of its own where none was named.
    """

    _quit: Callable[[], None] | None = None

    def __init__(
        self,
        batch: Batch | ApprovalDesk,
        approval: Approval | None = None,
        *,
        transport: str | Transport = "outbox:./outbox",
        ledger: str | None = None,
    ) -> None:
        if not isinstance(batch, Batch | ApprovalDesk):
            raise InputError(
                f"batch: expected what tk.prepare gives, or the desk it is signed on; found {type(batch).__name__}"
            )
        self._desk = batch if isinstance(batch, ApprovalDesk) else None
        self.batch = batch.batch if isinstance(batch, ApprovalDesk) else batch
        self._given = approval
        self._way = transport
        self._opened = _opened(transport)
        where = ledger or self.batch.ledger or self._opened.ledger
        if where is None:
            raise InputError(
                f"{self._opened.name} has no ledger of its own; name one: prepare(..., ledger='ledger.sqlite')"
            )
        self._ledger = str(where)
        self._typed, self._said = "", ""
        self._is_sure = False
        self._gone = 0  # cancelled after the sending had ended
        self._drawing = threading.Lock()
        self.job: SendingJob | None = None
        super().__init__(title="Send")
        if self._desk is not None:
            self._desk.on_change(self._signed)
        with _LOCK:
            _OPEN.add(self)
            known = _STARTED.get(self._ledger)
        if known is not None and known.is_running and self._is_sent_by(known):
            self._follow(known)
        self.redraw()

    @property
    def value(self) -> Report | None:
        """The report."""
        return None if self.job is None else self.job.report

    @property
    def approval(self) -> Approval | None:
        """The signature under the batch, or None."""
        return self._given if self._desk is None else self._desk.value

    def wait(self, seconds: float = 60.0) -> Report | None:
        """Wait until the sending has ended.

        Raises:
            TimeoutError: it still runs.
            SendingError: what ended it early.
        """
        return None if self.job is None else self.job.wait(seconds)

    # --- what is pressed ----------------------------------------------------------------------------------------------

    def act_count(self, value: Any) -> None:
        """How many mails somebody expects to send."""
        self._typed = str(value).strip().replace(",", "").replace(" ", "")

    def act_send(self, value: Any) -> None:
        """Send."""
        if self._typed != str(len(self.batch)):
            found = self._typed or "nothing"
            raise InputError(f"type {len(self.batch)} to send {len(self.batch):,} mails; found {found}")
        self._start()

    def act_again(self, value: Any) -> None:
        """Go on where it was stopped, or where it broke off."""
        self._said = ""
        if self._ledger_state() == "paused":
            with Ledger.open(self._ledger) as ledger:
                ledger.resume(self._run_id(), by=self._by())
        self._start()

    def act_pause(self, value: Any) -> None:
        """Stop for a while; mails under way are finished."""
        self._running().pause(by=self._by())

    def act_resume(self, value: Any) -> None:
        """Go on after a pause."""
        self._running().resume(by=self._by())

    def act_stop(self, value: Any) -> None:
        """Stop: mails under way are finished, the rest waits in the ledger."""
        self._running().stop()

    def act_cancel(self, value: Any) -> None:
        """Never send the rest; the second press does it."""
        if not self._is_sure:
            self._is_sure = True
            return
        self._is_sure = False
        with Ledger.open(self._ledger) as ledger:
            self._gone += ledger.cancel(self._run_id(), by=self._by())
        self._said = f"{self._gone:,} mails will not be sent, by no later batch either."

    def act_keep(self, value: Any) -> None:
        """Let the rest wait after all."""
        self._is_sure = False

    def act_sent(self, value: Any) -> None:
        """Take an unknown mail as sent."""
        with Ledger.open(self._ledger) as ledger:
            ledger.assume_sent(str(value), by=self._by())

    def act_resend(self, value: Any) -> None:
        """Let an unknown mail go again; it may arrive twice."""
        with Ledger.open(self._ledger) as ledger:
            ledger.send_again(str(value), by=self._by())

    # --- the job ------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        approval = self.approval
        if approval is None:
            raise InputError("nobody has signed for this batch yet")
        job = start_sending(self.batch, approval, transport=self._way, confirm=len(self.batch), ledger=self._ledger)
        with _LOCK:
            _STARTED[self._ledger] = job
            beside = [one for one in _OPEN if one is not self and one._ledger == self._ledger]
        self._follow(job)
        for one in beside:
            if one.job is not job and one._run_id() == job.run_id:
                one._follow(job)

    def _is_sent_by(self, job: SendingJob) -> bool:
        """Whether a job sends this batch, or what was due when this cell ran before; not another batch."""
        if not len(self.batch) or job.progress.phase is Phase.PLANNING:
            return True
        with Ledger.as_it_is(self._ledger) as ledger:
            rows = ledger.rows([mail.letter.decision_id for mail in self.batch.mails])
        return any(row.run_id == job.run_id for row in rows)

    def _follow(self, job: SendingJob) -> None:
        if self._quit is not None:
            self._quit()
        self.job = job
        self._gone = 0
        self._quit = job.observe(self._moved)

    def _end(self) -> None:
        # The sending goes on: it is the ledger's and not the screen's.
        with _LOCK:
            _OPEN.discard(self)
        if self._quit is not None:
            self._quit()

    def redraw(self) -> None:
        """Draw the screen; safe from any thread."""
        with self._lock:
            self._draw()

    def _draw(self) -> None:
        # Two threads draw. One after the other, so that an earlier look never replaces a later one.
        with self._drawing:
            self.view = str(self.body())

    def _moved(self, look: Progress) -> None:
        # From the sender's thread: it must never wait for a screen that waits for the sender.
        try:
            self._draw()
            if look.is_over:
                self.changed()
        except Exception as fault:
            self.error = told(fault)

    def _running(self) -> SendingJob:
        if self.job is None or not self.job.is_running:
            raise InputError("nothing is being sent just now")
        return self.job

    def _signed(self, approval: Approval | None) -> None:
        self._typed, self._said = "", ""
        self.guarded_draw()

    def _by(self) -> str:
        return self.approval.by if self.approval is not None else "notebook"

    def _run_id(self) -> str:
        if self.job is not None:
            return self.job.run_id
        return digest_of([self.batch.digest, self.approval.id]) if self.approval is not None else ""

    def _ledger_state(self) -> str | None:
        run_id = self._run_id()
        if not run_id:
            return None
        with Ledger.if_there(self._ledger) as ledger:
            return None if ledger is None else ledger.run_state(run_id)

    # --- how it shows -------------------------------------------------------------------------------------------------

    def body(self) -> Html:
        """Where the sending stands, and what can be done now."""
        kind = "a rehearsal, it reaches nobody" if self._opened.rehearsal else "it reaches people"
        head = tag("header", tag("h3", "Send"), tag("span", f"{into(self._opened.name)}: {kind}", class_="ttk-soft"))
        job = self.job
        if job is None:
            if not len(self.batch):
                return together([head, note(nothing_due(self.batch), tone="good")])
            if self.approval is None:
                return together([head, note("Waiting for a signature on the approval desk.")])
            if self._ledger_state() in ("active", "paused"):
                words = "The sending of this batch has begun and not ended. Nothing is lost; nobody is mailed twice."
                return together([head, note(words, tone="careful"), self._row([button("Go on", "again", kind="main")])])
            if self._ledger_state() in ("done", "cancelled"):
                return together([head, *self._over()])
            return together([head, self._locked(len(self.batch))])
        look = job.progress
        parts: list[Html | None] = [head, self._bar(look), _numbers(look, self._gone), self._buttons(job, look)]
        if job.error is not None:
            words = f"{told(job.error)}. Nothing is lost: Go on continues where it stopped."
            parts.append(tag("div", note(words, tone="bad"), class_="ttk-gap"))
        if self._said:
            parts.append(tag("div", note(self._said), class_="ttk-gap"))
        if job.report is not None:
            is_whole = look.phase is Phase.DONE and not (look.unknown or look.failed or job.report.waiting > self._gone)
            tone = "good" if is_whole else "careful"
            parts.append(
                tag(
                    "div", note(_ended(job.report, self._gone) + _where(self._opened.name), tone=tone), class_="ttk-gap"
                )
            )
        if look.failed:
            parts.append(self._refused())
        if look.unknown:
            parts.append(self._unknowns())
        return together(parts)

    def _over(self) -> list[Html]:
        """What became of this batch, where another screen or session has sent it."""
        with Ledger.as_it_is(self._ledger) as ledger:
            counts = ledger.counts(self._run_id())
        sent, failed, unknown = (counts[state] for state in (State.ACCEPTED, State.FAILED, State.UNKNOWN))
        rest = counts.total() - sent - failed - unknown
        words = _listed(sent, "sent", [(rest, "not to be sent any more"), (unknown, _UNKNOWN), (failed, _FAILED)])
        said = note(
            f"This batch has been sent: {words}. Nothing of it is left to send.",
            tone="careful" if failed or unknown else "good",
        )
        return [said, *([self._refused()] if failed else []), *([self._unknowns()] if unknown else [])]

    def _locked(self, total: int) -> Html:
        return together(
            [
                note(f"Signed. To send, type how many mails this batch has: {total:,}."),
                tag(
                    "div",
                    field("Number of mails", "count", self._typed, size=8, inputmode="numeric", data_live="true"),
                    button(f"Send {total:,} mails", "send", kind="main", off=self._typed != str(total)),
                    class_="ttk-row ttk-end ttk-gap",
                ),
            ]
        )

    def _bar(self, look: Progress) -> Html:
        count = look.settled if look.looked_at is None else look.looked_at
        words = [f"{count:,} of {look.total:,}{' settled' if look.looked_at is None else ''}", look.phase.value]
        if look.phase is Phase.SENDING and look.rate:
            words.append(f"{look.rate:,.0f} a second")
        if look.left_seconds is not None:
            words.append(f"about {_length(look.left_seconds)} left")
        if look.note and look.phase is not Phase.FAILED:  # the fault is told below
            words = [*words[:-1], look.note] if look.note.startswith(words[-1]) else [*words, look.note]
        return progress_bar(count, look.total, " · ".join(words))

    def _buttons(self, job: SendingJob, look: Progress) -> Html:
        buttons: list[Html] = []
        if job.is_running and look.phase is Phase.PAUSED:
            buttons.append(button("Go on", "resume", kind="main"))
        elif job.is_running and not look.is_over and look.phase is not Phase.STOPPING:
            buttons.append(button("Pause", "pause", kind="main"))
        if job.is_running and not look.is_over:
            buttons.append(button("Stop", "stop", kind="danger", off=look.phase is Phase.STOPPING))
        elif self._ledger_state() in ("active", "paused"):
            buttons.append(button("Go on", "again", kind="main"))
            words = "Press again: the rest is never sent" if self._is_sure else "Never send the rest"
            buttons.append(button(words, "cancel", kind="danger"))
            if self._is_sure:
                buttons.append(button("Let it wait", "keep"))
        return self._row(buttons)

    def _row(self, buttons: list[Html]) -> Html:
        return tag("div", *buttons, class_="ttk-row ttk-gap") if buttons else Html("")

    def _refused(self) -> Html:
        """Who got nothing because a mail server refused, and what it said."""
        with Ledger.as_it_is(self._ledger) as ledger:
            found: pd.DataFrame = ledger.deliveries(state="failed")
        mine = found[found["run_id"] == self._run_id()].head(_MOST_REFUSED)
        shown = pd.DataFrame(
            {
                "customer": mine["customer_id"].astype(str),
                "what the server said": mine["reason"].fillna("").map(lambda said: _ADDRESS.sub("…", str(said))),
            }
        )
        return tag("details", tag("summary", "Who was refused, and why"), table(shown), class_="ttk-gap")

    def _unknowns(self) -> Html:
        with Ledger.as_it_is(self._ledger) as ledger:
            found: pd.DataFrame = ledger.deliveries(state="unknown")
        rows = [
            tag(
                "tr",
                tag("td", str(row.customer_id)),
                tag("td", str(row.reason or "")),
                tag(
                    "td",
                    button("It arrived", "sent", value=row.decision_id),
                    " ",
                    button("Send again (may arrive twice)", "resend", value=row.decision_id),
                ),
            )
            for row in found.head(50).itertuples()
        ]
        return tag(
            "div",
            tag("h4", "Nobody knows whether these arrived"),
            tag("div", tag("table", tag("tbody", *rows)), class_="ttk-table"),
            class_="ttk-gap",
        )


def _length(seconds: float) -> str:
    """How long something still takes, as people say it.

    >>> _length(0.2), _length(45), _length(5_000)
    ('1 s', '45 s', '1 h 23 min')
    """
    return f"{max(1, round(seconds))} s" if seconds < _SHORT else hours_text(seconds / 3600)


def _ended(report: Report, gone: int) -> str:
    """What became of the batch, in a sentence; what is zero is left out."""
    rest = [
        (report.already_sent, "sent before and not again"),
        (report.skipped + gone, "not to be sent any more"),
        (report.waiting - gone, "still waiting"),
        (report.held_back, "held back by the limits of the approval"),
        (report.unknown, _UNKNOWN),
        (report.failed, _FAILED),
    ]
    waits = f" Waiting: {'; '.join(report.waits_for)}." if report.waiting > gone and report.waits_for else ""
    return f"{_listed(report.sent, 'sent now', rest)}.{waits}"


def _listed(sent: int, words: str, rest: list[tuple[int, str]]) -> str:
    return ", ".join([f"{sent:,} {words}", *(f"{count:,} {said}" for count, said in rest if count)])


def _where(name: str) -> str:
    """Where the mails of a rehearsal can be looked at."""
    if not name.startswith("outbox:"):
        return ""
    return f" They lie in the folder {folder_of(name)}, one file for each; any mail program opens them."


def _numbers(look: Progress, gone: int) -> Html:
    return tag(
        "div",
        card("Sent", f"{look.sent:,}", "now"),
        card("Sent before", f"{look.already_sent:,}", "not sent again"),
        card("Waiting", f"{look.waiting + look.deferred - gone:,}"),
        card("Not sent", f"{look.skipped + gone:,}", "cancelled, suppressed or expired"),
        card("Failed", f"{look.failed:,}", tone="bad" if look.failed else ""),
        card("Unknown", f"{look.unknown:,}", tone="bad" if look.unknown else ""),
        class_="ttk-cards ttk-six ttk-gap",
    )


def _opened(way: str | Transport) -> Transport:
    return transport(way)
