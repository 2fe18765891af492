"""What names on the Hub look like: one pattern each, for whoever reads one that somebody typed or published."""

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}"
REPO_ID = rf"{_PART}/{_PART}"  # NAMESPACE/NAME
LICENCE = r"[A-Za-z0-9][A-Za-z0-9.-]{0,49}"
