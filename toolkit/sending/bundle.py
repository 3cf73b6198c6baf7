"""A batch as a folder of files, handed to a sender that runs as another user and alone holds the way out.

The sender believes nothing but signatures: every mail is hashed anew, its envelope held against its own To header, and
the whole against the manifest that was approved.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import stat
from array import array
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import default as mail_policy
from itertools import zip_longest
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

from toolkit.errors import ApprovalError, InputError, ToolkitError
from toolkit.scenario import content_hash, dump, loads
from toolkit.sending.approval.approval import Approval, approval_from, each_approval
from toolkit.sending.approval.policy import ApprovalPolicy
from toolkit.sending.approval.standing import StandingApproval
from toolkit.sending.batch.batch import Batch
from toolkit.sending.batch.manifest import Rows, digest_of, outline
from toolkit.sending.batch.parcel import NEVER, STUBS_TOGETHER, BatchParcel, Stub
from toolkit.sending.clock import Clock, micros, utc, utc_now
from toolkit.sending.ledger.coupons import Coupon
from toolkit.sending.spool import Store

__all__ = ["Bundle", "submit"]


def submit(
    batch: Batch, approval: Approval | StandingApproval | Sequence[Approval | StandingApproval], spool: str | Path
) -> Path:
    """An approved batch put into the folder from which `toolkit sender` takes its work. Nothing is sent here.

    Args:
        batch: from `prepare`.
        approval: from `approve` or `approve_standing`; several where several people must approve.
        spool: the folder, which the sender reads.

    Returns:
        The folder of this batch. The same batch under the same approvals gives the same folder.
    """
    approvals = each_approval(approval, where="submit")
    parcel = BatchParcel(batch)
    name = digest_of([batch.digest, *sorted(one.id for one in approvals)])[:24]
    target, part = Path(spool) / name, Path(spool) / f".{name}.{secrets.token_hex(4)}"
    part.mkdir(parents=True)
    try:
        short = {name: value for name, value in batch.manifest.items() if name != "audience"}
        (part / "manifest.json").write_text(json.dumps(short), encoding="utf-8")
        (part / "program.yaml").write_text(dump(batch.program), encoding="utf-8")
        (part / "approvals.json").write_text(json.dumps([one.document() for one in approvals]), encoding="utf-8")
        with (
            open(part / "audience.jsonl", "wb") as audience,
            open(part / "mails.jsonl", "w", encoding="utf-8") as mails,
            open(part / "messages", "wb") as messages,
        ):
            audience.writelines(line + b"\n" for line in batch.manifest["audience"].lines())
            for number in range(len(parcel)):
                stub, message = parcel.mail(number)
                line = {"address": stub.address, "size": len(message)}
                line |= {"locale": stub.locale, "targets": list(stub.targets)}
                mails.write(json.dumps(line) + "\n")
                messages.write(message)
            for file in (audience, mails, messages):
                file.flush()
                os.fsync(file.fileno())
        if target.exists():
            return target
        os.rename(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


class Bundle:
    """A batch as it lies in a folder; what a sender makes of it is checked by `check`."""

    def __init__(self, folder: str | os.PathLike[str], *, stop: Event | None = None) -> None:
        """Read a batch from its folder.

        Args:
            folder: from `submit`.
            stop: ends the reading and the checking, which of a large batch take a while.

        Raises:
            InputError: the folder holds no batch, or its files do not fit together.
            KeyboardInterrupt: it was stopped; also later, by `check`.
        """
        self.folder = Path(folder)
        self._stop = stop or Event()
        try:
            self.manifest: dict[str, Any] = json.loads(_text(self.folder / "manifest.json"))
            documents = json.loads(_text(self.folder / "approvals.json"))
            self.rules = loads(_text(self.folder / "program.yaml"))
            self._audience = Rows(_lines(self.folder / "audience.jsonl"))
            self.manifest["audience"] = self._audience
            self._stubs = Store[tuple[Any, ...]](together=STUBS_TOGETHER)
            self._starts = array("q", [0])
            self.ends = array("q")
            self.scenarios = set[str]()
            sizes = 0
            for approved, mail in zip_longest(self._audience, _lines(self.folder / "mails.jsonl")):
                self._look()
                sizes += mail is not None
                if approved is not None and mail is not None:
                    stub = _stub(approved, mail)
                    self._stubs.add(tuple(stub))
                    self.scenarios.add(stub.scenario)
                    end = approved.get("ends")
                    self.ends.append(NEVER if end is None else _moment(end, name="ends"))
                    self._starts.append(self._starts[-1] + int(mail["size"]))
            self.sender = str(self.manifest["sender"].get("email", ""))
            bounces = self.manifest["sender"].get("bounces")
            self.bounces = None if bounces is None else str(bounces)
            self.now = utc(datetime.fromisoformat(self.manifest["limits"]["as_of"]), name="as_of")
            self.program = str(self.manifest["program"]["content_hash"])
            if sizes != len(self._audience):
                said = f"{sizes} mails, {len(self._audience)} were approved"
                raise InputError(f"sender: {self.folder}: {said}")
            if self._starts[-1] != (self.folder / "messages").stat().st_size:
                raise InputError(f"sender: {self.folder}: the messages are cut short or too long")
            checked = self.manifest["preflight"]
            self.left_out = {str(why): int(count) for why, count in checked.get("left_out", {}).items()}
            self.set_aside = tuple(map(str, checked.get("set_aside", ())))
            self.digest = digest_of(self.manifest)
            self.approvals = tuple(approval_from(one, where=str(self.folder)) for one in documents)
            self._messages = _opened(self.folder / "messages")
        except ToolkitError:
            raise
        except Exception as fault:  # whoever wrote the folder may have written anything
            raise InputError(f"sender: {self.folder}: holds no batch: {fault}") from fault

    def _look(self) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt

    def close(self) -> None:
        """Let go of the files."""
        self._messages.close()

    def __len__(self) -> int:
        return len(self._audience)

    def stub(self, number: int) -> Stub:
        """What sending the mail takes, but for its bytes."""
        return Stub._make(self._stubs[number])

    def mail(self, number: int) -> tuple[Stub, bytes]:
        """The same, and the mail's bytes as they are now."""
        return self.stub(number), self._message(number)

    def _message(self, number: int) -> bytes:
        self._messages.seek(self._starts[number])
        return self._messages.read(self._starts[number + 1] - self._starts[number])

    def check(self, policy: ApprovalPolicy, *, clock: Clock = utc_now) -> None:
        """Whether every mail is as it was approved, by enough people, and may go now.

        Raises:
            ApprovalError: it is not; names what was changed or is missing.
            InputError: what is in the folder cannot be read as a batch.
        """
        try:
            self._check(policy, clock)
        except ToolkitError:
            raise
        except Exception as fault:
            raise InputError(f"sender: {self.folder}: holds no batch: {fault}") from fault

    def _check(self, policy: ApprovalPolicy, clock: Clock) -> None:
        self._check_mails()
        if content_hash(self.rules) != self.program:
            raise ApprovalError(f"sender: {self.folder.name}: program.yaml: not the scenarios that were approved")
        said = self.manifest["preflight"]
        if said["problems"] or any(one.startswith("error:") for one in said["findings"]):
            raise ApprovalError(f"sender: {self.folder.name}: the batch has findings that block it")
        found = outline(self.manifest)
        for one in self.approvals:
            if isinstance(one, Approval):
                one.check_outline(self.digest, found, clock=clock)
            else:
                one.check_manifest(self.manifest, clock=clock)
        policy.check(self.approvals)
        if abs((clock() - self.now).total_seconds()) > 86_400:
            raise ApprovalError(f"sender: {self.folder.name}: prepared for {self.now:%Y-%m-%d %H:%M} UTC, a day away")

    def _check_mails(self) -> None:
        parser = BytesHeaderParser(_class=EmailMessage, policy=mail_policy)
        for number, approved in enumerate(self._audience):
            self._look()
            message = self._message(number)
            if hashlib.sha256(message).hexdigest() != approved["payload"]:
                raise ApprovalError(f"sender: mail {approved['decision']}: its bytes are not those approved")
            targets = self.stub(number).targets
            if (digest_of(list(targets)) if targets else None) != approved.get("targets"):
                raise ApprovalError(
                    f"sender: mail {approved['decision']}: its links lead elsewhere than those approved"
                )
            to, address = parser.parsebytes(message)["To"], self.stub(number).address
            named = [one.addr_spec for one in to.addresses] if to is not None else []
            if [_comparable(one) for one in named] != [_comparable(address)]:
                raise ApprovalError(f"sender: mail {approved['decision']}: goes to another address than its To")


