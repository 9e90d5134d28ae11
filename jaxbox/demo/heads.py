"""What `jaxbox train --head` offers: a model, the loss that it is trained with, and how it finds digits."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from jaxbox.demo import catalogue, detector, queries, train


class Head(NamedTuple):
    """A kind of detector.

    Attributes:
      model: the class of its models, which are made from random numbers.
      total_loss: from the weight of each box loss, by its name without `_loss`.
      detect: of a model and images.
      losses: the box losses that it can be trained with, by name.
    """

    model: type[Any]
    total_loss: Callable[[Mapping[str, float]], train.TotalLoss]
    detect: Callable[[Any, jax.Array | np.ndarray], detector.Detections]
    losses: tuple[str, ...]


def _of_cells(weights: Mapping[str, float]) -> train.TotalLoss:
    offered = catalogue.box_losses()
    return train.loss_of_cells([(weight, offered[name]) for name, weight in weights.items()])


def _of_queries(weights: Mapping[str, float]) -> train.TotalLoss:
    return train.loss_of_queries(weights.get("l1", 0.0), weights.get("giou", 0.0))


HEADS = {
    "cells": Head(detector.Detector, _of_cells, detector.detect, tuple(catalogue.box_losses())),
    "queries": Head(queries.QueryDetector, _of_queries, queries.detect, ("l1", "giou")),
}


def head_of(model: nnx.Module) -> Head:
    """The head that a model is of."""
    return next(head for head in HEADS.values() if isinstance(model, head.model))
