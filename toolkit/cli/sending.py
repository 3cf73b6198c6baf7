"""Commands that send (sender, approve, send-test, run, parity), and that hold it up (pause, resume, cancel, revoke)."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from toolkit.cli.app import STOPPED, app, plain_errors
from toolkit.cli.ledgers import ByOption, LedgerOption, WhyOption, opened_ledger
from toolkit.cli.logs import (
    EventsOption,
    LogOptions,
    growing_log,
    read_log,
    with_log_options,
)
from toolkit.errors import InputError, nearest, shown
from toolkit.events.times import moment_of
from toolkit.readable import counted
from toolkit.scenario import load
from toolkit.sending import (
    ApprovalPolicy,
    StandingApproval,
    approve_standing,
    keep_sending,
    load_approval,
    prepare,
    send_test,
    serve,
)
from toolkit.sending import parity as compare_day
from toolkit.sending.clock import length
from toolkit.sending.preparation.notes import made_up_in
from toolkit.sending.sender.key_check import named_elsewhere

__all__: list[str] = []

TransportOption = Annotated[str, typer.Option("--transport", help="The way out, such as smtp:mail.example.org.")]


HeldArgument = Annotated[
    str,
    typer.Argument(
        help="A standing approval's file, which holds up its loop; or the id of a run or an approval, or how it begins."
    ),
]


@app.command()
def pause(what: HeldArgument, ledger: LedgerOption, by: ByOption, why: WhyOption = "") -> None:
    """Let no more mails of a run go, or of a loop, wherever it is being sent; those under way are finished."""
    with plain_errors(), opened_ledger(ledger) as opened:
        opened.pause(_held(what), by=by, why=why)
        typer.echo(f"{what}: paused; `toolkit resume {what} --ledger {ledger} --by NAME` lets it go on")


@app.command()
def resume(what: HeldArgument, ledger: LedgerOption, by: ByOption, why: WhyOption = "") -> None:
    """Let a paused run or loop go on, with the next round, the sender's next look, or where `send` is called again."""
    with plain_errors(), opened_ledger(ledger) as opened:
        opened.resume(_held(what), by=by, why=why)
        typer.echo(f"{what}: goes on with the next round or sending; failures and bounces are counted afresh")


@app.command()
def cancel(
    run: Annotated[str, typer.Argument(help="The run's id, from `toolkit status`, or how it begins.")],
    ledger: LedgerOption,
    by: ByOption,
    why: WhyOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only look.")] = False,
) -> None:
    """End a run: what it has not sent goes no more, by no later batch either."""
    with plain_errors(), opened_ledger(ledger, only_look=not yes) as opened:
        if yes:
            typer.echo(f"{run}: cancelled; {counted(opened.cancel(run, by=by, why=why), 'mail')} will not go")
            return
        runs = opened.status()
        mine = runs[runs["run_id"].str.startswith(run)] if run else runs[:0]
        if len(mine) != 1:
            raise InputError(f"{run}: {len(mine)} runs are called so; see `toolkit status --ledger {ledger}`")
        waiting = int(mine[["planned", "deferred"]].to_numpy().sum())
        typer.echo(f"{run}: {counted(waiting, 'mail')} would not go, by no later batch either; --yes does it")


@app.command()
def revoke(
    approval: Annotated[str, typer.Argument(help="The approval's file, or its whole id.")],
    ledger: LedgerOption,
    by: ByOption,
    why: WhyOption = "",
) -> None:
    """Take an approval back; its runs end wherever they are being sent."""
    with plain_errors(), opened_ledger(ledger) as opened:
        name = _named(approval)
        try:
            ended = opened.revoke(name, by=by, why=why)
        except InputError as fault:
            raise InputError(f"no such file, and {fault}, or the approval's file{_beside(approval)}") from None
        typer.echo(f"revoked {name}; runs that end: {len(ended)}")


