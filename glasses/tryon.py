"""How do glasses look on this face?  Key points -> pose -> a mesh, lit as the face is -> painted into the photo.

from glasses.tryon import try_on
image = try_on(image, keypoints, "aviator")           # a name of frames.FRAMES
image = try_on(image, keypoints, rgba, hat=True)      # (h, w, 4) uint8, a picture of glasses from the front

Only the part of the photo in which something is drawn is touched, from back to front: the shadow on the skin, the
temples, the lenses, the rims. Everything is drawn as sharp, as noisy and as colourful as the photo is.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from .frames import (
    FRAMES,
    LEAN,
    LENSES,
    SIDES,
    Design,
    Mesh,
    check_picture,
    default_ears,
    glasses_parts,
    hat_parts,
    moustache_hairs,
    picture_design,
    side_shield,
    unit,
)

DISTANCE = 1000.0  # mm from the eyes to a camera that takes a portrait

# A mean face in mm: key point at the left in the picture, at the right, x of the latter, y, z, and how far to trust
# them when the face talks, smiles or turns. Estimated by us by factorization (Tomasi and Kanade, 1992) from the labels
# of 3,462 frames of YouTube Faces and their mirror images, made symmetric, scaled to 63 mm between the eyes.
FACE = (
    (0, 16, 75, -9, -63, 0.1), (2, 14, 71, 28, -64, 0.1), (8, 8, 0, 112, -26, 0.15),
    (17, 26, 57, -18, -10, 0.3), (19, 24, 37, -21, 13, 0.4), (21, 22, 18, -17, 20, 0.5),
    (27, 27, 0, 4, 19, 1.0), (28, 28, 0, 18, 25, 1.0), (29, 29, 0, 32, 32, 1.0), (30, 30, 0, 43, 32, 1.0),
    (31, 35, 12, 46, 8, 1.0), (33, 33, 0, 50, 14, 1.0), (36, 45, 43, -2, -6, 1.0), (37, 44, 36, -3, 3, 0.7),
    (38, 43, 27, -3, 3, 0.7), (39, 42, 19, 1, 0, 1.0), (40, 47, 27, 3, 1, 0.7), (41, 46, 36, 3, -1, 0.7),
    (48, 54, 25, 67, -12, 0.4), (51, 51, 0, 63, 10, 0.4), (57, 57, 0, 81, 0, 0.2),
)  # fmt: skip
INDICES = np.array([right for _, right, *_ in FACE] + [left for left, right, *_ in FACE if left != right])
TRUST = np.array([row[5] for row in FACE] + [row[5] for row in FACE if row[0] != row[1]])
MODEL = np.array([row[2:5] for row in FACE] + [(-row[2], *row[3:5]) for row in FACE if row[0] != row[1]], float)

SKULL = np.array([0, -20.0, -85]), np.array([71.0, 128, 93])  # an ellipsoid: centre and half axes, mm
GLASS = ((np.array([0.13, 0.15, 0.16]), 2.0, 0.8), (np.array([0.9, 0.95, 1.0]), 0.7, 0.6))  # edges: colour, mm, opacity
CHEEKS = ((2, 31), (14, 35))  # each is between two key points
NOSE = {-1: [27, 28, 29, 30, 33, 35, 42], 1: [27, 28, 29, 30, 33, 31, 39]}  # what may hide the lens at the far side


# --------------------------------------------------------------------------------------------------- the pose


@dataclass
class Pose:
    """Where a head is: rotation (3, 3) from its space to the camera's, origin (2,) in pixels, scale in pixels a mm.

    fit: the width of the face, 1 for the mean. ears: where the temples end, (3,) mm by side.
    """

    rotation: np.ndarray
    origin: np.ndarray
    scale: float
    fit: float = 1.0
    ears: dict[int, np.ndarray] | None = None

    def camera(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) mm of the head -> the same in the camera's directions; z is the nearness."""
        return points @ self.rotation.T

    def project(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) mm of the head -> (..., 2) pixels."""
        seen = self.camera(points)
        return self.origin + seen[..., :2] * (self.scale * DISTANCE / (DISTANCE - seen[..., 2:]))

    @property
    def eye(self) -> np.ndarray:
        """(3,) mm: where the camera is in the space of the head."""
        return self.rotation.T @ [0, 0, DISTANCE]

    @property
    def yaw(self) -> float:
        """Radians by which the nose points to the right of the picture, as the head stands."""
        return float(np.arctan2(-self.eye[0], self.eye[2]))

    @property
    def far(self) -> int:
        """Which of SIDES is turned away, 0 where none is."""
        return 0 if abs(self.yaw) < 0.12 else int(np.sign(self.yaw))


def find_pose(keypoints: np.ndarray) -> Pose:
    """The pose of the head with these (68, 2) key points in pixels.

    A robust least squares fit of a camera DISTANCE away to the mean face, from three starts: looking to the left, ahead
    and to the right. Raises ValueError where the points are not (68, 2) finite numbers or lie all in one place.
    """
    points = np.asarray(keypoints, dtype=float)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise ValueError(f"key points must be (68, 2) finite pixels, not of shape {points.shape}")
    seen = points[INDICES]
    if np.ptp(points, axis=0).max() < 4:
        raise ValueError("key points must span a face of at least 4 pixels")
    _, pose = min((_fit(seen, yaw) for yaw in (-0.7, 0.0, 0.7)), key=lambda found: found[0])
    eyes = np.isin(INDICES, np.r_[27, 36:48])
    pose.origin = pose.origin + (seen - pose.project(MODEL))[eyes].mean(0)  # glasses are worn before the eyes
    _measure(pose, points)
    return pose


def _fit(seen: np.ndarray, yaw: float) -> tuple[float, Pose]:
    """Levenberg's method from one start -> the cost and the pose."""
    turned = MODEL @ cv2.Rodrigues(np.array([0, yaw, 0]))[0].T
    model, there = (p[:, 0] + 1j * p[:, 1] for p in (turned, seen))
    model, there = (p - np.average(p, weights=TRUST) for p in (model, there))
    similar = np.sum(TRUST * there * model.conj()) / np.sum(TRUST * np.abs(model) ** 2)
    roll = cv2.Rodrigues(np.array([0, 0, np.angle(similar)]))[0]
    start = cv2.Rodrigues(roll @ cv2.Rodrigues(np.array([0, yaw, 0]))[0])[0].ravel()
    size = abs(similar)
    place = np.average(seen, axis=0, weights=TRUST) - size * (np.average(turned, axis=0, weights=TRUST) @ roll.T)[:2]
    values = np.r_[start, place / size, np.log(size)]

    def pose_of(v):
        return Pose(cv2.Rodrigues(v[:3])[0], v[3:5] * size, float(np.exp(v[5])))

    def residuals(v):
        return ((pose_of(v).project(MODEL) - seen) / size).ravel()  # mm

    damping, weights = 1e-2, np.repeat(TRUST, 2)
    for _ in range(40):
        error = residuals(values)
        distance = np.repeat(np.hypot(*error.reshape(-1, 2).T), 2)
        robust = weights / np.maximum(1, distance / 5)  # Huber: beyond 5 mm not worse than linear
        slopes = np.stack([(residuals(values + step) - error) / 1e-4 for step in 1e-4 * np.eye(6)], 1)
        normal = slopes.T @ (robust[:, None] * slopes)
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9), -slopes.T @ (robust * error))
        better = (robust * residuals(values + step) ** 2).sum() < (robust * error**2).sum()
        damping = max(damping / 4, 1e-6) if better else damping * 6
        if better:
            values = values + step
            if np.abs(step).max() < 1e-5:
                break
    distance = np.hypot(*residuals(values).reshape(-1, 2).T)
    return float((TRUST * np.minimum(distance**2, 10 * distance)).sum()), pose_of(values)


