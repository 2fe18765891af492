"""What names on the Hub look like: one pattern each, for whoever reads one that somebody typed or published, browsers included."""

_PART = r"[A-Za-z0-9_]+(?:(?:-\.|\.-|[.\-])[A-Za-z0-9_]+)*"  # at its ends no - and no ., nowhere -- or ..
REPO_ID = rf"{_PART}/{_PART}"  # NAMESPACE/NAME
LONGEST = 193  # letters: 96 on either side
LICENCE = r"[A-Za-z0-9][A-Za-z0-9.\-]{0,49}"
