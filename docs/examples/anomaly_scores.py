"""
Anomaly scores
==============

A density that was fitted to what is normal gives low evidence to what is not. Here the normal rows
are measurements of benign tumours (Wisconsin, 30 features); malignant ones the mixture never sees.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score, roc_curve

import vbfast

X, benign = load_breast_cancer(return_X_y=True)
normal, malignant = X[benign == 1], X[benign == 0]
training, held_out = normal[::2], normal[1::2]
mean, scale = training.mean(axis=0), training.std(axis=0)
training, held_out, malignant = ((rows - mean) / scale for rows in (training, held_out, malignant))

# %%
# Few rows and many features: variances without correlations are as much as 179 rows can tell. The
# predictive density of a Bayesian mixture allows for what is not known about the parameters.

mixture = vbfast.BayesianGaussianMixture(
    2, covariance_type="diag", max_iter=1000, random_state=0
).fit(training)
scores = {
    "benign, held out": mixture.log_predictive_density(held_out),
    "malignant": mixture.log_predictive_density(malignant),
}
threshold = np.quantile(mixture.log_predictive_density(training), 0.05)
is_malignant = np.repeat([0, 1], [len(held_out), len(malignant)])
surprise = -np.concatenate(list(scores.values()))
area = roc_auc_score(is_malignant, surprise)
found = (scores["malignant"] < threshold).mean()
false = (scores["benign, held out"] < threshold).mean()
print(f"area under the curve {area:.3f}")
print(f"below the threshold: {found:.0%} of the malignant, {false:.0%} of the held-out benign")

# %%
# The threshold is the 5 % quantile of the rows of the fit.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
bins = np.linspace(-150, 0, 60)
for (name, values), colour in zip(scores.items(), ("tab:blue", "tab:red"), strict=True):
    left.hist(values.clip(-150), bins=bins, color=colour, alpha=0.6, label=name)
left.axvline(threshold, color="black", linestyle="dashed", label="threshold")
left.set(xlabel="log predictive density, nats", ylabel="rows")
left.legend()
right.plot(*roc_curve(is_malignant, surprise)[:2], color="tab:red", label=f"area {area:.3f}")
right.plot(false, found, "ko", label="threshold")
right.set(xlabel="benign called anomalous", ylabel="malignant found", aspect="equal")
right.legend(loc="lower right")
plt.show()
