"""`replace`: a value with some of its fields changed, in C, with their names and types checked.

mypy knows the standard library's by name, and checks it for msgspec's values as it does for dataclasses. Of msgspec's
own it believes that it takes anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["replace"]

if TYPE_CHECKING:
    from dataclasses import replace
else:
    from msgspec.structs import replace
