"""Between two calls of a compiled step anything may happen to the model; the next call is right."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.frontend.mutations import MUTATIONS

OF_SLOTS = [name for name in MUTATIONS if name.startswith(("slots", "optimizer", "double"))]
KINDS = {"sgd": [], "forward": [], "module": [], "adam": [*OF_SLOTS, "data_other_shape"]}


@pytest.mark.parametrize("kind", KINDS)
def test_every_mutation_leaves_compiled_and_eager_alike(kind: str) -> None:
    names = KINDS[kind] or list(MUTATIONS)
    command = [sys.executable, "-m", "tests.frontend.mutations", kind, *names]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    expected = [f"{name}: alike" for name in names]
    found = ran.stdout.splitlines()
    assert ran.returncode == 0 and found == expected, [
        *(line for line in found if line not in expected), ran.returncode, ran.stderr[-2000:]
    ]  # fmt: skip
