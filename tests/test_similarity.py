"""What is particular to similarities: they broadcast, and compare all with all. The laws of losses cover the rest."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxbox import boxes, losses, similarity
from jaxbox.numerics import execution
from tests import cases, reference
from tests.everywhere import set_mesh
from tests.programs import ROUNDING

OPTIONS = {"nwd": {"constant": 2.0}}
NAMES = similarity.upright.__all__  # the turned ones: tests/test_rotated_overlap.py

every_similarity = pytest.mark.parametrize("name", NAMES)


def similarity_of(name):
    return functools.partial(getattr(similarity, name), **OPTIONS.get(name, {}))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ioa"])
def test_the_loss_of_the_same_name_is_one_minus_the_similarity_or_half_of_that(name):
    pair = [jnp.float32(x) for x in cases.random_pairs(100, seed=1)]
    loss = functools.partial(getattr(losses, f"{name}_loss"), **OPTIONS.get(name, {}))
    share = 0.5 if name.endswith("mgiou") else 1.0  # the range of that loss is [0, 1)
    np.testing.assert_allclose(loss(*pair), share * (1 - similarity_of(name)(*pair)), rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("x64")
def test_the_share_of_the_first_box_is_that_of_the_reference():
    for n in (1, 2, 3):
        a, b = cases.random_pairs(300, seed=n, n=n)
        given = (boxes.Intervals(a), boxes.Intervals(b)) if n == 1 else (a, b)
        np.testing.assert_allclose(similarity.ioa(*given), reference.ioa(a, b), rtol=1e-12, atol=1e-12)


@every_similarity
def test_pairwise_is_broadcasting_by_name(name):
    a, b = (jnp.float32(x) for x in (cases.random_boxes(5, seed=10), cases.random_boxes(7, seed=11)))
    alike = jax.jit(similarity_of(name))
    matrix = similarity.pairwise(alike)(a, b)
    assert matrix.shape == (5, 7)
    np.testing.assert_allclose(alike(a[:, None], b), matrix, rtol=1e-5, atol=1e-6)


def squared_gradient(function, places):
    return jax.grad(lambda *x: jnp.sum(jax.grad(function, 1)(*x) ** 2), places)


@pytest.mark.parametrize(
    ("rows", "derivative"), [((151, 130), jax.grad), ((1, 20_000), jax.grad), ((151, 130), squared_gradient)]
)
def test_the_derivatives_of_many_pairs_are_those_of_broadcasting(rows, derivative):
    a, b = (jnp.float32(cases.random_boxes(count, seed=count)) for count in rows)
    weights = jnp.float32(np.random.default_rng(0).normal(size=rows))

    def total(compare, a, b, constant):
        return jnp.sum(weights * compare(functools.partial(similarity.nwd, constant=constant))(a, b))

    def broadcasting(alike):
        return lambda a, b: alike(a[:, None], b[None])

    in_chunks, at_once = (
        jax.jit(derivative(functools.partial(total, compare), (0, 1, 2)))(a, b, jnp.float32(2))
        for compare in (similarity.pairwise, broadcasting)
    )
    for one, other in zip(in_chunks, at_once, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.max(np.abs(other)))


def lengths_of_loops(total, *arrays):
    program = str(jax.make_jaxpr(jax.grad(total))(*arrays))
    return {int(length) for length in re.findall(r"\blength=(\d+)", program)}


@pytest.mark.parametrize(
    ("rows", "columns", "chunks"),
    [(128, 128, []), (129, 128, [2]), (8400, 100, [16]), (20_000, 500, [39]), (3, 300_000, [3])],
)
def test_the_derivatives_of_many_pairs_take_a_sixteenth_of_the_rows_at_a_time_within_bounds(rows, columns, chunks):
    a, b = (jax.ShapeDtypeStruct((count, 4), jnp.float32) for count in (rows, columns))
    compare = similarity.pairwise(similarity.iou)
    assert lengths_of_loops(lambda a, b: jnp.sum(compare(a, b)), a, b) == set(chunks)


@pytest.mark.skipif(jax.__version_info__ < (0, 8), reason="it cannot reshape on an explicit mesh of one device")
@pytest.mark.parametrize(("axes", "chunks"), [(("x", None), [17]), ((None, "y"), [16]), (("x", "y"), [])])
def test_rows_that_an_explicit_mesh_spreads_are_not_taken_apart(axes, chunks):
    mesh = jax.make_mesh((1, 1), ("x", "y"), axis_types=(AxisType.Explicit,) * 2)
    with set_mesh(mesh):
        a, b = (
            jax.device_put(np.ones((count, 4), np.float32), NamedSharding(mesh, PartitionSpec(axis)))
            for count, axis in zip((8400, 100), axes, strict=True)
        )
        compare = similarity.pairwise(similarity.iou)
        assert lengths_of_loops(lambda a, b: jnp.sum(compare(a, b)), a, b) == set(chunks)


@pytest.mark.parametrize(
    ("first", "second"), [((3, 4), (2, 5, 4)), ((2, 3, 4), (5, 4)), ((6, 1, 3, 4), (2, 5, 4)), ((1, 3, 4), (2, 5, 4))]
)
def test_sets_with_other_leading_axes_are_those_that_are_repeated(first, second):
    a, b = (cases.random_boxes(np.prod(shape[:-1]), seed=i).reshape(shape) for i, shape in enumerate((first, second)))
    batch = np.broadcast_shapes(first[:-2], second[:-2])
    repeated = [np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b)]
    wheres = [np.arange(x[..., 0].size).reshape(x.shape[:-1]) % 3 > 0 for x in (a, b)]
    compare, where = similarity.pairwise(similarity.giou), tuple(wheres)
    assert_equal = functools.partial(np.testing.assert_allclose, rtol=ROUNDING, atol=ROUNDING)
    assert_equal(compare(a, b), compare(*repeated))
    everywhere = tuple(np.broadcast_to(x, (*batch, x.shape[-1])) for x in wheres)
    assert_equal(compare(a, b, where=where), compare(*repeated, where=everywhere))


def gradients_of_many_pairs():
    def total(a, b):
        return jnp.sum(jnp.sin(similarity.pairwise(similarity.giou)(a, b)))

    return jax.jit(jax.value_and_grad(total, (0, 1)))


@pytest.mark.parametrize(("platform", "has_chunks"), [("cpu", True), ("cuda", False), ("tpu", False)])
def test_only_a_cpu_takes_many_pairs_in_chunks(platform, has_chunks):
    box = jax.ShapeDtypeStruct((1000, 4), jnp.float32)
    program = gradients_of_many_pairs().trace(box, box).lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.while" in program) == has_chunks


@pytest.mark.parametrize("most", [2**24, 4096])  # all at once, and in chunks there as well
def test_the_derivatives_of_many_pairs_are_the_same_on_every_platform(monkeypatch, most):
    a, b = (jnp.float32(cases.random_boxes(count, seed=count)) for count in (151, 130))
    expected = gradients_of_many_pairs()(a, b)

    def elsewhere(*arguments, default, **_):
        return default(*arguments)

    monkeypatch.setattr(execution.lax, "platform_dependent", elsewhere)
    monkeypatch.setattr(execution, "PAIRS_AT_ONCE_ELSEWHERE", most)
    jax.clear_caches()
    for one, other in zip(jax.tree.leaves(gradients_of_many_pairs()(a, b)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.max(np.abs(other)))
    jax.clear_caches()


def test_many_pairs_have_a_derivative_in_forward_mode_and_batch():
    a, b = (jnp.float32(cases.random_boxes(2 * 140, seed=seed).reshape(2, 140, 4)) for seed in (30, 31))
    compare = similarity.pairwise(similarity.giou)
    _, tangent = jax.jit(lambda a, b: jax.jvp(compare, (a, b), (b, a)))(a, b)
    _, expected = jax.jvp(lambda a, b: similarity.giou(a[:, :, None], b[:, None]), (a, b), (b, a))
    np.testing.assert_allclose(tangent, expected, rtol=1e-4, atol=1e-4)


def test_pairwise_takes_losses_options_and_leading_axes():
    a, b = (jnp.float32(cases.random_boxes(24, seed=seed).reshape(2, 3, 4, 4)) for seed in (20, 21))
    loss = functools.partial(losses.smooth_l1_loss, beta=0.1)
    costs = jax.jit(similarity.pairwise(loss))(a, b[:, :, :2])
    assert costs.shape == (2, 3, 4, 2)
    np.testing.assert_allclose(costs[1, 2, 3, 1], loss(a[1, 2, 3], b[1, 2, 1]), rtol=1e-6)


@pytest.mark.parametrize(
    ("a", "b"), [((3, 4), (5, 2, 4)), ((6, 5, 3, 4), (5, 2, 4)), ((1, 3, 4), (5, 2, 4)), ((3, 4), (0, 4))]
)
def test_the_leading_axes_of_sets_broadcast(a, b):
    sets = [jnp.float32(cases.random_boxes(np.prod(shape[:-1]), seed=7).reshape(shape)) for shape in (a, b)]
    matrix = similarity.pairwise(similarity.giou)(*sets)
    lead = np.broadcast_shapes(a[:-2], b[:-2])
    assert matrix.shape == (*lead, a[-2], b[-2])
    first, second = (np.broadcast_to(x, (*lead, *x.shape[-2:])) for x in sets)
    for place in np.ndindex(*lead):
        expected = similarity.giou(first[place][:, None], second[place][None])
        np.testing.assert_allclose(matrix[place], expected, rtol=1e-5, atol=1e-6)


def test_masked_rows_and_columns_of_a_matrix_are_0_whatever_they_hold():
    a, b = (jnp.float32(cases.random_boxes(count, seed=count)) for count in (140, 130))
    rows, columns = np.arange(140) % 3 > 0, np.arange(130) % 2 > 0
    weights = jnp.float32(np.random.default_rng(0).normal(size=(140, 130)))

    @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def total(a, b):
        matrix = similarity.pairwise(similarity.giou)(a, b, where=(rows, columns))
        return jnp.sum(weights * matrix), matrix

    (_, clean), clean_gradients = total(a, b)
    np.testing.assert_allclose(
        clean, np.where(rows[:, None] & columns, similarity.giou(a[:, None], b[None]), 0), rtol=1e-5
    )
    for garbage in (np.nan, np.inf, 1e38, 0.0):
        soiled = jnp.where(rows[:, None], a, garbage), jnp.where(columns[:, None], b, garbage)
        (_, matrix), gradients = total(*soiled)
        np.testing.assert_array_equal(matrix, clean)
        for gradient, clean_gradient, keep in zip(gradients, clean_gradients, (rows, columns), strict=True):
            np.testing.assert_array_equal(gradient, clean_gradient)
            np.testing.assert_array_equal(gradient[~keep], 0)
    padding = similarity.pairwise(similarity.iou)(jnp.zeros((2, 4)), jnp.zeros((3, 4)), where=(np.zeros(2, bool), None))
    np.testing.assert_array_equal(padding, np.zeros((2, 3)))


def test_masks_have_the_leading_axes_of_their_set():
    rng = np.random.default_rng(0)
    a, b = (jnp.float32(cases.random_boxes(6, seed=seed).reshape(2, 3, 4)) for seed in (50, 51))
    a, b, rows, columns = a[:, None], b, rng.random((2, 1, 3)) < 0.5, rng.random((2, 3)) < 0.5
    matrix = similarity.pairwise(similarity.giou)(a, b, where=(rows, columns))
    whole = similarity.giou(a[..., :, None, :], b[None, :, None])
    np.testing.assert_allclose(matrix, np.where(rows[..., None] & columns[:, None], whole, 0), rtol=1e-5, atol=1e-6)


def test_an_option_of_several_numbers_may_hold_an_array():
    box = jnp.float32(cases.random_boxes(3, seed=54))
    mixed, known = (functools.partial(losses.mpdiou_loss, image_size=(480.0, w)) for w in (jnp.float32(640), 640.0))
    np.testing.assert_array_equal(similarity.pairwise(mixed)(box, box), similarity.pairwise(known)(box, box))


def test_an_option_that_is_known_stays_so_in_a_matrix():
    box = jnp.float32(cases.random_boxes(3, seed=52))
    matrix = similarity.pairwise(functools.partial(losses.alpha_iou_loss, alpha=2))
    assert " pow " not in str(jax.make_jaxpr(matrix)(box, box))


def test_a_function_of_two_boxes_may_have_an_argument_before_them():
    box = jnp.float32(cases.random_boxes(3, seed=53))
    scaled = functools.partial(lambda factor, a, b: factor * similarity.iou(a, b), 2)
    np.testing.assert_array_equal(
        similarity.pairwise(scaled)(box, box), 2 * similarity.pairwise(similarity.iou)(box, box)
    )


@pytest.mark.parametrize("count", [100, 140])  # below and above what is differentiated all at once
@pytest.mark.parametrize(
    "image_size", [(480, 640), [480, 640], np.array([480, 640]), jnp.array([480, 640]), jnp.array([480.0, 640.0])]
)
def test_whole_numbers_are_options_of_all_pairs(count, image_size):
    a, b = (jnp.float32(cases.random_boxes(count, seed=seed)) for seed in (40, 41))

    def total(a, image_size):
        return jnp.sum(similarity.pairwise(functools.partial(losses.mpdiou_loss, image_size=image_size))(a, b))

    every_pair = a[:, None] + 0 * b[None], b[None] + 0 * a[:, None]
    by_pair = jax.grad(lambda a: jnp.sum(losses.mpdiou_loss(a, every_pair[1], image_size=(480.0, 640.0))))(
        every_pair[0]
    )
    expected = jnp.sum(by_pair, axis=1)
    np.testing.assert_allclose(jax.grad(total)(a, image_size), expected, rtol=1e-3, atol=1e-4)
    if not isinstance(image_size, tuple):
        np.testing.assert_allclose(jax.jit(jax.grad(total))(a, image_size), expected, rtol=1e-3, atol=1e-4)


def test_a_function_of_two_boxes_may_close_over_any_traced_value():
    a, b = (jnp.float32(cases.random_boxes(140, seed=seed)) for seed in (42, 43))

    def total(a, flag, power):
        def chosen(x, y):
            return jnp.where(flag & (power == 3), similarity.giou(x, y) ** 3, 0)

        return jnp.sum(similarity.pairwise(chosen)(a, b))

    expected = jax.grad(lambda a: jnp.sum(similarity.giou(a[:, None], b[None]) ** 3))(a)
    found = jax.jit(jax.grad(total))(a, jnp.array(True), jnp.int32(3))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    mapped = jax.vmap(jax.grad(total), (None, 0, None))(a, jnp.array([True, False]), jnp.int32(3))
    np.testing.assert_allclose(mapped[0], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(mapped[1], 0)


@pytest.mark.parametrize(
    ("alike", "option", "value"),
    [
        (similarity.nwd, "constant", np.float64(-1)),
        (similarity.nwd, "constant", np.array(1e-50)),
        (losses.log_iou_loss, "floor", np.float64(0)),
        (losses.alpha_iou_loss, "alpha", jnp.float32(-1)),
        (losses.inner_iou_loss, "ratio", np.float32(0)),
        (losses.siou_loss, "theta", jnp.int32(0)),
        (losses.shape_iou_loss, "scale", -2),
        (losses.focaler_iou_loss, "lower", jnp.float32(0.97)),
        (losses.smooth_l1_loss, "beta", True),
    ],
)
def test_an_option_of_all_pairs_is_refused_as_in_a_call(alike, option, value):
    box = jnp.float32(cases.random_boxes(2, seed=44))
    for call in (
        lambda: alike(box, box, **{option: value}),
        lambda: similarity.pairwise(functools.partial(alike, **{option: value}))(box, box),
    ):
        with pytest.raises((TypeError, ValueError), match=f"`{option}` "):
            call()


def test_a_matrix_of_somebodys_function_is_made_of_what_it_is_now():
    factor = [1.0]

    def cost(a, b):
        return factor[0] * similarity.giou(a, b)

    box = jnp.float32(cases.random_boxes(3, seed=45))
    once = similarity.pairwise(cost)(box, box)
    factor[0] = 2.0
    np.testing.assert_allclose(similarity.pairwise(cost)(box, box), 2 * once, rtol=1e-6)


def test_a_masked_matrix_keeps_its_dtype():
    box, keep = jnp.float32(cases.random_boxes(3, seed=46)), (np.ones(3, bool), None)
    overlaps = similarity.pairwise(lambda a, b: similarity.iou(a, b) > 0.5)
    assert overlaps(box, box, where=keep).dtype == bool


def test_the_sets_of_a_matrix_may_be_intervals_and_their_options_arrays():
    a, b = (np.float32(cases.random_boxes(count, seed=count, n=1)) for count in (3, 4))
    matrix = similarity.pairwise(similarity.diou)(boxes.Intervals(a), boxes.Intervals(b))
    pairs = boxes.Intervals(a[:, None]), boxes.Intervals(b[None])
    np.testing.assert_allclose(matrix, similarity.diou(*pairs), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"write `boxes.Intervals\(a\)`"):
        similarity.pairwise(similarity.diou)(a, b)
    constant = functools.partial(losses.nwd_loss, constant=jnp.float32(3))
    known = functools.partial(losses.nwd_loss, constant=3.0)
    four = jnp.float32(cases.random_boxes(4, seed=1))
    np.testing.assert_allclose(
        similarity.pairwise(constant)(four, four), similarity.pairwise(known)(four, four), rtol=1e-6
    )
    with pytest.raises(ValueError, match=r"`constant` is -1.0"):
        similarity.pairwise(functools.partial(losses.nwd_loss, constant=-1.0))(four, four)


@pytest.mark.parametrize(("a", "b"), [((4,), (3, 4)), ((3, 4), (4,)), ((2, 3, 4), (5, 3, 4))])
def test_pairwise_refuses_what_are_not_two_sets(a, b):
    with pytest.raises(ValueError, match="but sets of boxes are") as caught:
        similarity.pairwise(similarity.iou)(jnp.zeros(a), jnp.zeros(b))
    assert f"Got `a` of shape {a} and `b` of shape {b}" in str(caught.value)


@every_similarity
def test_equal_boxes_have_1_and_no_pair_has_more(name):
    a, b = (jnp.float32(x) for x in cases.stacked(cases.AWKWARD))
    alike = jax.jit(similarity_of(name))
    assert jnp.all(alike(a, b) <= 1 + 1e-6)
    upright = jnp.all(a[:, 2:] >= a[:, :2], axis=-1)
    np.testing.assert_array_equal(alike(a, a)[upright], 1)


@pytest.mark.parametrize("name", ["ioa", "iou"])  # the losses cover the others
def test_value_and_gradients_are_finite_everywhere(name):
    pairs = map(np.float32, cases.stacked(cases.AWKWARD))
    value, gradients = jax.jit(jax.vmap(jax.value_and_grad(similarity_of(name), (0, 1))))(*pairs)
    assert np.all(np.isfinite(value))
    assert np.all(np.isfinite(gradients))


@every_similarity
def test_what_is_no_box_is_refused(name):
    with pytest.raises(ValueError, match=r"`b` has shape \(5,\), but a box is"):
        similarity_of(name)(jnp.zeros(4), jnp.zeros(5))
    with pytest.raises(TypeError, match="`a` has dtype int32"):
        similarity_of(name)(jnp.zeros(4, int), jnp.zeros(4))


def test_ciou_needs_a_plane_and_takes_neither_intervals_nor_solids():
    for a, b, of in ((jnp.zeros(6), jnp.zeros(6), "a"), (jnp.zeros(4), jnp.zeros(2), "b")):
        with pytest.raises(ValueError, match=f"`{of}` has shape .*, but this takes boxes in the plane"):
            similarity.ciou(a, b)


def test_a_constant_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="but it must"):
        similarity.nwd(jnp.zeros(4), jnp.zeros(4), constant=0.0)


def test_ioa_is_the_covered_share_of_the_first_box():
    crowd, box = jnp.array([0.0, 0, 100, 100]), jnp.array([90.0, 0, 110, 10])
    assert similarity.ioa(box, crowd) == 0.5
    np.testing.assert_allclose(similarity.ioa(crowd, box), 0.01, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("equal points", (1, 1, 1, 1)),
        ("equal segments", (1, 1, 1, 1)),
        ("points apart", (0, -1, -1, -1)),
        ("segments on one line", (0, -1, 0, 0)),
        ("zero width inside", (0, 0, None, None)),
        ("target of zero area", (0, None, None, None)),
    ],
)
def test_empty_boxes_have_the_limits_that_were_decided(kind, expected):
    a, b = (jnp.float32(x) for x in cases.AWKWARD[kind])
    for alike, value in zip((similarity.iou, similarity.giou, similarity.diou, similarity.ciou), expected, strict=True):
        if value is not None:
            np.testing.assert_allclose(alike(a, b), value, atol=0.01)
