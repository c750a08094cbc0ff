"""Reproduction: the paper's tables and figures beside what this program reaches with the same recipes.

`published` is what the paper printed, `plan` which runs that takes, `comparison` both side by side. These three are
data and arithmetic; training and measuring the trained networks is in `execution` and `metafeatures`.
"""
