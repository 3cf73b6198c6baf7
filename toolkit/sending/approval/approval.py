"""Approval: a person's signature under one batch, which any changed byte voids.

In one kernel that could also send, this guards against mistakes, not against whoever writes the code: a sender that
runs as another user, and alone holds the way out, enforces it.
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from toolkit.errors import ApprovalError, InputError, PreflightError, shown
from toolkit.readable import counted
from toolkit.scenario.duration import Duration
from toolkit.sending.approval.policy import ApprovalPolicy, policy_of
from toolkit.sending.approval.signing import Signature, public_hex
from toolkit.sending.approval.standing import StandingApproval
from toolkit.sending.batch.batch import Batch, Each
from toolkit.sending.batch.manifest import changes, details, digest_of, outline
from toolkit.sending.clock import Clock, length, utc_now
from toolkit.sending.display import page
from toolkit.sending.keys import signing_key
from toolkit.sending.people import is_same, person
from toolkit.sending.stopping import interruptible

__all__ = ["Approval", "approval_from", "approve", "check_approvals", "each_approval", "load_approval", "sound"]

_LISTED = 20  # lines of a refusal


@dataclass(frozen=True, kw_only=True, repr=False)
class Approval(Signature):
    """One person's yes to one batch.

    Attributes:
        by, author, signed_at, expires_at, public_key, signature: as of every `Signature`.
        digest: of the batch's manifest, 64 hex digits.
        mails: how many.
        outline: one hash per part of the manifest, so that a refusal can say what changed.
        key_file: where the signing key is, when it was signed here; not part of what is saved.
    """

    kind = "trigger-toolkit approval 1"
    called = "an approval"
    not_signed = ("signature", "key_file")

    digest: str
    mails: int
    outline: Mapping[str, Any]
    key_file: str | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        return (
            f"Approval of {counted(self.mails, 'mail')} by {self.by}, "
            f"until {self.expires_at:%Y-%m-%d %H:%M} UTC (digest {self.digest[:12]}…, key {self.public_key[:12]}…"
            f"{f' in {self.key_file}' if self.key_file else ''})"
        )

    def _repr_html_(self) -> str:
        facts = {
            "approved by": self.by,
            "mails": f"{self.mails:,}",
            "signed": f"{self.signed_at:%Y-%m-%d %H:%M} UTC",
            "holds until": f"{self.expires_at:%Y-%m-%d %H:%M} UTC",
            "digest": self.digest,
            "public key": self.public_key,
        }
        if self.author:
            facts["written by"] = self.author
        if self.key_file:
            facts["signing key"] = self.key_file
        return page("Approval", facts) + f"<p style='opacity:.75'>{html.escape(_VOID)}</p>"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Approval:
        """Read an approval from a JSON file. Whether it holds is found out when it is used.

        Raises:
            InputError: no such file.
            ApprovalError: the file holds no approval, or one of a later version.
        """
        found = load_approval(path)
        if isinstance(found, StandingApproval):
            raise ApprovalError(f"approval {path}: is a standing approval; use load_approval")
        return found

    def _is_typed(self) -> bool:
        return super()._is_typed() and isinstance(self.digest, str) and isinstance(self.outline, dict)

    def check(self, batch: Batch, *, clock: Clock = utc_now) -> None:
        """Whether this approval covers this batch now.

        Args:
            batch: looked at as it really is: everything is hashed again.
            clock: tells the time.

        Raises:
            ApprovalError: the signature is not of this content, the approval is over, or it covers another batch;
                says which part of the batch differs.
        """
        found = sound(batch, "; nothing was sent")
        self.check_outline(batch.digest, found, clock=clock)

    def check_outline(self, digest: str, found: Mapping[str, Any], *, clock: Clock = utc_now) -> None:
        """Whether this approval covers now what has this digest and this outline.

        Raises:
            ApprovalError: as `check`.
        """
        self.check_signature(clock=clock)
        if digest != self.digest:
            lines = changes(self.outline, found) or ["digest: not that of the outline"]
            raise ApprovalError(_listed("the approval is for another batch; nothing was sent", lines))


_VOID = (
    "Any changed byte voids it. It guards against mistakes; whoever can run code here and holds the way out "
    "could send without it."
)


def approve(
    batch: Batch,
    *,
    by: str,
    key: str | os.PathLike[str] | None = None,
    expires: str | timedelta | Duration = "72h",
    author: str | None = None,
    policy: ApprovalPolicy | str | os.PathLike[str] | None = None,
    progress: bool = True,
    clock: Clock = utc_now,
) -> Approval:
    """A person's signature under a batch.

    Where the policy needs several people, each of them approves the same batch, and `send` is given all approvals.

    Args:
        batch: what is to be sent.
        by: who approves: a name or an address.
        key: path of an Ed25519 private key (PEM, or of ssh-keygen); your own, made on first use, unless given.
        expires: how long the approval holds, for example `72h`.
        author: who wrote the scenario and its mails, unless the batch says so; it must be someone else, unless the
            policy says otherwise.
        policy: who may approve; unless given, `approvers.yaml` beside the templates.
        progress: show a progress bar where looking at every mail takes longer than a moment.
        clock: tells the time.

    Returns:
        The approval; any changed byte of the batch voids it.

    Raises:
        PreflightError: the batch has findings that block it; lists them.
        ApprovalError: the batch was changed after it was prepared, author and approver are one person, or the batch
            says that somebody else wrote it.
        InputError: no name, a key that cannot be used, a time that is not ahead.
    """
    if not isinstance(batch, Batch):
        raise InputError(f"approve: batch: expected what tk.prepare gives; found {type(batch).__name__}")
    approver = person(by, where="approve: by", who="who approves")
    blocking = [str(finding) for finding in batch.errors]
    if blocking:
        raise PreflightError(_listed("the batch cannot be approved", blocking))
    lasts = length(expires, name="approve: expires", example="72h")
    with interruptible("Nothing was approved, nor lost: call approve again."):
        found = sound(batch, progress=progress)
    private, path = signing_key(key)
    now = clock()
    wrote = batch.author if author is None else person(author, where="approve: author")
    if batch.author is not None and wrote is not None and not is_same(wrote, batch.author):
        raise ApprovalError(f"approve: the batch says that {shown(batch.author)} wrote it; found author={shown(wrote)}")
    unsigned = Approval(
        by=approver,
        author=wrote,
        digest=batch.digest,
        mails=len(batch),
        outline=found,
        signed_at=now,
        expires_at=now + lasts,
        public_key=public_hex(private),
        key_file=str(path),
    )
    policy_of(policy, batch.folder).check_one(unsigned)
    return unsigned.signed_by(private)


def load_approval(path: str | os.PathLike[str]) -> Approval | StandingApproval:
    """An approval of either kind from a JSON file. Whether it holds is found out when it is used.

    Raises:
        InputError: no such file.
        ApprovalError: the file holds no approval, or one of a later version.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as fault:
        raise InputError(f"approval {path}: cannot be read: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        raise ApprovalError(f"approval {path}: is not an approval: {fault}") from fault
    try:
        found = json.loads(text)
        kind = found["kind"]
    except (ValueError, TypeError, KeyError) as fault:
        raise ApprovalError(f"approval {path}: is not an approval: {fault}") from fault
    return approval_from(found | {"kind": kind}, where=str(path))


def sound(
    batch: Batch,
    consequence: str = "",
    each: Each | None = None,
    *,
    progress: bool = False,
    words: str = "hashing",
) -> dict[str, Any]:
    """The outline of the batch as it is now; refused when that is not what was prepared."""
    found = batch.recomputed(each, progress=progress, words=words)
    if digest_of(found) != batch.digest or digest_of(batch.manifest) != batch.digest:
        lines = changes(outline(batch.manifest), outline(found)) or ["digest: not that of the manifest"]
        lines += details(batch.manifest, found)
        raise ApprovalError(_listed(f"the batch was changed after it was prepared{consequence}", lines))
    return outline(found)


def check_approvals(
    batch: Batch,
    approvals: Sequence[Approval | StandingApproval],
    *,
    policy: ApprovalPolicy | str | os.PathLike[str] | None = None,
    clock: Clock = utc_now,
    each: Each | None = None,
    progress: bool = False,
) -> None:
    """Whether these approvals together let the batch go now, by the policy.

    Args:
        batch: every mail of it is hashed anew.
        approvals: one or more.
        policy: who must approve.
        clock: tells the time.
        each: is told every mail as it was read, what its offer may cost, and the hash of its bytes.
        progress: show a progress bar where it takes longer than a moment.

    Raises:
        ApprovalError: they do not; says what is missing or changed.
    """
    if not approvals:
        raise ApprovalError("send: no approval was given; nothing was sent")
    found = sound(batch, "; nothing was sent", each, progress=progress, words="checking")
    for one in approvals:
        if isinstance(one, Approval):
            one.check_outline(batch.digest, found, clock=clock)
        else:
            one.check(batch, clock=clock)
            if batch.errors:
                raise ApprovalError(_listed("the batch has findings; nothing was sent", list(batch.errors)))
    policy_of(policy, batch.folder).check(approvals)


def each_approval(approval: object, *, where: str) -> list[Approval | StandingApproval]:
    """The approvals of a call, however they were given.

    Raises:
        ApprovalError: something else is among them.
    """
    if approval is None:
        return []
    found: list[Approval | StandingApproval] = []
    for one in approval if isinstance(approval, Iterable) and not isinstance(approval, str) else [approval]:
        if not isinstance(one, Approval | StandingApproval):
            raise ApprovalError(
                f"{where}: approval: found {type(one).__name__}; allowed: what approve(batch, ...) gives back, "
                "or a list of several; nothing was sent"
            )
        found.append(one)
    return found


def approval_from(document: Mapping[str, Any], *, where: str) -> Approval | StandingApproval:
    """An approval of either kind from its plain values.

    Raises:
        ApprovalError: the values are no approval.
    """
    of = StandingApproval if str(document.get("kind")).startswith("trigger-toolkit standing") else Approval
    return of.from_document(document, where=where)


def _listed(title: str, lines: list[str]) -> str:
    more = [f"  … and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return "\n".join([title, *(f"  {line}" for line in lines[:_LISTED]), *more])
