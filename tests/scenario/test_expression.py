"""Conditions in SQL: what is taken, what it becomes, and what is refused."""

from __future__ import annotations

from functools import cache

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenario.strategies import SHOP, expressions
from toolkit.errors import ScenarioError
from toolkit.scenario.expression import FUNCTIONS, MAX_CHARACTERS, Expression, _parse

KINDS = {
    "value": "number",
    "revenue": "number",
    "country": "text",
    "product_id": "text",
    "order_id": "text",
    "locale": "text",
    "consent": "flag",
    "birthday": "text",
    "at": "time",
    "Größe": "number",
}


@pytest.fixture(scope="module")
def shop() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(
        """
        create table events as select * from (values
            (25.0, 25.0, 'FR', 'p1', '1', 'fr_FR', true,  '1990-02-28', timestamp '2026-11-27 09:00', 4),
            (10.0, 0.0,  'BE', 'p2', '2', 'nl_BE', false, '1984-12-01', timestamp '2026-11-28 00:00', 5),
            (null, null, null, null, '3', null,    null,  'soon',       timestamp '2026-01-01 00:00', null)
        ) as shop(value, revenue, country, product_id, order_id, locale, consent, birthday, "at", "Größe")
        """
    )
    return connection


def orders(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    sql = Expression.parse(text, columns=KINDS).sql
    rows = connection.execute(f"select order_id from events where {sql} order by order_id").fetchall()
    return "".join(row[0] for row in rows)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("value >= 20", "1"),
        ("value == 10", "2"),
        ("value <> 10", "1"),
        ("value != 10 or value is null", "13"),
        ("value between 10 and 25", "12"),
        ("not value between 20 and 25", "2"),
        ("value * 2 - 5 > 40 and value / 5 = 5 and value % 2 = 1 and -value < 0 and value + 1 = 26", "1"),
        ("consent", "1"),
        ("not consent", "2"),
        ("consent is true", "1"),
        ("consent is not true", "23"),
        ("coalesce(consent, true)", "13"),
        ("consent = true and consent = 1", "1"),
        ("true", "123"),
        ("false", ""),
        ("country in ('FR', 'DE')", "1"),
        ("country not in ('FR', 'DE')", "2"),
        ("country like 'F%'", "1"),
        ("country ilike 'f_' or country not like 'F%'", "12"),
        ("lower(country) = 'fr' and upper(locale) = 'FR_FR' and trim(country) = 'FR'", "1"),
        ("length(country) = 2 and starts_with(locale, 'nl') and contains(locale, 'BE')", "2"),
        ("substring(locale, 1, 2) = 'fr'", "1"),
        ("substring(locale, 4) = 'BE'", "2"),
        ("abs(-value) = 25 and round(value / 3, 2) = 8.33 and round(value / 3) = 8", "1"),
        ("floor(value / 3) = 3 and ceil(value / 3) = 4", "2"),
        ("year(birthday) = 1990", "1"),
        ("month(birthday) = 12 and day(birthday) = 1", "2"),
        ("extract(month from birthday) = 2", "1"),
        ("at >= '2026-11-28'", "2"),
        ("at between '2026-11-27' and '2026-11-27 23:59'", "1"),
        ("at >= date '2026-11-28'", "2"),
        ("at = timestamp '2026-11-27 09:00'", "1"),
        ("cast(birthday as date) < date '1985-01-01'", "2"),
        ("birthday::date is null", "3"),
        ("order_id::int + 1 = 2", "1"),
        ("cast(value as varchar) = '25.0'", "1"),
        ("cast(order_id as boolean)", "1"),
        ("try_cast(birthday as timestamp) is not null", "12"),
        ('"Größe" = 4', "1"),
        ("country = 'FR' and locale not in ('if', 'like', '&&', '||')", "1"),
        ("'(' like '(' and 'if' = 'if' and '&&' = '&&'", "123"),
        ("value > 1e1 and value < 2.55e+1 and value > .5 and value > 1.", "1"),
        ("country = 'it''s' or country = 'FR'", "1"),
        ("((value > 20))", "1"),
        ("value > 20 or value < 11 and consent", "1"),
        ("value / revenue = 1 or value % revenue = 1", "1"),
        ("birthday::int > 0 or birthday::date > '1900-01-01'", "12"),
    ],
)
def test_an_expression_means_what_it_says(shop: duckdb.DuckDBPyConnection, text: str, found: str) -> None:
    assert orders(shop, text) == found


