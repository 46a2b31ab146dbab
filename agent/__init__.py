"""The loop of etude: collect, label, curate, tune, evaluate; then the better of champion and candidate stays."""
