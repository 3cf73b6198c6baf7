"""Commands about a ledger and the keys: keys, audit, status, settle. They load nothing that sends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import pandas as pd
import typer

from toolkit.cli.app import app, plain_errors
from toolkit.errors import InputError
from toolkit.sending.keys import new_key, public_line, signing_key
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.moved import is_moved
from toolkit.sending.ledger.waiting import approvals_paused, paused_because

__all__ = ["ByOption", "LedgerOption", "WhyOption", "opened_ledger"]

_LAST = 20  # runs that are shown though they are done

keys = typer.Typer(help="Keys that sign approvals.", no_args_is_help=True)
audits = typer.Typer(help="The audit of a ledger.", no_args_is_help=True)
app.add_typer(keys, name="keys")
app.add_typer(audits, name="audit")

LedgerOption = Annotated[str, typer.Option("--ledger", help="Path or URL of the ledger.")]
KeyArgument = Annotated[str | None, typer.Argument(help="The file; your own key's unless given.")]
HeadOption = Annotated[str | None, typer.Option(help="A head kept elsewhere (Report.audit): must be in the chain.")]
ByOption = Annotated[str, typer.Option("--by", help="Who decides this; written to the audit.")]
WhyOption = Annotated[str, typer.Option("--why", help="Why; written to the audit.")]


@keys.command("new")
def keys_new(path: KeyArgument = None) -> None:
    """Make an Ed25519 key for approvals, readable by you alone, and show its public half for approvers.yaml."""
    with plain_errors():
        made = new_key(path)
        key, _ = signing_key(made)
        typer.echo(f"private key, keep it to yourself: {made}\npublic key, for approvers.yaml:   {public_line(key)}")


@keys.command("show")
def keys_show(
    path: KeyArgument = None,
) -> None:
    """Show the public half of a key."""
    with plain_errors():
        typer.echo(public_line(signing_key(path)[0]))


@audits.command("verify")
def audit_verify(
    ledger: LedgerOption,
    head: Annotated[
        str | None, typer.Option(help="A head you kept elsewhere (Report.audit); must be in the chain.")
    ] = None,
) -> None:
    """Check that no line of the audit was changed, taken out or added, and that every state fits its attempts."""
    with plain_errors(), opened_ledger(ledger) as opened:
        faults = opened.verify()
        lines = opened.audit()
        if head is not None and head not in set(lines["hash"]):
            faults = (*faults, f"audit: the head {head[:12]}… is not in it; the ledger was rewritten")
        for fault in faults:
            typer.echo(fault, err=True)
        if faults:
            raise typer.Exit(1)
        typer.echo(f"{len(lines):,} lines, unbroken; head {opened.audit_head()}")


@app.command()
def status(
    ledger: LedgerOption,
    every: Annotated[
        bool, typer.Option("--all", help="Show every run, not only the last and those unfinished.")
    ] = False,
    customer: Annotated[
        str | None, typer.Option("--customer", help="The mails of one customer instead, by id or address.")
    ] = None,
) -> None:
    """Where the runs of a ledger stand, why one is paused, and which mails are in doubt."""
    with plain_errors(), opened_ledger(ledger) as opened:
        if customer is not None:
            _mails_of(opened, customer)
            return
        if (elsewhere := is_moved(opened)) is not None:
            typer.echo(f"{opened.place} {elsewhere}; use that one")
        runs, doubts = opened.status(), opened.deliveries(state="unknown")
        if not len(runs):
            typer.echo("no run yet")
        shown = runs if every else runs[~runs["done"] | (runs["unknown"] > 0) | (runs.index >= len(runs) - _LAST)]
        if len(shown) < len(runs):
            typer.echo(f"{len(runs) - len(shown):,} earlier runs are done; --all shows them")
        for line in approvals_paused(opened):
            typer.echo(line)
        for run in shown.to_dict("records"):
            first = (
                f"{run['run_id'][:12]}  {run['created_at']:%Y-%m-%d %H:%M}  {run['approved_by'] or run['transport']}"
            )
            typer.echo(f"{first}: {run['mails']:,} mails, {run['says']}")
            if opened.run_state(run["run_id"]) == "paused":
                typer.echo(f"  {paused_because(opened, run['run_id'])}")
        for mail in doubts.to_dict("records"):
            typer.echo(f"  in doubt: {mail['decision_id']}  {mail['address']}  {mail['reason'] or ''}")
        if len(doubts):
            choice = "--assume-sent, or --send-again, which may send it twice"
            typer.echo(f"  decide each: `toolkit settle ID --ledger {opened.place} --by NAME` with {choice}")


def _mails_of(ledger: Ledger, customer: str) -> None:
    """What somebody who asks is told: every mail to one person, and whether they would get another."""
    mails = ledger.deliveries(customer=customer)
    for mail in mails.sort_values("decided_at", kind="stable").to_dict("records"):
        when = "" if pd.isna(mail["decided_at"]) else f"{mail['decided_at']:%Y-%m-%d %H:%M}  "
        step = f"{mail['scenario']}.{mail['step']}" if mail["scenario"] else mail["class"]
        how = next((str(said) for said in (mail["receipt"], mail["reason"]) if said and not pd.isna(said)), "")
        typer.echo(f"{when}{step}  {mail['address']}: {mail['state']}" + (f" ({how})" if how else ""))
    if not len(mails):
        typer.echo(f"{customer}: no mail in this ledger")
    for address in sorted({*mails["address"], *([customer] if "@" in customer else [])}):
        if "@" in address:
            why = ledger.suppressions.reason(address)
            typer.echo(f"{address}: {f'{why}, gets no more marketing mail' if why else 'not on the suppression list'}")


@app.command()
def settle(
    decision: Annotated[str, typer.Argument(help="The decision's id, from `toolkit status`.")],
    ledger: LedgerOption,
    by: ByOption,
    sent: Annotated[bool, typer.Option("--assume-sent/--send-again", help="What to make of it.")],
    why: WhyOption = "",
) -> None:
    """Decide about a mail in doubt: take it as sent, or send it again, which may send it twice."""
    with plain_errors(), opened_ledger(ledger) as opened:
        (opened.assume_sent if sent else opened.send_again)(decision, by=by, why=why)
        typer.echo(f"{decision}: {'taken as sent' if sent else 'goes again with the next sending'}")


@contextmanager
def opened_ledger(ledger: str) -> Iterator[Ledger]:
    """The ledger of a command, which must be there."""
    if not Ledger.exists(ledger):
        raise InputError(f"ledger {ledger}: there is none")
    with Ledger.open(ledger) as opened:
        yield opened
