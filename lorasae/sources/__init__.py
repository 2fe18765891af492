"""Where models, SAEs and text come from: what exists, what is stated about it, and how it is loaded and checked."""
