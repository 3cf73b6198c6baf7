"""Every provider's report becomes the one vocabulary, held against payloads of the providers' documentation."""

from __future__ import annotations

import contextlib
import json
from urllib.parse import urlencode

import pytest

from tests.shared import shared
from toolkit.errors import AnswersError
from toolkit.tracking.incoming import KINDS
from toolkit.tracking.providers import PROVIDERS, Call, Report
from toolkit.tracking.webhooks import incoming_of

# Another library's words for events to ours; what it keeps as a word of its own is none of our vocabulary.
ANYMAIL = {"queued": "sent", "failed": "rejected", "autoresponded": None, "unknown": None}
NAMES = {"amazon_ses": "ses"}
# A Postal mail that is held is not sent on; it waits, which we call deferred.
OURS = {("postal", "queued"): "deferred"}
IGNORED = {
    "test_incorrect_received_event": 0,  # an inbound mail
    "test_ping_event": 0,
    "test_ignore_incoming_events": 0,
    "test_amp_events": 3,
    "test_old_tracking_url": 1,
    "test_error_includes_project_id_single_event": 1,
    "test_multiple_event_option": 2,
}
CANNOT = {
    # The recorded payload is a part of the call only: the custom data, not the event around it.
    ("mailgun", "test_metadata_key_conflicts"): "no event in the payload",
    # The same payload is expected to be two things, by a setting of the other library; ours is the first of them.
    ("sparkpost", "test_initial_open_event_as_unknown"): "the same payload as an open",
}


def payloads():
    path = shared("esp_webhooks/payloads.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def call_of(case):
    payload, name = case["payload"], NAMES.get(case["esp"], case["esp"])
    headers = {}
    if name == "ses" and "TopicArn" not in payload:
        event_id = case["expected_normalised"].get("event_id", "m1")
        payload = {"Type": "Notification", "MessageId": event_id, "Message": json.dumps(payload)}
    if name == "resend":
        headers["svix-id"] = case["expected_normalised"].get("event_id", "msg_1")
    body = json.dumps(payload)
    if name == "mandrill":
        body = urlencode({"mandrill_events": body})
    return name, Call(body.encode(), headers)


def differences(report: Report, expected: dict, name: str):
    kind = expected.get("event_type")
    if kind is not None:
        wanted = OURS.get((name, kind), ANYMAIL.get(kind, kind))
        if report.kind != wanted:
            yield f"kind {report.kind!r} != {wanted!r}"
    metadata = {key: value for key, value in report.metadata.items() if key != "anymail_id"}
    found = {
        "recipient": report.recipient,
        "event_id": report.event_id,
        "reject_reason": report.reason,
        "mta_response": report.response,
        "description": report.description,
        "user_agent": report.agent,
        "click_url": report.url,
        "tags": list(report.tags),
        "metadata": metadata,
    }
    for key, value in found.items():
        if key in expected and value != expected[key] and (value or expected[key]):
            yield f"{key} {value!r} != {expected[key]!r}"
    if "message_id" in expected:
        names = {report.message_id, *report.message_ids, report.metadata.get("anymail_id")}
        if str(expected["message_id"]) not in names:
            yield f"message_id {names!r} != {expected['message_id']!r}"


def test_all_payloads_of_thirteen_providers_give_the_expected_event():
    wrong, right, cannot = [], 0, []
    cases = payloads()
    for case in cases:
        name, call = call_of(case)
        where = (case["esp"], case["test"])
        reports = PROVIDERS[name].read(call)
        expected = case["expected_normalised"]
        if where in CANNOT:
            cannot.append(where)
        elif case["test"] in IGNORED:
            right += len(reports) == IGNORED[case["test"]]
            if len(reports) != IGNORED[case["test"]]:
                wrong.append(f"{where}: {len(reports)} reports")
        else:
            # Where several recipients are reported, the expectation is of the last of them.
            found = list(differences(reports[-1], expected, name)) if reports else ["nothing is reported"]
            wrong += [f"{where}: {one}" for one in found]
            right += not found
    assert wrong == []
    assert (len(cases), right, len(cannot)) == (115, 113, 2)


def test_every_table_speaks_the_one_vocabulary():
    for provider in PROVIDERS.values():
        assert set(provider.WORDS.values()) - {None} <= set(KINDS)
        assert {"delivered", "bounced", "opened", "clicked"} <= set(provider.WORDS.values())


def test_bounces_are_hard_or_soft_and_nothing_else_is():
    for case in payloads():
        name, call = call_of(case)
        for report in PROVIDERS[name].read(call):
            assert (report.bounce_type in ("hard", "soft")) == (report.kind == "bounced")


def test_no_address_stands_in_what_is_kept_of_a_report():
    for case in payloads():
        name, call = call_of(case)
        for report in PROVIDERS[name].read(call):
            kept = incoming_of(report, name, now=0)
            if report.recipient:
                assert report.recipient not in repr(kept.detail)
                assert kept.domain == report.recipient.rpartition("@")[2].lower()


def test_the_same_report_has_the_same_name_and_another_another():
    names = {}
    for case in payloads():
        name, call = call_of(case)
        for report in PROVIDERS[name].read(call):
            if report.kind is None:
                continue
            said = incoming_of(report, name, now=0)
            assert said.event_id == incoming_of(report, name, now=5).event_id
            names.setdefault(said.event_id, set()).add(report.kind)
    assert all(len(kinds) == 1 for kinds in names.values())


MAILGUN = {
    "signature": {"timestamp": "1529006854", "token": "t" * 50, "signature": "…"},
    "event-data": {
        "event": "failed",
        "severity": "permanent",
        "id": "G9Bn5sl1TC6nu79C8C0bwg",
        "timestamp": 1521233195.375624,
        "reason": "suppress-bounce",
        "recipient": "ana@example.org",
        "delivery-status": {"message": "", "code": 605, "description": "Not delivering to previously bounced address"},
        "message": {"headers": {"message-id": "a2a2a2a2a2a2a2a2b3b3b3b3b3b3b3b3@example.com"}},
        "user-variables": {"mail": "a2a2a2a2a2a2a2a2"},
        "tags": ["cart"],
    },
}


def test_mailgun_tells_lasting_failures_from_those_it_tries_again():
    call = Call(json.dumps(MAILGUN).encode())
    (report,) = PROVIDERS["mailgun"].read(call)
    assert (report.kind, report.bounce_type, report.reason) == ("bounced", "hard", "bounced")
    assert report.recipient == "ana@example.org"
    assert report.tags == ("cart",)
    kept = incoming_of(report, "mailgun", now=0)
    assert kept.mail == "a2a2a2a2a2a2a2a2"
    again = json.loads(json.dumps(MAILGUN))
    again["event-data"]["severity"] = "temporary"
    (report,) = PROVIDERS["mailgun"].read(Call(json.dumps(again).encode()))
    assert (report.kind, report.bounce_type) == ("deferred", None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[1, 2]",
        b'"text"',
        b"{}",
        b"[]",
        b"null",
        b"[[]]",
        b'{"events": 5}',
        b"\xff\xfe",
        b"[" * 50_000,
    ],
)
@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_a_body_that_is_no_report_is_refused_or_reports_nothing(name, body):
    with contextlib.suppress(AnswersError):
        assert list(PROVIDERS[name].read(Call(body))) == []
