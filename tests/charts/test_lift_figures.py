"""Pictures of experiments and plans, and the experiment's own report."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import toolkit as tk
from toolkit.charts import boundary, figure, lift_days, plan_curve, qini_curve, survival_plot
from toolkit.charts.by_day import days_said, days_svg
from toolkit.charts.experiments import forest_svg
from toolkit.charts.thinning import MOST_POINTS
from toolkit.charts.vector import text_width
from toolkit.errors import InputError, NotSupportedError
from toolkit.stats import LiftByDay, Looks, Result, kaplan_meier, lift_by_day, plan, qini

CHROMIUM = Path("/usr/bin/chromium")
METRICS = [
    tk.Rate("converted"),
    tk.Mean("profit", currency="EUR"),
    tk.TimeTo("days", within="28d", name="came back"),
]


def outcomes(count: int = 9_000) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    mailed = np.arange(count) % 2 == 1
    converted = rng.random(count) < 0.1 + 0.03 * mailed
    days = np.where(rng.random(count) < 0.6, rng.exponential(9, count), np.nan)
    return pd.DataFrame(
        {
            "arm": np.where(mailed, "mail", "control"),
            "converted": converted,
            "profit": np.where(converted, rng.gamma(2, 10, count), 0.0),
            "days": np.where(days <= 28, days, np.nan),
        }
    )


@pytest.fixture(scope="module")
def result() -> Result:
    return tk.experiment(outcomes(), METRICS, looks=Looks(planned=12_000, past=[3_000]))


def test_the_boundary_shows_every_look_and_where_todays_effect_stands(result: Result) -> None:
    earlier = tk.experiment(outcomes(3_000), METRICS[:1], looks=Looks(planned=12_000))
    drawing = result.plot(show="looks", earlier=[earlier])
    upper, lower, path = drawing.data
    assert list(upper.x) == [0.25, 0.75, 1.0]
    assert tuple(upper.customdata[:2]) == pytest.approx(result.look.bounds)
    assert list(lower.y) == [-y for y in upper.y]
    assert list(path.x) == [0.25, 0.75]
    assert path.customdata[1] == pytest.approx(result.comparisons[0].statistic)
    assert path.customdata[0] == pytest.approx(earlier.comparisons[0].statistic)
    assert "mail is surely better than control on converted" in drawing.layout.title.text


def test_an_effect_crosses_the_drawn_boundary_exactly_where_its_test_says_so():
    """3 of 20 against 2 of 80: z 2.29, Boschloo's exact p 0.065; a small holdout's revenue is tested by shuffles."""
    rows = pd.DataFrame({"arm": ["mail"] * 20 + ["control"] * 80})
    rows["converted"] = [*(at < 3 for at in range(20)), *(at < 2 for at in range(80))]
    rows["revenue"] = np.where(rows["converted"], 10.0 + rows.index, 0.0)
    rows["left"] = ~rows["converted"]
    metrics = [
        tk.Rate("converted", role="primary"),
        tk.Mean("revenue", role="primary"),
        tk.Rate("left", role="primary", better="lower"),
        tk.Quantile("revenue", q=0.9, role="primary"),
    ]
    found = tk.experiment(rows, metrics, looks=Looks(planned=100))
    drawn = boundary(found).data[2:]
    assert len(drawn) == 4
    for one, path in zip(found.comparisons, drawn, strict=True):
        assert (abs(path.customdata[0]) > found.look.bound) == (one.pvalue < found.look.alpha)
        assert path.customdata[0] == pytest.approx(one.z)
        assert one.z > 0
    assert found.comparisons[0].statistic > found.look.bound > found.comparisons[0].z


def test_a_confidence_sequence_is_drawn_as_a_line_for_every_moment() -> None:
    result = tk.experiment(outcomes(), METRICS[:1], looks=Looks(planned=12_000, spending="always"))
    assert len(boundary(result).data[0].x) > 30


def test_a_boundary_without_looks_is_an_error(result: Result) -> None:
    plain = tk.experiment(outcomes(600), METRICS[:1])
    with pytest.raises(InputError, match="made without looks"):
        boundary(plain)
    with pytest.raises(InputError, match="result 1 of 2"):
        boundary(result, earlier=[plain])


@pytest.fixture(scope="module")
def dated() -> pd.DataFrame:
    days = pd.to_timedelta(np.arange(9_000) // 300, unit="D")
    return outcomes().assign(entered_at=pd.Timestamp("2025-03-01T09:00Z") + days)


@pytest.fixture(scope="module")
def by_day(dated: pd.DataFrame) -> LiftByDay:
    return lift_by_day(dated, tk.experiment(dated, METRICS[:2], looks=Looks(9_000, [3_000, 6_000])), window="7d")


def test_lift_by_day_draws_each_day_with_its_band_and_the_looks_of_the_plan(by_day: LiftByDay) -> None:
    lower, upper, line, marks = lift_days(by_day).data
    table = by_day.table[by_day.table["metric"] == "converted"]
    assert list(line.x) == list(table["day"])
    assert list(line.y) == pytest.approx(list(100 * table["diff"]))
    assert lower.y[-1] == pytest.approx(100 * table["diff_lower"].iloc[-1])
    assert upper.y[-1] == pytest.approx(100 * table["diff_upper"].iloc[-1])
    assert list(marks.y) == pytest.approx([100 * mark.comparisons[0].diff for mark in by_day.marks])
    assert [f"{day:%d %b}" for day in marks.x] == ["17 Mar", "27 Mar", "06 Apr"]
    assert marks.name == "looks of the plan"
    assert all(np.isfinite([*lower.y, *upper.y]))


def test_the_sentence_of_lift_by_day_is_that_of_the_first_day_without_a_break(by_day: LiftByDay) -> None:
    table = by_day.table[by_day.table["metric"] == "converted"]
    within = table[table["diff_lower"] <= 0]
    since = within["day"].iloc[-1] + pd.Timedelta(days=1)
    assert days_said(by_day) == (
        f"On converted the band of mail has been above no difference since {since.day} {since:%b}"
    )
    picture = days_svg(by_day, metric="profit", width=334)
    assert "inf" not in picture
    assert "nan" not in picture
    assert picture.count("of the plan: ") == 3
    with pytest.raises(InputError, match="did you mean 'profit'"):
        days_said(by_day, metric="profits")


def test_a_report_tells_how_the_lift_developed_where_it_is_given(dated: pd.DataFrame, tmp_path: Path) -> None:
    result = tk.experiment(dated, METRICS[:2])
    by_day = lift_by_day(dated, result, window="7d")
    page = result.report(tmp_path / "lift.html", by_day=by_day).read_text(encoding="utf-8")
    assert "How the lift developed" in page
    assert "No plan says when the experiment ends" in page
    assert "How the lift developed" not in result.report(tmp_path / "plain.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="by_day: found DataFrame"):
        result.report(tmp_path / "lift.html", by_day=dated)
    with pytest.raises(InputError, match="needs outcomes="):
        result.plot(show="days")
    known = dated.copy()
    known.attrs["toolkit"] = {"window": "7d"}
    assert list(result.plot(show="days", outcomes=known, metric="profit").data[2].x) == [day.day for day in by_day.days]
    known.to_parquet(tmp_path / "outcomes.parquet")
    tokyo = result.plot(show="days", outcomes=tmp_path / "outcomes.parquet", metric="profit", zone="Asia/Tokyo")
    local = lift_by_day(known, result, zone="Asia/Tokyo")
    assert [day.strftime("%Y-%m-%d") for day in tokyo.data[2].x] == [f"{one.day:%Y-%m-%d}" for one in local.days]
    assert "(Asia/Tokyo)" in re.sub("<[^>]*>", " ", tokyo.layout.title.text)


def test_survival_curves_end_where_the_table_says(result: Result) -> None:
    drawing = result.plot(show="survival")
    lines = {trace.name: trace for trace in drawing.data if trace.name}
    whether = next(one for one in result.comparisons if one.metric == "came back within 28d")
    assert lines["control"].y[-1] == pytest.approx(whether.control)
    assert lines["mail"].y[-1] == pytest.approx(whether.value)
    assert "came back within 28 days" in drawing.layout.title.text
    with pytest.raises(InputError, match="curves of came back"):
        result.plot(show="survival", metric="days")
    alone = kaplan_meier([2, 3, 3, 5], [True, True, False, True]).plot(of="back")
    assert alone.data[1].y[-1] == 1.0
    with pytest.raises(InputError, match="no curve"):
        survival_plot({})


@pytest.mark.parametrize("per_day", [None, 500])
def test_the_plans_curve_passes_through_the_plan(per_day: float | None) -> None:
    planned = plan(tk.Rate("converted"), baseline=0.1, rel=0.1, per_day=per_day)
    drawing = planned.plot()
    line, point = drawing.data
    at = list(line.x).index(point.x[0])
    assert line.y[at] == pytest.approx(point.y[0], rel=1e-3)
    assert point.y[0] == pytest.approx(1.0)
    assert f"{planned.units:,} people" in drawing.layout.title.text
    assert "planned" in drawing.layout.title.text
    assert ("days" in drawing.layout.xaxis.title.text) == (per_day is not None)
    assert plan_curve(plan(tk.Mean("revenue", currency="EUR"), baseline=3, sd=9, rel=0.2)).data


def test_a_qini_curve_holds_the_area_it_names() -> None:
    rng = np.random.default_rng(2)
    treated, moved = rng.random(4_000) < 0.5, rng.random(4_000) < 0.5
    bought = rng.random(4_000) < 0.1 + 0.2 * (treated & moved)
    good = qini(bought, treated, moved + 0.1 * rng.random(4_000), draws=60, seed=1)
    drawing = qini_curve(good)
    random, curve = drawing.data
    area = np.trapezoid(curve.y, curve.x) - np.trapezoid(random.y, random.x)
    assert area == pytest.approx(good.qini)
    assert "finds the people" in drawing.layout.title.text
    chance = qini(bought, treated, rng.random(4_000), draws=60, seed=1).plot()
    assert "cannot be told apart" in chance.layout.title.text
    assert "observed" in chance.layout.title.text


@pytest.mark.parametrize("people", [3_000, 100_000])
def test_a_curve_of_many_people_holds_some_thousand_points_and_is_the_same_line(people: int) -> None:
    rng = np.random.default_rng(3)
    treated, score = rng.random(people) < 0.5, rng.random(people)
    found = qini(rng.random(people) < 0.1 + 0.2 * treated * score, treated, score)
    curve = qini_curve(found).data[1]
    assert len(curve.x) == people + 1 if people < MOST_POINTS else len(curve.x) <= MOST_POINTS
    assert (curve.x[0], curve.x[-1], curve.y[-1]) == (0.0, 1.0, found.table["gain"].iloc[-1])
    assert curve.y.max() == found.table["gain"].max()
    table = found.table
    drawn_there = np.interp(table["share"], curve.x, curve.y)
    assert np.abs(drawn_there - table["gain"]).max() < 0.002 * np.ptp(table["gain"])

    days = rng.exponential(20, people)
    survival = kaplan_meier(days, rng.random(people) < 0.7)
    band, line = survival_plot(survival, horizon=30).data
    assert len(line.x) <= min(people, MOST_POINTS) + 2
    assert len(band.x) == 2 * len(line.x)
    for day in (1.0, 7.5, 29.9):
        assert line.y[np.searchsorted(line.x, day, side="right") - 1] == pytest.approx(1 - survival.at(day), abs=0.002)


def test_options_that_are_not_there_are_errors(result: Result) -> None:
    with pytest.raises(InputError, match="did you mean 'looks'"):
        result.plot(show="look")
    with pytest.raises(NotSupportedError, match="Plan, Survival, Qini"):
        figure(object())


@pytest.fixture(scope="module")
def written(result: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return result.report(tmp_path_factory.mktemp("report") / "lift.html")


def test_the_report_of_an_experiment_holds_verdict_pictures_and_methods(result: Result, written: Path) -> None:
    words = re.sub(r"(?s)<(script|style).*?</\1>", "", written.read_text(encoding="utf-8"))
    for said in ("Roll out mail", "Where this look stands", "How soon it happens", "The same as beliefs", "Holm"):
        assert said in words
    for line in result.verdict().splitlines():
        assert line.replace("'", "&#x27;") in words
    assert "score z-test" in words
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", words)
    with pytest.raises(InputError, match="no folder"):
        result.report(written.parent / "nowhere" / "x.html")


def test_a_title_of_ones_own_cannot_break_out_of_the_page(result: Result, tmp_path: Path) -> None:
    text = result.report(tmp_path / "x.html", title="<img src=x>").read_text(encoding="utf-8")
    assert "<img src=x>" not in re.sub(r"(?s)<script.*?</script>", "", text)


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="/usr/bin/chromium is not here: apt-get install chromium")
def test_a_browser_opens_the_experiments_report_without_asking_anyone(written: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    asked, wrong = [], []
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(written.as_uri())
        page.wait_for_selector("#lift .main-svg")
        drawn = page.locator(".js-plotly-plot .main-svg:first-child").count()
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        browser.close()
    assert asked == [written.as_uri()]
    assert wrong == []
    assert drawn == 3
    assert wide <= 0


@pytest.fixture(scope="module")
def together() -> Result:
    """Two arms that would each count alone, and do not together (Holm)."""
    rows = [(arm, at < bought) for arm, bought in (("none", 200), ("a", 243), ("b", 240)) for at in range(2_000)]
    outcomes = pd.DataFrame(rows, columns=["arm", "converted"])
    return tk.experiment(outcomes, [tk.Rate("converted")], control="none")


def test_the_picture_says_what_the_verdict_says_when_comparisons_count_together(together: Result) -> None:
    assert [one.pvalue < 0.05 < one.pvalue_adjusted for one in together.comparisons] == [True, True]
    drawing = together.plot()
    assert "No arm can be told apart from none" in drawing.layout.title.text
    assert {trace.marker.symbol for trace in drawing.data} == {"square-open"}
    assert all("against none" in trace.hovertemplate for trace in drawing.data)
    assert "cannot be told apart on converted, all comparisons counted: +2.1 points [0.2, 4.1]" in str(together)


def test_the_boundary_says_what_the_verdict_says_when_comparisons_count_together() -> None:
    rows = [(arm, at < bought) for arm, bought in (("control", 200), ("a", 243), ("b", 240)) for at in range(2_000)]
    outcomes = pd.DataFrame(rows, columns=["arm", "converted"])
    looked = tk.experiment(outcomes, [tk.Rate("converted")], looks=Looks(planned=6_000))
    assert max(one.statistic for one in looked.comparisons) > looked.look.bound
    assert looked.verdict().action == "stop"
    title = " ".join(re.sub("<[^>]*>", " ", boundary(looked).layout.title.text).split())
    assert "nothing is established yet: the 2 comparisons" in title


def test_digits_of_the_picture_are_those_of_the_verdict() -> None:
    rows = [(arm, at < bought) for arm, bought in (("control", 100), ("mail", 160)) for at in range(200_000)]
    found = tk.experiment(pd.DataFrame(rows, columns=["arm", "converted"]), [tk.Rate("converted")])
    assert "+0.030 points [0.014, 0.046]" in str(found)
    assert [note.text for note in found.plot().layout.annotations if "0.030" in note.text] == [
        "<b>+0.030</b><br><span style='font-size:11.5px'>[+0.014 to +0.046]</span>"
    ]


def test_the_report_tells_the_note_of_every_arm(tmp_path: Path) -> None:
    rows = [
        (arm, 1.0 if at < bought else 0.0) for arm, bought in (("control", 0), ("a", 0), ("b", 40)) for at in range(99)
    ]
    found = tk.experiment(pd.DataFrame(rows, columns=["arm", "converted"]), [tk.Rate("converted")])
    words = found.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "a: Nobody in either arm: there is nothing to test." in words
    assert "b: Nobody in control: the relative lift is not defined" in words


def test_what_has_no_number_is_said_where_no_line_crosses_it() -> None:
    rows = outcomes(400).assign(gap=np.nan)
    found = tk.experiment(rows, [tk.Mean("gap", name="orders within a very long window")])
    drawing = found.plot()
    (note,) = [one for one in drawing.layout.annotations if "no number" in one.text]
    assert (note.x, note.xanchor) == (0, "left")
    assert "<br>" in note.text
    assert not drawing.layout.xaxis.zeroline
    assert "no difference" not in forest_svg(found)


def test_a_large_difference_and_its_interval_stand_side_by_side() -> None:
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({"arm": ["control", "mail"] * 500, "profit": rng.pareto(1.1, 1_000) * 1e7})
    svg = forest_svg(tk.experiment(rows, [tk.Mean("profit", currency="EUR")]))
    texts = re.findall(r'<text[^>]* x="([\d.]+)"[^>]*>([^<]+)</text>', svg)
    begins = next(float(x) + text_width(text) for x, text in texts if "€" in text)
    ends = next(float(x) - text_width(text) for x, text in texts if text.startswith("["))
    assert begins < ends


def test_a_report_that_would_be_a_folder_is_refused(result: Result, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a folder; name a file in it, for example .*report\.html"):
        result.report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_rare_rates_keep_their_digits(tmp_path: Path) -> None:
    rows = [(arm, at < left) for arm, left in (("control", 8), ("mail", 4)) for at in range(10_000)]
    found = tk.experiment(pd.DataFrame(rows, columns=["arm", "left"]), [tk.Rate("left", better="lower")])
    words = found.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "0.080%" in words
    assert "0.040%" in words
