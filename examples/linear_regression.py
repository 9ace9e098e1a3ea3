"""Fit a line with noise by gradient descent."""

import argparse

import graphc as torch
from graphc import nn

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=200)
args = parser.parse_args()

torch.manual_seed(0)
x = torch.linspace(-1, 1, 128).unsqueeze(1)
y = 3.0 * x + 0.5 + 0.1 * torch.randn(128, 1)

model = nn.Linear(1, 1)
criterion = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.2)


@torch.compile
def train_step(x, y):
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


for epoch in range(1, args.epochs + 1):
    loss = train_step(x, y)
    if epoch == 1 or epoch % 50 == 0:
        print(f"epoch {epoch:4d}  loss {loss.item():.4f}")

print(f"slope {model.weight.item():.2f} (3.00), intercept {model.bias.item():.2f} (0.50)")
