"""Names of albums over a real socket, and syncctl names as people and scripts see it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from syncd.control import ctl, schema
from syncd.control.client import ApiError, ControlClient
from syncd.control.schema_names import moment_of
from syncd.control.server import ControlServer
from tests.control.memory_api import MemoryApi
from tests.control.memory_names import NAMES_COMMANDS, change
from tests.control.test_ctl import syncctl

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("15m", NOW - timedelta(minutes=15)),
        ("1h", NOW - timedelta(hours=1)),
        (" 2d ", NOW - timedelta(days=2)),
        ("0s", NOW),
        ("2026-11-21T12:00:00Z", NOW),
        ("2026-11-21t12:00:00.5z", NOW + timedelta(milliseconds=500)),
        ("2026-11-21T13:00:00+01:00", NOW),
        ("2026-11-21 12:00:00Z", NOW),
    ],
)
def test_since(text: str, moment: datetime) -> None:
    assert moment_of(text, NOW) == moment


@pytest.mark.parametrize(
    "text",
    ["", "1", "h", "1w", "-1h", "1.5h", "1h30m", "yesterday", "2026-11-21", "2026-11-21T12:00:00",
     "2026-13-01T00:00:00Z", "9" * 12 + "d", "999999999d", "٣h"],
)  # fmt: skip
def test_since_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="expected 90s, 15m, 1h, 2d or an RFC 3339 time"):
        moment_of(text, NOW)


async def test_client_and_daemon_understand_each_other(client: ControlClient, api: MemoryApi) -> None:
    plan = await client.names_plan(["aaa", "bbb"], 12.5)
    assert [item.action for item in plan.items] == ["rename", "keep"]
    assert api.names.asked[-1] == (["aaa", "bbb"], 12.5)
    report = await client.apply_names(schema.NamesApply(album_keys=["aaa"], changed_by="eva"))
    assert (report.renamed, report.kept) == (1, 0)
    assert (await client.names_log()).items[0].new_name == "A vs B - May 30"
    assert (await client.verify_names(["aaa"])).items[0].name == "A vs B - May 30"
    assert (await client.names_stats()).total_photos == 12345
    hint = await client.hint_name("aaa", schema.NameHintRequest(teams=["A", "B"]))
    assert hint.teams == ["A", "B"]
    with pytest.raises(ApiError) as error:
        await client.hint_name("../a?b", schema.NameHintRequest(event="E"))
    assert error.value.status == 404
    assert "'../a?b'" in str(error.value)


@pytest.mark.parametrize(("arguments", "shape"), NAMES_COMMANDS, ids=lambda value: str(value)[:40])
async def test_one_document_or_text_for_people(arguments: str, shape: Any, server: ControlServer) -> None:
    done = await syncctl(*arguments.split(), "--json", server=server)
    assert done.code == 0, done.err
    assert done.json() == json.loads(msgspec.json.encode(msgspec.json.decode(done.out, type=shape)))
    people = await syncctl(*arguments.split(), server=server)
    assert people.code == 0
    assert people.out.strip()
    assert not any(c < " " and c != "\n" for c in people.out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("names rollback", "--since TIME"),
        ("names rollback --since 1h --change 1", "--since TIME"),
        ("names rollback --since yesterday", "90s, 15m, 1h, 2d"),
        ("names rollback --change one", "one"),
        ("names rollback --change 0", "0"),
        ("names apply --threshold 101", "101"),
        ("names hint aaa", "--teams"),
        ("names hint aaa --clear --event E", "--clear alone"),
        ("names hint --event E", "Missing argument"),
        ("names aply", "Did you mean 'apply'?"),
    ],
)
def test_wrong_usage(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.run(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) <= 2


async def test_exit_codes_and_words(server: ControlServer, api: MemoryApi) -> None:
    verified = await syncctl("names", "verify", server=server)
    assert verified.code == 0
    assert verified.out.splitlines()[0] == "2 albums, 2,468 photos"
    assert verified.out.splitlines()[-1] == "Synced: 2/2"
    assert "Gala\\x1b[2J - May 30" in verified.out

    api.names.out_of_sync["aaa"] = "the mirror calls it 'Old'"
    verified = await syncctl("names", "verify", server=server)
    assert verified.code == 4
    assert "the mirror calls it 'Old'" in verified.out
    assert verified.out.splitlines()[-1] == "Synced: 1/2"

    api.names.mirror = False
    api.names.alerts = ["101 photos have no album key"]
    assert "There is no mirror" in (await syncctl("names", "verify", server=server)).out
    shown = await syncctl("names", "stats", server=server)
    assert shown.code == 0
    assert "There is no mirror" in shown.out
    assert "101 photos have no album key" in shown.out

    assert (await syncctl("names", "log", server=server)).out == "No name was changed yet.\n"
    api.names.behind = [schema.AlbumReason(album_key="aaa", reason="Postgres is down")]
    applied = await syncctl("names", "apply", server=server)
    assert applied.code == 4
    assert "1 album renamed, 1 kept" in applied.out
    assert "aaa: Postgres is down" in applied.out
    api.names.behind = []
    api.names.failed = [schema.AlbumReason(album_key="aaa", reason="it is called X now")]
    restored = await syncctl("names", "rollback", "--since", "1h", server=server)
    assert restored.code == 4
    assert "aaa: it is called X now" in restored.out
    api.names.changes.append(change(2, "a", "b", state="failed", error="gone", mirrored=None))
    log = (await syncctl("names", "log", server=server)).out
    assert "! failed" in log
    assert "gone" in log

    refused = await syncctl("names", "apply", "--album", "signed-out", server=server)
    assert refused.code == 1
    assert "syncctl auth smugmug" in refused.err
