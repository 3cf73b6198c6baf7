"""How answers come home: mails are handed down to the tracker before they leave, and what it heard reaches the ledger:
its suppression list, its alarms and its doubts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from sqlalchemy import Select, bindparam, func, or_, select, update

from toolkit.database import insert_new
from toolkit.errors import AnswersError, LedgerError
from toolkit.events import EventLog
from toolkit.mail import Letter
from toolkit.scenario.models import Policies, Program, ScheduleTrigger
from toolkit.sending.asked import asked_of_mails
from toolkit.sending.batch.parcel import Parcel
from toolkit.sending.clock import Clock, from_micros, micros, utc_now
from toolkit.sending.domains import domain_of
from toolkit.sending.keys import MailKey, name_of
from toolkit.sending.ledger.delivery_rows import Delivery
from toolkit.sending.ledger.feedback import Feedback
from toolkit.sending.ledger.high_water import Mark
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.schema import attempts, deliveries, metas
from toolkit.sending.states import WAITING, State
from toolkit.sending.stopping import Step, untold
from toolkit.tracking import Answered, Answers, MailLinks, TrackedMail
from toolkit.tracking.schema import events_named

__all__ = [
    "TakenUp",
    "answers_place",
    "heard",
    "links_of",
    "mails_of",
    "mark_of",
    "take_up",
    "tell_sent",
    "told",
    "told_until",
]

_SOME = 10_000  # attempts told at once
_STEP = 2_000  # mails between two tellings of how far it is
_QUICKLY = 1.0  # seconds that a sending which was broken off still tells what was sent
_LONGEST_LOCALE = 40  # characters
_TOGETHER = 100  # answers taken up in one commit
_AGAIN = 1_000  # attempts looked at once more
_BEARS_ON_MAILING = ("email_unsubscribed", "email_subscribed", "email_complained", "email_bounced", "customer_updated")
_REASONS = {"complained": "complaint", "unsubscribed": "unsubscribed", "bounced": "hard_bounce"}
_ACCEPTED = (
    select(deliveries.c.decision_id, attempts.c.at, deliveries.c.receipt, attempts.c.id)
    .select_from(deliveries.join(attempts, attempts.c.delivery_id == deliveries.c.id))
    .where(attempts.c.id > bindparam("b_after"), attempts.c.id <= bindparam("b_upto"))
    .where(attempts.c.outcome == State.ACCEPTED, deliveries.c.state == State.ACCEPTED)
    .order_by(attempts.c.id)
)


def answers_place(ledger: str | os.PathLike[str]) -> str:
    """Where the answers to a ledger's mails are: `answers.sqlite` beside a file; in the same database otherwise.

    >>> answers_place("outbox/ledger.sqlite")
    'outbox/answers.sqlite'
    """
    text = os.fspath(ledger)
    if "://" in text and not text.startswith("sqlite:///"):
        return text
    folder, slash, _ = text.removeprefix("sqlite:///").rpartition("/")
    return f"{folder}{slash}answers.sqlite"


def links_of(policies: Policies, key: MailKey) -> Callable[[Letter], MailLinks] | None:
    """What counts the links of a letter; None where the policies name no tracker."""
    tracking = policies.tracking
    if tracking is None:
        return None
    base, tokens = tracking.url.rstrip("/"), key.tokens

    def links(letter: Letter) -> MailLinks:
        name = key.mail_name(letter.decision_id)
        return MailLinks(base, tokens, name, opens=tracking.opens, clicks=tracking.clicks, trap=tracking.trap)

    return links


def mails_of(parcel: Parcel, step: Step = untold) -> Iterator[TrackedMail]:
    """Mails on their way out, as the store of answers knows them; `step` is called with how many came before."""
    experiments = {one.scenario: one.experiment for one in parcel.rules.scenarios}
    for number in range(len(parcel)):
        if number % _STEP == 0:
            step("telling the tracker", number)
        stub = parcel.stub(number)
        experiment = experiments.get(stub.scenario)
        yield TrackedMail(
            name=name_of(stub.message_id),
            decision_id=stub.decision_id,
            customer_id=stub.customer_id,
            scenario=stub.scenario,
            step=stub.step,
            template=stub.template,
            experiment=None if experiment is None else experiment.name,
            arm=stub.arm,
            class_=stub.class_,
            domain=domain_of(stub.address),
            locale=_locale(stub.locale),
            message_id=stub.message_id,
            due_at=stub.decided_at,
            targets=stub.targets,
            coupon=stub.coupon,
        )


@lru_cache
def _locale(text: str) -> str:
    """A customer's locale, which may be any text, as every database keeps it."""
    return "".join(filter(str.isprintable, text))[:_LONGEST_LOCALE]


