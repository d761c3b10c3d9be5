"""A stand-in for NVIDIA Apex since May 2025: `apex.amp` is gone, fused optimizers are left."""
