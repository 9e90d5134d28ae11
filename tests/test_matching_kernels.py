"""The kernels of matching: exact as XLA runs them on a CPU, and chosen for the platforms that they are made for."""

import functools
import re
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxbox import matching
from jaxbox._assignment import mosaic, sides, triton
from jaxbox.numerics import batches
from tests.assignments import assert_every_kind_is_optimal, assert_optimal

if jax.__version_info__ < batches.KERNELS_SINCE:
    pytest.skip("kernels are for later versions of JAX", allow_module_level=True)

KERNELS = {"triton": triton.solve, "mosaic": mosaic.solve}
every_kernel = pytest.mark.parametrize("kernel", KERNELS)
IN_A_PROGRAM = {"cuda": r"@__gpu\$xla\.gpu\.triton|@triton_kernel_call", "tpu": "@tpu_custom_call"}
every_platform = pytest.mark.parametrize("platform", IN_A_PROGRAM)


@functools.partial(jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})
def matched(kernel, costs, row_where=None, column_where=None):
    return sides._match(functools.partial(KERNELS[kernel], interpret=True), costs, row_where, column_where)


@every_kernel
@pytest.mark.parametrize(("shape", "masked"), [((12, 7), "columns"), ((7, 12), "neither"), ((9, 9), "both")])
def test_a_kernel_is_exact_whatever_the_costs_and_the_masks(kernel, shape, masked):
    assert_every_kind_is_optimal(functools.partial(matched, kernel), shape, masked, seeds=range(1))


@every_kernel
def test_a_kernel_reads_costs_in_half_precision_and_serves_more_problems_than_fit_at_once(kernel):
    costs = jnp.asarray(np.random.default_rng(0).uniform(size=(130, 4, 3)), jnp.bfloat16)
    found = matched(kernel, costs)
    for number, problem in enumerate(np.float32(costs)):
        assert_optimal(problem, None, None, *(np.asarray(side[number]) for side in found), number)


def has_kernel(solve, shape, dtype=jnp.float32):
    costs = jax.ShapeDtypeStruct(shape, dtype)
    return "pallas_call" in str(jax.make_jaxpr(lambda costs: sides._match(solve, costs, None, None))(costs))


@every_kernel
@pytest.mark.usefixtures("x64")
def test_a_kernel_solves_what_it_holds_of_a_size_that_is_known_in_single_precision(kernel):
    solve = KERNELS[kernel]
    assert has_kernel(solve, (2, 900, 300))
    assert not has_kernel(solve, (2, 5000, 500))
    assert not has_kernel(solve, (2, 9, 5), jnp.float64)
    assert not has_kernel(solve, export.symbolic_shape("batch, 9, 5"))


def batch(rows=9, columns=5):
    rng = np.random.default_rng(0)
    costs, where = np.float32(rng.uniform(size=(2, 3, rows, columns))), rng.uniform(size=(2, 3, columns)) < 0.7
    return np.where(where[:, :, None], costs, np.float32(np.nan)), where


def match(costs, where):
    return matching.linear_assignment(costs, column_where=where)


def lowered(function, platform, *arguments):
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


def needs_no_device(platform):
    if platform == "cuda" and jax.__version_info__ >= (0, 11):
        pytest.skip("since JAX 0.11 a kernel for a GPU is compiled where one is")


@every_platform
def test_a_platform_has_its_kernel_and_no_loop_of_xla(platform):
    needs_no_device(platform)
    for function in (match, jax.vmap(jax.vmap(match))):
        text = lowered(function, platform, *batch())
        assert len(re.findall(IN_A_PROGRAM[platform], text)) == 1
        assert "stablehlo.while" not in text


@every_platform
def test_a_kernel_warns_of_nothing(platform):  # a warning is an error here, as for some users
    assert "main" in lowered(match, platform, *batch())


def test_where_jax_has_no_triton_a_loop_of_xla_serves(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax.experimental.pallas.triton", None)
    monkeypatch.delattr("jax.experimental.pallas.triton", raising=False)
    assert not has_kernel(triton.solve, (2, 9, 5))


@pytest.mark.parametrize("platform", ["cpu", "rocm"])
def test_other_platforms_have_no_kernel(platform):
    assert not re.search("|".join(IN_A_PROGRAM.values()), lowered(match, platform, *batch()))


@every_platform
def test_costs_of_several_thousand_predictions_have_a_loop_of_xla(platform):
    text = lowered(
        match,
        platform,
        *(jax.ShapeDtypeStruct(s, d) for s, d in [((1, 5000, 600), jnp.float32), ((1, 600), jnp.bool_)]),
    )
    assert not re.search(IN_A_PROGRAM[platform], text)
    assert "stablehlo.while" in text


@pytest.mark.parametrize("function", [match, jax.vmap(match)], ids=["alone", "vmap"])
def test_one_export_serves_all_platforms(function):
    arguments = batch()
    program = export.export(jax.jit(function), platforms=("cpu", "cuda", "tpu"))(*arguments)
    assert re.search(IN_A_PROGRAM["tpu"], program.mlir_module())
    for found, wanted in zip(program.call(*arguments), function(*arguments), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_an_export_for_a_gpu_needs_no_permission():  # which JAX wants for what Triton makes of a kernel
    assert not re.search(
        IN_A_PROGRAM["cuda"], export.export(jax.jit(match), platforms=("cuda",))(*batch()).mlir_module()
    )


def test_gpus_before_ampere_have_no_kernel():
    t4, a100, h100 = (types.SimpleNamespace(compute_capability=capability) for capability in ("7.5", "8.0", "9.0"))
    assert batches._all_have_triton([a100, h100])
    assert not batches._all_have_triton([t4])
    assert batches._all_have_triton([])


def test_without_jit_a_form_is_chosen_too():
    wanted = match(*batch())
    with jax.disable_jit():
        for found, other in zip(match(*batch()), wanted, strict=True):
            np.testing.assert_array_equal(found, other)
