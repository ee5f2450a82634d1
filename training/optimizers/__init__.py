"""How the weights move: one file an optimizer.  What a file offers: docs/writing-a-plugin.md."""
