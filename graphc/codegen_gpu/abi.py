"""What graphc knows of Triton: the one file that its versions matter to.

Types of parameters, compile-time options, the choice of ptxas, and which fields of a compiled
kernel's metadata an Image takes. A Triton function has, in PTX, its parameters in order and two
pointers more (scratch memory of the program and of the profiler), whether it uses them or not.

`toolchain` looks without importing Triton, so that a start which finds all kernels on disk
imports none of it; the rest runs in worker processes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from graphc.errors import BackendError
from graphc.ir.cuda_abi import Param, Source

OLDEST, TOO_NEW = (3, 6), (3, 10)
INSTALL = "pip install 'triton>=3.6,<3.10'"
WARP_SIZE = 32
ALIGNMENT = 16  # bytes of the widest access, and all that Triton asks of `tt.divisibility`

# Triton's names of element types that are not ours
ELEMENT_TYPES = {"bool": "i1", "f16": "fp16", "f32": "fp32", "f64": "fp64"}
SCALAR_TYPES = {"i32": "i32", "i64": "i64", "f32": "fp32", "f64": "fp64"}
PTX_TYPES = {"pointer": "u64", "i32": "u32", "i64": "u64", "f32": "f32", "f64": "f64"}
SCRATCH_PARAMS = ("u64", "u64")  # global_scratch, profile_scratch: after all others

# Variables that change what Triton makes, which the key of a cached kernel does not know.
VARIABLES = ("TRITON_", "PTXAS_", "LLVM_", "MLIR_", "DISABLE_PTXAS_OPT", "NVPTX_")


class Toolchain(NamedTuple):
    """An installed Triton: its version and where its programs are."""

    version: str
    folder: Path

    def tool(self, name: str) -> Path:
        """ptxas, cuobjdump or nvdisasm, as Triton ships them."""
        return self.folder / "backends" / "nvidia" / "bin" / name


@lru_cache(maxsize=1)
def toolchain() -> Toolchain:
    """The installed Triton. Raises BackendError that says what to install."""
    spec = importlib.util.find_spec("triton")
    if spec is None or not spec.submodule_search_locations:
        raise BackendError(
            "code for a GPU needs Triton, which is not installed",
            why="graphc compiles kernels for CUDA with Triton",
            fix=INSTALL,
        )
    version = metadata.version("triton")
    check_version(version)
    return Toolchain(version, Path(spec.submodule_search_locations[0]))


def check_version(version: str) -> None:
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if not OLDEST <= numbers < TOO_NEW:
        age = "old" if numbers < OLDEST else "new"
        raise BackendError(
            f"Triton {version} is too {age}",
            why="its interfaces differ from version to version; 3.6 to 3.9 are known",
            fix=INSTALL,
        )


@lru_cache(maxsize=1)
def installed_version() -> str:
    """For keys of cached kernels; empty without Triton, whose kernels nobody can find then."""
    try:
        return metadata.version("triton")
    except metadata.PackageNotFoundError:
        return ""


def ptxas() -> Path:
    """The assembler for all architectures. Triton 3.9 has a newer one for sm_90 and up, whose
    code needs a driver of CUDA 13; this one's runs with any driver of CUDA 12."""
    return toolchain().tool("ptxas")


# ---- a source, as Triton wants it --------------------------------------------------------------


def triton_type(param: Param) -> str:
    if param.type == "pointer":
        return "*" + ELEMENT_TYPES.get(param.dtype, param.dtype)
    return SCALAR_TYPES[param.type]


def signature(source: Source) -> dict[str, str]:
    """Every parameter's type, those known at compile time among them."""
    types = {param.name: triton_type(param) for param in source.params}
    return types | {name: "constexpr" for name, _ in source.constants}


def attributes(source: Source) -> dict[tuple[int, ...], list[list[object]]]:
    """By position: pointers (bytes) and integers that are multiples of 16."""
    return {
        (i,): [["tt.divisibility", ALIGNMENT]]
        for i, param in enumerate(source.params)
        if param.align % ALIGNMENT == 0
    }


def options(source: Source) -> dict[str, object]:
    """Each operation rounds, as on a CPU: what two kernels compute alike must come out alike.

    Products of `tl.dot` are fused all the same. libdevice keeps denormals, as all other code does,
    but where a source says that it need not.
    """
    return {
        "num_warps": source.num_warps,
        "num_stages": source.num_stages,
        "num_ctas": 1,
        "enable_fp_fusion": False,
        "enable_reflect_ftz": source.flushes,
    }


def capability(arch: str) -> int:
    """`sm_90a` is 90: Triton itself adds the letter."""
    digits = arch.removeprefix("sm_").removesuffix("a")
    if not arch.startswith("sm_") or not digits.isdecimal() or int(digits) < 80:
        raise BackendError(
            f"no code can be made for {arch or 'an unnamed architecture'}",
            why="kernels use instructions that GPUs have from sm_80 (A100) on",
            fix="use a GPU of compute capability 8.0 or above",
        )
    return int(digits)


def parameter_types(source: Source) -> tuple[str, ...]:
    """Types of the PTX entry's parameters, which the runtime packs in this order."""
    return (*(PTX_TYPES[param.type] for param in source.params), *SCRATCH_PARAMS)


# ---- inside a worker ---------------------------------------------------------------------------


def environment(inherited: Mapping[str, str], folder: str) -> dict[str, str]:
    """Variables of a worker: Triton's own files go to `folder`, and what would change code that
    is found again by its source alone (interpreter, dumps, overrides) is dropped.

    Without line numbers, equal kernels are equal bytes.
    """
    kept = {name: value for name, value in inherited.items() if not name.startswith(VARIABLES)}
    return kept | {
        "TRITON_CACHE_DIR": folder,
        "TRITON_DISABLE_LINE_INFO": "1",
        "TRITON_PTXAS_PATH": str(ptxas()),
        "TRITON_PTXAS_BLACKWELL_PATH": str(ptxas()),
    }


def compiled(function: Any, source: Source, arch: str, registers: int = 0) -> Any:
    """Triton's compiled kernel of a `@triton.jit` function; a thread has so many `registers`, or as
    many as ptxas likes."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    described = ASTSource(
        function,
        signature=signature(source),
        constexprs=dict(source.constants),
        attrs=attributes(source),
    )
    target = GPUTarget("cuda", capability(arch), WARP_SIZE)
    limit = {"maxnreg": registers} if registers else {}
    return triton.compile(described, target=target, options={**options(source), **limit})


def scratch(fields: Mapping[str, Any], name: str) -> tuple[int, int]:
    return fields.get(f"{name}_size") or 0, fields.get(f"{name}_align") or 1


def image_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Of a compiled kernel's metadata: what an Image says besides source and code."""
    return {
        "entry": fields["name"],
        "shared_bytes": fields["shared"],
        "global_scratch": scratch(fields, "global_scratch"),
        "profile_scratch": scratch(fields, "profile_scratch"),
    }