def heard(
    log: EventLog,
    program: Program,
    ledger: str | os.PathLike[str],
    *,
    clock: Clock = utc_now,
    only_look: bool = False,
) -> EventLog:
    """A log with what was sent and answered by a ledger's mails, which the ledger takes up first.

    Of the answers it has what the program asks for and what says whom one may mail: after a year most of them are mails
    sent and opened, and every round reads them. Where no tracker brings answers and no scenario asks for what was sent,
    it is the log itself.

    Args:
        log: what customers did.
        program: its policies may name a tracker.
        ledger: path or URL of the ledger; the answers are at `answers_place`.
        clock: tells the time.
        only_look: the ledger takes nothing up, and stays as it is.

    Raises:
        AnswersError: the store of answers cannot be opened or read.
        LedgerError: the ledger cannot be opened or written.
    """
    where, asked = answers_place(ledger), asked_of_mails(program)
    is_there = Ledger.exists(where)
    if (program.policies.tracking is None and not (is_there and asked)) or (only_look and not is_there):
        return log
    book = (Ledger.as_it_is if only_look else Ledger.open)(ledger, clock=clock)
    with book, Answers.open(where, clock=lambda: micros(clock())) as answers:
        tell_sent(book, answers)
        if not only_look:
            take_up(book, answers)
    if any(isinstance(one.trigger, ScheduleTrigger) for one in program.scenarios):
        return log.with_answers(where)  # a schedule is for whoever was heard of, by whatever event
    return log.with_answers(where, table=events_named({**asked, **dict.fromkeys(_BEARS_ON_MAILING, ())}))


@contextmanager
def told(
    parcel: Parcel,
    ledger: Ledger,
    where: str | os.PathLike[str],
    step: Step = untold,
    *,
    run_id: str,
    clock: Clock = utc_now,
) -> Iterator[Callable[[], None]]:
    """The store of answers told of mails before they leave, and afterwards of those accepted.

    What it gives is to be called when the mails are planned: another batch may have told them before, with links that
    lead elsewhere, and now it is known which of them leave as they are here.

    Raises:
        AnswersError: the store cannot be opened or written; nothing was sent.
    """
    with Answers.open(where, clock=lambda: micros(clock())) as answers:
        new = answers.register(mails_of(parcel, step))

        def planned() -> None:
            if new < len(parcel):
                answers.correct(mails_of(parcel, step), partial(_to_leave, ledger, run_id))

        ledger.high_water.begins(partial(_note_all_told, answers))
        # What was sent is in the ledger; should the telling fail now, or be cut short, the next sending or the tracker
        # goes on with it. Nor may it hide, or hold up, what ended the sending.
        try:
            yield planned
        except BaseException:
            with contextlib.suppress(LedgerError):
                ledger.high_water.rise()
            until = time.monotonic() + _QUICKLY
            with contextlib.suppress(AnswersError, LedgerError):
                tell_sent(ledger, answers, goes_on=lambda _: time.monotonic() < until)
            raise

        def goes_on(count: int) -> bool:
            step("telling the tracker what was sent", count)
            return True

        with contextlib.suppress(AnswersError, LedgerError):
            ledger.high_water.rise()
            tell_sent(ledger, answers, goes_on=goes_on)


