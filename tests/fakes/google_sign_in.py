"""Google's consent page and token endpoint, as far as an installed app and a service account use them."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import urlencode, urlsplit

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

READONLY = "https://www.googleapis.com/auth/drive.readonly"
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass
class Access:
    account: str
    scope: str
    expires_at: float


@dataclass
class Consent:
    account: str
    redirect_uri: str
    challenge: str
    scope: str


@dataclass
class SignIn:
    """What the sign-in servers know. `consenting` is the person in front of the browser; `denies` makes
    them say no; `granted_scope` is what they tick."""

    client_id: str = "123-fake.apps.googleusercontent.com"
    client_secret: str = "GOCSPX-fake-client-secret"
    consenting: str = "photographer@example.com"
    denies: bool = False
    granted_scope: str | None = None
    life_s: float = 3599
    life_as_text: bool = False
    rotates: bool = False
    token_url: str = ""
    access: dict[str, Access] = field(default_factory=dict)
    refresh: dict[str, Access] = field(default_factory=dict)
    refreshes: int = 0
    _codes: dict[str, Consent] = field(default_factory=dict)
    _services: dict[str, rsa.RSAPublicKey] = field(default_factory=dict)

    # --- what tests do --------------------------------------------------------------------------------

    def issue_token(self, account: str, scope: str = READONLY) -> str:
        """An access token, without signing in."""
        token = f"ya29.fake-{secrets.token_urlsafe(24)}"
        self.access[token] = Access(account, scope, time.time() + self.life_s)
        return token

    def issue_refresh_token(self, account: str, scope: str = READONLY) -> str:
        token = f"1//fake-{secrets.token_urlsafe(24)}"
        self.refresh[token] = Access(account, scope, 0)
        return token

    def expire_access_tokens(self) -> None:
        self.access.clear()

    def revoke_refresh_tokens(self, account: str | None = None) -> None:
        """As after a click on "remove access", or seven days of a project in "Testing"."""
        self.refresh = {t: a for t, a in self.refresh.items() if account not in (None, a.account)}

    def add_service_account(self, email: str) -> dict[str, str]:
        """The content of its key file."""
        key = _key()
        self._services[email] = key.public_key()
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return {
            "type": "service_account",
            "project_id": "fake",
            "private_key_id": "fake-key-1",
            "private_key": key.private_bytes(*pem).decode(),
            "client_email": email,
            "client_id": "1",
            "token_uri": self.token_url,
        }

    def account_of(self, token: str) -> Access | None:
        found = self.access.get(token)
        return found if found is not None and found.expires_at > time.time() else None

    # --- what the servers do --------------------------------------------------------------------------

    async def consent(self, request: web.Request) -> web.StreamResponse:
        """The consent page, answered at once by whoever is in front of it."""
        query = request.query
        back = urlsplit(query.get("redirect_uri", ""))
        wrong = (
            query.get("client_id") != self.client_id
            or query.get("response_type") != "code"
            or back.scheme != "http"
            or back.hostname not in ("127.0.0.1", "localhost", "::1")
            or query.get("code_challenge_method") not in ("S256", None)
        )
        if wrong:
            return web.Response(status=400, text="Error 400: invalid_request")
        answer = {"state": query["state"]} if "state" in query else {}
        if self.denies:
            return _sent_back(query["redirect_uri"], answer | {"error": "access_denied"})
        code = f"4/0A{secrets.token_urlsafe(24)}"
        scope = self.granted_scope if self.granted_scope is not None else query.get("scope", "")
        self._codes[code] = Consent(
            self.consenting, query["redirect_uri"], query.get("code_challenge", ""), scope
        )
        return _sent_back(query["redirect_uri"], answer | {"code": code, "scope": scope})

    async def token(self, request: web.Request) -> web.StreamResponse:
        form = dict(await request.post())
        kind = form.get("grant_type")
        if kind == JWT_GRANT:
            return self._service(str(form.get("assertion", "")))
        if (form.get("client_id"), form.get("client_secret")) != (self.client_id, self.client_secret):
            return _no("invalid_client", "The OAuth client was not found.", 401)
        if kind == "authorization_code":
            return self._exchange({name: str(value) for name, value in form.items()})
        if kind == "refresh_token":
            return self._refresh(str(form.get("refresh_token", "")))
        return _no("unsupported_grant_type", f"Invalid grant_type: {kind}")

    def _exchange(self, form: dict[str, str]) -> web.Response:
        consent = self._codes.pop(form.get("code", ""), None)
        if consent is None:
            return _no("invalid_grant", "Malformed auth code.")
        if form.get("redirect_uri") != consent.redirect_uri:
            return _no("redirect_uri_mismatch", "Bad Request")
        verifier = form.get("code_verifier", "")
        if consent.challenge and _challenge(verifier) != consent.challenge:
            return _no("invalid_grant", "Invalid code verifier.")
        refresh = self.issue_refresh_token(consent.account, consent.scope)
        return self._yes(consent.account, consent.scope, refresh_token=refresh)

    def _refresh(self, token: str) -> web.Response:
        found = self.refresh.get(token)
        if found is None:
            return _no("invalid_grant", "Token has been expired or revoked.")
        self.refreshes += 1
        if self.rotates:
            del self.refresh[token]
            refresh = self.issue_refresh_token(found.account, found.scope)
            return self._yes(found.account, found.scope, refresh_token=refresh)
        return self._yes(found.account, found.scope)

    def _service(self, assertion: str) -> web.Response:
        try:
            head, body, signature = assertion.split(".")
            claims = json.loads(_decoded(body))
            key = self._services[claims["iss"]]
            key.verify(_decoded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
            header = json.loads(_decoded(head))
        except (ValueError, KeyError, InvalidSignature):
            return _no("invalid_grant", "Invalid JWT Signature.")
        now = time.time()
        fresh = claims["iat"] <= now + 300 and now < claims["exp"] <= claims["iat"] + 3600
        if header.get("alg") != "RS256" or claims.get("aud") != self.token_url or not claims.get("scope"):
            return _no("invalid_grant", "Invalid JWT: Failed audience check.")
        if not fresh:
            return _no("invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes).")
        return self._yes(claims["iss"], claims["scope"])

    def _yes(self, account: str, scope: str, **more: Any) -> web.Response:
        life: object = str(int(self.life_s)) if self.life_as_text else self.life_s
        answer = {"access_token": self.issue_token(account, scope), "expires_in": life, "scope": scope}
        return web.json_response({**answer, "token_type": "Bearer", **more})


def _sent_back(address: str, answer: dict[str, str]) -> web.Response:
    return web.Response(status=302, headers={"Location": f"{address}/?{urlencode(answer)}"})


def _no(code: str, description: str, status: int = 400) -> web.Response:
    return web.json_response({"error": code, "error_description": description}, status=status)


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


@cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
