"""A standing approval: one signature for all the mails of some scenarios, as they are, within limits, for a time.

It is what lets triggered mail go by itself. It names the version of each scenario, of its mails and of what they share;
whatever changes voids it. How much it lets go in any 24 hours is counted in the ledger.
"""

from __future__ import annotations

import html
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from toolkit.errors import ApprovalError, InputError, did_you_mean, listed, shown
from toolkit.mail import Templates
from toolkit.readable import counted, priced
from toolkit.scenario import content_hash
from toolkit.scenario.duration import Duration
from toolkit.scenario.models import Program, Scenario, Send, every_step
from toolkit.sending.approval.policy import ApprovalPolicy, policy_of
from toolkit.sending.approval.signing import Signature, public_hex
from toolkit.sending.batch.batch import Batch, versions
from toolkit.sending.batch.manifest import changes, outline, plain
from toolkit.sending.batch.stock import check_codes
from toolkit.sending.clock import Clock, length, utc_now
from toolkit.sending.display import page
from toolkit.sending.keys import signing_key
from toolkit.sending.ledger.planning import Limits
from toolkit.sending.people import person

__all__ = ["StandingApproval", "approve_standing", "scenarios_of", "version_of"]


@dataclass(frozen=True, kw_only=True, repr=False)
class StandingApproval(Signature):
    """One person's yes to scenarios as they are, within limits.

    Attributes:
        by, author, signed_at, expires_at, public_key, signature: as of every `Signature`.
        scenarios: their names.
        version: one hash per scenario, per mail, and for what they share.
        mails_a_day: so many mails in any 24 hours.
        discount_a_day: so much discount in any 24 hours; None without a limit.
        currency: of the discount.
    """

    kind = "trigger-toolkit standing approval 1"
    called = "a standing approval"

    scenarios: tuple[str, ...]
    version: Mapping[str, Any]
    mails_a_day: int
    discount_a_day: float | None
    currency: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "scenarios", tuple(self.scenarios))

    def __repr__(self) -> str:
        discount = "" if self.discount_a_day is None else f", {self._discount()} discount a day"
        return (
            f"StandingApproval of {', '.join(self.scenarios)} by {self.by}: at most "
            f"{counted(self.mails_a_day, 'mail')} a day{discount}, until {self.expires_at:%Y-%m-%d %H:%M} UTC"
        )

    def _discount(self) -> str:
        return "no limit" if self.discount_a_day is None else priced(f"{self.discount_a_day:,.2f}", self.currency)

    def _repr_html_(self) -> str:
        facts = {
            "approved by": self.by,
            "scenarios": ", ".join(self.scenarios),
            "mails a day": f"{self.mails_a_day:,}",
            "discount a day": self._discount(),
            "holds until": f"{self.expires_at:%Y-%m-%d %H:%M} UTC",
            "public key": self.public_key,
        }
        void = "Any change to these scenarios, their mails or what they share voids it."
        return page("Standing approval", facts) + f"<p style='opacity:.75'>{html.escape(void)}</p>"

    @property
    def limits(self) -> Limits:
        """What it lets go in any 24 hours."""
        return Limits(self.mails_a_day, self.discount_a_day)

    def check(self, batch: Batch, *, clock: Clock = utc_now) -> None:
        """Whether this approval covers every mail of this batch now, the limits aside, which the ledger counts.

        Raises:
            ApprovalError: the signature is not of this content, the approval is over, a scenario is not among those
                approved, or something changed since; says what.
        """
        self.check_signature(clock=clock)
        self._check_scenarios({mail.letter.scenario for mail in batch.mails})
        self._check_version(version_of(batch.program, batch.templates, self.scenarios))

    def check_manifest(self, manifest: Mapping[str, Any], *, clock: Clock = utc_now) -> None:
        """As `check`, for a batch of which only the manifest is here.

        Raises:
            ApprovalError: as `check`.
        """
        self.check_signature(clock=clock)
        self._check_scenarios({row["scenario"] for row in manifest["audience"]})
        program = manifest["program"]
        used = manifest["templates"]
        found = {
            "scenarios": {name: program.get(f"scenario {name}", "none") for name in self.scenarios},
            # Of the mails approved, those that the batch has.
            "templates": {name: used.get(name, said) for name, said in self.version["templates"].items()}
            | {name: said for name, said in used.items() if name not in self.version["templates"]},
            "policies": {"content_hash": program["policies"]},
            "sender": manifest["sender"],
            "versions": manifest["versions"],
        }
        self._check_version(found)

    def _is_typed(self) -> bool:
        amount = self.discount_a_day
        return (
            super()._is_typed()
            and all(isinstance(value, str) for value in (self.currency, *self.scenarios))
            and isinstance(self.version, Mapping)
            and isinstance(self.mails_a_day, int)
            and (amount is None or _is_amount(amount))
        )

    def _check_scenarios(self, names: set[str]) -> None:
        strange = sorted(names - set(self.scenarios))
        if strange:
            raise ApprovalError(
                f"approval: does not cover {', '.join(strange)}, only {', '.join(self.scenarios)}; nothing was sent"
            )

    def _check_version(self, found: Mapping[str, Any]) -> None:
        lines = changes(outline(self.version), outline(found))
        if lines:
            again = "look at what is there now, and approve it anew (`toolkit approve`, approve_standing)"
            raise ApprovalError("\n  ".join(["the standing approval is void; nothing was sent", *lines, again]))


