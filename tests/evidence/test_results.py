from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from paper_repro import record, tables
from paper_repro.errors import UserError
from paper_repro.evidence import evidence, results
from paper_repro.evidence.lines import update_schema_document
from paper_repro.evidence.provenance import repository
from paper_repro.record import Provenance
from tests.made_up import MakeRuns, fake_run
from tests.made_up_record import change


@pytest.fixture
def file(make_runs: MakeRuns, tmp_path: Path) -> Path:
    """A valid results file with two rows of one seed."""
    return results.collect("resnet50", "smoke", make_runs(rows=["dense", "str-90.23"]), tmp_path / "results")


def edit(file: Path, old: str, new: str, count: int = 1) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, count), encoding="utf-8", newline="")


def test_round_trip_changes_nothing(file: Path) -> None:
    before = file.read_bytes()
    results.write(results.read(file), file)
    assert file.read_bytes() == before


def test_an_optional_column_is_in_a_file_only_where_it_says_something(file: Path) -> None:
    assert "checkpoint_sha256" not in file.read_text(encoding="utf-8")
    frame = results.read(file)
    assert frame["checkpoint_sha256"].eq("").all()
    results.write(frame.assign(checkpoint_sha256=["cd" * 32, ""]), file)
    assert file.read_text(encoding="utf-8").splitlines()[0].endswith(",seconds,checkpoint_sha256")
    assert results.read(file)["checkpoint_sha256"].to_list() == ["cd" * 32, ""]
    edit(file, "cd" * 32, "cd")
    with pytest.raises(UserError, match="column 'checkpoint_sha256': 'cd' must match pattern"):
        results.read(file)


def test_lines_are_sorted_naturally_and_numbers_have_fixed_formats(make_runs: MakeRuns, tmp_path: Path) -> None:
    file = results.collect("resnet50", "smoke", reversed(make_runs(seeds=(10, 9))), tmp_path / "results")
    header, *lines = [line.split(",") for line in file.read_text(encoding="utf-8").splitlines()]
    keys = [(line[0], int(line[3])) for line in lines]
    assert keys[:4] == [("dense", 9), ("dense", 10), ("dnw-80", 9), ("dnw-80", 10)]
    assert [row for row, seed in keys if seed == 9][-2:] == ["str-98.05", "str-98.98"]
    assert all(len(line[header.index("target_sparsity_pct")].split(".")[-1]) in (0, 2) for line in lines)


def test_budgets_keep_the_order_of_layers(file: Path, tmp_path: Path) -> None:
    frame = results.read(results.path(tmp_path / "results", "resnet50", "smoke", "budgets"), "budgets")
    layers = frame[frame["row"] == "str-90.23"]["layer"].to_list()
    assert layers[0] == "conv1"
    assert layers[-1] == "fc"
    assert len(layers) == 54


def test_history_gets_threshold_statistics(file: Path, tmp_path: Path) -> None:
    frame = results.read(results.path(tmp_path / "results", "resnet50", "smoke", "history"), "history")
    ours = frame[frame["row"] == "str-90.23"]
    assert (ours["threshold_min"] < ours["threshold_median"]).all()
    assert (ours["threshold_median"] < ours["threshold_max"]).all()
    assert ours["threshold_figure_layer"].notna().all()
    assert frame[frame["row"] == "dense"]["threshold_min"].isna().all()


def test_runs_that_recorded_the_balance_have_its_columns_and_others_have_none(
    make_runs: MakeRuns, tmp_path: Path
) -> None:
    files = {kind: results.path(tmp_path / "results", "resnet50", "smoke", kind) for kind in ("budgets", "history")}
    results.collect("resnet50", "smoke", make_runs(rows=["dense", "str-90.23"]), tmp_path / "results")
    assert all("balance" not in file.read_text(encoding="utf-8") for file in files.values())
    before = {kind: file.read_bytes() for kind, file in files.items()}
    for kind, file in files.items():
        results.write(results.read(file, kind), file, kind)
        assert file.read_bytes() == before[kind]
    results.collect("resnet50", "smoke", make_runs(rows=["str-90.23"], seeds=[1], recorded=True), tmp_path / "results")
    budgets, history = (results.read(file, kind).set_index(["row", "seed"]) for kind, file in files.items())
    assert budgets.loc[("str-90.23", 0), ["kept_l1", "balance"]].isna().all(axis=None)
    assert budgets.loc[("str-90.23", 1), "balance"].to_list() == [round(1 + i / 100, 2) for i in range(54)]
    last = history.loc[("str-90.23", 1)].iloc[-2]
    assert last["kept_l1"] == 54  # one of every layer
    assert [last[f"balance_{name}"] for name in ("min", "median", "max")] == [
        0.975,
        pytest.approx(0.975 * 27.5, rel=1e-4),
        0.975 * 54,
    ]


