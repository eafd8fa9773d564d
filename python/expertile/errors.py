"""What the library refuses or cannot do, as exceptions with its own messages."""

from __future__ import annotations

import enum


class ErrorCode(str, enum.Enum):
    """The library's codes (include/expertile/result.h)."""

    INVALID_ARGUMENT = "invalid_argument"
    INVALID_DATA = "invalid_data"
    NOT_FOUND = "not_found"
    UNSUPPORTED = "unsupported"
    IO = "io"
    OUT_OF_MEMORY = "out_of_memory"
    NOT_FINITE = "not_finite"
    CANCELLED = "cancelled"


class Error(Exception):
    """One line that names the file, tensor or option, and `code`."""

    code: ErrorCode

    def __init__(self, message: str, code: ErrorCode = ErrorCode.INVALID_ARGUMENT) -> None:
        super().__init__(message)
        self.code = code


class InvalidArgument(Error, ValueError):
    """INVALID_ARGUMENT, which is a ValueError, too."""


class OutOfMemory(Error, MemoryError):
    """OUT_OF_MEMORY, which is a MemoryError, too."""


_CLASSES = {ErrorCode.INVALID_ARGUMENT: InvalidArgument, ErrorCode.OUT_OF_MEMORY: OutOfMemory}


def _make(code: str, message: str) -> Error:
    """Called by the extension module."""
    return _CLASSES.get(ErrorCode(code), Error)(message, ErrorCode(code))


def unsupported(message: str) -> Error:
    return Error(message, ErrorCode.UNSUPPORTED)
