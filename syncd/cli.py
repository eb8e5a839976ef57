"""The `syncd` command: run, once, init, demo."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncd import __version__
from syncd.errors import ExitCode, Fatal, SyncdError
from syncd.options import FilledPath

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.flows.report import SyncRun

EXIT_CODES = """\b
Exit codes: 0 done; 1 failed; 2 wrong usage; 3 the catalogue is held by another process;
4 some items failed, the rest is done; 5 a guard asks for confirmation; 78 wrong configuration."""


_config_option = click.option(
    "--config",
    "config_path",
    type=FilledPath(dir_okay=False),
    help="Settings (default: $SYNCD_CONFIG, ./syncd.toml, ~/.config/syncd/, /etc/syncd/).",
)


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="syncd")
def syncd() -> None:
    """Turns folders of photos into a live public site, and keeps it so.

    \b
    Start here:
      syncd demo              see it work on a sample archive
      syncd init              write syncd.toml and the folders it names
      syncd once --dry-run    see what a sync would do
      syncd run               the daemon; control it with syncctl, watch it with syncd-tui
    """


@syncd.command(epilog=EXIT_CODES)
@_config_option
def run(config_path: Path | None) -> None:
    """Run the daemon in the foreground, as systemd does.

    \b
    Examples:
      syncd run
      syncd run --config /etc/syncd/syncd.toml
    """
    from syncd.daemon import run_daemon

    sys.exit(run_daemon(_load(config_path), config_path))


@syncd.command(epilog=EXIT_CODES)
@_config_option
@click.option("--images-dir", type=FilledPath(), help="Batches are here instead.")
@click.option("--db", "db_path", type=FilledPath(dir_okay=False), help="Another catalogue.")
@click.option("--batch", "batches", multiple=True, metavar="N", help="Only this batch; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--db-only", is_flag=True, help="Record what is there; touch nothing in storage.")
@click.option("--images-only", is_flag=True, help="Publish what is recorded; record nothing new.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def once(
    config_path: Path | None,
    images_dir: Path | None,
    db_path: Path | None,
    batches: tuple[str, ...],
    dry_run: bool,
    db_only: bool,
    images_only: bool,
    as_json: bool,
) -> None:
    """One full sync without a daemon, for cron and scripts.

    \b
    Examples:
      syncd once
      syncd once --batch 2025-11-04-batch-1 --dry-run
      syncd once --json | jq .failed
    """
    if db_only and images_only:
        raise click.UsageError("--db-only and --images-only exclude each other.")
    from syncd.config_checks import contradictions
    from syncd.flows.report import SyncOptions

    config = _load(config_path)
    if images_dir is not None:
        if not images_dir.is_dir():
            raise Fatal(f"{images_dir} is not a folder", exit_code=ExitCode.CONFIG)
        config = replace(config, batches=replace(config.batches, images_dir=images_dir.absolute()))
        for wrong in contradictions(config):
            raise Fatal(wrong, hint="name another folder with --images-dir", exit_code=ExitCode.CONFIG)
    options = SyncOptions(frozenset(batches) or None, dry_run, db_only, images_only)
    finished = _sync(
        config, options, (db_path or config.daemon.state_dir / "catalogue.db").absolute(), as_json
    )
    if as_json:
        click.echo(json.dumps(finished.as_dict()))
    else:
        _print_report(finished)
    sys.exit(finished.exit_code)


@syncd.command()
@click.argument("directory", required=False, default=".", type=FilledPath(file_okay=False))
def init(directory: Path) -> None:
    """Write a commented syncd.toml and the folders it names. Never overwrites.

    \b
    Examples:
      syncd init
      syncd init ~/archive
    """
    from syncd.init import init_project

    for made in init_project(directory):
        click.echo(f"made {made}")
    click.echo(f"Put batches of scans into {directory / 'images'}, then: syncd once --dry-run")


@syncd.command()
@click.option("--no-tui", is_flag=True, help="Print what was published instead of opening the dashboard.")
@click.option("--dir", "directory", type=FilledPath(file_okay=False), help="Use this folder.")
def demo(no_tui: bool, directory: Path | None) -> None:
    """Make a small sample archive in a fresh folder and run the real daemon on it.

    \b
    Examples:
      syncd demo
      syncd demo --no-tui
    """
    from syncd.demo import run_demo

    sys.exit(run_demo(no_tui=no_tui, directory=directory))


def _load(path: Path | None) -> Config:
    from syncd.config_file import load_config

    config = load_config(path)
    for warning in config.warnings:
        click.echo(f"syncd: warning: {warning}", err=True)
    return config


def _sync(config: Config, options: Any, db_path: Path, as_json: bool) -> SyncRun:
    from syncd.flows.once import catalogue_held, sync_once, workers_for

    def synced(config: Config) -> SyncRun:
        workers = workers_for(config, options, db_path)  # they load while we do
        import anyio

        from syncd.progress import show_progress

        async def main() -> SyncRun:
            if as_json:
                return await sync_once(config, options, db_path, workers, lambda run: None)
            async with show_progress() as watch:
                return await sync_once(config, options, db_path, workers, watch)

        return anyio.run(main, backend_options={"use_uvloop": True})

    if options.dry_run and not db_path.exists():
        # Nothing to lock, and nothing may be left behind.
        return synced(config)
    with catalogue_held(config, db_path) as held:
        return synced(held)


def _print_report(run: SyncRun) -> None:
    from syncd.text import human_count, human_duration, human_size, printable

    shape = run.as_dict()
    for action in shape["actions"] if run.options.dry_run else ():
        target = f" → {printable(action['key'])}" if action["key"] else ""
        click.echo(f"{action['action']:<7} {printable(action['local_path'])}{target}")
    for item in shape["failed"]:
        click.echo(f"failed  {printable(item['path'])}: {printable(item['reason'])}", err=True)
    for item in shape["skipped"]:
        click.echo(f"skipped {printable(item['path'])}: {printable(item['reason'])}", err=True)
    did = "would record" if run.options.dry_run else "recorded"
    counted = {
        kind: sum(a["action"] == kind for a in shape["actions"]) for kind in ("record", "upload", "remove")
    }
    parts = [
        f"{human_count(shape['scanned'])} files",
        f"{did} {human_count(counted['record'])}",
        f"uploaded {human_count(counted['upload'])} ({human_size(shape['bytes'])})",
        f"removed {human_count(counted['remove'])}",
        f"unchanged {human_count(shape['unchanged'])}",
        f"failed {human_count(len(shape['failed']))}",
    ]
    click.echo(f"{shape['state']}: {', '.join(parts)} in {human_duration(shape['duration_s'])}")
    if run.error is not None:
        _complain(run.error, "what is recorded stays; run it again once that is mended")
    if run.guard_id is not None:
        click.echo(
            "syncd: some removals wait for a person\n"
            "hint: start the daemon and look with `syncctl guards`, then `syncctl approve ID`",
            err=True,
        )


def _complain(error: SyncdError, hint: str | None = None) -> None:
    from syncd.text import printable

    click.echo(f"syncd: {printable(error.message)}", err=True)
    if error.hint or hint:
        click.echo(f"hint: {printable(error.hint or hint or '')}", err=True)


def guarded(command: Callable[[], Any]) -> int:
    """Runs a click command; errors become one or two lines on stderr and the contract's exit codes."""
    try:
        try:
            command()
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Fatal as error:
        _complain(error)
        return error.exit_code
    except SyncdError as error:
        _complain(error)
        return ExitCode.FAILED
    except (KeyboardInterrupt, click.Abort):
        click.echo("", err=True)
        return 130
    except BrokenPipeError:
        # The reader has gone; what is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except OSError as error:
        _complain(
            Fatal(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
        )
        return ExitCode.FAILED
    return ExitCode.DONE


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Of several errors at once, the one to tell: one of ours before anything else."""
    from syncd.supervisor import find, leaves

    return find(errors, SyncdError) or leaves(errors)[0]


def main() -> None:
    """Entry point of the program `syncd`."""
    try:
        code = guarded(lambda: syncd.main(standalone_mode=False))
    except SystemExit as stop:
        code = int(stop.code or 0)
    for stream in sys.stdout, sys.stderr:
        with suppress(AttributeError, OSError):  # it is closed, or nobody takes what was told already
            stream.flush()
    # All is written and closed. To take the interpreter down, too, is 50 ms for nobody.
    os._exit(code)
