"""Faces are followed: the same number through the film, no flicker, and each change dated when it was."""

from itertools import pairwise
from math import exp, pi

import numpy as np
import pytest

from films import Scene, dressed, hopper, portrait
from glasses import GlassesPipeline
from glasses.keypoints import five_landmarks
from glasses.tracks import MEMORY, FaceTracker, OneEuro, Span, SteadyAnswer, Track

RATE = 25  # frames a second
NEAR = 0.2  # seconds by which a change may be dated wrong


@pytest.fixture(scope="module")
def faces() -> dict[str, np.ndarray]:
    """A bare face, the same with clear and with dark glasses, and another one with glasses."""
    bare, _ = portrait()
    return {"bare": bare, "clear": dressed("wayfarer"), "dark": dressed("aviator"), "other": hopper()}


def follow(frame, seconds: float, rate: float = RATE, **options) -> tuple[FaceTracker, list]:
    """Follow the faces of the images frame(time, number)."""
    tracker = FaceTracker(**options)
    return tracker, [tracker(frame(n / rate, n), n / rate) for n in range(round(seconds * rate))]


def kinds(spans: list[Span]) -> list[str]:
    return [span.kind for span in spans]


# ------------------------------------------------------------------------------------------------------ filters


def test_a_filter_that_does_not_open_is_exponential_smoothing():
    """After t seconds of a step the difference that is left is exp(-2 pi cutoff t)."""
    smooth, seconds = OneEuro(2.0, 0.0), 0.001
    smooth(np.zeros((1, 2)), seconds, 1.0)
    for _ in range(100):
        value = smooth(np.ones((1, 2)), seconds, 1.0)
    assert 1 - value[0, 0] == pytest.approx(exp(-2 * pi * 2.0 * 0.1), rel=0.02)


def test_the_filter_is_steady_at_rest_and_without_lag_in_motion():
    rng, seconds, unit = np.random.default_rng(0), 1 / RATE, 40.0
    at_rest, moving = OneEuro(1.0, 5.0), OneEuro(1.0, 5.0)
    noise = rng.normal(0, 0.01 * unit, (200, 68, 2))
    still = np.array([at_rest(points, seconds, unit) for points in noise])
    assert still[20:].std() < 0.5 * noise.std()
    for n in range(50):
        place = np.full((68, 2), 3 * unit * n * seconds)  # three inter-ocular distances a second
        lag = (place - moving(place, seconds, unit)).mean() / unit
    assert 0 <= lag < 0.06


def test_the_filter_does_not_depend_on_the_size_of_the_face():
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.normal(0, 1, (50, 5, 2)), 0)
    small, large = OneEuro(1.0, 5.0), OneEuro(1.0, 5.0)
    for points in walk:
        assert 4 * small(points, 0.04, 10.0) == pytest.approx(large(4 * points, 0.04, 40.0))


# ------------------------------------------------------------------------------------------------------ answers


def row(worn: float, dark: float = 0.1, face: float = 0.99) -> np.ndarray:
    """What a classifier says: P(none), P(eyeglasses), P(sunglasses), P(face)."""
    return np.array([1 - worn, worn * (1 - dark), worn * dark, face], np.float32)


def answer_of(rows, threshold: float = 0.5) -> tuple[SteadyAnswer, list[str]]:
    answer, told = SteadyAnswer(threshold), []
    for n, one in enumerate(rows):
        answer.add(one, n / RATE, 1 / RATE if n else 0.0)
        told.append(answer.kind)
    return answer, told


def test_two_frames_by_hand():
    """Logits of 0.9 and 0.6, the older with the weight that is left of it, each with its P(face)."""
    answer, _ = answer_of([row(0.9, face=0.8), row(0.6, face=0.4)])
    kept = exp(-1 / RATE / MEMORY)
    mean = (kept * 0.8 * np.log(9) + 0.4 * np.log(1.5)) / (kept * 0.8 + 0.4)
    assert answer.probability == pytest.approx(1 / (1 + np.exp(-mean)), abs=1e-4)


def test_single_wrong_frames_change_nothing():
    rows = [row(0.02 if n % 9 == 4 else 0.98, 0.9 if n % 7 == 3 else 0.1) for n in range(100)]
    answer, told = answer_of(rows)
    assert set(told) == {"eyeglasses"}
    assert answer.spans == [Span(0.0, 99 / RATE, "eyeglasses")]


def test_an_answer_at_the_threshold_does_not_flicker():
    rng = np.random.default_rng(0)
    rows = [row(1 / (1 + np.exp(-rng.normal(0, 2)))) for _ in range(500)]
    single = ["none" if one[0] > 0.5 else "glasses" for one in rows]
    _, told = answer_of(rows)
    changes = [sum(a != b for a, b in pairwise(names)) for names in (single, told)]
    assert changes[0] > 200
    assert changes[1] < 0.05 * changes[0]


