"""The pages of the site that follow from results: ``python -m paper_repro.report.site DIR`` writes them as Markdown.

What people write stands in ``docs/``. What needs more than the package itself (itables, Bokeh) is imported here alone.
"""
