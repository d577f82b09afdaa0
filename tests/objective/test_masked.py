"""What is hidden, how often, and what guessing it costs."""

import torch

from omni.modality.text import END
from omni.objective.masked import corrupt, draw_hidden, patches_loss, words_loss

KEYS = torch.arange(10_000) * 104_729
VOCABULARY = 800


def test_fifteen_in_a_hundred_are_hidden_each_by_itself() -> None:
    hidden = draw_hidden(KEYS, 0, 20)
    assert hidden.numel() >= 100_000
    assert abs(hidden.float().mean() - 0.15) < 0.005
    assert (hidden.float().mean(0) - 0.15).abs().max() < 0.015  # in every place
    both = (hidden[:, 0] & hidden[:, 1]).float().mean()
    assert abs(both - 0.15**2) < 0.006
    # Another modality hides others; a longer sequence the same ones in its beginning.
    assert not torch.equal(draw_hidden(KEYS, 1, 20), hidden)
    assert torch.equal(draw_hidden(KEYS, 0, 50)[:, :20], hidden)


def test_of_hidden_words_eight_in_ten_are_blank_and_one_is_another() -> None:
    ids = torch.randint(END + 1, VOCABULARY, (len(KEYS), 100))
    hidden = draw_hidden(KEYS, 0, 100)
    shown, blank = corrupt(ids, hidden, KEYS, VOCABULARY)
    other = shown != ids
    assert hidden.sum() > 100_000
    assert abs(blank.sum() / hidden.sum() - 0.8) < 0.005
    assert abs(other.sum() / hidden.sum() - 0.1) < 0.005
    assert not (other & blank).any() and not ((other | blank) & ~hidden).any()
    assert shown[other].min() > END and shown.max() < VOCABULARY
    counts = torch.bincount(shown[other], minlength=VOCABULARY)[END + 1 :]
    assert counts.min() > 0  # every word comes


def test_the_losses_are_means_of_items_that_add_up_over_parts() -> None:
    hidden = draw_hidden(KEYS[:8], 0, 12)
    patches = torch.randn(8, 12, 5)
    guess = torch.randn(8, 12, 5)
    items = [(guess[i] - patches[i])[hidden[i]].square().mean() for i in range(8)]
    expected = torch.stack([x.nan_to_num() for x in items]).mean()
    torch.testing.assert_close(patches_loss(guess[hidden], patches, hidden, 8), expected)
    parts = [
        patches_loss(guess[s][hidden[s]], patches[s], hidden[s], 8)
        for s in (slice(0, 3), slice(3, 8))
    ]
    torch.testing.assert_close(sum(parts), expected)
    assert patches_loss(patches[hidden], patches, hidden, 8) == 0

    ids = torch.randint(0, 7, (8, 12))
    logits = torch.nn.functional.one_hot(ids, 7)[hidden] * 50.0
    assert words_loss(logits, ids, hidden, 8) < 1e-6
    assert words_loss(logits.roll(1, 1), ids, hidden, 8) > 40
    nothing = torch.zeros_like(hidden)
    assert words_loss(logits[:0], ids, nothing, 8) == 0
