"""Every error the library raises on purpose, so that a caller can catch them by one name.

Each leaf also inherits the builtin error that fits, so code that knows nothing of
mezzotint (``except ValueError``) works too. Messages say what came in, what is
allowed and what to do.
"""


class MezzotintError(Exception):
    """Base of all errors raised by mezzotint on purpose."""


class DataError(MezzotintError, ValueError):
    """The samples, labels or weights cannot be used: shape, dtype, NaN, infinity, one class."""


class DataTypeError(DataError, TypeError):
    """An element of the samples is not a number at all."""


class ParameterError(MezzotintError, ValueError):
    """A parameter lies outside its allowed set."""


class FormatError(MezzotintError, ValueError):
    """A number format is ill-defined, or a value does not belong to it."""


class KernelUnavailableError(MezzotintError, RuntimeError):
    """The requested kernel or instruction set does not exist on this machine."""


class FileError(MezzotintError, OSError):
    """A file cannot be read or written, or does not hold what its header says."""


class StoreError(FileError):
    """A store of packed samples is damaged, unfinished, of another version, or not a store."""
