"""How do glasses look on this face?  Key points -> pose -> a mesh, lit as the face is -> painted into the photo.

from glasses.tryon import try_on
image = try_on(image, keypoints, "aviator")           # a name of frames.FRAMES
image = try_on(image, keypoints, rgba, hat=True)      # (h, w, 4) uint8, a picture of glasses from the front

Only the part of the photo in which something is drawn is touched, from back to front: the shadow on the skin, the
temples, the lenses, the rims. Everything is drawn as sharp, as noisy and as colourful as the photo is.
"""

from dataclasses import dataclass, fields

import cv2
import numpy as np
from PIL import Image

from . import frames
from .frames import FRAMES, LEAN, LENSES, SIDES, Design, Mesh, unit
from .keypoints import LABEL_SHIFT, without_shift
from .pose import DISTANCE, INDICES, MODEL, Pose, check_points, find_pose

SKULL = ((0, -20, -85), (71, 128, 93)), ((0, 0, -45), (66, 110, 52))  # ellipsoids: centre and half axes, mm
GLASS = ((np.array([0.13, 0.15, 0.16]), 2.0, 0.8), (np.array([0.9, 0.95, 1.0]), 0.7, 0.6))  # edges: colour, mm, opacity
CHEEKS = ((2, 31), (14, 35))  # each is between two key points
NOSE = {-1: [27, 28, 29, 30, 33, 35, 42], 1: [27, 28, 29, 30, 33, 31, 39]}  # what may hide the lens at the far side


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

    def towards(self, other: "Look", share: float) -> "Look":
        """Between this look and another: `share` of the way, 0 to 1. From frame to frame of a film a look is steady."""
        pairs = {each.name: (getattr(self, each.name), getattr(other, each.name)) for each in fields(self)}
        mixed = {name: before + share * (after - before) for name, (before, after) in pairs.items()}
        return Look(**mixed | {"light": unit(mixed["light"])})

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
    return float(np.sqrt(max(0.0, 1 / (max(1.02, ratio) ** 2 - 1) - 0.5)))  # Sobel's own blur has a variance of 0.5


