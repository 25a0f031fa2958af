"""Which network finds the faces of a whole picture, and what is it to answer?  FaceFinder, its cells and its loss.

    from face_finder import FaceFinder, decode
    answers = FaceFinder()(images)                       # (B, 3, 192, 192) in 0..1 -> (B, 756, 15)
    score, box, landmarks = decode(answers, 192, 192)    # (B, 756) logits, (B, 756, 4), (B, 756, 5, 2) pixels

One look and no anchors: the picture is divided into cells of 8, of 16 and of 32 pixels, and each cell says how likely a
face has its middle here, where exactly its box is, and where eyes, nose and mouth corners are. Tian et al.: "FCOS",
ICCV 2019; Wu, Peng, Yu: "YuNet", Machine Intelligence Research 2023.

A face is a row of 15 numbers, as `scenes.py` makes it: its box x, y, w, h and five landmarks x, y in pixels, and
whether it is to be found: FOUND, or DOUBTFUL (too small, or mostly hidden), about which the network may say anything.
A pixel's centre is at whole numbers, so the middle of the first cell of 8 pixels is at 3.5.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import distance_box_iou_loss, sigmoid_focal_loss

from models import ConvBlock

STRIDES = (8, 16, 32)  # pixels of a cell
NUMBERS = 15  # of a cell: logit, place and size of the box, five landmarks
SIDES = ((0, 36), (26, 88), (64, 1e9))  # pixels: the faces of each stride; those in two ranges are learned by both
NEAR = 0.3  # of the face's side: cells whose middle is this near to the face's middle are to find it
LANDMARK_EDGE = 0.05  # of the face's side: where the loss of a landmark turns from a square to a line
BOX_WEIGHT, LANDMARK_WEIGHT = 2.0, 10.0  # of the loss of the score, which counts 1
ABSENT, DOUBTFUL, FOUND = 0.0, 0.5, 1.0  # last number of a face's row; ABSENT rows fill up a batch


class FaceFinder(nn.Module):
    """Plain 3x3 convolutions down to cells of 8, 16 and 32 pixels; the coarser maps are added to the finer ones.

    widths: channels at 2 pixels a place, at 4, and from 8 on. head: channels of the convolution before the answer.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 48), head: int = 32):
        super().__init__()
        a, b, c = widths
        self.widths, self.head = tuple(widths), head
        self.fine = nn.Sequential(
            ConvBlock(3, a, stride=2),  # (B, 3, 192, 192) -> (B, 16, 96, 96)
            ConvBlock(a, b, stride=2),  # -> (B, 32, 48, 48)
            ConvBlock(b, b),
            ConvBlock(b, c, stride=2),  # -> (B, 48, 24, 24)
            ConvBlock(c, c),
            ConvBlock(c, c),
        )
        self.middle = nn.Sequential(ConvBlock(c, c, stride=2), ConvBlock(c, c), ConvBlock(c, c))  # -> (B, 48, 12, 12)
        self.coarse = nn.Sequential(ConvBlock(c, c, stride=2), ConvBlock(c, c))  # -> (B, 48, 6, 6)
        self.down = nn.ModuleList([nn.Conv2d(c, c, 1), nn.Conv2d(c, c, 1)])
        self.heads = nn.ModuleList(nn.Sequential(ConvBlock(c, head), nn.Conv2d(head, NUMBERS, 1)) for _ in STRIDES)
        for layers in self.heads:  # at first each cell holds a face for all but impossible, as most are empty
            nn.init.normal_(layers[-1].weight, std=0.01)
            nn.init.zeros_(layers[-1].bias)
            nn.init.constant_(layers[-1].bias[:1], -4.0)

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, 3, H, W) RGB in 0..1, H and W multiples of 32 -> (B, A, 15), in the order of `cells`."""
        fine = self.fine(images - 0.5)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        middle = middle + F.interpolate(self.down[1](coarse), scale_factor=2.0, mode="nearest")
        fine = fine + F.interpolate(self.down[0](middle), scale_factor=2.0, mode="nearest")
        fine, middle, coarse = self.heads[0](fine), self.heads[1](middle), self.heads[2](coarse)
        answers = [fine.flatten(2), middle.flatten(2), coarse.flatten(2)]  # (B, 15, 24 x 24), ...
        return torch.cat(answers, dim=2).transpose(1, 2)  # -> (B, 756, 15)


def cells(height: int, width: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """The middles (A, 2) in pixels, x and y, and the strides (A, 1) of all cells: the fine ones first, row by row."""
    middles, strides = [], []
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        x = torch.arange(columns, device=device, dtype=torch.float32).repeat(rows)
        y = torch.arange(rows, device=device, dtype=torch.float32)[:, None].expand(rows, columns).flatten()
        middles.append((torch.stack([x, y], dim=1) + 0.5) * stride - 0.5)
        strides.append(torch.full_like(x, stride)[:, None])
    return torch.cat(middles), torch.cat(strides)


def decode(answers: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """(B, A, 15) of the network for pictures of this size -> (B, A) logits, (B, A, 4) boxes, (B, A, 5, 2) landmarks.

    Places are told in cells from the cell's middle, width and height as the logarithm of so many cells. Boxes are
    x, y, w, h, with x, y the top-left corner; all is in pixels.
    """
    middles, strides = cells(height, width, answers.device)
    centres = middles + answers[..., 1:3] * strides
    sizes = answers[..., 3:5].clamp(max=4.0).exp() * strides  # clamped: at first they may be anything
    landmarks = middles[:, None] + answers[..., 5:].unflatten(-1, (5, 2)) * strides[:, None]
    return answers[..., 0], torch.cat([centres - sizes / 2, sizes], dim=-1), landmarks


def encode(faces: Tensor, middles: Tensor, strides: Tensor) -> Tensor:
    """What `decode` makes the box and landmarks of `faces` of: rows (..., 15) of faces and cells -> (..., 14)."""
    x, y, w, h = faces[..., :4].unbind(-1)
    centres = torch.stack([x + w / 2, y + h / 2], dim=-1)
    places = (centres - middles) / strides
    sizes = (faces[..., 2:4] / strides).log()
    landmarks = (faces[..., 4:14].unflatten(-1, (5, 2)) - middles.unsqueeze(-2)) / strides.unsqueeze(-1)
    return torch.cat([places, sizes, landmarks.flatten(-2)], dim=-1)


def side_of(faces: Tensor) -> Tensor:
    """(..., 15) -> (...) the side of the square as large as the face's box, in pixels."""
    return (faces[..., 2] * faces[..., 3]).sqrt()


