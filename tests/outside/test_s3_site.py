"""What is in a bucket, and what happens when the storage is not as it should be."""

from __future__ import annotations

import functools
import http.client
import io
import time

import pytest
from PIL import Image

from tests.outside.gate import gate
from tests.outside.installation import Installation, run, sha256, small_jpeg, wait_for
from tests.pictures import make_exif, make_picture
from tests.servers import SeaweedServer

pytestmark = pytest.mark.timeout(60)  # seconds, for a machine that is busy with other things


def head(place: Installation, key: str) -> dict[str, str]:
    """Headers of an object, in lower case."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    assert place.server is not None
    target = f"/{place.bucket}/{key}"
    signed = AWSRequest(method="HEAD", url=place.server.endpoint + target)
    S3SigV4Auth(Credentials(place.server.access_key, place.server.secret_key), "s3", "us-east-1").add_auth(
        signed
    )
    connection = http.client.HTTPConnection("127.0.0.1", place.server.port, timeout=10)
    try:
        connection.request("HEAD", target, headers=dict(signed.headers))
        answer = connection.getresponse()
        assert answer.status == 200
        return {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def has_more(place: Installation, before: int) -> bool:
    return len(place.live()) > before


def test_headers_and_metadata(s3_place: Installation) -> None:
    place = s3_place
    place.configure(storage={"prefix": "photos/"})
    folder = place.images / "b/final_crops"
    folder.mkdir(parents=True)
    picture = make_picture(3, 90, 60)
    picture.save(folder / "a.jpg", exif=make_exif(gps=True))
    picture.save(folder / "b.png")
    picture.save(folder / "c.webp")
    picture.save(folder / "d.tif", exif=make_exif(orientation=6, gps=True))
    assert place.once()["uploaded"] == 4
    keys = {name: f"photos/scenes/b-{name}" for name in ("a.jpg", "b.png", "c.webp", "d.jpg")}
    assert place.stored() == sorted(keys.values())
    types = {"a.jpg": "image/jpeg", "b.png": "image/png", "c.webp": "image/webp", "d.jpg": "image/jpeg"}
    for name, key in keys.items():
        told = head(place, key)
        assert told["content-type"] == types[name]
        assert "max-age" in told["cache-control"]
        assert told["x-amz-meta-sha256"] == sha256(place.read(key))
        assert int(told["content-length"]) == len(place.read(key))
        if name == "d.jpg":
            assert told["x-amz-meta-source-sha256"] == sha256((folder / "d.tif").read_bytes())
        else:
            assert "x-amz-meta-source-sha256" not in told
            assert place.read(key) == (folder / name).read_bytes()
    with Image.open(io.BytesIO(place.read(keys["d.jpg"]))) as made:
        assert made.size == (60, 90) and not made.getexif().get_ifd(0x8825)
    row = place.rows("SELECT * FROM image_versions WHERE scene_id = 'b-d'")[0]
    assert row["r2_key"] == keys["d.jpg"] and row["sha256"] == sha256((folder / "d.tif").read_bytes())
    again = place.once("--dry-run")
    assert again["actions"] == []


@pytest.mark.parametrize("mode", ["down", "deny"])
def test_storage_that_fails_from_the_start(s3_place: Installation, mode: str) -> None:
    """What is on disk is recorded all the same; the state is visible; work resumes by itself."""
    place = s3_place
    for n in range(5):
        place.add(f"b/final_crops/{n}.jpg", n)
    assert place.server is not None
    with gate(place.server.port) as way:
        way.switch(mode)
        place.configure(storage={"endpoint_url": f"http://127.0.0.1:{way.port}"})
        with place.daemon() as daemon:

            def is_told() -> bool:
                site = daemon.services()["site"]
                wanted = {"needs_auth"} if mode == "deny" else {"backing_off", "blocked"}
                return site["state"] in wanted and bool(site["last_error"])

            wait_for(is_told, 15, mode)
            wait_for(lambda: daemon.status()["counts"]["versions"] == 5)
            if mode == "deny":
                assert daemon.status()["blocked"]
            assert place.live() == {} and place.stored() == []
            assert place.ctl("status", code=None).code in (0, 4)
            secret = place.server.secret_key
            assert secret not in daemon.log and secret not in str(daemon.status())
            way.switch("pass")
            daemon.wait_live([f"scenes/b-{n}.jpg" for n in range(5)], 15)
            wait_for(lambda: daemon.services()["site"]["state"] == "running")
            assert not daemon.status()["blocked"]
    place.check()


def test_storage_that_fails_in_the_middle(s3_place: Installation) -> None:
    place = s3_place
    place.configure(storage={"concurrency": 2})
    assert place.server is not None
    with gate(place.server.port) as way:
        way.switch("slow")
        place.configure(storage={"endpoint_url": f"http://127.0.0.1:{way.port}"})
        for n in range(60):
            place.add(f"b/final_crops/{n}.jpg", n % 20)
        with place.daemon() as daemon:
            for mode in ("down", "broken", "busy", "throttle"):
                before = len(place.live()) if place.catalogue.exists() else 0
                wait_for(functools.partial(has_more, place, before), 15)
                way.switch(mode)
                time.sleep(0.3)
                place.check(complete=False)
                way.switch("slow")
            way.switch("pass")
            daemon.wait_live([f"scenes/b-{n}.jpg" for n in range(60)], 15)
            daemon.wait_idle()
            place.check()
            doubled = place.value("SELECT COUNT(*) - COUNT(DISTINCT local_path) FROM image_versions")
            assert doubled == 0


def test_once_says_that_storage_is_away(s3_place: Installation) -> None:
    place = s3_place
    place.add("b/final_crops/x.jpg", 1)
    assert place.server is not None
    with gate(place.server.port) as way:
        place.configure(storage={"endpoint_url": f"http://127.0.0.1:{way.port}"})
        way.switch("deny")
        done = place.once(code=1)
        assert done["state"] == "failed" and done["error"] and done["uploaded"] == 0
        assert len(place.rows("SELECT * FROM image_versions")) == 1
        ran = run("syncd", "once", "--config", place.config)
        assert ran.code == 1 and place.server.secret_key not in ran.out + ran.err
        log = place.rows("SELECT status, error FROM sync_log ORDER BY id DESC LIMIT 1")[0]
        assert log["status"] == "failed" and log["error"]
        way.switch("pass")
        assert place.once()["uploaded"] == 1
    place.check()


def test_a_bucket_that_does_not_exist(s3_place: Installation) -> None:
    s3_place.add("b/final_crops/x.jpg", 1)
    s3_place.configure(storage={"bucket_name": "no-such-bucket-here"})
    done = s3_place.once(code=None)
    assert done["state"] in ("failed", "partial") and done["uploaded"] == 0
    assert "bucket" in str(done["error"]) + str(done["failed"])


def test_a_server_that_restarts(s3_place: Installation, s3_server: SeaweedServer) -> None:
    for n in range(10):
        s3_place.add(f"b/final_crops/{n}.jpg", n)
    s3_server.stop()
    try:
        with s3_place.daemon() as daemon:
            wait_for(lambda: daemon.services()["site"]["state"] == "backing_off")
            s3_server.start()
            daemon.wait_live([f"scenes/b-{n}.jpg" for n in range(10)], 15)
    finally:
        if s3_server.process is None:
            s3_server.start()
    s3_place.check()


def test_a_killed_multipart_upload_is_aborted(s3_place: Installation, s3_server: SeaweedServer) -> None:
    """Large files go up in parts; what a kill leaves behind is found at the next start."""
    place = s3_place
    picture = make_picture(1, 900, 600)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    large = place.add("b/final_crops/large.jpg", buffer.getvalue() + bytes(65 * 1024 * 1024))
    with gate(s3_server.port) as way:
        way.switch("slow")
        place.configure(storage={"endpoint_url": f"http://127.0.0.1:{way.port}"})
        with place.daemon() as daemon:
            wait_for(lambda: s3_server.unfinished(place.bucket) or place.live(), 15, "an upload in parts")
            time.sleep(0.5)  # its id is recorded as soon as storage has told it
            daemon.kill()
            way.switch("pass")
            assert place.live() == {}, "the upload was over before the kill"
            assert s3_server.unfinished(place.bucket)
            with place.daemon() as again:
                again.wait_live(["scenes/b-large.jpg"], 15)
                again.wait_idle()
            assert s3_server.unfinished(place.bucket) == []
    assert place.read("scenes/b-large.jpg") == large.read_bytes()
    assert small_jpeg(1) != large.read_bytes()
    place.check()
