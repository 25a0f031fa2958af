"""`glasses group`: which faces are of one person, the lines that say so, and the sheet."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy.cluster import hierarchy

from conftest import ROOT
from glasses import group_command, people
from glasses.group_command import CAPTION, GAP, LABEL, TILE, PhotoFace, caption, contact_sheet, cut_tile, sheet_rows
from glasses.people import group_faces, number_people
from test_cli import call

# ------------------------------------------------------------------------------------------------ clustering


def faces_of_people(seed: int, count: int = 300, people: int = 60, size: int = 16) -> np.ndarray:
    """Vectors of length 1 around some directions, so wide that the clusters overlap."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(people, size))
    vectors = means[rng.integers(people, size=count)] + 0.7 * rng.normal(size=(count, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def partition(labels) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [-0.2, 0.1, 0.4, 0.6, 0.9])
@pytest.mark.parametrize("at_once", [2**24, 700])
def test_clusters_are_those_of_scipys_average_linkage(monkeypatch, seed, threshold, at_once):
    monkeypatch.setattr(people, "AT_ONCE", at_once)
    vectors = faces_of_people(seed)
    tree = hierarchy.linkage(vectors.astype(np.float64), "average", metric="cosine")
    expected = hierarchy.fcluster(tree, 1 - threshold, "distance")
    clusters = group_faces(vectors, threshold)
    assert partition(clusters) == partition(expected)
    assert all(clusters[clusters[i]] == clusters[i] <= i for i in range(len(vectors))), "named by their first face"


def test_faces_that_are_alike_to_the_last_bit_are_one_cluster():
    vectors = np.repeat(faces_of_people(0, 20, 20, 64), 7, axis=0)
    clusters = group_faces(vectors[np.random.default_rng(0).permutation(len(vectors))], 0.99)
    assert np.bincount(clusters)[np.unique(clusters)].tolist() == [7] * 20


@pytest.mark.parametrize("count", [0, 1])
def test_of_one_face_or_none_there_is_nothing_to_merge(count):
    assert group_faces(np.eye(4, dtype=np.float32)[:count], 0.5).tolist() == list(range(count))


def test_a_ring_of_nearest_ones_is_merged_all_the_same(monkeypatch):
    """Where rounding makes 0 look to 1, 1 to 2 and 2 to 0, no two are each other's nearest."""
    search, rings = people._nearest, []

    def ring(means, of, among):
        similarity, nearest = search(means, of, among)
        if not rings:
            rings.append(True)
            return np.float32([0.97, 0.98, 0.96]), np.array([1, 2, 0])
        return similarity, nearest

    monkeypatch.setattr(people, "_nearest", ring)
    vectors = np.float32([[1, 0.1], [1, 0], [1, -0.1]])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert group_faces(vectors, 0.9).tolist() == [0, 0, 0]


def test_people_are_numbered_by_how_many_faces_they_have():
    assert number_people(np.array([0, 1, 2, 1, 4, 0, 1, 7])) == [2, 1, None, 1, None, 2, 1, None]
    assert number_people(np.array([0, 1, 1, 0])) == [1, 2, 2, 1], "of equals the first comes first"
    assert number_people(np.array([], int)) == []


# -------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def photos(tmp_path, hopper, astronaut) -> Path:
    """Hopper three times, Collins twice, once in the same picture; a cat; a file that is no picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(hopper, folder / "a.jpg")
    both = [np.asarray(Image.open(photo).convert("RGB").resize((512, 512))) for photo in (hopper, astronaut)]
    Image.fromarray(np.hstack(both)).save(folder / "b.png")
    (folder / "c broken.jpg").write_text("not a picture")
    Image.open(hopper).resize((400, 469)).save(folder / "d.jpg", quality=80)
    shutil.copy(astronaut, folder / "e.png")
    Image.new("RGB", (300, 200), "teal").save(folder / "f.png")
    return folder


def test_people_have_a_number_and_each_photo_a_line(capsys, network, photos):
    status, out, err = call(capsys, "group", photos, "--model", network)
    assert status == 1
    records = [json.loads(line) for line in out.splitlines()]
    assert all(list(record) == ["path", "box", "person", "error"] for record in records)
    found = [(Path(record["path"]).name, record["person"]) for record in records]
    both = found[1:3]
    assert sorted(both) == [("b.png", 1), ("b.png", 2)]
    assert found[:1] + found[3:] == [("a.jpg", 1), ("c broken.jpg", None), ("d.jpg", 1), ("e.png", 2), ("f.png", None)]
    left = {record["person"]: record["box"][0] + record["box"][2] < 512 for record in records[1:3]}
    assert left == {1: True, 2: False}, "Hopper is at the left"
    assert records[3]["box"] is None
    assert records[3]["error"].startswith("not a picture")
    assert records[6]["box"] is records[6]["error"] is None
    told = err.splitlines()
    assert told[0].startswith(f"glasses: {photos / 'c broken.jpg'}: not a picture")
    assert told[1:] == ["2 people with 5 faces, 0 faces alone, 1 photo without a face, 1 could not be read"]


def test_a_higher_threshold_leaves_more_alone(capsys, network, photos, tmp_path):
    out = tmp_path / "people.jsonl"
    options = ["--model", network, "--output", out]
    status, printed, err = call(capsys, "group", photos / "a.jpg", photos / "e.png", "--threshold=1", *options)
    assert (status, printed, err) == (0, "", "0 people with 0 faces, 2 faces alone\n")
    assert [json.loads(line)["person"] for line in out.read_text().splitlines()] == [None, None]
    call(capsys, "group", photos / "a.jpg", photos / "e.png", "--threshold=-1", *options)
    assert [json.loads(line)["person"] for line in out.read_text().splitlines()] == [1, 1]


def test_the_sheet_has_a_row_a_person(capsys, network, photos, tmp_path):
    sheet = tmp_path / "people.png"
    shutil.copy(ROOT / "data" / "sample" / "MeGlass_120x120" / "sample@identity_0@0.jpg", photos / "g.jpg")
    status, _, err = call(capsys, "group", photos, "--model", network, "--sheet", sheet)
    assert status == 1
    assert err.splitlines()[-1].startswith("2 people with 5 faces, 1 face alone")
    picture = Image.open(sheet)
    assert picture.size == (LABEL + 3 * (TILE + GAP) + GAP, 3 * (TILE + CAPTION + GAP) + GAP)
    pixels = np.asarray(picture).astype(int)
    for row, count in enumerate([3, 2, 1]):
        top = GAP + row * (TILE + CAPTION + GAP)
        tiles = [pixels[top : top + TILE, LABEL + i * (TILE + GAP) :][:, :TILE] for i in range(3)]
        assert [bool((tile < 250).any()) for tile in tiles] == [i < count for i in range(3)]
        captions = [pixels[top + TILE : top + TILE + CAPTION, LABEL + i * (TILE + GAP) :][:, :TILE] for i in range(3)]
        assert [bool((text < 128).any()) for text in captions] == [i < count for i in range(3)]
        assert (pixels[top : top + TILE, :LABEL] < 128).any(), "the words at its left"


def test_too_many_people_for_the_sheet_are_counted(capsys, monkeypatch, network, photos, tmp_path):
    monkeypatch.setattr(group_command, "ROWS", 1)
    sheet = tmp_path / "people.jpg"
    status, _, err = call(capsys, "group", photos / "b.png", "--threshold=1", "--model", network, "--sheet", sheet)
    assert status == 0, "both are alone, in one row"
    call(capsys, "group", photos, "--model", network, "--sheet", sheet)
    status, _, err = call(capsys, "group", photos, "--model", network, "--sheet", sheet)
    assert err.splitlines()[-1] == "glasses: --sheet: 1 of 2 rows are drawn"
    assert Image.open(sheet).height == TILE + CAPTION + 2 * GAP


def test_what_would_overwrite_a_photo_or_lie_among_them_is_refused(capsys, network, photos, tmp_path):
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    (tmp_path / "link.jpg").symlink_to(photos / "a.jpg")
    for options, message in [
        (["--output", photos / "a.jpg"], "is a photo of the input"),
        (["--output", tmp_path / "link.jpg"], "is a photo of the input"),
        (["--sheet", photos / "sheet.jpg"], "would lie among the photos"),
        (["--sheet", photos / "deeper" / "sheet.jpg", "--recursive"], "would lie among the photos"),
        (["--sheet", tmp_path / "sheet.txt"], "does not end as a picture"),
        (["--sheet", ""], "does not end as a picture"),
        (["--sheet", tmp_path], "is a folder"),
    ]:
        status, out, err = call(capsys, "group", photos, "--model", network, *options)
        assert (status, out) == (2, "")
        (line,) = err.splitlines()
        assert message in line
    assert {path.name: path.read_bytes() for path in photos.iterdir()} == before


def test_without_a_face_there_is_no_sheet(capsys, network, photos, tmp_path):
    status, out, err = call(capsys, "group", photos / "f.png", "--model", network, "--sheet", tmp_path / "a.jpg")
    assert status == 1
    assert json.loads(out)["person"] is None
    assert err.splitlines() == [
        "0 people with 0 faces, 0 faces alone, 1 photo without a face",
        "glasses: --sheet: nothing to draw, no face was found",
    ]
    assert not (tmp_path / "a.jpg").exists()


# ------------------------------------------------------------------------------------------------------ the sheet

FONT = ImageFont.load_default(12)


@pytest.mark.parametrize("size", [(900, 600), (6000, 4000)])
def test_a_tile_shows_the_face_with_its_surroundings_and_keeps_the_aspect(tmp_path, size):
    """A circle on green where the box is; at the border of the photo the tile is narrower, not squeezed."""
    scale = size[0] / 900
    for number, x in enumerate((400, 0)):
        picture = Image.new("RGB", size, "green")
        box = tuple(int(scale * v) for v in (x, 200, 100, 100))
        ImageDraw.Draw(picture).ellipse((box[0], box[1], box[0] + box[2], box[1] + box[3]), fill="red")
        picture.save(tmp_path / f"{number}.jpg", quality=95)
        tile = np.asarray(cut_tile(PhotoFace(str(tmp_path / f"{number}.jpg"), box))).astype(int)
        red = tile[..., 0] > tile[..., 1]
        width, height = np.ptp(np.flatnonzero(red.any(0))) + 1, np.ptp(np.flatnonzero(red.any(1))) + 1
        assert width == pytest.approx(height, abs=2)
        assert max(width, height) == pytest.approx(TILE / 1.5, abs=3)
        assert tile.shape[0] == TILE
        assert tile.shape[1] == pytest.approx(TILE if number == 0 else TILE * 125 / 150, abs=2)


def test_a_photo_that_has_gone_since_is_a_grey_tile(tmp_path):
    tile = cut_tile(PhotoFace(str(tmp_path / "gone.jpg"), (0, 0, 50, 50)))
    assert tile.size == (TILE, TILE)
    assert tile.getextrema() == ((211, 211),) * 3


@pytest.mark.parametrize(
    "name", ["a.jpg", "IMG_20210714_123456789_HDR.jpg", "W" * 80 + "-the-end.jpg", "new\nline.jpg"]
)
def test_names_fit_below_their_tile(name):
    lines = caption(name, FONT).split("\n")
    assert len(lines) <= 2
    assert all(0 < FONT.getlength(line) <= TILE for line in lines)
    assert "".join(lines).startswith(name[:3])
    assert "".join(lines).endswith(name[-4:])
    assert ("..." in "".join(lines)) == (len(name) > 80)


def test_a_row_shows_the_most_typical_faces_first_and_the_alone_come_last():
    angles = np.radians([0, 10, 2, 4, -30, 90, 95])
    faces = [PhotoFace(str(i), (0, 0, 9, 9), np.float32([np.cos(a), np.sin(a)])) for i, a in enumerate(angles)]
    rows = sheet_rows(faces, [1, 1, 1, 1, 1, None, None])
    assert [row.label for row in rows] == ["person 1\n5 faces", "alone"]
    mean = np.arctan2(np.sin(angles[:5]).mean(), np.cos(angles[:5]).mean())
    expected = sorted(range(5), key=lambda i: abs(angles[i] - mean))
    assert [face.path for face in rows[0].faces] == [str(i) for i in expected]
    assert [face.path for face in rows[1].faces] == ["5", "6"]


def test_of_a_person_with_many_faces_some_are_drawn(monkeypatch, tmp_path):
    monkeypatch.setattr(group_command, "IN_A_ROW", 2)
    faces = [PhotoFace(str(tmp_path / f"{i}.jpg"), (0, 0, 9, 9), np.float32([1, 0])) for i in range(8)]
    rows = sheet_rows(faces, [1, 1, 1, None, None, None, 2, 2])
    assert [(row.label, len(row.faces)) for row in rows] == [
        ("person 1\n3 faces", 2),
        ("person 2\n2 faces", 2),
        ("alone", 2),
        ("alone", 1),
    ]
    assert contact_sheet(rows).size == (LABEL + 2 * (TILE + GAP) + GAP, 4 * (TILE + CAPTION + GAP) + GAP)
