"""What an image holds, padded to slots; noised queries whose targets are known."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

__all__ = ["Denoising", "Targets"]


class Targets(NamedTuple):
    """The targets of images, padded to M slots. Padding lies anywhere and may hold anything, NaN included.

    Attributes:
      boxes: `[..., M, 2n]`, low corner, then high corner, in units of the image.
      labels: their classes, whole numbers, `[..., M]`; or of floating point, `[..., M, K]`, 1 for each of several.
      where: which slots hold a target, boolean, `[..., M]`.
    """

    boxes: jax.Array | np.ndarray
    labels: jax.Array | np.ndarray
    where: jax.Array | np.ndarray


class Denoising(NamedTuple):
    """Predictions of queries that were made of the targets by adding noise, so that their targets are known.

    Attributes:
      logits: `[..., B, P, K]`.
      predictions: boxes, `[..., B, P, 2n]`, low corner, then high corner.
      slots: the target of each query, `[B, P]`, integers; M for a negative query, and for padding.
      groups: how often every target was noised: what the terms are divided by beside the number of targets.
      corners: logits of bins, `[layers, B, P, 4 bins]`, of a detector with distributions.
      references: the boxes from which the sides are predicted, `[B, P, 4]`, of such a detector.
    """

    logits: jax.Array | np.ndarray
    predictions: jax.Array | np.ndarray
    slots: jax.Array | np.ndarray
    groups: int | jax.Array | np.ndarray
    corners: Any = None
    references: Any = None
