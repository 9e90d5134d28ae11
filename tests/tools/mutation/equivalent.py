"""Mutants that no test can kill, since they are no errors: what changes, and why nothing follows from it.

The key is the function and the change, as the report prints them.
"""

EQUIVALENT: dict[tuple[str, str], str] = {
    ("_power_jvp", "1 -> 2, 2 of 2"): "where x is 0 the value is 0, so any finite logarithm does",
    ("_angle_between", "1 -> 2"): "the angle of (2, 0) is that of (1, 0)",
    ("power", "<= -> <"): "a power of 2 or more is 0 at 0, and so is its slope",
    (
        "distribution_focal_loss",
        "0 -> 1, 1 of 7",
    ): "masked logits are replaced again after the formula, so any finite number does",
    (
        "distribution_focal_loss",
        "0 -> 1, 2 of 7",
    ): "masked targets are replaced again after the formula, so any finite number does",
    (
        "_power",
        "<= -> <, 2 of 2",
    ): "the outer choice replaces what is there at 0, and has a rule of its own for derivatives",
    ("_power", "1 -> 2"): "the outer choice replaces what is there at 0, and has a rule of its own for derivatives",
    ("_log_cosh", "< -> <="): "both forms hold at 1",
    (
        "_compare_in_chunks_jvp.one_by_one",
        "pad mode= left out",
    ): "the derivatives of these rows are counted 0 times, and those of a row of zeros are finite as well",
}
