"""What needs a person, most pressing first, and the key to press. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from syncd.text import human_count
from tui import look
from tui.state import Keyed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from syncd.control import schema
    from tui.state import State


class Need(NamedTuple):
    """`sign` names a glyph, `what` is the thing, `text` the reason, `key` what to press and `does` what that
    does; `mode` is the screen it opens ("" for none) and `subject` what to select there; `copy` is worth
    copying."""

    key_id: str
    sign: str
    tone: str
    what: str
    text: str
    press: str
    does: str
    mode: str = ""
    subject: str = ""
    copy: str = ""


AUTH_COMMANDS = {
    "drive": "syncctl auth drive", "smugmug": "syncctl auth smugmug", "names": "syncctl auth smugmug",
}  # fmt: skip
"""What other services lack is a key or password in the settings."""

_NO_JOBS = (("smugmug", "album", "syncctl smugmug status"), ("mirror", "row", "syncctl resume mirror"))
"""What fails in these queues is no job."""


def needs(state: State) -> tuple[Need, ...]:
    """What a person should see to, in order."""
    if state.status is None:
        return ()
    return tuple(_all(state, state.status))


def _all(state: State, status: schema.Status) -> Iterator[Need]:
    guards = state.guards.items[: status.guards]
    for key, guard in guards:
        yield _guard(key, guard)
    if status.guards > len(guards):
        number = status.guards - len(guards)
        word = "removal waits" if number == 1 else "removals wait"
        yield Need("guards", "warn", "warn", "guard", f"{number} {word} for you", "9", "review", "guards")
    for service in status.services:
        if service.state in ("needs_auth", "failed", "blocked"):
            yield _service(service)
    told = {s.name for s in status.services if s.state in ("needs_auth", "failed", "blocked")}
    for blocked in status.blocked:
        if blocked.what in told:
            continue
        text = f"{blocked.reason}"
        yield Need(
            f"blocked:{blocked.what}", "warn", "bad", blocked.what, text, "y", "copy reason", copy=text
        )
    queues = {name: queue.failed for name, queue in status.queues.items()}
    for name, what, command in _NO_JOBS:
        if count := queues.pop(name, 0):
            text = f"{human_count(count)} {what}{'' if count == 1 else 's'} failed: {command}"
            yield Need(f"{name}:failed", "bad", "bad", name, text, "y", "copy command", copy=command)
    if failed := sum(queues.values()):
        text = f"{human_count(failed)} {'item' if failed == 1 else 'items'} could not be done"
        yield Need("failed", "bad", "bad", "failed", text, "8", "see why", "jobs")
    yield from _mild(status)


def _guard(key: str, guard: schema.Guard) -> Need:
    of = f" of {human_count(guard.of)}" if guard.of else ""
    text = f"remove {human_count(guard.count)}{of}: {guard.reason}"
    return Need(f"guard:{key}", "warn", "warn", f"guard {guard.id}", text, "9", "review", "guards", key)


def _service(service: schema.ServiceStatus) -> Need:
    text = service.last_error or service.state.replace("_", " ")
    if service.state == "needs_auth":
        command = AUTH_COMMANDS.get(service.name, "syncctl config reload")
        return Need(
            f"service:{service.name}", "bad", "bad", service.name, f"needs sign-in: {text}",
            "y", "copy command", copy=command,
        )  # fmt: skip
    sign, tone = look.SERVICE[service.state]
    words = f"{service.state}: {text}" if text != service.state else text
    return Need(
        f"service:{service.name}", sign, tone, service.name, words, "0", "activity", "activity", service.name
    )


def _mild(status: schema.Status) -> Iterator[Need]:
    for service in status.services:
        if service.state == "backing_off":
            text = f"tries again by itself: {service.last_error or 'no reason given'}"
            yield Need(
                f"service:{service.name}", "busy", "warn", service.name, text,
                "0", "activity", "activity", service.name,
            )  # fmt: skip
    for conflict in status.conflicts:
        yield Need(f"conflict:{conflict}", "warn", "warn", "name", conflict, "y", "copy", copy=conflict)
    if status.watcher.mode == "polling":
        text = "the folder cannot be watched and is polled: changes show later"
        yield Need("polling", "warn", "warn", "watcher", text, "y", "copy", copy=text)


def need_rows(state: State) -> tuple[Keyed[Need], ...]:
    """`needs` as rows of a table."""
    return tuple(Keyed(need.key_id, need) for need in needs(state))
