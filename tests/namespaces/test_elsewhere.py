"""Names that libraries import from PyTorch's files, and what is refused when it is used."""

from __future__ import annotations

import copy
import dataclasses
import importlib
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import refused
from graphc.errors import GraphcError

# What libraries import, each stopped by one missing name: timm, kornia, lightning, accelerate,
# peft, diffusers, torch_geometric, monai, gpytorch, torchvision, ignite.
IMPORTED = """
    _C:_TensorMeta,_log_api_usage_once _C._nn:_parse_to _dynamo:OptimizedModule
    _dynamo.eval_frame:OptimizedModule _dynamo.utils:is_compile_supported _tensor_str:_tensor_str
    autograd.forward_ad:unpack_dual autograd.profiler:EventList backends.mkldnn:is_available
    backends.opt_einsum:enabled backends.cuda:sdp_kernel distributions.utils:broadcast_all
    distributions.utils:lazy_property fx.node:Node hub:HASH_REGEX,_get_torch_home
    jit:_overload,_overload_method jit.annotations:BroadcastingList2,List
    nn.init:_calculate_correct_fan,_no_grad_uniform_ nn.modules.transformer:_get_activation_fn
    nn.parameter:UninitializedParameter optim.optimizer:required,ParamsT
    optim.optimizer:_use_grad_for_differentiable,_default_to_fused_or_foreach
    overrides:TorchFunctionMode serialization:DEFAULT_PROTOCOL storage:UntypedStorage
    types:Number,_dtype,_size utils._pytree:SUPPORTED_NODES,_get_node_type
    utils.data._utils.collate:np_str_obj_array_pattern,default_collate_fn_map
    utils.data.dataloader:_BaseDataLoaderIter utils.dlpack:from_dlpack utils.hooks:RemovableHandle
    utils.flop_counter:FlopCounterMode utils.model_zoo:tqdm,load_url
"""


@pytest.mark.parametrize("row", IMPORTED.split())
def test_what_libraries_import_is_there_as_in_torch(row: str) -> None:
    module, _, names = row.partition(":")
    for root in ("graphc", "torch"):
        if root == "torch":
            pytest.importorskip("torch")
        found = importlib.import_module(f"{root}.{module}")
        assert all(hasattr(found, name) for name in names.split(","))


MODULES = [path for modules in refused.ROWS.values() for path in modules if path]


@pytest.mark.parametrize("path", MODULES)
def test_a_part_without_a_counterpart_imports_and_is_refused_at_use(path: str) -> None:
    module = importlib.import_module(f"graphc.{path}")
    names = [n for modules in refused.ROWS.values() for n in modules.get(path, "").split()]
    for name in names:
        thing: Any = getattr(module, name)
        with pytest.raises(NotImplementedError) as e:
            thing()
        assert isinstance(e.value, GraphcError) and name in str(e.value)
        if isinstance(thing, type):
            assert not isinstance(graphc.ones(1), thing) and not hasattr(thing, "MEMBER")
            assert issubclass(type(name, (thing,), {}), thing)


def test_a_flop_counter_is_made_and_counts_nothing() -> None:
    counter = graphc.utils.flop_counter.FlopCounterMode(display=False)
    assert counter.get_total_flops() == 0
    with pytest.raises(NotImplementedError, match="profile"), counter:
        pass


MOVES: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    (("cpu",), {}),
    (("float64",), {"non_blocking": True}),
    (("cpu", "float16", True), {}),
    ((), {"device": "cuda:1", "dtype": "float64"}),
]


