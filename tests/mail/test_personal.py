"""Whatever a customer writes into a form stands in the mail as text, and changes nothing else of it."""

import email
import re
from collections.abc import Callable
from email import policy
from email.header import decode_header, make_header
from email.message import Message
from html.parser import HTMLParser

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.errors import TemplateError
from toolkit.mail import Letter, Mail, Templates
from toolkit.mail.values import plain

Load = Callable[..., Templates]
Make = Callable[..., Letter]

HOSTILE = [
    "Ana\r\nBcc: eve@example.org",
    "Ana\nBcc: eve@example.org",
    "Ana\rBcc: eve@example.org",
    "Ana\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029Bcc: eve@example.org",
    "\r\n\r\n<script>alert(1)</script>",
    "Ana\0\x07\x1b[31m\x7f\x9b",
    "\u202egro.elpmaxe@eve\u202c",
    "\u2067\u2066\u202a\u202bAna",
    "half \ud83d of a letter \ude00",
    "👩‍👩‍👧‍👦 🏴󠁧󠁢󠁳󠁣󠁴󠁿 👋🏽",
    "a\u0301\u0302\u0303" * 30,
    "{{ 7*7 }}{% for x in y %}{# note #}${7*7}",
    "{{ customer.email }}",
    "**bold** [here](https://example.net) _x_ `y`",
    "=?utf-8?q?hello?= =?utf-8?b?aGVsbG8=?=",
    "</title></td></table><a href='javascript:x' onclick=\"x\">&lt;&amp;&#64;&shy;",
    "--=_boundary\r\nContent-Type: text/html\r\n\r\n",
    "jtk0z<!--jtk1z-->\ue0000\ue001",
    "x" * 1_500,
    "漢" * 600,
    ".\n.\n..",
    "  \t ",
    "=\n=20=\r\n",
]
HEAD = "subject: Hello {{ customer.first_name }}!\npreheader: For {{ customer.first_name }}.\n---\n"
BODY = (
    "<a href='{{ link(\"https://shop.example.com/\", n=customer.first_name | truncate(20)) }}' "
    'title="{{ customer.first_name }}">{{ customer.first_name }}</a>'
)
KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
PUBLIC = re.sub(
    rb"-----.*?-----|\n", b"", KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
)
ANY = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\r\n\t\0\x1b\x85\u2028\u202e\u2066\u200d\ud800\ue000\ue001 <>\"'&={}%#[]()*?_.-:,;@\\/"),
    ),
    max_size=120,
)


@pytest.fixture
def loaded(templates: Load) -> Templates:
    return templates(BODY, HEAD + "{{ customer.first_name }}|\n")


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANY)
def test_any_text_of_a_customer_is_text_in_each_part_of_the_message(loaded: Templates, letter: Make, name: str) -> None:
    agrees(loaded, letter, name)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_of_a_customer_is_text_in_each_part_of_the_message(
    name: str, loaded: Templates, letter: Make
) -> None:
    agrees(loaded, letter, name)


def agrees(templates: Templates, letter: Make, name: str) -> None:
    """The message of a customer of that name differs from one of Ana's in the name alone."""
    kept = plain({"name": name}, "customer")["name"]
    assert re.sub(r"\s", "", kept) == re.sub(
        "[\\s\\x00-\\x1f\\x7f-\\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", "", name
    )
    one = letter(class_="transactional", customer={"first_name": name})
    mail = templates.render(one)
    assert mail.subject == re.sub("[ \t\n]+", " ", f"Hello {kept}!")
    try:
        message = templates.write(mail, one, message_id="d1@example.com")
    except TemplateError:
        assert "=?" in name  # an encoded word that hides a line break
        return
    read = email.message_from_bytes(message, policy=policy.compat32)
    ana = templates.message(letter(class_="transactional"), message_id="d1@example.com")
    assert read.keys() == email.message_from_bytes(ana).keys()
    assert [value for header, value in read.items() if header != "Subject"] == [
        value for header, value in email.message_from_bytes(ana).items() if header != "Subject"
    ]
    assert not read.defects
    assert str(make_header(decode_header(re.sub(r"\r?\n", "", read["Subject"])))) == mail.subject
    same_parts(read, mail)
    assert shown_in(mail.html) == shown_in(templates.render(letter(class_="transactional")).html, kept)
    signed = dkim.sign(message, b"s1", b"example.com", PEM, include_headers=[b"from", b"to", b"subject", b"date"])
    assert dkim.verify(signed + message, dnsfunc=lambda *_, **__: b"v=DKIM1; k=rsa; p=" + PUBLIC)


def same_parts(read: Message, mail: Mail) -> None:
    parts = read.get_payload()
    assert isinstance(parts, list)
    bodies = [one.get_payload(decode=True) for one in parts if isinstance(one, Message)]
    assert [one.get_content_type() for one in read.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    plain_text, html = (one.decode("utf-8").replace("\r\n", "\n") for one in bodies if isinstance(one, bytes))
    assert plain_text == mail.text
    assert html.removesuffix("\n") == mail.html.removesuffix("\n")


def shown_in(html: str, name: str | None = None) -> list[str]:
    """The tags of a page and the words between them; with a name, as they are with it in the place of Ana's."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append(f"{tag} {[one for one, _ in attrs]}")

        def handle_data(self, data: str) -> None:
            words = data if name is None else data.replace("Ana", name)
            if words.strip():
                found.append(" ".join(words.split()))

    Reader().feed(html)
    return [one for one in found if one != "|"]
