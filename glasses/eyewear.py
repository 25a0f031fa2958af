"""Glasses drawn on a face whose 68 landmarks are known: a small renderer of frames, lenses, light and shadow.

    from glasses.eyewear import EYEWEAR, draw_eyewear
    style = numpy.random.default_rng(0).standard_normal(len(EYEWEAR))
    with_glasses = draw_eyewear(face, landmarks, style, opacity=1.0)     # (H, W, 3) uint8 -> the same

Every property of the glasses is a number of `style`, normally distributed and named in `EYEWEAR`. `Frame` works out
the geometry from these numbers; then the picture is drawn from back to front: the shadow on the skin, the lenses,
the rims.

Inside, a length is in *units* of the distance between the pupils (about 63 mm in an adult), x to the right of the
image, y down, z towards the camera; a frame is 2.1 to 2.3 units wide. Masks, (H, W) float32 in 0..1, are drawn at
OVERSAMPLE times the size and averaged down, then blurred as the camera blurs, so that a wire of half a pixel is a
faint line and not a stair.
"""

from dataclasses import dataclass
from math import erf

import cv2
import numpy as np

OVERSAMPLE = 4
ANGLES = np.linspace(0, 2 * np.pi, 96, endpoint=False)
SIDES = (-1, 1)  # the lens at the left of the image, and the one at the right

# The numbers of a style, in their order. `tint` decides the kind: its upper quarter are sunglasses.
EYEWEAR = (
    "tint", "rim", "thickness", "width", "height", "squareness", "taper", "cat_eye", "droop", "top_heavy",
    "hue", "lightness", "material", "bridge", "drop", "tilt", "reflection", "reflection_x", "coating", "gradient",
    "shadow", "power", "temple", "lens_hue",
)  # fmt: skip
SUNGLASSES_FROM = 0.75  # of the distribution of `tint`
PLASTIC, TORTOISE, METAL = 0.36, 0.46, 0.94  # where each ends in that of `material`; the rest is transparent
RIMLESS, HALF_RIM, BROWLINE = 0.14, 0.27, 0.32  # where each ends in that of `rim`; the rest is a full rim

# Colours, RGB in 0..1.
WHITE = np.float32([1, 1, 1])
PLASTICS = ((0.55, 0.08, 0.1), (0.08, 0.15, 0.45), (0.1, 0.3, 0.2), (0.4, 0.1, 0.4), (0.85, 0.83, 0.8))
METALS = ((0.12, 0.12, 0.13), (0.35, 0.35, 0.37), (0.66, 0.66, 0.68), (0.66, 0.52, 0.28), (0.5, 0.36, 0.28))
DARK_TINTS = ((0.02, 0.02, 0.025), (0.10, 0.06, 0.03), (0.05, 0.06, 0.05), (0.03, 0.04, 0.08), (0.16, 0.05, 0.05))
LIGHT_TINTS = ((0.55, 0.42, 0.25), (0.40, 0.45, 0.55), (0.55, 0.38, 0.42), (0.5, 0.5, 0.5), (0.42, 0.52, 0.42))
COATINGS = ((0.95, 0.97, 1.0), (0.6, 0.75, 1.0), (0.65, 1.0, 0.8), (1.0, 0.95, 0.85))


def uniform(normal: float) -> float:
    """The share of the normal distribution below a number: 0 to 1, evenly distributed."""
    return 0.5 * (1 + erf(float(normal) / 2**0.5))


def is_sunglasses(style: np.ndarray) -> bool:
    """Whether the glasses of a style have dark lenses."""
    return uniform(style[EYEWEAR.index("tint")]) >= SUNGLASSES_FROM


def draw_eyewear(
    face: np.ndarray, landmarks: np.ndarray, style: np.ndarray, opacity: float = 1.0, lift: float = 0.0
) -> np.ndarray:
    """Put glasses on a face.

    face: (H, W, 3) uint8 RGB. landmarks: (68, 2) pixels, in the order of the iBUG 300-W annotation. style: as
    long as `EYEWEAR`. opacity: 0 leaves the face as it is, 1 draws solid glasses. lift: units up from the eyes,
    0 for glasses as they are worn, 1 and more for glasses pushed up on the head. Returns (H, W, 3) uint8 RGB.
    """
    if opacity <= 0:
        return face.copy()
    image = face.astype(np.float32) / 255
    frame = Frame.of(style, landmarks, lift)
    light = Light.of(image, landmarks)
    canvas = Canvas(*face.shape[:2], blur=0.35 + 0.005 * frame.head.unit)
    lenses = lens_mask(frame, canvas)
    body = body_mask(frame, canvas, landmarks)

    drawn = shade_skin(image, frame, light, lenses, body)
    drawn = draw_lenses(drawn, frame, light, canvas, lenses)
    drawn = draw_rims(drawn, frame, light, canvas, body)

    drawn = image + (drawn - image) * opacity
    return np.clip(np.round(drawn * 255), 0, 255).astype(np.uint8)


