"""Test copies: mails of a batch sent to oneself before anyone approves them, in the bytes that would go out.

A copy is nobody's mail. The ledger hears nothing of it, its Message-ID and the token in its unsubscribe link are made
up, its links lead straight to their goals, and it shows a made-up code in place of a customer's.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from toolkit.bars import Bar
from toolkit.errors import InputError, TransportError, did_you_mean, shown
from toolkit.readable import counted, lines_html, table_html
from toolkit.sending.batch.batch import Batch
from toolkit.sending.batch.mails import PreparedMail
from toolkit.sending.batch.parcel import returned_to
from toolkit.sending.copy_header import copy_header
from toolkit.sending.display import frame_text
from toolkit.sending.domains import domain_of, in_ascii
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.preparation.drafts import address_of
from toolkit.sending.preparation.preparation import template_bytes, unsubscribe_link
from toolkit.sending.protocol import Outgoing, Receipt, Transport
from toolkit.sending.states import State
from toolkit.sending.stopping import interruptible, look
from toolkit.sending.transports import transport as transport_of

__all__ = ["MOST_ADDRESSES", "MOST_COPIES", "Copies", "send_test"]

MOST_ADDRESSES = 5
MOST_COPIES = 50

_MARK = "[Test] "
_COLUMNS = ("number", "scenario", "step", "arm", "locale", "template", "customer_id", "to", "subject", "state", "why")
_SHOWN = ["number", "scenario", "step", "arm", "locale", "customer_id", "to", "state"]


@dataclass(frozen=True, eq=False)
class Copies:
    """What became of test copies.

    Attributes:
        table: one row per copy: number (of the mail, as in `batch.table`), scenario, step, arm, locale, template,
            customer_id, to, subject, state (accepted, failed, deferred, unknown, or waiting where it was not tried) and
            why (the server's answer, the file's name).
        to: the addresses.
        transport: the way out.
        notes: what a reader must know of the copies: what blocks the batch, what is made up in them.
    """

    table: pd.DataFrame
    to: tuple[str, ...]
    transport: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    @property
    def sent(self) -> int:
        """How many the other side took."""
        return int((self.table["state"] == State.ACCEPTED).sum())

    @property
    def lines(self) -> tuple[str, ...]:
        """The facts, one sentence each."""
        count = counted(len(self), "test copy", "test copies")
        first = f"{self.sent} of {count} sent to {', '.join(self.to)} through {self.transport}"
        missed = self.table[self.table["state"] != State.ACCEPTED]
        reasons = [f"{row.state}: {row.to}, {row.template}: {row.why}" for row in missed.itertuples()]
        return (first, *reasons, *self.notes)

    def __str__(self) -> str:
        return "\n".join((*self.lines, "", frame_text(self.table[_SHOWN])))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return lines_html(self.lines) + table_html(self.table[_SHOWN])


def send_test(
    batch: Batch,
    to: str | Sequence[str],
    *,
    transport: str | Transport = "outbox:./outbox",
    mails: int | Sequence[int] | None = None,
    customer: str | None = None,
    progress: bool = True,
) -> Copies:
    """Mails of a batch sent to your own address, before anyone approves it; also of a batch that findings block.

    Each copy has the bytes of the mail it shows but for these: `[Test] ` before the subject, the header `X-Test-Copy`,
    its address and Message-ID, the token of its unsubscribe link, which unsubscribes nobody, its links, which lead
    straight to their goals and are not counted, and a made-up code in place of one that is a customer's own. Nothing
    is written into the ledger: a copy counts for no limit, and its mail is sent later as if there had been none. So it
    may be called again, and then sends again.

    Args:
        batch: from `prepare`.
        to: your address, or up to five. Never one to which a mail of the batch or of the ledger goes, unless the
            policies name its domain in `test_copies`; then only addresses of those domains are allowed.
        transport: the way out that the batch is to take, for example `smtp:mail.example.org`.
        mails: rows of `batch.table`; unless given, the first of each step, arm, offer and language.
        customer: all mails of this customer instead.
        progress: show a progress bar where looking through the batch takes longer than a moment.

    Returns:
        What became of each copy.

    Raises:
        InputError: no address, a customer's, one on the suppression list, no such mail or customer, or more than 50
            copies.
        TransportError: the way out is closed (a wrong password, a server that is not there).
    """
    if not isinstance(batch, Batch):
        raise InputError(f"send_test: batch: expected what tk.prepare gives; found {type(batch).__name__}")
    way = transport_of(transport)
    addresses = _addresses(to)
    _check_domains(batch, addresses)
    with interruptible("A test copy counts for nothing: call send_test again."):
        chosen = _chosen(batch, addresses, mails=mails, customer=customer, progress=progress)
        count = len(chosen) * len(addresses)
        if count > MOST_COPIES:
            said = f"{counted(len(chosen), 'mail')} to {counted(len(addresses), 'address', 'addresses')}"
            raise InputError(
                f"send_test: {said} are {count} copies; allowed: {MOST_COPIES} in one call. Name some with mails=, "
                "rows of batch.table, or take fewer addresses"
            )
        _check_ledger(batch, addresses, [mail for _, mail in chosen], way)
        copies = [_Copy.of(batch, number, mail, to=address) for number, mail in chosen for address in addresses]
        receipts = _delivered(way, [copy.outgoing for copy in copies])
    table = pd.DataFrame([copy.row(receipts) for copy in copies], columns=list(_COLUMNS))
    return Copies(table, addresses, way.name, _notes(batch, [mail for _, mail in chosen], way))


# --- to whom ----------------------------------------------------------------------------------------------------------


def _addresses(to: object) -> tuple[str, ...]:
    """The addresses, each once and as a mail can be sent to it."""
    given = [to] if isinstance(to, str) else list(to) if isinstance(to, Iterable) else [to]
    words = [word for one in given for word in (re.split(r"[,;\s]+", one) if isinstance(one, str) else [one]) if word]
    if not words:
        raise InputError("send_test: to: no address; write your own, for example to='you@example.com'")
    found = dict.fromkeys((word, address_of(word)) for word in words)
    for word, address in found:
        if address is None:
            raise InputError(f"send_test: to: {shown(word)} is no address; allowed: one such as you@example.com")
    addresses = tuple(dict.fromkeys(address for _, address in found if address is not None))
    if len(addresses) > MOST_ADDRESSES:
        raise InputError(f"send_test: to: found {len(addresses)} addresses; allowed: {MOST_ADDRESSES} of your own")
    return addresses


def _check_domains(batch: Batch, addresses: Sequence[str]) -> None:
    policy = batch.program.policies.test_copies
    for address in addresses:
        if policy is not None and not _is_own(batch, address):
            raise InputError(
                f"send_test: to: {address} is at no domain that policies.test_copies names; allowed: addresses at "
                f"{', '.join(policy.domains)}"
            )


def _is_own(batch: Batch, address: str) -> bool:
    """Whether the policies say that an address is one of us."""
    policy = batch.program.policies.test_copies
    return policy is not None and in_ascii(domain_of(address)) in {one.casefold() for one in policy.domains}


def _check_ledger(batch: Batch, addresses: Sequence[str], chosen: Sequence[PreparedMail], way: Transport) -> None:
    """Refuse who is on the suppression list, and whom the ledger knows as a customer."""
    where = batch.ledger or way.ledger
    if where is None:
        return
    asked = [(address, kind) for address in addresses for kind in {mail.letter.class_ for mail in chosen}]
    with Ledger.if_there(where) as ledger:
        if ledger is None:
            return
        for (address, _), why in ledger.stopped(asked).items():
            raise InputError(
                f"send_test: to: {address} is on the suppression list ({why}); take another address, or "
                f"`toolkit suppressions remove {address} --ledger {where} --by NAME --why …`"
            )
        for address in addresses:
            if not _is_own(batch, address) and len(ledger.deliveries(customer=address)):
                raise _a_customers(address, "the ledger has mails to it")


def _a_customers(address: str, said: str) -> InputError:
    return InputError(
        f"send_test: to: {address} is a customer's: {said}. Take another address; where it is your own, name its "
        "domain in policies.yaml: test_copies: {domains: [example.com]}"
    )


# --- of which mails ---------------------------------------------------------------------------------------------------


def _chosen(
    batch: Batch,
    addresses: Sequence[str],
    *,
    mails: int | Sequence[int] | None,
    customer: str | None,
    progress: bool,
) -> list[tuple[int, PreparedMail]]:
    """The mails to show and their numbers, once it is sure that none of the addresses is a customer's."""
    if mails is not None and customer is not None:
        raise InputError("send_test: found both mails= and customer=; allowed: one of them")
    numbers = None if mails is None else _numbers(mails, len(batch))
    foreign = {address.casefold() for address in addresses if not _is_own(batch, address)}
    firsts: dict[tuple[Any, ...], tuple[int, PreparedMail]] = {}
    theirs: list[tuple[int, PreparedMail]] = []
    near: set[str] = set()
    for number, mail in enumerate(Bar(batch.mails, desc="test copies", unit=" mails", disable=not progress, delay=0.5)):
        look()
        letter = mail.letter
        if letter.to.casefold() in foreign:
            raise _a_customers(letter.to, "a mail of this batch goes there")
        variant = batch.templates.variant(letter.template, letter.locale).locale
        firsts.setdefault(
            (letter.scenario, letter.step, mail.arm, letter.template, mail.offer, variant), (number, mail)
        )
        if customer is not None:
            theirs += [(number, mail)] if mail.customer_id == customer else []
            near |= {mail.customer_id} if mail.customer_id.casefold() == str(customer).casefold() else set()
    if customer is not None and not theirs:
        raise InputError(
            f"send_test: customer: no mail here goes to {shown(customer)}{did_you_mean(str(customer), near)}"
        )
    if numbers is not None:
        return [(number, batch.mails[number]) for number in numbers]
    chosen = theirs if customer is not None else list(firsts.values())
    if not chosen:
        raise InputError(
            "send_test: the batch has no mails, so there is nothing to show; prepare it for another moment"
        )
    return chosen


