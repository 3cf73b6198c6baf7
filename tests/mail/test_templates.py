"""Folders of templates: found, chosen by locale, rendered, hashed."""

import email
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from toolkit.errors import TemplateError
from toolkit.mail import PREVIEW_UNSUBSCRIBE, Letter, Templates, offer_values
from toolkit.scenario.duration import Duration
from toolkit.scenario.models import Brand, Offer, Policies, Sender

Load = Callable[..., Templates]
Make = Callable[..., Letter]
HEAD = "subject: Bonjour\npreheader: Un mot\n---\n"
FRENCH = HEAD + "Le {{ now | date }}, {{ event.value | money }}\n"
PAGE = "<mjml><mj-body><mj-section><mj-column><mj-text>{}</mj-text></mj-column></mj-section></mj-body></mjml>"


def test_an_undefined_variable_names_file_line_the_variable_and_the_nearest(templates: Load, letter: Make) -> None:
    loaded = templates("one\n\n<b>\n{{ customer.frist_name }}</b>")
    with pytest.raises(TemplateError) as caught:
        loaded.render(letter())
    assert len(caught.value.faults) == 1
    assert str(caught.value).startswith(
        "shop/mail.mjml:4: undefined variable; found 'customer.frist_name'; allowed: a value of this customer"
    )
    assert str(caught.value).endswith("did you mean 'customer.first_name'?")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("subject: {{ event.nothing }}\npreheader: x\n---\nHi", 1),
        ("subject: x\npreheader: {{ event.nothing }}\n---\nHi", 2),
        ("subject: x\npreheader: x\n---\n\nHi\n{% if event.value > 1 %}\n{{ event.nothing }}{% endif %}", 7),
        ("subject: x\npreheader: x\n---\n{{ event.value\n  | money }}\n{{ event.nothing.deeper }}", 6),
        ("subject: x\npreheader: x\n---\n{% for one in event.nothing %}x{% endfor %}", 4),
        ("subject: x\npreheader: x\n---\n{% if event.nothing %}x{% endif %}", 4),
        ("subject: x\npreheader: x\n---\n{{ event.nothing + 1 }}", 4),
        ("subject: x\npreheader: x\n---\n{{ event.nothing ~ 'x' }}", 4),
        ("subject: x\npreheader: x\n---\n{{ event['nothing'] | upper }}", 4),
    ],
)
def test_wherever_it_stands_the_line_is_the_authors(text: str, line: int, templates: Load, letter: Make) -> None:
    with pytest.raises(TemplateError, match=rf"^shop/mail\.txt:{line}: undefined variable.*event\.nothing"):
        templates(text=text).render(letter())


def test_a_filter_that_cannot_use_its_value_is_named_with_its_line(templates: Load, letter: Make) -> None:
    with pytest.raises(TemplateError, match=r"shop/mail\.txt:5: expected a number; found 'forty'"):
        templates(text="x\n{{ event.value | money }}").render(letter(event={"value": "forty"}))


@pytest.mark.parametrize("pattern", ["DD/MM/YYYY", "d MMMM YYYY", "dd/mm/yyyy", "d MMMM HH:mm", "hh a"])
def test_a_pattern_that_would_show_another_date_is_refused(pattern: str, templates: Load, letter: Make) -> None:
    with pytest.raises(TemplateError, match="a date has d, M, y and E"):
        templates(f'{{{{ now | date("{pattern}") }}}}').render(letter())


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("DD.MM.YYYY", "dd.MM.yyyy"),
        ("TT.MM.JJJJ", "dd.MM.yyyy"),
        ("dd/mm/yyyy", "dd/MM/yyyy"),
        ("%d.%m.%Y", "dd.MM.yyyy"),
        ("%A, %-d. %B", "EEEE, d. MMMM"),
        ("hh a", None),
    ],
)
def test_a_pattern_in_other_letters_is_named_with_the_right_one(
    pattern: str, meant: str | None, templates: Load, letter: Make
) -> None:
    with pytest.raises(TemplateError) as caught:
        templates(f'{{{{ now | date("{pattern}") }}}}').render(letter())
    assert caught.value.faults[0].nearest == meant


@pytest.mark.parametrize(
    ("said", "near"),
    [
        ("{{ first_name }}", "customer.first_name"),
        ("{{ Vorname }}", "customer.first_name"),
        ("{{ costumer.first_name }}", "customer"),
        ("{{ event.value | round(2) }}", "number"),
        ("{{ event.value | currency }}", "money"),
        ("{{ now | strftime }}", "date"),
        ("{{ customer.first_name | capitalise }}", "capitalize"),
    ],
)
def test_a_word_of_another_tool_is_named_with_ours(said: str, near: str, templates: Load) -> None:
    with pytest.raises(TemplateError) as caught:
        templates("x", f"{said}\n")
    assert [fault.nearest for fault in caught.value.faults] == [near]


