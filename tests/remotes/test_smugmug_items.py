"""What SmugMug says, read: the documented example and the quirks of a server written in PHP."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.errors import Transient
from syncd.remotes.smugmug_items import (
    album_of,
    clock_time,
    expansions_of,
    image_key_of,
    image_of,
    keywords_of,
    moment,
    next_path,
    object_of,
    objects_of,
    page_of,
    uri_of,
    whole,
)

ALBUM = {
    "UrlName": "Smith-Wedding", "Title": "Smith Wedding", "Name": "Smith Wedding", "Description": "",
    "Keywords": "bride; groom", "Privacy": "Unlisted", "SecurityType": "None", "SortMethod": "Date Taken",
    "AlbumKey": "2GsRNZ", "Date": "2026-06-14T20:10:00+00:00", "LastUpdated": "2026-06-14T20:10:12+00:00",
    "ImagesLastUpdated": "2026-06-15T07:41:57+00:00", "NodeID": "jZ7bdZ", "ImageCount": 14,
    "UrlPath": "/2026/Smith-Wedding", "WebUri": "https://acme.smugmug.com/2026/Smith-Wedding/n-jZ7bdZ",
    "Uri": "/api/v2/album/2GsRNZ", "ResponseLevel": "Full",
}  # fmt: skip
IMAGE = {
    "Title": "", "Caption": "First dance", "Keywords": "7058; heic", "KeywordArray": ["7058", "heic"],
    "Latitude": "47.973777777778", "Longitude": "-123.48731944444", "Altitude": 1519, "Hidden": False,
    "ThumbnailUrl": "https://photos.smugmug.com/photos/i-UQpV019/0/Mgskr8x2/Th/i-UQpV019-Th.jpg",
    "FileName": "IMG_7058_heic.JPG", "Processing": False, "DateTimeUploaded": "2026-06-15T07:41:36+00:00",
    "DateTimeOriginal": "2026-06-14T18:28:12+00:00", "Format": "JPG", "OriginalHeight": 3024,
    "OriginalWidth": 4032, "OriginalSize": 2252145, "LastUpdated": "2026-06-15T07:41:58+00:00",
    "IsVideo": False, "ImageKey": "UQpV019", "Serial": 0,
    "ArchivedUri": "https://photos.smugmug.com/photos/i-UQpV019/0/NjL9vJnt/D/i-UQpV019-D.jpg",
    "ArchivedSize": 2252145, "ArchivedMD5": "4BD39b2fea80a6f1acb1ef551e5774b6", "Status": "Open",
    "SubStatus": "NFS", "AlbumKey": "2GsRNZ", "Origin": "Album",
    "Uri": "/api/v2/album/2GsRNZ/image/UQpV019-0",
    "WebUri": "https://acme.smugmug.com/2026/Smith-Wedding/n-jZ7bdZ/i-UQpV019",
}  # fmt: skip


def test_an_album() -> None:
    album = album_of(ALBUM)
    assert (album.album_key, album.node_id, album.name) == ("2GsRNZ", "jZ7bdZ", "Smith Wedding")
    assert (album.keywords, album.image_count, album.privacy) == (("bride", "groom"), 14, "Unlisted")
    assert album.updated == album.images_updated == "2026-06-15T07:41:57+00:00"
    bare = album_of({"AlbumKey": "RM4BL2", "Name": "Empty", "ImageCount": "0", "Keywords": []})
    assert (bare.image_count, bare.updated, bare.privacy, bare.keywords) == (0, None, None, ())
    with pytest.raises(Transient):
        album_of({"Name": "No key"})


def test_a_photo() -> None:
    photo = image_of(IMAGE, "2GsRNZ", {"UQpV019": {"DateTimeCreated": "2026-06-14T11:28:12"}})
    assert (photo.image_key, photo.album_key, photo.serial) == ("UQpV019", "2GsRNZ", 0)
    assert (photo.captured_at, photo.keywords) == ("2026-06-14T11:28:12", ("7058", "heic"))
    assert (photo.width, photo.height, photo.size_bytes) == (4032, 3024, 2252145)
    assert photo.md5 == "4bd39b2fea80a6f1acb1ef551e5774b6"
    assert (photo.latitude, photo.longitude) == (47.973777777778, -123.48731944444)
    assert not (
        photo.is_video or photo.is_hidden or photo.is_processing or photo.is_broken or photo.is_collected
    )
    assert photo.large_url is None and photo.name == "IMG_7058_heic.JPG"


def test_what_is_missing_is_unknown() -> None:
    least = {"ImageKey": "k", "Latitude": "0", "Longitude": "0.00000000000000", "FileName": "", "Caption": []}
    photo = image_of(least)
    assert (photo.latitude, photo.longitude, photo.captured_at, photo.name) == (None, None, None, "k")
    assert (photo.archived_url, photo.size_bytes, photo.md5, photo.width) == (None, None, None, None)
    assert (photo.caption, photo.uploaded_at, photo.album_key) == ("", None, None)
    odd: dict[str, Any] = {
        **IMAGE, "Serial": "3", "Hidden": "1", "IsVideo": 1, "Latitude": "0", "Longitude": 12.5,
        "OriginalWidth": "4032", "ArchivedSize": "", "Origin": "Smart", "Status": "Preprocess",
        "SubStatus": "CanNotProcess", "ImageKey": None,
    }  # fmt: skip
    photo = image_of(odd, metadata={"UQpV019": {"DateTimeCreated": ""}})
    assert (photo.image_key, photo.serial, photo.width, photo.size_bytes) == ("UQpV019", 3, 4032, 2252145)
    assert photo.is_hidden and photo.is_video and photo.is_broken and photo.is_collected
    assert (photo.latitude, photo.longitude, photo.captured_at) == (0.0, 12.5, "2026-06-14T18:28:12")
    for latitude in ("nan", "91", "1e999", "x", [], True):
        assert image_of({"ImageKey": "k", "Latitude": latitude, "Longitude": "5"}).latitude in (
            None,
            0.0,
            1.0,
        )
    with pytest.raises(Transient):
        image_of({"FileName": "no key"})


def test_the_largest_rendering_that_is_not_too_large() -> None:
    def size(width: int, height: int) -> dict[str, Any]:
        return {"Url": f"https://photos.smugmug.com/{width}.jpg", "Width": width, "Height": str(height)}

    details = {
        "ImageUrlTemplate": "x", "ImageSizeThumb": size(150, 100), "ImageSizeLarge": size(800, 533),
        "ImageSizeX3Large": size(1600, 1066), "ImageSize4K": size(3840, 2160),
    }  # fmt: skip

    def large(found: dict[str, Any]) -> str | None:
        return image_of(IMAGE, details={"UQpV019": found}).large_url

    assert large(details) == "https://photos.smugmug.com/1600.jpg"
    assert large({"ImageSize4K": size(3840, 2160)}) == "https://photos.smugmug.com/3840.jpg"
    assert (
        large({"ImageSizeThumb": size(150, 100), "ImageSizeTiny": size(9, 9), "ImageSizeLarge": []}) is None
    )


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("2026-06-14T11:28:12", "2026-06-14T11:28:12"),
        ("2026-06-14T11:28:12+02:00", "2026-06-14T11:28:12"),
        ("2026-06-14 11:28:12.50", "2026-06-14T11:28:12"),
        ("2026:06:14 11:28:12", "2026-06-14T11:28:12"),
        ("0000-00-00T00:00:00+00:00", None),
        ("2026-02-30T00:00:00", None),
        ("2026-06-14", None),
        ("", None),
        (None, None),
        (1700000000, None),
    ],
)
def test_times_are_those_of_the_camera(given: object, wanted: str | None) -> None:
    assert clock_time(given) == wanted


def test_keywords() -> None:
    assert keywords_of({"KeywordArray": ["a", " b ", "", "a", 7]}) == ("a", "b", "7")
    assert keywords_of({"KeywordArray": [], "Keywords": "a b; c;; c"}) == ("a b", "c")
    assert keywords_of({"Keywords": "a, b"}) == ("a", "b")
    assert keywords_of({"Keywords": []}) == keywords_of({}) == ()


def test_lists_and_links_in_every_form() -> None:
    assert objects_of({"Response": {"Pages": {"Total": 0}}}, "Album") == []
    assert objects_of({"Response": {"Album": [{"a": 1}]}}, "Album") == [{"a": 1}]
    for wrong in ({"Album": {"0": {}}}, {"Album": ["x"]}, {"Album": "x"}):
        with pytest.raises(Transient):
            objects_of({"Response": wrong}, "Album")
    with pytest.raises(Transient):
        object_of({"Response": {"Album": []}}, "Album")
    assert uri_of({"Uris": {"Node": {"Uri": "/api/v2/node/n"}}}, "Node") == "/api/v2/node/n"
    assert uri_of({"Uris": {"Node": "/api/v2/node/n"}}, "Node") == "/api/v2/node/n"
    assert (
        uri_of({"Uris": []}, "Node") is uri_of({}, "Node") is uri_of({"Uris": {"Node": []}}, "Node") is None
    )
    expansions = {
        "/api/v2/image/k-1!metadata": {"ImageMetadata": {"ISO": 1}},
        "/api/v2/image/l!metadata": {"ImageMetadata": []},
        "/x": {"ImageMetadata": {}},
    }
    answer = {"Expansions": expansions}
    found = expansions_of(answer, "ImageMetadata")
    assert found == {"k": {"ISO": 1}, "/api/v2/image/k-1!metadata": {"ISO": 1}, "/x": {}}
    links: tuple[dict[str, Any], ...] = (
        {}, {"Uris": {"ImageMetadata": "/api/v2/image/k-0!metadata"}}, {"Uris": []},
    )  # fmt: skip
    for link in links:
        times: dict[str, dict[str, Any]] = {
            "k": {"DateTimeCreated": "2026-05-30T11:00:00"},
            "/api/v2/image/l-1!metadata": {},
        }
        assert image_of({"ImageKey": "k", **link}, None, times).captured_at == "2026-05-30T11:00:00"
    # By the link, whatever its address looks like.
    metadata = {"/elsewhere/IMG-0001": {"DateTimeCreated": "2026-05-30T11:00:00"}}
    linked = {"ImageKey": "IMG-0001", "Uris": {"ImageMetadata": {"Uri": "/elsewhere/IMG-0001"}}}
    assert image_of(linked, None, metadata).captured_at == "2026-05-30T11:00:00"
    assert expansions_of({"Expansions": []}, "ImageMetadata") == {}
    for address in ("/api/v2/image/k", "/api/v2/image/k-12", "/api/v2/album/a/image/k-0?x=1"):
        assert image_key_of(address) == "k"


def test_stamps() -> None:
    assert moment("2026-06-01T12:00:00") == datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert [moment(stamp) for stamp in (None, "", "yesterday", "0000-00-00T00:00:00")] == [None] * 4
    early, late, odd = "2026-06-01T18:00:00+00:00", "2026-06-01T12:00:00-07:00", "yesterday"
    for stamps, updated in (
        ((early, late), late), ((late, early), late), ((odd, early), early), ((early, None), early),
        ((None, odd), None), ((None, None), None),
    ):  # fmt: skip
        found = album_of({**ALBUM, "LastUpdated": stamps[0], "ImagesLastUpdated": stamps[1]})
        assert (found.updated, found.last_updated) == (updated, stamps[0])


def test_pages() -> None:
    pages = {
        "Total": "7", "Start": 1, "Count": 3, "RequestedCount": 100,
        "NextPage": "/api/v2/album/a!images?start=4&count=3&APIKey=secret&_expand=ImageMetadata",
    }  # fmt: skip
    page = page_of({"Response": {"Pages": pages}}, ("a", "b", "c"), 3)
    assert page == page_of({"Response": {"Pages": {**pages, "Start": "1"}}}, ("a", "b", "c"), 3)
    assert (page.items, page.total, page.start) == (("a", "b", "c"), 7, 1)
    assert page.next_path == "/api/v2/album/a!images?start=4&count=3"
    alone = page_of({"Response": {}}, ("a",), 1)
    assert (alone.total, alone.start, alone.next_path) == (1, 1, None)
    assert next_path("https://api.smugmug.com/api/v2/x?start=9", 1) == "/api/v2/x?start=9"
    for circle in (
        "/api/v2/x?start=1",
        "/api/v2/x",
        "/elsewhere?start=9",
        "http://[x?start=9",
        "/api/v2/x?start=-1",
    ):
        with pytest.raises(Transient, match="circle"):
            next_path(circle, 1)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
    | st.sampled_from(["0", "k", "2026-06-14T11:28:12", "/api/v2/image/k-0!metadata", "/api/v2/x?start=5"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from([*IMAGE, *ALBUM, "Pages", "NextPage", "Start", "Total", "AlbumImage", "Width", "Url"])
        | st.text(max_size=5),
        inner,
        max_size=6,
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*IMAGE, *ALBUM]), ANY_JSON), ANY_JSON, ANY_JSON)
def test_whatever_comes_is_read_or_refused(odd: dict[str, Any], response: Any, expansions: Any) -> None:
    answer = {"Response": response, "Expansions": expansions}
    with contextlib.suppress(Transient):
        photo = image_of({**IMAGE, **odd}, None, expansions_of(answer, "ImageMetadata"))
        assert photo.image_key and (photo.latitude is None or abs(photo.latitude) <= 90)
        assert all(isinstance(word, str) for word in photo.keywords)
    with contextlib.suppress(Transient):
        assert album_of({**ALBUM, **odd}).image_count >= 0
    with contextlib.suppress(Transient):
        found = objects_of(answer, "AlbumImage")
        assert page_of(answer, tuple(found), len(found)).total >= 0


def test_numbers() -> None:
    assert [whole(given) for given in (0, 7, "7", "007")] == [0, 7, 7, 7]
    for wrong in (-1, "-1", 1.5, "1.5", True, None, "", [], 1 << 80, "9" * 30, "٣"):
        assert whole(wrong) is None
