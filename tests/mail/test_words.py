"""Words stand apart from the layout: one file a language, nothing to quote, every fault with its line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.errors import TemplateError
from toolkit.mail import Letter, Templates, preflight
from toolkit.mail.words import marked_up, plainly, read_words
from toolkit.scenario.models import Policies, Program

Load = Callable[..., Templates]
Make = Callable[..., Letter]
LAYOUT = "subject: {{ words.subject }}\npreheader: {{ words.preheader }}\n---\n{{ words.lead }}\n"
ENGLISH = "subject: Hello\npreheader: A word\nlead: Hi {{ customer.first_name }}\n"
FRENCH = "subject: Bonjour\npreheader: Un mot\nlead: Salut {{ customer.first_name }} ?\n"


@pytest.fixture
def worded(templates: Load) -> Load:
    def load(english: str = ENGLISH, body: str = "{{ words.lead }}", **more: str) -> Templates:
        return templates(body, LAYOUT, words__en__txt=english, **more)

    return load


def test_the_reader_gets_their_locale_else_their_language_else_the_programs(worded: Load, letter: Make) -> None:
    quebec = "subject: Allô\n"
    mail = worded(words__fr__txt=FRENCH, words__fr_CA__txt=quebec)
    assert mail.locales("shop/mail") == ("en", "fr", "fr_CA")
    subjects = {one: mail.render(letter(locale=one)).subject for one in ("en_GB", "fr", "fr_BE", "fr_CA", "de", "")}
    assert subjects == {
        "en_GB": "Hello", "fr": "Bonjour", "fr_BE": "Bonjour", "fr_CA": "Allô", "de": "Hello", "": "Hello"
    }  # fmt: skip
    assert mail.render(letter(locale="fr_CA")).text == "Salut Ana\u00a0?\n"
    assert [one for one in ("en", "fr", "fr_CA", "de") if mail.fell_back("shop/mail", one)] == ["de"]


def test_a_region_that_only_the_brand_writes_has_the_scenarios_own_words_of_its_language(
    tmp_path: Path, letter: Make
) -> None:
    files = {
        "brand/words.en.txt": "preheader: A word\n",
        "brand/words.fr.txt": "preheader: Un mot\n",
        "brand/words.fr_CA.txt": "preheader: Un mot d'ici\n",
        "shop/words.en.txt": ENGLISH.replace("preheader: A word\n", ""),
        "shop/words.fr.txt": FRENCH.replace("preheader: Un mot\n", ""),
        "shop/words.fr_CA.txt": "subject: Allô\n",
        "shop/mail.mjml": "<mjml><mj-body></mj-body></mjml>",
        "shop/mail.txt": LAYOUT,
    }
    (tmp_path / "brand").mkdir()
    (tmp_path / "shop").mkdir()

    def said() -> tuple[str, str, str]:
        mail = Templates.load(tmp_path).render(letter(template="shop/mail", locale="fr_CA"))
        return mail.subject, mail.preheader, mail.text

    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert said() == ("Allô", "Un mot d'ici", "Salut Ana\u00a0?\n")
    (tmp_path / "brand" / "words.fr_CA.txt").unlink()
    assert said() == ("Allô", "Un mot", "Salut Ana\u00a0?\n")


def test_a_preview_says_what_is_in_the_programs_language(worded: Load, folder: Callable[..., Path]) -> None:
    mails = worded(words__fr__txt="subject: Bonjour\n")
    sample = "customer: {first_name: Ana, email: ana@example.org}\nclass: transactional\nat: 2026-03-11\n"
    (folder("{{ words.lead }}", LAYOUT) / "shop" / "sample.yaml").write_text(sample, encoding="utf-8")
    shown = mails.preview("shop", locales=["en", "fr", "de"])
    lacking = "Taken from the program's own language, since shop/words.fr.txt lacks them: lead, preheader."
    assert [one.note for one in shown.previews] == [
        "",
        lacking,
        "Not written in de: shown as readers of de would get it.",
    ]
    assert str(shown).splitlines()[1:3] == ["shop/mail, fr: Bonjour", f"  {lacking}"]


def test_words_of_the_brand_that_are_not_translated_are_told_to_be_missing_in_the_brands_file(
    worded: Load, folder: Callable[..., Path]
) -> None:
    root = folder("{{ words.hello }} {{ words.lead }}", LAYOUT)
    (root / "brand").mkdir()
    (root / "brand" / "words.en.txt").write_text("hello: Hi\n", encoding="utf-8")
    sample = "customer: {first_name: Ana, email: ana@example.org}\nclass: transactional\nat: 2026-03-11\n"
    (root / "shop" / "sample.yaml").write_text(sample, encoding="utf-8")
    french = "subject: Bonjour\npreheader: Un mot\n"
    mails = worded(body="{{ words.hello }} {{ words.lead }}", words__fr__txt=french)
    (preview,) = mails.preview("shop", locales=["fr"]).previews
    assert preview.note == (
        "Taken from the program's own language, since brand/words.fr.txt lacks them: hello; "
        "and since shop/words.fr.txt lacks them: lead."
    )


def test_a_preview_without_sample_data_says_what_to_write(worded: Load, folder: Callable[..., Path]) -> None:
    mails = worded()
    wanted = "lines such as customer: {first_name: Ana}, event: {value: 64}"
    with pytest.raises(TemplateError, match=f"shop/sample.yaml: a preview needs sample data; allowed: {wanted}"):
        mails.preview("shop")
    sample = folder("{{ words.lead }}", LAYOUT) / "shop" / "sample.yaml"
    sample.write_text("customer: {first_name: Ana}\n", encoding="utf-8")
    with pytest.raises(TemplateError, match="at: expected a date; allowed: at: 2026-03-11"):
        mails.preview("shop")


def test_words_are_escaped_and_marked_up_in_html_and_plain_in_text(worded: Load, letter: Make) -> None:
    lead = 'lead: Fish & <chips>, **now**: [see {{ customer.first_name }}]({{ link("https://shop.example.com/") }})\n'
    mail = worded("subject: Hello\npreheader: A word\n" + lead).render(letter())
    assert (
        'Fish &amp; &lt;chips&gt;, <strong>now</strong>: <a href="https://shop.example.com/">see Ana</a>' in mail.html
    )
    assert mail.text == "Fish & <chips>, now: see Ana (https://shop.example.com/)\n"


def test_a_sign_written_as_in_html_is_the_sign_and_a_soft_hyphen_stays_in_the_html(worded: Load, letter: Make) -> None:
    lead = "lead: Größen&shy;berater&nbsp;&amp; 5&euro; &lt;b&gt; &copy=1 [go](https://shop.example.com/?a=1&amp;b=2)\n"
    mail = worded("subject: Größen&shy;berater\npreheader: a&nbsp;b\n" + lead).render(letter())
    assert (mail.subject, mail.preheader) == ("Größenberater", "a\u00a0b")
    assert mail.text == "Größenberater\u00a0& 5€ <b> &copy=1 go (https://shop.example.com/?a=1&b=2)\n"
    link = '<a href="https://shop.example.com/?a=1&amp;b=2">go</a>'
    assert f"Größen\u00adberater\u00a0&amp; 5€ &lt;b&gt; &amp;copy=1 {link}" in mail.html


def test_a_link_in_words_is_checked_like_any_other(worded: Load) -> None:
    with pytest.raises(TemplateError, match=r"words\.en\.txt:3: a link from a value is not checked"):
        worded("subject: Hello\npreheader: A word\nlead: [go]({{ event.url }})\n")


def test_words_that_are_missing_name_the_nearest_and_the_file_to_write_them_in(worded: Load) -> None:
    with pytest.raises(TemplateError) as caught:
        worded(body="{{ words.laed }}")
    assert str(caught.value).startswith("shop/mail.mjml:1: no such words; found 'words.laed'")
    assert "a line laed: ... under [mail] in shop/words.en.txt; did you mean 'lead'?" in str(caught.value)


def test_words_that_no_language_has_are_asked_for_once_in_the_programs_language(worded: Load) -> None:
    with pytest.raises(TemplateError) as caught:
        worded(body="{{ words.more }}", words__fr__txt=FRENCH, words__de__txt=FRENCH)
    assert [fault.allowed for fault in caught.value.faults] == ["a line more: ... under [mail] in shop/words.en.txt"]


def test_words_that_the_brand_has_in_another_language_are_asked_for_in_the_brand(tmp_path: Path) -> None:
    for name, text in {
        "brand/words.fr.txt": "lead: Salut\n",
        "shop/words.en.txt": ENGLISH.replace("lead", "laed"),
    }.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    (tmp_path / "shop" / "mail.mjml").write_text("<mjml><mj-body></mj-body></mjml>")
    (tmp_path / "shop" / "mail.txt").write_text(LAYOUT)
    with pytest.raises(TemplateError, match=r"allowed: a line lead: \.\.\. in brand/words\.en\.txt$"):
        Templates.load(tmp_path)


@pytest.mark.parametrize(
    ("english", "message"),
    [
        (ENGLISH + "Just a sentence\n", "words.en.txt:4: a line that names no words"),
        (ENGLISH + "lead: again\n", "words.en.txt:4: these words are given twice"),
        (ENGLISH.replace("customer", "custmer"), "words.en.txt:3: no such value; found 'custmer'"),
        (ENGLISH + "loop: {{ words.loop }}\n", None),
        (ENGLISH.replace("Hi", "Hi {{ words.lead }}"), "words that name themselves"),
        (
            ENGLISH.replace("Hi", "[shop] (https://shop.example.com)"),
            "words.en.txt:3: this is no link, and would stand",
        ),
        (ENGLISH.replace("Hi", "[shop](https://shop.example.com"), "words.en.txt:3: this is no link, and would stand"),
        (ENGLISH.replace("Hi", "[shop](javascript:alert(1))"), "words.en.txt:3: a link that runs code"),
        (ENGLISH.replace("Hi", "{% if now %}a{% else if now %}b{% endif %}"), "allowed: {% elif ... %}"),
        (ENGLISH.replace("customer.first_name", "customer.first_name | default(“you”)"), 'straight quotes: "you"'),
        (ENGLISH.replace("Hi", "[new] (for you), [2], **"), None),
        (ENGLISH + "more: " + "{{ '" * 2001 + "\n", None),
        (
            ENGLISH.replace("Hi", "{{ '" * 20_000),
            "words.en.txt: too many jinja tags",
        ),  # each would be looked for to the end
    ],
)
def test_a_fault_in_the_words_is_named_by_their_file_and_line(english: str, message: str | None, worded: Load) -> None:
    if message is None:  # what no layout asks for is not looked at
        worded(english)
        return
    with pytest.raises(TemplateError) as caught:
        worded(english)
    assert message in str(caught.value)


def test_an_undefined_value_is_named_by_the_line_of_the_words(worded: Load, letter: Make) -> None:
    with pytest.raises(TemplateError, match=r"shop/words\.en\.txt:3: undefined variable; found 'customer\.first_name'"):
        worded().render(letter(customer={}))


def test_without_words_in_the_programs_language_there_is_nothing_to_fall_back_on(folder: Callable[..., Path]) -> None:
    place = folder("{{ words.lead }}", LAYOUT, words__fr__txt=FRENCH)
    with pytest.raises(TemplateError, match=r"shop/words\.en\.txt: no words in the program's own language; found 'fr'"):
        Templates.load(place, Policies(locale="en_GB"))
    assert Templates.load(place, Policies(locale="fr_FR")).locales("shop/mail") == ("fr",)


def test_what_is_not_translated_is_said_by_the_preflight(
    worded: Load, letter: Make, program: Callable[..., Program]
) -> None:
    mail = worded(words__fr__txt=FRENCH.replace("preheader", "# preheader"))
    made = replace(letter(class_="transactional"), locale="fr_FR")
    found = preflight(mail, [made], program=program(class_="transactional"), progress=False).findings
    assert [(one.rule, one.message, one.file) for one in found] == [
        ("words_untranslated", "words.preheader in the program's language", "shop/words.fr.txt")
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("words__fr-FR__txt", "words.fr_FR.txt"), ("words__FR__txt", "words.fr.txt"), ("words__french__txt", None)],
)
def test_a_file_of_words_whose_name_is_no_language_is_said_and_not_passed_over(
    name: str, meant: str | None, worded: Load
) -> None:
    with pytest.raises(TemplateError) as caught:
        worded(**{name: FRENCH})
    (fault,) = caught.value.faults
    assert (fault.message, fault.nearest) == ("words in no language", meant)


def test_words_for_a_mail_that_is_not_there_are_said_with_their_line(worded: Load) -> None:
    with pytest.raises(TemplateError) as caught:
        worded(ENGLISH + "\n[mial]\nsubject: Never read\n")
    assert str(caught.value) == (
        "shop/words.en.txt:5: words for a mail that is not there; found '[mial]'; allowed: [mail]; did you mean 'mail'?"
    )


@pytest.mark.parametrize("locale", ["fr-FR", "fr_FR", "FR", "fr"])
def test_the_programs_own_language_may_be_written_in_every_usual_way(locale: str, folder: Callable[..., Path]) -> None:
    place = folder("{{ words.lead }}", LAYOUT, words__fr__txt=FRENCH)
    assert Templates.load(place, Policies(locale=locale)).locales("shop/mail") == ("fr",)


@pytest.mark.parametrize("locale", ["english", "xx", ""])
def test_a_locale_of_the_program_that_there_is_not_is_said_when_the_templates_are_loaded(
    locale: str, folder: Callable[..., Path]
) -> None:
    with pytest.raises(
        TemplateError, match=r"policies\.yaml: locale: no such locale; .*; allowed: a locale such as en"
    ):
        Templates.load(folder(), Policies(locale=locale))


def test_a_changed_word_changes_the_hash(worded: Load) -> None:
    before = worded().hashes
    assert worded(ENGLISH.replace("Hi", "Hey")).hashes != before


def test_words_may_go_on_in_lines_that_begin_with_a_space() -> None:
    words, faults = read_words("# note\nlead: one\n  two\n\n[mail]\nlead: three", "shop/words.en.txt")
    assert (words[""]["lead"][0], words["mail"]["lead"]) == ("one two", ("three", "shop/words.en.txt", 6))
    assert faults == []


def test_a_french_sign_does_not_begin_a_line_and_a_link_keeps_its_colon() -> None:
    assert marked_up("Un doute ? [Oui](https://a.example/b) : non", [], "fr").count("\u00a0") == 2
    assert plainly("Is it so ? Yes", [], "en") == "Is it so ? Yes"
