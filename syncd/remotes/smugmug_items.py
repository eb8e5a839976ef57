"""What SmugMug says, as frozen values: https://api.smugmug.com/api/v2/doc

Names, keys and addresses are somebody else's data: a name is for showing, and none is ever a path. A field
that SmugMug leaves out (not known, or not for this account) is None or empty. PHP wrote the answers: numbers
come as texts, an empty map as `[]`, and zero stands for an unknown place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from syncd.errors import Transient

T = TypeVar("T")
LARGE_SIDE: Final = 1600
_IMAGE: Final = re.compile(r"/image/([A-Za-z0-9]+)(?:-\d+)?(?:$|[!?])")
_PHOTO: Final = re.compile(r"/i-([A-Za-z0-9]+)/")
_CLOCK: Final = re.compile(r"(\d{4})[-:](\d\d)[-:](\d\d)[T ](\d\d):(\d\d):(\d\d)")


@dataclass(frozen=True, slots=True)
class AlbumInfo:
    """An album as it is now. `album_key` stays when it is renamed or moved; stamps are SmugMug's texts
    (RFC 3339, whole seconds): `last_updated` is the album's own, `images_updated` moves when photos are
    added, removed or rearranged; an edited caption moves neither. `privacy` (Public, Unlisted, Private) is
    for the owner only; `security_type` is None, Password or GrantAccess."""

    album_key: str
    name: str
    node_id: str | None = None
    description: str = ""
    keywords: tuple[str, ...] = ()
    image_count: int = 0
    last_updated: str | None = None
    images_updated: str | None = None
    date: str | None = None
    url_name: str = ""
    url_path: str = ""
    web_url: str = ""
    privacy: str | None = None
    security_type: str | None = None
    sort_method: str | None = None
    response_level: str | None = None

    @property
    def updated(self) -> str | None:
        """The later of both stamps; what is no time is none."""
        stamps = [(moment(stamp), stamp) for stamp in (self.last_updated, self.images_updated) if stamp]
        return max(((at, stamp) for at, stamp in stamps if at is not None), default=(None, None))[1]


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """A photo or video in an album. `image_key` stays when it is replaced, and is the same in every album
    that holds it; `serial` rises with each replacement.

    `captured_at` is `YYYY-MM-DDTHH:MM:SS` by the camera's own clock, without zone; `uploaded_at` and
    `last_updated` are SmugMug's texts. The addresses are not for ever; `large_url` is not in lists, only
    where one photo was asked for. `archived_url`, `size_bytes` and `md5` are those of the original, and only
    there for who may download it. While `is_processing` nothing of this is final; `is_broken` says that
    SmugMug could not process it and will not.
    """

    image_key: str
    album_key: str | None = None
    serial: int = 0
    file_name: str = ""
    title: str = ""
    caption: str = ""
    keywords: tuple[str, ...] = ()
    captured_at: str | None = None
    uploaded_at: str | None = None
    last_updated: str | None = None
    thumbnail_url: str | None = None
    large_url: str | None = None
    archived_url: str | None = None
    web_url: str | None = None
    width: int | None = None
    height: int | None = None
    size_bytes: int | None = None
    md5: str | None = None
    format: str = ""
    is_video: bool = False
    is_hidden: bool = False
    is_processing: bool = False
    is_broken: bool = False
    is_collected: bool = False
    latitude: float | None = None
    longitude: float | None = None

    @property
    def name(self) -> str:
        """The file's name, or the key where it has none."""
        return self.file_name or self.image_key


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list: `start` is the place of its first item, from 1 on; `next_path` leads to the page
    after it, None at the end. The order may shift between pages, so items may come twice or be skipped: a
    list is whole only where `total` is the same on every page and as many different keys came."""

    items: tuple[T, ...]
    total: int
    start: int
    next_path: str | None


# --- parsing --------------------------------------------------------------------------------------------


def objects_of(answer: Mapping[str, Any], locator: str) -> list[dict[str, Any]]:
    """The objects of a list, `[]` for an empty one, which comes without its key. Raises Transient for what is
    no list."""
    found = _map(answer.get("Response")).get(locator, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Transient(f"SmugMug gave no list of {locator}")
    return found


def object_of(answer: Mapping[str, Any], locator: str) -> dict[str, Any]:
    """The one object of an answer. Raises Transient where there is none."""
    found = _map(answer.get("Response")).get(locator)
    if not isinstance(found, dict):
        raise Transient(f"SmugMug gave no {locator}")
    return found


def page_of(answer: Mapping[str, Any], items: tuple[T, ...], listed: int) -> Page[T]:
    """`items` with their place in the list; `listed` is how many there were before duplicates went. Raises
    Transient for a page that leads nowhere or back."""
    pages = _map(_map(answer.get("Response")).get("Pages"))
    start, total = whole(pages.get("Start")) or 1, whole(pages.get("Total"))
    following = text(pages, "NextPage")
    return Page(items, listed if total is None else total, start, next_path(following, start))


def next_path(given: str | None, start: int) -> str | None:
    """The path of the page after that at `start`, with only its place in the query: an address may echo keys,
    and how answers are shaped is for who asks."""
    if not given:
        return None
    try:
        address = urlsplit(given)
        query = dict(parse_qsl(address.query))
    except ValueError:
        query = {}
    following = whole(query.get("start"))
    if following is None or following <= start or not address.path.startswith("/api/v2/"):
        raise Transient("SmugMug lists in a circle")
    place = [(name, query[name]) for name in ("start", "count") if name in query]
    return f"{address.path}?{urlencode(place)}"


def album_of(found: Mapping[str, Any]) -> AlbumInfo:
    """An `Album`. Raises Transient for what has no key."""
    if not (album_key := text(found, "AlbumKey")):
        raise Transient("SmugMug gave an album without a key")
    return AlbumInfo(
        album_key=album_key,
        name=text(found, "Name") or text(found, "Title") or "",
        node_id=text(found, "NodeID"),
        description=text(found, "Description") or "",
        keywords=keywords_of(found),
        image_count=whole(found.get("ImageCount")) or 0,
        last_updated=text(found, "LastUpdated"),
        images_updated=text(found, "ImagesLastUpdated"),
        date=text(found, "Date"),
        url_name=text(found, "UrlName") or text(found, "NiceName") or "",
        url_path=text(found, "UrlPath") or "",
        web_url=text(found, "WebUri") or "",
        privacy=text(found, "Privacy"),
        security_type=text(found, "SecurityType"),
        sort_method=text(found, "SortMethod"),
        response_level=text(found, "ResponseLevel"),
    )


def image_of(
    found: Mapping[str, Any],
    album_key: str | None = None,
    metadata: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    details: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> ImageInfo:
    """An `AlbumImage` of the album with this key, or an `Image`; `metadata` and `details` are the expansions
    of `ImageMetadata` and `ImageSizeDetails`. Raises Transient for what has no key."""
    image_key = text(found, "ImageKey") or image_key_of(text(found, "Uri") or "")
    if not image_key:
        raise Transient("SmugMug gave an image without a key")
    exif = _expanded(found, "ImageMetadata", image_key, metadata)
    sizes = _expanded(found, "ImageSizeDetails", image_key, details)
    latitude, longitude = _degrees(found.get("Latitude"), 90), _degrees(found.get("Longitude"), 180)
    unknown = not latitude and not longitude
    size_bytes = whole(found.get("ArchivedSize"))
    return ImageInfo(
        image_key=image_key,
        album_key=album_key or text(found, "AlbumKey"),
        serial=whole(found.get("Serial")) or 0,
        file_name=text(found, "FileName") or "",
        title=text(found, "Title") or "",
        caption=text(found, "Caption") or "",
        keywords=keywords_of(found),
        captured_at=clock_time(exif.get("DateTimeCreated")) or clock_time(found.get("DateTimeOriginal")),
        uploaded_at=text(found, "DateTimeUploaded") or text(found, "Date"),
        last_updated=text(found, "LastUpdated"),
        thumbnail_url=text(found, "ThumbnailUrl"),
        large_url=large_url_of(sizes),
        archived_url=text(found, "ArchivedUri"),
        web_url=text(found, "WebUri"),
        width=whole(found.get("OriginalWidth")) or None,
        height=whole(found.get("OriginalHeight")) or None,
        size_bytes=whole(found.get("OriginalSize")) if size_bytes is None else size_bytes,
        md5=(text(found, "ArchivedMD5") or "").lower() or None,
        format=(text(found, "Format") or "").upper(),
        is_video=truth(found.get("IsVideo")),
        is_hidden=truth(found.get("Hidden")),
        is_processing=truth(found.get("Processing")),
        is_broken=text(found, "Status") == "Preprocess" and text(found, "SubStatus") == "CanNotProcess",
        is_collected=text(found, "Origin") == "Smart" or text(found, "CollectedFrom") is not None,
        latitude=None if unknown else latitude,
        longitude=None if unknown else longitude,
    )


def expansions_of(answer: Mapping[str, Any], locator: str) -> dict[str, dict[str, Any]]:
    """The expansions of one kind, by address and by image key: an image may link to KEY and its expansion be
    of KEY-0."""
    found = {}
    for address, expansion in _map(answer.get("Expansions")).items():
        value = _map(expansion).get(locator)
        if isinstance(value, dict):
            found[address] = value
            if image_key := image_key_of(address):
                found[image_key] = value
    return found


def _expanded(
    found: Mapping[str, Any], name: str, image_key: str, expansions: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Any]:
    """What an image's link of this name leads to, {} where it was not expanded."""
    return expansions.get(uri_of(found, name) or "") or expansions.get(image_key, {})


