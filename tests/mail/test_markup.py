"""MJML around jinja: nothing moves, and every fault has its file and line."""

import re
from collections.abc import Callable
from pathlib import Path

import css_inline
import mjml
import pytest
from jinja2 import Environment

from tests.mail.conftest import MJML, POLICIES
from toolkit.errors import TemplateError
from toolkit.mail import Letter, Templates

Load = Callable[..., Templates]
Make = Callable[..., Letter]

PAGE = """<mjml>
  <mj-head>
    <mj-style inline="inline">.price { color: #123456; } td { padding: 3px; } p { margin: 1px; }</mj-style>
    <mj-style>.later { color: red; } @media (max-width: 400px) { .x { color: blue; } }</mj-style>
  </mj-head>
  <mj-body>
    {% if customer.first_name == "Ana" %}
    <mj-section><mj-column><mj-text><p>Hello {{ customer.first_name }}</p></mj-text></mj-column></mj-section>
    {% else %}
    <mj-section><mj-column><mj-text><p>Who?</p></mj-text></mj-column></mj-section>
    {% endif %}
    <mj-section>
      <mj-column>
        <mj-table>
          <tr><td>Thing</td><td>Price</td></tr>
          {% for one in event.lines %}
          <tr><td>{{ one.name }}</td><td class="price">{{ one.price }}</td></tr>
          {% endfor %}
        </mj-table>
        <mj-text>
          <table>{% for one in event.lines %}
            <tr><td>{{ one.name }}{% if not loop.last %},{% endif %}</td></tr>
          {% endfor %}</table>
        </mj-text>
        {% if event.lines %}<mj-text>{{ event.lines | length }} things</mj-text>{% endif %}
      </mj-column>
    </mj-section>
  </mj-body>
</mjml>"""


@pytest.mark.parametrize("name", ["Ana", "Bo"])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_compiled_once_or_after_rendering_the_html_is_the_same(
    name: str, count: int, templates: Load, letter: Make
) -> None:
    values = {
        "customer": {"first_name": name},
        "event": {"lines": [{"name": f"n{i}", "price": i} for i in range(count)]},
    }
    ours = templates(PAGE).render(letter(**values)).html
    # The slow way: jinja first, then MJML, then css, anew for this one mail.
    rendered = Environment(autoescape=True).from_string(PAGE).render(**values)
    style = re.search(r'<mj-style inline="inline">(.*?)</mj-style>', rendered)
    assert style
    html = mjml.mjml2html(rendered.replace(style[0], ""), fonts={})
    slow = css_inline.CSSInliner(inline_style_tags=False, keep_style_tags=True, extra_css=style[1]).inline(html)
    # mrml leaves out of mj-table what MJML says of it: a table for layout.
    slow = re.sub(r"<table(?![^>]*role=)", '<table role="presentation"', slow)
    slow = slow.replace('lang="und" dir="auto"', 'lang="en" dir="ltr"')
    assert _shape(ours) == _shape(slow)


def _shape(html: str) -> list[str]:
    html = re.sub(r"</?tbody>", "", html)
    return re.sub(r"\s+", " ", re.sub(r"(?<=>)\s+|\s+(?=<)", "", html)).split(">")


def test_css_for_inlining_reaches_the_tags_and_media_queries_stay(templates: Load, letter: Make) -> None:
    html = templates(PAGE).render(letter(event={"lines": [{"name": "a", "price": 1}]})).html
    assert re.search(r'class="price" style="[^"]*color: #123456', html)
    assert "@media (max-width: 400px)" in html


def test_newlines_inside_attributes_do_not_come_out_as_letters(templates: Load, letter: Make) -> None:
    html = templates('<span style="color: red;\n  font-weight: bold">x</span>').render(letter()).html
    assert "\\n" not in html


def test_a_table_for_layout_is_none_to_a_screen_reader_and_one_with_headings_stays_one(
    templates: Load, letter: Make
) -> None:
    layout = '</mj-text><mj-table css-class="a"><tr><td>Betrag</td></tr></mj-table><mj-text>'
    data = '</mj-text><mj-table css-class="b"><tr><th scope="row">Betrag</th></tr></mj-table><mj-text>'
    own = '<table role="list"><tr><td>x</td></tr></table><table><tr><td>y</td></tr></table>'
    html = templates(layout + data + own).render(letter()).html
    tables = re.findall(r"<table\b([^>]*)>(?=<tbody>\s*<tr>\s*<t[dh][^>]*>(?:Betrag|x|y))", html)
    assert [re.findall(r'role="(\w+)"', table) for table in tables] == [
        ["presentation"],
        [],
        ["list"],
        ["presentation"],
    ]


def test_conditional_comments_for_outlook_stay(templates: Load, letter: Make) -> None:
    html = templates("<!--[if !mso]><!--><b>{{ customer.first_name }}</b><!--<![endif]-->").render(letter()).html
    assert "<!--[if !mso]><!--><b>Ana</b><!--<![endif]-->" in html


def test_notes_of_the_author_are_left_out_with_the_jinja_in_them(templates: Load, letter: Make) -> None:
    html = templates("a<!-- {{ customer.nothing }} {% if x %} -->b").render(letter()).html
    assert "nothing" not in html


