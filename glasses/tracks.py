"""Which face is which from frame to frame?  The frames of a film in, the faces followed through it out.

from glasses.tracks import FaceTracker
tracker = FaceTracker()
for frame in film.frames():
    for face in tracker(frame.image(), frame.time):
        print(face.track, face.box, face.probability, face.kind)
print(tracker.spans)                                 # {1: [Span(start=0.0, end=3.2, kind='none'), ...]}

The face finder looks now and then; in between a face is where its key points are, searched from where they were in the
frame before. Its landmarks are smoothed, and its answer is averaged over the last half second, so that neither
flickers. How many faces there were before is all that grows with a film.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import exp, inf, log, pi
from typing import NamedTuple

import cv2
import numpy as np

from detector_architectures import SAME, Face, load_detector, overlap

from .classifiers import open_network
from .crops import KINDS, align_face, crop_matrix, crop_scale
from .keypoints import five_landmarks, open_keypoints, without_shift
from .pipeline import LEAST_FACE, FaceAnswer, face_logit, find_candidates, logit

FIND_EVERY, FIND_SOON = 0.25, 0.1  # seconds between looks of the face finder; the latter while a face is in doubt
LOST = 1.0  # seconds for which a face that is not seen is waited for
AHEAD = 0.5  # seconds for which a face is taken to move on as it did
SURE, DOUBT = 3.0, -1.0  # logits of being a face: in sum, before a new one is told; below the latter it is not seen
UNSEEN = 0.03  # the score of a face that the finder passes over
MEMORY, LEAST_KEPT = 0.4, 0.7  # of an average: seconds in which its weight falls to 1/e; at least, from frame to frame
MARGIN = 1.0  # logits beyond the threshold at which an answer changes
SURELY = 6.0  # logit: no single frame counts for more
SHORT = 0.25  # seconds: a first answer that changes so soon was none
ONE = 0.5  # IoU of the boxes of two tracks from which on they follow the same face
REACH, GROWTH = 1.5, 1.7  # how far, in sides of its box, and of how much another size a lost face is found again
SMOOTH = (1.0, 5.0)  # One-Euro: Hz at rest, and Hz more for each inter-ocular distance a second
CUT = 0.4  # correlation of two frames, below which another scene begins
SKETCH = (32, 18)  # pixels of a frame that are compared for that


class Span(NamedTuple):
    """From when to when, in seconds of the film, a face was of one of KINDS."""

    start: float
    end: float
    kind: str


@dataclass
class TrackedFace(FaceAnswer):
    """A face of a frame, of which probability and kind are averaged over its track; track: its number, from 1 on."""

    track: int = 0


class OneEuro:
    """A low-pass filter for points that opens as they move: steady at rest, without lag in motion.

    cutoff: Hz at rest; slope: Hz more for a speed of one unit a second. G. Casiez, N. Roussel and D. Vogel: "1 euro
    filter", CHI 2012; with one speed, the root mean square, for all points, so that a face keeps its shape.
    """

    def __init__(self, cutoff: float, slope: float):
        self.cutoff, self.slope = cutoff, slope
        self.value = self.speed = None  # (N, 2) points, and by how much they move a second

    def __call__(self, value: np.ndarray, seconds: float, unit: float) -> np.ndarray:
        """The smoothed (N, 2) points; seconds: since the last ones; unit: that of `slope`, in pixels."""
        if self.value is None:
            self.value, self.speed = value, np.zeros_like(value)
            return value
        change = (value - self.value) / seconds
        self.speed = self.speed + _share(1.0, seconds) * (change - self.speed)
        speed = float(np.sqrt((self.speed**2).sum(1).mean())) / unit
        self.value = self.value + _share(self.cutoff + self.slope * speed, seconds) * (value - self.value)
        return self.value


def _share(cutoff: float, seconds: float) -> float:
    """How much of the difference a first-order filter of this cutoff, in Hz, takes over after some seconds."""
    return 1 / (1 + 1 / (2 * pi * cutoff * seconds))


class SteadyAnswer:
    """The answer for a track: logits averaged over its last frames, by how surely each shows a face; with hysteresis.

    kind: one of KINDS, None before the first frame. probability: of glasses. spans: what the answer was, from when to
    when; a change is dated back to the frame with which it began.
    """

    def __init__(self, threshold: float):
        self.threshold, self.kind, self.probability = threshold, None, 0.0
        self.spans: list[Span] = []
        self._sums = np.zeros(4)  # logits of glasses and their weights, those of sunglasses among glasses and theirs
        self._turned = None  # the time since which each frame, alone, has said something else

    def add(self, row: np.ndarray, time: float, seconds: float) -> None:
        """A frame's (4,) probabilities, as a classifier gives them; seconds: since the last one."""
        worn, weight = float(1 - row[0]), max(1e-3, float(row[3]))
        dark = log(max(1e-6, float(row[2])) / max(1e-6, float(row[1])))
        kept = max(exp(-seconds / MEMORY), LEAST_KEPT)
        bounded = np.clip([logit(worn), dark], -SURELY, SURELY)
        self._sums = kept * self._sums + weight * np.array([bounded[0], 1, worn * bounded[1], worn + 1e-6])
        glasses, darkness = self._sums[0] / self._sums[1], self._sums[2] / self._sums[3]
        self.probability = 1 / (1 + exp(-glasses))
        kind = self._decide(glasses - logit(self.threshold), darkness)
        alone = KINDS[1 + int(dark > 0)] if worn >= self.threshold else "none"
        if alone == self.kind:
            self._turned = None
        elif self._turned is None:
            self._turned = time
        self._tell(kind, time)

    def _decide(self, glasses: float, darkness: float) -> str:
        """The kind, by logits from the threshold; what was said before has an advantage of MARGIN."""
        before = MARGIN if self.kind else 0.0
        if glasses < (before if self.kind == "none" else -before):
            return "none"
        if self.kind in (None, "none"):
            return KINDS[1 + int(darkness > 0)]
        return KINDS[1 + int(darkness > (before if self.kind == "eyeglasses" else -before))]

    def _tell(self, kind: str, time: float) -> None:
        """Bring `kind` and `spans` up to date."""
        if kind == self.kind:
            self.spans[-1] = self.spans[-1]._replace(end=time)
            return
        start = time if self._turned is None or not self.spans else max(self._turned, self.spans[-1].start)
        if self.spans:
            self.spans[-1] = self.spans[-1]._replace(end=start)
            if self.spans[-1].end - self.spans[-1].start < SHORT and len(self.spans) == 1:
                start = self.spans.pop().start
        self.kind, self._turned = kind, None
        self.spans.append(Span(start, time, kind))


