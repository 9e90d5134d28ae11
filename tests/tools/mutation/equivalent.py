"""Mutants that no test can kill, since they are no errors: what changes, and why nothing follows from it.

The key is the function and the change, as the report prints them.
"""

EQUIVALENT: dict[tuple[str, str], str] = {
    (
        "_does_not_fit",
        "> -> >=",
    ): "an array with as many axes, each of length 1 or the wanted one, fits, so no message is made of it",
    ("two_masks", "return in reverse, 1 of 2"): "the two are written in the other order, and are the same",
    (
        "_check_counts",
        "if -> if True, 2 of 2",
    ): "a default is a constant of the program, whatever it becomes here",
    ("_check_logits", "if -> if True, 2 of 2"): "a default is a constant of the program, whatever it becomes here",
    ("class_costs", "matmul precision= left out"): "a CPU multiplies in full precision; a TPU and a GPU would not",
    ("_columns", "- left out"): "the last axis of a matrix is 1",
    ("_Array", "if else -> the second"): "what a type checker sees is not what runs",
    ("scale", "0 -> 1, 2 of 2"): "the ends of an axis have one dtype",
    ("_within_reach", "> -> >="): "0 is no number that overflows",
    ("_within_reach", "0 -> 1"): "1 is no number that overflows",
    ("_other_length", "< -> <="): "it is called only where the two differ",
    ("_angle_between", "1 -> 2"): "the angle of (2, 0) is that of (1, 0)",
    ("_each_alone", "eye dtype= left out"): "`where` takes a number that is not 0 for True",
    (
        "_chunk_by_chunk.split",
        "pad mode= left out",
    ): "the derivatives of these rows are counted 0 times, and those of a row of zeros are finite as well",
    ("_divide", "1 -> 2"): "the outer choice replaces what is divided by this number",
    (
        "_power",
        "<= -> <, 2 of 2",
    ): "the outer choice replaces what is there at 0, and has a rule of its own for derivatives",
    ("_power", "1 -> 2"): "the outer choice replaces what is there at 0, and has a rule of its own for derivatives",
    ("_power_jvp", "1 -> 2, 2 of 2"): "where x is 0 the value is 0, so any finite logarithm does",
    ("power", "<= -> <"): "a power of 2 or more is 0 at 0, and so is its slope",
    ("power", "1000.0 -> 1500.0"): "at both bounds the power of every number below 1 is 0, to the last bit",
    ("_log_cosh", "< -> <="): "both forms hold at 1",
    ("", "0.05 -> 0.07500000000000001"): "both forms hold between the two borders, to a few last bits",
    ("", "20 -> 21"): "both forms hold between the two borders",
    ("balanced_integral", "< -> <=, 1 of 3"): "both forms hold at the border",
    ("balanced_integral", "< -> <=, 2 of 3"): "both forms hold at the border",
    ("balanced_integral", "0.001 -> 0.0015"): "at both bounds the limit is reached, to the last bit",
    ("balanced_integral", "if else -> the second"): "terms that float32 does not hold only take time",
    ("balanced_integral", "8 -> 9"): "one term more is below the precision",
    ("balanced_integral", "13 -> 14"): "one term more is below the precision",
    ("balanced_integral", "> -> >="): "both forms hold at the border",
    ("balanced_integral", "< -> <=, 3 of 3"): "both forms hold at the border",
    ("scale", "= left out"): "the checks have made arrays of it; it tells so to a type checker",
    ("_kept", "0 -> 1"): "what is masked is replaced again after the function, so any finite box does",
    ("ioa", "if else -> the second"): "a unit is a power of two, which changes no bit of a ratio",
    ("_masked", "0 -> 1, 1 of 4"): "what is masked has weight 0, so any finite value does",
    ("_masked", "0 -> 1, 4 of 4"): "the weight is 0, so any finite value does",
    ("_check_distribution", "1 -> 2, 5 of 7"): "a target without an axis has no shape that ends in either number",
    (
        "distribution_focal_loss",
        "0 -> 1, 1 of 7",
    ): "masked logits are replaced again after the formula, so any finite number does",
    (
        "distribution_focal_loss",
        "0 -> 1, 2 of 7",
    ): "masked targets are replaced again after the formula, so any finite number does",
    ("distribution_focal_loss", "0 -> 1, 6 of 7"): "the weight is 0, so any finite number does",
    (
        "focal_eiou_loss",
        "power -> jnp.power",
    ): "the weight is held, so that only its value counts, and an IoU is not negative",
    ("focused_wiou_loss", "= left out, 2 of 2"): "the checks have made arrays of it; it tells so to a type checker",
    (
        "focused_wiou_loss",
        "34 -> 35",
    ): "a weight above 1e6 counts as that, and only such a one reaches either bound",
    ("focused_powerful_iou_loss", "log -> log1p, 2 of 2"): "from 40 on the weight is 0, to the last bit",
    ("focused_powerful_iou_loss", "40 -> 41"): "from 40 on the weight is 0, to the last bit",
    ("_scaled", "= left out"): "the checks have made arrays of it; it tells so to a type checker",
    ("FEW", "8 -> 9"): "both ways give the same numbers, and which is faster is measured",
    ("coordinates", "> -> >="): "both ways give the same numbers, and which is faster is measured",
}
