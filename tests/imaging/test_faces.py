"""Faces, on real ones: found, placed in the original picture, and told apart as face_recognition does."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pillow_heif
import pytest
from PIL import Image

import syncd.imaging.pool as pool_module
from syncd.errors import Changed, Refused
from syncd.imaging.face_net import CHIP_SIDE, FaceNet
from syncd.imaging.faces import faces_available, model_paths, pack, unpack
from syncd.imaging.index import matches_tombstone
from syncd.imaging.pool import ImagingPool
from syncd.model import Face, FacesFound
from tests.imaging.portraits import portraits
from tests.pictures import make_picture, write_jpeg

pytestmark = pytest.mark.timeout(60)
Box = tuple[int, int, int, int]
OBAMA = ("obama.jpg", "obama2.jpg", "obama3.jpg", "32bit.png", "obama_partial_face.jpg")


@pytest.fixture(scope="session")
def people() -> dict[str, Path]:
    return portraits()


@pytest.fixture(scope="module")
async def pool(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ImagingPool]:
    async with ImagingPool(2, tmp_path_factory.mktemp("staging"), time_limit_s=50) as started:
        started.start(faces=True)
        yield started


def distance(one: Face, other: Face) -> float:
    a, b = (np.frombuffer(face.encoding, "<f4") for face in (one, other))
    return float(np.linalg.norm(a - b))


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[1], other[1]) - max(one[3], other[3])
    common = max(0, height) * max(0, width)
    areas = [(box[2] - box[0]) * (box[1] - box[3]) for box in (one, other)]
    return common / (sum(areas) - common)


def upright(path: Path) -> Image.Image:
    """The picture in half its size, which is enough for tests."""
    picture = Image.open(path).convert("RGB")
    return picture.reduce(2)


def turned_box(box: Box, size: tuple[int, int]) -> Box:
    """Where `box` of a picture of `size` is after a quarter turn clockwise."""
    top, right, bottom, left = box
    return left, size[1] - top, right, size[1] - bottom


async def test_people_are_told_apart_and_known_again(pool: ImagingPool, people: dict[str, Path]) -> None:
    found: dict[str, FacesFound] = {}

    async def look(name: str) -> None:
        found[name] = await pool.find_faces(str(people[name]))

    async with anyio.create_task_group() as tasks:
        for name in (*OBAMA, "biden.jpg"):
            tasks.start_soon(look, name)
    assert {name: len(answer.faces) for name, answer in found.items()} == dict.fromkeys(found, 1)
    biden = found["biden.jpg"].faces[0]
    obamas = [found[name].faces[0] for name in OBAMA]
    for face in obamas:
        assert all(distance(face, other) <= 0.6 for other in obamas)
        assert distance(face, biden) > 0.6
        assert matches_tombstone(face.encoding, [obamas[0].encoding], 0.6)
        assert not matches_tombstone(face.encoding, [biden.encoding], 0.6)
    answer = found["obama.jpg"]
    assert answer.sha256 == hashlib.sha256(people["obama.jpg"].read_bytes()).hexdigest()
    assert (answer.width, answer.height) == (910, 1137)


async def test_as_face_recognition_finds_and_encodes(pool: ImagingPool, people: dict[str, Path]) -> None:
    """In a process of its own, since face_recognition warns, and loads more than it needs."""
    program = """
