"""How the pages for people look and speak: the shop's name and colours, and its topics, in English and French."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from babel.dates import format_date
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from toolkit.scenario.models import Policies
from toolkit.tracking.page_words import LANGUAGES, WORDS

__all__ = ["Look", "language_of", "page", "security_headers"]

_FOLDER = Path(__file__).with_name("pages")
_COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}")
_COLOURS = {
    "page": "#f4f4f6",
    "card": "#ffffff",
    "ink": "#16181d",
    "text": "#3d4250",
    "quiet": "#646b7a",
    "line": "#dfe2e8",
    "tile": "#f4f5f8",
    "accent": "#2b3a8f",
    "on_accent": "#ffffff",
    "dark_page": "#0d0f14",
    "dark_card": "#181b22",
    "dark_tile": "#22262f",
    "dark_text": "#d5d9e2",
    "dark_ink": "#ffffff",
    "dark_quiet": "#9aa1b0",
    "dark_line": "#333946",
    "dark_accent": "#c3cbff",
    "dark_on_accent": "#14172b",
}

_pages = Environment(
    loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True, slots=True)
class Look:
    """The shop on the pages for people.

    Attributes:
        name: of the shop.
        url: of the shop; where links that are too old lead, too.
        address: postal.
        colours: name to #rrggbb; what is missing has a quiet default.
        topics: topic to its words by language.
    """

    name: str = ""
    url: str | None = None
    address: str | None = None
    colours: Mapping[str, str] = field(default_factory=dict)
    topics: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, policies: Policies) -> Look:
        """The look that a program's policies describe."""
        brand = policies.brand
        more: dict[str, Any] = (brand.model_extra or {}) if brand else {}
        named = more.get("colours")
        colours = {str(name): str(value) for name, value in named.items()} if isinstance(named, Mapping) else {}
        url = brand.url if brand and (brand.url or "").startswith("https://") else None
        return cls(
            name=brand.name if brand else policies.sender.name if policies.sender else "",
            url=url,
            address=brand.address if brand else None,
            colours={name: value for name, value in colours.items() if _COLOUR.fullmatch(value)},
            topics=policies.tracking.topics if policies.tracking else {},
        )

    @property
    def style(self) -> str:
        """The style sheet, with the shop's colours."""
        colours = _COLOURS | {name: value for name, value in self.colours.items() if name in _COLOURS}
        return _pages.get_template("page.css").render(colours=colours).strip()


def language_of(locale: str | None, accepted: str, asked: str | None = None) -> str:
    """The language of a page: the one asked for, else the customer's, else the browser's, else English.

    >>> language_of("fr_FR", "en"), language_of(None, "de, fr;q=0.8"), language_of(None, "", "xx")
    ('fr', 'fr', 'en')
    """
    wishes = [asked or "", locale or "", *(part.partition(";")[0].strip() for part in accepted[:200].split(","))]
    short = [re.split("[-_]", wish.lower())[0] for wish in wishes]
    return next((wish for wish in short if wish in LANGUAGES), "en")


def page(look: Look, name: str, language: str, **values: Any) -> str:
    """A page for people, as html.

    Args:
        look: of the shop.
        name: confirm, gone, preferences, test, invalid or busy.
        language: en or fr.
        **values: what the page shows.
    """
    words = WORDS[language]

    def say(key: str, **more: str) -> str:
        return words[key].format(shop=look.name or words["us"], **more)

    def day(micros: int) -> str:
        return format_date(datetime.fromtimestamp(micros / 1e6, UTC), format="long", locale=language)

    return _pages.get_template("page.html").render(
        look=look, style=look.style, page=name, language=language, languages=LANGUAGES, say=say, day=day, **values
    )


def security_headers(look: Look) -> dict[str, str]:
    """Headers of a page for people: no scripts, no frames, nothing from elsewhere, kept nowhere."""
    digest = base64.b64encode(hashlib.sha256(look.style.encode()).digest()).decode()
    return {
        "content-security-policy": (
            f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'"
        ),
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "x-robots-tag": "noindex, nofollow",
    }
