"""What XLA makes of the library on CPU: the causes of its speed, since a time is no test.

Each test says which behaviour of XLA it guards, which differs from version to version. So they run only with the
versions of jaxlib in `MEASURED`. To add one, run `tests.tools.benchmarks` with it, count, and write the numbers down.
"""

import functools
import re

import jax
import jax.numpy as jnp
import jaxlib.version
import pytest

from jaxbox import assigners, losses, reductions, similarity, suppression
from tests.table import LOSSES

# By version of jaxlib, for each loss: its kernels and temporary numbers a box, then those of value and gradient of its
# mean.
LIKE_0_10 = {
    "iou": (1, 0, 6, 3),
    "giou": (1, 0, 8, 5),
    "diou": (1, 0, 8, 5),
    "ciou": (1, 0, 11, 6),
    "eiou": (1, 0, 14, 9),
}
MEASURED = {"0.10.2": LIKE_0_10, "0.12.0.1": LIKE_0_10}
HERE = MEASURED.get(jaxlib.version.__version__, {})

pytestmark = [
    pytest.mark.skipif(jax.default_backend() != "cpu", reason="other backends fuse differently"),
    pytest.mark.skipif(
        not HERE,
        reason=f"kernels were counted with jaxlib {' and '.join(MEASURED)}, not with {jaxlib.version.__version__}",
    ),
]

COUNT = 10_000
TURNED = jax.ShapeDtypeStruct((COUNT, 5), jnp.float32)
BOXES = jax.ShapeDtypeStruct((COUNT, 4), jnp.float32)


def compiled(function, *arguments):
    return jax.jit(function).lower(*arguments).compile()


def fusions(program):
    """The kernels that the entry computation of a program starts."""
    return re.findall(r"= \S+ fusion\(", program.as_text().split("\nENTRY")[1])


def numbers_a_box(program, boxes=COUNT):
    return program.memory_analysis().temp_size_in_bytes / 4 / boxes


@functools.cache
def value_and_grad(name):
    loss = getattr(losses, f"{name}_loss")
    return compiled(jax.value_and_grad(lambda p, t: jnp.mean(loss(p, t))), BOXES, BOXES)


@pytest.mark.parametrize("name", MEASURED["0.10.2"])
def test_a_loss_takes_the_kernels_and_the_memory_that_were_measured(name):
    program = compiled(getattr(losses, f"{name}_loss"), BOXES, BOXES)
    kernels, numbers, _, _ = HERE[name]
    assert 0 < len(fusions(program)) <= kernels
    assert numbers_a_box(program) <= numbers


@pytest.mark.parametrize("name", ["rotated_iou", "rotated_diou", "rotated_mgiou", "gwd", "bhattacharyya", "probiou"])
def test_the_values_of_a_loss_of_turned_boxes_are_one_kernel(name):
    # A number that is settled for slopes, or a unit that is divided by, has a kernel of its own: `numerics.in_unit`.
    program = compiled(getattr(losses, f"{name}_loss"), TURNED, TURNED)
    assert len(fusions(program)) == 1
    assert numbers_a_box(program) == 0


@pytest.mark.parametrize("name", ["rotated_iou", "rotated_mgiou", "gwd", "bhattacharyya", "probiou"])
def test_the_gradients_of_many_turned_boxes_take_few_numbers_a_box(name):
    # What kernels hand each other, 20 to 60 numbers a box, is new memory at each call: `numerics.in_chunks`.
    count = 2**20
    many = jax.ShapeDtypeStruct((count, 5), jnp.float32)
    loss = getattr(losses, f"{name}_loss")
    program = compiled(jax.value_and_grad(lambda p, t: jnp.mean(loss(p, t))), many, many)
    assert numbers_a_box(program, count) < 12


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        *((row, jnp.mean) for row in LOSSES),
        (lambda p, t: losses.uncertain_l1_loss(p, p, t), jnp.mean),
        (lambda p, t: 1 - similarity.giou(p, t), reductions.weighted_mean),
    ],
    ids=[*(row.name for row in LOSSES), "uncertain_l1_loss", "weighted_mean"],
)
def test_a_mean_starts_after_the_loss_is_complete(values, mean):
    # XLA would take the operations before a sum into the kernel of the sum, a box at a time: `numerics.fusion_barrier`.
    program = compiled(lambda p, t: mean(values(p, t)), BOXES, BOXES)
    sums = [part for part in re.split(r"\n(?=%|ENTRY)", program.as_text()) if re.search(r"\breduce\(", part)]
    assert len(sums) == 1
    assert not re.search(r"\b(subtract|divide|maximum|slice)\(", sums[0])
    assert numbers_a_box(program) < numbers_a_box(compiled(values, BOXES, BOXES)) + 2


