"""Opens, clicks, unsubscribes and preferences over a real server: what counts, and what is never done."""

from __future__ import annotations

import random
import re
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking.conftest import FIREFOX, NAMES, SECOND, START, Served
from toolkit.tracking import Answers, Incoming, Tokens
from toolkit.tracking.look import Look
from toolkit.tracking.server import PAUSE, tracker
from toolkit.tracking.tokens import TRAP
from toolkit.tracking.webhooks import Webhooks

SHOP = Look(
    name="Maison Lune",
    url="https://shop.example.com/",
    address="12 rue de l'Exemple, 75000 Paris",
    topics={"news": {"en": "New things", "fr": "Nouveautés"}, "sales": {"en": "Sales", "fr": "Soldes"}},
)
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture(scope="module")
def server(serving):
    served = Served()
    with serving(tracker(served, Tokens((bytes(range(32)),)), look=SHOP, clock=served.now)) as client:
        yield served, client


@pytest.fixture
def client(server, answers, clock):
    served, client = server
    served.answers, served.clock = answers, clock
    client.cookies.clear()
    return client


@pytest.fixture
def link(tokens):
    letters = {"open": "o", "click": "c", "unsubscribe": "u", "preferences": "p"}

    def made(purpose, mail=NAMES[0], number=0, by=tokens):
        return f"/{letters[purpose]}/{by.mint(mail, purpose=purpose, number=number)}"

    return made


def kinds(answers):
    return answers.table["kind"].tolist()


class TestOpensAndClicks:
    def test_an_open_is_a_picture_of_one_pixel_that_nobody_keeps(self, client, answers, link):
        answer = client.get(link("open"))
        assert (answer.status_code, answer.headers["content-type"], len(answer.content)) == (200, "image/gif", 42)
        assert "no-store" in answer.headers["cache-control"]
        assert answers.table[["mail", "kind", "verdict", "rule"]].values.tolist() == [
            [NAMES[0], "opened", "human", "browser"]
        ]

    def test_a_click_leads_where_the_mail_says(self, client, answers, link):
        for number, url in enumerate(("https://shop.example.com/cart", "https://shop.example.com/help?a=1&b=2")):
            answer = client.get(link("click", number=number))
            assert (answer.status_code, answer.headers["location"]) == (302, url)
        assert answers.table["url"].tolist() == [
            "https://shop.example.com/cart",
            "https://shop.example.com/help?a=1&b=2",
        ]

    @pytest.mark.parametrize(
        "query",
        [
            "?url=https://evil.example",
            "?to=//evil.example",
            "?redirect=https://evil.example&next=evil",
            "#https://evil",
        ],
    )
    def test_no_query_ever_leads_elsewhere(self, client, link, query):
        assert client.get(link("click") + query).headers["location"] == "https://shop.example.com/cart"

    @pytest.mark.parametrize(
        "path",
        [
            "/c//evil.example",
            "/c/https://evil.example",
            "/c/%2f%2fevil.example",
            "/c/..%2f..%2fetc%2fpasswd",
            "/c/x%0d%0aLocation:%20https://evil.example",
            "/c/" + "A" * 34,
            "/c/" + "A" * 5000,
            "//evil.example/%2e%2e",
        ],
    )
    def test_a_made_up_link_leads_nowhere_and_sets_no_header(self, client, answers, path):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "location" not in answer.headers
        assert kinds(answers) == []

    def test_headers_of_a_request_change_no_redirect(self, client, link):
        headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Referer": "https://evil.example"}
        assert client.get(link("click"), headers=headers).headers["location"] == "https://shop.example.com/cart"
        answer = client.post(link("preferences"), data={"action": "pause"}, headers=headers)
        assert "evil" not in answer.headers["location"]

    def test_a_link_of_a_mail_that_is_not_known_leads_to_the_shop_and_is_kept_apart(self, client, answers, link, clock):
        answer = client.get(link("click", mail="zzzzzzzzzzzzzzzz"))
        assert answer.headers["location"] == "https://shop.example.com/"
        assert client.get(link("click", number=9)).headers["location"] == "https://shop.example.com/"
        assert answers.unknown["mail"].tolist() == ["zzzzzzzzzzzzzzzz"]
        clock.forward(3_600)  # until verdicts are final
        assert answers.table["mail"].tolist() == ["zzzzzzzzzzzzzzzz", "aaaaaaaaaaaaaaaa"]
        assert answers.events["decision_id"].tolist() == ["d0"]

    def test_events_carry_the_decision_and_are_heard_when_their_verdict_is_final(self, client, answers, link, clock):
        client.get(link("open"))
        clock.forward(1)
        client.get(link("click"))
        events = answers.events
        assert events["event"].tolist() == ["email_opened", "email_clicked"]
        assert set(events["decision_id"]) == {"d0"}
        assert events[["customer_id", "scenario", "step", "experiment", "arm"]].drop_duplicates().values.tolist() == [
            ["c0", "cart", "reminder", "offer_1", "reminder"]
        ]
        assert events["link"].fillna("").tolist() == ["", "https://shop.example.com/cart"]
        waited = (events["received_at"] - events["at"]).dt.total_seconds()
        assert waited.tolist() == [62, 62]


