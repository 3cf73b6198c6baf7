"""Who must approve: how many people, of which, and whether an author may. Kept in `approvers.yaml`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from toolkit.errors import ApprovalError, Fault, InputError, did_you_mean, nearest, shown
from toolkit.scenario.duration import Duration
from toolkit.sending.approval.signing import Signature, public_key
from toolkit.sending.people import as_read, is_same

__all__ = ["FILE_NAME", "ApprovalPolicy", "policy_of"]

FILE_NAME = "approvers.yaml"
_KEYS = ("needed", "approvers", "author_may_approve", "longest")


@dataclass(frozen=True)
class ApprovalPolicy:
    """Who must approve.

    Attributes:
        needed: so many different people.
        approvers: name to public key (64 hex digits) of those who may; empty for anyone.
        author_may_approve: whether someone may approve what they wrote.
        longest: an approval may hold no longer than this; None for any time.

    >>> print(ApprovalPolicy(needed=2))
    2 people of anyone; not the author
    """

    needed: int = 1
    approvers: Mapping[str, str] = field(default_factory=dict)
    author_may_approve: bool = False
    longest: timedelta | None = None

    def __post_init__(self) -> None:
        if isinstance(self.needed, bool) or not isinstance(self.needed, int) or self.needed < 1:
            raise InputError(f"approvers: needed: expected a whole number from 1; found {shown(self.needed)}")
        # A word such as "no" is true to Python, and would let authors approve what they wrote.
        may: object = self.author_may_approve
        if not isinstance(may, bool):
            said = f"found {shown(may)}; allowed: true or false"
            raise InputError(f"approvers: author_may_approve: {said}")
        if self.longest is not None and self.longest <= timedelta():
            raise InputError(f"approvers: longest: expected a time above zero, for example 72h; found {self.longest}")
        if self.approvers and self.needed > len(self.approvers):
            raise InputError(f"approvers: needed: {self.needed}, but only {len(self.approvers)} may approve")
        known = {name: public_key(key, where=f"approvers: {name}") for name, key in self.approvers.items()}
        if len(set(known.values())) < len(known):
            raise InputError("approvers: two names have the same key; each person needs their own")
        object.__setattr__(self, "approvers", MappingProxyType(known))

    def __str__(self) -> str:
        people = "1 person" if self.needed == 1 else f"{self.needed} people"
        of = ", ".join(sorted(self.approvers)) or "anyone"
        return f"{people} of {of}; {'also' if self.author_may_approve else 'not'} the author"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ApprovalPolicy:
        """Read a policy from a YAML file.

            needed: 2
            author_may_approve: false
            longest: 72h
            approvers:
              ana: ssh-ed25519 AAAAC3Nza… ana@laptop
              ben: 3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29

        Raises:
            InputError: no such file, or something in it is not as above; names the file and what is wrong.
        """
        source = Path(path)
        try:
            found = YAML(typ="safe", pure=True).load(source.read_text(encoding="utf-8"))
        except OSError as fault:
            raise InputError(f"approvers {source}: cannot be read: {fault.strerror}") from fault
        except (YAMLError, ValueError) as fault:
            raise InputError(f"approvers {source}: not YAML: {fault}") from fault
        if not isinstance(found, dict) or not isinstance(found.get("approvers", {}), dict):
            raise InputError(f"approvers {source}: expected {', '.join(_KEYS)}")
        wrong = [
            str(Fault("unknown word", found=key, allowed=", ".join(_KEYS), nearest=nearest(str(key), _KEYS)))
            for key in found
            if key not in _KEYS
        ]
        if wrong:
            raise InputError(f"approvers {source}: {'; '.join(wrong)}")
        try:
            return cls(
                needed=found.get("needed", 1),
                approvers={str(name): str(key) for name, key in found.get("approvers", {}).items()},
                author_may_approve=found.get("author_may_approve", False),
                longest=_span(found.get("longest")),
            )
        except ValueError as fault:
            raise InputError(f"{source}: {fault}") from fault

    def check_one(self, signature: Signature) -> None:
        """Whether this person may approve this.

        Raises:
            ApprovalError: they may not; says why.
        """
        if self.approvers:
            listed = self.approvers.get(signature.by)
            if listed is None:
                hint = did_you_mean(signature.by, self.approvers)
                raise ApprovalError(
                    f"approval by {shown(signature.by)}: may not approve; allowed: "
                    f"{', '.join(sorted(self.approvers))}{hint}"
                )
            if listed != signature.public_key:
                raise ApprovalError(
                    f"approval by {shown(signature.by)}: signed with key {signature.public_key[:12]}…, "
                    f"but {signature.by}'s key is {listed[:12]}…"
                )
        author = signature.author
        if author is not None and not self.author_may_approve and is_same(author, signature.by):
            raise ApprovalError(f"approve: {shown(signature.by)} wrote it; someone else has to approve it")
        if self.longest is not None and signature.lasts > self.longest:
            raise ApprovalError(
                f"approval by {shown(signature.by)}: holds for {signature.lasts}, longer than the {self.longest} "
                "allowed"
            )

    def check(self, signatures: Sequence[Signature]) -> None:
        """Whether these approvals together are enough.

        Raises:
            ApprovalError: one of them may not approve, or more people are needed.
        """
        for one in signatures:
            self.check_one(one)
        people = {as_read(one.by) for one in signatures}
        keys = {one.public_key for one in signatures}
        count = min(len(people), len(keys))
        if count < self.needed:
            said = f"{count} of {self.needed} needed approvals ({', '.join(sorted(people)) or 'none'})"
            twice = "; one person, or one key, counts once" if len(signatures) > count else ""
            raise ApprovalError(f"approval: {said}; {self}{twice}; nothing was sent")


def policy_of(given: ApprovalPolicy | str | os.PathLike[str] | None, folder: Path | None) -> ApprovalPolicy:
    """The policy given, or read from a file; else that of `approvers.yaml` beside the templates; else one approval."""
    if isinstance(given, ApprovalPolicy):
        return given
    if given is not None:
        return ApprovalPolicy.load(given)
    beside = folder / FILE_NAME if folder is not None else None
    return ApprovalPolicy.load(beside) if beside is not None and beside.exists() else ApprovalPolicy()


def _span(value: Any) -> timedelta | None:
    return None if value is None else timedelta(microseconds=Duration.parse(value).elapsed)
