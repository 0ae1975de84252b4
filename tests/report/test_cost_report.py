"""What a table would cost to train, as docs/ print it: against sums by hand, and the same on every machine."""

from __future__ import annotations

import pytest

from paper_repro import tables
from paper_repro.report import cost_report
from paper_repro.runs import cost as costs


def cells(text: str) -> list[list[str]]:
    """The cells of a table in markdown, below its header."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.fixture(autouse=True)
def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "_measured", None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a GPU of this machine")


def test_table_1_by_hand() -> None:
    """Its network has 4,089,184,256 MACs; ImageNet-1K has 1,281,167 images for training and 50,000 for validation."""
    (line, total) = cells(cost_report.to_train("resnet50", "paper"))
    count = len(list(tables.load("resnet50").specs("paper", [0])))
    assert count > 1 and line[0].count("`") == 2 * count and line[2:4] == ["100", "4,089"]
    images = 128_116_700 * count
    hours = count * 100 * (1_281_167 + 50_000 / 3) / 938 / 3600
    expected = [f"{images / 1e6:,.0f}", f"{3 * 4_089_184_256 * images / 1e15:,.1f}", f"{hours:,.0f}"]
    assert line[4:] == total[4:] == expected


def test_every_run_of_reevaluations_is_counted_once() -> None:
    text = cost_report.reevaluations(None)
    *lines, total = cells(text)
    named = [id.strip(" `") for line in lines for id in line[0].split(",")]
    assert sorted(named) == sorted(row.id for row, _ in tables.load("reevaluations").specs("paper", [0]))
    assert len(lines) == 6 and {(line[1], line[2]) for line in lines} == {
        (data, epochs) for data in ("CIFAR-10", "CIFAR-100") for epochs in ("300", "160")
    }
    # 50,000 images; ten runs of 300 epochs on CIFAR-10 and nine on CIFAR-100, and on either four of 160
    assert total[4] == f"{50_000 * ((10 + 9) * 300 + 2 * 4 * 160) / 1e6:,.0f}"
    assert float(total[5].replace(",", "")) == pytest.approx(sum(float(line[5]) for line in lines), abs=0.3)
    assert "A100" in text and "a GPU of this machine" not in text
