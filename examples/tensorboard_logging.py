"""Log losses, a histogram of weights and images for TensorBoard: `tensorboard --logdir runs`."""

import argparse

import graphc as torch
import graphc.nn.functional as F
from graphc import nn
from graphc.datasets import Digits
from graphc.utils.data import DataLoader, TensorDataset
from graphc.utils.tensorboard import SummaryWriter

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--out", default="runs/digits")
args = parser.parse_args()

torch.manual_seed(0)
digits = Digits(train=True)
images = digits.data.float().unsqueeze(1) / 255
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)


@torch.compile
def train_step(x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


step = 0
with SummaryWriter(args.out) as writer:
    writer.add_images("digits", images[:16])
    for epoch in range(1, args.epochs + 1):
        loader = DataLoader(TensorDataset(images, digits.targets), batch_size=64, shuffle=True)
        for x, y in loader:
            loss = train_step(x, y)
            writer.add_scalar("loss/train", loss, step)
            step += 1
        writer.add_histogram("weights/first", model[1].weight, epoch)
        print(f"epoch {epoch}  loss {loss.item():.4f}")
print(f"events in {args.out}")
