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
    (
        "jaxbox/numerics.py",
        "_angle_between",
        "return jnp.arctan2(across, jnp.where(is_zero(along) & is_zero(across), 1, along))",
        "return jnp.arctan2(across, jnp.where(is_zero(along) & is_zero(across), 2, along))",
    ): "the angle of (2, 0) is that of (1, 0)",
    (
        "jaxbox/numerics.py",
        "power",
        "return lax.integer_pow(jnp.where(x <= 0, 0, x), int(exponent))",
        "return lax.integer_pow(jnp.where(x < 0, 0, x), int(exponent))",
    ): "a power of 2 or more is 0 at 0, and so is its slope",
    (
        "jaxbox/boxes.py",
        "Pair.edge_error",
        "sides = [numerics.absolute(side) for side in self.sides_b] * 2",
        "sides = [jnp.abs(side) for side in self.sides_b] * 2",
    ): "a side of 0 is divided by only where both numbers are 0, which has derivative 0",
    (
        "jaxbox/boxes.py",
        "Pair.larger_sides",
        "return [numerics.maximum(numerics.absolute(side_a), numerics.absolute(side_b)) for side_a, side_b in sides]",
        "return [numerics.maximum(jnp.abs(side_a), numerics.absolute(side_b)) for side_a, side_b in sides]",
    ): "a side of 0 is the larger one only if both are 0, and nothing is divided by 0",
    (
        "jaxbox/boxes.py",
        "Pair.larger_sides",
        "return [numerics.maximum(numerics.absolute(side_a), numerics.absolute(side_b)) for side_a, side_b in sides]",
        "return [numerics.maximum(numerics.absolute(side_a), jnp.abs(side_b)) for side_a, side_b in sides]",
    ): "a side of 0 is the larger one only if both are 0, and nothing is divided by 0",
    (
        "jaxbox/similarity.py",
        "_shape_weights",
        "w, h = (lax.stop_gradient(numerics.absolute(side)) for side in sides)",
        "w, h = (lax.stop_gradient(jnp.abs(side)) for side in sides)",
    ): "the weight is held, so that only its value counts",
    (
        "jaxbox/losses/distributions.py",
        "distribution_focal_loss",
        "logits = jnp.where(jnp.expand_dims(where, -1), logits, 0)",
        "logits = jnp.where(jnp.expand_dims(where, -1), logits, 1)",
    ): "what is masked is replaced again after the formula, so any finite number does",
    (
        "jaxbox/losses/distributions.py",
        "distribution_focal_loss",
        "targets = jnp.where(where, targets, 0)",
        "targets = jnp.where(where, targets, 1)",
    ): "what is masked is replaced again after the formula, so any finite number does",
    (
        "jaxbox/losses/distributions.py",
        "expected_bin",
        "return jnp.sum(jax.nn.softmax(logits, axis=-1) * _bins(logits), axis=-1)",
        "return jnp.sum(jax.nn.softmax(logits) * _bins(logits), axis=-1)",
    ): "the last axis is the default of softmax",
    (
        "jaxbox/numerics.py",
        "_power",
        "return jnp.where(x <= 0, 0, jnp.power(jnp.where(x <= 0, 1, x), exponent))",
        "return jnp.where(x <= 0, 0, jnp.power(jnp.where(x < 0, 1, x), exponent))",
    ): "the outer choice replaces what is there at 0, and has a rule of its own for derivatives",
    (
        "jaxbox/numerics.py",
        "_power",
        "return jnp.where(x <= 0, 0, jnp.power(jnp.where(x <= 0, 1, x), exponent))",
        "return jnp.where(x <= 0, 0, jnp.power(jnp.where(x <= 0, 2, x), exponent))",
    ): "the outer choice replaces what is there at 0, and has a rule of its own for derivatives",
    (
        "jaxbox/numerics.py",
        "_log_cosh",
        "near = size < 1",
        "near = size <= 1",
    ): "both forms hold at 1",
    (
        "jaxbox/numerics.py",
        "_compare_in_chunks_jvp.one_by_one",
        'padded = jnp.pad(a, [(0, rows * chunks - len(a)), (0, 0)], mode="edge").reshape(chunks, rows, -1)',
        "padded = jnp.pad(a, [(0, rows * chunks - len(a)), (0, 0)]).reshape(chunks, rows, -1)",
    ): "the derivatives of these rows are counted 0 times, and those of a row of zeros are finite as well",
}
