"""Whole losses of detectors with their gradients, against the PyTorch code of transformers on the same inputs.

Without PyTorch or transformers only the library is measured.
"""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox import boxes, detectors
from tests.tools.benchmarks import torch_peers
from tests.tools.benchmarks.timing import measure

CLASSES, SLOTS, BINS = 80, 50, 33
# Sets of the decoder and of the encoder, images, queries, and the most targets of an image.
SIZES = {
    "detr": (6, 8, 100, 20),
    "deformable_detr": (6, 8, 300, 20),
    "rt_detr": (7, 8, 300, 20),
    "rf_detr": (4, 8, 13 * 300, 20),
    "d_fine": (7, 4, 300, 20),
}
TORCH_CODE = {
    "detr": "ForObjectDetection",
    "deformable_detr": "DeformableDetrForObjectDetection",
    "rt_detr": "RTDetrForObjectDetection",
    "rf_detr": "LwDetrForObjectDetection",
    "d_fine": "DFineForObjectDetection",
}


def inputs(name, sets, images, queries, most):
    """What a head predicts, as it does before it has learnt anything but where things are, and padded targets.

    The targets are near some queries, so that the matching is that of a detector in training.
    """
    rng = np.random.default_rng(0)
    counts = rng.integers(1, most + 1, images)
    where = np.arange(SLOTS) < counts[:, None]
    centers = np.concatenate(
        [rng.uniform(0.2, 0.8, (images, SLOTS, 2)), rng.uniform(0.05, 0.3, (images, SLOTS, 2))], -1
    )
    labels = rng.integers(0, CLASSES, (images, SLOTS))
    logits = rng.normal(-4, 1, (sets, images, queries, CLASSES + (name == "detr")))
    raw = np.concatenate(
        [rng.uniform(0.2, 0.8, (images, queries, 2)), rng.uniform(0.05, 0.3, (images, queries, 2))], -1
    )
    raw = raw + 0.02 * rng.uniform(-1, 1, (sets, images, queries, 4))
    arrays = {"logits": logits, "raw": raw}
    if name == "d_fine":
        arrays["corners"] = rng.normal(size=(sets - 1, images, queries, 4 * BINS))
        arrays["references"] = raw[0]
    truth = {"boxes": np.where(where[..., None], centers, np.nan), "labels": labels, "where": where}
    return {key: np.float32(array) for key, array in arrays.items()}, truth


def ours(name, arrays, truth):
    """Value and gradients, compiled, by the library."""
    loss_of = getattr(detectors, f"{name}_loss")
    options = {"class_cost": 1.0} if name == "deformable_detr" else {}
    targets = detectors.Targets(
        boxes.cxcywh_to_xyxy(jnp.float32(truth["boxes"])), jnp.asarray(truth["labels"]), jnp.asarray(truth["where"])
    )

    def loss(arrays, targets):
        parts = [arrays["logits"], boxes.cxcywh_to_xyxy(arrays["raw"])]
        if name == "d_fine":
            parts += [arrays["corners"], boxes.cxcywh_to_xyxy(jax.lax.stop_gradient(arrays["references"]))]
        return loss_of(*parts, targets, **options)[0]

    return functools.partial(jax.jit(jax.value_and_grad(loss)), jax.tree.map(jnp.asarray, arrays), targets)


def theirs(name, arrays, truth):
    """The same by transformers; None where that or PyTorch is not installed."""
    if importlib.util.find_spec("transformers") is None or (torch := torch_peers.library()) is None:
        return None
    torch_peers.torchvision_operators(torch)  # which transformers imports where it is installed
    import transformers
    from transformers.loss.loss_utils import LOSS_MAPPING

    kinds = {
        "detr": transformers.DetrConfig,
        "deformable_detr": transformers.DeformableDetrConfig,
        "rt_detr": transformers.RTDetrConfig,
        "rf_detr": transformers.LwDetrConfig,
        "d_fine": transformers.DFineConfig,
    }
    logits, raw = (torch.tensor(arrays[key], requires_grad=True) for key in ("logits", "raw"))
    config = kinds[name](num_labels=CLASSES, auxiliary_loss=True)
    labels = [
        {"class_labels": torch.tensor(labels[real]), "boxes": torch.tensor(np.float32(places[real]))}
        for labels, places, real in zip(truth["labels"], truth["boxes"], truth["where"], strict=True)
    ]
    has_encoder = name in ("rt_detr", "rf_detr", "d_fine")
    leaves = [logits, raw]
    others = {}
    if name == "d_fine":
        corners = torch.tensor(arrays["corners"], requires_grad=True)
        references = torch.tensor(np.stack([arrays["references"]] * len(corners)))
        others = {"predicted_corners": corners.transpose(0, 1), "initial_reference_points": references.transpose(0, 1)}
        leaves.append(corners)

    def run():
        of_layers = (logits[:-1], raw[:-1]) if has_encoder else (logits, raw)
        encoder = {}
        if name == "rf_detr":
            encoder = {"enc_outputs_class": logits[-1], "enc_outputs_coord": raw[-1]}
        elif has_encoder:
            encoder = {"enc_topk_logits": logits[-1], "enc_topk_bboxes": raw[-1]}
        stacked = of_layers
        if name in ("rt_detr", "d_fine"):  # which want images in front of the layers
            stacked = tuple(x.transpose(0, 1) for x in of_layers)
        loss, *_ = LOSS_MAPPING[TORCH_CODE[name]](
            of_layers[0][-1],
            labels,
            logits.device,
            of_layers[1][-1],
            config,
            outputs_class=stacked[0],
            outputs_coord=stacked[1],
            **encoder,
            **others,
        )
        return loss.detach(), torch.autograd.grad(loss, leaves, allow_unused=True)

    return run


def of_detectors(effort, sizes=None):
    """Every loss with code in transformers: value and gradients."""
    for name, (sets, images, queries, most) in (sizes or SIZES).items():
        arrays, truth = inputs(name, sets, images, queries, most)
        candidates = {"jaxbox": ours(name, arrays, truth), "transformers": theirs(name, arrays, truth)}
        candidates = {way: call for way, call in candidates.items() if call}
        of = {"function": f"{name}_loss", "sets": sets, "images": images, "queries": queries}
        yield of, measure(candidates, effort.less())
