"""Keys are made once, read by their owner alone, and names made with them show nothing."""

from __future__ import annotations

import re
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import InputError
from toolkit.sending.keys import MailKey, mail_key, rotate, signing_key

KEY = MailKey(bytes(range(32)))
ids = st.text(min_size=1, max_size=40)


@given(ids)
def test_a_token_has_34_characters_fit_for_a_link_and_finds_its_mail(decision_id):
    token = KEY.token(decision_id, purpose="unsubscribe")
    assert re.fullmatch(r"[A-Za-z0-9_-]{34}", token)
    read = KEY.tokens.read(token, purpose="unsubscribe")
    assert read is not None
    assert KEY.message_id(decision_id, domain="example.com").startswith(read.mail)


@given(ids, st.integers(0, 33), st.characters(codec="ascii"))
def test_a_token_changed_in_any_character_is_nobodys(decision_id, place, character):
    token = KEY.token(decision_id, purpose="unsubscribe")
    changed = token[:place] + character + token[place + 1 :]
    if changed != token:
        assert KEY.tokens.read(changed, purpose="unsubscribe") is None


@pytest.mark.parametrize("token", ["", "x" * 33, "x" * 35, "é" * 34, "=" * 34])
def test_what_is_no_token_is_nobodys(token):
    assert KEY.tokens.read(token, purpose="unsubscribe") is None


def test_a_token_serves_one_purpose_and_one_key():
    token = KEY.token("d1", purpose="unsubscribe")
    assert KEY.tokens.read(token, purpose="open") is None
    assert MailKey(bytes(32)).tokens.read(token, purpose="unsubscribe") is None


def test_a_message_id_is_the_same_every_time_and_fits_an_international_domain():
    assert KEY.message_id("d1", domain="bücher.example") == KEY.message_id("d1", domain="BÜCHER.example")
    assert re.fullmatch(r"[a-z2-7]{32}@xn--bcher-kva\.example", KEY.message_id("d1", domain="bücher.example"))


def test_a_key_never_shows_itself():
    assert KEY.secret.hex() not in repr(KEY)
    assert repr(KEY) == "MailKey()"


def test_the_mail_key_is_made_once_beside_the_ledger_for_its_owner_alone(tmp_path):
    where = str(tmp_path / "outbox" / "ledger.sqlite")
    first = mail_key(where)
    assert mail_key(where) == first == mail_key(f"sqlite:///{where}")
    path = tmp_path / "outbox" / "ledger.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["ledger.key"]


def test_senders_that_begin_at_once_agree_on_one_mail_key(tmp_path):
    where = str(tmp_path / "ledger.sqlite")
    with ThreadPoolExecutor(8) as pool:
        assert len({key.secret for key in pool.map(lambda _: mail_key(where), range(16))}) == 1


def test_the_mail_key_of_a_database_lives_with_the_user_and_depends_on_no_password(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    one = mail_key("postgresql://ana:one@db.example.org/ledger")
    assert one == mail_key("postgresql://ana:two@db.example.org/ledger")
    assert one != mail_key("postgresql://ana:one@db.example.org/other")


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 64, b"00" * 31])
def test_a_damaged_mail_key_is_refused(tmp_path, content):
    (tmp_path / "ledger.key").write_bytes(content)
    with pytest.raises(InputError, match="expected 64 hex digits"):
        mail_key(str(tmp_path / "ledger.sqlite"))


def test_the_secret_of_a_mistyped_ledger_is_not_changed_but_asked_for(tmp_path):
    mail_key(str(tmp_path / "ledger.sqlite"))
    with pytest.raises(
        InputError, match=r"ledgr\.key: there is none; no mail of ledger .*ledgr\.sqlite was ever prepared"
    ):
        rotate(str(tmp_path / "ledgr.sqlite"))
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.key"]


def test_the_users_own_signing_key_is_made_once_in_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    key, path = signing_key(None)
    assert path == tmp_path / "trigger-toolkit" / "approval.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signing_key(None)[0].public_key() == key.public_key()


def test_a_key_of_ssh_keygen_signs_as_well(tmp_path):
    own = Ed25519PrivateKey.generate()
    path = tmp_path / "id_ed25519"
    path.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    assert signing_key(path)[0].public_key() == own.public_key()


def test_a_key_that_cannot_sign_says_what_is_expected(tmp_path):
    own = Ed25519PrivateKey.generate()
    locked = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (b"not a key", locked, other, b""):
        path = tmp_path / "key.pem"
        path.write_bytes(content)
        with pytest.raises(InputError, match="expected an Ed25519 private key without a passphrase"):
            signing_key(path)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        signing_key(tmp_path / "none.pem")
