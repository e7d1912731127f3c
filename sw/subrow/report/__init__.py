"""RunResults as tables, JSON, figures and HTML; every figure is labelled measured, simulated or estimated."""
