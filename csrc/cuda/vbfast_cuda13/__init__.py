"""The CUDA module of vbfast, which finds it by an entry point."""