# ------------------------------------------------------------------------- what the drawing is made with


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
        middle, across = (left + right) / 2, right - left
        distance = np.hypot(*across)
        roll = np.arctan2(across[1], across[0])
        nose = (landmarks[30] - middle) @ (across / distance)  # pixels, along the line through the eyes
        yaw = np.arcsin(np.clip(nose / distance / 0.55, -0.7, 0.7))
        return cls(middle, float(distance / np.cos(yaw)), float(roll), float(yaw), pitch)

    def project(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) units -> (N, 2) pixels."""
        x, y, z = points.T
        x, z = x * np.cos(self.yaw) + z * np.sin(self.yaw), z * np.cos(self.yaw) - x * np.sin(self.yaw)
        y, z = y * np.cos(self.pitch) + z * np.sin(self.pitch), z * np.cos(self.pitch) - y * np.sin(self.pitch)
        near = self.unit / (1 - z / 10)  # a camera ten units away: what is nearer is larger
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        return self.origin + np.stack([(x * cos - y * sin) * near, (x * sin + y * cos) * near], axis=1)


@dataclass
class Light:
    """The light on a face: `level`, 1 where it is well lit, and `slope`, its relative growth a unit to the right."""

    level: float
    slope: float

    @classmethod
    def of(cls, image: np.ndarray, landmarks: np.ndarray) -> "Light":
        """From the skin of an (H, W, 3) float32 image in 0..1: the cheeks, the nose tip and below the nose."""
        height, width = image.shape[:2]
        places = np.round(landmarks[[2, 14, 30, 33]]).astype(int)
        x, y = np.clip(places, 0, (width - 1, height - 1)).T
        skin = image[y, x]  # (4, 3)
        slope = (skin[1] - skin[0]).mean()
        return cls(float(np.clip(skin.mean() / 0.55, 0.35, 1.2)), float(np.clip(slope, -0.3, 0.3)))


class Canvas:
    """Draws masks, (H, W) float32 in 0..1, of polygons and lines given in pixels."""

    def __init__(self, height: int, width: int, blur: float):
        self.height, self.width, self.blur = height, width, blur

    def _finish(self, mask: np.ndarray) -> np.ndarray:
        mask = cv2.resize(mask, (self.width, self.height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        return cv2.GaussianBlur(mask, (0, 0), self.blur) if self.blur > 0.2 else mask

    def _points(self, points: np.ndarray) -> np.ndarray:
        """Pixels -> sixteenths of an oversampled pixel, as `cv2.fillPoly(..., shift=4)` takes them."""
        return np.round(((points + 0.5) * OVERSAMPLE - 0.5) * 16).astype(np.int32)

    def empty(self) -> np.ndarray:
        """The mask of nothing."""
        return np.zeros((self.height, self.width), np.float32)

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

    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """The x and the y of every pixel, each (H, W) float32."""
        y, x = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32)
        return x, y


def _blend(image: np.ndarray, colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W, 3) image, covered with a colour (3,) or another image as far as `alpha` (H, W) says."""
    return image + (colour - image) * alpha[..., None]


# ---------------------------------------------------------------------------------- geometry of the frame


