"""Which frames, hats and moustaches can be tried on, and what shape have they?

    from glasses.frames import FRAMES, glasses_parts
    parts = glasses_parts(FRAMES["aviator"], fit=1.0, ears=default_ears(1.0))     # a list of Mesh

Lengths are millimetres in the space of the head: the origin between the pupils, x to the right of the picture, y down,
z towards the camera. The sizes are those that opticians print on a temple (52-18-140: lens, bridge, temple). A part is
a mesh of quadrilaterals; `tryon.py` lights and paints them.
"""

from dataclasses import dataclass

import numpy as np

SIDES = (-1, 1)  # left in the picture, and right
LENSES = ("clear", "tinted", "mirror")
TEMPLES = 69.0  # mm from the middle of a mean face to the outside of glasses
LEAN = 0.13  # how much nearer to the cheeks a front is, a mm further down

# Outlines: corners of a polygon of which `smooth` makes a curve that touches its edges; half a lens wide and high
# are 1, x is positive to the temple.
OVAL = ((1, 0.41), (0.41, 1), (-0.41, 1), (-1, 0.41), (-1, -0.41), (-0.41, -1), (0.41, -1), (1, -0.41))
RECTANGLE = ((1, 0.45), (0.72, 1), (-0.66, 1), (-0.96, 0.45), (-1, -0.62), (-0.8, -1), (0.8, -1), (1.02, -0.7))
TRAPEZOID = (
    (0.86, 0.45), (0.55, 1), (-0.42, 1), (-0.8, 0.6), (-0.98, -0.5), (-0.92, -0.9), (-0.4, -0.96), (0.85, -1.04),
    (1.06, -0.98), (1.02, -0.5),
)  # fmt: skip
CAT = (
    (0.92, 0.1), (0.52, 0.97), (-0.35, 1.02), (-0.86, 0.6), (-1, 0), (-0.95, -0.55), (-0.6, -0.9), (0.35, -0.93),
    (0.96, -1.22), (1.12, -1.2), (1.07, -0.75),
)  # fmt: skip
TEARDROP = (
    (1.0, -0.1), (0.84, 0.66), (0.36, 1.02), (-0.24, 1.0), (-0.7, 0.5), (-0.98, -0.2), (-1.0, -0.72), (-0.72, -0.98),
    (0.6, -1.0), (0.98, -0.76),
)  # fmt: skip
LARGE = ((1, 0.3), (0.66, 1), (-0.5, 1), (-0.92, 0.4), (-1, -0.5), (-0.66, -1), (0.66, -1), (1.03, -0.56))
HALF_MOON = ((0.98, -0.1), (0.6, 1), (-0.56, 1), (-0.95, -0.1), (-1, -0.8), (-0.9, -1), (0.9, -1), (1, -0.8))
SHIELD = (
    (0.0, -0.95), (0.5, -1.0), (0.95, -0.8), (1.01, -0.2), (0.93, 0.45), (0.62, 0.98), (0.34, 1.0), (0.18, 0.62),
    (0.09, 0.2), (0.05, -0.05), (0.0, -0.06),
)  # fmt: skip

BLACK, GOLD, GUN, DARK = (0.035, 0.035, 0.04), (0.62, 0.45, 0.2), (0.2, 0.2, 0.22), (0.11, 0.11, 0.12)
TORTOISE, WINE, NAVY = (0.3, 0.16, 0.06), (0.34, 0.03, 0.08), (0.05, 0.09, 0.2)


