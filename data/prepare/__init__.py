"""Preparation of data: python -m data.prepare pack | index | tokenizer | check | show."""
