"""Signing in to Google: https://developers.google.com/identity/protocols/oauth2/native-app and
https://developers.google.com/identity/protocols/oauth2/service-account"""

from __future__ import annotations

import base64
import json
import math
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from anyio import to_thread

from syncd.config import DriveConfig
from syncd.errors import AuthRejected, Refused, SyncdError, Transient
from syncd.log import forget_secret, register_secret
from syncd.remotes.bearer import AccessToken, BearerTokens
from syncd.remotes.drive_errors import explain_drive
from syncd.remotes.http import Answer, ApiClient, NotFound, explain_plainly, parsed, retry_after_s, said
from syncd.remotes.oauth import Grant, Started
from syncd.remotes.pacer import Pacer, RateLimited
from syncd.remotes.tokens import StaleGeneration, StoredToken, TokenStore
from syncd.text import printable

PROVIDER: Final = "drive"
SCOPE: Final = "https://www.googleapis.com/auth/drive.readonly"
_ENOUGH: Final = frozenset((SCOPE, "https://www.googleapis.com/auth/drive"))
_TOKEN_REQUESTS_PER_SECOND: Final = 5
_TOKEN_ATTEMPTS: Final = 2  # whoever needs the token tries again as well
_UNKNOWN_LIFE_S: Final = 300.0
_JWT_LIFE_S: Final = 3600
_NAMELESS: Final = "me"
_RETRIED: Final = frozenset(("internal_failure", "server_error", "temporarily_unavailable"))
AGAIN: Final = (
    'sign in again: syncctl auth drive. A Google project whose consent screen is in "Testing" loses its '
    "sign-ins after 7 days: publish the app in the Google Cloud console"
)


class InvalidGrant(AuthRejected):
    """The sign-in itself is over: expired, revoked, or of a project in "Testing"."""


class Granted(NamedTuple):
    """What the token endpoint gave."""

    access: AccessToken
    refresh_token: str | None
    scope: str


class TokenEndpoint:
    """Google's token endpoint: asks for tokens, and reads what it says when it gives none."""

    def __init__(self, config: DriveConfig, *, clock: Callable[[], float] = time.time, **client: Any) -> None:
        self._clock = clock
        self._api = ApiClient(
            "Google's sign-in",
            config.token_url,
            pacer=Pacer(_TOKEN_REQUESTS_PER_SECOND),
            explain=_explain,
            attempts=_TOKEN_ATTEMPTS,
            **client,
        )

    async def __aenter__(self) -> Self:
        await self._api.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._api.__aexit__(*exc)

    async def ask(self, what: str, form: Mapping[str, str]) -> Granted:
        """Raises InvalidGrant, AuthRejected, Transient."""
        for name in ("client_secret", "refresh_token"):
            register_secret(form.get(name, ""))
        passing = [form[name] for name in ("code", "code_verifier", "assertion") if name in form]
        for value in passing:
            register_secret(value)
        try:
            answer = await self._api.json("POST", "", what=what, form=form)
        finally:
            for value in passing:
                forget_secret(value)
        access, refresh = answer.get("access_token"), answer.get("refresh_token")
        if not _is_token(access) or not (refresh is None or _is_token(refresh)):
            raise Transient(f"cannot {what}: Google's sign-in gave no token")
        if refresh is not None:
            register_secret(refresh)
        life_s = _life_s(answer.get("expires_in"))
        token = AccessToken.lasting(str(access), life_s, self._clock())
        return Granted(token, refresh, str(answer.get("scope", "")))


