#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes linalg.txt: what scikit-learn and NumPy make of small matrices, for tests/task/test_closed_form.c.

usage: make_linalg.py > linalg.txt

Matrices are not written: element (i, j) of matrix `s` is a function of these numbers alone, exact in f32. A line is
"NAME VALUE...".
"""
import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.covariance import EmpiricalCovariance, LedoitWolf, ShrunkCovariance
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge

warnings.filterwarnings("ignore")
SHAPES = {"tall": (60, 5), "wide": (12, 30), "deficient": (40, 8), "tiny": (3, 2), "one": (7, 1)}
ALPHAS = [0.01, 0.1, 1.0, 10.0]
MASK = 0xFFFFFFFF


def element(s, i, j):
    h = (i * 2654435761 + j * 2246822519 + s * 3266489917 + 374761393) & MASK
    for _ in range(2):
        h ^= h >> 15
        h = (h * 2246822519) & MASK
    h ^= h >> 13
    return (h % 2048) / 1024.0 - 1.0


def matrix(s, n, d):
    return np.array([[element(s, i, j) for j in range(d)] for i in range(n)])


def features(name):
    n, d = SHAPES[name]
    x = matrix(1, n, d)
    if name == "deficient":
        for j in range(5, d):
            x[:, j] = x[:, j - 5] + x[:, j - 4]
    return x + 0.5


def say(name, *arrays):
    print(name, " ".join("%.17g" % v for a in arrays for v in np.asarray(a, dtype=float).reshape(-1)))


def newton(x, labels, k, l2):
    """Multinomial logistic regression by Newton's method with the whole Hessian."""
    n, d = x.shape
    one = np.eye(k)[labels]
    xb = np.hstack([x, np.ones((n, 1))])
    w = np.zeros((d + 1, k))
    penal = np.repeat(np.r_[np.full(d, l2), 0.0], k)
    for _ in range(50):
        z = xb @ w
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        g = (xb.T @ (p - one)).reshape(-1) + penal * w.reshape(-1)
        h = np.einsum("ni,nj,nk,kl->ikjl", xb, xb, p, np.eye(k)) - np.einsum("ni,nj,nk,nl->ikjl", xb, xb, p, p)
        h = h.reshape((d + 1) * k, -1) + np.diag(penal)
        w -= (np.linalg.pinv(h, rcond=1e-12) @ g).reshape(d + 1, k)
    w[-1] -= w[-1].mean()
    return w[:-1], w[-1]


for name in SHAPES:
    x = features(name)
    n, d = x.shape
    y = matrix(2, n, 2) + x @ matrix(3, d, 2)
    for alpha in (0.25, 1.0):
        fit = Ridge(alpha=alpha, solver="svd").fit(x, y)
        say("ridge_%s_%g" % (name, alpha), fit.coef_.T, fit.intercept_)
    fit = Ridge(alpha=1.0, solver="svd", fit_intercept=False).fit(x, y)
    say("ridge_%s_nobias" % name, fit.coef_.T)
    errors = []
    for alpha in ALPHAS:
        left = [Ridge(alpha=alpha, solver="svd").fit(np.delete(x, i, 0), np.delete(y, i, 0)).predict(x[i:i + 1])[0] - y[i]
                for i in range(n)]
        errors.append(np.mean(np.square(left)))
    best = Ridge(alpha=ALPHAS[int(np.argmin(errors))], solver="svd").fit(x, y)
    say("left_out_%s" % name, errors, best.coef_.T, best.intercept_)

for name in ("tall", "wide", "deficient"):
    x = features(name)
    n, d = x.shape
    labels = np.argmax(matrix(4, n, 3), axis=1)
    assert len(set(labels)) == 3
    w, b = newton(x, labels, 3, 0.5)
    seen = LogisticRegression(C=2.0, tol=1e-10, max_iter=10000).fit(x, labels)
    seen.intercept_ -= seen.intercept_.mean()
    assert np.abs(seen.coef_.T - w).max() < 1e-4 and np.abs(seen.intercept_ - b).max() < 1e-4, name
    say("logistic_%s" % name, w, b)

for name in ("tall", "wide", "deficient", "tiny"):
    x = features(name)
    fit = PCA(n_components=2, svd_solver="full").fit(x)
    v = fit.components_.T * np.sign(np.take_along_axis(fit.components_.T, np.abs(fit.components_.T).argmax(0)[None], 0))
    say("pca_%s" % name, v, fit.explained_variance_, fit.explained_variance_ratio_)

for name in ("tall", "wide", "deficient"):
    x = features(name)
    fit = KMeans(3, init=x[:3], n_init=1, tol=0, algorithm="lloyd", max_iter=300).fit(x)
    say("kmeans_%s" % name, fit.cluster_centers_, fit.inertia_)

for name in ("tall", "wide", "deficient", "tiny"):
    x = features(name)
    fit = LedoitWolf().fit(x)
    if fit.shrinkage_ > 0:
        say("ledoit_wolf_%s" % name, fit.shrinkage_, fit.mahalanobis(x))
    fit = ShrunkCovariance(shrinkage=0.25).fit(x)
    say("mahalanobis_%s" % name, fit.mahalanobis(x))
x = features("tall")
say("mahalanobis_tall_0", EmpiricalCovariance().fit(x).mahalanobis(x))
