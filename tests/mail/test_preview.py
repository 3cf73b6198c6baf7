"""The preview shows a mail as its reader sees it, and nothing in it reaches the network."""

import html as entities
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from toolkit.errors import InputError, TemplateError
from toolkit.mail import VIEWS, Letter, Templates
from toolkit.mail.showing import safe_html
from toolkit.scenario.models import Program

Load = Callable[..., Templates]
Make = Callable[..., Letter]

HOSTILE = """<html><head><meta http-equiv="refresh" content="0;url=https://evil.example/"><base href="https://evil.example/">
<link rel="stylesheet" href="https://evil.example/a.css"><style>@import url(https://evil.example/b.css);
.a{background:url('https://evil.example/c.png')}</style></head><body background="https://evil.example/d.png">
<script>fetch("https://evil.example/e")</script><iframe src="https://evil.example/f"></iframe>
<img src="https://evil.example/g.png" srcset="https://evil.example/h.png 2x" alt="A lamp" width="80" height="40">
<table background='https://evil.example/i.png'><tr><td style="background:url(https://evil.example/j.png)">x</td></tr>
</table><video poster="https://evil.example/k.png"></video>
<a href="https://evil.example/l">go</a><form action="https://evil.example/m"><input></form></body></html>"""


def test_nothing_that_could_be_loaded_is_left_in_what_is_shown() -> None:
    for images in (True, False):
        shown = safe_html(HOSTILE, images=images)
        left = re.findall(r"evil\.example/\w[\w.]*", shown)
        assert left == ["evil.example/k.png", "evil.example/l"]  # the policy forbids the first; the second is a title
        assert "default-src 'none'" in shown
        assert "<script" not in shown
        assert 'title="https://evil.example/l"' in shown


def test_dark_and_light_are_what_was_asked_for_on_every_screen() -> None:
    css = "<html><head><style>@media (prefers-color-scheme: dark) {a{color:red}}</style></head></html>"
    assert "@media (min-width:0)" in safe_html(css, dark=True)
    assert "@media (max-width:0)" in safe_html(css, dark=False)


def test_images_off_leaves_the_alternative_text_and_images_on_a_tile_of_the_size() -> None:
    mail = '<html><head></head><body><img src="https://cdn.example.com/a.png" alt="A lamp" width="80" height="40">'
    assert '<img alt="A lamp" width="80" height="40">' in safe_html(mail, images=False)
    assert "data:image/svg+xml" in safe_html(mail)
    assert "cdn.example.com" not in safe_html(mail)


def test_a_mail_previews_for_a_row_of_the_customers_table(library: Templates) -> None:
    rows = pd.DataFrame({"first_name": ["Zoé", None], "locale": ["fr", "en"], "timezone": ["Paris", None]})
    mail = library["abandoned_cart/reminder"]
    assert mail.preview(customer=rows.iloc[0]).mail.subject == "Zoé, votre panier vous attend"
    assert mail.preview(customer=rows.iloc[1]).mail.subject == "Your basket is still here"


def test_a_name_of_blanks_is_no_name(library: Templates) -> None:
    for name in ("", "  ", "\u00a0"):
        preview = library["abandoned_cart/reminder"].preview(customer={"first_name": name})
        assert preview.mail.subject == "Your basket is still here"
        assert "Hello," in preview.text
    assert "Hello ," not in preview.text


def test_a_value_that_the_sample_data_lack_is_asked_for_in_their_file(templates: Load) -> None:
    mails = templates("{{ event.colour }}", sample__yaml="at: 2026-03-11\ncustomer: {first_name: Ana}\nevent: {}\n")
    with pytest.raises(
        TemplateError, match=r"found 'event\.colour'; allowed: a value of that name in shop/sample\.yaml"
    ):
        mails.preview()


def test_one_language_may_be_given_without_a_list(library: Templates) -> None:
    assert library.preview("welcome", locales="fr").labels == library.preview("welcome", locales=["fr"]).labels


