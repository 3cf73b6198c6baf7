"""The header and MIME writer, held against the stdlib parser."""

import email
import re
from datetime import UTC, datetime, timedelta, timezone
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8, compat32, default
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import TemplateError
from toolkit.mail import Address, compose, parse_address

ORDINARY: dict[str, Any] = {
    "sender": Address("hello@example.com", "Maison Lune"),
    "to": "ana@example.org",
    "subject": "Hello",
    "at": datetime(2026, 3, 1, 9, 5, 7, tzinfo=UTC),
    "message_id": "d1@example.com",
    "html": "<p>Hi</p>",
    "text": "Hi",
}
HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
LETTERS = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
HOSTILE = [
    "hi\r\nBcc: eve@example.org",
    "hi\nBcc: eve@example.org",
    "hi\rBcc: eve@example.org",
    "hi\0there",
    "hi\x0bthere",
    "hi\x1cthere",
    "hi\x85there",
    "hi\u2028there",
    "hi\u2029there",
    "hi\ud800there",
    "hi\x7fthere",
    "=?utf-8?q?hi=0D=0ABcc:_eve@example.org?=",
    "=?utf-8?b?aGkNCkJjYzogZXZlQGV4YW1wbGUub3Jn?=",
    "=?utf-8?q?hi=00?=",
    "before =?iso-8859-1?q?=0A?= after",
]


def made(**changes: Any) -> bytes:
    return compose(**{**ORDINARY, **changes})


def parsed(message: bytes) -> EmailMessage:
    result = email.message_from_bytes(message, policy=default)
    assert isinstance(result, EmailMessage)
    return result


def test_a_whole_mail_reads_line_for_line_as_written() -> None:
    message = made(
        unsubscribe_url="https://example.org/u/abc", feedback_id="cart:reminder:marketing:maisonlune", text="Salut é"
    )
    assert message.decode("ascii").split("\r\n") == [
        "From: Maison Lune <hello@example.com>",
        "To: ana@example.org",
        "Subject: Hello",
        "Date: Sun, 01 Mar 2026 09:05:07 +0000",
        "Message-ID: <d1@example.com>",
        "List-Unsubscribe: <https://example.org/u/abc>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        "Feedback-ID: cart:reminder:marketing:maisonlune",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: multipart/alternative;",
        f' boundary="=_{boundary(message)}"',
        "",
        f"--=_{boundary(message)}",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: base64",
        "",
        "U2FsdXQgw6kNCg==",
        "",
        f"--=_{boundary(message)}",
        "Content-Type: text/html; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "<p>Hi</p>",
        "",
        f"--=_{boundary(message)}--",
        "",
    ]


def boundary(message: bytes) -> str:
    found = re.search(rb'boundary="=_([0-9a-f]{32})"', message)
    assert found
    return found[1].decode("ascii")


def test_the_same_input_gives_the_same_bytes() -> None:
    assert made() == made()


def test_another_message_id_gives_another_boundary() -> None:
    assert boundary(made()) != boundary(made(message_id="d2@example.com"))


def test_a_time_in_another_zone_is_written_in_utc() -> None:
    paris = datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert b"Date: Sat, 28 Feb 2026 23:30:00 +0000\r\n" in made(at=paris)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("place", ["subject", "sender"])
def test_what_could_begin_a_header_of_its_own_is_refused(text: str, place: str) -> None:
    value = Address("hello@example.com", text) if place == "sender" else text
    with pytest.raises(TemplateError, match="cannot be written"):
        made(**{place: value})


@pytest.mark.parametrize(
    "address",
    [
        "ana@example.org, eve@example.org",
        "ana@example.org eve@example.org",
        "<ana@example.org>",
        "Ana <ana@example.org>",
        '"ana, eve"@example.org',
        "ana@example.org\r\nBcc: eve@example.org",
        "ana@example.org\n",
        "ana@@example.org",
        "ana.@example.org",
        ".ana@example.org",
        "a..na@example.org",
        "ana@example",
        "ana@-a.example.org",
        "ana@[127.0.0.1]",
        "ana@example.org;eve@example.org",
        "group:ana@example.org;",
        "ana(comment)@example.org",
        "=?utf-8?q?ana?=@exa mple.org",
        "a" * 65 + "@example.org",
        "ana@" + "a" * 64 + ".org",
        "josé@example.org",
        "ana",
        "",
        "@example.org",
        "ana@exa\u2028mple.org",
        "ana@mün_chen.example",
    ],
)
def test_what_is_not_exactly_one_address_is_refused(address: str) -> None:
    with pytest.raises(TemplateError, match="cannot be written"):
        made(to=address)
    with pytest.raises(TemplateError):
        made(sender=Address(address))
    with pytest.raises(TemplateError):
        made(reply_to=address)


def test_a_domain_of_another_script_is_written_in_ascii() -> None:
    assert parsed(made(to="ana@münchen.example"))["To"] == "ana@xn--mnchen-3ya.example"
    assert parse_address("ana@例え.example") == "ana@xn--r8jz45g.example"


