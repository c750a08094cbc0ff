"""Tests of the reports; a package, so that its helpers are imported from here and from nowhere else."""
