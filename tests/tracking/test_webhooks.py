"""Calls of providers are verified, counted once, and answered only when they are on the disk."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from tests.tracking.conftest import Served
from toolkit.errors import AnswersError, InputError
from toolkit.tracking import Tokens
from toolkit.tracking.incoming import Incoming
from toolkit.tracking.providers import PROVIDERS
from toolkit.tracking.server import tracker
from toolkit.tracking.webhooks import LARGEST, Webhooks
from toolkit.tracking.writer import GroupWriter

BASE = "https://mail.example.com"
TOPIC = "arn:aws:sns:eu-west-1:111111111111:mails"
CERTIFICATE = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem"
OWN_ID = "<aaaaaaaaaaaaaaaazzzzzzzzzzzzzzzz@example.com>"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
START = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp())


def _pem(key):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


PEM = _pem(RSA)


@dataclass
class Made:
    """A genuine call."""

    body: bytes
    headers: dict
    kind: str = "application/json"


def _der(key):
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def ses(event="Delivery", *, version="2", cert=CERTIFICATE, topic=TOPIC, message_id="m1", key=RSA, **more):
    mail = {"messageId": "ses-1", "destination": ["ana@example.org"], "timestamp": "2026-03-02T11:00:00.000Z"}
    mail["headers"] = [{"name": "Message-ID", "value": OWN_ID}]
    part = {"timestamp": "2026-03-02T11:00:05.000Z", "recipients": ["ana@example.org"]}
    envelope = {
        "Type": "Notification",
        "MessageId": message_id,
        "TopicArn": topic,
        "Message": json.dumps({"eventType": event, "mail": mail, event.lower(): part}),
        "Timestamp": "2026-03-02T11:00:06.000Z",
        "SignatureVersion": version,
        "SigningCertURL": cert,
    } | more
    names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    if envelope["Type"] != "Notification":
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    content = "".join(f"{name}\n{envelope[name]}\n" for name in names if name in envelope)
    algorithm = hashes.SHA256() if version == "2" else hashes.SHA1()
    envelope["Signature"] = base64.b64encode(key.sign(content.encode(), padding.PKCS1v15(), algorithm)).decode()
    return Made(json.dumps(envelope).encode(), {}, "text/plain; charset=UTF-8")


def sendgrid():
    event = {"event": "delivered", "email": "ana@example.org", "timestamp": START - 60, "sg_event_id": "e1"}
    body = json.dumps([event | {"sg_message_id": "sg-1", "smtp-id": OWN_ID}]).encode()
    signature = EC.sign(str(START).encode() + body, ec.ECDSA(hashes.SHA256()))
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": str(START),
    }
    return Made(body, headers)


def mailgun():
    signature = hmac.new(b"key", f"{START}token".encode(), hashlib.sha256).hexdigest()
    event = {"event": "delivered", "id": "e1", "timestamp": START - 60, "recipient": "ana@example.org"}
    event["message"] = {"headers": {"message-id": OWN_ID.strip("<>")}}
    signed = {"timestamp": str(START), "token": "token", "signature": signature}
    return Made(json.dumps({"signature": signed, "event-data": event}).encode(), {})


def _basic():
    return {"Authorization": "Basic " + base64.b64encode(b"ana:secret").decode()}


def postmark():
    event = {"RecordType": "Delivery", "MessageID": "pm-1", "Recipient": "ana@example.org"}
    body = json.dumps(event | {"DeliveredAt": "2026-03-02T11:00:00.1234567-00:00", "Metadata": {"mail": "a" * 16}})
    return Made(body.encode(), _basic())


def brevo():
    event = {"event": "delivered", "email": "ana@example.org", "ts_epoch": (START - 60) * 1000, "message-id": OWN_ID}
    return Made(json.dumps(event).encode(), {"Authorization": "Bearer token"})


def resend(at=START):
    headers = [{"name": "Message-ID", "value": OWN_ID}]
    data = {"email_id": "re-1", "to": ["Ana <ana@example.org>"], "headers": headers}
    body = json.dumps({"type": "email.delivered", "created_at": "2026-03-02T11:00:00Z", "data": data}).encode()
    signed = hmac.new(b"0123456789", f"msg_1.{at}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,bm90IHRoaXM= v1,{base64.b64encode(signed).decode()}"
    return Made(body, {"svix-id": "msg_1", "svix-timestamp": str(at), "svix-signature": signature})


def mailjet():
    event = {"event": "sent", "time": START - 60, "MessageID": 1, "email": "ana@example.org"}
    return Made(json.dumps([event | {"Payload": json.dumps({"mail": "a" * 16})}]).encode(), _basic())


def sparkpost():
    event = {"type": "delivery", "event_id": "e1", "raw_rcpt_to": "ana@example.org", "timestamp": str(START - 60)}
    return Made(json.dumps([{"msys": {"message_event": event | {"rcpt_meta": {"mail": "a" * 16}}}}]).encode(), _basic())


def mandrill():
    event = {"event": "delivered", "_id": "md-1", "ts": START - 60}
    event["msg"] = {"email": "ana@example.org", "metadata": {"mail": "a" * 16}}
    events = json.dumps([event])
    content = f"{BASE}/w/mandrillmandrill_events{events}"
    signature = base64.b64encode(hmac.new(b"key", content.encode(), hashlib.sha1).digest()).decode()
    body = urlencode({"mandrill_events": events}).encode()
    return Made(body, {"X-Mandrill-Signature": signature}, "application/x-www-form-urlencoded")


def mailersend():
    mail = {"message": {"id": "ms-1"}, "recipient": {"email": "ana@example.org"}}
    data = {"id": "e1", "type": "delivered", "created_at": "2026-03-02T11:00:00Z", "email": mail}
    body = json.dumps({"type": "activity.delivered", "data": data}).encode()
    return Made(body, {"Signature": hmac.new(b"key", body, hashlib.sha256).hexdigest()})


def mailtrap():
    event = {"event": "delivery", "event_id": "e1", "message_id": "mt-1", "email": "ana@example.org"}
    body = json.dumps({"events": [event | {"timestamp": START - 60, "custom_variables": {"mail": "a" * 16}}]}).encode()
    return Made(body, {"Mailtrap-Signature": hmac.new(b"key", body, hashlib.sha256).hexdigest()})


def postal():
    mail = {"id": 1, "message_id": OWN_ID.strip("<>"), "to": "ana@example.org", "direction": "outgoing"}
    event = {"event": "MessageSent", "timestamp": START - 60.5, "payload": {"message": mail}, "uuid": "e1"}
    body = json.dumps(event).encode()
    signature = RSA.sign(body, padding.PKCS1v15(), hashes.SHA1())
    return Made(body, {"X-Postal-Signature": base64.b64encode(signature).decode()})


def unisender_go():
    event = {"job_id": "u-1", "email": "ana@example.org", "status": "delivered", "event_time": "2026-03-02 11:00:00"}
    event["metadata"] = {"mail": "a" * 16}
    body = json.dumps({"auth": "KEY", "events_by_user": [{"events": [{"event_data": event}]}]})
    return Made(body.replace("KEY", hashlib.md5(body.replace("KEY", "key").encode()).hexdigest()).encode(), {})


SECRETS = {
    "ses": TOPIC,
    "sendgrid": _der(EC),
    "mailgun": "key",
    "postmark": "ana:secret",
    "brevo": "token",
    "resend": "whsec_" + base64.b64encode(b"0123456789").decode(),
    "mailjet": "ana:secret",
    "sparkpost": "ana:secret",
    "mandrill": "key",
    "mailersend": "key",
    "mailtrap": "key",
    "postal": _der(RSA),
    "unisender_go": "key",
}
GENUINE = (
    ses, sendgrid, mailgun, postmark, brevo, resend, mailjet, sparkpost, mandrill, mailersend, mailtrap, postal,
    unisender_go,
)  # fmt: skip
SIGNS_THE_BODY = {"ses", "sendgrid", "resend", "mandrill", "mailersend", "mailtrap", "postal", "unisender_go"}


@pytest.fixture(scope="module")
def server(serving):
    served = Served()

    def fetch(url):
        served.fetched.append(url)
        if url in served.away:
            raise served.away[url]
        return PEM

    webhooks = Webhooks(SECRETS, base=BASE, fetch=fetch)
    app = tracker(served, Tokens((bytes(range(32)),)), webhooks=webhooks, clock=served.now)
    with serving(app) as client:
        yield served, client


@pytest.fixture
def fetched():
    return []


@pytest.fixture
def client(server, answers, clock, fetched):
    served, client = server
    served.answers, served.clock, served.fetched, served.away = answers, clock, fetched, {}
    return client


def call(client, name, made, **headers):
    return client.post(f"/w/{name}", content=made.body, headers={"Content-Type": made.kind} | made.headers | headers)


def test_there_is_a_genuine_call_of_every_provider():
    assert {make.__name__ for make in GENUINE} == set(PROVIDERS) == set(SECRETS)


@pytest.mark.parametrize("make", GENUINE, ids=lambda make: make.__name__)
def test_a_genuine_call_is_taken_once_however_often_it_comes(client, answers, make):
    name = make.__name__
    for _ in range(3):
        assert call(client, name, make()).status_code == 200
    table = answers.table
    assert table[["kind", "provider", "domain"]].values.tolist() == [["delivered", name, "example.org"]]
    known = name not in ("mailersend",)  # it names the mail by its own id only
    assert (table["mail"].iloc[0] == "a" * 16) == known
    assert len(answers.events) == known
    assert answers.unknown_count == (not known)


@pytest.mark.parametrize("make", GENUINE, ids=lambda make: make.__name__)
def test_a_forged_call_is_refused_and_leaves_nothing(client, answers, make):
    name, made = make.__name__, make()
    forged = [Made(made.body, {}, made.kind)]
    forged += [
        Made(made.body, made.headers | {key: value[:-5] + "~" + value[-4:]}, made.kind)
        for key, value in made.headers.items()
    ]
    if name in SIGNS_THE_BODY:
        forged.append(
            Made(made.body.replace(b"ana", b"eve").replace(b"elivered", b"eliverex"), made.headers, made.kind)
        )
    for one in forged:
        if one.body == made.body and one.headers == made.headers:
            continue  # its proof is in the body
        answer = call(client, name, one)
        assert answer.status_code in (400, 401), (one.headers, answer.text)
    assert len(answers.table) == 0


@pytest.mark.parametrize(
    "make", [one for one in GENUINE if one.__name__ in SIGNS_THE_BODY], ids=lambda one: one.__name__
)
def test_a_bit_that_is_flipped_anywhere_in_a_signed_body_is_noticed(client, answers, make):
    name, made = make.__name__, make()
    for place in range(3, len(made.body), max(len(made.body) // 9, 1)):
        changed = bytearray(made.body)
        changed[place] ^= 0x01
        assert call(client, name, Made(bytes(changed), made.headers, made.kind)).status_code in (400, 401)
    assert len(answers.table) == 0


def test_only_the_pinned_topic_may_speak(client, answers):
    assert call(client, "ses", ses(topic="arn:aws:sns:eu-west-1:222222222222:mails")).status_code == 401
    assert len(answers.table) == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/x.pem",
        "https://evil.example/sns.eu-west-1.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/x.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/x.pem",
        "https://sns.eu-west-1.amazonaws.com/x.txt",
        "https://s3.eu-west-1.amazonaws.com/x.pem",
        "https://[sns/x.pem",
        "",
    ],
)
def test_a_certificate_of_another_host_is_not_even_fetched(client, fetched, url):
    assert call(client, "ses", ses(cert=url)).status_code == 401
    assert fetched == []


def test_the_older_signature_of_sns_is_understood_and_another_key_is_not(client):
    assert call(client, "ses", ses(version="1")).status_code == 200
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert call(client, "ses", ses(key=other, message_id="m2")).status_code == 401


def test_a_subscription_of_the_pinned_topic_is_confirmed_at_amazon_only(client, fetched):
    asked = {"Type": "SubscriptionConfirmation", "Token": "t", "Message": "You have chosen to subscribe"}
    url = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"
    assert call(client, "ses", ses(**asked, SubscribeURL=url)).status_code == 200
    assert fetched == [CERTIFICATE, url]
    del fetched[:]
    assert call(client, "ses", ses(**asked, SubscribeURL="https://evil.example/")).status_code == 200
    assert fetched == [CERTIFICATE]


@pytest.mark.parametrize(
    ("away", "status"),
    [
        (TimeoutError("timed out"), 503),
        (URLError("no route to host"), 503),
        (HTTPError(CERTIFICATE, 503, "busy", Message(), None), 503),
        (HTTPError(CERTIFICATE, 429, "too often", Message(), None), 503),
        (HTTPError(CERTIFICATE, 404, "no such file", Message(), None), 401),
    ],
)
def test_a_call_whose_certificate_cannot_be_fetched_just_now_is_asked_to_come_again(
    client, server, answers, away, status
):
    served, _ = server
    served.away = {CERTIFICATE: away}
    assert call(client, "ses", ses()).status_code == status
    served.away = {}
    assert len(answers.table) == 0
    assert call(client, "ses", ses()).status_code == 200
    assert len(answers.table) == 1


def test_a_subscription_that_cannot_be_confirmed_just_now_is_asked_to_come_again(client, server, fetched):
    served, _ = server
    asked = {"Type": "SubscriptionConfirmation", "Token": "t", "Message": "You have chosen to subscribe"}
    url = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"
    made = ses(**asked, SubscribeURL=url)
    served.away = {url: URLError("no route to host")}
    assert call(client, "ses", made).status_code == 503
    served.away = {}
    assert call(client, "ses", made).status_code == 200
    assert fetched == [CERTIFICATE, url] * 2


def test_a_call_from_long_ago_is_refused_where_its_time_is_signed(client, answers):
    assert call(client, "resend", resend(at=START - 301)).status_code == 401
    assert call(client, "resend", resend(at=START + 301)).status_code == 401
    assert call(client, "resend", resend(at=START - 299)).status_code == 200
    assert len(answers.table) == 1


def test_a_provider_without_a_secret_is_not_there(answers, tokens, serving):
    with serving(tracker(answers, tokens, webhooks=Webhooks({"brevo": "token"}))) as client:
        assert call(client, "postmark", postmark()).status_code == 404
        assert client.post("/w/nobody", content=b"{}").status_code == 404
    with serving(tracker(answers, tokens)) as client:
        assert call(client, "brevo", brevo()).status_code == 404


def test_bodies_too_large_wrong_types_and_wrong_methods_are_refused(client, answers):
    large = Made(b" " * (LARGEST + 1), _basic())
    assert call(client, "postmark", large).status_code == 413

    def endless():
        for _ in range(80):
            yield b" " * 65_536

    sent = client.post("/w/postmark", content=endless(), headers={"Content-Type": "application/json"} | _basic())
    assert sent.status_code == 413
    assert call(client, "postmark", Made(postmark().body, _basic(), "text/html")).status_code == 415
    assert call(client, "postmark", Made(b"{not json", _basic())).status_code == 400
    assert client.get("/w/postmark").status_code == 405
    assert len(answers.table) == 0


def test_a_call_is_not_acknowledged_before_its_events_are_written(answers, tokens, clock, serving, monkeypatch):
    def refuse(batch):
        raise AnswersError("the disk is full")

    with serving(tracker(answers, tokens, webhooks=Webhooks(SECRETS), clock=clock)) as client:
        with monkeypatch.context() as broken:
            broken.setattr(answers, "record", refuse)
            assert call(client, "brevo", brevo()).status_code == 503
        assert call(client, "brevo", brevo()).status_code == 200
    assert len(answers.table) == 1


@pytest.mark.parametrize("odd", ["half a pair \ud800", "\udcff", "a\0b"])
def test_a_call_with_what_no_database_takes_is_taken(client, answers, odd):
    event = {
        "event": "hard_bounce",
        "email": "a@example.org",
        "ts_epoch": START * 1000,
        "message-id": f"<{odd}@example>",
    }
    made = Made(json.dumps(event | {"reason": odd}).encode(), {"Authorization": "Bearer token"})
    assert [call(client, "brevo", made).status_code for _ in range(2)] == [200, 200]
    assert len(answers.table) == 1


def test_who_unsubscribes_beside_an_answer_that_cannot_be_written_is_unsubscribed(answers):
    async def both():
        writer = GroupWriter(answers)
        bad = Incoming("bounced", 0, "brevo", "a" * 16, agent="\ud800", event_id="x")
        waiting = writer.write([Incoming("unsubscribed", 0, mail="b" * 16)]), writer.write([bad])
        return await asyncio.gather(*waiting, return_exceptions=True)

    good, bad = asyncio.run(both())
    assert good[0].fresh
    assert isinstance(bad, UnicodeEncodeError)
    assert answers.table["kind"].tolist() == ["unsubscribed"]


def test_a_click_does_not_wait_until_the_suppression_list_has_taken_up_what_others_reported(answers):
    over, told = threading.Event(), []

    def standing():
        told.append(over.wait(10))

    async def both():
        writer = GroupWriter(answers, standing=standing)
        bounce = Incoming("bounced", 0, "ses", "a" * 16, event_id="x", bounce_type="hard")
        bounced = asyncio.ensure_future(writer.write([bounce]))
        try:
            while not answers.table["kind"].tolist():
                await asyncio.sleep(0.01)
            await asyncio.wait_for(writer.write([Incoming("clicked", 0, mail="b" * 16)]), 5)
            assert not bounced.done()
        finally:
            over.set()
        await bounced
        writer.close()

    asyncio.run(both())
    assert told == [True]


def test_events_of_a_clock_ahead_count_as_now_and_late_ones_keep_their_time(client, answers, clock):
    for word, moved in (("click", 900), ("opened", -86_400)):
        event = {"event": word, "email": "a@example.org", "ts_epoch": (START + moved) * 1000, "message-id": OWN_ID}
        call(client, "brevo", Made(json.dumps(event).encode(), {"Authorization": "Bearer token"}))
    table = answers.table.set_index("kind")
    assert table.loc["clicked", "at"] == clock.now
    assert table.loc["opened", "at"] == (START - 86_400) * 1_000_000
    assert (table["received_at"] >= table["at"]).all()


def test_events_of_unknown_mails_are_kept_apart_and_come_home_when_the_mail_is_known(client, answers, tracked_mail):
    body = json.dumps({"event": "opened", "email": "a@example.org", "ts_epoch": START * 1000, "message-id": "later-1"})
    call(client, "brevo", Made(body.encode(), {"Authorization": "Bearer token"}))
    assert (answers.unknown_count, len(answers.unknown), len(answers.events)) == (1, 1, 0)
    answers.register([tracked_mail(3, provider_id="later-1")])
    assert answers.unknown_count == 0
    assert answers.events["event"].tolist() == ["email_opened"]


def test_a_provider_that_is_not_there_names_the_nearest():
    with pytest.raises(InputError, match=r"no provider 'sendgird'.*did you mean 'sendgrid'"):
        Webhooks({"sendgird": "x"})
    with pytest.raises(InputError, match=r"postmark: expected user:password"):
        Webhooks({"postmark": " "})
