"""The preflight: every rule finds its fault, says where, and leaves good mails alone."""

from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from toolkit.errors import InputError, TemplateError
from toolkit.mail import Finding, Letter, Preflight, Templates, page_answers, preflight
from toolkit.scenario.models import Brand, Policies, Program, Sender

Load = Callable[..., Templates]
Make = Callable[..., Letter]
Plan = Callable[..., Program]

OUT = '<a href="{{ unsubscribe }}">Unsubscribe</a>'
OUT_TEXT = "Unsubscribe: {{ unsubscribe }}\n"
HEAD = "subject: Hello\npreheader: A word\n---\n"


@pytest.fixture
def check(templates: Load, program: Plan, letter: Make) -> Callable[..., Preflight]:
    """The preflight of one mail with an unsubscribe in both parts, and what is given here."""

    def run(
        body: str = "Hello",
        text: str = "Hello\n",
        *,
        letters: list[dict[str, Any]] | None = None,
        class_: str = "marketing",
        plan: dict[str, Any] | None = None,
        bare: bool = False,
        **more: str,
    ) -> Preflight:
        if class_ == "marketing" and not bare:
            body, text = body + OUT, text + "\n" + OUT_TEXT
        loaded = templates(body, text, **more)
        batch = [letter(class_=class_, **changes) for changes in letters or [{}]]
        return preflight(loaded, batch, program=program(class_=class_, **(plan or {})), progress=False)

    return run


def only(result: Preflight, rule: str) -> Finding:
    assert [one.rule for one in result.findings] == [rule], str(result)
    return result.findings[0]


def test_a_good_mail_has_no_findings(check: Callable[..., Preflight]) -> None:
    result = check(
        'See <a href="https://shop.example.com/a?b=1&amp;c=2">it</a>', "See https://shop.example.com/a?b=1&c=2."
    )
    assert result.ok
    assert result.findings == ()
    assert str(result) == "preflight of 1 mail: nothing found"


def test_an_undefined_variable_is_found_with_line_count_and_a_masked_example(check: Callable[..., Preflight]) -> None:
    letters = [
        {"decision_id": "a", "to": "ana@example.org"},
        {"decision_id": "b", "to": "berta@example.org", "customer": {}},
        {"decision_id": "c", "to": "carl@example.org", "customer": {}},
    ]
    finding = only(check("x\n{{ customer.first_name }}", letters=letters), "undefined_variable")
    assert (finding.severity, finding.count, finding.file, finding.line) == ("error", 2, "shop/mail.mjml", 2)
    assert finding.example == "b***@example.org"
    assert "customer.first_name" in finding.message
    assert "default" in finding.mend


def test_an_undefined_variable_names_the_nearest(check: Callable[..., Preflight]) -> None:
    finding = only(check("{{ customer.frist_name }}"), "undefined_variable")
    assert finding.message.endswith("did you mean customer.first_name?")


def test_an_undefined_variable_like_no_other_comes_with_those_that_there_are(check: Callable[..., Preflight]) -> None:
    letters = [{"decision_id": one, "to": f"{one}@example.org", "event": {one: 1}} for one in ("total", "at")]
    finding = only(check("{{ event.value }}", letters=letters), "undefined_variable")
    assert (finding.count, finding.message) == (2, "undefined variable event.value; found event.at, event.total")


def test_values_that_cannot_be_shown_are_told_together_whatever_each_of_them_is(
    check: Callable[..., Preflight],
) -> None:
    letters = [{"decision_id": str(number), "event": {"value": f"{number} €"}} for number in range(50)]
    finding = only(
        check(
            "{{ event.value | money }}", letters=[{**one, "to": f"a{n}@example.org"} for n, one in enumerate(letters)]
        ),
        "render_failed",
    )
    assert (finding.count, finding.message) == (50, "expected a number; found '0 €'")


