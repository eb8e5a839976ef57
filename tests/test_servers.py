"""The servers that other tests stand on."""

from __future__ import annotations

from tests.servers import SeaweedServer


def test_the_s3_server_lets_in_only_its_own_keys(s3_server: SeaweedServer) -> None:
    bucket = s3_server.make_bucket()
    assert s3_server.request("PUT", f"/{bucket}/a.txt", body=b"kept") == (200, b"")
    assert s3_server.keys(bucket) == ["a.txt"]
    assert s3_server.read(bucket, "a.txt") == b"kept"
    stranger = SeaweedServer(s3_server.folder, s3_server.port, [], secret_key="wrong")
    status, body = stranger.request("GET", f"/{bucket}/a.txt")
    assert status == 403, body
