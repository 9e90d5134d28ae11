"""Every public function works wherever JAX does: on meshes, in `shard_map`, exported, wrapped, debugged, eagerly."""

import functools
import json
import subprocess
import sys
import timeit

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxbox import (
    assigners,
    boxes,
    coders,
    costs,
    gaussian,
    losses,
    matching,
    reductions,
    rotated,
    similarity,
    simulation,
    suppression,
)
from tests import everywhere
from tests.calls import ARE_CLASSES, CALLS, WITHOUT_ARRAYS, Call, masked_matrix, masked_polygon, total
from tests.devices import host_devices

every_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
every_gradient = pytest.mark.parametrize(
    "call", [call for call in CALLS if call.has_gradient], ids=lambda call: call.name
)
COUNT = 6
CALLED = {call.name: call.function for call in CALLS}


def places(call):
    return tuple(range(len(call.shapes)))


def assert_close(found, wanted):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(np.asarray(one, np.float32), np.asarray(other, np.float32), rtol=1e-5, atol=1e-6)


def test_every_public_function_is_called():
    modules = (
        assigners,
        boxes,
        coders,
        costs,
        gaussian,
        losses,
        matching,
        reductions,
        rotated,
        similarity,
        suppression,
    )
    public = {f"{module.__name__.split('.')[-1]}.{name}" for module in modules for name in module.__all__}
    called = {call.name.split(",")[0] for call in CALLS}
    assert called == {name for name in public - WITHOUT_ARRAYS if name.split(".")[1] not in ARE_CLASSES}


@pytest.fixture(scope="module")
def spread():
    script = [sys.executable, "-W", "error", "-m", "tests.everywhere"]
    output = subprocess.run(script, env=host_devices(8), check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)


@pytest.mark.parametrize("way", everywhere.WAYS)
def test_rows_that_are_spread_over_eight_devices_have_the_values_and_gradients_of_one(spread, way):
    assert spread[way] == {}


@jax.tree_util.register_pytree_node_class
class Wrapped:
    """Anything with `__jax_array__` that is a tree of arrays, as `nnx.Param` is."""

    def __init__(self, value):
        self.value = value

    def __jax_array__(self):
        return self.value

    def tree_flatten(self):
        return (self.value,), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


@every_call
def test_wrapped_arrays_are_arrays_eagerly_under_jit_and_in_a_gradient(call):
    arrays = [jnp.asarray(x) for x in call.arrays(COUNT)]
    wrapped = [Wrapped(x) for x in arrays]
    assert_close(call.function(*wrapped), call.function(*arrays))
    assert_close(jax.jit(call.function)(*wrapped), call.function(*arrays))
    if call.has_gradient:
        gradients = jax.grad(total(call.function), places(call))
        assert_close(gradients(*wrapped), gradients(*arrays))


def test_parameters_of_flax_are_arrays():
    nnx = pytest.importorskip("flax.nnx")
    boxes_, targets = CALLS[0].arrays(COUNT)
    parameters, beta = nnx.Param(jnp.asarray(boxes_)), nnx.Param(jnp.float32(0.5))

    def loss(parameters, beta):
        return jnp.sum(losses.smooth_l1_loss(parameters, targets, beta=beta))

    def plain(parameters, beta):
        return jnp.sum(losses.smooth_l1_loss(parameters, targets, beta=beta))

    assert_close(jax.jit(loss)(parameters, beta), plain(jnp.asarray(boxes_), 0.5))
    assert_close(
        jax.grad(loss, (0, 1))(parameters, beta), jax.grad(plain, (0, 1))(jnp.asarray(boxes_), jnp.float32(0.5))
    )


def test_options_and_masks_may_be_wrapped():
    predictions, targets = CALLS[0].arrays(COUNT)
    keep, beta = jnp.arange(COUNT) % 2 == 0, jnp.float32(0.3)
    wanted = losses.smooth_l1_loss(predictions, targets, beta=beta, where=keep)
    assert_close(losses.smooth_l1_loss(predictions, targets, beta=Wrapped(beta), where=Wrapped(keep)), wanted)
    size = jnp.array([3.0, 4.0])
    wanted = losses.mpdiou_loss(predictions, targets, image_size=size)
    assert_close(losses.mpdiou_loss(predictions, targets, image_size=Wrapped(size)), wanted)
    assert_close(reductions.weighted_mean(Wrapped(wanted), Wrapped(wanted)), reductions.weighted_mean(wanted, wanted))


