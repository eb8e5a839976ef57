"""Albums, photos, nodes and users as SmugMug describes them, with their links."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.fakes.smugmug_model import SHIFT, SIDES, FakeAlbum, FakeImage, FakeNode, Shown

_SIZE_NAMES = {
    "Th": "Thumb", "S": "Small", "M": "Medium", "L": "Large", "XL": "XLarge", "X2": "X2Large",
    "X3": "X3Large",
}  # fmt: skip


def stamp(at: datetime | None) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}+00:00" if at else ""


def links(**uris: str) -> dict[str, Any]:
    return {name: {"Uri": uri, "UriDescription": name, "EndpointType": name} for name, uri in uris.items()}


def album_resource(album: FakeAlbum, path: list[str], level: str) -> dict[str, Any]:
    """`level` is Full for the owner, Public, or Password for who is kept out."""
    uri, url_path = f"/api/v2/album/{album.key}", "/" + "/".join(path)
    secret_part = f"/n-{album.node_id}" if album.privacy == "Unlisted" else ""
    found: dict[str, Any] = {
        "NiceName": album.url_name, "UrlName": album.url_name, "Title": album.name, "Name": album.name,
        "AllowDownloads": album.allow_downloads, "Description": album.description, "Keywords": album.keywords,
        "SecurityType": album.security_type, "SortMethod": "Date Taken", "SortDirection": "Ascending",
        "Protected": False, "AlbumKey": album.key, "NodeID": album.node_id, "ImageCount": len(album.shown),
        "LastUpdated": stamp(album.last_updated), "ImagesLastUpdated": stamp(album.images_updated),
        "UrlPath": url_path, "WebUri": f"https://{album.owner}.smugmug.com{url_path}{secret_part}",
        "Uri": uri, "UriDescription": "Album by key", "ResponseLevel": level,
        "Uris": links(
            User=f"/api/v2/user/{album.owner}", Node=f"/api/v2/node/{album.node_id}",
            AlbumImages=f"{uri}!images",
        ),
    }  # fmt: skip
    if level == "Full":
        found |= {
            "Date": stamp(album.date or album.created_at), "Privacy": album.privacy, "Password": "",
            "UploadKey": "", "LargestSize": "5K", "WorldSearchable": album.privacy == "Public",
        }  # fmt: skip
    if level == "Password":
        found = {
            name: found[name] for name in ("AlbumKey", "Name", "NodeID", "SecurityType", "Uri", "WebUri")
        }
        found |= {"ResponseLevel": level, "Uris": links(UnlockAlbum=f"{uri}!unlock")}
    return {**found, **album.extra}


def photo_url(base: str, image: FakeImage, size: str) -> str:
    extension = "mp4" if image.is_video and size == "D" else "jpg"
    folder = f"{base}/photos/i-{image.key}/{image.serial}/{image.hash(size)}/{size}"
    return f"{folder}/i-{image.key}-{size}.{extension}"


def image_resource(
    image: FakeImage, base: str, *, shown: Shown | None, album_key: str, downloads: bool, as_text: bool
) -> dict[str, Any]:
    """An Image, or with `shown` the AlbumImage of an album."""
    key = f"{image.key}-{image.serial}"
    uri = f"/api/v2/image/{key}"
    place = (
        f"{image.latitude:.12f}" if image.latitude else "0",
        f"{image.longitude:.12f}" if image.longitude else "0",
    )
    found: dict[str, Any] = {
        "Title": image.title, "Caption": image.caption, "Keywords": "; ".join(image.keywords),
        "KeywordArray": image.keywords, "Watermark": "No", "Latitude": place[0], "Longitude": place[1],
        "Altitude": 0, "Hidden": image.hidden, "ThumbnailUrl": photo_url(base, image, "Th"),
        "FileName": image.file_name, "Processing": image.processing, "UploadKey": "9798117731",
        "Date": stamp(image.added_at), "DateTimeUploaded": stamp(image.added_at), "Format": image.format,
        "OriginalHeight": image.height, "OriginalWidth": image.width, "LastUpdated": stamp(image.updated_at),
        "IsArchive": False, "IsVideo": image.is_video, "CanEdit": True, "Protected": False,
        "ComponentFileTypes": [] if image.is_video else {"Image": ["jpg"]},
        "ImageKey": image.key, "Serial": str(image.serial) if as_text else image.serial,
        "Status": "Preprocess" if image.broken else "Open",
        "SubStatus": "CanNotProcess" if image.broken else "NFS",
        "PreferredDisplayFileExtension": "JPG", "Uri": uri, "UriDescription": "Image by key",
        "WebUri": f"https://{image.owner}.smugmug.com/i-{image.key}",
        "Uris": links(
            Image=uri, ImageMetadata=f"{uri}!metadata", ImageSizeDetails=f"{uri}!sizedetails",
            ImageDownload=f"{uri}!download",
        ),
    }  # fmt: skip
    if image.taken_at is not None:
        found["DateTimeOriginal"] = stamp(image.taken_at + SHIFT)
    if downloads and not image.processing:
        size = len(image.original)
        found |= {
            "ArchivedUri": photo_url(base, image, "D"), "ArchivedSize": size, "OriginalSize": size,
            "ArchivedMD5": image.md5,
        }  # fmt: skip
    if shown is not None:
        found |= {
            "AlbumKey": album_key, "Movable": shown.origin == "Album", "Origin": shown.origin,
            "Uri": f"/api/v2/album/{album_key}/image/{key}",
        }  # fmt: skip
        if shown.collected_from is not None:
            found["CollectedFrom"] = f"/api/v2/album/{shown.collected_from}"
    return {**found, **image.extra}


def metadata_resource(image: FakeImage) -> dict[str, Any]:
    taken = f"{image.taken_at:%Y-%m-%dT%H:%M:%S}" if image.taken_at else ""
    return {
        "Title": image.title, "Caption": image.caption, "DateTimeCreated": taken, "DateTimeModified": taken,
        "Make": "NIKON" if taken else "", "Model": "", "ISO": 200 if taken else "", "Aperture": "",
        "Latitude": image.latitude, "Longitude": image.longitude, "Altitude": "",
        "Uri": f"/api/v2/image/{image.key}-{image.serial}!metadata", "Uris": {},
    }  # fmt: skip


def sizes_resource(image: FakeImage, base: str, downloads: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"ImageUrlTemplate": photo_url(base, image, "#size#"), "UsableSizes": []}
    longest = max(image.width, image.height)
    for size, side in {**SIDES, "D": longest}.items():
        if side > longest or (size == "D" and not downloads):
            continue
        name = "ImageSizeOriginal" if size == "D" else f"ImageSize{_SIZE_NAMES[size]}"
        found["UsableSizes"].append(name)
        found[name] = {
            "Url": photo_url(base, image, size), "Ext": "jpg", "Watermarked": False,
            "Width": max(1, image.width * side // longest), "Height": max(1, image.height * side // longest),
        }  # fmt: skip
    return found


def node_resource(node: FakeNode, path: list[str]) -> dict[str, Any]:
    uri = f"/api/v2/node/{node.id}"
    more = (
        {"Album": f"/api/v2/album/{node.album_key}"} if node.album_key else {"ChildNodes": f"{uri}!children"}
    )
    return {
        "NodeID": node.id, "Name": node.name, "UrlPath": "/" + "/".join(path), "IsRoot": node.parent is None,
        "Type": "Album" if node.album_key else "Folder", "Uri": uri, "Uris": links(**more),
    }  # fmt: skip


def user_resource(nickname: str, root: str, image_count: int) -> dict[str, Any]:
    uri = f"/api/v2/user/{nickname}"
    return {
        "NickName": nickname, "Name": nickname.title(), "ImageCount": image_count, "AccountStatus": "Active",
        "Plan": "Pro", "Uri": uri, "WebUri": f"https://{nickname}.smugmug.com", "ResponseLevel": "Full",
        "Uris": links(
            Node=f"/api/v2/node/{root}", UserAlbums=f"{uri}!albums", UserDeletedAlbums=f"{uri}!deletedalbums"
        ),
    }  # fmt: skip
