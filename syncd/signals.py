"""Signals as calls on the event loop."""

from __future__ import annotations

import signal
from collections.abc import Callable

import anyio


async def heed_signals(
    on_stop: Callable[[str], None],
    on_reload: Callable[[], None],
    on_hurry: Callable[[str], None] | None = None,
) -> None:
    """Until cancelled: SIGTERM and SIGINT call `on_stop(name)`, a second one of them `on_hurry(name)`, and
    SIGHUP calls `on_reload()`. Runs in the main thread only."""
    stopping = False
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
        async for number in received:
            if number == signal.SIGHUP:
                if not stopping:
                    on_reload()
            elif not stopping:
                stopping = True
                on_stop(number.name)
            elif on_hurry is not None:
                on_hurry(number.name)