def test_layers_without_weights_and_an_s_of_zero_are_left_out_of_the_balance(
    make_runs: MakeRuns, tmp_path: Path
) -> None:
    (folder,) = make_runs(rows=["str-90.23"], recorded=True)
    none: dict[str, list[float]] = {name: [0.0, 0.0] for name in record.read(folder).history[-1].balance}
    some = dict(zip(none, ([2.0, 0.5], [3.0, 4.0], [5.0, math.inf]), strict=False))
    change(folder, "history", -1, "balance", value=none | some)
    change(folder, "history", -2, "balance", value=none)
    change(folder, "layers", 0, "balance", value=math.inf)
    results.collect("resnet50", "smoke", [folder], tmp_path / "results")
    history = results.read(results.path(tmp_path / "results", "resnet50", "smoke", "history"), "history")
    last, before = history.iloc[-1], history.iloc[-2]
    assert [last[f"balance_{name}"] for name in ("min", "median", "max")] == [0.5, 2.25, 4.0]
    assert last["kept_l1"] == 10.0
    assert before["kept_l1"] == 0.0 and math.isnan(before["balance_median"])
    budgets = results.read(results.path(tmp_path / "results", "resnet50", "smoke", "budgets"), "budgets")
    assert budgets["balance"].isna().to_list() == [True] + [False] * 53


def test_byte_order_mark_and_crlf_are_accepted(file: Path) -> None:
    before = results.read(file)
    text = file.read_text(encoding="utf-8")
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    pd.testing.assert_frame_equal(results.read(file), before)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("top1_pct,val_loss", "val_loss", "line 1: column 'top1_pct' is missing"),
        (",top1_pct,", ",accuracy,", "line 1: column 'top1_pct' is missing"),
        (",seconds\n", ",seconds,seconds\n", "line 1, column 'seconds': this column appears twice"),
        (",61.2\n", ",1,014.45\n", "line 2, column 'seconds': 29 cells in this row, 28 in the header"),
        (",61.2\n", ',"1,014.45"\n', "line 2, column 'seconds': '1,014.45' is not a plain number"),
        (",61.2\n", ",nan\n", "line 2, column 'seconds': 'nan' is not a finite number"),
        (",61.2\n", ",\n", "line 2, column 'seconds': empty"),
        (",61.2\n", ",-61.2\n", "line 2, column 'seconds': '-61.2' must be greater than or equal to 0"),
        (",0.8100,", ",fast,", "line 2, column 'val_loss': 'fast' is not a plain number"),
        ("dense,dense,smoke,0,", "dense,dense,smoke,0.5,", "line 2, column 'seed': '0.5' must be a whole number"),
        (
            "dense,dense,smoke,",
            "dense,dense,smoky,",
            "line 2, column 'tier': 'smoky' must match pattern '^(audit|",
        ),
        (",finished,", ",done,", "line 2, column 'status': 'done' must be 'finished', 'not_sparse'"),
        (
            ",0.0000,0.0000,",
            ",100.5,0.0000,",
            "line 2, column 'sparsity_pct': '100.5' must be less than",
        ),
        (",false,", ",no,", "line 2, column 'dirty': 'no' must be 'false', 'true' or 'unknown'"),
        ("abababab", "xyz", "line 2, column 'dataset_sha256': 'xyz"),
        (",89.00,", ",,", "line 2: top1_pct: empty, though the run is finished"),
    ],
)
def test_bad_input_is_named_by_line_and_column(file: Path, old: str, new: str, message: str) -> None:
    edit(file, old, new)
    with pytest.raises(UserError) as error:
        results.read(file)
    assert message in str(error.value)
    assert str(file) in str(error.value)


def test_unknown_column_suggests_the_nearest(file: Path) -> None:
    edit(file, ",seconds\n", ",seconds,second\n")
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([lines[0], *(line + ",1" for line in lines[1:])]) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="Did you mean 'seconds'"):
        results.read(file)


def test_mixed_units_are_refused(file: Path) -> None:
    """A fraction typed for a percentage, and thousands of weights for millions (as MFLOPs under GFLOPS elsewhere)."""
    frame = results.read(file)
    frame.loc[1, "sparsity_pct"] = 0.9
    with pytest.raises(UserError, match="mixed units"):
        results.validate(frame, "runs", file)
    frame = results.read(file)
    frame.loc[1, "sparse_macs_m"] *= 1000
    with pytest.raises(UserError, match="line 3: sparse_macs_m cannot exceed macs_m"):
        results.validate(frame, "runs", file)


