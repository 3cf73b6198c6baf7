"""Prepare: a program, a log and a moment in, the mails due at it out: rendered, checked, counted, not sent."""

from __future__ import annotations

import hashlib
import math
import os
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from toolkit.bars import Bar
from toolkit.engine import Run, replay
from toolkit.engine.doors import check_program, moment_of
from toolkit.errors import InputError, shown
from toolkit.events import EventLog
from toolkit.mail import Letter, Preflight, Templates, preflight
from toolkit.scenario.duration import Duration
from toolkit.scenario.models import Policies, Program, Scenario
from toolkit.sending.answered import links_of
from toolkit.sending.approval.policy import FILE_NAME
from toolkit.sending.approval.standing import scenarios_of
from toolkit.sending.batch.batch import Batch
from toolkit.sending.batch.mails import Aside, PreparedMail, aside_of
from toolkit.sending.batch.stock import Codes, Stock, never_empty
from toolkit.sending.clock import length, utc
from toolkit.sending.keys import MailKey, mail_key, name_of
from toolkit.sending.ledger.draws import draws_of, redrawn
from toolkit.sending.ledger.ledger import Ledger
from toolkit.sending.ledger.renamed_decisions import LOOKED_AROUND, Renamed, under_another_name
from toolkit.sending.ledger.shares import in_shares
from toolkit.sending.people import person
from toolkit.sending.preparation.drafts import Draft, Letters, Writer
from toolkit.sending.preparation.notes import notes_of
from toolkit.sending.sender.recheck import Due, caps_of, over_cap, stopped_since
from toolkit.sending.spool import Chosen, Spool, Store
from toolkit.sending.states import State
from toolkit.sending.stopping import interruptible, look
from toolkit.sending.transports import Outbox

__all__ = ["DEFAULT_OUTBOX", "prepare", "template_bytes", "unsubscribe_link"]

DEFAULT_OUTBOX = "./outbox"
ALREADY_SENT = "already sent"
BEGAN_BEFORE = "began before the start"
_SOME = 10_000  # decisions turned into letters at once, or more:
_MANY_EVENTS = 1_000_000  # from which a replay takes longer than a moment
_LOOKS = 20  # looks at the log in all, each of which reads it through
_NAMED = 8_192  # mails that are on their way to and from whoever renders them, and more
_SETTLED = {
    State.ACCEPTED: ALREADY_SENT,
    State.FAILED: "refused before",
    State.UNKNOWN: "unknown_delivery",
    State.SUPPRESSED: "suppressed",
    State.SKIPPED: "skipped before",
    State.CANCELLED: "cancelled",
    State.EXPIRED: "too_late",
}


