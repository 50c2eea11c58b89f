"""The array functions on large inputs in any strides: no copy, no intermediate of their size."""

import subprocess
import sys
from pathlib import Path

import pytest

# In a process of its own, whose peak no other test has raised. The views share two arrays of 64 MB;
# whatever is as large as a view shows.
SCRIPT = """
import numpy as np
import vbfast

def peak_megabytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

pair = [np.zeros((4000, 2000)) for _ in range(2)]
outs = [np.zeros((4000, 2000)) for _ in range(2)]
for array in [*pair, *outs]:
    array[:] = np.arange(2000.0) % 7

def shared(arrays):
    return {
        "contiguous": arrays,
        "transposed": [a.T for a in arrays],
        "every second, backwards": [a[::-2, ::-1] for a in arrays],
        "three axes": [a.reshape(40, 100, 2000).transpose(2, 0, 1) for a in arrays],
    }

inputs, targets = shared(pair), shared(outs)
vbfast.set_num_threads(2)
vbfast.elbo_and_grad(pair[0][:100], q_logits=pair[1][:100])  # loads, and starts the threads
before = peak_megabytes()

def check(what):
    global before
    now = peak_megabytes()
    print(what, round(now - before, 1), sep="|")
    before = now

for name, (x, y) in inputs.items():
    out = targets[name]
    for axis in (0, -1):
        vbfast.logsumexp(x, axis=axis)
        check(f"logsumexp, {name}, axis {axis}")
        vbfast.entropy(logits=x, axis=axis)
        check(f"entropy, {name}, axis {axis}")
        vbfast.kl_divergence(q_logits=x, p_logits=y, axis=axis)
        check(f"kl_divergence, {name}, axis {axis}")
        for function in (vbfast.softmax, vbfast.log_softmax):
            function(x, axis=axis, out=out[0])
            check(f"{function.__name__}, {name}, axis {axis}")
    vbfast.logsumexp(x, axis=None)
    check(f"logsumexp, {name}, all axes")
    vbfast.elbo(x)
    check(f"elbo at the posterior, {name}")
    vbfast.elbo(x, q_logits=y)
    check(f"elbo, {name}")
    vbfast.elbo_and_grad(x, q_logits=y, out=tuple(out))
    check(f"elbo_and_grad, {name}")
x = inputs["contiguous"][0]
x *= 0
x += 1 / x.shape[1]
vbfast.entropy(x)
check("entropy of probabilities")
vbfast.elbo(inputs["contiguous"][1], q=x)
check("elbo of probabilities")
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's peak of memory")
def test_large_inputs_are_not_copied():
    run = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    lines = [line.split("|") for line in run.stdout.splitlines()]
    risen = {what: float(rise) for what, rise in lines}
    assert len(risen) > 40
    # The smallest view has 32 MB.
    assert {what: rise for what, rise in risen.items() if rise > 8} == {}
    assert sum(risen.values()) < 16
