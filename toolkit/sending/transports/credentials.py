"""Secrets, from the environment or the system's keyring, and from nowhere else; never shown, never kept."""

from __future__ import annotations

import os

__all__ = ["SERVICE", "secret"]

SERVICE = "trigger-toolkit"


def secret(name: str) -> str | None:
    """A secret by the name of its environment variable, or by that name in the keyring; None where there is none.

    In the keyring it is the password of user `name` of the service `trigger-toolkit`, as
    `keyring set trigger-toolkit TOOLKIT_SMTP_PASSWORD` puts it there.

    >>> import os
    >>> os.environ["TOOLKIT_EXAMPLE"] = "s3cret"
    >>> secret("TOOLKIT_EXAMPLE")
    's3cret'
    >>> del os.environ["TOOLKIT_EXAMPLE"]
    """
    value = os.environ.get(name)
    return value if value else _from_keyring(name)


def _from_keyring(name: str) -> str | None:
    try:
        import keyring  # noqa: PLC0415 - an extra, and slow to load
        from keyring.errors import KeyringError  # noqa: PLC0415
    except ImportError:
        return None
    try:
        return keyring.get_password(SERVICE, name)
    except KeyringError:
        return None  # no keyring on this machine, or it is locked