@interruptible("Nothing was prepared, nor lost: call prepare again.")
def prepare(
    program: Program | Scenario,
    log: EventLog,
    *,
    now: datetime | str,
    templates: str | os.PathLike[str] | Templates,
    window: str | timedelta | Duration = "24h",
    ledger: str | os.PathLike[str] | None = None,
    scenarios: Sequence[str] | None = None,
    shares: Collection[int] | None = None,
    since: datetime | str | None = None,
    codes: Codes | None = None,
    author: str | None = None,
    price_per_thousand: float | None = None,
    set_aside: float = 0.1,
    progress: bool = True,
) -> Batch:
    """The mails due at a moment, decided by the same engine as replay, rendered and checked; nothing is sent.

    Left out, and counted by reason: decisions the engine did not send (holdout, cap, quiet hours …), what the ledger
    knows already, addresses that are no addresses or on the suppression list, and people who unsubscribed, bounced
    for good, or did what ends the scenario between the decision and `now`.

    Args:
        program: scenarios and the policies they share; the policies need a sender, and `brand.unsubscribe_url` with
            `{token}` in it where a mail is marketing.
        log: what customers did; the customers need an `email`.
        now: the moment, with a time zone, as a datetime or "2025-05-05T12:00Z". Nothing received later is seen.
        templates: the folder of the mails, or the mails compiled.
        window: decisions as old as this are too late to be mailed; a day is 24 hours.
        ledger: path or URL of the ledger; unless given, that of `./outbox`.
        scenarios: only mails of these; all of the program are decided, so that what they share stays shared.
        shares: only mails to the customers of these shares (`sending.shares`); all customers are decided.
        since: no mails of journeys that began before this moment, with a time zone: when the toolkit came to work. What
            began before has had its mails from another system, or never had the first of them.
        codes: pool to its coupon codes, or to a CSV file of them; the file that the policies name unless given. Each
            mail gets one that no other mail has; none is taken before the batch is sent.
        author: who wrote the scenarios and their mails; part of what is approved.
        price_per_thousand: what your provider takes for a thousand mails, in the program's currency, 0 or more; the
            summary then says what the batch costs to send.
        set_aside: the largest share, 0 to 1, of a template's mails that is left out because of what is in single
            customers' own data (a name of 2,000 letters, or one that is a placeholder; a value that is missing or
            cannot be shown), while the others go; up to ten always are, as long as any mail is fit. More than that is
            taken for the template's fault and blocks the batch. False: a single one blocks it; True: none does.
        progress: show progress bars where it takes a while.

    Returns:
        The batch, frozen, in the order of the decisions; `len(batch)`, `.table`, `.summary()`, `.preview(0)`.

    Raises:
        InputError: `now` or `since` without a time zone, a window that is not ahead of nothing, no unsubscribe_url, no
            e-mails, a scenario that is not in the program, a price that is no number or below zero, codes of a pool
            that are nowhere or not one each.
        ScenarioError: the program does not fit the log.
        TemplateError: the templates cannot be read, or a mail the program sends is not among them.
        LedgerError: the ledger cannot be read.
    """
    program = check_program(program, log)
    if not isinstance(templates, str | os.PathLike | Templates):
        raise InputError(
            f"prepare: templates: found {type(templates).__name__}; allowed: the folder of the mails, or Templates.load"
        )
    moment = utc(moment_of(now, name="prepare: now"), name="prepare: now")
    start = None if since is None else utc(moment_of(since, name="prepare: since"), name="prepare: since")
    _check_price(price_per_thousand)
    _check_share(set_aside)
    span = length(window, name="prepare: window", example="24h")
    if moment - datetime.min.replace(tzinfo=UTC) <= span:
        raise InputError(f"prepare: now: found {moment.date()}; the window would begin before all time")
    wanted = None if scenarios is None else scenarios_of(program, scenarios, where="prepare")
    wrote = None if author is None else person(author, where="prepare: author")
    where = str(ledger) if ledger is not None else Outbox(DEFAULT_OUTBOX).ledger
    compiled = templates if isinstance(templates, Templates) else Templates.load(os.fspath(templates), program.policies)
    if compiled.policies != program.policies:
        raise InputError("prepare: the templates were loaded with other policies than the program's")
    folder = None if isinstance(templates, Templates) else Path(templates).expanduser().resolve()
    begin = moment - span
    with Ledger.if_there(where) as known:
        last = None if known is None else known.last_run()
        stock = Stock(program, known, folder=folder, codes=codes)
        with _parts(2, shown=progress and len(log) > _MANY_EVENTS) as part:
            part("replay of the log")
            whole = replay(never_empty(program), log, until=moment, assume="as_logged", events_at_once=None)
            part("what is due")
            before = None if last is None else min(begin, last - span)  # the window of the last run
            run = whole.reaching(pd.Timestamp(begin if before is None else before) - LOOKED_AROUND)
            reached = _reached(run, begin, scenarios=wanted, shares=shares)
        sends = reached[reached["status"] == "send"]
        with _parts(4, shown=progress and len(sends) > _SOME) as part:
            part("what was sent before")
            settled = {} if known is None else _settled(known, sends)
            sends = _without(sends, settled)
            part("what was sent under another name")
            renamed = Renamed({}, Counter()) if known is None else under_another_name(known, sends, run, whole)
            writer = Writer(program, log, run, moment)
            lost = dict[str, str]()
            if known is not None and last is not None and before is not None:
                missed = _reached(run, before, scenarios=wanted, shares=shares)
                missed = missed[(missed["status"] == "send") & (missed["at"] <= min(begin, last))]
                lost = _lost(writer, missed, whole, log, known, start=start)
            del whole  # of a long log it is large
            sends = _without(sends, renamed.left_out)
            part("who is due")
            due = writer.due(sends)
            part("what happened since")
            stopped = _stopped(run, sends, due, log, known, start=start, now=moment)
            going = _without(sends, stopped)
        keys = {mail.decision_id: mail.key for mail in due if mail.key is not None}
        drafts, unmailable = _drafts(writer, going, keys, known, stock, progress=progress)
        notes = (
            notes_of(run, log, known, begin=begin, last=last, lost=lost, going=going, renamed=renamed) + stock.notes()
        )
        previous = None if known is None else known.last_approval()
        problems = () if known is None else _redrawn(known, program, going)
    key = mail_key(where)
    written = set(_without(going, unmailable)["scenario"])
    link = unsubscribe_link(program.policies, key, needed=any(program[one].class_ == "marketing" for one in written))
    mails, spool, checked, aside = _rendered(
        program, compiled, Letters(drafts, set(going["template"])), key, link, set_aside=set_aside, progress=progress
    )
    skipped = Counter(reached.loc[reached["status"] != "send", "reason"])
    for reasons in (settled, renamed.left_out, stopped, unmailable):
        skipped.update(reasons.values())
    skipped["render_error"] += len(drafts) - len(mails)
    read = {} if folder is None else template_bytes(folder)
    return Batch(
        program=program,
        templates=compiled,
        folder=folder,
        files={name: hashlib.sha256(data).hexdigest() for name, data in read.items()},
        sources={name: data.decode(errors="replace") for name, data in read.items()},
        now=moment,
        window=Duration.parse(window),
        mails=mails,
        spool=spool,
        skipped={str(reason): int(count) for reason, count in sorted(skipped.items()) if count},
        preflight=checked,
        problems=problems,
        notes=notes,
        ledger=None if ledger is None else where,
        key=key,
        previous=previous,
        author=wrote,
        price_per_thousand=price_per_thousand,
        left_out={name: str(why) for name, why in {**renamed.left_out, **stopped, **unmailable}.items()}
        | {row[0]: "render_error" for row in aside},
        aside=aside,
        lost=lost,
        progress=progress,
    )


