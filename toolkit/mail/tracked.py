"""The tracked form of a rendered mail: links that lead through the tracker, and a picture that is fetched on opening.

Only the html changes. The text stays readable, with the shop's own web addresses.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection
from dataclasses import replace
from typing import Protocol

from toolkit.mail.letter import Mail

__all__ = ["Links", "tracked"]

_LINK = re.compile(r'(<a\b[^>]*?\shref=")(https://[^"]*)(?=")', re.IGNORECASE)


class Links(Protocol):
    """What counts the links of one mail; it travels to the process that renders the mail."""

    def click(self, url: str) -> str:
        """The link that stands for a web address."""
        ...

    @property
    def targets(self) -> tuple[str, ...]:
        """The web addresses handed in so far."""
        ...

    @property
    def picture(self) -> str | None:
        """Web address of the picture of one pixel, or None."""
        ...

    @property
    def trap_link(self) -> str | None:
        """A link that no person sees, for machines that follow every link, or None."""
        ...


def tracked(mail: Mail, links: Links, *, leave: Collection[str] = ()) -> Mail:
    """A rendered mail with its links counted.

    Args:
        mail: as rendered and checked.
        links: of this mail.
        leave: web addresses that stay as they are, such as the unsubscribe link.

    Returns:
        A mail that looks the same. Its text is untouched.
    """

    def through(match: re.Match[str]) -> str:
        url = html.unescape(match[2])
        return match[0] if url in leave else match[1] + html.escape(links.click(url))

    shown = _LINK.sub(through, mail.html)
    added = ""
    trap, picture = links.trap_link, links.picture
    if trap is not None:
        hidden = "display:none;max-height:0;overflow:hidden;mso-hide:all"
        added += f'<a href="{html.escape(trap)}" aria-hidden="true" tabindex="-1" style="{hidden}"></a>'
    if picture is not None:
        style = "display:block;width:1px;height:1px;border:0"
        added += f'<img src="{html.escape(picture)}" width="1" height="1" alt="" style="{style}" />'
    before, body, after = shown.rpartition("</body>")
    # Its pieces are those of the html before, and every mail has links of its own.
    return replace(mail, html=f"{before}{added}{body}{after}" if body else shown + added, pieces=())