def large_url_of(details: Mapping[str, Any]) -> str | None:
    """The largest rendering in `ImageSizeDetails` with sides of at most LARGE_SIDE pixels, the next larger
    one where there is none; thumbnails do not count."""
    found = []
    for name, size in details.items():
        if not name.startswith("ImageSize") or name.endswith(("Tiny", "Thumb")) or not isinstance(size, dict):
            continue
        side = max(whole(size.get("Width")) or 0, whole(size.get("Height")) or 0)
        if side and (url := text(size, "Url")):
            found.append((side, url))
    fitting = [one for one in found if one[0] <= LARGE_SIDE]
    best = max(fitting, default=None) or min(found, default=None)
    return best[1] if best else None


def uri_of(found: Mapping[str, Any], name: str) -> str | None:
    """A linked address, in either form: `{"Name": {"Uri": …}}`, or `{"Name": …}` with `_shorturis`."""
    link = _map(found.get("Uris")).get(name)
    return text(link, "Uri") if isinstance(link, dict) else link if isinstance(link, str) and link else None


def image_key_of(address: str) -> str | None:
    """The image key in an API address, without the serial that may follow it."""
    found = _IMAGE.search(address)
    return found[1] if found else None


def image_key_in(photo_url: str) -> str | None:
    """The image key in the address of a photo's bytes, which is nobody's promise but was so all along."""
    found = _PHOTO.search(photo_url)
    return found[1] if found else None


