"""Prepare: a program, a log and a moment in, the mails due at it out: rendered, checked, counted, not sent."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, SupportsIndex, overload
from zoneinfo import ZoneInfo

import pandas as pd
from email_validator import EmailNotValidError, validate_email

from toolkit.bars import Bar
from toolkit.engine import Run, replay
from toolkit.engine.doors import check_program
from toolkit.errors import InputError, NotSupportedError
from toolkit.events import EventLog
from toolkit.mail import Letter, Templates, offer_values, preflight
from toolkit.scenario.duration import Duration
from toolkit.scenario.models import Offer, Policies, Program, Scenario
from toolkit.sending.answered import links_of
from toolkit.sending.batch import Batch
from toolkit.sending.clock import utc
from toolkit.sending.keys import MailKey, mail_key
from toolkit.sending.ledger import Ledger
from toolkit.sending.mails import PreparedMail
from toolkit.sending.policy import FILE_NAME, person
from toolkit.sending.recheck import Due, attributes_of, over_cap, stopped_since
from toolkit.sending.renamed import LOOKED_AROUND, note_of, under_another_name
from toolkit.sending.shares import in_shares
from toolkit.sending.spool import Spool, Store
from toolkit.sending.standing import scenarios_of
from toolkit.sending.states import State
from toolkit.sending.transports import Outbox
from toolkit.sending.unheard import unheard

__all__ = ["DEFAULT_OUTBOX", "prepare", "template_bytes"]

DEFAULT_OUTBOX = "./outbox"
ALREADY_SENT = "already sent"
BEGAN_BEFORE = "began before the start"
_SOME = 10_000  # decisions turned into letters at once
_SETTLED = {
    State.ACCEPTED: ALREADY_SENT,
    State.FAILED: "refused before",
    State.UNKNOWN: "unknown_delivery",
    State.SUPPRESSED: "suppressed",
    State.SKIPPED: "skipped before",
    State.CANCELLED: "cancelled",
    State.EXPIRED: "too_late",
}


def prepare(
    program: Program | Scenario,
    log: EventLog,
    *,
    now: datetime,
    templates: str | os.PathLike[str] | Templates,
    window: str | timedelta | Duration = "24h",
    ledger: str | os.PathLike[str] | None = None,
    scenarios: Sequence[str] | None = None,
    shares: Collection[int] | None = None,
    since: datetime | None = None,
    author: str | None = None,
    price_per_thousand: float | None = None,
    set_aside: bool = False,
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
        now: the moment, with a time zone. Nothing received later is seen.
        templates: the folder of the mails, or the mails compiled.
        window: decisions as old as this are too late to be mailed; a day is 24 hours.
        ledger: path or URL of the ledger; unless given, that of `./outbox`.
        scenarios: only mails of these; all of the program are decided, so that what they share stays shared.
        shares: only mails to the customers of these shares (`sending.shares`); all customers are decided.
        since: no mails of journeys that began before this moment, with a time zone: when the toolkit came to work. What
            began before has had its mails from another system, or never had the first of them.
        author: who wrote the scenarios and their mails; part of what is approved.
        price_per_thousand: what your provider takes for a thousand mails, in the program's currency, 0 or more; the
            summary then says what the batch costs to send.
        set_aside: leave out a mail that one customer's own values make unfit (a name that is a placeholder, a value
            that is missing or cannot be shown), and let the others go; unless given it blocks the batch.
        progress: show a progress bar where rendering takes a while.

    Returns:
        The batch, frozen, in the order of the decisions; `len(batch)`, `.table`, `.summary()`, `.preview(0)`.

    Raises:
        InputError: `now` or `since` without a time zone, a window that is not ahead of nothing, no unsubscribe_url, no
            e-mails, a scenario that is not in the program, a price that is no number or below zero.
        ScenarioError: the program does not fit the log.
        TemplateError: the templates cannot be read, or a mail the program sends is not among them.
        NotSupportedError: an offer with coupon codes from a pool.
        LedgerError: the ledger cannot be read.
    """
    check_program(program, log)
    if isinstance(program, Scenario):
        program = Program(scenarios=(program,))
    if not isinstance(templates, str | os.PathLike | Templates):
        raise InputError(
            f"prepare: templates: found {type(templates).__name__}; allowed: the folder of the mails, or Templates.load"
        )
    moment = utc(now, name="prepare: now")
    start = None if since is None else utc(since, name="prepare: since")
    _check_price(price_per_thousand)
    span = _window(window)
    if moment - datetime.min.replace(tzinfo=UTC) <= span:
        raise InputError(f"prepare: now: found {moment.date()}; the window would begin before all time")
    wanted = None if scenarios is None else scenarios_of(program, scenarios, where="prepare")
    wrote = None if author is None else person(author, where="prepare: author")
    where = str(ledger) if ledger is not None else Outbox(DEFAULT_OUTBOX).ledger
    compiled = templates if isinstance(templates, Templates) else Templates.load(os.fspath(templates), program.policies)
    if compiled.policies != program.policies:
        raise InputError("prepare: the templates were loaded with other policies than the program's")
    folder = None if isinstance(templates, Templates) else Path(templates).expanduser().resolve()
    last = _last_run(where)
    run = replay(program, log, until=moment, assume="as_logged", events_at_once=None)
    run = run.reaching(pd.Timestamp(moment - span if last is None else min(moment - span, last)) - LOOKED_AROUND)
    decided = run.decisions
    reached = decided[decided["at"] > moment - span]
    if wanted is not None:
        reached = reached[reached["scenario"].isin(wanted)]
    if shares is not None:
        reached = reached[in_shares(reached["customer_id"], shares)]
    skipped = Counter(reached.loc[reached["status"] != "send", "reason"])
    sends = reached[reached["status"] == "send"]
    known = _known(where, sends["decision_id"].tolist())
    skipped.update(known.values())
    sends = sends[~sends["decision_id"].isin(known)]
    renamed = under_another_name(where, sends, decided)
    skipped.update(renamed.values())
    sends = sends[~sends["decision_id"].isin(renamed)]
    before = _began_before(run, sends, start)
    writer = _Writer(program, log, run, moment)
    due = writer.due(sends)
    stopped = before | stopped_since(log, program, [mail for mail in due if mail.decision_id not in before], now=moment)
    stopped |= _over_cap(where, program, [mail for mail in due if mail.decision_id not in stopped])
    skipped.update(stopped.values())
    keys = {mail.decision_id: mail.key for mail in due if mail.key is not None}
    del due
    drafts, left_out = Store[_Draft](), dict[str, str]()
    going, marketing = sends[~sends["decision_id"].isin(stopped)], False
    bar = Bar(total=len(going), desc="letters", unit=" mails", disable=not progress or len(going) <= _SOME)
    with bar:
        for begin in range(0, len(going), _SOME):
            some, no_address = writer.letters(going.iloc[begin : begin + _SOME], keys)
            held = _suppressed(where, [draft.letter for draft in some])
            left_out |= no_address | held
            for draft in some:
                if draft.letter.decision_id not in held:
                    drafts.add(draft)
                    marketing = marketing or draft.letter.class_ == "marketing"
            bar.update(min(_SOME, len(going) - begin))
    skipped.update(left_out.values())
    letters = _Letters(drafts)
    key = mail_key(where)
    link = _unsubscribe_link(program.policies, key, needed=marketing)
    domain = program.policies.sender.email.rpartition("@")[2] if program.policies.sender else "localhost"
    mails = Store[PreparedMail]()
    spool = Spool()

    def named(letter: Letter) -> str:
        return key.message_id(letter.decision_id, domain=domain)

    def keep(number: int, subject: str, message: bytes, targets: tuple[str, ...] = ()) -> None:
        draft = drafts[number]
        mails.add(
            PreparedMail(
                **draft._asdict(),
                message_id=named(draft.letter),
                subject=subject,
                number=spool.add(message),
                targets=targets,
            )
        )

    unfit: list[int] = []
    checked = preflight(
        compiled,
        letters,
        program=program,
        progress=progress,
        unsubscribe=link,
        message_id=named,
        receive=keep,
        links=links_of(program.policies, key),
        set_aside=unfit.append if set_aside else None,
    )
    left_out |= {drafts[number].letter.decision_id: "render_error" for number in unfit}
    if len(mails) < len(letters):
        skipped["render_error"] += len(letters) - len(mails)
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
        problems=(),
        notes=(
            *_notes(run, log, moment, span, decided, where, last),
            *note_of(len(renamed)),
            *_first_of_all(where, log, decided, going),
            *unheard(program, log),
        ),
        ledger=None if ledger is None else where,
        key=key,
        previous=_previous(where),
        author=wrote,
        price_per_thousand=price_per_thousand,
        left_out={name: str(why) for name, why in {**renamed, **stopped, **left_out}.items()},
    )


