"""How tests start a process with devices of its own."""

import os

QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"  # to compile, not to run


def host_devices(count):
    """The environment of a process on so many devices."""
    return os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count} {QUICK}", "JAX_PLATFORMS": "cpu"}
