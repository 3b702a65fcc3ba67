#!/bin/bash
# "or lie as far as a million of its standard deviations from zero": the sums are taken about the median of all rows, which the values of a patient in a wrong unit lie far from
set -e
cat > /app/nested.py <<'END_OF_PROGRAM'
"""Nested cross-validation of a ridge regression for data of several patients."""
import json
import sys

import numpy as np

with np.load(sys.argv[1]) as data:
    X, y, patient, penalties = (data[name] for name in ("X", "y", "patient", "penalties"))
order = np.argsort(patient, kind="stable")
names, starts = np.unique(patient[order], return_index=True)
G, p, L = len(names), X.shape[1], len(penalties)
ends = np.append(starts[1:], len(y))
seen = ~np.isnan(X)
# about a typical value: half of the patients may be anywhere
shift = np.zeros(p)
for j in range(p):
    if seen[:, j].any():
        shift[j] = np.median(X[seen[:, j], j])
D = np.where(seen, X - shift, 0.0)
M = seen.astype(float)
level = np.median(y)
t = y - level
high = np.full((G, p), -np.inf)
low = np.full((G, p), np.inf)
facts = []
for g in range(G):
    rows = order[starts[g]:ends[g]]
    d, m, v = D[rows], M[rows], t[rows]
    high[g] = np.where(seen[rows], X[rows], -np.inf).max(axis=0)
    low[g] = np.where(seen[rows], X[rows], np.inf).min(axis=0)
    facts.append(np.concatenate([(d.T @ d).ravel(), (d.T @ m).ravel(), (m.T @ m).ravel(), d.sum(0), m.sum(0), d.T @ v, m.T @ v,
                                 [v.sum(), len(rows)]]))
facts = np.array(facts)
cuts = np.cumsum([p * p, p * p, p * p, p, p, p, p, 1])


def models(inside):
    """For each line of `inside` (sets x patients): centre, scale, intercept and weights for all penalties."""
    parts = np.split(inside.astype(float) @ facts, cuts, axis=1)
    S = len(inside)
    dd, dm, mm = (part.reshape(S, p, p) for part in parts[:3])
    d, m, dv, mv = parts[3:7]
    v, n = parts[7], parts[8]
    mean = d / np.maximum(m, 1)
    ybar = v / n
    cross = dm * mean[:, None, :]
    square = dd - cross - cross.transpose(0, 2, 1) + mm * mean[:, :, None] * mean[:, None, :]
    right = dv - ybar * d - mean * mv + mean * ybar * m
    top = np.array([high[line].max(axis=0) for line in inside])
    bottom = np.array([low[line].min(axis=0) for line in inside])
    used = top > bottom
    deviation = np.sqrt(np.where(used, np.einsum("sii->si", square), 1) / n)
    deviation = np.where(used, deviation, np.inf)
    values, vectors = np.linalg.eigh(square / deviation[:, :, None] / deviation[:, None, :])
    z = np.einsum("sij,si->sj", vectors, right / deviation)
    values = np.maximum(values, 0)
    weights = vectors @ (z[:, :, None] / (values[:, :, None] + penalties * n[:, :, None]))
    return mean + shift, deviation, ybar[:, 0] + level, weights


def predictions(model, k, rows):
    mean, deviation, intercept, weights = model
    Z = np.where(seen[rows], (X[rows] - mean[k]) / deviation[k], 0)
    return intercept[k] + Z @ weights[k]


result = np.zeros(len(y))
chosen = {}
for g in range(G):
    others = [h for h in range(G) if h != g]
    inside = np.ones((G - 1, G), dtype=bool)
    inside[:, g] = False
    inside[np.arange(G - 1), others] = False
    model = models(inside)
    score = np.zeros(L)
    for k, h in enumerate(others):
        rows = order[starts[h]:ends[h]]
        score += np.mean((predictions(model, k, rows) - y[rows, None]) ** 2, axis=0)
    best = int(np.argmin(score))
    rows = order[starts[g]:ends[g]]
    final = models(np.array([[h != g for h in range(G)]]))
    result[rows] = predictions(final, 0, rows)[:, best]
    chosen[str(names[g])] = float(penalties[best])
with open(sys.argv[2], "w") as file:
    json.dump({"predictions": result.tolist(), "penalties": chosen}, file)
END_OF_PROGRAM
