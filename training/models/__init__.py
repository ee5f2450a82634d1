"""Networks that diffusers does not have, one folder each, in diffusers' own shape.  torch at the top: imported by a family's functions only."""
