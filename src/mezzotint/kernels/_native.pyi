# The compiled module; its typed face are the functions of mezzotint.kernels.native.
from typing import Any

def __getattr__(name: str) -> Any: ...  # noqa: ANN401 - a C++ function