@pytest.mark.parametrize("args, kwargs", MOVES)
def test_what_a_move_asks_for(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")

    def of(T: Any) -> str:
        put = {"float64": T.float64, "float16": T.float16}
        a = [put.get(x, x) if isinstance(x, str) else x for x in args]
        found = T._C._nn._parse_to(*a, **{k: put.get(v, v) for k, v in kwargs.items()})
        return repr(found).replace("graphc.", "torch.")

    assert of(graphc) == of(torch)


def test_elements_print_as_torchs() -> None:
    torch = pytest.importorskip("torch")
    a = np.linspace(0, 1, 6).reshape(2, 3).astype(np.float32)
    texts = []
    for T in (graphc, torch):
        S, x = T._tensor_str, T.tensor(a)
        with S.printoptions(precision=2):
            text = S._tensor_str(x, 4)
            texts.append(S._add_suffixes("X(" + text, ["size=6"], 4, force_newline=False))
        texts.append((repr(x).replace("graphc", "torch"), S.PRINT_OPTS.precision))
    assert texts[:2] == texts[2:] and texts[0] != str(a)


def test_a_handle_removes_what_its_owner_entered() -> None:
    mine: dict[int, str] = {}
    other: dict[int, str] = {}
    with graphc.utils.hooks.RemovableHandle(mine, extra_dict=other) as handle:
        mine[handle.id] = other[handle.id] = "hook"
    assert not mine and not other
    handle.remove()


def test_samples_of_a_librarys_class_are_collated_by_it() -> None:
    torch = pytest.importorskip("torch")

    class Sample:
        def __init__(self, n: int) -> None:
            self.n = n

    def joined(batch: Any, *, collate_fn_map: Any) -> int:
        assert Sample in collate_fn_map
        return int(sum(s.n for s in batch))

    for T in (graphc, torch):
        collate = T.utils.data._utils.collate
        collate.default_collate_fn_map[Sample] = joined
        try:
            assert collate.default_collate([{"a": Sample(1)}, {"a": Sample(2)}]) == {"a": 3}
        finally:
            del collate.default_collate_fn_map[Sample]


def test_operators_by_their_name_in_cpp() -> None:
    aten = graphc.ops.aten
    assert aten.add.Tensor is aten.add.Tensor and aten.add.Tensor is not aten.add.Scalar
    assert aten.add.Tensor.overloadpacket is aten.add
    x = graphc.ones(2)
    assert aten.add.Tensor(x, 2).tolist() == [3, 3] and aten.view_as(x, x).shape == (2,)
    with pytest.raises(AttributeError, match="GC009"):
        aten.convolution_overrideable(x)


def test_an_extension_in_cpp_is_refused_as_a_file_that_cannot_be_read() -> None:
    with pytest.raises(OSError, match="GC010"):
        graphc.ops.load_library("_C.so")
    graphc.library.register_fake("missing_in_cpp::f")(lambda x: x)
    with pytest.raises(AttributeError):
        graphc.ops.missing_in_cpp.f  # noqa: B018  reading it raises


def test_classes_that_may_be_loaded_are_remembered() -> None:
    held = graphc.serialization
    with held.safe_globals([dict]):
        held.add_safe_globals([set])
        assert held.get_safe_globals() == [dict, set]
    assert held.get_safe_globals() == []


UTILS = {
    "all": lambda T: T.distributions.utils.broadcast_all(T.ones(2, 1), 3, T.zeros(2))[1],
    "clamped": lambda T: T.distributions.utils.clamp_probs(T.tensor([0.0, 0.3, 1.0])),
    "logits": lambda T: T.distributions.utils.probs_to_logits(T.tensor([0.0, 0.3, 1.0]), True),
    "probs": lambda T: T.distributions.utils.logits_to_probs(T.tensor([0.0, 0.3, 1.0])),
    "vec": lambda T: T.distributions.utils.tril_matrix_to_vec(T.arange(18).reshape(2, 3, 3), -1),
    "mat": lambda T: T.distributions.utils.vec_to_tril_matrix(T.arange(6.0).reshape(1, 6)),
    "mat_below": lambda T: T.distributions.utils.vec_to_tril_matrix(T.arange(3.0), -1),
    "mat_above": lambda T: T.distributions.utils.vec_to_tril_matrix(T.arange(8.0), 1),
}


@pytest.mark.parametrize("name", UTILS)
def test_tools_of_distributions_are_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    mine, theirs = UTILS[name](graphc), UTILS[name](torch)
    np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-6)
    assert str(mine.dtype).partition(".")[2] == str(theirs.dtype).partition(".")[2]


def test_a_lazy_property_is_computed_once() -> None:
    class Some:
        calls = 0

        @graphc.distributions.utils.lazy_property
        def value(self) -> int:
            "told"
            self.calls += 1
            return 7

    some = Some()
    assert some.value + some.value == 14 and some.calls == 1 and Some.value.__doc__ == "told"


@dataclasses.dataclass
class Config:
    dtype: Any
    size: int


def test_a_dtype_in_a_configuration_is_not_taken_apart() -> None:
    assert dataclasses.asdict(Config(graphc.bfloat16, 3)) == {"dtype": graphc.bfloat16, "size": 3}
    assert not dataclasses.is_dataclass(graphc.float32)
    assert copy.deepcopy(graphc.float32) is graphc.float32


@pytest.mark.parametrize("shape", [(20, 9), (9, 20), (2, 12, 8)])
def test_the_largest_singular_values_by_products_with_a_few_columns(shape: Any) -> None:
    graphc.manual_seed(0)
    a = graphc.randn(*shape[:-1], 4) @ graphc.randn(4, shape[-1])
    u, s, v = graphc.svd_lowrank(a, 4)
    np.testing.assert_allclose(((u * s[..., None, :]) @ v.mT).numpy(), a.numpy(), atol=1e-4)
    true = np.linalg.svd(a.numpy(), compute_uv=False)[..., :4]
    np.testing.assert_allclose(s.numpy(), true, rtol=1e-4)
    _, s, v = graphc.pca_lowrank(a, 4)
    rest = a - a.mean(-2, keepdim=True)
    true = np.linalg.svd(rest.numpy(), compute_uv=False)[..., :4]
    np.testing.assert_allclose(s.numpy(), true, rtol=1e-4)
    with pytest.raises(ValueError, match="not greater than"):
        graphc.pca_lowrank(a, 30)


def test_choices_of_attention_are_remembered_inside() -> None:
    cuda = graphc.backends.cuda
    with cuda.sdp_kernel(enable_flash=False):
        assert not cuda.flash_sdp_enabled() and cuda.math_sdp_enabled()
    assert cuda.flash_sdp_enabled()
