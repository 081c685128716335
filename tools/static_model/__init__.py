"""The steps of `build_static_model.py`, which makes the table of `static-v1`."""
