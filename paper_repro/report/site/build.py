"""Write the generated pages, notebooks, pictures and scripts of the site into a folder of its sources.

Only what differs is written, so that Sphinx builds nothing anew that has not changed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import bokeh
import click

from paper_repro.evidence.provenance import of_repository
from paper_repro.files import write
from paper_repro.report.site.pages import pages
from paper_repro.report.site.sortable import SCRIPT, script
from paper_repro.terminal import Console


def sources(results_dir: Path, docs: Path) -> dict[Path, bytes]:
    """File -> content of everything that is generated."""
    files = {docs / "generated" / path: text.encode() for path, text in pages(results_dir).items()}
    for notebook in results_dir.glob("*/*.ipynb"):
        if not notebook.stem.endswith(".failed"):
            name = f"{notebook.parent.name}-{notebook.name}"
            files[docs / "generated" / "notebooks" / name] = notebook.read_bytes()
    for picture in results_dir.glob("*/figures/*.png"):
        name = f"{picture.parents[1].name}-{picture.name}"
        files[docs / "generated" / "figures" / name] = picture.read_bytes()
    scripts = Path(bokeh.__file__).parent / "server" / "static" / "js"
    files[docs / "generated" / "static" / "bokeh.min.js"] = (scripts / "bokeh.min.js").read_bytes()
    files[docs / "generated" / "static" / SCRIPT] = script().encode()
    return files


@click.command()
@click.option("--results", type=click.Path(path_type=Path, exists=True), default=Path("results"), show_default=True)
def main(results: Path) -> None:
    """Write the generated part of the site's sources."""
    docs = of_repository("docs")
    wanted = sources(results, docs)
    changed = [file for file, content in wanted.items() if not file.exists() or file.read_bytes() != content]
    for file in changed:
        write(file, wanted[file])
    generated = docs / "generated"
    for file in generated.rglob("*"):
        if file.is_file() and file not in wanted:
            file.unlink()
    for folder in [folder for folder in generated.rglob("*") if folder.is_dir() and not any(folder.iterdir())]:
        shutil.rmtree(folder)
    Console().print(f"site: {len(wanted)} pages and files are generated, {len(changed)} of them anew")