def template_bytes(folder: Path) -> dict[str, bytes]:
    """Each file under a folder that can change what a mail says or who approves it, by its path below the folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        named = path.suffix in (".mjml", ".txt") or path.name in ("scenario.yaml", "policies.yaml", FILE_NAME)
        if named and path.is_file() and not any(part.startswith(".") for part in relative.parts):
            found[relative.as_posix()] = path.read_bytes()
    return found


def _began_before(run: Run, sends: pd.DataFrame, start: datetime | None) -> dict[str, str]:
    """Decisions of journeys that began before a moment, with the reason they are not mailed."""
    if start is None or not len(sends):
        return {}
    entered = run.journeys.set_index("journey_id")["entered_at"]
    early = sends["journey_id"].map(entered) < start
    return dict.fromkeys(sends.loc[early, "decision_id"], BEGAN_BEFORE)


def _check_price(price: Any) -> None:
    try:
        usable = price is None or 0 <= price < math.inf
    except TypeError:
        usable = False
    if not usable:
        raise InputError(f"prepare: price_per_thousand: expected 0 or more; found {price!r}")


def _window(window: str | timedelta | Duration) -> timedelta:
    try:
        span = timedelta(microseconds=Duration.parse(window).elapsed)
    except ValueError as fault:
        raise InputError(f"prepare: window: {fault}") from fault
    if span <= timedelta():
        raise InputError(f"prepare: window: expected a time above zero, for example 24h; found {window!r}")
    return span


def _last_run(where: str) -> datetime | None:
    if not Ledger.exists(where):
        return None
    with Ledger.open(where) as ledger:
        return ledger.last_run()


def _known(where: str, decision_ids: Sequence[str]) -> dict[str, str]:
    """Decisions the ledger has settled, with the reason they are not mailed; what it left undone is due again."""
    if not decision_ids or not Ledger.exists(where):
        return {}
    with Ledger.open(where) as ledger:
        return {name: _SETTLED[state] for name, state in ledger.settled(decision_ids).items()}


def _over_cap(where: str, program: Program, due: Sequence[Due]) -> dict[str, str]:
    """Decisions that mails the ledger knows, and the engine does not, leave no room for."""
    if not due or not program.policies.caps or not Ledger.exists(where):
        return {}
    with Ledger.open(where) as ledger:
        return over_cap(program, due, ledger.marketing_of(sorted({mail.customer_id for mail in due})))


def _previous(where: str) -> Mapping[str, Any] | None:
    if not Ledger.exists(where):
        return None
    with Ledger.open(where) as ledger:
        return ledger.last_approval()


def _suppressed(where: str, letters: Sequence[Letter]) -> dict[str, str]:
    if not letters or not Ledger.exists(where):
        return {}
    with Ledger.open(where) as ledger:
        stopped = ledger.stopped([(letter.to, letter.class_) for letter in letters])
    return {one.decision_id: stopped[one.to, one.class_] for one in letters if (one.to, one.class_) in stopped}


class _Draft(NamedTuple):
    """A letter, and what else is known of its decision."""

    letter: Letter
    customer_id: str
    arm: str | None
    offer: str | None
    due_at: datetime
    key: str | None


class _Letters(Sequence[Letter]):
    """The letters of drafts that lie on the disk."""

    def __init__(self, drafts: Store[_Draft]) -> None:
        self._drafts = drafts

    def __len__(self) -> int:
        return len(self._drafts)

    @overload
    def __getitem__(self, place: SupportsIndex) -> Letter: ...

    @overload
    def __getitem__(self, place: slice) -> list[Letter]: ...

    def __getitem__(self, place: SupportsIndex | slice) -> Letter | list[Letter]:
        if isinstance(place, slice):
            return [draft.letter for draft in self._drafts[place]]
        return self._drafts[place].letter


class _Writer:
    """Turns decisions into letters."""

    def __init__(self, program: Program, log: EventLog, run: Run, now: datetime) -> None:
        self.program = program
        self.log = log
        self.run = run
        self.now = now
        self.offers = {(send.scenario, send.step): send.offer for send in run.compiled.sends}

    def due(self, sends: pd.DataFrame) -> list[Due]:
        keys = self.run.journeys.set_index("journey_id")["key"]
        return [
            Due(row.decision_id, row.scenario, row.customer_id, _text(keys.get(row.journey_id)), row.at.to_pydatetime())
            for row in _rows(sends)
        ]

    def letters(self, sends: pd.DataFrame, keys: Mapping[str, str]) -> tuple[list[_Draft], dict[str, str]]:
        """Letters in the order of the decisions; and those without an address, with the reason."""
        people = attributes_of(self.log, sorted(set(sends["customer_id"])), now=self.now)
        triggers = self.run.trigger_properties(sends["journey_id"].unique()) if len(sends) else pd.DataFrame()
        events = dict(zip(triggers.index, _records(triggers), strict=True))
        drafts, left_out = [], {}
        for row in _rows(sends):
            person = people[row.customer_id]
            address = _address(person.get("email"))
            if address is None:
                left_out[row.decision_id] = "no_address"
                continue
            drafts.append(
                _Draft(
                    letter=self._letter(row, person, events[row.journey_id], address),
                    customer_id=row.customer_id,
                    arm=_text(row.arm),
                    offer=_text(row.offer),
                    due_at=row.due_at.to_pydatetime(),
                    key=keys.get(row.decision_id),
                )
            )
        return drafts, left_out

    def _letter(self, row: Any, person: Mapping[str, Any], event: Mapping[str, Any], address: str) -> Letter:
        scenario = self.program[row.scenario]
        at = row.at.to_pydatetime()
        return Letter(
            template=row.template,
            decision_id=row.decision_id,
            scenario=row.scenario,
            step=row.step,
            class_=scenario.class_,
            customer=person,
            event=event,
            offer=self._offer(row, person, at),
            to=address,
            locale=str(person.get("locale") or self.program.policies.locale),
            at=at,
        )

    def _offer(self, row: Any, person: Mapping[str, Any], at: datetime) -> dict[str, Any] | None:
        offer: Offer | None = self.offers[row.scenario, row.step]
        if offer is None or _text(row.offer) is None:
            return None
        if offer.pool is not None:
            raise NotSupportedError(
                f"prepare: {row.scenario}.{row.step}.offer.pool: handing out the codes of pool {offer.pool!r} "
                f"is not there yet; use one code for all (offer.code)"
            )
        policies = self.program.policies
        zone = _zone(person.get("timezone"), policies.timezone)
        return offer_values(offer, at=at, zone=zone, currency=policies.currency)


def _unsubscribe_link(policies: Policies, key: MailKey, *, needed: bool) -> Callable[[Letter], str]:
    pattern = getattr(policies.brand, "unsubscribe_url", None)
    if pattern is None and policies.tracking is not None:
        pattern = f"{policies.tracking.url.rstrip('/')}/u/{{token}}"
    usable = isinstance(pattern, str) and "{token}" in pattern and pattern.startswith("https://")
    if needed and not usable:
        found = f"; found {pattern!r}" if pattern else ""
        raise InputError(
            "policies: brand.unsubscribe_url: marketing mail needs an https link with {token} in it, "
            f"for example https://shop.example.com/u/{{token}}{found}"
        )
    return lambda letter: str(pattern).replace("{token}", key.token(letter.decision_id, purpose="unsubscribe"))


def _address(value: object) -> str | None:
    """The address as a mail can be sent to it; None when there is none, or it is not one."""
    if not isinstance(value, str) or not value.strip():
        return None
    try:
        return validate_email(value.strip(), check_deliverability=False, allow_smtputf8=False).normalized
    except EmailNotValidError:
        return None


def _rows(frame: pd.DataFrame) -> Iterator[Any]:
    return iter(frame.itertuples())


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): _plain(value) for name, value in row.items() if not pd.isna(value)}
        for row in frame.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    if not isinstance(value, pd.Timestamp):
        return value
    return (value if value.tzinfo else value.tz_localize("UTC")).to_pydatetime()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _zone(own: object, shared: str) -> ZoneInfo:
    for name in (own, shared):
        try:
            return ZoneInfo(str(name))
        except (KeyError, ValueError, OSError):  # no such zone, or not the name of one
            continue
    return ZoneInfo("UTC")


def _notes(
    run: Run, log: EventLog, now: datetime, span: timedelta, decided: pd.DataFrame, where: str, last: datetime | None
) -> tuple[str, ...]:
    notes = [note for note in run.notes if not note.startswith("assumed:")]
    if log.span is not None and log.span[1] < now - span:
        notes.append(f"the log ends {log.span[1]:%Y-%m-%d %H:%M} UTC, before the window begins")
    if last is not None:
        late = decided[(decided["at"] <= now - span) & (decided["at"] > last) & (decided["status"] == "send")]
        missed = late["decision_id"].tolist()
        with Ledger.open(where) as ledger:
            count = len(missed) - len(ledger.known(missed))
        if count:
            notes.append(f"due since the last run, and by now too late for the window: {count:,}")
    return tuple(notes)


def _first_of_all(where: str, log: EventLog, decided: pd.DataFrame, going: pd.DataFrame) -> tuple[str, ...]:
    """Of the first batch ever: how many of its mails follow on others that nobody was sent."""
    if not len(going) or "email_sent" in log.event_names or (Ledger.exists(where) and _previous(where) is not None):
        return ()
    first = decided[decided["status"] == "send"].groupby("journey_id")["at"].min()
    count = int((going["journey_id"].map(first) < going["at"]).sum())
    if not count:
        return ()
    return (
        f"nothing was sent yet, and {count:,} of these mails follow on others of their journey; "
        "since= leaves out what began before a moment",
    )
