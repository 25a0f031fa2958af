"""Trying glasses on: the pose against heads of known pose, what may change in a photo, and the command line."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from glasses import GlassesPipeline, tryon, tryon_command
from glasses.frames import FRAMES, SIDES, default_ears, glasses_parts
from glasses.keypoints import LABEL_SHIFT, without_shift
from glasses.photos import read_image
from glasses.pose import find_pose
from glasses.tryon import hidden, noise, sharpness, try_on
from test_cli import call

# The 68 points of scikit-image's astronaut, found by dlib and looked at.
POINTS = np.array([pair.split(",") for pair in (
    "179,105 179,116 180,127 181,139 184,150 190,160 199,168 209,176 220,178 232,177 243,171 253,163 260,154 265,143 "
    "268,132 270,120 272,109 186,94 192,88 200,87 208,89 215,92 237,93 244,91 252,90 260,92 265,98 226,102 225,110 "
    "225,119 225,127 214,131 219,132 224,134 229,133 234,132 195,101 200,98 207,98 212,104 206,104 199,104 238,105 "
    "244,100 250,100 255,104 250,107 244,106 200,139 209,139 218,140 224,141 229,140 237,140 246,141 237,151 229,155 "
    "222,155 216,155 208,150 203,141 217,143 223,144 229,144 243,142 229,150 223,150 217,149"
).split()], float)  # fmt: skip
CLEAR = {"round", "rimless", "half-rim", "cat-eye", "wayfarer", "reading", "safety"}
EYES = slice(92, 114), slice(188, 262)  # rows and columns


@pytest.fixture(scope="module")
def photo(astronaut) -> np.ndarray:
    return read_image(astronaut)[0]


@pytest.fixture(scope="module")
def worn(photo) -> dict[str, np.ndarray]:
    """The astronaut with each of the frames."""
    return {name: try_on(photo, POINTS, name) for name in FRAMES}


def change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(H, W) how far pixels differ, at most over the colours."""
    return np.abs(before.astype(int) - after).max(2)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(3, 3) from angles in degrees: first the nose to the right, then down, then the head clockwise."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians([yaw, pitch, roll])) for f in (np.cos, np.sin))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    return np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]]) @ nod @ turn


def head(turn: np.ndarray, scale: float = 1.5, noise: float = 0.0) -> np.ndarray:
    """(68, 2) points of the mean face as a distant camera sees it; those that it lacks between their neighbours."""
    points = np.full((68, 2), np.nan)
    points[tryon.INDICES] = (tryon.MODEL @ turn.T)[:, :2] * scale + 300
    for column in points.T:
        known = np.isfinite(column)
        column[:] = np.interp(np.arange(68), np.flatnonzero(known), column[known])
    return points + np.random.default_rng(0).normal(0, noise * scale, points.shape)


def labelled(points: np.ndarray) -> np.ndarray:
    """The points as the tool would give them, with the shift of the labels."""
    return without_shift(points, -LABEL_SHIFT)


# ------------------------------------------------------------------------------------------------------ the pose


@pytest.mark.parametrize("roll", [0, 75, 180, -110])
@pytest.mark.parametrize("yaw", [-60, -25, 0, 40, 60])
def test_the_pose_of_a_turned_head(yaw, roll):
    turn = rotation(yaw, 10, roll)
    for scale in (0.2, 1.5, 12):
        pose = find_pose(head(turn, scale, noise=1))
        between = np.degrees(np.arccos(np.clip((np.trace(pose.rotation @ turn.T) - 1) / 2, -1, 1)))
        assert between < 6
        assert pose.scale == pytest.approx(scale, rel=0.06)
        assert np.degrees(pose.yaw) == pytest.approx(yaw, abs=6)
        assert pose.far == np.sign(yaw)


def test_a_mouth_wide_open_does_not_nod_the_head():
    points = head(np.eye(3))
    before = find_pose(points).rotation
    points[[57, 8]] += [0, 45]
    assert np.degrees(np.arccos((np.trace(find_pose(points).rotation @ before.T) - 1) / 2)) < 5


