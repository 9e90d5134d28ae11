"""What `jaxbox train --head` offers: a model, its loss, how it detects, what it sees and how it is measured."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from jaxbox import assigners
from jaxbox.demo import catalogue
from jaxbox.demo.data import digits
from jaxbox.demo.models import detector, queries, turned
from jaxbox.demo.scenes import Scenes
from jaxbox.demo.training import evaluation, train

Model = detector.Detector | queries.QueryDetector | turned.TurnedDetector


class Head(NamedTuple):
    """A kind of detector.

    Attributes:
      model: the class of its models, which are made from random numbers and an architecture.
      total_loss: from the weight of each box loss, by its name without `_loss`.
      detect: of a model and images.
      losses: the box losses that it can be trained with, by name.
      compose: makes its scenes of digits.
      architecture: of its detector of digits.
      boxes: what it predicts, as `folder` reads it: "upright" or "turned".
      evaluate: measures its detections.
    """

    model: Callable[[nnx.Rngs, detector.Architecture], Model]
    total_loss: Callable[[Mapping[str, float]], train.TotalLoss]
    detect: Callable[[Any, jax.Array | np.ndarray], detector.Detections]
    losses: tuple[str, ...]
    compose: digits.Compose = digits.compose
    architecture: detector.Architecture = digits.UPRIGHT
    boxes: str = "upright"
    evaluate: Callable[[detector.Detections, Scenes], dict[str, float]] = evaluation.evaluate


def _of_cells(weights: Mapping[str, float]) -> train.TotalLoss:
    offered = catalogue.box_losses()
    return train.loss_of_cells([(weight, offered[name]) for name, weight in weights.items()])


def _of_queries(weights: Mapping[str, float]) -> train.TotalLoss:
    return train.loss_of_queries(weights.get("l1", 0.0), weights.get("giou", 0.0))


def _of_turned(weights: Mapping[str, float]) -> train.TotalLoss:
    offered = catalogue.turned_losses()
    return train.loss_of_cells(
        [(weight, offered[name]) for name, weight in weights.items()], turned.slots_of, assigners.rotated_inside
    )


HEADS = {
    "cells": Head(detector.Detector, _of_cells, detector.detect, tuple(catalogue.box_losses())),
    "queries": Head(queries.QueryDetector, _of_queries, queries.detect, ("l1", "giou")),
    "turned": Head(
        turned.TurnedDetector,
        _of_turned,
        turned.detect,
        tuple(catalogue.turned_losses()),
        digits.compose_turned,
        digits.TURNED,
        "turned",
        evaluation.evaluate_turned,
    ),
}


def head_of(model: nnx.Module) -> Head:
    """The head that a model is of."""
    return next(head for head in HEADS.values() if type(model) is head.model)
