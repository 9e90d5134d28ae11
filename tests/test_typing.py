"""The types of the package as a client sees them, who checks a program with pyright in strict mode."""

import importlib.util
import json
import subprocess
import sys

import pytest

CLIENT = """\
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxbox import boxes, coders, costs, losses, reductions, similarity


def loss_of(outputs: jax.Array, targets: jax.Array, where: jax.Array) -> jax.Array:
    predictions = boxes.cxcywh_to_xyxy(outputs)
    l1 = losses.l1_loss(predictions, targets, where=where)
    giou = losses.giou_loss(predictions, targets, where=where)
    boxes.check(predictions, window=jnp.array([0.0, 0.0, 1.0, 1.0]))
    return reductions.weighted_mean(5 * l1 + 2 * giou, where=where, at_least=1.0)


def main() -> None:
    outputs, targets = jnp.full((2, 3, 4), 0.5), np.full((2, 3, 4), 0.25, np.float32)
    where = np.ones((2, 3), bool)
    value = loss_of(outputs, jnp.asarray(targets), jnp.asarray(where))
    smooth = losses.smooth_l1_loss(outputs, targets, beta=0.1, where=where)
    focused = losses.focused_wiou_loss(outputs, targets, mean_loss=jnp.float32(0.5), alpha=np.full((2, 3), 1.9))
    in_image = losses.mpdiou_loss(outputs, targets, image_size=(480, 640))
    huber = functools.partial(losses.huber_loss, delta=0.5)
    distances = similarity.pairwise(huber)(outputs, targets, where=(where, None))
    overlaps: jax.Array = similarity.pairwise(similarity.iou)(outputs, targets)
    mean = reductions.update_mean(jnp.float32(1), smooth, momentum=0.01)
    bin_logits = jnp.zeros((2, 16))
    bins = losses.distribution_focal_loss(bin_logits, jnp.zeros(2)) + coders.expected_bin(bin_logits)
    clipped = boxes.clip(boxes.scale(outputs, 1.5), np.array([0.0, 0.0, 1.0, 1.0], np.float32))
    intervals = losses.iou_loss(boxes.Intervals(outputs[..., :2]), boxes.Intervals(targets[..., :2]))
    logits, labels = jnp.zeros((2, 3, 7)), np.zeros((2, 3), np.int32)
    matrix = costs.box_costs(outputs, targets, similarity=functools.partial(similarity.nwd, constant=0.5))
    matrix = matrix + 2 * costs.class_costs(costs.focal_costs(logits), labels)
    onehot: jax.Array = jax.nn.one_hot(labels, 7)
    classes = losses.varifocal_loss(logits, onehot, similarity.iou(outputs, targets), where=where)
    normalized = reductions.weighted_sum(classes) / reductions.normalizer(where, least=1.0)
    points, strides = coders.grid_points((64, 64), (8, 16))
    decoded = coders.decode_distances(jnp.zeros((2, 80, 4)), points, scale=strides)
    deltas = coders.encode_deltas(outputs, targets, weights=(10.0, 10.0, 5.0, 5.0))
    fine = coders.fractional_bin(coders.encode_fine(outputs, targets), coders.fine_bins())
    print(matrix, normalized, decoded, deltas, fine)
    print(value.shape, focused.dtype, in_image, distances, overlaps.T, mean, bins, clipped, intervals)


main()
"""


# What jax.numpy leaves unknown of its own functions is no error of ours.
SETTINGS = {"typeCheckingMode": "strict", "include": ["client.py"], "reportUnknownMemberType": "none"}


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is in the group lint")
def test_a_client_program_has_no_error_in_strict_mode(tmp_path):
    (tmp_path / "client.py").write_text(CLIENT)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(SETTINGS))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    found = json.loads(result.stdout)["generalDiagnostics"]
    assert [f"{x['range']['start']['line'] + 1}: {x['message']}" for x in found if x["severity"] == "error"] == []


def test_the_client_program_runs(tmp_path):
    (tmp_path / "client.py").write_text(CLIENT)
    assert subprocess.run([sys.executable, tmp_path / "client.py"], check=False, capture_output=True).returncode == 0
