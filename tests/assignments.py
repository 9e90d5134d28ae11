"""Assignment problems of every kind, and how a solution of one is told to be optimal."""

import numpy as np
from scipy import optimize


def kinds_of_costs(rows, columns, seed):
    """Costs of every kind that has led a solver astray, by name."""
    rng = np.random.default_rng(seed)
    shape = rows, columns
    random = rng.uniform(size=shape)
    nearly_equal_rows = rng.uniform(size=columns) + 0.01 * rng.normal(size=shape)
    outliers = np.where(rng.uniform(size=shape) < 0.1, 1e6, random)
    kinds = {
        "random": random,
        "negative": random - 2,
        "queries that are alike": nearly_equal_rows,
        "columns that are alike": nearly_equal_rows[:, :1] + 0.01 * rng.normal(size=shape),
        "ties": rng.integers(0, 3, shape),
        "all equal": np.full(shape, 0.25),
        "all zero": np.zeros(shape),
        "1e37": 1e37 * (random - 0.5),
        "1e-30": 1e-30 * random,
        "offset": 1000 + random,
        "outliers": outliers,
        "half forbidden": np.where(rng.uniform(size=shape) < 0.5, np.inf, random),
        "half NaN": np.where(rng.uniform(size=shape) < 0.5, np.nan, random),
        "most forbidden": np.where(rng.uniform(size=shape) < 0.9, np.inf, random - 0.5),
        "some forced": np.where(rng.uniform(size=shape) < 0.1, -np.inf, random),
        "forced and forbidden": rng.choice([-np.inf, 0.5, 1.5, np.inf], shape),
        "nothing allowed": np.full(shape, np.inf),
        "products": np.multiply.outer(1 + np.arange(rows), 1 + np.arange(columns)),
    }
    return {name: np.float32(costs) for name, costs in kinds.items()}


def masks_of(count, problems, seed, masked):
    rng = np.random.default_rng(seed)
    if not masked:
        return None
    return rng.uniform(size=(problems, count)) < rng.choice([0.0, 0.2, 0.6, 1.0], (problems, 1))


def quality(costs, pairs):
    """What is minimized: how many pairs are missing, how many forced ones, and what the others cost."""
    values = np.float64([costs[pair] for pair in pairs])
    made = values[~(np.isnan(values) | (values == np.inf))]
    return len(made), int(np.sum(made == -np.inf)), float(np.sum(made[made > -np.inf]))


def best_quality(costs):
    """By scipy in double precision, of finite costs that order the same."""
    exact = np.float64(costs)
    finite = exact[np.isfinite(exact)]
    least, most = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    span = (most - least) or 1.0
    count = min(costs.shape) + 1
    ordered = np.where(exact == -np.inf, -count, (exact - least) / span)
    ordered = np.where(np.isnan(exact) | (exact == np.inf), 2.0 * count * count + count, ordered)
    return quality(costs, list(zip(*optimize.linear_sum_assignment(ordered), strict=True)))


def assert_optimal(costs, row_where, column_where, column_of_row, row_of_column, what):
    rows, columns = costs.shape
    pairs = [(row, column) for row, column in enumerate(column_of_row) if column < columns]
    assert [(row, column) for column, row in enumerate(row_of_column) if row < rows] == sorted(
        pairs, key=lambda pair: pair[1]
    ), what
    assert len({column for _, column in pairs}) == len(pairs), what
    rows_left = np.arange(rows) if row_where is None else np.flatnonzero(row_where)
    columns_left = np.arange(columns) if column_where is None else np.flatnonzero(column_where)
    assert {row for row, _ in pairs} <= set(rows_left), what
    assert {column for _, column in pairs} <= set(columns_left), what
    part = costs[np.ix_(rows_left, columns_left)]
    made, forced, total = quality(costs, pairs)
    wanted_made, wanted_forced, wanted_total = best_quality(part) if part.size else (0, 0, 0.0)
    assert (made, forced) == (wanted_made, wanted_forced), what
    assert made == len(pairs), what  # what is forbidden is left out
    finite = np.abs(part[np.isfinite(part)])
    largest = float(finite.max()) if finite.size else 0.0
    assert abs(total - wanted_total) <= 2e-7 * largest * max(1, made), what


def assert_every_kind_is_optimal(match, shape, masked, seeds):
    """Matches costs of every kind, with masks at random places behind which NaN lies."""
    problems = {(name, seed): costs for seed in seeds for name, costs in kinds_of_costs(*shape, seed=seed).items()}
    costs = np.stack(list(problems.values()))
    row_where = masks_of(shape[0], len(costs), 1, masked in ("rows", "both"))
    column_where = masks_of(shape[1], len(costs), 2, masked in ("columns", "both"))
    if row_where is not None:
        costs[~row_where] = np.nan
    if column_where is not None:
        costs = np.where(column_where[:, None], costs, np.nan)
    found = match(costs, row_where, column_where)
    for number, name in enumerate(problems):
        of_this = [None if where is None else where[number] for where in (row_where, column_where)]
        assert_optimal(costs[number], *of_this, *(np.asarray(side[number]) for side in found), name)