@pytest.mark.parametrize("slip", ["{customer.first_name}", "{ event.value }"])
def test_a_value_in_single_braces_would_reach_the_reader(slip: str, check: Callable[..., Preflight]) -> None:
    finding = only(check("Hello", f"Hello {slip}\n"), "foreign_placeholder")
    assert repr(slip) in finding.message
    assert f"here one writes {{{{ {slip.strip('{ }')}" in finding.message


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("templates", "templates"), ("program", Policies()), ("letters", None), ("letters", "x"), ("workers", "two")],
)
def test_an_argument_that_is_something_else_is_told(
    name: str, wrong: Any, templates: Load, program: Plan, letter: Make
) -> None:
    values: dict[str, Any] = {"templates": templates(), "program": program(), "letters": [letter()], "workers": None}
    values[name] = wrong
    with pytest.raises(InputError, match=f"preflight: {name}: expected .*; found {type(wrong).__name__}"):
        preflight(values["templates"], values["letters"], program=values["program"], workers=values["workers"])


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("at", "2026-03-01"), ("to", None), ("customer", None), ("event", [1]), ("template", 3)],
)
def test_a_letter_with_a_field_of_another_kind_is_refused(field: str, wrong: Any, letter: Make) -> None:
    with pytest.raises(TemplateError, match=f"letter d1: {field} is "):
        letter(**{field: wrong})


def test_a_misspelt_value_behind_a_default_is_told_since_nobody_would_notice(check: Callable[..., Preflight]) -> None:
    letters = [{"decision_id": "a", "to": "ana@example.org"}, {"decision_id": "b", "to": "bo@example.org"}]
    body = 'x\n{{ customer.firstname | default("you") }}'
    finding = only(check(body, letters=letters), "value_misspelt")
    assert (finding.severity, finding.count, finding.file, finding.line) == ("warning", 2, "shop/mail.mjml", 2)
    assert finding.message == "no mail has customer.firstname; did you mean customer.first_name?"


@pytest.mark.parametrize(
    "value",
    ["customer.first_name", "customer.nickname", "event.product", 'link("https://customer.firstname.example.com")'],
)
def test_a_value_that_is_only_missing_is_no_misspelt_one(value: str, check: Callable[..., Preflight]) -> None:
    assert check("{{ %s | default('') }}" % value, "{{ %s | default('') }}\n" % value).findings == ()  # noqa: UP031


def test_a_mail_in_which_something_is_found_twice_is_one_mail(check: Callable[..., Preflight]) -> None:
    text = "Get 50% off. Yes, 50% off.\n"
    found = check("Hello", text).findings
    assert [(one.rule, one.count) for one in found] == [("offer_differs", 1)]


def test_a_customer_whose_time_zone_nobody_knows_gets_the_programs(check: Callable[..., Preflight]) -> None:
    letters = [{"customer": {"first_name": "Ana", "timezone": zone}} for zone in ("Paris", "3", "Europe", "../x", 3.5)]
    batch = [{**one, "decision_id": str(n), "to": f"a{n}@example.org"} for n, one in enumerate(letters)]
    assert check("{{ now | time }}", "{{ now | time }}\n", letters=batch).findings == ()


def test_a_value_that_cannot_be_shown_is_found(check: Callable[..., Preflight]) -> None:
    finding = only(check("{{ event.value | money }}", letters=[{"event": {"value": "x"}}]), "render_failed")
    assert finding.line == 1


@pytest.mark.parametrize("link", ["http://shop.example.com/", "/cart", "cart.html", "ftp://shop.example.com/x"])
def test_a_link_that_is_not_https_blocks(link: str, check: Callable[..., Preflight]) -> None:
    finding = only(check(f'x\n\n<a href="{link}">x</a>'), "bad_link")
    assert (finding.severity, finding.line) == ("error", 3)


def test_a_javascript_link_from_data_blocks(check: Callable[..., Preflight]) -> None:
    finding = only(
        check('<a href="{{ link(event.url) }}">x</a>', letters=[{"event": {"url": "javascript:x"}}]), "render_failed"
    )
    assert "https://" in finding.message


def test_a_plain_http_link_in_the_text_blocks(check: Callable[..., Preflight]) -> None:
    assert only(check(text="http://shop.example.com/"), "bad_link").file == "shop/mail.txt"


def test_mail_and_phone_links_are_fine(check: Callable[..., Preflight]) -> None:
    assert check('<a href="mailto:hello@example.com">x</a> <a href="tel:+331">y</a>').ok


def test_a_link_missing_from_the_text_part_blocks(check: Callable[..., Preflight]) -> None:
    finding = only(check('x\n<a href="https://shop.example.com/only-here?id=1">x</a>'), "text_link_missing")
    assert "https://shop.example.com/only-here" in finding.message
    assert (finding.file, finding.line) == ("shop/mail.mjml", 2)


