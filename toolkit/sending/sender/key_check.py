"""Whether the key beside a ledger is the one that named mails, so that a tracker there knows their links."""

from __future__ import annotations

from sqlalchemy import select

from toolkit.errors import InputError
from toolkit.sending.batch.parcel import Parcel
from toolkit.sending.keys import MailKey, key_file, mail_key
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.schema import deliveries

__all__ = ["check_links", "named_elsewhere"]

_LAST = 20  # mails looked at
_LENGTH = 32  # of what stands before the @ of a Message-ID that a key gave


def named_elsewhere(where: str) -> str | None:
    """What to say where the last mails of a ledger have their names from another key than the one that is here.

    So it is where a ledger was copied without its key, where a batch was prepared with another ledger than it was sent
    with, and where the key of a database lies on another machine. The links in those mails, the unsubscribe among them,
    are nothing to this key.

    Args:
        where: path or URL of the ledger. None is made, nor a key.

    Raises:
        LedgerError: the ledger cannot be read.
        InputError: the key's file holds something else.
    """
    query = select(deliveries.c.decision_id, deliveries.c.message_id).order_by(deliveries.c.id.desc()).limit(_LAST)
    with Ledger.if_there(where) as ledger:
        if ledger is None:
            return None
        with ledger.reading() as connection:
            mails = [(row.decision_id, row.message_id.partition("@")[0]) for row in connection.execute(query)]
    named = [(name, begins) for name, begins in mails if len(begins) == _LENGTH]
    path = key_file(where)
    if not named or (path.exists() and _has_named(mail_key(where), named)):
        return None
    return (
        f"another key than {path} named the last mails of ledger {where}: their links, and their unsubscribe, are dead "
        "here; put there the .key file that lies beside the ledger with which they were prepared (of a database: in "
        "the folder of keys of whoever prepared them)"
    )


def check_links(parcel: Parcel, where: str, *, remedy: str) -> None:
    """Refuse tracked mails whose links the tracker of a ledger would not know: nobody could unsubscribe by them.

    Args:
        parcel: the mails that are to go.
        where: path or URL of the ledger they are sent by; no key is made.
        remedy: what to do about it, for the error.

    Raises:
        InputError: another key than that of the ledger named them.
    """
    if parcel.rules.policies.tracking is None or not len(parcel):
        return
    first = parcel.stub(0)
    if not (key_file(where).exists() and _has_named(mail_key(where), [(first.decision_id, first.message_id)])):
        raise InputError(
            f"the links of these mails, and their unsubscribe, are unknown to the tracker of ledger {where}: "
            f"they were prepared with another key; {remedy}; nothing was sent"
        )


def _has_named(key: MailKey, mails: list[tuple[str, str]]) -> bool:
    return any(begins.startswith(key.mail_name(name)) for name, begins in mails)