@given(expressions(SHOP.numbers, (*SHOP.texts, "locale"), ("consent",), SHOP.words))
@settings(max_examples=150, deadline=None)
def test_the_checked_form_is_a_fixed_point_that_the_database_takes(text: str) -> None:
    once = Expression.parse(text, columns=KINDS)
    again = Expression.parse(once.sql, columns=KINDS)
    assert again.sql == once.sql
    assert set(once.columns) <= set(KINDS)
    nothing = ", ".join(f'null as "{name}"' for name in once.columns) or "1"
    answer(f"select {once.sql} from (select {nothing})")


def test_columns_are_quoted_and_listed() -> None:
    expression = Expression.parse('value >= 20 and Value < 30 and "a "" b" = \'x\'')
    assert expression.sql == '(("value" >= 20) AND ("Value" < 30) AND ("a "" b" = \'x\'))'
    assert expression.columns == ("Value", 'a " b', "value")


def test_two_ways_to_write_it_are_one_expression() -> None:
    assert Expression.parse("value>=20  AND ( consent )") == Expression.parse("value >= 20 and consent")


@pytest.mark.parametrize(
    "text",
    [
        "value > 1; drop table events",
        "value > 1;",
        "drop table events",
        "select 1",
        "value in (select value from events)",
        "exists (select 1)",
        "(select true)",
        "value > 1 -- and consent",
        "value > 1 /* and */",
        "-- only a comment",
        "read_csv('passwd') is null",
        "getenv('HOME') = 'x'",
        "events.value > 1",
        "main.events.value > 1",
        "* > 1",
        "count(*) > 1",
        "sum(value) > 1",
        "row_number() over () = 1",
        "value > ?",
        "value > $1",
        "value > :name",
        "value[1] = 1",
        "[1, 2] = value",
        "{'a': 1} = value",
        "struct.field = 1",
        "value -> '$.x' = 1",
        "country || 'x' = 'FRx'",
        "country ~ 'F.*'",
        "country similar to 'F.*'",
        "country glob 'F*'",
        "country like 'F!%' escape '!'",
        "like(country, 'F%')",
        "case when consent then true end",
        "if(consent, true, false)",
        "if consent then value > 1",
        "@",
        "abs()",
        "lower()",
        "coalesce()",
        "starts_with(country)",
        "value ** 2 = 4",
        "value // 2 = 1",
        "value & 1 = 1",
        "now() > at",
        "current_date > at",
        "random() > 0.5",
        "interval 1 day > at",
        "at at time zone 'UTC' > at",
        "cast(country as json) is null",
        "cast(value as int[]) is null",
        "trim(both 'x' from country) = 'y'",
        "round(value, order_id) = 1",
        "round(value, 2, true) = 1",
        "substring(country, value) = 'x'",
        "substring(country) = 'x'",
        "extract(hour from at) = 9",
        "value is distinct from 1",
        "country is 'FR'",
        "value between symmetric 1 and 2",
        "country = E'a\\nb'",
        "country = $$FR$$",
        "value = 0x1F",
        "value = 123456789012345678901234567890",
        "country in ()",
        "lambda x: x",
        "value as v",
        "value v",
        "value >",
        "value > 'x",
        "country = ‘FR’",
        "value && consent",
        "()",
        "",
        "   ",
    ],
)
def test_what_is_not_a_comparison_of_columns_and_literals_is_refused(text: str) -> None:
    with pytest.raises(ScenarioError):
        Expression.parse(text)
    assert Expression.faults(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("valeu > 20", "unknown column; found 'valeu'; allowed: Größe, at, birthday"),
        ("valeu > 20", "did you mean 'value'?"),
        ("Value > 20", "did you mean 'value'?"),
        ('country = "DE"', "unknown column; text stands in single quotes; found 'DE'"),
        ("country = DE", "unknown column; text stands in single quotes; found 'DE'"),
        ("country in (DE)", "unknown column; text stands in single quotes; found 'DE'"),
        ("somewhere = 'DE'", "unknown column; found 'somewhere'"),
        ("trim(country, 'F') = 'R'", "not allowed in a condition"),
        ("at > '20261127'", "not a date or time"),
        ("at > '2026-W48-5'", "not a date or time"),
        ("at > '2026-11-27T09'", "not a date or time"),
        ("at > '2026-11-27 09:00+02:00'", "an offset in a time: times are UTC"),
        ("consent = 'yes'", "cannot be compared; found \"consent = 'yes'\"; allowed: = true, = false, without quotes"),
        ("value => 20", "the sign is written >="),
        ("value =< 20", "did you mean 'value <= 20'?"),
        ("value >= 20 et consent", "it cannot be read from 'et' on"),
        ("country in ('FR', 'BE'", "a ) is missing"),
        ("loower(country) = 'fr'", "a function that conditions do not have; found 'loower'; allowed: abs, ceil"),
        ("random() > 0.5", "a function that conditions do not have; found 'random'; allowed"),
        ("country ~ 'F.*'", "a function that conditions do not have; found \"country ~ 'F"),
        ("date_trunc('day', at) = at", "a function that conditions do not have; found \"date_trunc('day'"),
        ("loower(country) = 'fr'", "did you mean 'lower'?"),
        ("country > 5", "a number and text cannot be compared; found 'country > 5'; allowed: text in 'quotes'"),
        ("country > 5", "numbers without; country holds text: where it means an amount, make it a number before"),
        ("value in ('a', 2)", "a number and text cannot be compared"),
        ("value between 'a' and 'b'", "a number and text cannot be compared"),
        ("consent = 2", "true or false and a number cannot be compared"),
        ("value = null", "nothing equals null; found 'value = NULL'; allowed: is null, is not null"),
        ("country in ('FR', null)", "nothing equals null"),
        ("at > 'soon'", "not a date or time; found \"'soon'\"; allowed: '2026-11-27'"),
        ("at > date '2026-13-01'", "not a date or time"),
        ("value", "this is a number, not a condition; found 'value'; allowed: something true or false"),
        ("'FR'", "this is text, not a condition"),
        ("at", "this is a time, not a condition"),
        ("null", "this is nothing, not a condition"),
        ("value and consent", "expected true or false; this is a number; found 'value'"),
        ("lower(value) = 'x'", "expected text; this is a number"),
        ("country + 1 = 2", "expected a number; this is text"),
        ("year(value) = 1", "expected a date; this is a number"),
        ("coalesce(value, 'x') = 1", "the values of coalesce are of different kinds"),
        ("value > 1; consent", "more than one expression; found 'value > 1; consent'; allowed: one, without ;"),
        ("value > 1 -- x", "a comment in a condition"),
        ("value > 'x", "a quote is missing"),
        ('"value > 3', "a quote is missing"),
        ("country = ‘FR’", "curly quotes; found 'country = ‘FR’'; allowed: text in straight single quotes: 'FR'"),
        ("consent && value > 1", "not a condition in SQL; found 'consent && value > 1'; allowed: and, or"),
        ("country = '&&' && consent", "did you mean \"country = '&&' and consent\"?"),
        ("value > 3,5", "did you mean 'value > 3.5'?"),
        ("value >", "something is missing"),
        ("", "the condition is empty"),
        ("x" * (MAX_CHARACTERS + 1), "the condition is too long; found 4001; allowed: 4,000 characters"),
    ],
)
def test_a_refusal_says_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        Expression.parse(text, columns=KINDS)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["value > 17 et consent", "value + 17 >", "value > 17 && '"])
def test_what_cannot_be_read_is_read_once(text: str) -> None:
    before = _parse.cache_info().misses
    assert Expression.faults(text)
    assert _parse.cache_info().misses == before + 1


