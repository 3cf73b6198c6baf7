"""The sender that runs as a user of its own: takes approved batches from a folder and sends them.

Whoever writes notebooks can put batches into the folder; only this user knows who may approve, holds the credentials
and writes the ledger. So an approval is enforced here, not only asked for.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from toolkit.errors import ApprovalError, InputError, SendingError, ToolkitError
from toolkit.events import EventLog
from toolkit.sending.answered import answers_place, told
from toolkit.sending.approval.policy import ApprovalPolicy
from toolkit.sending.bundle import Bundle
from toolkit.sending.clock import Clock, utc_now
from toolkit.sending.delivery import run_record
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.protocol import Transport
from toolkit.sending.sender.fitness import fit_to_send
from toolkit.sending.sender.gate import gate_of
from toolkit.sending.sender.key_check import check_links
from toolkit.sending.sender.report import Report
from toolkit.sending.sender.sender import Sender
from toolkit.sending.stopping import Step
from toolkit.sending.transports import transport as transport_of

__all__ = ["serve", "take_one"]

_REMEDY = (
    "give the notebook's user a copy of this ledger's .key file and prepare again with it, or take tracking: out of "
    "the policies"
)

_WAITING, _FAULT = 60.0, 600.0  # seconds, the longest between two looks at a batch


def serve(
    spool: str | os.PathLike[str],
    *,
    transport: str | Transport,
    ledger: str | os.PathLike[str],
    policy: ApprovalPolicy,
    log: Callable[[], EventLog] | None = None,
    every: float = 5.0,
    once: bool = False,
    stop: threading.Event | None = None,
    say: Callable[[str], None] = lambda line: None,
    clock: Clock = utc_now,
) -> int:
    """How many batches were sent or refused, when it is stopped.

    What was sent goes to `done/` below the folder, with its report beside it, what was refused to `refused/`, with the
    reason. A batch whose sending was broken off stays, and goes on; it is looked at less and less often, since each
    look checks every byte of it and may ask a server for the password again: at most a minute apart where mails wait,
    ten where something failed.

    Args:
        spool: the folder that `submit` writes to.
        transport: the way out.
        ledger: path or URL of the ledger.
        policy: who must approve. The one in the batch's templates is not believed.
        log: reads the log as it is by now, anew for each batch: whoever unsubscribed, bounced or did what ends the
            scenario since the batch was prepared is not mailed. The suppression list is asked again for each mail, and
            the ledger for the caps, with or without it.
        every: seconds between looks at the folder.
        once: look once.
        stop: ends it, between two mails.
        say: is told one line for each batch, and again where it changes.
        clock: tells the time; with a ledger in PostgreSQL its server's clock does, where this machine's own is meant.

    Raises:
        InputError: not a way out, or a folder for outcomes that is not this user's own.
    """
    folder, over, count = Path(spool), stop or threading.Event(), 0
    way = transport_of(transport)  # here, since a way out that is none is no fault of the batches
    folder.mkdir(parents=True, exist_ok=True)
    later: dict[Path, _Later] = {}
    while not over.is_set():
        batches = _batches(folder)
        later = {path: later.get(path) or _Later(every) for path in batches}
        for path in batches:
            if over.is_set():
                break
            if time.monotonic() < later[path].at:
                continue
            try:
                report = take_one(path, transport=way, ledger=ledger, policy=policy, log=log, stop=over, clock=clock)
            except (ApprovalError, InputError) as fault:
                with suppress(FileNotFoundError):  # another sender put it away, or its owner took it back
                    _put_away(path, folder / "refused", {"refused": str(fault)})
                say(f"{path.name}: refused: {fault}")
                count += 1
            except ToolkitError as fault:
                later[path].wait(f"{path.name}: broken off, goes on later: {fault}", _FAULT, say)
            else:
                later[path].wait(f"{path.name}: {report}", _WAITING, say)
                if not report.waiting:
                    with suppress(FileNotFoundError):
                        _put_away(path, folder / "done", {"report": str(report), "audit": report.audit})
                    count += 1
        if once:
            break
        over.wait(every)
    return count


@dataclass(slots=True)
class _Later:
    """When a batch that is not over is looked at again, and what was said of it last."""

    pause: float
    at: float = 0.0
    said: str = ""

    def wait(self, said: str, longest: float, say: Callable[[str], None]) -> None:
        if said != self.said:
            say(said)
        self.said = said
        self.at = time.monotonic() + self.pause
        self.pause = max(self.pause, min(2 * self.pause, longest))


def take_one(
    folder: str | os.PathLike[str],
    *,
    transport: str | Transport,
    ledger: str | os.PathLike[str],
    policy: ApprovalPolicy,
    log: Callable[[], EventLog] | None = None,
    stop: threading.Event | None = None,
    clock: Clock = utc_now,
) -> Report:
    """One batch from its folder, checked and sent; safe to call again.

    Raises:
        ApprovalError: anything in the folder is not as it was approved, or not by enough people. Nothing was sent.
        InputError: the folder holds no batch.
        LedgerError: the ledger was put back from a backup, and does not know what left since. Nothing was sent.
        SendingError: the way out or the ledger failed midway; call again to go on.
        KeyboardInterrupt: it was stopped.
    """
    bundle = Bundle(folder, stop=stop)
    try:
        with Ledger.open(ledger, clock=clock) as opened:
            clock = opened.clock  # one for the approval, the gate and the mails
            bundle.check(policy, clock=clock)
            way = transport_of(transport)
            fit_to_send(opened, way)
            if not way.rehearsal:
                check_links(bundle, os.fspath(ledger), remedy=_REMEDY)
            run = run_record(bundle, bundle.approvals, way)
            gate = _of_this_log(gate_of(bundle, opened, _read(log), clock, way=way, run_id=run.id))
            tracker = partial(told, bundle, opened, answers_place(ledger), run_id=run.id, clock=clock)
            telling = tracker if len(bundle) else None
            sender = Sender(bundle, run, way, opened, before=bundle.left_out, clock=clock, gate=gate, tracker=telling)
            if stop is not None:
                sender.stop = stop
            return replace(sender.run(), notes=bundle.set_aside)
    finally:
        bundle.close()


def _read(log: Callable[[], EventLog] | None) -> EventLog | None:
    try:
        return None if log is None else log()
    except ToolkitError as fault:  # no fault of the batch, which waits until the log can be read
        raise SendingError(f"the log cannot be read: {fault}") from fault


def _of_this_log(gate: Callable[[Step], Mapping[str, str]]) -> Callable[[Step], Mapping[str, str]]:
    """The gate, where a log that lacks what the scenarios ask for keeps the batch waiting, too."""

    def closed(step: Step) -> Mapping[str, str]:
        try:
            return gate(step)
        except InputError as fault:
            raise SendingError(f"the log does not fit the batch: {fault}") from fault

    return closed


def _batches(folder: Path) -> list[Path]:
    """The batches that have no outcome yet, the oldest first."""
    came = {path: when for path in folder.iterdir() if (when := _waits_since(path)) is not None}
    return sorted(came, key=lambda path: came[path])


def _waits_since(path: Path) -> float | None:
    """When a batch came that has no outcome yet; None where there is none, or one that is still being written."""
    if path.name.startswith(".") or path.is_symlink():
        return None
    try:
        came = path.stat().st_mtime
    except FileNotFoundError:  # taken away a moment ago
        return None
    with suppress(PermissionError):  # a folder that nobody else may look into is refused, with this reason
        if not (path / "manifest.json").is_file():
            return None
    outcomes = [path.parent / over / path.name / "outcome.json" for over in ("done", "refused")]
    return None if any(one.is_file() and one.stat().st_mtime >= came for one in outcomes) else came


def _put_away(path: Path, folder: Path, said: dict[str, str]) -> None:
    """Move a batch to where batches with an outcome are; one that belongs to another user stays, and is known as over.

    It is not moved even where its owner would let us: they could change it while its outcome is written.
    """
    folder.mkdir(exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise InputError(f"sender: {folder} is not this user's own; what it says could be another's")
    target = folder / path.name
    if path.lstat().st_uid == os.geteuid():
        number = 1
        while target.exists():
            number += 1
            target = folder / f"{path.name}.{number}"
        os.rename(path, target)
    else:
        # In a folder of our own: in the other's, a link could lead what is written anywhere.
        target.mkdir(exist_ok=True)
    part = target / f".outcome.{secrets.token_hex(4)}"
    part.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    os.replace(part, target / "outcome.json")
