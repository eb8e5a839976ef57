"""syncctl events, faces and auth as a program of its own against a server on a real socket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from syncd.control import ctl, ctl_auth, schema
from syncd.control.client import ControlClient
from syncd.control.server import ControlServer
from syncd.errors import Refused
from tests.control.memory_api import MemoryApi
from tests.control.memory_events import CODE, EVENT_COMMANDS, event
from tests.control.test_ctl import ENVIRON, on_terminal, syncctl


@pytest.mark.parametrize(("arguments", "shape"), EVENT_COMMANDS, ids=lambda value: str(value)[:40])
async def test_one_document_or_text_for_people(arguments: str, shape: Any, server: ControlServer) -> None:
    words = arguments.split()
    done = await syncctl(*words, "--json", server=server, given=CODE.encode())
    assert done.code == 0, done.err
    assert done.json() == json.loads(msgspec.json.encode(msgspec.json.decode(done.out, type=shape)))
    if words[1] == "remove":
        return
    people = await syncctl(*words, server=server, given=CODE.encode())
    assert people.code == 0
    assert people.out.strip()
    assert not any(c < " " and c != "\n" for c in people.out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("events add Gala", "--folder"),
        ("events add --folder f", "Missing argument"),
        ("events enable", "Missing argument"),
        ("events enable wedding --interval 0.4", "0.4"),
        ("events enable wedding --interval soon", "soon"),
        ("events enabel wedding", "Did you mean 'enable'?"),
        ("faces search /nonexistent.jpg --event wedding", "/nonexistent.jpg"),
        ("faces search /dev/null", "--event"),
        ("faces search /dev/null --event e --tolerance 3", "3"),
        ("auth smugmgu", "No such command"),
    ],
)
def test_wrong_usage(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.run(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) <= 2


async def test_list_is_a_table_with_escaped_names(server: ControlServer, api: MemoryApi) -> None:
    failed = [schema.PhotoReason(photo_id="1", photo_name="a\x1b[2J.jpg", reason="truncated")]
    api.events.rows["gala"] = event("gala", enabled=True, state="quota", failed=failed, last_error="used up")
    lines = (await syncctl("events", "list", server=server)).out.splitlines()
    assert lines[0].split()[:3] == ["EVENT", "NAME", "STATE"]
    assert "Wedding\\x1b[2J" in lines[1]
    assert "1,234" in lines[1]
    assert "‖ quota" in lines[2]
    assert "used up" in lines[2]
    shown = (await syncctl("events", "show", "gala", server=server)).out
    assert "1 failed\n  a\\x1b[2J.jpg: truncated" in shown
    api.events.rows.clear()
    assert "syncctl events add" in (await syncctl("events", "list", server=server)).out


async def test_what_was_asked_for_arrives(server: ControlServer, api: MemoryApi, tmp_path: Path) -> None:
    folder = "https://drive.google.com/drive/folders/1AbC?usp=sharing"
    added = await syncctl("events", "add", "Gala", "--folder", folder, "--publish", server=server)
    assert added.code == 0
    assert "syncctl events enable gala" in added.out
    made = api.events.rows["gala"]
    assert (made.drive_folder_id, made.publish) == (folder, True)
    enabled = await syncctl("events", "enable", "gala", "--interval", "0.5", server=server)
    assert enabled.out == "Auto-sync enabled, every 0.5 min\n"
    assert (await syncctl("events", "disable", "gala", server=server)).out == "Auto-sync disabled\n"
    (tmp_path / "a.jpg").write_bytes(b"picture")
    found = await syncctl("faces", "search", str(tmp_path / "a.jpg"), "--event", "gala", server=server)
    assert found.out.splitlines()[0] == "2 faces in the picture, 3 photos found"
    assert "a\\x1b.jpg" in found.out
    assert api.events.pictures == [b"picture"]


async def test_errors_are_two_lines(server: ControlServer) -> None:
    missing = await syncctl("events", "show", "none", server=server)
    assert (missing.code, missing.out) == (1, "")
    assert missing.err == "syncctl: there is no event 'none'\nhint: `syncctl events list` shows them\n"
    blind = await syncctl("faces", "search", "-", "--event", "wedding", server=server, given=b"landscape")
    assert blind.code == 1
    assert blind.err.splitlines()[1] == "hint: take one where the face is larger"
    nobody = await syncctl("events", "list", "--socket", "/nonexistent.sock")
    assert nobody.code == 3


@pytest.mark.parametrize("command", ["events remove wedding", "faces forget - --event wedding"])
async def test_a_script_is_not_asked(command: str, server: ControlServer, api: MemoryApi) -> None:
    done = await syncctl(*command.split(), server=server, given=b"face")
    assert done.code == 0
    assert "wedding" not in api.events.rows or api.events.forgotten


@pytest.mark.parametrize("source", ["-", "/dev/zero"])
async def test_a_picture_without_end_is_not_read(source: str, server: ControlServer) -> None:
    given = bytes((64 << 20) + 1) if source == "-" else b""
    for command in (["faces", "search", source, "--event", "wedding"], ["similar", source]):
        refused = await syncctl(*command, server=server, given=given)
        assert (refused.code, "larger than 64 MiB" in refused.err) == (1, True)


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 1)])
async def test_remove_on_a_terminal(answer: bytes, code: int, server: ControlServer, api: MemoryApi) -> None:
    ended, shown = await on_terminal(
        "events", "remove", "wedding", server=server, answer=answer, after=b"[y/N]"
    )
    assert ended == code
    assert b"1,234 photos and 5,678 faces" in shown
    assert ("wedding" in api.events.rows) == (code == 1)


async def test_sync_that_is_waited_for(server: ControlServer, api: MemoryApi) -> None:
    for state, code in (("done", 0), ("partial", 4), ("failed", 1)):
        api.job_rows["j9"] = msgspec.structs.replace(api.job_rows["j1"], id="j9", state=state)
        done = await syncctl("events", "sync", "wedding", "--wait", "--json", server=server)
        assert (done.code, done.json()["state"]) == (code, state)


# --- signing in -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pasted", "answer"),
    [
        (f"{CODE}\n", {"code": CODE}),
        (f"  {CODE}  ", {"code": CODE}),
        (
            f"\nhttp://127.0.0.1:1/?code={CODE}&state=s\n",
            {"redirect_url": f"http://127.0.0.1:1/?code={CODE}&state=s"},
        ),
    ],
)
async def test_answer_through_a_pipe(
    pasted: str, answer: dict[str, str], server: ControlServer, api: MemoryApi
) -> None:
    done = await syncctl("auth", "drive", server=server, given=pasted.encode())
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "https://accounts.example/auth?a=1&b=2",
        "Signed in to drive as me@example.com",
    ]
    (given,) = api.accounts.answers
    assert given == schema.SignInAnswer(flow_id="flow", **answer)


async def test_answer_from_a_file(server: ControlServer, tmp_path: Path) -> None:
    (tmp_path / "code").write_text(CODE)
    command = [sys.executable, "-m", "syncd.control.ctl", "auth", "drive", "--json"]
    with (tmp_path / "code").open() as stdin:
        done = await anyio.run_process(
            [*command, "--socket", str(server.socket_path)], stdin=stdin, env=ENVIRON, check=False
        )
    assert done.returncode == 0
    assert b'"me@example.com"' in done.stdout


async def test_wrong_code(server: ControlServer) -> None:
    done = await syncctl("auth", "drive", "--json", server=server, given=b"nonsense\n")
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("syncctl: Google's sign-in says invalid_grant\n")


@pytest.mark.parametrize("given", [subprocess.DEVNULL, subprocess.PIPE])
async def test_browser_is_enough(given: int, server: ControlServer, api: MemoryApi) -> None:
    command = [sys.executable, "-m", "syncd.control.ctl", "auth", "drive", "--json"]
    async with await anyio.open_process(
        [*command, "--socket", str(server.socket_path)], stdin=given, env=ENVIRON
    ) as process:
        with anyio.fail_after(15):
            assert process.stderr is not None
            shown = b""
            while b"https://" not in shown:
                shown += await process.stderr.receive()
            api.accounts.in_browser.set()
            assert process.stdout is not None
            received = b"".join([chunk async for chunk in process.stdout])
            assert await process.wait() == 0
    assert b"browser@example.com" in received


@pytest.mark.parametrize("given", [b"", b"\n  \n", None])
async def test_a_script_that_answers_nothing_does_not_wait_for_long(
    given: bytes | None, server: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctl_auth, "BROWSER_S", 0.05)
    reading, writing = os.pipe()
    os.write(writing, given or b"")
    os.close(writing)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin if given is not None else None)
        async with ControlClient(server.socket_path) as client:
            with anyio.fail_after(5), pytest.raises(Refused, match="without an answer") as refused:
                await ctl_auth._sign_in(client, "drive", True)
    assert "syncctl auth status" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("auth drive --json", 0),
        ("faces search - --event wedding", 1),
        ("faces forget - --event wedding", 1),
        ("events remove wedding", 0),
        ("batches unpublish roll", 2),
    ],
)
async def test_closed_stdin(arguments: str, code: int, server: ControlServer, api: MemoryApi) -> None:
    api.accounts.in_browser.set()
    program = [sys.executable, "-m", "syncd.control.ctl", *arguments.split()]
    done = await anyio.run_process(
        ["sh", "-c", 'exec "$@" <&-', "sh", *program, "--socket", str(server.socket_path)],
        env=ENVIRON,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert b"unexpected" not in done.stderr


async def test_pasted_on_a_terminal(server: ControlServer, api: MemoryApi) -> None:
    code, shown = await on_terminal(
        "auth", "drive", server=server, answer=f"{CODE}\n".encode(), after=b"paste here"
    )
    assert code == 0
    assert b"Signed in to drive as me@example.com" in shown
    assert api.accounts.answers[0].code == CODE


async def test_nobody_is_signed_in(server: ControlServer, api: MemoryApi) -> None:
    listed = await syncctl("auth", "status", server=server)
    assert "! needs auth" in listed.out
    assert "syncctl auth drive" in listed.out
    api.accounts.rows.clear()
    assert "syncctl auth drive" in (await syncctl("auth", "status", server=server)).out
