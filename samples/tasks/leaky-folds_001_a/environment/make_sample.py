"""make_sample.py OUT.npz: a small input for nested.py"""
import sys

import numpy as np

random = np.random.default_rng(8)
rows = [9, 14, 1, 22, 12]
patient = np.repeat([101, 102, 107, 110, 111], rows)
X = random.normal(size=(sum(rows), 6)) + random.normal(size=(5, 6))[np.repeat(np.arange(5), rows)]
y = X @ random.normal(size=6) + random.normal(size=sum(rows))
X[:, 4] = X[:, 4] * 3 + 250000
X[random.random(X.shape) < 0.1] = np.nan
np.savez(sys.argv[1], X=X, y=y, patient=patient, penalties=np.logspace(-3, 1, 7))