def test_tags_of_another_tool_are_all_told_at_once_with_what_to_write(templates: Load) -> None:
    with pytest.raises(TemplateError) as caught:
        templates("x", "Hi {{ first_name | default: 'you' }}\n{% assign a = 1 %}\n{% unless a %}b{% endunless %}\n")
    assert [(fault.line, fault.allowed) for fault in caught.value.faults] == [
        (4, "jinja: {{ customer.first_name | default('you') }}"),
        (5, "jinja: {% set a = 1 %}"),
        (6, "jinja: {% if not a %}"),
        (6, "jinja: {% endif %}"),
    ]


def test_what_only_looks_like_another_tool_inside_of_quotes_is_jinja(templates: Load, letter: Make) -> None:
    loaded = templates("x", """{{ customer.nick | default("a | b: {% unless %}") }}\n""")
    assert loaded.render(letter()).text == "a | b: {% unless %}\n"


@pytest.mark.parametrize(
    ("pattern", "shown"),
    [("dd/MM/yyyy", "01/03/2026"), ("EEE d. MMM yy", "Sun 1. Mar 26"), ("d 'Days of' LLLL", "1 Days of March")],
)
def test_a_pattern_of_a_day_shows_it(pattern: str, shown: str, templates: Load, letter: Make) -> None:
    assert templates("x", f'{{{{ now | date("{pattern}") }}}}\n').render(letter()).text == f"{shown}\n"


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ('{% if event.value > "3" %}x{% endif %}', "a number and a text cannot be compared"),
        ("{{ event.value / 0 }}", "a division by zero"),
        ("{% for one in event.value %}x{% endfor %}", "for goes through a list, and this is none"),
    ],
)
def test_what_goes_wrong_in_a_template_is_told_in_words_of_no_python(
    tag: str, said: str, templates: Load, letter: Make
) -> None:
    with pytest.raises(TemplateError, match=rf"shop/mail\.mjml:1: {said}"):
        templates(tag).render(letter())


def test_the_offer_is_there_only_where_the_step_has_one(templates: Load, letter: Make) -> None:
    text = "{% if offer.percent is defined %}{{ offer.percent | percent }}{% else %}nothing{% endif %}"
    assert templates(text=text).render(letter()).text == "nothing\n"
    assert templates(text=text).render(letter(offer={"percent": 10})).text == "10%\n"
    with pytest.raises(TemplateError, match="this step has no offer"):
        templates(text="{{ offer.percent }}").render(letter())


def test_a_transactional_mail_has_neither_unsubscribe_nor_offer(templates: Load, letter: Make) -> None:
    loaded = templates(text="{{ unsubscribe }}")
    assert loaded.render(letter()).text.strip() == PREVIEW_UNSUBSCRIBE
    with pytest.raises(TemplateError, match="neither unsubscribe nor offer"):
        loaded.render(letter(class_="transactional"))
    with pytest.raises(TemplateError, match="R19"):
        letter(class_="transactional", offer={"percent": 10})


def test_money_numbers_and_dates_follow_the_customers_locale_and_zone(templates: Load, letter: Make) -> None:
    text = "{{ event.value | money }} {{ 1234.5 | number }} {{ 1234.5 | number(2) }} {{ now | date }} {{ now | time }}"
    text += " {{ 10 | percent }}"
    at = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    loaded = templates(
        text=text,
        mail__fr__mjml=PAGE.format("Salut"),
        mail__fr__txt=HEAD + text,
    )
    english = loaded.render(letter(at=at, locale="en_US")).text
    french = loaded.render(letter(at=at, locale="fr_FR")).text
    assert english == "€40.00 1,234.5 1,234.50 March 2, 2026 12:30\u202fAM 10%\n"
    assert french == "40,00\xa0€ 1\u202f234,5 1\u202f234,50 2 mars 2026 00:30 10\xa0%\n"


def test_the_locale_chooses_the_translation_and_falls_back_to_the_own_one(templates: Load, letter: Make) -> None:
    loaded = templates(
        text="{{ now | date }}",
        mail__fr__mjml=PAGE.format("Salut"),
        mail__fr__txt=FRENCH,
        mail__fr_CA__mjml=PAGE.format("Allô"),
        mail__fr_CA__txt=FRENCH.replace("Bonjour", "Allô"),
    )
    assert loaded.locales("shop/mail") == (None, "fr", "fr_CA")
    subjects = {
        one: loaded.render(letter(locale=one)).subject
        for one in ("fr", "fr_FR", "fr-BE", "fr_CA", "en", "de", "", "xx")
    }
    assert subjects == {"fr": "Bonjour", "fr_FR": "Bonjour", "fr-BE": "Bonjour", "fr_CA": "Allô",
                        "en": "Hello", "de": "Hello", "": "Hello", "xx": "Hello"}  # fmt: skip
    # An English text with a German date in it would read like a mistake.
    assert loaded.render(letter(locale="de")).text == "March 1, 2026\n"
    assert loaded.fell_back("shop/mail", "de")
    assert not loaded.fell_back("shop/mail", "en_GB")