@pytest.mark.parametrize(
    "moment",
    ["2026-11-27", "2026-11-27 09:00", "2026-11-27T09:00", "2026-11-27 09:00:30.5", "2026-11-27 09:00Z", "9999-12-31"],
)
def test_every_moment_that_is_taken_the_database_can_read(moment: str) -> None:
    sql = Expression.parse(f"at >= '{moment}'", columns=KINDS).sql
    duckdb.connect().sql(f"select {sql} from (select timestamp '2026-11-27 09:00' as at)").fetchall()


def test_all_faults_of_an_expression_come_at_once() -> None:
    faults = Expression.faults("valeu > 20 and loower(country) = 'fr' and order_id = 7", columns=KINDS)
    assert [fault.nearest for fault in faults] == ["value", "lower", None]


@pytest.mark.parametrize(
    "text", ["(" * 600 + "consent" + ")" * 600, "not " * 900 + "consent", "value" + "+1" * 1900 + " > 0"]
)
def test_what_is_nested_without_end_is_refused_and_nothing_breaks(text: str) -> None:
    assert [fault.message for fault in Expression.faults(text)] == ["the condition is nested too deep"]


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_is_taken_or_refused_with_a_reason(text: str) -> None:
    faults = Expression.faults(text)
    if not faults:
        assert Expression.parse(text).sql
    assert all(fault.message for fault in faults)


WORDS = """value country consent value country consent ( ) ( ) and or not and or not in , > = < 'FR' 'f%' 20 3.7 is null
    like ilike between + - * / % lower( cast( as int ::date ::double coalesce( round( true ; $1 . -- exists || []"""
ROW = "2.7::double as value, 'FR' as country, true as consent"


def joined(parts: st.SearchStrategy[str], signs: list[str]) -> st.SearchStrategy[str]:
    """Terms with signs between them and no brackets, so that only precedence says what belongs together."""
    return st.lists(st.tuples(parts, st.sampled_from(signs)), min_size=1, max_size=3).map(
        lambda pairs: " ".join(word for pair in pairs for word in pair).rpartition(" ")[0]
    )


