"""Draw the contact sheets of the shipped mails, in a real Chromium: `python -m tests.mail.contact_sheet`.

Every mail in both languages, at 320, 600 and 800 px, light and dark, into a folder (`build/mails` unless given), to be
looked at; and the two sheets that stand in docs/images.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import sync_playwright

from toolkit.mail import Templates
from toolkit.scenario import load

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
WIDTHS = (320, 600, 800)
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"


def pictures(templates: Templates, folder: Path) -> Iterator[tuple[str, str, int, str, Path]]:
    """Name, locale, width, scheme and file of each picture, as it is taken."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            for width in WIDTHS:
                page: Any = browser.new_page(viewport={"width": width, "height": 400}, color_scheme=scheme)
                for name in templates.names:
                    for locale in ("en", "fr"):
                        page.set_content(templates[name].preview(locale=locale).mail.html)
                        path = folder / f"{name.replace('/', '.')}.{locale}.{width}.{scheme}.png"
                        page.screenshot(path=str(path), full_page=True)
                        yield name, locale, width, scheme, path
                page.close()
        browser.close()


def sheet(files: list[tuple[str, Path]], path: Path, *, columns: int, width: int, crop: float = 2.4) -> None:
    """Pictures in rows, each with its name, scaled to a width and cut at a height."""
    font = ImageFont.truetype(FONT, 13 if width > 200 else 10)
    gap, words, height = 18, 38, int(width * crop)
    rows = -(-len(files) // columns)
    whole = Image.new("RGB", (gap + columns * (width + gap), gap + rows * (height + words + gap)), "#e4e6ee")
    draw = ImageDraw.Draw(whole)
    for number, (label, file) in enumerate(files):
        left = gap + number % columns * (width + gap)
        top = gap + number // columns * (height + words + gap)
        with Image.open(file) as picture:
            small = picture.convert("RGB").resize((width, round(picture.height * width / picture.width)), Image.LANCZOS)
        whole.paste(small.crop((0, 0, width, min(small.height, height))), (left, top + words))
        draw.multiline_text((left, top), label.replace("/", "\n"), fill="#161d38", font=font, spacing=3)
    whole.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def notebook(templates: Templates, path: Path) -> None:
    """The preview as a notebook shows it, beside itself in dark mode on a phone."""
    preview = templates["abandoned_cart/offer"].preview(customer={"first_name": "Zoé"})
    phone = preview._repr_html_()
    at = re.search(r'id="(jtk-mail-\d+)-3"', phone)
    assert at is not None
    phone = phone.replace(f'id="{at[1]}-0" checked', f'id="{at[1]}-0"').replace(
        f'id="{at[1]}-3"', f'id="{at[1]}-3" checked'
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1320, "height": 860}, color_scheme="light")
        style = "display:flex;gap:24px;padding:20px;background:#fff"
        page.set_content(f"<div style='{style}'><div>{preview._repr_html_()}</div><div>{phone}</div></div>")
        page.wait_for_timeout(300)
        page.screenshot(path=str(path))
        browser.close()
    with Image.open(path) as picture:
        picture.convert("RGB").resize((1056, 688), Image.LANCZOS).quantize(128).save(path, optimize=True)


def main(folder: Path) -> None:
    """All pictures, sheets of them to look at, and the three for docs."""
    templates = Templates.load(ROOT / "templates", load(ROOT / "templates").policies)
    taken = list(pictures(templates, folder))
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            for locale in ("en", "fr"):
                files = [(n, p) for n, at, w, s, p in taken if (at, w, s) == (locale, width, scheme)]
                sheet(files, folder / f"sheet.{locale}.{width}.{scheme}.png", columns=5, width=300, crop=2.6)
    shown = {(n, at, w, s): p for n, at, w, s, p in taken}
    desktop = [(n, shown[n, "en", 600, "light"]) for n in templates.names]
    phone = [(n, shown[n, "fr", 320, "dark"]) for n in templates.names]
    sheet(desktop, IMAGES / "mails_desktop.png", columns=5, width=216, crop=1.9)
    sheet(phone, IMAGES / "mails_phone_dark.png", columns=7, width=150, crop=2.6)
    notebook(templates, IMAGES / "mail_preview.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "mails")
