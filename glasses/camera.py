"""What does a camera see, and where is it shown?  By OpenCV.

from glasses.camera import Camera, open_window
camera, window = Camera(0), open_window("glasses")
for frame in camera.frames():
    if not window.show(frame.image()):               # until q or Esc is pressed, or the window is closed
        break
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np

from .video import TICKS, VideoError

ENDING = (ord("q"), 27)  # keys: 27 is Esc


class CameraFrame:
    """One picture of a camera, with what a `FilmFrame` has."""

    def __init__(self, picture: np.ndarray, number: int, time: float):
        self._picture, self.number, self.time, self.pts = picture, number, time, round(time / TICKS)

    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        return cv2.cvtColor(self._picture, cv2.COLOR_BGR2RGB)


class Camera:
    """The camera of this number, as a stream of frames that ends where the camera does.

    Raises VideoError with one line where there is none, or it gives no picture.
    """

    expected = None  # how many frames there will be

    def __init__(self, number: int):
        self.warnings: list[str] = []
        if sys.platform == "linux" and not Path(f"/dev/video{number}").exists():
            raise VideoError("there is no such camera")  # asked first, for OpenCV would print its own complaints
        self._capture = cv2.VideoCapture(number)
        if not self._capture.isOpened():
            raise VideoError("it cannot be opened: is there such a camera, and does no other program use it?")

    def frames(self) -> Iterator[CameraFrame]:
        """What the camera sees from now on; times count from the first frame."""
        start, number, last = None, 0, -1
        while True:
            good, picture = self._capture.read()
            if not good:
                break
            now = perf_counter()
            start = now if start is None else start
            frame = CameraFrame(picture, number, now - start)
            if frame.pts > last:
                yield frame
                number, last = number + 1, frame.pts
        if start is None:
            raise VideoError("it gives no picture")

    def close(self) -> None:
        self._capture.release()


class Window:
    """A window with a title, in which frames are shown."""

    def __init__(self, title: str):
        self.title = title
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)

    def show(self, image: np.ndarray) -> bool:
        """Show an (H, W, 3) uint8 RGB image; False where somebody wants to end: by a key of ENDING or by closing it."""
        cv2.imshow(self.title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        pressed = cv2.waitKey(1) & 0xFF in ENDING
        return not pressed and cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        cv2.destroyAllWindows()


def open_window(title: str) -> Window:
    """A window on the screen. Raises VideoError with one line where there is no screen, or OpenCV has no windows."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY")
    if sys.platform == "linux" and not any(os.environ.get(name) for name in screens):
        raise VideoError("no window: there is no screen")  # asked first, for Qt would end the process
    try:
        return Window(title)
    except cv2.error as error:  # opencv-python-headless, which `pip install .` brings
        mend = "pip uninstall opencv-python-headless, then pip install 'opencv-python<5'"
        raise VideoError(f"no window: this OpenCV was built without; {mend}") from error
