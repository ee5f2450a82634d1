"""Where a clip cuts from one scene to the next: found while its frames are decoded anyway, from small copies of them.

A cut is a change of most of the picture from one frame to the next that stands out from the motion around it; a flash, after which the
picture is what it was, is none.  Fades and dissolves have no such frame and are not found.  The idea of a threshold that follows the
motion is PySceneDetect's AdaptiveDetector (scenedetect.com/docs, ratio 3 over the neighbours); measure and numbers are our own.

Runs in the gate's process: numpy is imported there alone.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

WIDE, HIGH = 48, 27  # px of the small copies
MIN_CHANGE = 7.0  # levels of 255 by which the picture changes on average, brightness and colour; dark scenes differ by no more
MOST_CHANGES = 0.35  # share of the picture that must change by more than CELL levels: a hand before the camera covers less
CELL = 10
RATIO = 2.5  # times the change from frame to frame around it
AROUND_S = 0.5  # what counts as around
AROUND_FRAMES = 3  # at least so many to each side, at few frames a second
QUIETER = 0.8  # of the changes around, the one that this share lies below is the motion; another cut near by is not
MOST = 500  # cuts of one clip: with more, it is no film of scenes


class Cuts:
    """Is shown the frames of a clip in their order; found() says when new scenes begin, seconds from the first frame on."""

    def __init__(self) -> None:
        self._last: deque[np.ndarray] = deque(maxlen=4)
        self._times: list[float] = []
        self._changes: list[float] = [0.0]  # from the frame before, of each frame
        self._lasting: list[tuple[float, float]] = [(0.0, 0.0)]  # (change, share of the picture) that is still there a frame later, of each frame but the last

    def see(self, frame, at_s: float) -> None:
        """frame: PyAV's.  at_s: when it comes on screen."""
        import numpy as np

        small = frame.reformat(width=WIDE, height=HIGH, format="yuv444p", interpolation="AREA").to_ndarray().astype(np.int16)
        self._times.append(at_s)
        self._last.append(small)
        if len(self._times) > 1:
            self._changes.append(float(np.abs(small - self._last[-2]).mean()))
        if len(self._times) > 2:
            self._lasting.append(_lasting([*self._last]))

    def found(self) -> tuple[float, ...]:
        """The times at which a scene begins that is not the first, rising; () for one scene."""
        if len(self._times) < 2 * AROUND_FRAMES:
            return ()
        step_s = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        reach = max(AROUND_FRAMES, round(AROUND_S / step_s)) if step_s > 0 else AROUND_FRAMES
        cuts = [self._times[n] - self._times[0] for n in range(1, len(self._lasting)) if self._is_cut(n, reach)]
        return tuple(cuts) if len(cuts) <= MOST else ()

    def _is_cut(self, n: int, reach: int) -> bool:
        change, share = self._lasting[n]
        if change < MIN_CHANGE or share < MOST_CHANGES:
            return False
        around = sorted(self._changes[max(1, n - reach) : n] + self._changes[n + 1 : n + 1 + reach])
        motion = around[int(QUIETER * (len(around) - 1))]
        return change >= RATIO * max(motion, *self._changes[max(1, n - 1) : n], *self._changes[n + 1 : n + 2])


def _lasting(frames: list[np.ndarray]) -> tuple[float, float]:
    """(change, share of the picture that changes) between the last frame but one and the one before it, as far as those beside them show it too."""
    import numpy as np

    before, after = frames[:-2], frames[-2:]
    found = []
    for a in before:
        for b in after:
            difference = np.abs(b - a).reshape(3, -1)
            found.append((float(difference.mean()), float((difference.max(0) > CELL).mean())))
    return min(change for change, _ in found), min(share for _, share in found)