class TestTokens:
    @pytest.mark.parametrize("purpose", ["open", "click", "unsubscribe", "preferences"])
    def test_a_token_with_one_bit_flipped_is_nobodys(self, client, answers, link, purpose):
        path = link(purpose)
        head, token = path[:3], path[3:]
        chosen = random.Random(7)
        for _ in range(40):
            place, bit = chosen.randrange(34), chosen.randrange(7)
            changed = token[:place] + chr(ord(token[place]) ^ (1 << bit)) + token[place + 1 :]
            if not re.fullmatch(r"[\w~!$&'()*+,;=:@.-]{34}", changed, re.ASCII):
                continue
            assert client.get(head + changed).status_code == 404
        assert kinds(answers) == []

    def test_a_token_serves_the_purpose_it_was_made_for(self, client, answers, tokens, link):
        for purpose in ("open", "click", "unsubscribe", "preferences"):
            token = link(purpose)[3:]
            for path in ("o", "c", "u", "p"):
                if not link(purpose).startswith(f"/{path}"):
                    assert client.get(f"/{path}/{token}").status_code == 404
        assert kinds(answers) == []

    def test_tokens_of_another_secret_and_of_a_retired_one_are_dead(self, client, answers, link):
        other = Tokens((b"other secret of 32 bytes or more.",))
        assert client.get(link("click", by=other)).status_code == 404
        assert client.post(link("unsubscribe", by=other), data=ONE_CLICK).status_code == 404
        assert kinds(answers) == []

    def test_a_newer_secret_signs_and_the_older_is_still_read(self, answers, tokens, clock, link, serving):
        newer = Tokens((*tokens.secrets, bytes(range(1, 33))))
        with serving(tracker(answers, newer, look=SHOP, clock=clock)) as client:
            assert client.get(link("click")).status_code == 302
            assert client.get(link("click", by=newer)).status_code == 302
        with serving(tracker(answers, Tokens(newer.secrets[1:]), look=SHOP, clock=clock)) as client:
            assert client.get(link("click")).status_code == 404
            assert client.get(link("click", by=newer)).status_code == 302

    def test_a_replayed_unsubscribe_changes_nothing_more(self, client, answers, link):
        for _ in range(5):
            assert client.post(link("unsubscribe"), data=ONE_CLICK).status_code == 200
        assert kinds(answers) == ["unsubscribed"]


