"""The repository, as it is, is a Space: what its front matter says is true, and what the app imports is required."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path

import pytest
import yaml
from huggingface_hub import SpaceHardware
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from lorasae.sources.published_models import PUBLISHED
from lorasae.sources.registered_saes import registered_saes

ROOT = Path(__file__).parents[1]
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
SCOPES = {"email", "read-billing", "read-repos", "contribute-repos", "write-repos", "manage-repos", "gated-repos", "inference-api", "jobs"}


@pytest.fixture(scope="module")
def front_matter() -> dict:
    before, block, _ = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert before == "", "the front matter is the first thing in README.md"
    return yaml.safe_load(block)


@pytest.fixture(scope="module")
def required() -> dict[str, Requirement]:
    """By canonical name."""
    lines = (ROOT / "requirements.txt").read_text().split("\n")
    return {canonicalize_name(each.name): each for each in (Requirement(line) for line in lines if line and not line.startswith("#"))}


def test_the_space_runs_the_gradio_that_is_tested(front_matter, required):
    assert (front_matter["sdk"], front_matter["sdk_version"]) == ("gradio", version("gradio"))
    assert front_matter["sdk_version"] in required["gradio"].specifier


def test_the_space_runs_a_python_that_the_package_allows(front_matter):
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert isinstance(front_matter["python_version"], str), "quoted, or YAML makes 3.10 of it 3.1"
    assert front_matter["python_version"] in SpecifierSet(metadata["requires-python"])
    assert front_matter["license"] == metadata["license"].lower()
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:300] and "Version 2.0" in (ROOT / "LICENSE").read_text()[:300]


def test_the_space_has_a_face(front_matter):
    assert {front_matter["colorFrom"], front_matter["colorTo"]} <= COLOURS
    assert front_matter["title"] in (ROOT / "README.md").read_text(encoding="utf-8").split("\n---\n")[1]
    assert 0 < len(front_matter["short_description"]) <= 60
    assert not front_matter["emoji"].isascii() and len(front_matter["emoji"]) <= 2


def test_the_space_starts_what_is_there_on_hardware_that_exists(front_matter):
    assert (ROOT / front_matter["app_file"]).is_file()
    assert front_matter["suggested_hardware"] in {each.value for each in SpaceHardware}
    assert front_matter["startup_duration_timeout"][-1] in "mh" and front_matter["startup_duration_timeout"][:-1].isdigit()


def test_sign_in_asks_for_the_least(front_matter):
    assert front_matter["hf_oauth"] is True
    assert 0 < front_matter["hf_oauth_expiration_minutes"] <= 43_200
    scopes = set(front_matter["hf_oauth_scopes"])
    assert scopes <= SCOPES and not scopes & {"write-repos", "manage-repos", "read-repos", "email"}


def test_models_that_the_space_names_are_in_the_catalogue(front_matter):
    model, sae_repository = front_matter["models"]
    assert model in PUBLISHED
    assert any(card.repository == sae_repository for card in registered_saes().cards)


def test_everything_the_app_imports_is_required(required):
    """A Space has nothing else, but for `spaces`, which its image brings and nothing but lorasae/web/zero_gpu.py imports."""
    distributions = packages_distributions()
    imported = {name for path in sources() for name in imports_of(path)} - set(sys.stdlib_module_names) - {"lorasae", "pages"}
    assert [path.name for path in sources() if "spaces" in imports_of(path)] == ["zero_gpu.py"]
    imported -= {"spaces"}
    missing = {name for name in imported if not {canonicalize_name(each) for each in distributions.get(name, ["?"])} & set(required)}
    assert len(imported) > 10 and missing == set()


def test_no_requirement_names_a_build_or_an_address(required):
    """A Space with a GPU takes the build of torch that has CUDA: the ordinary one."""
    for requirement in required.values():
        assert requirement.url is None and "+" not in str(requirement.specifier), str(requirement)
        assert version(requirement.name) in requirement.specifier, str(requirement)
    assert not any(line.startswith("-") for line in (ROOT / "requirements.txt").read_text().splitlines())


def test_what_a_space_installs_beside_us_agrees_with_us(required):
    """It installs `gradio[oauth,mcp]==SDK_VERSION spaces` in the same breath: one bound that excludes ours, and nothing is built."""
    beside = [Requirement(line) for line in requires("gradio") or []] + [Requirement("uvicorn>=0.14.0")]
    beside += [Requirement("pydantic>=1,<3"), Requirement("requests>=2.19,<3")]  # what spaces 0.51.3 asks for
    asked = [each for each in beside if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in ("oauth", "mcp"))]
    met = [each for each in asked if canonicalize_name(each.name) in required]
    assert {"pydantic", "starlette"} <= {each.name for each in met}
    for theirs in met:
        both = theirs.specifier & required[canonicalize_name(theirs.name)].specifier
        named = {each.version for each in both} | {version(theirs.name)}
        assert any(candidate in both for candidate in named), f"{theirs} and {required[canonicalize_name(theirs.name)]}"


def sources() -> list[Path]:
    return [ROOT / "app.py", *(ROOT / "lorasae").rglob("*.py"), *(ROOT / "pages").rglob("*.py")]


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.name.split(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found
