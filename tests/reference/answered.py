"""How mails are answered, worked out from the log alone: a log that grows by the answers, instant after instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from tests.reference.records import plain
from tests.reference.worlds import World, people
from toolkit.engine import Run, replay
from toolkit.engine import layout as m
from toolkit.engine.instructions import CompiledSend
from toolkit.events import EventLog
from toolkit.scenario import models
from toolkit.scenario.duration import Duration

__all__ = ["Answering", "TooLongError", "rows_of"]

_MOST_INSTANTS = 60


class TooLongError(Exception):
    """Answers begin journeys whose mails are answered, and so on: more instants than are worth waiting for."""


@dataclass
class Answering:
    """A world whose people answer as a response model without any chance says.

    spec: a response model as plain data, each rate 0 or 1; price: of every purchase `b` of the log. After `run`,
    `events` are those of the world and all answers, and `answers` has one row of counts per mail.
    """

    world: World
    spec: Mapping[str, Any]
    price: float
    events: list[dict[str, Any]] = field(init=False)
    answers: list[dict[str, Any]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        known: dict[str, dict[str, Any]] = {}
        rows = [{name: plain(value) for name, value in row.items()} for row in self.world.events]
        for row in rows:
            row["received_at"] = max(row["at"], row["received_at"])
        for row in sorted(rows, key=lambda row: row["received_at"]):
            known.setdefault(row["event_id"], row)
        self.events = list(known.values())

    def run(self) -> Run:
        """The replay of the log in which every mail that went is answered."""
        answered: set[tuple[str, int]] = set()
        for _ in range(_MOST_INSTANTS):
            run = self._replayed()
            waiting = [mail for mail in self._mails(run) if mail.name not in answered]
            if not waiting:
                return run
            first: dict[str, Any] = {}
            for mail in waiting:
                first[mail.customer] = min(mail.at, first.get(mail.customer, mail.at))
            for mail in waiting:
                if mail.at == first[mail.customer]:
                    answered.add(mail.name)
                    self._answer(mail)
        raise TooLongError

    def _replayed(self) -> Run:
        frame = pd.DataFrame(self.events, columns=list(self.world.columns))
        for name in ("at", "received_at"):
            frame[name] = pd.to_datetime(frame[name], utc=True)
        log = EventLog.from_pandas(frame, customers=people(self.world.customers), progress=False)
        return replay(self.world.program, log, until=self.world.until, assume="as_logged", progress=False)

    def _mails(self, run: Run) -> list[_Mail]:
        """Mails that went, of each customer in the order in which they were decided."""
        ids, names = run.all_journey_ids.to_pylist(), run.marked.customers.to_pylist()
        mails = []
        for row in run.walked.decisions:
            journey = run.walked.journeys[row[m.D_JOURNEY]]
            if row[m.D_STATUS] == m.STATUS_SEND:
                send = run.compiled.sends[row[m.D_SEND]]
                mails.append(
                    _Mail(
                        name=(ids[row[m.D_JOURNEY]], int(row[m.D_SEND])),
                        customer=names[journey[m.J_CUSTOMER]],
                        at=_stamp(row[m.D_AT]),
                        send=send,
                        scenario=self.world.program[send.scenario],
                        arm=int(journey[m.J_ARM]),
                        entered=int(journey[m.J_ENTERED]),
                        has_offer=bool(row[m.D_PLAIN] == 0 and send.offer is not None),
                    )
                )
        return mails

    def _says(self, mail: _Mail, section: str, key: str = "rate") -> bool:
        own = self.spec.get("mails", {}).get(f"{mail.send.scenario}.{mail.send.step_id}", {}).get(section, {})
        if key in own:
            return bool(own[key])
        is_general = section in ("opens", "clicks") or mail.scenario.class_ == "marketing"
        return is_general and bool(self.spec[section][key])

    def _after(self, section: str) -> pd.Timedelta:
        return _length(self.spec[section]["after"])

    def _put(self, mail: _Mail, event: str, at: pd.Timestamp, **more: Any) -> None:
        name = f"~{len(self.events):06}"  # behind what comes at the same moment
        row = {"customer_id": mail.customer, "event": event, "at": at, "received_at": at, "event_id": name, **more}
        self.events.append(row)

    def _next_purchase(self, mail: _Mail, within: pd.Timedelta) -> dict[str, Any] | None:
        """The customer's next purchase after the mail, in the order in which they are heard of."""
        to_come = [
            row for row in self.events
            if row["customer_id"] == mail.customer and row["event"] == "b" and row["at"] > mail.at
        ]  # fmt: skip
        to_come.sort(key=lambda row: (row["received_at"], row["at"], row["event_id"]))
        return next((row for row in to_come if row["at"] <= mail.at + within), None)

    def _answer(self, mail: _Mail) -> None:
        count: dict[str, Any] = {"mails": 1}
        experiment = mail.scenario.experiment
        about = {
            "scenario": mail.send.scenario, "step": mail.send.step_id, "template": mail.send.template,
            "experiment": experiment.name if experiment else None,
        }  # fmt: skip
        if self._says(mail, "opens"):
            count["opens"], at = 1, mail.at + self._after("opens")
            self._put(mail, "email_opened", at, verdict="human", machine=False, **about)
            if self._says(mail, "clicks"):
                count["clicks"] = 1
                self._put(mail, "email_clicked", at + self._after("clicks"), **about)
        window, offer = _length(self.spec["window"]), mail.send.offer
        valid = pd.Timedelta(offer.valid.elapsed, unit="us") if offer and offer.valid else window
        off = self._worth(offer) if mail.has_offer else 0
        if self._next_purchase(mail, window) is None:
            if self._says(mail, "buys"):
                longest = min(window, valid) if mail.has_offer else window
                self._put(mail, "b", mail.at + min(longest, self._after("buys")), value=self.price, used=True)
                count |= {"caused": 1, "caused_revenue": int(self.price * 1e6), "discount_caused": off}
        else:
            count |= self._on_their_own(mail, valid, off)
        if self._says(mail, "unsubscribes"):
            count["unsubscribes"] = 1
            self._put(mail, "email_unsubscribed", mail.at + self._after("opens"))
        self.answers.append({"scenario": mail.send.scenario, "arm": mail.arm, "entered": mail.entered, **count})

    def _on_their_own(self, mail: _Mail, valid: pd.Timedelta, off: int) -> dict[str, int]:
        """Who would have bought anyway may use the offer, and may buy sooner."""
        count = {}
        row = self._next_purchase(mail, valid) if mail.has_offer else None
        if row is not None and not row.get("used") and off and self._says(mail, "offers", "used_anyway"):
            row["used"] = True
            count = {"own_with_offer": 1, "discount_own": off}
        if self._says(mail, "purchases", "pulled_forward"):
            row = self._next_purchase(mail, _length(self.spec["purchases"]["pulled_within"]))
            at = mail.at + self._after("buys")
            if row is not None and at < row["at"]:
                row["at"] = row["received_at"] = at
                count["pulled_forward"] = 1
        return count

    def _worth(self, offer: models.Offer | None) -> int:
        """What an offer takes off the price, in millionths."""
        if offer is None or self.price < (offer.minimum or 0.0):
            return 0
        return int(min(self.price, self.price * (offer.percent or 0.0) / 100 + (offer.amount or 0.0)) * 1e6 + 0.5)


@dataclass(frozen=True)
class _Mail:
    """A mail that went."""

    name: tuple[str, int]
    customer: str
    at: pd.Timestamp
    send: CompiledSend
    scenario: models.Scenario
    arm: int
    entered: int
    has_offer: bool


def _length(text: str) -> pd.Timedelta:
    return pd.Timedelta(Duration.parse(text).elapsed, unit="us")


def _stamp(micros: int) -> pd.Timestamp:
    return pd.Timestamp(int(micros), unit="us", tz="UTC")


def rows_of(frame: pd.DataFrame, columns: Sequence[str]) -> list[tuple[str | None, ...]]:
    """Some columns as texts, in an order of their own."""
    rows = frame[list(columns)].astype(object).itertuples(index=False, name=None)
    return sorted((tuple(None if pd.isna(value) else str(value) for value in row) for row in rows), key=str)
