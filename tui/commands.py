"""The command palette: every key of the screen by its sentence, services, batches and events by name."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from tui import keys
from tui.asks import Pause, Reload, Resume, StartSync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tui.app import Dashboard


class Commands(Provider):
    """Names are shown as they are, never as markup."""

    @property
    def dashboard(self) -> Dashboard:
        from tui.app import Dashboard

        assert isinstance(self.app, Dashboard)
        return self.app

    def _all(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        """(name, help, what it does)."""
        dashboard, screen = self.dashboard, self.dashboard.current
        if screen is None:
            return
        for key in keys.keys_for(screen.mode):
            if key.action not in ("palette", "back") and screen.why_not(key.action) is None:
                yield f"{key.help.rstrip('.')}", f"key {key.shown}", partial(screen.action_do, key.action)
        if not dashboard.state.live or dashboard.state.read_only:
            return
        yield "Sync everything", "Look at every batch again now", partial(dashboard.ask, StartSync(), "sync")
        yield "Pause all services", "Until they are resumed", partial(dashboard.ask, Pause(), "pause")
        yield "Resume all services", "Let everything go on", partial(dashboard.ask, Resume(), "pause")
        yield "Reload the configuration", "As SIGHUP does", partial(dashboard.ask, Reload(), "reload")

    def _batches(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        for row in self.dashboard.state.batches.items:
            yield f"Batch {row.value.name}", "Open its scenes", partial(self.dashboard.go, "scenes", row.key)

    def _events(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        for row in self.dashboard.state.events.items:
            yield f"Event {row.value.name}", "Show it", partial(self.dashboard.go, "events", row.key)

    async def discover(self) -> Hits:
        for name, text, command in self._all():
            yield DiscoveryHit(Content(name), command, text=name, help=text)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name, text, command in (*self._all(), *self._batches(), *self._events()):
            score = matcher.match(name)
            if score > 0:
                yield Hit(score, Content(name), command, text=name, help=text)
