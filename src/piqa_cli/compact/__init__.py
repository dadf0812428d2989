"""The compact assessor: a small network of our own, with weights in the package, for two CPU cores."""
