"""The library over a real socket, and syncctl smugmug as people and scripts see it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from syncd.control import ctl, schema
from syncd.control.client import ApiError, ControlClient
from syncd.control.render import Look
from syncd.control.render_library import progress_words, status
from syncd.control.server import ControlServer
from tests.control.memory_api import MemoryApi, job
from tests.control.memory_library import AT, LIBRARY_CALLS, LIBRARY_COMMANDS
from tests.control.test_ctl import syncctl
from tests.control.test_routes import check, route_of


@pytest.mark.parametrize(("method", "target", "body", "code"), LIBRARY_CALLS)
async def test_call(ask: Any, method: str, target: str, body: Any, code: int) -> None:
    content = b"" if body is None else json.dumps(body).encode()
    answer = await ask(method, target, content, {"Content-Type": "application/json"} if content else None)
    assert answer.status == code, answer.body
    if code >= 400:
        assert answer.json()["detail"]
    if (path := route_of(method, target)) is not None:
        check(method, path, code, answer.headers["content-type"], answer.body)


async def test_client_speaks_every_route(client: ControlClient, api: MemoryApi) -> None:
    await client.sync_library()
    await client.sync_library(full=True)
    await client.sync_album("RM4BL2")
    assert api.library.asked == [False, True, "RM4BL2"]
    first = await client.albums(limit=1)
    assert first.next_cursor == "2GsRNZ"
    second = await client.albums(limit=1, cursor=first.next_cursor)
    assert [one.album_key for one in (*first.items, *second.items)] == ["2GsRNZ", "RM4BL2"]
    photos = await client.library_photos("1")
    assert [(one.scene_id, one.ai is None) for one in photos.items] == [("roll-1", False), (None, True)]
    assert await client.preview_library_photo("UQpV019", 80, 60, "rgb") == b'["UQpV019",80,60,"rgb"]'
    assert (await client.library_status()).albums_total == 2
    with pytest.raises(ApiError) as error:
        await client.library_photos("../a?b")
    assert error.value.status == 404


async def test_sync_before_anybody_signed_in(ask: Any, api: MemoryApi, server: ControlServer) -> None:
    api.library.signed_in = False
    answer = await ask("POST", "/api/smugmug/sync", b"{}", {"Content-Type": "application/json"})
    assert (answer.status, answer.json()["hint"]) == (409, "syncctl auth smugmug")
    asked = await syncctl("smugmug", "sync", server=server)
    assert asked.code == 1
    assert "syncctl auth smugmug" in asked.err


@pytest.mark.parametrize(("arguments", "shape"), LIBRARY_COMMANDS, ids=lambda value: str(value)[:40])
async def test_one_document_or_text_for_people(
    arguments: str, shape: Any, server: ControlServer, api: MemoryApi
) -> None:
    api.job_rows["library"] = job("library", "done")
    done = await syncctl(*arguments.split(), "--json", server=server)
    assert done.code == 0, done.err
    assert done.json() == json.loads(msgspec.json.encode(msgspec.json.decode(done.out, type=shape)))
    people = await syncctl(*arguments.split(), server=server)
    assert people.code == 0
    assert people.out.strip()
    assert not any((c < " " and c != "\n") or c == "\u202e" for c in people.out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("smugmug sync --full --album KEY", "exclude each other"),
        ("smugmug sync --album", "--album"),
        ("smugmug photos", "Missing argument"),
        ("smugmug photos KEY --limit 0", "0"),
        ("smugmug album", "Did you mean 'albums'?"),
    ],
)
def test_wrong_usage(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.run(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) <= 2


async def test_exit_codes_and_words(server: ControlServer, api: MemoryApi) -> None:
    for state, code in (("partial", 4), ("refused", 5), ("failed", 1), ("cancelled", 1)):
        api.job_rows["library"] = job("library", state)  # type: ignore[arg-type]
        done = await syncctl("smugmug", "sync", "--json", server=server)
        assert done.code == code
        assert (done.json()["state"], done.json()["job_id"]) == (state, "library")
    api.job_rows["library"] = msgspec.structs.replace(job("library"), error="SmugMug says 500")
    api.library.now = msgspec.structs.replace(api.library.now, errors=[])
    assert "SmugMug says 500" in (await syncctl("smugmug", "sync", server=server)).out
    unknown = await syncctl("smugmug", "photos", "none", server=server)
    assert unknown.code == 1
    assert "syncctl smugmug albums" in unknown.err
    lines = (await syncctl("smugmug", "albums", server=server)).out.splitlines()
    assert lines[0].split()[:3] == ["ALBUM", "TITLE", "PHOTOS"]
    assert "it is locked" in lines[2]
    api.library.rows.clear()
    assert "syncctl auth smugmug" in (await syncctl("smugmug", "albums", server=server)).out


def test_progress_is_told_in_words() -> None:
    now = schema.LibraryStatus(
        in_progress=True, last_sync=None, albums_total=120, albums_synced=12, photos_total=18543,
        photos_synced=1854, errors=[], state="running", full=True, rate=153.4, eta_s=108.6,
        reading=["Cup", "Gala"], resume_at=AT,
    )  # fmt: skip
    assert progress_words(now) == "12 of 120 albums, 153 photos/s, 1 min 49 s left"
    text = "\n".join(status(now, Look(None, False)))
    assert "running, every album: 12 of 120 albums" in text
    assert "1,854 of 18,543" in text
    assert "Cup, Gala" in text
    held = msgspec.structs.replace(now, state="refused", in_progress=False, errors=["65 photos are gone"])
    assert "syncctl guards" in status(held, Look(None, False))[-1]
