"""An HTTP service: the verbs of a model, and an index, for clients that are not to be trusted.

One process speaks HTTP (`app`) and computes nothing. Each model answers in a process of its own
(`model`), from which it takes batches (`queue`); pictures and recordings are decoded in others,
with little memory (`decoder`). One that dies is started again (`process`).
"""