def _note_all_told(answers: Answers, mark: Mark) -> None:
    with contextlib.suppress(AnswersError):  # not noted, they count as incomplete, and nobody is mailed twice for it
        answers.note(told_until(mark.ledger), mark.begun)


def told_until(ledger: str) -> str:
    """The name under which answers keep the last beginning of a sending whose mails they were told of, all of them.

    Args:
        ledger: its name, from its high-water mark.
    """
    return f"told of {ledger}"


def _to_leave(ledger: Ledger, run_id: str, decision_ids: Sequence[str]) -> set[str]:
    rows = ledger.rows(list(decision_ids))
    return {one.decision_id for one in rows if one.run_id == run_id and one.state in WAITING}


def tell_sent(ledger: Ledger, answers: Answers, *, goes_on: Callable[[int], bool] = lambda count: True) -> int:
    """Tell the tracker which mails were accepted, so that each is an `email_sent` of the log; how many were new to it.

    Mails the tracker was not told of before they left are passed over. Safe to call again: it goes on where it stopped.

    Args:
        ledger: knows what was accepted.
        answers: the tracker's.
        goes_on: asked after each ten thousand, with how many were new by then.
    """
    count, name = 0, f"sent of {ledger.place}"
    noted = answers.noted(name)
    with ledger.reading() as connection:
        last: int = connection.execute(select(func.max(attempts.c.id))).scalar() or 0
        # Elsewhere than in a file, the sender that got its number first may commit last. Another ledger begins anew.
        again = 0 if connection.dialect.name == "sqlite" else _AGAIN
    after = noted - again if noted <= last else 0
    while after < last:
        # Some at a time: after a large campaign they are a million.
        upto = min(after + _SOME, last)
        with ledger.reading() as connection:
            rows = connection.execute(_ACCEPTED, {"b_after": after, "b_upto": upto}).all()
        mails = [(row.decision_id, row.at, row.receipt) for row in rows]
        old = bisect_right(rows, noted, key=lambda row: row.id) if noted <= last else 0
        count += answers.sent(answers.untold(mails[:old]) + mails[old:])
        after = upto
        if after > noted or noted > last:
            answers.note(name, after)
        if not goes_on(count):
            break
    return count


@dataclass(frozen=True, slots=True)
class TakenUp:
    """What the ledger and its suppression list took up.

    Attributes:
        suppressed: addresses put on the list, by reason.
        restored: addresses taken off, because their owner subscribed again or a pause is over.
        settled: mails in doubt of which an answer shows what became of them.
        unknown: answers to mails this ledger does not know.
    """

    suppressed: dict[str, int]
    restored: int
    settled: int
    unknown: int

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(self.suppressed.items())) or "none"
        return (
            f"suppressed: {reasons}; restored {self.restored:,}; mails settled {self.settled:,}; "
            f"of mails not sent from here {self.unknown:,}"
        )


def take_up(ledger: Ledger, answers: Answers) -> TakenUp:
    """What came home, told to the ledger: the suppression list, the alarms and canary of runs, and mails in doubt.

    An unsubscribe or a complaint stops marketing mail, a hard bounce all mail. A soft bounce stops nothing. Bounces
    and complaints count for the alarms of the run that sent the mail. Who subscribes again comes off the list, unless
    the address bounced. A mail in doubt is settled by any answer that shows it arrived, or by a hard bounce. Each
    counts once; safe to call again: it goes on where it stopped.

    Args:
        ledger: knows the addresses.
        answers: what came home.

    Returns:
        What changed.
    """
    name = f"suppressions of {ledger.place}"
    added: Counter[str] = Counter()
    restored = settled = unknown = 0
    mark = None
    for some in _up_to_each("subscribed", answers.standing_since(name, since=_heard(ledger, answers))):
        rows = _deliveries(ledger, some)
        found = [(one, rows[one.mail]) for one in some if one.mail in rows]
        unknown += len(some) - len(found)
        taken = ledger.report_events(_report(one, row.decision_id) for one, row in found if one.kind in _REASONS)
        added.update(taken.reasons)
        settled += taken.settled
        for one, row in found:
            if one.kind == "subscribed":
                restored += _restore(ledger, answers, row.address, one)
        mark = answers.taken_up(name, *some)
    if mark is not None:
        _note_heard(ledger, answers, mark)
    doubts = ledger.deliveries(state=State.UNKNOWN)["decision_id"].tolist()
    signs = [_report(one, one.decision_id) for one in answers.signs_of(doubts)]
    settled += ledger.report_events(signs).settled
    return TakenUp({reason: count for reason, count in added.items() if count}, restored, settled, unknown)


