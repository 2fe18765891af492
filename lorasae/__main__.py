"""`python -m lorasae`: the terminal. Settings that must precede the first import of torch are made here."""

import os
import sys
import warnings

# Waiting threads sleep instead of spinning: on busy or few cores a spinning barrier makes small operations up to a hundred times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

# Notices between libraries (peft uses a name that transformers is retiring) are nothing a user can act on.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")

from lorasae.cli.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