def _opened(path: Path) -> BinaryIO:
    """A file of the folder; a link, or a pipe that would be waited at for ever, is none."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InputError(f"sender: {path}: is not a file")
    return file


def _text(path: Path) -> str:
    with _opened(path) as file:
        return file.read().decode()


def _lines(path: Path) -> Iterator[Any]:
    with _opened(path) as file:
        for line in file:
            yield json.loads(line)


def _stub(approved: Mapping[str, Any], mail: Mapping[str, Any]) -> Stub:
    if not {"locale", "targets"} <= mail.keys() or "decided_at" not in approved:
        raise InputError("sender: an earlier version of the toolkit put this batch here; prepare and submit it again")
    return Stub(
        decision_id=str(approved["decision"]),
        customer_id=approved["customer"],
        address=str(mail["address"]),
        class_=approved["class"],
        message_id=approved["message_id"],
        payload_sha256=approved["payload"],
        discount=None if approved["discount"] is None else float(approved["discount"]),
        decided_at=_moment(approved["decided_at"], name="decided_at"),
        scenario=approved["scenario"],
        step=approved["step"],
        template=approved["template"],
        key=approved["journey"],
        coupon=None if "coupon" not in approved else Coupon(*map(str, approved["coupon"])),
        arm=approved["arm"],
        locale=str(mail["locale"]),
        targets=tuple(map(str, mail["targets"])),
        timezone=str(approved.get("timezone", "")),
    )


def _moment(approved: str, *, name: str) -> int:
    return micros(utc(datetime.fromisoformat(approved), name=name))


def _comparable(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.encode('idna').decode() if not domain.isascii() else domain}".casefold()
