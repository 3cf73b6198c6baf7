"""Who opened or clicked: a person, a machine, or nobody can say. One table of rules; the first that fits decides."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from toolkit.tracking.tokens import TRAP

__all__ = ["BURST", "FLOOD", "REACH", "RULES", "VERDICTS", "WINDOW", "Rule", "Seen", "judge", "judge_together"]

VERDICTS = ("human", "machine", "unsure")
BURST = 2_000_000
"""Microseconds in which no person follows two different links of a mail."""
WINDOW = 60_000_000
"""Microseconds around an answer in which others of the same mail are looked at."""
REACH = WINDOW + BURST
"""Microseconds after which nothing changes a verdict: a link a minute later may be given away by the one after it."""

FLOOD = 60
"""Answers to one mail within a minute above which nobody looks at them one by one."""

_SCANNERS = re.compile(
    r"bot\b|crawler|spider|scanner|preview|facebookexternalhit|whatsapp|slack|telegram|skypeuripreview|"
    r"barracuda|proofpoint|mimecast|safelinks|symantec|messagelabs|trend ?micro|fireeye|trellix|forcepoint|sophos|"
    r"cisco|ironport|zscaler|cloudmark|urldefense|virustotal|paloalto|checkpoint|"
    r"headlesschrome|phantomjs|python|curl|wget|java/|okhttp|go-http-client|libwww|apache-httpclient|axios|node-fetch|"
    r"ruby|php/|guzzle|postman|httpx|aiohttp|scrapy",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of one open or click.

    Attributes:
        kind: opened or clicked.
        at: when, microseconds since 1970.
        number: of the link in the mail; 0 for an open.
        method: of the request.
        agent: what the program calls itself.
        network: where the request came from, shortened.
        prefetch: the program says that it fetches ahead.
        told: what a provider said of it: human, machine, or nothing.
        links: how many different links of the mail were followed within two seconds of it.
        beside: within a minute, the same program followed the trap, or links in a burst, of the same mail.
        crowd: how many answers the mail got within a minute.
    """

    kind: str
    at: int
    number: int = 0
    method: str = "GET"
    agent: str = ""
    network: str = ""
    prefetch: bool = False
    told: str = ""
    links: int = 1
    beside: bool = False
    crowd: int = 1


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table: its name, for which kinds, what it says and why, and when it fits."""

    name: str
    kinds: tuple[str, ...]
    verdict: str
    why: str
    fits: Callable[[Seen], bool]


_BOTH = ("opened", "clicked")
RULES: tuple[Rule, ...] = (
    Rule("trap", ("clicked",), "machine", "followed a link that no person can see", lambda seen: seen.number == TRAP),
    Rule("head", _BOTH, "machine", "asked for the head only (HEAD)", lambda seen: seen.method == "HEAD"),
    Rule("prefetch", _BOTH, "machine", "says that it fetches ahead", lambda seen: seen.prefetch),
    Rule("told_machine", _BOTH, "machine", "the provider says it is a machine", lambda seen: seen.told == "machine"),
    Rule(
        "scanner", _BOTH, "machine", "calls itself a robot or scanner", lambda seen: bool(_SCANNERS.search(seen.agent))
    ),
    Rule("burst", ("clicked",), "machine", "different links within two seconds", lambda seen: seen.links > 1),
    Rule(
        "beside", _BOTH, "machine", "the same program followed the trap, or a burst of links", lambda seen: seen.beside
    ),
    Rule("flood", _BOTH, "machine", f"over {FLOOD} answers to one mail in a minute", lambda seen: seen.crowd > FLOOD),
    Rule(
        "apple_privacy",
        ("opened",),
        "machine",
        "Apple Mail Privacy Protection fetches pictures unread",
        lambda seen: seen.agent.strip() == "Mozilla/5.0",
    ),
    Rule(
        "nameless_click", ("clicked",), "machine", "names no program; every browser does", lambda seen: not seen.agent
    ),
    Rule("nameless_open", ("opened",), "unsure", "names no program", lambda seen: not seen.agent),
    Rule(
        "gmail_proxy",
        ("opened",),
        "unsure",
        "Gmail's picture proxy hides who asked",
        lambda seen: "GoogleImageProxy" in seen.agent,
    ),
    Rule(
        "yahoo_proxy",
        ("opened",),
        "unsure",
        "Yahoo's picture proxy hides who asked",
        lambda seen: "YahooMailProxy" in seen.agent,
    ),
    Rule("browser", _BOTH, "human", "a mail program or browser without a sign of a machine", lambda seen: True),
)


def judge(seen: Seen) -> tuple[str, str]:
    """The verdict on one open or click, and the name of the rule that gave it.

    >>> judge(Seen("clicked", 0, method="HEAD"))
    ('machine', 'head')
    >>> judge(Seen("opened", 0, agent="Mozilla/5.0 (Windows NT 5.1) via ggpht.com GoogleImageProxy"))
    ('unsure', 'gmail_proxy')
    """
    for rule in RULES:
        if seen.kind in rule.kinds and rule.fits(seen):
            return rule.verdict, rule.name
    return "unsure", "unknown"


def judge_together(seen: Sequence[Seen]) -> list[tuple[str, str]]:
    """Verdicts on opens and clicks of one mail, each in the light of the others within a minute.

    Args:
        seen: of one mail; `links` and `beside` are found out here.

    Returns:
        Verdict and rule, in the order given.

    >>> agent = "Mozilla/5.0 (Windows NT 10.0) Firefox/140.0"
    >>> judge_together([Seen("clicked", 0, number=0, agent=agent), Seen("clicked", 900_000, number=1, agent=agent)])
    [('machine', 'burst'), ('machine', 'burst')]
    """
    if len(seen) == 1:
        return [judge(seen[0])]
    if len(seen) > FLOOD:
        return [judge(replace(one, crowd=len(seen))) for one in seen]
    links = [
        len(
            {
                other.number
                for other in seen
                if other.kind == "clicked" and abs(other.at - one.at) <= BURST and _alike(one, other)
            }
        )
        if one.kind == "clicked"
        else 1
        for one in seen
    ]
    caught = [
        one
        for one, count in zip(seen, links, strict=True)
        if one.kind == "clicked" and (count > 1 or one.number == TRAP)
    ]
    return [
        judge(
            replace(
                one,
                links=count,
                beside=any(
                    _alike(one, other) and other is not one and abs(other.at - one.at) <= WINDOW for other in caught
                ),
            )
        )
        for one, count in zip(seen, links, strict=True)
    ]


def _alike(one: Seen, other: Seen) -> bool:
    """Scanners change the name they give, or the machine they ask from, seldom both at once."""
    return one.agent == other.agent or (bool(one.network) and one.network == other.network)
