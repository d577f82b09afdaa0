"""The tasks by name, in the order in which they run."""

from eval.tasks.answer import answer
from eval.tasks.caption import caption
from eval.tasks.classify import classify
from eval.tasks.draw import draw
from eval.tasks.match import match
from eval.tasks.opt import opt
from eval.tasks.retrieval import retrieval
from eval.tasks.speak import speak
from eval.tasks.stamps import stamps
from eval.tasks.steps import steps
from eval.tasks.transcribe import transcribe
from eval.tasks.video import video

TASKS = {
    "retrieval": retrieval,
    "match": match,
    "caption": caption,
    "transcribe": transcribe,
    "draw": draw,
    "speak": speak,
}
"""of the emoji"""
ON_REQUEST = {"steps": steps, "opt": opt}
"""of the emoji too, but only where they are named"""
STAMPS = {"stamps": stamps, "video": video}
"""of Tux Paint's stamps"""
FOLDERS = {"classify": classify}
"""of a folder of classes"""
QUESTIONS = {"answer": answer}
"""of shards whose samples have answers"""
VECTORS = {"retrieval", "classify"}
"""those that ask for vectors only: of any model that embeds"""
KNOWN = TASKS | ON_REQUEST | STAMPS | FOLDERS | QUESTIONS
