"""Mutants that no test can kill, since they are no errors: what changes, and why nothing follows from it.

The key is the file, the function, and the changed lines before and after, all as the report prints them.
"""

EQUIVALENT: dict[tuple[str, str, str, str], str] = {
    (
        "jaxbox/numerics.py",
        "_power_jvp",
        "return value, slope * dx + value * jnp.log(jnp.where(x <= 0, 1, x)) * dexponent",
        "return value, slope * dx + value * jnp.log(jnp.where(x <= 0, 2, x)) * dexponent",
    ): "where x is 0 the value is 0, so any finite logarithm does",
}
