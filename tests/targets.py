"""What tests of passes compile for: this machine's profile."""

from __future__ import annotations

from graphc.codegen_cpu.profile import profile
from graphc.codegen_cpu.target import Target

CPU = profile(Target.host())
