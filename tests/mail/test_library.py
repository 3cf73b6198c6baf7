"""The shipped mails: they render for full and for scant data, agree with their scenarios, and fit a phone."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.mail.conftest import LIBRARY
from toolkit.engine import replay
from toolkit.errors import TemplateError
from toolkit.events import EventLog
from toolkit.mail import Letter, Templates, preflight
from toolkit.scenario import load
from toolkit.scenario.models import Program

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NAMES = [
    "abandoned_cart/offer",
    "abandoned_cart/reminder",
    "balance_topped_up/topped_up",
    "birthday/gift",
    "browse_abandonment/reminder",
    "cart_last_call/last_call",
    "order_placed/placed",
    "order_status/shipped",
    "password_changed/changed",
    "payment_received/received",
    "post_purchase/review",
    "reactivation/farewell",
    "reactivation/missed",
    "reactivation/offer",
    "refund/refunded",
    "registration_confirmed/confirmed",
    "replenishment/again",
    "welcome/favourites",
    "welcome/first_order",
    "welcome/hello",
]
STEPS = {
    "abandoned_cart/offer": "offer",
    "birthday/gift": "gift",
    "cart_last_call/last_call": "last_call",
    "reactivation/offer": "offer",
    "welcome/first_order": "first_order",
}
LOCALES = ("en", "fr")


def sample(library: Templates, name: str, locale: str | None = None) -> Letter:
    return library.sample(name, locale=locale)


def test_the_library_has_the_mails_its_scenarios_send(library: Templates, library_program: Program) -> None:
    assert list(library.names) == NAMES
    sent = {step.send for scenario in library_program.scenarios for step in scenario.steps if hasattr(step, "send")}
    assert sent == set(NAMES)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("name", NAMES)
def test_every_mail_passes_the_preflight_with_its_sample(
    name: str, locale: str, library: Templates, library_program: Program
) -> None:
    assert preflight(library, [sample(library, name, locale)], program=library_program).findings == ()


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("name", NAMES)
def test_every_mail_renders_for_a_customer_we_know_little_of(
    name: str, locale: str, library: Templates, library_program: Program
) -> None:
    full = sample(library, name, locale)
    needed = {key: value for key, value in full.event.items() if key in ("value", "order_id")}
    offer = {key: value for key, value in (full.offer or {}).items() if key != "valid_until"} or None
    scant = replace(full, customer={"first_name": None}, event=needed, offer=offer)
    assert preflight(library, [scant], program=library_program).findings == ()
    mail = library.render(scant)
    assert not re.search(
        r"\bNone\b|\bnan\b|  |, [,.]|Hello ,|Bonjour ,|\]\(|\*\*", mail.subject + mail.preheader + mail.text
    )


@pytest.mark.parametrize("name", sorted(STEPS))
@pytest.mark.parametrize(
    ("offer", "words"),
    [
        ({"percent": 12.5}, "12.5% off"),
        ({"amount": 5, "currency": "EUR"}, "€5.00 off"),
        ({"free_shipping": True}, "free delivery"),
    ],
)
def test_a_mail_with_an_offer_says_whatever_offer_the_scenario_makes(
    name: str, offer: dict[str, Any], words: str, library: Templates
) -> None:
    mail = library.render(replace(sample(library, name), offer=offer))
    assert words in mail.subject
    assert words in mail.text


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("name", sorted(STEPS))
def test_a_mail_with_an_offer_promises_nothing_where_there_is_none(name: str, locale: str, library: Templates) -> None:
    with pytest.raises(TemplateError, match="this step has no offer"):
        library.render(replace(sample(library, name, locale), offer=None))


@pytest.mark.parametrize("name", NAMES)
def test_marketing_has_one_button_and_an_unsubscribe_and_transactional_has_none(name: str, library: Templates) -> None:
    letter = sample(library, name)
    mail = library.render(letter, unsubscribe_url="https://example.org/u/t0ken")
    assert mail.html.count('role="presentation" valign="middle"') == 1
    expected = 1 if letter.class_ == "marketing" else 0
    assert mail.html.count("https://example.org/u/t0ken") == expected
    assert mail.text.count("https://example.org/u/t0ken") == expected


@pytest.mark.parametrize("name", NAMES)
def test_every_mail_is_written_in_french_and_english_to_the_last_word(name: str, library: Templates) -> None:
    english, french = (sample(library, name, locale) for locale in LOCALES)
    assert library.locales(name) == LOCALES
    assert library.untranslated(name, "fr_CA") == ()
    ours = set(re.findall(r"[a-zà-ÿ]{4,}", library.render(english).text.lower()))
    theirs = set(re.findall(r"[a-zà-ÿ]{4,}", library.render(french).text.lower()))
    shared = ours & theirs - {
        "https",
        "maison",
        "lune",
        "shop",
        "example",
        "paris",
        "linen",
        "lamps",
        "slow",
        "evenings",
    }
    assert len(shared) < 0.3 * len(ours), shared
    assert " ?" not in library.render(french).text  # a French sign never begins a line


@pytest.mark.parametrize("name", NAMES)
def test_no_mail_loads_anything_from_outside(name: str, library: Templates) -> None:
    html = library.render(sample(library, name)).html
    assert not re.search(r"<img|<link|<script|@import|url\(|@font-face", html)


@pytest.mark.parametrize("name", NAMES)
def test_every_mail_is_far_from_the_size_that_is_clipped(name: str, library: Templates) -> None:
    assert len(library.render(sample(library, name)).html.encode()) < 40_000


def test_an_order_says_its_lines_in_both_parts_where_the_event_has_them(library: Templates) -> None:
    letter = sample(library, "order_placed/placed")
    mail = library.render(letter)
    assert "- Washed linen duvet cover: €129.00\n- Cedar candle × 2: €28.00\n\nOrder: ML-20418\n" in mail.text
    assert re.search(r"Cedar candle\s×&nbsp;2</td><td[^>]*>€28.00</td>", mail.html)
    lines = [{"product_name": f"Cover {number}", "value": number} for number in range(50)]
    long = library.render(replace(letter, event={**letter.event, "lines": lines}))
    assert "- Cover 49: €49.00\n" in long.text
    assert len(long.html.encode()) < 60_000
    event = {"order_id": "A-1", "value": 3, "items": 2}
    assert "Order: A-1\nArticles: 2\nTotal: €3.00\n" in library.render(replace(letter, event=event)).text


def test_a_name_from_hell_is_only_a_name(library: Templates) -> None:
    letter = sample(library, "abandoned_cart/reminder")
    hostile = '</td></table><script>alert(1)</script><a href="javascript:x">{{ 7*7 }}'
    mail = library.render(
        replace(letter, customer={"first_name": hostile}, event={"value": 1, "product_name": hostile})
    )
    assert "<script" not in mail.html
    assert 'href="javascript' not in mail.html
    assert "49" not in mail.subject


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_real_browser_every_mail_fits_and_its_words_stand_out(
    scheme: str, browser: Any, library: Templates
) -> None:
    for width in (320, 600, 800):
        page = browser.new_page(viewport={"width": width, "height": 700}, color_scheme=scheme)
        for name in NAMES:
            for locale in LOCALES:
                page.set_content(library.render(sample(library, name, locale)).html)
                assert page.evaluate(OVERFLOW) <= 0, f"{name} in {locale} is wider than {width} px"
                assert page.evaluate(WEAK) == [], f"{name} in {locale}, {scheme}: words that are hard to read"
        page.close()


@pytest.mark.browser
def test_where_outlook_marks_what_it_darkens_words_stand_out(browser: Any, library: Templates) -> None:
    page = browser.new_page(viewport={"width": 600, "height": 700})
    for name in NAMES:
        page.set_content(library.render(sample(library, name)).html)
        page.evaluate(MARKED)
        assert page.evaluate(WEAK) == [], f"{name}: words that are hard to read"
    page.close()


@pytest.mark.browser
def test_long_words_a_logo_and_pictures_that_are_not_shown_still_fit_a_phone(
    browser: Any, library_program: Program
) -> None:
    brand = library_program.policies.brand
    assert brand is not None
    policies = library_program.policies.replace(brand=brand.replace(logo="https://cdn.example.com/logo.png"))
    dressed = Templates.load(LIBRARY, policies)
    program = library_program.replace(policies=policies)
    page = browser.new_page(viewport={"width": 320, "height": 700}, color_scheme="dark", offline=True)
    for name in NAMES:
        letter = sample(dressed, name, "fr")
        long = dict.fromkeys(("product_name", "method"), "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk")
        event = {**letter.event, **{key: long[key] for key in long if key in letter.event}, "order_id": "A" * 60}
        if "product_name" in letter.event:
            event["image_url"] = "https://cdn.example.com/cover.png"
        letter = replace(
            letter, event=event, customer={**letter.customer, "first_name": "Wolfeschlegelsteinhausen" * 2}
        )
        found = preflight(dressed, [letter], program=program).findings
        assert {one.rule for one in found} <= {"subject_long", "preheader_long"}, found
        page.set_content(dressed.render(letter).html)
        assert page.evaluate(OVERFLOW) <= 0, f"{name} is wider than a phone"
        assert page.locator("img[alt='Maison Lune']").count() == 1
    page.close()


# Outlook on the web and on phones marks what it recolours: words data-ogsc, grounds data-ogsb.
MARKED = """() => { for (const e of document.querySelectorAll('[style]')) {
  if (/(^|;)\\s*color:/.test(e.getAttribute('style'))) e.setAttribute('data-ogsc', '');
  if (/background/.test(e.getAttribute('style'))) e.setAttribute('data-ogsb', ''); } }"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Words with less contrast than WCAG AA asks (4.5, or 3 for large type), against the nearest painted background.