def _measure(pose: Pose, points: np.ndarray) -> None:
    """Fill in how wide the face is and where its ears are."""
    rows = {side: int(np.argmax(np.equal(INDICES, 16 if side == 1 else 0))) for side in SIDES}
    ends = pose.project(MODEL[[rows[-1], rows[1]]])
    facing = np.clip((np.cos(pose.yaw) - 0.8) / 0.2, 0, 1)
    width = np.hypot(*(points[16] - points[0])) / np.hypot(*(ends[1] - ends[0]))
    pose.fit = float(np.clip(1 + (0.985 * width - 1) * facing, 0.9, 1.1))
    pose.ears = default_ears(pose.fit)
    if pose.far:  # the near ear is seen: its key point says where it is
        near = -pose.far
        row = int(np.flatnonzero((16 if near == 1 else 0) == INDICES)[0])
        missed = (points[INDICES[row]] - pose.project(MODEL[row] * [pose.fit, 1, 1])) / pose.scale
        along = pose.rotation[:2, 1:].T @ missed  # as far as it lies along y and z of the head
        share = np.clip((abs(pose.yaw) - 0.2) / 0.4, 0, 1)
        pose.ears[near] = pose.ears[near] + share * np.array([0, *np.clip(along, -12, 12)]) * [0, 0.6, 1]


