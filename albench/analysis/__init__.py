"""Analysis: pure numbers. Statistics, the complexity verdict and projection; no torch, no clocks, no files."""
