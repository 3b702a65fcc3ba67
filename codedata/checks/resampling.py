"""Resample means by bootstrap: draw as many clusters as there are, with replacement."""
from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from codedata.checks.intervals import student_t

RESAMPLES = 10_000        # draws of the bootstrap
SEED = 0                  # for the bootstrap, which draws whole clusters
BLOCK_CELLS = 1 << 20     # cells to draw at a time: an array of indices or values then has 8 MB
DUST = 1e-12              # treat a bound so near to 0 as 0, since it is only rounding error


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval (low, high) of a mean of independent values.

    The interval is the expanded percentile interval (Hesterberg 2015, "What teachers should know
    about the bootstrap", 5.3), as wide as Student's t. The plain 2.5 % and 97.5 % quantiles are too
    narrow for few values. Raise ZeroDivisionError for less than two values.
    """
    n = len(values)
    alpha = NormalDist().cdf(-math.sqrt(n / (n - 1)) * student_t(n - 1))
    means = cluster_means(values, range(n), RESAMPLES, SEED)
    return bound(means, alpha), bound(means, 1 - alpha)


def bound(means: np.ndarray, alpha: float) -> float:
    """Return the alpha quantile of resampled means; 0 if there are none or it is nearly 0."""
    value = float(np.quantile(means, alpha)) if len(means) else 0.0
    return 0.0 if abs(value) < DUST else value


def cluster_means(deltas: Sequence[float], clusters: Sequence, resamples: int,
                  seed: int) -> np.ndarray:
    """Return the means of cluster-bootstrap resamples: turns of one instance are not independent.

    Each resample draws as many whole clusters as there are, and its mean is over all turns drawn.
    The clusters are ordered by their first turn.
    """
    totals, counts = cluster_sums(clusters, deltas, np.ones(len(deltas)))
    n = len(totals)
    if not n:
        return totals
    generator = np.random.Generator(np.random.PCG64DXSM(seed))
    rows = max(1, BLOCK_CELLS // n)   # drawn at a time, which bounds the memory
    draws = (generator.integers(0, n, (min(rows, resamples - first), n))
             for first in range(0, resamples, rows))   # the block size changes no mean
    return np.concatenate([totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
                           for drawn in draws])


def cluster_sums(clusters: Sequence, *columns: Sequence[float]) -> list[np.ndarray]:
    """Return the sums of each column over each cluster. Clusters are ordered by first occurrence.
    """
    positions: dict = {}
    where = [positions.setdefault(cluster, len(positions)) for cluster in clusters]
    return [np.bincount(where, column) for column in columns]
