"""graphc in torch's place: imports, versions, other libraries, and the command that does it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import graphc
from graphc.cli.run import alike
from graphc.torch_version import TorchVersion

ROOT = Path(__file__).parents[2]


def python(*command: str, status: int = 0) -> str:
    """What a process of its own prints: being torch cannot be undone."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment, timeout=110
    )
    assert done.returncode == status, done.stderr[-2000:]
    return done.stdout


def inside(code: str) -> str:
    head = "import graphc\ngraphc.install_as_torch()\n"
    return python("-c", head + textwrap.dedent(code))


def test_torch_is_graphc_under_every_name() -> None:
    inside(
        """
        import torch, torch.nn.functional as F, torch.nn as nn
        from torch.nn.modules.batchnorm import _BatchNorm
        from torch.utils.data import DataLoader
        from torch import Tensor
        import torch.optim.lr_scheduler
        from torch.distributions.normal import Normal
        from torch.distributions.kl import kl_divergence
        from torch.utils.model_zoo import load_url
        assert Normal is graphc.distributions.Normal
        assert torch is graphc and nn is graphc.nn and F is graphc.nn.functional
        assert Tensor is graphc.Tensor and issubclass(nn.BatchNorm2d, _BatchNorm)
        assert graphc.__spec__.name == "graphc" and nn.__spec__.name == "graphc.nn"
        assert nn.__name__ == "graphc.nn"
        assert repr(torch.float32) == "torch.float32" and "torch.Size" in repr(torch.ones(2).shape)
        x = torch.ones(2, requires_grad=True)
        (F.relu(x) * 2).sum().backward()
        assert x.grad.tolist() == [2, 2]
        graphc.install_as_torch()
        """
    )


def test_version_parses() -> None:
    inside(
        """
        import torch
        major, minor = map(int, torch.__version__.split("+")[0].split(".")[:2])
        assert (major, minor) >= (2, 0)
        assert torch.__version__ >= "2.4" and torch.__version__ > (2, 9)
        assert torch.version.__version__ == torch.__version__ and torch.version.cuda is None
        """
    )


def test_what_is_missing_is_not_taken_from_pytorch() -> None:
    inside(
        """
        import sys
        for name in ("torch.nothing", "torch._inductor", "torch.distributed.nothing"):
            try:
                __import__(name)
            except ModuleNotFoundError as e:
                assert e.name == name and "graphc" in str(e)
            else:
                raise AssertionError(name)
        assert not [n for n in sys.modules if n.startswith("torch._inductor")]
        """
    )


def test_pytorch_already_imported_is_refused() -> None:
    pytest.importorskip("torch")
    code = "import torch, graphc\ntry:\n    graphc.install_as_torch()\nexcept RuntimeError as e:\n"
    assert "GC007" in python("-c", code + "    print(e)")


def test_the_version_is_told_to_who_asks_for_the_package() -> None:
    inside(
        """
        import torch
        from importlib.metadata import distribution, version
        assert version("torch") == torch.__version__
        assert distribution("torch").metadata["Name"] == "torch"
        assert version("numpy")[0] in "12"
        """
    )


LIBRARY = """
    import torch
    from torch import SymInt, Tensor
    from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
    from torch.onnx.symbolic_helper import parse_args
    from torch.utils.hooks import RemovableHandle

    torch.serialization.add_safe_globals([RemovableHandle])
    torch.onnx.register_custom_op_symbolic("mine::op", parse_args("v")(lambda g, x: x), 11)

    try:
        torch.ops.load_library("mine.so")
    except OSError:
        pass

    def wrapped(model: "torch.torch.nn.Module", size):
        assert not isinstance(size, SymInt)
        return FSDP(model) if isinstance(model, FSDP) else model
"""