def assign(faces: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Which face each cell is to find: (B, F, 15) faces -> (B, A) int64, and whether its score counts: (B, A) bool.

    A face belongs to the strides in whose SIDES its side is. There the cells near its middle, NEAR, at least half and
    at most one and a half cells away in x and in y, are to find it; where the border cuts its middle off, those near
    the place within the picture that is next to it. Of several faces a cell takes the smallest; -1 is none. The score
    does not count for the other cells in the box of a DOUBTFUL face.
    """
    middles, strides = (one.to(faces.device) for one in cells(height, width))
    x, y, w, h = (one.unsqueeze(1) for one in faces[..., :4].unbind(-1))  # (B, 1, F)
    state, side = faces[..., 14].unsqueeze(1), side_of(faces).unsqueeze(1)
    centre_x = (x + w / 2).clamp(-0.499, width - 0.501)  # within the picture
    centre_y = (y + h / 2).clamp(-0.499, height - 0.501)
    from_x, from_y = middles[:, :1] - centre_x, middles[:, 1:] - centre_y  # (A, 1) - (B, 1, F) -> (B, A, F)
    reach = (NEAR * side).clamp(0.5 * strides, 1.5 * strides)  # (B, A, F)
    near = (from_x >= -reach) & (from_x < reach) & (from_y >= -reach) & (from_y < reach)
    ranges = torch.tensor(SIDES, device=faces.device)[(strides[:, 0].log2() - 3).long()]  # (A, 2)
    right_size = (side >= ranges[:, :1]) & (side < ranges[:, 1:])
    taken = near & right_size & (state == FOUND)
    area, chosen = torch.where(taken, side, torch.inf).min(dim=2)
    chosen = torch.where(area.isfinite(), chosen, -1)
    in_x = (middles[:, :1] >= x) & (middles[:, :1] <= x + w)
    in_y = (middles[:, 1:] >= y) & (middles[:, 1:] <= y + h)
    doubtful = (in_x & in_y & (state == DOUBTFUL)).any(dim=2)
    return chosen, (chosen >= 0) | ~doubtful


def finder_loss(answers: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    """Of (B, A, 15) answers for pictures of this size with these (B, F, 15) faces: a mean over the cells with a face.

    Score: focal loss (Lin et al.: "Focal Loss for Dense Object Detection", ICCV 2017). Box: distance-IoU (Zheng et
    al., AAAI 2020). Landmarks: smooth L1 in sides of the face.
    """
    chosen, counts = assign(faces, height, width)
    logits, boxes, landmarks = decode(answers, height, width)
    positive = chosen >= 0  # (B, A)
    scores = sigmoid_focal_loss(logits, positive.to(logits), reduction="none")
    total = positive.sum().clamp(min=1)
    loss = (scores * counts).sum() / total
    wanted = faces.gather(1, chosen.clamp(min=0)[..., None].expand(-1, -1, NUMBERS))[positive]  # (P, 15)
    overlap = distance_box_iou_loss(_corners(boxes[positive]), _corners(wanted[:, :4]), reduction="sum")
    error = (landmarks[positive].flatten(1) - wanted[:, 4:14]) / side_of(wanted)[:, None]
    error = F.smooth_l1_loss(error, torch.zeros_like(error), beta=LANDMARK_EDGE, reduction="sum") / 10
    return loss + (BOX_WEIGHT * overlap + LANDMARK_WEIGHT * error) / total


def _corners(boxes: Tensor) -> Tensor:
    """x, y, w, h -> left, top, right, bottom."""
    return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)


def calibrated(network: FaceFinder, slope: float, offset: float) -> FaceFinder:
    """`network`, changed so that its logits are slope * logit + offset of before."""
    with torch.no_grad():
        for layers in network.heads:
            layers[-1].weight[0] *= slope
            layers[-1].bias[0] = layers[-1].bias[0] * slope + offset
    return network