def test_a_change_is_dated_when_it_began():
    answer, told = answer_of([row(0.01)] * 50 + [row(0.99)] * 50)
    assert told[50] == "none", "one frame is not believed yet"
    assert told[65] == "eyeglasses"
    assert answer.spans == [Span(0.0, 2.0, "none"), Span(2.0, 99 / RATE, "eyeglasses")]


def test_the_kind_changes_as_the_lenses_do():
    answer, _ = answer_of([row(0.99, 0.02)] * 40 + [row(0.99, 0.98)] * 40)
    assert answer.spans == [Span(0.0, 1.6, "eyeglasses"), Span(1.6, 79 / RATE, "sunglasses")]


def test_a_wrong_beginning_is_no_span():
    answer, _ = answer_of([row(0.7)] + [row(0.01)] * 50)
    assert answer.spans == [Span(0.0, 2.0, "none")]


@pytest.mark.parametrize("threshold", [0.2, 0.8])
def test_the_threshold_is_that_of_the_network(threshold):
    assert answer_of([row(0.5)] * 5, threshold)[0].kind == ("eyeglasses" if threshold < 0.5 else "none")


# ------------------------------------------------------------------------------------------------------- tracks


def test_a_frame_is_answered_as_a_photo(faces):
    image = Scene().frame([(faces["bare"], 180, 180, 1, 0), (faces["other"], 460, 180, 1, 0)])
    expected = {face.kind: face for face in GlassesPipeline(keypoints=True).answer(image).faces}
    found = FaceTracker(keypoints=True)(image, 0.0)
    assert {face.kind for face in found} == set(expected) == {"none", "eyeglasses"}
    for face in found:
        photo = expected[face.kind]
        assert face.probability == pytest.approx(photo.probability, abs=0.02)
        assert face.box == pytest.approx(photo.box, abs=3)
        assert np.abs(face.keypoints - photo.keypoints).mean() < 2


def test_glasses_put_on_and_taken_off_while_the_face_moves(faces):
    def frame(t, n):
        worn = "bare" if t < 1.2 or t >= 3.6 else "clear" if t < 2.4 else "dark"
        x, y, scale = 320 + 120 * np.sin(2 * t), 180 + 30 * np.sin(3 * t), 1 + 0.3 * np.sin(1.5 * t)
        return scene.frame([(faces[worn], x, y, scale, 8 * np.sin(2 * t))], 4, n)

    scene = Scene()
    tracker, found = follow(frame, 4.8)
    assert [[face.track for face in of_frame] for of_frame in found] == [[1]] * len(found)
    assert kinds(tracker.spans[1]) == ["none", "eyeglasses", "sunglasses", "none"]
    assert [span.start for span in tracker.spans[1]] == pytest.approx([0, 1.2, 2.4, 3.6], abs=NEAR)
    told = [of_frame[0].kind for of_frame in found]
    assert sum(a != b for a, b in pairwise(told)) == 3, "each change once"
    late = [sum(kind != truth for kind, truth in zip(told[n : n + 30], [kind] * 30, strict=True))
            for n, kind in ((30, "eyeglasses"), (60, "sunglasses"), (90, "none"))]  # fmt: skip
    assert max(late) <= 0.5 * RATE


def test_faces_that_cross_keep_their_numbers(faces):
    def frame(t, n):
        left, right = (120 + 100 * t, 180, 1, 0), (520 - 100 * t, 180, 1, 0)
        return scene.frame([(faces["bare"], *left), (faces["other"], *right)], 4, n)

    scene = Scene()
    tracker, found = follow(frame, 4)
    assert sorted(kinds(spans) for spans in tracker.spans.values()) == [["eyeglasses"], ["none"]]
    assert all({face.track for face in of_frame} <= {1, 2} for of_frame in found)
    assert sum(len(of_frame) == 2 for of_frame in found) > 0.7 * len(found)
    for face in found[-1]:
        assert (face.box[0] > 320) == (face.kind == "none"), "each went to the other side"


def test_turning_and_growing_faces_are_followed(faces):
    scene = Scene()
    _, turned = follow(lambda t, n: scene.frame([(faces["bare"], 320, 180, 1, 90 * t)], 4, n), 4)
    _, grown = follow(lambda t, n: scene.frame([(faces["bare"], 320, 180, 0.35 + 0.3 * t, 0)], 4, n), 4)
    for found in (turned, grown):
        assert [[face.track for face in of_frame] for of_frame in found] == [[1]] * len(found)
    assert grown[-1][0].box[2] > 3 * grown[0][0].box[2]


@pytest.mark.parametrize(("gap", "numbers"), [(0.6, {1}), (2.0, {1, 2})])
def test_a_face_that_comes_back_soon_is_the_same(faces, gap, numbers):
    def frame(t, n):
        return scene.frame([] if 1 <= t < 1 + gap else [(faces["bare"], 320, 180, 1, 0)], 4, n)

    scene = Scene()
    _, found = follow(frame, 2 + gap)
    assert {face.track for of_frame in found for face in of_frame} == numbers
    hidden = range(RATE, round((1 + gap) * RATE))
    assert not any(found[n] for n in hidden), "where no face is seen none is told"
    assert found[-1]


