"""The table of the losses of classes: what the tests know of each. Every law is a test over every row."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from jaxbox import losses
from tests import class_reference

CLASSES = 7


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """What the tests know of a loss of classes.

    Attributes:
      loss: of logits, what is compared with them, and perhaps one number a row.
      reference: the same in float64 NumPy.
      held: what the docstring says is held: the names of arguments, and `logits` if a weight is made of them.
      is_of_bins: whether its arrays are two distributions and a weight.
    """

    loss: Callable[..., jax.Array]
    reference: Callable[..., np.ndarray]
    held: tuple[str, ...] = ()
    is_of_bins: bool = False

    @property
    def name(self) -> str:
        return self.loss.__name__

    @property
    def has_quality(self) -> bool:
        return self.loss is not losses.focal_loss

    def __call__(self, *arrays: Any, **options: Any) -> jax.Array:
        return self.loss(*arrays, **options)

    def arrays(self, count: int, seed: int = 0, scale: float = 3.0) -> list[np.ndarray]:
        """Logits of every size; a class for three rows in four; qualities above 0.1. Of bins, two distributions."""
        rng = np.random.default_rng(seed)
        logits, others = scale * rng.normal(size=(2, count, CLASSES))
        labels = np.where(rng.uniform(size=count) < 0.75, rng.integers(0, CLASSES, count), -1)
        quality = rng.uniform(0.1, 1, count)
        if self.is_of_bins:
            return [logits, others, quality]
        onehot = (labels[:, None] == np.arange(CLASSES)).astype(float)
        return [logits, onehot, quality] if self.has_quality else [logits, onehot]

    def expected(self, *arrays: np.ndarray, held: np.ndarray | None = None, **options: Any) -> np.ndarray:
        extra = {"held": held} if "logits" in self.held and held is not None else {}
        return self.reference(*arrays, **options, **extra)


LOSSES = [
    Row(losses.focal_loss, class_reference.focal_loss),
    Row(losses.varifocal_loss, class_reference.varifocal_loss, ("logits", "onehot", "quality")),
    Row(losses.matchability_loss, class_reference.matchability_loss, ("logits", "onehot", "quality")),
    Row(losses.iou_aware_loss, class_reference.iou_aware_loss, ("logits", "quality")),
    Row(losses.quality_focal_loss, class_reference.quality_focal_loss, ("onehot", "quality")),
    Row(losses.distillation_loss, class_reference.distillation_loss, ("teacher", "weights"), is_of_bins=True),
]


def rows(wanted: Callable[[Row], bool] = lambda _: True) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", [row for row in LOSSES if wanted(row)], ids=lambda row: row.name)


every_loss = rows()
every_loss_of_classes = rows(lambda row: not row.is_of_bins)
