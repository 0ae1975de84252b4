"""A copy of ImageNet-1K on disk: whether it is whole, and what makes it so."""
