"""The links of one mail: each web address gets a number, and a token stands in its place."""

from __future__ import annotations

from dataclasses import dataclass, field

from toolkit.tracking.tokens import MOST_LINKS, TRAP, Tokens

__all__ = ["MailLinks"]


@dataclass(slots=True)
class MailLinks:
    """Hands out the links of one mail: the same mail and the same web addresses, the same links.

    Args:
        base: where the tracker answers, for example `https://mail.shop.example.com`.
        tokens: make the tokens.
        mail: the mail's name, how its Message-ID begins.
        opens: whether the mail gets a picture that is fetched when it is opened.
        clicks: whether its links lead through the tracker.
        trap: whether it gets a link that no person can see.

    >>> links = MailLinks("https://mail.example.com", Tokens((bytes(32),)), "3nal3iqg2vqw7zeg")
    >>> links.click("https://shop.example.com/cart").startswith("https://mail.example.com/c/")
    True
    >>> links.targets
    ('https://shop.example.com/cart',)
    """

    base: str
    tokens: Tokens
    mail: str
    opens: bool = True
    clicks: bool = True
    trap: bool = True
    _numbers: dict[str, int] = field(default_factory=dict)

    def click(self, url: str) -> str:
        """The link that leads to a web address and counts the click; the address itself where nothing is counted."""
        if not self.clicks or not url.startswith("https://"):
            return url
        number = self._numbers.get(url)
        if number is None:
            if len(self._numbers) >= MOST_LINKS:
                return url
            number = self._numbers[url] = len(self._numbers)
        return f"{self.base}/c/{self.tokens.mint(self.mail, purpose='click', number=number)}"

    @property
    def targets(self) -> tuple[str, ...]:
        """The web addresses handed in so far; a link's number is its place here."""
        return tuple(self._numbers)

    @property
    def picture(self) -> str | None:
        """The picture of one pixel."""
        return f"{self.base}/o/{self.tokens.mint(self.mail, purpose='open')}" if self.opens else None

    @property
    def trap_link(self) -> str | None:
        """The link that no person can see."""
        if not (self.trap and self.clicks):
            return None
        return f"{self.base}/c/{self.tokens.mint(self.mail, purpose='click', number=TRAP)}"

    @property
    def unsubscribe(self) -> str:
        """The link that asks to confirm, and takes the one-click POST."""
        return f"{self.base}/u/{self.tokens.mint(self.mail, purpose='unsubscribe')}"