def test_an_unknown_template_names_the_nearest(templates: Load, letter: Make) -> None:
    with pytest.raises(TemplateError, match=r"no such template; found 'shop/mial'; .*did you mean 'shop/mail'"):
        templates().render(letter(template="shop/mial"))


def test_no_such_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="no such folder"):
        Templates.load(tmp_path / "nowhere", Policies())


@pytest.mark.parametrize("file", ["scenario__yaml", "scenario__yml"])
def test_the_folder_of_one_scenario_loads_with_the_names_of_the_whole(file: str, folder: Callable[..., Path]) -> None:
    root = folder(**{file: "scenario: shop"})
    assert Templates.load(root / "shop", Policies()).names == ("shop/mail",)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"mail.txt": "Hello"}, r"mail\.txt:1: expected subject: and preheader:"),
        ({"mail.txt": "subjet: x\npreheader: y\n---\n"}, r"mail\.txt:1.*did you mean 'subject'"),
        ({"mail.txt": "subject: x\n---\nHi"}, "preheader: is missing"),
        ({"mail.txt": "subject: x\npreheader: y\nHi"}, r"mail\.txt:3: expected"),
        ({"lonely.mjml": "<mjml></mjml>"}, r"lonely\.mjml: a mail needs its subject and text part"),
        ({"mail.french.mjml": "<mjml></mjml>", "mail.french.txt": "x"}, "expected a locale"),
        ({"bad-name.mjml": "<mjml></mjml>", "bad-name.txt": "x"}, "letters, digits and _"),
        ({"other.fr.mjml": PAGE, "other.fr.txt": FRENCH}, "a translation without the mail it translates"),
    ],
)
def test_files_that_do_not_make_a_mail_are_named(
    files: dict[str, str], message: str, folder: Callable[..., Path]
) -> None:
    root = folder()
    for name, content in files.items():
        (root / "shop" / name).write_text(content, encoding="utf-8")
    with pytest.raises(TemplateError, match=message):
        Templates.load(root, Policies())


def test_a_file_that_is_not_utf8_is_named_with_its_line(folder: Callable[..., Path]) -> None:
    root = folder()
    (root / "shop" / "mail.txt").write_bytes(b"subject: x\npreheader: caf\xe9\n---\n")
    with pytest.raises(TemplateError, match=r"mail\.txt:2: the file is not UTF-8"):
        Templates.load(root, Policies())


def test_a_changed_byte_anywhere_changes_the_hash(folder: Callable[..., Path]) -> None:
    files = {"_part__mjml": "<b>part</b>", "mail__fr__mjml": PAGE.format("x"), "mail__fr__txt": FRENCH}
    root = folder('{% include "shop/_part.mjml" %} {{ brand.name }}', **files)
    policies = Policies(brand=Brand(name="Maison Lune"))
    first = Templates.load(root, policies).hashes
    assert Templates.load(root, policies).hashes == first
    seen = {first["shop/mail"]}
    for path in sorted((root / "shop").iterdir()):
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        seen.add(Templates.load(root, policies).hashes["shop/mail"])
        path.write_bytes(content)
    seen.add(Templates.load(root, Policies(brand=Brand(name="Maison Lunx"))).hashes["shop/mail"])
    assert len(seen) == 7


def test_the_hash_does_not_depend_on_where_the_folder_stands(folder: Callable[..., Path], tmp_path: Path) -> None:
    first = Templates.load(folder("Hello"), Policies())
    moved = tmp_path.parent / (tmp_path.name + "_moved")
    tmp_path.rename(moved)
    assert Templates.load(moved, Policies()).hashes == first.hashes


def test_a_message_is_deterministic_and_has_the_headers_of_its_class(templates: Load, letter: Make) -> None:
    loaded = templates('Hello <a href="{{ unsubscribe }}">out</a>', "Hello {{ unsubscribe }}")
    link = "https://example.org/u/t0ken"
    message = loaded.message(letter(), message_id="d1@example.com", unsubscribe_url=link)
    assert message == loaded.message(letter(), message_id="d1@example.com", unsubscribe_url=link)
    assert b"List-Unsubscribe: <https://example.org/u/t0ken>\r\n" in message
    assert b"Feedback-ID: shop:mail:marketing:maisonlune\r\n" in message
    plain = templates().message(letter(class_="transactional"), message_id="d1@example.com")
    assert b"List-" not in plain
    assert b"Auto-Submitted: auto-generated\r\n" in plain


