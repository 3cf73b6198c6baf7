"""Sample data beside the templates: a customer, an event and offers, so that a mail can be looked at before any log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from toolkit.errors import Fault, TemplateError
from toolkit.scenario.models import Policies

__all__ = ["SAMPLE", "sample_values"]

SAMPLE = "sample:"
"""How the decision_id of a mail with sample data begins."""
_WANTED = "lines such as customer: {first_name: Ana}, event: {value: 64}, offers: {MAIL: {percent: 10}}, at: 2026-03-11"


def sample_values(root: Path, template: str, locale: str | None, policies: Policies) -> dict[str, Any]:
    """What `sample.yaml` beside a template says, as the arguments of a letter.

    The keys `customer`, `event` and `offers` hold the values; `locales: {fr: {event: ...}}` holds what differs for
    readers of a language.

    Args:
        root: folder of the program.
        template: name of the mail.
        locale: of the reader; the sample's customer's own unless given.
        policies: whose time zone and locale hold where the sample names none.

    Raises:
        TemplateError: no readable sample.yaml, or one of another form.
    """
    path = root.joinpath(*template.split("/")).parent / "sample.yaml"
    where = path.relative_to(root).as_posix()
    try:
        sample = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TemplateError([Fault("a preview needs sample data", file=where, allowed=_WANTED)]) from None
    except (OSError, UnicodeDecodeError, YAMLError) as fault:
        raise TemplateError([Fault(f"no readable sample data: {fault}", file=where)]) from fault
    short = template.rpartition("/")[2]
    if not isinstance(sample, dict) or not isinstance(sample.get("customer"), dict):
        raise TemplateError([Fault("expected sample data", file=where, allowed=_WANTED)])
    translated = sample.get("locales") or {}
    faults = list(_misshapen(sample, short, where))
    if faults:
        raise TemplateError(faults)
    wanted = locale or str(sample["customer"].get("locale") or policies.locale)
    own = translated.get(wanted) or translated.get(wanted.replace("-", "_").partition("_")[0]) or {}
    customer = {**sample["customer"], **(own.get("customer") or {})}
    if locale is not None:
        customer["locale"] = locale
    return {
        "decision_id": f"{SAMPLE}{template}:{wanted}",
        "scenario": template.partition("/")[0],
        "step": short,
        "class_": sample.get("class", "marketing"),
        "customer": customer,
        "event": {**(sample.get("event") or {}), **(own.get("event") or {})},
        "offer": _merged((sample.get("offers") or {}).get(short), (own.get("offers") or {}).get(short)),
        "to": str(customer.get("email", "ana@example.org")),
        "locale": wanted,
        "at": _moment(sample.get("at"), policies.timezone, where),
    }


def _misshapen(sample: Mapping[str, Any], mail: str, where: str, path: str = "") -> Iterator[Fault]:
    """What stands where values by name are expected and is something else."""
    offers = sample.get("offers")
    parts = {key: sample.get(key) for key in ("customer", "event", "offers", "locales")}
    if isinstance(offers, Mapping):
        parts[f"offers.{mail}"] = offers.get(mail)
    for key, found in parts.items():
        if found is not None and not isinstance(found, Mapping):
            yield Fault("expected values by name", file=where, path=path + key, found=found, allowed="name: value")
    locales = sample.get("locales")
    for locale, own in locales.items() if isinstance(locales, Mapping) and not path else ():
        if isinstance(own, Mapping):
            yield from _misshapen(own, mail, where, f"locales.{locale}.")
        elif own is not None:
            allowed = "customer:, event:, offers:"
            yield Fault("expected values by name", file=where, path=f"locales.{locale}", found=own, allowed=allowed)


def _merged(base: Mapping[str, Any] | None, own: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if base is None and own is None else {**(base or {}), **(own or {})}


def _moment(at: object, zone: str, where: str) -> datetime:
    if isinstance(at, date) and not isinstance(at, datetime):
        at = datetime.combine(at, time(10))
    if not isinstance(at, datetime):
        raise TemplateError([Fault("expected a date", file=where, path="at", found=at, allowed="at: 2026-03-11")])
    if at.tzinfo:
        return at
    try:
        return at.replace(tzinfo=ZoneInfo(zone))
    except (KeyError, ValueError, OSError):
        return at.replace(tzinfo=ZoneInfo("UTC"))