def test_duplicate_key_names_both_lines(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([*lines, lines[1]]) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 4, column 'seed': 'dense, 0' is already on line 2"):
        results.read(file)


def test_a_file_that_changed_is_read_anew(file: Path) -> None:
    before = results.read_if_there(file)
    assert results.read_if_there(file) is before
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[:-1]), encoding="utf-8", newline="")
    assert len(results.read_if_there(file)) == len(before) - 1
    file.unlink()
    assert not len(results.read_if_there(file))


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        results.read(tmp_path / "none.csv")
    file = tmp_path / "smoke.csv"
    file.write_bytes(b"")
    with pytest.raises(UserError, match="empty; a header line"):
        results.read(file)
    file.write_bytes("größe".encode("utf-16"))
    with pytest.raises(UserError, match="UTF-8"):
        results.read(file)


def test_many_findings_are_summed_up(make_runs: MakeRuns, tmp_path: Path) -> None:
    file = results.collect("resnet50", "smoke", make_runs(seeds=(0, 1)), tmp_path / "results")
    frame = results.read(file)
    frame["seconds"] = -1.0
    with pytest.raises(UserError, match=f"and {len(frame) - 10} more"):
        results.validate(frame, "runs", file)


def test_diverged_and_not_sparse_runs_are_kept_as_such(make_runs: MakeRuns, tmp_path: Path) -> None:
    runs = make_runs(rows=["gmp-80"], status="diverged") + make_runs(rows=["gmp-90"], status="not_sparse")
    frame = results.read(results.collect("resnet50", "smoke", runs, tmp_path / "results"))
    assert frame["status"].to_list() == ["diverged", "not_sparse"]
    assert frame["top1_pct"].isna().to_list() == [True, False]