@dataclass(eq=False)
class Track:
    """One face through the frames. All in pixels of the frame.

    points: (68, 2) where they were seen last, at `time`. steady: the filter, whose value are the smoothed ones. shape:
    (4,) the centre and size of its box in the crop of its landmarks. score: logit of the finder's, averaged. looks:
    P(face) of its last crop. belief: the sum of the evidence so far. number: from 1 on, 0 for one that is not believed
    yet. seen: in this frame.
    """

    points: np.ndarray
    time: float
    shape: np.ndarray
    score: float
    answer: SteadyAnswer
    steady: OneEuro = field(default_factory=lambda: OneEuro(*SMOOTH))
    belief: float = 0.0
    looks: float = 1.0
    number: int = 0
    seen: bool = True
    _before: tuple = ()  # the last move

    def ahead(self, time: float) -> np.ndarray:
        """(68, 2) where the points will be, if it moves on as it did."""
        speed = 0 if self.steady.speed is None else self.steady.speed.mean(0)
        return self.points + speed * min(time - self.time, AHEAD)

    def move(self, points: np.ndarray, time: float) -> float:
        """Where the points are now; returns how many inter-ocular distances they are from where they were expected."""
        eyes = five_landmarks(points)
        unit = max(1.0, float(np.hypot(*(eyes[1] - eyes[0]))))
        surprise = float(np.hypot(*(points - self.ahead(time)).mean(0))) / unit
        self._before = self.points, self.time, self.steady.value, self.steady.speed
        self.steady(points, max(time - self.time, 1e-3), unit)
        self.points, self.time = points, time
        return surprise

    @property
    def evidence(self) -> float:
        """The logit of being a face, by the finder and by how it looks."""
        return face_logit(1 / (1 + exp(-self.score)), self.looks)

    def lose(self) -> None:
        """It was not the face to which the points were moved last: take that back, and wait until it is seen again."""
        self.points, self.time, self.steady.value, self.steady.speed = self._before
        self.seen = False

    def again(self, shape: np.ndarray, score: float) -> "Track":
        """The same face, as it was before this frame, with another shape and score."""
        kept = self._before if self.seen else (self.points, self.time, self.steady.value, self.steady.speed)
        steady = OneEuro(*SMOOTH)
        points, time, steady.value, steady.speed = kept
        return replace(self, points=points, time=time, shape=shape, score=score, steady=steady, seen=True)

    def nearness(self, face: Face, time: float) -> float:
        """1 where a face is just where this track is expected; 0 or less where it is far off, or of another size."""
        here, there = five_landmarks(self.ahead(time)), face.landmarks
        ratio = crop_scale(here) / crop_scale(there)
        distance = float(np.hypot(*(here - there).mean(0))) / max(1.0, max(face.box[2:]))
        return 1 - distance / REACH if 1 / GROWTH < ratio < GROWTH else 0.0

    @property
    def landmarks(self) -> np.ndarray:
        """(5, 2) the smoothed ones."""
        return five_landmarks(self.steady.value)

    def box(self) -> tuple[float, float, float, float]:
        """x, y, w, h by the smoothed landmarks."""
        matrix, scale = crop_matrix(self.landmarks), crop_scale(self.landmarks)
        x, y = (self.shape[:2] - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
        w, h = self.shape[2:] / scale
        return float(x - w / 2), float(y - h / 2), float(w), float(h)


def shape_of(face: Face, landmarks: np.ndarray) -> np.ndarray:
    """(4,) the centre and size of a face's box in the crop of these landmarks."""
    (x, y, w, h), matrix, scale = face.box, crop_matrix(landmarks), crop_scale(landmarks)
    return np.array([*(matrix[:, :2] @ [x + w / 2, y + h / 2] + matrix[:, 2]), w * scale, h * scale])


class FaceTracker:
    """Frames in their order in, followed faces out.

    model, threshold: as of `GlassesPipeline`. keypoints: each face has its 68 points, smoothed. spans: of each track
    that was told, by its number. Raises what `load_detector`, `open_network` and `open_keypoints` raise.
    """

    def __init__(self, model: str = "glasses", threshold: float | None = None, keypoints: bool = False):
        self.detector, self.classifier = load_detector("auto"), open_network(model)
        self.find_points, self.keypoints = open_keypoints(), keypoints
        self.threshold = self.classifier.threshold if threshold is None else threshold
        self.tracks: list[Track] = []
        self.spans: dict[int, list[Span]] = {}
        self._time = self._looked = -inf  # of the last frame, and of the last one at which the finder looked
        self._sketch = None  # the last frame, tiny and grey

    def __call__(self, image: np.ndarray, time: float) -> list[TrackedFace]:
        """The faces of the next frame, (H, W, 3) uint8 RGB, `time` seconds from the film's beginning, by their numbers.

        A face that was believed before but is not seen in this frame is not among them.
        """
        passed = time - self._time
        if self._is_cut(image, passed):
            self.tracks, self._looked = [], -inf
        self._follow(image, time)
        doubt = passed > FIND_SOON - 1e-6 or any(not one.seen or one.looks < LEAST_FACE for one in self.tracks)
        if time - self._looked >= (FIND_SOON if doubt else FIND_EVERY) - 1e-6:
            self._look(image, time)
            self._looked = time
        self._time = time
        self.tracks = [track for track in self.tracks if track.seen or (track.number and time - track.time < LOST)]
        for track in self.tracks:
            if track.seen and not track.number and track.belief >= SURE:
                track.number = 1 + len(self.spans)
                self.spans[track.number] = track.answer.spans
        return sorted((self._face(one) for one in self.tracks if one.seen and one.number), key=lambda face: face.track)

    def _face(self, track: Track) -> TrackedFace:
        box, points = tuple(round(value) for value in track.box()), None
        if self.keypoints:
            points = without_shift(track.steady.value, -self.find_points.shift).astype(np.float32)
        return TrackedFace(box, track.answer.probability, track.answer.kind, points, track=track.number)

    def _is_cut(self, image: np.ndarray, passed: float) -> bool:
        """Whether another scene begins: this frame looks like nothing in the last one, soon after it."""
        step = max(1, min(image.shape[0] // (4 * SKETCH[1]), image.shape[1] // (4 * SKETCH[0])))
        sketch = cv2.resize(image[::step, ::step], SKETCH, interpolation=cv2.INTER_AREA).mean(2).ravel()
        sketch -= sketch.mean()
        before, self._sketch = self._sketch, sketch
        if before is None or passed > FIND_SOON + 1e-6:
            return False
        contrast = np.sqrt((sketch @ sketch) * (before @ before))
        return bool(sketch @ before < CUT * contrast)

    def _points(self, image: np.ndarray, landmarks: Sequence[np.ndarray]) -> np.ndarray:
        return self.find_points.seen(image, landmarks, twice=self.keypoints)

    def _judge(self, image: np.ndarray, tracks: dict[Track, float]) -> None:
        """Classify tracks that have moved; tracks: with the seconds since they were seen before."""
        if not tracks:
            return
        crops = np.stack([align_face(image, track.landmarks, self.classifier.crop) for track in tracks])
        for (track, passed), row in zip(tracks.items(), self.classifier(crops), strict=True):
            track.looks = float(row[3])
            if track.evidence >= (DOUBT if track.number else 0) and _is_within(track.landmarks, image.shape):
                track.belief += track.evidence
                track.answer.add(row, track.time, passed)
            else:
                track.lose()

    def _follow(self, image: np.ndarray, time: float) -> None:
        """Find the faces of the last frame in this one by their key points."""
        followed = [track for track in self.tracks if track.seen]
        if not followed:
            return
        passed = {track: time - track.time for track in followed}
        points = self._points(image, [five_landmarks(track.ahead(time)) for track in followed])
        surprise = {track: track.move(moved, time) for track, moved in zip(followed, points, strict=True)}
        for one, other in combinations(followed, 2):  # of two on the same face one has left its own
            if one.seen and other.seen and overlap(one.box(), other.box()) > ONE:
                lost = max(one, other, key=lambda track: (not track.number, surprise[track]))
                lost.lose()
        self._judge(image, {track: passed[track] for track in followed if track.seen})

    def _look(self, image: np.ndarray, time: float) -> None:
        """Compare the tracks with what the finder sees: confirm them, find lost ones again, begin new ones."""
        faces = find_candidates(self.detector, image)
        owners = {face: track for track, face in closest(self.tracks, faces, time).items()}
        for face, track in list(owners.items()):
            if track.seen and overlap(track.box(), face.box) >= SAME:
                track.shape = track.shape + 0.3 * (shape_of(face, track.landmarks) - track.shape)
                track.score += 0.5 * (logit(face.score) - track.score)
        for track in self.tracks:
            if track.seen and track not in owners.values():
                track.score += 0.5 * (logit(UNSEEN) - track.score)
                if track.evidence < DOUBT:
                    track.lose()
        boxes = [track.box() for track in self.tracks if track.seen]
        new = [face for face in faces if all(overlap(box, face.box) < SAME for box in boxes)]
        self._begin(image, time, new, {face: owners[face] for face in new if face in owners})

    def _begin(self, image: np.ndarray, time: float, faces: Sequence[Face], owners: dict[Face, Track]) -> None:
        """Begin a track with each of these faces, or go on with that of its owner, where it is a face indeed."""
        begun = {}
        for face, points in zip(faces, self._points(image, [face.landmarks for face in faces]), strict=True):
            shape, score = shape_of(face, five_landmarks(points)), logit(face.score)
            if owner := owners.get(face):
                track = owner.again(shape, score)
            else:
                track = Track(points, time, shape, score, SteadyAnswer(self.threshold))
            passed = time - track.time
            track.move(points, time)
            begun[track] = passed
        self._judge(image, begun)
        gone = {owners[face] for face, track in zip(faces, begun, strict=True) if track.seen and face in owners}
        self.tracks = [track for track in self.tracks if track not in gone] + [track for track in begun if track.seen]


def closest(tracks: Sequence[Track], faces: Sequence[Face], time: float) -> dict[Track, Face]:
    """Which face belongs to which track, where one does: the nearest and surest pair first."""
    pairs = [(track.nearness(face, time) * face.score, track, face) for track in tracks for face in faces]
    chosen: dict[Track, Face] = {}
    for near, track, face in sorted(pairs, key=lambda pair: -pair[0]):
        if near > 0 and track not in chosen and face not in chosen.values():
            chosen[track] = face
    return chosen


def _is_within(points: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether the middle of (N, 2) points is in a picture of this shape, (H, W, ...)."""
    x, y = points.mean(0)
    return bool(-0.5 <= x < shape[1] and -0.5 <= y < shape[0])
