"""The paper's other ways of counting (``conventions``): their names, and each in a sentence."""

BATCH_NORM, SHARE, PRUNED = "batch norm counts", "share of dense", "pruned layers"
WAYS = {BATCH_NORM: "with batch norm", SHARE: "as a rounded share of dense", PRUNED: "in pruned layers alone"}