@dataclass
class Frame:
    """The glasses of a style, worked out for one head. Lengths are in units; `place` turns them into pixels.

    traits: the numbers of the style by name, each as a share in 0..1. rim: "rimless", "half rim", "browline" or
    "full rim". material: "plastic", "tortoiseshell", "metal" or "transparent".
    """

    head: Head
    traits: dict[str, float]
    dark: bool  # sunglasses
    rim: str
    material: str
    lens_width: float
    lens_height: float
    gap: float  # between the lenses
    centre_y: float  # of the lenses, below the pupils
    lift: float  # how far the glasses are pushed up; part of centre_y
    droop: float  # how far the lenses are drawn down, as an aviator's are
    thickness: float  # of the rim where it is not made wider or narrower
    outline: np.ndarray  # (96, 2) of a lens about its centre, x positive to the temple
    normals: np.ndarray  # (96, 2) outwards from the outline, of length 1
    rim_widths: np.ndarray  # (96,) along the outline
    seed: int  # of the grain of tortoiseshell, which nobody needs to steer

    @classmethod
    def of(cls, style: np.ndarray, landmarks: np.ndarray, lift: float = 0.0) -> "Frame":
        """The frame of a style on the head with these (68, 2) landmarks, fitted to the width of the face."""
        traits = {name: uniform(value) for name, value in zip(EYEWEAR, style, strict=True)}
        dark = traits["tint"] >= SUNGLASSES_FROM
        rim, material = rim_kind(traits["rim"]), material_kind(traits["material"])
        head = Head.of(landmarks, pitch=0.25 * (traits["drop"] - 0.5))
        head.roll += 0.06 * (traits["tilt"] - 0.5)

        face_width = np.hypot(*(landmarks[16] - landmarks[0])) / head.unit / max(0.8, np.cos(head.yaw))
        fit = np.clip(face_width / 2.3, 0.85, 1.12)
        lens_width = fit * (0.66 + 0.27 * traits["width"] + 0.10 * dark)
        lens_height = lens_width * (0.44 + 0.44 * traits["height"] ** 1.3 + 0.10 * dark)
        squareness = 2.0 + 2.5 * traits["squareness"] ** 1.5
        taper = 0.02 + 0.10 * traits["taper"]
        cat_eye = max(0, traits["cat_eye"] - 0.7) * 0.9
        droop = max(0.0, traits["droop"] - 0.7) * (0.5 + dark)
        outline = lens_outline(lens_width, lens_height, squareness, taper, cat_eye, droop)
        normals = _outwards(outline)
        if material == "metal":
            thickness = 0.020 + 0.032 * traits["thickness"]
        else:
            thickness = 0.045 + 0.085 * traits["thickness"] ** 2

        slipped = 0.12 * max(0, traits["drop"] - 0.85) / 0.15  # some glasses have slid down the nose
        return cls(
            head=head,
            traits=traits,
            dark=dark,
            rim=rim,
            material=material,
            lens_width=lens_width,
            lens_height=lens_height,
            gap=fit * (0.24 + 0.10 * traits["bridge"]),
            centre_y=0.13 * lens_height / 0.6 + 0.14 * (traits["drop"] - 0.4) + slipped - lift,
            lift=lift,
            droop=droop,
            thickness=thickness,
            outline=outline,
            normals=normals,
            rim_widths=rim_widths(rim, thickness, traits, normals),
            seed=int(abs(style).sum() * 1e4),
        )

    @property
    def slender(self) -> bool:
        """Whether bridge and temples are of wire."""
        return self.material == "metal" or self.rim == "rimless"

    @property
    def brightness(self) -> float:
        """Of the reflections in lenses and rims: 0 to 1, mostly low."""
        return self.traits["reflection"] ** 3

    def place(self, points: np.ndarray, side: int) -> np.ndarray:
        """(N, 2) points about the centre of a lens -> (N, 2) pixels: both lenses lie on a slightly bent front."""
        x = side * (points[:, 0] + (self.gap + self.lens_width) / 2)
        return self.head.project(np.stack([x, points[:, 1] + self.centre_y, 0.30 - 0.10 * x**2], 1))


def rim_kind(share: float) -> str:
    """What `rim`, a share in 0..1, stands for."""
    if share < RIMLESS:
        return "rimless"
    if share < HALF_RIM:
        return "half rim"
    return "browline" if share < BROWLINE else "full rim"


def material_kind(share: float) -> str:
    """What `material`, a share in 0..1, stands for."""
    if share < PLASTIC:
        return "plastic"
    if share < TORTOISE:
        return "tortoiseshell"
    return "metal" if share < METAL else "transparent"


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


def rim_widths(rim: str, thickness: float, traits: dict[str, float], normals: np.ndarray) -> np.ndarray:
    """(96,) width in units of each place of the rim, from where it faces: the `normals` (96, 2) of the outline."""
    down = normals[:, 1]  # -1 at the top of the lens, 1 at the bottom
    if rim == "rimless":
        return np.full(len(down), 0.012)
    if rim == "browline":
        return 0.028 + (0.10 + 0.05 * traits["thickness"]) * np.clip(-down * 1.5 - 0.3, 0, 1)
    widths = np.full(len(down), thickness) * (1 + 0.8 * (traits["top_heavy"] - 0.3) * np.clip(-down, 0, 1))
    return widths * np.clip(0.5 - 3 * down, 0.0, 1.0) if rim == "half rim" else widths


