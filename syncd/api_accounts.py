"""Accounts elsewhere: clients in their names under the settings in force, and signing in to them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Self

import anyio
import msgspec

from syncd.config import Config
from syncd.control import schema
from syncd.control.api import NotFound
from syncd.errors import Refused
from syncd.remotes.google_accounts import GoogleAccounts
from syncd.remotes.google_drive import GoogleDrive
from syncd.remotes.google_oauth import PROVIDER, InstalledApp
from syncd.remotes.oauth import SignedIn, SignIns
from syncd.remotes.smugmug import SmugMug
from syncd.remotes.tokens import TokenStore


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

    def accept(self, account: str) -> None:
        """Somebody signed in anew: what was said of the sign-in before holds no more."""
        self._accounts.tokens(account).rejection = None


class SmugmugAccess:
    """The SmugMug account under the settings in force. A context manager."""

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

    async def account(self) -> str | None:
        """The nickname of whoever signed in, None before that."""
        raise NotImplementedError

    async def client(self) -> SmugMug:
        """The client of the account; the same one every time, so that all share its pace. Raises AuthRejected
        with the next step before somebody signed in."""
        raise NotImplementedError

    async def status(self) -> list[schema.Account]:
        """The account with what a person must do about it; none where SmugMug is not set up. Asks nobody."""
        raise NotImplementedError

    def accept(self, account: str) -> None:
        """Somebody signed in anew: what was said of the sign-in before holds no more."""
        raise NotImplementedError


class AccountsAnswers:
    """Implements `AccountsApi` of control/api.py. `on_signed_in` hears of every account that somebody signed
    in to, in a browser of this machine or by a pasted answer. A context manager."""

    def __init__(self, store: TokenStore, drive: DriveAccess, on_signed_in: Callable[[str], None]) -> None:
        self._drive = drive
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
        return schema.AccountPage(items=await self._drive.status())

    async def start(self, provider: str) -> schema.SignInStarted:
        if provider != PROVIDER:
            raise NotFound(f"there is no {provider!r} to sign in to")
        url, flow_id = await self._flows.begin(self._drive.installed_app)
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
        self._drive.accept(found.account)
        self._on_signed_in(found.account)
