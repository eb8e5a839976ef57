"""Every Google account that syncd may act for: the service account, and whoever signed in."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

import anyio
from anyio import to_thread

from syncd.config import DriveConfig
from syncd.errors import AuthRejected
from syncd.remotes.bearer import BearerTokens
from syncd.remotes.google_drive import GoogleDrive
from syncd.remotes.google_oauth import (
    PROVIDER,
    SCOPE,
    InstalledApp,
    ServiceTokens,
    TokenEndpoint,
    UserTokens,
    read_service_account,
)
from syncd.remotes.tokens import TokenStore

READY: Final = "ready"
NEEDS_AUTH: Final = "needs_auth"


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """One account as people see it. `state` is `ready` or `needs_auth`; `expires_at` is when the access
    token at hand ends (RFC 3339), None when there is none: it is renewed when it is needed."""

    provider: str
    account: str
    state: str
    scopes: tuple[str, ...]
    expires_at: str | None
    hint: str | None


class GoogleAccounts:
    """The accounts, and one paced client for each, made when it is first asked for. A context manager."""

    def __init__(self, config: DriveConfig, store: TokenStore, **client: Any) -> None:
        self._config = config
        self._store = store
        self._client = client
        self._endpoint = TokenEndpoint(config, **client)
        self._tokens: dict[str, BearerTokens] = {}
        self._drives: dict[str, GoogleDrive] = {}
        self._service_trouble: AuthRejected | None = None
        self._opening = anyio.Lock()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._endpoint)
        if self._config.service_account_file:
            try:
                key = await to_thread.run_sync(read_service_account, self._config)
                tokens = ServiceTokens(key, self._endpoint)
                self._tokens[tokens.account] = tokens
            except AuthRejected as error:
                self._service_trouble = error
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @property
    def installed_app(self) -> InstalledApp:
        """What `SignIns.begin` needs to sign somebody in."""
        return InstalledApp(self._config, self._endpoint, **self._client)

    @property
    def unusable(self) -> AuthRejected | None:
        """What is wrong with the key of the service account; None where it is right, or there is none."""
        return self._service_trouble

    async def names(self) -> list[str]:
        """The accounts, the service account first. A sign-in shows at once."""
        service = [name for name, tokens in self._tokens.items() if isinstance(tokens, ServiceTokens)]
        people = await self._store.accounts(PROVIDER)
        return service + [name for name in people if name not in service]

    async def drive(self, account: str) -> GoogleDrive:
        """The client of an account; the same one every time, so that all share its pace."""
        async with self._opening:  # two who ask at once get the same
            if account not in self._drives:
                client = GoogleDrive(self._config, self.tokens(account), **self._client)
                self._drives[account] = await self._stack.enter_async_context(client)
            return self._drives[account]

    def tokens(self, account: str) -> BearerTokens:
        """The access tokens of an account, signed in or not."""
        if account not in self._tokens:
            self._tokens[account] = UserTokens(account, self._config, self._store, self._endpoint)
        return self._tokens[account]

    def accept(self, account: str) -> None:
        """A person signed in, or says that nothing stands in the way any more: it is asked again."""
        self.tokens(account).forget_rejection()
        if account in self._drives:
            self._drives[account].pacer.release()

    async def status(self) -> list[AccountStatus]:
        """Every account with what a person must do about it. Asks nobody."""
        found = [self._status(name, self.tokens(name)) for name in await self.names()]
        if (trouble := self._service_trouble) is not None:
            name = self._config.service_account_file
            hint = f"{trouble.message}: {trouble.hint}"
            found.insert(0, AccountStatus(PROVIDER, name, NEEDS_AUTH, (), None, hint))
        return found

    def _status(self, name: str, tokens: BearerTokens) -> AccountStatus:
        rejection, until = tokens.rejection, tokens.expires_at
        return AccountStatus(
            PROVIDER,
            name,
            NEEDS_AUTH if rejection else READY,
            (SCOPE,),
            datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if until else None,
            rejection.hint or rejection.message if rejection else None,
        )