class TestUnsubscribe:
    def test_getting_the_link_never_unsubscribes(self, client, answers, link):
        for method in ("GET", "HEAD"):
            for query in ("", "?List-Unsubscribe=One-Click", "?confirm=yes", "?lang=fr"):
                assert client.request(method, link("unsubscribe") + query).status_code == 200
        assert client.get(link("preferences") + "?action=unsubscribe").status_code == 200
        assert kinds(answers) == []

    def test_one_click_takes_both_kinds_of_forms_and_needs_no_cookie(self, client, answers, link):
        answer = client.post(link("unsubscribe"), data=ONE_CLICK)
        assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)
        files = {"List-Unsubscribe": (None, "One-Click")}
        assert client.post(link("unsubscribe", mail=NAMES[1]), files=files).status_code == 200
        assert answers.events["event"].tolist() == ["email_unsubscribed"] * 2
        assert set(answers.events["customer_id"]) == {"c0", "c1"}

    def test_a_post_that_says_nothing_does_nothing(self, client, answers, link):
        assert client.post(link("unsubscribe"), data={"x": "y"}).status_code == 400
        assert client.post(link("unsubscribe"), json=ONE_CLICK).status_code == 415
        assert client.post(link("unsubscribe"), content=b"x" * 20_000).status_code in (413, 415)
        assert client.put(link("unsubscribe"), data=ONE_CLICK).status_code == 405
        assert kinds(answers) == []

    def test_the_page_asks_unsubscribes_and_offers_the_way_back(self, client, answers, link, clock):
        page = client.get(link("unsubscribe")).text
        assert "Unsubscribe from Maison Lune?" in page
        assert '<form method="post"' in page
        gone = client.post(link("unsubscribe"), data={"confirm": "yes"}).text
        assert "You are unsubscribed" in gone
        back = re.search(r'action="\.\.(/p/[\w-]{34})', gone)[1]
        clock.forward(1)
        client.post(back, data={"action": "subscribe"})
        assert answers.events["event"].tolist() == ["email_unsubscribed", "email_subscribed"]

    def test_an_unsubscribe_that_comes_before_its_mail_is_known_holds_from_then_on(
        self, client, answers, link, tracked_mail
    ):
        for _ in range(2):
            assert client.post(link("unsubscribe", mail=NAMES[3]), data=ONE_CLICK).status_code == 200
        client.get(link("open"))
        assert (kinds(answers), answers.unknown_count) == (["unsubscribed", "opened"], 1)
        answers.register([tracked_mail(3), tracked_mail(customer="c3", name="eeeeeeeeeeeeeeee", decision_id="d9")])
        assert answers.unknown_count == 0
        assert answers.events["customer_id"].iloc[0] == "c3"
        assert answers.standing("eeeeeeeeeeeeeeee").state == "unsubscribed"

    def test_the_suppression_list_is_told_before_the_person_is(self, answers, tokens, clock, link, serving):
        told = []
        with serving(tracker(answers, tokens, clock=clock, standing=lambda: told.append(kinds(answers)))) as client:
            client.get(link("open"))
            assert told == []
            client.post(link("unsubscribe"), data=ONE_CLICK)
            assert told == [["opened", "unsubscribed"]]

    def test_an_unsubscribe_is_safe_when_the_suppression_list_cannot_be_told(
        self, answers, tokens, clock, link, serving
    ):
        def locked():
            raise OSError("the ledger is locked")

        with serving(tracker(answers, tokens, clock=clock, standing=locked)) as client:
            assert client.post(link("unsubscribe"), data=ONE_CLICK).status_code == 200
        assert kinds(answers) == ["unsubscribed"]