@contextmanager
def _parts(count: int, *, shown: bool) -> Iterator[Callable[[str], None]]:
    """What is called with words as each part of the work begins, which a bar then shows."""
    with Bar(total=count, unit=" steps", disable=not shown) as bar:
        begun = False

        def part(words: str) -> None:
            nonlocal begun
            look()
            bar.update(begun)
            bar.set_description(words)
            begun = True

        yield part
        bar.update()


def _reached(
    run: Run, begin: datetime, *, scenarios: Sequence[str] | None, shares: Collection[int] | None
) -> pd.DataFrame:
    """The decisions of the window that were asked for."""
    decided = run.decisions
    reached = decided[decided["at"] > begin]
    if scenarios is not None:
        reached = reached[reached["scenario"].isin(scenarios)]
    return reached if shares is None else reached[in_shares(reached["customer_id"], shares)]


def _without(sends: pd.DataFrame, left_out: Collection[str]) -> pd.DataFrame:
    return sends[~sends["decision_id"].isin(left_out)]


def _settled(ledger: Ledger, sends: pd.DataFrame) -> dict[str, str]:
    """Decisions the ledger has settled, with the reason they are not mailed; what it left undone is due again."""
    return {name: _SETTLED[state] for name, state in ledger.settled(sends["decision_id"].tolist()).items()}


