"""The tasks by name, in the order in which they run."""

from eval.tasks.caption import caption
from eval.tasks.draw import draw
from eval.tasks.match import match
from eval.tasks.retrieval import retrieval
from eval.tasks.speak import speak
from eval.tasks.transcribe import transcribe

TASKS = {
    "retrieval": retrieval,
    "match": match,
    "caption": caption,
    "transcribe": transcribe,
    "draw": draw,
    "speak": speak,
}
