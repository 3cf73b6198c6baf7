"""Draw the contact sheets of the shipped mails, in a real Chromium: `python -m tests.mail.contact_sheet`.

Every mail in both languages, at 320, 600 and 800 px, light and dark, into a folder (`build/mails` unless given), to be
looked at; and the two sheets that stand in docs/images.
"""

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
    font = ImageFont.truetype(FONT, 13)
    gap, words, height = 18, 24, int(width * crop)
    rows = -(-len(files) // columns)
    whole = Image.new("RGB", (gap + columns * (width + gap), gap + rows * (height + words + gap)), "#e4e6ee")
    draw = ImageDraw.Draw(whole)
    for number, (label, file) in enumerate(files):
        left = gap + number % columns * (width + gap)
        top = gap + number // columns * (height + words + gap)
        with Image.open(file) as picture:
            small = picture.convert("RGB").resize((width, round(picture.height * width / picture.width)), Image.LANCZOS)
        whole.paste(small.crop((0, 0, width, min(small.height, height))), (left, top + words))
        draw.text((left, top + 4), label, fill="#161d38", font=font)
    whole.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def main(folder: Path) -> None:
    """All pictures, sheets of them to look at, and the two for docs."""
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


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "mails")
