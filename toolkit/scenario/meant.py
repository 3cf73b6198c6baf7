"""What was probably meant: words of other tools, and values as people write them, in the language's own form."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from toolkit.errors import nearest

__all__ = ["as_name", "as_number", "as_template", "key_meant"]

# What other tools call it, and what it is called here; of several the first that the place allows.
_OTHER_WORDS: dict[str, tuple[str, ...]] = {
    word: meant
    for words, meant in (
        ("delay sleep timer", ("wait", "postpone")),
        ("wait_until until", ("wait_for", "wait", "within")),
        ("email mail message send_email send_mail template action", ("send", "email")),
        ("if condition decision filter conditional_split switch", ("branch", "audience", "where")),
        ("ab_test test random random_split variants", ("split", "experiment")),
        ("loop", ("repeat",)),
        ("stop end", ("exit", "exit_on")),
        ("name title flow journey campaign automation", ("scenario",)),
        ("type", ("class",)),
        ("entry start on when", ("trigger",)),
        ("conditions segment list who", ("audience", "where")),
        ("exit_if exit_when stop_on cancel_on ends_on", ("exit_on",)),
        ("conversion success", ("goal",)),
        ("holdout control_group arms", ("experiment",)),
        ("actions sequence workflow emails mails messages", ("steps", "send")),
        ("frequency reenter re_entry", ("reentry",)),
        ("coupon discount voucher promo promotion", ("offer",)),
        ("expires expiry expires_in validity valid_for valid_until", ("valid",)),
        ("max count times", ("limit", "at_least")),
        ("period window every", ("per", "within")),
        ("language lang", ("locale",)),
        ("tz", ("timezone",)),
        ("silence night do_not_disturb", ("quiet",)),
        ("limits frequency_cap frequency_caps", ("caps",)),
        ("from address", ("email",)),
        ("never no single one_time", ("once",)),
        ("always unlimited multiple", ("every", "parallel")),
        ("annual annually", ("year",)),
        ("cancel reset", ("restart",)),
        ("montag lundi", ("mon",)),
        ("dienstag di mardi", ("tue",)),
        ("mittwoch mi mercredi", ("wed",)),
        ("donnerstag do jeudi", ("thu",)),
        ("freitag vendredi", ("fri",)),
        ("samstag sonnabend samedi", ("sat",)),
        ("sonntag dimanche", ("sun",)),
    )
    for word in words.split()
}
_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "œ": "oe", "æ": "ae"}
)
_CURRENCY = r"(?:[€$£]|EUR|USD|GBP|CHF)"
_NUMBER = re.compile(rf"{_CURRENCY}?\s*(\d+(?:[.,]\d{{1,2}})?)\s*{_CURRENCY}?", re.IGNORECASE)


def key_meant(word: str, allowed: Collection[str]) -> str | None:
    """The word of the language that another tool's word, or a misspelt one, stands for; None where none is close.

    >>> key_meant("delay", ["wait", "send"]), key_meant("sned", ["wait", "send"]), key_meant("blue", ["wait"])
    ('wait', 'send', None)
    """
    near = nearest(word, allowed)
    for meant in _OTHER_WORDS.get(re.sub(r"[\s-]", "_", word.casefold()), ()):
        if meant in allowed:
            return meant
    return near


def as_name(text: str) -> str | None:
    """A name in the letters that names have here; None where nothing is left of it.

    >>> as_name("Warenkorb-Größe"), as_name("panier abandonné"), as_name("2 Mails")
    ('Warenkorb_Groesse', 'panier_abandonne', None)
    """
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFC", text).translate(_LETTERS))
    name = re.sub(r"_{2,}", "_", re.sub(r"[\s./-]+", "_", plain))
    name = re.sub(r"[^A-Za-z0-9_]", "", name).strip("_")
    return name[:64] if re.match("[A-Za-z]", name) and name != text else None


def as_template(text: str) -> str | None:
    """The name of a mail as `send` writes it.

    >>> as_template("cart/reminder.mjml"), as_template("Warenkorb/Erinnerung 1")
    ('cart/reminder', 'Warenkorb/Erinnerung_1')
    """
    parts = [part for part in re.sub(r"\.(?:mjml|txt|html)$", "", text).replace("\\", "/").split("/") if part]
    names = [part if re.fullmatch(r"[A-Za-z0-9_]+", part) else as_name(part) for part in parts]
    found = "/".join(name for name in names if name)
    return found if found and None not in names and found != text else None


def as_number(text: str) -> str | None:
    """A number that stands beside a currency, with a comma, or in quotes.

    >>> as_number("5€"), as_number("19,90"), as_number("five")
    ('5', '19.9', None)
    """
    match = _NUMBER.fullmatch(text.strip())
    return f"{float(match[1].replace(',', '.')):g}" if match else None
