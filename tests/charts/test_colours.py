"""Colours of pictures: told apart by colour-blind readers, and seen on a white and on a black page."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from toolkit.charts.diagram import ARM_COLORS
from toolkit.charts.style import MAILS, words_on

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
SEEN_BY = {
    "everyone": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(color: str):
    channels = np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(light):
    """CIE 1976 L*a*b* of linear RGB, against D65."""
    share = TO_XYZ @ np.clip(light, 0, 1) / np.array([0.9505, 1.0, 1.089])
    x, y, z = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    low, high = sorted(float(TO_XYZ[1] @ linear(color)) + 0.05 for color in (one, other))
    return high / low


@pytest.mark.parametrize("seen", SEEN_BY)
@pytest.mark.parametrize("colors", [MAILS, ARM_COLORS], ids=["mails", "arms"])
def test_any_two_series_differ_by_more_than_red_and_green(colors, seen):
    seen_as = {color: lab(SEEN_BY[seen] @ linear(color)) for color in colors}
    for one, other in combinations(colors, 2):
        assert np.linalg.norm(seen_as[one] - seen_as[other]) > 15, (one, other)


@pytest.mark.parametrize("color", MAILS)
def test_words_within_a_bar_are_as_easy_to_read_as_its_colour_allows(color):
    assert contrast(words_on(color), color) == max(contrast(words, color) for words in ("#FFFFFF", "#1F2733"))
    assert contrast(words_on(color), color) > 3.8


def test_every_series_but_orange_and_sky_has_three_to_one_on_white_and_all_have_on_jupyters_dark_page():
    bright = {"#E69F00", "#56B4E9"}  # their legend, labels and hover name them
    for color in MAILS:
        assert contrast(color, "#111111") >= 3, color
        assert color in bright or contrast(color, "#FFFFFF") >= 3, color
