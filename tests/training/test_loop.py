"""One run: what it writes, that it can stop anywhere and go on bit by bit, and that bad state loses nothing."""

from __future__ import annotations

import os
import signal
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from filelock import FileLock
from torch import nn

from paper_repro import methods
from paper_repro.accounting import account, ranks
from paper_repro.data.augmentation import CROP_AND_FLIP
from paper_repro.data.catalog import source
from paper_repro.errors import Advice, UserError
from paper_repro.interchange import networks, weight_files
from paper_repro.methods.str import STR
from paper_repro.methods.str_low_rank import STRLowRank
from paper_repro.record import Record
from paper_repro.spec import Spec
from paper_repro.training import loop, measure, saved_state
from paper_repro.training.guards import Interrupted
from paper_repro.training.hooks import Hook
from paper_repro.training.loop import run
from paper_repro.training.run import Run
from tests.training.tiny import RANKS, SPEC, STEPS, install, install_sequences, split


@pytest.fixture(autouse=True)
def tiny_data(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def train(tmp_path: Path, spec: Spec = SPEC, **options) -> Record:
    return run(spec, tmp_path / "runs", tmp_path, **options)


def kill_at(step: int, signum: int = signal.SIGTERM):
    """A ``report`` that sends this process a signal once ``step`` is reached."""

    def report(event: dict) -> None:
        if event["event"] == "progress" and event["step"] == step:
            os.kill(os.getpid(), signum)

    return report


def without_time(run: Record) -> Record:
    return run.model_copy(update={"result": run.result.model_copy(update={"seconds": 0.0})})


def test_what_a_method_advises_is_a_note_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def advise(self: methods.Method, model: object, step: int, total_steps: int) -> None:
        if step == 3:
            warnings.warn("that is hardly meant", Advice, stacklevel=1)

    monkeypatch.setattr("paper_repro.methods.dense.Dense.before_step", advise)
    said: list[str] = []
    spec = replace(SPEC, method="dense", method_args={}, epochs=1)
    run(spec, tmp_path, tmp_path, report=lambda event: said.append(event.get("text", "")))
    assert said.count("warning: that is hardly meant") == 1


def test_the_weights_of_a_finished_run_are_those_that_were_measured(tmp_path: Path) -> None:
    result = train(tmp_path)
    found = networks.read(tmp_path / "runs" / SPEC.name)
    assert account(found.network, found.input_size).sparsity_pct == result.result.sparsity_pct
    images, labels = split(40, 1)
    batch = (source("fashion_mnist").prepare(images), labels)
    measured = measure.accuracy(found.network, [batch], 0.1, torch.device("cpu"))
    assert measured.top1_pct == result.result.top1_pct


def test_a_run_from_spec_to_result(tmp_path: Path) -> None:
    events = []
    result = train(tmp_path, provenance={"commit": "abc"}, report=events.append)
    values = result.result
    assert values.status == "finished"
    correct = values.top1_pct * 40 / 100
    assert 0 <= correct <= 40 and correct == pytest.approx(round(correct))
    assert 1.0 < values.sparsity_pct < 100.0
    assert values.nonzero_params_m == pytest.approx(values.params_m * (1 - values.sparsity_pct / 100))
    assert values.sparse_macs_m < values.macs_m
    assert values.forecast_onset_epoch <= values.onset_epoch <= 3
    assert len(result.layers) == 21 and all(layer.threshold > 0 for layer in result.layers)
    assert len(result.history) == STEPS and result.history[-1].epoch == 3.0
    assert result.provenance.commit == "abc" and result.provenance.threads == torch.get_num_threads()
    assert events[0]["event"] == "start" and events[-1] == {**events[-1], "event": "epoch", "step": STEPS}
    assert sorted(path.name for path in (tmp_path / "runs" / SPEC.name).iterdir()) == [
        "lock",
        "model.safetensors",
        "owner",
        "result.json",
        "spec.json",
    ]


def test_sparsity_stays_at_zero_until_the_forecast_onset(tmp_path: Path) -> None:
    result = train(tmp_path)
    onset = result.result.forecast_onset_epoch
    before = [point.sparsity_pct for point in result.history if point.epoch <= onset]
    assert before and max(before) < 1.0 and result.history[-1].sparsity_pct > 5.0


def test_nesterovs_momentum_is_another_training(tmp_path: Path) -> None:
    plain, ahead = (train(tmp_path, replace(SPEC, nesterov=nesterov)).history for nesterov in (False, True))
    assert plain[0].train_loss == ahead[0].train_loss and plain[1].train_loss != ahead[1].train_loss


@pytest.mark.parametrize("kind, s_init", [("adam", -1.5), ("adamw", -0.03)])
def test_adam_goes_on_bit_by_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, s_init: float) -> None:
    install_sequences(monkeypatch)
    spec = replace(RANKS, optimizer=kind, lr=0.02, method_args={**RANKS.method_args, "s_init": s_init})
    whole = run(spec, tmp_path / "whole", tmp_path)
    with pytest.raises(Interrupted):
        train(tmp_path, spec, report=kill_at(21))
    saved = saved_state.load(tmp_path / "runs" / spec.name)
    state = saved["optimizer"]["state"]
    assert all(entry["exp_avg_sq"].abs().sum() > 0 and entry["step"] == 21 for entry in state.values())
    assert without_time(train(tmp_path, spec)) == without_time(whole)


