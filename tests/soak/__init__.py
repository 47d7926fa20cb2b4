"""Fifty keys, ten applications and random faults for some minutes; then the oracle judges."""
