"""S3 storage keeps the contract on a real server, and behaves when the server does not."""

from __future__ import annotations

import email.utils
import os
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from syncd.config import StorageConfig
from syncd.errors import AuthRejected, Changed, Refused, SyncdError, Transient
from syncd.sinks import open_sink, storage_id_of
from syncd.sinks.guarded import GuardedSink
from syncd.sinks.r2 import S3Sink
from syncd.sinks.sink import Sink
from tests.contracts.sink_contract import MemoryLedger, SinkContract, keys_of, upload_of
from tests.servers import SeaweedServer
from tests.sinks.faults import Fault, answer, proxy, self_signed, tunnel


def config_for(server: SeaweedServer, bucket: str, **more: Any) -> StorageConfig:
    config = StorageConfig(
        type="r2",
        endpoint_url=server.endpoint,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        bucket_name=bucket,
        public_url="https://photos.example",
    )
    return replace(config, **more)


def make_sink(config: StorageConfig, ledger: MemoryLedger | None = None, **more: Any) -> S3Sink:
    return S3Sink(config, ledger or MemoryLedger(), storage_id_of(config), **more)


@pytest.fixture
def config(s3_server: SeaweedServer) -> StorageConfig:
    return config_for(s3_server, s3_server.make_bucket())


@pytest.fixture
async def sink(config: StorageConfig) -> AsyncIterator[S3Sink]:
    async with make_sink(config) as sink:
        yield sink


class TestContract(SinkContract):
    @pytest.fixture(autouse=True)
    def _server(self, s3_server: SeaweedServer) -> None:
        self.server = s3_server

    async def leftovers(self, sink: Sink) -> list[str]:
        assert isinstance(sink, S3Sink)
        return self.server.unfinished(sink._bucket)


class TestMultipartContract(TestContract):
    """The same with every object but the smallest in parts: of 5 MiB, S3's least, so in one here."""

    @pytest.fixture
    async def sink(self, config: StorageConfig) -> AsyncIterator[S3Sink]:
        async with make_sink(config, single_put_max_bytes=10, part_bytes=5 << 20) as sink:
            yield sink

    test_listing_goes_on_past_a_page = None  # type: ignore[assignment]
    test_weird_names_come_back_as_they_went = None  # type: ignore[assignment]


# --- multipart -------------------------------------------------------------------------------------


async def test_parts_are_equal_checked_and_confirmed(
    s3_server: SeaweedServer, config: StorageConfig, tmp_path: Path
) -> None:
    ledger = MemoryLedger()
    upload = upload_of(tmp_path / "a", os.urandom((12 << 20) + 17), source_sha256="d" * 64)
    async with proxy(s3_server.port) as between:
        through = replace(config, endpoint_url=f"http://127.0.0.1:{between.port}")
        async with make_sink(through, ledger, single_put_max_bytes=1 << 20, part_bytes=5 << 20) as sink:
            stored = await sink.put(upload)
            assert await sink.digest(upload.key) == upload.sha256
    assert (stored.size_bytes, stored.sha256, stored.source_sha256) == (
        upload.size_bytes, upload.sha256, upload.source_sha256,
    )  # fmt: skip
    parts = [(headers, body) for line, headers, body in between.requests if "partNumber=" in line]
    assert [len(body) for _, body in parts] == [5 << 20, 5 << 20, (2 << 20) + 17]
    assert all("content-md5" in headers for headers, _ in parts)
    assert [what for what, _ in ledger.history] == ["begun", "ended"]
    assert s3_server.unfinished(config.bucket_name) == []


async def test_the_upload_is_written_down_before_its_first_part(
    s3_server: SeaweedServer, config: StorageConfig, tmp_path: Path
) -> None:
    """A ledger that fails stops the upload; nothing is sent."""

    class Failing(MemoryLedger):
        async def begun(self, storage_id: str, key: str, upload_id: str) -> None:
            raise Transient("the catalogue is busy")

    async with proxy(s3_server.port) as between:
        through = replace(config, endpoint_url=f"http://127.0.0.1:{between.port}")
        async with make_sink(through, Failing(), single_put_max_bytes=1) as sink:
            with pytest.raises(Transient, match="catalogue"):
                await sink.put(upload_of(tmp_path / "a", b"some bytes"))
    assert not any("partNumber" in line for line, _, _ in between.requests)


