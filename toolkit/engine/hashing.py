"""Chance without a dice: MD5 of plain text, the same on every machine and in every language (rule R13).

MD5 serves as a fair and stable way to deal people out, not as protection; it is written for the compiler here because
the kernel needs it person by person, and is held against `hashlib` in the tests.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from toolkit.engine.compiled import compiled, kernel

__all__ = ["ID_DIGITS", "digests", "md5_digits", "md5_share", "md5_state", "uniform"]

_SINES = np.floor(np.abs(np.sin(np.arange(1, 65))) * 2**32).astype(np.int64)
_START = np.array([0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476], dtype=np.int64)
_MASK = 0xFFFFFFFF
ID_DIGITS = 20
"""Hexadecimal digits of an id: two of a billion texts have the same ones once in two million."""
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


@kernel
def _word(message: npt.NDArray[np.uint8], start: int, which: int) -> int:
    """One of the sixteen words of a block."""
    at = start + 4 * (which & 15)
    word: int = int(
        np.int64(message[at])
        | (np.int64(message[at + 1]) << 8)
        | (np.int64(message[at + 2]) << 16)
        | (np.int64(message[at + 3]) << 24)
    )
    return word


@kernel
def _step(a: int, b: int, mixed: int, word: int, sine: int, shift: int) -> int:
    turned = (a + (mixed & _MASK) + sine + word) & _MASK
    return (b + ((turned << shift) | (turned >> (32 - shift)))) & _MASK


@kernel
def _block(state: npt.NDArray[np.int64], message: npt.NDArray[np.uint8], start: int) -> None:
    # Four steps at a time: no value moves from name to name, and the compiler knows by how much each is turned.
    a, b, c, d = state[0], state[1], state[2], state[3]
    for i in range(0, 16, 4):
        a = _step(a, b, (b & c) | (~b & d), _word(message, start, i), _SINES[i], 7)
        d = _step(d, a, (a & b) | (~a & c), _word(message, start, i + 1), _SINES[i + 1], 12)
        c = _step(c, d, (d & a) | (~d & b), _word(message, start, i + 2), _SINES[i + 2], 17)
        b = _step(b, c, (c & d) | (~c & a), _word(message, start, i + 3), _SINES[i + 3], 22)
    for i in range(16, 32, 4):
        a = _step(a, b, (d & b) | (~d & c), _word(message, start, 5 * i + 1), _SINES[i], 5)
        d = _step(d, a, (c & a) | (~c & b), _word(message, start, 5 * (i + 1) + 1), _SINES[i + 1], 9)
        c = _step(c, d, (b & d) | (~b & a), _word(message, start, 5 * (i + 2) + 1), _SINES[i + 2], 14)
        b = _step(b, c, (a & c) | (~a & d), _word(message, start, 5 * (i + 3) + 1), _SINES[i + 3], 20)
    for i in range(32, 48, 4):
        a = _step(a, b, b ^ c ^ d, _word(message, start, 3 * i + 5), _SINES[i], 4)
        d = _step(d, a, a ^ b ^ c, _word(message, start, 3 * (i + 1) + 5), _SINES[i + 1], 11)
        c = _step(c, d, d ^ a ^ b, _word(message, start, 3 * (i + 2) + 5), _SINES[i + 2], 16)
        b = _step(b, c, c ^ d ^ a, _word(message, start, 3 * (i + 3) + 5), _SINES[i + 3], 23)
    for i in range(48, 64, 4):
        a = _step(a, b, c ^ (b | (~d & _MASK)), _word(message, start, 7 * i), _SINES[i], 6)
        d = _step(d, a, b ^ (a | (~c & _MASK)), _word(message, start, 7 * (i + 1)), _SINES[i + 1], 10)
        c = _step(c, d, a ^ (d | (~b & _MASK)), _word(message, start, 7 * (i + 2)), _SINES[i + 2], 15)
        b = _step(b, c, d ^ (c | (~a & _MASK)), _word(message, start, 7 * (i + 3)), _SINES[i + 3], 21)
    state[0] = (state[0] + a) & _MASK
    state[1] = (state[1] + b) & _MASK
    state[2] = (state[2] + c) & _MASK
    state[3] = (state[3] + d) & _MASK


@kernel
def md5_state(message: npt.NDArray[np.uint8], length: int, state: npt.NDArray[np.int64]) -> None:
    """MD5 of the first `length` bytes into four little-endian words; the buffer needs 72 spare bytes behind them."""
    total = ((length + 8) // 64 + 1) * 64
    message[length] = 0x80
    for i in range(length + 1, total - 8):
        message[i] = 0
    for i in range(8):
        message[total - 8 + i] = ((length * 8) >> (8 * i)) & 0xFF
    for i in range(4):
        state[i] = _START[i]
    for start in range(0, total, 64):
        _block(state, message, start)


@kernel
def md5_share(message: npt.NDArray[np.uint8], length: int, state: npt.NDArray[np.int64]) -> float:
    """The first 13 hexadecimal digits of the MD5 as a share in [0, 1) (rule R13)."""
    md5_state(message, length, state)
    value = np.int64(0)
    for i in range(6):
        value = (value << 8) | ((state[i >> 2] >> (8 * (i & 3))) & 0xFF)
    value = (value << 4) | (((state[1] >> 16) & 0xFF) >> 4)
    return float(value) / 4503599627370496.0


@kernel
def md5_digits(state: npt.NDArray[np.int64], out: npt.NDArray[np.uint8], start: int, digits: int) -> None:
    """The first hexadecimal digits of an MD5, as text, into a buffer."""
    for digit in range(digits):
        byte = (state[digit >> 3] >> (8 * ((digit >> 1) & 3))) & 0xFF
        out[start + digit] = _HEX[(byte >> 4) if digit % 2 == 0 else (byte & 15)]


@compiled
def _shares(
    prefix: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    data: npt.NDArray[np.uint8],
    out: npt.NDArray[np.float64],
) -> None:
    longest = 0
    for i in range(len(out)):
        longest = max(longest, offsets[i + 1] - offsets[i])
    message = np.zeros(len(prefix) + longest + 72, dtype=np.uint8)
    message[: len(prefix)] = prefix
    state = np.zeros(4, dtype=np.int64)
    for i in range(len(out)):
        length = len(prefix)
        for k in range(offsets[i], offsets[i + 1]):
            message[length] = data[k]
            length += 1
        out[i] = md5_share(message, length, state)


@compiled
def _hex_digests(
    offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8], digits: int, out: npt.NDArray[np.uint8]
) -> None:
    longest = 0
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    message = np.zeros(longest + 72, dtype=np.uint8)
    state = np.zeros(4, dtype=np.int64)
    for i in range(len(offsets) - 1):
        length = 0
        for k in range(offsets[i], offsets[i + 1]):
            message[length] = data[k]
            length += 1
        md5_state(message, length, state)
        md5_digits(state, out, i * digits, digits)


def text_buffers(texts: pa.Array | pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Offsets (n + 1) and bytes of a text array without missing values."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
        if isinstance(texts, pa.ChunkedArray):
            texts = pa.concat_arrays(texts.chunks) if texts.num_chunks else pa.array([], pa.large_string())
    texts = texts.cast(pa.large_string())
    _, offsets, data = texts.buffers()
    if offsets is None or len(texts) == 0:
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    starts = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    content = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, dtype=np.uint8)
    return starts, content


def uniform(salt: str, units: Iterable[str] | pa.Array) -> npt.NDArray[np.float64]:
    """A share in [0, 1) for each unit, fixed by salt and unit alone (rule R13).

    `int(md5(f"{salt}:{unit}").hexdigest()[:13], 16) / 16**13`, so that any system can compute the same arm.

    Args:
        salt: name of the experiment, or another word that must not repeat.
        units: one text per unit, usually customer ids.

    Returns:
        One float64 per unit, in order.

    >>> uniform("cart_offer_1", ["c1", "c2"]).round(6).tolist()
    [0.357416, 0.673892]
    """
    texts = units if isinstance(units, pa.Array | pa.ChunkedArray) else pa.array(list(units), pa.large_string())
    offsets, data = text_buffers(texts)
    out = np.empty(len(texts), dtype=np.float64)
    _shares(np.frombuffer(f"{salt}:".encode(), dtype=np.uint8), offsets, data, out)
    return out


def digests(texts: pa.Array | pa.ChunkedArray, *, digits: int = ID_DIGITS) -> pa.Array:
    """The first hexadecimal digits of the MD5 of each text.

    Args:
        texts: text array without missing values.
        digits: how many digits to keep, 1 to 32.

    Returns:
        A text array, one digest per text, in order.

    >>> digests(pa.array(["a"]), digits=8)[0].as_py()
    '0cc175b9'
    """
    offsets, data = text_buffers(texts)
    count = len(texts)
    out = np.empty(count * digits, dtype=np.uint8)
    _hex_digests(offsets, data, digits, out)
    ends = pa.py_buffer((np.arange(count + 1, dtype=np.int64) * digits).tobytes())
    return pa.Array.from_buffers(pa.large_string(), count, [None, ends, pa.py_buffer(out.tobytes())])
