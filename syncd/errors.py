"""The error tree. Every foreign exception becomes one of these four decisions where it enters.

SyncdError
├── Transient       try again later, with back-off; `retry_after_s` when the other side named a time
├── AuthRejected    credentials are refused: stop asking, show `needs_auth`, the rest goes on
├── Refused         this one item fails with a reason, stays visible and can be retried
│   └── Changed     the file changed while it was read: throw the read away and look again
└── Fatal           the daemon stops with `exit_code`

Each carries what a person needs: the thing and the reason in the message, the next step in `hint`.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every program; the systemd unit and docs/operations.md list the same."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    PARTIAL = 4
    GUARDED = 5
    CONFIG = 78


class SyncdError(Exception):
    """Base of all errors that syncd raises on purpose."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class Transient(SyncdError):
    """Worth trying again. `retry_after_s` is the wait that the other side asked for, in seconds."""

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class AuthRejected(SyncdError):
    """Credentials were refused; asking again without a person would not help."""


class Refused(SyncdError):
    """This item cannot be done as it is; it fails with its reason and the rest goes on."""


class Changed(Refused):
    """The file was not the same before and after it was read."""


class Fatal(SyncdError):
    """The program cannot go on; it ends with `exit_code`."""

    def __init__(
        self, message: str, *, hint: str | None = None, exit_code: ExitCode = ExitCode.FAILED
    ) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
