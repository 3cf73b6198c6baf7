"""What a batch says beside its mails: what came too late, what follows on mails never sent, what nobody will hear."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from urllib.parse import urlsplit

import pandas as pd

from toolkit.engine import Run
from toolkit.events import EventLog
from toolkit.readable import counted
from toolkit.scenario.models import EventTrigger, Policies, Program
from toolkit.sending.answered import answers_place
from toolkit.sending.display import some_of
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.renamed_decisions import TOO_SOON, UNDER_ANOTHER_NAME, Renamed
from toolkit.tables import MAIL_EVENTS

__all__ = ["made_up_in", "notes_of"]

_RESERVED = re.compile(r"(^|[@.])example\.(com|net|org)$")  # RFC 2606: nobody's

_OTHERS = {
    UNDER_ANOTHER_NAME: "that the ledger has under another name: same scenario, same customer, decided in the same "
    "second. Events without an event_id are named by all that they hold, so that a new or changed column renames them: "
    "give the log an event_id. A renamed step does the same",
    TOO_SOON: "because an earlier version of the scenario sent this step to the same customer, and its reentry lets "
    "nobody get it again so soon",
}


def notes_of(
    run: Run,
    log: EventLog,
    ledger: Ledger | None,
    *,
    begin: datetime,
    last: datetime | None,
    lost: Mapping[str, str],
    going: pd.DataFrame,
    renamed: Renamed,
) -> tuple[str, ...]:
    """What to tell whoever looks at a batch.

    Args:
        run: the replay that decided.
        log: what it was over.
        ledger: what was mailed before, if anything was.
        begin: of the window; what is as old is too late.
        last: when mails were last planned, if ever.
        lost: decisions that were due then, did not go, and are too late by now: decision to customer.
        going: the decisions that are mailed.
        renamed: what the ledger may have under another name.
    """
    notes = [note for note in run.notes if not note.startswith(("assumed:", "policies.pools."))]
    if log.span is not None and log.span[1] < begin:
        notes.append(f"the log ends {log.span[1]:%Y-%m-%d %H:%M} UTC, before the window begins")
    sends = run.decisions[run.decisions["status"] == "send"]
    if ledger is not None and last is not None:
        missed = sends.loc[(sends["at"] > last) & (sends["at"] <= begin), "decision_id"].tolist()
        count = len(missed) - len(ledger.known(missed))
        if count:
            notes.append(f"due since the last run, and by now too late for the window: {count:,}")
    if lost:
        said = f"{len(lost):,} (customers {some_of(list(lost.values()))})"
        notes.append(f"due at the last run, did not go then, and by now too late for the window: {said}")
    left_out = Counter(renamed.left_out.values())
    for reason, said in _OTHERS.items():
        if count := left_out[reason]:
            notes.append(f"{counted(count, 'mail')} {'is' if count == 1 else 'are'} left out {said}")
    notes += [
        f"{counted(count, 'mail')} of {name} {'goes' if count == 1 else 'go'} to people whom {before}, which is not in "
        "this program, mailed in the same second: if it was renamed, they get the same again; keep its name, or leave "
        "out with since= what began before"
        for (before, name), count in sorted(renamed.scenarios.items())
    ]
    if len(going) and last is None and "email_sent" not in log.event_names:
        notes += _on_mails_never_sent(sends, going)
    return (*notes, *_unheard(run.program, log, ledger), *(made_up_in(run.program.policies) if len(going) else ()))


def made_up_in(policies: Policies) -> tuple[str, ...]:
    """What leads nowhere for whoever gets the mails: the library's own sender and links, a tracker on trial."""
    values = (str(value) for value in (policies.brand.model_dump() if policies.brand else {}).values())
    links = (urlsplit(value).hostname or "" for value in values if value.startswith("https://"))
    places = [policies.sender.email] if policies.sender else []
    found = [place for place in dict.fromkeys((*places, *links)) if _RESERVED.search(place)]
    said = []
    if found:
        said.append(
            f"{', '.join(found)}: made-up names, which lead nowhere; write your own sender: and brand: "
            "into policies.yaml before mails go to people"
        )
    if policies.tracking is not None and policies.tracking.is_trial:
        said.append(
            f"tracking.url {policies.tracking.url} leads to the machine that a mail is read on: it is for a trial on "
            "this one; whoever reads a mail elsewhere can neither click nor unsubscribe"
        )
    return tuple(said)


def _on_mails_never_sent(sends: pd.DataFrame, going: pd.DataFrame) -> Iterator[str]:
    """Of the first batch ever: how many of its mails follow on others that nobody was sent."""
    first = sends.groupby("journey_id")["at"].min()
    count = int((going["journey_id"].map(first) < going["at"]).sum())
    if count:
        yield (
            f"nothing was sent yet, and {count:,} of these mails follow on others of their journey; "
            "since= leaves out what began before a moment"
        )


def _unheard(program: Program, log: EventLog, ledger: Ledger | None) -> Iterator[str]:
    """One sentence for each scenario that begins with what happens to mails, where this log does not hold it."""
    for scenario in program.scenarios:
        trigger = scenario.trigger
        event = trigger.event if isinstance(trigger, EventTrigger) else ""
        if event not in MAIL_EVENTS or event in log.event_names:
            continue
        if event != "email_sent" and program.policies.tracking is None:
            yield (
                f"{scenario.scenario} begins with {event!r}, which nothing writes into the log while policies.yaml has "
                "no tracking:"
            )
        elif ledger is not None:
            yield (
                f"{scenario.scenario} begins with {event!r}, which this log does not hold; "
                f"log.with_answers({answers_place(ledger.place)!r}) reads what became of the mails"
            )
