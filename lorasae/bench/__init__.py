"""How fast this machine adapts a model, held against the research code's loop: `python -m lorasae bench`."""
