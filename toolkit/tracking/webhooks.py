"""Calls of providers: checked, read, each event once, and answered 200 only when everything is on the disk."""

from __future__ import annotations

import hashlib
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from urllib.error import HTTPError
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from toolkit.errors import AnswersError, InputError, did_you_mean, shown
from toolkit.tracking.incoming import Incoming, storable
from toolkit.tracking.providers import PROVIDERS, Call, RefusedError, Report, UnreadableError, ses
from toolkit.tracking.requests import body_of, content_type
from toolkit.tracking.writer import GroupWriter

__all__ = ["LARGEST", "Webhooks", "incoming_of"]

LARGEST = 4 * 2**20
"""Bytes of the largest call that is read."""

_MOST_REPORTS = 20_000
_SECONDS = 5.0
_LATER = (408, 429)  # too slow, too often


class Webhooks:
    """Providers that may report here, each with its secret.

    Args:
        secrets: provider to its secret; see `SECRET` of each file under `providers/`.
        base: the web address under which the tracker is called, for providers that sign it.
        fetch: gets a file from a web address: certificates of SES.

    Raises:
        InputError: no such provider; names the nearest. An empty secret.

    >>> Webhooks({"postmark": "ana:secret"}).names
    ('postmark',)
    """

    def __init__(
        self, secrets: Mapping[str, str], *, base: str = "", fetch: Callable[[str], bytes] | None = None
    ) -> None:
        for name, secret in secrets.items():
            if name not in PROVIDERS:
                hint = did_you_mean(name, PROVIDERS)
                raise InputError(f"webhooks: no provider {shown(name)}; there are {', '.join(sorted(PROVIDERS))}{hint}")
            if not secret.strip():
                raise InputError(f"webhooks: {name}: expected {PROVIDERS[name].SECRET}; found nothing")
        self._secrets = dict(secrets)
        self._base = base.rstrip("/")
        self._fetch = fetch or _fetched
        self.counts: Counter[str] = Counter()
        """How many calls were taken, refused or unreadable, and how many events passed over, since the start."""

    @property
    def names(self) -> tuple[str, ...]:
        """Providers that may report, sorted."""
        return tuple(sorted(self._secrets))

    async def take(self, request: Request, writer: GroupWriter, *, now: int) -> Response:
        """Answer a call: 200 once its events are written, 401 for what is not the provider's.

        Raises:
            HTTPException: 400, 404, 413 or 415.
            AnswersError: the events cannot be written, or what proves the call cannot be fetched just now; the provider
                will call again.
        """
        name = request.path_params["provider"]
        if name not in self._secrets:
            raise HTTPException(404)
        provider = PROVIDERS[name]
        if request.method == "HEAD":  # Mandrill looks whether there is anybody
            return Response()
        if content_type(request) not in provider.TYPES:
            raise HTTPException(415)
        body = await body_of(request, most=LARGEST)
        headers = {key.lower(): value for key, value in request.headers.items()}
        call = Call(body, headers, f"{self._base}{request.url.path}", now, self._file_of)
        try:
            await run_in_threadpool(provider.verify, call, self._secrets[name])
            if provider is ses:
                await self._confirm(call)
            reports = provider.read(call)
        except RefusedError as fault:
            self.counts[f"{name} refused"] += 1
            return PlainTextResponse(f"refused: {fault}", 401)
        except UnreadableError as fault:
            self.counts[f"{name} unreadable"] += 1
            return PlainTextResponse(f"unreadable: {fault}", 400)
        if len(reports) > _MOST_REPORTS:
            raise HTTPException(413)
        batch = [storable(incoming_of(report, name, now=now)) for report in reports if report.kind is not None]
        self.counts[f"{name} passed over"] += len(reports) - len(batch)
        if batch:
            await writer.write(batch)
        self.counts[f"{name} taken"] += 1
        return PlainTextResponse("ok")

    async def _confirm(self, call: Call) -> None:
        url = ses.confirmation(call)
        if url is not None:
            await run_in_threadpool(self._file_of, url)

    def _file_of(self, url: str) -> bytes:
        """A file from a web address; where it cannot be had just now, the call must come again.

        Raises:
            RefusedError: there is no such file.
            AnswersError: it cannot be reached.
        """
        try:
            return self._fetch(url)
        except OSError as fault:
            host = urlsplit(url).hostname
            if isinstance(fault, HTTPError) and fault.code < 500 and fault.code not in _LATER:
                raise RefusedError(f"{host} answers {fault.code}") from fault
            raise AnswersError(f"webhooks: {host} cannot be reached just now: {fault}") from fault


def incoming_of(report: Report, provider: str, *, now: int) -> Incoming:
    """A provider's report as an answer: without its address, with a name that is the same when it is told again.

    >>> report = Report("delivered", recipient="ana@example.org", message_id="m1", at=1_461_095_250_000_000)
    >>> incoming_of(report, "brevo", now=0).domain
    'example.org'
    """
    names = [name for name in (*report.message_ids, report.message_id) if name]
    own = report.metadata.get("mail")
    detail = {
        "reason": report.reason,
        "description": _without(report.description, report.recipient),
        "response": _without(report.response, report.recipient),
    }
    return Incoming(
        report.kind or "",
        report.at or now,
        provider,
        own if isinstance(own, str) and len(own) == 16 else _own_name(report.message_ids),
        agent=report.agent or "",
        told=report.told,
        event_id=f"{provider}:{_name_of(report)}",
        bounce_type=report.bounce_type,
        domain=(report.recipient or "").rpartition("@")[2].lower() or None,
        provider_mail=report.message_id or (names[0] if names else None),
        url=report.url if (report.url or "").startswith(("https://", "http://")) else None,
        detail={name: value for name, value in detail.items() if value},
    )


def _own_name(message_ids: tuple[str, ...]) -> str | None:
    """The name in a Message-ID of ours: 32 characters of base32 before the @."""
    for one in message_ids:
        local = one.strip("<> ").partition("@")[0]
        if len(local) == 32 and set(local) <= set("abcdefghijklmnopqrstuvwxyz234567"):
            return local[:16]
    return None


def _name_of(report: Report) -> str:
    # Some ids are of the mail or of a bounce, shared by several events; the kind keeps them apart. Without an id, what
    # the event says is its name, so that the same call again changes nothing.
    parts = (report.kind, report.event_id or report.message_id, report.at, (report.recipient or "").lower(), report.url)
    if report.event_id:
        return f"{report.event_id}:{report.kind}"[:200]
    return hashlib.sha256(repr(parts).encode("utf-8", "replace")).hexdigest()[:40]


def _without(text: str | None, recipient: str | None) -> str | None:
    """A text without the address it was about."""
    if not text:
        return None
    return text[:1000] if not recipient else text.replace(recipient, "…")[:1000]


@lru_cache(maxsize=64)
def _fetched(url: str) -> bytes:
    """A small file over https, without following it elsewhere."""
    if urlsplit(url).scheme != "https":
        raise RefusedError("not an https address")
    opener = urllib.request.build_opener(_NoRedirects)
    with opener.open(url, timeout=_SECONDS) as answer:
        content: bytes = answer.read(100_000)
        return content


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object, **more: object) -> None:
        return None