def test_a_library_imports_what_it_does_not_use(tmp_path: Path) -> None:
    (tmp_path / "library.py").write_text(textwrap.dedent(LIBRARY))
    inside(
        f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import torch, library
        model = torch.nn.Linear(1, 1)
        assert library.wrapped(model, 3) is model
        """
    )


def test_versions_compare_by_number() -> None:
    version = TorchVersion("2.13.0+cpu")
    assert version > "2.9" and version >= (2, 13) and version < "3" and version == "2.13"
    assert version != "2.12" and version <= "2.13.0" and isinstance(version, str)
    with pytest.raises(TypeError):
        version < 3  # noqa: B015  the comparison itself raises


def test_safetensors_of_torch_take_graphcs(tmp_path: Path) -> None:
    inside(
        f"""
        import torch
        from safetensors.torch import load_file, load_model, save_file, save_model
        file = {str(tmp_path / "x.safetensors")!r}
        save_file({{"a": torch.ones(2, 3), "b": torch.arange(3)}}, file)
        found = load_file(file)
        assert found["a"].tolist() == [[1.0] * 3] * 2 and found["b"].dtype is torch.int64
        net = torch.nn.Linear(2, 2)
        save_model(net, file)
        assert load_model(net, file) == (set(), [])
        """
    )


# ---- einops ------------------------------------------------------------------------------------

EINOPS = """
    from einops import einsum, rearrange, reduce, repeat

    def f(x):
        y = rearrange(x, "b (h d) -> b h d", h=2)
        z = reduce(y, "b h d -> b d", "mean") + reduce(y, "b h d -> b d", "max")
        return einsum(repeat(z, "b d -> b d k", k=3), z, "b d k, b d -> b k")

    x = T.arange(8).reshape(2, 4).float().requires_grad_()
    y = f(x)
    assert y.shape == (2, 3) and T.allclose(T.compile(f)(x), y)
    y.sum().backward()
    assert x.grad.abs().sum() > 0
"""


def test_einops_with_tensors_of_graphc() -> None:
    pytest.importorskip("einops")
    python("-c", "import graphc as T\n" + textwrap.dedent(EINOPS))
    python("-c", "import einops\nimport graphc as T\n" + textwrap.dedent(EINOPS))


def test_einops_with_graphc_as_torch() -> None:
    pytest.importorskip("einops")
    layers = """
    from einops.layers.torch import Rearrange
    net = T.nn.Sequential(Rearrange("b c h w -> b (c h w)"), T.nn.Linear(4, 1))
    assert net(T.ones(2, 1, 2, 2)).shape == (2, 1)
    """
    inside("import torch as T\n" + textwrap.dedent(EINOPS) + textwrap.dedent(layers))


def test_einops_with_graphc_beside_pytorch() -> None:
    pytest.importorskip("einops")
    pytest.importorskip("torch")
    python(
        "-c",
        "import torch, graphc\nfrom einops import rearrange\n"
        "for T in (torch, graphc, torch):\n"
        "    x = rearrange(T.ones(2, 3), 'a b -> b a')\n"
        "    assert type(x) is T.Tensor and tuple(x.shape) == (3, 2)\n",
    )


# ---- python -m graphc run ----------------------------------------------------------------------

SCRIPT = """
import sys

import torch
from helper import scale

x = torch.linspace(0, 1, 3)
print(f"sum {scale(x).sum().item():.3f}", x.dtype, __name__)
print(sys.argv[1:])
"""


def script(folder: Path, text: str = SCRIPT) -> str:
    (folder / "helper.py").write_text("def scale(x):\n    return x * 3\n")
    file = folder / "script.py"
    file.write_text(text)
    return str(file)


def test_run_a_script(tmp_path: Path) -> None:
    out = python("-m", "graphc", "run", script(tmp_path), "--epochs", "3")
    assert out == "sum 4.500 torch.float32 __main__\n['--epochs', '3']\n"


def test_a_scripts_status_and_errors_are_its_own(tmp_path: Path) -> None:
    python("-m", "graphc", "run", script(tmp_path, "raise SystemExit(7)"), status=7)
    python("-m", "graphc", "run", script(tmp_path, "1 / 0"), status=1)
    python("-m", "graphc", "run", str(tmp_path / "none.py"), status=3)


def test_compare_with_pytorch(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    text = script(tmp_path, SCRIPT + "print('graphc' in torch.__version__)\n")
    out = python("-m", "graphc", "run", "--json", "--compare", text, "5", status=1)
    assert json.loads(out) == {
        "lines": 3,
        "differing": [{"line": 3, "graphc": "True", "torch": "False"}],
        "status": {"graphc": 0, "torch": 0},
    }


def test_lines_agree_up_to_rounding() -> None:
    assert alike("loss 0.12345 at 3", "loss 0.12346 at 3")
    assert not alike("loss 0.12", "loss 0.15") and not alike("loss 1", "cost 1")
    assert not alike("1 2", "1") and alike("x 1e-5", "x 1.2e-5")


# ---- Hugging Face ------------------------------------------------------------------------------

BERT = """
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=16, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    ))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    ids = torch.randint(0, 50, (4, 8))

    def step(ids):
        optimizer.zero_grad()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        return loss

    eager = [step(ids).item() for _ in range(4)]
    compiled = torch.compile(step)
    losses = eager + [compiled(ids).item() for _ in range(4)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] - 0.5, losses
    assert "1 program a call" in str(compiled.explain())
"""


def test_bert_of_hugging_face_trains() -> None:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    inside(BERT)


def test_an_operator_of_ones_own() -> None:
    @graphc.library.custom_op("mine::scaled", mutates_args=())
    def scaled(x: graphc.Tensor) -> graphc.Tensor:
        return x * 2

    graphc.library.register_fake("mine::scaled", lambda x: x)
    x = graphc.ones(2, requires_grad=True)
    graphc.ops.mine.scaled(x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [2, 2]
    scaled.register_autograd(lambda ctx, g: g * ctx.factor, setup_context=keep)
    x.grad = None
    graphc.compile(lambda x: graphc.ops.mine.scaled(x).sum())(x).backward()
    assert x.grad.tolist() == [5, 5]
    with pytest.raises(AttributeError):
        graphc.ops.mine.other  # noqa: B018  reading it raises


def keep(ctx: object, inputs: object, output: object) -> None:
    ctx.factor = 5  # type: ignore[attr-defined]  # a place for anything