@pytest.mark.parametrize("name", ["customer", "event", "offer"])
def test_values_that_have_no_names_are_said(name: str, library: Templates) -> None:
    for wrong in ("Ana", ["Ana"], 3):
        with pytest.raises(TemplateError, match=rf"{name}: expected values by name; .* a dict, or a row of a table"):
            library["abandoned_cart/offer"].preview(**{name: wrong})


def test_what_is_no_folder_no_policies_or_no_name_of_a_mail_is_said(library: Templates) -> None:
    wrong: Any = 3
    with pytest.raises(TemplateError, match="found 3; allowed: the path of a folder"):
        Templates.load(wrong)
    with pytest.raises(TemplateError, match=r"expected policies; found 'Program'; .* program\.policies"):
        Templates.load("templates", Program(scenarios=()))  # type: ignore[arg-type]
    with pytest.raises(TemplateError, match="no such template; found 3"):
        library[wrong]


SAMPLE = "customer: {first_name: Ana}\nat: 2026-03-01\n"


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ("event: [1]", "event"), ("offers: x", "offers"), ("offers: {mail: 10}", "offers.mail"),
        ("locales: fr", "locales"), ("locales: {en: x}", "locales.en"),
        ("locales: {en: {event: 3}}", "locales.en.event"),
    ],
)  # fmt: skip
def test_sample_data_of_another_form_is_named_by_its_path(more: str, path: str, templates: Load) -> None:
    mails = templates(sample__yaml=SAMPLE + more)
    with pytest.raises(TemplateError, match=r"shop/sample\.yaml: .*expected values by name") as caught:
        mails["shop/mail"].preview()
    assert [fault.path for fault in caught.value.faults] == [path]


def test_a_picture_needs_a_width_that_is_a_number_and_a_folder(library: Templates, tmp_path: Path) -> None:
    preview = library["welcome/hello"].preview()
    with pytest.raises(InputError, match=r"expected a width of 280 to 1600 px .* found 'wide'"):
        preview.png(tmp_path / "a.png", width="wide")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="there is no folder"):
        preview.png(tmp_path / "no" / "a.png")


def test_a_mail_previews_for_its_sample_and_for_a_customer_given(library: Templates) -> None:
    mail = library["abandoned_cart/reminder"]
    assert mail.preview().mail.subject == "Ana, your basket is still here"
    preview = mail.preview(customer={"first_name": "Zoé", "email": "zoe@example.org"}, event={"value": 40})
    assert preview.mail.subject == "Zoé, your basket is still here"
    assert "€40.00" in preview.text
    assert "To: zoe@example.org" in preview.headers
    assert "List-Unsubscribe-Post: List-Unsubscribe=One-Click" in preview.headers
    assert mail.preview(customer={"first_name": None}).mail.subject == "Your basket is still here"


def test_a_notebook_shows_every_view_in_sandboxed_frames_that_load_nothing(library: Templates) -> None:
    shown = library["welcome/hello"].preview()._repr_html_()
    frames = re.findall(r'<iframe sandbox="" [^>]*srcdoc="([^"]*)"', shown)
    assert len(frames) == shown.count("<iframe") == len(VIEWS) + 2
    for source in frames:
        assert "Content-Security-Policy" in source
        assert not re.search(r"\s(?:src|href)=", entities.unescape(source))
    assert "<script" not in shown
    assert not re.search(r"\s(?:src|href)=", shown)


def test_two_previews_in_one_notebook_do_not_share_their_switches(library: Templates) -> None:
    preview = library["welcome/hello"].preview()
    first, second = (set(re.findall(r'name="([^"]+)"', preview._repr_html_())) for _ in range(2))
    assert not first & second


def test_a_hostile_subject_stays_text_in_the_preview(templates: Load, folder: Any, letter: Make) -> None:
    loaded = templates("x{{ unsubscribe }}", "subject: {{ customer.n }}\npreheader: p\n---\n{{ unsubscribe }}")
    shown = loaded.preview_of(letter(customer={"n": '"><script>alert(1)</script>'}))._repr_html_()
    assert "<script" not in shown