def test_a_finished_run_is_never_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(tmp_path)
    monkeypatch.setattr(loop, "Run", None)  # training would fail
    assert train(tmp_path) == first


STOPPED = {
    "str": replace(SPEC, method="str", method_args={"s_init": -12.0}),
    "gmp": replace(SPEC, method="gmp", method_args={"sparsity_pct": 80.0}),
    "acdc": replace(SPEC, method="acdc", method_args={"sparsity_pct": 80.0}),  # resets momentum
    "spartan": replace(SPEC, method="spartan", method_args={"sparsity_pct": 80.0}),  # makes its masks of all layers
}


@cache
def uninterrupted(method: str) -> Record:
    with TemporaryDirectory() as folder:
        return without_time(train(Path(folder), STOPPED[method]))


@pytest.mark.parametrize("step", [1, 24, 40, 71])
@pytest.mark.parametrize("method", STOPPED)
def test_interrupted_and_resumed_is_the_same_to_the_bit(tmp_path: Path, method: str, step: int) -> None:
    spec, whole = STOPPED[method], uninterrupted(method)
    with pytest.raises(Interrupted) as stop:
        train(tmp_path, spec, report=kill_at(step))
    assert stop.value.signum == signal.SIGTERM
    assert not (tmp_path / "runs" / spec.name / "result.json").exists()
    notes = []
    resumed = train(tmp_path, spec, report=lambda event: notes.append(event.get("text")))
    assert f"resumed at step {step} of {STEPS}" in notes
    assert without_time(resumed) == whole


