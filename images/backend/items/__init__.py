"""The one application of this project: a list of things to do."""
