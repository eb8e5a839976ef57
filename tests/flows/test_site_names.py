"""The naming rules of the site, case by case and in general."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.config import BatchesConfig
from syncd.flows.site_names import base_filename, initial_stems_of, new_scene_id, stem_of, storage_key

SUFFIXES = BatchesConfig().suffixes


@pytest.mark.parametrize(
    ("stem", "initial", "expected"),
    [
        ("IMG_0001", (), "IMG_0001"),
        ("IMG_0001_crop", (), "IMG_0001"),
        ("IMG_0001-crop2", (), "IMG_0001"),
        ("IMG_0001 crop-2", (), "IMG_0001"),
        ("IMG_0001_CROP", (), "IMG_0001"),
        ("IMG_0001_inverted_cropped_final", (), "IMG_0001"),
        ("IMG_0001_inv_crop_3", (), "IMG_0001"),
        ("IMG-2", (), "IMG-2"),
        ("crop", (), "crop"),
        ("crop_crop", (), "crop"),
        ("scan-0001", (), "scan-0001"),
        ("0001-scan", (), "0001"),
        ("roll-scan", ("roll-scan",), "roll-scan"),
        ("roll-scan_crop", ("roll-scan",), "roll-scan"),
        ("roll-scan_crop", (), "roll"),
        ("IMGcrop", (), "IMGcrop"),
        ("photo.edit", (), "photo.edit"),
        ("Ünïcode_édit_edit", (), "Ünïcode_édit"),
    ],
)
def test_suffix_words_are_stripped(stem: str, initial: tuple[str, ...], expected: str) -> None:
    assert base_filename(stem, SUFFIXES, initial) == expected


@given(st.text(min_size=1, max_size=30), st.lists(st.sampled_from(SUFFIXES), max_size=4))
def test_stripping_is_stable_and_undoes_what_was_added(stem: str, words: list[str]) -> None:
    base = base_filename(stem, SUFFIXES, ())
    assert base_filename(base, SUFFIXES, ()) == base
    assert stem.startswith(base) and base
    if base[-1] not in "-_ ":
        assert base_filename("_".join([base, *words]), SUFFIXES, ()) == base
        assert base_filename("_".join([base, *words]), SUFFIXES, (base,)) == base


@given(st.text(min_size=1, max_size=20))
def test_initial_scans_keep_their_stem_whole(stem: str) -> None:
    assert base_filename(stem, SUFFIXES, (stem,)) == stem


def test_stem_and_initial_stems() -> None:
    assert stem_of("a.b.jpg") == "a.b"
    assert stem_of(".jpg") == ".jpg"
    assert initial_stems_of([("initial_scan", "a.tif"), ("final_crops", "b.jpg")]) == {"a"}


def test_the_first_recorded_scene_keeps_the_id() -> None:
    taken = {"a-b-c": ("a", "b-c")}
    assert new_scene_id("a", "b-c", taken) == "a-b-c"
    assert new_scene_id("a-b", "c", taken) == "a-b-c~2"
    taken["a-b-c~2"] = ("a-b", "c")
    assert new_scene_id("a-b", "c", taken) == "a-b-c~2"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("x.jpg", "p/scenes/s.jpg"),
        ("x.JPEG", "p/scenes/s.jpg"),
        ("x.PNG", "p/scenes/s.png"),
        ("x.webp", "p/scenes/s.webp"),
        ("x.tif", "p/scenes/s.jpg"),
        ("x.heic", "p/scenes/s.jpg"),
        ("x.CR2", "p/scenes/s.jpg"),
    ],
)
def test_keys_follow_the_name(name: str, key: str) -> None:
    assert storage_key("p/", "s", name) == key