def test_losses_and_random_states_between_two_records_survive_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step draws a random number that changes the weights."""

    def noisy(self: methods.Method, model: nn.Module, step: int, total_steps: int) -> None:
        with torch.no_grad():
            next(model.parameters()).mul_(1 + 0.1 * torch.rand(1))

    class Stop(Hook):
        def on_step(self, run: Run) -> None:
            if run.step == 12:
                os.kill(os.getpid(), signal.SIGTERM)

    spec = replace(SPEC, method="dense", method_args={}, epochs=1)
    monkeypatch.setattr("paper_repro.training.run.RECORDS", 3)  # one in 8 steps
    monkeypatch.setattr("paper_repro.methods.dense.Dense.before_step", noisy)
    whole = run(spec, tmp_path / "whole", tmp_path)
    with pytest.raises(Interrupted):
        train(tmp_path, spec, hooks=[Stop()])
    assert saved_state.newest_step(tmp_path / "runs" / spec.name) == 12
    assert without_time(train(tmp_path, spec)) == without_time(whole)


def test_augmented_examples_are_the_same_after_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = run(SPEC, tmp_path / "plain", tmp_path)
    install(monkeypatch)
    monkeypatch.setattr("tests.training.tiny.TinyImages.augmentation", CROP_AND_FLIP)
    whole = run(SPEC, tmp_path / "whole", tmp_path)
    assert whole.result.train_loss != plain.result.train_loss
    with pytest.raises(Interrupted):
        train(tmp_path, report=kill_at(40))
    assert without_time(train(tmp_path)) == without_time(whole)


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    whole = run(SPEC, tmp_path / "whole", tmp_path)

    def die(event: dict) -> None:
        if event["event"] == "progress" and event["step"] == 30:
            raise KeyboardInterrupt  # no handler runs, nothing is saved: as after SIGKILL

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, report=die)
    assert saved_state.newest_step(tmp_path / "runs" / SPEC.name) == 24
    events: list[dict] = []
    assert without_time(train(tmp_path, report=events.append)) == without_time(whole)
    told = [event for event in events if "step" in event]
    assert [event["steps_here"] for event in told] == [event["step"] - 24 for event in told] and told[-1]["step"] == 72
    assert told[0]["seconds_here"] == 0.0 < told[0]["seconds"]


def test_signals_are_handed_back_after_a_run(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted):
        train(tmp_path, report=kill_at(2, signal.SIGINT))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_diverged_run_stops_at_once_and_claims_no_accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poisoned = STR.before_step

    def poison(self, model, step: int, total_steps: int) -> None:
        poisoned(self, model, step, total_steps)
        if step == 4:
            with torch.no_grad():
                model.fc.parametrizations.weight.original.fill_(float("nan"))

    monkeypatch.setattr(STR, "before_step", poison)
    result = train(tmp_path)
    assert result.result.status == "diverged"
    assert result.result.top1_pct is None and result.result.sparsity_pct is None
    assert len(result.history) == 4


def test_every_epoch_is_measured(tmp_path: Path) -> None:
    result = train(tmp_path)
    assert [epoch.epoch for epoch in result.epochs] == [1, 2, 3]
    assert result.epochs[-1].val_top1_pct == result.result.top1_pct
    assert result.kept == {} and all(epoch.ranks == {} for epoch in result.epochs)


def test_networks_are_kept_at_the_ranks_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_sequences(monkeypatch)
    result = train(tmp_path, RANKS)
    met = [epoch for epoch in result.epochs if epoch.ranks == {"w": 9, "u": 12}]
    assert 0 < len(met) < RANKS.epochs  # they are there at first, and then they are not
    kept = result.kept["9/12"]
    assert met[-1].epoch <= kept.epoch < met[-1].epoch + 1
    assert kept.result.params_m == pytest.approx(1e-6 * (9 * 21 + 12 * 24 + 24))
    final = result.epochs[-1].ranks
    assert result.result.params_m == pytest.approx(1e-6 * (final["w"] * 21 + final["u"] * 24 + 24))
    assert result.result.status == "finished"
    stored = weight_files.read_weights(tmp_path / "runs" / RANKS.name / "kept" / "9-12.safetensors")
    assert stored["u.down.weight"].shape == (12, 12)


def test_the_network_kept_is_that_of_the_last_step_with_the_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_sequences(monkeypatch)
    seen: list[tuple[float, dict[str, int], dict[str, torch.Tensor]]] = []

    def watch(self, model, step: int, total_steps: int) -> None:
        plain = self.finalize(model)
        seen.append((step / 8, ranks(plain), plain.state_dict()))

    monkeypatch.setattr(STRLowRank, "after_backward", watch)
    probe = train(tmp_path, RANKS)
    ends = [tuple(epoch.ranks.values()) for epoch in probe.epochs]
    passing = [tuple(at.values()) for _, at, _ in seen if tuple(at.values()) not in ends]
    assert passing  # ranks that no epoch ends with
    seen.clear()
    result = train(tmp_path, replace(RANKS, method_args={**RANKS.method_args, "keep": [list(passing[-1])]}))
    last = [(epoch, state) for epoch, at, state in seen if tuple(at.values()) == passing[-1]][-1]
    name = "/".join(map(str, passing[-1]))
    assert result.kept[name].epoch == last[0]
    (file,) = tmp_path.glob(f"runs/*/kept/{name.replace('/', '-')}.safetensors")
    stored = weight_files.read_weights(file)
    assert all(torch.equal(value, stored[key]) for key, value in last[1].items())
    assert result.epochs == probe.epochs  # looking back changes nothing of the training


def test_a_run_of_one_epoch_keeps_networks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_sequences(monkeypatch)
    arguments = {**RANKS.method_args, "s_init": -0.3}
    result = train(tmp_path, replace(RANKS, epochs=1, weight_decay=0.2, method_args=arguments))
    assert 0.0 < result.kept["9/12"].epoch <= 1.0 and result.epochs == []


@pytest.mark.parametrize("after", [0, 1, None])  # steps after the last with the ranks; the end of an epoch
def test_kept_networks_survive_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int | None
) -> None:
    install_sequences(monkeypatch)
    whole = run(RANKS, tmp_path / "whole", tmp_path)
    last = round(8 * whole.kept["9/12"].epoch)
    assert last % 8 not in (0, 7)
    with pytest.raises(Interrupted):
        train(tmp_path, RANKS, report=kill_at(16 if after is None else last + after))
    resumed = train(tmp_path, RANKS)
    assert without_time(resumed) == without_time(whole)
    files = [tmp_path / name / RANKS.name / "kept" / "9-12.safetensors" for name in ("whole", "runs")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_method_that_prunes_nothing_is_not_called_finished(tmp_path: Path) -> None:
    result = train(tmp_path, replace(SPEC, method="gmp", method_args={"sparsity_pct": 0.0}))
    assert result.result.status == "not_sparse"
    assert train(tmp_path, replace(SPEC, method="dense", method_args={})).result.status == "finished"


def test_a_spec_that_stays_dense_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="would stay dense"):
        train(tmp_path, replace(SPEC, method_args={"s_init": -3200.0}))
    assert not (tmp_path / "runs").exists()


def test_a_run_at_work_elsewhere_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / SPEC.name
    folder.mkdir(parents=True)
    (folder / "owner").write_text("pid 123 on elsewhere\n")
    with FileLock(folder / "lock"), pytest.raises(UserError, match=r"already running \(pid 123 on elsewhere\)"):
        train(tmp_path)
    assert train(tmp_path).result.status == "finished"  # the lock of a process that is gone is free again


def test_results_and_checkpoints_of_another_spec_are_refused(tmp_path: Path) -> None:
    other = replace(SPEC, lr=0.04)
    train(tmp_path, other)
    (tmp_path / "runs" / other.name).rename(tmp_path / "runs" / SPEC.name)
    with pytest.raises(UserError, match=r"lr: 0\.04 there, 0\.05 here") as error:
        train(tmp_path)
    assert error.value.exit_code == 3
    with pytest.raises(Interrupted):
        run(other, tmp_path / "b", tmp_path, report=kill_at(3))
    (tmp_path / "b" / other.name).rename(tmp_path / "b" / SPEC.name)
    with pytest.raises(UserError, match="belongs to another run"):
        run(SPEC, tmp_path / "b", tmp_path)


def test_a_result_that_is_no_result_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "runs" / SPEC.name / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(UserError, match=r"result\.json is damaged") as error:
        train(tmp_path)
    assert error.value.exit_code == 3 and path.read_text() == "{"


def test_runs_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UserError, match="cannot write to"):
        train(tmp_path)


def test_a_run_does_not_go_on_with_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of it would be trained on one data set and half on another, and its record would name the last."""
    with pytest.raises(Interrupted):
        train(tmp_path, report=kill_at(10))
    open_data = Run.__init__

    def changed(self: Run, *given: object) -> None:
        open_data(self, *given)
        self.fingerprint = "f" * 64

    monkeypatch.setattr(Run, "__init__", changed)
    with pytest.raises(UserError, match=r"was begun on other data.*ffffffffffff here.*bring it back") as error:
        train(tmp_path)
    assert error.value.exit_code == 3


def test_a_run_that_waited_while_another_finished_it_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = loop.locked

    def locked_late(folder: Path):
        monkeypatch.setattr(loop, "locked", locked)
        train(tmp_path)  # the other process has it first
        return locked(folder)

    monkeypatch.setattr(loop, "locked", locked_late)
    events: list[dict] = []
    done = train(tmp_path, report=events.append)
    assert done.result.status == "finished" and not [event for event in events if event["event"] == "start"]