def test_an_image_needs_no_link_in_the_text(check: Callable[..., Preflight]) -> None:
    words = "This mail says in words what it has to say, as a mail should always do."
    assert check(f'{words}<img src="https://shop.example.com/a.png" alt="A lamp">').findings == ()


@pytest.mark.parametrize(
    ("body", "rule", "said"),
    [
        ('<a href="https://bit.ly/3xY">offer</a>', "link_distrusted", "https://bit.ly/3xY"),
        ('<a href="https://93.184.216.34/shop">offer</a>', "link_distrusted", "https://93.184.216.34/shop"),
        ('<a href="https://evil.example.net/a">www.shop.example.com</a>', "link_names_other", "evil.example.net"),
        (
            '<a href="https://shop.example.com/a"><b>https://paypal.example/x</b></a>',
            "link_names_other",
            "paypal.example",
        ),
        (
            '<a href="https://shop.example.com/a"><img src="https://cdn.example.com/a.png" alt=""></a>',
            "link_without_words",
            "/a",
        ),
    ],
)
def test_a_link_that_filters_or_readers_distrust_is_told(
    body: str, rule: str, said: str, check: Callable[..., Preflight]
) -> None:
    link = body.partition('"')[2].partition('"')[0]
    finding = only(check(f"{'word ' * 12}<br>\n{body}", f"{link}\n"), rule)
    assert (finding.severity, finding.file, finding.line) == ("warning", "shop/mail.mjml", 2)
    assert said in finding.message


@pytest.mark.parametrize(
    "body",
    [
        '<a href="https://www.shop.example.com/a">shop.example.com</a>',
        '<a href="https://shop.example.com/a">https://example.com/sale</a>',
        '<a href="https://nodejs.example.org/a">Node.js</a>',
        '<a href="https://shop.example.com/a"><img src="https://cdn.example.com/a.png" alt="The shop"></a>',
        '<a href="https://t.co.example.com/a">offer</a>',
        '<a href="mailto:help@example.com">www.shop.example.com</a>',
    ],
)
def test_a_link_that_says_where_it_leads_is_fine(body: str, check: Callable[..., Preflight]) -> None:
    link = body.partition('"')[2].partition('"')[0]
    assert check(body + " one two three four five six seven eight nine ten eleven twelve", f"{link}\n").findings == ()


def test_a_name_with_a_web_address_is_told_since_a_stranger_may_speak_through_it(
    check: Callable[..., Preflight],
) -> None:
    letters = [
        {"decision_id": "a", "to": "ana@example.org"},
        {"decision_id": "b", "to": "eve@example.org", "customer": {"first_name": "You won: https://evil.example/x"}},
    ]
    finding = only(check(text="Hello {{ customer.first_name }},\n", letters=letters), "link_from_value")
    assert (finding.count, finding.example, finding.line) == (1, "e***@example.org", 4)
    body = '<a href="{{ link(customer.friends) }}">Bring a friend</a>'
    own = [{"customer": {"friends": "https://shop.example.com/f?a=1&b=2"}}]
    assert check(body, "Bring a friend: {{ link(customer.friends) }}\n", letters=own).findings == ()


def test_a_text_that_leaves_out_what_the_html_says_is_told(check: Callable[..., Preflight]) -> None:
    finding = only(check("word " * 60), "text_poor")
    assert (finding.severity, finding.file, finding.line) == ("warning", "shop/mail.txt", 3)
    assert check("word " * 60, "word " * 15).findings == ()


class Counted:
    """Counts links as a tracker does whose links are long."""

    targets: tuple[str, ...] = ()
    picture: str | None = None
    trap_link: str | None = None

    def click(self, url: str) -> str:
        return f"https://t.example.com/{'x' * 400}"


def test_html_that_counted_links_make_too_large_is_told(templates: Load, letter: Make, program: Plan) -> None:
    body = '<a href="https://shop.example.com/a">see</a> ' * 260 + OUT
    loaded = templates(body, "https://shop.example.com/a " + "word " * 80 + OUT_TEXT)
    plans = program()
    kept: list[int] = []
    for links, rules in ((None, []), (lambda _: Counted(), ["too_large"])):
        result = preflight(
            loaded,
            [letter()],
            program=plans,
            message_id=lambda _: "d1@example.com",
            receive=lambda number, *_: kept.append(number),
            links=links,
        )
        assert [one.rule for one in result.findings] == rules
    assert kept == [0, 0]


