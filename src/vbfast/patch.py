"""scikit-learn's mixtures replaced by ours, for programs that are not to be changed.

``python -m vbfast.patch script.py`` runs a program so, and ``%load_ext vbfast.patch`` does it in
IPython and Jupyter. :func:`vbfast.patch_sklearn` has the details.
"""

from __future__ import annotations

import builtins
import copyreg
import os
import pkgutil
import runpy
import sys
import threading
import types
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from types import TracebackType
from typing import Any

import sklearn.mixture

from vbfast.estimators import drop_in
from vbfast.estimators.scikit_learn import SCIKIT_LEARN

__all__ = [
    "load_ipython_extension",
    "patch_sklearn",
    "unload_ipython_extension",
    "unpatch_sklearn",
]

USAGE = """\
usage: python -m vbfast.patch (SCRIPT | -m MODULE | -c CODE) [ARGUMENT ...]

Runs a Python program in which sklearn.mixture has vbfast's mixtures.
"""

# Both modules are changed, and the pickles, by one thread at a time.
_lock = threading.Lock()


def patch_sklearn(*, verbose: bool = True) -> None:
    """Put this package's Gaussian mixtures in the place of scikit-learn's.

    From here on ``sklearn.mixture.GaussianMixture`` and ``sklearn.mixture.BayesianGaussianMixture``
    are classes derived from :class:`vbfast.GaussianMixture` and
    :class:`vbfast.BayesianGaussianMixture`, and from the classes that they replace, in every thread
    of the process. A second call changes nothing.

    Parameters
    ----------
    verbose : bool, default=True
        Whether a line on standard error says what was replaced.

    See Also
    --------
    unpatch_sklearn : Takes it back.

    Notes
    -----
    Modules that have imported a name before, by ``from sklearn.mixture import GaussianMixture``,
    keep scikit-learn's class: patch first. Objects that exist stay what they are. Of processes,
    those that are forked are patched too; those that are spawned start without.

    ``isinstance`` takes objects of either for instances of both, whichever class it is asked about.
    Pickles of the new classes are loaded with or without the patch, where this package is
    installed; :meth:`vbfast.GaussianMixture.to_sklearn` makes objects for elsewhere. Objects of
    scikit-learn's own classes can be pickled as well, but a pickle that was made while patched
    needs this package. Earlier ones are loaded as objects of the new classes.

    What ours do not do is done by scikit-learn's own methods, and the logger 'vbfast' says why, at
    level INFO: derived classes that override a step of scikit-learn's fit, arrays of other
    libraries under scikit-learn's option ``array_api_dispatch``, and rows or parameters that ours
    refuse by a TypeError, as text, dates and masked entries. The bounds of a Bayesian mixture that
    scikit-learn has fitted lack their constants.

    Examples
    --------
    >>> import sklearn.mixture
    >>> import vbfast
    >>> vbfast.patch_sklearn()
    >>> issubclass(sklearn.mixture.GaussianMixture, vbfast.GaussianMixture)
    True
    >>> vbfast.unpatch_sklearn()
    >>> issubclass(sklearn.mixture.GaussianMixture, vbfast.GaussianMixture)
    False
    """
    with _lock:
        if _is_patched():
            return
        for name, own in SCIKIT_LEARN.items():
            # Pickle refuses objects whose class is not what its name stands for.
            copyreg.pickle(own, drop_in.reduced)
            _replace(name, getattr(drop_in, name))
    if verbose:
        names = " and ".join(f"sklearn.mixture.{name}" for name in SCIKIT_LEARN)
        print(f"vbfast: {names} are now vbfast's", file=sys.stderr)


def unpatch_sklearn() -> None:
    """Give scikit-learn its own mixtures back.

    Objects and derived classes that were made while it was patched stay what they are, as do names
    that were imported then. Where nothing is patched, nothing changes.

    See Also
    --------
    patch_sklearn : What is taken back.

    Examples
    --------
    >>> import vbfast
    >>> vbfast.unpatch_sklearn()
    """
    with _lock:
        if not _is_patched():
            return
        for name, own in SCIKIT_LEARN.items():
            _replace(name, own)
            copyreg.dispatch_table.pop(own, None)