class InstalledApp:
    """Signs a person in: the installed-app flow with PKCE, and a redirect to this machine."""

    name = PROVIDER
    code_parameter = "code"
    state_parameter = "state"

    def __init__(self, config: DriveConfig, endpoint: TokenEndpoint, **client: Any) -> None:
        self._config = config
        self._endpoint = endpoint
        self._client = client

    async def start(self, redirect_uri: str) -> Started:
        if not self._config.client_id:
            raise Refused(
                "there is no Google client to sign in with",
                hint="set client_id and client_secret under [drive], of an OAuth client of type Desktop app",
            )
        state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        url = await to_thread.run_sync(self._address, redirect_uri, state, verifier)
        return Started(url, state, {"code_verifier": verifier})

    def _address(self, redirect_uri: str, state: str, verifier: str) -> str:
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        return str(
            prepare_grant_uri(
                self._config.auth_url,
                self._config.client_id,
                "code",
                redirect_uri=redirect_uri,
                scope=SCOPE,
                state=state,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
                access_type="offline",
                # Google gives a refresh token only with a consent that is asked for.
                prompt="consent",
            )
        )

    async def exchange(self, started: Started, code: str, redirect_uri: str) -> Grant:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self._config.client_id,
            "client_secret": self._config.client_secret,
            "code_verifier": started.private["code_verifier"],
        }
        try:
            granted = await self._endpoint.ask("sign in", form)
        except InvalidGrant as error:
            hint = "begin again: a code is good for one use and a few minutes"
            raise AuthRejected(error.message, hint=hint) from None
        if granted.refresh_token is None:
            raise AuthRejected(
                "Google gave no lasting sign-in",
                hint="remove syncd at https://myaccount.google.com/permissions, then sign in again",
            )
        if granted.scope and not _ENOUGH & set(granted.scope.split()):
            raise AuthRejected(
                "the sign-in does not let syncd read Drive", hint="sign in again and tick the box for Drive"
            )
        register_secret(granted.access.value)
        return Grant(await self._who(granted.access.value), _values(granted, granted.refresh_token))

    async def _who(self, access_token: str) -> str:
        """The e-mail address of the account; "me" where what stands before Drive knows only files."""
        pacer = Pacer(self._config.requests_per_second)
        client = ApiClient(
            "Google Drive", self._config.api_base_url, pacer=pacer, explain=explain_drive, **self._client
        )
        async with client as api:
            try:
                about = await api.json(
                    "GET",
                    "/drive/v3/about",
                    what="see whose Drive this is",
                    params={"fields": "user(emailAddress)"},
                    headers={"Authorization": f"Bearer {access_token}"},
                    explain=lambda answer: (explain_plainly if answer.status == 404 else explain_drive)(
                        answer
                    ),
                )
            except NotFound:
                return _NAMELESS
        user = about.get("user")
        address = user.get("emailAddress") if isinstance(user, dict) else None
        if not isinstance(address, str) or not address:
            raise Transient("Google Drive does not say whose it is")
        return address


