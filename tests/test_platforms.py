"""The forms that programs have on a TPU and on a GPU, run on a CPU: they have the numbers of the form for CPUs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbox import boxes, losses, similarity
from jaxbox.numerics import execution
from tests import cases
from tests.programs import ROUNDING
from tests.shapes import TURNED, UPRIGHT
from tests.table import EVERY, every_loss, rows

COUNT = 1024  # whole tiles of a TPU
OTHERS = "tpu", "gpu"
QUICK = {"xla_backend_optimization_level": 0}


@pytest.fixture
def run_as(monkeypatch):
    """Calls a function, compiled with the forms of a platform."""

    def run(platform, function, *arrays):
        def choose(*operands, **forms):
            return forms[platform](*operands)

        jax.clear_caches()  # of programs with other forms
        with monkeypatch.context() as context:
            context.setattr(execution, "_by_platform", choose)
            context.setattr(execution, "TOO_MANY_TO_SUM_WITH_GRADIENTS", len(arrays[0]))
            return jax.jit(lambda *arrays: function(*arrays), compiler_options=QUICK)(*arrays)

    yield run
    jax.clear_caches()


def pairs(shape=UPRIGHT):
    """Random pairs and all awkward ones, of which there are whole tiles."""
    awkward = cases.stacked(shape.awkward)
    random = shape.random_pairs(COUNT - len(awkward[0]), seed=40)
    return [np.concatenate(some).astype(np.float32) for some in zip(awkward, random, strict=True)]


def random_pairs(shape):
    return [np.float32(x) for x in shape.random_pairs(COUNT, seed=41)]


def with_gradients(function, *arrays):
    """The values of a function and their gradients."""
    value, pullback = jax.vjp(function, *arrays)
    return value, pullback(jnp.ones_like(value))


def differentiated(function, *arrays):
    """The same, a derivative in forward mode, and the gradients of the mean."""
    places = tuple(range(len(arrays)))
    mean = jax.grad(lambda *arrays: jnp.mean(function(*arrays)), places)(*arrays)
    # Not along the boxes themselves: that grows them, of which an IoU has a derivative that is rounding alone.
    tangents = tuple(jnp.roll(array, 1, axis=-1) for array in arrays)
    return with_gradients(function, *arrays), jax.jvp(function, arrays, tangents)[1], mean


def assert_equal(found, wanted):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        one, other = np.asarray(one, np.float32), np.asarray(other, np.float32)
        largest = np.max(np.abs(other), initial=1)
        np.testing.assert_allclose(one, other, rtol=ROUNDING, atol=ROUNDING * largest)


def assert_equal_in_units(shape, some, found, wanted):
    """Compares slopes by sides and turns: their programs are cut elsewhere, which is rounded elsewhere.

    Left out are kinks, where rounding takes a side, and slivers, whose slopes are by the thinnest side.
    """
    skipped = [name in shape.kinks or "aspects" in case.group for name, case in shape.awkward.items()]
    kept = np.append(np.logical_not(skipped), np.ones(COUNT - len(skipped), bool))
    side = np.max([np.max(np.abs(shape.sides(boxes)), axis=-1, keepdims=True) for boxes in some], axis=0)
    for one, other in zip(found, wanted, strict=True):
        one, other = (shape.scaled(np.asarray(slopes), side)[kept] for slopes in (one, other))
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@every_loss
def test_the_forms_for_other_platforms_have_the_values_and_gradients_of_that_for_a_cpu(run_as, row):
    program = functools.partial(with_gradients, functools.partial(row, where=np.arange(COUNT) % 9 > 0))
    some = pairs(row.shape)
    value, gradients = run_as("cpu", program, *some)
    for platform in OTHERS:
        found, found_gradients = run_as(platform, program, *some)
        assert_equal(found, value)
        if row.shape is UPRIGHT:
            assert_equal(found_gradients, gradients)
        else:
            assert_equal_in_units(row.shape, some, found_gradients, gradients)


@pytest.mark.parametrize("platform", OTHERS)
def test_they_have_them_in_half_precision_in_batches_and_in_forward_mode(run_as, platform):
    def programs(predictions, targets):
        half = predictions.astype(jnp.bfloat16), targets.astype(jnp.bfloat16)
        batch = predictions.reshape(8, -1, 4), targets.reshape(8, -1, 4)
        return [differentiated(losses.giou_loss, *some) for some in ((predictions, targets), half, batch)]

    assert_equal(run_as(platform, programs, *pairs()), run_as("cpu", programs, *pairs()))


CONVERSIONS = [
    *(boxes.xywh_to_xyxy, boxes.xyxy_to_xywh, boxes.cxcywh_to_xyxy, boxes.xyxy_to_cxcywh, boxes.yxyx_to_xyxy),
    *(boxes.canonicalize, boxes.area, boxes.center, boxes.sides),
    functools.partial(boxes.scale, factor=1.5),
    functools.partial(boxes.clip, window=np.float32([10, 20, 50, 60])),
    functools.partial(boxes.normalized_to_absolute, image_size=(480.0, 640.0)),
    functools.partial(boxes.absolute_to_normalized, image_size=(480.0, 640.0)),
]


@pytest.mark.parametrize("platform", OTHERS)
def test_conversions_and_measures_of_boxes_do_as_well(run_as, platform):
    def programs(some):
        return [differentiated(conversion, some) for conversion in CONVERSIONS]

    assert_equal(run_as(platform, programs, pairs()[0]), run_as("cpu", programs, pairs()[0]))


@pytest.mark.parametrize("platform", OTHERS)
@pytest.mark.parametrize("alike", [similarity.iou, similarity.giou, similarity.ciou])
def test_all_pairs_do_as_well_but_for_the_order_of_sums(run_as, alike, platform):
    def programs(a, b):
        return differentiated(similarity.pairwise(alike), a[:200], b[:100])

    found, wanted = (run_as(one, programs, *pairs()) for one in (platform, "cpu"))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        scale = np.maximum(np.max(np.abs(other)), 1e-6) if np.ndim(other) else 1
        np.testing.assert_allclose(np.asarray(one) / scale, np.asarray(other) / scale, rtol=1e-5, atol=1e-5)


@rows(lambda row: row.name in {"rotated_iou_loss", "gwd_loss", "solid_mgiou_loss"}, of=EVERY)
def test_many_turned_boxes_in_chunks_have_the_values_and_derivatives_of_all_at_once(monkeypatch, row):
    def found(rows_at_once):
        monkeypatch.setattr(execution, "ROWS_AT_ONCE", rows_at_once)
        jax.clear_caches()  # of programs with other chunks
        keep = np.arange(COUNT) % 9 > 0
        loss = functools.partial(row, where=keep.reshape(2, -1))
        some = [jnp.asarray(x.reshape(2, COUNT // 2, -1)) for x in random_pairs(row.shape)]
        program = jax.jit(functools.partial(differentiated, loss), compiler_options=QUICK)
        return [np.asarray(x) for x in jax.tree.leaves(program(*some))]

    for one, other in zip(found(300), found(COUNT), strict=True):  # of 4 chunks the last one has a row too many
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * np.max(np.abs(other)))
    jax.clear_caches()


def test_options_of_many_turned_boxes_in_chunks_have_derivatives_too(monkeypatch):
    a, b = random_pairs(TURNED)
    of_each = np.linspace(1, 3, COUNT, dtype=np.float32)

    def found(rows_at_once):
        monkeypatch.setattr(execution, "ROWS_AT_ONCE", rows_at_once)
        jax.clear_caches()
        slopes = [jax.grad(lambda tau: jnp.sum(losses.kld_loss(a, b, tau=tau)))(tau) for tau in (2.0, of_each)]
        return [*slopes, losses.kld_loss(a, b, tau=of_each)]

    for one, other in zip(found(300), found(COUNT), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    jax.clear_caches()


def test_flat_boxes_have_tiles_where_every_device_has_whole_ones(monkeypatch):
    flat = jax.ShapeDtypeStruct((3 * 1024, 4), jnp.float32)
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    assert execution._has_tiles(np.zeros(flat.shape))
    monkeypatch.setattr(jax, "device_count", lambda: 16)
    assert not execution._has_tiles(np.zeros(flat.shape))
    assert not execution._has_tiles(np.zeros((1000, 4)))
    assert not execution._has_tiles(np.zeros((2, 1024, 4)))
