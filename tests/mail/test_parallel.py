"""A large batch is checked by several processes; what is found and written is what one process finds and writes."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest

from toolkit.errors import InputError
from toolkit.mail import Letter, Preflight, Templates, preflight
from toolkit.scenario.models import Program

Run = Callable[..., tuple[Preflight, list[tuple[int, str, bytes]]]]


@pytest.fixture
def run(library: Templates, library_program: Program) -> Run:
    def check(letters: list[Letter], workers: int) -> tuple[Preflight, list[tuple[int, str, bytes]]]:
        written: list[tuple[int, str, bytes]] = []
        found = preflight(
            library,
            letters,
            program=library_program,
            progress=False,
            unsubscribe=lambda letter: f"https://shop.example.com/u/{letter.decision_id}",
            message_id=lambda letter: f"{letter.decision_id}@example.com",
            receive=lambda number, subject, message: written.append((number, subject, message)),
            workers=workers,
        )
        return found, written

    return check


def batch(library: Templates) -> list[Letter]:
    letters = []
    samples = [library.sample("abandoned_cart/reminder"), library.sample("order_status/shipped")]
    for number in range(900):
        sample = samples[number % 3 == 0]
        event = {**sample.event, "value": number + 1.5} if number % 97 else {}
        letters.append(
            replace(
                sample,
                decision_id=f"d{number}",
                to=f"person{number % 800}@example.org",
                event=event,
                locale="de" if number % 5 == 0 else "en",
            )
        )
    return letters


def test_two_processes_find_and_write_what_one_does(library: Templates, run: Run) -> None:
    letters = batch(library)
    alone, written = run(letters, 1)
    together, also = run(letters, 2)
    assert together == alone
    assert {one.rule for one in alone.findings} == {"undefined_variable", "locale_missing", "same_address"}
    assert also == written
    assert [number for number, _, _ in written] == [number for number in range(900) if number % 97]


def test_what_is_written_in_one_rendering_is_what_message_gives(library: Templates, run: Run) -> None:
    letters = batch(library)[1:20]
    _, written = run(letters, 1)
    for number, subject, message in written:
        letter = letters[number]
        url = f"https://shop.example.com/u/{letter.decision_id}" if letter.class_ == "marketing" else None
        assert message == library.message(letter, message_id=f"{letter.decision_id}@example.com", unsubscribe_url=url)
        assert subject == library.render(letter).subject


def test_a_worker_that_cannot_start_costs_time_and_nothing_else(
    library: Templates, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = batch(library)[:250]
    alone = run(letters, 1)
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert run(letters, 2) == alone


def test_workers_that_die_lose_nothing(library: Templates, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = batch(library)[:450]
    alone = run(letters, 1)
    monkeypatch.setattr("sys.executable", "/bin/false")
    assert run(letters, 2) == alone


def test_ctrl_c_reaches_this_process_alone_which_leaves_no_worker_behind(
    library: Templates, library_program: Program
) -> None:
    groups: set[int] = set()

    def stop(number: int, subject: str, message: bytes) -> None:
        groups.update(os.getpgid(worker) for worker in children())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        preflight(
            library,
            batch(library),
            program=library_program,
            progress=False,
            unsubscribe=lambda letter: f"https://shop.example.com/u/{letter.decision_id}",
            message_id=lambda letter: f"{letter.decision_id}@example.com",
            receive=stop,
            workers=2,
        )
    assert stopped.value.__traceback__ is not None  # as a notebook keeps it
    assert len(groups) == 2
    assert os.getpgrp() not in groups
    assert children() == []


def children() -> list[int]:
    """The workers of this process that have not ended."""
    listed = subprocess.check_output(["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())], text=True)
    return [int(line.split()[0]) for line in listed.splitlines() if "toolkit.mail.workers" in line]


def test_a_receiver_needs_names_for_the_mails(library: Templates, library_program: Program) -> None:
    with pytest.raises(InputError, match="message_id"):
        preflight(library, [], program=library_program, receive=lambda *_: None)


def test_one_unsubscribe_link_for_all_blocks(library: Templates, library_program: Program) -> None:
    letters = batch(library)[1:4]
    link = "https://shop.example.com/unsubscribe"
    found = preflight(library, letters, program=library_program, unsubscribe=lambda _: link, progress=False)
    assert [one.rule for one in found.errors] == ["unsubscribe_untokenised"]


def test_mails_that_are_too_large_for_one_in_a_hundred_inform_and_for_more_block(
    templates: Callable[..., Templates], letter: Callable[..., Letter], program: Callable[..., Program]
) -> None:
    body = '{{ customer.bio }} {{ customer.bio }} <a href="{{ unsubscribe }}">Unsubscribe</a>'
    loaded = templates(body, "Hello {{ unsubscribe }}")
    plan = program()
    for large, severity in ((1, "warning"), (2, "error")):
        letters = [
            letter(
                decision_id=str(n),
                to=f"p{n}@example.org",
                customer={"bio": "word " * 12_000 if n < large else "hi"},
            )
            for n in range(100)
        ]
        found = preflight(loaded, letters, program=plan, progress=False)
        assert [one.severity for one in found.findings if "102 KB" in one.message] == [severity]