@every_call
def test_a_number_of_rows_that_is_a_symbol_can_be_exported(call):
    def shape(of):
        return ", ".join("rows" if length is None else str(length) for length in of)

    scope = export.SymbolicScope()
    given = []
    for number, of in enumerate(call.shapes):
        text = shape(of)
        if call.is_matrix and number == 1:
            text = text.replace("rows", "columns")
        given.append(jax.ShapeDtypeStruct(export.symbolic_shape(text, scope=scope), jnp.float32))
    program = export.export(jax.jit(call.function))(*given)
    arrays = call.arrays(COUNT)
    assert_close(program.call(*arrays), call.function(*arrays))
    if call.has_gradient:
        gradients = jax.grad(total(call.function), places(call))
        assert_close(export.export(jax.jit(gradients))(*given).call(*arrays), gradients(*arrays))


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (losses.l1_loss, ("n, k", "n, k")),
        (losses.distribution_focal_loss, ("n, bins", "n")),
        (coders.expected_bin, ("n, bins",)),
        (coders.expected_bin, ("n, bins", "bins")),
        (similarity.pairwise(similarity.giou), ("images, n, 4", "images, m, 4")),
        (similarity.pairwise(similarity.giou), ("n, 4", "images, m, 4")),
        (losses.giou_loss, ("images, n, 4", "images, n, 4")),
    ],
)
def test_other_lengths_may_be_symbols_too(function, shapes):
    scope = export.SymbolicScope()
    given = [jax.ShapeDtypeStruct(export.symbolic_shape(shape, scope=scope), jnp.float32) for shape in shapes]
    export.export(jax.jit(function))(*given)


def test_symbols_that_differ_are_refused_in_a_sentence():
    scope = export.SymbolicScope()
    given = [jax.ShapeDtypeStruct(export.symbolic_shape(shape, scope=scope), jnp.float32) for shape in ("n, 4", "m, 4")]
    with pytest.raises(ValueError, match="but a loss takes pairs and does not broadcast"):
        export.export(jax.jit(losses.giou_loss))(*given)


@every_call
def test_nothing_is_infinite_on_the_way_to_the_numbers_of_empty_boxes(call):
    arrays = [np.zeros_like(x) for x in call.arrays(COUNT)]
    call.function(*arrays)  # without; the program that is kept must not be taken
    with jax.debug_infs(True), jax.debug_nans(True):
        call.function(*arrays)
        if call.has_gradient:
            jax.grad(total(call.function), places(call))(*(jnp.asarray(x) for x in arrays))


@every_call
def test_double_precision_of_numpy_warns_of_nothing(call):  # pytest makes an error of each warning
    arrays = call.arrays(COUNT, np.float64)
    assert_close(call.function(*arrays), call.function(*(np.float32(x) for x in arrays)))


def test_options_in_double_precision_of_numpy_warn_of_nothing():
    pair = CALLS[0].arrays(COUNT, np.float64)
    for delta in (np.float64(0.5), np.full(COUNT, 0.5), np.array(0.5), 1e300, np.float64(1e-300)):
        losses.huber_loss(*pair, delta=delta)
    losses.mpdiou_loss(*pair, image_size=np.array([3.0, 4.0]))
    boxes.clip(pair[0], np.array([0.0, 0, 1, 1]))
    reductions.weighted_mean(pair[0], where=pair[0] > 0, at_least=np.float64(1))
    reductions.update_mean(np.float64(0.5), pair[0][:, 0], momentum=np.float64(0.1))
    for number in (10**30, 10**400, np.float64(1e300)):
        losses.huber_loss(*pair, delta=number)
        similarity.pairwise(functools.partial(losses.huber_loss, delta=number))(*pair)
    reductions.update_mean(1e300, pair[0][:, 0], momentum=0.1)
    losses.giou_loss(np.full((2, 4), 1e300), np.zeros((2, 4)), where=np.zeros(2, bool))
    losses.giou_loss(*[boxes.Intervals(np.full((2, 2), 1e300))] * 2, where=np.zeros(2, bool))
    losses.giou_loss(*(x.astype(np.longdouble) for x in pair))


def test_the_simulation_takes_double_precision_of_numpy_without_a_warning():
    anchors, targets = CALLS[0].arrays(COUNT, np.float64)
    exact = simulation.exact(losses.giou_loss)
    result = simulation.simulate(exact, anchors, targets)
    assert_close(result, simulation.simulate(exact, np.float32(anchors), np.float32(targets)))


@pytest.mark.parametrize(
    "call",
    [
        *(Call(name, getattr(losses, name), ((None, 512),) * 2) for name in losses.coordinates.__all__),
        Call("uncertain_l1_loss", losses.uncertain_l1_loss, ((None, 512),) * 3),
    ],
    ids=lambda call: call.name,
)
def test_a_last_axis_of_hundreds_stays_an_axis(call):
    arrays = call.arrays(COUNT)
    half = [x[:, :256] for x in arrays], [x[:, 256:] for x in arrays]
    np.testing.assert_allclose(call.function(*arrays), sum(call.function(*part) for part in half), rtol=1e-4)

    def operations(width):
        gradients = jax.grad(total(call.function), places(call))
        return str(jax.make_jaxpr(gradients)(*(x[:, :width] for x in arrays))).count(" = ")

    assert operations(512) == operations(64)


