"""syncctl: controls a running daemon over its socket."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from syncd import __version__
from syncd.control.ctl_base import Ctl, CtlGroup, WrongUsage
from syncd.errors import ExitCode, Fatal, SyncdError

INTERRUPTED = 130
BROKEN_PIPE = 141

# One line for each command; the module of a family is loaded when it is called.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "status": ("ctl_status", "status", "What runs, what waits, what needs you."),
    "wait": ("ctl_status", "wait", "Wait until everything is done."),
    "activity": ("ctl_status", "activity", "What happened, and what happens."),
    "sync": ("ctl_sync", "sync", "Bring the site up to date now."),
    "batches": ("ctl_site", "batches", "List, publish and withdraw batches."),
    "scenes": ("ctl_site", "scenes", "List scenes, or show one with its versions."),
    "pull": ("ctl_storage", "pull", "Download scenes from storage, verified."),
    "similar": ("ctl_storage", "similar", "Find published pictures that look alike."),
    "verify": ("ctl_storage", "verify", "Compare the catalogue with storage."),
    "events": ("ctl_events", "events", "Follow Drive folders, so that guests find their photos."),
    "faces": ("ctl_faces", "faces", "Find a person's photos in an event, or forget a person."),
    "meta": ("ctl_meta", "meta", "Review, approve and find what a model wrote about photos."),
    "auth": ("ctl_auth", "auth", "Let syncd into your accounts elsewhere."),
    "names": ("ctl_names", "names", "Keep the names of SmugMug albums in step."),
    "smugmug": ("ctl_library", "smugmug", "Keep a copy of a SmugMug library's metadata."),
    "exchange": ("ctl_exchange", "exchange", "Complete your archive and a friend's."),
    "guards": ("ctl_jobs", "guards", "What is held back until you approve."),
    "approve": ("ctl_jobs", "approve", "Let a guarded removal happen."),
    "jobs": ("ctl_jobs", "jobs", "List, retry and cancel jobs."),
    "pause": ("ctl_daemon", "pause", "Hold one service, or all."),
    "resume": ("ctl_daemon", "resume", "Release one service, or all."),
    "config": ("ctl_daemon", "config", "Check, show or reload the settings."),
    "tui": ("ctl_daemon", "tui", "Open the dashboard."),
    "completion": ("ctl_daemon", "completion", "Print the completion script of a shell."),
}

EPILOG = """\b
Exit codes: 0 done; 1 failed; 2 wrong usage; 3 no daemon answers; 4 some items
failed, the rest is done; 5 a guard refused and asks for confirmation; 78 the
configuration is wrong or the named file is missing."""


@click.group(
    cls=CtlGroup, lazy=COMMANDS, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="syncctl")
def syncctl() -> None:
    """Controls a running syncd over its socket.

    \b
    Examples:
      syncctl status
      syncctl sync --wait
      syncctl batches publish 2025-11-04-batch-1
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command and ends the process with the exit code of the contract."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever called: `>&-`
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115, PTH123
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Runs a command; returns its exit code. What goes wrong is said on stderr, never as a traceback."""
    try:
        code = syncctl.main(list(arguments), prog_name="syncctl", standalone_mode=False, obj=Ctl())
        sys.stdout.flush()
    except click.ClickException as error:
        return _usage(error)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away; closing the rest must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except SyncdError as error:
        _complain(error.message, error.hint)
        return _exit_code(error)
    except UnicodeEncodeError:
        _complain("an argument is not Unicode text", "see `syncctl COMMAND --help`")
        return ExitCode.USAGE
    except ValueError as error:
        if type(error) is not ValueError:
            return _unexpected(error)
        _complain(str(error), None)  # what a request refuses to be made of
        return ExitCode.USAGE
    except OSError as error:
        _complain(f"{error.filename or 'syncctl'}: {error.strerror or error}", None)
        return ExitCode.FAILED
    except Exception as error:  # noqa: BLE001 - a person gets a sentence, whatever went wrong
        return _unexpected(error)
    return int(code or 0)


def _unexpected(error: Exception) -> int:
    _complain(f"unexpected {type(error).__name__}: {error}", "the daemon may be of another version")
    return ExitCode.FAILED


def _usage(error: click.ClickException) -> int:
    """Says what was wrong with the command line, and what was meant."""
    context: Any = getattr(error, "ctx", None)
    path = context.command_path if context else "syncctl"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return ExitCode.USAGE
    hint = None if isinstance(error, WrongUsage) else f"`{path} --help` shows how"
    # click puts choices on lines of their own.
    message = error.format_message().replace(":\n\t", ": ").replace(",\n\t", ", ")
    _complain(message, hint)
    return ExitCode.USAGE if isinstance(error, click.UsageError) else ExitCode.FAILED


def _exit_code(error: SyncdError) -> int:
    from syncd.control.client import DaemonUnavailable

    if isinstance(error, DaemonUnavailable):
        return ExitCode.UNAVAILABLE
    return error.exit_code if isinstance(error, Fatal) else ExitCode.FAILED


def _complain(message: str, hint: str | None) -> None:
    from syncd.text import printable

    lines = [f"syncctl: {printable(message)}"] + ([f"hint: {printable(hint)}"] if hint else [])
    click.echo("\n".join(lines), err=True)


if __name__ == "__main__":
    main()
