#!/bin/bash
# "The used ones get the mean 0 and, with what was filled in, the standard deviation 1.": the standard deviation of what was observed
set -e
cat > /app/nested.py <<'END_OF_PROGRAM'
"""Nested cross-validation of a ridge regression for data of several patients."""
import json
import sys

import numpy as np


def summary(X, y):
    """What a fit needs of some rows, about their own means: number, means, and sums of products of what is seen."""
    seen = ~np.isnan(X)
    count = seen.sum(axis=0)
    mean = np.where(seen, X, 0).sum(axis=0) / np.maximum(count, 1)
    apart = np.where(seen, X - mean, 0)
    mask = seen.astype(float)
    rest = y - y.mean()
    return (len(y), y.mean(), mean, mask.T @ mask, apart.T @ mask, apart.T @ apart, mask.T @ rest, apart.T @ rest,
            np.where(seen, X, -np.inf).max(axis=0), np.where(seen, X, np.inf).min(axis=0))


def moved(part, mean, level):
    """The sums of products about another mean of the features and of y."""
    n, own_y, own, mm, am, aa, my, ay, high, low = part
    count = np.diag(mm)
    by = np.where(count > 0, own - mean, 0)
    up = own_y - level
    am2 = am + by[:, None] * mm
    aa2 = aa + am * by + (am * by).T + mm * by * by[:, None]
    my2 = my + up * count
    ay2 = ay + by * my + up * by * count
    return n, level, mean, mm, am2, aa2, my2, ay2, high, low


def joined(a, b):
    """Two summaries as one."""
    ca, cb = np.diag(a[3]), np.diag(b[3])
    both = ca + cb
    mean = np.where(ca > 0, a[2], b[2])
    mean = mean + np.where((ca > 0) & (cb > 0), (b[2] - mean) * cb / np.maximum(both, 1), 0)
    n = a[0] + b[0]
    level = a[1] + (b[1] - a[1]) * b[0] / n
    a, b = moved(a, mean, level), moved(b, mean, level)
    return (n, level, mean, *(x + y for x, y in zip(a[3:8], b[3:8])), np.maximum(a[8], b[8]), np.minimum(a[9], b[9]))


def all_but_two(parts):
    """For each pair of places the summary of all other parts, by halves that are left out together."""
    def walk(places, inside):
        # `inside`: summary of all outside of `places`
        if len(places) == 1:
            yield places[0], inside
            return
        half = len(places) // 2
        for stay, go in ((places[:half], places[half:]), (places[half:], places[:half])):
            more = inside
            for place in go:
                more = parts[place] if more is None else joined(more, parts[place])
            yield from walk(stay, more)
    return walk


def weights(part, penalties):
    n, level, mean, mm, am, aa, my, ay, high, low = part
    used = high > low
    scale = np.where(used, np.sqrt(np.where(used, np.diag(aa), 1) / np.maximum(np.diag(mm), 1)), 1)
    result = np.zeros((len(penalties), len(mean)))
    if used.any():
        square = (aa / scale / scale[:, None])[np.ix_(used, used)]
        wanted = (ay / scale)[used]
        matrices = square + (penalties * n)[:, None, None] * np.eye(used.sum())
        result[:, used] = np.linalg.solve(matrices, np.repeat(wanted[None, :, None], len(penalties), axis=0))[:, :, 0]
    return result.T


def predict(part, W, X):
    high, low = part[8], part[9]
    used = high > low
    scale = np.where(used, np.sqrt(np.where(used, np.diag(part[5]), 1) / np.maximum(np.diag(part[3]), 1)), 1)
    Z = (X - part[2]) / scale
    Z[np.isnan(Z)] = 0
    return part[1] + Z @ W


def main():
    data = np.load(sys.argv[1])
    X, y, patient, penalties = data["X"], data["y"], data["patient"], data["penalties"]
    names = np.unique(patient)
    rows = [np.flatnonzero(patient == name) for name in names]
    parts = [summary(X[r], y[r]) for r in rows]
    walk = all_but_two(parts)
    predictions, chosen = np.zeros(len(y)), {}
    for outer, without in walk(list(range(len(names))), None):
        inner = [k for k in range(len(names)) if k != outer]
        # the same once more within the others
        errors = np.zeros(len(penalties))
        for k, part in walk(inner, None):
            P = predict(part, weights(part, penalties), X[rows[k]])
            errors += ((P - y[rows[k]][:, None]) ** 2).mean(axis=0)
        best = errors.argmin()
        P = predict(without, weights(without, penalties), X[rows[outer]])
        predictions[rows[outer]] = P[:, best]
        chosen[str(names[outer])] = float(penalties[best])
    with open(sys.argv[2], "w") as file:
        json.dump({"predictions": predictions.tolist(), "penalties": chosen}, file)


main()
END_OF_PROGRAM
