"""Matching: exact against scipy, on both forms, by every transform; thresholds against plain loops."""

import functools
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from scipy import optimize

from jaxbox import matching
from jaxbox._assignment import in_step, one_by_one, sides
from jaxbox.numerics import batches
from tests.assignments import assert_every_kind_is_optimal, assert_optimal
from tests.devices import host_devices

FORMS = {"one by one": one_by_one.solve, "in step": in_step.solve}
SHAPES = [(1, 6), (8, 8), (30, 12), (12, 30)]


@functools.partial(jax.jit, static_argnums=0)
def matched(form, costs, row_where=None, column_where=None):
    return sides._match(FORMS[form], costs, row_where, column_where)


@pytest.mark.parametrize("masked", ["neither", "rows", "columns", "both"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_the_assignment_is_optimal_whatever_the_costs_and_the_masks(form, shape, masked):
    assert_every_kind_is_optimal(functools.partial(matched, form), shape, masked, seeds=range(3))


@pytest.mark.parametrize("form", FORMS)
def test_trained_queries_and_first_steps_are_matched_at_their_real_size(form):
    rng = np.random.default_rng(0)
    alike = rng.uniform(size=(3, 1, 50)) + 0.05 * rng.normal(size=(3, 300, 50))
    trained = rng.uniform(1, 9, size=(3, 300, 50))
    for problem, rows in zip(trained, rng.permuted(np.tile(np.arange(300), (3, 1)), axis=1)[:, :50], strict=True):
        problem[rows, np.arange(50)] -= 8
    costs = np.float32(np.concatenate([alike, trained, rng.uniform(size=(3, 300, 50))]))
    columns = rng.uniform(size=(9, 50)) < 0.7
    found = matched(form, np.where(columns[:, None], costs, np.nan), None, columns)
    for number in range(9):
        assert_optimal(costs[number], None, columns[number], *(np.asarray(side[number]) for side in found), number)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("form", FORMS)
def test_double_precision_is_kept(form):
    rng = np.random.default_rng(0)
    costs = 1 + 1e-10 * rng.uniform(size=(4, 20, 10))
    column_of_row, _ = matched(form, costs)
    for problem, columns in zip(costs, np.asarray(column_of_row), strict=True):
        rows = np.flatnonzero(columns < 10)
        best = problem[optimize.linear_sum_assignment(problem)].sum()
        assert abs(problem[rows, columns[rows]].sum() - best) < 1e-14


@pytest.mark.usefixtures("x64")
def test_costs_far_apart_in_double_precision_do_not_overflow():
    costs = np.array([[1e307, -1e307], [0.0, 1e300]])
    assert matching.linear_assignment(costs).column_of_row.tolist() == [1, 0]


def random_batch(*leading, rows=20, columns=12, seed=0):
    rng = np.random.default_rng(seed)
    costs = np.float32(rng.uniform(size=(*leading, rows, columns)))
    where = rng.uniform(size=(*leading, columns)) < 0.6
    return np.where(where[..., None, :], costs, np.float32(np.nan)), where


def assert_same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_vmap_and_leading_axes_are_the_same_and_each_problem_is_its_own():
    costs, where = random_batch(3, 4)
    wanted = matching.linear_assignment(costs, column_where=where)

    def match(costs, where):
        return matching.linear_assignment(costs, column_where=where)

    assert_same(jax.vmap(match)(costs, where), wanted)
    assert_same(jax.jit(jax.vmap(jax.vmap(match)))(costs, where), wanted)
    assert_same(jax.vmap(match, in_axes=(1, 1), out_axes=1)(costs, where), wanted)
    assert_same(jax.vmap(match, in_axes=(0, None))(costs, where[0]), match(costs, where[:1]))
    for layer in range(3):
        for image in range(4):
            assert_same(match(costs[layer, image], where[layer, image]), [side[layer, image] for side in wanted])


@pytest.mark.parametrize("form", FORMS)
def test_vmap_of_square_problems_ends(form):
    costs = np.float32(np.random.default_rng(0).uniform(size=(8, 12, 12)))
    alone = jax.jit(jax.vmap(lambda costs: matched(form, costs[None])))
    found = alone(costs)
    for number in range(8):
        assert_optimal(costs[number], None, None, *(np.asarray(side[number, 0]) for side in found), number)


def test_masks_of_images_go_with_costs_of_layers():
    costs, where = random_batch(3, 4)
    wanted = matching.linear_assignment(costs, column_where=np.broadcast_to(where[0], where.shape))
    assert_same(matching.linear_assignment(costs, column_where=where[0]), wanted)
    rows = np.arange(20) % 3 > 0
    both = matching.linear_assignment(costs, row_where=rows, column_where=where[0])
    assert np.all(np.asarray(both.column_of_row)[..., ~rows] == 12)
    assert_same(both, matching.linear_assignment(costs, row_where=rows[None, None], column_where=where[:1]))


def test_nothing_to_match_is_nobody():
    for shape in [(2, 0, 5), (2, 5, 0), (0, 4, 3), (2, 0, 0)]:
        found = matching.linear_assignment(np.zeros(shape, np.float32))
        np.testing.assert_array_equal(found.column_of_row, np.full(shape[:2], shape[2]))
        np.testing.assert_array_equal(found.row_of_column, np.full((shape[0], shape[2]), shape[1]))
    found = matching.linear_assignment(np.ones((4, 3), np.float32), column_where=np.zeros(3, bool))
    assert_same(found, [[3] * 4, [4] * 3])


def test_what_is_masked_changes_nothing_and_permuted_slots_give_the_permuted_answer():
    costs, where = random_batch(6)
    wanted = matching.linear_assignment(costs, column_where=where)
    for padding in (0.0, -1e30, np.inf, -np.inf):
        filled = np.where(where[:, None], costs, np.float32(padding))
        assert_same(matching.linear_assignment(filled, column_where=where), wanted)
    order = np.random.default_rng(1).permutation(12)
    permuted = matching.linear_assignment(costs[..., order], column_where=where[:, order])
    np.testing.assert_array_equal(permuted.row_of_column, wanted.row_of_column[:, order])
    np.testing.assert_array_equal(np.append(order, 12)[np.asarray(permuted.column_of_row)], wanted.column_of_row)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_costs_in_half_precision_are_matched_as_the_numbers_that_they_are(dtype):
    costs, where = random_batch(6)
    half = jnp.asarray(costs, dtype)
    wanted = matching.linear_assignment(half.astype(jnp.float32), column_where=where)
    assert_same(matching.linear_assignment(half, column_where=where), wanted)


def test_the_costs_are_held_constant():
    costs, where = random_batch(2)

    def loss(costs):
        slots = matching.linear_assignment(costs, column_where=where).column_of_row
        return jnp.sum(matching.take(jnp.nan_to_num(costs[..., 0, :]), slots))

    gradient = jax.jit(jax.grad(loss))(costs)
    slots = np.asarray(matching.linear_assignment(costs, column_where=where).column_of_row)
    wanted = np.zeros_like(costs)
    for image in range(2):
        np.add.at(wanted[image, 0], slots[image][slots[image] < 12], 1)
    np.testing.assert_array_equal(gradient, wanted)
    jax.jvp(lambda costs: matching.linear_assignment(costs).column_of_row, (costs,), (costs,))
    jax.hessian(lambda x: jnp.sum(x**2) * jnp.mean(matching.linear_assignment(x[:, None] * x[None]).column_of_row))(
        jnp.ones(3)
    )


def test_one_program_serves_every_number_of_targets():
    traces = []

    @jax.jit
    def match(costs, where):
        traces.append(costs.shape)
        return matching.linear_assignment(costs, column_where=where)

    costs, _ = random_batch(2)
    for count in (0, 1, 7, 12):
        match(costs, np.broadcast_to(np.arange(12) < count, (2, 12)))
    assert len(traces) == 1


def test_the_costs_are_not_copied():
    shape = jax.ShapeDtypeStruct((64, 300, 50), jnp.float32), jax.ShapeDtypeStruct((64, 50), jnp.bool_)
    match = jax.jit(lambda costs, where: matching.linear_assignment(costs, column_where=where))
    memory = match.lower(*shape).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 64 * 300 * 50 * 4 / 3


@pytest.fixture(scope="module")
def spread():
    script = [sys.executable, "-W", "error", "-m", "tests.spread_matching"]
    output = subprocess.run(script, env=host_devices(8), check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)


@pytest.mark.parametrize("way", ["jit", "explicit mesh", "shard_map", "shard_map, check_vma=False", "pmap", "vmap"])
def test_each_device_matches_its_own_images_and_nothing_crosses(spread, way):
    if way not in spread:
        pytest.skip("this version of JAX loses explicit axes in a gather")
    assert not spread[way]["differs"]
    assert spread[way]["collectives"] == []
    if jax.__version_info__ >= batches.KERNELS_SINCE:  # under a mesh alone a kernel is refused
        has_kernel = way not in ("jit", "vmap", "pmap")
        assert spread[way]["kernels for a TPU"] == has_kernel


# Slots.


def scenes(count=30, rows=40, columns=9):
    """Overlaps of anchors with targets, padded anywhere with NaN; some targets overlap nothing, some tie."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        overlaps = np.maximum(rng.uniform(-0.5, 1, (rows, columns)), 0)
        overlaps = np.round(overlaps, 1 if seed % 2 else 7)
        overlaps[:, rng.uniform(size=columns) < 0.2] = 0
        column_where = rng.uniform(size=columns) < (0.7 if seed % 5 else 0)
        row_where = rng.uniform(size=rows) < 0.9
        overlaps[:, ~column_where] = np.nan
        overlaps[~row_where] = np.nan
        yield np.float32(overlaps), row_where, column_where


def by_loop(overlaps, row_where, column_where, low, high):
    """Torchvision's matcher in words: thresholds, and every target keeps its best anchors."""
    rows, columns = overlaps.shape
    slots, ignored, rescued = np.full(rows, columns), np.zeros(rows, bool), np.full(rows, columns)
    real = np.flatnonzero(column_where)
    best_of_column = {column: np.nanmax(overlaps[row_where][:, column], initial=0) for column in real}
    for row in np.flatnonzero(row_where):
        if not len(real):
            continue
        best = real[np.argmax(overlaps[row, real])]
        if overlaps[row, best] >= np.float32(high):
            slots[row] = best
        elif overlaps[row, best] >= np.float32(low):
            ignored[row] = True
        rescued[row] = slots[row]
        if any(overlaps[row, column] == best_of_column[column] > 0 for column in real):
            rescued[row] = best
    return slots, ignored, rescued


def test_thresholds_and_rescue_are_those_of_a_loop():
    for overlaps, row_where, column_where in scenes():
        masks = {"row_where": row_where, "column_where": column_where}
        wanted, wanted_ignored, wanted_rescued = by_loop(overlaps, row_where, column_where, 0.4, 0.7)
        slots, ignored = matching.threshold_assignment(overlaps, low=0.4, high=0.7, **masks)
        np.testing.assert_array_equal(slots, wanted)
        np.testing.assert_array_equal(ignored, wanted_ignored)
        np.testing.assert_array_equal(matching.rescue_targets(slots, overlaps, **masks), wanted_rescued)


def test_thresholds_of_a_batch_are_those_of_its_images():
    batch = [np.stack(arrays) for arrays in zip(*scenes(6), strict=True)]
    masks = {"row_where": batch[1], "column_where": batch[2]}
    slots, ignored = matching.threshold_assignment(batch[0], low=0.4, high=0.7, **masks)
    rescued = matching.rescue_targets(slots, batch[0], **masks)
    for number, (overlaps, row_where, column_where) in enumerate(scenes(6)):
        wanted = by_loop(overlaps, row_where, column_where, 0.4, 0.7)
        assert_same([slots[number], ignored[number], rescued[number]], wanted)


def test_a_target_that_overlaps_nothing_rescues_nothing():
    overlaps = np.float32([[0.0, 0.6], [0.0, 0.1], [0.0, 0.0]])
    slots, _ = matching.threshold_assignment(overlaps, low=0.4, high=0.7)
    assert matching.rescue_targets(slots, overlaps).tolist() == [1, 2, 2]


def test_without_targets_nothing_is_assigned_or_ignored():
    slots, ignored = matching.threshold_assignment(np.zeros((3, 0), np.float32), low=0.4, high=0.5)
    assert_same([slots, ignored], [[0, 0, 0], [False] * 3])
    assert matching.rescue_targets(slots, np.zeros((3, 0), np.float32)).tolist() == [0, 0, 0]


def test_the_majority_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    slots = rng.integers(0, 5, (6, 2, 40))
    wanted = np.full((2, 40), 4)
    for image, query in np.ndindex(2, 40):
        votes = [slot for slot in slots[:, image, query] if slot < 4]
        if votes:
            wanted[image, query] = max(votes, key=lambda slot: (votes.count(slot), -votes.index(slot)))
    np.testing.assert_array_equal(matching.majority(slots, columns=4), wanted)
    assert matching.majority(np.array([[2, 2], [0, 2], [1, 2]]), columns=2).tolist() == [0, 2]


def test_take_is_indexing_with_a_value_for_none():
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(2, 5, 4)).astype(np.float32), rng.integers(0, 9, (2, 5))
    values[:, 3] = np.nan
    slots = np.array([[0, 5, 2, 4], [5, 1, 1, 0]])
    for layers, tails in ((slots, ({}, {})), (np.stack([slots, slots[::-1], slots]), ({"tail": 1}, {"tail": 0}))):
        goals = matching.take(values, layers, **tails[0])
        kinds = matching.take(labels, layers, fill=-1, **tails[1])
        for place in np.ndindex(layers.shape):
            slot, image = layers[place], place[-2]
            np.testing.assert_array_equal(goals[place], values[image, slot] if slot < 5 else np.zeros(4))
            assert kinds[place] == (labels[image, slot] if slot < 5 else -1)
    assert matching.take(labels, slots).dtype == jnp.int32
    assert matching.take(values > 0, slots).dtype == bool


def test_take_has_the_gradient_of_indexing_and_none_for_none():
    values = np.float32([[1, 2], [np.nan, np.nan], [5, 6]])
    gradient = jax.grad(lambda values: jnp.sum(matching.take(values, np.array([2, 3, 2, 0])) ** 2))(values)
    np.testing.assert_array_equal(gradient, [[2, 4], [0, 0], [20, 24]])


def test_scores_of_queries_can_be_taken_for_each_target():
    costs, where = random_batch(2)
    rows = matching.linear_assignment(costs, column_where=where).row_of_column
    queries = np.tile(np.arange(20), (2, 1))
    np.testing.assert_array_equal(matching.take(queries, rows, fill=20), rows)


# Errors.

COSTS = np.zeros((2, 4, 3), np.float32)
ERRORS = [
    (lambda: matching.linear_assignment(COSTS.astype(int)), "`costs` has dtype int64, but it is of floating point. "
     "Write `costs.astype(jnp.float32)`."),
    (lambda: matching.linear_assignment(COSTS > 0), "`costs` has dtype bool, but it is of floating point. Write "
     "`costs.astype(jnp.float32)`."),
    (lambda: matching.linear_assignment(COSTS[0, 0]), "`costs` has shape (3,), but it is `[..., N, M]`: a row for each "
     "prediction, a column for each target. For one prediction write `costs[None]`."),
    (lambda: matching.linear_assignment(COSTS, column_where=np.ones((2, 4), bool)), "`column_where` has shape (2, 4), "
     "but there is one value a column, (2, 3); axes at the front may be missing or of length 1. Write "
     "`row_where=column_where`."),
    (lambda: matching.linear_assignment(COSTS, column_where=np.ones((2, 4, 3), bool)), "`column_where` has shape "
     "(2, 4, 3), but there is one value a column, (2, 3); axes at the front may be missing or of length 1. If it is "
     "one of pairs, write `jnp.where(column_where, costs, jnp.inf)` for the costs."),
    (lambda: matching.linear_assignment(COSTS, row_where=np.ones((5, 2, 4), bool)), "`row_where` has shape (5, 2, 4), "
     "but there is one value a row, (2, 4); axes at the front may be missing or of length 1. Write "
     "`jnp.broadcast_to(costs, (5, 2, 4, 3))`."),
    (lambda: matching.linear_assignment(COSTS, column_where=np.ones((2, 3))), "`column_where` has dtype float64, but a "
     "mask is boolean. Write `column_where != 0`; weights go into `reductions.weighted_mean`."),
    (lambda: matching.threshold_assignment(COSTS, low=0.6, high=0.5), "`low` is 0.6, but it is at most `high`, which "
     "is 0.5: what is below `low` answers for no target, and what is between is ignored. Write `low=high` if nothing "
     "is."),
    (lambda: matching.rescue_targets(np.zeros((2, 4)), COSTS), "`slots` has dtype float64, but slots are whole "
     "numbers, M of M slots for none. Write `slots.astype(jnp.int32)`."),
    (lambda: matching.majority(np.zeros(4, int), columns=3), "`slots` has shape (4,), but it is `[sets, ..., N]`, with "
     "one set at least. Write `slots[None]` for one."),
    (lambda: matching.majority(np.zeros((1, 4), int), columns=True), "`columns` is True, but it is a number of "
     "slots. Write `columns=targets.shape[-2]`."),
    (lambda: matching.take(np.zeros((2, 5, 4)), np.zeros((6, 2, 9), int)), "Got `values` of shape (2, 5, 4) and "
     "`slots` of shape (6, 2, 9), whose leading axes differ, so that it is not known which axis is that of the slots. "
     "Write `tail=1` for values `[..., M, k]`, such as boxes, or `tail=0` for values `[..., M]`, such as labels."),
    (lambda: matching.take(np.zeros((3, 5, 4)), np.zeros((6, 2, 9), int), tail=1), "Got `values` of shape (3, 5, 4) "
     "and `slots` of shape (6, 2, 9), but the leading axes (3,) of the values do not broadcast to (6, 2) of the "
     "slots."),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_a_wrong_call_is_told_what_to_write(call, message):
    with pytest.raises((TypeError, ValueError)) as raised:
        call()
    assert str(raised.value) == message


def test_the_matching_step_of_a_detector_in_plain_words_gives_the_pairs_of_a_host_loop():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 30, 6)).astype(np.float32)
    centers, sides_ = rng.uniform(0.2, 0.8, (2, 3, 30, 2)), rng.uniform(0.05, 0.3, (2, 3, 30, 2))
    predictions = np.float32(np.concatenate([centers, sides_], axis=-1))
    targets = np.float32(np.concatenate([rng.uniform(0.2, 0.8, (3, 8, 2)), rng.uniform(0.05, 0.3, (3, 8, 2))], axis=-1))
    labels, where = rng.integers(0, 6, (3, 8)), rng.uniform(size=(3, 8)) < 0.6
    targets[~where], labels[~where] = np.nan, 99

    @jax.jit
    def match(logits, predictions, targets, labels, where):
        kinds = jnp.clip(labels, 0, 5)[None, :, None]
        of_class = jnp.take_along_axis(jax.nn.softmax(logits), jnp.broadcast_to(kinds, (2, 3, 30, 8)), axis=-1)
        distance = jnp.sum(jnp.abs(predictions[..., None, :] - targets[None, :, None]), axis=-1)
        return matching.linear_assignment(5 * distance - of_class, column_where=where)

    found = match(logits, predictions, targets, labels, where)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for layer, image in np.ndindex(2, 3):
        real = np.flatnonzero(where[image])
        costs = 5 * np.abs(predictions[layer, image, :, None] - targets[image, real]).sum(-1)
        costs -= probabilities[layer, image][:, labels[image, real]]
        rows, columns = optimize.linear_sum_assignment(costs)
        wanted = np.full(30, 8)
        wanted[rows] = real[columns]
        np.testing.assert_array_equal(found.column_of_row[layer, image], wanted)
    assert lax.stop_gradient(found.row_of_column).dtype == jnp.int32
