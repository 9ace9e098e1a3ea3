"""Names that annotations use before their class exists, filled in once all modules are there.

Modules that `tensor.py` and `module.py` themselves need import those classes for type checkers
only. `typing.get_type_hints` looks the names up in the module of a class or of one it is derived
from, so each file gets them at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping


def complete(package: str, classes: Mapping[str, object]) -> None:
    """Give every loaded file of `package` the classes that its annotations may name."""
    for name, module in list(sys.modules.items()):
        if name.startswith(package + ".") and not hasattr(module, "__path__"):
            for known, value in classes.items():
                vars(module).setdefault(known, value)
