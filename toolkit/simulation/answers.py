"""How people of a synthetic shop answer mails: the known truth of a logged experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from types import MappingProxyType

from toolkit.errors import InputError, did_you_mean, shown
from toolkit.scenario.duration import Duration

__all__ = ["Answers"]

_EFFECTS = MappingProxyType({"abandoned_cart.reminder": 0.06, "abandoned_cart.offer": 0.07})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How people answer the mails of a program.

    A mail makes some people buy who would not have bought on their own: that is its whole effect on purchases, so that
    the true lift of an experiment is known person by person. Whoever buys while an offer of the shop is valid may use
    it, whether the mail made them buy or not.

    Args:
        buys: for each mail (`scenario.step`), the share of people who get it, would not have bought on their own in
            the time `window`, and buy because of it, 0..1. Mails not named make nobody buy.
        window: how far ahead "would not have bought on their own" looks.
        uses_offer: share of purchases made on their own while an offer is valid that use it, 0..1; purchases that the
            offer's own mail brought about always do.
        opens: share of delivered marketing mails that are opened, 0..1.
        clicks: share of opened marketing mails that are clicked, 0..1.
        opens_transactional: share of delivered transactional mails that are opened, 0..1.
        clicks_transactional: share of opened transactional mails that are clicked, 0..1.
        unsubscribes: share of delivered marketing mails after which the person unsubscribes, 0..1, at most `opens`.
        bounces_soft: share of mails that bounce this time, 0..1.
        bounces_hard: share of mails that bounce for good, 0..1.

    Raises:
        InputError: numbers out of their range; names all of them.

    >>> Answers(buys={"welcome.hello": 0.01}, opens=0.5).buys["welcome.hello"]
    0.01
    """

    buys: Mapping[str, float] = field(default_factory=lambda: dict(_EFFECTS))
    window: Duration = field(default_factory=lambda: Duration(7))
    uses_offer: float = 0.6
    opens: float = 0.46
    clicks: float = 0.16
    opens_transactional: float = 0.68
    clicks_transactional: float = 0.34
    unsubscribes: float = 0.003
    bounces_soft: float = 0.006
    bounces_hard: float = 0.001

    def __post_init__(self) -> None:
        buys: object = self.buys
        if not isinstance(buys, Mapping):
            allowed = "shares by mail, as {'cart.reminder': 0.02}"
            raise InputError(f"answers: buys: found {shown(buys)}; allowed: {allowed}")
        object.__setattr__(self, "buys", MappingProxyType(dict(buys)))
        try:
            object.__setattr__(self, "window", Duration.parse(self.window))
        except ValueError as fault:
            raise InputError(f"answers: window: {fault}") from None
        shares = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        shares |= {f"buys[{mail!r}]": share for mail, share in self.buys.items()}
        wrong = [
            f"{name}: found {shown(share)}; allowed: 0 to 1"
            for name, share in shares.items()
            if name not in ("buys", "window") and not (isinstance(share, Real) and 0 <= float(share) <= 1)
        ]
        if not wrong and self.unsubscribes > self.opens:
            wrong.append(f"unsubscribes: found {shown(self.unsubscribes)}; allowed: at most opens, {self.opens!r}")
        if not wrong and self.bounces_soft + self.bounces_hard > 1:
            wrong.append("bounces_soft + bounces_hard: allowed: at most 1")
        if wrong:
            raise InputError("answers: " + "; ".join(wrong))

    def check_mails(self, known: list[str]) -> None:
        """Refuse effects of mails that a program does not send.

        Args:
            known: the mails of the program, as `scenario.step`.

        Raises:
            InputError: names every unknown mail, and the nearest one.
        """
        wrong = [
            f"{mail!r} is not a mail of the program{did_you_mean(mail, known)}"
            for mail in self.buys
            if mail not in known
        ]
        if wrong:
            raise InputError("answers: buys: " + "; ".join(wrong) + f"; allowed: {', '.join(known) or 'none'}")
