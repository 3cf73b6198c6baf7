"""Templates written by someone who means harm, or made a mistake."""

import time
from collections.abc import Callable
from datetime import UTC
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from babel import Locale

from toolkit.errors import TemplateError
from toolkit.mail import Letter, Templates
from toolkit.mail.sandbox import MOST_SECONDS, BudgetError, RenderState

Load = Callable[..., Templates]
Make = Callable[..., Letter]

ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ customer.__class__ }}",
    "{{ customer['__class__'] }}",
    "{{ customer.keys() }}",
    "{{ customer.pop('first_name') }}",
    "{{ ''.format }}",
    "{{ '{0.__class__}'.format(customer) }}",
    "{{ 'a'.join(['b']) }}",
    "{{ link.__globals__ }}",
    "{{ link.__wrapped__('x') }}",
    "{{ self }}",
    "{{ self.__init__ }}",
    "{{ cycler }}",
    "{{ lipsum.__globals__ }}",
    "{{ joiner }}",
    "{{ namespace(a=1) }}",
    "{{ range(10) }}",
    "{{ dict(a=1) }}",
    "{{ config }}",
    "{{ customer | attr('__class__') }}",
    "{{ customer | map(attribute='__class__') }}",
    "{{ customer | tojson }}",
    "{{ '<b>' | safe }}",
    "{{ [customer] | map('attr', '__class__') | list }}",
    "{% set x %}a{% endset %}",
    "{% macro m() %}{% endmacro %}",
    "{% import 'x' as y %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% include customer.first_name %}",
    "{% block b %}{% endblock %}",
    "{% call link() %}{% endcall %}",
    "{% filter upper %}a{% endfilter %}",
    "{% autoescape false %}{{ customer.first_name }}{% endautoescape %}",
    "{% with a = 1 %}{{ a }}{% endwith %}",
    "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% for a in [1] %}{{ loop.cycle(1) }}{% endfor %}",
    "{{ 2 ** 9 }}",
    "{{ {'a': 1} }}",
    "{{ customer.first_name[0:2] }}",
    "{% set customer = 1 %}",
    "{% set link = 1 %}",
    "{% set _x = 1 %}",
    "{% for brand in [1] %}{% endfor %}",
    "{{ customer._x }}",
    "{{ link(*['https://example.org']) }}",
    "{% do customer.clear() %}",
    "{{ customer.first_name is callable }}",
    "{% raw %}{{ x }}{% endraw %}",
    "{{ (" + "(" * 400 + "1" + ")" * 400 + ") }}",
    "{{ " + "not " * 300 + "1 }}",
    "{{ " + "[" * 200 + "]" * 200 + " }}",
]
BOMBS = [
    "{{ 'x' * 200000000 }}",
    "{{ 200000000 * 'x' }}",
    "{{ [1] * 200000000 }}",
    "{{ '%2000000000d' % 1 }}",
    "{{ 'x' | center(2000000000) }}",
    "{% set a = 'x' %}" + "{% set a = a ~ a %}" * 40 + "{{ a }}",
    "{% set a = 'x' %}" + "{% set a = a + a %}" * 40 + "{{ a }}",
    "{% set a = 9999999999 %}" + "{% set a = a * a %}" * 40 + "{{ a }}",
    "{% set a = [1,2,3,4,5,6,7,8,9,10] %}" + "{% for i in a %}" * 9 + "{% endfor %}" * 9,
    "{% set a = [1,2,3,4,5,6,7,8,9,10] %}" + "{% for i in a %}" * 6 + "{{ i }}" + "{% endfor %}" * 6,
    "{% for a in event.many %}{% for b in event.many %}{{ event.long }}{% endfor %}{% endfor %}",
    "{% for a in event.many %}{% for b in event.many if false %}{% endfor %}{% endfor %}",
    "{% set a = event.many | join(event.long) %}{% set b = [a, a, a, a] | join(a) %}{{ b }}",
    "{% for a in event.many %}{{ event.many | join(event.long) }}{% endfor %}",
    "{{ 1 / 0 }}",
    "{{ 1 | date('" + "y" * 50 + "') }}",
    "{{ event.long | float + 1e308 * 10 }}",
]


@pytest.mark.parametrize("template", ESCAPES)
def test_what_is_not_on_the_allow_list_gives_no_mail_in_the_text(template: str, templates: Load, letter: Make) -> None:
    with pytest.raises(TemplateError, match=r"shop/mail\.txt"):
        templates(text=template).render(letter())


@pytest.mark.parametrize("template", [one for one in ESCAPES if "<" not in one])
def test_what_is_not_on_the_allow_list_gives_no_mail_in_the_html(template: str, templates: Load, letter: Make) -> None:
    with pytest.raises(TemplateError, match=r"shop/mail\.mjml"):
        templates(template).render(letter())


