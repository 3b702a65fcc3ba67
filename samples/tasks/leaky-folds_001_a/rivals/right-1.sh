#!/bin/bash
# each patient's rows pressed together by a QR of values and masks; the fits are made of the few rows that remain
set -e
cat > /app/nested.py <<'END_OF_PROGRAM'
"""Nested cross-validation of a ridge regression for data of several patients."""
import json
import sys

import numpy as np

with np.load(sys.argv[1]) as data:
    X, y, patient, penalties = (data[name] for name in ("X", "y", "patient", "penalties"))
p = X.shape[1]
blocks = []
for name in np.unique(patient):
    rows = np.flatnonzero(patient == name)
    A, u = X[rows], y[rows]
    seen = np.isfinite(A)
    number = seen.sum(axis=0)
    own = np.where(seen, A, 0).sum(axis=0) / np.where(number > 0, number, 1)
    level = u.mean()
    table = np.column_stack([np.where(seen, A - own, 0), seen, u - level, np.ones(len(u))])
    short = np.zeros((2 * p + 2, 2 * p + 2))
    triangle = np.linalg.qr(table, mode="r")
    short[:len(triangle)] = triangle
    blocks.append({"name": name, "rows": rows, "A": A, "u": u, "n": len(u), "number": number, "own": own, "level": level, "short": short,
                   "high": np.where(seen, A, -np.inf).max(axis=0), "low": np.where(seen, A, np.inf).min(axis=0)})
G = len(blocks)


def column(key):
    return np.array([block[key] for block in blocks])


number, own, high, low, level, sizes, short = map(column, ("number", "own", "high", "low", "level", "n", "short"))


def ridge(members):
    n = sizes[members].sum()
    total = number[members].sum(axis=0)
    mean = (number[members] * own[members]).sum(axis=0) / np.where(total > 0, total, 1)
    ybar = (sizes[members] * level[members]).sum() / n
    by = np.where(number[members] > 0, own[members] - mean, 0)
    few = short[members]
    Z = (few[:, :, :p] + few[:, :, p:2 * p] * by[:, None, :]).reshape(-1, p)
    t = (few[:, :, 2 * p] + few[:, :, 2 * p + 1] * (level[members] - ybar)[:, None]).ravel()
    use = np.flatnonzero(high[members].max(axis=0) > low[members].min(axis=0))
    Z = Z[:, use]
    spread = np.sqrt((Z * Z).sum(axis=0) / n)
    Z = Z / spread
    root, turn = np.linalg.eigh(Z.T @ Z)
    coefficients = turn @ ((turn.T @ (Z.T @ t))[:, None] / (root[:, None] + n * penalties[None, :]))
    return mean[use], spread, use, coefficients, ybar


def foresee(model, block):
    mean, spread, use, coefficients, ybar = model
    Z = (block["A"][:, use] - mean) / spread
    return ybar + np.where(np.isfinite(Z), Z, 0) @ coefficients


scores = np.zeros((G, len(penalties)))
for first in range(G):
    for second in range(first + 1, G):
        model = ridge(np.array([g for g in range(G) if g not in (first, second)]))
        for out, kept in ((first, second), (second, first)):
            # the fold of `kept` is tried on `out`
            scores[kept] += ((foresee(model, blocks[out]) - blocks[out]["u"][:, None]) ** 2).mean(axis=0)
answer = {"predictions": [0.0] * len(y), "penalties": {}}
for g, block in enumerate(blocks):
    best = int(scores[g].argmin())
    values = foresee(ridge(np.array([h for h in range(G) if h != g])), block)[:, best]
    for row, value in zip(block["rows"], values):
        answer["predictions"][row] = float(value)
    answer["penalties"][str(block["name"])] = float(penalties[best])
with open(sys.argv[2], "w") as file:
    json.dump(answer, file)
END_OF_PROGRAM
