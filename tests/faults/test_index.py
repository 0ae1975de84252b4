"""The 30 faults and bad inputs that this project promises to survive, and the tests that show it for each."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

# number -> what happens, tests ("file::test", under tests/)
FAULTS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "SIGKILL at random moments of training",
        ("faults/test_sigkill.py::test_killed_at_random_moments_it_ends_bit_by_bit_the_same",),
    ),
    2: (
        "SIGKILL while a checkpoint is written",
        (
            "faults/test_sigkill.py::test_killed_while_a_checkpoint_is_written_the_previous_one_is_used",
            "training/test_saved_state.py::test_a_write_that_was_cut_off_is_named_and_discarded",
        ),
    ),
    3: (
        "a truncated or damaged checkpoint",
        (
            "training/test_saved_state.py::test_predecessor_takes_over",
            "training/test_saved_state.py::test_all_damaged_stops_and_never_restarts",
            "training/test_saved_state.py::test_damaged_index_stops",
        ),
    ),
    4: (
        "the checkpoint to resume from is gone (it is never named by hand)",
        (
            "training/test_saved_state.py::test_predecessor_takes_over",
            "faults/test_state.py::test_checkpoints_that_are_gone_stop_the_run_at_once",
        ),
    ),
    5: (
        "resuming a finished run",
        (
            "training/test_loop.py::test_a_finished_run_is_never_trained_again",
            "runs/test_launch.py::test_two_at_once",
        ),
    ),
    6: (
        "a checkpoint of another spec",
        ("training/test_loop.py::test_results_and_checkpoints_of_another_spec_are_refused",),
    ),
    7: ("a malicious checkpoint", ("training/test_saved_state.py::test_nothing_in_a_checkpoint_is_executed",)),
    8: ("two processes at one run", ("training/test_loop.py::test_a_run_at_work_elsewhere_is_left_alone",)),
    9: ("two processes write results", ("evidence/test_results.py::test_two_processes_at_once_lose_no_line",)),
    10: (
        "a full disk, folders that cannot be written",
        (
            "faults/test_state.py::test_no_room_is_said_before_training",
            "faults/test_state.py::test_a_disk_that_fills_up_while_training_keeps_the_last_checkpoint",
            "training/test_loop.py::test_runs_folder_that_cannot_be_written",
            "training/test_saved_state.py::test_a_failing_write_keeps_the_old_checkpoint",
            "evidence/test_results.py::test_failed_write_leaves_the_old_file",
        ),
    ),
    11: (
        "malformed results",
        (
            "evidence/test_results.py::test_bad_input_is_named_by_line_and_column",
            "evidence/test_results.py::test_mixed_units_are_refused",
            "evidence/test_results.py::test_duplicate_key_names_both_lines",
            "evidence/test_results.py::test_byte_order_mark_and_crlf_are_accepted",
            "test_checks.py::test_a_damaged_file_fails_with_its_place",
        ),
    ),
    12: (
        "the paper's numbers edited by hand",
        (
            "experiments/test_tables.py::test_a_reference_number_changed_by_hand_is_noticed",
            "experiments/test_tables.py::test_checksums_are_those_of_the_files",
        ),
    ),
    13: (
        "ImageNet folders that are not as they should be",
        (
            "data/test_imagenet1k.py::test_all_faults_are_named_at_once",
            "data/test_imagenet1k.py::test_the_real_counts_are_asked_for",
            "data/test_imagenet1k.py::TestSortVal::test_from_a_text",
        ),
    ),
    14: (
        "images that cannot be read, or are no RGB JPEGs",
        (
            "data/test_imagenet1k.py::test_damaged_files_are_found_listed_and_left_out",
            "data/test_imagenet1k.py::test_what_is_not_an_rgb_jpeg_is_read_as_rgb",
            "data/test_folder.py::test_a_damaged_file_ends_the_run_with_its_name",
            "evidence/test_results.py::test_how_images_were_read_is_in_the_row",
        ),
    ),
    15: (
        ".beton files that are truncated, or others'",
        (
            "data/test_ffcv.py::TestFiles::test_cut_short_or_damaged",
            "data/test_ffcv.py::TestFiles::test_foreign_or_otherwise_encoded",
            "evidence/test_results.py::test_how_images_were_read_is_in_the_row",
        ),
    ),
    16: (
        "the loss is no number",
        (
            "training/test_loop.py::test_a_diverged_run_stops_at_once_and_claims_no_accuracy",
            "evidence/test_results.py::test_diverged_and_not_sparse_runs_are_kept_as_such",
        ),
    ),
    17: (
        "the method prunes nothing",
        (
            "training/test_loop.py::test_a_spec_that_stays_dense_is_refused_before_training",
            "training/test_loop.py::test_a_method_that_prunes_nothing_is_not_called_finished",
            "evidence/test_verdicts.py::test_a_run_that_went_wrong_fails",
        ),
    ),
    18: (
        "a layer without weights",
        (
            "faults/test_state.py::test_a_layer_without_weights_is_said",
            "methods/test_str_family.py::test_one_layer_of_zeros_trains_on",
        ),
    ),
    19: (
        "a sparsity that cannot be met",
        (
            "methods/test_family.py::test_the_sparsity_asked_for_is_the_sparsity_measured",
            "methods/test_distributions.py::test_erk_meets_the_sparsity_exactly_whatever_is_capped",
            "methods/test_distributions.py::test_erk_that_the_dense_layers_make_impossible_says_so",
            "test_checks.py::test_sparsity_beyond_its_tolerance_fails",
        ),
    ),
    20: (
        "a batch that cannot be shared",
        (
            "data/test_loaders.py::test_a_batch_that_cannot_be_shared_is_refused",
            "training/test_distributed.py::test_an_error_of_all_processes_is_said_once",
        ),
    ),
    21: (
        "a process of several dies or hangs",
        ("training/test_distributed.py::test_a_run_that_lost_processes_again_and_again_ends_as_if_it_had_not",),
    ),
    22: (
        "notebooks: unknown parameters, kernels that die",
        (
            "report/test_notebook.py::test_unknown_tier",
            "report/test_notebook.py::test_failed_cells",
        ),
    ),
    23: (
        "incomplete results",
        (
            "test_checks.py::test_too_few_seeds_and_missing_rows_are_incomplete",
            "report/test_figures.py::test_nothing_is_invented",
            "evidence/test_verdicts.py::test_missing_runs_and_recipes_are_told_apart",
        ),
    ),
    24: (
        "broken plug-ins",
        (
            "methods/test_plugins.py::test_a_broken_file_is_one_sentence_with_its_place",
            "methods/test_plugins.py::test_an_installed_method_is_found_beside_broken_ones",
            "methods/test_plugins.py::test_a_file_with_a_registered_name_is_refused",
            "conformance/test_conformance.py::test_a_claim_is_ignored_and_reported",
        ),
    ),
    25: (
        "no GPU, no FFCV, no DALI",
        (
            "data/test_folder.py::test_a_library_or_files_that_are_not_there_say_what_to_do",
            "data/test_folder.py::test_the_data_set_opens_by_its_name",
            "test_packaging.py::TestSetup::test_ffcv_is_not_forced_on_anybody",
            "runs/test_launch.py::test_a_machine_without_a_gpu_says_so_and_trains",
        ),
    ),
    26: (
        "code that is no commit",
        (
            "evidence/test_provenance.py::test_clean_and_dirty",
            "evidence/test_provenance.py::test_no_checkout_no_commit_no_git",
            "test_checks.py::test_dirty_rows_are_refused",
        ),
    ),
    27: (
        "a clock that jumps, other locales, folders with spaces",
        (
            "faults/test_state.py::test_a_clock_that_jumps_changes_no_duration",
            "test_cli.py::test_the_module_runs_in_a_locale_without_utf8",
            "test_cli.py::test_reproduce_from_end_to_end",  # in a folder with spaces and other alphabets
        ),
    ),
    28: (
        "Ctrl-C and the signals of clusters",
        (
            "runs/test_launch.py::test_a_signal_stops_all_with_their_state_saved",
            "training/test_loop.py::test_interrupted_and_resumed_is_the_same_to_the_bit",
            "faults/test_state.py::test_the_exit_code_names_the_signal",
        ),
    ),
    29: (
        "benchmarks of another machine",
        ("faults/test_state.py::test_benchmarks_are_compared_within_one_run_alone",),
    ),
    30: (
        "a failing run among others",
        ("runs/test_launch.py::test_a_run_that_dies_is_listed_and_the_others_finish",),
    ),
}


def test_every_fault_has_a_place() -> None:
    assert list(FAULTS) == list(range(1, 31))


@pytest.mark.parametrize("number", FAULTS)
def test_the_tests_of_a_fault_exist(number: int) -> None:
    _, named = FAULTS[number]
    assert named
    for name in named:
        file, *classes, function = name.split("::")
        found: ast.AST = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        for part in (*classes, function):
            inside = [node for node in ast.iter_child_nodes(found) if getattr(node, "name", None) == part]
            assert inside, name
            (found,) = inside
        assert isinstance(found, ast.FunctionDef), name