def test_an_unsubscribe_link_is_demanded_in_marketing_and_refused_in_transactional(
    templates: Load, letter: Make
) -> None:
    with pytest.raises(TemplateError, match="needs unsubscribe_url"):
        templates().message(letter(), message_id="d1@example.com")
    with pytest.raises(TemplateError, match="has no unsubscribe_url"):
        templates().message(
            letter(class_="transactional"), message_id="d1@example.com", unsubscribe_url="https://example.org/u"
        )


def test_without_a_sender_there_is_no_message(templates: Load, letter: Make) -> None:
    with pytest.raises(TemplateError, match="no sender"):
        templates(policies=Policies()).message(letter(class_="transactional"), message_id="d1@example.com")


@pytest.mark.parametrize("line_break", ["\r\n", "\n", "\r", "\x0b", "\x85", "\u2028"])
def test_a_name_with_line_breaks_cannot_leave_the_subject_and_holds_nobody_up(
    line_break: str, templates: Load, letter: Make
) -> None:
    loaded = templates(text="subject: Hello {{ customer.first_name }}\npreheader: x\n---\nx")
    hostile = letter(class_="transactional", customer={"first_name": f"Ana{line_break}Bcc: eve@example.org"})
    read = email.message_from_bytes(loaded.message(hostile, message_id="d1@example.com"))
    assert read["Subject"] == "Hello Ana Bcc: eve@example.org"
    assert read["Bcc"] is None


def test_a_subject_that_carries_a_line_break_through_all_the_same_is_not_written(templates: Load, letter: Make) -> None:
    loaded, one = templates(), letter(class_="transactional")
    mail = replace(loaded.render(one), subject="Hello Ana\r\nBcc: eve@example.org")
    with pytest.raises(TemplateError, match="Subject cannot be written"):
        loaded.write(mail, one, message_id="d1@example.com")


def test_every_name_in_the_world_can_be_greeted(templates: Load, letter: Make) -> None:
    text = "subject: Hello {{ customer.first_name }}\npreheader: x\n---\nHello {{ customer.first_name }}"
    loaded = templates(
        "Hello {{ customer.first_name }}", text, policies=Policies(sender=Sender(name="Ö, ü", email="a@example.com"))
    )
    for name in (
        "Zoë",
        "李小龍",
        "Ольга",
        "محمد",
        "Søren 🎈",
        "O'Brien",
        "Nguyễn Thị Minh",
        "<Ana>",
        'A "B" C',
        "{{ x }}",
        "%s",
    ):
        mail = loaded.render(letter(customer={"first_name": name}, class_="transactional"))
        assert mail.subject == f"Hello {name}"
        assert mail.text == f"Hello {name}\n"
        assert loaded.message(letter(customer={"first_name": name}, class_="transactional"), message_id="d@example.com")


def test_an_offer_ends_at_the_same_local_time_across_a_change_of_clocks() -> None:
    at = datetime(2026, 3, 28, 9, tzinfo=UTC)
    paris = ZoneInfo("Europe/Paris")
    by_days = offer_values(Offer(percent=10, valid=Duration.parse("2d")), at=at, zone=paris)
    by_hours = offer_values(Offer(percent=10, valid=Duration.parse("48h")), at=at, zone=paris)
    assert by_days["valid_until"] == datetime(2026, 3, 30, 8, tzinfo=UTC)
    assert by_hours["valid_until"] == datetime(2026, 3, 30, 9, tzinfo=UTC)


def test_an_offer_gives_what_it_has_and_the_customers_own_code() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    offer = Offer(amount=5.5, minimum=30, free_shipping=True, code="ALL")
    assert offer_values(offer, at=at, code="OWN-1", currency="EUR") == {
        "amount": 5.5, "minimum": 30, "currency": "EUR", "free_shipping": True, "code": "OWN-1",
    }  # fmt: skip


def test_a_least_purchase_alone_is_money_and_a_share_is_none() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    assert offer_values(Offer(percent=10, minimum=30), at=at, currency="EUR")["currency"] == "EUR"
    assert "currency" not in offer_values(Offer(percent=10), at=at, currency="EUR")


def test_a_fault_survives_the_way_from_a_worker_process(templates: Load, letter: Make) -> None:
    with pytest.raises(TemplateError) as caught:
        templates("{{ customer.nothing }}").render(letter())
    assert pickle.loads(pickle.dumps(caught.value)).faults == caught.value.faults
