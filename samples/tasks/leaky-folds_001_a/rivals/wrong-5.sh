#!/bin/bash
# "the means that fill in, the features that are used, their scale and the penalty come from the training rows alone": what is missing gets the mean of all rows, before the sums
set -e
cat > /app/nested.py <<'END_OF_PROGRAM'
"""Nested cross-validation of a ridge regression for data of several patients.

All that a fit needs of its training rows are sums over patients, so each patient's are computed once, about the patient's own means, and
a training set is put together from those of the patients in it. They are added, never subtracted from a total: a patient whose values are
out of proportion would leave nothing of the digits of the others. What is trained without patients a and b serves both of them.
"""
import json
import sys

import numpy as np


class Patients:
    """Sums for each patient, and the models of sets of patients."""

    def __init__(self, X, y, patient, penalties):
        self.penalties = penalties
        self.names, self.number = np.unique(patient, return_inverse=True)
        self.rows = [np.flatnonzero(self.number == g) for g in range(len(self.names))]
        self.X = [X[rows] for rows in self.rows]
        self.y = [y[rows] for rows in self.rows]
        self.n = np.array([len(rows) for rows in self.rows])
        self.mean_y = np.array([values.mean() for values in self.y])
        seen = [~np.isnan(A) for A in self.X]
        self.count = np.array([O.sum(axis=0) for O in seen])
        self.highest = np.array([np.where(O, A, -np.inf).max(axis=0) for A, O in zip(self.X, seen)])
        self.lowest = np.array([np.where(O, A, np.inf).min(axis=0) for A, O in zip(self.X, seen)])
        self.centre = np.array([np.where(O, A, 0).sum(axis=0) / np.maximum(O.sum(axis=0), 1) for A, O in zip(self.X, seen)])
        products, mixed, both, with_y, seen_y = [], [], [], [], []
        for g, O in enumerate(seen):
            D = np.where(O, self.X[g] - self.centre[g], 0)
            O = O.astype(float)
            v = self.y[g] - self.mean_y[g]
            products.append(D.T @ D)
            mixed.append(D.T @ O)
            both.append(O.T @ O)
            with_y.append(D.T @ v)
            seen_y.append(O.T @ v)
        self.products, self.mixed, self.both = np.array(products), np.array(mixed), np.array(both)
        self.with_y, self.seen_y = np.array(with_y), np.array(seen_y)

    def models(self, inside):
        """Centre, scale, intercept, and weights (features x penalties) of the ridge regressions on the patients inside."""
        count, centre, n = self.count[inside], self.centre[inside], self.n[inside]
        total = count.sum(axis=0)
        # means of means, about one of them, so that a large offset costs no digits
        origin = centre[np.argmax(count, axis=0), np.arange(centre.shape[1])]
        mean = np.where(total > 0, origin + (count * (centre - origin)).sum(axis=0) / np.maximum(total, 1), 0)
        intercept = self.mean_y[inside] @ n / n.sum()
        shift = np.where(count > 0, centre - mean, 0)
        lift = self.mean_y[inside] - intercept

        mixed = self.mixed[inside] * shift[:, None, :]
        square = self.products[inside].sum(axis=0) + mixed.sum(axis=0) + mixed.sum(axis=0).T
        square += np.einsum("gij,gi,gj->ij", self.both[inside], shift, shift)
        right = (self.with_y[inside] + shift * self.seen_y[inside]).sum(axis=0)
        right += (lift[:, None] * shift * count).sum(axis=0)

        used = self.highest[inside].max(axis=0) > self.lowest[inside].min(axis=0)
        size = n.sum()
        scale = np.where(used, np.sqrt(np.where(used, np.diag(square), 1) / size), 1)
        weights = np.zeros((len(used), len(self.penalties)))
        values, vectors = np.linalg.eigh((square / scale / scale[:, None])[np.ix_(used, used)])
        part = vectors.T @ (right / scale)[used]
        weights[used] = vectors @ (part[:, None] / (values[:, None] + self.penalties * size))
        return mean, scale, intercept, weights

    def predict(self, model, g):
        """The predictions for a patient (rows x penalties)."""
        mean, scale, intercept, weights = model
        Z = (self.X[g] - mean) / scale
        return intercept + np.where(np.isnan(Z), 0, Z) @ weights

    def error(self, model, g):
        return np.mean((self.predict(model, g) - self.y[g][:, None]) ** 2, axis=0)


def main():
    with np.load(sys.argv[1]) as data:
        X, y, patient, penalties = (data[name] for name in ("X", "y", "patient", "penalties"))
    counts = np.maximum((~np.isnan(X)).sum(axis=0), 1)
    X = np.where(np.isnan(X), np.nansum(X, axis=0) / counts, X)
    patients = Patients(X.astype(float), y.astype(float), patient, penalties.astype(float))
    number = len(patients.names)
    everybody = np.arange(number)
    errors = np.zeros((number, number, len(penalties)))
    for a in range(number):
        for b in range(a):
            model = patients.models(everybody[(everybody != a) & (everybody != b)])
            errors[a, b] = patients.error(model, b)
            errors[b, a] = patients.error(model, a)
    predictions = np.zeros(len(y))
    chosen = {}
    for a in range(number):
        best = np.argmin(errors[a, everybody != a].mean(axis=0))
        model = patients.models(everybody[everybody != a])
        predictions[patients.rows[a]] = patients.predict(model, a)[:, best]
        chosen[str(patients.names[a])] = float(penalties[best])
    with open(sys.argv[2], "w") as file:
        json.dump({"predictions": predictions.tolist(), "penalties": chosen}, file)


if __name__ == "__main__":
    main()
END_OF_PROGRAM
