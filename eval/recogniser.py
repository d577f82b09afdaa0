"""Speech as one writes it down who knows nothing of our model: Whisper, by faster-whisper."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torchaudio.functional import resample

from eval.judge import sha256
from omni import Audio

RATE = 16_000
"""Hz, of Whisper's recordings"""


class Recogniser:
    """A Whisper with the weights of a folder; it is not told what may be said.

    Args:
        folder: a model of CTranslate2, as faster-whisper reads it.
        language: of what is said, as Whisper names it.

    Raises:
        ValueError: the library is missing, or the folder holds no such model.
    """

    def __init__(self, folder: str, language: str = "en") -> None:
        weights = Path(folder) / "model.bin"
        if not weights.is_file():
            raise ValueError(f"a recogniser must be a folder with model.bin, got {folder}")
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise ValueError("a recogniser needs faster-whisper: pip install it") from error
        try:
            self.model = WhisperModel(
                folder, "cpu", compute_type="float32", cpu_threads=torch.get_num_threads()
            )
        except (RuntimeError, OSError) as error:
            told = " ".join(str(error).split())[:200]
            raise ValueError(f"{folder} must hold a Whisper of CTranslate2: {told}") from error
        self.language = language
        self.name = f"Whisper, {sha256(weights)}, beam 5"

    def hear(self, recordings: Sequence[Audio]) -> list[str]:
        """What is said in each of them; nothing where it hears none."""
        return [self._hear(recording) for recording in recordings]

    def _hear(self, recording: Audio) -> str:
        wave = torch.as_tensor(recording.samples, dtype=torch.float32)
        said, _ = self.model.transcribe(
            resample(wave, recording.sample_rate, RATE).numpy(),
            language=self.language,
            beam_size=5,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        return " ".join(part.text.strip() for part in said)