@app.command()
@with_log_options
def sender(
    spool: Annotated[str, typer.Argument(help="The folder that notebooks submit batches to.")],
    transport: TransportOption,
    ledger: LedgerOption,
    approvers: Annotated[str, typer.Option(help="The file that says who must approve.")],
    every: Annotated[str, typer.Option(help="Time between looks at the folder.")] = "5s",
    once: Annotated[bool, typer.Option("--once", help="Look once.")] = False,
    events: Annotated[
        str | None,
        typer.Option("--events", help="The log, read anew for each batch: who unsubscribed since gets nothing."),
    ] = None,
    *,
    reading: LogOptions,
) -> None:
    """Send approved batches as a user of its own, who alone holds the credentials. Ctrl-C ends it between two mails."""
    with plain_errors(), _stopping() as stop:
        serve(
            spool,
            transport=transport,
            ledger=ledger,
            policy=ApprovalPolicy.load(approvers),
            log=None if events is None else growing_log(events, reading),
            every=length(every, name="--every", example="1m").total_seconds(),
            once=once,
            stop=stop,
            say=typer.echo,
        )


@app.command("approve")
def approve_command(
    scenarios: Annotated[str, typer.Argument(help="A folder of scenarios, their policies and mails.")],
    by: Annotated[str, typer.Option("--by", help="Who approves.")],
    mails_a_day: Annotated[int, typer.Option(help="So many mails may go in any 24 hours.")],
    discount_a_day: Annotated[
        float | None, typer.Option(help="So much may their offers cost in any 24 hours, in the program's currency.")
    ] = None,
    only: Annotated[str, typer.Option("--only", help="Scenarios, with commas; all unless given.")] = "",
    expires: Annotated[str, typer.Option(help="How long it holds.")] = "30d",
    author: Annotated[str | None, typer.Option(help="Who wrote the scenarios and their mails.")] = None,
    key: Annotated[str | None, typer.Option(help="File of the signing key; your own, unless given.")] = None,
    to: Annotated[str, typer.Option("--to", help="The file to write.")] = "standing.json",
) -> None:
    """Let the mails of scenarios go as they fall due, as they are now, within limits: what `toolkit run` needs."""
    with plain_errors():
        program = load(scenarios)
        for note in made_up_in(program.policies):
            typer.echo(f"warning: {note}", err=True)
        approval = approve_standing(
            program,
            scenarios,
            by=by,
            mails_a_day=mails_a_day,
            discount_a_day=discount_a_day,
            scenarios=_listed(only),
            key=key,
            expires=expires,
            author=author,
        )
        typer.echo(f"{approval}\nwritten: {approval.save(to)}")


@app.command("send-test")
@with_log_options
def send_test_command(
    scenarios: Annotated[str, typer.Argument(help="A folder of scenarios, their policies and mails.")],
    events: EventsOption,
    to: Annotated[str, typer.Option("--to", help="Your own address, or up to five, with commas.")],
    transport: TransportOption,
    now: Annotated[
        str | None, typer.Option("--now", help="Mails due at this moment, such as 2025-05-05T12:00Z; now unless given.")
    ] = None,
    customer: Annotated[
        str | None, typer.Option("--customer", help="All mails of this customer; one of each kind unless given.")
    ] = None,
    only: Annotated[str, typer.Option("--only", help="Scenarios, with commas; all unless given.")] = "",
    ledger: Annotated[
        str | None, typer.Option("--ledger", help="The ledger of the sending; what it sent already is not due.")
    ] = None,
    *,
    reading: LogOptions,
) -> None:
    """Send test copies of the mails that are due to your own address; nothing counts, and nobody else gets one."""
    with plain_errors():
        program = load(scenarios)
        batch = prepare(
            program,
            read_log(events, reading),
            now=datetime.now(UTC) if now is None else moment_of(now, name="--now"),
            templates=scenarios,
            ledger=ledger,
            scenarios=_listed(only),
            progress=sys.stderr.isatty(),
        )
        if not len(batch):
            raise InputError(
                f"no mail is due at {batch.now:%Y-%m-%dT%H:%MZ}; name a moment of the log with --now, or see each mail "
                f"with its sample: toolkit preview {scenarios}"
            )
        copies = send_test(batch, to, transport=transport, customer=customer, progress=sys.stderr.isatty())
        typer.echo(str(copies))
    if copies.sent < len(copies):
        raise typer.Exit(1)


