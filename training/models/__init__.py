"""Networks that diffusers does not have, one folder each, in diffusers' own shape.  torch at the top: imported by a family's functions only.

A file beside them is what families of one network share; it is imported with them, so no torch at its top.
"""
