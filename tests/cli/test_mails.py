"""From a shell: start from a template, look at it, and bring in another tool's."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from toolkit.cli import app
from toolkit.mail import Templates, preflight
from toolkit.scenario import load

RUN = CliRunner()


def test_a_template_is_copied_under_a_name_of_ones_own_and_works_at_once(tmp_path: Path) -> None:
    into = tmp_path / "mine"
    told = RUN.invoke(app, ["new", "abandoned_cart", "my_cart", "--into", str(into)])
    assert told.exit_code == 0, told.output
    program = load(into)
    (scenario,) = program.scenarios
    assert (scenario.scenario, scenario.experiment.name) == ("my_cart", "my_cart_1")
    mails = Templates.load(into, program.policies)
    assert mails.names == ("my_cart/offer", "my_cart/reminder")
    letters = [mails.sample(name, locale=locale) for name in mails.names for locale in ("en", "fr")]
    assert preflight(mails, letters[::2], program=program).ok
    assert "abandoned_cart" not in (into / "my_cart" / "reminder.mjml").read_text(encoding="utf-8")


def test_every_template_of_the_library_can_be_started_from(tmp_path: Path) -> None:
    listed = RUN.invoke(app, ["new"]).output
    names = [line.split()[0] for line in listed.splitlines()]
    assert len(names) == 15
    for name in names:
        told = RUN.invoke(app, ["new", name, f"my_{name}", "--into", str(tmp_path)])
        assert told.exit_code == 0, told.output
    assert len(load(tmp_path).scenarios) == 15


def test_ones_own_brand_stays_when_a_second_template_is_copied(tmp_path: Path) -> None:
    RUN.invoke(app, ["new", "birthday", "first", "--into", str(tmp_path)])
    policies = tmp_path / "policies.yaml"
    policies.write_text(policies.read_text(encoding="utf-8").replace("Maison Lune", "Ours"), encoding="utf-8")
    told = RUN.invoke(app, ["new", "refund", "second", "--into", str(tmp_path)])
    assert "policies.yaml" not in told.output  # nothing shared was copied
    assert "Ours" in policies.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["abandonned_cart", "x"], "did you mean 'abandoned_cart'"),
        (["abandoned_cart", "My Cart"], "small letters"),
        (["abandoned_cart", "../out"], "small letters"),
        (["abandoned_cart"], "small letters, digits and _: toolkit new abandoned_cart my_abandoned_cart, or"),
    ],
)
def test_what_cannot_be_copied_is_said_in_one_line(args: list[str], said: str, tmp_path: Path) -> None:
    told = RUN.invoke(app, ["new", *args, "--into", str(tmp_path)])
    assert told.exit_code == 1
    assert said in told.output
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    told = RUN.invoke(app, ["new", "birthday", "mine", "--into", str(tmp_path)])
    assert told.exit_code == 1
    assert "there already" in told.output


def test_a_page_shows_the_mails_of_a_scenario_in_both_languages(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    told = RUN.invoke(app, ["preview", "templates/birthday", "--to", str(page), "--locales", "en,fr"])
    assert told.exit_code == 0, told.output
    assert "birthday/gift, fr: Joyeux anniversaire, Ana" in told.output
    assert page.read_text(encoding="utf-8").count("<iframe sandbox") == 2


def test_a_mail_that_the_scenario_sends_and_nobody_wrote_is_told_beside_the_preview(tmp_path: Path) -> None:
    into = tmp_path / "mails"
    RUN.invoke(app, ["new", "abandoned_cart", "my_cart", "--into", str(into)])
    scenario = into / "my_cart" / "scenario.yaml"
    scenario.write_text(scenario.read_text().replace("send: my_cart/offer", "send: my_cart/last"))
    done = RUN.invoke(app, ["preview", str(into / "my_cart"), "--to", str(tmp_path / "page.html")])
    assert done.exit_code == 0
    assert "my_cart sends my_cart/last, and there is no such mail: write my_cart/last.mjml and" in done.output


def test_a_scenario_without_mails_is_told_which_to_write(tmp_path: Path) -> None:
    path = tmp_path / "mine" / "scenario.yaml"
    path.parent.mkdir()
    path.write_text("scenario: mine\ntrigger: {event: cart_add}\nreentry: once\nsteps: [{send: mine/first}]\n")
    done = RUN.invoke(app, ["preview", str(path.parent), "--to", str(tmp_path / "page.html")])
    assert done.exit_code == 1
    assert "mine sends mine/first, and there is no such mail: write mine/first.mjml and mine/first.txt" in done.output
    assert "toolkit new abandoned_cart my_cart" in done.output


def test_a_template_of_another_tool_is_named_line_by_line(tmp_path: Path) -> None:
    old = tmp_path / "old.html"
    old.write_text("<p>*|FNAME|*</p>\n{{#if vip}}x{{/if}}", encoding="utf-8")
    told = RUN.invoke(app, ["import", str(old)])
    assert told.exit_code == 1
    assert (
        'old.html:1: *|FNAME|*  (a placeholder of Mailchimp): write {{ customer.first_name | default("") }}'
        in told.output
    )
    assert "3 places to change" in told.output
