"""The E-step contract and what drives it: row sources, blocking, configuration.

From the bottom up:

- :mod:`vbfast.engine.contract` says what a pass over the rows is given and returns;
- :mod:`vbfast.engine.plan` fixes which rows are added up together;
- :mod:`vbfast.engine.rows`, :mod:`vbfast.engine.weights` and :mod:`vbfast.engine.responsibilities`
  turn what a caller has (arrays, memory maps, HDF5 or Zarr arrays) into row blocks;
- :mod:`vbfast.engine.config` holds the number of threads and the backend in use;
- :mod:`vbfast.engine.engine` runs passes;
- :mod:`vbfast.engine.dormant` runs those of a fit without the components that no row can notice.

Every result depends on the values of the rows only: not on their storage, nor on the number of
threads.
"""
