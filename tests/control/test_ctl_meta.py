"""syncctl meta against a server on a real socket."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import anyio
import msgspec
import pytest

from syncd.control import ctl, schema
from syncd.control.metadata_files import FIELDS
from syncd.control.server import ControlServer
from tests.control.memory_api import MemoryApi
from tests.control.memory_metadata import METADATA_COMMANDS, metadata
from tests.control.test_ctl import on_terminal


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(server: ControlServer, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """`await run(*words)`: the command in this process."""

    async def called(*words: str) -> Ended:
        code = await anyio.to_thread.run_sync(ctl.run, [*words, "--socket", str(server.socket_path)])
        return Ended(code, *capsys.readouterr())

    return called


@pytest.mark.parametrize(("arguments", "shape"), METADATA_COMMANDS, ids=lambda value: str(value)[:40])
async def test_one_document_or_text_for_people(arguments: str, shape: Any, run: Callable[..., Any]) -> None:
    done = await run(*arguments.split(), "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == json.loads(msgspec.json.encode(msgspec.json.decode(done.out, type=shape)))
    people = await run(*arguments.split())
    assert people.code == 0
    assert people.out.strip()
    assert "\x1b" not in people.out or "export" in arguments  # a file keeps what there is


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("meta edit 1 --by eva --reason wrong", "Nothing to change"),
        ("meta edit 1 --tags a", "--by"),
        ("meta edit 1 --tags a --by eva", "--reason"),
        ("meta edit one --tags a --by eva --reason b", "one"),
        ("meta edit 1 --description  --by eva --reason b", "blanks"),
        ("meta approve", "--all"),
        ("meta approve 1 --all", "--all"),
        ("meta approve 1 --q goal", "--q"),
        ("meta approve --all --min-confidence 2", "2"),
        ("meta list --status lost", "lost"),
        ("meta export --format xml", "xml"),
        ("meta reject", "syncctl meta list"),
        ("meta search", "Missing argument"),
        ("meta serach x", "Did you mean 'search'?"),
    ],
)
def test_wrong_usage(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.run(arguments.split(" ")) == 2
    out, err = capsys.readouterr()
    assert (out, said in err) == ("", True), err


async def test_review_from_the_list_to_the_history(run: Callable[..., Any], api: MemoryApi) -> None:
    api.metadata.rows[3] = metadata(
        3, status="failed", description="", tags=[], error="prose\x07", attempts=3
    )
    lines = (await run("meta", "list")).out.splitlines()
    assert lines[0].split() == ["ID", "FILE", "STATUS", "SURE", "DESCRIPTION", "TAGS", "ALBUMS"]
    assert "A goal\\x1b[2J" in lines[1]
    assert "75%" in lines[1]
    assert "! failed" in lines[3]
    assert "prose\\x07" in lines[3]
    edited = await run("meta", "edit", "1", "--tags", "red, rain ,", "--by", "eva", "--reason", "it rains")
    assert "red, rain" in edited.out
    assert api.metadata.rows[1].tags == ["red", "rain"]
    shown = (await run("meta", "show", "1")).out
    assert "by eva: it rains" in shown
    assert "  tags - goal, cup\n       + red, rain\n" in shown
    rejected = await run("meta", "reject", "1", "2", "--by", "eva", "--reason", "private")
    assert rejected.out.count("✗ rejected") == 2
    missing = await run("meta", "show", "99")
    assert (missing.code, missing.out) == (1, "")
    assert "syncctl meta list" in missing.err


async def test_approving(server: ControlServer, run: Callable[..., Any], api: MemoryApi) -> None:
    api.metadata.rows[3] = metadata(3, status="pending")
    some = await run("meta", "approve", "1", "3", "--by", "eva")
    assert some.code == 4
    assert "1 description approved\n  3 not: pending" in some.out
    code, shown = await on_terminal(
        "meta", "approve", "--all", "--album", "abc", server=server, answer=b"n\n", after=b"?"
    )
    assert (code, b"Approve 1 description?" in shown) == (5, True)
    await run("meta", "approve", "--all", "--min-confidence", "0.5", "--by", "eva")
    wanted = schema.MetadataApproval(status="review", min_confidence=0.5, approved_by="eva")
    assert api.metadata.asked[-1] == wanted


async def test_exports_are_whole_files(run: Callable[..., Any], api: MemoryApi) -> None:
    api.metadata.rows = {number: metadata(number, description=f"=cmd|{number}") for number in range(1, 1203)}
    done = await run("meta", "export", "--format", "csv", "--status", "review")
    rows = list(csv.DictReader(io.StringIO(done.out, newline="")))
    assert (len(rows), rows[-1]["id"], rows[0]["description"]) == (1202, "1202", "=cmd|1")
    assert api.metadata.asked[-1][0] == "review"
    document = json.loads((await run("meta", "export", "--format", "json")).out)
    assert [list(row) for row in document["items"][:1]] == [list(FIELDS)]
    assert len(document["items"]) == 1202


async def test_search_says_what_is_missing(run: Callable[..., Any], api: MemoryApi) -> None:
    found = await run("meta", "search", "a", "goal", "--limit", "1")
    assert api.metadata.asked[-1] == schema.MetadataQuery(text="a goal", limit=1)
    assert "0.250" in found.out
    refused = await run("meta", "search", "no", "model")
    assert refused.code == 1
    assert "hint: set embedding_model" in refused.err
