"""What a run was made with: Python, the platform, and the packages whose versions decide its numbers."""

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("lorasae", "torch", "transformers", "peft", "sae-lens", "datasets", "numpy", "safetensors")


def versions() -> dict[str, str]:
    """Version by name; packages that are not installed are left out."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
