"""What a checkpoint was trained for, stored with its weights: the rest is refused by name."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

KEY = "learned"
"""of the metadata in the header of the weights"""
WEIGHTS_OF = {"text": "next_token", "image": "image_flow", "audio": "audio_flow"}
"""the weight of the objective that teaches to make each modality"""


@dataclass(frozen=True)
class Learned:
    """What a model has learned; None where that is not known, as of older checkpoints.

    Attributes:
        makes: the modalities that it was trained to make.
        answers: whether there were questions with answers.
        languages: those in which texts were written.
    """

    makes: tuple[str, ...] | None = None
    answers: bool | None = None
    languages: tuple[str, ...] | None = None

    @staticmethod
    def of(objectives: Iterable[str], answers: bool, languages: Iterable[str]) -> "Learned":
        """Return what objectives with a weight and with data, as `loss.image_flow`, teach."""
        taught = {name.removeprefix("loss.") for name in objectives}
        makes = tuple(name for name, weight in WEIGHTS_OF.items() if weight in taught)
        return Learned(makes, answers, tuple(sorted({*languages})))

    @staticmethod
    def load(weights: Path) -> "Learned":
        """Return what the header of a file of weights says."""
        with safe_open(weights, "pt") as file:
            document = json.loads((file.metadata() or {}).get(KEY, "{}"))
        makes, languages = document.get("makes"), document.get("languages")
        return Learned(
            None if makes is None else tuple(makes),
            document.get("answers"),
            None if languages is None else tuple(languages),
        )

    def to_json(self) -> str:
        """Return what the header of the weights says."""
        return json.dumps(dataclasses.asdict(self))

    def check_makes(self, modality: str) -> None:
        """Raise `ValueError` for a modality that the model was not trained to make."""
        if self.makes is not None and modality not in self.makes:
            weight = f"loss.{WEIGHTS_OF[modality]}"
            raise ValueError(
                f"this model has not learned to make {modality}, only {_list(self.makes)}: "
                f"{weight} was 0 in its training, or its data had nothing for it"
            )

    def check_language(self, language: str) -> None:
        """Raise `ValueError` for a language in which the model never wrote."""
        if self.languages is not None and language not in self.languages:
            raise ValueError(
                f"this model has written no text in {language!r}, only in {_list(self.languages)}"
            )

    def check_answers(self) -> None:
        """Raise `ValueError` where the model never learned an answer to a question."""
        if self.answers is False:
            raise ValueError(
                "this model has learned no answers to questions: its data had none (field `answer` "
                "beside a text, see data/README.md); without a text it writes captions, transcripts"
            )


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
