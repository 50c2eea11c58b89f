"""How fast this machine is: cases, floor and fair timing, for ``vbfast bench`` and ``bench/``.

- :mod:`vbfast.benchmark.cases` has the mixtures that every benchmark uses, and the work that an
  iteration of each cannot do without;
- :mod:`vbfast.benchmark.timing` times calls in turns, and measures the peak;
- :mod:`vbfast.benchmark.iterations` times EM iterations, ours and scikit-learn's;
- :mod:`vbfast.benchmark.peers` has the other libraries, each in a process of its own;
- :mod:`vbfast.benchmark.side_by_side` compares ours with theirs, :mod:`vbfast.benchmark.figure`
  draws what comes out;
- :mod:`vbfast.benchmark.machine` names the machine and the versions.
"""