def test_an_unknown_view_or_scenario_names_the_nearest(library: Templates) -> None:
    with pytest.raises(InputError, match="did you mean 'phone'"):
        library["welcome/hello"].preview().frame("fone")
    with pytest.raises(TemplateError, match="did you mean 'welcome'"):
        library.preview("welcom")
    with pytest.raises(TemplateError, match="did you mean 'welcome/hello'"):
        library["welcome/helo"]


def test_a_scenario_is_a_grid_of_all_its_mails(library: Templates) -> None:
    grid = library.preview("welcome")
    assert [one.letter.template for one in grid] == ["welcome/favourites", "welcome/first_order", "welcome/hello"]
    assert grid._repr_html_().count("<iframe sandbox") == 3
    assert "welcome/hello: Welcome to Maison Lune, Ana" in str(grid)


@pytest.fixture
def page() -> Iterator[Any]:
    """An empty page in Chromium."""
    if shutil.which("chromium") is None:
        pytest.skip("/usr/bin/chromium is not here: apt-get install chromium")
    with pytest.importorskip("playwright.sync_api").sync_playwright() as run:
        browser = run.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser.new_page()
        browser.close()


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="/usr/bin/chromium is not here: apt-get install chromium")
def test_a_preview_becomes_a_picture_of_its_width(library: Templates, tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api")
    path = library["welcome/hello"].preview().png(tmp_path / "hello.png", width=320, dark=True)
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(content[16:20], "big") == 320
    assert int.from_bytes(content[20:24], "big") > 700


def test_a_picture_of_a_width_no_window_has_is_refused(library: Templates, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="280 to 1600"):
        library["welcome/hello"].preview().png(tmp_path / "x.png", width=20)


def becomes(page: Any, condition: str) -> None:
    """Ask the frame until it is so: where no script may run, nothing that Playwright asks again by itself is asked."""
    failing = pytest.importorskip("playwright.sync_api").Error
    for _ in range(100):
        with suppress(failing):  # its page is just being put in
            if page.frames[1].evaluate(condition):
                return
        page.wait_for_timeout(100)
    pytest.fail(f"never {condition}")


@pytest.mark.browser
def test_a_mail_in_its_frame_is_reached_and_scrolled_by_keys(library: Templates, page: Any) -> None:
    preview = library["abandoned_cart/offer"].preview()
    for view in ("desktop", "phone", "text"):
        page.set_content(f"<button>before</button>{preview.frame(view, height=200)}<button>after</button>")
        becomes(page, "document.body.scrollHeight > innerHeight")
        page.get_by_role("button", name="before").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("PageDown")
        becomes(page, "scrollY > 0")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "after"


_STANDS_OUT = """
(() => {
  const light = (color) => color.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255)
    .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, at) => sum + [0.2126, 0.7152, 0.0722][at] * one, 0.05);
  const style = getComputedStyle(document.body), ring = light(style.outlineColor);
  const edges = [...document.querySelectorAll("body, body *")].filter((one) => one.getBoundingClientRect().left < 2)
    .map((one) => getComputedStyle(one).backgroundColor).filter((color) => color.startsWith("rgb("));
  return style.outlineStyle === "solid" && edges.length > 0
    && edges.every((color) => Math.max(ring, light(color)) / Math.min(ring, light(color)) >= 3);
})()
"""


@pytest.mark.browser
def test_the_ring_of_a_mail_that_the_keys_are_in_stands_out_of_it_in_light_and_in_dark(
    library: Templates, page: Any
) -> None:
    preview = library["abandoned_cart/reminder"].preview()
    for view in ("phone", "phone, dark"):
        page.set_content(f"<button>before</button>{preview.frame(view, height=200)}")
        becomes(page, "document.body.scrollHeight > innerHeight")
        page.get_by_role("button", name="before").focus()
        page.keyboard.press("Tab")
        becomes(page, _STANDS_OUT)
