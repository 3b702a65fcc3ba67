import json
import os
import resource
import subprocess
import sys
import tempfile

import numpy as np

PROGRAM = "/app/nested.py"
LIMIT = 6.0


def alone():
    """One thread, and no other process, which might use the processor unseen; and an end."""
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (7, 8))


def nested(X, y, who, penalties):
    """What the program writes, and the processor time that it takes."""
    with tempfile.TemporaryDirectory() as folder:
        given, result = os.path.join(folder, "in.npz"), os.path.join(folder, "out.json")
        np.savez(given, X=X, y=y, patient=who, penalties=penalties)
        one = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            done = subprocess.run([sys.executable, "-B", PROGRAM, given, result], env=one, cwd="/app", timeout=100, text=True,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=alone)
        except subprocess.TimeoutExpired:
            raise AssertionError("not done in time")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, (done.returncode, done.stderr[-800:])
        assert os.path.exists(result), "no result"
        with open(result) as file:
            return json.load(file), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def column_by_column(A, B):
    """Two blocks of rows as a model sees them that is trained on the first."""
    left, right = [], []
    for a, b in zip(A.T, B.T):
        known = a[np.isfinite(a)]
        if len(known) and known.min() != known.max():
            level = known.mean()
            a = np.where(np.isfinite(a), a - level, 0.0)
            b = np.where(np.isfinite(b), b - level, 0.0)
            spread = np.sqrt(np.mean((a - a.mean()) ** 2))
            left.append(a / spread)
            right.append(b / spread)
    return np.array(left).reshape(-1, len(A)).T, np.array(right).reshape(-1, len(B)).T


def foretold(A, u, B, penalties):
    """Predictions for the rows of B, one column for each penalty, from direct fits to A and u."""
    A, B = column_by_column(A, B)
    level = u.mean()
    gram, side = A.T.dot(A), A.T.dot(u - level)
    columns = []
    for penalty in penalties:
        w = np.linalg.solve(gram + np.diag(np.full(len(gram), penalty * len(u))), side)
        columns.append(level + B.dot(w))
    return np.array(columns).T


def check(X, y, who, penalties, answer, chosen=None):
    """Compare all predictions, and the penalties of some folds or all, with direct fits."""
    assert set(answer) == {"predictions", "penalties"}
    assert len(answer["predictions"]) == len(y)
    assert set(answer["penalties"]) == {str(name) for name in np.unique(who)}
    unit = np.std(y)
    for a in np.unique(who):
        rest = who != a
        named = answer["penalties"][str(a)]
        place = int(np.argmin(np.abs(penalties - named)))
        assert np.isclose(penalties[place], named, rtol=1e-12), (a, named)
        if chosen is None or a in chosen:
            scores = []
            for b in np.unique(who[rest]):
                train, test = rest & (who != b), who == b
                P = foretold(X[train], y[train], X[test], penalties)
                scores.append(((P.T - y[test]) ** 2).mean(axis=1))
            scores = np.mean(scores, axis=0)
            assert scores[place] <= scores.min() * (1 + 1e-7), (a, named, penalties[np.argmin(scores)])
        P = foretold(X[rest], y[rest], X[who == a], penalties[place:place + 1])[:, 0]
        got = np.array(answer["predictions"])[who == a]
        far = np.abs(got - P) / np.maximum(np.abs(P), unit)
        assert far.max() < 1e-6, (a, int(far.argmax()), got[far.argmax()], P[far.argmax()])


def data(seed, sizes, p, missing=0.0, mixed=True):
    random = np.random.default_rng(seed)
    who = np.repeat(random.permutation(np.arange(-3, 4 * len(sizes)))[:len(sizes)], sizes)
    base = np.repeat(random.normal(size=(len(sizes), p)), sizes, axis=0)
    X = base + random.normal(size=(len(who), p)) @ (np.eye(p) + random.normal(size=(p, p)) / p)
    y = X @ random.normal(size=p) + 2.0 * random.normal(size=len(who)) + np.repeat(random.normal(size=len(sizes)), sizes) + 30
    X[random.random(X.shape) < missing] = np.nan
    if mixed:
        order = random.permutation(len(who))
        X, y, who = X[order], y[order], who[order]
    return random, X, y, who


