"""What a detector trains on: images, each with its true boxes, padded to one number of them."""

from typing import NamedTuple

import numpy as np


class Scenes(NamedTuple):
    """Images with their targets, which are padded to as many slots as the image with the most boxes needs.

    Attributes:
      images: `[batch, size, size, channels]`, in `[0, 1]`, where 1 is blank.
      boxes: true boxes, `[batch, slots, 4]`, `xyxy` in units of the canvas side, or turned boxes, `[batch, slots, 5]`:
        center and sides in that unit, and an angle in radians; NaN where there is none.
      classes: `[batch, slots]`, from 0; 0 where there is none.
      valid: `[batch, slots]`, True where a slot holds an object.
      crowd: `[batch, slots]`, True where a slot holds a region of objects that nobody told apart: it is no target, and
        what is found in it is not wrong.
    """

    images: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    valid: np.ndarray
    crowd: np.ndarray
