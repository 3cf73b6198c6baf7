"""The profile says what is in a log and what looks wrong."""

from __future__ import annotations

import pandas as pd
import pytest

from toolkit.events import EventLog, suspicion
from toolkit.events.database import fetch_rows

NOW = pd.Timestamp("2024-06-01", tz="UTC")


def log_of(rows, customers=None, **properties):
    frame = pd.DataFrame(rows, columns=["customer_id", "event", "at"]).assign(**properties)
    return EventLog.from_pandas(frame, customers=customers, zone="UTC")


def crowd(count, *, at="2024-01-01"):
    """One event each of so many customers, a minute apart."""
    start = pd.Timestamp(at)
    return [(f"c{i}", "view", start + pd.Timedelta(minutes=7 * i)) for i in range(count)]


@pytest.fixture
def log():
    rows = [
        ("ana", "view", "2024-05-01 09:00"),
        ("ana", "view", "2024-05-01 10:00"),
        ("bo", "view", "2024-05-01 09:30"),
        ("bo", "view", "2024-05-01 12:30"),
        ("ana", "purchase", "2024-05-04 09:00"),
    ]
    return log_of(rows, revenue=[None, None, None, None, 20.0], page=["a", None, "b", "c", None])


def test_one_row_per_event_name_with_its_counts_times_and_gaps(log):
    table = log.profile(now=NOW).table.set_index("event")
    assert list(table.index) == ["view", "purchase"]
    view = table.loc["view"]
    assert (view["events"], view["customers"], view["share_rate"]) == (4, 2, 0.8)
    assert view["first"] == pd.Timestamp("2024-05-01 09:00", tz="UTC")
    assert view["last"] == pd.Timestamp("2024-05-01 12:30", tz="UTC")
    assert view["median_gap"] == pd.Timedelta(hours=2)
    assert (view["revenue_rate"], view["page_rate"]) == (0, 0.75)
    assert pd.isna(table.loc["purchase", "median_gap"])
    assert table.loc["purchase", "revenue_rate"] == 1


def test_the_whole_log_is_counted_with_its_empty_days(log):
    profile = log.profile(now=NOW)
    assert (profile.events, profile.customers, profile.days, profile.empty_days) == (5, 2, 4, 2)
    assert profile.longest_gap == pd.Timedelta(days=2, hours=20, minutes=30)
    assert profile.per_day == 1.25
    assert profile.suspicious == ()


def test_the_text_shows_all_of_it(log):
    text = str(log.profile(now=NOW))
    assert "5 events of 2 customers" in text
    assert "2024-05-01 09:00 to 2024-05-04 09:00 UTC, 4 days" in text
    assert "2 days without events; longest gap 2.9 d" in text
    assert "80.0%" in text
    assert "page 75.0%" in text
    assert "no customers table" in text


def test_the_page_shows_the_same_and_escapes_what_is_in_the_log():
    html = log_of([("<b>ana</b>", "<script>", "1980-05-01")]).profile(now=NOW)._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert "before 1990" in html
    assert "color:inherit" in html


@pytest.mark.parametrize("customers", [None, pd.DataFrame({"customer_id": ["a"], "email": ["a@example.org"]})])
def test_an_empty_log_has_a_profile(customers):
    profile = log_of([], customers).profile(now=NOW)
    assert profile.events == profile.days == 0
    assert profile.table.empty
    assert str(profile).startswith("no events")
    assert profile._repr_html_().startswith("<div")


def test_a_log_of_one_event_has_a_profile():
    profile = log_of([("a", "x", "2024-05-01 10:00")]).profile(now=NOW)
    assert (profile.days, profile.empty_days, profile.longest_gap) == (1, 0, None)
    assert "1 event of 1 customer" in str(profile)


def test_the_present_is_the_default_for_the_future():
    rows = [("a", "x", "2024-05-01"), ("a", "x", "2199-01-01")]
    assert any("1 event in the future, up to 2199-01-01" in said for said in log_of(rows).profile().suspicious)


def suspects(log):
    return " | ".join(log.profile(now=NOW).suspicious)


def test_events_before_1990_and_in_the_future_are_suspicious():
    said = suspects(log_of([("a", "x", "1970-01-01"), ("a", "x", "2024-06-03 10:00"), ("a", "x", "2024-05-01")]))
    assert "1 event before 1990" in said
    assert "1 event in the future, up to 2024-06-03 10:00" in said


def test_one_customer_with_a_large_share_is_suspicious_in_a_log_of_many():
    rows = crowd(60) + [("robot", "view", f"2024-02-01 {h:02d}:{m:02d}") for h in range(10) for m in range(0, 60, 5)]
    assert "customer 'robot' has 67% of all events" in suspects(log_of(rows))


def test_very_many_events_on_one_day_are_suspicious():
    start = pd.Timestamp("2024-02-01")
    rows = [("robot", "view", start + pd.Timedelta(minutes=i)) for i in range(600)]
    said = suspects(log_of(rows))
    assert "customer 'robot' has 600 events on 2024-02-01: perhaps a robot" in said


