"""Passes over the rows of this machine: row sources, the runner, and what a pass leaves out.

Every result depends on the values of the rows only: not on their storage, nor on the number of
threads.
"""
