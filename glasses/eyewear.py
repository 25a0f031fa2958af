"""Glasses drawn on a face whose 68 landmarks are known: a small renderer of frames, lenses, light and shadow.

    from eyewear import EYEWEAR, draw_eyewear
    style = numpy.random.default_rng(0).standard_normal(len(EYEWEAR))
    with_glasses = draw_eyewear(face, landmarks, style, opacity=1.0)     # (H, W, 3) uint8 -> the same

Every property of the glasses is a number of `style`, normally distributed and named in `EYEWEAR`. Inside, a
length is in *units* of the distance between the pupils (about 63 mm in an adult), x to the right of the image,
y down, z towards the camera; a frame is 2.1 to 2.3 units wide. Masks are drawn at OVERSAMPLE times the size and
averaged down, then blurred as the camera blurs, so that a wire of half a pixel is a faint line and not a stair.
"""

from dataclasses import dataclass
from math import erf

import cv2
import numpy as np

OVERSAMPLE = 4
ANGLES = np.linspace(0, 2 * np.pi, 96, endpoint=False)

# The numbers of a style, in their order. `tint` decides the kind: its upper quarter are sunglasses.
EYEWEAR = (
    "tint", "rim", "thickness", "width", "height", "squareness", "taper", "cat_eye", "droop", "top_heavy",
    "hue", "lightness", "material", "bridge", "drop", "tilt", "reflection", "reflection_x", "coating", "gradient",
    "shadow", "power", "temple", "lens_hue",
)  # fmt: skip
SUNGLASSES_FROM = 0.75  # of the distribution of `tint`
PLASTIC, TORTOISE, METAL = 0.36, 0.46, 0.94  # where each ends in that of `material`; the rest is transparent
RIMLESS, HALF_RIM, BROWLINE = 0.14, 0.27, 0.32  # where each ends in that of `rim`; the rest is a full rim


def uniform(normal: float) -> float:
    """The share of the normal distribution below a number: 0 to 1, evenly distributed."""
    return 0.5 * (1 + erf(float(normal) / 2**0.5))


def is_sunglasses(style: np.ndarray) -> bool:
    """Whether the glasses of a style have dark lenses."""
    return uniform(style[EYEWEAR.index("tint")]) >= SUNGLASSES_FROM


