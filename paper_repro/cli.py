"""The command line: ``python -m paper_repro VERB ...``. It parses, calls, and turns errors into a sentence and an
exit code.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.text import Text

from paper_repro import __version__, tables
from paper_repro.data.sources import data_root
from paper_repro.errors import EXIT_CODES, UserError
from paper_repro.spec import AUTOCASTS, FLOAT32, LOADERS, OPTIONS, options_text
from paper_repro.tables import AUDIT, CHECKPOINT
from paper_repro.terminal import Console, run_command
from paper_repro.verdict import MARGIN
from paper_repro.workflows.job import Job

console = Console()


class _Path(click.Path):
    """A path in which ~ is the home folder, also where no shell has seen to that (make quotes what it passes on)."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Path:
        return Path(str(super().convert(value, parameter, context))).expanduser()


PATH = _Path()


class _DataCommand(click.Command):
    """The verb ``data``, which has the options that data sets declare too."""

    def get_params(self, context: click.Context) -> list[click.Parameter]:
        from paper_repro.data import catalog

        *own, help_ = super().get_params(context)
        declared = [
            click.Option(
                [step.flag],
                help=f"{item.alias or item.name}: {step.help}",
                **({"type": PATH, "metavar": "FILE"} if step.takes_file else {"is_flag": True}),
            )
            for item in catalog.every()
            for step in item.steps
        ]
        return [*own, *declared, help_]


COUNT = click.IntRange(1)
# what several verbs share; those with a default show it
SHARED: dict[str, dict[str, Any]] = {
    "tier": {"default": "smoke", "help": f"One of {', '.join(tables.TIERS)}."},
    "seeds": {"type": COUNT, "default": 1, "help": "Seeds per row."},
    "method": {"help": "Only the rows of this method."},
    "rows": {"help": "Only these rows, separated by commas; 'all' for every row.  [default: the headline rows]"},
    "only": {"metavar": "RUN", "help": "Only the run of this name; `plan` lists the names."},
    "jobs": {"type": COUNT, "help": "Rows trained at once.  [default: one per core, or as many as fit on the GPU]"},
    "max_gpu_hours": {
        "type": click.FloatRange(min=0),
        "help": "Stop before starting when what is to do takes more (core-hours where there is no GPU).",
    },
    "model": {
        "metavar": "FILE",
        "help": "Your own network in place of the table's: a Python file, or package.module:function.",
    },
    "gpus": {
        "type": COUNT,
        "default": 1,
        "help": "Processes that train one row together, one per GPU, or per core where there is none.",
    },
    "loader": {"type": click.Choice(LOADERS), "help": "What reads images.  [default: folder]"},
    "autocast": {"type": click.Choice((FLOAT32, *AUTOCASTS[1:])), "help": "The network's precision."},
    "channels_last": {"is_flag": True, "help": "Memory format of images and weights."},
    "compile": {"is_flag": True, "help": "torch.compile."},
    "data_root": {"type": PATH, "help": "The data sets.  [default: $DATA_ROOT, else data]"},
    "runs": {"type": PATH, "default": Path("runs"), "help": "The runs."},
    "results": {"type": PATH, "default": Path("results"), "help": "Results."},
    "checkpoints": {"type": PATH, "default": Path("checkpoints"), "help": "Imported checkpoints."},
}


def options(*names: str, **defaults: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The ``SHARED`` options of a verb, which may have defaults of its own for some."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            settings = SHARED[name] | ({"default": defaults[name]} if name in defaults else {})
            shown = f"--{name.replace('_', '-')}"
            function = click.option(shown, show_default="default" in settings, **settings)(function)
        return function

    return decorate


def require_table(table: str | None) -> str:
    """The table named on the command line; leaving it out is an error that lists what exists."""
    if table is None:
        raise UserError(f"which table? TABLE is one of: {', '.join(tables.names())}.")
    return tables.load(table).name


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="paper-repro")
def cli() -> None:
    """Reference reproduction of Soft Threshold Weight Reparameterization for Learnable Sparsity (STR, ICML 2020)."""