def _stopped(
    run: Run,
    sends: pd.DataFrame,
    due: Sequence[Due],
    log: EventLog,
    ledger: Ledger | None,
    *,
    start: datetime | None,
    now: datetime,
) -> dict[str, str]:
    """Decisions that no longer hold, with the reason: begun before the start, ended or unsubscribed since, over a cap
    by mails that the ledger knows and the engine does not."""
    stopped: dict[str, str] = {}
    if start is not None and len(sends):
        entered = sends["journey_id"].map(run.journeys.set_index("journey_id")["entered_at"])
        stopped = dict.fromkeys(sends.loc[entered < start, "decision_id"], BEGAN_BEFORE)
    stopped |= stopped_since(log, run.program, [mail for mail in due if mail.decision_id not in stopped], now=now)
    left = [mail for mail in due if mail.decision_id not in stopped]
    if ledger is not None and left and any(caps_of(run.program).values()):
        stopped |= over_cap(run.program, left, ledger.marketing_of(sorted({mail.customer_id for mail in left})))
    return stopped


def _lost(
    writer: Writer, sends: pd.DataFrame, whole: Run, log: EventLog, ledger: Ledger, *, start: datetime | None
) -> dict[str, str]:
    """Of decisions that the window has left behind: those whose mails should have gone and did not, with the customer.

    They were left out for what is in their customers' data, or held back, or nobody sent them, or the other side
    postponed them until it was too late.
    """
    names = sends["decision_id"].tolist()
    sends = _without(sends, ledger.known(names).keys() - ledger.left_behind(names))
    if len(sends):
        sends = _without(sends, under_another_name(ledger, sends, writer.run, whole).left_out)
    if not len(sends):
        return {}
    due = writer.due(sends)
    sends = _without(sends, _stopped(writer.run, sends, due, log, ledger, start=start, now=writer.now))
    letters, _ = writer.letters(sends, writer.run.trigger_rows(sends["journey_id"]), {})
    held = _suppressed(ledger, [draft.letter for draft in letters])
    return {one.letter.decision_id: one.customer_id for one in letters if one.letter.decision_id not in held}


def _redrawn(ledger: Ledger, program: Program, going: pd.DataFrame) -> tuple[str, ...]:
    """Experiments whose people would change arms between the mails the ledger knows and these."""
    with ledger.reading() as connection:
        return redrawn(connection, draws_of(program, set(going["scenario"])))