# ------------------------------------------------------------------------------------- shape of the frame


def lens_mask(frame: Frame, canvas: Canvas) -> np.ndarray:
    """(H, W) mask of both lenses."""
    return canvas.fill(*[frame.place(frame.outline, side) for side in SIDES])


def body_mask(frame: Frame, canvas: Canvas, landmarks: np.ndarray) -> np.ndarray:
    """(H, W) mask of all that is not glass: rims, bridge, hinges and temples, which end at the ears."""
    hinges, temples = temple_masks(frame, canvas, landmarks)
    temples = temples * (0.75 + 0.25 * frame.traits["temple"])  # narrow ones let the skin show
    return np.maximum.reduce([rim_mask(frame, canvas), bridge_mask(frame, canvas), hinges, temples])


def rim_mask(frame: Frame, canvas: Canvas) -> np.ndarray:
    """(H, W) mask of the rims; empty where they are too thin to be seen."""
    mask = canvas.empty()
    if frame.rim_widths.max() <= 0.02:
        return mask
    for side in SIDES:
        inner = frame.place(frame.outline, side)
        outer = frame.place(frame.outline + frame.normals * frame.rim_widths[:, None], side)
        mask = np.maximum(mask, canvas.ring(outer, inner))
    return mask


def bridge_mask(frame: Frame, canvas: Canvas) -> np.ndarray:
    """(H, W) mask of the bridge, an arch over the nose, and of the straight second bar of an aviator."""
    width = 0.03 + (0.5 if frame.slender else 0.6) * frame.thickness
    reach = frame.gap / 2 + 0.05 * frame.lens_width
    y = frame.centre_y - frame.lens_height * (0.10 + 0.25 * frame.traits["bridge"])
    bars = [(y, 0.06 + 0.10 * (1 - frame.traits["squareness"]))]  # y of the ends, and how far the middle rises
    if frame.droop > 0.05 and frame.material == "metal":
        bars.append((frame.centre_y - 0.52 * frame.lens_height, 0.0))

    mask = canvas.empty()
    t = np.linspace(-1, 1, 17)
    for y, rise in bars:
        line = np.stack([t * reach, y - rise * (1 - t**2), np.full(len(t), 0.34)], 1)
        mask = np.maximum(mask, canvas.band(frame.head.project(line), width * frame.head.unit))
    return mask


def temple_masks(frame: Frame, canvas: Canvas, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) masks of the hinges, which stick out from the front, and of the temples from there to the ears."""
    head, traits = frame.head, frame.traits
    unit = head.unit
    width = 0.05 if frame.slender else 0.07
    if frame.material != "metal":
        width += 0.10 * traits["temple"] * traits["thickness"]
    x = frame.gap / 2 + frame.lens_width + 0.5 * frame.thickness
    y = frame.centre_y - frame.lens_height * (0.15 + 0.28 * traits["temple"])
    right = np.array([np.cos(head.roll), np.sin(head.roll)])
    down = np.array([-right[1], right[0]])

    hinges, temples = canvas.empty(), canvas.empty()
    for side, ear in zip(SIDES, landmarks[[0, 16]], strict=True):
        hinge = np.array([[side * (x - 0.03), y, 0.30 - 0.10 * x**2], [side * (x + 0.06), y, 0.2 - 0.10 * x**2]])
        start, corner = head.project(hinge)
        hinges = np.maximum(hinges, canvas.band(np.linspace(start, corner, 5), width * unit))
        end = ear + side * right * 0.06 * unit - down * (0.12 + frame.lift * 0.2) * unit
        in_hair = frame.lift > 0.3
        behind_front = side * (end - corner) @ right < 0.02 * unit
        if not in_hair and not behind_front:
            widths = np.linspace(width, 0.6 * width, 9) * unit
            temples = np.maximum(temples, canvas.band(np.linspace(corner, end, 9), widths))
    return hinges, temples


# ------------------------------------------------------------------------------------- shadow on the skin


def shade_skin(image: np.ndarray, frame: Frame, light: Light, lenses: np.ndarray, body: np.ndarray) -> np.ndarray:
    """(H, W, 3) image with the shadow of the glasses, which falls down and away from the light."""
    height, width = image.shape[:2]
    unit, shadow = frame.head.unit, frame.traits["shadow"]
    solid = np.maximum(body, lenses * (0.6 if frame.dark else 0.06))
    offset = np.float32([[1, 0, -light.slope * 0.2 * unit], [0, 1, (0.03 + 0.09 * shadow) * unit]])
    shade = cv2.warpAffine(solid, offset, (width, height))
    shade = cv2.GaussianBlur(shade, (0, 0), max(0.5, (0.02 + 0.04 * shadow) * unit))
    return image * (1 - (0.12 + 0.38 * shadow) * shade * (1 - body))[..., None]


# ------------------------------------------------------------------------------------------------- lenses


def draw_lenses(image: np.ndarray, frame: Frame, light: Light, canvas: Canvas, lenses: np.ndarray) -> np.ndarray:
    """(H, W, 3) image with what the lenses do to it: power, tint, reflections, and the edge of glass without a rim."""
    depth = depth_in_lenses(frame, canvas)
    image = magnify(image, frame, canvas)
    image = tint(image, frame, light, lenses, depth)
    image = reflect(image, frame, light, canvas, lenses, depth)
    return draw_glass_edges(image, frame, light, canvas) if frame.rim in ("rimless", "half rim") else image


def depth_in_lenses(frame: Frame, canvas: Canvas) -> np.ndarray:
    """(H, W): 0 at the height of the lenses' top, 1 at that of their bottom, and on beyond."""
    head = frame.head
    top, bottom = frame.centre_y - frame.lens_height / 2, frame.centre_y + frame.lens_height / 2
    down = np.array([-np.sin(head.roll), np.cos(head.roll)])
    return ((np.stack(canvas.pixels(), -1) - head.origin) @ down / head.unit - top) / (bottom - top)


