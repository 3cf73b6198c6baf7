"""Templates of other tools are named placeholder by placeholder, with what to write here."""

from pathlib import Path

import pytest

from toolkit.errors import InputError
from toolkit.mail import import_hints
from toolkit.mail.foreign import instead_of
from toolkit.mail.source import Reader


@pytest.mark.parametrize(
    ("placeholder", "instead"),
    [
        ("{{#if order}}", "{% if event.order is defined %}"),
        ("{{#unless customer.vip}}", "{% if customer.vip is not defined %}"),
        ("{{#each items}}", "{% for one in event.items %}"),
        ("{{this.name}}", "{{ one.name }}"),
        ("{{else}}", "{% else %}"),
        ("{{/if}}", "{% endif %}"),
        ("{{/each}}", "{% endfor %}"),
        ("{{> footer}}", '{% include "brand/_footer.mjml" %}'),
        ("*|FNAME|*", '{{ customer.first_name | default("") }}'),
        ("*|IF:FNAME|*", "{% if customer.first_name is defined %}"),
        ("*|ELSE:|*", "{% else %}"),
        ("*|END:IF|*", "{% endif %}"),
        ("*|UNSUB|*", "{{ unsubscribe }}"),
        ("%%unsubscribe_url%%", "{{ unsubscribe }}"),
        ("[[prenom]]", '{{ customer.first_name | default("") }}'),
        ("${total}", "{{ event.total }}"),
        ("<%= user.name %>", '{{ customer.first_name | default("") }}'),
        ('{{ person.first_name|default:"you" }}', '{{ customer.first_name | default("you") }}'),
        ("{% assign a = 1 %}", "{% set a = 1 %}"),
        ("{% elsif x %}", "{% elif x %}"),
        ("{{ order.id }}", "{{ event.order_id }}"),
        ("{{ contact.VORNAME }}", '{{ customer.first_name | default("") }}'),
        ("{FIRSTNAME}", '{{ customer.first_name | default("") }}'),
        ("{UNSUBSCRIBE}", "{{ unsubscribe }}"),
    ],
)
def test_a_placeholder_is_named_with_what_to_write(placeholder: str, instead: str, tmp_path: Path) -> None:
    assert instead_of(placeholder) == instead
    file = tmp_path / "old.html"
    file.write_text(f"<p>\nHello {placeholder}</p>", encoding="utf-8")
    (hint,) = import_hints(file)
    assert (hint.line, hint.found, hint.allowed) == (2, placeholder, instead)


def test_what_is_written_for_here_needs_no_hint(tmp_path: Path) -> None:
    file = tmp_path / "mail.txt"
    file.write_text('{{ customer.first_name | default("you") }} {% if offer is defined %}{{ offer.code }}{% endif %}')
    assert import_hints(file) == ()


@pytest.mark.parametrize("instead", ["{% if event.order is defined %}", "{% for one in event.items %}"])
def test_what_is_told_to_write_is_a_tag_of_ours(instead: str, tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    assert [piece.kind for piece in reader.split(instead, "a.txt", 1)] == ["statement"]
    assert reader.faults == []


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.html cannot be read"):
        import_hints(tmp_path / "nowhere.html")