@pytest.mark.parametrize("name", MEASURED["0.10.2"])
def test_a_gradient_takes_few_kernels_and_little_memory(name):
    # A quotient gets a kernel of its own, and the derivative of jnp.maximum divides: `numerics.maximum`.
    _, _, kernels, numbers = HERE[name]
    assert len(fusions(value_and_grad(name))) <= kernels
    assert numbers_a_box(value_and_grad(name)) < numbers + 0.1


@pytest.mark.parametrize("name", ["iou", "giou", "diou", "ciou"])
def test_the_gradients_of_the_coordinates_are_chosen_in_one_loop(name):
    # The transpose of a slice pads, that of a split concatenates: a loop for every coordinate. `numerics.coordinates`.
    operations = set(re.findall(r"= \S+ ([\w-]+)\(", value_and_grad(name).as_text()))
    assert not operations & {"pad", "concatenate"}


def test_an_angle_in_float32_is_a_polynomial():
    # XLA computes arctan2 one number at a time: `numerics.angle_between`.
    assert "atan2" not in str(value_and_grad("ciou").as_text())


@pytest.mark.parametrize("alike", [similarity.iou, similarity.giou, similarity.ciou, similarity.rotated_iou])
def test_a_matrix_of_pairs_is_one_kernel_without_temporary_memory(alike):
    width = 5 if alike is similarity.rotated_iou else 4
    program = compiled(similarity.pairwise(alike), *[jax.ShapeDtypeStruct((1000, width), jnp.float32)] * 2)
    assert len(fusions(program)) == 1
    assert numbers_a_box(program) == 0


@pytest.mark.parametrize(("rows", "columns"), [(1000, 1000), (8400, 100), (20_000, 500)])
def test_the_gradients_of_many_pairs_keep_less_than_two_numbers_a_pair(rows, columns):
    a, b, weights = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((rows, 4), (columns, 4), (rows, columns)))

    def total(a, b, weights):
        return jnp.sum(weights * similarity.pairwise(similarity.giou)(a, b))

    assert numbers_a_box(compiled(jax.grad(total, (0, 1)), a, b, weights), rows * columns) < 2


@pytest.mark.parametrize("assign", [assigners.task_aligned, assigners.task_aligned_tood, assigners.sim_ota])
def test_the_overlaps_of_an_assignment_are_computed_once(assign):
    # Else each kernel that uses one computes it again: the complete IoU of YOLOv8 took as long as all the rest.
    anchors, slots, classes = 500, 20, 8
    scores, angles = (jax.ShapeDtypeStruct((anchors, length), jnp.float32) for length in (classes, slots))
    inside, labels = jax.ShapeDtypeStruct(angles.shape, bool), jax.ShapeDtypeStruct((slots,), jnp.int32)

    def assigned(scores, angles, inside, labels):
        overlaps = jnp.cos(angles)
        if assign is assigners.sim_ota:
            return assign(1 - overlaps, overlaps, inside, inside)
        return assign(scores, overlaps, inside, labels)

    text = compiled(assigned, scores, angles, inside, labels).as_text()
    assert len(re.findall(r"= \S+ cosine\(", text)) == (2 if assign is assigners.sim_ota else 1)


@pytest.mark.parametrize("function", [functools.partial(suppression.nms, threshold=0.5), suppression.soft_nms])
@pytest.mark.parametrize("alike", [similarity.iou, similarity.giou, similarity.ciou])
def test_a_step_of_suppression_has_few_enough_kernels_to_be_run_in_turn(function, alike):
    # XLA schedules more than 8 at run time: `execute_sequential_num_thunks_threshold` in its thunk_executor.h.
    boxes, scores = (jax.ShapeDtypeStruct((1024, *own), jnp.float32) for own in [(4,), ()])
    keep = functools.partial(function, outputs=100, similarity=alike)
    classes = jax.ShapeDtypeStruct((1024,), jnp.int32)
    text = compiled(lambda b, s, c: keep(b, s, classes=c), boxes, scores, classes).as_text()
    step = text.split(f"\n%{re.search(r'body=%([^ ,]+)', text)[1]} (")[1].split("\n}")[0]
    assert 0 < len(re.findall(r" (?:fusion|copy|call)\(", step)) <= 8