def _report(one: Answered, decision_id: str | None) -> Feedback:
    return Feedback(
        provider=one.provider,
        event_id=one.event_id,
        event=f"email_{one.kind}",
        at=from_micros(one.at),
        decision_id=decision_id,
        bounce_type=one.bounce_type,
        detail=one.bounce_type,
    )


def _restore(ledger: Ledger, answers: Answers, address: str, one: Answered) -> bool:
    def left() -> bool:
        # Another process may take up answers at the same time, and have come to a later choice of the same person.
        return answers.standing(one.mail).state != "subscribed"

    if left() or ledger.suppressions.reason(address) != "unsubscribed":
        return False
    by, why = f"{one.provider}: {one.event_id}", "the pause is over" if one.rule == "pause" else "subscribed again"
    gone = ledger.suppressions.remove(address, by=by, why=why)
    if left():
        ledger.suppressions.add(address, by=by, reason="unsubscribed")
        return False
    return gone


def _heard(ledger: Ledger, answers: Answers) -> str | None:
    """How far the ledger itself says that it took up these answers: one put back from a backup has less than it had."""
    with ledger.reading() as connection:
        found: str | None = connection.execute(select(metas.c.value).where(metas.c.name == mark_of(answers))).scalar()
    return found


def _note_heard(ledger: Ledger, answers: Answers, mark: str) -> None:
    with ledger.changing() as connection:
        connection.execute(insert_new(connection, metas), {"name": mark_of(answers), "value": mark})
        connection.execute(update(metas).where(metas.c.name == mark_of(answers)).values(value=mark))


def mark_of(answers: Answers) -> str:
    """The row of the ledger that says how far it took up these answers."""
    return f"heard {hashlib.sha256(answers.place.encode()).hexdigest()[:16]}"


def _up_to_each(kind: str, answered: Iterator[Answered]) -> Iterator[list[Answered]]:
    """Answers in groups that are taken up together; one of that kind is the last of its group."""
    group: list[Answered] = []
    for one in answered:
        group.append(one)
        if one.kind == kind or len(group) == _TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _deliveries(ledger: Ledger, answered: Sequence[Answered]) -> dict[str, Delivery]:
    """The mails that answers are about, by the name they have there; those this ledger knows."""
    by_decision = {
        row.decision_id: row for row in ledger.rows([one.decision_id for one in answered if one.decision_id])
    }
    rows = {one.mail: by_decision[one.decision_id] for one in answered if one.decision_id in by_decision}
    # Mails that were never handed down: a mail's name is how its Message-ID begins.
    names = sorted({one.mail for one in answered} - rows.keys())
    if names:
        with ledger.reading() as connection:
            found = dict(map(tuple, connection.execute(_begins_with(names, connection.dialect.name))))
        others = {row.decision_id: row for row in ledger.rows(sorted(found.values()))}
        rows |= {name: others[decision] for name, decision in found.items() if decision in others}
    return rows


def _begins_with(names: Sequence[str], dialect: str) -> Select[Any]:
    """Name and decision of the mails whose Message-ID begins with one of the names, all of one length."""
    begins = func.substr(deliveries.c.message_id, 1, len(names[0]))
    query = select(begins, deliveries.c.decision_id)
    if dialect != "sqlite":  # the order of an index depends on the database's language there
        return query.where(begins.in_(names))
    last = "\U0010ffff"
    return query.where(or_(*(deliveries.c.message_id.between(name, name + last) for name in names)))