async def test_a_cancelled_multipart_is_aborted(
    s3_server: SeaweedServer, config: StorageConfig, tmp_path: Path
) -> None:
    ledger = MemoryLedger()
    upload = upload_of(tmp_path / "a", os.urandom(11 << 20))
    async with proxy(s3_server.port) as between:
        between.faults += ["pass", "pass", "stall"]  # begin, the first part, the second part
        through = replace(config, endpoint_url=f"http://127.0.0.1:{between.port}")
        async with make_sink(through, ledger, single_put_max_bytes=1, part_bytes=5 << 20) as sink:
            async with anyio.create_task_group() as group:
                group.start_soon(sink.put, upload)
                while between.faults:
                    await anyio.sleep(0.01)
                group.cancel_scope.cancel()
            assert [what for what, _ in ledger.history] == ["begun", "ended"]
            assert await keys_of(sink) == []
    assert s3_server.unfinished(config.bucket_name) == []


async def test_a_killed_multipart_is_aborted_on_the_next_start(
    s3_server: SeaweedServer, config: StorageConfig, sink: S3Sink
) -> None:
    ledger = MemoryLedger()
    sink._ledger = ledger
    begun = await (await sink.client()).create_multipart_upload(
        Bucket=config.bucket_name, Key="scenes/killed.jpg"
    )
    await ledger.begun(sink.storage_id, "scenes/killed.jpg", begun["UploadId"])
    await ledger.begun(sink.storage_id, "scenes/expired.jpg", "0123456789abcdef0123456789abcdef")
    await ledger.begun("s3:elsewhere/bucket#", "scenes/else.jpg", "not-ours")
    assert len(s3_server.unfinished(config.bucket_name)) == 1
    assert await sink.abort_unfinished() == 2
    assert s3_server.unfinished(config.bucket_name) == []
    assert list(ledger.open) == ["not-ours"]
    assert await sink.abort_unfinished() == 0


async def test_an_abort_that_fails_stays_in_the_ledger(config: StorageConfig) -> None:
    ledger = MemoryLedger()
    gone = replace(config, endpoint_url="http://127.0.0.1:9")
    await ledger.begun(storage_id_of(gone), "scenes/a.jpg", "upload-1")
    async with make_sink(gone, ledger) as sink:
        with pytest.raises(Transient):
            await sink.abort_unfinished()
    assert list(ledger.open) == ["upload-1"]


# --- credentials and settings ------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"secret_access_key": "wrong"}, {"access_key_id": "nobody"}])
async def test_wrong_credentials_ask_for_a_person(
    config: StorageConfig, tmp_path: Path, wrong: dict[str, str]
) -> None:
    async with make_sink(replace(config, **wrong)) as sink:
        for call in (
            sink.put(upload_of(tmp_path / "a", b"a")),
            sink.head("a"),
            sink.delete("a"),
            keys_of(sink),
        ):
            with pytest.raises(AuthRejected) as caught:
                await call
            assert "access_key_id" in (caught.value.hint or "")
            assert "checksum" not in (caught.value.hint or "")


async def test_a_missing_bucket_names_its_setting(config: StorageConfig, tmp_path: Path) -> None:
    async with make_sink(replace(config, bucket_name="no-such-bucket")) as sink:
        for call in (sink.put(upload_of(tmp_path / "a", b"a")), keys_of(sink)):
            with pytest.raises(AuthRejected) as caught:
                await call
            assert "bucket_name" in (caught.value.hint or "")
            assert "no-such-bucket" in (caught.value.hint or "")


def test_addresses() -> None:
    config = StorageConfig(type="r2", public_url="https://photos.example/", account_id="acc")
    assert make_sink(config).url("scenes/ä b+c~d.jpg") == "https://photos.example/scenes/%C3%A4%20b%2Bc~d.jpg"
    assert make_sink(replace(config, public_url="")).url("a") is None


# --- a server that misbehaves ------------------------------------------------------------------------

