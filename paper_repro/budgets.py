"""Where a budget can come from: a rule, the paper, a finished run, a network's weights, or a file of one's own.

Whatever the source, the result is a ``methods.distributions.Budget``, layer name -> sparsity in percent, and every
method that takes a ``budget`` takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from paper_repro import record, tables
from paper_repro.accounting import counted_layers, require_fit
from paper_repro.errors import UserError, unknown
from paper_repro.files import write_csv
from paper_repro.interchange import networks, released, weight_files
from paper_repro.methods.distributions import BUDGETS, Budget, n_of_m
from paper_repro.methods.n_of_m import pattern
from paper_repro.paper.printed import File, Name, Percent
from paper_repro.reading import read_rows


class LayerSparsity(File):
    """A line of a budget file: a layer, and its sparsity."""

    layer: Name
    sparsity_pct: Percent


def load(source: str, model: nn.Module, table: str = "resnet50") -> Budget:
    """The budget that ``source`` names, for the layers of ``model``:

    - ``uniform:90``, ``erk:90`` or ``balance:90``: a rule with its overall sparsity in percent; the last one solves
      the balance of thresholds on the weights that ``model`` has;
    - ``2:4``: an N:M pattern, in the layers that it fits;
    - ``str-90.23``: a budget that the paper publishes with ``table`` (Tables 6 to 8);
    - ``runs/NAME``: the folder of a finished run;
    - ``checkpoints/TABLE/ROW``: the folder of an imported checkpoint;
    - ``FILE.csv``: two columns, layer and sparsity_pct, as ``save`` writes them;
    - any other file, such as ``FILE.pth`` or ``FILE.safetensors``: what ``checkpoint import`` takes, or a state dict of
      any network with exact zeros.

    UserError for a source that is none of these, is damaged, or does not fit the network.
    """
    layers = counted_layers(model)
    rule, colon, number = source.partition(":")
    path = Path(source)
    if colon and rule in BUDGETS:
        budget = BUDGETS[rule](layers, _number(number, source), ())
    elif rule.isdigit() and colon:
        budget = n_of_m(layers, pattern(source))
    elif (path / networks.IMPORTED).exists():
        budget = _of_tensors(path, weight_files.read_weights(path / networks.WEIGHTS), layers)
    elif path.is_dir():
        budget = _of_run(path)
    elif path.suffix == ".csv":
        budget = _of_csv(path)
    elif path.suffix in (".pt", ".pth", ".safetensors") or path.is_file():
        budget = _of_tensors(path, released.effective(weight_files.load(path), path).tensors, layers)
    else:
        published = tables.budgets(table)
        if source not in published:
            raise UserError(
                f"no budget {source!r}: {unknown('published budget', source, published)} It can also be RULE:PERCENT "
                f"({' or '.join(BUDGETS)}), an N:M pattern, the folder of a finished run or of an imported checkpoint, "
                "a .csv, or a file with weights."
            )
        budget = Budget(published[source], f"{source} of table {table}")
    require_fit(budget, layers)
    return budget


def save(budget: Mapping[str, float], path: Path) -> Path:
    """Write a budget as a CSV file of two columns, in the order of its layers."""
    rows = ((layer, f"{sparsity_pct:.4f}") for layer, sparsity_pct in budget.items())
    return write_csv(path, LayerSparsity.model_fields, rows)


def _number(text: str, source: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"budget {source!r}: {text!r} is no sparsity in percent; write it like erk:90") from None


def _of_run(folder: Path) -> Budget:
    by_layer = {layer.layer: layer.sparsity_pct for layer in record.read(folder).layers}
    if not by_layer:
        raise UserError(f"{folder}: the run diverged and has no budget")
    return Budget(by_layer, f"run {folder.name}")


def _of_csv(path: Path) -> Budget:
    if not path.exists():
        raise UserError(f"budget {path} does not exist")
    lines = read_rows(path, LayerSparsity, "layer")
    return Budget({line.layer: line.sparsity_pct for line in lines}, str(path))


def _of_tensors(path: Path, tensors: Mapping[str, Tensor], layers: Mapping[str, nn.Module]) -> Budget:
    missing = [name for name in layers if f"{name}.weight" not in tensors]
    if missing:
        raise UserError(f"{path} is of another network: it has no {missing[0]}.weight")
    zeros = {name: 100.0 * float((tensors[f"{name}.weight"] == 0).double().mean()) for name in layers}
    return Budget(zeros, str(path))
