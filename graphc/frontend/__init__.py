"""The frontend: tensors, eager execution, autograd, tracing and compilation of steps."""

# First, because the modules that give Tensor its methods import each other in this order.
import graphc.frontend.tensor
