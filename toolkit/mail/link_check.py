"""Does a link lead anywhere? Asked of the network, and only where one wants it asked."""

from __future__ import annotations

import http.client
from urllib.error import HTTPError
from urllib.request import Request, urlopen

__all__ = ["page_answers"]

_SECONDS = 5


def page_answers(link: str) -> str | None:
    """What is wrong with a link, or None where a page answers.

    Give it to `preflight(answer=page_answers)`. It asks with HEAD, follows redirects, and waits five seconds.

    Args:
        link: begins with https://.

    >>> page_answers("ftp://example.org/")
    'not a link that begins with https://'
    """
    if not link.startswith(("https://", "http://127.0.0.1")):
        return "not a link that begins with https://"
    for method in ("HEAD", "GET"):
        try:
            request = Request(link, method=method, headers={"User-Agent": "trigger-toolkit preflight"})  # noqa: S310 as checked above
            with urlopen(request, timeout=_SECONDS):  # noqa: S310
                return None
        except HTTPError as fault:
            # Some servers know no HEAD.
            if method == "GET" or fault.code not in (403, 405, 501):
                return f"{fault.code} {fault.reason}"
        except (OSError, ValueError, http.client.HTTPException) as fault:
            return f"no answer: {getattr(fault, 'reason', fault)}"
    return None
