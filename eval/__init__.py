"""Measures a trained model on the sample corpus: `python -m eval.run RUN [TASK ...]`.

A task (`eval/tasks/`) is a generator that yields `(name, Score)`. Names read
`SPLIT/TASK/SOURCE->TARGET/METRIC`, for example `test/retrieval/audio->text/R@1`; a control has
`untrained/` or `chance/` in front. Run from a checkout; not part of the installed package.
"""