@dataclass
class Head:
    """Where a head is in the picture: `origin` (2,) between the pupils, pixels a `unit`, angles in radians."""

    origin: np.ndarray
    unit: float
    roll: float
    yaw: float
    pitch: float

    @classmethod
    def of(cls, landmarks: np.ndarray, pitch: float = 0.0) -> "Head":
        """From (68, 2) landmarks; the nose tip, 0.55 units before the eyes, shows how far the head is turned."""
        left, right = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
        across = right - left
        roll = np.arctan2(across[1], across[0])
        axis = across / np.hypot(*across)
        yaw = np.arcsin(np.clip((landmarks[30] - (left + right) / 2) @ axis / np.hypot(*across) / 0.55, -0.7, 0.7))
        return cls((left + right) / 2, float(np.hypot(*across) / np.cos(yaw)), float(roll), float(yaw), pitch)

    def project(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) units -> (N, 2) pixels."""
        x, y, z = points.T
        x, z = x * np.cos(self.yaw) + z * np.sin(self.yaw), z * np.cos(self.yaw) - x * np.sin(self.yaw)
        y, z = y * np.cos(self.pitch) + z * np.sin(self.pitch), z * np.cos(self.pitch) - y * np.sin(self.pitch)
        near = self.unit / (1 - z / 10)  # a camera ten units away: what is nearer is larger
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        return self.origin + np.stack([(x * cos - y * sin) * near, (x * sin + y * cos) * near], axis=1)


class Canvas:
    """Draws masks, (H, W) float32 in 0..1, of polygons and lines given in pixels."""

    def __init__(self, height: int, width: int, blur: float):
        self.height, self.width, self.blur = height, width, blur

    def _finish(self, mask: np.ndarray) -> np.ndarray:
        mask = cv2.resize(mask, (self.width, self.height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        return cv2.GaussianBlur(mask, (0, 0), self.blur) if self.blur > 0.2 else mask

    def _points(self, points: np.ndarray) -> np.ndarray:
        return np.round(((points + 0.5) * OVERSAMPLE - 0.5) * 16).astype(np.int32)

    def fill(self, *outlines: np.ndarray) -> np.ndarray:
        """The union of (N, 2) outlines."""
        mask = np.zeros((self.height * OVERSAMPLE, self.width * OVERSAMPLE), np.uint8)
        for outline in outlines:
            cv2.fillPoly(mask, [self._points(outline)], 255, shift=4)
        return self._finish(mask)

    def ring(self, outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
        """What lies inside `outer` and outside `inner`."""
        mask = np.zeros((self.height * OVERSAMPLE, self.width * OVERSAMPLE), np.uint8)
        cv2.fillPoly(mask, [self._points(outer)], 255, shift=4)
        cv2.fillPoly(mask, [self._points(inner)], 0, shift=4)
        return self._finish(mask)

    def band(self, points: np.ndarray, widths: float | np.ndarray) -> np.ndarray:
        """A line through (N, 2) points, `widths` pixels wide: a number, or one a point."""
        along = np.gradient(points, axis=0)
        across = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(np.hypot(*along.T), 1e-6)[:, None]
        half = np.broadcast_to(np.asarray(widths, dtype=float) / 2, len(points))[:, None] * across
        return self.fill(np.concatenate([points + half, (points - half)[::-1]]))


def lens_outline(width: float, height: float, squareness: float, taper: float, cat_eye: float, droop: float):
    """(96, 2) outline of a lens about its centre in units, x positive to the temple, y down.

    A superellipse, of exponent 2 (an ellipse) to 6 (nearly a rectangle), wider above by `taper`, its upper
    outer corner lifted by `cat_eye`, its lower part drawn down by `droop` (an aviator's).
    """
    cos, sin = np.cos(ANGLES), np.sin(ANGLES)
    x = np.sign(cos) * np.abs(cos) ** (2 / squareness)
    y = np.sign(sin) * np.abs(sin) ** (2 / squareness)
    lift = cat_eye * np.maximum(x, 0) ** 2 * np.where(y < 0, 1.0, 0.3)
    below = np.maximum(y, 0)
    x = x * (1 - taper * y) + 0.25 * droop * below * (1 - np.abs(x))
    return np.stack([x * width / 2, (y * (1 + droop * (y > 0)) - lift) * height / 2], 1)


def _outwards(outline: np.ndarray) -> np.ndarray:
    """Unit normals of a closed outline that runs as ANGLES do."""
    along = np.roll(outline, -1, 0) - np.roll(outline, 1, 0)
    return np.stack([along[:, 1], -along[:, 0]], 1) / np.maximum(np.hypot(*along.T), 1e-9)[:, None]


def _colour(hue: float, lightness: float, material: float, rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """Colour (3,) in 0..1, its gloss and its opacity, from three numbers in 0..1."""
    if material < PLASTIC:  # plastic: black, dark brown, now and then a colour
        value = 0.03 + 0.12 * lightness
        if hue < 0.5:
            return np.float32([value, value, value * 1.05]), 0.35, 1.0
        if hue < 0.75:
            return np.float32([0.10 + 0.22 * lightness, 0.06 + 0.12 * lightness, 0.03 + 0.06 * lightness]), 0.4, 1.0
        colours = [(0.55, 0.08, 0.1), (0.08, 0.15, 0.45), (0.1, 0.3, 0.2), (0.4, 0.1, 0.4), (0.85, 0.83, 0.8)]
        return np.float32(colours[int((hue - 0.75) / 0.25 * 4.999)]) * (0.6 + 0.5 * lightness), 0.4, 1.0
    if material < TORTOISE:  # tortoiseshell: mottled in `draw_eyewear`
        return np.float32([0.30, 0.17, 0.07]) * (0.6 + 0.6 * lightness), 0.4, 0.97
    if material < METAL:  # metal
        metals = [(0.12, 0.12, 0.13), (0.35, 0.35, 0.37), (0.66, 0.66, 0.68), (0.66, 0.52, 0.28), (0.5, 0.36, 0.28)]
        return np.float32(metals[int(hue * 4.999)]) * (0.75 + 0.4 * lightness), 0.7, 1.0
    return np.float32([0.8, 0.78, 0.74]) * (0.7 + 0.4 * lightness), 0.6, 0.5  # transparent plastic


def _blend(image: np.ndarray, colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return image + (colour - image) * alpha[..., None]


def draw_eyewear(
    face: np.ndarray, landmarks: np.ndarray, style: np.ndarray, opacity: float = 1.0, lift: float = 0.0
) -> np.ndarray:
    """Put glasses on a face.

    face: (H, W, 3) uint8 RGB. landmarks: (68, 2) pixels, in the order of the iBUG 300-W annotation. style: as
    long as `EYEWEAR`. opacity: 0 leaves the face as it is, 1 draws solid glasses. lift: units up from the eyes,
    0 for glasses as they are worn, 1 and more for glasses pushed up on the head.
    """
    if opacity <= 0:
        return face.copy()
    p = {name: uniform(value) for name, value in zip(EYEWEAR, style, strict=True)}
    rng = np.random.default_rng(int(abs(style).sum() * 1e4))  # for grain, whose pattern nobody needs to steer
    dark = p["tint"] >= SUNGLASSES_FROM
    height, width = face.shape[:2]
    image = face.astype(np.float32) / 255
    head = Head.of(landmarks, pitch=0.25 * (p["drop"] - 0.5))
    head.roll += 0.06 * (p["tilt"] - 0.5)
    unit = head.unit
    canvas = Canvas(height, width, blur=0.35 + 0.005 * unit)

    # The frame: two lenses, their rims, a bridge between them, temples to the ears.
    face_width = np.hypot(*(landmarks[16] - landmarks[0])) / unit / max(0.8, np.cos(head.yaw))
    fit = np.clip(face_width / 2.3, 0.85, 1.12)
    lens_width = fit * (0.66 + 0.27 * p["width"] + 0.10 * dark)
    lens_height = lens_width * (0.44 + 0.44 * p["height"] ** 1.3 + 0.10 * dark)
    gap = fit * (0.24 + 0.10 * p["bridge"])
    squareness = 2.0 + 2.5 * p["squareness"] ** 1.5
    droop = max(0.0, p["droop"] - 0.7) * (0.5 + dark)
    outline = lens_outline(
        lens_width, lens_height, squareness, 0.02 + 0.10 * p["taper"], max(0, p["cat_eye"] - 0.7) * 0.9, droop
    )
    metal = TORTOISE <= p["material"] < METAL
    thick = (0.020 + 0.032 * p["thickness"]) if metal else (0.045 + 0.085 * p["thickness"] ** 2)
    normals = _outwards(outline)
    upper = np.clip(-normals[:, 1], 0, 1)
    rim = np.full(len(outline), thick) * (1 + 0.8 * (p["top_heavy"] - 0.3) * upper)
    rimless, half = p["rim"] < RIMLESS, RIMLESS <= p["rim"] < HALF_RIM
    browline = HALF_RIM <= p["rim"] < BROWLINE
    if half:
        rim = rim * np.clip(0.5 - 3 * normals[:, 1], 0.0, 1.0)
    if browline:
        rim = 0.028 + (0.10 + 0.05 * p["thickness"]) * np.clip(-normals[:, 1] * 1.5 - 0.3, 0, 1)
    if rimless:
        rim = np.full(len(outline), 0.012)
    centre_y = 0.13 * lens_height / 0.6 + 0.14 * (p["drop"] - 0.4) + 0.12 * max(0, p["drop"] - 0.85) / 0.15 - lift

    def place(points: np.ndarray, side: int) -> np.ndarray:
        """Points about a lens' centre -> pixels: both lenses lie on a slightly bent front."""
        x = side * (points[:, 0] + (gap + lens_width) / 2)
        return head.project(np.stack([x, points[:, 1] + centre_y, 0.30 - 0.10 * x**2], 1))

    inner = {side: place(outline, side) for side in (-1, 1)}
    outer = {side: place(outline + normals * rim[:, None], side) for side in (-1, 1)}
    lenses = canvas.fill(*inner.values())
    frame = np.zeros((height, width), np.float32)
    if rim.max() > 0.02:
        for side in (-1, 1):
            frame = np.maximum(frame, canvas.ring(outer[side], inner[side]))

    t = np.linspace(-1, 1, 17)
    bridge_y = centre_y - lens_height * (0.10 + 0.25 * p["bridge"])
    bar = 0.03 + 0.5 * thick if metal or rimless else 0.6 * thick + 0.03
    reach = gap / 2 + 0.05 * lens_width
    arch = 0.06 + 0.10 * (1 - p["squareness"])
    bars = [(bridge_y, arch)]
    if droop > 0.05 and metal:  # the second bar of an aviator
        bars.append((centre_y - 0.52 * lens_height, 0.0))
    for y, rise in bars:
        line = np.stack([t * reach, y - rise * (1 - t**2), np.full(len(t), 0.34)], 1)
        frame = np.maximum(frame, canvas.band(head.project(line), bar * unit))

    hinge_y = centre_y - lens_height * (0.15 + 0.28 * p["temple"])
    hinge_x = gap / 2 + lens_width + 0.5 * thick
    arm = (0.05 if metal or rimless else 0.07) + 0.10 * p["temple"] * (not metal) * p["thickness"]
    temples = np.zeros((height, width), np.float32)
    for side, ear in ((-1, landmarks[0]), (1, landmarks[16])):
        start = head.project(np.array([[side * (hinge_x - 0.03), hinge_y, 0.30 - 0.10 * hinge_x**2]]))[0]
        lug = head.project(np.array([[side * (hinge_x + 0.06), hinge_y, 0.2 - 0.10 * hinge_x**2]]))[0]
        frame = np.maximum(frame, canvas.band(np.linspace(start, lug, 5), arm * unit))
        axis = np.array([np.cos(head.roll), np.sin(head.roll)])
        end = ear + side * axis * 0.06 * unit - np.array([-axis[1], axis[0]]) * (0.12 + lift * 0.2) * unit
        if lift > 0.3 or side * (end - lug) @ axis < 0.02 * unit:  # behind the front, or lost in the hair
            continue
        path = np.linspace(lug, end, 9)
        temples = np.maximum(temples, canvas.band(path, np.linspace(arm, 0.6 * arm, 9) * unit))
    frame = np.maximum(frame, temples * (0.75 + 0.25 * p["temple"]))

    # Light: the frame's shadow on the skin, what the lenses do to what is behind them, the frame, reflections.
    skin = image[tuple(np.clip(np.round(landmarks[[2, 14, 30, 33]]).astype(int)[:, ::-1], 0, height - 1).T)]
    light = float(np.clip(skin.mean() / 0.55, 0.35, 1.2))
    side_light = float(np.clip((skin[1] - skin[0]).mean(), -0.3, 0.3))
    solid = np.maximum(frame, lenses * (0.6 if dark else 0.06))
    offset = np.float32([[1, 0, -side_light * 0.2 * unit], [0, 1, (0.03 + 0.09 * p["shadow"]) * unit]])
    shade = cv2.warpAffine(solid, offset, (width, height))
    shade = cv2.GaussianBlur(shade, (0, 0), max(0.5, (0.02 + 0.04 * p["shadow"]) * unit))
    drawn = image * (1 - (0.12 + 0.38 * p["shadow"]) * shade * (1 - frame))[..., None]

    power = np.float32(1 + (0.16 * (p["power"] - 0.4) if not dark else 0))  # minus lenses make the eyes small
    yy, xx = np.mgrid[0:height, 0:width].astype(np.float32)
    for side in (-1, 1):
        cx, cy = inner[side].mean(0).astype(np.float32)
        near = cv2.remap(
            drawn, (xx - cx) * power + cx, (yy - cy) * power + cy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        drawn = _blend(drawn, near, canvas.fill(inner[side]))

    top, bottom = centre_y - lens_height / 2, centre_y + lens_height / 2
    up = np.array([np.sin(head.roll), -np.cos(head.roll)])
    y_in_lens = ((np.stack([xx, yy], -1) - head.origin) @ -up / unit - top) / (bottom - top)  # 0 top, 1 bottom
    hues = [(0.02, 0.02, 0.025), (0.10, 0.06, 0.03), (0.05, 0.06, 0.05), (0.03, 0.04, 0.08), (0.16, 0.05, 0.05)]
    tints = [(0.55, 0.42, 0.25), (0.40, 0.45, 0.55), (0.55, 0.38, 0.42), (0.5, 0.5, 0.5), (0.42, 0.52, 0.42)]
    colour = np.float32((hues if dark else tints)[int(min(p["lens_hue"] ** (2 if dark else 1), 0.999) * 5)]) * light
    if dark:
        strength = 0.68 + 0.31 * (p["tint"] - SUNGLASSES_FROM) / (1 - SUNGLASSES_FROM)
        strength = strength * (1 - (0.6 if p["gradient"] > 0.6 else 0.1) * np.clip(y_in_lens, 0, 1) ** 1.5)
    else:
        strength = np.full((height, width), 0.02 + 0.30 * max(0.0, p["tint"] - 0.6) / 0.15 * (p["tint"] > 0.6))
    drawn = _blend(drawn, colour, (lenses * strength).astype(np.float32))

    # Reflections have the same place in both lenses: a soft sky from above, and a bright window.
    glint = np.zeros((height, width), np.float32)
    bright = p["reflection"] ** 3
    x0 = (p["reflection_x"] - 0.5) * 0.9 * lens_width
    for side in (-1, 1):
        w, h = (0.10 + 0.25 * p["coating"]) * lens_width, (0.2 + 0.5 * p["reflection"]) * lens_height
        quad = np.array([[-w, -h], [w, -h * 0.9], [w * 0.6, h * 0.7], [-w * 1.2, h * 0.6]]) / 2
        quad = quad + np.array([side * x0, -lens_height * 0.15])
        glint = np.maximum(glint, canvas.fill(place(quad, side)))
    glint = cv2.GaussianBlur(glint, (0, 0), (0.015 + 0.08 * p["coating"]) * unit + 0.3)
    sky = np.clip(1 - 1.6 * y_in_lens, 0, 1) * (0.25 if dark else 0.12) * p["coating"]
    coats = [(0.95, 0.97, 1.0), (0.6, 0.75, 1.0), (0.65, 1.0, 0.8), (1.0, 0.95, 0.85)]
    coat = np.float32(coats[int(p["coating"] * 3.999)]) * min(1.0, light + 0.2)
    drawn = _blend(drawn, coat, lenses * np.clip(0.75 * bright * glint + bright * sky + 0.3 * sky, 0, 0.9))
    if rimless or half:  # the edge of the glass itself
        for side in (-1, 1):
            edge = canvas.ring(place(outline * 1.0 + normals * 0.014, side), place(outline - normals * 0.014, side))
            drawn = _blend(drawn, np.float32([0.25, 0.27, 0.28]) * light, 0.45 * edge)
            drawn = _blend(drawn, np.float32([1, 1, 1]), 0.25 * bright * edge)

    base, gloss, opaque = _colour(p["hue"], p["lightness"], p["material"], rng)
    body = np.broadcast_to(base, image.shape)
    if PLASTIC <= p["material"] < TORTOISE:
        grain = cv2.resize(
            rng.standard_normal((14, 14)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
        )
        body = body * (1 + 0.55 * np.clip(grain, -1.2, 1.6))[..., None]
    lit = light * (1 + side_light * (xx - head.origin[0]) / unit)  # a frame is lit from where the face is
    body = np.clip(body * lit[..., None], 0, 1)
    drawn = _blend(drawn, body, frame * opaque)
    shine = np.clip(
        frame - cv2.warpAffine(frame, np.float32([[1, 0, 0], [0, 1, 0.035 * unit + 0.4]]), (width, height)), 0, 1
    )
    drawn = _blend(
        drawn, np.float32([1, 1, 1]) * min(1.0, light), gloss * shine * (0.15 + 0.5 * bright + 0.2 * p["lightness"])
    )
    if metal and not dark:  # nose pads
        for side in (-1, 1):
            pad = head.project(np.array([[side * (gap / 2 - 0.02), centre_y + 0.05 + 0.1 * v, 0.28] for v in (0, 1)]))
            drawn = _blend(
                drawn, np.float32([0.85, 0.85, 0.82]) * light, 0.35 * canvas.band(np.linspace(*pad, 5), 0.05 * unit)
            )

    drawn = image + (drawn - image) * opacity
    return np.clip(np.round(drawn * 255), 0, 255).astype(np.uint8)