def test_options_of_one_a_box_go_with_a_last_axis_of_hundreds():
    predictions, targets = np.random.default_rng(0).normal(size=(2, 3, 512)).astype(np.float32)
    together = losses.smooth_l1_loss(predictions, targets, beta=jnp.array([0.1, 1.0, 10.0]))
    for beta, value, *row in zip((0.1, 1.0, 10.0), together, predictions, targets, strict=True):
        np.testing.assert_allclose(losses.smooth_l1_loss(*row, beta=beta), value, rtol=1e-5)


def with_fixed_masks(a, b):
    return similarity.pairwise(similarity.iou)(a, b, where=FIXED_MASKS)


FIXED_MASKS = np.arange(7) % 2 == 0, None
# What the other masked ones do with their boxes, and those of matching and of anchors, are calls of their own.
MASKED = masked_matrix, masked_polygon
SEVERAL = "matching.", "assigners.", "suppression."
EAGER = [call for call in CALLS if call.function not in MASKED and not call.name.startswith(SEVERAL)]
if jax.__version_info__ < (0, 8):  # which dispatches a program with a check from Python: 0.11 ms
    EAGER = [call for call in EAGER if call.name != "boxes.check"]
SLOTS = np.arange(7) % 4
FIXED_POINTS = np.arange(42).reshape(7, 6) % 3 > 0
FIXED, FIXED_SCORES = np.arange(28).reshape(7, 4) % 3 > 0, np.arange(7, dtype=np.float32)


def with_fixed(function):
    return lambda table: function(table, table, FIXED, SLOTS[:4])


EAGER += [
    Call(
        "rotated.from_polygon, masked",
        lambda points: rotated.from_polygon(points, where=FIXED_POINTS),
        ((None, 6, 2),),
    ),
    Call("similarity.pairwise, masked", with_fixed_masks, ((None, 4), (None, 4))),
    Call("matching.linear_assignment", matching.linear_assignment, ((None, 4),)),
    Call("matching.threshold_assignment", CALLED["matching.threshold_assignment"], ((None, 4),)),
    Call("matching.rescue_targets", lambda table: matching.rescue_targets(SLOTS, table), ((None, 3),)),
    Call("matching.majority", lambda _: matching.majority(SLOTS[None], columns=3), ((None, 4),)),
    Call("matching.take", lambda boxes: matching.take(boxes, SLOTS), ((3, 4),)),
    *(call for call in CALLS if call.name in ("assigners.inside", "assigners.atss", "assigners.smallest_inside")),
    Call("assigners.task_aligned", with_fixed(assigners.task_aligned), ((None, 4),)),
    Call("assigners.task_aligned_tood", with_fixed(assigners.task_aligned_tood), ((None, 4),)),
    Call("assigners.sim_ota", lambda table: assigners.sim_ota(table, table, FIXED, FIXED), ((None, 4),)),
    Call("suppression.nms", lambda b: suppression.nms(b, FIXED_SCORES, threshold=0.5, outputs=4), ((None, 4),)),
    Call("suppression.soft_nms", lambda b: suppression.soft_nms(b, FIXED_SCORES, outputs=4), ((None, 4),)),
]


def seconds_of(function, *arrays):
    """Whatever else the machine does, some of many calls have it for themselves."""
    return min(timeit.repeat(lambda: function(*arrays), number=1, repeat=500))


@pytest.mark.parametrize("call", EAGER, ids=lambda call: call.name)
def test_an_eager_call_after_the_first_takes_a_tenth_of_a_millisecond(call):
    arrays = [jnp.asarray(x) for x in call.arrays(7)]
    first = jax.jit(lambda *arrays: arrays[0] + 1)
    call.function(*arrays)
    first(*arrays)
    # A check dispatches its error beside its program, from Python: 0.08 to 0.14 ms by machine.
    share = 2 if call.name == "boxes.check" else 1
    # Where a compiled program alone takes more than 4 us to be called, Python is as much slower in all the rest.
    limits = (share * max(1e-4, 25 * seconds_of(first, *arrays)) for _ in range(20))
    assert any(seconds_of(call.function, *arrays) < limit for limit in limits)


@pytest.mark.parametrize(
    "matrix",
    [
        lambda: similarity.pairwise(similarity.iou),
        lambda: similarity.pairwise(functools.partial(losses.smooth_l1_loss, beta=0.1)),
        lambda: similarity.pairwise(functools.partial(similarity.nwd, constant=jnp.float32(2))),
    ],
)
def test_a_matrix_of_pairs_that_is_made_anew_is_not_compiled_anew(matrix):
    a, b = (jnp.asarray(x) for x in CALLS[0].arrays(7))
    matrix()(a, b)
    assert any(min(timeit.repeat(lambda: matrix()(a, b), number=1, repeat=50)) < 1e-3 for _ in range(20))