PUT_ANSWERS: list[tuple[Fault, type[SyncdError], str]] = [
    (answer(401, "Unauthorized"), AuthRejected, "access_key_id"),
    (answer(307, "TemporaryRedirect", "Location: http://127.0.0.1:9/elsewhere\r\n"), AuthRejected, "region"),
    (answer(403, "AccessDenied"), AuthRejected, "token"),
    (answer(403, "SignatureDoesNotMatch"), AuthRejected, "secret_access_key"),
    (answer(403, "InvalidAccessKeyId"), AuthRejected, "access_key_id"),
    (answer(403, "RequestTimeTooSkewed"), AuthRejected, "clock"),
    (answer(404, "NoSuchBucket"), AuthRejected, "bucket_name"),
    (answer(400, "EntityTooLarge"), Refused, ""),
    (answer(400, "MetadataTooLarge"), Refused, ""),
    (answer(400, "InvalidObjectName"), Refused, ""),
    (answer(501, "NotImplemented"), Refused, ""),
    (answer(429, "TooManyRequests"), Transient, ""),
    (answer(503, "SlowDown"), Transient, ""),
    (answer(500, "InternalError"), Transient, ""),
    (answer(400, "BadDigest"), Transient, ""),
    (answer(400, "RequestTimeout"), Transient, ""),
    (b"HTTP/1.1 502 Bad\r\nContent-Length: 11\r\n\r\n<html>busy!", Transient, ""),
    (b"this is not HTTP at all\r\n\r\n", Transient, ""),
    ("reset", Transient, ""),
    ("stall", Transient, ""),
    ("lose", Transient, ""),
]


@pytest.mark.parametrize(("fault", "expected", "hint"), PUT_ANSWERS)
async def test_every_answer_is_a_decision(
    s3_server: SeaweedServer,
    config: StorageConfig,
    tmp_path: Path,
    fault: Fault,
    expected: type[SyncdError],
    hint: str,
) -> None:
    async with proxy(s3_server.port) as between:
        between.faults += [fault, fault]  # aiohttp sends an idempotent request again on a dead connection
        through = replace(config, endpoint_url=f"http://127.0.0.1:{between.port}")
        async with make_sink(through, read_timeout_s=0.3) as sink:
            with pytest.raises(SyncdError) as caught:
                await sink.put(upload_of(tmp_path / "a", b"bytes"))
    assert type(caught.value) is expected, caught.value
    assert hint in (caught.value.hint or "")


async def test_the_checksum_trap_is_named_where_it_is_one(
    s3_server: SeaweedServer, config: StorageConfig, tmp_path: Path
) -> None:
    text = "Header 'x-amz-checksum-crc32' not implemented"
    body = f"<Error><Code>NotImplemented</Code><Message>{text}</Message></Error>"
    async with proxy(s3_server.port) as between:
        between.faults.append(f"HTTP/1.1 501 X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        async with make_sink(replace(config, endpoint_url=f"http://127.0.0.1:{between.port}")) as sink:
            with pytest.raises(Refused) as caught:
                await sink.put(upload_of(tmp_path / "a", b"bytes"))
    assert "checksum" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("7", 7, 7),
        (email.utils.formatdate(time.time() + 3600, usegmt=True), 3000, 3600),
        ("soon", None, None),
    ],
    ids=["seconds", "date", "neither"],
)
async def test_retry_after_is_read(
    s3_server: SeaweedServer, config: StorageConfig, header: str, low: float | None, high: float | None
) -> None:
    async with proxy(s3_server.port) as between:
        between.faults.append(answer(503, "SlowDown", f"Retry-After: {header}\r\n"))
        async with make_sink(replace(config, endpoint_url=f"http://127.0.0.1:{between.port}")) as sink:
            with pytest.raises(Transient) as caught:
                await keys_of(sink)
    waits_s = caught.value.retry_after_s
    assert waits_s is None if low is None else waits_s is not None and low <= waits_s <= (high or 0)


