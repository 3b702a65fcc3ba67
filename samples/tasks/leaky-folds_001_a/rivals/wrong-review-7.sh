#!/bin/bash
# "The penalty grows with the number of training rows." (those of the outer training set)
set -e
cat > /app/nested.py <<'END'
"""Nested cross-validation of a ridge regression for data of several patients.

    nested.py IN.npz OUT.json

IN.npz holds X (rows x features, NaN where a value is missing), y (one value for each row), patient (a whole number for each row, in any
order) and penalties (from 1e-4 up, in any order). There are at least three patients, of one row or more. A feature may be constant, or
never observed, or lie as far as a million of its standard deviations from zero, as the readings of some instruments do; and all values
of a patient in X may be up to a million times as large as those of the others, as happens when somebody mistakes the unit.

OUT.json holds "predictions", one for each row, made without the patient whose row it is; and "penalties", the penalty that was chosen
for each patient left out.

Nothing that is left out has any influence: the means that fill in, the features that are used, their scale and the penalty come from the
training rows alone.
"""
import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import json
import sys

import numpy as np


class Moments:
    """What the fits need to know of each patient, around the patient's own means: nothing is ever subtracted from a sum of others."""

    def __init__(self, X, y, groups):
        patients, features = len(groups), X.shape[1]
        self.rows = np.array([len(group) for group in groups])
        self.seen = np.zeros((patients, features))  # observed values
        self.mean = np.zeros((patients, features))
        self.low = np.full((patients, features), np.inf)
        self.high = np.full((patients, features), -np.inf)
        self.products = np.zeros((patients, features, features))  # of two features, in rows with both
        self.sums = np.zeros((patients, features, features))  # of one feature, in rows with the other
        self.both = np.zeros((patients, features, features))
        self.y_mean = np.zeros(patients)
        self.y_products = np.zeros((patients, features))
        self.y_sums = np.zeros((patients, features))
        for p, group in enumerate(groups):
            values, target = X[group], y[group]
            observed = ~np.isnan(values)
            weight = observed.astype(float)
            self.seen[p] = weight.sum(axis=0)
            self.mean[p] = np.where(observed, values, 0).sum(axis=0) / np.maximum(self.seen[p], 1)
            self.low[p] = np.where(observed, values, np.inf).min(axis=0)
            self.high[p] = np.where(observed, values, -np.inf).max(axis=0)
            apart = np.where(observed, values - self.mean[p], 0)
            self.products[p] = apart.T @ apart
            self.sums[p] = apart.T @ weight
            self.both[p] = weight.T @ weight
            self.y_mean[p] = target.mean()
            self.y_products[p] = apart.T @ (target - self.y_mean[p])
            self.y_sums[p] = weight.T @ (target - self.y_mean[p])

    def fits(self, keep, penalties):
        """Ridge regressions on the patients to keep: one column of weights for each penalty."""
        seen, rows = self.seen[keep], self.rows[keep]
        total = rows.sum()
        centre = (seen * self.mean[keep]).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        intercept = (rows * self.y_mean[keep]).sum() / total
        used = self.high[keep].max(axis=0) > self.low[keep].min(axis=0)
        shift = np.where(seen > 0, self.mean[keep] - centre, 0)
        y_shift = self.y_mean[keep] - intercept
        matrix = self.products[keep].sum(axis=0)
        cross = np.einsum("pjk,pk->jk", self.sums[keep], shift)
        matrix += cross + cross.T + np.einsum("pjk,pj,pk->jk", self.both[keep], shift, shift, optimize=["einsum_path", (0, 1), (0, 1)])
        right = (self.y_products[keep] + shift * self.y_sums[keep] + shift * seen * y_shift[:, None]).sum(axis=0)
        # the first moments around the centre vanish up to rounding, so y - mean needs no more
        scale = np.where(used, np.sqrt(np.diag(matrix) / total), 1)
        matrix, right = (matrix / scale / scale[:, None])[np.ix_(used, used)], (right / scale)[used]
        weights = np.zeros((len(centre), len(penalties)))
        if used.any():
            values, vectors = np.linalg.eigh(matrix)
            weights[used] = vectors @ ((vectors.T @ right)[:, None] / (values[:, None] + penalties * (self.rows.sum() if keep.sum() == len(keep) - 2 else total)))
        return centre, scale, weights, intercept


def predict(model, X):
    centre, scale, weights, intercept = model
    Z = (X - centre) / scale
    Z[np.isnan(Z)] = 0
    return intercept + Z @ weights


def main():
    with np.load(sys.argv[1]) as data:
        X, y, patient, penalties = (data[name] for name in ("X", "y", "patient", "penalties"))
    X, y = X.astype(float), y.astype(float)
    names = np.unique(patient)
    groups = [np.flatnonzero(patient == name) for name in names]
    moments = Moments(X, y, groups)
    count = len(names)
    errors = np.zeros((count, count, len(penalties)))  # [outer, inner]
    everybody = np.ones(count, dtype=bool)
    for one in range(count):
        for other in range(one):
            keep = everybody.copy()
            keep[[one, other]] = False
            model = moments.fits(keep, penalties)
            for outer, inner in ((one, other), (other, one)):
                group = groups[inner]
                errors[outer, inner] = np.mean((predict(model, X[group]) - y[group][:, None]) ** 2, axis=0)
    predictions = np.zeros(len(y))
    chosen = {}
    for outer, name in enumerate(names):
        keep = everybody.copy()
        keep[outer] = False
        penalty = penalties[np.argmin(errors[outer][keep].mean(axis=0))]
        model = moments.fits(keep, np.array([penalty]))
        predictions[groups[outer]] = predict(model, X[groups[outer]])[:, 0]
        chosen[str(name)] = float(penalty)
    with open(sys.argv[2], "w") as file:
        json.dump({"predictions": predictions.tolist(), "penalties": chosen}, file)


if __name__ == "__main__":
    main()
END