# ----------------------------------------------------------------------------------------- how the photo looks


@dataclass
class Look:
    """How a photo shows a face: what is drawn into it is lit, coloured, blurred and grained alike.

    level: of the light, 1 where white is white. colour: (3,) of the light, 1 on average. chroma: 0 in a grey photo, 1
    in a colourful one. light: (3,) unit vector to the light in the space of the head. blur: standard deviation of the
    camera's blur in pixels. noise: that of its noise in 0..1.
    """

    level: float
    colour: np.ndarray
    chroma: float
    light: np.ndarray
    blur: float
    noise: float

    @classmethod
    def of(cls, image: np.ndarray, points: np.ndarray, pose: Pose) -> "Look":
        """From (H, W, 3) uint8 and the (68, 2) key points of a face in it."""
        face = _crop(image, points[17:48])  # brows to nose, where the glasses will be
        if min(face.shape[:2]) < 4:
            return cls(0.8, np.ones(3), 1.0, unit(np.array([0, -0.55, 0.8])), 0.6, 0.0)
        cheeks = [_mean_colour(image, 0.55 * points[a] + 0.45 * points[b], 4 * pose.scale) for a, b in CHEEKS]
        skin = np.mean(cheeks, axis=0)
        slope = np.clip((cheeks[1] - cheeks[0]).mean() / max(skin.mean(), 0.1), -0.6, 0.6)
        bright = np.percentile(face.max(2)[::2, ::2], 97) / 255
        tone = face.mean((0, 1))
        gray = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
        return cls(
            level=float(np.clip(0.5 * skin.mean() / 0.55 + 0.5 * bright / 0.9, 0.25, 1.1)),
            colour=1 + 0.25 * (tone / max(tone.mean(), 5) - 1),
            chroma=float(np.clip(np.ptp(skin) / max(skin.max(), 0.05) / 0.12, 0, 1)),
            light=unit(np.array([1.1 * slope, -0.55, 0.8])),
            blur=float(np.clip(sharpness(gray), 0.45, 0.5 + 1.2 * pose.scale)),
            noise=noise(gray),
        )

    def lit(self, colours: np.ndarray) -> np.ndarray:
        """(..., 3) colours in white light of level 1 -> as this photo shows them."""
        colours = colours * (self.level * self.colour)
        gray = colours.mean(-1, keepdims=True)
        return np.clip(gray + (colours - gray) * self.chroma, 0, 1)


