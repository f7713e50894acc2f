"""One driver per protocol; what each owes is written in `tidelab.core.driver`."""
