"""A function with a derivative of its own: rounding that lets gradients through."""

import argparse

import graphc as torch
from graphc import nn
from graphc.autograd import Function

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=300)
args = parser.parse_args()


class Quantize(Function):
    """Round to multiples of `step` inside [-1, 1]; backward, the identity there, 0 outside."""

    @staticmethod
    def forward(ctx, x, step):
        ctx.save_for_backward(x)
        return (x.clamp(-1, 1) / step).round() * step

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= 1), None


class QuantizedLinear(nn.Linear):
    def forward(self, input):
        return nn.functional.linear(input, Quantize.apply(self.weight, 0.25), self.bias)


torch.manual_seed(0)
x = torch.randn(256, 8)
target = x @ torch.tensor([0.75, -0.5, 0.25, 0.0, 1.0, -1.0, 0.5, -0.25]).unsqueeze(1)
model = QuantizedLinear(8, 1)
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)


@torch.compile
def train_step(x, target):
    optimizer.zero_grad()
    loss = (model(x) - target).square().mean()
    loss.backward()
    optimizer.step()
    return loss


for step in range(1, args.steps + 1):
    loss = train_step(x, target)
    if step == 1 or step % 100 == 0:
        print(f"step {step:4d}  loss {loss.item():.5f}")
print("weights", Quantize.apply(model.weight, 0.25).detach().flatten().tolist())