@pytest.mark.parametrize("yaw", [-45, 45])
def test_the_far_temple_is_hidden_and_the_near_one_is_seen(yaw):
    pose = find_pose(head(rotation(yaw, 0, 0)))
    left, right = glasses_parts(FRAMES["round"], 1.0, default_ears(1.0))[-2:]
    near, far = (left, right) if pose.far == 1 else (right, left)
    of_temple = {}
    for name, part in (("near", near), ("far", far)):
        middles = part.quads.mean(1)
        of_temple[name] = hidden(middles[(middles[:, 2] < -38) & (part.alpha > 0.5)], pose)
    assert of_temple["near"].max() < 0.1
    assert of_temple["far"].min() > 0.9

    gray = np.full((600, 600, 3), 190, np.uint8)
    points = labelled(head(rotation(yaw, 0, 0)))
    changed = change(gray, try_on(gray, points, "reading"))  # whose lenses are not in the way
    for side in SIDES:
        arm = pose.ears[side] + np.linspace(0.2, 0.4, 4)[:, None] * ([side * 66, 17, 20] - pose.ears[side])
        x, y = np.round(pose.project(arm)).astype(int).T
        assert changed[y, x].min() > 60 if side != pose.far else changed[y, x].max() < 15


def test_temples_end_at_the_ear():
    """On a head that looks to the left the right ear is seen: nothing is drawn beyond it."""
    points = head(rotation(-50, 0, 0))
    gray = np.full((600, 600, 3), 190, np.uint8)
    columns = np.flatnonzero((change(gray, try_on(gray, labelled(points), "wayfarer")) > 60).any(0))
    assert abs(columns.max() - points[16, 0]) < 25 * 1.5
    assert columns.min() < points[36, 0]


# ------------------------------------------------------------------------------------------- what a photo shows then


def test_pixels_away_from_the_head_are_those_of_the_photo(photo, worn):
    before = photo.copy()
    all_on = try_on(photo, POINTS, "sport", "mirror", hat=True, moustache=True)
    np.testing.assert_array_equal(photo, before)
    for drawn in worn.values():
        assert drawn.shape == photo.shape
        assert drawn.dtype == np.uint8
        for away in (np.s_[:70], np.s_[150:], np.s_[:, :155], np.s_[:, 300:]):
            np.testing.assert_array_equal(drawn[away], photo[away])
    for away in (np.s_[185:], np.s_[:, :110], np.s_[:, 345:]):
        np.testing.assert_array_equal(all_on[away], photo[away])


def test_each_frame_is_seen_and_is_another_one(photo, worn):
    assert len(FRAMES) >= 10
    for name, drawn in worn.items():
        changed = change(photo[EYES], drawn[EYES])
        assert (changed > 25).mean() > 0.06, name
        for other in worn:
            assert other == name or change(drawn[EYES], worn[other][EYES]).mean() > 4


def test_eyes_are_behind_the_lenses(photo):
    """Where tinted lenses darken: both eyes lie in them, a little above their middle."""
    skin = np.full(photo.shape, (205, 160, 130), np.uint8)
    dark = change(skin, try_on(skin, POINTS, "round", "tinted")) > 90
    rows, columns = np.nonzero(dark)
    middle = (POINTS[36:42].mean(0) + POINTS[42:48].mean(0)) / 2
    assert dark[tuple(np.round(POINTS[[*range(36, 48)]][:, ::-1]).astype(int).T)].all()
    assert abs(columns.mean() - middle[0]) < 3
    assert 0 < rows.mean() - middle[1] < 5
    between = POINTS[42:48, 0].mean() - POINTS[36:42, 0].mean()
    assert np.ptp(columns) == pytest.approx((47 + 21 + 47) / 63 * between, rel=0.08), "as its sizes say, in mm"


def test_lenses(photo, worn):
    of_kind = {lens: try_on(photo, POINTS, "wayfarer", lens) for lens in ("clear", "tinted", "mirror")}
    pupil = slice(99, 104), slice(200, 208)
    light = {lens: drawn[pupil].mean() for lens, drawn in of_kind.items()}
    np.testing.assert_array_equal(of_kind["clear"], worn["wayfarer"])
    assert light["clear"] == pytest.approx(photo[pupil].mean(), abs=25)
    assert light["tinted"] < 0.5 * light["clear"]
    assert np.ptp(of_kind["mirror"][pupil].mean((0, 1))) > 40, "a colour"
    assert {name for name, frame in FRAMES.items() if frame.kind == "clear"} == CLEAR
    for name, drawn in worn.items():
        assert (drawn[99:104, 201:205].mean() > 50) == (name in CLEAR)


