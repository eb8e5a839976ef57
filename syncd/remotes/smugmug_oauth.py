"""Signing in to SmugMug, and signing what is asked of it: OAuth 1.0a.

https://api.smugmug.com/api/v2/doc/tutorial/authorization.html and https://www.rfc-editor.org/rfc/rfc5849
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from anyio import to_thread

from syncd.config import SmugmugConfig
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.log import forget_secret, register_secret
from syncd.remotes.http import Answer, ApiClient, Request, explain_plainly
from syncd.remotes.oauth import NOWHERE, Grant, Started
from syncd.remotes.pacer import Pacer
from syncd.remotes.smugmug_errors import (
    AGAIN,
    WRONG_KEY,
    ClockWrong,
    explain_401,
    explain_smugmug,
    problem_of,
)
from syncd.remotes.smugmug_items import object_of, text
from syncd.text import printable

PROVIDER: Final = "smugmug"
ACCESS: Final = "Full"
PERMISSIONS: Final = "Modify"
SCOPES: Final = (f"Access={ACCESS}", f"Permissions={PERMISSIONS}")
_PATH: Final = "/services/oauth/1.0a"
_ATTEMPTS: Final = 3
_REQUESTS_PER_SECOND: Final = 5
_ANSWER_LIMIT_BYTES: Final = 64 << 10
_OOB: Final = "oob"


class Signer:
    """An Authoriser that signs with HMAC-SHA1, in the header only. `token` and `token_secret` are empty
    before there are any; `more` are further parameters, such as `oauth_callback`."""

    def __init__(
        self,
        key: str,
        secret: str,
        token: str = "",
        token_secret: str = "",
        *,
        more: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
        nonce: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._given = {"oauth_consumer_key": key, **(more or {})}
        if token:
            self._given["oauth_token"] = token
        self._secrets = secret, token_secret
        self._clock = clock
        self._nonce = nonce
        for value in (key, secret, token, token_secret):
            register_secret(value)

    async def authorise(self, request: Request) -> Mapping[str, str]:
        return {"Authorization": self.header(request.method, request.url)}

    async def rejected(self, headers: Mapping[str, str]) -> bool:
        """A token lasts until it is revoked: there is no other."""
        return False

    def header(self, method: str, url: str) -> str:
        """The header for a request with this address, exactly as sent. A body of JSON is not signed."""
        from authlib.oauth1.rfc5849.parameters import prepare_headers
        from authlib.oauth1.rfc5849.signature import construct_base_string, hmac_sha1_signature

        own = {
            **self._given,
            "oauth_nonce": self._nonce(),
            "oauth_signature_method": "HMAC-SHA1",
            "oauth_timestamp": str(int(self._clock())),
            "oauth_version": "1.0",
        }
        asked = parse_qsl(urlsplit(url).query, keep_blank_values=True)
        text = construct_base_string(method, url, [*asked, *own.items()])
        signature = hmac_sha1_signature(text, *self._secrets)
        header: str = prepare_headers([*own.items(), ("oauth_signature", signature)])["Authorization"]
        return header


def import_signing() -> None:
    """Loads what signing needs: a twentieth of a second, which is for a thread."""
    import authlib.oauth1.rfc5849.signature  # noqa: F401


class SmugmugSignIn:
    """Signs a person in: a request token, their consent, and an access token that lasts until it is revoked.
    What `client` passes to the HTTP client is for tests."""

    name = PROVIDER
    code_parameter = "oauth_verifier"
    state_parameter = "oauth_token"

    def __init__(self, config: SmugmugConfig, **client: Any) -> None:
        self._config = config
        self._client = client

    async def start(self, redirect_uri: str) -> Started:
        """Raises Refused where there is no key to ask with, AuthRejected where SmugMug does not know it."""
        if not (self._config.api_key and self._config.api_secret):
            raise Refused(
                "there is no SmugMug API key to sign in with",
                hint="apply for one at https://api.smugmug.com/api/developer/apply, then set api_key and "
                "api_secret under [smugmug]",
            )
        await to_thread.run_sync(import_signing)
        # Where nobody can listen, SmugMug shows a code of six digits instead.
        callback = _OOB if redirect_uri == NOWHERE else redirect_uri
        token, secret = await self._tokens("getRequestToken", "begin to sign in", "", "", callback=callback)
        asked = {"oauth_token": token, "Access": ACCESS, "Permissions": PERMISSIONS}
        url = f"{self._config.oauth_base_url.rstrip('/')}{_PATH}/authorize?{urlencode(asked)}"
        return Started(url, token, {"secret": secret})

    async def exchange(self, started: Started, code: str, redirect_uri: str) -> Grant:
        """Raises AuthRejected for a code that is wrong or too old, and for another account than is set."""
        secret = started.private["secret"]
        register_secret(code)
        try:
            token, token_secret = await self._tokens(
                "getAccessToken", "sign in", started.state, secret, verifier=code
            )
        finally:
            forget_secret(code)
            forget_secret(secret)
        account = await self._who(Signer(self._config.api_key, self._config.api_secret, token, token_secret))
        wanted = self._config.nickname
        if wanted and wanted.casefold() != account.casefold():
            raise AuthRejected(
                f"this is {printable(account)} at SmugMug, and [smugmug] names {printable(wanted)}",
                hint=f'set nickname = "{printable(account)}" (the name of the site, not an e-mail address), '
                "or sign in with the other account",
            )
        granted = {"access": ACCESS, "permissions": PERMISSIONS}
        return Grant(account, {"token": token, "token_secret": token_secret, **granted})

    async def _tokens(
        self, path: str, what: str, token: str, token_secret: str, **more: str
    ) -> tuple[str, str]:
        """A token and its secret, which come as a form."""
        given = {f"oauth_{name}": value for name, value in more.items()}
        signer = Signer(self._config.api_key, self._config.api_secret, token, token_secret, more=given)
        if token:
            forget_secret(token)  # it stands in the address that people open
        async with self._api(self._config.oauth_base_url, signer, explain_sign_in) as api:

            async def once() -> dict[str, str]:
                async with api.once("POST", f"{_PATH}/{path}", what=what) as response:
                    body = await response.read(_ANSWER_LIMIT_BYTES)
                return dict(parse_qsl(body.decode("utf-8", "replace").strip()))

            found = await api.persist(once)
        if not _is_token(found.get("oauth_token")) or not _is_token(found.get("oauth_token_secret")):
            raise Transient(
                f"cannot {what}: SmugMug gave no token", hint="check oauth_base_url under [smugmug]"
            )
        register_secret(found["oauth_token_secret"])
        return found["oauth_token"], found["oauth_token_secret"]

    async def _who(self, signer: Signer) -> str:
        """The nickname of the account."""
        async with self._api(self._config.api_base_url, signer, explain_smugmug) as api:
            answer = await api.json(
                "GET",
                "/api/v2!authuser",
                what="see whose SmugMug this is",
                params={"_verbosity": 1},
                headers={"Accept": "application/json"},
            )
        if not (nickname := text(object_of(answer, "User"), "NickName")):
            raise Transient("SmugMug does not say whose it is")
        return nickname

    def _api(self, base_url: str, signer: Signer, explain: Callable[[Answer], SyncdError]) -> ApiClient:
        return ApiClient(
            "SmugMug",
            base_url,
            pacer=Pacer(_REQUESTS_PER_SECOND),
            authoriser=signer,
            explain=explain,
            attempts=_ATTEMPTS,
            **self._client,
        )


def explain_sign_in(answer: Answer) -> SyncdError:
    """What the sign-in servers say when there is no token."""
    if answer.status not in (400, 401, 403):
        return explain_plainly(answer)
    error, problem = explain_401(answer), problem_of(answer)
    if isinstance(error, ClockWrong) or problem == "nonce_used":
        return error
    message = f"cannot {answer.what}: {answer.service} says {answer.status}" + (
        f" {problem}" if problem else ""
    )
    if problem.startswith(("token_", "verifier_")):
        hint = f"a code is good for one use and five minutes; {AGAIN}"
        return AuthRejected(message, hint=hint)
    return AuthRejected(message, hint=WRONG_KEY)


def _is_token(value: str | None) -> bool:
    """Whether a value can stand in a header."""
    return value is not None and value != "" and value.isascii() and value.isprintable()
