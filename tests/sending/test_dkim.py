"""Mails signed for their domain verify with another implementation, and any change to what is signed is noticed."""

from __future__ import annotations

import base64

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from toolkit.errors import InputError
from toolkit.sending import send, transport
from toolkit.sending.transports import Dkim

MAIL = (
    b"From: Maison <hello@example.com>\r\nTo: a@example.org\r\nSubject: Hello  there\r\n\tyou\r\n"
    b"Date: Mon, 02 Mar 2026 12:00:00 +0000\r\nMessage-ID: <m@example.com>\r\n"
    b"List-Unsubscribe: <https://shop.example.com/u/x>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    b"\r\nHello  \r\n you \t there\r\n.dot\r\n\r\n\r\n"
)


def _pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def record(rsa_key):
    """What the domain's DNS says."""
    der = rsa_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)


@pytest.fixture(scope="module")
def signer(rsa_key, record):
    return Dkim("example.com", "s1", _pem(rsa_key)), lambda name, timeout=5: record


def _holds(message, dns):
    return dkim.verify(message, dnsfunc=dns)


@pytest.mark.parametrize(
    "mail",
    [MAIL, MAIL.replace(b"Hello  \r\n", b""), MAIL.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", MAIL + b"no end"],
    ids=["blanks and dots", "another body", "no body", "no last line end"],
)
def test_a_signed_mail_verifies(signer, mail):
    own, dns = signer
    signed = own.signed(mail)
    assert signed.endswith(mail)
    assert max(map(len, signed.split(b"\r\n"))) <= 78
    assert _holds(signed, dns)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Hello  there", b"Hello where"),
        (b"you \t there", b"you nowhere"),
        (b"/u/x>", b"/u/y>"),
        (b"=One-Click", b"=Two-Clicks"),
        (b"To: a@", b"To: b@"),
        (b"\r\nTo: ", b"\r\nSubject: another\r\nTo: "),
    ],
    ids=["subject", "body", "List-Unsubscribe", "List-Unsubscribe-Post", "recipient", "a second subject"],
)
def test_any_change_to_what_is_signed_is_noticed(signer, before, after):
    own, dns = signer
    assert not _holds(own.signed(MAIL).replace(before, after, 1), dns)


def test_the_same_mail_and_key_give_the_same_bytes(signer):
    own, _ = signer
    assert own.signed(MAIL) == own.signed(MAIL)


def test_a_whole_batch_goes_out_signed(shop, rsa_key, record, monkeypatch):
    monkeypatch.setenv("TOOLKIT_DKIM_KEY", _pem(rsa_key).decode())
    way = f"outbox:{shop.outbox}?dkim=s1@example.com"
    batch = shop.prepare()
    report = send(batch, shop.approve(batch), transport=way, confirm=12, progress=False)
    assert report.sent == 12
    assert report.transport == f"outbox:{shop.outbox}"
    for path in shop.outbox.glob("*.eml"):
        message = path.read_bytes()
        assert _holds(message, lambda name, timeout=5: record)
        assert b"list-unsubscribe-post" in message.partition(b"b=")[0]
    assert send(batch, shop.approve(batch), transport=way, confirm=12, progress=False).sent == 0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "set TOOLKIT_DKIM_KEY"),
        ("/nowhere/key.pem", "the key file cannot be read"),
        ("-----BEGIN nonsense s3cret", "expected a private key in PEM"),
    ],
)
def test_a_missing_or_broken_key_is_said_and_not_shown(monkeypatch, value, said):
    monkeypatch.delenv("TOOLKIT_DKIM_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TOOLKIT_DKIM_KEY", value)
    with pytest.raises(InputError, match=said) as raised:
        transport("outbox:./x?dkim=s1@example.com")
    assert "s3cret" not in str(raised.value)


def test_a_short_key_another_kind_a_bad_selector_and_half_an_option_are_refused(rsa_key):
    with pytest.raises(InputError, match="expected an RSA key; found Ed25519PrivateKey"):
        Dkim("example.com", "s1", _pem(Ed25519PrivateKey.generate()))
    small = rsa.generate_private_key(65537, 1024)
    with pytest.raises(InputError, match=r"1024 bits; receivers want 2,048"):
        Dkim("example.com", "s1", _pem(small))
    with pytest.raises(InputError, match="selector"):
        Dkim("example.com", "s 1", _pem(rsa_key))
    with pytest.raises(InputError, match="expected SELECTOR@DOMAIN"):
        transport("outbox:./x?dkim=s1")
    assert "PRIVATE" not in repr(Dkim("example.com", "s1", _pem(rsa_key)))
