"""Tokens at rest: sealed, bound to their account, replaced by generation, never lost."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.errors import AuthRejected, ExitCode, Fatal
from syncd.remotes.keys import KEY_FILE, load_keys
from syncd.remotes.tokens import FILE, StaleGeneration, TokenStore

SECRET = "1//canary-refresh-token"
VALUES = {"refresh_token": SECRET, "access_token": "ya29.canary"}


def rows(state_dir: Path) -> Any:
    return json.loads((state_dir / FILE).read_text())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_what_is_stored_is_read_back_and_unreadable_on_disk(store: TokenStore, state_dir: Path) -> None:
    assert await store.load("drive", "a@example.com") is None
    saved = await store.save("drive", "a@example.com", VALUES, expected_generation=0)
    loaded = await store.load("drive", "a@example.com")
    assert loaded == saved and loaded.values == VALUES and loaded.generation == 1
    assert await store.accounts("drive") == ["a@example.com"]
    assert await store.accounts("smugmug") == []
    for path in state_dir.iterdir():
        assert b"canary" not in path.read_bytes()
        assert mode(path) == 0o600
    assert "canary" not in repr(loaded)
    assert {path.name for path in state_dir.iterdir()} == {FILE, f"{FILE}.lock", KEY_FILE}


async def test_each_sealing_has_a_nonce_of_its_own(store: TokenStore, state_dir: Path) -> None:
    seen = set()
    for _ in range(50):
        await store.save("drive", "a", VALUES, expected_generation=None)
        for blob in rows(state_dir)["accounts"][0]["values"].values():
            seen.add(base64.b64decode(blob)[1:13])
    assert len(seen) == 100


async def test_a_restart_opens_what_was_sealed(store: TokenStore, state_dir: Path) -> None:
    await store.save("drive", "a", VALUES, expected_generation=0)
    again = await TokenStore.open(state_dir)
    loaded = await again.load("drive", "a")
    assert loaded is not None and loaded.values == VALUES


@pytest.mark.parametrize(
    "to", [("drive", "b", "refresh_token"), ("smugmug", "a", "refresh_token"), ("drive", "a", "access_token")]
)
async def test_a_blob_moved_elsewhere_is_refused(
    store: TokenStore, state_dir: Path, to: tuple[str, str, str]
) -> None:
    for provider, account in (("drive", "a"), ("drive", "b"), ("smugmug", "a")):
        await store.save(provider, account, VALUES, expected_generation=0)
    found = rows(state_dir)
    named = {(row["provider"], row["account"]): row["values"] for row in found["accounts"]}
    named[to[:2]][to[2]] = named["drive", "a"]["refresh_token"]
    (state_dir / FILE).write_text(json.dumps(found))
    with pytest.raises(AuthRejected, match="cannot be opened") as caught:
        await store.load(*to[:2])
    assert caught.value.hint is not None and f"syncctl auth {to[0]}" in caught.value.hint
    assert len(await store.accounts("drive")) == 2


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_flipped_bit_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    async def run() -> None:
        state_dir = tmp_path_factory.mktemp("state")
        store = TokenStore(state_dir, (bytes(32),))
        await store.save("drive", "a", {"refresh_token": SECRET}, expected_generation=0)
        found = rows(state_dir)
        blob = bytearray(base64.b64decode(found["accounts"][0]["values"]["refresh_token"]))
        bit = data.draw(st.integers(0, len(blob) * 8 - 1))
        blob[bit // 8] ^= 1 << bit % 8
        keep = data.draw(st.integers(0, len(blob)))
        found["accounts"][0]["values"]["refresh_token"] = base64.b64encode(blob[:keep] or blob).decode()
        (state_dir / FILE).write_text(json.dumps(found))
        with pytest.raises(AuthRejected):
            await store.load("drive", "a")

    anyio.run(run)


async def test_only_the_newest_generation_is_replaced(store: TokenStore) -> None:
    await store.save("drive", "a", VALUES, expected_generation=0)
    await store.save("drive", "a", {"refresh_token": "newer"}, expected_generation=1)
    for stale in (0, 1, 3):
        with pytest.raises(StaleGeneration):
            await store.save("drive", "a", VALUES, expected_generation=stale)
    loaded = await store.load("drive", "a")
    assert loaded is not None and (loaded.generation, loaded.values) == (2, {"refresh_token": "newer"})
    assert (await store.save("drive", "a", VALUES, expected_generation=None)).generation == 3


async def test_of_many_at_once_one_wins_a_generation(state_dir: Path, store: TokenStore) -> None:
    stores = [store, await TokenStore.open(state_dir)]
    won = []

    def race(n: int) -> None:
        async def run() -> None:
            try:
                await stores[n % 2].save("drive", "a", {"refresh_token": f"{n:04}"}, expected_generation=0)
                won.append(f"{n:04}")
            except StaleGeneration:
                pass

        anyio.run(run)

    threads = [threading.Thread(target=race, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await anyio.to_thread.run_sync(thread.join)
    loaded = await store.load("drive", "a")
    assert loaded is not None and [loaded.values["refresh_token"]] == won


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"accounts": 5}', '{"accounts": [{}]}', '{"accounts": ["x"]}', "null"]
)
async def test_a_damaged_file_is_left_alone(store: TokenStore, state_dir: Path, content: str) -> None:
    (state_dir / FILE).write_text(content)
    (state_dir / FILE).chmod(0o600)
    with pytest.raises(AuthRejected, match="is damaged"):
        await store.load("drive", "a")
    with pytest.raises(AuthRejected, match="is damaged"):
        await store.save("drive", "a", VALUES, expected_generation=None)
    assert (state_dir / FILE).read_text() == content


async def test_a_write_that_fails_keeps_the_old(
    store: TokenStore, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.save("drive", "a", VALUES, expected_generation=0)
    before = (state_dir / FILE).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Exception, match="No space left"):
        await store.save("drive", "a", {"refresh_token": "new"}, expected_generation=1)
    assert (state_dir / FILE).read_bytes() == before
    monkeypatch.undo()
    assert (await store.save("drive", "a", VALUES, expected_generation=1)).generation == 2


async def test_account_names_cannot_be_confused(store: TokenStore) -> None:
    await store.save("drive", "a|b", {"x": "1"}, expected_generation=0)
    await store.save("drive", "a", {"x": "2"}, expected_generation=0)
    with pytest.raises(ValueError, match="plain words"):
        await store.save("drive", "a", {"b|x": "3"}, expected_generation=None)
    loaded = await store.load("drive", "a|b")
    assert loaded is not None and loaded.values == {"x": "1"}


# --- the key ----------------------------------------------------------------------------------------


def test_the_key_file_is_made_once_and_private(state_dir: Path) -> None:
    before = os.umask(0)
    try:
        made = load_keys(state_dir)
    finally:
        os.umask(before)
    assert load_keys(state_dir) == made and len(made) == 1 and len(made[0]) == 32
    assert mode(state_dir / KEY_FILE) == 0o600
    assert [path.name for path in state_dir.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize("trouble", ["mode", "short", "link", "dangling", "folder", "fifo", "owner"])
def test_a_key_file_that_cannot_be_trusted_is_refused(state_dir: Path, tmp_path: Path, trouble: str) -> None:
    path = state_dir / KEY_FILE
    key = os.urandom(32)
    if trouble == "folder":
        path.mkdir()
    elif trouble == "fifo":
        os.mkfifo(path, 0o600)
    elif trouble in ("link", "dangling"):
        if trouble == "link":
            (tmp_path / "real").write_bytes(key)
            (tmp_path / "real").chmod(0o600)
        path.symlink_to(tmp_path / "real")
    else:
        path.write_bytes(key[:5] if trouble == "short" else key)
        path.chmod(0o640 if trouble == "mode" else 0o600)
        if trouble == "owner":
            if os.geteuid() != 0:
                pytest.skip("needs root to give a file away")
            os.chown(path, 12345, -1)
    with pytest.raises(Fatal, match="cannot be trusted") as caught:
        load_keys(state_dir)
    assert caught.value.exit_code == ExitCode.CONFIG
    assert path.is_symlink() or path.exists()


@pytest.mark.parametrize("form", [bytes, bytes.hex, lambda key: base64.b64encode(key).decode() + "\n"])
async def test_a_systemd_credential_is_the_key(state_dir: Path, tmp_path: Path, form: Any) -> None:
    key = os.urandom(32)
    written = form(key)
    credential = tmp_path / "token-kek"
    credential.write_bytes(written if isinstance(written, bytes) else written.encode())
    credential.chmod(0o440)  # how systemd shows one that an access list guards
    assert load_keys(state_dir, tmp_path) == (key,)
    assert list(state_dir.iterdir()) == []


async def test_what_the_file_sealed_stays_open_once_a_credential_is_there(
    store: TokenStore, state_dir: Path, tmp_path: Path
) -> None:
    await store.save("drive", "a", VALUES, expected_generation=0)
    (tmp_path / "token-kek").write_bytes(os.urandom(32))
    (tmp_path / "token-kek").chmod(0o400)
    moved = await TokenStore.open(state_dir, tmp_path)
    loaded = await moved.load("drive", "a")
    assert loaded is not None and loaded.values == VALUES
    await moved.save("drive", "a", VALUES, expected_generation=1)
    with pytest.raises(AuthRejected, match="of another key"):
        await store.load("drive", "a")
    with pytest.raises(AuthRejected):  # and the row is still there for whoever has the key
        await store.load("drive", "a")
    assert (await moved.load("drive", "a")) is not None


def test_a_bad_credential_is_not_replaced_by_a_file(state_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "token-kek").write_text("password")
    (tmp_path / "token-kek").chmod(0o400)
    with pytest.raises(Fatal):
        load_keys(state_dir, tmp_path)
    (tmp_path / "token-kek").write_bytes(bytes(32))
    (tmp_path / "token-kek").chmod(0o444)
    with pytest.raises(Fatal, match="others may open it"):
        load_keys(state_dir, tmp_path)
    assert list(state_dir.iterdir()) == []


def test_the_parts_import_nothing_heavy() -> None:
    code = """
import sys
import syncd.remotes.google_accounts, syncd.remotes.oauth, syncd.remotes.tokens
heavy = {"aiohttp", "cryptography", "authlib", "structlog", "yarl", "msgspec", "PIL"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=15)