import json, sys, warnings
warnings.simplefilter("ignore")
import face_recognition
picture = face_recognition.load_image_file(sys.argv[1])
boxes = face_recognition.face_locations(picture)
print(json.dumps([boxes, [list(e) for e in face_recognition.face_encodings(picture, boxes)]]))
"""
    path = people["obama2.jpg"]
    command = [sys.executable, "-c", program, str(path)]
    run = await anyio.to_thread.run_sync(lambda: subprocess.run(command, capture_output=True, check=True))
    import json

    (box,), (encoding,) = json.loads(run.stdout)
    (face,) = (await pool.find_faces(str(path))).faces
    assert overlap(face.box, tuple(box)) > 0.7
    peer = Face(face.box, np.array(encoding, "<f4").tobytes())
    assert distance(face, peer) < 0.3


def test_the_network_is_dlibs(people: dict[str, Path]) -> None:
    dlib = pytest.importorskip("dlib")
    _, weights = model_paths()
    assert weights is not None
    chips = [
        np.asarray(Image.open(people[name]).convert("RGB").crop((200, 100, 500, 400)).resize((150, 150)))
        for name in ("obama.jpg", "biden.jpg")
    ]
    theirs = dlib.face_recognition_model_v1(str(weights))
    ours = FaceNet(weights)(np.stack(chips))
    assert chips[0].shape == (CHIP_SIDE, CHIP_SIDE, 3)
    for chip, encoding in zip(chips, ours, strict=True):
        assert np.allclose(encoding, np.array(theirs.compute_face_descriptor(chip)), atol=1e-5)


def test_any_other_file_is_not_the_network(tmp_path: Path) -> None:
    landmarks, weights = model_paths()
    assert landmarks is not None and weights is not None
    (tmp_path / "cut").write_bytes(weights.read_bytes()[:1_000_000])
    (tmp_path / "noise").write_bytes(b"\x01\x05con_4" * 100)
    for path in (landmarks, tmp_path / "cut", tmp_path / "noise"):
        with pytest.raises(ValueError, match="not the face encoder"):
            FaceNet(path)


async def test_boxes_are_in_the_upright_original(
    pool: ImagingPool, people: dict[str, Path], tmp_path: Path
) -> None:
    """Reduced, turned by EXIF, or as HEIC: the same face in the same place of the picture as it is shown."""
    picture = upright(people["obama3.jpg"])
    heif = pillow_heif.from_pillow(picture)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored so that a quarter turn clockwise makes it upright
    picture.save(tmp_path / "plain.jpg", quality=92)
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.jpg", quality=92, exif=exif)
    heif.save(tmp_path / "phone.heic", quality=80)
    plain, turned, heic, small = (
        await pool.find_faces(str(tmp_path / "plain.jpg")),
        await pool.find_faces(str(tmp_path / "turned.jpg"), root=str(tmp_path)),
        await pool.find_faces(str(tmp_path / "phone.heic")),
        await pool.find_faces(str(tmp_path / "plain.jpg"), max_side=480, upsample=0),
    )
    for found in (plain, turned, heic, small):
        assert (found.width, found.height) == picture.size
        assert len(found.faces) == 1
        assert overlap(found.faces[0].box, plain.faces[0].box) > 0.6
        assert distance(found.faces[0], plain.faces[0]) < 0.4
    lying = Path(tmp_path / "lying.jpg")
    picture.transpose(Image.Transpose.ROTATE_270).save(lying, quality=92)
    for face in (await pool.find_faces(str(lying))).faces:  # not upright: at best found where it lies
        assert overlap(face.box, turned_box(plain.faces[0].box, picture.size)) > 0.4


async def test_every_face_of_a_group_once(pool: ImagingPool, people: dict[str, Path], tmp_path: Path) -> None:
    """Faces of 45 to 300 pixels before a detailed background, two near together and one in a dark corner."""
    cuts = {
        name: Image.open(people[f"{name}.jpg"]).convert("RGB").crop(box)
        for name, box in (("obama", (250, 40, 756, 560)), ("biden", (200, 150, 760, 950)))
    }
    picture = make_picture(3, 1600, 1000).reduce(2).resize((1600, 1000))
    places = [("obama", 90, (40, 40)), ("biden", 100, (180, 40)), ("obama", 100, (700, 60))]
    places += [("biden", 120, (1300, 700)), ("obama", 600, (250, 380))]
    for name, width, at in places:
        cut = cuts[name]
        picture.paste(cut.resize((width, width * cut.height // cut.width), Image.Resampling.LANCZOS), at)
    dark = picture.crop((1200, 600, 1600, 1000)).point(lambda value: value // 5)
    picture.paste(dark, (1200, 600))
    picture.save(tmp_path / "group.png")
    found = await pool.find_faces(str(tmp_path / "group.png"))
    assert len(found.faces) == len(places)
    known = {name: (await pool.find_faces(str(people[f"{name}.jpg"]))).faces[0] for name in cuts}
    for name, width, (left, top) in places:
        inside = [
            face
            for face in found.faces
            if left <= face.box[3] and face.box[1] <= left + width and top - 5 <= face.box[0] < top + width
        ]
        assert len(inside) == 1
        assert distance(inside[0], known[name]) <= 0.6
    assert [face.box[3] for face in found.faces] == sorted(face.box[3] for face in found.faces)
    assert len((await pool.find_faces(str(tmp_path / "group.png"), upsample=0)).faces) < len(places)
    # Somebody who looks for themselves is in front; of many alike everybody may be.
    (front,) = (await pool.find_faces_in((tmp_path / "group.png").read_bytes())).faces
    assert front.box[1] - front.box[3] > 200 and distance(front, known["obama"]) <= 0.6
    crowd = picture.crop((0, 0, 1600, 300))
    crowd.save(tmp_path / "crowd.png")
    assert len((await pool.find_faces_in((tmp_path / "crowd.png").read_bytes())).faces) == 3


async def test_a_picture_without_faces_is_an_answer(pool: ImagingPool, tmp_path: Path) -> None:
    data = write_jpeg(tmp_path / "a.jpg", 1)
    found = await pool.find_faces(str(tmp_path / "a.jpg"))
    assert found == FacesFound(hashlib.sha256(data).hexdigest(), 1600, 1067, ())
    for size in ((1, 1), (3, 900), (900, 3), (79, 79)):
        buffer = io.BytesIO()
        Image.new("RGB", size, "red").save(buffer, "PNG")
        answer = await pool.find_faces_in(buffer.getvalue())
        assert (answer.width, answer.height, answer.faces) == (*size, ())


async def test_a_query_picture_is_looked_at_once(pool: ImagingPool, people: dict[str, Path]) -> None:
    data = people["obama2.jpg"].read_bytes()
    found = await pool.find_faces_in(data)
    assert found == await pool.find_faces(str(people["obama2.jpg"]))
    assert await pool.find_faces_in(data) is found
    assert await pool.find_faces_in(data, max_side=400, upsample=0) is not found
    with pytest.raises(Refused, match="not an image"):
        await pool.find_faces_in(b"hello")


async def test_huge_and_damaged_pictures(pool: ImagingPool, people: dict[str, Path], tmp_path: Path) -> None:
    killed = pool.killed
    huge = Image.new("RGB", (12_000, 9_000), "gray")
    cut = Image.open(people["obama.jpg"]).convert("RGB")
    huge.paste(cut.resize((cut.width * 4, cut.height * 4)), (5_000, 2_000))
    huge.save(tmp_path / "huge.jpg", quality=70)
    found = await pool.find_faces(str(tmp_path / "huge.jpg"))
    (face,) = found.faces
    assert (found.width, found.height) == huge.size
    (small,) = (await pool.find_faces(str(people["obama.jpg"]))).faces
    top, right, bottom, left = (4 * value for value in small.box)
    assert overlap(face.box, (top + 2_000, right + 5_000, bottom + 2_000, left + 5_000)) > 0.6
    Image.new("1", (16_000, 16_000)).save(tmp_path / "bomb.png")
    data = people["obama.jpg"].read_bytes()
    (tmp_path / "short.jpg").write_bytes(data[: len(data) // 3])
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name, reason in (
        ("bomb.png", "more than the limit"), ("short.jpg", "truncated"), ("empty.jpg", "empty file"),
    ):  # fmt: skip
        with pytest.raises(Refused, match=reason):
            await pool.find_faces(str(tmp_path / name))
    with pytest.raises(Changed):
        await pool.find_faces(str(people["obama.jpg"]), expect_sha256="0" * 64)
    assert pool.killed == killed


async def test_bounds_hold_whatever_the_settings_ask(pool: ImagingPool, tmp_path: Path) -> None:
    write_jpeg(tmp_path / "a.jpg", 1, width=600, height=400)
    found = await pool.find_faces(str(tmp_path / "a.jpg"), max_side=100_000, upsample=4)
    assert found.faces == ()


async def test_a_worker_killed_at_a_face_is_replaced(people: dict[str, Path], tmp_path: Path) -> None:
    found: list[FacesFound] = []
    async with ImagingPool(1, tmp_path / "staging", time_limit_s=50) as pool:

        async def look() -> None:
            found.append(await pool.find_faces(str(people["obama3.jpg"])))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            while not pool.worker_pids or pool.queue[1] == 0:
                await anyio.sleep(0.005)
            await anyio.sleep(0.05)
            (pid,) = pool.worker_pids
            os.kill(pid, 9)
        assert len(found[0].faces) == 1
        assert pool.killed == 1


async def test_faces_and_other_work_share_the_pool(people: dict[str, Path], tmp_path: Path) -> None:
    write_jpeg(tmp_path / "a.jpg", 1)
    order: list[str] = []

    async def do(name: str, call: Callable[..., Any], *arguments: Any) -> None:
        await call(*arguments)
        order.append(name)

    async with ImagingPool(1, tmp_path / "staging", time_limit_s=50) as pool:
        await pool.inspect(str(tmp_path / "a.jpg"))
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(do, "inspect", pool.inspect, str(tmp_path / "a.jpg"))
                tasks.start_soon(do, "faces", pool.find_faces, str(people["obama2.jpg"]))
            await anyio.sleep(0.01)
            tasks.start_soon(do, "query", pool.find_faces_in, people["obama.jpg"].read_bytes())
        assert sorted(order) == ["faces"] * 3 + ["inspect"] * 3 + ["query"]
        assert order.index("query") <= 3
        assert pool.killed == 0
        assert len(pool.worker_pids) == 1


async def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "faces_available", lambda: False)
    async with ImagingPool(1, tmp_path / "staging") as pool:
        pool.start(faces=True)
        for look in (lambda: pool.find_faces("/a.jpg"), lambda: pool.find_faces_in(b"")):
            with pytest.raises(Refused, match='faces need the "faces" extra') as caught:
                await look()
            assert "'.[faces]'" in str(caught.value.hint)


def test_whether_faces_are_available_is_known_without_loading_them() -> None:
    program = (
        "import sys; from syncd.imaging.faces import faces_available; assert faces_available()\n"
        "import syncd.imaging.pool, syncd.imaging.index\n"
        "print({'dlib', '_dlib_pybind11', 'face_recognition', 'numpy', 'PIL'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_without_dlib_they_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert faces_available()
    for module in ("dlib", "face_recognition_models"):
        monkeypatch.setitem(sys.modules, module, None)
        with monkeypatch.context() as patched:
            patched.setattr("importlib.util.find_spec", _not_found(module))
            assert not faces_available()


def _not_found(missing: str) -> Callable[[str], Any]:
    import importlib.util

    find_spec = importlib.util.find_spec
    return lambda name: None if name == missing else find_spec(name)


def test_answers_survive_the_way() -> None:
    faces = (Face((1, 20, 30, 2), bytes(range(256)) * 2), Face((5, 6, 7, 0), b"\n" * 512))
    sent = pack("ab", (70, 80), [face.box for face in faces], b"".join(face.encoding for face in faces))
    assert unpack(sent) == FacesFound("ab", 70, 80, faces)
    assert unpack(pack("ab", (7, 8), [], b"")) == FacesFound("ab", 7, 8, ())
