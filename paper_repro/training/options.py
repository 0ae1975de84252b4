"""Which options of a spec mean something for its run. One that would change nothing but the run's name is refused."""

from __future__ import annotations

from paper_repro import methods
from paper_repro.data.catalog import dataset
from paper_repro.errors import UserError
from paper_repro.methods.base import Method
from paper_repro.spec import LOADERS, Spec


def require_applicable(spec: Spec) -> None:
    """UserError for an option of ``spec`` that its data set, network or method has no use for, with what to do."""
    data = dataset(spec.dataset)
    if spec.loader != LOADERS[0] and spec.loader not in data.readers:
        raise UserError(
            f"loader {spec.loader!r} means nothing for {data.title}, which is kept in memory; leave --loader out"
        )
    for name in ("channels_last", "autocast"):
        if getattr(spec, name) and len(data.input_size) != 3:
            raise UserError(
                f"{name} is for convolutions, and {spec.model} on {data.title} has none: its recurrence is computed in "
                f"float32; leave --{name.replace('_', '-')} out"
            )
    if spec.autocast == "fp16" and _looks_at_gradients(spec):
        raise UserError(
            f"{spec.method} decides by its gradients, which overflow now and then under fp16 (the step is then left "
            "out); take --autocast bf16"
        )


def _looks_at_gradients(spec: Spec) -> bool:
    method = methods.get(spec.method, **spec.method_args)
    return method.looks_at_gradients or type(method).after_backward is not Method.after_backward
