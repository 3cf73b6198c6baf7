"""A sending in the background: watched, paused, resumed and stopped while it runs, without blocking a cell."""

from __future__ import annotations

import contextlib
import html
import threading
from collections.abc import Callable
from dataclasses import replace

from toolkit.errors import LedgerError
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.sender.progress import Progress
from toolkit.sending.sender.report import Report
from toolkit.sending.sender.sender import Sender

__all__ = ["Running", "SendingJob"]

Observer = Callable[[Progress], None]


class SendingJob:
    """One sending, in a thread of its own; from `start_sending`.

    The cell that starts it returns at once. Anyone may look at `progress`, or be told by `observe`; `pause`, `resume`
    and `stop` work while it runs and return at once, too. Nothing is lost by any of them, nor by a kernel that dies:
    start the same batch again to go on.

        job = start_sending(batch, approval, transport="outbox:./outbox", confirm=len(batch))
        quit = job.observe(lambda look: print(look))     # called from the sender's thread, at most ten times a second
        job.pause(by="ana")                              # what is under way is finished, nothing new begins
        job.resume(by="ana")
        job.stop()                                       # the same, and the job ends; the rest waits in the ledger
        report = job.wait()                              # blocks; raises what stopped the sending, if anything did

    Attributes:
        run_id: names the run in the ledger.
        total: mails of the batch.
        faults: errors of observers; an observer that raises is told nothing more.
    """

    def __init__(
        self, sender: Sender, *, release: Callable[[], None] = lambda: None, notes: tuple[str, ...] = ()
    ) -> None:
        self._sender = sender
        self._notes = notes  # for the report
        self._release = release
        self._observers: list[Observer] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._report: Report | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sending", daemon=True)
        self.run_id = sender.run_id
        self.total = sender.total
        self.faults: list[BaseException] = []
        sender.tell = self._told

    def start(self) -> SendingJob:
        """The job itself, now running."""
        self._thread.start()
        return self

    def __repr__(self) -> str:
        return f"SendingJob({self.progress})"

    def _repr_html_(self) -> str:
        if self._report is not None:
            return self._report._repr_html_()
        hint = "<p style='opacity:.75'>job.progress looks again; job.pause(by=…), job.stop(), job.wait()</p>"
        said = f"<p><b>{html.escape(str(self._error))}</b></p>" if self._error else hint
        return self.progress._repr_html_() + said

    # --- looking on ---------------------------------------------------------------------------------------------------

    @property
    def progress(self) -> Progress:
        """How far it has come, now."""
        return self._sender.progress

    @property
    def is_running(self) -> bool:
        """Whether it still sends, waits or is paused."""
        return not self._over.is_set()

    @property
    def report(self) -> Report | None:
        """What became of each mail; None while it runs, or when it failed."""
        return self._report

    @property
    def error(self) -> BaseException | None:
        """What ended the sending early; None while it runs, and when it went well."""
        return self._error

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Call a function with each new `Progress`, at once for the first time.

        It is called from the sender's thread, at most ten times a second, and once more at the end, when
        `progress.is_over`. It must return soon. What it raises is kept in `faults`, and it is not called again.

        Returns:
            A function that ends the watching.
        """
        with self._lock:
            self._observers.append(observer)
        self._tell(observer, self.progress)

        def quit_watching() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._observers.remove(observer)

        return quit_watching

    def wait(self, timeout: float | None = None) -> Report:
        """The report, when it is over.

        Args:
            timeout: seconds; None waits as long as it takes.

        Raises:
            TimeoutError: it still runs.
            SendingError: what ended it early.
        """
        if not self._over.wait(timeout):
            raise TimeoutError(f"the sending still runs after {timeout:g} s: {self.progress}")
        if self._error is not None:
            raise self._error
        if self._report is None:
            raise LedgerError("the sending ended without a report")
        return self._report

    # --- steering -----------------------------------------------------------------------------------------------------

    def pause(self, *, by: str) -> None:
        """Begin no further mail, here or in any other sender of this run; what is under way is finished.

        Args:
            by: who does it; written to the audit.
        """
        self._sender.pause(by=by)

    def resume(self, *, by: str) -> None:
        """Go on after a pause, one that the sender made itself included.

        Args:
            by: who does it; written to the audit.

        Raises:
            LedgerError: the run is not paused.
        """
        self._sender.resume(by=by)

    def stop(self) -> None:
        """Begin no further mail here, finish what is under way, and end the job. The rest waits in the ledger."""
        self._sender.stop.set()
        self._told(self.progress)

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._report = replace(self._sender.run(), notes=self._notes)
        except BaseException as fault:  # told by wait(), and by the last progress
            self._error = fault
        finally:
            self._release()
            self._over.set()
            self._told(self.progress)

    def _told(self, look: Progress) -> None:
        with self._lock:
            observers = list(self._observers)
        for observer in observers:
            self._tell(observer, look)

    def _tell(self, observer: Observer, look: Progress) -> None:
        try:
            observer(look)
        except Exception as fault:
            self.faults.append(fault)
            with self._lock, contextlib.suppress(ValueError):
                self._observers.remove(observer)


class Running:
    """The jobs of this process that still run, so that a notebook run again shows the same job."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[str, str], SendingJob] = {}
        self._lock = threading.Lock()

    def job(self, ledger: Ledger, run_id: str, make: Callable[[Callable[[], None]], SendingJob]) -> SendingJob:
        """The job of that run that runs already, else a new one, started."""
        name = (ledger.place, run_id)
        with self._lock:
            known = self._jobs.get(name)
            if known is not None and known.is_running:
                ledger.close()
                return known
            job = make(lambda: self._gone(name))
            self._jobs[name] = job
        return job.start()

    def _gone(self, name: tuple[str, str]) -> None:
        with self._lock:
            self._jobs.pop(name, None)