class TestPreferences:
    def test_topics_become_attributes_of_the_customer(self, client, answers, link):
        answer = client.post(link("preferences"), data={"action": "save", "topic": ["news"]})
        assert answer.status_code == 303
        assert answers.events["event"].tolist() == ["customer_updated"]
        assert answers.events["properties"].tolist() == ['{"topic_news": true, "topic_sales": false}']
        page = client.get(link("preferences")).text
        assert re.findall(r'value="(\w+)"( checked)?>', page)[:2] == [("news", " checked"), ("sales", "")]

    def test_who_leaves_on_the_page_of_choices_has_left(self, client, answers, link):
        assert client.post(link("preferences"), data={"action": "unsubscribe"}).status_code == 303
        assert "You are unsubscribed" in client.get(link("preferences")).text
        assert answers.events["event"].tolist() == ["email_unsubscribed"]

    def test_a_topic_that_is_not_there_is_passed_over(self, client, answers, link):
        client.post(link("preferences"), data={"action": "save", "topic": ["news", "evil", "x" * 900]})
        assert "evil" not in answers.events["properties"].iloc[0]

    def test_a_pause_ends_by_itself_after_thirty_days(self, client, answers, link, clock):
        client.post(link("preferences"), data={"action": "pause"})
        assert "Paused until April 1, 2026" in client.get(link("preferences")).text
        assert answers.standing(NAMES[0]).state == "paused"
        clock.forward(30 * 86_400 - 1)
        assert answers.standing(NAMES[0]).state == "paused"
        clock.forward(1)
        assert answers.standing(NAMES[0]).state == "subscribed"
        table = answers.table
        assert table["kind"].tolist() == ["unsubscribed", "subscribed"]
        assert (table["received_at"] - table["at"]).tolist() == [0, 0]
        assert table["at"].diff().iloc[1] == PAUSE

    def test_who_pauses_and_then_leaves_does_not_come_back(self, client, answers, link, clock):
        client.post(link("preferences"), data={"action": "pause"})
        client.post(link("unsubscribe"), data=ONE_CLICK)
        clock.forward(60 * 86_400)
        assert answers.standing(NAMES[0]).state == "unsubscribed"
        assert kinds(answers) == ["unsubscribed"]

    def test_a_pause_can_be_ended_early(self, client, answers, link, clock):
        client.post(link("preferences"), data={"action": "pause"})
        clock.forward(86_400)
        client.post(link("preferences"), data={"action": "subscribe"})
        assert answers.standing(NAMES[0]).state == "subscribed"
        assert kinds(answers) == ["unsubscribed", "subscribed"]

    def test_a_choice_holds_for_all_mails_of_the_customer(self, client, answers, link, tracked_mail):
        answers.register([tracked_mail(customer="c0", name="eeeeeeeeeeeeeeee", decision_id="d9")])
        client.post(link("unsubscribe"), data=ONE_CLICK)
        page = client.get(link("preferences", mail="eeeeeeeeeeeeeeee")).text
        assert "You are unsubscribed" in page
        client.post(link("unsubscribe", mail="eeeeeeeeeeeeeeee"), data=ONE_CLICK)
        assert kinds(answers) == ["unsubscribed"]

    def test_pages_are_in_the_customers_language_or_the_one_asked_for(self, client, answers, link, tracked_mail):
        answers.register([tracked_mail(3, locale="fr_FR")])
        french = client.get(link("preferences", mail=NAMES[3])).text
        assert '<html lang="fr">' in french
        assert "Nouveautés" in french
        assert '<html lang="en">' in client.get(link("preferences", mail=NAMES[3]) + "?lang=en").text
        unknown = client.get(
            link("unsubscribe", mail="zzzzzzzzzzzzzzzz"), headers={"Accept-Language": "fr-CH, en;q=0.8"}
        )
        assert '<html lang="fr">' in unknown.text
        assert '<html lang="en">' in client.get(link("preferences") + '?lang="><script>').text

    def test_an_action_that_is_not_there_is_refused(self, client, answers, link):
        assert client.post(link("preferences"), data={"action": "delete"}).status_code == 400
        assert client.post(link("preferences"), data={}).status_code in (400, 415)
        assert kinds(answers) == []


class TestPages:
    def test_a_page_loads_nothing_runs_nothing_and_stands_in_no_frame(self, client, link):
        for path in (link("unsubscribe"), link("preferences"), "/c/nothing"):
            answer = client.get(path)
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'")
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "<script" not in answer.text
            assert "no-store" in answer.headers["cache-control"]

    def test_what_a_request_says_is_nowhere_on_a_page(self, client, link):
        marked = "<img src=x onerror=alert(1)>"
        for path in (link("unsubscribe"), link("preferences"), "/u/x"):
            answer = client.get(f"{path}?done={marked}&lang={marked}", headers={"User-Agent": marked, "Referer": "x"})
            assert "onerror" not in answer.text


def everything_in(tokens, mail):
    """All links of a mail, as a scanner finds them."""
    clicks = [tokens.mint(mail, purpose="click", number=number) for number in (0, 1, TRAP)]
    return [
        *(f"/c/{token}" for token in clicks),
        f"/o/{tokens.mint(mail, purpose='open')}",
        f"/u/{tokens.mint(mail, purpose='unsubscribe')}",
    ]


