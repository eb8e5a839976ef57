"""Accounts elsewhere: clients in their names under the settings in force, and signing in to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Self

import anyio
import msgspec

from syncd.config import Config, SmugmugConfig
from syncd.control import schema
from syncd.control.api import NotFound
from syncd.errors import AuthRejected, Refused
from syncd.remotes import google_oauth, smugmug_oauth
from syncd.remotes.google_accounts import GoogleAccounts
from syncd.remotes.google_drive import GoogleDrive
from syncd.remotes.google_oauth import InstalledApp
from syncd.remotes.oauth import Provider, SignedIn, SignIns
from syncd.remotes.pacer import Pacer
from syncd.remotes.smugmug import SmugMug
from syncd.remotes.smugmug_oauth import Signer, SmugmugSignIn
from syncd.remotes.tokens import StoredToken, TokenStore

_NO_KEY = "set api_key and api_secret under [smugmug], then sign in: syncctl auth smugmug"


class DriveAccess:
    """The Google accounts under the settings in force. A context manager."""

    def __init__(self, config: Callable[[], Config], store: TokenStore) -> None:
        self._config = config
        self._store = store
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.renew()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def renew(self) -> None:
        """Takes up changed settings. What is under way with the old ones may end."""
        self._accounts = await self._stack.enter_async_context(
            GoogleAccounts(self._config().drive, self._store)
        )

    async def names(self) -> list[str]:
        return await self._accounts.names()

    async def drive(self, account: str) -> GoogleDrive:
        return await self._accounts.drive(account)

    async def status(self) -> list[schema.Account]:
        found = await self._accounts.status()
        return [msgspec.convert(row, schema.Account, from_attributes=True) for row in found]

    @property
    def installed_app(self) -> InstalledApp:
        return self._accounts.installed_app

    def unusable(self) -> AuthRejected | None:
        return self._accounts.unusable

    def accept(self, account: str) -> None:
        """What the account said before holds no more."""
        self._accounts.accept(account)


class SmugmugAccess:
    """The SmugMug account under the settings in force. A context manager."""

    def __init__(self, config: Callable[[], Config], store: TokenStore) -> None:
        self._config = config
        self._store = store
        self._stack = AsyncExitStack()
        self._opening = anyio.Lock()
        self._settings = SmugmugConfig()
        self._pacer = Pacer(self._settings.requests_per_second)

    async def __aenter__(self) -> Self:
        await self.renew()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def renew(self) -> None:
        """Takes up changed settings. What is under way with the old ones may end."""
        old, self._settings = self._settings, self._config().smugmug
        if old.requests_per_second != self._settings.requests_per_second:
            # Otherwise the old one goes on: SmugMug may have told it to wait.
            self._pacer = Pacer(self._settings.requests_per_second)
        self._made: SmugMug | None = None

    async def account(self) -> str | None:
        """The nickname of whoever signed in last, of the account that the settings name where they do; None
        before that."""
        stored = await self._stored()
        return stored.account if stored else None

    async def client(self) -> SmugMug:
        """The client of the account; the same one every time, so that all share its pace. Raises AuthRejected
        with the next step before somebody signed in."""
        async with self._opening:  # two who ask at once get the same
            if self._made is None:
                client = SmugMug(self._settings, *await self._signer(), pacer=self._pacer)
                self._made = await self._stack.enter_async_context(client)
            return self._made

    async def status(self) -> list[schema.Account]:
        """The account with what a person must do about it; none where SmugMug is not set up. Asks nobody."""
        try:
            stored, hint = await self._stored(), None
        except AuthRejected as error:
            stored, hint = None, error.hint or error.message
        rejection = self._made.rejection if self._made else None
        if stored is None and not self._settings.api_key:
            return []
        if rejection is not None:
            hint = rejection.hint or rejection.message
        elif stored is None:
            hint = hint or "sign in: syncctl auth smugmug"
        elif not (self._settings.api_key and self._settings.api_secret):
            hint = _NO_KEY
        return [
            schema.Account(
                provider=smugmug_oauth.PROVIDER,
                account=stored.account if stored else self._settings.nickname,
                state="needs_auth" if hint else "ready",
                scopes=list(smugmug_oauth.SCOPES) if stored else [],
                expires_at=None,
                hint=hint,
            )
        ]

    @property
    def sign_in(self) -> SmugmugSignIn:
        return SmugmugSignIn(self._settings)

    def accept(self, account: str) -> None:
        """Somebody signed in anew: the next client signs with the new token."""
        self._made = None

    async def _stored(self) -> StoredToken | None:
        wanted = self._settings.nickname.casefold()
        names = await self._store.accounts(smugmug_oauth.PROVIDER)
        found = [
            await self._store.load(smugmug_oauth.PROVIDER, name)
            for name in names
            if wanted in ("", name.casefold())
        ]
        return max(filter(None, found), key=lambda stored: stored.saved_at, default=None)

    async def _signer(self) -> tuple[Signer, str]:
        key, secret = self._settings.api_key, self._settings.api_secret
        if not (key and secret):
            raise AuthRejected("there is no SmugMug API key", hint=_NO_KEY)
        stored = await self._stored()
        if stored is None or not {"token", "token_secret"} <= stored.values.keys():
            raise AuthRejected("nobody is signed in to SmugMug", hint="sign in: syncctl auth smugmug")
        return Signer(key, secret, stored.values["token"], stored.values["token_secret"]), stored.account


class LargePictures:
    """The SmugMug account for those to whom a thumbnail says too little."""

    def __init__(self, access: SmugmugAccess) -> None:
        self._access = access

    async def client(self) -> LargePictures:
        """Raises AuthRejected before somebody signed in."""
        await self._access.client()
        return self

    async def picture(self, url: str) -> bytes:
        """As `SmugMug.large_picture`."""
        return await (await self._access.client()).large_picture(url)


class AccountsAnswers:
    """Implements `AccountsApi` of control/api.py. `on_signed_in` hears, by provider, of every account that
    somebody signed in to, in a browser of this machine or by a pasted answer. A context manager."""

    def __init__(
        self,
        store: TokenStore,
        drive: DriveAccess,
        smugmug: SmugmugAccess,
        on_signed_in: Mapping[str, Callable[[str], None]],
    ) -> None:
        self._drive = drive
        self._smugmug = smugmug
        self._on_signed_in = on_signed_in
        self._flows = SignIns(store)
        self._waiting = anyio.create_task_group()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._flows)
        await self._stack.enter_async_context(self._waiting)
        return self

    async def __aexit__(self, *exc: Any) -> bool | None:
        self._waiting.cancel_scope.cancel()
        return await self._stack.__aexit__(*exc)

    async def status(self) -> schema.AccountPage:
        return schema.AccountPage(items=[*await self._drive.status(), *await self._smugmug.status()])

    async def start(self, provider: str, by_code: bool = False) -> schema.SignInStarted:
        if provider == google_oauth.PROVIDER:
            way: Provider = self._drive.installed_app
        elif provider == smugmug_oauth.PROVIDER:
            way = self._smugmug.sign_in
        else:
            raise NotFound(f"there is no {provider!r} to sign in to")
        url, flow_id = await self._flows.begin(way, by_code=by_code)
        self._waiting.start_soon(self._heed, flow_id)
        return schema.SignInStarted(url=url, flow_id=flow_id)

    async def finish(self, provider: str, answer: schema.SignInAnswer) -> schema.SignedIn:
        return self._done(await self._flows.finish(answer.flow_id, answer.code or answer.redirect_url or ""))

    async def wait(self, provider: str, flow_id: str) -> schema.SignedIn:
        return self._done(await self._flows.wait(flow_id))

    def _done(self, found: SignedIn) -> schema.SignedIn:
        return schema.SignedIn(provider=found.provider, account=found.account)

    async def _heed(self, flow_id: str) -> None:
        try:
            found = await self._flows.wait(flow_id)
        except Refused:
            return  # nobody signed in; whoever asked is told so
        access = self._smugmug if found.provider == smugmug_oauth.PROVIDER else self._drive
        access.accept(found.account)
        if (heed := self._on_signed_in.get(found.provider)) is not None:
            heed(found.account)