def test_letters_beyond_ascii_before_the_at_go_out_only_on_request() -> None:
    message = made(to="josé@example.org", smtputf8=True)
    assert "To: josé@example.org\r\n".encode() in message
    assert email.message_from_string(message.decode("utf-8"), policy=SMTPUTF8)["To"].addresses[0].username == "josé"


@pytest.mark.parametrize(
    "address", ["jo sé@example.org", "josé,eve@example.org", "jo\u2028é@example.org", "é\r@example.org"]
)
def test_even_on_request_an_address_stays_one_address(address: str) -> None:
    with pytest.raises(TemplateError):
        made(to=address, smtputf8=True)


def test_a_long_unsubscribe_link_stays_on_one_line_and_out_of_encoded_words() -> None:
    link = "https://example.org/u/" + "a" * 850 + "?a=1,2"
    message = made(unsubscribe_url=link)
    assert f"\r\nList-Unsubscribe: <{link.replace(',', '%2C')}>\r\n".encode() in message
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in message
    assert max(map(len, message.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    "link",
    ["http://example.org/u", "https://example.org/<u>", "https://example.org/u\r\nBcc: e", "https://example.org/é",
     "https://example.org/a b", "https://example.org/" + "a" * 1000, "mailto:u@example.org"],
)  # fmt: skip
def test_an_unsubscribe_link_that_could_break_one_click_is_refused(link: str) -> None:
    with pytest.raises(TemplateError, match="List-Unsubscribe"):
        made(unsubscribe_url=link)


@pytest.mark.parametrize("identity", ["d1", "d 1@example.com", "d1@exa\r\nmple.com", "<d1@example.com", "é@e.com"])
def test_a_message_id_of_another_form_is_refused(identity: str) -> None:
    with pytest.raises(TemplateError, match="Message-ID"):
        made(message_id=identity)


def test_a_message_id_may_come_with_its_angle_brackets() -> None:
    assert made(message_id="<d1@example.com>") == made()


@pytest.mark.parametrize("feedback", ["a:b:c", "a:b:c:d e", "a:b:c:d\r\nX: 1", "a:b:c:d:e"])
def test_a_feedback_id_of_another_form_is_refused(feedback: str) -> None:
    with pytest.raises(TemplateError, match="Feedback-ID"):
        made(feedback_id=feedback)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(TemplateError, match="time zone"):
        made(at=datetime(2026, 3, 1))  # noqa: DTZ001


def test_nul_and_half_letters_in_a_part_are_refused() -> None:
    with pytest.raises(TemplateError, match="NUL"):
        made(html="a\0b")
    with pytest.raises(TemplateError, match="surrogate"):
        made(text="a\ud800b")


def test_mostly_ascii_is_quoted_printable_and_other_scripts_are_base64() -> None:
    assert b"quoted-printable" in made(html="x" * 200 + "é", text="y" * 200)
    both = made(html="привет " * 30, text="こんにちは" * 30)
    assert both.count(b"Content-Transfer-Encoding: base64") == 2


def test_a_name_with_commas_stays_one_sender() -> None:
    message = parsed(made(sender=Address("hello@example.com", 'Lune, Inc. "Best" <eve@example.org>')))
    assert [one.addr_spec for one in message["From"].addresses] == ["hello@example.com"]
    assert message["From"].addresses[0].display_name == 'Lune, Inc. "Best" <eve@example.org>'


def test_an_empty_subject_and_an_empty_name_are_written_plainly() -> None:
    message = made(subject="", sender=Address("hello@example.com"))
    assert b"From: hello@example.com\r\n" in message
    assert b"Subject:\r\n" in message


def test_a_subject_that_looks_encoded_reaches_the_reader_as_written() -> None:
    subject = "=?utf-8?q?hello?="
    assert parsed(made(subject=subject))["Subject"] == subject


@settings(max_examples=300, deadline=None)
@given(st.text(LETTERS, max_size=300))
def test_any_subject_comes_back_from_the_parser_as_it_went_in(subject: str) -> None:
    try:
        message = made(subject=subject)
    except TemplateError:
        assert "=?" in subject
        return
    read = email.message_from_bytes(message, policy=compat32)["Subject"]
    assert str(make_header(decode_header(read.replace("\r\n", "").replace("\n", "")))) == subject


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["a new word ", "é", "é" * 9, "x" * 40, "_=?", "漢" * 5]), max_size=14).map("".join))
def test_an_encoded_word_has_at_most_75_characters_and_its_line_76(subject: str) -> None:
    """RFC 2047, section 2; mostly ASCII goes out quoted, other scripts as base64."""
    try:
        message = made(subject=subject)
    except TemplateError:
        assert "=?" in subject
        return
    header = re.search(rb"^Subject:.*(?:\r\n[ \t].*)*", message, re.MULTILINE)
    assert header is not None
    words = re.findall(rb"=\?utf-8\?[bq]\?[^?\s]*\?=", header[0])
    assert all(len(word) <= 75 for word in words)
    assert not words or max(map(len, header[0].split(b"\r\n"))) <= 76
    for word in words:  # no letter is cut in two
        decode_header(word.decode())[0][0].decode("utf-8")