def _numbers(mails: object, count: int) -> list[int]:
    given = [mails] if not isinstance(mails, Iterable) or isinstance(mails, str) else list(mails)
    numbers = []
    for one in given:
        number = getattr(one, "__index__", lambda one=one: None)()
        if number is None or isinstance(one, bool) or not -count <= number < count:
            raise InputError(f"send_test: mails: there is no mail {shown(one)}; the batch has {count:,}, from 0 on")
        numbers.append(number % count)
    if not numbers:
        raise InputError("send_test: mails: found none; allowed: rows of batch.table")
    return list(dict.fromkeys(numbers))


# --- the copies -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy of one mail to one address."""

    number: int
    mail: PreparedMail
    outgoing: Outgoing

    @classmethod
    def of(cls, batch: Batch, number: int, mail: PreparedMail, *, to: str) -> _Copy:
        """The mail as it would go out, to another address and under another name."""
        policies, is_marketing = batch.program.policies, mail.letter.class_ == "marketing"
        name = f"test-{secrets.token_hex(8)}"  # another each time, or who has had a copy would not be shown the next
        message_id = batch.key.message_id(name, domain=mail.message_id.rpartition("@")[2])
        url = unsubscribe_link(policies, batch.key, needed=True, purpose="test")(message_id) if is_marketing else None
        letter = replace(mail.letter, to=to)
        if mail.coupon is not None:
            letter = replace(letter, offer={**(letter.offer or {}), "code": _made_up(mail.coupon.code)})
        shown = batch.templates.render(letter, unsubscribe_url=url)
        shown = replace(shown, subject=_MARK + shown.subject)
        message = batch.templates.write(shown, letter, message_id=message_id, unsubscribe_url=url)
        sender = policies.sender
        outgoing = Outgoing(
            decision_id=name,
            message_id=message_id,
            sender=sender.email if sender else "",
            recipient=to,
            message=copy_header(letter.decision_id, mail.customer_id) + message,
            bounces=returned_to(sender.bounces if sender else None, message_id),
        )
        return cls(number, mail, outgoing)

    def row(self, receipts: Mapping[str, Receipt]) -> tuple[Any, ...]:
        """Of the table, by what the way out said."""
        mail, letter, receipt = self.mail, self.mail.letter, receipts.get(self.outgoing.decision_id)
        what = letter.scenario, letter.step, mail.arm, letter.locale, letter.template, mail.customer_id
        state, why = ("waiting", "not tried") if receipt is None else (str(receipt.state), _why(receipt))
        return (self.number, *what, self.outgoing.recipient, _MARK + mail.subject, state, why)


