"""Google Drive's refusals as decisions: by their reason, since one status stands for many.

https://developers.google.com/workspace/drive/api/guides/handle-errors
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.remotes.http import Answer, NotFound, explain_plainly, parsed, retry_after_s, said
from syncd.remotes.pacer import RateLimited

RATE: Final = frozenset(("rateLimitExceeded", "userRateLimitExceeded", "userRateLimitExceededUnreg"))
DAILY: Final = frozenset(("dailyLimitExceeded", "dailyLimitExceededUnreg", "quotaExceeded"))
ACCOUNT: Final = {
    "insufficientPermissions": "sign in again and tick the box for Drive: syncctl auth drive",
    "accessNotConfigured": "enable the Google Drive API for the project in the Google Cloud console",
    "accountDisabled": "the account is disabled: ask its administrator",
    "authError": "sign in again: syncctl auth drive",
}
ITEM: Final = {
    "insufficientFilePermissions": "share it with the account, as a viewer at least",
    "fileNotDownloadable": "it has no bytes to download: export it as a picture in Drive",
    "cannotDownloadAbusiveFile": "Google holds it for malware or spam: its owner can look at it in Drive",
    "cannotDownloadFile": "its owner does not let viewers download it",
    "downloadQuotaExceeded": "it was downloaded too often lately: try again tomorrow",
}
_SERVER: Final = frozenset(("backendError", "internalError"))


class QuotaExceeded(Transient):
    """The day's quota is used up; `retry_after_s` is the time until it resets, at midnight Pacific."""


class InvalidPageToken(Refused):
    """The place in a list or feed is lost: begin again, and look at everything."""


class RangeRefused(Transient):
    """The file is not as long any more as the part of it that was asked for."""


class _Said(NamedTuple):
    reason: str
    location: str
    message: str


def explain_drive(answer: Answer) -> SyncdError:
    """The decision that an answer of Drive calls for."""
    if answer.status == 416:
        return RangeRefused(f"cannot {answer.what}: there is no such part of it any more")
    found = _said(answer)
    if found is None:
        # Every refusal of Drive's is JSON; this is a proxy's, a sign-in page's or a front end's in distress.
        plain = explain_plainly(answer)
        if isinstance(plain, Transient):
            return plain
        return Transient(
            f"{plain.message} in a way that Drive does not",
            hint="check that the network asks for no sign-in of its own, and api_base_url under [drive]",
        )
    status, reason = answer.status, found.reason
    message = f"cannot {answer.what}: {answer.service} says {status} {said(reason, 60)}"
    if found.message:
        message += f" ({said(found.message)})"
    daily = reason in DAILY or (reason in RATE and "per day" in found.message.lower())
    if daily and status in (403, 429):
        return _quota(message, datetime.now(UTC))
    if reason in RATE or status == 429:
        return RateLimited(message, retry_after_s=retry_after_s(answer.headers))
    if status >= 500 or status == 408 or reason in _SERVER:
        return Transient(message, retry_after_s=retry_after_s(answer.headers))
    if _lost_place(status, found):
        return InvalidPageToken(message)
    if status == 401 or reason in ACCOUNT:
        return AuthRejected(message, hint=ACCOUNT.get(reason, ACCOUNT["authError"]))
    if status == 404:
        return NotFound(message, hint="it was deleted, or is not shared with this account")
    return Refused(message, hint=ITEM.get(reason))


def explain_feed(answer: Answer) -> SyncdError:
    """As `explain_drive`, for the feed of changes: there, the only thing that can be unknown is the token."""
    error = explain_drive(answer)
    found = _said(answer)
    if found is None or isinstance(error, Transient | AuthRejected):
        return error
    nothing_else = answer.status == 400 and found.reason == "invalid" and found.location == ""
    if answer.status in (404, 410) or nothing_else:
        return InvalidPageToken(error.message)
    return error


def _lost_place(status: int, found: _Said) -> bool:
    if found.reason == "pageTokenExpired" or status == 410:
        return True
    # A token that is missing altogether is a mistake of ours, and beginning again would not mend it.
    return status == 400 and found.location == "pageToken" and found.reason != "required"


def _quota(message: str, now: datetime) -> QuotaExceeded:
    until = next_reset(now)
    return QuotaExceeded(
        f"{message}: the day's quota is used up until {until:%Y-%m-%d %H:%M} UTC",
        hint="wait, or raise the quota of the project in the Google Cloud console: then syncctl resume drive",
        retry_after_s=max(1.0, (until - now).total_seconds()),
    )


def next_reset(now: datetime) -> datetime:
    """The next midnight in California, in UTC."""
    try:
        pacific = now.astimezone(ZoneInfo("America/Los_Angeles"))
    except ZoneInfoNotFoundError:  # a system without zones: the later of both, in summer an hour late
        midnight = now.replace(hour=8, minute=0, second=0, microsecond=0)
        return midnight if midnight > now else midnight + timedelta(days=1)
    tomorrow = pacific.date() + timedelta(days=1)
    return datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=pacific.tzinfo).astimezone(UTC)


def _said(answer: Answer) -> _Said | None:
    """Reason, place and words of a refusal, None when it is not Drive's."""
    error = (parsed(answer.body) or {}).get("error")
    if not isinstance(error, dict):
        return None
    errors = error.get("errors")
    first: Any = errors[0] if isinstance(errors, list) and errors else {}
    first = first if isinstance(first, dict) else {}
    message = str(first.get("message") or error.get("message") or "")
    return _Said(
        str(first.get("reason") or error.get("status") or ""), str(first.get("location") or ""), message
    )