def approve_standing(
    program: Program | Scenario,
    templates: str | os.PathLike[str] | Templates,
    *,
    by: str,
    mails_a_day: int,
    discount_a_day: float | None = None,
    scenarios: Sequence[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    expires: str | timedelta | Duration = "30d",
    author: str | None = None,
    policy: ApprovalPolicy | str | os.PathLike[str] | None = None,
    clock: Clock = utc_now,
) -> StandingApproval:
    """A person's signature under scenarios as they are: their mails may go as they fall due, within limits.

    Args:
        program: scenarios and the policies they share.
        templates: the folder of the mails, or the mails compiled.
        by: who approves.
        mails_a_day: at most so many mails in any 24 hours.
        discount_a_day: the most their offers may cost in any 24 hours, in the program's currency. An amount off counts
            in full; a share off counts as that share of what set the mail off, and where that is not known the mail is
            held back. None sets no limit.
        scenarios: which of the program's; all unless given.
        key: path of an Ed25519 private key (PEM, or of ssh-keygen); your own, made on first use, unless given.
        expires: how long the approval holds, for example `30d`.
        author: who wrote them; where given, it must be someone else unless the policy says otherwise.
        policy: who may approve; unless given, `approvers.yaml` beside the templates.
        clock: tells the time.

    Returns:
        The approval, for `send` and `toolkit run`.

    Raises:
        InputError: a limit that is not above zero, a scenario that is not in the program, a key that cannot be used,
            coupon codes of a pool that cannot be read.
        ApprovalError: `by` may not approve it.
    """
    if isinstance(program, Scenario):
        program = Program(scenarios=(program,))
    approver, wrote = person(by, where="approve_standing: by", who="who approves"), None
    if author is not None:
        wrote = person(author, where="approve_standing: author")
    if isinstance(mails_a_day, bool) or not isinstance(mails_a_day, int) or mails_a_day < 1:
        raise InputError(f"approve_standing: mails_a_day: expected a whole number from 1; found {shown(mails_a_day)}")
    if discount_a_day is not None and not _is_amount(discount_a_day):
        raise InputError(f"approve_standing: discount_a_day: expected 0 or more; found {shown(discount_a_day)}")
    wanted = scenarios_of(program, scenarios, where="approve_standing")
    compiled = templates if isinstance(templates, Templates) else Templates.load(os.fspath(templates), program.policies)
    folder = None if isinstance(templates, Templates) else Path(templates).expanduser().resolve()
    steps = [step for name in wanted for step in every_step(program[name].steps) if isinstance(step, Send)]
    offers = [step.offer for step in steps if step.offer is not None]
    check_codes(program, offers, folder=folder, where="approve_standing")  # not first when a loop comes to such a mail
    lasts = length(expires, name="approve_standing: expires", example="30d")
    private, _ = signing_key(key)
    now = clock()
    unsigned = StandingApproval(
        by=approver,
        author=wrote,
        scenarios=wanted,
        version=version_of(program, compiled, wanted),
        mails_a_day=mails_a_day,
        discount_a_day=None if discount_a_day is None else float(discount_a_day),
        currency=program.policies.currency,
        signed_at=now,
        expires_at=now + lasts,
        public_key=public_hex(private),
    )
    policy_of(policy, folder).check_one(unsigned)
    return unsigned.signed_by(private)


def scenarios_of(program: Program, wanted: Sequence[str] | None, *, where: str) -> tuple[str, ...]:
    """The names asked for, or all of a program where none were.

    Raises:
        InputError: one of them is not in the program, or none is named at all.
    """
    names = [one.scenario for one in program.scenarios]
    if wanted is None:
        return tuple(names)
    given = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in given:
        if name not in names:
            hint = did_you_mean(str(name), names)
            raise InputError(f"{where}: no scenario {shown(name)}; there are {listed(names, near=name)}{hint}")
    if not given:
        raise InputError(f"{where}: scenarios: none is named; there are {listed(names)}")
    return tuple(given)


def version_of(program: Program, templates: Templates, scenarios: Sequence[str]) -> dict[str, Any]:
    """What a standing approval names: hashes of the scenarios, their mails, and what they share."""
    chosen = [one for one in program.scenarios if one.scenario in scenarios]
    hashes = templates.hashes
    mails = sorted({name for one in chosen for name in _mails_of(one.model_dump(mode="json"))})
    sender = program.policies.sender
    return {
        "scenarios": {one.scenario: content_hash(Program(scenarios=(one,))) for one in chosen},
        "templates": {name: hashes.get(name, "none") for name in mails},
        "policies": {"content_hash": content_hash(Program(scenarios=(), policies=program.policies))},
        "sender": plain(sender.model_dump(mode="json")) if sender else {},
        "versions": versions(),
    }


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _mails_of(value: Any) -> Iterator[str]:
    """The templates named by the send steps anywhere below a dumped scenario."""
    if isinstance(value, Mapping):
        if isinstance(value.get("send"), str):
            yield value["send"]
        for inner in value.values():
            yield from _mails_of(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _mails_of(inner)