@cli.command()
@click.argument("table", required=False)
@options(
    "tier", "rows", "seeds", "method", "jobs", "gpus", *OPTIONS, "max_gpu_hours", "data_root", "runs", "results",
    "checkpoints",
)  # fmt: skip
def reproduce(table: str | None, **chosen: Any) -> int:
    """One table from end to end: audit, train what is missing, figures, notebook, verdicts."""
    from paper_repro.workflows import reproduce as steps

    return steps.reproduce(job(table, **chosen), console)


@cli.command()
@click.argument("table", required=False)
@click.argument("row", nargs=-1)
@options(
    "tier", "rows", "only", "seeds", "method", "model", "jobs", "gpus", *OPTIONS, "max_gpu_hours", "data_root", "runs",
    "results",
)  # fmt: skip
def run(table: str | None, row: tuple[str, ...], rows: str | None, **chosen: Any) -> int:
    """Train what is missing of a table: the headline rows, or those named (here or by --rows)."""
    from paper_repro.workflows import train

    return train.run(training_job(table, rows=",".join([*row, *([rows] if rows else [])]), **chosen), console)


@cli.command()
@click.argument("table", required=False)
@options("tier", "rows", "seeds", "method", "model", "jobs", "gpus", *OPTIONS, "max_gpu_hours", "data_root", "runs")
def plan(table: str | None, **chosen: Any) -> int:
    """What would be trained, when each run would start to prune, what it costs, and what is done; trains nothing."""
    from paper_repro.workflows.plan import show_plan

    return show_plan(job(table, **chosen), console)


@cli.command()
@click.argument("table", required=False)
@options("tier", "rows", "seeds", "method", "gpus", *OPTIONS, "max_gpu_hours", "data_root", "runs", "results")
@click.option("--site", type=PATH, help="The settings of the cluster.  [default: cluster.toml, if it is there]")
@click.option("--dry-run", is_flag=True, help="Print the script that would be queued.")
def submit(table: str | None, site: Path | None, dry_run: bool, **chosen: Any) -> int:
    """Queue the missing runs of a table on a SLURM cluster, one task for each; what is queued is not queued twice."""
    from paper_repro.workflows import submit as steps

    return steps.submit(training_job(table, **chosen), site, dry_run, console)


@cli.command()
@click.argument("table", required=False)
@options("tier", "rows", "seeds", "method", *OPTIONS, "data_root", "runs")
def status(table: str | None, **chosen: Any) -> int:
    """A line for each run of a table: queued, running, waiting for requeue, finished, or failed and why."""
    from paper_repro.workflows.status import show_status

    return show_status(training_job(table, **chosen), console)


@cli.command()
@click.argument("table", required=False)
@options("results")
def audit(table: str | None, results: Path) -> int:
    """Recompute the paper's printed numbers from its own budgets (all tables, or the one named); no training."""
    from paper_repro.workflows.audit import write_audit

    chosen = tables.names() if table is None else [require_table(table)]
    return 0 if all(write_audit(Job(name, AUDIT, results=results), console, every=True) for name in chosen) else 1


@cli.command()
@click.argument("table", required=False)
@options("tier", "results")
def render(table: str | None, tier: str, results: Path) -> int:
    """Draw the figures and execute the notebook from the results that are there."""
    from paper_repro.workflows.show import show

    show(job(table, tier=tier, results=results), console)
    return 0