@settings(max_examples=200, deadline=None)
@given(st.text(st.one_of(st.characters(min_codepoint=32, max_codepoint=126), LETTERS), max_size=200))
def test_any_sender_name_stays_one_sender_with_that_name(name: str) -> None:
    try:
        message = made(sender=Address("hello@example.com", name))
    except TemplateError:
        assert "=?" in name
        return
    read = email.message_from_bytes(message, policy=compat32)["From"]
    unfolded = read.replace("\r\n", "").replace("\n", "")
    shown, address = email.utils.parseaddr(unfolded)
    assert address == "hello@example.com"
    if name.strip():
        assert str(make_header(decode_header(shown))) == name


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=400), st.booleans())
def test_any_part_comes_back_from_the_parser_with_the_headers_set_and_no_other(body: str, repeat: bool) -> None:
    body = body * 5 if repeat else body
    message = made(html=body, text=body)
    assert all(len(line) <= 998 for line in message.split(b"\r\n"))
    assert b"\r" not in message.replace(b"\r\n", b"")
    assert b"\n" not in message.replace(b"\r\n", b"")
    read = email.message_from_bytes(message, policy=compat32)
    assert read.keys() == HEADERS
    assert not read.defects
    parts = read.get_payload()
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    expected = body.replace("\r\n", "\n").replace("\r", "\n")
    expected += "" if expected.endswith("\n") else "\n"
    for part in parts:
        assert part.get_payload(decode=True).decode("utf-8").replace("\r\n", "\n") == expected


@settings(max_examples=100, deadline=None)
@given(
    st.text(st.characters(min_codepoint=1, max_codepoint=0x2FFF, exclude_categories=("Cs",)), max_size=60),
    st.sampled_from(["subject", "sender", "to"]),
)
def test_no_value_adds_a_header_or_a_recipient(text: str, place: str) -> None:
    values: dict[str, Any] = {"subject": text, "sender": Address("a@example.com", text), "to": text}
    try:
        message = made(**{place: values[place]})
    except TemplateError:
        return
    read = email.message_from_bytes(message, policy=default)
    assert read.keys() == HEADERS
    assert len(read["To"].addresses) == 1
    assert len(email.utils.getaddresses([str(read["From"])])) == 1


@pytest.mark.parametrize("subject", ["Hello", "Bonjour à tous, les soldes", "word " * 40 + "end", "ünï " * 60])
def test_what_the_stdlib_writes_and_what_we_write_read_the_same(subject: str) -> None:
    subject = subject.strip()
    theirs = EmailMessage(policy=SMTP)
    theirs["Subject"] = subject
    theirs["From"] = "Maison Lune <hello@example.com>"
    theirs["To"] = "ana@example.org"
    theirs.set_content("Grüße\n")
    theirs.add_alternative("<p>Grüße</p>\n", subtype="html")
    ours = parsed(made(subject=subject, text="Grüße\n", html="<p>Grüße</p>\n"))
    read = parsed(theirs.as_bytes())
    for name in ("Subject", "From", "To"):
        assert ours[name] == read[name]
    for mine, other in zip(ours.iter_parts(), read.iter_parts(), strict=True):
        assert mine.get_content_type() == other.get_content_type()
        assert mine.get_content().splitlines() == other.get_content().splitlines()


PIECE = st.one_of(
    st.text(st.sampled_from("ab =\t\n.%éΩ🌙\r\x7f"), max_size=90),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=120),
    st.sampled_from(["x" * 75, "x" * 76, "=" * 40, " ", "\n", "", '<td style="padding:0 ', "é" * 30, "a" * 74 + " "]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECE, min_size=1, max_size=25))
def test_html_written_in_pieces_reads_as_the_whole_does(pieces: list[str]) -> None:
    html = "".join(pieces)
    message = made(html=html, html_pieces=tuple(pieces))
    assert b"\r" not in message.replace(b"\r\n", b"")
    assert b"\n" not in message.replace(b"\r\n", b"")
    whole, in_pieces = (email.message_from_bytes(one, policy=compat32) for one in (made(html=html), message))
    assert not in_pieces.defects
    ours, reference = (one.get_payload()[1] for one in (in_pieces, whole))
    assert ours.get_payload(decode=True).replace(b"\r\n", b"\n") == reference.get_payload(decode=True).replace(
        b"\r\n", b"\n"
    )
    for line in message.split(b"\r\n"):
        assert len(line) <= 76
        assert not line.endswith((b" ", b"\t"))


def test_html_of_another_script_is_base64_also_in_pieces_and_nul_is_refused() -> None:
    html = ("<p>Привет, как дела? ", "Здравствуйте</p>")
    assert made(html="".join(html), html_pieces=html).count(b"Content-Transfer-Encoding: base64") == 1
    with pytest.raises(TemplateError, match="NUL"):
        made(html="a\0b", html_pieces=("a\0", "b"))
    with pytest.raises(TemplateError, match="surrogate"):
        made(html="a\ud800", html_pieces=("a", "\ud800"))
