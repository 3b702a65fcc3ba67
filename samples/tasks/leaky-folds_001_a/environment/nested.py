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
import json
import sys

import numpy as np


def fit(X, y, penalty):
    """Ridge regression on the rows of X."""
    # The mean of the observed values of a feature stands for the missing ones.
    observed = ~np.isnan(X)
    counts = observed.sum(axis=0)
    centre = np.where(observed, X, 0).sum(axis=0) / np.maximum(counts, 1)
    filled = np.where(observed, X, centre)
    # A feature is used if its observed values are not all equal.
    highest = np.where(observed, X, -np.inf).max(axis=0)
    lowest = np.where(observed, X, np.inf).min(axis=0)
    used = highest > lowest
    # The used ones get the mean 0 and, with what was filled in, the standard deviation 1.
    scale = np.where(used, np.std(filled, axis=0), 1)
    Z = ((filled - centre) / scale)[:, used]
    # The penalty grows with the number of training rows.
    matrix = Z.T @ Z + penalty * len(y) * np.eye(Z.shape[1])
    weights = np.zeros(X.shape[1])
    weights[used] = np.linalg.solve(matrix, Z.T @ (y - y.mean()))
    return centre, scale, weights, y.mean()


def predict(model, X):
    centre, scale, weights, intercept = model
    filled = np.where(np.isnan(X), centre, X)
    return intercept + ((filled - centre) / scale) @ weights


def choose(X, y, patient, penalties):
    """The penalty with the lowest mean, over the patients, of the mean squared error of a patient that is left out."""
    best, lowest = None, np.inf
    for penalty in penalties:
        errors = []
        for inner in np.unique(patient):
            out = patient == inner
            model = fit(X[~out], y[~out], penalty)
            errors.append(np.mean((predict(model, X[out]) - y[out]) ** 2))
        if np.mean(errors) < lowest:
            best, lowest = penalty, np.mean(errors)
    return best


def main():
    with np.load(sys.argv[1]) as data:
        X, y, patient, penalties = (data[name] for name in ("X", "y", "patient", "penalties"))
    predictions = np.zeros(len(y))
    chosen = {}
    for outer in np.unique(patient):
        out = patient == outer
        penalty = choose(X[~out], y[~out], patient[~out], penalties)
        predictions[out] = predict(fit(X[~out], y[~out], penalty), X[out])
        chosen[str(outer)] = float(penalty)
    with open(sys.argv[2], "w") as file:
        json.dump({"predictions": predictions.tolist(), "penalties": chosen}, file)


if __name__ == "__main__":
    main()
