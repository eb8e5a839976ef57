"""SmugMug's refusals as decisions: by status, and by the OAuth problem that a 401 names.

https://api.smugmug.com/api/v2/doc/pages/concepts.html; the bodies of refusals are not documented, and a front
end of theirs may answer with a page of HTML.
"""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, unquote_plus, urlsplit

from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.remotes.http import Answer, NotFound, explain_plainly, parsed, retry_after_s, said
from syncd.remotes.pacer import PATIENCE_S, RateLimited

AGAIN: Final = "sign in again: syncctl auth smugmug"
WRONG_KEY: Final = "check api_key and api_secret under [smugmug], then sign in: syncctl auth smugmug"
GRANT: Final = (
    "in SmugMug, under Account Settings > Privacy > Authorized Services, give syncd Access: Full and "
    "Permissions: Modify; or remove it there and sign in again: syncctl auth smugmug"
)
SKEW_S: Final = 300.0
"""A clock that is further off makes signatures worthless."""

# https://wiki.oauth.net/w/page/12238543/ProblemReporting
_PROBLEM: Final = re.compile(
    r"\b((?:nonce|token|consumer_key|signature|signature_method|timestamp|parameter|verifier|version|permission)_"
    r"(?:used|refused|rejected|revoked|expired|invalid|unknown|absent|denied|method_rejected)"
    r"|additional_authorization_required|user_refused)\b"
)
_KEY_PROBLEMS: Final = ("consumer_key_", "signature_", "version_", "parameter_")
_PERMISSION: Final = re.compile(r"not granted|required permission|permission_(denied|unknown)", re.IGNORECASE)


class Moved(Refused):
    """What was asked for has another address now; `path` is where, with its query."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


class Conflict(Refused):
    """Another thing is there already, by this name."""


class ClockWrong(Transient):
    """This machine's clock is so far off that signatures are refused."""


class GrantMissing(AuthRejected):
    """The sign-in stands, but does not grant this."""


def explain_smugmug(answer: Answer) -> SyncdError:
    """The decision that an answer of the API calls for."""
    status = answer.status
    if _is_page(answer) and status not in (401, 429) and not 300 <= status < 400:
        plain = explain_plainly(answer)
        if isinstance(plain, Transient):
            return plain
        # The API speaks JSON; this is a proxy's, a sign-in page's or a front end's in distress.
        return Transient(
            f"{plain.message} in a way that its API does not",
            hint="check that the network asks for no sign-in of its own, and api_base_url under [smugmug]",
        )
    words = _words(answer)
    message = f"cannot {answer.what}: {answer.service} says {status}" + (f" ({words})" if words else "")
    if 300 <= status < 400:
        return _moved(answer, message)
    if status == 401:
        return explain_401(answer)
    if status == 429:
        return RateLimited(message, retry_after_s=window_s(answer.headers))
    if status >= 500 or status in (408, 425):
        return Transient(message, retry_after_s=retry_after_s(answer.headers))
    if status == 403 and _PERMISSION.search(words):
        return GrantMissing(message, hint=GRANT)
    if status in (404, 410):
        return NotFound(message, hint="it was deleted, or is not to be seen by this account")
    if status == 409:
        return Conflict(message, hint="something of that name is there already")
    return Refused(message, hint=GRANT if status in (402, 403) else None)


def explain_write(answer: Answer) -> SyncdError:
    """As `explain_smugmug`, for a change: to refuse it is to say that the right to change is missing."""
    error = explain_smugmug(answer)
    if answer.status == 403 and isinstance(error, Refused):
        return GrantMissing(error.message, hint=GRANT)
    return error


def explain_picture(answer: Answer) -> SyncdError:
    """The decision that an answer of the host of the photos calls for."""
    error = explain_plainly(answer)
    if isinstance(error, AuthRejected):
        return Refused(error.message, hint="the sign-in may not see this photo any more")
    if isinstance(error, NotFound):
        return NotFound(
            error.message, hint="its address changes when it is replaced or moved: sync the album"
        )
    return error


def explain_401(answer: Answer) -> SyncdError:
    """A used nonce is worth another try, a clock that is wrong another time; the rest asks for a person."""
    problem = problem_of(answer)
    message = f"cannot {answer.what}: {answer.service} says 401" + (f" {problem}" if problem else "")
    if problem == "nonce_used":
        return Transient(message)
    off_s = skew_s(answer.headers)
    definite = problem.startswith(("token_", "consumer_key_", "verifier_", "permission_"))
    if problem == "timestamp_refused" or (off_s is not None and abs(off_s) > SKEW_S and not definite):
        return _clock(message, off_s)
    if problem.startswith("permission_") or problem == "additional_authorization_required":
        return GrantMissing(message, hint=GRANT)
    return AuthRejected(message, hint=WRONG_KEY if problem.startswith(_KEY_PROBLEMS) else AGAIN)


def problem_of(answer: Answer) -> str:
    """The OAuth problem that an answer names in its body (JSON, a form, words) or its header, "" for none."""
    body = unquote_plus(answer.body.decode("utf-8", "replace"))
    found = _PROBLEM.search(f"{answer.headers.get('WWW-Authenticate', '')} {body}")
    return found[1] if found else ""


def skew_s(headers: Mapping[str, str]) -> float | None:
    """How far this machine's clock is ahead of the other side's, None where that does not say the time."""
    try:
        return time.time() - email.utils.parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (ValueError, OverflowError):
        return None


def window_s(headers: Mapping[str, str]) -> float | None:
    """Seconds until the account may ask again: `Retry-After`, else the end of the window."""
    asked_s = retry_after_s(headers)
    reset = headers.get("X-RateLimit-Reset", "")
    if asked_s is None and reset.isdecimal() and len(reset) < 12:
        return min(max(0.0, float(reset) - time.time()), 3600.0)
    return asked_s


def _clock(message: str, off_s: float | None) -> ClockWrong:
    how = ""
    if off_s is not None and abs(off_s) >= 60:
        how = f" by {abs(off_s) / 60:,.0f} minutes ({'fast' if off_s > 0 else 'slow'})"
    return ClockWrong(
        f"{message}: this machine's clock is wrong{how}, so signatures are refused",
        hint="set the clock, for example: timedatectl set-ntp true",
        retry_after_s=PATIENCE_S + 1,  # nothing else will do meanwhile, and it may be set by itself
    )


def _moved(answer: Answer, message: str) -> SyncdError:
    try:
        address = urlsplit(answer.headers.get("Location", ""))
    except ValueError:
        return explain_plainly(answer)
    if not address.path.startswith("/api/v2"):
        return explain_plainly(answer)
    # Only the path is taken over: what proves who asks goes nowhere else.
    query = "&".join(part for part in address.query.split("&") if part and not part.startswith("APIKey="))
    return Moved(message, f"{address.path}?{query}" if query else address.path)


def _is_page(answer: Answer) -> bool:
    return "html" in answer.headers.get("Content-Type", "") or answer.body.lstrip()[:1] == b"<"


def _words(answer: Answer) -> str:
    """What a refusal says; SmugMug writes it percent-encoded at times."""
    body = parsed(answer.body)
    if body is None:
        return "" if _is_page(answer) else said(unquote(answer.body.decode("utf-8", "replace")))
    message = body.get("Message")
    return said(unquote(message)) if isinstance(message, str) else ""
