"""The command itself: which commands there are, and how it says what is wrong: one line a person can mend, never a
traceback.

A command's file is loaded when that command is called: what all of them need together takes seconds to load.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from toolkit.errors import ToolkitError

__all__ = ["COMMANDS", "STOPPED", "app", "plain_errors"]

STOPPED = 130
"""The exit code of what Ctrl-C ended, as shells have it."""

COMMANDS: dict[str, tuple[str, str]] = {
    "lab": ("apps", "JupyterLab on the notebooks, with the toolkit's settings: no news, no stray keys, quick answers."),
    "app": ("apps", 'A notebook as an app without code, in the browser; works offline. Needs Voilà (the extra "app").'),
    "export": (
        "apps",
        "A notebook as one HTML page to send on or print: no kernel, no network; screens stand as snapshots.",
    ),
    "demo": (
        "samples",
        "The whole circle on the shipped log: replay, sweep, lift, approve, send to an outbox, report.",
    ),
    "replay": ("replays", "Who would have got which mail, when, and why not, over a log of your own."),
    "compact": (
        "replays",
        "Keep of a log what scenarios ask for, so that the rest of a long history need not be kept.",
    ),
    "profile": ("logs", "What is in a log: event names, counts, first and last, customers, gaps, suspicious things."),
    "describe": (
        "scenarios",
        "Check scenarios and say in plain words what they do; odd things come last, as warnings.",
    ),
    "shop": ("samples", "Make a realistic log of an invented shop, at any size."),
    "erase": (
        "erasing",
        "Erase one customer from logs, ledger, answers, outboxes and spools; looks first, and again afterwards.",
    ),
    "new": ("mails", "Copy a scenario and its mails to start your own from: toolkit new abandoned_cart my_cart."),
    "preview": ("mails", "Show the mails with their sample data, on a page that loads nothing from outside."),
    "import": (
        "mails",
        "Name everything in templates of other tools that means nothing here, with what to write instead.",
    ),
    "status": ("ledgers", "Where the runs of a ledger stand, why one is paused, and which mails are in doubt."),
    "settle": (
        "ledgers",
        "Decide about mails in doubt: take them as sent, or send them again, which may send them twice. All, or none.",
    ),
    "pause": (
        "sending",
        "Let no more mails of a run go, or of a loop, wherever it is being sent; those under way are finished.",
    ),
    "resume": (
        "sending",
        "Let a paused run or loop go on, with the next round, the sender's next look, or where `send` is called again.",
    ),
    "cancel": ("sending", "End a run: what it has not sent goes no more, by no later batch either."),
    "revoke": ("sending", "Take an approval back; its runs end wherever they are being sent."),
    "sender": (
        "sending",
        "Send approved batches as a user of its own, who alone holds the credentials. "
        "Ctrl-C ends it between two mails.",
    ),
    "approve": (
        "sending",
        "Let the mails of scenarios go as they fall due, as they are now, within limits: what `toolkit run` needs.",
    ),
    "send-test": (
        "sending",
        "Send test copies of the mails that are due to your own address; nothing counts, and nobody else gets one.",
    ),
    "run": ("sending", "Send what falls due, round after round, on a growing log, within a standing approval."),
    "parity": (
        "sending",
        "Whether a day of `toolkit run` went as a replay says: identical, or each difference explained.",
    ),
    "track": (
        "tracking",
        "Take answers: opens, clicks, unsubscribes, preferences, and what providers report. Runs until it is stopped.",
    ),
    "bounces": ("tracking", "Read the bounces in a mailbox, each once; hard ones go onto the suppression list."),
    "deliverability": (
        "tracking",
        "What became of the mails by recipient domain or by mail, and where a limit for bulk senders is near.",
    ),
    "rotate-links": (
        "tracking",
        "Give the links of mails a new secret. Links sent before stay good, unless retired; restart the tracker.",
    ),
    "suppressions": ("suppressing", "Who gets no mail, whatever is approved."),
    "keys": ("ledgers", "Keys that sign approvals."),
    "audit": ("ledgers", "The audit of a ledger."),
    "ledger": (
        "keeping",
        "A ledger as a whole: moved to another place, or put back from a backup.",
    ),
}
"""Every command in the order shown: the file of this folder it stands in, and its line in `toolkit --help`."""


class _Commands(TyperGroup):
    """The commands above; each is loaded when it is called, and its line stands for it until then."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        return self.commands.get(cmd_name) or TyperCommand(cmd_name, help=COMMANDS[cmd_name][1])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in COMMANDS:
            importlib.import_module(f"toolkit.cli.{COMMANDS[args[0]][0]}")
            self.commands.update(get_group(app).commands)
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _toolkit() -> None:
    """Automated e-mail: replay, tune, measure, approve and send triggered mails."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """A person at a shell gets the message of an error they can mend, or is told that Ctrl-C ended it; no traceback."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        raise typer.Exit(STOPPED) from None
    except ToolkitError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from None