@dataclass(frozen=True)
class Design:
    """A pair of glasses, in millimetres.

    rim: its width above and below the lens, 0 for none. bars: of the bridge, each the height of its ends in half
    lens heights above the centre of the lenses, and how far its middle rises. hinge: where the temples begin, in
    half lens heights above that centre. curve: the radius of the front, seen from above.
    """

    outline: tuple[tuple[float, float], ...]
    lens: tuple[float, float]  # width, height
    bridge: float  # between the lenses
    colour: tuple[float, float, float]
    rim: tuple[float, float]
    kind: str = "clear"  # of LENSES
    metal: bool = False
    mottled: bool = False
    centre: float = 4.0  # of the lenses, below the pupils
    forward: float = 15.0  # of the front, before the eyes
    depth: float = 3.5  # of the rim, from front to back
    curve: float = 260.0
    bars: tuple[tuple[float, float], ...] = ((0.3, 2.5),)
    bar_width: float = 3.5
    hinge: float = 0.55
    temple: tuple[float, float] = (6.0, 4.0)  # height at the hinge and at the ear
    pads: bool = False
    one_piece: bool = False  # a shield instead of two lenses
    side_shields: bool = False
    tint: tuple[float, float, float] = (0.05, 0.05, 0.055)  # of tinted lenses
    opacity: tuple[float, float] = (0.95, 0.22)  # of tinted lenses: at the top, and how much less at the bottom
    mirror: tuple[tuple[float, float, float], ...] = ((0.03, 0.1, 0.3), (0.13, 0.27, 0.44), (0.04, 0.03, 0.07))

    @property
    def middle(self) -> float:
        """x of the centre of the right lens."""
        return 0.0 if self.one_piece else (self.bridge + self.lens[0]) / 2

    def front(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) x and y on the front -> (N, 3): it is bent about the face, and its lower edge leans to the cheeks."""
        x, y = points.T
        return np.stack([x, y, self.forward - x**2 / (2 * self.curve) - LEAN * y], axis=1)

    def outlines(self, count: int) -> list[np.ndarray]:
        """The (count, 2) outline of each lens in x and y of the front: the left, the right, or the shield."""
        size = np.array(self.lens) / 2
        corners = np.array(self.outline)
        if self.one_piece:
            corners = np.concatenate([corners, corners[-2:0:-1] * [-1, 1]])
            return [smooth(corners, count) * size + [0, self.centre]]
        right = smooth(corners, count) * size + [self.middle, self.centre]
        return [right[::-1] * [-1, 1], right]


FRAMES: dict[str, Design] = {
    "round": Design(OVAL, (47, 45), 21, GUN, (1.9, 1.9), metal=True, depth=1.8, bars=((0.25, 4.5),), bar_width=2.0,
                    hinge=0.15, temple=(2.2, 2.0), pads=True),
    "rimless": Design(RECTANGLE, (53, 35), 18, DARK, (0, 0), metal=True, depth=1.6, bars=((0.2, 2.0),),
                      bar_width=2.6, hinge=0.35, temple=(3.2, 2.4), pads=True),
    "half-rim": Design(RECTANGLE, (53, 35), 18, BLACK, (4.4, 0), depth=2.6, bars=((0.5, 2.0),), bar_width=3.2,
                       hinge=0.6, temple=(4.6, 3.0), pads=True),
    "cat-eye": Design(CAT, (53, 40), 17, WINE, (5.6, 3.0), bars=((0.35, 2.5),), bar_width=4.5, hinge=0.95,
                      temple=(7.0, 4.0), tint=(0.1, 0.04, 0.05)),
    "wayfarer": Design(TRAPEZOID, (51, 39), 17, BLACK, (6.8, 4.2), depth=5.0, bars=((0.5, 2.0),), bar_width=6.0,
                       hinge=0.78, temple=(10.0, 6.0), tint=(0.04, 0.05, 0.04)),
    "reading": Design(HALF_MOON, (46, 25), 19, TORTOISE, (2.6, 2.6), mottled=True, centre=26, forward=27, depth=2.8,
                      bars=((0.75, 2.0),), bar_width=3.0, hinge=0.7, temple=(4.0, 3.0)),
    "safety": Design(SHIELD, (142, 52), 0, NAVY, (4.4, 2.0), centre=5, curve=105, depth=4.0, bars=(),
                     hinge=0.68, temple=(9.0, 6.0), one_piece=True, side_shields=True),
    "aviator": Design(TEARDROP, (58, 50), 15, GOLD, (2.2, 2.2), "tinted", metal=True, depth=1.8, centre=8,
                      bars=((0.32, 2.0), (0.98, 0.5)), bar_width=2.0, hinge=0.72, temple=(2.4, 2.0), pads=True,
                      tint=(0.07, 0.085, 0.06), mirror=((0.2, 0.1, 0.03), (0.33, 0.24, 0.11), (0.08, 0.04, 0.02))),
    "oversized": Design(LARGE, (60, 54), 15, TORTOISE, (4.6, 4.0), "tinted", mottled=True, depth=4.0, centre=8,
                        bars=((0.4, 2.0),), bar_width=5.0, hinge=0.6, temple=(9.0, 5.0), tint=(0.11, 0.06, 0.035),
                        mirror=((0.22, 0.08, 0.16), (0.46, 0.28, 0.34), (0.08, 0.03, 0.06))),
    "sport": Design(SHIELD, (144, 44), 0, BLACK, (4.4, 1.4), "tinted", centre=4, curve=100, depth=4.0, bars=(),
                    hinge=0.6, temple=(10.0, 6.0), one_piece=True, tint=(0.03, 0.03, 0.04),
                    mirror=((0.02, 0.08, 0.32), (0.08, 0.4, 0.45), (0.3, 0.1, 0.02))),
}  # fmt: skip


# ------------------------------------------------------------------------------------------------- meshes


@dataclass
class Mesh:
    """Quadrilaterals (M, 4, 3), their outward normals (M, 3) and colours (M, 3) in 0..1; alpha (M,): 0 unseen, 1 solid.

    metal: shines in its own colour, others in white.
    """

    quads: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    alpha: np.ndarray
    metal: bool = False
    gloss: float = 0.5


def smooth(corners: np.ndarray, count: int, closed: bool = True) -> np.ndarray:
    """(K, D) corners -> (count, D) points at equal distances on the quadratic B-spline of the polygon.

    By cutting corners (G. M. Chaikin, "An algorithm for high-speed curve generation", 1974). An open line keeps its
    ends.
    """
    points = np.asarray(corners, dtype=float)
    for _ in range(5):
        following = np.roll(points, -1, 0) if closed else points[1:]
        here = points if closed else points[:-1]
        cut = np.stack([0.75 * here + 0.25 * following, 0.25 * here + 0.75 * following], 1).reshape(-1, points.shape[1])
        points = cut if closed else np.concatenate([points[:1], cut, points[-1:]])
    if closed:
        points = np.concatenate([points, points[:1]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.linspace(0, length[-1], count, endpoint=not closed)
    return np.stack([np.interp(at, length, column) for column in points.T], axis=1)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors along the last axis, of length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def grid_mesh(grid: np.ndarray, inside: np.ndarray, colour, closed: tuple[bool, bool] = (False, False), **more) -> Mesh:
    """The quadrilaterals of an (A, B, 3) grid; normals lead away from the points `inside`, of that shape or (3,)."""
    rows, columns = (np.arange(n if c else n - 1) for n, c in zip(grid.shape, closed, strict=False))
    a, b = (m.ravel() for m in np.meshgrid(rows, columns, indexing="ij"))
    a1, b1 = (a + 1) % grid.shape[0], (b + 1) % grid.shape[1]
    quads = np.stack([grid[a, b], grid[a1, b], grid[a1, b1], grid[a, b1]], axis=1)
    normals = unit(np.cross(quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1]))
    away = quads.mean(1) - np.broadcast_to(inside, grid.shape)[a, b]
    normals *= np.where((normals * away).sum(1) < 0, -1, 1)[:, None]
    return Mesh(quads, normals, np.broadcast_to(np.asarray(colour, float), normals.shape), np.ones(len(a)), **more)


def tube(path, across, out, half_width, half_depth, colour, closed=False, facets=12, **more) -> Mesh:
    """A bar along `path` (N, 3), `half_width` (N,) to both sides along `across` (N, 3), `half_depth` along `out`."""
    angles = np.linspace(0, 2 * np.pi, facets, endpoint=False) + np.pi / facets
    cos, sin = (np.sign(f) * np.abs(f) ** 0.6 for f in (np.cos(angles), np.sin(angles)))  # a rounded rectangle
    size = len(path)
    wide = np.broadcast_to(half_width, size)[:, None, None] * across[:, None] * cos[None, :, None]
    deep = np.broadcast_to(half_depth, size)[:, None, None] * out[:, None] * sin[None, :, None]
    return grid_mesh(path[:, None] + wide + deep, path[:, None], colour, closed=(closed, True), **more)


def mottle(mesh: Mesh) -> Mesh:
    """The mesh with the light and dark spots of tortoiseshell."""
    x, y, z = mesh.quads.mean(1).T / 9
    spots = np.sin(2.1 * x + 1.3 * np.sin(1.7 * y + z)) + np.sin(2.9 * y - 1.1 * x + 1.9 * np.sin(1.3 * x - z))
    mesh.colours = mesh.colours * (0.8 + 0.45 * np.clip(spots, -1.1, 1.5))[:, None]
    return mesh


# -------------------------------------------------------------------------------------- parts of a pair of glasses


def default_ears(fit: float) -> dict[int, np.ndarray]:
    """Where the temples rest on the ears of an average head, by side."""
    return {side: np.array([side * 74.0 * fit, -10.0, -80.0]) for side in SIDES}


def glasses_parts(design: Design, fit: float, ears: dict[int, np.ndarray], fineness: int = 160) -> list[Mesh]:
    """The solid parts of a pair of glasses, `fit` times as wide and high as its design; `fineness`: points a lens."""
    facets = int(np.clip(fineness // 14, 8, 24))
    style = {"metal": design.metal, "gloss": 0.9 if design.metal else 0.6}
    parts = []
    if max(design.rim) > 0:
        outlines = design.outlines(fineness * (1 + design.one_piece))
        parts += [rim(design, outline, facets, **style) for outline in outlines]
    parts += [bridge(design, height, rise, facets, **style) for height, rise in design.bars]
    parts += [pad(design, side) for side in SIDES if design.pads]
    for part in parts:
        part.quads = part.quads * [fit, fit, 1]
    parts += [temple(design, side, fit, ears[side], fineness, facets, **style) for side in SIDES]
    return [mottle(part) for part in parts] if design.mottled else parts


def rim(design: Design, outline: np.ndarray, facets: int, **style) -> Mesh:
    """The rim about a lens, from the width above to the width below."""
    along = np.roll(outline, -1, 0) - np.roll(outline, 1, 0)
    outwards = unit(np.stack([along[:, 1], -along[:, 0]], 1))
    centre = outline.mean(0)
    if ((outline - centre) * outwards).sum() < 0:
        outwards = -outwards
    above, below = design.rim
    share = np.clip(0.5 - 0.9 * outwards[:, 1], 0, 1) if below else np.clip(0.5 - 3 * outwards[:, 1], 0, 1)
    width = below + (above - below) * share
    path = design.front(outline + outwards * width[:, None] / 2)
    across = unit(design.front(outline + outwards) - design.front(outline))
    out = unit(np.cross(across, np.roll(path, -1, 0) - np.roll(path, 1, 0)))
    depth = np.minimum(design.depth, 1.5 * width + 0.1)
    mesh = tube(path, across, out, width / 2, depth / 2, design.colour, closed=True, facets=facets, **style)
    mesh.alpha = np.repeat((width > 0.3).astype(float), facets)
    return mesh


def bridge(design: Design, height: float, rise: float, facets: int, **style) -> Mesh:
    """A bar of the bridge, an arch over the nose between the lenses."""
    y = design.centre - height * design.lens[1] / 2
    right = design.outlines(160)[-1]
    near = right[np.abs(right[:, 1] - y) < 4]
    reach = near[:, 0].min() + 0.4 if len(near) else design.bridge / 2 + 0.2 * design.lens[0]
    if height > 0.9:  # along the top of the lenses
        reach = design.bridge / 2 + 0.22 * design.lens[0]
    t = np.linspace(-1, 1, 33)
    path = design.front(np.stack([t * reach, y - rise * (1 - t**2)], 1))
    path[:, 2] += 1.5 * (1 - t**2)
    across = unit(np.cross(np.gradient(path, axis=0), [0, 0, 1.0]))
    out = np.broadcast_to([0, 0, 1.0], path.shape)
    width = design.bar_width * (0.85 + 0.25 * t**2)
    return tube(path, across, out, width / 2, design.depth / 2, design.colour, facets=facets, **style)


def pad(design: Design, side: int) -> Mesh:
    """The pad of clear silicone at one side of the nose."""
    t = np.linspace(-1, 1, 13)
    x = side * (design.bridge / 2 - 1.5 + 2.5 * t)
    path = np.stack([x, design.centre + 1 + 5.5 * t, np.full(len(t), design.forward - 5)], 1)
    across, out = np.array([[1.0, 0, 0]]), np.array([[0, 0, 1.0]])
    mesh = tube(path, across, out, 1.9 * np.sqrt(1 - 0.95 * t**2), 1.0, (0.75, 0.75, 0.72), facets=8)
    mesh.alpha = mesh.alpha * 0.35
    return mesh


def hinge_point(design: Design, side: int) -> np.ndarray:
    """(2,) x and y on the front where a temple begins: at the outside of the rim."""
    y = design.centre - design.hinge * design.lens[1] / 2
    outline = design.outlines(160)[-1]
    near = outline[np.abs(outline[:, 1] - y) < 3]
    return np.array([side * (near[:, 0].max() + max(0.0, design.rim[0] / 2 - 0.5)), y])


def temple(design: Design, side: int, fit: float, ear: np.ndarray, fineness: int, facets: int, **style) -> Mesh:
    """An end piece, and the temple from its hinge to the ear and down behind it, where it fades."""
    (x, y), (high, low) = hinge_point(design, side), design.temple
    start = design.front(np.array([[x, y]]))[0] * [fit, fit, 1]
    turn = float(np.clip(abs(ear[0]) - abs(start[0]) - 2.0, 2.0, 4.5))
    corner = start + np.array([side * turn, 0, -1.0])
    inner = start - np.array([side * 1.5, 0, 0])
    behind = ear + np.array([-side * 2.0, 20.0, -14.0])
    path = smooth(
        np.stack([inner, corner, corner + np.array([side * 0.5, 0, -6]), ear, behind]), fineness, closed=False
    )
    along = unit(np.gradient(path, axis=0))
    down = np.array([0, 1.0, 0]) - along * along[:, 1:2]
    across = unit(down)
    out = np.cross(along, across)
    share = np.clip((start[2] - path[:, 2]) / (start[2] - ear[2]), 0, 1)
    height = high + (low - high) * share
    thick = 1.6 if design.metal else 2.8
    mesh = tube(path, across, out, height / 2, thick / 2, design.colour, facets=facets, **style)
    z = mesh.quads.mean(1)[:, 2]
    mesh.alpha = np.clip((z - ear[2] + 6) / 12, 0, 1)
    return mesh


def side_shield(design: Design, side: int, fit: float, ear: np.ndarray) -> np.ndarray:
    """(N, 3) outline of the clear shield of safety glasses, between lens, temple and cheek."""
    outline = design.outlines(160)[-1]
    edge = outline[outline[:, 0] > 0.4 * design.lens[0]]
    edge = design.front(edge[np.argsort(edge[:, 1])] * [side, 1]) * [fit, fit, 1]
    top = edge[0] + 0.42 * (ear - edge[0])
    return np.concatenate([edge, [[top[0], top[1] + 0.75 * np.ptp(edge[:, 1]), top[2] + 6], top]])


# ----------------------------------------------------------------------------------- a picture of glasses


def check_picture(picture: np.ndarray) -> np.ndarray:
    """(h, w, 4) uint8, cut to its opaque part. Raises ValueError with one line where it has none, or nothing else."""
    if picture.ndim != 3 or picture.shape[2] != 4 or picture.dtype != np.uint8:
        raise ValueError(f"a picture of glasses must be (h, w, 4) uint8 RGBA, not {picture.shape} {picture.dtype}")
    opaque = picture[..., 3] > 127
    if not opaque.any():
        raise ValueError("the picture of glasses is transparent everywhere: save it with the glasses opaque")
    if opaque.all():
        raise ValueError("the picture of glasses has no transparency: erase its background and save it as a PNG")
    rows, columns = (np.flatnonzero(opaque.any(axis)) for axis in (1, 0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def picture_design(picture: np.ndarray) -> Design:
    """A front as wide as the temples of a mean face, its bridge on the nose; colour and hinge from the picture."""
    height, width = picture.shape[:2]
    mm = 2 * TEMPLES / width
    opaque = picture[..., 3] > 127
    middle = np.flatnonzero(opaque[:, width // 2 - width // 50 : width // 2 + width // 50 + 1].any(1))
    bridge = np.median(middle) if len(middle) else 0.3 * height
    ends = np.flatnonzero(opaque[:, : max(1, width // 40)].any(1))
    at = int(np.median(ends))
    edge = picture[at, : max(1, width // 12)][opaque[at, : max(1, width // 12)]]
    colour = tuple(np.median(edge[:, :3], axis=0) / 255) if len(edge) else (0.1, 0.1, 0.1)
    centre = float(np.clip((height / 2 - bridge) * mm - 2, -2, 16))
    return Design(
        outline=((0, -1), (1, -1), (1, 1), (0, 1)),
        lens=(2 * TEMPLES, height * mm),
        bridge=0,
        colour=colour,
        rim=(0, 0),
        centre=centre,
        curve=230,
        bars=(),
        hinge=float(np.clip(1 - 2 * at / height, -0.9, 0.9)),
        one_piece=True,
    )


# ------------------------------------------------------------------------------------------ hat and moustache


def hat_parts(fit: float, fineness: int = 160) -> list[Mesh]:
    """A felt hat with a ribbon: a brim, its sides turned up and its front down, and a crown above the brows."""
    felt, ribbon = (0.19, 0.15, 0.125), (0.35, 0.05, 0.06)
    profile = {  # radius, and height above the line where the hat sits
        "brim": [(115, -2), (118, -0.5), (116, 1), (100, 3), (92, 3), (84, 4)],
        "ribbon": [(85, 3), (86, 12), (85.5, 25)],
        "crown": [(84.5, 25), (82, 48), (79, 74), (71, 88), (54, 95), (36, 90), (2, 86)],
    }
    turn = np.linspace(0, 2 * np.pi, max(96, fineness), endpoint=False)
    sine, cosine = np.sin(turn)[:, None], np.cos(turn)[:, None]  # 1 at the front, at the right
    parts = []
    for name, corners in profile.items():
        radius, height = smooth(np.array(corners, float), 28 if name == "crown" else 14, closed=False).T
        x, z = cosine * radius * fit, sine * radius * 1.13 - 88
        y = -58 - height + 0.18 * (z + 88)  # level where the head is upright: our z axis leans up
        if name == "brim":
            y = y + np.clip((radius - 84) / 34, 0, 1) ** 1.5 * (15 * np.maximum(sine, 0) ** 2 - 20 * cosine**4)
        grid = np.stack([x, y, z], 2)
        inside = grid + np.array([0, 5, 0]) if name == "brim" else np.array([0, -90.0, -88])
        colour = ribbon if name == "ribbon" else felt
        parts.append(grid_mesh(grid, inside, colour, closed=(True, False), gloss=0.1))
        if name == "brim":  # and from below
            parts.append(
                grid_mesh(grid, grid - np.array([0, 5, 0]), np.multiply(felt, 0.5), closed=(True, False), gloss=0.0)
            )
    return parts


def moustache_hairs(colour: np.ndarray, count: int = 1400) -> tuple[np.ndarray, np.ndarray]:
    """A handlebar moustache: hairs (N, 9, 3) about the middle of the upper lip, and their colours (N, 3)."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, 9)[None]
    start = rng.beta(1.0, 1.5, count)[:, None] * 21  # mm from the middle
    side = rng.choice(SIDES, count)[:, None]
    height = rng.uniform(-1, 1, (count, 1))  # -1 at the upper edge of the moustache, 1 at the lower
    x = start + rng.uniform(9, 17, (count, 1)) * t
    spread = 5.6 * np.sqrt(np.clip(1 - (x / 40) ** 2, 0, 1)) * np.clip(0.55 + x / 12, 0, 1)
    droop = 4.5 * np.sin(np.clip(x / 27, 0, 1.25) * np.pi * 0.75) - 9 * np.clip((x - 24) / 16, 0, 1) ** 2
    y = droop - 1.0 + height * spread + rng.normal(0, 0.25, (count, 1))
    z = 4.0 - x**2 / 75 + rng.uniform(0, 2.0, (count, 1)) * (1 - np.abs(height))
    light = rng.normal(1, 0.22, (count, 1)) + 0.25 * (height < -0.3)
    order = np.argsort(-start[:, 0])
    return np.stack([side * x, y, z], axis=2)[order], np.clip(colour * light, 0, 1)[order]