def _is_patched() -> bool:
    return any(getattr(sklearn.mixture, name) is getattr(drop_in, name) for name in SCIKIT_LEARN)


def _replace(name: str, replacement: Any) -> None:
    for module in (sklearn.mixture, sys.modules[SCIKIT_LEARN[name].__module__]):
        setattr(module, name, replacement)


def load_ipython_extension(ipython: Any) -> None:  # noqa: ARG001
    """Patch scikit-learn: ``%load_ext vbfast.patch``.

    Parameters
    ----------
    ipython : InteractiveShell
        Not used.
    """
    patch_sklearn()


def unload_ipython_extension(ipython: Any) -> None:  # noqa: ARG001
    """Take the patch back: ``%unload_ext vbfast.patch``.

    Parameters
    ----------
    ipython : InteractiveShell
        Not used.
    """
    unpatch_sklearn()


def main(arguments: Sequence[str]) -> int:
    """Run a program as Python does, after patching.

    What the program raises goes on to Python, which reports it as if it had run the program.

    Parameters
    ----------
    arguments : sequence of str
        As those of ``python``: a script, ``-m`` and a module, or ``-c`` and code; then the
        program's own.

    Returns
    -------
    int
        The exit status of a program that ends by itself; 2 if there is none.
    """
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    program = _program(list(arguments))
    if program is None:
        print(USAGE, end="", file=sys.stderr)
        return 2
    patch_sklearn()
    try:
        program()
    except SystemExit:
        raise
    except BaseException as error:
        _report_without_own_frames(error.__traceback__)
        raise
    return 0


def _program(arguments: list[str]) -> Callable[[], object] | None:
    """Set up the process for a program, and return what runs it."""
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-c", "-m")):
        return None
    if arguments[0] not in ("-c", "-m"):
        return lambda: _run_path(arguments)
    if len(arguments) == 1:
        return None
    option, what, *rest = arguments
    if option == "-m":
        sys.argv[:] = ["-m", *rest]
        _new_main()
        # What python -m itself calls, for the same errors; run_module would clear the program's
        # names before its threads and exit functions end.
        return lambda: runpy._run_module_as_main(what)  # type: ignore[attr-defined]
    sys.argv[:] = ["-c", *rest]
    _search_in("")
    main_module = _new_main()
    return lambda: exec(compile(what, "<string>", "exec", dont_inherit=True), vars(main_module))


def _run_path(arguments: list[str]) -> None:
    path = arguments[0]
    sys.argv[:] = arguments
    main_module = _new_main()
    if pkgutil.get_importer(path) is not None:  # a folder or an archive with a __main__.py
        _search_in(os.path.abspath(path))  # noqa: PTH100
        runpy._run_module_as_main("__main__", alter_argv=False)  # type: ignore[attr-defined]
        return
    file = os.path.abspath(path)  # noqa: PTH100
    loader = SourceFileLoader("__main__", file)
    try:
        source = loader.get_data(file)
    except OSError as error:
        message = f"can't open file {file!r}: [Errno {error.errno}] {error.strerror}"
        print(f"{sys.executable}: {message}", file=sys.stderr)
        sys.exit(2)
    _search_in(os.path.dirname(os.path.realpath(path)))  # noqa: PTH120
    vars(main_module).update(__file__=file, __cached__=None, __loader__=loader)
    exec(compile(source, file, "exec", dont_inherit=True), vars(main_module))


def _new_main() -> types.ModuleType:
    """Return a new module in the place of the one that this program began with."""
    module = types.ModuleType("__main__")
    vars(module).update(__builtins__=builtins, __annotations__={})
    sys.modules["__main__"] = module
    return module


def _search_in(folder: str) -> None:
    """Put a folder where python -m has put the working directory, for modules to be found in."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _report_without_own_frames(traceback: TracebackType | None) -> None:
    """Have Python report an error, by the hook that is set, without the frames of this file."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    report = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
        report(kind, error.with_traceback(traceback), traceback)

    sys.excepthook = hook


if __name__ == "__main__":
    # The module by its name, which the program may import as well.
    from vbfast.patch import main as main_by_name

    sys.exit(main_by_name(sys.argv[1:]))
