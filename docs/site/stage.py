"""Gather the site's sources in one folder: docs/, other pages of the repository, results, decisions, the demo.

    python docs/site/stage.py build/site-source && sphinx-build -W build/site-source build/site

Links in the Markdown files are those of the repository, so that they work there too; here they are led to the site's
pages. A link to a file that is not there stops the build.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "vulnerabilities.md",
    "runtime/embed/README.md": "embed.md",
    "model/weights/README.md": "weights.md",
}
"""Files outside docs/ that are pages, by their place in the repository."""
CONTENTS = "docs/site/contents.md"
"""The site's menu, which ends its first page."""
RESULTS, DEMO = "benchmarks/results", ROOT / "build" / "web" / "web"
LINK = re.compile(r"\[((?:[^][]|\[[^]]*\])*)\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)")


def main(folder: Path) -> None:
    """Write all sources into `folder`, which is emptied before."""
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(
        ROOT / "docs" / "site", folder, ignore=shutil.ignore_patterns("stage.py", "contents.md", "__pycache__")
    )
    for source in [*PAGES, *_files_of_docs()]:
        _copy(source, folder)
    for path in (ROOT / RESULTS).glob("*.json"):
        _copy(f"{RESULTS}/{path.name}", folder)
    with (folder / "index.md").open("a", encoding="utf-8") as first:
        first.write("\n" + (ROOT / CONTENTS).read_text(encoding="utf-8"))
    (folder / "results" / "index.md").write_text(_results_page())
    (folder / "decisions" / "index.md").write_text(_decisions_page())
    (folder / "demo.md").write_text(_demo_page(folder))


def _files_of_docs() -> Iterator[str]:
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.is_file() and "site" not in path.relative_to(ROOT / "docs").parts:
            yield path.relative_to(ROOT).as_posix()


def _copy(source: str, folder: Path) -> None:
    """A file of the repository at its place, in Markdown with its links led to the site, and all that it links to."""
    place = folder / _place(source)
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if not source.endswith(".md"):
        shutil.copyfile(ROOT / source, place)
        return
    place.touch()  # pages link in circles
    place.write_text(_led((ROOT / source).read_text(encoding="utf-8"), source, folder), encoding="utf-8")


def _led(text: str, source: str, folder: Path) -> str:
    """The text of a file of the repository with its links as they are on the site."""

    def link(found: re.Match[str]) -> str:
        words, address, anchor = found[1], found[2], found[3] or ""
        words = LINK.sub(link, words)
        target = os.path.normpath(PurePosixPath(source).parent / address)
        if not (ROOT / target).exists():
            raise SystemExit(f"{source} links to {address}, which is not in the repository")
        if target == RESULTS:
            target += "/index.md"
        elif (ROOT / target).is_dir():
            return words
        else:
            _copy(target, folder)
        return f"[{words}]({os.path.relpath(_place(target), PurePosixPath(_place(source)).parent)}{anchor})"

    return LINK.sub(link, text)


def _place(target: str) -> str:
    """Where a file of the repository is on the site."""
    if target in PAGES:
        return PAGES[target]
    for folder, place in (("docs", ""), (RESULTS, "results")):
        if PurePosixPath(folder) in PurePosixPath(target).parents:
            return str(PurePosixPath(place) / PurePosixPath(target).relative_to(folder))
    return f"files/{target}"


def _results_page() -> str:
    rows = [
        "# All results",
        "",
        "Every figure of this site comes from one of these files: command, machine and commit are in it.",
        "",
        "| result | command | processor | versions | commit |",
        "| --- | --- | --- | --- | --- |",
    ]
    for path in sorted((ROOT / RESULTS).glob("*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        rows.append(f"| [{path.stem}]({path.name}) | `{facts['command']}` | {_machine(facts['machine'])} |")
    return "\n".join(rows) + "\n"


def _machine(machine: dict[str, Any]) -> str:
    """Cells of a result's machine: processor with its vector flags, the versions that matter, the commit."""
    versions = machine["versions"]
    told = ", ".join(f"{name} {versions[name]}" for name in ("torch", "onnxruntime", "numpy") if name in versions)
    processor = " ".join((machine["processor"], *machine.get("vector_flags", ())))
    return f"{processor} | {told} | {machine['commit']}"


def _decisions_page() -> str:
    """Titles of the decisions, with links."""
    rows = ["# Decisions", "", "Why things are as they are, and what was measured before they were so.", ""]
    paths = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    for path in paths:
        title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        rows.append(f"- [{title}]({path.name})")
    rows += ["", "```{toctree}", ":hidden:", "", *(path.stem for path in paths), "```"]
    return "\n".join(rows) + "\n"


def _demo_page(folder: Path) -> str:
    """The page that `lehrnet export --web` wrote, embedded; where there is none, the commands that write it."""
    if not (DEMO / "index.html").is_file():
        return (
            "# Live demo\n\nThis build of the site has no demo: `make site` writes one where npm is. By hand:\n\n"
            "    lehrnet export --out bundle --web\n    lehrnet web bundle\n"
        )
    shutil.copytree(DEMO, folder / "extra" / "demo")
    return (
        "# Live demo\n\nThe shipped network in your browser. Pictures stay there: the page asks no other server for "
        "anything.\n\n```{raw} html\n"
        '<iframe src="demo/index.html" title="lehrnet" style="width:100%;height:80vh;border:0" '
        'allow="camera; cross-origin-isolated"></iframe>\n```\n'
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