def _drafts(
    writer: Writer,
    going: pd.DataFrame,
    keys: Mapping[str, str],
    ledger: Ledger | None,
    stock: Stock,
    *,
    progress: bool,
) -> tuple[Store[Draft], dict[str, str]]:
    """The letters, and the decisions that have none, with the reason: no address, one on the suppression list, or no
    coupon code left."""
    drafts, left_out = Store[Draft](), dict[str, str]()
    at_once = max(_SOME, len(going) // _LOOKS)
    with Bar(total=len(going), desc="letters", unit=" mails", disable=not progress or len(going) <= _SOME) as bar:
        triggers = writer.run.trigger_rows(going["journey_id"])
        for begin in range(0, len(going), at_once):
            part = slice(begin, begin + at_once)
            some, no_address = writer.letters(going.iloc[part], triggers[part], keys)
            held = {} if ledger is None else _suppressed(ledger, [draft.letter for draft in some])
            ready, no_code = writer.with_codes([one for one in some if one.letter.decision_id not in held], stock)
            left_out |= no_address | held | no_code
            for draft in ready:
                drafts.add(draft)
            bar.update(min(at_once, len(going) - begin))
            look()
    return drafts, left_out


def _suppressed(ledger: Ledger, letters: Sequence[Letter]) -> dict[str, str]:
    stopped = ledger.stopped([(letter.to, letter.class_) for letter in letters])
    return {one.decision_id: stopped[one.to, one.class_] for one in letters if (one.to, one.class_) in stopped}


def _rendered(
    program: Program,
    templates: Templates,
    letters: Letters,
    key: MailKey,
    link: Callable[[str], str],
    *,
    set_aside: float,
    progress: bool,
) -> tuple[Sequence[PreparedMail], Spool, Preflight, Store[Aside]]:
    """The mails of these letters, their bytes, what the preflight found, and the mails it set aside."""
    policies = program.policies
    domain = policies.sender.email.rpartition("@")[2] if policies.sender else "localhost"
    mails, spool, numbers = Store[PreparedMail](), Spool(), array("q")

    @lru_cache(_NAMED)  # for its link, for itself, and when it comes back from whoever renders it
    def name(decision_id: str) -> str:
        return key.message_id(decision_id, domain=domain)

    def keep(number: int, subject: str, message: bytes, targets: tuple[str, ...] = ()) -> None:
        look()
        draft = letters.draft(number)
        numbers.append(number)
        mails.add(
            PreparedMail(
                **draft._asdict(),
                message_id=name(draft.letter.decision_id),
                subject=subject,
                number=spool.add(message),
                targets=targets,
            )
        )

    checked = preflight(
        templates,
        letters,
        program=program,
        progress=progress,
        unsubscribe=lambda letter: link(name(letter.decision_id)),
        message_id=lambda letter: name(letter.decision_id),
        receive=keep,
        links=links_of(policies, key),
        set_aside=set_aside,
    )
    aside = Store[Aside](together=32)
    for number, why in checked.left_out.items():
        aside.add(aside_of(letters.draft(number).letter, letters.draft(number).customer_id, why))
    left = checked.left_out
    going = Chosen(mails, (n for n, number in enumerate(numbers) if number not in left)) if left else mails
    return going, spool, checked, aside


def template_bytes(folder: Path) -> dict[str, bytes]:
    """Each file under a folder that can change what a mail says or who approves it, by its path below the folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        named = path.suffix in (".mjml", ".txt") or path.name in ("scenario.yaml", "policies.yaml", FILE_NAME)
        if named and path.is_file() and not any(part.startswith(".") for part in relative.parts):
            found[relative.as_posix()] = path.read_bytes()
    return found


def _check_price(price: Any) -> None:
    try:
        usable = price is None or 0 <= price < math.inf
    except TypeError:
        usable = False
    if not usable:
        raise InputError(f"prepare: price_per_thousand: expected 0 or more; found {shown(price)}")


def _check_share(share: Any) -> None:
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        allowed = "a share of a template's mails from 0 to 1, False or True"
        raise InputError(f"prepare: set_aside: expected {allowed}; found {shown(share)}")


def unsubscribe_link(
    policies: Policies, key: MailKey, *, needed: bool, purpose: str = "unsubscribe"
) -> Callable[[str], str]:
    """The link to unsubscribe in the mail of a Message-ID; of the purpose `test` it unsubscribes nobody."""
    pattern = getattr(policies.brand, "unsubscribe_url", None)
    usable = isinstance(pattern, str) and "{token}" in pattern and pattern.startswith("https://")
    if pattern is None and policies.tracking is not None:
        pattern, usable = f"{policies.tracking.url.rstrip('/')}/u/{{token}}", True
    if needed and not usable:
        found = f"; found {shown(pattern)}" if pattern else ""
        raise InputError(
            "policies: brand.unsubscribe_url: marketing mail needs an https link with {token} in it, "
            f"for example https://shop.example.com/u/{{token}}{found}"
        )
    words, tokens = str(pattern), key.tokens
    return lambda message_id: words.replace("{token}", tokens.mint(name_of(message_id), purpose=purpose))
