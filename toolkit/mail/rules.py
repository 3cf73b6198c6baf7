"""What the preflight looks for in one rendered mail: each rule gives nothing, or what it found.

The limits are those of the large mailbox providers: Gmail clips html over 102 KB, inboxes show about sixty
characters of a subject and about a hundred of a preheader.
"""

from __future__ import annotations

import html as html_entities
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from toolkit.mail.foreign import FOREIGN, instead_of
from toolkit.mail.letter import Letter, Mail

__all__ = ["RULES", "Found", "Rule", "check_mail", "check_size", "links_of"]

_MOST_BYTES = 102 * 1024
_MOST_SUBJECT = 70
_MOST_PREHEADER = 130
_FEWEST_WORDS = 12
_ENOUGH_TEXT = 40  # words, whatever the html has
_HREF = re.compile(r"href\s*=\s*[\"']([^\"']*)")
_SRC = re.compile(r"src\s*=\s*[\"']([^\"']*)")
_IMAGE = re.compile(r"<img\b[^>]*>")
_ALT = re.compile(r"\salt\s*=\s*[\"']")
_URL = re.compile(r"https?://[^\s<>\"]+")
_TAG = re.compile(r"<[^>]+>")
_MARKS = (
    *("{{", "{%", "*|", "${"),
    *("{" + letter for letter in "FLEUVNAP"),
    *(brace + name for brace in ("{", "{ ") for name in ("customer.", "event.", "offer.", "brand.", "sender.")),
)
_BY_FIRST = {first: tuple(mark for mark in _MARKS if mark[0] == first) for first in "{*$"}
_PERCENT = re.compile(r"(\d+(?:[.,]\d+)?)[ \u00a0\u202f]?%")
_PERCENT_SHOWN = re.compile(r"%(?=[^<>]*<)")
_ENDS_IN_NUMBER = re.compile(r"(\d+(?:[.,]\d+)?)[ \u00a0\u202f]?$")
# A percentage is a promise when a word of giving stands beside it, in the same breath: "100% linen" is none.
_GIVING = r"discount|reduc|réduc|remise|rabais|rabatt|nachlass|descuento|sconto"
_WORDS_OF_GIVING = ("off", "less", "de moins", "günstiger", "sparen", *_GIVING.split("|"))
_GIVES_AFTER = re.compile(rf"%[^,.;:!?\n\d]{{0,16}}?(?:\boff\b|\bless\b|de moins|günstiger|sparen|{_GIVING})", re.I)
_GIVES_BEFORE = re.compile(
    rf"(?:\bsave\b|\bless\b|\bminus\b|\bspar(?:en|e|t)\b|{_GIVING})[^,.;:!?\n\d]{{0,16}}\d[\d.,]*\s?%", re.I
)
_AMOUNT = re.compile(
    r"[€$£]\s?(\d[\d.,\u00a0\u202f]*)|(\d[\d.,\u00a0\u202f]*)[ \u00a0\u202f]?(?:€|\$|£|EUR\b|USD\b|GBP\b|CHF\b)"
)
_GIVES = re.compile(rf"[^,.;:!?\n\d]{{0,16}}?(?:\boff\b|\bless\b|de moins|günstiger|sparen|{_GIVING})", re.I)
_FREE_SHIPPING = re.compile(
    r"free (?:delivery|shipping)|(?:livraison|frais de port|port) (?:offerte?s?|gratuite?s?)"
    r"|versandkostenfrei|portofrei|gratisversand|(?:kostenlos|kostenfrei|gratis|frei)(?:e[rn]?)? (?:versand|lieferung)"
    r"|(?:versand|lieferung)(?: ist)? (?:kostenlos|kostenfrei|gratis|frei)\b",
    re.I,
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_ANSWER = re.compile(r"\s*(?:re|fwd?|aw|wg|tr)\s*:", re.I)
_NOWHERE = re.compile(
    r"https?://(?:localhost|127\.|10\.|192\.168\.|0\.0\.0\.0|\[::1\]|[^/:?#]+\.(?:invalid|test|local|localhost)(?=[/:?#]|$))",
    re.I,
)
_ANCHOR = re.compile(r"<a\b[^>]*?\shref\s*=\s*[\"']([^\"']*)[^>]*>(.*?)</a>", re.DOTALL)
_ALT_SAYS = re.compile(r"\s(?:alt|aria-label|title)\s*=\s*[\"']\s*[^\"'\s]")
_SHOWN_HOST = re.compile(r"(?:https?://(?:www\.)?|www\.)([a-z0-9.-]+\.[a-z]{2,})(?:[/?#:]\S*)?", re.I)
_HOST = re.compile(r"https://(?:www\.)?([^/?#:]*)", re.I)
_BY_NUMBER = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_SHORTENERS = re.compile(
    r"(?:bit|buff|cutt|ow|rebrand|t)\.ly|(?:is|v)\.gd|bl\.ink|goo\.gl|rb\.gy|urlz\.fr|t\.co|tinyurl\.com|tiny\.cc|dub\.sh"
    r"|lnkd\.in|short\.io|shorturl\.at"
)
_UNSUBSCRIBE = ("unsubscribe", "désabonn", "désinscri", "abbestell", "newsletter abmelden")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: whether it blocks, and how to mend what it finds."""

    severity: Literal["error", "warning"]
    mend: str


RULES: dict[str, Rule] = {
    "missing_template": Rule("error", "write the mail, or correct the send step"),
    "unknown_step": Rule("error", "prepare the batch again from this program"),
    "policies_differ": Rule("error", "load the templates with the program's own policies"),
    "sender_missing": Rule("error", "add sender: {name: ..., email: ...} to policies.yaml"),
    "sender_invalid": Rule("error", "correct the sender's address in policies.yaml"),
    "sender_freemail": Rule("error", "send from a domain of your own, with SPF, DKIM and DMARC"),
    "sender_noreply": Rule("warning", "add reply_to: to sender in policies.yaml, so that people can answer"),
    "postal_address_missing": Rule(
        "warning", "add address: to brand in policies.yaml; the law of many countries asks it"
    ),
    "undefined_variable": Rule(
        "error", 'correct the name, or write {{ name | default("...") }} where it may be missing'
    ),
    "value_misspelt": Rule("warning", "correct the name: default() stands in for it in every one of these mails"),
    "render_failed": Rule("error", "correct the template or the value it shows"),
    "invalid_address": Rule("error", "correct the customer's address, or leave the customer out"),
    "duplicate_decision": Rule("error", "prepare the batch again: one decision is one mail"),
    "same_address": Rule("warning", "merge the customers who share an address"),
    "bad_link": Rule("error", "use links that begin with https://"),
    "dead_link": Rule("error", "give the link its goal: nobody but you can follow it"),
    "link_without_answer": Rule("warning", "open the link: it gave no page when the preflight asked"),
    "link_distrusted": Rule("warning", "link to your own domain: filters take what hides its goal for spam"),
    "link_names_other": Rule("warning", "write words, or the address it leads to: mail programs warn of fraud"),
    "link_without_words": Rule(
        "warning", "give the link words, or its image an alt: a screen reader has nothing to say"
    ),
    "link_from_value": Rule(
        "warning", "look at the customer: under a name with a web address strangers mail in your name"
    ),
    "text_poor": Rule("warning", "say in the .txt what the html says: filters compare, and some read it alone"),
    "text_link_missing": Rule("error", "put the link into the .txt part too"),
    "missing_alt": Rule("warning", 'give the image alt="what it shows", or alt="" where it is ornament'),
    "image_only": Rule("error", "say it in words: many inboxes show no images"),
    "too_large": Rule("error", "shorten the mail: Gmail clips html over 102 KB"),
    "large_for_some": Rule("warning", "shorten what these few see: Gmail clips html over 102 KB"),
    "not_writable": Rule("error", "correct the value: it cannot stand in a mail"),
    "subject_empty": Rule("error", "write subject: in the .txt"),
    "subject_long": Rule("warning", f"keep the subject under {_MOST_SUBJECT} characters"),
    "subject_misleads": Rule("warning", "take the Re: away: mailbox providers count it as deception"),
    "subject_shouts": Rule("warning", "write it as one would say it: capitals and !! look like spam"),
    "preheader_empty": Rule("warning", "write preheader: in the .txt"),
    "preheader_long": Rule("warning", f"keep the preheader under {_MOST_PREHEADER} characters"),
    "foreign_placeholder": Rule("error", "write it as jinja, or correct the data it came with"),
    "unsubscribe_missing": Rule("error", "put {{ unsubscribe }} into both parts"),
    "unsubscribe_untokenised": Rule(
        "error", "put {token} into brand.unsubscribe_url: each mail needs a link of its own"
    ),
    "unsubscribe_in_transactional": Rule("error", "take the unsubscribe out, or make the scenario marketing"),
    "offer_differs": Rule("error", "show {{ offer.percent | percent }} instead of a number of your own"),
    "offer_not_named": Rule("warning", "say what the offer is: {{ offer.percent | percent }}, {{ offer.code }}"),
    "offer_in_transactional": Rule("error", "take the offer out of the transactional mail"),
    "locale_missing": Rule("warning", "write the words in that language: words.LOCALE.txt beside the mail"),
    "words_untranslated": Rule("warning", "write the line into the file named"),
    "bulk_sender": Rule(
        "warning",
        "check that SPF, DKIM and DMARC pass and agree with the sender's domain, that one click unsubscribes within "
        "two days, and that under 0.3% complain",
    ),
}


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule found in a mail: in words, what to look for in the author's files, and what only this mail has."""

    rule: str
    message: str
    words: str = ""
    part: Literal["html", "text"] = "html"
    found: str = ""


def check_mail(mail: Mail, letter: Letter, unsubscribe_url: str, *, on_trial: bool = False) -> Iterator[Found]:
    """Everything wrong with one rendered mail.

    Args:
        mail: as its reader sees it.
        letter: what it was rendered from.
        unsubscribe_url: its own link to unsubscribe.
        on_trial: that link leads to a tracker that is tried on this machine, of which the batch warns.
    """
    narrow = _narrow(mail)
    yield from _check_lines(mail)
    yield from _check_links(mail, letter, unsubscribe_url, narrow, on_trial=on_trial)
    yield from _check_anchors(mail, unsubscribe_url)
    yield from _check_values(mail, letter)
    yield from _check_images(mail, narrow)
    yield from check_size(mail)
    shown = f"{mail.subject}\n{mail.preheader}\n{mail.text}"
    for match in FOREIGN.finditer(shown) if _has_mark(shown) else ():
        yield Found("foreign_placeholder", _left_over(match[0]), match[0], "text")
    if _has_mark(narrow[max(narrow.find("<body"), 0) :]):
        for match in FOREIGN.finditer(_words_of(mail.html)):
            yield Found("foreign_placeholder", _left_over(match[0]), match[0])
    yield from _check_offer(mail, letter, shown, narrow)


def check_size(mail: Mail) -> Iterator[Found]:
    """Whether Gmail would clip the html, which grows where its links are counted."""
    if len(mail.html) > _MOST_BYTES // 4 and len(mail.html.encode("utf-8")) > _MOST_BYTES:
        yield Found("too_large", f"the html has over {_MOST_BYTES // 1024} KB")


def _has_mark(shown: str) -> bool:
    # Some letters stand in no mail, and others are found faster alone than two side by side.
    if any(first in shown and any(mark in shown for mark in marks) for first, marks in _BY_FIRST.items()):
        return True
    brackets, percents = shown.split("["), shown.split("%")
    return "" in brackets[1:-1] or "" in percents[1:-1] or any(part[-1:] == "<" for part in percents[:-1])


def _narrow(mail: Mail) -> str:
    """The html with one byte a letter, others than Latin ones as `?`: it is looked through several times as fast."""
    if mail.html.isascii():
        return mail.html
    narrow = "".join(map(_narrowed, mail.pieces))
    return narrow if len(narrow) == len(mail.html) else _narrowed(mail.html)


@lru_cache(maxsize=1 << 13)
def _narrowed(piece: str) -> str:
    return piece if piece.isascii() else piece.encode("latin-1", "replace").decode("latin-1")


def _left_over(placeholder: str) -> str:
    return f"{placeholder!r} would reach the reader; here one writes {instead_of(placeholder)}"


def _check_lines(mail: Mail) -> Iterator[Found]:
    if not mail.subject:
        yield Found("subject_empty", "the subject is empty", "subject:", "text")
    elif len(mail.subject) > _MOST_SUBJECT:
        yield Found("subject_long", f"the subject has over {_MOST_SUBJECT} characters", "subject:", "text")
    if _ANSWER.match(mail.subject):
        yield Found("subject_misleads", "the subject looks like an answer", "subject:", "text")
    words = _WORD.findall(mail.subject)
    if "!!" in mail.subject or (len(words) >= 3 and sum(map(str.isupper, words)) > 0.6 * len(words)):
        yield Found("subject_shouts", "the subject shouts", "subject:", "text")
    if not mail.preheader:
        yield Found("preheader_empty", "the preheader is empty", "preheader:", "text")
    elif len(mail.preheader) > _MOST_PREHEADER:
        yield Found("preheader_long", f"the preheader has over {_MOST_PREHEADER} characters", "preheader:", "text")


def _check_links(mail: Mail, letter: Letter, unsubscribe_url: str, narrow: str, *, on_trial: bool) -> Iterator[Found]:
    links = _unescaped(_HREF.findall(mail.html))
    images = _unescaped(_SRC.findall(mail.html)) if "<img" in narrow else set()
    in_text = {link.rstrip(".,;:!?)") for link in _URL.findall(mail.text)}
    trial = {unsubscribe_url} if on_trial else set()
    for link in sorted((links | images) - trial):
        if link.strip() in ("", "#"):
            yield Found("dead_link", "a link without a goal", 'href="' + link)
        elif link == unsubscribe_url and (nowhere := _NOWHERE.match(link)):
            # Each mail has another, and what is wrong is the same.
            yield Found("dead_link", f"the unsubscribe link leads nowhere: it begins with {nowhere[0]!r}")
        elif _NOWHERE.match(link):
            yield Found("dead_link", f"a link that leads nowhere: {_short(link)!r}", _short(link))
        elif not link.startswith(("https://", "mailto:", "tel:", "#")):
            yield Found("bad_link", "a link that is not https", link, found=f"found {link[:80]!r}")
    for link in sorted(links - in_text):
        if link.startswith("https://") and link != unsubscribe_url:
            yield Found("text_link_missing", f"the text part lacks {_short(link)}", _short(link))
    for link in sorted(in_text - trial):
        if not link.startswith("https://"):
            yield Found("bad_link", "a link that is not https", link, "text", f"found {link[:80]!r}")
    if letter.class_ == "marketing":
        if unsubscribe_url not in links:
            yield Found("unsubscribe_missing", "the html has no unsubscribe link")
        if unsubscribe_url not in in_text:
            yield Found("unsubscribe_missing", "the text has no unsubscribe link", part="text")
        return
    parts: tuple[tuple[Literal["html", "text"], str], ...] = (("text", mail.text), ("html", narrow))
    for part, shown in parts:
        small = shown.lower()
        for word in _UNSUBSCRIBE:
            at = small.find(word)
            if at >= 0:
                found = shown[at : at + len(word)]
                yield Found("unsubscribe_in_transactional", f"the {part} has an unsubscribe", found, part)
                break


def _check_anchors(mail: Mail, unsubscribe_url: str) -> Iterator[Found]:
    for link, inside in _ANCHOR.findall(mail.html):
        words = _TAG.sub("", inside).strip() if "<" in inside else inside.strip()
        if not words and not _ALT_SAYS.search(inside):
            yield Found("link_without_words", f"a link without words: {_short(link)}", _short(link))
        goal = _HOST.match(link)
        if goal is None or link == unsubscribe_url:
            continue
        host = goal[1].lower()
        if _SHORTENERS.fullmatch(host) or (_BY_NUMBER.fullmatch(host) and not _NOWHERE.match(link)):
            yield Found("link_distrusted", f"a link that hides where it leads: {_short(link)}", _short(link))
        shown = _SHOWN_HOST.fullmatch(words)
        if shown and not _is_within(shown[1].lower(), host):
            yield Found("link_names_other", f"a link that says {shown[1]} and leads to {host}", shown[0])


def _is_within(one: str, other: str) -> bool:
    return one == other or one.endswith("." + other) or other.endswith("." + one)


def _check_values(mail: Mail, letter: Letter) -> Iterator[Found]:
    for name, value in letter.customer.items():
        if not isinstance(value, str) or not ("://" in value or "www." in value):
            continue
        # What a layout makes a link of is meant to be one.
        if value.strip() in mail.text and html_entities.escape(value.strip()) not in _HREF.findall(mail.html):
            message = f"a web address in customer.{name} that the mail shows as it is"
            yield Found("link_from_value", message, f"customer.{name}", "text")


def links_of(mail: Mail) -> list[str]:
    """Every link and image of the html, each once, in order."""
    return sorted(_unescaped(_HREF.findall(mail.html)) | _unescaped(_SRC.findall(mail.html)))


def _unescaped(links: list[str]) -> set[str]:
    return {html_entities.unescape(link) if "&" in link else link for link in links}


def _short(link: str) -> str:
    # Findings are grouped by message, so what differs from mail to mail stays out of it.
    return link.partition("?")[0][:80]


def _check_images(mail: Mail, narrow: str) -> Iterator[Found]:
    said = len(mail.text.split())
    if said < _ENOUGH_TEXT and 4 * max(said, 5) < len(_words_of(mail.html).split()):
        yield Found("text_poor", "the text part has under a quarter of the html's words", "---", "text")
    if "<img" not in narrow:
        return
    images = _IMAGE.findall(mail.html)
    for image in images:
        if not _ALT.search(image):
            yield Found("missing_alt", "an image has no alt text", "<mj-image")
    if len(_words_of(mail.html).split()) < _FEWEST_WORDS:
        yield Found("image_only", f"{len(images)} images and under {_FEWEST_WORDS} words")


def _words_of(html: str) -> str:
    body = html[html.find("<body") :]
    hidden = body.find("</div>") if "display:none" in body[:400] else 0
    return html_entities.unescape(_TAG.sub(" ", body[hidden:]))


def _percents(html: str, narrow: str, shown: str) -> Iterator[tuple[float, Literal["html", "text"], re.Match[str]]]:
    # In the html only what stands between tags: a width of 100% is no offer.
    for sign in _PERCENT_SHOWN.finditer(narrow, max(narrow.find("<body"), 0)):
        at = sign.start()
        match = _ENDS_IN_NUMBER.search(html, max(0, at - 16), at)
        if match is not None:
            yield _as_number(match[1]), "html", match
    for match in _PERCENT.finditer(shown) if "%" in shown else ():
        yield _as_number(match[1]), "text", match


def _is_promise(part: Literal["html", "text"], percent: re.Match[str]) -> bool:
    shown, at = percent.string, percent.end()
    if part == "html":
        before = _TAG.sub(" ", shown[max(0, at - 80) : at + 1])
        after = _TAG.sub(" ", shown[at : at + 240])
    else:
        before = shown[max(0, percent.start() - 40) : at]
        after = shown[at - 1 : at + 40]
    ends = [match.end() for match in _GIVES_BEFORE.finditer(before)]
    return _GIVES_AFTER.match(after) is not None or (bool(ends) and ends[-1] == len(before))


def _as_number(text: str) -> float:
    return float(text.replace(",", "."))


def _check_offer(mail: Mail, letter: Letter, shown: str, narrow: str) -> Iterator[Found]:
    offer = letter.offer
    given = offer.get("percent") if offer else None
    named = False
    for percent, part, match in _percents(mail.html, narrow, shown):
        if given is not None and abs(percent - float(given)) < 1e-9:
            named = True
        elif _is_promise(part, match):
            words = match[0] + "%" if part == "html" else match[0]
            if letter.class_ == "transactional":
                yield Found("offer_in_transactional", f"a transactional mail promises {percent:g}%", words, part)
            elif given is not None:
                message = f"the {part} says {percent:g}%, the scenario's offer is {float(given):g}%"
                yield Found("offer_differs", message, words, part)
            else:
                yield Found(
                    "offer_differs", f"the {part} promises {percent:g}%, the step has no such offer", words, part
                )
    amount = offer.get("amount") if offer else None
    for value, words in _promised_amounts(shown):
        if amount is not None and abs(value - float(amount)) < 0.005:
            continue
        if letter.class_ == "transactional":
            yield Found("offer_in_transactional", f"a transactional mail promises {words} off", words, "text")
        else:
            of_it = f"the scenario's offer is {float(amount):g}" if amount is not None else "the step has no such offer"
            yield Found("offer_differs", f"the mail promises {words} off, {of_it}", words, "text")
    if offer is None:
        return
    if amount is not None and not any(
        abs(value - float(amount)) < 0.005 for value in map(_amount, _AMOUNT.finditer(shown))
    ):
        yield Found("offer_not_named", f"the mail does not say its offer of {float(amount):g}")
    if offer.get("free_shipping") and not _FREE_SHIPPING.search(shown):
        yield Found("offer_not_named", "the mail does not say that delivery is free")
    if given is not None and not named:
        yield Found("offer_not_named", f"the mail does not say its offer of {float(given):g}%")
    code = offer.get("code")
    if code and (str(code) not in mail.text or html_entities.escape(str(code)) not in mail.html):
        yield Found("offer_not_named", "the mail does not say the offer's code in both parts")


def _amount(match: re.Match[str]) -> float:
    digits = re.sub(r"[\u00a0\u202f]", "", match[1] or match[2]).rstrip(".,")
    cents = re.search(r"[.,](\d{1,2})$", digits)
    whole = re.sub(r"\D", "", digits[: cents.start()] if cents else digits)
    return float(f"{whole or 0}.{cents[1] if cents else 0}")


def _promised_amounts(shown: str) -> Iterator[tuple[float, str]]:
    small = shown.lower()
    if not any(word in small for word in _WORDS_OF_GIVING):
        return
    for match in _AMOUNT.finditer(shown):
        if _GIVES.match(shown, match.end()):
            yield _amount(match), match[0].strip()