@app.command("run")
@with_log_options
def run_command(
    scenarios: Annotated[str, typer.Argument(help="A folder of scenarios, their policies and mails.")],
    events: EventsOption,
    approval: Annotated[str, typer.Option(help="The file of a standing approval.")],
    transport: TransportOption,
    ledger: LedgerOption,
    every: Annotated[str, typer.Option(help="Time between two rounds.")] = "1m",
    since: Annotated[
        str | None,
        typer.Option(help="When you began: no mails of what began before, such as 2026-03-01T00:00Z."),
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="At most so many rounds.")] = None,
    captures: Annotated[str, typer.Option(help="Folder for what rounds saw, for `toolkit parity`.")] = "captures",
    *,
    reading: LogOptions,
) -> None:
    """Send what falls due, round after round, on a growing log, within a standing approval."""
    with plain_errors(), _stopping() as stop:
        start = None if since is None else moment_of(since, name="--since")
        standing = load_approval(approval)
        if not isinstance(standing, StandingApproval):
            raise InputError(f"{approval}: approves one batch; `toolkit run` needs a standing approval")
        if (strange := named_elsewhere(ledger)) is not None:
            raise InputError(strange)
        keep_sending(
            load(scenarios),
            growing_log(events, reading),
            templates=scenarios,
            approval=standing,
            transport=transport,
            ledger=ledger,
            captures=captures,
            every=length(every, name="--every", example="1m"),
            since=start,
            rounds=rounds,
            stop=stop,
            say=typer.echo,
        )


@app.command("parity")
@with_log_options
def parity_command(
    scenarios: Annotated[str, typer.Argument(help="The scenarios as they were that day.")],
    events: EventsOption,
    ledger: LedgerOption,
    day: Annotated[str | None, typer.Option(help="The day, UTC, such as 2026-03-02; yesterday unless given.")] = None,
    captures: Annotated[str, typer.Option(help="Folder of what rounds saw.")] = "captures",
    *,
    reading: LogOptions,
) -> None:
    """Whether a day of `toolkit run` went as a replay says: identical, or each difference explained."""
    with plain_errors():
        log = read_log(events, reading)
        result = compare_day(load(scenarios), log, ledger=ledger, captures=captures, day=_day(day))
        typer.echo(str(result))
        if len(result.unexplained):
            raise typer.Exit(1)


def _listed(words: str) -> list[str] | None:
    """What stands between commas; None where nothing does."""
    return [one.strip() for one in words.split(",") if one.strip()] or None


def _named(word: str) -> str:
    """The id of the approval in a file, or the word itself."""
    return load_approval(word).id if Path(word).exists() else word


def _held(word: str) -> str:
    """The id of what is to be paused or to go on, which is named by a file or by itself."""
    if not Path(word).exists() and ("." in word or "/" in word):
        raise InputError(f"{word}: there is no such file{_beside(word)}")
    return _named(word)


def _beside(file: str) -> str:
    """The file that may have been meant, as the end of a message."""
    folder = Path(file).parent
    near = nearest(Path(file).name, [one.name for one in folder.iterdir()]) if folder.is_dir() else None
    return f"; did you mean {str(folder / near)!r}?" if near else ""


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets, which is told; the second ends at once."""
    stop = threading.Event()

    def stopped(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        with suppress(OSError):  # not through Python's own buffer, in the middle of whose writing this may come
            os.write(2, b"stopping after what is under way; Ctrl-C again stops at once\n")

    before = {number: signal.signal(number, stopped) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    except KeyboardInterrupt:
        typer.echo("stopped; nothing is lost, start again to go on", err=True)
        raise typer.Exit(STOPPED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _day(text: str | None) -> date:
    if text is None:
        return (datetime.now(UTC) - timedelta(days=1)).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"--day: found {shown(text)}; allowed: a day such as 2026-03-02") from None
