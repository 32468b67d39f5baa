"""With NUMBA_DISABLE_JIT=1 (coverage) kernels run as plain Python; rows keep their attributes."""

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np


class Row(np.record):
    """One row whose fields come before the attributes that every NumPy scalar has (`flags`)."""

    def __getattribute__(self, name: str) -> Any:
        fields = np.void.__getattribute__(self, "dtype").fields
        if name in fields:
            return np.void.__getattribute__(self, "getfield")(*fields[name][:2])
        return np.record.__getattribute__(self, name)


def attributes(value: Any) -> Any:
    """Structured arrays, also those in a named tuple, whose rows have attributes."""
    if isinstance(value, np.ndarray):
        plain = value.dtype.names and value.dtype.type is not Row
        return value.view(np.dtype((Row, value.dtype))) if plain else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(attributes, value))
    return value


def interpreted(*given: Any, **_: Any) -> Any:
    """In place of `numba.njit`: the function itself, its arguments seen as compiled code does."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            return function(*map(attributes, arguments))

        return call

    return decorate(given[0]) if given and callable(given[0]) else decorate


if numba.config.DISABLE_JIT:
    numba.njit = interpreted
