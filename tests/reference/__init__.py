"""Plain twins of what the package computes in a faster or less obvious way, written straight from the papers."""