def test_many_events_at_one_instant_are_suspicious():
    rows = [("a", f"e{i}", "2024-02-01 10:00") for i in range(25)] + crowd(3)
    assert "customer 'a' has 25 events at one instant, 2024-02-01 10:00:00 UTC" in suspects(log_of(rows))


@pytest.mark.parametrize(("count", "told"), [(19, False), (20, True)])
def test_twenty_events_of_a_customer_at_one_instant_are_many(count, told):
    busy = [(f"other{i}", "view", "2024-02-02 11:00") for i in range(30)]  # many, but each of another
    log = log_of([("a", f"e{i}", "2024-02-01 10:00") for i in range(count)] + crowd(3) + busy)
    assert ("at one instant, 2024-02-01 10:00:00 UTC" in suspects(log)) == told
    assert "2024-02-02 11:00" not in suspects(log)


def test_events_are_put_together_by_instant_only_where_many_share_one(monkeypatch):
    asked = []
    monkeypatch.setattr(suspicion, "fetch_rows", lambda cursor, query: asked.append(query) or fetch_rows(cursor, query))
    log_of(crowd(300)).profile(now=NOW)
    assert asked
    assert not [query for query in asked if 'customer_id, "at"' in query.partition("GROUP BY")[2]]


def test_many_customers_at_one_instant_are_suspicious():
    rows = [(f"x{i}", "view", "2024-02-01 10:00:03") for i in range(150)] + crowd(150)
    assert "150 customers have events at one instant, 2024-02-01 10:00:03 UTC" in suspects(log_of(rows))


def test_times_that_are_dates_are_suspicious():
    rows = [(f"c{i}", "view", f"2024-01-{1 + i % 28:02d}") for i in range(120)]
    assert "look like dates" in suspects(log_of(rows))
    twice = [(f"c{i}", "view", f"2024-01-{1 + i % 28:02d} {i % 2 * 12:02d}:00") for i in range(120)]
    assert "look like dates" in suspects(log_of(twice))
    assert "look like dates" not in suspects(log_of([*twice, ("c7", "view", "2024-01-09 07:30")]))


def test_ids_that_look_missing_are_suspicious():
    assert "2 events of a customer called 'None'" in suspects(
        log_of([("None", "x", "2024-01-01"), ("None", "y", "2024-01-01"), ("a", "x", "2024-01-01")])
    )


@pytest.mark.parametrize(
    "other", ["c\u0430rt_add", "cart_add\u200b", "\uff43art_add", "cart\u2013add", "cart add\u00a0"], ids=ascii
)
def test_event_names_that_only_look_alike_are_suspicious(other):
    plain = "cart-add" if "\u2013" in other else "cart add" if " " in other else "cart_add"
    rows = [("a", name, "2024-01-01") for name in (plain, other, "achat_réglé", "purchase")]
    told = [one for one in log_of(rows).profile().suspicious if "look alike" in one]
    assert told == [f"event names that look alike and are not the same: {plain!r}, {other!a}"] or told == [
        f"event names that look alike and are not the same: {other!a}, {plain!r}"
    ]


def test_event_names_that_differ_in_spelling_are_suspicious():
    rows = [("a", name, "2024-01-01") for name in ("Add to cart", "add_to_cart", "purchase")]
    assert "differ only in spelling: 'Add to cart', 'add_to_cart'" in suspects(log_of(rows))


def test_numbers_and_times_stored_as_text_are_suspicious_but_ids_are_not():
    rows = [("a", "x", "2024-01-01"), ("b", "x", "2024-01-02")]
    said = suspects(
        log_of(
            rows,
            price=["1.50", "2"],
            order_id=["17", "18"],
            when=["2024-01-01 10:00", "2024-01-02 11:00"],
            word=["7", "seven"],
            zeros=["007", "008"],
        )
    )
    assert "'price' holds numbers stored as text" in said
    assert "'when' holds times stored as text" in said
    assert "order_id" not in said
    assert "'word'" not in said
    assert "'zeros'" not in said


def test_amounts_as_a_spreadsheet_writes_them_are_suspicious_but_codes_and_dates_are_not():
    rows = [("a", "x", "2024-01-01"), ("b", "x", "2024-01-02")]
    said = suspects(
        log_of(
            rows,
            price=["1.234,50", "20,00 €"],
            cost=["€ 12.50", None],
            size=["12,5 cm", "3"],
            zeros=["007", "008"],
            day=["31.12.2024", "01.01.2025"],
            words=["1,2 and 3", "4,5"],
        )
    )
    assert "property 'price' holds amounts as text, such as '1.234,50', which nothing can compare or add up" in said
    assert "property 'cost' holds amounts as text, such as '€ 12.50'" in said
    assert said.count("as EventLog.from_csv(path, decimal=',') reads them") == 1
    assert said.count("holds amounts") == 2
    assert "property 'day' holds dates as text, such as '01.01.2025', which nothing can compare" in said