def test_tinted_lenses_are_as_opaque_as_their_design_says(photo, monkeypatch):
    skin, light = np.full(photo.shape, 200, np.uint8), {}
    for opacity in ((0.95, 0.0), (0.5, 0.0), (0.5, 0.4), (0.0, 0.0)):
        monkeypatch.setitem(FRAMES, "round", replace(FRAMES["round"], opacity=opacity, tint=(0, 0, 0)))
        drawn = try_on(skin, POINTS, "round", "tinted").mean(2)
        light[opacity] = drawn[101:104, 201:206].mean(), drawn[114:117, 201:206].mean()  # middle, bottom of a lens
    assert light[0.95, 0][0] < 50 < light[0.5, 0][0] < 150 < light[0, 0][0]
    assert light[0.5, 0.4][1] - light[0.5, 0][1] > 40, "clearer at the bottom"


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_photo_is_a_turned_result(photo, turns):
    image, points = photo, POINTS
    for _ in range(turns):
        image, points = np.rot90(image), np.stack([points[:, 1], image.shape[1] - 1 - points[:, 0]], axis=1)
    for name in ("wayfarer", "aviator"):
        turned = np.rot90(try_on(np.ascontiguousarray(image), points, name, hat=True, moustache=True), -turns)
        difference = change(try_on(photo, POINTS, name, hat=True, moustache=True), turned)[40:170, 150:300]
        assert difference.mean() < 2
        assert np.percentile(difference, 99) < 25


