"""One writer with group commit, many readers, and what happens when others use the file."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import aiosqlite
import anyio
import pytest

from syncd.catalogue import _sqlite
from syncd.catalogue.database import Catalogue, Operation
from syncd.errors import Fatal, Refused, Transient
from tests.catalogue.conftest import Shell


def adding(name: str) -> Operation[str]:
    async def add(db: aiosqlite.Connection) -> str:
        await db.execute("INSERT INTO public_site_batches (batch_name) VALUES (?)", (name,))
        return name

    return add


async def names(catalogue: Catalogue) -> list[str]:
    async with catalogue.reader() as db:
        rows = await db.execute_fetchall("SELECT batch_name FROM public_site_batches ORDER BY 1")
        return [row[0] for row in rows]


async def test_writes_that_wait_share_one_commit(catalogue: Catalogue) -> None:
    commits: list[str] = []
    await catalogue._writer.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    async with anyio.create_task_group() as tasks:
        for index in range(100):
            tasks.start_soon(catalogue.write, adding(f"b{index:03}"))
    assert len(await names(catalogue)) == 100
    assert 1 <= len(commits) <= 3


async def test_a_failing_write_is_undone_alone(catalogue: Catalogue) -> None:
    outcomes: dict[str, object] = {}

    async def add(name: str) -> None:
        try:
            outcomes[name] = await catalogue.write(adding(name))
        except _sqlite.IntegrityError as error:
            outcomes[name] = error

    await catalogue.write(adding("taken"))
    async with anyio.create_task_group() as tasks:
        for name in ("a", "taken", "b", "c"):
            tasks.start_soon(add, name)
    assert isinstance(outcomes.pop("taken"), _sqlite.IntegrityError)
    assert outcomes == {"a": "a", "b": "b", "c": "c"}
    assert await names(catalogue) == ["a", "b", "c", "taken"]


async def test_half_of_a_failing_write_leaves_nothing(catalogue: Catalogue) -> None:
    async def half(db: aiosqlite.Connection) -> None:
        await adding("half")(db)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await catalogue.write(half)
    assert await names(catalogue) == []


async def test_a_cancelled_caller_leaves_its_write_undone_or_done(catalogue: Catalogue) -> None:
    entered, go_on = anyio.Event(), anyio.Event()

    async def slow(db: aiosqlite.Connection) -> None:
        await adding("begun")(db)
        entered.set()
        await go_on.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(catalogue.write, slow)
        await entered.wait()
        tasks.start_soon(catalogue.write, adding("never begun"))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        go_on.set()
    assert await names(catalogue) == ["begun"]
    assert await catalogue.write(adding("next")) == "next"


async def test_leaving_finishes_what_was_asked_for(path: Path) -> None:
    with anyio.CancelScope() as scope:
        async with Catalogue.open(path) as catalogue, anyio.create_task_group() as tasks:
            with anyio.CancelScope(shield=True):
                for index in range(20):
                    await catalogue.write(adding(f"b{index}"))
            tasks.start_soon(catalogue.write, adding("late"))
            scope.cancel()
    with pytest.raises(Refused, match="closed"):
        await catalogue.write(adding("too late"))
    async with Catalogue.open(path) as again:
        assert len(await names(again)) >= 20


async def test_an_error_of_the_body_comes_out_as_it_is(path: Path) -> None:
    with pytest.raises(Transient, match="mine"):
        async with Catalogue.open(path):
            raise Transient("mine")


async def test_a_reader_sees_one_committed_state(catalogue: Catalogue) -> None:
    async def uncommitted(db: aiosqlite.Connection) -> int:
        await adding("a")(db)
        return len(await names(catalogue))

    assert await catalogue.write(uncommitted) == 0
    async with catalogue.reader() as db:
        first = list(await db.execute_fetchall("SELECT count(*) FROM public_site_batches"))
        await catalogue.write(adding("b"))
        second = list(await db.execute_fetchall("SELECT count(*) FROM public_site_batches"))
    assert first == second == [(1,)]
    assert await names(catalogue) == ["a", "b"]


async def test_a_reader_cannot_write(catalogue: Catalogue) -> None:
    with pytest.raises(Transient, match="read-only"):
        async with catalogue.reader() as db:
            await adding("a")(db)


async def test_a_cancelled_query_is_stopped_and_its_reader_used_again(catalogue: Catalogue) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    for _ in range(6):
        with anyio.move_on_after(0.02):
            async with catalogue.reader() as db:
                await db.execute_fetchall(endless)
        assert await names(catalogue) == []


async def test_changes_of_others_are_noticed_and_ours_are_not(catalogue: Catalogue, shell: Shell) -> None:
    await catalogue.write(adding("2025-11-04-batch-1"))
    before = await catalogue.external_changes()
    await catalogue.write(adding("b"))
    async with catalogue.reader() as db:
        await db.execute_fetchall("SELECT * FROM scenes")
    assert await catalogue._cut_log()
    await catalogue.write(adding("c"))
    assert await catalogue.external_changes() == before
    shell("UPDATE public_site_batches SET is_public = 1 WHERE batch_name = '2025-11-04-batch-1';")
    after = await catalogue.external_changes()
    assert after > before
    assert await catalogue.external_changes() == after
    shell("INSERT INTO public_site_batches (batch_name) VALUES ('by hand')")
    assert await catalogue.external_changes() > after
    assert (
        shell(
            "SELECT is_public, source_directory IS NULL FROM public_site_batches WHERE batch_name = 'by hand'"
        )
        == "0|1"
    )
    assert "by hand" in await names(catalogue)


async def test_a_write_waits_for_a_person_who_holds_the_lock(catalogue: Catalogue, path: Path) -> None:
    process = subprocess.Popen(
        ["sqlite3", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin and process.stdout
    process.stdin.write("BEGIN IMMEDIATE; SELECT 'held';\n")
    assert process.stdout.readline() == "held\n"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(catalogue.write, adding("patient"))
        await anyio.sleep(1.3)
        assert await names(catalogue) == []
        process.stdin.write("INSERT INTO public_site_batches (batch_name) VALUES ('person'); COMMIT;\n")
        process.stdin.close()
    process.wait()
    process.stdout.close()
    assert await names(catalogue) == ["patient", "person"]


async def test_a_lock_that_is_never_given_back_is_transient(
    catalogue: Catalogue, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncd.catalogue.database._LOCK_PATIENCE_S", 0.1)
    holder = _sqlite.connect(path)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Transient, match="locked by another program"):
        await catalogue.write(adding("a"))
    holder.execute("ROLLBACK")
    holder.close()
    assert await catalogue.write(adding("a")) == "a"


async def test_a_full_disk_is_transient_and_passes(catalogue: Catalogue) -> None:
    async def fill(db: aiosqlite.Connection) -> None:
        await db.execute("INSERT INTO settings VALUES ('big', json_quote(hex(zeroblob(1000000))))")

    await catalogue._writer.execute_fetchall("PRAGMA max_page_count = 1")
    with pytest.raises(Transient, match="disk is full"):
        await catalogue.write(fill)
    await catalogue._writer.execute_fetchall("PRAGMA max_page_count = 1073741823")
    await catalogue.write(fill)
    assert await catalogue.check() == []


async def test_damage_found_while_open_is_fatal(path: Path) -> None:
    async with Catalogue.open(path) as catalogue:
        for index in range(300):
            await catalogue.write(adding(f"{index:0200}"))
        assert await catalogue._cut_log()
        with path.open("r+b") as file:
            size_bytes = path.stat().st_size
            for page in range(1, size_bytes // 4096):
                file.seek(page * 4096)
                file.write(b"\xff" * 4096)
        with pytest.raises(Fatal, match="damaged"):
            await names(catalogue)


async def test_the_log_does_not_grow_without_end_and_is_cut_when_idle(
    catalogue: Catalogue, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def put(db: aiosqlite.Connection) -> None:
        await db.execute(
            "INSERT OR REPLACE INTO settings VALUES ('big', json_quote(hex(randomblob(500000))))"
        )

    log = path.with_name(path.name + "-wal")
    for _ in range(30):
        await catalogue.write(put)
    assert log.stat().st_size < 16 * 1024 * 1024
    monkeypatch.setattr("syncd.catalogue.database._IDLE_S", 0.05)
    await catalogue.write(put)
    with anyio.fail_after(5):
        while log.stat().st_size:
            await anyio.sleep(0.02)


async def test_files_are_private_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        async with Catalogue.open(path) as catalogue:
            await catalogue.write(adding("a"))
            await catalogue.backup(path.parent / "backup.db")
            modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
        modes |= {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert {"catalogue.db", "catalogue.db-wal", "catalogue.db-shm", "backup.db"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_backup_is_a_whole_catalogue_and_replaces_nothing(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    await catalogue.write(adding("a"))
    await catalogue.backup(tmp_path / "backup.db")
    with pytest.raises(Refused, match="exists"):
        await catalogue.backup(tmp_path / "backup.db")
    async with Catalogue.open(tmp_path / "backup.db") as restored:
        assert await names(restored) == ["a"]
        assert await restored.check() == []


_LOOP = """
import sys, anyio
from pathlib import Path
from syncd.catalogue.database import Catalogue

