"""The kinds of text: one file for each family of them, one function for each kind."""