WEAK = """() => {
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const parse = s => (s.match(/[\\d.]+/g) || []).map(Number);
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
  const weak = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) { const node = walker.currentNode, e = node.parentElement;
    if (!node.textContent.trim() || !e.offsetParent || e.closest('[aria-hidden],[style*="display:none"]')) continue;
    const style = getComputedStyle(e); const a = light(parse(style.color).slice(0, 3)), b = light(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) weak.push(node.textContent.trim() + ' ' + ratio); }
  return weak; }"""


def test_every_scenario_of_the_library_finds_its_people_in_the_shipped_log() -> None:
    run = replay(load(LIBRARY), EventLog.open(LIBRARY.parent / "data" / "shop"))
    sent = run.decisions[run.decisions["status"] == "send"]
    assert sorted(sent["template"].unique()) == NAMES
    assert not [note for note in run.notes if "unknown" in note]


@pytest.mark.parametrize("name", NAMES)
def test_no_table_of_a_mail_is_read_out_as_rows_and_columns(name: str, library: Templates) -> None:
    tables = re.findall(r"<table\b[^>]*>", library.render(sample(library, name)).html)
    assert len(tables) > 20
    assert [table for table in tables if 'role="presentation"' not in table] == []


@pytest.mark.parametrize("locale", LOCALES)
def test_the_small_print_of_every_mail_links_to_a_legal_notice_where_the_brand_has_one(
    locale: str, library_program: Program
) -> None:
    link = "https://shop.example.com/imprint"
    brand = library_program.policies.brand
    assert brand is not None
    policies = library_program.policies.model_copy(update={"brand": brand.model_copy(update={"imprint": link})})
    program = library_program.model_copy(update={"policies": policies})
    mails = Templates.load(LIBRARY, policies)
    letters = [sample(mails, name, locale) for name in NAMES]
    assert preflight(mails, letters, program=program).findings == ()
    label = {"en": "Legal notice:", "fr": "Mentions légales\u00a0:"}[locale]
    for mail in map(mails.render, letters):
        assert f'href="{link}"' in mail.html
        assert f"{label} {link}\n\n" in mail.text