def _crop(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The part of the image that (N, 2) points span, as far as they are in it."""
    height, width = image.shape[:2]
    (x0, y0), (x1, y1) = np.clip([points.min(0), points.max(0) + 1], 0, (width, height)).astype(int)
    return image[y0:y1, x0:x1]


def _mean_colour(image: np.ndarray, point: np.ndarray, radius: float) -> np.ndarray:
    """(3,) the mean colour in 0..1 about a point, or about the nearest one that is in the image."""
    reach, (height, width) = max(1, round(radius)), image.shape[:2]
    x, y = np.clip(np.round(point), 0, (width - 1, height - 1)).astype(int)
    return image[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].mean((0, 1)) / 255


def sharpness(gray: np.ndarray) -> float:
    """The standard deviation in pixels of the blur at the sharpest edges of an (H, W) float32 image.

    From how much a further blur of one pixel flattens them (S. Zhuo and T. Sim, "Defocus map estimation from a single
    image", 2011).
    """
    before, after = (
        np.hypot(cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1))
        for image in (gray, cv2.GaussianBlur(gray, (0, 0), 1.0))
    )
    strong = before >= np.percentile(before, 97)
    ratio = np.percentile(before[strong] / np.maximum(after[strong], 1e-4), 70)
    return float(1 / np.sqrt(max(1.02, ratio) ** 2 - 1))


def noise(gray: np.ndarray) -> float:
    """The standard deviation of the noise in an (H, W) float32 image, from the smoother half of it.

    By a filter that answers neither to slopes nor to straight edges (J. Immerkaer, "Fast noise variance estimation",
    1996): its median is 0.67 standard deviations.
    """
    rough = np.abs(cv2.filter2D(gray, -1, np.float32([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6))
    return float(min(np.median(rough) / 0.67, 0.03))


# ------------------------------------------------------------------------------------------------ the painter


class View:
    """The part of an image in which something is drawn: its corner (2,), size in pixels, and how fine edges are drawn.

    reach: arrays (..., 2) of pixels, of all that is drawn.
    """

    def __init__(self, shape: tuple[int, ...], reach: list[np.ndarray], pose: Pose, look: Look):
        points, margin = np.concatenate([r.reshape(-1, 2) for r in reach]), 14 * pose.scale + 4 * look.blur + 2
        low = np.clip(np.floor(points.min(0) - margin), 0, (shape[1], shape[0])).astype(int)
        high = np.clip(np.ceil(points.max(0) + margin), 0, (shape[1], shape[0])).astype(int)
        self.corner, (self.width, self.height) = low, (int(v) for v in np.maximum(high - low, 0))
        self.fine = int(np.clip(np.sqrt(1.2e7 / max(1, self.width * self.height)), 1, 8))
        self.coarse = max(1, round(np.sqrt(self.width * self.height / 2e5)))  # pixels a step of what is smooth

    @property
    def empty(self) -> bool:
        """Whether nothing of it is in the image."""
        return not (self.width and self.height)

    @property
    def part(self) -> tuple[slice, slice]:
        """The rows and columns of the image."""
        x, y = self.corner
        return slice(y, y + self.height), slice(x, x + self.width)

    def fixed(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) pixels of the image -> sixteenths of a fine pixel, as OpenCV draws with shift=4."""
        return np.round(((points - self.corner + 0.5) * self.fine - 0.5) * 16).astype(np.int32)

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y in pixels of the image, each (h, w) float32, of a coarse grid over this part."""
        rows, columns = (
            first + (np.arange(-(-size // self.coarse), dtype=np.float32) + 0.5) * size / -(-size // self.coarse) - 0.5
            for first, size in ((self.corner[1], self.height), (self.corner[0], self.width))
        )
        return np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))

    def spread(self, coarse: np.ndarray) -> np.ndarray:
        """Values on the coarse grid -> (H, W, ...) float32."""
        return cv2.resize(np.float32(coarse), (self.width, self.height), interpolation=cv2.INTER_LINEAR)

    def canvas(self, channels: int) -> np.ndarray:
        """An empty picture of fine pixels, uint8."""
        return np.zeros((self.height * self.fine, self.width * self.fine, channels), np.uint8)

    def finish(self, fine: np.ndarray, blur: float) -> np.ndarray:
        """Fine pixels -> (H, W, ...) float32 in 0..1, blurred as the photo is."""
        small = cv2.resize(fine, (self.width, self.height), interpolation=cv2.INTER_AREA)
        small = np.multiply(small, 1 / 255, dtype=np.float32)
        return cv2.GaussianBlur(small, (0, 0), blur) if blur > 0.2 else small

    def mask(self, outlines: list[np.ndarray], blur: float) -> np.ndarray:
        """(H, W) float32 in 0..1: the union of (N, 2) outlines in pixels of the image."""
        fine = self.canvas(1)
        for outline in outlines:
            cv2.fillPoly(fine, [self.fixed(outline)], 255, shift=4)
        return self.finish(fine, blur)


def hidden(points: np.ndarray, pose: Pose) -> np.ndarray:
    """(N,) 0..1: how far the skull is between (N, 3) points in mm and the camera."""
    centre, axes = SKULL
    axes = axes * [pose.fit, 1, 1]
    start, end = (points - centre) / axes, (pose.eye - centre) / axes
    ray = end - start
    nearest = np.clip(-(start * ray).sum(1) / (ray * ray).sum(1), 0.002, 1)
    distance = np.linalg.norm(start + nearest[:, None] * ray, axis=1)
    return np.clip((1.0 - distance) / 0.06, 0, 1)


def shade(mesh: Mesh, pose: Pose, look: Look) -> np.ndarray:
    """(M, 3) colours in 0..1 of a mesh under the light of the photo (Blinn and Phong, and a sky that metal mirrors)."""
    view = unit(pose.eye - mesh.quads.mean(1))
    diffuse = np.clip((mesh.normals * look.light).sum(1), 0, 1)[:, None]
    shine = np.clip((mesh.normals * unit(look.light + view)).sum(1), 0, 1)[:, None]
    mirrored = 2 * (mesh.normals * view).sum(1, keepdims=True) * mesh.normals - view
    sky = 0.5 - 0.5 * np.tanh(3.0 * (mirrored[:, 1:2] + 0.15))  # bright above, dark below
    if mesh.metal:
        colours = mesh.colours * (0.25 + 0.45 * diffuse + 0.65 * sky) + mesh.gloss * 0.55 * shine**40
    else:
        colours = mesh.colours * (0.45 + 0.65 * diffuse) + mesh.gloss * (0.06 * sky + 0.35 * shine**25)
    return look.lit(colours)


def paint(fine: np.ndarray, view: View, parts: list[Mesh], pose: Pose, look: Look, behind_skull: bool = False) -> None:
    """Paint meshes into fine RGBA pixels, colours times alpha, the farthest first; behind_skull: not what it hides."""
    if not parts:
        return
    quads = np.concatenate([part.quads for part in parts])
    normals = np.concatenate([part.normals for part in parts])
    alpha = np.concatenate([part.alpha for part in parts])
    colours = np.concatenate([shade(part, pose, look) for part in parts])
    centres = quads.mean(1)
    if behind_skull:
        alpha = alpha * (1 - hidden(centres, pose))
    seen = ((normals * (pose.eye - centres)).sum(1) > 0) & (alpha > 0.01)
    order = np.flatnonzero(seen)[np.argsort(pose.camera(centres[seen])[:, 2], kind="stable")]
    corners = view.fixed(pose.project(quads[order]))
    values = np.round(255 * np.column_stack([colours[order] * alpha[order, None], alpha[order]])).tolist()
    for corner, value in zip(corners, values, strict=True):
        cv2.fillConvexPoly(fine, corner, value, shift=4)


def cover(image: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """(H, W, 3) covered with an RGBA layer (H, W, 4) whose colours are times its alpha."""
    return image * (1 - layer[..., 3:]) + layer[..., :3]


# ------------------------------------------------------------------------------------------------- the lenses


def on_front(design: Design, pose: Pose, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y in mm of the design of the places on its front that pixels x and y, (h, w) float32, show."""
    sight = np.stack([x - np.float32(pose.origin[0]), y - np.float32(pose.origin[1]), np.zeros_like(x)], -1)
    sight /= np.float32(pose.scale)
    turn = np.float32(pose.rotation / [pose.fit, pose.fit, 1])  # camera -> design, from the right
    start = sight @ turn
    ray = (np.float32([0, 0, 1]) - sight / np.float32(DISTANCE)) @ turn
    # start + t ray meets z = forward - x^2 / 2 curve - lean y: the larger t is nearer to the camera.
    a = ray[..., 0] ** 2 / (2 * design.curve)
    b = ray[..., 2] + start[..., 0] * ray[..., 0] / design.curve + LEAN * ray[..., 1]
    c = start[..., 2] - design.forward + start[..., 0] ** 2 / (2 * design.curve) + LEAN * start[..., 1]
    t = 2 * c / np.minimum(-b - np.sqrt(np.maximum(b * b - 4 * a * c, 0)), -1e-3)
    return start[..., 0] + t * ray[..., 0], start[..., 1] + t * ray[..., 1]


def step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def draw_lenses(
    image: np.ndarray, mask: np.ndarray, design: Design, lens: str, pose: Pose, look: Look, view: View
) -> tuple[np.ndarray, np.ndarray]:
    """The (H, W, 3) image with the lenses of `mask` (H, W), and how far they cover it (H, W): tinted, with reflections."""
    x, y = on_front(design, pose, *view.grid())  # (h, w), coarse
    u = (x - np.where(x < 0, -1, 1) * design.middle) / (design.lens[0] / 2)
    v = (y - design.centre) / (design.lens[1] / 2)  # -1 at the top of a lens, 1 at the bottom
    if lens == "mirror":
        horizon = np.clip(v + 0.25 * u * u - 0.05, -1, 1)[..., None]
        top, middle, bottom = (look.lit(np.array(colour)) for colour in design.mirror)
        below = middle + (bottom - middle) * step(horizon, 0, 0.5)
        colour, opacity = np.where(horizon < 0, middle + (top - middle) * -horizon, below), np.full_like(u, 0.94)
    elif lens == "tinted":
        colour, opacity = look.lit(np.array(design.tint)), 0.95 - 0.22 * step(v, -0.5, 1.1)
    else:
        colour, opacity = look.lit(np.array([0.3, 0.34, 0.36])), np.full_like(u, 0.03)

    aslant = 0.9 * u + 0.45 * v  # a window is reflected, and the sky
    window = step(aslant, -0.8, -0.5) * step(-aslant, 0.05, 0.35)
    window = window + 0.5 * step(aslant, 0.0, 0.12) * step(-aslant, -0.25, -0.1)
    strength = {"clear": (0.12, 0.06), "tinted": (0.07, 0.10), "mirror": (0.12, 0.05)}[lens]
    glow = strength[0] * window * step(-v, -0.8, 0.6) + strength[1] * step(-v, -0.4, 1.0)
    white = look.lit(np.array([0.93, 0.97, 1.0]))
    # Of tint and glow, one over the other, the colour times alpha, and alpha.
    opacity, glow = opacity[..., None], glow[..., None]
    layer = np.concatenate([colour * opacity * (1 - glow) + white * glow, 1 - (1 - opacity) * (1 - glow)], axis=-1)
    layer = view.spread(layer) * mask[..., None]
    return cover(image, layer), layer[..., 3]


# ------------------------------------------------------------------------------------------------ the glasses


def draw_glasses(image: np.ndarray, points: np.ndarray, pose: Pose, look: Look, design: Design, lens: str) -> None:
    """Draw a pair of glasses into an (H, W, 3) uint8 image."""
    fineness = int(np.clip(40 * np.sqrt(pose.scale), 96, 288))
    *rims, left, right = glasses_parts(design, pose.fit, pose.ears, fineness)
    outlines = [pose.project(design.front(line) * [pose.fit, pose.fit, 1]) for line in design.outlines(fineness)]
    shields = [
        pose.project(side_shield(design, side, pose.fit, pose.ears[side]))
        for side in SIDES
        if design.side_shields and not (side == pose.far and abs(pose.yaw) > 0.3)
    ]
    view = View(image.shape, [*outlines, *shields, *(pose.project(m.quads) for m in (*rims, left, right))], pose, look)
    if view.empty:
        return
    temples, front = view.canvas(4), view.canvas(4)
    paint(temples, view, [left, right], pose, look, behind_skull=True)
    mask = view.mask(outlines, look.blur)
    if pose.far:
        paint(front, view, [part for part in rims if part.side == pose.far], pose, look)
        cv2.fillPoly(front, [view.fixed(points[NOSE[pose.far]])], (0, 0, 0, 0), shift=4)
        mask = mask * (1 - behind_nose(design, points, pose, look, view))
    paint(front, view, [part for part in rims if not pose.far or part.side != pose.far], pose, look)
    temples, front = view.finish(temples, look.blur), view.finish(front, look.blur)

    drawn = np.multiply(image[view.part], 1 / 255, dtype=np.float32)
    solid = np.maximum(np.maximum(front[..., 3], temples[..., 3]), (0.06 if lens == "clear" else 0.8) * mask)
    drawn = cover(cast_shadow(drawn, solid, points, pose, look, view), temples)
    drawn = draw_glass(drawn, shields, pose, look, view)
    drawn, covered = draw_lenses(drawn, mask, design, lens, pose, look, view)
    if min(design.rim) == 0:
        drawn = draw_edges(drawn, outlines, pose, look, view, strength=0.7 if max(design.rim) else 1.0)
    drawn = cover(drawn, front)
    _put(image, view, drawn, 1 - (1 - covered) * (1 - front[..., 3]) * (1 - temples[..., 3]), look)


def behind_nose(design: Design, points: np.ndarray, pose: Pose, look: Look, view: View) -> np.ndarray:
    """(H, W) 0..1: where the nose hides the far half of the front."""
    x, _ = on_front(design, pose, *view.grid())
    return view.mask([points[NOSE[pose.far]]], look.blur) * view.spread(x * pose.far > 0)


def draw_glass(image: np.ndarray, outlines: list[np.ndarray], pose: Pose, look: Look, view: View) -> np.ndarray:
    """(H, W, 3) image with clear plates before it: a whitish veil, and their edges."""
    if not outlines:
        return image
    veil = 0.16 * view.mask(outlines, look.blur)[..., None]
    image = image + (np.float32(look.lit(GLASS[1][0])) - image) * veil
    return draw_edges(image, outlines, pose, look, view)


def draw_edges(
    image: np.ndarray, outlines: list[np.ndarray], pose: Pose, look: Look, view: View, strength: float = 1.0
) -> np.ndarray:
    """(H, W, 3) image with the edges of glass along (N, 2) outlines: dark, with a bright line."""
    for colour, width, opacity in GLASS:
        fine, thick = view.canvas(1), max(1, round(max(width * pose.scale, 0.35 * width) * view.fine))
        cv2.polylines(fine, [view.fixed(outline) for outline in outlines], True, 255, thick, shift=4)
        alpha = (strength * opacity) * view.finish(fine, look.blur)[..., None]
        image = image + (np.float32(look.lit(colour)) - image) * alpha
    return image


def cast_shadow(
    image: np.ndarray, solid: np.ndarray, points: np.ndarray, pose: Pose, look: Look, view: View
) -> np.ndarray:
    """(H, W, 3) image with the soft shadow of what is `solid` (H, W) on the skin, below and away from the light."""
    fall = -9 * np.array([look.light[0], look.light[1], 1])  # mm, from the frame to the skin
    shrink = 1 / view.coarse
    dx, dy = (pose.project(fall) - pose.project(np.zeros(3))) * shrink
    shade = cv2.resize(solid, (view.grid()[0].shape[1], view.grid()[0].shape[0]), interpolation=cv2.INTER_AREA)
    shade = cv2.warpAffine(shade, np.float32([[1, 0, dx], [0, 1, dy]]), shade.shape[::-1])
    shade = cv2.GaussianBlur(shade, (0, 0), max(0.5, 2.2 * pose.scale * shrink))
    forehead = pose.project(np.array([[-52, -55, -15], [-25, -75, 0], [25, -75, 0], [52, -55, -15.0]]))
    face = cv2.convexHull(np.float32(np.concatenate([points, forehead])))[:, 0]
    skin = view.mask([face], max(0.5, 2.0 * pose.scale) if view.coarse == 1 else 2 * look.blur)
    return image * (1 - 0.42 * view.spread(shade) * skin)[..., None]


def _put(image: np.ndarray, view: View, drawn: np.ndarray, solid: np.ndarray, look: Look) -> None:
    """Write what was drawn into its part of the image, with the photo's noise where it is solid."""
    if look.noise > 0.002:
        grain = np.random.default_rng(0).standard_normal(solid.shape, np.float32)
        drawn = drawn + (look.noise * solid * grain)[..., None]
    image[view.part] = np.clip(np.rint(drawn * 255), 0, 255).astype(np.uint8)


# --------------------------------------------------------------------------- a picture, a hat, a moustache


def draw_picture(image: np.ndarray, points: np.ndarray, pose: Pose, look: Look, picture: np.ndarray) -> None:
    """Draw the picture of glasses from the front, (h, w, 4) uint8, bent about the face, with temples in its colour."""
    design, (height, width) = picture_design(picture), picture.shape[:2]
    half = np.array(design.lens) / 2
    border = np.stack(np.meshgrid(np.linspace(-1, 1, 9), (-1, 1)), -1).reshape(-1, 2) * half + [0, design.centre]
    temples = glasses_parts(design, pose.fit, pose.ears)
    front = pose.project(design.front(border) * [pose.fit, pose.fit, 1])
    view = View(image.shape, [front, *(pose.project(part.quads) for part in temples)], pose, look)
    if view.empty:
        return
    colours = picture.astype(np.float32) / 255
    colours[..., :3] = look.lit(colours[..., :3]) * colours[..., 3:]
    colours = cv2.copyMakeBorder(colours, 2, 2, 2, 2, cv2.BORDER_CONSTANT)
    shrink = min(1.0, 1.5 * pose.scale * design.lens[0] / width)  # no finer than the photo
    colours = cv2.resize(colours, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    x, y = (view.spread(at) for at in on_front(design, pose, *view.grid()))
    from_x = ((x / half[0] + 1) / 2 * width + 2) * shrink - 0.5
    from_y = (((y - design.centre) / half[1] + 1) / 2 * height + 2) * shrink - 0.5
    layer = cv2.remap(colours, np.float32(from_x), np.float32(from_y), cv2.INTER_LINEAR)
    layer = cv2.GaussianBlur(layer, (0, 0), look.blur)
    if pose.far:
        layer = layer * (1 - behind_nose(design, points, pose, look, view))[..., None]
    _cover_with(image, view, [layer], temples, points, pose, look)


def draw_hat(image: np.ndarray, points: np.ndarray, pose: Pose, look: Look) -> None:
    """Draw a hat into an (H, W, 3) uint8 image."""
    parts = hat_parts(pose.fit, int(np.clip(60 * np.sqrt(pose.scale), 96, 288)))
    view = View(image.shape, [pose.project(part.quads) for part in parts], pose, look)
    if not view.empty:
        _cover_with(image, view, [], parts, points, pose, look)


def draw_moustache(image: np.ndarray, points: np.ndarray, pose: Pose, look: Look) -> None:
    """Draw a moustache, of the colour of the brows, into an (H, W, 3) uint8 image."""
    brows = np.array([_mean_colour(image, point, 0.8 * pose.scale) for point in points[17:27]])
    lines, colours = moustache_hairs(np.clip(0.55 * np.sort(brows, axis=0)[:3].mean(0), 0.04, 0.3))
    lip = MODEL[np.isin(INDICES, (33, 51))].mean(0)
    missed = (points[33] + points[51]) / 2 - pose.project(lip)
    lines = lines * [pose.fit, 1, 1] + lip
    seen = hidden(lines[:, 0], pose) < 0.5
    lines, colours = pose.project(lines[seen]) + missed, colours[seen]
    if not len(lines) or (view := View(image.shape, [lines], pose, look)).empty:
        return
    fine, thick = view.canvas(4), max(1, round(0.6 * pose.scale * view.fine))
    for line, colour in zip(view.fixed(lines), colours * 255, strict=True):
        cv2.polylines(fine, [line], False, (*colour, 255), thick, shift=4)
    _cover_with(image, view, [view.finish(fine, look.blur)], [], points, pose, look)


def _cover_with(image, view: View, layers: list[np.ndarray], parts: list[Mesh], points, pose: Pose, look: Look) -> None:
    """Draw meshes that the skull may hide, then layers (H, W, 4), with their shadow, into an (H, W, 3) uint8 image."""
    if parts:
        fine = view.canvas(4)
        paint(fine, view, parts, pose, look, behind_skull=True)
        layers = [view.finish(fine, look.blur), *layers]
    solid = np.maximum.reduce([layer[..., 3] for layer in layers])
    drawn = np.multiply(image[view.part], 1 / 255, dtype=np.float32)
    drawn = cast_shadow(drawn, solid, points, pose, look, view)
    for layer in layers:
        drawn = cover(drawn, layer)
    _put(image, view, drawn, solid, look)


# ------------------------------------------------------------------------------------------------ all together


def try_on(
    image: np.ndarray,
    keypoints: np.ndarray,
    frame: str | np.ndarray | None = "wayfarer",
    lens: str | None = None,
    hat: bool = False,
    moustache: bool = False,
) -> np.ndarray:
    """A photo with glasses, a hat or a moustache on one of its faces.

    image: (H, W, 3) uint8 RGB. keypoints: (68, 2) pixels of the face in the order of the iBUG 300-W annotation, as
    `FaceAnswer.keypoints` has them. frame: a name of `frames.FRAMES`; or a picture of glasses from the front,
    (h, w, 4) uint8 RGBA, of which the opaque part is made as wide as the face; or None for no glasses. lens: of
    `frames.LENSES`, None for the frame's own. Returns (H, W, 3) uint8 RGB of the same size; pixels away from the head
    are those of `image`.

    Raises ValueError with one line for an unknown frame or lens, a picture without transparency, and for an image or
    key points of another form.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"the image must be (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}")
    if lens is not None and lens not in LENSES:
        raise ValueError(f"unknown lens {lens!r}: give {', '.join(LENSES)}")
    if isinstance(frame, str) and frame not in FRAMES:
        raise ValueError(f"unknown frame {frame!r}: give {', '.join(FRAMES)}")
    pose = find_pose(keypoints)
    points = np.asarray(keypoints, dtype=float)
    look = Look.of(image, points, pose)
    drawn = image.copy()
    if moustache:
        draw_moustache(drawn, points, pose, look)
    if isinstance(frame, str):
        draw_glasses(drawn, points, pose, look, FRAMES[frame], lens or FRAMES[frame].kind)
    elif frame is not None:
        draw_picture(drawn, points, pose, look, check_picture(frame))
    if hat:
        draw_hat(drawn, points, pose, look)
    return drawn