def _made_up(code: str) -> str:
    """A code of the same shape that is nobody's.

    >>> _made_up("SPRING-7F3K")
    'TEST00-0000'
    """
    letters = iter("TEST")
    return "".join(next(letters, "0") if one.isalnum() else one for one in code)


def _delivered(way: Transport, copies: Sequence[Outgoing]) -> dict[str, Receipt]:
    """What the way out says of each copy; none of a copy that it did not come to."""
    receipts: dict[str, Receipt] = {}
    try:
        for receipt in way.deliver(iter(copies), lambda names: names):
            look()
            if receipt is not None:
                receipts[receipt.decision_id] = receipt
    except TransportError as fault:
        gone = sum(one.state is State.ACCEPTED for one in receipts.values())
        fault.add_note(
            f"{gone} of {len(copies)} test copies were sent. Call send_test again: copies count for nothing."
        )
        raise
    return receipts


def _why(receipt: Receipt) -> str:
    if receipt.state is State.DEFERRED:
        return f"{receipt.reason or 'refused for now'}; try again in some minutes"
    return receipt.receipt or receipt.reason or ""


def _notes(batch: Batch, chosen: Sequence[PreparedMail], way: Transport) -> tuple[str, ...]:
    notes = []
    if batch.errors:
        first = "; ".join(batch.errors[:3])
        notes.append(f"the batch is blocked by {counted(len(batch.errors), 'finding')}, and cannot go out yet: {first}")
    changed = _changed(batch)
    if changed:
        notes.append(f"changed since the batch was prepared, so not in the copies: {', '.join(changed)}; prepare again")
    if way.rehearsal:
        notes.append("a folder took the copies; nothing left this machine")
    said = "a click in a copy is counted nowhere, and its unsubscribe link unsubscribes nobody"
    if any(mail.coupon is not None for mail in chosen):
        said += "; its coupon code is made up, and none is used"
    return (*notes, said)


def _changed(batch: Batch) -> list[str]:
    """Files of the templates that are others by now."""
    try:
        found = {} if batch.folder is None else template_bytes(batch.folder)
    except OSError:
        return []
    now: Mapping[str, str] = {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}
    return [] if batch.folder is None else sorted(dict(now.items() ^ batch.files.items()))