@cli.command(epilog="\b\n" + EXIT_CODES)
@click.argument("method", required=False)
@click.option("--table", default="resnet50", show_default=True, help="The table whose STR rows are the regimes.")
@options("tier", "seeds", "model", "jobs", "gpus", *OPTIONS, "data_root", "runs", "results", seeds=3)
@click.option("--rows", default="", help="Only at the regimes of these STR rows, separated by commas.  [default: all]")
@click.option("--margin", type=float, default=MARGIN, show_default=True, help="Points of accuracy that do not matter.")
@click.option("--weight-decay", type=float, help="Of the method's runs.  [default: the tier's]")
@click.option("--method-args", multiple=True, metavar="KEY=VALUE", help="An argument of the method; may be repeated.")
@click.option(
    "--tune", type=click.IntRange(0), default=0, help="Trials of hyperparameters, as many for STR.  [default: none]"
)
@click.option(
    "--reuse",
    type=click.Choice(["here", "committed"]),
    default="here",
    show_default=True,
    help="The finished runs that are used: those of this machine, or also the committed ones, of any.",
)
@click.option("--out", type=PATH, help="Where the report goes.  [default: regress/NAME]")
@click.option("--strict", is_flag=True, help="An exit code of its own, 4, where a regime is not decided.")
def regress(
    method: str | None,
    table: str,
    margin: float,
    weight_decay: float | None,
    method_args: tuple[str, ...],
    out: Path | None,
    strict: bool,
    reuse: str,
    tune: int,
    **chosen: Any,
) -> int:
    """Is METHOD better than STR? Train it at STR's regimes on the same seeds, and compare.

    METHOD is a Python file that defines a subclass of paper_repro.Method (such as examples/my_method.py), the name of
    an installed entry point of the group paper_repro.methods, or a registered method.
    """
    from paper_repro.workflows import regress as steps

    if method is None:
        raise UserError("which method? METHOD is a Python file, such as examples/my_method.py, or a method's name")
    arguments = steps.parse_arguments(method_args)
    question = steps.Question(method, job(table, **chosen), margin, weight_decay, arguments, out, strict, reuse, tune)
    return steps.regress(question, console)


@cli.command()
@options("results")
def check(results: Path) -> int:
    """Hold the committed results against the reported numbers and the tolerances, as CI does."""
    from paper_repro import checks

    return checks.main(results)


@cli.command(cls=_DataCommand)
@click.argument("name", required=False)
@options("data_root")
@click.option("--root", type=PATH, help="Another name of --data-root.")
def data(name: str | None, data_root: Path | None, root: Path | None, **steps: Any) -> int:
    """Find, fetch and verify the data set NAME; without a name, list the data sets.

    ImageNet-1K (imagenet) cannot be fetched. A copy of it is checked in seconds: DIR/train/WNID/*.JPEG and
    DIR/val/WNID/*.JPEG, where DIR is --root, or imagenet1k in it.
    """
    from paper_repro.data import catalog
    from paper_repro.data.sources import data_root as resolve

    root, every = resolve(root or data_root), catalog.every()
    aliases = {other.alias: other.name for other in every if other.alias}
    item = None if name is None else catalog.dataset(aliases.get(name, name))
    for other in every:
        if other != item and any(steps[step.argument] for step in other.steps):
            flags = " and ".join(", ".join(step.flag for step in other.steps).rsplit(", ", 1))
            raise UserError(f"{flags} apply to `data {other.alias or other.name}` alone")
    if item is None:
        for other in every:
            console.say(
                f"{other.name:<15} {other.title}: {other.train_examples:,} + {other.val_examples:,} examples, "
                f"{other.num_classes} classes (licence: {other.licence})",
            )
        console.print(f"kept in {root}; `data NAME` finds, fetches and verifies one")
        return 0
    asked = {step.argument: steps[step.argument] for step in item.steps}
    catalog.source(item.name).make_ready(root, console.say, **asked)
    return 0


@cli.group()
def checkpoint() -> None:
    """Bring in the authors' released checkpoints, and take trained networks out."""


@checkpoint.command("import")
@click.argument("file", type=PATH)
@click.option("--table", help="The table that it is of.  [default: the one of its network]")
@click.option("--row", help="The row that it is of.  [default: the one with its sparsity and MACs]")
@options("checkpoints")
def import_(file: Path, table: str | None, row: str | None, checkpoints: Path) -> int:
    """Read FILE, a checkpoint as the authors released them; say what it is, and keep it for tier checkpoint."""
    from paper_repro.workflows.released_checkpoints import import_file

    import_file(file, table, row, checkpoints, console)
    return 0


@checkpoint.command()
@click.argument("run", type=PATH)
@click.option("--out", type=PATH, help="Where the files go.  [default: RUN/export]")
@click.option("--kept", metavar="RANKS", help="The network that RUN kept at these ranks, such as 9/8; into export/9-8.")
def export(run: Path, out: Path | None, kept: str | None) -> int:
    """Write the network of RUN as a state dict of torchvision, as safetensors and as ONNX; each is run, and compared.

    RUN is the folder of a finished run, or of an imported checkpoint.
    """
    from paper_repro.interchange.export import Exported
    from paper_repro.interchange.export import export as write_all
    from paper_repro.interchange.networks import kept_weights

    default = run / "export" / (kept_weights(run, kept).stem if kept else "")
    for item in write_all(run, out or default, kept):
        if isinstance(item, Exported):
            off = f"{item.difference:.2g} off, of at most {item.largest:.2g}"
            item = f"{item.path}: {item.form}; its logits were compared, and are {off}"
        console.say(item)
    return 0