def test_brand_values_can_be_colours_and_are_written_at_once(templates: Load, letter: Make) -> None:
    page = """<mjml>
    <mj-head><mj-style>a { color: {{ brand.colour }}; }</mj-style></mj-head>
    <mj-body background-color="{{ brand.colour }}"><mj-section><mj-column></mj-column></mj-section></mj-body></mjml>"""
    assert templates(page).render(letter()).html.count("#112233") >= 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("\n<mj-bogus>x</mj-bogus>", r"shop/mail\.mjml:2: no such MJML tag; found '<mj-bogus>'"),
        ("</mj-text>\n<mj-buton>x</mj-buton><mj-text>", r"mail\.mjml:2.*did you mean 'mj-button'"),
        ("\n\n<mj-include path='x' />", r"mail\.mjml:3: mj-include is not supported.*include"),
        ("<b>\n<mj-text></b>", r"this tag is not closed; found '<mj-text>'"),
        ("</mj-column>", r"closes nothing|not closed"),
        ("<script>x</script>", "distrust"),
        ("<form action='https://example.org'></form>", "distrust"),
        ('<b onclick="x">x</b>', "scripts"),
        ('\n<a href="javascript:alert(1)">x</a>', r"mail\.mjml:2: a link that runs code"),
        ('<a href=" &#106;avascript:alert(1)">x</a>', "runs code"),
        ('<img src="data:image/png;base64,x" alt="">', "runs code"),
        ('\n<a href="{{ event.url }}">x</a>', r"mail\.mjml:2: a link from a value is not checked.*link\(value\)"),
        ('<a href="{{ link(event.url) if event.ok else event.url }}">x</a>', "not checked"),
        ('<a href="{{ event.url or link(event.url) }}">x</a>', "not checked"),
        ('<a href="https://{{ event.host }}/x">x</a>', "not checked"),
        ('<a href="https://example.org/{{ event.id }}">x</a>', "not encoded"),
        ('<a href="{{ link(event.url) }}{{ event.id }}">x</a>', "not encoded"),
        ("<a {% if event.x %}href='https://example.org'{% endif %}>x</a>", "stands in a quoted attribute"),
        ("<a href={{ link(event.url) }}>x</a>", "stands in a quoted attribute"),
        ('<b style="color: {{ event.colour }}">x</b>', r"no jinja in this attribute"),
        ("<style>a { color: {{ event.colour }}; }</style>", "no jinja inside a style sheet"),
        ('<b style="color: {{ brand.color }}">x</b>', r"no such value in the brand.*did you mean 'brand\.colour'"),
        ("\n{{ customer.first_name", r"mail\.mjml:2: a jinja tag that is not closed"),
        ("\n{% if customer.x %}", r"mail\.mjml:2: not well-formed jinja"),
        ("\n\n{{ customer.first_name | moneyy }}", r"mail\.mjml:3: no such filter.*did you mean 'money'"),
        ("\n\n{{ custmer.first_name }}", r"mail\.mjml:3: no such value; found 'custmer'.*did you mean 'customer'"),
        ("\n{{#if first_name}}x{{/if}}", r"mail\.mjml:2: a placeholder of another tool \(handlebars\).*% if"),
        ("{{> footer}}", "include"),
        ("{{{ name }}}", "another tool"),
        ("{{ this.name }}", "another tool"),
        ('\n{% include "brand/_nothing.mjml" %}', r"mail\.mjml:2: no such file to include"),
        ('{% include "../../etc/passwd" %}', "outside of the folder"),
        ("jtk3z", "reserved"),
        ("<mjml><mj-body><mj-section></mj-section>", "not closed"),
        ("one\n\na < b", r"mail\.mjml:3: a < that begins no tag; found '< b'; allowed: &lt; for the sign"),
        ("one\n<% if x %>", r"mail\.mjml:2: a < that begins no tag; found '<% if x %>'; allowed: jinja"),
        ("one\n\n<img src=x>", r"mail\.mjml:3: an attribute without quotes; found '<img src=x>'; allowed: name"),
    ],
)
def test_a_fault_in_the_mjml_is_named_with_its_line(body: str, message: str, templates: Load) -> None:
    with pytest.raises(TemplateError, match=message):
        templates(body)


def test_html_in_the_place_of_mjml_is_told(folder: Callable[..., Path]) -> None:
    root = folder()
    (root / "shop" / "mail.mjml").write_text("<html><body>Hi</body></html>", encoding="utf-8")
    with pytest.raises(TemplateError, match="not MJML; found '<html><body>Hi</body></html>'; allowed: <mjml>"):
        Templates.load(root)


def test_a_fault_at_many_places_is_told_once_and_kept_for_each(templates: Load) -> None:
    body = "\n<b>{{ brand.zzzzzz }}</b>\n<b>{{ brand.zzzzzz }}</b>\n<b>{{ brand.qqqqqq }}</b>{{ brand.zzzzzz }}"
    with pytest.raises(TemplateError) as told:
        templates(body)
    first, *rest = str(told.value).splitlines()
    assert first == "2 faults"
    assert [line.partition("; ")[2] for line in rest] == [
        "found 'brand.zzzzzz' (and at shop/mail.mjml:3, shop/mail.mjml:4)",
        "found 'brand.qqqqqq'",
    ]
    assert len(told.value.faults) == 4
    assert len({fault.line for fault in told.value.faults}) == 3


