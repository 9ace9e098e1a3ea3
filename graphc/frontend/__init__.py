"""The frontend: tensors, eager execution, autograd, tracing and compilation of steps."""

import graphc.frontend.api.methods  # which gives Tensor its methods
