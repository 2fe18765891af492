"""The pocket model and its SAEs, built from nothing: `python -m lorasae.demo.build`."""
