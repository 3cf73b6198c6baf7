"""Whether a loop goes on though nobody takes its mails: they may be too few for its alarms."""

from __future__ import annotations

from collections import Counter

from toolkit.errors import SendingError
from toolkit.sending.sender.report import Report
from toolkit.sending.states import State

__all__ = ["Refusals"]

_ENOUGH = 20  # mails refused in a row


class Refusals:
    """What the mails were answered that were refused for good since the last one was accepted, over all rounds.

    A share of refusals does not end a loop: whoever signs up with addresses that are none could else stop everybody's
    mail. That nobody at all takes a mail is no matter of addresses.
    """

    def __init__(self) -> None:
        self._answers: Counter[str] = Counter()

    def add(self, report: Report) -> None:
        """One round.

        Raises:
            SendingError: twenty mails or more were refused, and none accepted in between; says by which answer.
        """
        if report.sent:
            self._answers.clear()
            return
        for (outcome, reason), count in report.rows.reasons.items():
            if outcome == State.FAILED:
                self._answers[reason or "no reason given"] += count
        if self._answers.total() >= _ENOUGH:
            ((reason, _),) = self._answers.most_common(1)
            raise SendingError(
                f"the last {self._answers.total():,} mails were all refused for good, most often with {reason!r}; "
                "mend that and start again: what is still due goes then"
            )
