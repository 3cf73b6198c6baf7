"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# The first example of a test may compile the kernel or start a database, so no single example has a deadline.
settings.register_profile("toolkit", deadline=None, print_blob=True)
settings.load_profile("toolkit")
