"""Corpora: the recipes that build them and the sample shards; run from a checkout."""
