"""Commands about a ledger and the keys: keys, audit, status, settle. They load nothing that sends."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from toolkit.cli.app import app, plain_errors
from toolkit.errors import InputError
from toolkit.readable import counted
from toolkit.sending.keys import new_key, public_line, signing_key
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.moved import is_moved
from toolkit.sending.ledger.waiting import approvals_paused, left_over, paused_because

__all__ = ["ByOption", "LedgerOption", "WhyOption", "opened_ledger"]

_LAST = 20  # runs that are shown though they are done
_DOUBTS = 100  # mails in doubt that are shown unless all are asked for

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
def keys_show(path: KeyArgument = None) -> None:
    """Show the public half of a key."""
    with plain_errors():
        typer.echo(public_line(signing_key(path)[0]))


@audits.command("verify")
def audit_verify(
    ledger: LedgerOption,
    head: HeadOption = None,
) -> None:
    """Check that no line of the audit was changed, taken out or added, and that every state fits its attempts."""
    with plain_errors(), opened_ledger(ledger, only_look=True) as opened:
        faults = opened.verify()
        lines = opened.audit()
        if head is not None and head not in set(lines["hash"]):
            faults = (*faults, f"audit: the head {head[:12]}… is not in it; the ledger was rewritten")
        for fault in faults:
            typer.echo(fault, err=True)
        if faults:
            raise typer.Exit(1)
        typer.echo(f"{counted(len(lines), 'line')}, unbroken; head {opened.audit_head()}")


@app.command()
def status(
    ledger: LedgerOption,
    every: Annotated[
        bool, typer.Option("--all", help="Show every run and mail in doubt, not only the last and those unfinished.")
    ] = False,
    customer: Annotated[
        str | None, typer.Option("--customer", help="The mails of one customer instead, by id or address.")
    ] = None,
) -> None:
    """Where the runs of a ledger stand, why one is paused, and which mails are in doubt."""
    with plain_errors(), opened_ledger(ledger, only_look=True) as opened:
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
            typer.echo(f"{first}: {counted(run['mails'], 'mail')}, {run['says']}")
            if opened.run_state(run["run_id"]) == "paused":
                typer.echo(f"  {paused_because(opened, run['run_id'])}")
            elif not run["done"]:
                for line in left_over(opened, run["run_id"]):
                    typer.echo(f"  {line}")
        told = doubts if every else doubts[:_DOUBTS]
        for mail in told.to_dict("records"):
            typer.echo(f"  in doubt: {_in_doubt(mail)}")
        if len(told) < len(doubts):
            typer.echo(f"  in doubt: {len(doubts) - len(told):,} more; --all shows them")
        if len(doubts):
            choice = "--assume-sent, or --send-again, which may send it twice"
            typer.echo(f"  decide each: `toolkit settle ID --ledger {opened.place} --by NAME` with {choice};")
            typer.echo("  many at once: --run RUN, or --file with their ids, in place of ID")


def _in_doubt(mail: Mapping[Hashable, Any]) -> str:
    """One mail, with what it can be looked up by elsewhere."""
    address = mail["address"] or "(address unknown)"
    when = "" if pd.isna(mail["decided_at"]) else f" of {mail['decided_at']:%Y-%m-%d %H:%M} UTC"
    whose = f"(customer {mail['customer_id']}, {_step(mail)}{when})"
    return f"{mail['decision_id']}  {address}  {mail['reason'] or ''}  {whose}"


def _step(mail: Mapping[Hashable, Any]) -> str:
    return f"{mail['scenario']}.{mail['step']}" if mail["scenario"] else str(mail["class"])


def _mails_of(ledger: Ledger, customer: str) -> None:
    """What somebody who asks is told: every mail to one person, and whether they would get another."""
    mails = ledger.deliveries(customer=customer)
    for mail in mails.sort_values("decided_at", kind="stable").to_dict("records"):
        when = "" if pd.isna(mail["decided_at"]) else f"{mail['decided_at']:%Y-%m-%d %H:%M}  "
        how = next((str(said) for said in (mail["receipt"], mail["reason"]) if said and not pd.isna(said)), "")
        typer.echo(f"{when}{_step(mail)}  {mail['address']}: {mail['state']}" + (f" ({how})" if how else ""))
    if not len(mails):
        typer.echo(f"{customer}: no mail in this ledger")
    for address in sorted({*mails["address"], *([customer] if "@" in customer else [])}):
        if "@" in address:
            why = ledger.suppressions.reason(address)
            kinds = "mail" if ledger.suppressions.reason(address, class_="transactional") else "marketing mail"
            typer.echo(f"{address}: {f'{why}, gets no more {kinds}' if why else 'not on the suppression list'}")


@app.command()
def settle(
    ledger: LedgerOption,
    by: ByOption,
    sent: Annotated[bool, typer.Option("--assume-sent/--send-again", help="What to make of it.")],
    decisions: Annotated[
        list[str] | None, typer.Argument(help="The decision's id, from `toolkit status`; or several.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", help="A file of ids, one at the beginning of a line, instead.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="All that are in doubt of a run, by its id or how it begins, instead.")
    ] = None,
    confirm: Annotated[
        int | None, typer.Option("--confirm", help="How many mails you expect to settle, where they are several.")
    ] = None,
    why: WhyOption = "",
) -> None:
    """Decide about mails in doubt: take them as sent, or send them again, which may send them twice. All, or none."""
    with plain_errors(), opened_ledger(ledger) as opened:
        ids = _to_settle(opened, decisions, file, run)
        if len(ids) > 1 and confirm != len(ids):
            said = "" if confirm is None else f"--confirm={confirm}, but "
            raise InputError(f"settle: {said}there are {len(ids):,} mails to settle: --confirm {len(ids)} settles them")
        (opened.assume_sent if sent else opened.send_again)(ids, by=by, why=why)
        first = ids[0] if len(ids) == 1 else f"{len(ids):,} mails"
        verb = "goes" if len(ids) == 1 else "go"
        typer.echo(f"{first}: {'taken as sent' if sent else f'{verb} again with the next sending'}")


def _to_settle(ledger: Ledger, named: list[str] | None, file: str | None, run: str | None) -> list[str]:
    """The decisions that a command names, in one of three ways, each once."""
    if sum(one is not None for one in (named or None, file, run)) != 1:
        raise InputError("settle: name the mails in one way: ids, --file FILE, or --run RUN")
    if run is not None:
        doubts = ledger.deliveries(state="unknown")
        runs = sorted({one for one in doubts["run_id"] if one.startswith(run)}) if run else []
        if len(runs) != 1:
            raise InputError(f"settle: --run {run}: {len(runs)} runs with mails in doubt are called so")
        return list(doubts.loc[doubts["run_id"] == runs[0], "decision_id"])
    if file is not None:
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as fault:
            raise InputError(f"settle: --file {file}: cannot be read: {getattr(fault, 'strerror', fault)}") from fault
        named = [line.replace(",", " ").split()[0] for line in lines if line.strip() and not line.startswith("#")]
    ids = list(dict.fromkeys(named or ()))
    if not ids:
        raise InputError(f"settle: --file {file}: holds no ids")
    return ids


@contextmanager
def opened_ledger(ledger: str, *, only_look: bool = False) -> Iterator[Ledger]:
    """The ledger of a command, which must be there; to one that only looks an earlier version stays as it is."""
    if not Ledger.exists(ledger):
        raise InputError(f"ledger {ledger}: there is none")
    with (Ledger.as_it_is if only_look else Ledger.open)(ledger) as opened:
        yield opened
