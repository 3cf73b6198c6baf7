"""Mails are compiled anew exactly when a file they are made of changed."""

from __future__ import annotations

import pytest

from toolkit.errors import TemplateError
from toolkit.mail import Templates, kept
from toolkit.scenario.models import Policies

LAYOUT = """<mjml><mj-body>{% include "brand/_head.mjml" %}<mj-section><mj-column>
<mj-text>{{ words.hello }} {{ customer.first_name }}, {{ brand.name }}</mj-text>
</mj-column></mj-section></mj-body></mjml>"""
TEXT = "subject: {{ words.hello }}\npreheader: {{ words.hello }}\n---\n{{ words.hello }} {{ customer.first_name }}\n"
HEAD = "<mj-section><mj-column><mj-text>The house of {{ words.house }}</mj-text></mj-column></mj-section>"


@pytest.fixture
def folder(tmp_path):
    files = {
        "hello/hi.mjml": LAYOUT,
        "hello/hi.txt": TEXT,
        "hello/words.en.txt": "hello: Hello\n",
        "hello/words.fr.txt": "hello: Bonjour\n",
        "brand/_head.mjml": HEAD,
        "brand/words.en.txt": "house: moon\n",
        "brand/words.fr.txt": "house: lune\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


@pytest.fixture
def compilations(monkeypatch):
    """The names of the mails that were compiled, in order."""
    made = []
    compile_mail = kept.compile_mail

    def counted(reader, name, *rest):
        made.append(name)
        return compile_mail(reader, name, *rest)

    monkeypatch.setattr(kept, "compile_mail", counted)
    return made


POLICIES = Policies.model_validate({"brand": {"name": "Maison Lune"}})


def test_a_second_load_compiles_nothing_and_gives_the_same_mails(folder, compilations):
    first, second = Templates.load(folder, POLICIES), Templates.load(folder, POLICIES)
    assert compilations == ["hello/hi"]
    assert first.hashes == second.hashes
    assert first is not second


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("hello/hi.mjml", "{{ brand.name }}", "from {{ brand.name }}"),
        ("hello/hi.txt", "---\n", "---\nDear reader, "),
        ("hello/words.en.txt", "Hello", "Hullo"),
        ("hello/words.fr.txt", "Bonjour", "Salut"),
        ("brand/_head.mjml", "The house", "That house"),
        ("brand/words.en.txt", "moon", "suns"),
        ("brand/words.fr.txt", "lune", "ciel"),
    ],
)
def test_each_file_of_a_mail_makes_it_anew_when_it_changes_and_back(folder, compilations, file, old, new):
    before = Templates.load(folder, POLICIES).hashes
    said = (folder / file).read_text(encoding="utf-8")
    assert old in said
    (folder / file).write_text(said.replace(old, new), encoding="utf-8")
    changed = Templates.load(folder, POLICIES).hashes
    assert len(compilations) == 2
    assert changed != before
    (folder / file).write_text(said, encoding="utf-8")
    assert Templates.load(folder, POLICIES).hashes == before


def test_a_language_that_comes_or_goes_is_seen(folder, compilations):
    assert len(Templates.load(folder, POLICIES).locales("hello/hi")) == 2
    (folder / "hello/words.de.txt").write_text("hello: Hallo\n", encoding="utf-8")
    assert len(Templates.load(folder, POLICIES).locales("hello/hi")) == 3
    (folder / "hello/words.fr.txt").unlink()
    (folder / "hello/words.de.txt").unlink()
    (folder / "brand/words.fr.txt").unlink()
    assert len(Templates.load(folder, POLICIES).locales("hello/hi")) == 1


def test_other_policies_make_other_mails(folder, compilations):
    one, two = (Templates.load(folder, Policies(brand={"name": name})) for name in ("Maison Lune", "Casa Luna"))
    assert len(compilations) == 2
    assert one.hashes != two.hashes
    Templates.load(folder, Policies(brand={"name": "Maison Lune"}, locale="fr"))
    assert len(compilations) == 3


def test_a_part_that_is_gone_is_a_fault_and_mails_with_faults_are_compiled_each_time(folder, compilations):
    Templates.load(folder, POLICIES)
    (folder / "brand/_head.mjml").unlink()
    for _ in range(2):
        with pytest.raises(TemplateError, match="_head"):
            Templates.load(folder, POLICIES)
    assert len(compilations) == 3


def test_only_so_many_are_kept(folder, compilations, monkeypatch):
    monkeypatch.setattr(kept, "_MOST", 1)
    Templates.load(folder, POLICIES)
    Templates.load(folder, Policies(brand={"name": "Casa Luna"}))
    Templates.load(folder, POLICIES)
    assert len(compilations) == 3
