"""The columns of a sweep as people read them."""

from __future__ import annotations

__all__ = ["column_words"]

_MEANINGS = {
    "journeys": "journeys",
    "sent": "mails sent",
    "withheld": "mails withheld from control",
    "skipped": "mails skipped",
    "own_before": "bought before the mail",
    "mailed": "mailed, with a closed window",
    "own_after": "would have bought anyway",
    "own_after_rate": "would have bought anyway",
    "finished": "journeys finished",
    "exited": "journeys ended by an exit",
    "superseded": "journeys begun again",
    "unsubscribed": "journeys ended by unsubscribing",
    "open": "journeys still under way",
}


def column_words(column: str) -> str:
    """A column of a sweep's table in words.

    >>> column_words("own_after_rate"), column_words("something_new")
    ('would have bought anyway', 'something new')
    """
    return _MEANINGS.get(column, column.replace("_", " "))
