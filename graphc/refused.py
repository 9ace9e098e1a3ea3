"""Parts of PyTorch without a counterpart: the modules import, and each use says why not.

Libraries import such names where they do not use them: to ask whether a model is sharded, whether a
layer is quantized. So functions are there and raise when called; of the classes nothing is an
instance, and who makes one, or reads a member of one, is told why there are none.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, TypeVar

from graphc.errors import NotAvailable, Unsupported
from graphc.frontend.aliases import module_of

__all__ = ["install"]

F = TypeVar("F", bound=Callable[..., Any])


class Reason(NamedTuple):
    """Why something is not there, and what to do instead."""

    why: str
    fix: str

    def refuse(self, what: str) -> NoReturn:
        raise Unsupported(what, why=self.why, fix=self.fix)


class _Kind(type):
    """Of a class without instances: its members are not there either."""

    _reason: Reason

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotAvailable(
            f"{cls.__module__}.{cls.__name__}.{name}", why=cls._reason.why, fix=cls._reason.fix
        )


def _function(module: str, name: str, reason: Reason) -> Callable[..., NoReturn]:
    def function(*args: Any, **kwargs: Any) -> NoReturn:
        reason.refuse(f"{module}.{name}".lstrip("."))

    function.__name__ = function.__qualname__ = name
    function.__module__ = f"graphc.{module}".rstrip(".")
    function.__doc__ = f"Refused: {reason.why}."
    return function


def _class(module: str, name: str, reason: Reason) -> type:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        reason.refuse(f"{module}.{name}".lstrip("."))

    members = {
        "__init__": __init__,
        "__module__": f"graphc.{module}".rstrip("."),
        "__doc__": f"Refused: {reason.why}.",
        "_reason": reason,
    }
    return _Kind(name, (), members)


ALONE = Reason(
    "graphc runs a step on the cores of one machine, in one process",
    "train in one process; its threads use every core",
)
NOT_QUANTIZED = Reason(
    "there are no quantized tensors", "use bfloat16: model.bfloat16(), or autocast"
)
NO_FILES = Reason(
    "graphc compiles Python functions and writes no program files of them",
    "use graphc.compile to run fast, graphc.save(model.state_dict(), path) to keep",
)
NO_ONNX = Reason(NO_FILES.why, "load the state_dict in PyTorch and export it there")
NO_EXTENSIONS = Reason(
    "graphc compiles no C++ of others, and its tensors are not PyTorch's",
    "write the operator in Python, or as a graphc.library.custom_op over NumPy arrays",
)

# module: its names; those with a capital letter are classes
ROWS: dict[Reason, dict[str, str]] = {
    Reason(
        "every tensor has one size in each dimension",
        "pad with nn.utils.rnn.pad_sequence and mask; a step compiles once for all lengths",
    ): {
        "nested": "nested_tensor as_nested_tensor nested_tensor_from_jagged to_padded_tensor "
        "narrow masked_select",
    },
    NO_FILES: {
        "export": "export draft_export load save unflatten dims Dim ExportedProgram "
        "register_dataclass default_decompositions",
    },
    NO_ONNX: {
        "onnx": "export dynamo_export ONNXProgram ExportOptions "
        "OperatorExportTypes TrainingMode TensorProtoDataType",
        "onnx.symbolic_helper": "",
        "onnx.symbolic_opset11": "select squeeze unsqueeze",
        "onnx.operators": "shape_as_tensor",
    },
    NOT_QUANTIZED: {
        "quantization": "quantize quantize_dynamic quantize_qat prepare prepare_qat convert "
        "fuse_modules default_eval_fn get_default_qconfig get_default_qat_qconfig",
        "ao": "",
        "ao.quantization": "quantize quantize_dynamic quantize_qat prepare prepare_qat convert "
        "fuse_modules fuse_modules_qat get_default_qconfig get_default_qat_qconfig "
        "default_observer default_weight_observer default_per_channel_weight_observer "
        "QConfig QuantStub DeQuantStub",
        "ao.nn": "",
        "ao.nn.quantized": "FloatFunctional Linear Conv2d",
        "nn.quantized": "FloatFunctional Linear Conv2d",
    },
    Reason(
        "graphc packs no code beside the weights",
        "keep the code as Python files, and graphc.save(model.state_dict(), path)",
    ): {
        "package": "PackageExporter PackageImporter is_from_package",
    },
    Reason(
        "files are read by `load` alone, which calls nothing that they name",
        "graphc.load(path) reads a whole file",
    ): {
        "": "PyTorchFileReader PyTorchFileWriter",
    },
    NO_EXTENSIONS: {
        "utils.cpp_extension": "load load_inline include_paths BuildExtension CppExtension "
        "CUDAExtension",
    },
    ALONE: {
        "distributed": "Backend DeviceMesh FileStore HashStore P2POp PrefixStore Store TCPStore "
        "all_gather_coalesced batch_isend_irecv init_device_mesh irecv isend recv "
        "recv_object_list send send_object_list",
        "distributed.algorithms": "Join JoinHook Joinable",
        "distributed.algorithms.ddp_comm_hooks": "",
        "distributed.algorithms.ddp_comm_hooks.default_hooks": "allreduce_hook "
        "bf16_compress_hook bf16_compress_wrapper fp16_compress_hook fp16_compress_wrapper",
        "distributed.algorithms.ddp_comm_hooks.powerSGD_hook": "PowerSGDState powerSGD_hook "
        "batched_powerSGD_hook",
        "distributed.algorithms.ddp_comm_hooks.post_localSGD_hook": "PostLocalSGDState "
        "post_localSGD_hook",
        "distributed.algorithms.join": "Join JoinHook Joinable",
        "distributed.algorithms.model_averaging": "",
        "distributed.algorithms.model_averaging.averagers": "ModelAverager PeriodicModelAverager",
        "distributed._composable": "",
        "distributed._composable.fsdp": "FSDPModule fully_shard",
        "distributed._tensor": "DTensor Replicate Shard distribute_tensor",
        "distributed.tensor": "DTensor Partial Placement Replicate Shard distribute_module "
        "distribute_tensor",
        "distributed.tensor.experimental": "context_parallel implicit_replication",
        "distributed.tensor.parallel": "ColwiseParallel PrepareModuleInput RowwiseParallel "
        "SequenceParallel loss_parallel parallelize_module",
        "distributed.device_mesh": "DeviceMesh init_device_mesh",
        "distributed.checkpoint": "FileSystemReader FileSystemWriter load load_state_dict save "
        "save_state_dict",
        "distributed.checkpoint.state_dict": "StateDictOptions get_model_state_dict "
        "get_optimizer_state_dict get_state_dict set_model_state_dict "
        "set_optimizer_state_dict set_state_dict",
        "distributed.checkpoint.stateful": "Stateful",
        "distributed.elastic": "",
        "distributed.elastic.multiprocessing": "",
        "distributed.elastic.multiprocessing.errors": "ChildFailedError record",
        "distributed.fsdp": "BackwardPrefetch CPUOffload CPUOffloadPolicy FSDPModule "
        "FullOptimStateDictConfig FullStateDictConfig FullyShardedDataParallel MixedPrecision "
        "MixedPrecisionPolicy OffloadPolicy OptimStateKeyType ShardedOptimStateDictConfig "
        "ShardedStateDictConfig ShardingStrategy StateDictType fully_shard",
        "distributed.fsdp.api": "FullOptimStateDictConfig FullStateDictConfig "
        "ShardedOptimStateDictConfig ShardedStateDictConfig StateDictType",
        "distributed.fsdp.fully_sharded_data_parallel": "BackwardPrefetch CPUOffload "
        "FullOptimStateDictConfig FullStateDictConfig FullyShardedDataParallel MixedPrecision "
        "ShardedOptimStateDictConfig ShardedStateDictConfig ShardingStrategy StateDictType",
        "distributed.fsdp.sharded_grad_scaler": "ShardedGradScaler",
        "distributed.fsdp.wrap": "ModuleWrapPolicy enable_wrap lambda_auto_wrap_policy "
        "size_based_auto_wrap_policy transformer_auto_wrap_policy wrap",
        "distributed.launcher": "",
        "distributed.launcher.api": "LaunchConfig elastic_launch",
        "distributed.nn": "all_gather all_reduce all_to_all broadcast reduce_scatter",
        "distributed.nn.functional": "all_gather all_reduce all_to_all broadcast reduce_scatter",
        "distributed.optim": "DistributedOptimizer PostLocalSGDOptimizer ZeroRedundancyOptimizer",
        "distributed.pipelining": "PipelineStage ScheduleGPipe SplitPoint pipeline",
        "distributed.rpc": "init_rpc remote rpc_async rpc_sync shutdown "
        "TensorPipeRpcBackendOptions",
        "distributed.run": "main run get_args_parser",
    },
}


# ---- torch.onnx: what libraries call when they are imported ------------------------------------


def is_in_onnx_export() -> bool:
    """False: nothing is exported."""
    return False


def register_custom_op_symbolic(symbolic_name: str, symbolic_fn: Any, opset_version: int) -> None:
    """Nothing is exported: how an operator would be is not kept."""


def parse_args(*kinds: str) -> Callable[[F], F]:
    """Decorator of such a function: the function itself."""
    return lambda function: function


ONNX = (
    ("onnx", is_in_onnx_export),
    ("onnx", register_custom_op_symbolic),
    ("onnx.symbolic_helper", parse_args),
)


def _found(module: str, names: str, reason: Reason) -> dict[str, Any]:
    return {
        name: (_class if name[0].isupper() else _function)(module, name, reason)
        for name in names.split()
    }


def install() -> None:
    """Make the modules, each as an attribute of its holder, or add to those that there are."""
    for reason, modules in ROWS.items():
        for path, names in modules.items():
            full = f"graphc.{path}".rstrip(".")
            found = _found(path, names, reason)
            if full in sys.modules:
                there = vars(sys.modules[full])
                there.update({name: x for name, x in found.items() if name not in there})
                continue
            made = module_of(full, found)
            holder, _, leaf = full.rpartition(".")
            parent = sys.modules.get(holder) or importlib.import_module(holder)
            setattr(parent, leaf, made)
    for path, function in ONNX:
        setattr(sys.modules[f"graphc.{path}"], function.__name__, function)
