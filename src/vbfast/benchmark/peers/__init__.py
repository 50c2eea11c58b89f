"""Other libraries that take EM iterations, each by its own best means.

- :mod:`vbfast.benchmark.peers.registry` has the table of them, and says why one is absent;
- ``adapters/`` has a class for each, which takes iterations from given parameters;
- ``worker.py`` is the program that an adapter runs in, :mod:`vbfast.benchmark.peers.process` what
  asks it.
"""