@pytest.mark.parametrize("template", BOMBS)
def test_a_bomb_ends_in_an_error_within_the_budget(template: str, templates: Load, letter: Make) -> None:
    started = time.process_time()
    with pytest.raises(TemplateError, match=r"shop/mail\.txt"):
        templates(text=template).render(letter(event={"many": list(range(1000)), "long": "x" * 60_000}))
    assert time.process_time() - started < 5


def test_an_ordinary_loop_is_well_within_the_budget(templates: Load, letter: Make) -> None:
    loaded = templates(text="{% for one in event.lines %}{{ loop.index }} {{ one.name }};{% endfor %}")
    lines = [{"name": f"n{number}"} for number in range(900)]
    assert loaded.render(letter(event={"lines": lines})).text.endswith("900 n899;\n")


def test_values_are_escaped_in_html_and_plain_in_text(templates: Load, letter: Make) -> None:
    loaded = templates("{{ customer.first_name }}", "{{ customer.first_name }}")
    mail = loaded.render(letter(customer={"first_name": '<script>"x"</script>'}))
    assert "&lt;script&gt;&#34;x&#34;&lt;/script&gt;" in mail.html
    assert mail.text == '<script>"x"</script>\n'


@pytest.mark.parametrize(
    "words",
    ["{{ a ~ b }}", "{{ '<b>' ~ customer.first_name }}", "{{ customer.first_name ~ '<i>' }}",
     "{{ '<b>' + customer.first_name }}", "{{ [customer.first_name, '<i>'] | join('<b>') }}",
     "{{ customer.first_name | upper }}"],
)  # fmt: skip
def test_nothing_that_is_put_together_escapes_the_escaping(words: str, templates: Load, letter: Make) -> None:
    loaded = templates("{% set a = customer.first_name %}{% set b = '<i>' %}" + words)
    html = loaded.render(letter(customer={"first_name": "<script>"})).html
    body = html[html.index("<body") :].lower()
    assert "<script>" not in body
    assert "&lt;script&gt;" in body


def test_only_plain_values_may_enter(templates: Load, letter: Make) -> None:
    class Sly:
        def __str__(self) -> str:
            return "sly"

    loaded = templates()
    for value in (Sly(), {1, 2}, b"bytes", lambda: 1, [Sly()], {"a": Sly()}):
        with pytest.raises(TemplateError, match=r"customer\.x.*cannot enter a mail"):
            loaded.render(letter(customer={"x": value}))


def test_values_too_large_may_not_enter(templates: Load, letter: Make) -> None:
    loaded = templates()
    nested: dict[str, Any] = {}
    for _ in range(20):
        nested = {"a": nested}
    for value in ("x" * 64_001, list(range(1001)), nested):
        with pytest.raises(TemplateError, match="cannot enter a mail"):
            loaded.render(letter(event={"x": value}))


@pytest.mark.parametrize(
    "shown",
    [
        "{{ event.items }}",
        "{{ event }}",
        "{{ event.items | upper }}",
        "{{ event.items | truncate(9) }}",
        "{{ event.items[0] }}",
        "{{ event.items | join(', ') }}",
        "{{ 'x' ~ event.items }}",
        "{{ event.items[0] | items }}",
        "{{ event.items[0] | e }}",
    ],
)
def test_a_list_or_values_by_name_never_stand_in_a_mail_as_python_writes_them(
    shown: str, templates: Load, letter: Make
) -> None:
    loaded = templates(text=f"subject: x\npreheader: x\n---\n\n{shown}")
    with pytest.raises(TemplateError, match=r"^shop/mail\.txt:5: .* cannot be shown as (?:it is|they are)"):
        loaded.render(letter(event={"items": [{"name": "Lamp", "price": 3.5, "text": "long " * 60}]}))


def test_the_items_of_values_by_name_are_looped_over(templates: Load, letter: Make) -> None:
    loaded = templates(text="{% for name, price in event.prices | items %}{{ name }} {{ price | money }}. {% endfor %}")
    assert loaded.render(letter(event={"prices": {"Lamp": 3.5, "Bulb": 1}})).text == "Lamp €3.50. Bulb €1.00.\n"
    with pytest.raises(TemplateError, match="items are those of values by name, and this is none; found 'Lamp'"):
        loaded.render(letter(event={"prices": "Lamp"}))


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ("{{ event.value | length }}", "length and count are"),
        ("{{ event.value | last }}", "the last is"),
        ("{% for name, price in [1, 2] %}x{% endfor %}", "two values are expected"),
    ],
)
def test_a_filter_of_lists_says_what_it_needs(shown: str, said: str, templates: Load, letter: Make) -> None:
    with pytest.raises(TemplateError, match=rf"^shop/mail\.txt:4: {said}"):
        templates(text=shown).render(letter(event={"value": 3}))