async def test_a_download_that_breaks_off_leaves_nothing(
    s3_server: SeaweedServer, config: StorageConfig, sink: S3Sink, tmp_path: Path
) -> None:
    upload = upload_of(tmp_path / "a", os.urandom(400_000))
    await sink.put(upload)
    async with proxy(s3_server.port) as between:
        between.faults += ["cut", "cut"]
        async with make_sink(replace(config, endpoint_url=f"http://127.0.0.1:{between.port}")) as through:
            with pytest.raises(Transient):
                await through.get(upload.key, tmp_path / "back")
            assert not (tmp_path / "back").exists()
            with pytest.raises(Transient):
                await through.digest(upload.key)


async def test_a_storage_that_ignores_md5_does_not_pass_off_other_bytes(
    s3_server: SeaweedServer, config: StorageConfig, tmp_path: Path
) -> None:
    upload = upload_of(tmp_path / "a", b"what was read")
    (tmp_path / "a").write_bytes(b"what is there")
    async with proxy(s3_server.port) as between:
        between.faults.append(b'HTTP/1.1 200 OK\r\nETag: "opaque"\r\nContent-Length: 0\r\n\r\n')
        async with make_sink(replace(config, endpoint_url=f"http://127.0.0.1:{between.port}")) as sink:
            with pytest.raises(Changed):
                await sink.put(upload)


async def test_a_store_that_cannot_be_confirmed_is_not_believed(
    s3_server: SeaweedServer, config: StorageConfig, tmp_path: Path
) -> None:
    upload = upload_of(tmp_path / "a", b"bytes")
    async with proxy(s3_server.port) as between:
        between.faults.append(b'HTTP/1.1 200 OK\r\nETag: "opaque"\r\nContent-Length: 0\r\n\r\n')
        async with make_sink(replace(config, endpoint_url=f"http://127.0.0.1:{between.port}")) as sink:
            with pytest.raises(Transient, match="does not show"):
                await sink.put(upload)
            await make_and_put(config, upload)
            between.faults.append(b'HTTP/1.1 200 OK\r\nETag: "opaque"\r\nContent-Length: 0\r\n\r\n')
            assert (await sink.put(upload)).sha256 == upload.sha256  # the HEAD shows our metadata


async def make_and_put(config: StorageConfig, upload: Any) -> None:
    async with make_sink(config) as sink:
        await sink.put(upload)


async def test_a_storm_of_errors_ends_in_every_object_stored(
    s3_server: SeaweedServer, config: StorageConfig, tmp_path: Path
) -> None:
    """What the daemon uses: guarded, through refusals, lost answers and broken connections."""
    storm: list[Fault] = [answer(429, "TooManyRequests"), "reset", answer(503, "SlowDown"), "lose"]

    async def no_wait(_: float) -> None:
        await anyio.sleep(0)

    async with proxy(s3_server.port) as between:
        between.faults += storm * 3
        through = replace(config, endpoint_url=f"http://127.0.0.1:{between.port}", concurrency=8)
        async with GuardedSink(make_sink(through), 8, sleep=no_wait) as sink:
            uploads = [upload_of(tmp_path / f"{n}", os.urandom(9000), f"storm/{n}") for n in range(30)]
            async with anyio.create_task_group() as group:
                for upload in uploads:
                    group.start_soon(sink.put, upload)
            assert sink.counters.puts == 30
            for upload in uploads:
                assert await sink.digest(upload.key) == upload.sha256