def test_an_image_without_alt_is_a_warning(check: Callable[..., Preflight]) -> None:
    words = "This mail says in words what it has to say, as a mail should always do."
    assert only(check(f'{words}<img src="https://shop.example.com/a.png">'), "missing_alt").severity == "warning"


def test_a_mail_of_images_only_blocks(check: Callable[..., Preflight]) -> None:
    assert only(check('<img src="https://shop.example.com/a.png" alt="Sale">'), "image_only").severity == "error"


def test_html_over_102_kb_blocks(check: Callable[..., Preflight]) -> None:
    text = "word " * 40
    assert only(check("word " * 22_000, text), "too_large").severity == "error"
    assert check("word " * 19_000, text).ok
    assert only(check("日本語 " * 11_000, text), "too_large")


@pytest.mark.parametrize(
    ("head", "rule", "severity"),
    [
        ("subject:\npreheader: x\n---\nx", "subject_empty", "error"),
        ("subject: {{ event.x | default('') }}\npreheader: x\n---\nx", "subject_empty", "error"),
        ("subject: " + "word " * 20 + "\npreheader: x\n---\nx", "subject_long", "warning"),
        ("subject: x\npreheader:\n---\nx", "preheader_empty", "warning"),
        ("subject: x\npreheader: " + "word " * 40 + "\n---\nx", "preheader_long", "warning"),
    ],
)
def test_subject_and_preheader_have_lengths(
    head: str, rule: str, severity: str, check: Callable[..., Preflight]
) -> None:
    finding = only(check(text=head), rule)
    assert (finding.severity, finding.file) == (severity, "shop/mail.txt")
    assert finding.line in (1, 2)


@pytest.mark.parametrize(
    "left", ["*|FNAME|*", "%%first_name%%", "[[first_name]]", "<%= name %>", "${name}", "{VORNAME}"]
)
def test_placeholders_of_other_tools_block_in_both_parts(left: str, check: Callable[..., Preflight]) -> None:
    in_text = only(check(text=f"x\n\nHello {left}"), "foreign_placeholder")
    assert (in_text.severity, in_text.file, in_text.line) == ("error", "shop/mail.txt", 6)
    if "<" not in left:
        in_html = only(check(f"Hello\n{left}"), "foreign_placeholder")
        assert (in_html.file, in_html.line) == ("shop/mail.mjml", 2)


def test_a_placeholder_that_comes_with_the_data_blocks(check: Callable[..., Preflight]) -> None:
    result = check(text="Hello {{ customer.first_name }}", letters=[{"customer": {"first_name": "{{first_name}}"}}])
    assert only(result, "foreign_placeholder").count == 1


def test_a_marketing_mail_without_unsubscribe_blocks_for_each_part(check: Callable[..., Preflight]) -> None:
    assert [one.message for one in check("Hello", bare=True).errors] == [
        "the html has no unsubscribe link",
        "the text has no unsubscribe link",
    ]
    assert only(check("Hello " + OUT, bare=True), "unsubscribe_missing").file == "shop/mail.txt"


def test_an_unsubscribe_in_a_transactional_mail_blocks(check: Callable[..., Preflight]) -> None:
    finding = only(
        check("Hello", "To unsubscribe, write to us.", class_="transactional"), "unsubscribe_in_transactional"
    )
    assert (finding.file, finding.line) == ("shop/mail.txt", 4)


def test_a_percentage_that_is_not_the_offers_blocks(check: Callable[..., Preflight]) -> None:
    given = {"plan": {"offer": {"percent": 10}}, "letters": [{"offer": {"percent": 10}}]}
    finding = only(check("x\nGet 15% off", "Get {{ offer.percent | percent }} off", **given), "offer_differs")
    assert finding.message == "the html says 15%, the scenario's offer is 10%"
    assert (finding.file, finding.line) == ("shop/mail.mjml", 2)
    text = only(check("{{ offer.percent | percent }} off", "x\nSave 15 % now", **given), "offer_differs")
    assert (text.file, text.line) == ("shop/mail.txt", 5)
    subject = check("{{ offer.percent | percent }} off", HEAD.replace("Hello", "15% off today") + "x", **given)
    assert only(subject, "offer_differs").line == 1
    assert check("{{ offer.percent | percent }} off", "{{ offer.percent | percent }} off, 100% linen", **given).ok


