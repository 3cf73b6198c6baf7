"""Our html beside that of npm's mjml, pixel by pixel: `python -m tests.mail.beside_mjml NODE_FOLDER`.

NODE_FOLDER is where `npm install mjml` was run. Every mail of the library, in English, is written out as MJML with its
values, compiled by npm's mjml, and both are photographed in Chromium at 600 and 320 px. Prints a table in Markdown.
"""

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from PIL import Image, ImageChops
from playwright.sync_api import sync_playwright

from toolkit.mail import PREVIEW_UNSUBSCRIBE, Templates
from toolkit.mail.formats import locale_of
from toolkit.mail.sandbox import RenderState, Sandbox, check_tree, run
from toolkit.mail.semantics import with_headings
from toolkit.mail.source import Reader, to_jinja
from toolkit.mail.values import plain
from toolkit.mail.variants import _said
from toolkit.mail.words import Words
from toolkit.scenario import load

ROOT = Path(__file__).parents[2] / "templates"
NAMES = ("customer", "event", "offer", "brand", "sender", "locale", "now", "unsubscribe", "subject", "preheader")


def as_mjml(templates: Templates, name: str) -> str:
    """The MJML of a mail with its words, parts and values in it."""
    letter = templates.sample(name)
    mail = templates.render(letter)
    reader = Reader(ROOT)
    path = ROOT / f"{name}.mjml"
    reader.words = Words("en", _said(reader, (path.parent, ROOT / "brand"), "en", name), {}, "")
    source, _ = to_jinja(reader.pieces(path))
    environment = Sandbox(html=True)
    tree = environment.parse(source)
    assert not check_tree(tree, NAMES)
    template = environment.template_class.from_code(environment, environment.compile(tree), environment.globals)
    values: dict[str, Any] = {
        "customer": plain(letter.customer, "customer"),
        "event": plain(letter.event, "event"),
        "brand": plain(templates.policies.brand.model_dump(exclude_none=True), "brand"),
        "sender": {},
        "locale": "en",
        "now": letter.at,
        "subject": mail.subject,
        "preheader": mail.preheader,
        "unsubscribe": PREVIEW_UNSUBSCRIBE,
    }
    if letter.offer:
        values["offer"] = plain(letter.offer, "offer")
    state = RenderState(locale_of("en"), ZoneInfo("Europe/Paris"), "EUR")
    return "".join(run(template, values, state))


def main(node: Path) -> None:
    """The table."""
    templates = Templates.load(ROOT, load(ROOT).policies)
    print("| mail | 600 px | 320 px |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in templates.names:
            source, theirs = Path(folder, "mail.mjml"), Path(folder, "mail.html")
            source.write_text(as_mjml(templates, name), encoding="utf-8")
            subprocess.run([node / "node_modules/.bin/mjml", source, "-o", theirs], check=True, capture_output=True)
            ours = templates.render(templates.sample(name)).html
            cells = []
            for width in (600, 320):
                pictures = []
                for html in (ours, with_headings(theirs.read_text(encoding="utf-8"))):
                    page: Any = browser.new_page(viewport={"width": width, "height": 400})
                    page.set_content(html)
                    pictures.append(Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB"))
                    page.close()
                cells.append(difference(*pictures))
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
        browser.close()


def difference(ours: Image.Image, theirs: Image.Image) -> str:
    """The share of pixels that differ by more than 8 of 255 in a colour."""
    height = max(ours.height, theirs.height)
    both = []
    for one in (ours, theirs):
        page = Image.new("RGB", (ours.width, height), "#ff00ff")
        page.paste(one, (0, 0))
        both.append(page)
    band = ImageChops.difference(*both).convert("RGB").split()
    most = ImageChops.lighter(ImageChops.lighter(band[0], band[1]), band[2])
    different = sum(most.histogram()[9:])
    taller = f", {ours.height - theirs.height:+d} px high" if ours.height != theirs.height else ""
    return f"{different / (ours.width * height):.2%}{taller}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
