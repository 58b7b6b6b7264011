"""A gate that is ready made: what a scanner has found, held against what an operator allows."""
