"""Mails rendered and built: beside jinja2 with EmailMessage; and the preflight of a large batch, in seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import jinja2
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal, format_percent

from benchmarks.measuring import Result, compare
from toolkit.mail import Letter, Templates, preflight
from toolkit.scenario import load

__all__ = ["mail_preflight", "mail_vs_stdlib"]

FOLDER = Path(__file__).parents[1] / "templates"
MAIL = "abandoned_cart/offer"
LINK = "https://shop.example.com/u/{}"
PRODUCTS = ("Washed linen duvet cover", "Lampe de chevet en chêne", "Couverture longue", "Bedside reading lamp")


def letters(templates: Templates, count: int, name: str = MAIL) -> list[Letter]:
    """Different people, carts and amounts; every tenth reads French."""
    sample = templates.sample(name)
    return [
        replace(
            sample,
            decision_id=f"d{number}",
            to=f"customer{number}@example.org",
            customer={"first_name": f"Zoé {number}", "timezone": "Europe/Paris"},
            event={"product_name": PRODUCTS[number % 4], "value": 40 + number % 997 / 10, "quantity": 1 + number % 3},
            locale="fr" if number % 10 == 0 else "en",
            at=sample.at + timedelta(seconds=number),
        )
        for number in range(count)
    ]


class Peer:
    """What one writes first: jinja2 with autoescape and Babel, compiled once, and the standard library's message."""

    def __init__(self, templates: Templates, name: str = MAIL) -> None:
        self.policies = templates.policies
        self.brand = self.policies.brand.model_dump(exclude_none=True) if self.policies.brand else {}
        self.parts = {}
        for variant in templates.variants(name):
            for part in ("subject", "preheader", "html", "text"):
                environment = jinja2.Environment(autoescape=part == "html", undefined=jinja2.StrictUndefined)
                environment.filters.update(money=_money, number=_number, percent=_percent, date=_date)
                environment.globals["link"] = _link
                source = getattr(variant, part).source
                self.parts[variant.locale, part] = environment.from_string(source)
        self.locales = [variant.locale for variant in templates.variants(name)]

    def build(self, letter: Letter) -> bytes:
        """The bytes of one letter's mail."""
        language = letter.locale if letter.locale in self.locales else self.locales[0]
        url = LINK.format(letter.decision_id)
        values: dict[str, Any] = {
            "customer": letter.customer,
            "event": letter.event,
            "offer": letter.offer,
            "brand": self.brand,
            "sender": {"name": "Maison Lune"},
            "locale": letter.locale,
            "now": letter.at,
            "unsubscribe": url,
        }
        values["subject"] = subject = self.parts[language, "subject"].render(values)
        values["preheader"] = self.parts[language, "preheader"].render(values)
        message = EmailMessage(policy=SMTP)
        message["From"] = "Maison Lune <hello@example.com>"
        message["To"] = letter.to
        message["Subject"] = " ".join(subject.split())
        message["Date"] = format_datetime(letter.at)
        message["Message-ID"] = f"<{letter.decision_id}@example.com>"
        message["List-Unsubscribe"] = f"<{url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(self.parts[language, "text"].render(values))
        message.add_alternative(self.parts[language, "html"].render(values), subtype="html")
        return message.as_bytes()


@jinja2.pass_context
def _money(context: Any, value: float) -> str:
    return format_currency(value, "EUR", locale=context["locale"])


@jinja2.pass_context
def _number(context: Any, value: float) -> str:
    return format_decimal(value, locale=context["locale"])


@jinja2.pass_context
def _percent(context: Any, value: float) -> str:
    return format_percent(value / 100, locale=context["locale"])


@jinja2.pass_context
def _date(context: Any, value: Any, style: str = "long") -> str:
    return format_date(value, format=style, locale=context["locale"])


def _link(url: str, **query: Any) -> str:
    return url + ("?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else "")


def mail_vs_stdlib() -> Iterator[Result]:
    """1,000 mails of the abandoned cart's offer, rendered and built."""
    program = load(FOLDER)
    templates = Templates.load(FOLDER, program.policies)
    batch = letters(templates, 1_000)
    peer = Peer(templates)

    def ours() -> None:
        for letter in batch:
            name = f"{letter.decision_id}@example.com"
            templates.message(letter, message_id=name, unsubscribe_url=LINK.format(letter.decision_id))

    def theirs() -> None:
        for letter in batch:
            peer.build(letter)

    result = compare("mail_vs_stdlib", "1,000 mails", ours=ours, peer="jinja2 + EmailMessage", theirs=theirs, runs=3)
    yield replace(result, more={"mails_per_s": round(len(batch) / result.ours_s)})


def mail_preflight() -> Iterator[Result]:
    """100,000 recipients rendered, checked and written, beside the 60 seconds that are allowed."""
    program = load(FOLDER)
    templates = Templates.load(FOLDER, program.policies)
    batch = letters(templates, 100_000)
    size = 0

    def receive(_number: int, _subject: str, message: bytes) -> None:
        nonlocal size
        size += len(message)

    start = time.perf_counter()
    checked = preflight(
        templates,
        batch,
        program=program,
        progress=False,
        unsubscribe=lambda letter: LINK.format(letter.decision_id),
        message_id=lambda letter: f"{letter.decision_id}@example.com",
        receive=receive,
    )
    took = time.perf_counter() - start
    more = {"findings": len(checked.findings), "megabytes": round(size / 1e6), "mails_per_s": round(len(batch) / took)}
    yield Result("mail_preflight", "100,000 recipients", took, "allowed", 60.0, more)
