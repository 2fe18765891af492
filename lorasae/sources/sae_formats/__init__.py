"""The layouts in which publishers store SAEs, one small reader each; `formats.py` is the table of them."""
