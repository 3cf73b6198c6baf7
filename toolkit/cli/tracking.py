"""Commands about answers: track, bounces, deliverability, rotate-links."""

from __future__ import annotations

import ssl
import threading
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from toolkit.cli.app import app, plain_errors
from toolkit.cli.patience import BACKLOG, PatientProtocol, most_connections
from toolkit.errors import InputError, ToolkitError
from toolkit.events.times import moment_of
from toolkit.scenario import load
from toolkit.scenario.models import Policies, Tracking
from toolkit.sending.answered import answers_place, take_up, tell_sent
from toolkit.sending.keys import mail_key, rotate
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.sender.key_check import named_elsewhere
from toolkit.tracking import Answers, deliverability
from toolkit.tracking.bounces import messages_of, take_bounces
from toolkit.tracking.look import Look
from toolkit.tracking.server import tracker
from toolkit.tracking.webhooks import Webhooks
from toolkit.whole import write_text

__all__: list[str] = []

_SECONDS = 60.0

LedgerOption = Annotated[str, typer.Option("--ledger", help="The ledger: a file or a postgresql:// URL.")]
AnswersOption = Annotated[
    str | None, typer.Option("--answers", help="Where answers are kept: a file or URL; beside the ledger unless given.")
]


@app.command()
def track(
    ledger: LedgerOption = "outbox/ledger.sqlite",
    answers: AnswersOption = None,
    program: Annotated[
        str, typer.Option(help="The program: its policies say how the pages look and where the tracker is.")
    ] = "templates",
    webhooks: Annotated[
        str | None, typer.Option(help='A TOML file of providers and secrets: sendgrid = "…". Keep it to its owner.')
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on.")] = 8080,
    certificate: Annotated[str | None, typer.Option(help="TLS certificate (PEM), where no proxy has one.")] = None,
    key: Annotated[str | None, typer.Option(help="Key of the certificate (PEM).")] = None,
    proxies: Annotated[
        str, typer.Option(help="Addresses of proxies in front, whose X-Forwarded-For is believed.")
    ] = "127.0.0.1",
) -> None:
    """Take answers: opens, clicks, unsubscribes, preferences, and what providers report. Runs until it is stopped."""
    with plain_errors(), ExitStack() as opened:
        policies = load(program).policies
        where = answers or answers_place(ledger)
        _check_certificate(certificate, key)
        if not Ledger.exists(ledger):
            typer.echo(f"ledger {ledger}: there was none and it is made; links of mails in another are unknown here")
        if (strange := named_elsewhere(ledger)) is not None:
            typer.echo(f"warning: {strange}", err=True)
        tokens = mail_key(ledger).tokens
        store = opened.enter_context(Answers.open(where))
        book = opened.enter_context(Ledger.open(ledger))
        hooks = _webhooks(webhooks, policies)
        typer.echo(f"what people and providers say is kept in {store.place}; who gets no more mail, in {book.place}")
        typer.echo(f"since the last start: mails sent {tell_sent(book, store):,}; {take_up(book, store)}")
        for note in _led_here(policies.tracking, behind=certificate is None):
            typer.echo(note, err=True)
        lock, over = threading.Lock(), threading.Event()

        def standing() -> None:
            with lock:
                take_up(book, store)

        def look_again() -> None:
            # Pauses come to their end, mails go out, and a ledger that was locked is free again.
            while not over.wait(_SECONDS):
                try:
                    tell_sent(book, store)
                    standing()
                except ToolkitError as fault:
                    typer.echo(f"tries again in a minute: {fault}", err=True)

        server = tracker(store, tokens, look=Look.of(policies), webhooks=hooks, standing=standing)
        threading.Thread(target=look_again, daemon=True).start()
        PatientProtocol.most = most_connections()
        here = f"{'https' if certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
        typer.echo(f"listening on {here}" + (f"; webhooks: {', '.join(hooks.names)}" if hooks else ""))
        try:
            uvicorn.run(
                server,
                http=PatientProtocol,
                backlog=BACKLOG,
                host=host,
                port=port,
                log_level="warning",
                access_log=False,
                server_header=False,
                ssl_certfile=certificate,
                ssl_keyfile=key,
                forwarded_allow_ips=proxies,
                timeout_graceful_shutdown=10,
            )
        finally:
            over.set()


def _led_here(tracking: Tracking | None, *, behind: bool) -> Iterator[str]:
    """Where the links of mails lead that this tracker is to answer, as far as it cannot be taken for granted."""
    if tracking is None:
        yield "warning: policies.yaml names no tracking: url, so that no mail leads here; only webhooks are taken"
    elif tracking.is_trial:
        yield f"warning: mails lead to {tracking.url}, which answers on this machine alone: a trial"
    else:
        yield f"mails lead to {tracking.url}" + ("; let your web server pass that on to here" if behind else "")


@app.command()
def bounces(
    mailbox: Annotated[
        str, typer.Argument(help="A Maildir, a folder of .eml files, or imaps://user:password@host/INBOX.")
    ],
    ledger: LedgerOption = "outbox/ledger.sqlite",
    answers: AnswersOption = None,
) -> None:
    """Read the bounces in a mailbox, each once; hard ones go onto the suppression list."""
    with plain_errors(), ExitStack() as opened:
        _check_there(ledger, "ledger")
        messages = messages_of(mailbox)
        first = list(islice(messages, 1))  # a mailbox that is none is told before a store is made
        store = opened.enter_context(Answers.open(answers or answers_place(ledger)))
        book = opened.enter_context(Ledger.open(ledger))
        typer.echo(str(take_bounces(chain(first, messages), store)))
        typer.echo(str(take_up(book, store)))


@app.command("deliverability")
def deliverability_command(
    ledger: LedgerOption = "outbox/ledger.sqlite",
    answers: AnswersOption = None,
    by: Annotated[str, typer.Option(help="What a row is: domain, or mail (its scenario and step).")] = "domain",
    since: Annotated[
        str | None, typer.Option(help="What happened from this moment on alone, such as 2026-03-01T00:00Z.")
    ] = None,
    picture: Annotated[str | None, typer.Option(help="Write the picture to this .html file.")] = None,
) -> None:
    """What became of the mails by recipient domain or by mail, and where a limit for bulk senders is near."""
    where = answers or answers_place(ledger)
    with plain_errors(), ExitStack() as opened:
        _check_there(where, "answers")
        store = opened.enter_context(Answers.open(where))
        board = deliverability(store, by=by, since=None if since is None else moment_of(since, name="--since"))
        typer.echo(str(board))
        if picture is not None:
            try:
                write_text(picture, board.plot().to_html(include_plotlyjs=True))
            except OSError as fault:
                raise InputError(f"--picture: {picture}: cannot be written: {fault.strerror or fault}") from fault
            typer.echo(f"\nwritten: {picture}")


@app.command("rotate-links")
def rotate_links(
    ledger: LedgerOption = "outbox/ledger.sqlite",
    retire: Annotated[
        bool, typer.Option("--retire", help="Links of all mails sent before are dead from now on, unsubscribes too.")
    ] = False,
) -> None:
    """Give the links of mails a new secret. Links sent before stay good, unless retired; restart the tracker."""
    with plain_errors():
        typer.echo(f"{rotate(ledger, retire=retire)}: a new secret signs the links of mails from now on")


def _check_there(place: str, what: str) -> None:
    """A place that is only read: a mistyped one would be made, and found empty."""
    if not Ledger.exists(place):
        made = "; it is made when mails are sent, or by `toolkit bounces`"
        raise InputError(f"{what} {place}: there is none{made if what == 'answers' else ''}")


def _check_certificate(certificate: str | None, key: str | None) -> None:
    if certificate is None:
        if key is not None:
            raise InputError("--key: belongs to --certificate, which is not given")
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as fault:
        files = f"--certificate {certificate}" + (f", --key {key}" if key else "")
        raise InputError(f"{files}: cannot be used: {fault.strerror or fault}") from fault


def _webhooks(path: str | None, policies: Policies) -> Webhooks | None:
    if path is None:
        return None
    try:
        with Path(path).expanduser().open("rb") as file:
            said = tomllib.load(file)
    except OSError as fault:
        raise InputError(f"--webhooks {path}: cannot be read: {fault.strerror}") from fault
    except tomllib.TOMLDecodeError as fault:
        raise InputError(f"--webhooks {path}: not TOML: {fault}") from fault
    wrong = [name for name, secret in said.items() if not isinstance(secret, str)]
    if wrong:
        raise InputError(f'--webhooks {path}: {wrong[0]}: expected a secret in quotes, for example sendgrid = "…"')
    return Webhooks(said, base=policies.tracking.url if policies.tracking else "")