def test_collect_keeps_other_lines_and_replaces_its_own(make_runs: MakeRuns, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    results.collect("resnet50", "smoke", make_runs(seeds=(0, 1), rows=["dense", "gmp-80"]), folder)
    file = results.collect("resnet50", "smoke", make_runs(seeds=(1,), rows=["dense"], top1_pct=12.5), folder)
    frame = results.read(file).set_index(["row", "seed"])
    assert len(frame) == 4
    assert frame.loc[("dense", 1), "top1_pct"] == 12.5
    assert frame.loc[("dense", 0), "top1_pct"] != 12.5
    budgets = results.read(results.path(folder, "resnet50", "smoke", "budgets"), "budgets")
    assert len(budgets) == 4 * 54


def test_collect_drops_lines_of_a_recipe_that_has_changed_since(make_runs: MakeRuns, tmp_path: Path) -> None:
    """One row must never be the mean over seeds of two recipes."""
    folder = tmp_path / "results"
    file = results.collect("resnet50", "smoke", make_runs(seeds=(0, 1, 2), rows=["dense", "gmp-80"]), folder)
    frame = results.read(file)
    old = (frame["row"] == "gmp-80") & (frame["seed"] > 0)
    frame.loc[old, "spec"] = "gmp-resnet50-fashion_mnist-00000000-s1"
    results.write(frame, file)
    frame = results.read(results.collect("resnet50", "smoke", make_runs(rows=["gmp-80"]), folder))
    assert sorted(zip(frame["row"], frame["seed"], strict=True)) == [
        ("dense", 0),
        ("dense", 1),
        ("dense", 2),
        ("gmp-80", 0),
    ]
    for kind in ("budgets", "history"):
        there = results.read(results.path(folder, "resnet50", "smoke", kind), kind)
        assert set(zip(there["row"], there["seed"], strict=True)) == set(zip(frame["row"], frame["seed"], strict=True))


def test_collect_drops_lines_of_a_recipe_that_is_another_rows_now(make_runs: MakeRuns, tmp_path: Path) -> None:
    """As when two rows have changed their recipes: each would show the other's runs."""
    folder, swapped = tmp_path / "results", {"gmp-80": "gmp-90", "gmp-90": "gmp-80"}
    file = results.collect("resnet50", "smoke", make_runs(rows=list(swapped)), folder)
    frame = results.read(file)
    frame["row"] = frame["row"].map(swapped)
    results.write(frame, file)
    frame = results.read(results.collect("resnet50", "smoke", make_runs(rows=["dense"]), folder))
    assert frame["row"].to_list() == ["dense"]


def test_collect_of_nothing_writes_files_without_lines(tmp_path: Path) -> None:
    assert len(results.read(results.collect("resnet50", "smoke", [], tmp_path / "results"))) == 0


def test_collect_refuses_what_it_cannot_place(make_runs: MakeRuns, tmp_path: Path) -> None:
    (run,) = make_runs(rows=["dense"])
    with pytest.raises(UserError, match="belongs to no row of table mobilenetv1"):
        results.collect("mobilenetv1", "smoke", [run], tmp_path / "results")
    with pytest.raises(UserError, match="no recipe for tier 'small'"):
        results.collect("mobilenetv1", "small", [run], tmp_path / "results")
    for place, value, message in (  # what test_record.py shows of records, this does of lines
        (("layers", 0, "sparsity_pct"), 101.0, "for BudgetLine, column sparsity_pct: 101.0 must be less than"),
        (("result", "dataset_sha256"), "ab", "for RunLine, column dataset_sha256: 'ab' must match"),
        (("result", "top1_pct"), None, "for RunLine: top1_pct: empty, though the run is finished"),
        (("result", "seconds"), "long", "result.seconds 'long' is not a plain number"),
    ):
        before = (run / "result.json").read_bytes()
        change(run, *place, value=value)
        with pytest.raises(UserError, match=message) as error:
            results.collect("resnet50", "smoke", [run], tmp_path / "results")
        assert str(run / "result.json") in str(error.value)
        (run / "result.json").write_bytes(before)
    (run / "result.json").unlink()
    with pytest.raises(UserError, match="holds no finished run"):
        results.collect("resnet50", "smoke", [run], tmp_path / "results")
    assert not results.path(tmp_path / "results", "resnet50", "smoke").exists()


COLLECT = """
import sys
from pathlib import Path
from paper_repro.evidence import results
folder, *runs = map(Path, sys.argv[1:])
print("ready", flush=True)
sys.stdin.readline()
for run in runs:
    results.collect("resnet50", "smoke", [run], folder)
"""


def test_two_processes_at_once_lose_no_line(make_runs: MakeRuns, tmp_path: Path) -> None:
    rows = ["dense", "gmp-80", "str-79.55", "gmp-90", "str-90.23"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COLLECT, str(tmp_path / "results"), *map(str, make_runs(seeds=(seed,), rows=rows))],
            cwd=repository(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for seed in (0, 1)
    ]
    for process in processes:  # both have imported what they need before either starts
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    frame = results.read(results.path(tmp_path / "results", "resnet50", "smoke"))
    assert len(frame) == 10
    assert len(results.read(results.path(tmp_path / "results", "resnet50", "smoke", "budgets"), "budgets")) == 10 * 54


def test_failed_write_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, frame = file.read_bytes(), results.read(file)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left") as error:
        results.write(frame, file)
    assert error.value.exit_code == 3
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir() if path.name.endswith(".tmp")] == []


def test_schema_document_is_current() -> None:
    assert update_schema_document(repository() / "results" / "schema.md", check=True)


def test_documents_without_markers_are_errors(tmp_path: Path) -> None:
    (tmp_path / "schema.md").write_text("nothing", encoding="utf-8")
    with pytest.raises(UserError, match="needs the lines"):
        update_schema_document(tmp_path / "schema.md")