class TestScanners:
    @pytest.mark.parametrize("order", ["as written", "reversed", "slowly"])
    @pytest.mark.parametrize("agent", [FIREFOX, "Mozilla/5.0", "", "Barracuda Sentinel (EE)"])
    def test_a_scanner_that_follows_every_link_changes_no_number_that_counts(
        self, client, answers, tokens, clock, order, agent
    ):
        paths = everything_in(tokens, NAMES[0])
        for path in reversed(paths) if order == "reversed" else paths:
            for method in ("HEAD", "GET"):
                answer = client.request(method, path, headers={"User-Agent": agent})
                for onward in re.findall(r'href="(/?\.\./p/[^"]*)"', answer.text):
                    client.get("/p/" + onward.rpartition("/p/")[2], headers={"User-Agent": agent})
            if order == "slowly":
                clock.forward(9)
        assert set(answers.events["event"]) == {"email_opened_by_machine", "email_clicked_by_machine"}
        assert len(answers.table) == 8
        assert answers.standing(NAMES[0]).state == "subscribed"

    @pytest.mark.parametrize("name", ["Purpose", "Sec-Purpose", "X-Moz"])
    def test_a_browser_that_fetches_ahead_is_no_reader(self, client, answers, link, name):
        client.get(link("click"), headers={name: "prefetch;prerender"})
        client.get(link("click", mail=NAMES[1]), headers={name: "none"})
        client.get(link("click", mail=NAMES[2]), headers={"X-Other": "prefetch"})
        assert answers.table["verdict"].tolist() == ["machine", "human", "human"]

    def test_the_person_who_reads_the_mail_later_counts(self, client, answers, tokens, clock, link):
        for path in everything_in(tokens, NAMES[0]):
            client.get(path, headers={"User-Agent": "curl/8"})
        clock.forward(3600)
        client.get(link("open"))
        clock.forward(5)
        client.get(link("click"))
        events = answers.events.groupby("event").size().to_dict()
        assert events == {
            "email_clicked": 1,
            "email_clicked_by_machine": 3,
            "email_opened": 1,
            "email_opened_by_machine": 1,
        }


PATHS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=60)
NAMES_OF_HEADERS = st.sampled_from(
    ["User-Agent", "Content-Type", "X-Forwarded-For", "Purpose", "Accept-Language", "Authorization", "Cookie", "Range"]
)
HEADERS = st.dictionaries(
    NAMES_OF_HEADERS, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80).map(str.strip)
)


@pytest.fixture(scope="module")
def sturdy(tmp_path_factory, serving, tracked_mail):
    secrets = {"postmark": "ana:secret", "brevo": "token", "mandrill": "key", "mailgun": "key"}
    tokens = Tokens((bytes(range(32)),))
    with Answers.open(tmp_path_factory.mktemp("sturdy") / "answers.sqlite", clock=lambda: START) as answers:
        answers.register([tracked_mail(number) for number in range(3)])
        app = tracker(answers, tokens, look=SHOP, webhooks=Webhooks(secrets), clock=lambda: START)
        with serving(app) as client:
            yield client, tokens


REQUESTS = {
    "method": st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]),
    "room": st.sampled_from(["o", "c", "u", "p", "w", "healthz", "", "x"]),
    "rest": st.one_of(PATHS, st.sampled_from(["genuine", "postmark", "brevo", "mandrill", "mailgun"])),
    "query": PATHS,
    "headers": HEADERS,
    "body": st.binary(max_size=400),
}


def _ends_well(sturdy, method, room, rest, query, headers, body):
    client, tokens = sturdy
    purposes = {"o": "open", "c": "click", "u": "unsubscribe", "p": "preferences"}
    if rest == "genuine" and room in purposes:
        rest = tokens.mint(NAMES[0], purpose=purposes[room])
    content = None if method in ("GET", "HEAD") else body
    answer = client.request(method, f"/{room}/{quote(rest)}?{quote(query)}", headers=headers, content=content)
    assert answer.status_code < 500
    location = answer.headers.get("location", "")
    assert location.startswith("https://shop.example.com/") or not location.startswith(("http", "//"))


@given(**REQUESTS)
@settings(max_examples=100)
def test_no_request_whatever_ends_in_an_error_of_the_server(sturdy, **request):
    _ends_well(sturdy, **request)


@pytest.mark.soak
@given(**REQUESTS)
@settings(max_examples=400)
def test_no_request_of_many_more_ends_in_an_error_of_the_server(sturdy, **request):
    _ends_well(sturdy, **request)


@pytest.mark.parametrize("path", ["/o/x/", "/c/x/", "/u/x/", "/p/x/", "/healthz/"])
def test_a_slash_too_many_leads_nowhere_whatever_host_the_request_names(sturdy, path):
    client, _ = sturdy
    answer = client.get(path, headers={"Host": "evil.example"})
    assert answer.status_code == 404
    assert "location" not in answer.headers


def test_answers_out_of_order_are_judged_by_when_they_happened(answers):
    agent = {"agent": FIREFOX, "mail": NAMES[0]}
    answers.record([Incoming("clicked", START - 10 * SECOND, number=0, provider="x", event_id="late", **agent)])
    answers.record([Incoming("clicked", START - 70 * SECOND, number=TRAP, provider="x", event_id="later", **agent)])
    assert answers.table.set_index("event_id").loc["late", "verdict"] == "machine"
