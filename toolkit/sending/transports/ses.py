"""Amazon SES, version 2 of its interface: one attempt a mail, because an attempt repeated may be a mail sent twice.

Credentials are found as boto3 finds them: environment, profile, role. Needs the extra `ses`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from toolkit.errors import InputError, TransportError, shown
from toolkit.sending.protocol import PAUSE, Outgoing, Receipt, Start
from toolkit.sending.states import State
from toolkit.sending.transports.options import options_of

__all__ = ["Ses"]

_OPTIONS = ("configuration_set", "connections", "timeout", "endpoint")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_LATER = ("TooManyRequestsException", "ThrottlingException", "Throttling", "LimitExceededException")
_CLOSED = (
    "AccessDeniedException",
    "AccountSuspendedException",
    "ExpiredTokenException",
    "ExpiredToken",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "MailFromDomainNotVerifiedException",
    "SendingPausedException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "NotFoundException",
)


class Ses:
    """Amazon SES in one region.

    Args:
        region: for example `eu-west-1`.
        configuration_set: its name there, for the events it reports.
        connections: at once, 1 to 50.
        timeout: seconds to wait for an answer; without one the mail is in doubt.
        endpoint: another address of the service.

    >>> Ses("eu-west-1").name
    'ses:eu-west-1'
    """

    rehearsal = False
    ledger = None

    def __init__(
        self,
        region: str,
        *,
        configuration_set: str | None = None,
        connections: int = 8,
        timeout: float = 60.0,
        endpoint: str | None = None,
    ) -> None:
        if not _REGION.fullmatch(region):
            raise InputError(f"ses: expected a region such as eu-west-1; found {shown(region)}")
        if not 1 <= connections <= 50 or timeout <= 0:
            raise InputError(f"ses: expected 1 to 50 connections and a time above zero; found {connections}, {timeout}")
        self.region = region
        self.configuration_set = configuration_set
        self.connections = connections
        self.timeout = timeout
        self.endpoint = endpoint

    def __repr__(self) -> str:
        return f"Ses({self.region!r}, connections={self.connections})"

    @classmethod
    def parse(cls, text: str) -> Ses:
        """SES from `ses:REGION`, with `?configuration_set=…&connections=…&timeout=…`.

        Raises:
            InputError: not of that form.
        """
        region, _, query = text.partition(":")[2].partition("?")
        options = options_of(query, _OPTIONS, what="ses")
        try:
            kinds = {"connections": int, "timeout": float}
            return cls(region, **{name: kinds.get(name, str)(value) for name, value in options.items()})
        except ValueError as fault:
            if isinstance(fault, InputError):
                raise
            raise InputError(f"ses: {fault}") from fault

    @property
    def name(self) -> str:
        """Names this way out in the ledger."""
        return f"ses:{self.region}"

    @property
    def at_once(self) -> int:
        """One mail a connection."""
        return self.connections

    def deliver(self, mails: Iterator[Outgoing | None], start: Start) -> Iterator[Receipt | None]:
        """One receipt per mail started, as the service answers.

        Raises:
            TransportError: the service takes no mail from this account, or the credentials are wrong or missing.
        """
        client: Any = None
        fault: TransportError | None = None
        under_way: set[Future[tuple[Receipt, TransportError | None]]] = set()
        more = True
        with ThreadPoolExecutor(self.connections, thread_name_prefix="ses") as pool:
            while more or under_way:
                resting, drawn = False, list[Outgoing]()
                while more and not resting and fault is None and len(under_way) + len(drawn) < self.connections:
                    try:
                        mail = next(mails)
                    except StopIteration:
                        more = False
                    else:
                        resting = mail is None
                        drawn += [] if mail is None else [mail]
                more = more and fault is None
                if drawn:
                    client = client or self._client()
                    granted = start([mail.decision_id for mail in drawn])
                    under_way |= {
                        pool.submit(self._send, client, mail) for mail in drawn if mail.decision_id in granted
                    }
                if not under_way and not resting:
                    continue
                done, under_way = wait(under_way, timeout=PAUSE if resting else 2.0, return_when=FIRST_COMPLETED)
                for receipt, closed in [one.result() for one in done]:
                    fault = fault or closed
                    yield receipt
                if not done and not resting:
                    yield None
        if fault is not None:
            raise fault

    def _client(self) -> Any:
        try:
            import boto3  # noqa: PLC0415 - an extra
            from botocore.config import Config  # noqa: PLC0415
        except ImportError as fault:
            raise TransportError("ses: boto3 is not installed (extra: ses)") from fault
        config = Config(
            retries={"total_max_attempts": 1},
            read_timeout=self.timeout,
            connect_timeout=self.timeout,
            max_pool_connections=self.connections,
        )
        return boto3.client("sesv2", region_name=self.region, endpoint_url=self.endpoint, config=config)

    def _send(self, client: Any, mail: Outgoing) -> tuple[Receipt, TransportError | None]:
        """What came of one mail; and an error where no further mail would go."""
        from botocore import exceptions as aws  # noqa: PLC0415 - an extra

        request: dict[str, Any] = {
            "FromEmailAddress": mail.sender,
            "Destination": {"ToAddresses": [mail.recipient]},
            "Content": {"Raw": {"Data": mail.message}},
            "EmailTags": [{"Name": "decision", "Value": mail.decision_id}],
        }
        if self.configuration_set:
            request["ConfigurationSetName"] = self.configuration_set
        name = mail.decision_id
        try:
            answer = client.send_email(**request)
        except aws.ClientError as refused:
            return self._refused(mail, refused)
        except (aws.NoCredentialsError, aws.PartialCredentialsError, aws.CredentialRetrievalError) as wrong:
            closed = TransportError(f"ses {self.region}: no credentials: {wrong}")
            return Receipt(name, State.DEFERRED, reason="no credentials"), closed
        except (aws.EndpointConnectionError, aws.ConnectTimeoutError, aws.SSLError, aws.ProxyConnectionError) as far:
            closed = TransportError(f"ses {self.region}: cannot be reached: {far}")
            return Receipt(name, State.DEFERRED, reason=f"not reached: {far}"[:500]), closed
        except aws.HTTPClientError as lost:  # the answer was lost, and the mail may have been taken
            return Receipt(name, State.UNKNOWN, reason=f"no answer: {lost}"[:500]), None
        return Receipt(name, State.ACCEPTED, receipt=str(answer["MessageId"]), code=200), None

    def _refused(self, mail: Outgoing, refused: Any) -> tuple[Receipt, TransportError | None]:
        name, code = mail.decision_id, str(refused.response["Error"].get("Code", ""))
        status = int(refused.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        said = f"{code}: {refused.response['Error'].get('Message', '')}"[:500]
        if code in _CLOSED or status in (401, 403):
            closed = TransportError(f"ses {self.region}: takes no mail: {said}")
            return Receipt(name, State.DEFERRED, code=status or None, reason=said), closed
        if code in _LATER or status == 429:
            return Receipt(name, State.DEFERRED, code=status or None, reason=said), None
        state = State.UNKNOWN if status >= 500 else State.FAILED
        return Receipt(name, state, code=status or None, reason=said), None
