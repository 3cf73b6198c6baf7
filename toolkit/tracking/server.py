"""The tracker: the picture of an open, the redirect of a click, unsubscribe, preferences, and provider webhooks.

Every answer is on the disk before its request is answered. Nothing is ever taken from the query string but the language
of a page, and no redirect leads anywhere but where a mail that was handed down says.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from toolkit.errors import AnswersError
from toolkit.tracking.incoming import Incoming, Kept
from toolkit.tracking.look import Look, language_of, page, security_headers
from toolkit.tracking.requests import form_of, is_prefetch, network_of
from toolkit.tracking.store import Answers, Standing, now_micros
from toolkit.tracking.tokens import Token, Tokens
from toolkit.tracking.webhooks import Webhooks
from toolkit.tracking.writer import GroupWriter

__all__ = ["PAUSE", "tracker"]

PAUSE = 30 * 86_400_000_000
"""Microseconds of a pause."""

_PICTURE = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_KEPT_NOWHERE = {"cache-control": "no-store, max-age=0", "x-robots-tag": "noindex", "referrer-policy": "no-referrer"}
_ACTIONS = ("save", "pause", "subscribe", "unsubscribe")


def tracker(
    answers: Answers,
    tokens: Tokens,
    *,
    look: Look | None = None,
    webhooks: Webhooks | None = None,
    standing: Callable[[], object] | None = None,
    clock: Callable[[], int] = now_micros,
) -> Starlette:
    """The web application that takes answers.

    Args:
        answers: where they are kept.
        tokens: read the links of mails.
        look: the shop's name and colours for the pages.
        webhooks: providers that may report, with their secrets; none unless given.
        standing: called after an unsubscribe, complaint or bounce was written, to tell the suppression list.
        clock: microseconds since 1970.

    Returns:
        A Starlette application; run it with uvicorn.
    """
    desk = _Desk(answers, tokens, look or Look(), GroupWriter(answers, standing=standing), clock)

    @contextlib.asynccontextmanager
    async def running(app: Starlette) -> AsyncIterator[None]:
        yield
        desk.writer.close()

    async def webhook(request: Request) -> Response:
        if webhooks is None:
            raise HTTPException(404)
        return await webhooks.take(request, desk.writer, now=desk.clock())

    routes = [
        Route("/o/{token}", desk.opened, methods=["GET"]),
        Route("/c/{token}", desk.clicked, methods=["GET"]),
        Route("/u/{token}", desk.unsubscribe, methods=["GET", "POST"]),
        Route("/p/{token}", desk.preferences, methods=["GET", "POST"]),
        Route("/w/{provider}", webhook, methods=["POST", "HEAD"]),
        Route("/healthz", _healthy, methods=["GET"]),
    ]
    handlers: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        404: desk.not_found,
        AnswersError: desk.busy,
        ClientDisconnect: _gone,
    }
    app = Starlette(routes=routes, exception_handlers=dict(handlers), lifespan=running)
    # It would lead `/o/x/` to `/o/x` of whatever host the request names.
    app.router.redirect_slashes = False
    return app


async def _healthy(request: Request) -> Response:
    return PlainTextResponse("ok")


async def _gone(request: Request, fault: Exception) -> Response:
    """Whoever hung up in the middle of a request hears nothing of this, nor does the log of the server."""
    return Response(status_code=400)


@dataclass(slots=True)
class _Desk:
    """Takes answers at its endpoints."""

    answers: Answers
    tokens: Tokens
    look: Look
    writer: GroupWriter
    clock: Callable[[], int]

    async def opened(self, request: Request) -> Response:
        token = self.tokens.read(request.path_params["token"], purpose="open")
        headers = _KEPT_NOWHERE
        if token is None:
            return Response(_PICTURE, 404, headers, "image/gif")
        await self._write(request, "opened", token)
        return Response(_PICTURE, 200, headers, "image/gif")

    async def clicked(self, request: Request) -> Response:
        token = self.tokens.read(request.path_params["token"], purpose="click")
        if token is None:
            raise HTTPException(404)
        kept = await self._write(request, "clicked", token, number=token.number)
        target = kept.url or self.look.url
        if target is None or not target.startswith("https://"):
            raise HTTPException(404)
        return RedirectResponse(target, 302, _KEPT_NOWHERE)

    async def unsubscribe(self, request: Request) -> Response:
        token = self.tokens.read(request.path_params["token"], purpose="unsubscribe")
        if token is None and self.tokens.read(request.path_params["token"], purpose="test") is not None:
            return await self._page(request, "test", None, here=request.path_params["token"])
        if token is None:
            raise HTTPException(404)
        preferences = f"../p/{self.tokens.mint(token.mail, purpose='preferences')}"
        if request.method == "POST":
            fields = dict(await form_of(request))
            if "confirm" not in fields and "List-Unsubscribe" not in fields:
                raise HTTPException(400)
            await self._write(request, "unsubscribed", token)
            return await self._page(request, "gone", token, preferences=preferences, here="")
        # Mail programs and scanners fetch this; only a POST unsubscribes.
        return await self._page(request, "confirm", token, preferences=preferences, here=request.path_params["token"])

    async def preferences(self, request: Request) -> Response:
        token = self.tokens.read(request.path_params["token"], purpose="preferences")
        if token is None:
            raise HTTPException(404)
        here = request.path_params["token"]
        if request.method == "POST":
            fields = await form_of(request)
            action = dict(fields).get("action", "")
            if action not in _ACTIONS:
                raise HTTPException(400)
            await self._chosen(request, token, action, {value for name, value in fields if name == "topic"})
            language = language_of(None, "", request.query_params.get("lang"))
            asked = f"&lang={language}" if "lang" in request.query_params else ""
            return RedirectResponse(f"{here}?done={action}{asked}", 303, security_headers(self.look))
        done = request.query_params.get("done")
        standing = await run_in_threadpool(self.answers.standing, token.mail)
        said = done if done in _ACTIONS else ""
        return await self._page(request, "preferences", token, here=here, standing=standing, done=said)

    async def _chosen(self, request: Request, token: Token, action: str, topics: set[str]) -> None:
        if action == "pause":
            await self._write(request, "paused", token, until=self.clock() + PAUSE)
        elif action == "subscribe":
            await self._write(request, "subscribed", token)
        elif action == "unsubscribe":
            await self._write(request, "unsubscribed", token)
        elif self.look.topics:
            chosen = {f"topic_{topic}": topic in topics for topic in self.look.topics}
            await self._write(request, "preferences", token, properties=chosen)

    async def _write(self, request: Request, kind: str, token: Token, **more: Any) -> Kept:
        one = Incoming(
            kind,
            self.clock(),
            mail=token.mail,
            method=request.method,
            agent=request.headers.get("user-agent", ""),
            network=network_of(request),
            prefetch=is_prefetch(request),
            **more,
        )
        (kept,) = await self.writer.write([one])
        return kept

    async def _page(
        self,
        request: Request,
        name: str,
        token: Token | None,
        *,
        status: int = 200,
        standing: Standing | None = None,
        **values: Any,
    ) -> Response:
        if token is not None and standing is None:
            standing = await run_in_threadpool(self.answers.standing, token.mail)
        locale = standing.locale if standing is not None and standing.known else None
        accepted = request.headers.get("accept-language", "")
        language = language_of(locale, accepted, request.query_params.get("lang"))
        html = page(self.look, name, language, standing=standing, **values)
        return HTMLResponse(html, status, security_headers(self.look))

    async def not_found(self, request: Request, fault: Exception) -> Response:
        if request.url.path.startswith("/w/"):
            return PlainTextResponse("no such provider here", 404)
        return await self._page(request, "invalid", None, status=404, here="")

    async def busy(self, request: Request, fault: Exception) -> Response:
        if request.url.path.startswith(("/w/", "/o/")):
            return PlainTextResponse("try again later", 503, {"retry-after": "60"})
        if request.url.path.startswith("/c/") and self.look.url is not None:
            return RedirectResponse(self.look.url, 302, _KEPT_NOWHERE)  # nobody should stand before a closed door
        return await self._page(request, "busy", None, status=503, here="")