def gaps(random, X, y, who):
    """Features that are missing or constant for some patients, or for all but some."""
    names = np.unique(who)
    X[:, 0] = np.nan                              # never observed
    X[:, 1] = 0.1                                 # always the same, also with gaps
    X[random.random(len(y)) < 0.3, 1] = np.nan
    X[who != names[2], 2] = 1234.567              # the same but for one patient
    X[who != names[3], 3] = np.nan                # observed for one patient only
    X[(who != names[0]) & (who != names[5]), 4] = np.nan
    X[:, 5] = np.where(who == names[1], -0.3, 0.7)  # two values: one patient against the others
    X[np.isin(who, names[:4]), 6] = np.nan
    X[:, 7] = np.where(np.arange(len(y)) == np.flatnonzero(who == names[6])[0], 5.0, 1 / 3)  # one odd row
    X[who == names[5], 8:] = np.nan
    y += np.nan_to_num(X[:, 2] - 1234.567) + np.nan_to_num(X[:, 4]) * 3
    return names


def scales(X, who, odd, factor):
    """Features far from zero, in large and small units, and a patient in a wrong one."""
    X[:, 0] += 1e6
    X[:, 1] = X[:, 1] * 1e-4 - 100
    X[:, 2] *= 1e-9
    X[:, 3] = X[:, 3] * 1e7 + 1e13
    X[who == odd] *= factor


def test_still_the_same_for_small_inputs():
    cases = [
        (1, [9, 14, 5, 22, 12, 8], 5, 0.0, np.logspace(-4, 2, 9)),
        (2, [1, 1, 7, 1, 13, 4, 1], 3, 0.1, np.array([3.0, 0.01, 0.5, 0.1, 20.0])),
        (3, [6, 5, 11], 8, 0.2, np.logspace(-3, 1, 6)),
        (4, [1, 1, 1], 2, 0.0, np.array([0.1, 1.0])),
        # more features than rows
        (6, [3, 4, 2, 3, 5], 25, 0.1, np.logspace(-4, 3, 8)),
    ]
    for seed, sizes, p, missing, penalties in cases:
        _, X, y, who = data(seed, sizes, p, missing)
        check(X, y, who, penalties, nested(X, y, who, penalties)[0])
    # whole numbers, stored as such; and patients that are not
    _, X, y, who = data(5, [8, 13, 6, 10], 4)
    X, y, who, penalties = (10 * X).astype(np.int32), y.astype(np.int64), who.astype(float), np.array([1, 30, 4])
    check(X, y, who, penalties, nested(X, y, who, penalties)[0])
    penalties = np.logspace(-4, 1, 6)
    random, X, y, who = data(11, [12, 9, 15, 7, 1, 11, 10], 11, 0.15)
    gaps(random, X, y, who)
    check(X, y, who, penalties, nested(X, y, who, penalties)[0])
    # the patient in the wrong unit is one of many, has most of the rows, or is all that there is to learn from
    for seed, sizes in ((21, [25, 18, 30, 1, 22, 27, 24]), (22, [9, 40, 11, 8]), (23, [12, 16, 10])):
        _, X, y, who = data(seed, sizes, 8, 0.1)
        names, numbers = np.unique(who, return_counts=True)
        odd = names[numbers.argmax()]
        scales(X, who, odd, 1e6)
        X[(who != odd) & (who != names[numbers.argmin()]), 4] = np.nan
        check(X, y, who, penalties, nested(X, y, who, penalties)[0])
    # nothing to go by at all
    X = np.full((9, 2), 7.7)
    y = np.arange(9.0) ** 2
    who = np.array([4, 5, 6] * 3)
    check(X, y, who, penalties, nested(X, y, who, penalties)[0])


def in_time(X, y, who, folds):
    penalties = np.logspace(-4, 2, 25)
    answer, seconds = nested(X, y, who, penalties)
    assert seconds < LIMIT, f"{seconds:.1f} s of processor time"
    check(X, y, who, penalties, answer, folds)


def test_large_input_with_gaps_in_time():
    random, X, y, who = data(31, [800] * 40, 20, 0.05)
    names = gaps(random, X, y, who)
    in_time(X, y, who, [names[2], names[6]])


def test_large_input_out_of_proportion_in_time():
    random, X, y, who = data(32, [800] * 40, 20, 0.02, mixed=False)
    names = np.unique(who)
    scales(X, who, names[4], 1e6)
    in_time(X, y, who, [names[4], names[30]])