def test_no_brand_at_all_is_one_fault(templates: Load) -> None:
    with pytest.raises(TemplateError, match=r"there is no brand: policies\.yaml is missing") as told:
        templates("{{ brand.name }} <b>{{ brand.url }}</b>", policies=POLICIES.model_copy(update={"brand": {}}))
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize(
    "body",
    [
        '<a href="{{ link(event.url) if event.ok else link(brand.url) }}">x</a>',
        '<a href="https://example.org/{{ event.id | urlencode }}">x</a>',
        '<a href="{{ unsubscribe }}">x</a>',
        '<a href="mailto:hello@example.com">x</a>',
        '<img src="{{ link(event.url) }}" alt="{{ customer.first_name }}">',
    ],
)
def test_links_that_are_checked_compile(body: str, templates: Load, letter: Make) -> None:
    event = {"url": "https://example.org/p", "id": "a b/c", "ok": True}
    assert "example" in templates(body).render(letter(event=event)).html


def test_all_faults_of_all_mails_come_at_once(templates: Load, folder: Callable[..., Path]) -> None:
    with pytest.raises(TemplateError) as caught:
        templates("<mj-bogus/>\n{{ custmer }}", "{{ nobody }}", other__mjml="<mjml></mjml>", third__mjml="x")
    assert {(fault.file, fault.line) for fault in caught.value.faults} >= {("shop/mail.mjml", 1)}
    assert len(caught.value.faults) >= 3


def test_a_fault_in_an_included_part_is_named_by_the_parts_file(templates: Load) -> None:
    with pytest.raises(TemplateError, match=r"shop/_part\.mjml:2: no such value; found 'custmer'"):
        templates('x {% include "shop/_part.mjml" %}', _part__mjml="<b>\n{{ custmer }}</b>")


def test_parts_that_include_themselves_are_refused(templates: Load) -> None:
    with pytest.raises(TemplateError, match="nested too deeply"):
        templates('{% include "shop/_part.mjml" %}', _part__mjml='{% include "shop/_part.mjml" %}')


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("one<br/>\n<b>two", "shop/mail.mjml:2: this tag is not closed; found '<b>'"),
        ("one\n<div>two</div></div>", "shop/mail.mjml:2: this tag closes nothing; found '</div>'"),
        ("one\n<p><i>two</p>", "shop/mail.mjml:2: this tag is not closed; found '<i>'"),
        (
            "{% if event.value %}\n{% elseif event.other %}\n{% endif %}",
            "2: not well-formed jinja: Encountered unknown tag 'elseif'; allowed: {% elif ... %}",
        ),
        (
            "{% if event.value %}\nx{% end if %}",
            "2: not well-formed jinja: Encountered unknown tag 'end'; allowed: one word: {% endif %}, {% endfor %}",
        ),
        (
            "one\n{% endif %}",
            "2: not well-formed jinja: Encountered unknown tag 'endif'; allowed: an {% if ... %} before",
        ),
        ('<a href="{{ unsubcribe }}">x</a>', "allowed: {{ link(value) }}; did you mean 'unsubscribe'?"),
        ("{{ customer.first_name }\nx", "found '{{ customer.first_name }'"),
    ],
)
def test_a_slip_of_an_author_is_told_in_one_sentence_with_its_line(body: str, said: str, templates: Load) -> None:
    with pytest.raises(TemplateError) as caught:
        templates(body)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("<mjml><mj-section></mj-section></mjml>", "1: a layout without <mj-body>"),
        (MJML.format('<mj-text colour="red">x</mj-text>'), "over; found 'colour='; did you mean 'color='?"),
        (MJML.format('<mj-text class="a">x</mj-text>'), "over; found 'class='; did you mean 'css-class='?"),
    ],
)
def test_what_mjml_takes_for_nothing_is_told(page: str, said: str, templates: Load) -> None:
    with pytest.raises(TemplateError) as caught:
        templates(page)
    assert said in str(caught.value)


def test_html_inside_a_text_has_classes_and_colours_as_it_likes(templates: Load, letter: Make) -> None:
    assert '<p class="a" bgcolor="red">' in templates('<p class="a" bgcolor="red">x</p>').render(letter()).html


def test_a_file_with_nothing_in_it_is_no_layout(folder: Callable[..., Path]) -> None:
    place = folder()
    (place / "shop" / "mail.mjml").write_text("")
    with pytest.raises(TemplateError, match=r"shop/mail\.mjml: nothing is in this layout"):
        Templates.load(place)


def test_a_filter_with_too_many_values_is_told_in_plain_words(templates: Load, letter: Make) -> None:
    with pytest.raises(TemplateError, match="a filter has more or fewer values in its brackets than it takes"):
        templates("{{ event.value | money('EUR', 2, 3) }}").render(letter())