async def main():
    async with Catalogue.open(Path(sys.argv[1])) as catalogue:
        async def worker(lane):
            number = 0
            while True:
                name = f"{sys.argv[2]}-{lane}-{number}"
                async def add(db):
                    await db.execute("INSERT INTO public_site_batches (batch_name) VALUES (?)", (name,))
                    await db.execute("INSERT INTO scenes VALUES (?1, ?1, ?1, NULL, '')", (name,))
                await catalogue.write(add)
                print(name, flush=True)
                number += 1
        async with anyio.create_task_group() as tasks:
            for lane in range(5):
                tasks.start_soon(worker, lane)

anyio.run(main)
"""


async def test_every_acknowledged_write_survives_kill_9(path: Path) -> None:
    acknowledged: set[str] = set()
    chance = random.Random(7)
    for round_ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", _LOOP, str(path), str(round_)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        first = process.stdout.readline()
        time.sleep(chance.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
        process.wait()
        process.stdout.close()
        acknowledged.update(line for line in (first + rest).split("\n")[:-1])
        async with Catalogue.open(path) as catalogue:
            assert await catalogue.check() == []
            there = await names(catalogue)
            assert acknowledged <= set(there)
            async with catalogue.reader() as db:
                halves = await db.execute_fetchall(
                    "SELECT batch_name FROM public_site_batches EXCEPT SELECT scene_id FROM scenes"
                )
            assert list(halves) == []
    assert len(acknowledged) >= 10
