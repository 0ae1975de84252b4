"""What every method must do, whoever wrote it: checks on a small network, alone and in a process of their own."""