class UserTokens(BearerTokens):
    """Tokens of a person who signed in; every renewal is stored before it is used."""

    def __init__(
        self,
        account: str,
        config: DriveConfig,
        store: TokenStore,
        endpoint: TokenEndpoint,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(account, clock=clock)
        self._config = config
        self._store = store
        self._endpoint = endpoint
        self._over: InvalidGrant | None = None
        self._over_generation = 0

    def forget_rejection(self) -> None:
        super().forget_rejection()
        self._over = None

    async def _fresh(self, turned_down: str) -> AccessToken:
        while True:
            stored = await self._stored()
            if self._over is not None and stored.generation == self._over_generation:
                raise InvalidGrant(self._over.message, hint=self._over.hint)
            token = _stored_access(stored)
            if token is not None and token.value != turned_down and self._clock() < token.renew_at:
                return token
            refresh_token = stored.values["refresh_token"]
            try:
                granted = await self._endpoint.ask("renew the sign-in", self._form(refresh_token))
            except InvalidGrant as error:
                # Perhaps somebody signed in anew while we asked: then the answer was about the old one.
                if (await self._stored()).generation != stored.generation:
                    continue
                self._over, self._over_generation = error, stored.generation
                raise
            values = {**stored.values, **_values(granted, granted.refresh_token or refresh_token)}
            try:
                await self._store.save(PROVIDER, self.account, values, expected_generation=stored.generation)
            except StaleGeneration:
                continue
            return granted.access

    async def _stored(self) -> StoredToken:
        stored = await self._store.load(PROVIDER, self.account)
        if stored is None or "refresh_token" not in stored.values:
            raise AuthRejected(
                f"nobody is signed in as {printable(self.account)}", hint="sign in: syncctl auth drive"
            )
        register_secret(stored.values["refresh_token"])
        return stored

    def _form(self, refresh_token: str) -> dict[str, str]:
        return {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "client_id": self._config.client_id,
            "client_secret": self._config.client_secret,
        }


class ServiceTokens(BearerTokens):
    """Tokens of a service account: signed for with its key, and never stored."""

    def __init__(
        self, key: Mapping[str, str], endpoint: TokenEndpoint, *, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(key["client_email"], clock=clock)
        self._key = key
        self._endpoint = endpoint

    async def _fresh(self, turned_down: str) -> AccessToken:
        assertion = await to_thread.run_sync(self._assertion)
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        try:
            return (await self._endpoint.ask("sign in with the service account", form)).access
        except InvalidGrant as error:
            hint = "check this machine's clock, and that the service account and its key still exist"
            raise AuthRejected(error.message, hint=hint) from None

    def _assertion(self) -> str:
        """RFC 7523, signed with RS256."""
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa

        now = int(self._clock())
        header = {"alg": "RS256", "typ": "JWT", "kid": self._key["private_key_id"]}
        claims = {
            "iss": self._key["client_email"],
            "scope": SCOPE,
            "aud": self._key["token_uri"],
            "iat": now,
            "exp": now + _JWT_LIFE_S,
        }
        text = f"{_segment(header)}.{_segment(claims)}"
        try:
            key = serialization.load_pem_private_key(self._key["private_key"].encode(), None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise AuthRejected(
                "the service account's private key cannot be read", hint="download a new key file"
            )
        signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{_base64url(signature)}"


def read_service_account(config: DriveConfig) -> dict[str, str]:
    """The key of `service_account_file`. Raises AuthRejected when it is not one. Blocks."""
    name = printable(config.service_account_file)
    hint = "service_account_file under [drive] names the JSON key of a Google service account"
    try:
        found = json.loads(Path(config.service_account_file).read_bytes())
        key = {name: found[name] for name in ("client_email", "private_key", "private_key_id")}
        right = found["type"] == "service_account" and all(isinstance(value, str) for value in key.values())
    except OSError as error:
        raise AuthRejected(f"{name} cannot be read: {error.strerror}", hint=hint) from None
    except (ValueError, TypeError, KeyError):
        right = False
    if not right:
        raise AuthRejected(f"{name} is no key of a service account", hint=hint)
    register_secret(key["private_key"])
    return {**key, "token_uri": config.token_url}


def _values(granted: Granted, refresh_token: str) -> dict[str, str]:
    values = {
        "refresh_token": refresh_token,
        "access_token": granted.access.value,
        "expires_at": str(granted.access.expires_at),
        "renew_at": str(granted.access.renew_at),
    }
    return {**values, "scope": granted.scope} if granted.scope else values


def _stored_access(stored: StoredToken) -> AccessToken | None:
    try:
        return AccessToken(
            stored.values["access_token"],
            float(stored.values["expires_at"]),
            float(stored.values["renew_at"]),
        )
    except (KeyError, ValueError):
        return None


def _explain(answer: Answer) -> SyncdError:
    """What https://www.rfc-editor.org/rfc/rfc6749#section-5.2 and Google say when there is no token."""
    body = parsed(answer.body) or {}
    code = body.get("error")
    if not isinstance(code, str):
        if 400 <= answer.status < 500 and answer.status not in (408, 425, 429):
            return Transient(f"cannot {answer.what}: {answer.service} says {answer.status}, and not why")
        return explain_plainly(answer)
    words = said(body.get("error_description") or code)
    message = f"cannot {answer.what}: {answer.service} says {said(code, 60)} ({words})"
    if code in _RETRIED or answer.status >= 500 or answer.status == 408:
        return Transient(message, retry_after_s=retry_after_s(answer.headers))
    if answer.status == 429:
        return RateLimited(message, retry_after_s=retry_after_s(answer.headers))
    if code == "invalid_grant":
        return InvalidGrant(message, hint=AGAIN)
    if code in ("invalid_client", "unauthorized_client"):
        return AuthRejected(message, hint="check client_id and client_secret under [drive]")
    return AuthRejected(message, hint="check [drive] in syncd.toml, then sign in again: syncctl auth drive")


def _is_token(value: object) -> bool:
    """Whether a value can stand in a header."""
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable()


def _life_s(value: object) -> float:
    """`expires_in` is a number, or a text that holds one."""
    try:
        life_s = float(str(value))
    except ValueError:
        return _UNKNOWN_LIFE_S
    return life_s if math.isfinite(life_s) and life_s > 0 else _UNKNOWN_LIFE_S


def _segment(part: Mapping[str, object]) -> str:
    return _base64url(json.dumps(part).encode())


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
