"""The verdicts under the tables' name; they are defined in ``paper_repro.verdict``."""

from __future__ import annotations

from paper_repro.verdict import PRECEDENCE, Verdict, worst

__all__ = ["PRECEDENCE", "Verdict", "worst"]