NUMBERS = joined(st.sampled_from(["value", "20", "3.7", "-value", "abs(value)", "value::int", "5"]), list("+-*/%"))
TEXTS = st.sampled_from(["country", "'FR'", "'f%'", "lower(country)", "substr(country, 2)", "value::varchar"])
COMPARISONS = st.one_of(
    st.builds("{} {} {}".format, NUMBERS, st.sampled_from(["=", "<>", "<", ">=", "=="]), NUMBERS),
    st.builds("{} {} {}".format, TEXTS, st.sampled_from(["=", "!=", "like", "not like", "ilike", "not ilike"]), TEXTS),
    st.builds("{} {} {} and {}".format, NUMBERS, st.sampled_from(["between", "not between"]), NUMBERS, NUMBERS),
    st.builds("{} {} ({}, {})".format, TEXTS, st.sampled_from(["in", "not in"]), TEXTS, TEXTS),
    st.builds("{} {}".format, NUMBERS, st.sampled_from(["is null", "is not null"])),
    st.sampled_from(["consent", "true", "consent is not true", "coalesce(consent, false)"]),
)
PHRASES = joined(COMPARISONS | COMPARISONS.map("not {}".format), ["and", "or"])


@given(PHRASES)
@settings(max_examples=300, deadline=None)
def test_precedence_is_that_of_the_database(text: str) -> None:
    assert not Expression.faults(text, columns=KINDS)
    agrees_with_the_database(text)


@given(st.lists(st.sampled_from(WORDS.split()), min_size=1, max_size=14))
@settings(max_examples=300, deadline=None)
def test_whatever_is_taken_means_what_the_database_would_say(words: list[str]) -> None:
    agrees_with_the_database(" ".join(words))


@pytest.mark.parametrize(
    "text",
    [
        "country not like 'F%' or country not ilike 'f_'",
        "not country like 'F%' and value not between 1 and 2",
        "value not in (1, 2) or not consent",
        "value - 1 - 1 < 1 and value / 2 / 2 < 1 and 2 * (value - 1) > 3 and -value + 3 > 0",
        "not consent = false and not value = 2",
        "consent or consent and not consent",
        "value::int = 3 and cast(value as bigint) <> 2 and round(value) = 3 and 7 % 4 = 3",
        "7 % 4 * 2 = 6 and not value between 5 and 7 % 4 * 2",
        "value between 1 and 3 and consent = true",
        "consent is not null and (country is null) = false",
        "mod(7, 4) = 3 and len(country) = 2 and substr(country, 2) = 'R' and ceiling(value) = 3",
        "country ^@ 'F' and ifnull(consent, false)",
    ],
)
def test_the_checked_form_means_what_was_written(text: str) -> None:
    assert not Expression.faults(text, columns=KINDS)
    agrees_with_the_database(text)


@cache
def database() -> duckdb.DuckDBPyConnection:
    """One for all examples: to open one takes a hundred times as long as a question."""
    return duckdb.connect()


def answer(query: str) -> list[tuple[object, ...]]:
    """All rows, of a cursor of its own: one that is shared keeps an unfinished answer from test to test."""
    with database().cursor() as cursor:
        return cursor.execute(query).fetchall()


def agrees_with_the_database(text: str) -> None:
    """The checked form gives what the raw text gives, where the raw text can be run at all."""
    if Expression.faults(text, columns=KINDS):
        return
    ours = answer(f"select ({Expression.parse(text).sql})::boolean from (select {ROW})")
    try:
        theirs = answer(f"select ({text})::boolean from (select {ROW})")
    except duckdb.Error:
        return
    assert ours == theirs


def test_every_function_named_in_the_list_is_one_that_can_be_used() -> None:
    uses = {
        "abs": "abs(value) > 1",
        "ceil": "ceil(value) > 1",
        "coalesce": "coalesce(value, 0) > 1",
        "contains": "contains(country, 'F')",
        "day": "day(at) = 1",
        "floor": "floor(value) > 1",
        "length": "length(country) > 1",
        "lower": "lower(country) = 'fr'",
        "month": "month(at) = 1",
        "round": "round(value) = 1",
        "starts_with": "starts_with(country, 'F')",
        "substring": "substring(country, 1, 1) = 'F'",
        "trim": "trim(country) = 'F'",
        "upper": "upper(country) = 'F'",
        "year": "year(at) = 2026",
    }
    assert set(uses) == set(FUNCTIONS)
    assert not any(Expression.faults(text, columns=KINDS) for text in uses.values())
