"""The content transfer encodings of a part (RFC 2045): quoted-printable, or base64 where that is shorter.

A mail is mostly the words of its template, the same for every recipient. So quoted-printable is made piece by piece, as
the template wrote them, each piece once; only what differs from reader to reader is encoded anew.
"""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Sequence
from functools import lru_cache

from toolkit.errors import Fault, TemplateError

__all__ = ["body_part"]

_LINE = 76
_PRINTABLE = b"\t\n" + bytes(range(32, 127))
_CALL_BACK = "toolkit.mail.quoted_printable"
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SPACE_AT_END = re.compile(rb"[ \t](?=\n)")
_SPACE_AT_VERY_END = re.compile(rb"[ \t](?=\n|\Z)")
_SOFT = re.compile(rb".{1,75}(?<!=)(?<!=.)", re.DOTALL)  # never inside an escape
_Encoded = tuple[bytes, int, int, bool, int]


def body_part(kind: str, content: str, pieces: Sequence[str] = ()) -> bytes:
    """The headers and the encoded body of one part.

    Args:
        kind: `plain` or `html`.
        content: its text; a newline at its end is added where there is none.
        pieces: the content in the pieces that it was put together from, where they are known.

    Raises:
        TemplateError: NUL, or half of a letter (a lone surrogate).

    >>> body_part("plain", "Hello Zoé, your basket is still here.").split(b"\\r\\n")[-2]
    b'Hello Zo=C3=A9, your basket is still here.'
    """
    body = _from_pieces(pieces) if pieces else None
    encoding = "quoted-printable"
    if body is None:
        encoding, body = _from_whole(kind, content)
    head = f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode("ascii") + body


def _from_pieces(pieces: Sequence[str]) -> bytes | None:
    """Quoted-printable of pieces; None where the whole has to be looked at."""
    out = []
    column = 0
    escapes = 0
    size = 0
    for piece in pieces:
        encoded = _piece(piece)
        if encoded is None:
            return None
        data, first, last, broken, extra = encoded
        if column and column + first > _LINE - 1:
            out.append(b"=\r\n")
            column = 0
        out.append(data)
        column = last if broken else column + last
        escapes += extra
        size += len(data)
    # An escape is two bytes longer than its byte, base64 a third longer than everything.
    if 27 * 2 * escapes > 7 * size:
        return None
    if column or not size:
        out.append(b"\r\n")
    return b"".join(out)


@lru_cache(maxsize=1 << 13)
def _piece(piece: str) -> _Encoded | None:
    """A piece encoded as if it began a line: bytes, length of its first and last line, more than one, escapes."""
    if "\r" in piece or "\0" in piece:
        return None
    try:
        data = piece.replace("=", "=3D").encode("ascii", _CALL_BACK)
    except UnicodeEncodeError:
        return None
    if len(data.translate(None, _PRINTABLE)):
        data = _CONTROL.sub(_escaped_match, data)
    # What follows is not known here: a space at the very end is written out, so that no line can end in one.
    data = _SPACE_AT_VERY_END.sub(_escaped_match, data)
    whole = b"\r\n".join([_folded(line) for line in data.split(b"\n")])
    first = whole.find(b"\r\n")
    last = len(whole) - whole.rfind(b"\n") - 1
    return whole, len(whole) if first < 0 else first, last, first >= 0, data.count(b"=")


def _folded(line: bytes) -> bytes:
    return line if len(line) < _LINE else b"=\r\n".join(_SOFT.findall(line))


def _from_whole(kind: str, content: str) -> tuple[str, bytes]:
    if "\0" in content:
        raise _refused(kind, "NUL", "text without NUL")
    if "\r" in content:
        content = content.replace("\r\n", "\n").replace("\r", "\n")
    if not content.endswith("\n"):
        content += "\n"
    try:
        data = content.encode("utf-8")
    except UnicodeEncodeError as fault:
        raise _refused(kind, "half of a letter (a lone surrogate)", "whole letters") from fault
    # Quoted-printable spends two more bytes on each byte beyond ASCII and on each "=", base64 a third on everything.
    beyond = 2 * (len(data) - len(content))
    if 6 * (beyond + content.count("=")) <= len(data):
        return "quoted-printable", _quoted_printable(content)
    return "base64", _base64_lines(data.replace(b"\n", b"\r\n"))


def _quoted_printable(content: str) -> bytes:
    # binascii.b2a_qp does the same several times slower. The codec calls back for letters beyond ASCII alone.
    data = content.replace("=", "=3D").encode("ascii", _CALL_BACK)
    if len(data.translate(None, _PRINTABLE)):
        data = _CONTROL.sub(_escaped_match, data)
    if b" \n" in data or b"\t\n" in data:
        data = _SPACE_AT_END.sub(_escaped_match, data)
    lines = data.split(b"\n")
    return b"\r\n".join([line if len(line) <= _LINE else b"=\r\n".join(_SOFT.findall(line)) for line in lines])


def _refused(kind: str, found: str, allowed: str) -> TemplateError:
    return TemplateError([Fault(f"the {kind} part cannot be written", found=found, allowed=allowed)])


def _escaped_match(match: re.Match[bytes]) -> bytes:
    return _escaped(match[0]).encode("ascii")


def _escaped(data: bytes) -> str:
    return "".join(f"={byte:02X}" for byte in data)


def _escaped_letters(fault: UnicodeError) -> tuple[str, int]:
    if not isinstance(fault, UnicodeEncodeError):
        raise fault
    return _escaped(fault.object[fault.start : fault.end].encode("utf-8")), fault.end


codecs.register_error(_CALL_BACK, _escaped_letters)


def _base64_lines(data: bytes) -> bytes:
    encoded = base64.b64encode(data)
    return b"\r\n".join(encoded[start : start + _LINE] for start in range(0, len(encoded), _LINE)) + b"\r\n"
