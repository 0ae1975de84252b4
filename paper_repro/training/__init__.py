"""How a run is made: forecast, loop, evaluation, checkpoints."""
