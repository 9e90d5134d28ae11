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
    "deim": (7, 4, 300, 20),
}
FINE = "d_fine", "deim"  # those with distributions of the sides
LEARNT = "logits", "raw", "corners"  # what has gradients


def inputs(name, sets, images, queries, most):
    """Boxes, logits and padded targets at random. The sets say nearly the same, so that no tie decides their union."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, most + 1, images)
    where = np.arange(SLOTS) < counts[:, None]
    centers = np.concatenate(
        [rng.uniform(0.2, 0.8, (images, SLOTS, 2)), rng.uniform(0.05, 0.3, (images, SLOTS, 2))], -1
    )
    labels = rng.integers(0, CLASSES, (images, SLOTS))
    classes = CLASSES + (name == "detr")
    logits = rng.normal(-4, 1, (images, queries, classes)) + 0.02 * rng.normal(size=(sets, images, queries, classes))
    raw = np.concatenate(
        [rng.uniform(0.2, 0.8, (images, queries, 2)), rng.uniform(0.05, 0.3, (images, queries, 2))], -1
    )
    raw = raw + 0.001 * rng.uniform(-1, 1, (sets, images, queries, 4))
    arrays = {"logits": logits, "raw": raw}
    if name in FINE:
        arrays["corners"] = rng.normal(size=(sets - 1, images, queries, 4 * BINS))
        arrays["references"] = raw[0]
    truth = {"boxes": np.where(where[..., None], centers, np.nan), "labels": labels, "where": where}
    return {key: np.float32(array) for key, array in arrays.items()}, truth


def ours(name, arrays, truth):
    """The value and the gradients of what a head predicts, compiled, by the library."""
    loss_of = getattr(detectors, f"{name}_loss")
    options = {"class_cost": 1.0} if name == "deformable_detr" else {}
    targets = detectors.Targets(
        boxes.cxcywh_to_xyxy(jnp.float32(truth["boxes"])), jnp.asarray(truth["labels"]), jnp.asarray(truth["where"])
    )

    def loss(arrays, targets):
        parts = [arrays["logits"], boxes.cxcywh_to_xyxy(arrays["raw"])]
        if name in FINE:
            parts += [arrays["corners"], boxes.cxcywh_to_xyxy(jax.lax.stop_gradient(arrays["references"]))]
        return loss_of(*parts, targets, **options)[0]

    return functools.partial(jax.jit(jax.value_and_grad(loss)), jax.tree.map(jnp.asarray, arrays), targets)


def theirs(name, arrays, truth):
    """The same by transformers; None where that or PyTorch is not installed."""
    if importlib.util.find_spec("transformers") is None or (torch := torch_peers.library()) is None:
        return None
    torch_peers.torchvision_operators(torch)  # which transformers imports where it is installed
    import transformers
    from transformers.loss import loss_deimv2
    from transformers.loss.loss_utils import LOSS_MAPPING

    leaves = [torch.tensor(arrays[key], requires_grad=True) for key in LEARNT if key in arrays]
    logits, raw = leaves[:2]
    labels = [
        {"class_labels": torch.tensor(labels[real]), "boxes": torch.tensor(np.float32(places[real]))}
        for labels, places, real in zip(truth["labels"], truth["boxes"], truth["where"], strict=True)
    ]
    settings = {"num_labels": CLASSES, "auxiliary_loss": True}

    def of_fine():
        # The criterion of DEIMv2 with the classes of either; that of D-FINE in transformers has no union of sets.
        criterion = loss_deimv2.Deimv2Loss(transformers.Deimv2Config(**settings))
        criterion.gamma = 1.5 if name == "deim" else 2.0
        classes = "mal" if name == "deim" else "vfl"
        criterion.losses = [classes, "boxes", "local"]
        criterion.weight_dict |= {f"loss_{classes}": 1.0}
        sets = [{"logits": one, "pred_boxes": other} for one, other in zip(logits, raw, strict=True)]
        references, teacher = torch.tensor(arrays["references"]), (leaves[2][-1], logits[-2])
        for one, corners in zip(sets, leaves[2], strict=False):
            one |= {"pred_corners": corners, "ref_points": references}
            one |= {"teacher_corners": teacher[0], "teacher_logits": teacher[1]}
        *layers, last, encoder = sets
        terms = criterion(last | {"auxiliary_outputs": [*layers, encoder]}, labels)
        return torch.stack(list(terms.values())).sum()

    def of_mapping(kind, config, layers_first, **encoder):
        last = -2 if encoder else -1
        layers = [x[: last + 1 or None] for x in (logits, raw)]
        found = layers if layers_first else [x.transpose(0, 1) for x in layers]
        options = {"outputs_class": found[0], "outputs_coord": found[1], **encoder}
        return LOSS_MAPPING[f"{kind}ForObjectDetection"](
            logits[last], labels, logits.device, raw[last], config(**settings), **options
        )[0]

    totals = {
        "detr": lambda: of_mapping("", transformers.DetrConfig, True),
        "deformable_detr": lambda: of_mapping("DeformableDetr", transformers.DeformableDetrConfig, True),
        "rt_detr": lambda: of_mapping(
            "RTDetr", transformers.RTDetrConfig, False, enc_topk_logits=logits[-1], enc_topk_bboxes=raw[-1]
        ),
        "rf_detr": lambda: of_mapping(
            "LwDetr", transformers.LwDetrConfig, True, enc_outputs_class=logits[-1], enc_outputs_coord=raw[-1]
        ),
    } | dict.fromkeys(FINE, of_fine)

    def run():
        loss = totals[name]()
        return loss.detach(), torch.autograd.grad(loss, leaves)

    return run


def of_detectors(effort, sizes=None):
    """Every loss with code in transformers: value and gradients."""
    for name, (sets, images, queries, most) in (sizes or SIZES).items():
        arrays, truth = inputs(name, sets, images, queries, most)
        candidates = {"jaxbox": ours(name, arrays, truth), "transformers": theirs(name, arrays, truth)}
        candidates = {way: call for way, call in candidates.items() if call}
        of = {"function": f"{name}_loss", "sets": sets, "images": images, "queries": queries}
        yield of, measure(candidates, effort.less())
