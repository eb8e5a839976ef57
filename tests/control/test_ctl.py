"""syncctl as a program of its own against a server on a real socket, and its command line in process."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import click
import msgspec
import pytest

from syncd.control import ctl, schema
from syncd.control.ctl_base import Ctl
from syncd.control.server import ControlServer
from tests.control.memory_api import AT, ODD_NAME, MemoryApi
from tests.control.memory_events import EVENT_COMMANDS
from tests.control.memory_exchange import EXCHANGE_COMMANDS
from tests.control.memory_library import LIBRARY_COMMANDS
from tests.control.memory_metadata import METADATA_COMMANDS
from tests.control.memory_names import NAMES_COMMANDS


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one document on stdout."""
        (line,) = self.out.splitlines()
        return json.loads(line)


ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8"}


async def syncctl(
    *arguments: str, server: ControlServer | None = None, given: bytes = b"", **environ: str
) -> Ended:
    """Runs the program, with pipes on all sides."""
    where = ["--socket", str(server.socket_path)] if server else []
    with anyio.fail_after(15):
        done = await anyio.run_process(
            [sys.executable, "-m", "syncd.control.ctl", *arguments, *where],
            input=given, check=False, env={**ENVIRON, **environ},
        )  # fmt: skip
    ended = Ended(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in ended.err
    return ended


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = list(commands(ctl.syncctl))


# --- the command line ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [(), *ALL], ids=" ".join)
def test_help_has_examples(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.run([*path, "--help"]) == 0
    out = capsys.readouterr().out
    example = " ".join(("syncctl", *path))
    assert "Examples:" in out
    examples = out.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    assert 2 <= len([line for line in examples if example in line]) <= 3
    assert all(option in out for option in ("--json", "--socket P", "--config F"))
    assert all(len(line) <= 100 for line in out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("statsu", "Did you mean 'status'?"),
        ("batches lst", "Did you mean 'list'?"),
        ("sync --dry-rnu", "--dry-run"),
        ("sync extra", "unexpected extra argument"),
        ("sync --db-only --images-only", "exclude each other"),
        ("wait", "syncctl wait --idle"),
        ("wait --idle --timeout -1", "-1"),
        ("wait --idle --timeout soon", "soon"),
        ("activity --since x", "x"),
        ("batches publish", "Missing argument"),
        ("batches source roll", "Missing argument"),
        ("pull --to /tmp/x", "either scenes or --batch"),
        ("pull a --batch b --to /tmp/x", "either scenes or --batch"),
        ("pull a", "--to"),
        ("similar", "either an IMAGE or --scene"),
        ("similar /nonexistent.jpg", "/nonexistent.jpg"),
        ("similar --scene x --max-distance 65", "65"),
        ("verify --sample 0", "0"),
        ("verify --sample 101", "101"),
        ("verify --sample nan", "nan"),
        ("events enable gala --interval nan", "nan"),
        ("events add '' --folder x --socket /nonexistent.sock", "name"),
        ("approve", "Missing argument"),
        # what a script writes where a variable is not set
        ("meta approve --all --album '' --yes", "--album"),
        ("meta approve --all --q '' --yes", "--q"),
        ("names apply --album ''", "--album"),
        ("names hint '' --teams A,B", "KEY"),
        ("smugmug photos ''", "ALBUM"),
        ("smugmug sync --album ' '", "--album"),
        ("pull a --to ''", "--to"),
        ("status --socket ''", "--socket"),
        ("config check ''", "FILE"),
        ("exchange analyze --remote-db ''", "--remote-db"),
        ("exchange import 4f1c --import-dir ''", "--import-dir"),
        ("jobs retry", "either the ID of a job or --all"),
        ("jobs retry 4 --all", "either the ID of a job or --all"),
        ("jobs cancel", "Missing argument"),
        ("completion tcsh", "tcsh"),
        ("completion", "Choose from: bash, zsh, fish"),
        ("--nonsense", "--nonsense"),
    ],
)
def test_wrong_usage(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.run(shlex.split(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("syncctl: ")
    assert said in err
    assert len(err.splitlines()) <= 2


@pytest.mark.parametrize("path", [(), ("batches",), ("config",)])
def test_a_family_alone_shows_its_commands(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.run(path) == 2
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize("before", [True, False])
def test_global_options_anywhere(before: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "syncd.toml").write_text("")
    options = ["--json", "--config", str(tmp_path / "syncd.toml")]
    assert ctl.run([*options, "config", "check"] if before else ["config", "check", *options]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(tmp_path / "syncd.toml")


def test_the_program_is_light() -> None:
    code = "import sys; from syncd.control import ctl; ctl.run(['--help']); print([m for m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(eval(out.splitlines()[-1]))
    assert not loaded & {"rich", "aiohttp", "msgspec", "anyio", "asyncio", "structlog", "textual", "tomllib"}


def test_streams_may_be_closed(tmp_path: Path) -> None:
    (tmp_path / "syncd.toml").write_text("")
    program = Path(sys.executable).parent / "syncctl"
    command = f"{program} config check --config {tmp_path / 'syncd.toml'} <&- >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion(shell: str, server: ControlServer) -> None:
    script = await syncctl("completion", shell)
    assert script.code == 0
    assert "_SYNCCTL_COMPLETE" in script.out
    asked = await syncctl(_SYNCCTL_COMPLETE="zsh_complete", COMP_WORDS="syncctl batches pub", COMP_CWORD="2")
    assert asked.out.splitlines()[:2] == ["plain", "publish"]
    words = f"syncctl --socket {server.socket_path} batches publish ro"
    names = await syncctl(_SYNCCTL_COMPLETE="zsh_complete", COMP_WORDS=words, COMP_CWORD="5")
    assert names.out.splitlines()[:2] == ["plain", "roll"]


# --- without a daemon -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        "status", "status --watch --json", "wait --idle", "activity", "activity -f", "sync --wait",
        "batches list", "batches unpublish x --yes", "scenes list", "pull x --to /tmp/x", "similar --scene x",
        "verify", "guards", "approve x", "jobs list", "jobs retry --all", "pause", "resume site",
        "config show", "config reload",
    ],
)  # fmt: skip
def test_no_daemon(arguments: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.run([*arguments.split(), "--socket", str(tmp_path / "no.sock")]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"syncctl: no daemon answers at {tmp_path}/no.sock")
    assert "hint: start the daemon" in err


async def test_config_check(tmp_path: Path) -> None:
    path = tmp_path / "syncd.toml"
    path.write_text('[storage]\nconcurrency = 0\ntpye = "r2"\n')
    wrong = await syncctl("config", "check", str(path))
    assert (wrong.code, wrong.out) == (78, "")
    assert len(wrong.err.splitlines()) == 2
    assert f'syncctl: {path}: [storage] unknown key "tpye" — did you mean "type"?' in wrong.err
    found = (await syncctl("config", "check", str(path), "--json")).json()
    assert (found["ok"], len(found["problems"])) == (False, 2)
    path.write_text("")
    assert (await syncctl("config", "check", SYNCD_CONFIG=str(path))).out == f"{path} is right\n"
    missing = await syncctl("config", "check", str(tmp_path / "gone.toml"))
    assert missing.code == 78
    assert "there is no such file" in missing.err


async def test_a_wrong_configuration_stops_every_command(tmp_path: Path) -> None:
    path = tmp_path / "syncd.toml"
    path.write_text("[daemon]\nworkers = 'x'\n")
    assert (await syncctl("status", "--config", str(path))).code == 78
    assert (await syncctl("status", SYNCD_CONFIG=str(path))).code == 78


async def test_config_show_without_a_daemon_hides_secrets(tmp_path: Path) -> None:
    path = tmp_path / "syncd.toml"
    path.write_text('[ai]\napi_key = "hush-hush"\n')
    shown = await syncctl("config", "show", "--config", str(path))
    assert shown.code == 0
    assert 'api_key = "***"' in shown.out
    assert "hush" not in shown.out + shown.err
    settings = (await syncctl("config", "show", "--config", str(path), "--json")).json()["settings"]
    assert settings["ai"]["api_key"] == "***"


# --- with a daemon --------------------------------------------------------------------------------

REPLIES: list[tuple[str, Any]] = [
    ("status", lambda api: schema.Status),
    ("wait --idle", lambda api: schema.Status),
    ("activity", lambda api: schema.ActivityPage),
    ("activity --since 3", lambda api: schema.ActivityPage),
    ("sync", lambda api: schema.JobAccepted),
    ("sync --dry-run --batch roll", lambda api: schema.SyncReport),
    ("sync --wait", lambda api: schema.SyncReport),
    ("batches list", lambda api: schema.BatchPage),
    ("batches publish roll", lambda api: schema.BatchPage),
    ("batches unpublish roll --yes", lambda api: schema.BatchPage),
    ("batches source roll best", lambda api: schema.BatchPage),
    ("scenes list --live", lambda api: schema.ScenePage),
    ("scenes show roll-1", lambda api: schema.Scene),
    ("pull roll-1 --to out", lambda api: schema.PullReport),
    ("similar --scene roll-1", lambda api: schema.SimilarPage),
    ("verify", lambda api: schema.VerifyReport),
    ("guards", lambda api: schema.GuardPage),
    ("approve g1", lambda api: schema.GuardApproved),
    ("jobs list --failed", lambda api: schema.JobPage),
    ("jobs retry j1", lambda api: schema.Job),
    ("jobs retry --all", lambda api: schema.RetriedJobs),
    ("jobs cancel j2", lambda api: schema.Job),
    ("pause site", lambda api: schema.ServicesReply),
    ("resume", lambda api: schema.ServicesReply),
    ("config show", lambda api: schema.ConfigReply),
    ("config reload", lambda api: schema.ReloadReply),
]


class BusyApi(MemoryApi):
    """Idle, and with a sync whose end can be chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = True
        self.report = schema.SyncReport(job_id="j9", state="done", uploaded=2, bytes=2000, duration_s=1)
        self.looks = 0
        self.others_report: schema.SyncReport | None = None
        self.job_rows["j9"] = msgspec.structs.replace(
            self.job_rows["j1"], id="j9", kind="sync", state="running"
        )

    async def status(self) -> schema.Status:
        return msgspec.structs.replace(await super().status(), idle=self.idle)

    async def sync_status(self, job_id: str | None = None) -> schema.SyncReport:
        if job_id is None and self.others_report is not None:
            return self.others_report
        self.looks += 1
        if self.looks < 3:
            return msgspec.structs.replace(self.report, state="running")
        return self.report


@pytest.fixture
def api() -> BusyApi:
    return BusyApi()


@pytest.mark.parametrize(
    ("arguments", "kind"), REPLIES, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_json_is_one_document_that_the_api_gave(
    arguments: str, kind: Any, server: ControlServer, capsys: pytest.CaptureFixture[str]
) -> None:
    done = await syncctl(*arguments.split(), "--json", server=server)
    assert (done.code, done.err.replace("0 scenes of 1 batch will be removed from the site.\n", "")) == (
        0,
        "",
    )
    shape = kind(None)
    found = msgspec.json.decode(done.out, type=shape)
    assert done.json() == msgspec.to_builtins(found)
    capsys.readouterr()
    asked = [*arguments.split(), "--socket", str(server.socket_path)]
    assert await anyio.to_thread.run_sync(ctl.run, asked) == 0
    for_people = capsys.readouterr().out
    assert "\x1b" not in for_people
    assert "\t" not in for_people
    assert for_people or arguments.startswith("wait")


OTHER_COMMANDS = (
    *EVENT_COMMANDS, *METADATA_COMMANDS, *LIBRARY_COMMANDS, *NAMES_COMMANDS, *EXCHANGE_COMMANDS,
)  # fmt: skip


def test_every_command_is_in_the_table_of_replies() -> None:
    groups = {path[0] for path in ALL if len(path) > 1}
    leaves = {" ".join(path) for path in ALL if len(path) > 1 or path[0] not in groups}
    lines = [line for line, _ in [*REPLIES, *OTHER_COMMANDS]]
    called = {leaf for leaf in leaves if any(f"{line} ".startswith(f"{leaf} ") for line in lines)}
    assert leaves - called == {"config check", "tui", "completion"}


@pytest.mark.parametrize(
    ("state", "code"),
    [("done", 0), ("partial", 4), ("refused", 5), ("failed", 1), ("cancelled", 1)],
)
async def test_sync_exit_codes(state: Any, code: int, server: ControlServer, api: BusyApi) -> None:
    api.report = msgspec.structs.replace(
        api.report, state=state, failed=[schema.PathReason(path="a\x1b[2J.jpg", reason="truncated")]
    )
    done = await syncctl("sync", "--wait", server=server)
    assert done.code == code
    assert "1 failed\n  a\\x1b[2J.jpg: truncated" in done.out
    assert (await syncctl("sync", "--wait", "--json", server=server)).json()["state"] == state


async def test_sync_that_another_one_followed(server: ControlServer, api: BusyApi) -> None:
    api.others_report = msgspec.structs.replace(api.report, job_id="other", state="failed")
    done = await syncctl("sync", "--wait", "--json", server=server)
    assert (done.code, done.json()["job_id"], done.json()["state"]) == (0, "j9", "done")


async def test_verify_exit_codes(
    server: ControlServer, api: BusyApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = {
        4: schema.VerifyReport(checked=2, ok=1, missing=["k"]),
        0: schema.VerifyReport(checked=2, ok=1, missing=["k"], repaired=1),
        5: schema.VerifyReport(checked=2, ok=2, orphaned=["o"], guard_id="g7"),
    }
    for code, report in reports.items():

        async def verify(
            request: schema.VerifyRequest, report: schema.VerifyReport = report
        ) -> schema.VerifyReport:
            return report

        monkeypatch.setattr(api, "verify", verify)
        done = await syncctl("verify", "--repair", server=server)
        assert done.code == code
    assert "syncctl approve g7" in done.out


async def test_pull_that_failed_in_part(
    server: ControlServer, api: BusyApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    async def pull(request: schema.PullRequest) -> schema.PullReport:
        seen.append(request)
        return schema.PullReport(pulled=0, files=[], failed=[schema.SceneReason(scene_id="x", reason="gone")])

    monkeypatch.setattr(api, "pull", pull)
    done = await syncctl("pull", "x", "--to", "some/where", server=server)
    assert done.code == 4
    assert "x: gone" in done.out
    assert seen[0].to == str(Path.cwd() / "some/where")


@pytest.mark.parametrize("job_id", ["refused", "auth", "transient", "fatal", "bug", "none"])
async def test_problem_is_said_in_two_lines(job_id: str, server: ControlServer) -> None:
    done = await syncctl("jobs", "cancel", job_id, "--json", server=server)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("syncctl: ")
    assert len(done.err.splitlines()) <= 2
    if job_id == "refused":
        assert done.err == "syncctl: the file is gone\nhint: look again\n"


async def test_unpublish_asks_first(server: ControlServer, api: BusyApi) -> None:
    api.batch_rows["roll"] = msgspec.structs.replace(api.batch_rows["roll"], is_public=True, live=1234)
    refused = await syncctl("batches", "unpublish", "roll", server=server)
    assert refused.code == 2
    assert "1,234 scenes of 1 batch will be removed" in refused.err
    assert "--yes" in refused.err
    assert api.batch_rows["roll"].is_public
    unknown = await syncctl("batches", "unpublish", "roll", "rol", "--yes", server=server)
    assert unknown.code == 1
    assert "did you mean 'roll'?" in unknown.err
    assert api.batch_rows["roll"].is_public
    assert (await syncctl("batches", "unpublish", "roll", "--yes", server=server)).code == 0
    assert not api.batch_rows["roll"].is_public


@pytest.mark.parametrize(
    ("answer", "public", "code"),
    [(b"y\n", False, 0), (b"n\n", True, 1), (b"\n", True, 1), (b"\x03", True, 130)],
)
async def test_unpublish_on_a_terminal(
    answer: bytes, public: bool, code: int, server: ControlServer, api: BusyApi
) -> None:
    api.batch_rows["roll"] = msgspec.structs.replace(api.batch_rows["roll"], is_public=True, live=3)
    ended, shown = await on_terminal(
        "batches", "unpublish", "roll", server=server, answer=answer, after=b"[y/N]"
    )
    assert ended == code
    assert b"3 scenes of 1 batch will be removed" in shown
    assert api.batch_rows["roll"].is_public is public


async def on_terminal(
    *arguments: str, server: ControlServer, answer: bytes = b"", after: bytes = b"", **environ: str
) -> tuple[int, bytes]:
    """Runs the program on a terminal of 80 columns, gives `answer` once `after` has been shown."""
    command = [sys.executable, "-m", "syncd.control.ctl", *arguments, "--socket", str(server.socket_path)]

    def run() -> tuple[int, bytes]:
        pid, terminal = pty.fork()
        if pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored where the tests run in the background
            os.execve(sys.executable, command, {**ENVIRON, "TERM": "xterm", "COLUMNS": "80", **environ})
        shown, said = b"", False
        while True:
            try:
                chunk = os.read(terminal, 65536)
            except OSError:
                break
            if not chunk:
                break
            shown += chunk
            if answer and not said and after in shown:
                os.write(terminal, answer)
                said = True
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown

    return await anyio.to_thread.run_sync(run)


async def test_colours_only_where_they_are_wanted(server: ControlServer) -> None:
    code, shown = await on_terminal("status", server=server)
    assert code == 0
    assert b"\x1b[32m\xe2\x97\x8f running\x1b[0m" in shown
    code, shown = await on_terminal("status", server=server, NO_COLOR="1")
    assert b"\x1b[" not in shown


async def test_wait_gives_up(server: ControlServer, api: BusyApi) -> None:
    api.idle = False
    done = await syncctl("wait", "--idle", "--timeout", "0.3", server=server)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("syncctl: still busy after 0.3 s: ")


async def test_wait_wants_lasting_idleness(server: ControlServer, api: BusyApi) -> None:
    started = anyio.current_time()
    assert (await syncctl("wait", "--idle", server=server)).code == 0
    assert anyio.current_time() - started > 0.9


async def test_activity_follows_line_by_line(server: ControlServer, api: BusyApi) -> None:
    command = [sys.executable, "-m", "syncd.control.ctl", "activity", "-f", "--since", "3", "--json"]
    async with await anyio.open_process(
        [*command, "--socket", str(server.socket_path)], env=ENVIRON, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        received = b""
        while received.count(b"\n") < 4:
            received += await process.stdout.receive()
            if received.count(b"\n") == 2 and len(api.items) == 5:
                api.record(2)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        assert process.stderr is not None
        assert b"".join([chunk async for chunk in process.stderr]).strip() == b""
    assert [json.loads(line)["id"] for line in received.splitlines()] == [4, 5, 6, 7]


async def test_activity_of_many_pages(server: ControlServer, api: BusyApi) -> None:
    api.record(2500)
    everything = (await syncctl("activity", "--since", "0", "--json", server=server)).json()
    assert [item["id"] for item in everything["items"]] == list(range(1, 2506))
    assert len((await syncctl("activity", server=server)).out.splitlines()) == 50


async def test_lists_are_joined(server: ControlServer, api: BusyApi, monkeypatch: pytest.MonkeyPatch) -> None:
    from syncd.control import ctl_base

    api.job_rows = {f"j{n}": msgspec.structs.replace(api.job_rows["j1"], id=f"j{n}") for n in range(1500)}
    listed = (await syncctl("jobs", "list", "--limit", "1200", "--json", server=server)).json()
    assert (len(listed["items"]), listed["next_cursor"]) == (1200, "1200")
    assert ctl_base.PAGE < 1200
    everything = (await syncctl("jobs", "list", "--limit", "5000", "--json", server=server)).json()
    assert (len(everything["items"]), everything["next_cursor"]) == (1500, None)


async def test_reader_that_goes_away(server: ControlServer, api: BusyApi) -> None:
    api.record(20_000)
    line = f"{sys.executable} -m syncd.control.ctl activity --since 0 --socket {server.socket_path} | head -1"
    done = await anyio.run_process(line, check=False, env=ENVIRON)
    assert done.stderr == b""
    assert len(done.stdout.splitlines()) == 1


async def test_picture_from_a_file_and_from_a_pipe(
    server: ControlServer, api: BusyApi, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"picture")
    assert (await syncctl("similar", str(tmp_path / "a.jpg"), "--max-distance", "3", server=server)).code == 0
    assert (await syncctl("similar", "-", server=server, given=b"piped")).code == 0
    assert api.pictures == [b"picture", b"piped"]


async def test_names_are_shown_escaped_and_given_whole(server: ControlServer, api: BusyApi) -> None:
    listed = await syncctl("batches", "list", server=server)
    assert "\\x0a" in listed.out
    assert (await syncctl("batches", "publish", ODD_NAME, server=server)).code == 0
    assert api.batch_rows[ODD_NAME].is_public
    not_text = await syncctl("batches", "publish", os.fsdecode(b"\xff"), server=server)
    assert not_text.code in (1, 2)
    assert len(not_text.err.splitlines()) <= 2


async def test_approve_waits_for_its_job(server: ControlServer, api: BusyApi) -> None:
    api.job_rows["j1"] = msgspec.structs.replace(api.job_rows["j1"], state="done", created_at=AT)
    done = await syncctl("approve", "g1", "--wait", "--json", server=server)
    assert (done.code, done.json()["state"]) == (0, "done")


def test_an_unexpected_error_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: Ctl, question: object) -> None:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(Ctl, "ask", broken)
    assert ctl.run(["status"]) == 1
    assert capsys.readouterr().err.startswith("syncctl: unexpected ZeroDivisionError: odd")
