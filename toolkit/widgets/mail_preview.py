"""One mail after the other as its reader sees it: phone, desktop, dark, text, headers; nothing of it is loaded."""

from __future__ import annotations

import re
from array import array
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any

from toolkit.errors import InputError, shown
from toolkit.mail import Letter, Preview, Templates
from toolkit.mail.addresses import masked
from toolkit.readable import day_text
from toolkit.scenario import load
from toolkit.sending import Batch
from toolkit.sending.batch.mails import hash_of
from toolkit.widgets.approval_desk import nothing_due
from toolkit.widgets.markup import Html, button, choice, field, note, tag, together
from toolkit.widgets.masking import hidden_in, hidden_letter
from toolkit.widgets.panel import Panel

__all__ = ["MailPreview"]

_VIEWS = (("phone", "Phone"), ("desktop", "Desktop"), ("text", "Text"), ("headers", "Headers"))


class MailPreview(Panel):
    """The mails of a batch, or a folder of templates with their samples, one at a time.

    Names and addresses are hidden until somebody presses Reveal. Nothing in a mail runs, and nothing of it is fetched:
    looking at a mail here does not count as opening it.

    Args:
        mails: a batch from `tk.prepare`; or compiled templates; or the folder they are in.
        number: which mail to begin with.

    Attributes:
        value: the preview shown, frozen; None where there is no mail.
        letter: the letter it was made of, or None.

    Raises:
        InputError: something that holds no mails, or a number that is none.
        TemplateError: the folder's templates cannot be compiled.

    >>> shown = MailPreview("templates")
    >>> shown.value.mail.subject != ""
    True
    """

    def __init__(self, mails: Batch | Templates | str | Path, *, number: int = 0) -> None:
        self._batch = mails if isinstance(mails, Batch) else None
        self._samples: list[Letter] = []
        self._firsts: dict[str, int] = {}  # the first mail of each template
        self._customers = array("Q")  # hashes of whom the mails are for; the mails stay on the disk
        if isinstance(mails, Batch):
            self._templates = mails.templates
            for place, mail in enumerate(mails.mails):
                self._firsts.setdefault(mail.letter.template, place)
                self._customers.append(hash_of(mail.customer_id.casefold()))
        else:
            if not isinstance(mails, Templates | str | Path):
                raise InputError(f"mails: expected a batch, templates or their folder; found {type(mails).__name__}")
            self._templates = mails if isinstance(mails, Templates) else Templates.load(mails, load(mails).policies)
            self._samples = [
                self._templates.sample(name, locale=locale)
                for name in self._templates.names
                for locale in self._templates.locales(name)
            ]
            for place, letter in enumerate(self._samples):
                self._firsts.setdefault(letter.template, place)
        self._count = len(self._samples) if self._batch is None else len(self._batch)
        if not isinstance(number, int):
            raise InputError(f"number: expected a whole number, 0 for the first mail; found {shown(number)}")
        self._number = min(max(0, number), max(0, self._count - 1))
        self._shown, self._dark, self._images, self._revealed = "phone", False, True, False
        self._said = ""
        super().__init__(title="Mail preview")
        self.redraw()

    @property
    def letter(self) -> Letter | None:
        """The letter that is shown."""
        if not self._count:
            return None
        return self._samples[self._number] if self._batch is None else self._batch.mails[self._number].letter

    @property
    def value(self) -> Preview | None:
        """The preview shown, as it will go out."""
        return None if self.letter is None else self._templates.preview_of(self.letter)

    # --- what is pressed ----------------------------------------------------------------------------------------------

    def act_next(self, value: Any) -> None:
        """The next recipient."""
        self._to(self._number + 1)

    def act_before(self, value: Any) -> None:
        """The recipient before."""
        self._to(self._number - 1)

    def act_view(self, value: Any) -> None:
        """Phone, desktop, text or headers."""
        self._shown = str(value)

    def act_dark(self, value: Any) -> None:
        """As a mail program in dark mode shows it, or not."""
        self._dark = not self._dark

    def act_images(self, value: Any) -> None:
        """With pictures, or as a mail program shows it that blocks them."""
        self._images = not self._images

    def act_reveal(self, value: Any) -> None:
        """Show, or hide, who it is for."""
        self._revealed = not self._revealed

    def act_template(self, value: Any) -> None:
        """The first mail of a template."""
        place = self._firsts.get(str(value))
        if place is None:
            raise InputError(f"no mail is made from {shown(value)}")
        self._to(place)

    def act_find(self, value: Any) -> None:
        """The mail of a customer."""
        wanted = str(value).strip()
        if not wanted:
            return
        place = self._place_of(wanted.casefold())
        if place is None:
            self._said = f"No mail here goes to {wanted}."
            return
        self._to(place)

    def _place_of(self, customer: str) -> int | None:
        """The first mail of a customer, the name in small letters."""
        if self._batch is None:
            return None
        wanted = hash_of(customer)
        for place, found in enumerate(self._customers):
            if found == wanted and self._batch.mails[place].customer_id.casefold() == customer:
                return place
        return None

    def _to(self, number: int) -> None:
        self._number = number % max(1, self._count)
        self._said = ""

    # --- how it shows -------------------------------------------------------------------------------------------------

    def body(self) -> Html:
        """The mail, and what chooses another."""
        letter = self.letter
        if letter is None:
            why = "There is no mail here." if self._batch is None else nothing_due(self._batch)
            return together([tag("header", tag("h3", "Mail preview")), note(why)])
        shown = self._templates.preview_of(letter if self._revealed else hidden_letter(letter))
        count, names = self._count, list(self._firsts)
        pick = together(
            [
                tag(
                    "div",
                    button("‹", "before", kind="icon", off=count < 2, aria_label="The recipient before"),
                    tag("span", f"{self._number + 1:,} of {count:,}", class_="ttk-soft", aria_live="polite"),
                    button("›", "next", kind="icon", off=count < 2, aria_label="Next recipient"),
                    class_="ttk-row",
                ),
                choice("Mail", "template", [(name, _plain(name)) for name in names], letter.template),
                field("Customer", "find", "", placeholder="customer id", size=12) if self._batch is not None else None,
            ]
        )
        return together(
            [
                self._head(_plain(letter.template)),
                tag("div", pick, class_="ttk-row ttk-end"),
                tag("div", note(self._said, tone="careful"), class_="ttk-gap") if self._said else None,
                self._inbox(letter, shown),
                tag("p", shown.note, class_="ttk-detail") if shown.note else None,
                self._tabs(),
                self._frame(letter, shown),
            ]
        )

    def _head(self, words: str) -> Html:
        reveal = button(
            "Hide names" if self._revealed else "Reveal names", "reveal", aria_pressed=str(self._revealed).lower()
        )
        return tag("header", tag("h3", "Mail preview"), tag("span", words, class_="ttk-soft"), reveal)

    def _inbox(self, letter: Letter, shown: Preview) -> Html:
        to = letter.to if self._revealed else masked(letter.to)
        sender = self._templates.policies.sender
        name = sender.name if sender is not None else "no sender yet"
        return tag(
            "div",
            tag("span", name[:1].upper(), class_="ttk-avatar", aria_hidden="true"),
            tag(
                "div",
                tag("b", name),
                tag("b", shown.mail.subject),
                tag("span", shown.mail.preheader, class_="ttk-soft"),
                class_="ttk-lines",
            ),
            tag(
                "div",
                tag("span", to, class_="ttk-soft"),
                tag("span", f"{self._label(letter)} · {day_text(letter.at, '%b %H:%M')}", class_="ttk-soft"),
                class_="ttk-lines ttk-right",
            ),
            class_="ttk-inbox",
        )

    def _label(self, letter: Letter) -> str:
        return f"sample, {letter.locale}" if self._batch is None else self._batch.mails[self._number].customer_id

    def _tabs(self) -> Html:
        tabs = together(
            button(words, "view", value=name, aria_pressed=str(self._shown == name).lower()) for name, words in _VIEWS
        )
        is_page = self._shown in ("phone", "desktop")
        return tag(
            "div",
            tag("div", tabs, class_="ttk-tabs", role="group", aria_label="View"),
            button("Dark", "dark", off=not is_page, aria_pressed=str(self._dark).lower()),
            button("Images off", "images", off=not is_page, aria_pressed=str(not self._images).lower()),
            tag("span", shown_note(self._revealed), class_="ttk-detail"),
            class_="ttk-row ttk-gap",
        )

    def _frame(self, letter: Letter, shown: Preview) -> Html:
        if self._shown in ("text", "headers"):
            text = shown.text if self._shown == "text" else _readable(shown.headers)
            text = text if self._revealed else hidden_in(text, letter)
            return tag("pre", text, class_="ttk-code ttk-mailtext", tabindex=0, role="region", aria_label=self._shown)
        name = self._shown + (", dark" if self._dark else "")
        if not self._images:
            from_ = shown.html(dark=self._dark, images=False)
            shown_frame = _framed(from_, 375 if self._shown == "phone" else 680, shown.mail.subject)
        else:
            shown_frame = shown.frame(name, height=620)
        key = f"{self._number}-{name}-{self._images}-{self._revealed}-{letter.template}"
        return tag(
            "div",
            tag("div", Html(shown_frame), class_=f"ttk-device ttk-device-{self._shown}"),
            class_="ttk-stage",
            data_key=key,
        )


def _readable(headers: str) -> str:
    """Headers with encoded words (RFC 2047) as they are read."""
    return "\n".join(
        str(make_header(decode_header(line))) if "=?" in line else line
        for line in re.sub(r"\?=\r?\n[ \t]+=\?", "?= =?", headers).splitlines()
    )


def shown_note(revealed: bool) -> str:
    """What the reader must know about names."""
    return "" if revealed else "Names and addresses are hidden."


def _framed(document: str, width: int, subject: str) -> str:
    return str(
        tag(
            "iframe",
            sandbox="",
            referrerpolicy="no-referrer",
            title=f"{subject}, images off",
            srcdoc=document,
            style=f"display:block;width:{width}px;height:620px;border:0",
        )
    )


def _plain(name: str) -> str:
    return name.replace("_", " ").replace("/", " › ")