@pytest.mark.parametrize("words", ["15 % Nachlass", "Sparen Sie 15 %", "15 % günstiger"])
def test_a_german_promise_is_one(words: str, check: Callable[..., Preflight]) -> None:
    assert only(check(words), "offer_differs").message == "the html promises 15%, the step has no such offer"


@pytest.mark.parametrize("words", ["100% linen", "Made of 55% wool, off white", "98% of you, save the date"])
def test_a_percentage_that_promises_nothing_is_fine(words: str, check: Callable[..., Preflight]) -> None:
    assert check(words, words).findings == ()


@pytest.mark.parametrize(
    "words",
    [
        *("20% off", "20 % de réduction", "Save 20%", "save up to 20 %", "remise de 20 %", "20% Rabatt"),
        *("<b>20%</b> <i>discount</i>", "Less <b>20%</b>"),
    ],
)
def test_a_percentage_beside_a_word_of_giving_is_a_promise(words: str, check: Callable[..., Preflight]) -> None:
    assert only(check(words), "offer_differs").severity == "error"


def test_a_width_in_percent_is_no_offer(check: Callable[..., Preflight]) -> None:
    body = '<table width="80%" style="width:80%"><tr><td>Save now</td></tr></table>'
    assert check(body).ok


def test_a_promise_without_an_offer_blocks(check: Callable[..., Preflight]) -> None:
    assert "the step has no such offer" in only(check("Now 20% off"), "offer_differs").message
    finding = only(check("Now 20% off", class_="transactional"), "offer_in_transactional")
    assert finding.severity == "error"


def test_an_offer_the_mail_does_not_name_is_a_warning(check: Callable[..., Preflight]) -> None:
    given = {"plan": {"offer": {"percent": 10, "code": "TEN"}}, "letters": [{"offer": {"percent": 10, "code": "TEN"}}]}
    result = check("Hello", **given)
    assert [(one.severity, one.rule) for one in result.findings] == [("warning", "offer_not_named")] * 2


@pytest.mark.parametrize(
    ("body", "text", "found"),
    [
        ("10 % off with TEN&amp;MORE", "10 % off with TEN&MORE", False),
        ("10 % off with our code", "10 % off with TEN&MORE", True),
        ("10 % off with TEN&amp;MORE", "10 % off with our code", True),
    ],
)
def test_an_offers_code_stands_in_both_parts_and_a_warning_blocks_nothing(
    check: Callable[..., Preflight], body: str, text: str, found: bool
) -> None:
    offer = {"percent": 10, "code": "TEN&MORE"}
    result = check(body, text + "\n", plan={"offer": offer}, letters=[{"offer": offer}])
    assert ["code in both parts" in one.message for one in result.findings] == [True] * found
    assert (result.errors, result.warnings, result.ok) == ((), result.findings, True)


def test_a_letter_whose_offer_is_not_the_steps_blocks(check: Callable[..., Preflight]) -> None:
    result = check(
        "{{ offer.percent | percent }} off",
        "{{ offer.percent | percent }} off",
        plan={"offer": {"percent": 10}},
        letters=[{"offer": {"percent": 15}}],
    )
    assert "the scenario's step 10" in only(result, "offer_differs").message
    assert (
        "the scenario's step has none"
        in only(
            check(
                "{{ offer.percent | percent }} off",
                "{{ offer.percent | percent }} off",
                letters=[{"offer": {"percent": 5}}],
            ),
            "offer_differs",
        ).message
    )


@pytest.mark.parametrize(
    "address", ["ana@", "ana@example", "ana example@example.org", "a@b@example.org", "", "ana@host.invalid"]
)
def test_an_invalid_address_blocks(address: str, check: Callable[..., Preflight]) -> None:
    assert only(check(letters=[{"to": address}]), "invalid_address").severity == "error"


