"""What the html of a mail says beyond its looks: headings, and the direction of its language."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from babel import Locale

from tests.mail.conftest import LIBRARY, MJML, TEXT
from toolkit.mail import Letter, Templates
from toolkit.mail.semantics import with_headings, with_language
from toolkit.scenario.models import Policies, Program

Load = Callable[..., Templates]
Make = Callable[..., Letter]


def test_a_text_of_class_h1_is_a_headline_and_keeps_its_looks(templates: Load, letter: Make) -> None:
    body = MJML.format(
        '<mj-text css-class="big h1" color="#ff0000" font-size="30px">A <div>b</div> {{ event.value }}</mj-text>'
        '<mj-text css-class="h2" font-weight="700">C</mj-text><mj-text css-class="h12">D</mj-text>'
    )
    html = templates(body).render(letter()).html
    headline = re.search(r'<h1 style="([^"]*)">(.*?)</h1></td>', html)
    assert headline is not None
    assert headline[2] == "A <div>b</div> 40"
    assert {"margin:0", "font-weight:400", "font-size:30px", "color:#ff0000"} <= set(headline[1].split(";"))
    second = re.search(r'<h2 style="([^"]*)">C</h2></td>', html)
    assert second is not None
    assert re.findall("font-weight:[^;]*", second[1]) == ["font-weight:700"]
    assert ">D</div></td>" in html
    assert html.count("<div") == html.count("</div>")


def test_html_that_only_looks_like_a_text_stays_as_it_is() -> None:
    for html in (
        '<td class="h1">Hello</td>',
        '<td class="h1"><div style="a">not closed',
        '<td class="h9"><div style="a">Hello</div></td>',
    ):
        assert with_headings(html) == html


def test_every_shipped_mail_has_one_headline(library: Templates) -> None:
    for name in library.names:
        html = library.render(library.sample(name)).html
        levels = re.findall(r"<h([1-6])\b", html)
        assert levels[0] == "1", name
        assert set(levels[1:]) <= {"2"}, name


@pytest.mark.parametrize(
    ("locale", "direction"), [("en", "ltr"), ("ar", "rtl"), ("he_IL", "rtl"), ("fa", "rtl"), ("xx", "ltr")]
)
def test_the_direction_is_that_of_the_language_and_not_of_the_first_letter(
    locale: str, direction: str, templates: Load, letter: Make, folder: Any
) -> None:
    page = MJML.format("<mj-text>Hello {{ customer.first_name }}</mj-text>")
    loaded = templates(page, **{f"mail__{locale}__mjml": page, f"mail__{locale}__txt": TEXT + "x"})
    variant = next(one for one in loaded.variants("shop/mail") if one.locale == locale)
    assert re.findall(r'\sdir="(\w+)"', variant.html.source) == [direction, direction]
    language = "und" if locale == "xx" else locale.replace("_", "-")
    assert re.findall(r'\slang="([\w-]+)"', variant.html.source) == [language, language]
    assert ("text-align:right" in variant.html.source) == (direction == "rtl")


def test_a_layout_that_names_its_direction_is_left_alone(templates: Load, letter: Make) -> None:
    page = MJML.format('<mj-text align="right">Hello</mj-text>').replace("<mjml>", '<mjml dir="rtl">')
    html = templates(page, policies=Policies(locale="ar")).render(letter(locale="ar")).html
    assert '<html lang="ar" dir="rtl"' in html
    assert "text-align:right" in html


def test_left_and_right_change_places_and_nothing_else_does() -> None:
    css = {
        "padding:1px 2px 3px 4px;": "padding:1px 4px 3px 2px;",
        "margin: 0 auto;": "margin: 0 auto;",
        "border-radius:1px 2px 3px 4px;": "border-radius:2px 1px 4px 3px;",
        "padding-left:3px;": "padding-right:3px;",
        "text-align: right;": "text-align: left;",
        "float:left": "float:right",
        "direction:ltr;": "direction:rtl;",
        "border-top-left-radius:3px": "border-top-right-radius:3px",
        "background:linear-gradient(to right, red, blue)": "background:linear-gradient(to right, red, blue)",
        "font-family:Copyright;": "font-family:Copyright;",
    }
    for before, after in css.items():
        html = f'<p style="{before}">left right</p><style>.pull-left:hover {{ {before} }}</style>'
        expected = f'<p style="{after}">left right</p><style>.pull-left:hover {{ {after} }}</style>'
        assert with_language(html, Locale("he")) == expected
        assert with_language(html, Locale("en")) == html
    assert with_language('<td align="left"><img align="left">', Locale("he")) == '<td align="right"><img align="left">'


def test_words_in_arabic_are_all_that_a_shipped_mail_needs(tmp_path: Path, library_program: Program) -> None:
    for folder in ("brand", "order_placed"):
        (tmp_path / folder).mkdir()
        for file in (LIBRARY / folder).iterdir():
            (tmp_path / folder / file.name).write_bytes(file.read_bytes())
    words = "[placed]\nheadline: شكرا لطلبك.\nsubject: الطلب {{ event.order_id }}\n"
    (tmp_path / "order_placed" / "words.ar.txt").write_text(words, encoding="utf-8")
    mails = Templates.load(tmp_path, library_program.policies)
    html = {locale: mails.render(mails.sample("order_placed/placed", locale=locale)).html for locale in ("ar", "en")}
    assert '<html lang="ar" dir="rtl"' in html["ar"]
    assert 'dir="ltr"' not in html["ar"]
    assert html["ar"].count("text-align:right") == html["en"].count("text-align:left")
    assert html["ar"].count('align="left"') == html["en"].count('align="right"') > 0
    assert "direction:ltr" not in html["ar"]
