"""The bar that shows how far something has come, in a terminal and in a notebook."""

from __future__ import annotations

import threading

from tqdm.auto import tqdm

__all__ = ["Bar"]


class Bar(tqdm):  # type: ignore[misc]
    """tqdm's bar with a lock of this process alone.

    tqdm's own lock is shared with forked processes, and one of them that is killed while it holds it would leave every
    later bar, shown or not, waiting for ever.

    >>> list(Bar(["a", "b"], disable=True))
    ['a', 'b']
    """


Bar.set_lock(threading.RLock())
