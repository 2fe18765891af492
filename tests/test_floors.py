"""The structure is what the documents say it is."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOP_LEVEL = {
    *("app.py", "lorasae", "pages", "assets", "tests", "requirements.txt", "README.md"),
    *("pyproject.toml", "Makefile", "LICENSE", "CHANGELOG.md", "docs", ".ci", ".gitignore"),
}
DESCRIBED = ("app.py", "pages/*.py", "lorasae/**/*.py", "assets/web/*.js", "docs/*.md", "tests/*.py")


def tracked() -> set[str]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {line for line in listing.stdout.splitlines() if (ROOT / line).exists()}


def readme_tree() -> list[str]:
    """Paths of the README's tree, spelled out from their indentation."""
    block = re.search(r"```tree\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block, "README.md has no ```tree block"
    paths, folders = [], []
    for line in block.group(1).splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders = [*folders[:depth], name.rstrip("/")]
        paths.append("/".join(folders) + ("/" if name.endswith("/") else ""))
    return paths


def test_imports_only_go_down():
    contracts = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert contracts.returncode == 0, contracts.stdout


def test_the_top_level_is_the_agreed_one():
    assert {path.split("/")[0] for path in tracked()} <= TOP_LEVEL


def test_every_line_of_the_readme_tree_exists_and_says_something():
    for path in readme_tree():
        assert (ROOT / path).exists(), path
    lines = re.search(r"```tree\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert lines and all(len(line.split()) > 2 for line in lines.group(1).splitlines())


def test_the_readme_tree_has_one_line_for_every_file():
    tree = readme_tree()
    assert len(tree) == len(set(tree))
    wanted = {path for path in tracked() for pattern in DESCRIBED if _is_named_by(path, pattern)}
    assert wanted and wanted <= set(tree), sorted(wanted - set(tree))


def _is_named_by(path: str, pattern: str) -> bool:
    """`match` compares from the right alone, and `**` stands for one folder in it."""
    return path.startswith(pattern.partition("*")[0]) and (Path(path).match(pattern) or Path(path).match(pattern.replace("**/", "")))


def test_the_project_names_no_machine_and_no_registry():
    forbidden = re.compile("/" + r"work/|pytorch\.org/whl|files\.pythonhosted|/opt/(wheels|pypi)|/root/")
    for path in sorted(tracked()):
        if path.endswith((".py", ".md", ".toml", ".txt", ".json", "Makefile", "run")) and path != "tests/test_floors.py":
            found = forbidden.search((ROOT / path).read_text(encoding="utf-8"))
            assert found is None, (path, found)


def test_browsing_costs_no_torch():
    modules = "lorasae.config, lorasae.sources.catalog, lorasae.store.runs, lorasae.metrics, lorasae.cli.main"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
