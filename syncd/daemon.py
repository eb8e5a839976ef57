"""The daemon from start to stop: signals, settings read again, exit codes. parts.py makes its parts."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from syncd import __version__
from syncd.activity import Activity
from syncd.config import RELOADABLE, Config, difference, secret_values, with_old
from syncd.config_checks import contradictions
from syncd.config_file import load_config
from syncd.control import schema
from syncd.control.server import ControlServer
from syncd.control.socket_path import default_socket_path
from syncd.errors import ExitCode, Fatal, SyncdError
from syncd.heap import all_is_loaded
from syncd.lock import acquire_lock
from syncd.log import configure_logging, get_logger, register_secret
from syncd.notify import Notifier
from syncd.parts import Parts
from syncd.signals import heed_signals
from syncd.state_dir import prepare_state_dir
from syncd.supervisor import Supervisor, find

_log = get_logger("daemon")

_STOP_S = 8.0
"""Within this time everything ends; systemd and a person at a terminal wait a little longer."""


def run_daemon(config: Config, config_path: Path | None) -> int:
    """Runs until SIGTERM or SIGINT; the exit code. Raises Fatal when it cannot start."""
    configure_logging(config.daemon.log_level)
    for secret in secret_values(config):
        register_secret(secret)
    prepare_state_dir(config.daemon.state_dir)
    with acquire_lock(config.daemon.state_dir):
        daemon = Daemon(config, config_path)
        anyio.run(daemon.run, backend_options={"use_uvloop": True})
    return ExitCode.DONE


class Daemon:
    """One run of the daemon. The lock on its state folder is held by the caller."""

    def __init__(self, config: Config, config_path: Path | None) -> None:
        self.config = config
        self._config_path = config_path
        self._notifier = Notifier()
        self._supervisor: Supervisor

    async def run(self) -> None:
        """Makes the parts, keeps them running, takes them down. Raises Fatal unwrapped."""
        try:
            async with AsyncExitStack() as stack:
                await self._run(stack)
        except BaseExceptionGroup as errors:
            fatal = find(errors, Fatal)
            if fatal is not None:
                raise fatal from errors
            raise

    async def _run(self, stack: AsyncExitStack) -> None:
        def on_change(name: str, state: str, reason: str | None) -> None:
            words = f"{name} is {state}" + (f": {reason}" if reason else "")
            parts.activity.emit("service", name, name, words, {"state": state, "reason": reason})
            (_log.warning if reason else _log.info)("service", service=name, state=state, reason=reason)

        made = Parts(lambda: self.config, lambda: self._supervisor)
        self._parts = parts = await stack.enter_async_context(made)
        api = parts.api(self.reload)
        control = ControlServer(api, default_socket_path(self.config), self.config.daemon.socket_group)
        control.open()
        services = [*parts.services, control]
        supervisor = Supervisor(services, on_change, stop_timeout_s=_STOP_S, on_stuck=_give_up)
        self._supervisor = api.supervisor = supervisor
        await self._supervise(supervisor, parts.activity)

    async def _supervise(self, supervisor: Supervisor, activity: Activity) -> None:
        async with anyio.create_task_group() as tasks:

            def stop(signal: str) -> None:
                _log.info("stopping", signal=signal)
                self._notifier.stopping()
                supervisor.stop()

            def reload() -> None:
                tasks.start_soon(self._reload_quietly)

            tasks.start_soon(heed_signals, stop, reload, _hurry)
            tasks.start_soon(self._notifier.watchdog)
            tasks.start_soon(self._announce, supervisor)
            # Apart from the services, of which it tells, and which people hold and release.
            tasks.start_soon(Supervisor([self._parts.notices], _log_trouble).run)
            activity.emit("daemon", "control", "syncd", f"syncd {__version__} started")
            await supervisor.run()
            activity.emit("daemon", "control", "syncd", "syncd is stopping")
            tasks.cancel_scope.cancel()

    async def _announce(self, supervisor: Supervisor) -> None:
        await supervisor.started.wait()
        all_is_loaded()
        socket = default_socket_path(self.config)
        self._notifier.ready(f"serving {socket}")
        _log.info("ready", socket=str(socket), state_dir=str(self.config.daemon.state_dir))

    # --- settings -----------------------------------------------------------------------------------

    async def _reload_quietly(self) -> None:
        """On SIGHUP there is nobody to answer but the log."""
        self._notifier.reloading()
        try:
            reply = await self.reload()
            _log.info("reloaded", applied=reply.applied, needs_restart=reply.needs_restart)
        except SyncdError as error:
            _log.error("settings not reloaded", reason=str(error))
        self._notifier.ready()

    async def reload(self) -> schema.ReloadReply:
        """Reads the settings again. What can change without a restart does; wrong settings change nothing.
        Raises Refused-like errors with what is wrong."""
        from syncd.control.api import Invalid

        try:
            fresh = load_config(self._config_path or self.config.path)
        except Fatal as error:
            raise Invalid(error.message, hint=error.hint) from error
        changed = difference(self.config, fresh)
        waiting = [name for name in changed if name not in RELOADABLE]
        applied = [name for name in changed if name in RELOADABLE]
        merged = with_old(self.config, fresh, waiting)
        for wrong in contradictions(merged):  # with what only a restart changes
            raise Invalid(f"{wrong}, until syncd is restarted", hint="restart syncd: it then takes all of it")
        self.config = merged
        for secret in secret_values(self.config):
            register_secret(secret)
        configure_logging(self.config.daemon.log_level)
        sections = {name.partition(".")[0] for name in applied}
        await self._parts.renew(sections)
        for name in sections & {"batches", "smugmug", "drive"}:
            self._supervisor.restart(name)
        if applied:
            await self._parts.look_again()
        self._supervisor.retry()
        return schema.ReloadReply(applied=applied, needs_restart=waiting, warnings=list(fresh.warnings))


def _log_trouble(name: str, state: str, reason: str | None) -> None:
    if reason:
        _log.warning("service", service=name, state=state, reason=reason)


def _give_up(names: object) -> None:
    """Services that do not end would keep the daemon for ever; nothing half done is recorded as done."""
    _log.error("services did not stop in time", services=names)
    os._exit(ExitCode.FAILED)


def _hurry(signal: str) -> None:
    os._exit(ExitCode.FAILED)
