"""Why a mail did not arrive, read from what the recipient's server said, and whether that is for good.

One table; the first line that fits decides. Only what is about the address itself is hard: nobody of that name, no such
host, moved away, a host that takes no mail. A full box, a filter, a policy or a fault can pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["CAUSES", "Cause", "cause_of"]


@dataclass(frozen=True, slots=True)
class Cause:
    """One line of the table: its name, hard or soft, and how servers say it."""

    name: str
    bounce_type: str
    said: re.Pattern[str]


def _cause(name: str, bounce_type: str, *patterns: str) -> Cause:
    return Cause(name, bounce_type, re.compile("|".join(f"(?:{one})" for one in patterns), re.IGNORECASE | re.DOTALL))


CAUSES: tuple[Cause, ...] = (
    _cause(
        "filtered",
        "soft",
        r"\[user unknown\]|^(?!.*\b554\b).*user doesn.t have a",
        r"^the email account that you tried to reach does not exist",
        r"^.{0,8}5\.3\.0 - other mail system problem|^smtp; 550 5\.1\.1 mailbox does not exist|msexch:imc:",
    ),
    _cause(
        "moved",
        "hard",
        r"has moved|user (has )?moved|address has changed|\b5\.1\.6\b|please try <|no longer on server",
        r"\b551 (user )?not (our|local)",
    ),
    _cause(
        "policy",
        "soft",
        r"\b5\.1\.[78]\b|sender address|of sender|too many|no access from|no permission|投稿する権限",
        r"5\.7\.1 <\d+[a-z0-9-]+@email-bounces|in the queue too long.{0,80}501|501 5\.0\.0 invalid domain name",
    ),
    _cause(
        "mailbox_full",
        "soft",
        r"mail ?box(es)? (is |are |was |has been |size )?(too )?(full|exceeded)|mailbox .{1,80} is full|quota",
        r"disk full|storage (limit|space)|too full|mailbox exceeds",
        r"exceed(s|ed) (the )?(allowed|space|storage|size|mailbox)",
        r"insufficient (disk|storage)|maildir over|over the (storage|limit|maximum)|is full|\b[45]\.2\.2\b",
        r"full mailbox",
        r"size limit|too large to be|not enough|no space left|message would exceed",
    ),
    _cause(
        "takes_no_mail",
        "hard",
        r"(host|domain|server|name).{0,60}"
        r"(does not|doesn'?t|do not|never) (accept|receive|handle) (any )?(mail|e-?mail)",
        r"null ?mx|\b5\.3\.2\b|does not accept mail|no mx record found",
        r"cannot find (any|a) (mail exchanger|host)",
        r"srv record indicated no smtp|couldn.t find any host named|couldn.t find a mail exchanger",
        r"(lowest|best).numbered mx|mx .{0,30}is (null|\.)",
    ),
    _cause(
        "no_such_host",
        "hard",
        r"(host|domain|server)( name)? ?(or domain name )?(is )?"
        r"(not found|unknown|does not exist|lookup failure|not exist)",
        r"unknown (host|domain)|no such (domain|host)|unroute?able|unrouteable|nxdomain",
        r"domain is not reachable",
        r"dns lookup failure|\b55\d [^\s@<]+\.\w+ does not exist|illegal host|bad destination",
        r"domain must exist|\b5\.1\.2\b|misspelled|unresolvable|host unknown",
        r"domain.{0,60}could not be found|invalid domain|no (mx|valid hosts)",
    ),
    _cause(
        "no_such_person",
        "hard",
        r"(user|recipient|mailbox|account|address|local.?part|person|name|customer)\b.{0,70}"
        r"(unknown|not exist|not found|no such|doesn.t exist|isn.t|not known|not a valid|not listed|cannot be found)",
        r"(unknown|no such|invalid|bad|non-?existent) (final delivery )?"
        r"(user|recipient|mailbox|account|address|local|person|name|customer)",
        r"\b5\.1\.(1|3|10)\b|no mailbox here|undisclosed|is not a known|not our customer|no valid recipient",
        r"unknown:",
        r"\b5\.[47]\.1\b.{0,60}recipient address rejected: access denied|mailbox unavailable",
        r"couldn.t find a user|no account",
        r"user doesn.t have|invalid address|destinataire invalide|x400 .{0,40}unable to deliver",
        r"unable to deliver to destination|MSEXCH:IMS.{0,80}0000051[17-9]|inactive email",
        r"recipient address rejected\.?\s*(\(|$)|user .{0,60} not listed|リストにありません|見つかりません|存在し",
    ),
    _cause(
        "policy",
        "soft",
        r"spam|virus|blacklist|block|spamhaus|\bdnsbl\b|\brbl\b|reputation|\bspf\b|\bdkim\b|\bdmarc\b",
        r"authenticat|relay",
        r"reverse dns|\bptr\b|rdns|helo|policy|banned|restricted|prohibited|security|access denied",
        r"permission|sender",
        r"rate limit|too many|throttl|refused|try again|try later|greylist|temporar|timed? ?out|too busy",
        r"\b[45]\.7\.\d+",
        r"filter|not accept|not allowed|denied|rejected|disabled|inactive|suspended|deactivated|locked",
        r"expired|loop",
    ),
)

_HARD_STATUS = re.compile(r"5\.1\.(1|2|3|6|10|351)")


def cause_of(said: str, status: str | None) -> tuple[str, str]:
    """The name of the cause and `hard` or `soft`.

    Args:
        said: the words of the recipient's server, or of the one that gave up.
        status: an enhanced status code such as 5.1.1, where there is one.

    >>> cause_of("550 5.1.1 <ana@example.org>: Recipient address rejected: User unknown in local table", "5.1.1")
    ('no_such_person', 'hard')
    >>> cause_of("552 5.2.2 Mailbox full", "5.2.2")
    ('mailbox_full', 'soft')
    """
    for cause in CAUSES:
        if cause.said.search(said):
            return cause.name, cause.bounce_type
    if status is not None and _HARD_STATUS.fullmatch(status):
        return "no_such_person", "hard"
    return "unknown", "soft"
