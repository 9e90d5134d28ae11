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

from jaxbox import losses, reductions, similarity
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


@pytest.mark.parametrize("alike", [similarity.iou, similarity.giou, similarity.ciou])
def test_a_matrix_of_pairs_is_one_kernel_without_temporary_memory(alike):
    program = compiled(similarity.pairwise(alike), *[jax.ShapeDtypeStruct((1000, 4), jnp.float32)] * 2)
    assert len(fusions(program)) == 1
    assert numbers_a_box(program) == 0


@pytest.mark.parametrize(("rows", "columns"), [(1000, 1000), (8400, 100), (20_000, 500)])
def test_the_gradients_of_many_pairs_keep_less_than_two_numbers_a_pair(rows, columns):
    a, b, weights = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((rows, 4), (columns, 4), (rows, columns)))

    def total(a, b, weights):
        return jnp.sum(weights * similarity.pairwise(similarity.giou)(a, b))

    assert numbers_a_box(compiled(jax.grad(total, (0, 1)), a, b, weights), rows * columns) < 2
