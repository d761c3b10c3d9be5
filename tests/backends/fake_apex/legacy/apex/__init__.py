"""A stand-in for NVIDIA Apex up to tag 25.05, which still had `apex.amp`."""
