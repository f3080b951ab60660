"""The workloads of the VTC paper, inside a simulated engine and through our gateway."""
