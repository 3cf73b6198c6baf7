"""The html of a mail made safe to look at: it runs nothing, loads nothing, and shows the colour scheme asked for.

A mail that is looked at in a notebook must not count as opened, so nothing of it may reach the network: a content
security policy forbids it, the frame is sandboxed, and what would be asked for is taken out before it leaves Python.
"""

from __future__ import annotations

import html as html_entities
import re
from urllib.parse import quote

__all__ = ["frame", "safe_html"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_RULES = (
    ":where(a[title]){color:#0645ad;text-decoration:underline;cursor:pointer}"
    "html{scrollbar-width:thin}body{min-height:100vh;box-sizing:border-box}"
    "body:focus-visible{outline:2px solid #c96a00;outline-offset:-2px}"
)
_SCRIPT = re.compile(
    r"<(script|iframe|object|embed|form)\b.*?</\1\s*>|<(?:script|iframe|object|embed|link|base)\b[^>]*>", re.I | re.S
)
_REFRESH = re.compile(r"<meta\b[^>]*\bhttp-equiv\b[^>]*>", re.I)
_IMAGE = re.compile(r"<img\b((?:\"[^\"]*\"|'[^']*'|[^<>\"'])*)>", re.I)
_SOURCE = re.compile(r"\s(?:src|srcset|background|poster)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.I)
_BACKGROUND = re.compile(
    r"(<(?:body|table|td|th|tr|div)\b(?:\"[^\"]*\"|'[^']*'|[^<>\"'])*?)\sbackground\s*=\s*(?:\"[^\"]*\"|'[^']*')", re.I
)
_LINK = re.compile(r"(<a\b(?:\"[^\"]*\"|'[^']*'|[^<>\"'])*?\s)href\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.I)
_CSS_URL = re.compile(r"url\(\s*(?!['\"]?data:)[^)]*\)", re.I)
_CSS_IMPORT = re.compile(r"@import\b[^;{}<]*;?", re.I)
_SCHEME = re.compile(r"\(\s*prefers-color-scheme\s*:\s*(dark|light)\s*\)", re.I)
_COLOUR_SCHEME = re.compile(r"\b(supported-color-schemes|color-scheme)\s*:\s*[a-z ]+", re.I)
_BODY = re.compile(r"<body\b(?![^>]*\btabindex\b)", re.I)
_NUMBER = re.compile(r"\b(width|height)\s*=\s*[\"']?(\d{1,4})", re.I)


def safe_html(html: str, *, dark: bool = False, images: bool = True) -> str:
    """The document as a mail program would show it, with nothing in it that runs or asks the network.

    Args:
        html: of a mail.
        dark: as a mail program in dark mode shows it; False is light, whatever the reader's own screen prefers.
        images: draw a grey tile where an image of the network stands; False leaves the alternative text, as mail
            programs do that show no images.

    Returns:
        A complete html document; links keep their goal as `title`. Since they lead nowhere, no key would come into its
        frame: the page itself can be reached by Tab, and scrolled.

    >>> 'href' in safe_html('<a href="https://shop.example.com/">Shop</a>')
    False
    """
    html = _REFRESH.sub("", _SCRIPT.sub("", html))
    html = _IMAGE.sub(lambda image: _image(image[1], images), html)
    html = _BACKGROUND.sub(r"\1", html)
    html = _LINK.sub(lambda link: f'{link[1]}title="{link[2] if link[2] is not None else link[3]}"', html)
    html = _CSS_URL.sub("none", _CSS_IMPORT.sub("", html))
    html = _SCHEME.sub(lambda query: "(min-width:0)" if (query[1].lower() == "dark") is dark else "(max-width:0)", html)
    html = _COLOUR_SCHEME.sub(lambda rule: f"{rule[1]}:{'dark' if dark else 'light'}", html)
    html = _BODY.sub("<body tabindex=0", html, count=1)
    head = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><style>{_RULES}</style>'
    at = re.search(r"<head\b[^>]*>", html, re.I)
    if at is None:
        return f"<!doctype html><html><head>{head}</head><body tabindex=0>{html}</body></html>"
    return html[: at.end()] + head + html[at.end() :]


def frame(document: str, *, width: int, height: int, label: str, scale: float = 1.0) -> str:
    """A sandboxed frame around a document: no scripts, no forms, no way out.

    Args:
        document: from `safe_html`.
        width: of the window the mail believes it is in, in px.
        height: in px.
        label: for screen readers.
        scale: 1 is life size; 0.4 a thumbnail.
    """
    source = html_entities.escape(document, quote=True)
    style = f"display:block;width:{width}px;height:{height}px;border:0;background:transparent"
    if scale != 1.0:
        style += f";transform:scale({scale:g});transform-origin:0 0"
    inner = (
        f'<iframe sandbox="" referrerpolicy="no-referrer" loading="lazy" title="{html_entities.escape(label)}" '
        f'srcdoc="{source}" style="{style}"></iframe>'
    )
    if scale == 1.0:
        return inner
    return f'<div style="width:{width * scale:g}px;height:{height * scale:g}px;overflow:hidden">{inner}</div>'


def _image(attributes: str, images: bool) -> str:
    source = re.search(r"\ssrc\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", attributes, re.I)
    given = (source[1] if source[1] is not None else source[2]) if source else ""
    rest = _SOURCE.sub("", attributes).rstrip().rstrip("/")
    if images and given[:11].lower() == "data:image/":
        return f'<img{rest} src="{given}">'
    if not images:
        return f"<img{rest}>"
    size = {name.lower(): min(int(number), 1200) for name, number in _NUMBER.findall(rest)}
    width, height = size.get("width", 600), size.get("height", size.get("width", 600) * 9 // 16)
    drawing = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        '<rect width="100%" height="100%" fill="#c9cdd6"/>'
        '<path d="M0 100 L40 40 L62 70 L74 54 L100 100Z" fill="#aab0bd" transform="translate(0 0)"/></svg>'
    ).replace('transform="translate(0 0)"', f'transform="scale({width / 100:g} {height / 100:g})"')
    return f'<img{rest} src="data:image/svg+xml,{quote(drawing)}">'