def magnify(image: np.ndarray, frame: Frame, canvas: Canvas) -> np.ndarray:
    """(H, W, 3) image with the eyes as the power of the lenses shows them: minus lenses make them small."""
    power = np.float32(1 if frame.dark else 1 + 0.16 * (frame.traits["power"] - 0.4))
    x, y = canvas.pixels()
    for side in SIDES:
        outline = frame.place(frame.outline, side)
        centre_x, centre_y = outline.mean(0).astype(np.float32)
        from_x, from_y = (x - centre_x) * power + centre_x, (y - centre_y) * power + centre_y
        magnified = cv2.remap(image, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        image = _blend(image, magnified, canvas.fill(outline))
    return image


def tint(image: np.ndarray, frame: Frame, light: Light, lenses: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(H, W, 3) image behind tinted lenses; those of sunglasses are dark, some of them less so at the bottom."""
    traits = frame.traits
    if frame.dark:
        colour = DARK_TINTS[int(min(traits["lens_hue"] ** 2, 0.999) * 5)]
        strength = 0.68 + 0.31 * (traits["tint"] - SUNGLASSES_FROM) / (1 - SUNGLASSES_FROM)
        fading = 0.6 if traits["gradient"] > 0.6 else 0.1
        strength = strength * (1 - fading * np.clip(depth, 0, 1) ** 1.5)
    else:
        colour = LIGHT_TINTS[int(min(traits["lens_hue"], 0.999) * 5)]
        strength = np.full(depth.shape, 0.02 + 0.30 * max(0.0, traits["tint"] - 0.6) / 0.15)
    return _blend(image, np.float32(colour) * light.level, (lenses * strength).astype(np.float32))


def reflect(
    image: np.ndarray, frame: Frame, light: Light, canvas: Canvas, lenses: np.ndarray, depth: np.ndarray
) -> np.ndarray:
    """(H, W, 3) image with a bright window and a soft sky from above, at the same place in both lenses."""
    traits, brightness = frame.traits, frame.brightness
    width = (0.10 + 0.25 * traits["coating"]) * frame.lens_width
    height = (0.2 + 0.5 * traits["reflection"]) * frame.lens_height
    corners = [[-width, -height], [width, -height * 0.9], [width * 0.6, height * 0.7], [-width * 1.2, height * 0.6]]
    x = (traits["reflection_x"] - 0.5) * 0.9 * frame.lens_width
    window = canvas.empty()
    for side in SIDES:
        outline = np.array(corners) / 2 + np.array([side * x, -frame.lens_height * 0.15])
        window = np.maximum(window, canvas.fill(frame.place(outline, side)))
    window = cv2.GaussianBlur(window, (0, 0), (0.015 + 0.08 * traits["coating"]) * frame.head.unit + 0.3)
    sky = np.clip(1 - 1.6 * depth, 0, 1) * (0.25 if frame.dark else 0.12) * traits["coating"]
    strength = np.clip(0.75 * brightness * window + brightness * sky + 0.3 * sky, 0, 0.9)
    colour = np.float32(COATINGS[int(traits["coating"] * 3.999)]) * min(1.0, light.level + 0.2)
    return _blend(image, colour, lenses * strength)


def draw_glass_edges(image: np.ndarray, frame: Frame, light: Light, canvas: Canvas) -> np.ndarray:
    """(H, W, 3) image with the edge of the glass itself, dark and with a glint: seen where no rim hides it."""
    half_edge = frame.normals * 0.014
    for side in SIDES:
        edge = canvas.ring(frame.place(frame.outline + half_edge, side), frame.place(frame.outline - half_edge, side))
        image = _blend(image, np.float32([0.25, 0.27, 0.28]) * light.level, 0.45 * edge)
        image = _blend(image, WHITE, 0.25 * frame.brightness * edge)
    return image


# --------------------------------------------------------------------------------------------------- rims


def draw_rims(image: np.ndarray, frame: Frame, light: Light, canvas: Canvas, body: np.ndarray) -> np.ndarray:
    """(H, W, 3) image with the frame in its colour, lit as the face is, a shine on its upper edges, and nose pads."""
    height, width = image.shape[:2]
    head = frame.head
    base, gloss, opacity = frame_material(frame)
    colour = np.broadcast_to(base, image.shape)
    if frame.material == "tortoiseshell":
        colour = colour * mottling(frame.seed, height, width)[..., None]
    lit = light.level * (1 + light.slope * (canvas.pixels()[0] - head.origin[0]) / head.unit)
    image = _blend(image, np.clip(colour * lit[..., None], 0, 1), body * opacity)

    below = cv2.warpAffine(body, np.float32([[1, 0, 0], [0, 1, 0.035 * head.unit + 0.4]]), (width, height))
    shine = gloss * np.clip(body - below, 0, 1)  # of the upper edges alone
    shine = shine * (0.15 + 0.5 * frame.brightness + 0.2 * frame.traits["lightness"])
    image = _blend(image, WHITE * min(1.0, light.level), shine)
    return draw_nose_pads(image, frame, light, canvas) if frame.material == "metal" and not frame.dark else image


def frame_material(frame: Frame) -> tuple[np.ndarray, float, float]:
    """Colour (3,) float32 in 0..1 of the frame, its gloss and its opacity."""
    hue, lightness = frame.traits["hue"], frame.traits["lightness"]
    if frame.material == "tortoiseshell":
        return np.float32([0.30, 0.17, 0.07]) * (0.6 + 0.6 * lightness), 0.4, 0.97
    if frame.material == "metal":
        return np.float32(METALS[int(hue * 4.999)]) * (0.75 + 0.4 * lightness), 0.7, 1.0
    if frame.material == "transparent":
        return np.float32([0.8, 0.78, 0.74]) * (0.7 + 0.4 * lightness), 0.6, 0.5
    # Plastic: black in half of the cases, dark brown in a quarter, and otherwise a colour.
    if hue < 0.5:
        value = 0.03 + 0.12 * lightness
        return np.float32([value, value, value * 1.05]), 0.35, 1.0
    if hue < 0.75:
        return np.float32([0.10 + 0.22 * lightness, 0.06 + 0.12 * lightness, 0.03 + 0.06 * lightness]), 0.4, 1.0
    return np.float32(PLASTICS[int((hue - 0.75) / 0.25 * 4.999)]) * (0.6 + 0.5 * lightness), 0.4, 1.0


def mottling(seed: int, height: int, width: int) -> np.ndarray:
    """(H, W) float32 factors about 1: the light and dark spots of tortoiseshell."""
    spots = np.random.default_rng(seed).standard_normal((14, 14)).astype(np.float32)
    spots = cv2.resize(spots, (width, height), interpolation=cv2.INTER_CUBIC)
    return 1 + 0.55 * np.clip(spots, -1.2, 1.6)


def draw_nose_pads(image: np.ndarray, frame: Frame, light: Light, canvas: Canvas) -> np.ndarray:
    """(H, W, 3) image with the two pads on which a metal frame rests."""
    head = frame.head
    top, bottom = frame.centre_y + 0.05, frame.centre_y + 0.05 + 0.1
    for side in SIDES:
        x = side * (frame.gap / 2 - 0.02)
        ends = head.project(np.array([[x, top, 0.28], [x, bottom, 0.28]]))
        pad = canvas.band(np.linspace(*ends, 5), 0.05 * head.unit)
        image = _blend(image, np.float32([0.85, 0.85, 0.82]) * light.level, 0.35 * pad)
    return image
