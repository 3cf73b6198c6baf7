"""Commands about mails: new, preview, import."""

from __future__ import annotations

import html
import itertools
import re
import shutil
from pathlib import Path
from typing import Annotated

import typer

import toolkit
from toolkit.cli.app import app, plain_errors
from toolkit.errors import InputError, did_you_mean, listed, shown
from toolkit.mail import VIEWS, Templates, import_hints
from toolkit.mail.agreement import sends
from toolkit.readable import counted
from toolkit.scenario import load
from toolkit.whole import write_text

__all__: list[str] = []

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_SHARED = ("brand", "policies.yaml")
_FILES = (".yaml", ".mjml", ".txt")


def library() -> Path:
    """Where the shipped templates lie: beside the package in its own folder, inside it where it was installed."""
    package = Path(toolkit.__file__).parent
    return next(
        (folder for folder in (package / "library", package.parent / "templates") if (folder / "brand").is_dir()),
        Path("templates"),
    )


@app.command()
def new(
    template: Annotated[str, typer.Argument(help="A scenario of the library to start from; none lists them.")] = "",
    name: Annotated[
        str, typer.Argument(help="The name of yours, for example my_cart; small letters, digits and _.")
    ] = "",
    into: Annotated[str, typer.Option("--into", help="The folder of your program.")] = "templates",
) -> None:
    """Copy a scenario and its mails to start your own from: toolkit new abandoned_cart my_cart."""
    with plain_errors():
        source = library()
        known = {path.parent.name: path for path in sorted(source.glob("*/scenario.yaml"))}
        if not template:
            for one, path in known.items():
                note = itertools.takewhile(lambda line: line.startswith("#"), path.read_text("utf-8").splitlines())
                typer.echo(f"{one:24} {' '.join(line.strip('# ') for line in note)}")
            return
        if template not in known:
            hint = did_you_mean(template, known)
            raise InputError(
                f"new: no scenario {shown(template)} in the library; there are: {listed(known, near=template)}{hint}"
            )
        if not name:
            said = f"give yours a name of small letters, digits and _: toolkit new {template} my_{template}"
            raise InputError(f"new: {said}, or the same again: toolkit new {template} {template}")
        if not _NAME.fullmatch(name):
            raise InputError(
                f"new: expected a name of small letters, digits and _, for example my_cart; found {shown(name)}"
            )
        target = Path(into) / name
        if target.exists():
            raise InputError(f"new: {target} is there already; take another name, or move it away")
        shared = [Path(into) / one for one in _SHARED if not (Path(into) / one).exists()]
        written = _copied(source, template, target, name)
        program = load(Path(into))
        mails = Templates.load(target, program.policies)
        of = f"{counted(len(written), 'file')}, {counted(len(mails.names), 'mail')}"
        typer.echo(f"{target}: {of}: {', '.join(mails.names)}")
        for place in shared:
            typer.echo(f"{place}: name, address, colours and sender of all your mails")
        typer.echo(f"Change the words in {target / 'words.en.txt'}, then: toolkit preview {target}")


def _copied(source: Path, template: str, target: Path, name: str) -> list[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    for shared in _SHARED:
        place = target.parent / shared
        if not place.exists():
            copy = shutil.copytree if (source / shared).is_dir() else shutil.copy2
            copy(source / shared, place)
    target.mkdir()
    written = []
    for path in sorted((source / template).iterdir()):
        if path.suffix not in _FILES:
            continue
        text = path.read_text(encoding="utf-8")
        text = re.sub(rf"\b{template}/", f"{name}/", text)
        if path.name == "scenario.yaml":
            text = re.sub(rf"(?m)^scenario: {template}$", f"scenario: {name}", text)
            # The name of an experiment is the salt of its arms (rule R13): a copy must not share its people.
            text = re.sub(r"(?m)^(experiment: \{name: )\w+", rf"\g<1>{name}_1", text)
        (target / path.name).write_text(text, encoding="utf-8")
        written.append(target / path.name)
    # A part of another scenario that this one includes comes along, so that the copy stands on its own.
    for path in written:
        for other in set(re.findall(r"include \"(\w+)/(_\w+\.\w+)\"", path.read_text(encoding="utf-8"))):
            folder, part = other
            if folder not in (name, "brand") and not (target.parent / folder / part).exists():
                (target.parent / folder).mkdir(exist_ok=True)
                shutil.copy2(source / folder / part, target.parent / folder / part)
    return written


@app.command()
def preview(
    scenario: Annotated[str, typer.Argument(help="The folder of a scenario, or of a program.")],
    to: Annotated[str, typer.Option("--to", help="The page to write.")] = "preview.html",
    locales: Annotated[str, typer.Option("--locales", help="Readers' languages, with commas: en,fr.")] = "",
    view: Annotated[
        str, typer.Option("--view", help="One of: " + ", ".join(map(repr, (*VIEWS, "text"))) + ".")
    ] = "phone",
    png: Annotated[str, typer.Option("--png", help="A folder for one picture a mail, taken by Chromium.")] = "",
) -> None:
    """Show the mails with their sample data, on a page that loads nothing from outside."""
    with plain_errors():
        program = load(scenario)
        mails = Templates.load(scenario, program.policies)
        sent = sorted({(one.scenario, step.send) for one in program.scenarios for step in sends(one.steps)})
        unwritten = [
            f"{name} sends {mail}, and there is no such mail: write {mail}.mjml and {mail}.txt"
            for name, mail in sent
            if mail not in mails.names
        ]
        if unwritten and not mails.names:
            started = "toolkit new abandoned_cart my_cart copies a scenario of the library with its mails"
            raise InputError(f"preview: {scenario} has no mails yet: {'; '.join(unwritten)}; {started}")
        asked = [one.strip() for one in locales.split(",") if one.strip()] or None
        shown = mails.preview(locales=asked)
        title = html.escape(Path(scenario).resolve().name)
        page = f"<!doctype html><meta charset='utf-8'><title>{title}</title><body style='margin:24px'>"
        try:
            write_text(to, page + shown.grid(view))
        except OSError as fault:
            raise InputError(f"--to: {to}: cannot be written: {fault.strerror or fault}") from fault
        typer.echo(f"{to}: {counted(len(shown), 'mail')}")
        typer.echo(str(shown))
        for said in unwritten:
            typer.echo(f"warning: {said}")
        if png:
            options = VIEWS.get(view, VIEWS["phone"])
            files = shown.png(png, width=int(options["width"]), dark=bool(options["dark"]))
            typer.echo(f"{png}: {counted(len(files), 'picture')}")


@app.command("import")
def import_command(
    files: Annotated[list[str], typer.Argument(help="Templates of another tool: html, MJML or text.")],
) -> None:
    """Name everything in templates of other tools that means nothing here, with what to write instead."""
    with plain_errors():
        hints = [hint for file in files for hint in import_hints(file)]
        for hint in hints:
            typer.echo(f"{hint.file}:{hint.line}: {hint.found}  ({hint.message}): write {hint.allowed}")
        typer.echo(f"{len(hints)} places to change" if hints else "nothing to change")
    if hints:
        raise typer.Exit(1)