def keywords_of(found: Mapping[str, Any]) -> tuple[str, ...]:
    """`KeywordArray`, else `Keywords` split at semicolons, or at commas where there are none; each once."""
    given = found.get("KeywordArray")
    if not isinstance(given, list) or not given:
        words = text(found, "Keywords") or ""
        given = words.split(";" if ";" in words else ",")
    return tuple(dict.fromkeys(word for word in (str(one).strip() for one in given) if word))


def clock_time(value: object) -> str | None:
    """A time as the camera's clock showed it, `YYYY-MM-DDTHH:MM:SS`; a zone that stands behind it is none of
    the camera's. None for what is no time."""
    found = _CLOCK.match(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    try:
        return datetime(*(int(part) for part in found.groups())).isoformat()  # type: ignore[arg-type]
    except ValueError:
        return None


def moment(stamp: str | None) -> datetime | None:
    """A time of SmugMug or of ours; None for what is none. One without a zone is in UTC."""
    try:
        found = datetime.fromisoformat(stamp or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def text(found: Mapping[str, Any], key: str) -> str | None:
    """None for what is missing, empty or no text; numbers as they are written."""
    value = found.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def whole(value: object) -> int | None:
    """A whole number that is not negative, written as a number or as a text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value < 1 << 63 else None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 19:
        return int(value)
    return None


def truth(value: object) -> bool:
    return value is True or value == 1 or value in ("1", "true", "Yes")


def _degrees(value: object, most: float) -> float | None:
    try:
        found = float(str(value)) if isinstance(value, str | int | float) else 0.0
    except ValueError:
        return None
    return found if math.isfinite(found) and abs(found) <= most else None


def _map(value: object) -> Mapping[str, Any]:
    """PHP writes an empty map as an empty list."""
    return value if isinstance(value, dict) else {}