@pytest.mark.parametrize(
    "address", ["ana@example.org", "ana+x@example.com", "o'brien@example.org", "ana@münchen.example"]
)
def test_addresses_for_tests_and_of_other_scripts_pass(address: str, check: Callable[..., Preflight]) -> None:
    assert check(letters=[{"to": address}]).ok


def test_the_same_decision_twice_blocks(check: Callable[..., Preflight]) -> None:
    finding = only(check(letters=[{}, {"to": "bo@example.org"}]), "duplicate_decision")
    assert (finding.severity, finding.count) == ("error", 1)


def test_two_customers_with_one_address_are_a_warning(check: Callable[..., Preflight]) -> None:
    result = check(letters=[{"decision_id": "a"}, {"decision_id": "b", "to": "ANA@example.org"}])
    assert only(result, "same_address").severity == "warning"


def test_a_missing_sender_blocks(templates: Load, letter: Make, program: Plan) -> None:
    policies = Policies(brand=Brand(name="x", address="y"))
    loaded = templates("Hello", "Hello", policies=policies)
    result = preflight(loaded, [letter(class_="transactional")], program=program("transactional", policies))
    assert only(result, "sender_missing").file == "policies.yaml"


def test_a_sender_without_a_real_address_and_no_postal_address_are_found(
    templates: Load, letter: Make, program: Plan
) -> None:
    policies = Policies(sender=Sender(name="x", email="nobody@localhost"))
    loaded = templates("Hello " + OUT, "Hello " + OUT_TEXT, policies=policies)
    result = preflight(loaded, [letter()], program=program(policies=policies))
    assert [one.rule for one in result.findings] == ["sender_invalid", "postal_address_missing"]


def test_templates_of_another_brand_block(templates: Load, program: Plan) -> None:
    other = program(policies=Policies(sender=Sender(name="x", email="x@example.com"), brand=Brand(name="Other")))
    assert only(preflight(templates(), [], program=other), "policies_differ").severity == "error"


def test_a_step_without_its_mail_is_found_before_any_letter(templates: Load, program: Plan) -> None:
    finding = only(preflight(templates(), [], program=program(send="shop/mial")), "missing_template")
    assert finding.message == "no template 'shop/mial'; did you mean 'shop/mail'?"


def test_steps_inside_branches_and_splits_are_looked_at(templates: Load, program: Plan) -> None:
    plan = program()
    nested = [
        {"branch": "vip", "then": [{"send": "a"}], "else": [{"send": "b"}]},
        {"split": {"name": "s", "arms": {"x": 0.5, "y": 0.5}}, "paths": {"x": [{"send": "c"}], "y": []}},
        {"repeat": 2, "steps": [{"send": "d"}]},
        {"wait_for": {"event": "e", "within": "1d"}, "then": [{"send": "f"}]},
    ]
    scenario = plan.scenarios[0].replace(steps=nested)
    result = preflight(templates(), [], program=Program(scenarios=(scenario,), policies=plan.policies))
    assert [one.template for one in result.errors] == ["a", "b", "c", "d", "f"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenario": "shpo"}, "no scenario 'shpo' in the program; did you mean 'shop'?"),
        ({"step": "other"}, "scenario 'shop' has no send step 'other'"),
    ],
)
def test_a_letter_of_another_program_blocks(
    changes: dict[str, str], message: str, check: Callable[..., Preflight]
) -> None:
    assert only(check(letters=[changes]), "unknown_step").message == message


def test_a_letter_of_another_class_than_its_scenario_blocks(templates: Load, letter: Make, program: Plan) -> None:
    result = preflight(templates(), [letter(class_="transactional")], program=program())
    assert only(result, "unknown_step").message == "the letter is transactional, its scenario marketing"


def test_a_mail_that_falls_back_to_another_language_is_a_warning(check: Callable[..., Preflight]) -> None:
    locales = ["de_DE", "en_GB", "fr_FR", "fr-BE"]
    letters = [{"locale": locale, "decision_id": locale, "to": f"{locale}@example.org"} for locale in locales]
    finding = only(check(letters=letters), "locale_missing")
    assert (finding.severity, finding.count) == ("warning", 3)
    assert finding.message == "not written in fr (2 mails), de (1 mail)"


