"""Classify handwritten digits with a conv net; train and test loops, curves saved as PNG.

Uses MNIST where its files are (--root), else the 8x8 digits of scikit-learn.
"""

import argparse

import matplotlib

import graphc as torch
import graphc.nn.functional as F
from graphc import nn
from graphc.datasets import MNIST, Digits
from graphc.transforms import Compose, Normalize, ToTensor
from graphc.utils.data import DataLoader

matplotlib.use("Agg")
import matplotlib.pyplot as plt

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--root", help="where MNIST's files are")
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--lr", type=float, default=2e-3)
parser.add_argument("--out", default="mnist.png")
args = parser.parse_args()

torch.manual_seed(0)
transform = Compose([ToTensor(), Normalize([0.3], [0.35])])
if args.root:
    train_set = MNIST(args.root, train=True, transform=transform)
    test_set = MNIST(args.root, train=False, transform=transform)
else:
    train_set, test_set = Digits(True, transform), Digits(False, transform)
train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)
test_loader = DataLoader(test_set, batch_size=256)
side = train_set.images.shape[1]


class Net(nn.Module):
    def __init__(self, side):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.dropout = nn.Dropout(0.25)
        self.fc1 = nn.Linear(32 * (side // 4) ** 2, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = self.dropout(torch.flatten(x, 1))
        return self.fc2(F.relu(self.fc1(x)))


model = Net(side)
optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)


@torch.compile
def train_step(images, labels):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss


@torch.compile
def test_step(images, labels):
    outputs = model(images)
    correct = (outputs.argmax(dim=1) == labels).sum()
    return F.cross_entropy(outputs, labels, reduction="sum"), correct


def train():
    model.train()
    losses = [train_step(images, labels) for images, labels in train_loader]
    return sum(loss.item() for loss in losses) / len(losses)


def test():
    model.eval()
    total, correct = 0.0, 0
    with torch.no_grad():
        for images, labels in test_loader:
            loss, right = test_step(images, labels)
            total += loss.item()
            correct += right.item()
    return total / len(test_set), correct / len(test_set)


history = []
for epoch in range(1, args.epochs + 1):
    train_loss = train()
    test_loss, accuracy = test()
    history.append((train_loss, test_loss, accuracy))
    print(f"epoch {epoch}  train {train_loss:.4f}  test {test_loss:.4f}  accuracy {accuracy:.1%}")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5))
epochs = range(1, len(history) + 1)
left.plot(epochs, [h[0] for h in history], label="train")
left.plot(epochs, [h[1] for h in history], label="test")
left.set(xlabel="epoch", ylabel="loss")
left.legend()
right.plot(epochs, [h[2] for h in history])
right.set(xlabel="epoch", ylabel="test accuracy")
figure.tight_layout()
figure.savefig(args.out)
print(f"curves in {args.out}")