def test_values_of_numpy_and_pandas_are_welcome(templates: Load, letter: Make) -> None:
    loaded = templates(
        text="{{ event.a + 1 }} {{ event.b | date }} {{ event.c }} {{ event.d | money }} {{ event.e | join(', ') }}"
    )
    mail = loaded.render(
        letter(
            event={
                "a": np.int64(41),
                "b": pd.Timestamp("2026-03-14 23:30", tz="UTC"),
                "c": np.str_("word"),
                "d": Decimal("2.675"),
                "e": np.array([1, 2]),
            }
        )
    )
    assert mail.text == "42 March 15, 2026 word €2.68 1, 2\n"


@pytest.mark.parametrize(
    ("number", "shown"), [(10023.0, "10023"), (np.float64(-3.0), "-3"), (9.5, "9.5"), (1e300, "1e+300")]
)
def test_a_whole_number_is_shown_as_one_though_others_of_its_column_are_missing(
    number: float, shown: str, templates: Load, letter: Make
) -> None:
    loaded = templates(text="Order {{ event.order_id }}")
    assert loaded.render(letter(event={"order_id": number})).text == f"Order {shown}\n"


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NaT, pd.NA, np.float64("nan"), np.datetime64("NaT")])
def test_a_missing_value_is_an_undefined_one_and_never_printed(missing: object, templates: Load, letter: Make) -> None:
    loaded = templates(text='{{ customer.first_name | default("friend") }}')
    assert loaded.render(letter(customer={"first_name": missing})).text == "friend\n"
    with pytest.raises(TemplateError, match=r"undefined variable.*customer\.first_name"):
        templates(text="{{ customer.first_name }}").render(letter(customer={"first_name": missing}))


def test_a_link_to_what_is_not_there_names_it(templates: Load, letter: Make) -> None:
    with pytest.raises(TemplateError, match=r"undefined variable.*brand\.shop"):
        templates(text="{{ link(brand.shop) }}").render(letter())
    with pytest.raises(TemplateError, match=r"undefined variable.*event\.item"):
        templates(text='{{ link("https://shop.example.com/", item=event.item) }}').render(letter())


def test_a_default_stands_in_for_a_zero_only_where_asked_and_money_may_name_its_currency(
    templates: Load, letter: Make
) -> None:
    loaded = templates(text='{{ event.n | default(3) }} {{ event.n | default(3, true) }} {{ 5 | money("USD") }}')
    assert loaded.render(letter(event={"n": 0})).text == "0 3 $5.00\n"


def test_what_works_for_too_long_is_stopped() -> None:
    began = time.thread_time() - MOST_SECONDS - 0.01
    state = RenderState(Locale.parse("en"), UTC, "EUR", started=began)
    with pytest.raises(BudgetError, match=f"more than {MOST_SECONDS:g} s of work"):
        state.step()
    RenderState(Locale.parse("en"), UTC, "EUR").step()


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "JAVASCRIPT:alert(1)", " https://example.org", "http://example.org", "data:text/html,x",
     "https://example.org/\"onclick=", "https://example.org/<b>", "https://", "https://a@evil.example/",
     "//example.org",
     "https://exa mple.org", "https://example.org\\@evil.example", "https://example.org/\n", "https://[::1]/", 5, None,
     "https://" + "a" * 1000 + ".org"],
)  # fmt: skip
def test_a_link_that_is_not_plain_https_is_refused(url: object, templates: Load, letter: Make) -> None:
    loaded = templates('<a href="{{ link(event.url) }}">x</a>')
    with pytest.raises(TemplateError, match=r"shop/mail\.mjml:1"):
        loaded.render(letter(event={"url": url}))


def test_a_link_takes_named_values_percent_encoded(templates: Load, letter: Make) -> None:
    loaded = templates('<a href="{{ link(event.url, q=event.q, n=2) }}">x</a>', "{{ link(event.url, q=event.q, n=2) }}")
    mail = loaded.render(letter(event={"url": "https://münchen.example/ä?x=1#top", "q": 'a&b="c'}))
    assert mail.text == "https://xn--mnchen-3ya.example/%C3%A4?x=1&q=a%26b%3D%22c&n=2#top\n"
    assert 'href="https://xn--mnchen-3ya.example/%C3%A4?x=1&amp;q=a%26b%3D%22c&amp;n=2#top"' in mail.html