def test_reporting_does_not_import_torch() -> None:
    code = (
        "import sys; from paper_repro import checks; from paper_repro.evidence import claims, verdicts; "
        "from paper_repro.report import figures, notebook, report, summary; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=repository(), check=False).returncode == 0


def test_runs_with_options_say_so_and_are_not_mixed_with_others(make_runs: MakeRuns, tmp_path: Path) -> None:
    folder, seeds = tmp_path / "results", (0, 1)
    file = results.collect("resnet50", "smoke", make_runs(seeds=seeds, rows=["dense", "gmp-80"]), folder)
    assert set(results.read(file)["options"]) == {"channels_last=true"}  # as the recipe says
    ranks = results.collect("rnn", "smoke", [], folder)
    assert "options" not in ranks.read_text(encoding="utf-8")  # a file without any goes without the column
    chosen = []
    for row, spec in tables.load("resnet50").specs("smoke", seeds):
        if row.id == "gmp-80":
            other = spec.with_options("autocast=bf16 compile=true")
            chosen.append(fake_run(tmp_path / "bf16", "resnet50", row, other))
    recipe, changed = "channels_last=true", "autocast=bf16 channels_last=true compile=true"
    with pytest.raises(UserError, match=f"two choices of options, {recipe} and {changed}"):
        results.collect("resnet50", "smoke", [*make_runs(rows=["gmp-80"]), chosen[1]], folder)
    frame = results.read(results.collect("resnet50", "smoke", chosen[:1], folder))
    lines = sorted(zip(frame["row"], frame["seed"], frame["options"], strict=True))
    assert lines == [("dense", 0, recipe), ("dense", 1, recipe), ("gmp-80", 0, changed)]
    with_it = evidence.load("resnet50", "smoke", folder)
    assert with_it.setting == "Fashion-MNIST, width 16, partly bf16"  # compiled is no less the same
    assert with_it.setting_of("dense") == "Fashion-MNIST, width 16"
    assert with_it.setting_of("gmp-80") == "Fashion-MNIST, width 16, bf16"
    again = results.read(results.collect("resnet50", "smoke", make_runs(rows=["gmp-80"]), folder))
    assert set(again["options"]) == {recipe}


def test_a_line_names_the_instructions_of_the_processor_that_trained(make_runs: MakeRuns, tmp_path: Path) -> None:
    """Not those of one that fed a GPU. A file of runs that did not keep them goes without the column."""
    runs = make_runs(rows=["dense", "gmp-80", "gmp-90"])
    for folder, device, processor in zip(runs, ("cpu", "H100", "cpu"), ("avx2", "avx2", ""), strict=True):
        change(folder, "provenance", "device", value=device)
        change(folder, "provenance", "processor", value=processor)
    frame = results.read(results.collect("resnet50", "smoke", runs, tmp_path / "all"))
    assert dict(zip(frame["row"], frame["processor"], strict=True)) == {"dense": "avx2", "gmp-80": "", "gmp-90": ""}
    file = results.collect("resnet50", "smoke", runs[1:], tmp_path / "none")
    assert "processor" not in file.read_text(encoding="utf-8") and set(results.read(file)["processor"]) == {""}


def test_a_run_without_an_option_of_its_recipe_is_a_run_of_its_row(tmp_path: Path) -> None:
    """Tier small is trained in bf16, unless a command asks for float32."""
    folder, ((dense, one), (gmp, other)) = tmp_path / "results", tables.load("resnet50").specs("small", [0])[:2]
    made = [
        fake_run(tmp_path / "runs", "resnet50", dense, one.with_options("autocast=float32")),
        fake_run(tmp_path / "runs", "resnet50", gmp, other),
    ]
    for run in made:
        file = results.collect("resnet50", "small", [run], folder)
    stays = results.read(file)
    assert dict(zip(stays["row"], stays["options"], strict=True)) == {
        "dense": "channels_last=true",
        gmp.id: "autocast=bf16 channels_last=true",
    }


def test_how_images_were_read_is_in_the_row(make_runs: MakeRuns, tmp_path: Path) -> None:
    plain, read = make_runs(rows=["dense", "gmp-80"])
    part = {
        "loader": "ffcv",
        "exact_resume": False,
        "skipped_images": 2,
        "encoding": {"max_resolution": 500, "jpeg_quality": 90},
    }
    change(read, "result", "images", value={"train": part, "val": {**part, "skipped_images": 1}})
    frame = results.read(results.collect("resnet50", "smoke", [plain, read], tmp_path / "results")).set_index("row")
    assert frame.loc["gmp-80", "skipped_images"] == 3 and math.isnan(frame.loc["dense", "skipped_images"])
    assert frame["encoding"].to_dict() == {"dense": "", "gmp-80": "max_resolution=500 jpeg_quality=90"}


@pytest.mark.parametrize(
    "made_by",
    [
        Provenance(device="cpu", cpu="EPYC (4th)", processor="family 25, avx2", threads=2, torch="2.1"),
        Provenance(device="cpu", cpu="EPYC", threads=1, torch="2.1", processes=4),
        Provenance(device="H100 80GB", cpu="EPYC", processor="family 25", threads=1, torch="2.1", processes=2),
        Provenance(device="H100 80GB", threads=1, torch="2.1"),
    ],
    ids=["cpu", "several cpus", "several gpus", "gpu"],
)
def test_a_line_names_the_machine_as_the_record_does(made_by: Provenance, make_runs: MakeRuns, tmp_path: Path) -> None:
    (folder,) = make_runs(rows=["dense"])
    record.write(record.read(folder).model_copy(update={"provenance": made_by}), folder)
    file = results.collect("resnet50", "smoke", [folder], tmp_path / "results")
    (line,) = results.read(file).to_dict("records")
    assert results.machine(line) == made_by.machine


def test_a_cpu_without_a_name_is_called_cpu() -> None:
    line = {"device": "cpu", "processor": "", "threads": 1, "torch": "2"}
    assert results.machine(line) == "cpu, 1 thread, torch 2"
