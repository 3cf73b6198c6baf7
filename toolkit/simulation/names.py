"""First names, countries and clocks of the people who shop."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

__all__ = ["DOMAINS", "FIRST_NAMES", "MARKETS", "ZONES", "Market", "mailbox_name"]

FIRST_NAMES: dict[str, tuple[str, ...]] = {
    "fr": (
        *("Anaïs", "Aurélie", "Béatrice", "Camille", "Chloé", "Clément", "Élodie", "Émile", "François", "Frédéric"),
        *("Gaëlle", "Geneviève", "Hélène", "Inès", "Jérôme", "Joël", "Julie", "Léa", "Loïc", "Lucas", "Maëlys"),
        *("Manon", "Marie", "Mathéo", "Noémie", "Océane", "Pierre", "Raphaël", "Rémi", "Sébastien", "Théo", "Zoé"),
    ),
    "en": (
        *("Alice", "Amelia", "Arthur", "Charlotte", "Daisy", "Edward", "Emma", "Ethan", "Florence", "George"),
        *("Grace", "Harry", "Isla", "Jack", "James", "Lily", "Mia", "Noah", "Olivia", "Oscar", "Siân", "Zoë"),
    ),
    "de": (
        *("Anna", "Björn", "Clara", "Dörte", "Emil", "Felix", "Greta", "Günther", "Hannah", "Jörg", "Jürgen"),
        *("Käthe", "Lena", "Lukas", "Max", "Mia", "Paul", "Sören", "Sophie", "Till", "Ute", "Änne"),
    ),
    "es": (
        *("Álvaro", "Ana", "Begoña", "Carlos", "Concepción", "Elena", "Íñigo", "Iván", "Javier", "José", "Lucía"),
        *("María", "Marta", "Martín", "Mónica", "Nuria", "Pablo", "Raúl", "Rocío", "Sofía", "Tomás", "Verónica"),
    ),
}
DOMAINS = ("example.org", "example.com", "example.net")


@dataclass(frozen=True, slots=True)
class Market:
    """A country the shop delivers to: its share of customers, clock, locale and the language of its first names."""

    share: float
    country: str
    timezone: str
    locale: str
    language: str


MARKETS = (
    Market(0.50, "FR", "Europe/Paris", "fr_FR", "fr"),
    Market(0.07, "BE", "Europe/Paris", "fr_BE", "fr"),
    Market(0.06, "ES", "Europe/Madrid", "es_ES", "es"),
    Market(0.13, "GB", "Europe/London", "en_GB", "en"),
    Market(0.13, "DE", "Europe/Berlin", "de_DE", "de"),
    Market(0.05, "US", "America/New_York", "en_US", "en"),
    Market(0.04, "CA", "America/Montreal", "fr_CA", "fr"),
    Market(0.02, "JP", "Asia/Tokyo", "en_GB", "en"),
)
ZONES = tuple(dict.fromkeys(market.timezone for market in MARKETS))


def mailbox_name(name: str) -> str:
    """A name in plain letters, for the part of an address before the @.

    >>> mailbox_name("Íñigo"), mailbox_name("Zoë")
    ('inigo', 'zoe')
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    return plain.lower()