@cli.command("list")
def list_() -> int:
    """The tables, their rows and tiers, the methods and the data sets."""
    from paper_repro.data import catalog
    from paper_repro.methods import METHODS, entry_points

    for name in tables.names():
        table = tables.load(name)
        console.print(_titled(name, f"{table.heading}; {len(table.rows)} rows"))
        for tier in (AUDIT, *table.tiers):
            console.print(f"    {tier:<10} {'no training' if tier == AUDIT else trained(table.tiers[tier])}")
        console.say(f"    rows: {', '.join(row.id for row in table.rows)}")
    console.print(_titled("methods", ", ".join(METHODS)))
    if entry_points():
        console.print(_titled("plug-ins", ", ".join(entry_points())))
    console.print(_titled("data sets", ", ".join(catalog.sets())))
    return 0


def _titled(title: str, text: str) -> Text:
    return Text.assemble((title, "bold"), f"  {text}")


def trained(tier: tables.TierPlan) -> str:
    """How many rows a tier trains, and on what."""
    from paper_repro.data.catalog import dataset

    if tier.name == CHECKPOINT:
        return f"no training: {len(tier.rows)} released networks, evaluated on {dataset(tier.base.dataset).title}"
    data = dict.fromkeys(dataset(row.spec.dataset).title for row in tier.rows.values())
    return f"{len(tier.rows)} rows on {', '.join(data) or dataset(tier.base.dataset).title}"


def job(table: str | None, **chosen: Any) -> Job:
    """The job that the command line asks for; an unknown table or tier is an error here, before anything is done."""
    chosen = {name: value for name, value in chosen.items() if value is not None}
    chosen["table"] = require_table(table)
    by_default = click.get_current_context().get_parameter_source("tier") is ParameterSource.DEFAULT
    if by_default and not tables.load(chosen["table"]).tiers:  # of published numbers, which nothing is trained for
        chosen["tier"] = AUDIT
    chosen["data_root"] = data_root(chosen.pop("data_root", None))
    chosen["options"] = options_text({name: chosen.pop(name, None) for name in OPTIONS})
    chosen["rows"] = tuple(row.strip() for row in chosen.pop("rows", "").split(",") if row.strip())
    work = Job(**chosen)
    if work.tier in (AUDIT, CHECKPOINT):
        require_no_training_options(work)
    if work.tier != AUDIT:
        work.specs()
    return work


def training_job(table: str | None, **chosen: Any) -> Job:
    """The same, for verbs that mean nothing at a tier without training."""
    work = job(table, **chosen)
    if work.tier in (AUDIT, CHECKPOINT):
        training = [tier for tier in tables.load(work.table).tiers if tier != CHECKPOINT]
        instead = f"take one of: {', '.join(training)}" if training else f"nor does any other of table {work.table}"
        raise UserError(f"tier {work.tier} trains nothing; {instead}")
    return work


def require_no_training_options(job: Job) -> None:
    """UserError for an option that would change how the runs of a job are trained; its tier trains none."""
    named = {"--gpus (GPUS=)": job.gpus > 1, "--max-gpu-hours (MAX_GPU_HOURS=)": job.max_gpu_hours is not None}
    if job.tier == AUDIT:
        context = click.get_current_context()
        for name in ("rows", "seeds", "jobs", "method"):
            named[f"--{name} ({name.upper()}=)"] = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    named |= {"--model (MODEL=)": bool(job.model)}
    named |= {f"--{name.replace('_', '-')} ({name.upper()}=)": f"{name}=" in job.options for name in OPTIONS}
    if any(named.values()):
        superfluous = ", ".join(name for name, is_there in named.items() if is_there)
        raise UserError(f"tier {job.tier} trains nothing; leave out: {superfluous}")


def main() -> None:
    """Run the command line."""
    run_command(cli)