def test_a_locale_that_is_none_is_told_and_one_of_a_browser_or_with_a_blank_is_read(
    check: Callable[..., Preflight],
) -> None:
    locales = ["German", "", " ", "en ", "en-GB,en;q=0.9,de;q=0.8"]
    letters = [{"locale": one, "decision_id": f"d{n}", "to": f"c{n}@example.org"} for n, one in enumerate(locales)]
    assert only(check(letters=letters), "locale_missing").message == "not written in German (1 mail)"


def test_a_batch_for_bulk_rules_is_told_so(templates: Load, letter: Make, program: Plan) -> None:
    loaded = templates("Hello " + OUT, "Hello " + OUT_TEXT)
    letters = [letter(decision_id=f"d{number}", to=f"c{number}@example.org") for number in range(5_000)]
    assert (
        only(preflight(loaded, letters, program=program(), progress=False, workers=1), "bulk_sender").severity
        == "warning"
    )


def test_the_unsubscribe_links_of_the_sender_are_the_ones_looked_for(
    templates: Load, letter: Make, program: Plan
) -> None:
    loaded = templates("Hello " + OUT, "Hello " + OUT_TEXT)
    result = preflight(
        loaded, [letter()], program=program(), unsubscribe=lambda one: f"https://example.org/u/{one.decision_id}"
    )
    assert result.findings == ()


def test_a_letter_is_named_once_and_read_once_for_the_work_itself(templates: Load, letter: Make, program: Plan) -> None:
    loaded = templates("Hello " + OUT, "Hello\n" + OUT_TEXT)
    letters = [letter(decision_id=f"d{number}", to=f"c{number}@example.org") for number in range(7)]
    asked: list[str] = []
    read: list[object] = []

    class OnDisk(Sequence[Letter]):
        def __len__(self) -> int:
            return len(letters)

        def __getitem__(self, place: Any) -> Any:
            read.append(place)
            return letters[place]

    def link(one: Letter) -> str:
        asked.append(one.decision_id)
        return f"https://example.org/u/{one.decision_id}"

    assert preflight(loaded, OnDisk(), program=program(), unsubscribe=link, progress=False).ok
    assert asked == [one.decision_id for one in letters]
    assert read == [
        *range(8),
        slice(0, 200),
    ]  # to see which mails are needed, until there are no more; then for the work


def test_the_result_is_a_table_and_a_page_that_escapes_what_it_quotes(check: Callable[..., Preflight]) -> None:
    result = check(text="Hello <%= name %>")
    assert list(result.table.columns) == [
        "severity", "rule", "template", "count", "message", "file", "line", "example", "mend",
    ]  # fmt: skip
    assert len(result.table) == 1
    assert "<%= name" not in result._repr_html_()
    assert "&lt;%= name" in result._repr_html_()
    assert "1 error, 0 warnings" in str(result)
    assert "ana@example.org" not in str(result) + result._repr_html_()


@pytest.mark.parametrize(
    ("subject", "rule"),
    [
        ("Re: your order", "subject_misleads"),
        ("FWD : photos", "subject_misleads"),
        ("LAST CHANCE TO SAVE", "subject_shouts"),
        ("Only today!!", "subject_shouts"),
    ],
)
def test_a_subject_that_misleads_or_shouts_is_a_warning(
    subject: str, rule: str, check: Callable[..., Preflight]
) -> None:
    finding = only(check(text=f"subject: {subject}\npreheader: A word\n---\nHello\n"), rule)
    assert (finding.severity, finding.line) == ("warning", 1)


def test_a_subject_with_an_abbreviation_is_fine(check: Callable[..., Preflight]) -> None:
    assert check(text="subject: Your DVD from the USA\npreheader: A word\n---\nHello\n").findings == ()


@pytest.mark.parametrize(
    "link", ["https://localhost/x", "https://192.168.1.4/", "https://shop.test/a", "https://a.local"]
)
def test_a_link_nobody_else_can_follow_blocks(link: str, check: Callable[..., Preflight]) -> None:
    assert only(check(f'<a href="{link}">x</a>', f"x {link}\n"), "dead_link").severity == "error"


