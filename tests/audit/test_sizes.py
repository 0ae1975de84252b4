"""Parameters and sizes of FastGRNN, against counts by hand: r_W (D + H) + 2 r_U H for the matrices, 2 H + 2 for biases,
zeta and nu, and H C + C for the classifier.
"""

from __future__ import annotations

import pytest

from paper_repro import tables
from paper_repro.audit.sizes import size_of
from paper_repro.audit.whole_table import audit
from paper_repro.errors import UserError
from paper_repro.verdict import Verdict
from tests.tables_copy import Edit


@pytest.mark.parametrize(
    ("data_set", "hidden", "ranks", "matrices", "rest"),
    [
        ("google12", 100, "", 13_200, 202 + 1212),
        ("google12", 100, "12/40", 9_584, 202 + 1212),
        ("google12", 100, "9/24", 5_988, 202 + 1212),
        ("har2", 80, "", 7_120, 162 + 162),
        ("har2", 80, "9/8", 2_081, 162 + 162),
        ("har2", 80, "8/7", 1_832, 162 + 162),
    ],
)
def test_parameters_by_hand(data_set: str, hidden: int, ranks: str, matrices: int, rest: int) -> None:
    size = size_of("fastgrnn", data_set, hidden, ranks)
    assert size.params == matrices + rest
    assert size.kb == 4 * (matrices + rest) / 1024


def test_multiply_adds_are_those_of_every_step_and_one_classification() -> None:
    assert size_of("fastgrnn", "har2", 80, "9/8").macs == 128 * 2_081 + 80 * 2
    assert size_of("fastgrnn", "google12", 100, "").macs == 99 * 13_200 + 100 * 12


def test_every_row_has_its_size_in_the_audit_and_none_is_a_comparison() -> None:
    found = [finding for finding in audit("rnn") if finding.paper_table == "Table 3"]
    assert {finding.row for finding in found} == {row.id for row in tables.load("rnn").rows}
    assert {finding.quantity for finding in found} == {"params", "size_kb", "macs"}
    assert all(finding.printed == "" and finding.verdict is Verdict.UNTESTED for finding in found)


def test_a_size_on_data_without_a_network_is_an_error(edit: Edit) -> None:
    edit("rnn_networks.csv", "google12,100", "watch,100")
    with pytest.raises(UserError, match="how many hidden units fastgrnn has on google12"):
        audit("rnn")
