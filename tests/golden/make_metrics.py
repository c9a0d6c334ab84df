#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes metrics.txt: predictions, truths, and what scikit-learn and SciPy say of them, for tests/task/test_metric.c.

usage: make_metrics.py > metrics.txt      (numpy, scipy, scikit-learn)

A case is a line "case NAME KIND EXAMPLES WIDTH", KIND classes, labels, values, ranking or clusters; a line for each example: its truth (the
number of a class, or WIDTH numbers; of clusters a class or -1 and a cluster), then WIDTH scores (of clusters features); then lines "metric NAME VALUE", and "end".
"""
import warnings

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics as m

warnings.filterwarnings("ignore")
random = np.random.default_rng(7)


def show(values):
    return " ".join("%.17g" % v for v in np.ravel(values))


def write(name, kind, truth, scores, found):
    print("case", name, kind, len(truth), scores.shape[1])
    for t, s in zip(truth, scores):
        print(show(t), show(s))
    for key, value in found.items():
        print("metric", key, "%.17g" % value)
    print("end")


def averages(truth, guess, **more):
    found = {}
    for average in ("micro", "macro"):
        p, r, f, _ = m.precision_recall_fscore_support(truth, guess, average=average, zero_division=0, **more)
        found |= {"precision_" + average: p, "recall_" + average: r, "f1_" + average: f}
    return found


def calibration(truth, scores):
    confidence, right = scores.max(1), scores.argmax(1) == truth
    edges, error = np.linspace(0, 1, 16), 0
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error += abs(right[inside].mean() - confidence[inside].mean()) * inside.mean()
    return error


def classes(name, n, width, ties=False, only=None):
    truth = random.integers(0, width, n) if only is None else np.full(n, only)
    logits = random.normal(size=(n, width)) + 1.2 * np.eye(width)[truth]
    scores = np.exp(logits)
    scores /= scores.sum(1, keepdims=True)
    if ties:
        scores = np.round(scores, 1) + 0.01
        scores /= scores.sum(1, keepdims=True)
    guess, all_classes = scores.argmax(1), list(range(width))
    found = {"accuracy": m.accuracy_score(truth, guess), "mcc": m.matthews_corrcoef(truth, guess),
             "log_loss": m.log_loss(truth, scores, labels=all_classes), "calibration_error": calibration(truth, scores)}
    found |= averages(truth, guess)
    if width > 2 and not ties:
        found["top5"] = m.top_k_accuracy_score(truth, scores, k=5, labels=all_classes) if width > 5 else 1.0
    if only is None:
        one_hot = np.eye(width)[truth]
        columns = [1] if width == 2 else all_classes
        found["auroc"] = np.mean([m.roc_auc_score(one_hot[:, c], scores[:, c]) for c in columns])
        found["average_precision"] = np.mean([m.average_precision_score(one_hot[:, c], scores[:, c]) for c in columns])
    else:
        found["auroc"] = float("nan")
    write(name, "classes", truth, scores, found)


def labels(name, n, width, ties=False):
    truth = random.integers(0, 2, (n, width))
    scores = 1 / (1 + np.exp(-random.normal(size=(n, width)) - 1.5 * (truth - 0.5)))
    if ties:
        scores = np.round(scores, 1) * 0.98 + 0.011
    guess = (scores > 0.5).astype(int)
    found = {"accuracy": (guess == truth).mean(), "auroc": m.roc_auc_score(truth, scores, average="macro"),
             "average_precision": m.average_precision_score(truth, scores, average="macro"),
             "log_loss": np.mean([m.log_loss(truth[:, c], scores[:, c], labels=[0, 1]) for c in range(width)])}
    write(name, "labels", truth, scores, found | averages(truth, guess))


def values(name, n, width, ties=False, flat=False):
    truth = random.normal(size=(n, width)) * 3 + 100
    guess = truth + random.normal(size=(n, width))
    if ties:
        truth, guess = np.round(truth / 2) * 2, np.round(guess)
    if flat:
        guess = np.full((n, width), 2.5)
    found = {"mae": m.mean_absolute_error(truth, guess), "mse": m.mean_squared_error(truth, guess),
             "r2": np.mean([m.r2_score(truth[:, k], guess[:, k]) for k in range(width)]),
             "pearson": np.mean([pearsonr(truth[:, k], guess[:, k])[0] for k in range(width)]),
             "spearman": np.mean([spearmanr(truth[:, k], guess[:, k])[0] for k in range(width)])}
    write(name, "values", truth, guess, found)


classes("two", 60, 2)
classes("two_ties", 60, 2, ties=True)
classes("seven", 80, 7)
classes("seven_ties", 80, 7, ties=True)
classes("single_class", 20, 3, only=1)
classes("few", 2, 3, only=2)
labels("labels", 50, 4)
labels("labels_ties", 50, 3, ties=True)
values("values", 70, 1)
values("values_ties", 70, 2, ties=True)
values("flat", 10, 1, flat=True)


def ranking(name, n, ties=False):
    truth = random.integers(0, 2, (n, 1))
    scores = random.normal(size=(n, 1)) * 50 + 40 * truth
    if ties:
        scores = np.round(scores / 20) * 20
    found = {"auroc": m.roc_auc_score(truth, scores), "average_precision": m.average_precision_score(truth, scores)}
    write(name, "ranking", truth, scores, found)


def clusters(name, n, width, k, alone=False):
    truth = random.integers(0, 3, n)
    features = random.normal(size=(n, width)) + 2 * random.normal(size=(3, width))[truth]
    found = np.where(random.random(n) < 0.7, truth, random.integers(0, k, n))
    if alone:
        found[5] = k
    scores = {"silhouette": m.silhouette_score(features, found), "adjusted_rand": m.adjusted_rand_score(truth, found),
              "nmi": m.normalized_mutual_info_score(truth, found)}
    write(name, "clusters", np.stack([truth, found], 1), features, scores)


ranking("ranking", 40)
ranking("ranking_ties", 40, ties=True)
clusters("clusters", 50, 4, 3)
clusters("clusters_alone", 40, 2, 5, alone=True)