async def test_over_tls_nothing_is_sent_that_r2_refuses(
    s3_server: SeaweedServer, config: StorageConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore sends its trailing checksums over https only, so plain http would not show them."""
    certificate, key = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    async with proxy(s3_server.port, context) as between:
        through = replace(config, endpoint_url=f"https://127.0.0.1:{between.port}")
        async with make_sink(through, single_put_max_bytes=1 << 20) as sink:
            small = upload_of(tmp_path / "a", os.urandom(150_000))
            large = upload_of(tmp_path / "b", os.urandom(2 << 20), "scenes/large.jpg")
            for upload in (small, large):
                await sink.put(upload)
                assert await sink.digest(upload.key) == upload.sha256
                await sink.head(upload.key)
            await keys_of(sink)
            await sink.delete(small.key)
    for line, headers, _ in between.requests:
        names = " ".join(headers)
        assert "x-amz-checksum" not in names and "x-amz-trailer" not in names, line
        assert "x-amz-sdk-checksum-algorithm" not in names, line
        assert "expect" not in headers and "transfer-encoding" not in headers, line
        assert "chunked" not in headers.get("content-encoding", ""), line
        assert not headers.get("x-amz-content-sha256", "").startswith("STREAMING"), line
    bodies = [headers for line, headers, body in between.requests if line.startswith("PUT")]
    assert len(bodies) == 2
    assert all("content-md5" in headers and "content-md5" in headers["authorization"] for headers in bodies)


async def test_an_untrusted_certificate_asks_for_a_person(
    s3_server: SeaweedServer, config: StorageConfig, tmp_path: Path
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*self_signed(tmp_path))
    async with (
        proxy(s3_server.port, context) as between,
        make_sink(replace(config, endpoint_url=f"https://127.0.0.1:{between.port}")) as sink,
    ):
        with pytest.raises(AuthRejected, match="certificate"):
            await sink.head("a")


async def test_a_certificate_for_another_host_is_refused(
    s3_server: SeaweedServer, config: StorageConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trusted, and not this server's: aiobotocore by itself looks at no host name."""
    certificate, key = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    async with (
        proxy(s3_server.port, context) as between,
        make_sink(replace(config, endpoint_url=f"https://localhost:{between.port}")) as sink,
    ):
        with pytest.raises(AuthRejected, match="certificate"):
            await sink.put(upload_of(tmp_path / "a", b"a"))
        with pytest.raises(AuthRejected, match="certificate"):
            await sink.head("a")
    assert between.requests == []


async def test_authorities_that_cannot_be_read_are_named(
    config: StorageConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "nowhere.pem"))
    with pytest.raises(AuthRejected, match=r"nowhere\.pem") as caught:
        async with make_sink(replace(config, endpoint_url="https://127.0.0.1:9")):
            pass
    assert "AWS_CA_BUNDLE" in str(caught.value.hint)


async def test_behind_a_proxy_certificates_are_looked_at(
    s3_server: SeaweedServer, config: StorageConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*self_signed(tmp_path))
    async with proxy(s3_server.port, context) as between, tunnel() as tunnel_port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{tunnel_port}")
        monkeypatch.setenv("no_proxy", "")
        async with make_sink(replace(config, endpoint_url=f"https://127.0.0.1:{between.port}")) as sink:
            with pytest.raises(AuthRejected, match="certificate"):
                await sink.put(upload_of(tmp_path / "a", b"a"))
            with pytest.raises(AuthRejected, match="certificate"):
                await sink.head("a")
            monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "certificate.pem"))
            monkeypatch.setenv("https_proxy", f"127.0.0.1:{tunnel_port}")  # as people write it, too
        async with make_sink(replace(config, endpoint_url=f"https://127.0.0.1:{between.port}")) as sink:
            upload = upload_of(tmp_path / "b", b"b")
            await sink.put(upload)
            assert await sink.head(upload.key) is not None
    assert len(between.requests) == 2


async def test_a_body_that_nobody_takes_is_given_up(config: StorageConfig, tmp_path: Path) -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")

    async def deaf(client: SocketStream) -> None:
        async with client:
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, deaf)
        port = listener.extra(SocketAttribute.local_port)
        elsewhere = replace(config, endpoint_url=f"http://127.0.0.1:{port}")
        async with make_sink(elsewhere, read_timeout_s=0.3) as sink:
            with anyio.fail_after(10), pytest.raises(Transient):
                await sink.put(upload_of(tmp_path / "a", bytes(30 << 20)))
        tasks.cancel_scope.cancel()
    await listener.aclose()


async def test_a_server_that_is_not_there_is_transient(config: StorageConfig, tmp_path: Path) -> None:
    async with make_sink(replace(config, endpoint_url="http://127.0.0.1:9")) as sink:
        with pytest.raises(Transient):
            await sink.put(upload_of(tmp_path / "a", b"a"))


async def test_open_sink_opens_s3(config: StorageConfig, tmp_path: Path) -> None:
    async with open_sink(config, MemoryLedger()) as sink:
        upload = upload_of(tmp_path / "a", b"a")
        await sink.put(upload)
        assert await sink.digest(upload.key) == upload.sha256
