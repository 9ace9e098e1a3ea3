"""Kernel -> textual LLVM IR -> native code, explicitly vectorised to the host's registers."""
