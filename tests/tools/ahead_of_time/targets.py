"""The devices that are compiled for, none of which is needed."""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

# What has to be set before JAX is imported: it looks for no device, and libtpu for none either.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # by two processes at once
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
TPUS = {"v5e": "v5e:2x2", "v6e": "v6e:2x2", "v5p": "v5p:2x2x1"}
CUDA = "h100"
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: 3352320000000 l2_cache_size: 52428800
  clock_rate_ghz: 1.98 device_memory_size: 84942979072 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 minor: 0 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 patch: 0 }
runtime_version { major: 12 minor: 9 patch: 0 } device_description_str: "NVIDIA H100 80GB HBM3"
"""


@functools.cache
def device_of(target: str) -> Any:
    """The first device of a target."""
    if target in TPUS:
        return topologies.get_topology_desc(TPUS[target], platform="tpu").devices[0]
    assembler = pathlib.Path(jax.__file__).parents[1] / "nvidia" / "cuda_nvcc" / "bin"
    os.environ["PATH"] = f"{assembler}{os.pathsep}{os.environ['PATH']}"
    return topologies.get_topology_desc(CUDA, platform="cuda", target_config=H100, topology="1x1x1").devices[0]


def compiled(target: str, function: Callable[..., Any], arguments: list[jax.ShapeDtypeStruct]) -> str:
    """The optimized program of a function for a target, as text."""
    place = SingleDeviceSharding(device_of(target))
    placed = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place) for x in arguments]
    platform = "tpu" if target in TPUS else "cuda"
    text = jax.jit(function).trace(*placed).lower(lowering_platforms=(platform,)).compile().as_text()
    return text or ""
