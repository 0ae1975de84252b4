"""``python -m paper_repro.report.site``."""

from paper_repro.report.site.build import main

if __name__ == "__main__":
    main()