def test_a_birthday_that_is_text_is_suspicious():
    def said(*birthdays: object) -> str:
        people = pd.DataFrame({"customer_id": ["a", "b"], "email": ["a@example.org"] * 2, "birthday": birthdays})
        return suspects(log_of([("a", "x", "2024-01-01")], customers=people))

    for birthdays in (("15.06.1978", None), ("12/15/78", "6/01/1990"), ("15.06.1978 00:00", " ")):
        assert "attribute 'birthday' holds dates as text, such as '1" in said(*birthdays)
    for birthdays in (("1978-06-15", None), ("15.06.1978", "in June"), ("1.2", "3.4"), (None, None)):
        assert "as text" not in said(*birthdays)


def test_a_property_that_is_never_there_is_suspicious():
    assert "property 'nothing' is missing in every event" in suspects(
        log_of([("a", "x", "2024-01-01")], nothing=pd.Series([None], dtype=object))
    )


def test_what_is_wrong_with_the_customers_table_is_said():
    customers = pd.DataFrame(
        {
            "customer_id": ["a", "b", "c", "d"],
            "email": ["A@example.org", "a@example.org ", None, "bo at example.org"],
            "consent": [None, False, False, None],
            "timezone": ["Europe/Paris", "Mars/Olympus", None, "Europe/Paris"],
        }
    )
    said = suspects(log_of([("a", "x", "2024-01-01"), ("z", "x", "2024-01-02")], customers))
    assert "1 customer with events but not in the customers table" in said
    assert "1 customer of 4 with an address that is none" in said
    assert "1 customer of 4 without an address" in said
    assert "1 of the addresses belong" in said
    assert "no customer has agreed to marketing mail" in said
    assert "2 customers of 4 with unknown consent" in said
    assert "1 customer with a time zone that does not exist, for example 'Mars/Olympus'" in said


def test_ids_of_another_system_in_the_customers_table_are_shown_beside_those_of_the_events():
    customers = pd.DataFrame({"customer_id": ["K7", "K8"], "consent": True})
    said = suspects(log_of([("007", "x", "2024-01-01"), ("008", "x", "2024-01-02")], customers))
    assert "not one of the 2 customers with events stands in the customers table" in said
    assert "their ids are written '007' here and 'K7' there" in said


def test_a_tidy_log_with_its_customers_raises_no_suspicion():
    customers = pd.DataFrame(
        {
            "customer_id": [f"c{i}" for i in range(60)],
            "email": [f"c{i}@example.org" for i in range(60)],
            "consent": True,
            "timezone": "Europe/Paris",
        }
    )
    assert log_of(crowd(60), customers).profile(now=NOW).suspicious == ()


def test_a_profile_of_a_stored_log_is_the_same(log, tmp_path):
    log.save(tmp_path / "shop")
    assert str(EventLog.open(tmp_path / "shop").profile(now=NOW)) == str(log.profile(now=NOW))


@pytest.mark.parametrize("name", ["retailrocket_sample", "cdnow", "online_retail", "olist_sample"])
def test_real_logs_have_a_profile(shared_data, name):
    log = EventLog.from_parquet(shared_data / name / "eventlog.parquet", columns={"at": "timestamp"}, zone="UTC")
    profile = log.profile(now=NOW)
    assert profile.table["events"].sum() == len(log)
    assert profile.table["share_rate"].sum() == pytest.approx(1)
    assert ("look like dates" in str(profile)) == (name == "cdnow")


def test_tables_of_another_age_in_one_log_are_told_since_they_water_down_what_is_counted_by_week():
    old = [(f"c{i}", "sign_up", pd.Timestamp("2023-01-01") + pd.Timedelta(days=i)) for i in range(365)]
    new = [(f"c{i}", "cart_add", pd.Timestamp("2023-10-01") + pd.Timedelta(hours=8 * i)) for i in range(300)]
    (said,) = log_of([*old, *new]).profile(now=NOW).suspicious
    assert said == (
        "'cart_add' begins 273 days after the log, on 2023-10-01: what is told by week or by day counts the days "
        "before, too; begin the log there, for example with events[events['at'] >= '2023-10-01']"
    )
    for rows in ([*old, *new[:99]], [row for row in [*old, *new] if row[2] >= pd.Timestamp("2023-10-01")]):
        assert log_of(rows).profile(now=NOW).suspicious == ()


def test_a_few_amounts_below_zero_look_like_refunds_and_many_like_what_they_are():
    rows = [(f"c{i}", "purchase", pd.Timestamp("2024-05-01") + pd.Timedelta(minutes=7 * i)) for i in range(40)]
    revenue = [-5.0 if i in (3, 9) else 20.0 for i in range(40)]
    (said,) = log_of(rows, revenue=revenue).profile(now=NOW).suspicious
    assert said == (
        "'purchase' has 'revenue' below zero in 2 of 40 events: a refund or a cancelled order is an event of its own "
        "name"
    )
    assert log_of(rows, change=[(-1.0) ** i for i in range(40)]).profile(now=NOW).suspicious == ()
