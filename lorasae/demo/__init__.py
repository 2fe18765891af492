"""The pocket world: an embedded language of small texts, and the model and SAEs trained on it."""
