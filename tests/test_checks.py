from __future__ import annotations

from pathlib import Path

import pytest

from paper_repro import checks
from paper_repro.errors import UserError
from paper_repro.evidence import lines, results
from paper_repro.evidence.provenance import repository
from tests.made_up import MakeRuns


def findings(name: str, root: Path, status: str) -> list[str]:
    return [sentence for found, sentence in getattr(checks, name)(checks.Committed(root)) if found == status]


def collect(make_runs: MakeRuns, root: Path, **given: object) -> Path:
    return results.collect("resnet50", "smoke", make_runs(**given), root)


def rewrite(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_no_results_are_incomplete_not_ok(tmp_path: Path) -> None:
    (tmp_path / "schema.md").write_text(
        (repository() / "results" / "schema.md").read_text(encoding="utf-8"), encoding="utf-8"
    )
    found = checks.check(tmp_path)
    assert not [line for line in found if line[1] == "FAIL"]
    assert checks.verdict(found) == "INCOMPLETE"
    missing = [sentence for _, status, sentence in found if status == "INCOMPLETE"]
    names = (
        "resnet50/smoke.csv",
        "mobilenetv1/smoke.csv",
        "family/smoke.csv",
        "resnet50/audit.csv",
        "transfer/audit.csv",
    )
    for name in (*names, "README.md"):
        assert any(name in sentence for sentence in missing)
    assert not any("family/audit.csv" in sentence for sentence in missing)  # other tables audit what it shows


def test_full_results_pass(make_runs: MakeRuns, tmp_path: Path) -> None:
    collect(make_runs, tmp_path, seeds=(0, 1, 2))
    for name in ("results_files", "recipes", "clean_code", "tolerated"):
        assert findings(name, tmp_path, "FAIL") == []
    assert findings("tolerated", tmp_path, "OK") == ["resnet50, tier smoke: trained numbers: 29 PASS, 41 UNTESTED"]
    budgets_file = results.path(tmp_path, "resnet50", "smoke", "budgets")
    budgets = results.read(budgets_file, "budgets")
    uneven = budgets["row"].eq("rigl-erk-90") & budgets["layer"].eq("fc")  # made-up baselines are all uniform
    results.write(budgets.assign(sparsity_pct=budgets["sparsity_pct"].mask(uneven, 50.0)), budgets_file, "budgets")
    (claimed,) = findings("claimed", tmp_path, "OK")
    assert claimed.startswith("resnet50, tier smoke: claims of the paper: ") and "3 UNTESTED" in claimed
    assert findings("claimed", tmp_path, "INCOMPLETE") == []
    assert findings("complete", tmp_path, "INCOMPLETE") == [
        s for s in findings("complete", tmp_path, "INCOMPLETE") if "smoke.csv is missing" in s and "/resnet50/" not in s
    ]


def test_too_few_seeds_and_missing_rows_are_incomplete(make_runs: MakeRuns, tmp_path: Path) -> None:
    collect(make_runs, tmp_path, seeds=(0, 1), rows=["dense", "gmp-80"])
    found = "\n".join(findings("complete", tmp_path, "INCOMPLETE"))
    assert "fewer than 3 seeds of dense (2), gmp-80 (2)" in found
    assert "no run of dsr-80, dnw-80, snfs-80" in found


@pytest.mark.parametrize("dirty", ["true", "unknown"])
def test_dirty_rows_are_refused(make_runs: MakeRuns, tmp_path: Path, dirty: str) -> None:
    rewrite(collect(make_runs, tmp_path, rows=["dense"]), ",false,", f",{dirty},")
    (found,) = findings("clean_code", tmp_path, "FAIL")
    assert f"dirty is {dirty} for dense seed 0" in found


def test_results_of_another_recipe_or_data_are_refused(make_runs: MakeRuns, tmp_path: Path) -> None:
    file = collect(make_runs, tmp_path, rows=["dense", "gmp-80"])
    rewrite(file, "gmp-resnet50", "gmp-resnet18")
    assert "not of the recipe's gmp-resnet50" in findings("recipes", tmp_path, "FAIL")[0]
    collect(make_runs, tmp_path, rows=["gmp-80"])
    collect(make_runs, tmp_path, rows=["dense"], dataset_sha256="cd" * 32)
    assert any("different versions of fashion_mnist" in found for found in findings("recipes", tmp_path, "FAIL"))


def test_sparsity_beyond_its_tolerance_fails(make_runs: MakeRuns, tmp_path: Path) -> None:
    collect(make_runs, tmp_path, rows=["gmp-80"], status="not_sparse")
    (found,) = findings("tolerated", tmp_path, "FAIL")[:1]
    assert "gmp-80" in found


def test_only_runs_of_several_epochs_need_lines_for_each(make_runs: MakeRuns, tmp_path: Path) -> None:
    """A table may have both kinds. Made-up runs have no such lines."""
    runs = make_runs("resnet50_choices", rows=["dense-lr-0.032", "str-4-epochs"])
    results.collect("resnet50_choices", "smoke", runs, tmp_path)
    (found,) = findings("results_files", tmp_path, "FAIL")
    assert "smoke_epochs.csv does not fit smoke.csv at str-4-epochs, seed 0" in found


def test_files_that_do_not_fit_each_other_fail(make_runs: MakeRuns, tmp_path: Path) -> None:
    collect(make_runs, tmp_path, rows=["dense", "gmp-80"])
    budgets = results.path(tmp_path, "resnet50", "smoke", "budgets")
    frame = results.read(budgets, "budgets")
    results.write(frame[frame["row"] != "dense"], budgets, "budgets")
    assert "does not fit smoke.csv at dense, seed 0" in findings("results_files", tmp_path, "FAIL")[0]
    results.write(frame.assign(sparsity_pct=50.0), budgets, "budgets")
    assert "layers are 50.00 % sparse, the row says 0.00 %" in findings("results_files", tmp_path, "FAIL")[0]


def test_a_damaged_file_fails_with_its_place(make_runs: MakeRuns, tmp_path: Path) -> None:
    rewrite(collect(make_runs, tmp_path, rows=["dense"]), ",61.2\n", ',"1,014.45"\n')
    found = [
        sentence for name, status, sentence in checks.check(tmp_path) if (name, status) == ("results_files", "FAIL")
    ]
    assert "line 2, column 'seconds': '1,014.45' is not a plain number" in found[0]


def test_the_audit_must_be_current_and_without_fail(tmp_path: Path) -> None:
    from paper_repro.audit.whole_table import audit, save

    (tmp_path / "errata.csv").write_bytes((repository() / "results" / "errata.csv").read_bytes())
    file = save(audit("mobilenetv1", tmp_path / "errata.csv"), results.path(tmp_path, "mobilenetv1", "audit", "audit"))
    assert findings("audits", tmp_path, "FAIL") == []
    rewrite(file, "ERRATUM", "FAIL")
    found = findings("audits", tmp_path, "FAIL")
    assert "not what the audit finds now" in found[0]
    assert "gmp-74.11, sparsity_pct: printed 74.11" in found[1]


def test_the_balance_on_the_papers_data_must_be_current(tmp_path: Path) -> None:
    assert len(findings("balance", tmp_path, "INCOMPLETE")) == 2
    for name in ("balance.csv", "balance_tests.csv"):
        (tmp_path / "resnet50").mkdir(exist_ok=True)
        (tmp_path / "resnet50" / name).write_bytes((repository() / "results" / "resnet50" / name).read_bytes())
    assert len(findings("balance", tmp_path, "OK")) == 2
    rewrite(tmp_path / "resnet50" / "balance.csv", ",0.008088,", ",0.018088,")
    assert "balance.csv is not what the audit finds now" in findings("balance", tmp_path, "FAIL")[0]


def test_documents_must_be_current(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    document = tmp_path / "results" / "schema.md"
    document.write_text(f"{lines.BEGIN}\nold\n{lines.END}\n", encoding="utf-8")
    page = tmp_path / "docs" / "balance.md"
    page.parent.mkdir()
    page.write_bytes((repository() / "docs" / "balance.md").read_bytes())
    assert "schema.md is not current" in findings("documents", tmp_path / "results", "FAIL")[0]
    assert (
        "docs/balance.md are not current" in findings("documents", tmp_path / "results", "FAIL")[1]
    )  # no results here


def test_a_failure_on_record_is_known_until_it_is_none(make_runs: MakeRuns, tmp_path: Path) -> None:
    file = collect(make_runs, tmp_path, rows=["gmp-90"])
    assert findings("tolerated", tmp_path, "FAIL") == []
    listed = tmp_path / "failures.csv"
    listed.write_text("table,tier,row,quantity,known\nresnet50,smoke,gmp-90,trained_sparsity_pct,diverges\n")
    assert "none any more, remove it: resnet50, smoke, gmp-90" in findings("tolerated", tmp_path, "FAIL")[0]
    runs = results.read(file)
    runs["status"] = "not_sparse"
    results.write(runs, file)
    assert findings("tolerated", tmp_path, "ON RECORD")[0].endswith("(diverges)")
    assert all("trained_sparsity_pct" not in sentence for sentence in findings("tolerated", tmp_path, "FAIL"))
    listed.unlink()
    assert any("trained_sparsity_pct" in sentence for sentence in findings("tolerated", tmp_path, "FAIL"))


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for statuses, complete, code in (
        (["OK"], False, 0),
        (["OK", "INCOMPLETE"], False, 0),
        (["OK", "INCOMPLETE"], True, 1),
        (["INCOMPLETE", "FAIL"], False, 1),
    ):
        lines = [("one", status, "a sentence") for status in statuses]
        monkeypatch.setattr(checks, "check", lambda root, lines=lines: lines)
        assert checks.main(tmp_path, complete) == code
        assert capsys.readouterr().out.endswith(f"results: {checks.verdict(lines)}\n")


def test_they_need_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paper_repro.evidence.provenance.repository", lambda: tmp_path)
    with pytest.raises(UserError, match="installed without its repository"):
        checks.main(tmp_path)