def test_an_unsubscribe_link_that_leads_nowhere_is_one_finding_of_all_mails(
    templates: Load, program: Plan, letter: Make
) -> None:
    letters = [letter(decision_id=one, to=f"{one}@example.org") for one in ("a", "b", "c")]
    result = preflight(
        templates("Hello" + OUT, "Hello\n" + OUT_TEXT),
        letters,
        program=program(),
        progress=False,
        unsubscribe=lambda one: f"https://localhost:8443/u/{one.decision_id}",
    )
    finding = only(result, "dead_link")
    assert (finding.severity, finding.count) == ("error", 3)
    assert "'https://localhost'" in finding.message


@pytest.mark.parametrize("link", ["", "#"])
def test_a_link_without_a_goal_blocks(link: str, check: Callable[..., Preflight]) -> None:
    assert only(check(f'Hello\n<a href="{link}">x</a>'), "dead_link").line == 2


@pytest.mark.parametrize(
    ("body", "offer", "rules"),
    [
        ("€5.00 off", {"amount": 5.0, "currency": "EUR"}, []),
        ("5,00\u00a0€ de remise", {"amount": 5.0, "currency": "EUR"}, []),
        ("€7 off", {"amount": 5.0, "currency": "EUR"}, ["offer_differs", "offer_not_named"]),
        ("€1,234.50 off", {"amount": 1234.5, "currency": "EUR"}, []),
        ("A present", {"amount": 5.0, "currency": "EUR"}, ["offer_not_named"]),
        ("€5 off", None, ["offer_differs"]),
        ("€5 for a lamp", None, []),
        ("Free delivery", {"free_shipping": True}, []),
        ("Kostenloser Versand", {"free_shipping": True}, []),
        ("Die Lieferung ist gratis", {"free_shipping": True}, []),
        ("Sie sparen 5 €, also 5 € Nachlass", {"amount": 5.0, "currency": "EUR"}, []),
        ("7 € günstiger", {"amount": 5.0, "currency": "EUR"}, ["offer_differs", "offer_not_named"]),
        ("A present", {"free_shipping": True}, ["offer_not_named"]),
    ],
)
def test_an_amount_or_free_delivery_must_be_the_offers(
    body: str, offer: dict[str, Any] | None, rules: list[str], check: Callable[..., Preflight]
) -> None:
    plan = {"offer": offer} if offer else {}
    found = check(body, body + "\n", letters=[{"offer": offer}], plan=plan).findings
    assert sorted(one.rule for one in found) == rules


def test_a_sender_at_a_mailbox_provider_blocks_and_one_nobody_can_answer_is_told(
    templates: Load, program: Plan
) -> None:
    for email, rule in (("shop@" + "gmail.com", "sender_freemail"), ("no-reply@example.com", "sender_noreply")):
        policies = Policies(sender=Sender(name="Shop", email=email), brand=Brand(name="Shop", address="1 rue"))
        found = preflight(templates(policies=policies), [], program=program(policies=policies)).findings
        assert [one.rule for one in found] == [rule]


def test_links_are_asked_for_once_each_where_one_wants_it(templates: Load, letter: Make, program: Plan) -> None:
    asked: list[str] = []

    def answer(link: str) -> str | None:
        asked.append(link)
        return "404 Not Found" if link.endswith("/gone") else None

    body = f'Hello\n<a href="https://shop.example.com/gone">x</a> <a href="https://shop.example.com/there">y</a>{OUT}'
    text = "https://shop.example.com/gone https://shop.example.com/there\n" + OUT_TEXT
    batch = [letter(decision_id=str(n), to=f"p{n}@example.org") for n in range(3)]
    result = preflight(templates(body, text), batch, program=program(), progress=False, answer=answer)
    finding = only(result, "link_without_answer")
    assert (finding.line, finding.message) == (2, "https://shop.example.com/gone: 404 Not Found")
    assert sorted(asked) == ["https://shop.example.com/gone", "https://shop.example.com/there"]


def test_a_page_that_is_there_answers_and_one_that_is_not_says_why() -> None:
    class Page(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response({"/there": 200, "/gone": 404}.get(self.path, 405))
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/only-read" else 410)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{server.server_port}"
        assert page_answers(f"{place}/there") is None
        assert page_answers(f"{place}/gone") == "404 Not Found"
        assert page_answers(f"{place}/only-read") is None
        assert page_answers(f"{place}/moved-out") == "410 Gone"
        server.shutdown()
    assert "no answer" in str(page_answers(place))
