"""Whether a key is the one that named the mails of a ledger."""

from __future__ import annotations

from sqlalchemy import select

from toolkit.sending.keys import MailKey, key_file, mail_key
from toolkit.sending.ledger import Ledger
from toolkit.sending.schema import deliveries

__all__ = ["is_named_here", "named_elsewhere"]

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
    if not Ledger.exists(where):
        return None
    query = select(deliveries.c.decision_id, deliveries.c.message_id).order_by(deliveries.c.id.desc()).limit(_LAST)
    with Ledger.open(where) as ledger, ledger.reading() as connection:
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


def is_named_here(where: str, decision_id: str, message_id: str) -> bool:
    """Whether the key of a ledger gave a mail its Message-ID, and so its links; no key is made."""
    return key_file(where).exists() and _has_named(mail_key(where), [(decision_id, message_id)])


def _has_named(key: MailKey, mails: list[tuple[str, str]]) -> bool:
    return any(begins.startswith(key.mail_name(name)) for name, begins in mails)
