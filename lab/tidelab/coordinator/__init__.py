"""Where agents of a test meet: the shells around `tidelab.core.coord`."""
