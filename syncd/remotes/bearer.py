"""Access tokens of one account: kept while they last, renewed early, and by one task at a time."""

from __future__ import annotations

import abc
import copy
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import anyio

from syncd.errors import AuthRejected, SyncdError, Transient
from syncd.log import forget_secret, register_secret
from syncd.remotes.http import Request

EARLY_S: Final = 225.0
"""Renewed this long before the end, as google-auth does; short-lived ones at half their life."""

RENEWAL_S: Final = 25.0
TOKENS_REMEMBERED: Final = 3


@dataclass(frozen=True, slots=True)
class AccessToken:
    """`expires_at` and `renew_at` are Unix times in seconds."""

    value: str = field(repr=False)
    expires_at: float
    renew_at: float

    @classmethod
    def lasting(cls, value: str, life_s: float, now: float) -> AccessToken:
        return cls(value, now + life_s, now + life_s - min(EARLY_S, life_s / 2))


class _Flight:
    """One renewal under way, and how it ended: neither `token` nor `error` when its task was cancelled."""

    def __init__(self) -> None:
        self.landed = anyio.Event()
        self.error: SyncdError | None = None


class BearerTokens(abc.ABC):
    """An Authoriser with `Authorization: Bearer …`. `rejection` is the last AuthRejected while it stands."""

    def __init__(self, account: str, *, clock: Callable[[], float] = time.time) -> None:
        self.account = account
        self.rejection: AuthRejected | None = None
        self._clock = clock
        self._token: AccessToken | None = None
        self._turned_down = ""
        self._flight: _Flight | None = None
        self._known: deque[str] = deque()

    @property
    def expires_at(self) -> float | None:
        """When the access token at hand ends, Unix time in seconds."""
        return self._token.expires_at if self._token else None

    def forget_rejection(self) -> None:
        """Somebody signed in anew, or wants it tried again: what was said before holds no more."""
        self.rejection = None

    async def authorise(self, request: Request) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {await self.access_token()}"}

    async def rejected(self, headers: Mapping[str, str]) -> bool:
        """Lets go of the token that was refused, unless it has been replaced meanwhile."""
        used = headers.get("Authorization", "").removeprefix("Bearer ")
        if self._token is not None and self._token.value == used:
            self._token, self._turned_down = None, used
        return True

    async def access_token(self) -> str:
        """A token with some life left. Whoever comes first renews it, the others wait for that and share
        what comes of it. Raises AuthRejected, Transient."""
        while True:
            if self._token is not None and self._clock() < self._token.renew_at:
                return self._token.value
            if self._flight is None:
                return await self._renew()
            flight = self._flight
            await flight.landed.wait()
            if flight.error is not None:
                raise copy.copy(flight.error)

    async def _renew(self) -> str:
        flight = self._flight = _Flight()
        try:
            # A renewal that the other side has carried out must be kept, whoever is cancelled here.
            with anyio.move_on_after(RENEWAL_S, shield=True):
                token = self._token = await self._fresh(self._turned_down)
                self._remember(token.value)
                self.rejection = None
                return token.value
            raise Transient(f"the sign-in of {self.account} was not renewed in time")
        except AuthRejected as error:
            self._token, self.rejection, flight.error = None, error, error
            raise
        except SyncdError as error:
            flight.error = error
            raise
        finally:
            self._flight = None
            flight.landed.set()

    @abc.abstractmethod
    async def _fresh(self, turned_down: str) -> AccessToken:
        """A token that is not `turned_down`, stored where it is to be stored."""

    def _remember(self, value: str) -> None:
        """Keeps the token out of logs, and the list of what to keep out short."""
        if value in self._known:
            return
        register_secret(value)
        self._known.append(value)
        if len(self._known) > TOKENS_REMEMBERED:
            forget_secret(self._known.popleft())