def noise(gray: np.ndarray) -> float:
    """The standard deviation of the noise in an (H, W) float32 image, from the smoother half of it.

    By a filter that answers neither to slopes nor to straight edges (J. Immerkaer, "Fast noise variance estimation",
    1996): its median is 0.67 standard deviations.
    """
    rough = np.abs(cv2.filter2D(gray, -1, np.float32([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6))
    return float(min(np.median(rough) / 0.67, 0.03))


@dataclass
class Face:
    """A face of a photo: its key points (68, 2) in pixels, its pose and its look."""

    points: np.ndarray
    pose: Pose
    look: Look


# ------------------------------------------------------------------------------------------------ the painter


class View:
    """The part of an image in which something is drawn: its corner (2,), size in pixels, and how fine edges are drawn.

    image: (H, W, 3) uint8. face: the one that is drawn on. reach: arrays (..., 2) of pixels, of all that is drawn.
    """

    def __init__(self, image: np.ndarray, face: Face, reach: list[np.ndarray]):
        self.image, self.face, shape = image, face, image.shape
        margin = 14 * face.pose.scale + 4 * face.look.blur + 2
        points = np.concatenate([place.reshape(-1, 2) for place in reach])
        low = np.clip(np.floor(points.min(0) - margin), 0, (shape[1], shape[0])).astype(int)
        high = np.clip(np.ceil(points.max(0) + margin), 0, (shape[1], shape[0])).astype(int)
        self.corner, (self.width, self.height) = low, (int(v) for v in np.maximum(high - low, 0))
        self.fine = int(np.clip(np.sqrt(1.2e7 / max(1, self.width * self.height)), 1, 8))
        self.coarse = max(1, round(np.sqrt(self.width * self.height / 2e5)))  # pixels a step of what is smooth

    @property
    def pixels(self) -> np.ndarray:
        """This part of the image itself, (H, W, 3) uint8."""
        x, y = self.corner
        return self.image[y : y + self.height, x : x + self.width]

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

    def finish(self, fine: np.ndarray, blur: float | None = None) -> np.ndarray:
        """Fine pixels -> (H, W, ...) float32 in 0..1, blurred as the photo is, or by `blur` pixels."""
        blur = blur or self.face.look.blur
        by = max(1, int(blur / 2))  # what is blurred that much needs no more pixels
        size = (-(-self.width // by), -(-self.height // by))
        small = np.multiply(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), 1 / 255, dtype=np.float32)
        small = cv2.GaussianBlur(small, (0, 0), blur / by)
        return small if by == 1 else self.spread(small)

    def mask(self, outlines: list[np.ndarray], blur: float | None = None) -> np.ndarray:
        """(H, W) float32 in 0..1: the union of (N, 2) outlines in pixels of the image."""
        fine = self.canvas(1)
        for outline in outlines:
            cv2.fillPoly(fine, [self.fixed(outline)], 255, shift=4)
        return self.finish(fine, blur)


def hidden(points: np.ndarray, pose: Pose) -> np.ndarray:
    """(N,) 0..1: how far the skull is between (N, 3) points in mm and the camera."""
    reach = []
    for centre, axes in SKULL:
        start, end = ((place - centre) / (axes * np.array([pose.fit, 1, 1])) for place in (points, pose.eye))
        ray = end - start
        nearest = np.clip(-(start * ray).sum(1) / (ray * ray).sum(1), 0.002, 1)
        reach.append(np.linalg.norm(start + nearest[:, None] * ray, axis=1))
    return np.clip((1.0 - np.minimum(*reach)) / 0.06, 0, 1)


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


def paint(view: View, parts: list[Mesh], behind_skull: bool = False) -> np.ndarray:
    """Meshes -> (H, W, 4) float32 RGBA, colours times alpha; behind_skull: without what the head hides."""
    pose, look, fine = view.face.pose, view.face.look, view.canvas(4)
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
    return view.finish(fine)


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
    image: np.ndarray, mask: np.ndarray, design: Design, lens: str, view: View
) -> tuple[np.ndarray, np.ndarray]:
    """The (H, W, 3) image with lenses where `mask` (H, W) says, and how far they cover it (H, W), by tint and glare."""
    look, (x, y) = view.face.look, on_front(design, view.face.pose, *view.grid())  # (h, w), coarse
    u = (x - np.where(x < 0, -1, 1) * design.middle) / (design.lens[0] / 2)
    v = (y - design.centre) / (design.lens[1] / 2)  # -1 at the top of a lens, 1 at the bottom
    if lens == "mirror":
        horizon = np.clip(v + 0.25 * u * u - 0.05, -1, 1)[..., None]
        top, middle, bottom = (look.lit(np.array(colour)) for colour in design.mirror)
        below = middle + (bottom - middle) * step(horizon, 0, 0.5)
        colour, opacity = np.where(horizon < 0, middle + (top - middle) * -horizon, below), np.full_like(u, 0.94)
    elif lens == "tinted":
        top, fade = design.opacity
        colour, opacity = look.lit(np.array(design.tint)), top - fade * step(v, -0.5, 1.1)
    else:
        colour, opacity = look.lit(np.array([0.3, 0.34, 0.36])), np.full_like(u, 0.03)

    aslant = 0.9 * u + 0.45 * v  # a window is reflected, and the sky
    window = step(aslant, -0.8, -0.5) * step(-aslant, 0.05, 0.35)
    window = window + 0.5 * step(aslant, 0.0, 0.12) * step(-aslant, -0.25, -0.1)
    strength = {"clear": (0.12, 0.06), "tinted": (0.07, 0.10), "mirror": (0.06, 0.04)}[lens]
    glow = strength[0] * window * step(-v, -0.8, 0.6) + strength[1] * step(-v, -0.4, 1.0)
    white = look.lit(np.array([0.93, 0.97, 1.0]))
    # Of tint and glow, one over the other, the colour times alpha, and alpha.
    opacity, glow = opacity[..., None], glow[..., None]
    layer = np.concatenate([colour * opacity * (1 - glow) + white * glow, 1 - (1 - opacity) * (1 - glow)], axis=-1)
    layer = view.spread(layer) * mask[..., None]
    return cover(image, layer), layer[..., 3]


# ------------------------------------------------------------------------------------------------ the glasses


def draw_glasses(image: np.ndarray, face: Face, design: Design, lens: str) -> None:
    """Draw a pair of glasses into an (H, W, 3) uint8 image."""
    pose, fineness = face.pose, int(np.clip(40 * np.sqrt(face.pose.scale), 96, 288))
    *rims, left, right = frames.glasses_parts(design, pose.fit, pose.ears, fineness)
    outlines = [pose.project(design.front(line) * [pose.fit, pose.fit, 1]) for line in design.outlines(fineness)]
    shields = [
        pose.project(frames.side_shield(design, side, pose.fit, pose.ears[side]))
        for side in SIDES
        if design.side_shields and not (side == pose.far and abs(pose.yaw) > 0.3)
    ]
    view = View(image, face, [*outlines, *shields, *(pose.project(mesh.quads) for mesh in (*rims, left, right))])
    if not view.pixels.size:
        return
    keep = before_nose(design, view)
    temples, front = paint(view, [left, right], behind_skull=True), paint(view, rims) * keep[..., None]
    mask = view.mask(outlines) * keep

    shading = {"clear": 0.06, "mirror": 0.8, "tinted": 0.8 * (design.opacity[0] / 0.95)}[lens]
    solid = np.maximum(np.maximum(front[..., 3], temples[..., 3]), shading * mask)
    drawn = cover(cast_shadow(view, solid), temples)
    drawn = draw_glass(drawn, shields, view)
    drawn, covered = draw_lenses(drawn, mask, design, lens, view)
    if min(design.rim) == 0:
        drawn = draw_edges(drawn, outlines, view, keep * (0.7 if max(design.rim) else 1.0))
    drawn = cover(drawn, front)
    put(view, drawn, 1 - (1 - covered) * (1 - front[..., 3]) * (1 - temples[..., 3]))


def before_nose(design: Design, view: View) -> np.ndarray:
    """(H, W) 1 where the front is seen, 0 where the nose hides the half of it that is turned away."""
    pose = view.face.pose
    if not pose.far:
        return np.ones((view.height, view.width), np.float32)
    x, _ = on_front(design, pose, *view.grid())
    return 1 - view.mask([view.face.points[NOSE[pose.far]]]) * view.spread(x * pose.far > 0)


def draw_glass(image: np.ndarray, outlines: list[np.ndarray], view: View) -> np.ndarray:
    """(H, W, 3) image with clear plates before it: a whitish veil, and their edges."""
    if not outlines:
        return image
    veil = 0.16 * view.mask(outlines)[..., None]
    image = image + (np.float32(view.face.look.lit(GLASS[1][0])) - image) * veil
    return draw_edges(image, outlines, view)


def draw_edges(
    image: np.ndarray, outlines: list[np.ndarray], view: View, strength: np.ndarray | float = 1.0
) -> np.ndarray:
    """(H, W, 3) image with the edges of glass along (N, 2) outlines: dark, with a bright line; strength: to (H, W)."""
    scale = view.face.pose.scale
    for colour, width, opacity in GLASS:
        fine, thick = view.canvas(1), max(1, round(width * max(scale, 0.35) * view.fine))
        cv2.polylines(fine, [view.fixed(outline) for outline in outlines], True, 255, thick, shift=4)
        alpha = opacity * (strength * view.finish(fine))[..., None]
        image = image + (np.float32(view.face.look.lit(colour)) - image) * alpha
    return image


def cast_shadow(view: View, solid: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32 in 0..1: the photo, on its skin the shadow of what is `solid` (H, W), away from the light."""
    pose, light = view.face.pose, view.face.look.light
    fall = -9 * np.array([light[0], light[1], 1])  # mm, from the frame to the skin
    dx, dy = (pose.project(fall) - pose.project(np.zeros(3))) / view.coarse
    shade = cv2.resize(solid, view.grid()[0].shape[::-1], interpolation=cv2.INTER_AREA)
    shade = cv2.warpAffine(shade, np.float32([[1, 0, dx], [0, 1, dy]]), shade.shape[::-1])
    shade = cv2.GaussianBlur(shade, (0, 0), max(0.5, 2.2 * pose.scale / view.coarse))
    forehead = pose.project(np.array([[-52, -55, -15], [-25, -75, 0], [25, -75, 0], [52, -55, -15.0]]))
    skin = cv2.convexHull(np.float32(np.concatenate([view.face.points, forehead])))[:, 0]
    shade = 0.42 * view.spread(shade) * view.mask([skin], max(0.5, 2.0 * pose.scale))
    return np.multiply(view.pixels, 1 / 255, dtype=np.float32) * (1 - shade)[..., None]


def put(view: View, drawn: np.ndarray, solid: np.ndarray) -> None:
    """Write (H, W, 3) in 0..1 into its part of the image, with the photo's noise where `solid` (H, W) says."""
    noise = view.face.look.noise
    if noise > 0.002:
        grain = np.random.default_rng(0).standard_normal(solid.shape, np.float32)
        drawn = drawn + (noise * solid * grain)[..., None]
    view.pixels[:] = np.clip(np.rint(drawn * 255), 0, 255)


# --------------------------------------------------------------------------- a picture, a hat, a moustache


def draw_picture(image: np.ndarray, face: Face, picture: np.ndarray) -> None:
    """Draw the picture of glasses from the front, (h, w, 4) uint8, bent about the face, with temples in its colour."""
    design, (height, width), pose = frames.picture_design(picture), picture.shape[:2], face.pose
    half = np.array(design.lens) / 2
    border = np.stack(np.meshgrid(np.linspace(-1, 1, 9), (-1, 1)), -1).reshape(-1, 2) * half + [0, design.centre]
    front = pose.project(design.front(border) * [pose.fit, pose.fit, 1])
    temples = frames.glasses_parts(design, pose.fit, pose.ears)
    view = View(image, face, [front, *(pose.project(part.quads) for part in temples)])
    if not view.pixels.size:
        return
    shrink = min(1.0, 1.5 * pose.scale * design.lens[0] / width)  # no finer than the photo
    size = [max(1, round(side * shrink)) for side in (width, height)]
    colours = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX), np.float32) / 255
    colours[..., :3] = face.look.lit(colours[..., :3]) * colours[..., 3:]
    x, y = (view.spread(at) for at in on_front(design, pose, *view.grid()))
    from_x, from_y = (x / half[0] + 1) / 2 * size[0] - 0.5, ((y - design.centre) / half[1] + 1) / 2 * size[1] - 0.5
    layer = cv2.remap(colours, np.float32(from_x), np.float32(from_y), cv2.INTER_LINEAR)
    layer = cv2.GaussianBlur(layer, (0, 0), face.look.blur) * before_nose(design, view)[..., None]
    put_layers(view, [paint(view, temples, behind_skull=True), layer])


def draw_hat(image: np.ndarray, face: Face) -> None:
    """Draw a hat into an (H, W, 3) uint8 image."""
    parts = frames.hat_parts(face.pose.fit, int(np.clip(60 * np.sqrt(face.pose.scale), 96, 288)))
    view = View(image, face, [face.pose.project(part.quads) for part in parts])
    if view.pixels.size:
        put_layers(view, [paint(view, parts, behind_skull=True)])


def draw_moustache(image: np.ndarray, face: Face) -> None:
    """Draw a moustache, of the colour of the brows, into an (H, W, 3) uint8 image."""
    pose, points = face.pose, face.points
    brows = np.array([_mean_colour(image, point, 0.8 * pose.scale) for point in points[17:27]])
    lines, colours = frames.moustache_hairs(np.clip(0.55 * np.sort(brows, axis=0)[:3].mean(0), 0.04, 0.3))
    lip = MODEL[np.isin(INDICES, (33, 51))].mean(0)
    lines = lines * [pose.fit, 1, 1] + lip
    seen = hidden(lines[:, 0], pose) < 0.5
    places = pose.project(lines[seen]) + (points[33] + points[51]) / 2 - pose.project(lip)
    if not len(places) or not (view := View(image, face, [places])).pixels.size:
        return
    fine, thick = view.canvas(4), max(1, round(0.6 * pose.scale * view.fine))
    for line, colour in zip(view.fixed(places), colours[seen] * 255, strict=True):
        cv2.polylines(fine, [line], False, (*colour, 255), thick, shift=4)
    put_layers(view, [view.finish(fine)])


def put_layers(view: View, layers: list[np.ndarray]) -> None:
    """Write RGBA layers (H, W, 4), the last before the others, and their shadow into the image."""
    solid = np.maximum.reduce([layer[..., 3] for layer in layers])
    drawn = cast_shadow(view, solid)
    for layer in layers:
        drawn = cover(drawn, layer)
    put(view, drawn, solid)


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
    `FaceAnswer.keypoints` has them: with the shift of the labels, LABEL_SHIFT. frame: a name of `frames.FRAMES`; or a
    picture of glasses from the front, (h, w, 4) uint8 RGBA, of which the opaque part is made as wide as the face; or
    None for no glasses. lens: of `frames.LENSES`, None for the frame's own. Returns (H, W, 3) uint8 RGB of the same
    size; pixels away from the head are those of `image`.

    Raises ValueError with one line for an unknown frame or lens, a picture without transparency, and for an image or
    key points of another form.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"the image must be (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}")
    if lens is not None and lens not in LENSES:
        raise ValueError(f"unknown lens {lens!r}: give {', '.join(LENSES)}")
    if isinstance(frame, str) and frame not in FRAMES:
        raise ValueError(f"unknown frame {frame!r}: give {', '.join(FRAMES)}")
    return wear(image, look_at(image, keypoints), frame, lens, hat, moustache)


def look_at(image: np.ndarray, keypoints: np.ndarray) -> Face:
    """A face of a photo, from its key points as `try_on` takes them. Raises ValueError for those of another form."""
    points = without_shift(check_points(keypoints), LABEL_SHIFT)
    pose = find_pose(points)
    return Face(points, pose, Look.of(image, points, pose))


def wear(
    image: np.ndarray,
    face: Face,
    frame: str | np.ndarray | None,
    lens: str | None = None,
    hat: bool = False,
    moustache: bool = False,
) -> np.ndarray:
    """What `try_on` returns, for a face that is known already."""
    drawn = image.copy()
    if moustache:
        draw_moustache(drawn, face)
    if isinstance(frame, str):
        draw_glasses(drawn, face, FRAMES[frame], lens or FRAMES[frame].kind)
    elif frame is not None:
        draw_picture(drawn, face, frames.check_picture(frame))
    if hat:
        draw_hat(drawn, face)
    return drawn
