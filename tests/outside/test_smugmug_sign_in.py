"""Signing in to SmugMug from outside: a real daemon, syncctl, and a fake SmugMug on loopback."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator

import pytest
from anyio.from_thread import start_blocking_portal

from tests.fakes.smugmug import NICKNAME, FakeSmugmug, fake_smugmug
from tests.outside.installation import BIN, Daemon, Installation, wait_for


@pytest.fixture
def smug() -> Iterator[FakeSmugmug]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(fake_smugmug()) as running:
        yield running


def settings(smug: FakeSmugmug) -> dict[str, object]:
    return {
        "api_key": smug.api_key,
        "api_secret": smug.api_secret,
        "api_base_url": smug.base_url,
        "oauth_base_url": smug.base_url,
        "requests_per_second": 50,
    }


def sign_in(place: Installation, *options: str) -> str:
    """`syncctl auth smugmug` with a browser here or with a code from a pipe: what it says at last."""
    command = [BIN / "syncctl", "auth", "smugmug", "--socket", place.socket, *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        with urllib.request.urlopen(program.stdout.readline().strip()) as page:
            shown = page.read().decode()  # with a listener, the redirect to it has been followed
        if "--code" in options:
            program.stdin.write(shown.partition("<b>")[2].partition("</b>")[0] + "\n")
            program.stdin.close()
        else:
            assert f"Signed in as {NICKNAME}" in shown
        out = program.stdout.read()
        assert program.wait(15) == 0
    return out


def account(daemon: Daemon) -> dict[str, object]:
    (found,) = daemon.get("/api/auth/status")["items"]
    assert (found["provider"], found["expires_at"]) == ("smugmug", None)
    return dict(found)


def test_a_code_a_browser_a_revoked_sign_in_and_a_key_that_comes_later(
    place: Installation, smug: FakeSmugmug
) -> None:
    with place.daemon() as daemon:
        refused = place.ctl("auth", "smugmug", code=1)
        assert "no SmugMug API key" in refused.err and "api_key" in refused.err
        assert daemon.get("/api/auth/status") == {"items": []}
        place.configure(smugmug=settings(smug))
        place.ctl("config", "reload")
        waiting = account(daemon)
        assert (waiting["state"], waiting["hint"]) == ("needs_auth", "sign in: syncctl auth smugmug")

        assert sign_in(place, "--code") == f"Signed in to smugmug as {NICKNAME}\n"
        ready = wait_for(lambda: account(daemon) if account(daemon)["state"] == "ready" else None)
        assert (ready["account"], ready["scopes"]) == (NICKNAME, ["Access=Full", "Permissions=Modify"])
        assert NICKNAME in place.ctl("auth", "status").out
        assert sign_in(place) == f"Signed in to smugmug as {NICKNAME}\n"
        started = daemon.call("POST", "/api/auth/smugmug/start")
        answer = {"flow_id": started["flow_id"], "code": "000000"}
        wrong = daemon.call("POST", "/api/auth/smugmug/finish", answer, status=409)
        assert "syncctl auth smugmug" in wrong["hint"]

        wait_for(lambda: daemon.services()["smugmug"]["state"] == "running", what="the library is read")
        smug.revoke(NICKNAME)
        place.ctl("smugmug", "sync", code=1)
        wait_for(lambda: daemon.services()["smugmug"]["state"] == "needs_auth", what="it asks for a sign-in")
        assert account(daemon)["hint"] == "sign in again: syncctl auth smugmug"
        sign_in(place)
        wait_for(lambda: daemon.services()["smugmug"]["state"] == "running", what="it goes on by itself")
        place.ctl("smugmug", "sync")
        assert account(daemon)["state"] == "ready"
        said = json.dumps(daemon.get("/api/config")) + daemon.log
    kept = (place.state / "secrets.json").read_text()
    for token, found in smug.tokens.items():
        for secret in (token, found.secret, smug.api_secret, smug.api_key):
            assert secret not in said + kept