def test_a_face_that_passes_behind_something_keeps_its_number(faces):
    """Where it comes out is farther than it is waited for at rest: it is taken to move on as it did."""

    def frame(t, n):
        image = scene.frame([(faces["bare"], 150 + 330 * t, 180, 0.8, 0)], 4, n)
        image[:, 400:600] = scene.background[:, 400:600]
        return image

    scene, tracker, found = Scene(960, 360), FaceTracker(), []
    for n in range(55):
        found.append(tracker(frame(n / RATE, n), n / RATE))
        numbers = [track.number for track in tracker.tracks if track.number]
        assert len(numbers) == len(set(numbers)), "a face has one track"
    assert [face.track for face in found[-1]] == [1]
    assert not found[round(25 * (500 - 150) / 330)], "behind the pillar"


def test_a_move_that_was_wrong_is_taken_back():
    """The points had moved by 10 pixels a frame; then they jump away to what is no face."""
    shape = np.random.default_rng(0).uniform(0, 60, (68, 2))
    track = Track(shape, 0.0, np.zeros(4), 3.0, SteadyAnswer(0.5))
    for n in range(10):
        track.move(shape + np.array([10 * n, 0]), n / RATE)
    expected, steady = track.ahead(0.6), track.steady.value
    assert expected[:, 0].mean() - shape[:, 0].mean() > 90
    assert track.move(shape + np.array([400, 300]), 0.4) > 3, "inter-ocular distances of surprise"
    track.lose()
    assert not track.seen
    assert track.ahead(0.6) == pytest.approx(expected)
    assert track.steady.value == pytest.approx(steady)


def test_another_scene_has_other_faces(faces):
    """Also where the next face is just where the last one was."""
    scenes = Scene(seed=0), Scene(seed=5)
    pictures = [[(faces[name], 320, 180, 1, 0)] for name in ("bare", "other")]
    tracker, found = follow(lambda t, n: scenes[t >= 1].frame(pictures[t >= 1], 4, n), 2)
    assert [of_frame[0].track for of_frame in found] == [1] * RATE + [2] * RATE
    assert [kinds(spans) for spans in tracker.spans.values()] == [["none"], ["eyeglasses"]]


def test_a_flash_is_no_other_scene(faces):
    scene = Scene()
    frames = [scene.frame([(faces["bare"], 320, 180, 1, 0)], 4, n) for n in range(RATE)]
    frames[12] = np.clip(frames[12] * 1.6 + 20.0, 0, 255).astype(np.uint8)
    _, found = follow(lambda t, n: frames[n], 1)
    assert {face.track for of_frame in found for face in of_frame} == {1}


def test_nobody_is_nobody(nobody):
    from glasses import read_image

    pictures = [read_image(path)[0][:400, :400] for path in nobody[:6]]
    tracker, found = follow(lambda t, n: pictures[n // RATE], 6)
    assert not any(found)
    assert tracker.spans == {}


@pytest.mark.parametrize("rate", [1, 5, 60])
def test_few_frames_a_second_and_many(faces, rate):
    def frame(t, n):
        return scene.frame([(faces["dark"], 320 + 25 * np.sin(2 * t), 180, 1, 0)], 4, n)

    scene = Scene()
    tracker, found = follow(frame, max(2, 6 / rate), rate)
    assert [[face.track for face in of_frame] for of_frame in found] == [[1]] * len(found)
    assert kinds(tracker.spans[1]) == ["sunglasses"]


def test_key_points_are_steadier_than_in_single_photos(faces):
    """At rest under noise; and where they are in motion."""
    scene, frames = Scene(), 40
    place = [(faces["bare"], 320, 180, 1, 0)]
    images = [scene.frame(place, 12, n) for n in range(frames)]
    _, found = follow(lambda t, n: images[n], frames / RATE, keypoints=True)
    steady = np.array([of_frame[0].keypoints for of_frame in found])
    pipeline = GlassesPipeline(keypoints=True)
    single = np.array([pipeline.answer(image).faces[0].keypoints for image in images])
    jitter = [np.diff(points[5:], axis=0).std() for points in (steady, single)]
    assert jitter[0] < 0.5 * jitter[1]

    moving = [scene.frame([(faces["bare"], 200 + 150 * n / RATE, 180, 1, 0)]) for n in range(frames)]
    _, found = follow(lambda t, n: moving[n], frames / RATE, keypoints=True)
    photo, film = pipeline.answer(moving[-1]).faces[0].keypoints, found[-1][0].keypoints
    eyes = five_landmarks(photo)
    assert np.abs(film - photo).mean() < 0.05 * np.hypot(*(eyes[1] - eyes[0]))


def test_a_face_is_followed_out_of_the_picture_and_no_further(faces):
    scene = Scene()
    _, found = follow(lambda t, n: scene.frame([(faces["bare"], 320 + 250 * t, 180, 1, 0)], 4, n), 2)
    seen = [bool(of_frame) for of_frame in found]
    assert all(seen[:20])
    assert not any(seen[35:])
