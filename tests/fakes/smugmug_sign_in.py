"""SmugMug's OAuth 1.0a: signatures, nonces and times checked as RFC 5849 says, and the pages of a sign-in.

The check is written anew here, and shares nothing with what signs in syncd.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from aiohttp import web

REQUEST_TOKEN_LIFE_S = 300.0
CLOCK_TOLERANCE_S = 300.0
_PAIR = re.compile(r'([A-Za-z0-9_%]+)="([^"]*)"')


class Problem(Exception):
    """An OAuth problem, in the words of the problem reporting extension."""


@dataclass
class Token:
    """An access token, or a request token while it lives. `nickname` is who granted it."""

    secret: str
    nickname: str = ""
    access: str = "Public"
    permissions: str = "Read"
    callback: str = ""
    verifier: str = ""
    made_at: float = field(default_factory=time.time)


class SignIn:
    """The sign-in servers. `consenting` is the person in front of the browser; `denies` makes them say no."""

    def __init__(self) -> None:
        self.api_key = "fakeKey0123456789abcdefghijklmnop"
        self.api_secret = "fakeSecret0123456789abcdefghijklmnopqrstuvwxyz"
        self.consenting = ""
        self.denies = False
        self.clock_off_s = 0.0
        """How far this server's clock is ahead of everybody else's."""
        self.tokens: dict[str, Token] = {}
        self.request_tokens: dict[str, Token] = {}
        self.grants: dict[str, tuple[str, str]] = {}
        """What each account has granted: it stands until its owner changes it in the settings."""
        self._nonces: set[tuple[str, str, str]] = set()

    # --- what tests do --------------------------------------------------------------------------------

    def issue_token(
        self, nickname: str, access: str = "Full", permissions: str = "Modify"
    ) -> tuple[str, str]:
        """An access token and its secret, without signing in."""
        token = f"tok{secrets.token_hex(14)}"
        self.tokens[token] = Token(secrets.token_hex(24), nickname, access, permissions)
        return token, self.tokens[token].secret

    def grant(self, nickname: str, access: str, permissions: str) -> None:
        """What the owner sets under Authorized Services."""
        self.grants[nickname] = access, permissions
        for token in self.tokens.values():
            if token.nickname == nickname:
                token.access, token.permissions = access, permissions

    def revoke(self, nickname: str) -> None:
        self.grants.pop(nickname, None)
        self.tokens = {name: token for name, token in self.tokens.items() if token.nickname != nickname}

    @property
    def clock(self) -> float:
        return time.time() + self.clock_off_s

    # --- checking -------------------------------------------------------------------------------------

    def signed(self, request: web.Request, tokens: dict[str, Token]) -> tuple[dict[str, str], Token | None]:
        """The OAuth parameters of a request whose signature holds, and its token. Raises Problem."""
        header = request.headers.get("Authorization", "")
        if not header.lower().startswith("oauth "):
            raise Problem("parameter_absent&oauth_parameters_absent=oauth_consumer_key")
        own = {unquote(name): unquote(value) for name, value in _PAIR.findall(header)}
        for name in ("consumer_key", "nonce", "timestamp", "signature", "signature_method"):
            if not own.get(f"oauth_{name}"):
                raise Problem(f"parameter_absent&oauth_parameters_absent=oauth_{name}")
        if own["oauth_consumer_key"] != self.api_key:
            raise Problem("consumer_key_unknown")
        if own["oauth_signature_method"] != "HMAC-SHA1" or own.get("oauth_version", "1.0") != "1.0":
            raise Problem("signature_method_rejected")
        name = own.get("oauth_token", "")
        token = tokens.get(name)
        if name and token is None:
            raise Problem("token_rejected")
        text = base_string(request.method, str(request.url.origin()) + request.raw_path, own)
        wanted = sign(text, self.api_secret, token.secret if token else "")
        if not hmac.compare_digest(wanted.encode(), own["oauth_signature"].encode()):
            raise Problem("signature_invalid")
        stamp = own["oauth_timestamp"]
        if not stamp.isdecimal() or abs(int(stamp) - self.clock) > CLOCK_TOLERANCE_S:
            raise Problem(f"timestamp_refused&oauth_acceptable_timestamps={int(self.clock)}")
        seen = name, own["oauth_nonce"], stamp
        if seen in self._nonces:
            raise Problem("nonce_used")
        self._nonces.add(seen)
        return own, token

    # --- the pages ------------------------------------------------------------------------------------

    async def request_token(self, request: web.Request) -> web.StreamResponse:
        try:
            own, _ = self.signed(request, {})
            callback = own.get("oauth_callback", "")
            if not callback:
                raise Problem("parameter_absent&oauth_parameters_absent=oauth_callback")
        except Problem as problem:
            return _no(problem)
        token = f"req{secrets.token_hex(14)}"
        self.request_tokens[token] = made = Token(secrets.token_hex(24), callback=callback)
        return _form(
            {"oauth_token": token, "oauth_token_secret": made.secret, "oauth_callback_confirmed": "true"}
        )

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        """The consent page, answered at once by whoever is in front of it."""
        name = request.query.get("oauth_token", "")
        token = self._living(name)
        if token is None:
            return _page("This request token is invalid or has expired.", 400)
        back = token.callback
        joint = "&" if urlsplit(back).query else "?"
        if self.denies:
            if back == "oob":
                return _page("You did not authorize this application.")
            no = urlencode({"oauth_token": name, "oauth_problem": "user_refused"})
            raise web.HTTPFound(f"{back}{joint}{no}")
        asked = request.query.get("Access", "Public"), request.query.get("Permissions", "Read")
        token.access, token.permissions = self.grants.setdefault(self.consenting, asked)
        token.nickname, token.verifier = self.consenting, f"{secrets.randbelow(10**6):06}"
        if back == "oob":
            return _page(f"Enter this six-digit code in the application: <b>{token.verifier}</b>")
        yes = urlencode({"oauth_token": name, "oauth_verifier": token.verifier})
        raise web.HTTPFound(f"{back}{joint}{yes}")

    async def access_token(self, request: web.Request) -> web.StreamResponse:
        living = {name: token for name in list(self.request_tokens) if (token := self._living(name))}
        try:
            own, token = self.signed(request, living)
            if token is None:
                raise Problem("parameter_absent&oauth_parameters_absent=oauth_token")
            if not token.verifier or own.get("oauth_verifier") != token.verifier:
                raise Problem("verifier_invalid")
        except Problem as problem:
            return _no(problem)
        del self.request_tokens[own["oauth_token"]]
        name, secret = self.issue_token(token.nickname, token.access, token.permissions)
        return _form({"oauth_token": name, "oauth_token_secret": secret})

    def _living(self, name: str) -> Token | None:
        token = self.request_tokens.get(name)
        if token is not None and time.time() - token.made_at > REQUEST_TOKEN_LIFE_S:
            del self.request_tokens[name]
            return None
        return token


def base_string(method: str, url: str, own: dict[str, str]) -> str:
    """https://www.rfc-editor.org/rfc/rfc5849#section-3.4.1"""
    address = urlsplit(url)
    host = address.netloc.lower()
    for scheme, port in (("http", ":80"), ("https", ":443")):
        if address.scheme == scheme:
            host = host.removesuffix(port)
    pairs = parse_qsl(address.query, keep_blank_values=True)
    pairs += [(name, value) for name, value in own.items() if name not in ("oauth_signature", "realm")]
    ordered = sorted((_quoted(name), _quoted(value)) for name, value in pairs)
    parameters = "&".join(f"{name}={value}" for name, value in ordered)
    place = f"{address.scheme.lower()}://{host}{address.path or '/'}"
    return "&".join(map(_quoted, (method.upper(), place, parameters)))


def sign(text: str, secret: str, token_secret: str) -> str:
    key = f"{_quoted(secret)}&{_quoted(token_secret)}".encode()
    return base64.b64encode(hmac.new(key, text.encode(), hashlib.sha1).digest()).decode()


def _quoted(text: str) -> str:
    return quote(text, safe="-._~")


def _form(values: dict[str, str]) -> web.Response:
    return web.Response(text=urlencode(values), content_type="application/x-www-form-urlencoded")


def _no(problem: Problem) -> web.Response:
    return web.Response(
        status=401, text=f"oauth_problem={problem}", content_type="application/x-www-form-urlencoded"
    )


def _page(words: str, status: int = 200) -> web.Response:
    page = f"<!doctype html><title>SmugMug</title><p>{words}</p>"
    return web.Response(status=status, text=page, content_type="text/html")
