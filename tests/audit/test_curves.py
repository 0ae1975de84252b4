"""The forecast against the paper's own figures."""

from __future__ import annotations

import pytest
import torch

from paper_repro import tables
from paper_repro.audit.curves import audit_curves


def test_forecast_of_the_90_percent_model_is_what_figures_1_and_2_show(monkeypatch: pytest.MonkeyPatch) -> None:
    threshold, onset = audit_curves(tables.load("resnet50"))
    assert (threshold.quantity, threshold.printed, threshold.verdict) == ("threshold_at_epoch_28", "41", "PASS")
    assert threshold.recomputed == pytest.approx(1e6 * torch.sigmoid(torch.tensor(-9.99)).item(), rel=0.02)
    assert (onset.printed, onset.verdict) == ("27-28", "PASS")
    assert onset.recomputed == pytest.approx(27.99, abs=0.005)
    assert audit_curves(tables.load("mobilenetv1")) == []

    curve = tables.curve
    monkeypatch.setattr(tables, "curve", lambda table, name: [(x + 2, y) for x, y in curve(table, name)])
    later = audit_curves(tables.load("resnet50"))
    assert [(finding.printed, finding.verdict) for finding in later] == [("41", "FAIL"), ("29-30", "FAIL")]