def test_a_grey_photo_stays_grey_and_a_dark_one_dark(photo):
    gray = np.repeat(photo.mean(2, keepdims=True).astype(np.uint8), 3, axis=2)
    drawn = try_on(gray, POINTS, "cat-eye", hat=True)
    assert np.ptp(drawn.astype(int), axis=2).max() <= 3
    dim = try_on((photo // 4), POINTS, "rimless")
    assert dim[EYES].max() < 100


def test_blur_and_noise_are_those_of_the_photo():
    rng = np.random.default_rng(0)
    edge = np.float32(np.hypot(*np.mgrid[-64:64, -64:64]) < 40)
    for blur in (1.0, 2.0, 4.0):
        assert sharpness(cv2.GaussianBlur(edge, (0, 0), blur)) == pytest.approx(blur, rel=0.2)
    for strength in (0.005, 0.02):
        grainy = np.float32(0.5 + rng.normal(0, strength, (128, 128)))
        assert noise(grainy) == pytest.approx(strength, rel=0.1)


def test_a_large_face_is_drawn_crisply(photo):
    """Twelve times as large and as sharp as drawn there: the rim's edge is as steep in pixels as in the small photo."""
    large = np.full((1800, 1800, 3), 190, np.uint8)
    points = (POINTS - [150, 60]) * 12
    cv2.circle(large, (900, 1500), 60, (20, 20, 20), -1, cv2.LINE_AA)
    cv2.polylines(large, [np.int32(points[36:42]), np.int32(points[42:48])], True, (20, 20, 20), 8)
    drawn = try_on(large, points, "wayfarer").astype(int)
    assert np.abs(np.diff(drawn.mean(2), axis=0)).max() > 40


def test_faces_at_the_border_and_outside(photo):
    for shift in ([-190, 0], [0, -100], [250, 380]):
        drawn = try_on(photo, POINTS + shift, "oversized", hat=True, moustache=True)
        assert drawn.shape == photo.shape
    np.testing.assert_array_equal(try_on(photo, POINTS + 5000, "oversized", hat=True, moustache=True), photo)


def test_hat_and_moustache(photo):
    hat, moustache = (change(photo, try_on(photo, POINTS, None, **{name: True})) > 30 for name in ("hat", "moustache"))
    assert np.nonzero(hat)[0].mean() < POINTS[17:27, 1].min()
    rows, columns = np.nonzero(moustache)
    assert POINTS[33, 1] - 4 < rows.mean() < POINTS[62, 1]
    assert columns.mean() == pytest.approx(POINTS[33, 0], abs=4)
    np.testing.assert_array_equal(try_on(photo, POINTS, None), photo)


# ------------------------------------------------------------------------------------------- pictures of glasses


def picture(width: int = 900) -> np.ndarray:
    """Green glasses on transparent ground, from the front, (h, w, 4)."""
    image = Image.new("RGBA", (width + 100, width // 2))
    pen, u = ImageDraw.Draw(image), width / 100
    for x in (0, 57):
        box = [50 + x * u, 8 * u, 49 + (x + 43) * u, 38 * u]
        pen.rounded_rectangle(box, 8 * u, outline=(0, 220, 0, 255), width=round(4 * u))
    pen.rectangle([50 + 42 * u, 14 * u, 50 + 58 * u, 18 * u], fill=(0, 220, 0, 255))
    return np.asarray(image)


def is_green(image: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(image.astype(int), 2, 0)
    return green - np.maximum(red, blue) > 50


@pytest.mark.parametrize("size", [120, 900, 2400])
def test_a_picture_of_glasses_is_as_wide_as_the_face(photo, size):
    drawn = try_on(photo, POINTS, picture(size))
    rows, columns = np.nonzero(is_green(drawn))
    face = POINTS[16, 0] - POINTS[0, 0]
    assert np.ptp(columns) == pytest.approx(face, rel=0.12)
    assert columns.mean() == pytest.approx(POINTS[27, 0], abs=3)
    assert rows.min() > POINTS[17:27, 1].min() - 8
    assert abs(np.nonzero(is_green(drawn)[:, 222:228])[0].mean() - POINTS[27, 1]) < 8, "the bridge is on the nose"
    np.testing.assert_array_equal(drawn[150:], photo[150:])


def test_a_picture_is_turned_with_the_head():
    skin = np.full((600, 600, 3), (205, 160, 130), np.uint8)
    widths = {}
    for yaw in (0, 50):
        points = head(rotation(yaw, 0, 0))
        _, columns = np.nonzero(is_green(try_on(skin, points, picture())))
        bridge = points[27, 0]
        widths[yaw] = bridge - columns.min(), columns.max() - bridge
    assert widths[0][0] == pytest.approx(widths[0][1], rel=0.1)
    assert widths[50][1] < 0.6 * widths[0][1], "the far half is foreshortened"


# ------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"frame": "monocle"}, "unknown frame 'monocle': give round, "),
        ({"lens": "pink"}, "unknown lens 'pink': give clear, tinted, mirror"),
        ({"frame": np.full((9, 9, 4), 255, np.uint8)}, "no transparency"),
        ({"frame": np.zeros((9, 9, 4), np.uint8)}, "transparent everywhere"),
        ({"frame": np.zeros((9, 9, 3), np.uint8)}, r"\(h, w, 4\) uint8 RGBA"),
        ({"keypoints": POINTS[:51]}, r"\(68, 2\)"),
        ({"keypoints": POINTS * np.nan}, "finite"),
        ({"keypoints": POINTS * 0.01}, "at least 4 pixels"),
        ({"image": np.zeros((9, 9), np.uint8)}, r"\(H, W, 3\) uint8"),
        ({"image": np.zeros((9, 9, 3))}, "float64"),
    ],
)
def test_bad_input_is_one_line(photo, arguments, words):
    with pytest.raises(ValueError, match=words) as caught:
        try_on(**{"image": photo, "keypoints": POINTS, "frame": "round"} | arguments)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------ the command line


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_command(capsys, here, astronaut, photo):
    status, out, err = call(capsys, "try-on", astronaut, "--frame", "aviator")
    assert (status, out, err) == (0, "astronaut-aviator.png: aviator on 1 face\n", "")
    drawn = read_image(here / "astronaut-aviator.png")[0]
    assert drawn.shape == photo.shape
    assert (change(photo, drawn)[EYES] > 25).mean() > 0.3
    np.testing.assert_array_equal(drawn[200:], photo[200:])
    answers = GlassesPipeline()([drawn, try_on(photo, POINTS, "wayfarer"), photo])
    assert [answer.kind for answer in answers] == ["sunglasses", "eyeglasses", "none"]


def test_command_on_a_turned_photo_of_several(capsys, here, photo):
    """Two faces, stored on its side as a phone does; each gets a frame, by the seed."""
    both = np.hstack([photo, photo[:, ::-1]])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(both)).save("both.jpg", exif=exif, quality=95)
    results = []
    for seed in (1, 1, 2):
        arguments = ["try-on", "both.jpg", "--frame", "random", "--seed", seed, "--output", "o.png"]
        status, out, _ = call(capsys, *arguments)
        assert (status, out) == (0, "o.png: random on 2 faces\n")
        results.append(read_image("o.png")[0])
    assert results[0].shape == both.shape, "upright"
    for eyes in (np.s_[88:118, 185:265], np.s_[88:118, 759:839]):
        assert change(read_image("both.jpg")[0], results[0])[eyes].mean() > 8
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[0] != results[2]).any()


def test_command_for_all_frames_and_for_a_picture(capsys, here, astronaut):
    Image.fromarray(picture()).save("green.png")
    assert call(capsys, "try-on", astronaut, "--frame", "all", "--output", "sheet.jpg")[0] == 0
    assert 1000 < Image.open("sheet.jpg").width < 2500
    assert call(capsys, "try-on", astronaut, "--frame", "green.png", "--hat", "--moustache")[0] == 0
    assert is_green(read_image("astronaut-green.png")[0]).sum() > 300


def test_command_refuses(capsys, here, astronaut, nobody):
    Image.new("RGB", (50, 20)).save("opaque.png")
    (here / "text.jpg").write_text("no picture")
    before = sorted(here.iterdir())
    coins = next(file for file in nobody if file.name == "coins.png")
    for status, words, arguments in (
        (1, "coins.png: no face", [coins]),
        (1, "gone.jpg: no such file", ["gone.jpg"]),
        (1, "text.jpg: not a picture", ["text.jpg"]),
        (2, "unknown frame 'monocle': give round, rimless", [astronaut, "--frame", "monocle"]),
        (2, "has no transparency: erase its background", [astronaut, "--frame", "opaque.png"]),
        (2, "there is no file gone.png", [astronaut, "--frame", "gone.png"]),
        (2, "text.jpg: not a picture", [astronaut, "--frame", "text.jpg"]),
        (2, "is read by this command", [astronaut, "--output", astronaut]),
        (2, "is read by this command", [astronaut, "--frame", "green.png", "--output", "green.png"]),
        (2, "there is no folder", [astronaut, "--output", "no/such/x.jpg"]),
        (2, "does not end as a picture", [astronaut, "--output", "x.txt"]),
        (2, "invalid choice: 'pink'", [astronaut, "--lens", "pink"]),
        (2, "--lens is for the frames that we draw", [astronaut, "--frame", "none", "--hat", "--lens", "clear"]),
        (2, "needs the name of a file", [astronaut, "--output", ""]),
        (2, "must be at least 0", [astronaut, "--seed", "-1"]),
        (2, "nothing to try on", [astronaut, "--frame", "none"]),
    ):
        if "green.png" in arguments:
            Image.fromarray(picture()).save("green.png")
        found, out, err = call(capsys, "try-on", *arguments)
        assert (found, out) == (status, ""), arguments
        assert words in err
        assert "Traceback" not in err
    assert sorted(here.iterdir()) == sorted([*before, here / "green.png"])


def test_a_picture_is_written_whole_or_not_at_all(capsys, here, astronaut, monkeypatch):
    def full(picture, file, suffix):
        file.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    (here / "o.png").write_text("an older one")
    monkeypatch.setattr(tryon_command, "save", full)
    status, out, err = call(capsys, "try-on", astronaut, "--output", "o.png")
    assert (status, out, err) == (1, "", "glasses: cannot write o.png: No space left on device\n")
    assert (here / "o.png").read_text() == "an older one"
    assert len(list(here.iterdir())) == 1


def test_sides():
    """Left in the picture comes first everywhere."""
    left, right = FRAMES["wayfarer"].outlines(90)
    assert left[:, 0].max() < 0 < right[:, 0].min()
    np.testing.assert_allclose(np.sort(left[:, 0]), np.sort(-right[:, 0]))
    assert SIDES == (-1, 1)
