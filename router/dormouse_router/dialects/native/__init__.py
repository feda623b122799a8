"""Dormouse's own small API: pulls as jobs. Every job is read from its InferenceModel, so none is ever lost."""
